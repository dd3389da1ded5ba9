//! Deployments: pods of the current template, rolled over one by one. The one who owns the pods is the Deployment itself.
//!
//! Source: kubernetes-api.md §6; pkg/controller/{deployment,replicaset}: RollingUpdate with maxSurge 25 % rounded up and
//! maxUnavailable 25 % rounded down. Recorded: d_seed_overlap-from-0.9.0 (the old manager gets its SIGTERM after the new
//! pod is Ready). Differs: no ReplicaSet objects stand between, and `minReadySeconds` is 0.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_api::core::Deployment;
use arc_api::kube::{DeleteOptions, Identity, KubeRequest, Sub, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::pod::{Pod, PodTemplate};
use arc_api::{Duration, Kind, Meta, Object, OwnerRef, Str, Time, Uid, format_smolstr};

use super::timers::Timers;
use crate::ApiServer;

const WHO: Identity = Identity::System("deployment-controller");
/// The label that tells the templates apart.
const HASH_LABEL: Str = Str::new_static("pod-template-hash");

/// Delays of the Deployment controller.
#[derive(Clone, PartialEq, Debug)]
pub struct DeploymentSettings {
    /// From a change to the reaction (recorded: d_seed_overlap-from-0.9.0, below 0.1 s beside the 2 s that its kubelet
    /// was told to wait with the SIGTERM).
    pub delay: Duration,
    /// First and longest pause after a refused creation (client-go's default rate limiter: 5 ms to 1000 s).
    pub backoff: (Duration, Duration),
}

impl Default for DeploymentSettings {
    fn default() -> DeploymentSettings {
        DeploymentSettings {
            delay: Duration::from_millis(100),
            backoff: (Duration::from_millis(5), Duration::from_secs(1000)),
        }
    }
}

/// The Deployment controller of a cluster.
#[derive(Clone, Debug)]
pub struct Deployments {
    settings: DeploymentSettings,
    timers: Arc<Timers<Key>>,
    /// Refused creations in a row.
    refused: BTreeMap<Key, u32>,
    /// Deployments by identity: which events are about a Deployment's pod.
    known: Arc<BTreeMap<Uid, Key>>,
    /// Pods that were seen Ready: their loss matters.
    ready: Arc<BTreeSet<Uid>>,
}

impl Deployments {
    /// No Deployments yet.
    pub fn new(settings: DeploymentSettings) -> Deployments {
        Deployments {
            settings,
            timers: Arc::default(),
            refused: BTreeMap::new(),
            known: Arc::default(),
            ready: Arc::default(),
        }
    }
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    /// Something changed.
    pub fn notice(&mut self, event: &WatchEvent, now: Time) {
        let key = match &event.object {
            Object::Deployment(deployment) => {
                let meta = &deployment.metadata;
                if event.type_ == WatchType::Deleted {
                    Arc::make_mut(&mut self.known).remove(&meta.uid);
                    Arc::make_mut(&mut self.timers).set(meta.key(), Time::NEVER);
                    self.refused.remove(&meta.key());
                    return;
                }
                Arc::make_mut(&mut self.known).insert(meta.uid, meta.key());
                meta.key()
            }
            Object::Pod(pod) if !self.known.is_empty() => {
                let Some(owner) = pod.metadata.controller().and_then(|o| self.known.get(&o.uid)) else { return };
                let uid = pod.metadata.uid;
                let ready = event.type_ != WatchType::Deleted && pod.status.is_ready();
                let news = ready != self.ready.contains(&uid);
                if news {
                    let known = Arc::make_mut(&mut self.ready);
                    if ready {
                        known.insert(uid)
                    } else {
                        known.remove(&uid)
                    };
                }
                let over = pod.metadata.is_deleting() || pod.status.phase.is_terminal();
                if !news && !over && event.type_ != WatchType::Deleted {
                    return;
                }
                owner.clone()
            }
            _ => return,
        };
        Arc::make_mut(&mut self.timers).hasten(key, now.after(self.settings.delay));
    }

    /// Looks at one Deployment; false if none is due.
    pub fn run_one(&mut self, api: &mut ApiServer, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(key) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        let Some(deployment) = api.typed::<Deployment>(&key).filter(|d| !d.metadata.is_deleting()).cloned() else {
            return true;
        };
        let hash = template_hash(&deployment.template);
        let mut pods: Vec<Arc<Pod>> = api
            .dependents(deployment.metadata.uid)
            .filter_map(|o| o.get::<Pod>())
            .filter(|p| !p.metadata.is_deleting() && !p.status.phase.is_terminal())
            .cloned()
            .collect();
        // What goes first is what serves least: not bound, not ready, then the youngest (ranking of ReplicaSets).
        pods.sort_by_key(|p| (p.node_name.is_some(), p.status.is_ready(), std::cmp::Reverse(p.metadata.uid)));
        let (new, old): (Vec<_>, Vec<_>) = pods.into_iter().partition(|p| p.metadata.label(&HASH_LABEL) == Some(&hash));
        let plan = Plan::of(deployment.replicas.max(0) as usize, &new, &old);
        for pod in old.iter().take(plan.drop_old).chain(new.iter().take(plan.drop_new)) {
            let options = DeleteOptions { uid: Some(pod.metadata.uid), ..DeleteOptions::default() };
            let request = KubeRequest::Delete { kind: Kind::Pod, key: pod.metadata.key(), options };
            let _ = api.handle(&WHO, &request, now);
        }
        let mut refused = false;
        for _ in 0..plan.create {
            refused |= api.handle(&WHO, &KubeRequest::Create(pod_of(&deployment, &hash)), now).is_err();
        }
        self.pace(&key, refused, now);
        let updated_ready = new.iter().filter(|p| p.status.is_ready()).count() as i32;
        if deployment.updated_ready != updated_ready {
            let next = Deployment { updated_ready, ..(*deployment).clone() };
            let _ = api.handle(&WHO, &KubeRequest::Update(next.into(), Sub::Status), now);
        }
        true
    }
    fn pace(&mut self, key: &Key, refused: bool, now: Time) {
        if !refused {
            self.refused.remove(key);
            return;
        }
        let count = self.refused.entry(key.clone()).or_default();
        let (first, max) = self.settings.backoff;
        let wait = (first * 2u32.pow((*count).min(20))).min(max);
        *count += 1;
        Arc::make_mut(&mut self.timers).hasten(key.clone(), now.after(wait));
    }
}

/// How many pods to make and to delete in one look.
#[derive(PartialEq, Eq, Debug)]
struct Plan {
    create: usize,
    drop_new: usize,
    drop_old: usize,
}

impl Plan {
    fn of(replicas: usize, new: &[Arc<Pod>], old: &[Arc<Pod>]) -> Plan {
        let ready = |list: &[Arc<Pod>]| list.iter().filter(|p| p.status.is_ready()).count();
        Plan::count(replicas, new.len(), ready(new), old.len(), ready(old))
    }
    fn count(replicas: usize, new: usize, new_ready: usize, old: usize, old_ready: usize) -> Plan {
        // 25 % up for the surge and 25 % down for what may be missing; both zero would never move.
        let surge = replicas.div_ceil(4).max(usize::from(replicas > 0));
        let least = replicas - replicas / 4;
        let create = (replicas + surge).saturating_sub(new + old).min(replicas.saturating_sub(new));
        // An old pod that is not ready goes at once; a ready one when enough others are.
        let unready = old - old_ready;
        let spare = (new_ready + old_ready).saturating_sub(least).min(old_ready);
        let drop_old = if replicas == 0 { old } else { unready + spare };
        Plan { create, drop_new: new.saturating_sub(replicas), drop_old }
    }
}

fn pod_of(deployment: &Deployment, hash: &Str) -> Object {
    let template = &deployment.template;
    let mut labels = template.metadata.labels.clone();
    Arc::make_mut(&mut labels).insert(HASH_LABEL, hash.clone());
    let meta = &deployment.metadata;
    Object::from(Pod {
        metadata: Meta {
            generate_name: Some(format_smolstr!("{}-{hash}-", meta.name)),
            labels,
            annotations: template.metadata.annotations.clone(),
            owner_references: Arc::new([OwnerRef::controller(Kind::Deployment, meta)]),
            ..Meta::named(meta.namespace.clone(), "")
        },
        spec: template.spec.clone(),
        node_name: template.spec.node_name.clone(),
        ..Pod::default()
    })
}

/// A hash of the template in the alphabet of names: equal templates have equal hashes.
///
/// Source: ComputeHash and SafeEncodeString. Differs: FNV over the template's JSON, so the text is not the real one.
fn template_hash(template: &PodTemplate) -> Str {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    let json = serde_json::to_vec(template).unwrap_or_default();
    let hash = json.iter().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
    let text: String = hash.to_string().bytes().map(|b| char::from(ALPHABET[usize::from(b) % 27])).collect();
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_replica_is_replaced_only_when_the_new_one_is_ready() {
        let plan = |new, new_ready, old, old_ready| {
            let p = Plan::count(1, new, new_ready, old, old_ready);
            (p.create, p.drop_new, p.drop_old)
        };
        assert_eq!(plan(0, 0, 1, 1), (1, 0, 0));
        assert_eq!(plan(1, 0, 1, 1), (0, 0, 0));
        assert_eq!(plan(1, 1, 1, 1), (0, 0, 1));
        assert_eq!(plan(1, 1, 0, 0), (0, 0, 0));
        assert_eq!(plan(2, 1, 0, 0), (0, 1, 0));
    }

    #[test]
    fn four_replicas_lose_one_and_gain_one_at_a_time() {
        assert_eq!(Plan::count(4, 0, 0, 4, 4), Plan { create: 1, drop_new: 0, drop_old: 1 });
        assert_eq!(Plan::count(0, 1, 1, 1, 1), Plan { create: 0, drop_new: 1, drop_old: 1 });
    }

    #[test]
    fn a_restart_changes_the_hash() {
        let mut template = PodTemplate::default();
        let before = template_hash(&template);
        template.metadata.annotations = arc_api::meta::labels([("kubectl.kubernetes.io/restartedAt", "now")]);
        assert_ne!(template_hash(&template), before);
        assert_eq!(template_hash(&PodTemplate::default()), before);
    }
}
