//! PersistentVolumeClaims: made for ephemeral volumes, bound after a delay, removed when no pod uses them any more.
//!
//! Source: kubernetes-api.md §5.9; pkg/controller/volume/{ephemeral,persistentvolume,pvcprotection}.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_api::core::PersistentVolumeClaim;
use arc_api::kube::{Identity, KubeRequest, Patch, Sub, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::pod::{Pod, Volume};
use arc_api::{Duration, Kind, Meta, Object, OwnerRef, Str, Time, format_smolstr};

use super::scope::PodScope;
use super::timers::Timers;
use crate::ApiServer;

const WHO: Identity = Identity::System("persistent-volume-controller");
/// The finalizer that admission puts on claims (§5.9). Claims made here carry it from the start.
const PROTECTION: &str = "kubernetes.io/pvc-protection";
/// The scheduler's choice, which a class of mode `WaitForFirstConsumer` waits for (§5.9).
const SELECTED_NODE: Str = Str::new_static("volume.kubernetes.io/selected-node");

/// How the storage of a cluster behaves.
#[derive(Clone, PartialEq, Debug)]
pub struct StorageSettings {
    /// Nobody makes claims, binds them or waits for them: a laboratory whose scheduler and kubelet know no storage
    /// (recorded: b_kube_mode, where no PersistentVolumeClaim was ever written and every pod started all the same).
    pub ignored: bool,
    /// Claims are bound when the scheduler has chosen a node, not before (`WaitForFirstConsumer`, usual in clouds).
    pub wait_for_consumer: bool,
    /// From the moment a claim may be bound until it is. An assumption: provisioners need about a second or two.
    pub bind_delay: Duration,
    /// From a pod's creation to its ephemeral claims, and from the last user's end to the removal (§5.9: ≤ 0.2 s).
    pub delay: Duration,
}

impl Default for StorageSettings {
    fn default() -> StorageSettings {
        StorageSettings {
            ignored: false,
            wait_for_consumer: true,
            bind_delay: Duration::from_secs(1),
            delay: Duration::from_millis(100),
        }
    }
}

/// What is due for a claim or pod.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    Make(Key),
    Bind(Key),
    Release(Key),
}

/// Whether a pod's claims let it be bound to a node.
pub enum State {
    /// All bound, or none.
    Ready,
    /// A node must be chosen first.
    WaitsForConsumer,
    /// The scheduler's message.
    Blocked(Str),
}

/// The claim controllers of a cluster.
#[derive(Clone, Debug)]
pub struct Claims {
    settings: StorageSettings,
    timers: Arc<Timers<Due>>,
    /// Pods with claims, by claim.
    users: Arc<BTreeMap<Key, BTreeSet<Key>>>,
    /// Faults: claims of these pods are not bound (field-bugs.md `volume_fault`, mode unbound).
    holds: BTreeMap<u64, PodScope>,
}

/// The claim of one volume of a pod.
fn claim_name(pod: &Pod, volume: &Volume) -> Option<Str> {
    match (&volume.ephemeral, &volume.persistent_volume_claim) {
        (Some(_), _) => Some(format_smolstr!("{}-{}", pod.metadata.name, volume.name)),
        (_, Some(claim)) => Some(claim.claim_name.clone()),
        _ => None,
    }
}
/// Whether the claim is the pod's: one of the same name that was made for a former pod is not.
fn is_for(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    claim.metadata.owner_references.iter().any(|o| o.uid == pod.metadata.uid)
}
fn claims_of(pod: &Pod) -> impl Iterator<Item = (Key, &Volume)> {
    let namespace = &pod.metadata.namespace;
    pod.spec.volumes.iter().filter_map(move |v| Some((Key::new(namespace.clone(), claim_name(pod, v)?), v)))
}

/// The scheduler has chosen a node for the pod's claims.
pub(super) fn select_node(api: &mut ApiServer, pod: &Pod, node: &Str, now: Time) {
    for (key, _) in claims_of(pod) {
        let annotations = vec![(SELECTED_NODE, Some(node.clone()))];
        let patch = Arc::new(Patch { annotations, ..Patch::default() });
        let request = KubeRequest::Patch { kind: Kind::PersistentVolumeClaim, key, sub: Sub::Main, patch };
        let _ = api.handle(&Identity::System("scheduler"), &request, now);
    }
}

impl Claims {
    /// No claims yet.
    pub fn new(settings: StorageSettings) -> Claims {
        Claims { settings, timers: Arc::default(), users: Arc::default(), holds: BTreeMap::new() }
    }
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    fn set(&mut self, due: Due, at: Time) {
        Arc::make_mut(&mut self.timers).hasten(due, at);
    }

    /// Something changed.
    pub fn notice(&mut self, event: &WatchEvent, now: Time) {
        if self.settings.ignored {
            return;
        }
        match &event.object {
            Object::Pod(pod) if pod.spec.volumes.iter().any(|v| claim_name(pod, v).is_some()) => {
                let at = now.after(self.settings.delay);
                let user = pod.metadata.key();
                for (claim, volume) in claims_of(pod) {
                    match event.type_ {
                        WatchType::Added => {
                            Arc::make_mut(&mut self.users).entry(claim).or_default().insert(user.clone());
                            if volume.ephemeral.is_some() {
                                self.set(Due::Make(user.clone()), at);
                            }
                        }
                        WatchType::Deleted => {
                            let users = Arc::make_mut(&mut self.users);
                            if let Some(list) = users.get_mut(&claim) {
                                list.remove(&user);
                                if list.is_empty() {
                                    users.remove(&claim);
                                }
                            }
                            self.set(Due::Release(claim), at);
                        }
                        WatchType::Modified => {}
                    }
                }
            }
            Object::PersistentVolumeClaim(claim) if event.type_ == WatchType::Deleted => {
                // A pod that took the name of another waits for this: its own claim can be made now.
                let users = self.users.get(&claim.metadata.key()).cloned().unwrap_or_default();
                for user in users {
                    self.set(Due::Make(user), now.after(self.settings.delay));
                }
            }
            Object::PersistentVolumeClaim(claim) => {
                let key = claim.metadata.key();
                if claim.metadata.is_deleting() {
                    self.set(Due::Release(key.clone()), now.after(self.settings.delay));
                }
                let chosen =
                    !self.settings.wait_for_consumer || claim.metadata.annotations.contains_key(&SELECTED_NODE);
                if claim.phase != "Bound" && chosen {
                    self.set(Due::Bind(key), now.after(self.settings.bind_delay));
                }
            }
            _ => {}
        }
    }

    /// Claims of pods in `scope` are not bound until [`Claims::release`].
    pub fn hold(&mut self, id: u64, scope: PodScope) {
        self.holds.insert(id, scope);
    }
    /// Lets go of a hold: what waited is bound after the usual delay.
    pub fn release(&mut self, id: u64, api: &ApiServer, now: Time) {
        if self.holds.remove(&id).is_none() {
            return;
        }
        let at = now.after(self.settings.bind_delay);
        let unbound: Vec<Key> = api
            .iter(Kind::PersistentVolumeClaim)
            .filter_map(|o| o.get::<PersistentVolumeClaim>())
            .filter(|c| c.phase != "Bound")
            .filter(|c| !self.settings.wait_for_consumer || c.metadata.annotations.contains_key(&SELECTED_NODE))
            .map(|c| c.metadata.key())
            .collect();
        for key in unbound {
            self.set(Due::Bind(key), at);
        }
    }

    /// Whether the pod's claims let it be scheduled.
    pub fn state_for(&self, api: &ApiServer, pod: &Pod) -> State {
        let mut state = State::Ready;
        if self.settings.ignored {
            return state;
        }
        for (key, volume) in claims_of(pod) {
            let Some(claim) = api.typed::<PersistentVolumeClaim>(&key) else {
                let name = &key.name;
                return State::Blocked(if volume.ephemeral.is_some() {
                    format_smolstr!(
                        "waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\""
                    )
                } else {
                    format_smolstr!("persistentvolumeclaim \"{name}\" not found")
                });
            };
            if volume.ephemeral.is_some() && !is_for(claim, pod) {
                return State::Blocked(format_smolstr!(
                    "PVC {key} was not created for pod {} (pod is not owner)",
                    pod.metadata.key()
                ));
            }
            if claim.metadata.is_deleting() {
                return State::Blocked(format_smolstr!("persistentvolumeclaim \"{}\" is being deleted", key.name));
            }
            if claim.phase != "Bound" {
                if !self.settings.wait_for_consumer {
                    return State::Blocked(Str::new_static("pod has unbound immediate PersistentVolumeClaims"));
                }
                state = State::WaitsForConsumer;
            }
        }
        state
    }

    /// Does one thing that is due; false if there is none.
    pub fn run_one(&mut self, api: &mut ApiServer, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(due) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        match due {
            Due::Make(pod) => make(api, &pod, now),
            Due::Bind(claim) => self.bind(api, &claim, now),
            Due::Release(claim) => self.let_go(api, &claim, now),
        }
        true
    }
    fn bind(&self, api: &mut ApiServer, key: &Key, now: Time) {
        let Some(claim) = api.typed::<PersistentVolumeClaim>(key).filter(|c| !c.metadata.is_deleting()) else { return };
        let mut users = self.users.get(key).into_iter().flatten().filter_map(|u| api.typed::<Pod>(u));
        if users.any(|pod| self.holds.values().any(|scope| scope.matches(pod))) {
            return;
        }
        let bound = PersistentVolumeClaim { phase: Str::new_static("Bound"), ..(**claim).clone() };
        let _ = api.handle(&WHO, &KubeRequest::Update(bound.into(), Sub::Status), now);
    }
    /// Takes the protection from a claim that is being deleted and has no user left: a pod that exists in the API, whether
    /// it runs or not (§5.9). A pod that only has the name of the claim's pod is none (`pvcprotection` asks `VolumeIsForPod`).
    fn let_go(&self, api: &mut ApiServer, key: &Key, now: Time) {
        let Some(claim) = api.typed::<PersistentVolumeClaim>(key) else { return };
        let uses =
            |pod: &Arc<Pod>| claims_of(pod).any(|(k, v)| k == *key && (v.ephemeral.is_none() || is_for(claim, pod)));
        let used = self.users.get(key).into_iter().flatten().filter_map(|u| api.typed::<Pod>(u)).any(uses);
        let meta = &claim.metadata;
        if meta.is_deleting() && meta.has_finalizer(PROTECTION) && !used {
            let patch = Arc::new(Patch::finalizers(meta.finalizers_without(PROTECTION)));
            let request =
                KubeRequest::Patch { kind: Kind::PersistentVolumeClaim, key: key.clone(), sub: Sub::Main, patch };
            let _ = api.handle(&WHO, &request, now);
        }
    }
}

/// Creates the claims of a pod's ephemeral volumes.
fn make(api: &mut ApiServer, key: &Key, now: Time) {
    let Some(pod) = api.typed::<Pod>(key).filter(|p| !p.metadata.is_deleting()).cloned() else { return };
    for volume in pod.spec.volumes.iter().filter(|v| v.ephemeral.is_some()) {
        let Some(name) = claim_name(&pod, volume) else { continue };
        let template = volume.ephemeral.as_ref().and_then(|e| e.pointer("/volumeClaimTemplate/spec/storageClassName"));
        let claim = PersistentVolumeClaim {
            metadata: Meta {
                owner_references: Arc::new([OwnerRef::controller(Kind::Pod, &pod.metadata)]),
                finalizers: Arc::new([Str::new_static(PROTECTION)]),
                ..Meta::named(key.namespace.clone(), name)
            },
            phase: Str::new_static("Pending"),
            storage_class_name: template.and_then(|c| c.as_str()).unwrap_or_default().into(),
        };
        let _ = api.handle(&Identity::System("ephemeral-volume-controller"), &KubeRequest::Create(claim.into()), now);
    }
}
