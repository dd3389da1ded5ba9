//! Nodes that stop answering: conditions and taints, evictions by taint, PodGC; drain, cordon, and nodes that come later.
//!
//! Heartbeats are not simulated: while all is well there is no timer. A fault says when a node fell silent, and the time at
//! which the real controllers would notice follows from the phases of their periods.
//!
//! Source: kubernetes-api.md §5.6–§5.8; pkg/controller/{nodelifecycle,tainteviction,podgc}.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::{Node, Taint};
use arc_api::kube::{Body, DeleteOptions, Identity, KubeRequest, Patch, Sub, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::pod::{Pod, PodCondition, PodConditionType, PodPhase, PodStatus};
use arc_api::{Duration, Kind, Object, Str, Time, Uid};

use super::scheduler::tolerates_taint;
use super::scope::draw;
use super::settings::NodeSettings;
use super::timers::Timers;
use crate::ApiServer;

const WHO: Identity = Identity::System("node-controller");
const UNREACHABLE: Str = Str::new_static("node.kubernetes.io/unreachable");
const NOT_READY: Str = Str::new_static("node.kubernetes.io/not-ready");

/// Delays of the node controllers.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeLifecycleSettings {
    /// Silence after which a node is Unknown: 40 s, 50 s from 1.32 on (§0.3).
    pub grace: Duration,
    /// Between two heartbeats (§5.6: Lease renewed every 10 s).
    pub heartbeat: Duration,
    /// Between two looks of the controller (nodelifecycle: 5 s).
    pub monitor: Duration,
    /// From Unknown to the NoExecute taint (§5.6: 0.5 s).
    pub no_execute: Duration,
    /// How long a pod without a toleration of its own stays (§5.6: 300 s, by DefaultTolerationSeconds).
    pub toleration: Duration,
    /// PodGC: quarantine after a node's object is gone, and the period of its rounds (§5.6: 40 s, 20 s).
    pub pod_gc: (Duration, Duration),
    /// PodGC: terminated pods that may exist (§5.7: 12 500).
    pub terminated_max: usize,
}

impl NodeLifecycleSettings {
    /// The defaults of Kubernetes 1.`minor`.
    pub fn version(minor: u32) -> NodeLifecycleSettings {
        NodeLifecycleSettings {
            grace: Duration::from_secs(if minor >= 32 { 50 } else { 40 }),
            heartbeat: Duration::from_secs(10),
            monitor: Duration::from_secs(5),
            no_execute: Duration::from_millis(500),
            toleration: Duration::from_secs(300),
            pod_gc: (Duration::from_secs(40), Duration::from_secs(20)),
            terminated_max: 12_500,
        }
    }
}

/// What is due.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Due {
    /// The node has been silent for too long.
    Unknown(Str),
    /// Its pods begin to be evicted.
    NoExecute(Str),
    /// A pod's toleration is over.
    Evict(Uid),
    /// A round of PodGC that has something to do.
    PodGc,
    /// An object to create: a node that comes later.
    Join(Str),
}

/// The node controllers of a cluster.
#[derive(Clone, Debug)]
pub struct Nodes {
    settings: NodeLifecycleSettings,
    minor: u32,
    seed: u64,
    timers: Arc<Timers<Due>>,
    /// Nodes that fell silent, with the time.
    silent: BTreeMap<Str, Time>,
    /// Nodes whose object is gone while pods were bound to them, with the time.
    lost: BTreeMap<Str, Time>,
    joining: BTreeMap<Str, NodeSettings>,
    /// Terminal pods, oldest first: PodGC's threshold.
    terminated: Arc<BTreeMap<Uid, Key>>,
}

impl Nodes {
    /// `seed` decides the phases of the heartbeats.
    pub fn new(settings: NodeLifecycleSettings, minor: u32, seed: u64) -> Nodes {
        Nodes {
            settings,
            minor,
            seed,
            timers: Arc::default(),
            silent: BTreeMap::new(),
            lost: BTreeMap::new(),
            joining: BTreeMap::new(),
            terminated: Arc::default(),
        }
    }
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    fn set(&mut self, due: Due, at: Time) {
        Arc::make_mut(&mut self.timers).set(due, at);
    }
    fn next_round(&self, now: Time) -> Time {
        let period = self.settings.pod_gc.1.as_micros().max(1) as u64;
        Time(now.0.div_euclid(period) * period + period)
    }

    /// Something changed.
    pub fn notice(&mut self, event: &WatchEvent, api: &ApiServer, now: Time) {
        match &event.object {
            Object::Node(node) if event.type_ == WatchType::Deleted => {
                let name = node.metadata.name.clone();
                self.silent.remove(&name);
                for due in [Due::Unknown(name.clone()), Due::NoExecute(name.clone())] {
                    self.set(due, Time::NEVER);
                }
                if api.pods_on(&name).next().is_some() {
                    self.lost.insert(name, now);
                    let first = self.next_round(now.after(self.settings.pod_gc.0));
                    self.set(Due::PodGc, first.min(self.timers.get(&Due::PodGc).unwrap_or(Time::NEVER)));
                }
            }
            Object::Pod(pod) => {
                let uid = pod.metadata.uid;
                if event.type_ == WatchType::Deleted {
                    if self.terminated.contains_key(&uid) {
                        Arc::make_mut(&mut self.terminated).remove(&uid);
                    }
                    if self.timers.get(&Due::Evict(uid)).is_some() {
                        self.set(Due::Evict(uid), Time::NEVER);
                    }
                } else if pod.status.phase.is_terminal() && !self.terminated.contains_key(&uid) {
                    Arc::make_mut(&mut self.terminated).insert(uid, pod.metadata.key());
                    if self.terminated.len() > self.settings.terminated_max {
                        let round = self.next_round(now);
                        Arc::make_mut(&mut self.timers).hasten(Due::PodGc, round);
                    }
                } else if event.type_ == WatchType::Added
                    && let Some(node) = &pod.node_name
                    && api.typed::<Node>(&Key::new("", node.clone())).is_none()
                {
                    self.lost.insert(node.clone(), now);
                    let first = self.next_round(now.after(self.settings.pod_gc.0));
                    Arc::make_mut(&mut self.timers).hasten(Due::PodGc, first);
                }
            }
            _ => {}
        }
    }

    /// The node's kubelet falls silent now. Its last heartbeat was up to a period ago, and the controller looks now and
    /// then: Unknown comes 36–45 s later with a grace of 40 s (§5.6).
    pub fn fell_silent(&mut self, node: &Str, now: Time) {
        if self.silent.contains_key(node) {
            return;
        }
        self.silent.insert(node.clone(), now);
        let micros = |d: Duration| d.as_micros().max(1) as u64;
        let (beat, look) = (micros(self.settings.heartbeat), micros(self.settings.monitor));
        let phase = draw(self.seed, node, 0, beat);
        let last = (now.0.saturating_sub(phase) / beat * beat).saturating_add(phase).min(now.0);
        let expires = last + micros(self.settings.grace);
        self.set(Due::Unknown(node.clone()), Time(expires.div_ceil(look) * look));
    }
    /// The node's kubelet is heard again: Ready, no taints, no evictions that have not begun.
    pub fn heard_again(&mut self, node: &Str, api: &mut ApiServer, now: Time) {
        self.silent.remove(node);
        for due in [Due::Unknown(node.clone()), Due::NoExecute(node.clone())] {
            self.set(due, Time::NEVER);
        }
        let pods: Vec<Uid> = api.pods_on(node).map(|p| p.metadata.uid).collect();
        for uid in pods {
            self.set(Due::Evict(uid), Time::NEVER);
        }
        write_health(api, node, "True", now);
        set_taints(api, node, |t| t.key != UNREACHABLE && t.key != NOT_READY, &[], now);
    }
    /// A node joins after a while (an autoscaler adds it).
    pub fn join(&mut self, node: NodeSettings, at: Time) {
        self.set(Due::Join(node.name.clone()), at);
        self.joining.insert(node.name.clone(), node);
    }

    /// Does one thing that is due; false if there is none.
    pub fn run_one(&mut self, api: &mut ApiServer, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(due) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        match due {
            Due::Unknown(node) => self.unknown(&node, api, now),
            Due::NoExecute(node) => self.no_execute(&node, api, now),
            Due::Evict(uid) => evict_by_taint(api, uid, self.minor, now),
            Due::PodGc => self.collect(api, now),
            Due::Join(name) => {
                if let Some(node) = self.joining.remove(&name) {
                    let _ = api.handle(&WHO, &KubeRequest::Create(node.object().into()), now);
                }
            }
        }
        true
    }
    fn unknown(&mut self, node: &Str, api: &mut ApiServer, now: Time) {
        write_health(api, node, "Unknown", now);
        let taint = Taint { key: UNREACHABLE, value: Str::default(), effect: Str::new_static("NoSchedule") };
        set_taints(api, node, |t| t.key != UNREACHABLE, &[taint], now);
        let pods: Vec<Arc<Pod>> = api.pods_on(node).cloned().collect();
        for pod in pods {
            unready(api, &pod, now);
        }
        self.set(Due::NoExecute(node.clone()), now.after(self.settings.no_execute));
    }
    /// Only if some other node is healthy: with all of them silent nothing is evicted (§5.6, pitfall 13).
    fn no_execute(&mut self, node: &Str, api: &mut ApiServer, now: Time) {
        let healthy = |o: &Object| o.get::<Node>().is_some_and(|n| n.ready == "True");
        if !api.iter(Kind::Node).any(healthy) {
            // Looked at again when a node answers: see `reconsider`.
            return;
        }
        let taint = |effect| Taint { key: UNREACHABLE, value: Str::default(), effect: Str::new_static(effect) };
        let taints = [taint("NoSchedule"), taint("NoExecute")];
        set_taints(api, node, |t| t.key != UNREACHABLE, &taints, now);
        let pods: Vec<Arc<Pod>> = api.pods_on(node).cloned().collect();
        for pod in pods.into_iter().filter(|p| !p.metadata.is_deleting()) {
            // Only the toleration that names the taint has a limit; a wildcard without one is for ever.
            let stays = pod.spec.tolerations.iter().filter(|t| tolerates_taint(t, &taints[1]));
            let limits: Vec<Option<i64>> = stays.map(|t| t.toleration_seconds).collect();
            let wait = match limits.as_slice() {
                // Admission adds the default tolerations; a pod that lost them goes after the default all the same.
                [] => self.settings.toleration,
                list => match list.iter().flatten().min() {
                    Some(seconds) => Duration::from_secs((*seconds).max(0) as u64),
                    None => continue,
                },
            };
            self.set(Due::Evict(pod.metadata.uid), now.after(wait));
        }
    }
    /// A node is healthy again or new: silent ones that were left alone, because all were silent, are evicted now.
    pub fn reconsider(&mut self, api: &ApiServer, now: Time) {
        let left: Vec<Str> = self
            .silent
            .keys()
            .filter(|n| self.timers.get(&Due::Unknown((*n).clone())).is_none())
            .filter(|n| {
                let node = api.typed::<Node>(&Key::new("", (*n).clone()));
                node.is_some_and(|n| n.ready == "Unknown" && !n.taints.iter().any(|t| t.effect == "NoExecute"))
            })
            .cloned()
            .collect();
        for node in left {
            self.set(Due::NoExecute(node), now.after(self.settings.no_execute));
        }
    }

    /// A round of PodGC: pods of nodes that are gone, and terminated pods above the threshold.
    fn collect(&mut self, api: &mut ApiServer, now: Time) {
        let quarantine = self.settings.pod_gc.0;
        let lost: Vec<Str> =
            self.lost.iter().filter(|(_, t)| now.since(**t) >= quarantine).map(|(n, _)| n.clone()).collect();
        for node in lost {
            self.lost.remove(&node);
            if api.typed::<Node>(&Key::new("", node.clone())).is_some() {
                continue;
            }
            let pods: Vec<Arc<Pod>> = api.pods_on(&node).cloned().collect();
            for pod in pods {
                collect_orphan(api, &pod, self.minor, now);
            }
        }
        let surplus = self.terminated.len().saturating_sub(self.settings.terminated_max);
        let oldest: Vec<(Uid, Key)> = self.terminated.iter().take(surplus).map(|(u, k)| (*u, k.clone())).collect();
        for (uid, key) in oldest {
            delete_now(api, key, uid, now);
        }
        if !self.lost.is_empty() {
            let round = self.next_round(now);
            self.set(Due::PodGc, round);
        }
    }
}

/// Failed with `DeletionByPodGC`, then gone (§5.6; the condition from 1.26 on).
fn collect_orphan(api: &mut ApiServer, pod: &Arc<Pod>, minor: u32, now: Time) {
    if minor >= 26 && !pod.status.phase.is_terminal() {
        let mut status = pod.status.clone();
        status.phase = PodPhase::Failed;
        disrupt(&mut status, "DeletionByPodGC", "PodGC: node no longer exists", now);
        write_status(api, pod, status, now);
    }
    delete_now(api, pod.metadata.key(), pod.metadata.uid, now);
}

fn delete_now(api: &mut ApiServer, key: Key, uid: Uid, now: Time) {
    let options = DeleteOptions { grace_period_seconds: Some(0), uid: Some(uid), ..DeleteOptions::default() };
    let _ = api.handle(&WHO, &KubeRequest::Delete { kind: Kind::Pod, key, options }, now);
}

/// The pod's toleration is over: a graceful DELETE, which a silent node leaves standing (§5.6).
fn evict_by_taint(api: &mut ApiServer, uid: Uid, minor: u32, now: Time) {
    let Some(pod) = api.by_uid(uid).and_then(|o| o.get::<Pod>()).filter(|p| !p.metadata.is_deleting()).cloned() else {
        return;
    };
    if minor >= 26 {
        let mut status = pod.status.clone();
        disrupt(&mut status, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", now);
        write_status(api, &pod, status, now);
    }
    let options = DeleteOptions { uid: Some(uid), ..DeleteOptions::default() };
    let _ = api.handle(&WHO, &KubeRequest::Delete { kind: Kind::Pod, key: pod.metadata.key(), options }, now);
}

/// Sets `DisruptionTarget`.
fn disrupt(status: &mut PodStatus, reason: &'static str, message: &'static str, now: Time) {
    status.conditions.retain(|c| c.type_ != PodConditionType::DisruptionTarget);
    status.conditions.push(PodCondition {
        type_: PodConditionType::DisruptionTarget,
        status: true,
        reason: Str::new_static(reason),
        message: Str::new_static(message),
        last_transition_time: now.truncated(),
    });
}

fn write_status(api: &mut ApiServer, pod: &Pod, status: PodStatus, now: Time) {
    let patch = Arc::new(Patch::body(Body::PodStatus(Box::new(status))));
    let request = KubeRequest::Patch { kind: Kind::Pod, key: pod.metadata.key(), sub: Sub::Status, patch };
    let _ = api.handle(&WHO, &request, now);
}

/// `Ready=False` on a pod of a silent node.
fn unready(api: &mut ApiServer, pod: &Arc<Pod>, now: Time) {
    let mut status = pod.status.clone();
    let Some(ready) = status.conditions.iter_mut().find(|c| c.type_ == PodConditionType::Ready && c.status) else {
        return;
    };
    ready.status = false;
    ready.last_transition_time = now.truncated();
    write_status(api, pod, status, now);
}

fn write_health(api: &mut ApiServer, node: &Str, ready: &'static str, now: Time) {
    let Some(stored) = api.typed::<Node>(&Key::new("", node.clone())).filter(|n| n.ready != ready) else { return };
    let next = Node { ready: Str::new_static(ready), ..(**stored).clone() };
    let _ = api.handle(&WHO, &KubeRequest::Update(next.into(), Sub::Status), now);
}

fn set_taints(api: &mut ApiServer, node: &Str, keep: impl Fn(&Taint) -> bool, add: &[Taint], now: Time) {
    let Some(stored) = api.typed::<Node>(&Key::new("", node.clone())) else { return };
    let taints: Vec<Taint> = stored.taints.iter().filter(|t| keep(t)).chain(add).cloned().collect();
    if taints != stored.taints {
        let next = Node { taints, ..(**stored).clone() };
        let _ = api.handle(&WHO, &KubeRequest::Update(next.into(), Sub::Main), now);
    }
}

/// Cordons or uncordons a node.
pub(crate) fn cordon(api: &mut ApiServer, node: &str, on: bool, now: Time) {
    let Some(stored) = api.typed::<Node>(&Key::new("", node)).filter(|n| n.unschedulable != on) else { return };
    let next = Node { unschedulable: on, ..(**stored).clone() };
    let _ = api.handle(&Identity::Admin, &KubeRequest::Update(next.into(), Sub::Main), now);
}

/// Evicts every pod of a node, as `kubectl drain` does: through the eviction API, or with a grace of its own.
///
/// Source: kubernetes-api.md §5.8 first item. Differs: with a stated grace the pods are deleted without an Eviction.
pub(crate) fn evict_all(api: &mut ApiServer, node: &str, grace: Option<Duration>, minor: u32, now: Time) {
    let pods: Vec<Arc<Pod>> = api.pods_on(node).cloned().collect();
    for pod in pods {
        let key = pod.metadata.key();
        if minor >= 26 && !pod.metadata.is_deleting() && !pod.status.phase.is_terminal() {
            let mut status = pod.status.clone();
            disrupt(&mut status, "EvictionByEvictionAPI", "Eviction API: evicting", now);
            write_status(api, &pod, status, now);
        }
        let request = match grace {
            None => KubeRequest::Evict { key },
            Some(grace) => {
                let grace_period_seconds = Some(grace.as_secs() as i64);
                let options =
                    DeleteOptions { grace_period_seconds, uid: Some(pod.metadata.uid), ..DeleteOptions::default() };
                KubeRequest::Delete { kind: Kind::Pod, key, options }
            }
        };
        let _ = api.handle(&Identity::Admin, &request, now);
    }
}
