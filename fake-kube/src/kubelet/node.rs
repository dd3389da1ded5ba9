//! The kubelets of all nodes: which pods they have, what reaches the API, admission, and nodes that are cut off or dead.
//!
//! Keeps one timer per pod. Writes through the API server as `Identity::Kubelet`; never touches the store otherwise.
//!
//! Source: kubernetes-api.md §5.1, §5.5, §5.8; pkg/kubelet/kubelet.go (HandlePod*), status/status_manager.go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arc_api::core::{Event, Node};
use arc_api::kube::{Body, DeleteOptions, Identity, KubeRequest, Patch, Sub, WatchType};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Kind, Meta, Object, Str, Time, Uid, format_smolstr};

use super::effects::NodeEffect;
use super::worker::{Context, KubeletSettings, PodWorker};
use crate::ApiServer;
use crate::loops::requests::Requests;
use crate::loops::scheduler::selector_matches;
use crate::loops::scope::{PodScope, draw};
use crate::loops::timers::Timers;

/// A fault: nodes refuse pods after they were bound (kubernetes-api.md §5.8 last item; field-bugs.md `pod_reject`).
#[derive(Clone, PartialEq, Debug)]
pub struct AdmissionRule {
    /// Which pods.
    pub scope: PodScope,
    /// `OutOfpods`, `OutOfcpu`, `OutOfmemory`, `UnexpectedAdmissionError`, `NodeAffinity`.
    pub reason: Str,
    /// Sentence; empty writes the usual one.
    pub message: Str,
    /// One in how many pods, as (numerator, denominator).
    pub chance: (u32, u32),
    /// How many times at most.
    pub times: Option<u32>,
}

#[derive(Clone, PartialEq, Debug)]
struct NodeState {
    /// It talks to the API server.
    online: bool,
    /// Its processes exist.
    powered: bool,
    used: Requests,
}

/// A change that a kubelet will react to.
#[derive(Clone, PartialEq, Debug)]
struct Notice {
    at: Time,
    pod: Arc<Pod>,
    gone: bool,
}

/// All kubelets of a cluster.
#[derive(Clone, Debug)]
pub struct Kubelets {
    settings: Arc<KubeletSettings>,
    minor: u32,
    seed: u64,
    workers: Arc<BTreeMap<Uid, Arc<PodWorker>>>,
    notices: Arc<BTreeMap<Uid, Notice>>,
    timers: Arc<Timers<Uid>>,
    nodes: Arc<BTreeMap<Str, NodeState>>,
    blocked: Arc<BTreeSet<Uid>>,
    rules: BTreeMap<u64, AdmissionRule>,
    api_up: bool,
    events: bool,
    effects: VecDeque<NodeEffect>,
}

impl Kubelets {
    /// No nodes yet. `events` says whether warnings become Event objects.
    pub fn new(settings: KubeletSettings, minor: u32, seed: u64, events: bool) -> Kubelets {
        Kubelets {
            settings: Arc::new(settings),
            minor,
            seed,
            workers: Arc::default(),
            notices: Arc::default(),
            timers: Arc::default(),
            nodes: Arc::default(),
            blocked: Arc::default(),
            rules: BTreeMap::new(),
            api_up: true,
            events,
            effects: VecDeque::new(),
        }
    }
    /// What nodes must do next.
    pub fn pop_effect(&mut self) -> Option<NodeEffect> {
        self.effects.pop_front()
    }
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    /// A pod as its kubelet sees it.
    pub fn worker(&self, pod: Uid) -> Option<&PodWorker> {
        self.workers.get(&pod).map(|w| &**w)
    }
    /// Pods that have a kubelet.
    pub fn len(&self) -> usize {
        self.workers.len()
    }
    /// None.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }
    /// Whether the node's kubelet talks to the API.
    pub fn is_online(&self, node: &str) -> bool {
        self.api_up && self.nodes.get(node).is_some_and(|n| n.online && n.powered)
    }
    fn is_powered(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|n| n.powered)
    }

    /// A node exists: its kubelet runs.
    pub fn node_added(&mut self, node: &Str) {
        let state = NodeState { online: true, powered: true, used: Requests::default() };
        Arc::make_mut(&mut self.nodes).entry(node.clone()).or_insert(state);
    }
    /// Adds an admission fault.
    pub fn add_rule(&mut self, id: u64, rule: AdmissionRule) {
        self.rules.insert(id, rule);
    }
    /// Ends an admission fault.
    pub fn remove_rule(&mut self, id: u64) {
        self.rules.remove(&id);
    }

    /// A pod changed in the API.
    pub fn notice(&mut self, type_: WatchType, pod: &Arc<Pod>, now: Time) {
        let Some(node) = &pod.node_name else { return };
        if !self.is_online(node) {
            return;
        }
        let uid = pod.metadata.uid;
        let known = self.workers.get(&uid);
        let gone = type_ == WatchType::Deleted;
        let news = match known {
            _ if gone => known.is_some() || self.notices.contains_key(&uid),
            Some(worker) => differs(&worker.pod().metadata, &pod.metadata),
            None => !pod.status.phase.is_terminal(),
        };
        if !news {
            return;
        }
        let notices = Arc::make_mut(&mut self.notices);
        let at = notices.get(&uid).map_or(now.after(self.settings.notice), |n| n.at);
        notices.insert(uid, Notice { at, pod: pod.clone(), gone });
        self.set_timer(uid);
    }
    /// A Secret or ConfigMap appeared, changed or went.
    pub fn object_changed(&mut self, namespace: &str, name: &str, api: &ApiServer, now: Time) {
        let waiting: Vec<Uid> = self.blocked.iter().copied().collect();
        for uid in waiting {
            if self.workers.get(&uid).is_some_and(|w| w.waits_for(namespace, name))
                && let Some(worker) = Arc::make_mut(&mut self.workers).get_mut(&uid)
            {
                let (mut effects, mut notes) = (Vec::new(), Vec::new());
                let settings = self.settings.clone();
                let cx = Context { now, lookup: api, settings: &settings, effects: &mut effects, notes: &mut notes };
                Arc::make_mut(worker).poke(&cx);
                self.set_timer(uid);
            }
        }
    }

    /// Runs one pod whose timer is due; false if there is none.
    pub fn run_one(&mut self, api: &mut ApiServer, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(uid) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        if self.notices.get(&uid).is_some_and(|n| n.at <= now)
            && let Some(notice) = Arc::make_mut(&mut self.notices).remove(&uid)
        {
            self.react(uid, notice, api, now);
        } else {
            self.step(uid, api, now, PodWorker::on_timer);
        }
        self.set_timer(uid);
        true
    }
    fn react(&mut self, uid: Uid, notice: Notice, api: &mut ApiServer, now: Time) {
        let Notice { pod, gone, .. } = notice;
        let known = self.workers.contains_key(&uid);
        match (known, gone) {
            (false, true) => {}
            (true, true) => self.step(uid, api, now, |w, cx| w.removed(pod, cx)),
            (true, false) if pod.metadata.is_deleting() => self.step(uid, api, now, |w, cx| w.deleted(pod, cx)),
            (true, false) => {}
            (false, false) => self.admit(uid, pod, api, now),
        }
    }
    fn admit(&mut self, uid: Uid, pod: Arc<Pod>, api: &mut ApiServer, now: Time) {
        let Some(node) = pod.node_name.clone() else { return };
        let request = Requests::of(&pod.spec, self.minor);
        let refusal = if pod.metadata.is_deleting() { None } else { self.refusal(&pod, &node, request, api) };
        let worker = match refusal {
            Some((reason, message)) => PodWorker::refused(pod.clone(), node, self.minor, reason, message, now),
            None => {
                if let Some(state) = Arc::make_mut(&mut self.nodes).get_mut(&node) {
                    state.used = state.used.plus(request);
                }
                let mut worker = PodWorker::idle(pod.clone(), node, self.minor, now);
                worker.charge = Some(request);
                worker
            }
        };
        Arc::make_mut(&mut self.workers).insert(uid, Arc::new(worker));
        self.step(uid, api, now, |w, cx| if pod.metadata.is_deleting() { w.deleted(pod, cx) } else { w.begin(cx) });
    }
    /// Why the node does not take the pod, if it does not.
    ///
    /// Source: kubernetes-api.md §5.8; pkg/kubelet/lifecycle/predicate.go (texts).
    fn refusal(&mut self, pod: &Pod, node: &Str, request: Requests, api: &ApiServer) -> Option<(Str, Str)> {
        let seed = self.seed;
        let hit = self.rules.iter_mut().find(|(id, rule)| {
            let (num, den) = rule.chance;
            rule.times != Some(0)
                && rule.scope.matches(pod)
                && draw(seed ^ **id, "admission", pod.metadata.uid.0, u64::from(den)) < u64::from(num)
        });
        let prefix = if self.minor >= 29 { "Pod was rejected: " } else { "Pod " };
        if let Some((_, rule)) = hit {
            rule.times = rule.times.map(|n| n - 1);
            let message = match (rule.message.is_empty(), rule.reason.strip_prefix("OutOf")) {
                (false, _) => rule.message.clone(),
                (true, Some(what)) => format_smolstr!("{prefix}Node didn't have enough resource: {what}"),
                (true, None) => format_smolstr!("{prefix}{}", rule.reason),
            };
            return Some((rule.reason.clone(), message));
        }
        let object = api.typed::<Node>(&Key::new("", node.clone()))?;
        let state = self.nodes.get(node)?;
        if let Some((what, used, total, wanted)) = request.missing(state.used, Requests::allocatable(object)).next() {
            let message = format_smolstr!(
                "{prefix}Node didn't have enough resource: {what}, requested: {wanted}, used: {used}, capacity: {total}"
            );
            return Some((format_smolstr!("OutOf{what}"), message));
        }
        if !selector_matches(&pod.spec.node_selector, &object.metadata.labels) {
            return Some((Str::new_static("NodeAffinity"), format_smolstr!("{prefix}Predicate NodeAffinity failed")));
        }
        None
    }

    /// Gives one pod an input. Nothing happens if the node is without power.
    pub fn input(
        &mut self,
        pod: Uid,
        api: &mut ApiServer,
        now: Time,
        f: impl FnOnce(&mut PodWorker, &mut Context<'_>),
    ) {
        if self.workers.get(&pod).is_some_and(|w| self.is_powered(&w.node)) {
            self.step(pod, api, now, f);
            self.set_timer(pod);
        }
    }
    fn step(&mut self, uid: Uid, api: &mut ApiServer, now: Time, f: impl FnOnce(&mut PodWorker, &mut Context<'_>)) {
        let Some(worker) = Arc::make_mut(&mut self.workers).get_mut(&uid) else { return };
        let worker = Arc::make_mut(worker);
        let (mut effects, mut notes) = (Vec::new(), Vec::new());
        let mut cx = Context { now, lookup: &*api, settings: &self.settings, effects: &mut effects, notes: &mut notes };
        f(worker, &mut cx);
        if !worker.is_active()
            && let Some(charge) = worker.charge.take()
            && let Some(state) = Arc::make_mut(&mut self.nodes).get_mut(&worker.node)
        {
            state.used = state.used.minus(charge);
        }
        if worker.is_blocked() != self.blocked.contains(&uid) {
            let blocked = Arc::make_mut(&mut self.blocked);
            if worker.is_blocked() {
                blocked.insert(uid)
            } else {
                blocked.remove(&uid)
            };
        }
        if self.api_up && self.nodes.get(&worker.node).is_some_and(|n| n.online && n.powered) {
            publish(worker, &notes, self.events, api, now);
        }
        let finished = worker.is_finished();
        self.effects.extend(effects);
        if finished {
            self.drop_worker(uid);
        }
    }
    fn drop_worker(&mut self, uid: Uid) {
        Arc::make_mut(&mut self.blocked).remove(&uid);
        Arc::make_mut(&mut self.timers).set(uid, Time::NEVER);
        if let Some(worker) = Arc::make_mut(&mut self.workers).remove(&uid)
            && let Some(charge) = worker.charge
            && let Some(state) = Arc::make_mut(&mut self.nodes).get_mut(&worker.node)
        {
            state.used = state.used.minus(charge);
        }
    }
    fn set_timer(&mut self, uid: Uid) {
        let worker = self.workers.get(&uid);
        let mut at = self.notices.get(&uid).map_or(Time::NEVER, |n| n.at);
        if let Some(worker) = worker
            && self.is_powered(&worker.node)
        {
            // A node that is cut off goes on by itself, but its final DELETE waits until it is back.
            let own = worker.deadline();
            at = at.min(if worker.is_active() || self.is_online(&worker.node) { own } else { Time::NEVER });
        }
        if self.timers.get(&uid).unwrap_or(Time::NEVER) != at {
            Arc::make_mut(&mut self.timers).set(uid, at);
        }
    }

    /// The API server cannot be reached by anybody (`false`), or can again.
    pub fn set_api_up(&mut self, up: bool, api: &mut ApiServer, now: Time) {
        if std::mem::replace(&mut self.api_up, up) != up {
            let nodes: Vec<Str> =
                self.nodes.iter().filter(|(_, n)| n.online && n.powered).map(|(name, _)| name.clone()).collect();
            for node in nodes {
                if up { self.catch_up(&node, api, now) } else { self.cut(&node) }
            }
        }
    }
    /// The node is cut off from the API; what runs on it goes on.
    pub fn cut_off(&mut self, node: &str) {
        if let Some(state) = Arc::make_mut(&mut self.nodes).get_mut(node) {
            state.online = false;
            self.cut(node);
        }
    }
    fn cut(&mut self, node: &str) {
        Arc::make_mut(&mut self.notices).retain(|_, n| n.pod.node_name.as_deref() != Some(node));
        self.reset_timers(node);
    }
    /// The node loses power: its processes die, and nobody hears of it.
    pub fn power_off(&mut self, node: &str) {
        let Some(state) = Arc::make_mut(&mut self.nodes).get_mut(node) else { return };
        (state.online, state.powered) = (false, false);
        let mut effects = Vec::new();
        for worker in self.workers.values().filter(|w| w.node == node) {
            worker.forget(&mut effects);
        }
        self.effects.extend(effects);
        self.cut(node);
    }
    /// The node is there again, with whatever ran on it before or, after a power loss, without.
    pub fn back(&mut self, node: &str, api: &mut ApiServer, now: Time) {
        let Some(state) = Arc::make_mut(&mut self.nodes).get_mut(node) else { return };
        let lost = !state.powered;
        (state.online, state.powered) = (true, true);
        if lost {
            for uid in self.uids_on(node) {
                self.step(uid, api, now, PodWorker::lost_processes);
            }
        }
        self.catch_up(node, api, now);
    }
    /// The node is gone for ever, with everything on it.
    pub fn node_gone(&mut self, node: &str) {
        let mut effects = Vec::new();
        for uid in self.uids_on(node) {
            if let Some(worker) = self.workers.get(&uid)
                && self.is_powered(node)
            {
                worker.forget(&mut effects);
            }
            self.drop_worker(uid);
        }
        self.effects.extend(effects);
        self.cut(node);
        Arc::make_mut(&mut self.nodes).remove(node);
    }
    fn uids_on(&self, node: &str) -> Vec<Uid> {
        self.workers.iter().filter(|(_, w)| w.node == node).map(|(uid, _)| *uid).collect()
    }
    fn reset_timers(&mut self, node: &str) {
        for uid in self.uids_on(node) {
            self.set_timer(uid);
        }
    }
    /// What a kubelet does when it hears from the API again: compares, and writes every status anew.
    fn catch_up(&mut self, node: &str, api: &mut ApiServer, now: Time) {
        let stored: BTreeMap<Uid, Arc<Pod>> = api.pods_on(node).map(|p| (p.metadata.uid, p.clone())).collect();
        for uid in self.uids_on(node) {
            match stored.get(&uid) {
                Some(pod) => self.step(uid, api, now, |w, cx| {
                    w.report_anew();
                    if differs(&w.pod().metadata, &pod.metadata) && pod.metadata.is_deleting() {
                        w.deleted(pod.clone(), cx);
                    } else {
                        w.on_timer(cx);
                    }
                }),
                None => self.step(uid, api, now, |w, cx| w.removed(w.pod().clone(), cx)),
            }
            self.set_timer(uid);
        }
        for pod in stored.values() {
            self.notice(WatchType::Added, pod, now);
        }
    }
}

fn differs(known: &Meta, stored: &Meta) -> bool {
    known.deletion_timestamp != stored.deletion_timestamp
        || known.deletion_grace_period_seconds != stored.deletion_grace_period_seconds
}

/// Writes what the API does not know yet: status, events, the final DELETE.
fn publish(worker: &mut PodWorker, notes: &[(&'static str, Str)], events: bool, api: &mut ApiServer, now: Time) {
    let uid = worker.uid();
    let key = worker.pod.metadata.key();
    // Source: kubernetes-api.md §5.1: the real patch is guarded by metadata.uid.
    let Some(stored) = api.typed::<Pod>(&key).filter(|p| p.metadata.uid == uid).cloned() else {
        // Somebody deleted it by force, and the kubelet has not heard of it yet: nothing is left to delete.
        worker.take_delete(now);
        return;
    };
    let who = Identity::Kubelet(worker.node.clone());
    if events {
        for (reason, message) in notes {
            let event = warning(api, &key, reason, message, now);
            let _ = api.handle(&who, &KubeRequest::Create(event), now);
        }
    }
    let status = worker.report(&stored.status, now);
    if worker.stale || worker.reported.as_ref() != Some(&status) {
        let patch = Arc::new(Patch::body(Body::PodStatus(Box::new(status.clone()))));
        let request = KubeRequest::Patch { kind: Kind::Pod, key: key.clone(), sub: Sub::Status, patch };
        if api.handle(&who, &request, now).is_ok() {
            (worker.reported, worker.stale) = (Some(status), false);
        }
    }
    if worker.take_delete(now) {
        let options = DeleteOptions { grace_period_seconds: Some(0), uid: Some(uid), ..DeleteOptions::default() };
        let _ = api.handle(&who, &KubeRequest::Delete { kind: Kind::Pod, key, options }, now);
    }
}

/// A Warning about a pod. The name carries the store's counter, so that it is free.
pub(crate) fn warning(api: &ApiServer, pod: &Key, reason: &str, message: &Str, now: Time) -> Object {
    let name = format_smolstr!("{}.{:x}", pod.name, api.resource_version());
    Object::from(Event {
        metadata: Meta::named(pod.namespace.clone(), name),
        type_: Str::new_static("Warning"),
        reason: reason.into(),
        message: message.clone(),
        involved_kind: Some(Kind::Pod),
        involved_name: pod.name.clone(),
        count: 1,
        last_timestamp: Some(now.truncated()),
    })
}
