//! The scheduler: binds pods to nodes where they fit, or says why they fit nowhere.
//!
//! Keeps its own sums per node from the change log, so that one decision looks at nodes and never at other pods.
//!
//! Source: kubernetes-api.md §5.1 steps 2a–2b; pkg/scheduler of kubernetes/kubernetes (framework/plugins, types.go FitError).
//! Differs: no preemption, priorities, affinity or spreading; the 5-minute flush is left out, because every change that
//! could make a pod fit wakes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::{Node, Taint};
use arc_api::kube::{Body, Identity, KubeRequest, Patch, Sub, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::pod::{Pod, PodCondition, PodConditionType, PodStatus, Toleration};
use arc_api::{Duration, Kind, Labels, Object, Str, Time, Uid, format_smolstr};

use super::claims::{self, Claims};
use super::requests::Requests;
use super::scope::PodScope;
use super::timers::Timers;
use crate::ApiServer;

const WHO: Identity = Identity::System("scheduler");

/// Delays of the scheduler.
#[derive(Clone, PartialEq, Debug)]
pub struct SchedulerSettings {
    /// From a pod's creation to its binding (recorded: a_basic, below 0.1 s).
    pub delay: Duration,
    /// First and longest pause of a pod that fitted nowhere (§5.1 step 2b: 1–10 s).
    pub backoff: (Duration, Duration),
}

impl Default for SchedulerSettings {
    fn default() -> SchedulerSettings {
        SchedulerSettings {
            delay: Duration::from_millis(20),
            backoff: (Duration::from_secs(1), Duration::from_secs(10)),
        }
    }
}

/// A node as the scheduler sees it.
#[derive(Clone, Debug)]
struct View {
    total: Requests,
    used: Requests,
    labels: Labels,
    taints: Vec<Taint>,
    unschedulable: bool,
}

/// A pod that is not bound.
#[derive(Clone, Debug)]
struct Waiting {
    key: Key,
    attempts: u32,
    last_try: Time,
    /// It fitted nowhere at its last try.
    unschedulable: bool,
    /// The node that its claims are provisioned for.
    selected: Option<Str>,
}

/// A fault: pods that are not bound however much room there is (field-bugs.md `pod_delay`, mode unschedulable).
#[derive(Clone, Debug)]
struct Hold {
    scope: PodScope,
    message: Str,
}

/// The scheduler of a cluster.
#[derive(Clone, Debug)]
pub struct Scheduler {
    settings: SchedulerSettings,
    minor: u32,
    events: bool,
    nodes: Arc<BTreeMap<Str, View>>,
    bound: Arc<BTreeMap<Uid, (Str, Requests)>>,
    waiting: Arc<BTreeMap<Uid, Waiting>>,
    timers: Arc<Timers<Uid>>,
    holds: BTreeMap<u64, Hold>,
}

/// Why a node does not take a pod, and whether taking other pods away would help.
struct Misfit {
    reasons: Vec<Str>,
    preemption_helps: bool,
}

impl Scheduler {
    /// A scheduler that knows nothing yet.
    pub fn new(settings: SchedulerSettings, minor: u32, events: bool) -> Scheduler {
        Scheduler {
            settings,
            minor,
            events,
            nodes: Arc::default(),
            bound: Arc::default(),
            waiting: Arc::default(),
            timers: Arc::default(),
            holds: BTreeMap::new(),
        }
    }
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    /// Pods that are not bound.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Something changed.
    pub fn notice(&mut self, event: &WatchEvent, now: Time) {
        match &event.object {
            Object::Pod(pod) => self.notice_pod(event.type_, pod, now),
            Object::Node(node) => self.notice_node(event.type_, node, now),
            Object::PersistentVolumeClaim(_) if !self.waiting.is_empty() => {
                let namespace = event.object.meta().namespace.clone();
                self.wake(now, |w| w.key.namespace == namespace);
            }
            _ => {}
        }
    }
    fn notice_pod(&mut self, type_: WatchType, pod: &Arc<Pod>, now: Time) {
        let uid = pod.metadata.uid;
        let gone = type_ == WatchType::Deleted;
        if gone || pod.status.phase.is_terminal() {
            self.forget(uid);
            if let Some((node, request)) = self.bound.get(&uid).cloned() {
                Arc::make_mut(&mut self.bound).remove(&uid);
                self.charge(&node, |used| used.minus(request));
                self.wake(now, |w| w.unschedulable);
            }
        } else if let Some(node) = &pod.node_name {
            if !self.bound.contains_key(&uid) {
                self.forget(uid);
                let request = Requests::of(&pod.spec, self.minor);
                Arc::make_mut(&mut self.bound).insert(uid, (node.clone(), request));
                self.charge(node, |used| used.plus(request));
            }
        } else if type_ == WatchType::Added {
            let waiting =
                Waiting { key: pod.metadata.key(), attempts: 0, last_try: now, unschedulable: false, selected: None };
            Arc::make_mut(&mut self.waiting).insert(uid, waiting);
            Arc::make_mut(&mut self.timers).set(uid, now.after(self.settings.delay));
        }
    }
    fn notice_node(&mut self, type_: WatchType, node: &Arc<Node>, now: Time) {
        let name = &node.metadata.name;
        let nodes = Arc::make_mut(&mut self.nodes);
        if type_ == WatchType::Deleted {
            nodes.remove(name);
        } else {
            let used = nodes.get(name).map_or_else(
                || self.bound.values().filter(|(n, _)| n == name).fold(Requests::default(), |sum, (_, r)| sum.plus(*r)),
                |v| v.used,
            );
            let view = View {
                total: Requests::allocatable(node),
                used,
                labels: node.metadata.labels.clone(),
                taints: node.taints.clone(),
                unschedulable: node.unschedulable,
            };
            nodes.insert(name.clone(), view);
        }
        self.wake(now, |w| w.unschedulable);
    }
    fn forget(&mut self, uid: Uid) {
        if self.waiting.contains_key(&uid) {
            if let Some(Waiting { selected: Some(_), .. }) = Arc::make_mut(&mut self.waiting).remove(&uid) {}
            Arc::make_mut(&mut self.timers).set(uid, Time::NEVER);
        }
    }
    fn charge(&mut self, node: &Str, f: impl FnOnce(Requests) -> Requests) {
        if let Some(view) = Arc::make_mut(&mut self.nodes).get_mut(node) {
            view.used = f(view.used);
        }
    }
    /// Gives pods another try, not before their back-off is over.
    fn wake(&mut self, now: Time, which: impl Fn(&Waiting) -> bool) {
        let (first, max) = self.settings.backoff;
        for (uid, w) in self.waiting.iter().filter(|(_, w)| which(w)) {
            let pause = (first * 2u32.pow(w.attempts.saturating_sub(1).min(10))).min(max);
            let backoff = if w.attempts == 0 || !w.unschedulable { Time::ZERO } else { w.last_try.after(pause) };
            let at = backoff.max(now.after(self.settings.delay));
            Arc::make_mut(&mut self.timers).hasten(*uid, at);
        }
    }

    /// Holds pods back until [`Scheduler::release`]. An empty message writes one about cpu.
    pub fn hold(&mut self, id: u64, scope: PodScope, message: Str) {
        self.holds.insert(id, Hold { scope, message });
    }
    /// Lets go of a hold.
    pub fn release(&mut self, id: u64, now: Time) {
        if self.holds.remove(&id).is_some() {
            self.wake(now, |_| true);
        }
    }

    /// Tries one pod whose time has come; false if there is none.
    pub fn run_one(&mut self, api: &mut ApiServer, claims: &Claims, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(uid) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        let Some(key) = self.waiting.get(&uid).map(|w| w.key.clone()) else { return true };
        let Some(pod) = api.typed::<Pod>(&key).filter(|p| p.metadata.uid == uid && p.node_name.is_none()).cloned()
        else {
            self.forget(uid);
            return true;
        };
        match self.decide(&pod, api, claims) {
            Decision::Bind(node) => {
                let request = KubeRequest::Bind { key, node: node.clone() };
                if api.handle(&WHO, &request, now).is_err() {
                    self.failed(uid, now);
                }
            }
            Decision::Provision(node) => {
                if let Some(w) = Arc::make_mut(&mut self.waiting).get_mut(&uid) {
                    w.selected = Some(node.clone());
                }
                claims::select_node(api, &pod, &node, now);
            }
            Decision::Wait(message) => {
                self.failed(uid, now);
                self.explain(api, &pod, message, now);
            }
        }
        true
    }
    fn failed(&mut self, uid: Uid, now: Time) {
        if let Some(w) = Arc::make_mut(&mut self.waiting).get_mut(&uid) {
            w.attempts += 1;
            w.last_try = now;
            w.unschedulable = true;
        }
    }

    fn decide(&self, pod: &Pod, api: &ApiServer, claims: &Claims) -> Decision {
        let request = Requests::of(&pod.spec, self.minor);
        if let Some(hold) = self.holds.values().find(|h| h.scope.matches(pod)) {
            let message = if hold.message.is_empty() { self.no_room() } else { hold.message.clone() };
            return Decision::Wait(message);
        }
        let unbound = match claims.state_for(api, pod) {
            claims::State::Ready => false,
            claims::State::WaitsForConsumer => true,
            claims::State::Blocked(message) => return Decision::Wait(message),
        };
        if let Some(selected) = self.waiting.get(&pod.metadata.uid).and_then(|w| w.selected.clone())
            && self.nodes.get(&selected).is_some_and(|view| misfit(pod, request, view).is_none())
        {
            return if unbound { Decision::Provision(selected) } else { Decision::Bind(selected) };
        }
        let mut best: Option<(u64, &Str)> = None;
        for (name, view) in self.nodes.iter() {
            if misfit(pod, request, view).is_none() {
                let score = load(view);
                if best.is_none_or(|(b, _)| score < b) {
                    best = Some((score, name));
                }
            }
        }
        match best {
            Some((_, node)) if unbound => Decision::Provision(node.clone()),
            Some((_, node)) => Decision::Bind(node.clone()),
            None => Decision::Wait(self.explanation(pod, request)),
        }
    }
    fn no_room(&self) -> Str {
        let n = self.nodes.len();
        format_smolstr!(
            "0/{n} nodes are available: {n} Insufficient cpu. preemption: 0/{n} nodes are available: {n} No preemption \
             victims found for incoming pod."
        )
    }
    /// Source: FitError.Error of pkg/scheduler/framework/types.go; reasons sorted as texts with their counts.
    fn explanation(&self, pod: &Pod, request: Requests) -> Str {
        let n = self.nodes.len();
        if n == 0 {
            return Str::new_static("no nodes available to schedule pods");
        }
        let mut reasons: BTreeMap<Str, usize> = BTreeMap::new();
        let mut helped = 0;
        for misfit in self.nodes.values().filter_map(|view| misfit(pod, request, view)) {
            helped += usize::from(misfit.preemption_helps);
            for reason in misfit.reasons {
                *reasons.entry(reason).or_default() += 1;
            }
        }
        let counted = |list: Vec<(Str, usize)>| {
            let mut texts: Vec<String> = list.into_iter().map(|(text, count)| format!("{count} {text}")).collect();
            texts.sort();
            texts.join(", ")
        };
        let preemption = [
            (Str::new_static("No preemption victims found for incoming pod"), helped),
            (Str::new_static("Preemption is not helpful for scheduling"), n - helped),
        ];
        format_smolstr!(
            "0/{n} nodes are available: {}. preemption: 0/{n} nodes are available: {}.",
            counted(reasons.into_iter().collect()),
            counted(preemption.into_iter().filter(|(_, count)| *count > 0).collect())
        )
    }
    /// PodScheduled=False, if the pod does not say so already.
    fn explain(&self, api: &mut ApiServer, pod: &Pod, message: Str, now: Time) {
        let mut status: PodStatus = pod.status.clone();
        let found = status.conditions.iter_mut().find(|c| c.type_ == PodConditionType::PodScheduled);
        let condition = PodCondition {
            type_: PodConditionType::PodScheduled,
            status: false,
            reason: Str::new_static("Unschedulable"),
            message: message.clone(),
            last_transition_time: now.truncated(),
        };
        match found {
            Some(old) if old.message == message && !old.status => return,
            Some(old) if !old.status => old.message = message.clone(),
            Some(old) => *old = condition,
            None => status.conditions.push(condition),
        }
        let patch = Arc::new(Patch::body(Body::PodStatus(Box::new(status))));
        let key = pod.metadata.key();
        let _ =
            api.handle(&WHO, &KubeRequest::Patch { kind: Kind::Pod, key: key.clone(), sub: Sub::Status, patch }, now);
        if self.events {
            let event = crate::kubelet::node::warning(api, &key, "FailedScheduling", &message, now);
            let _ = api.handle(&WHO, &KubeRequest::Create(event), now);
        }
    }
}

enum Decision {
    Bind(Str),
    Provision(Str),
    Wait(Str),
}

/// How full a node is, in thousandths: the larger share of cpu and memory, then pods. Less is better.
///
/// Source: NodeResourcesFit scores by least allocated. Differs: pods without requests count by their number only.
fn load(view: &View) -> u64 {
    let share = |used: u64, total: u64| if total == u64::MAX { 0 } else { used.saturating_mul(1_000) / total.max(1) };
    let resources = share(view.used.cpu, view.total.cpu) + share(view.used.memory, view.total.memory);
    resources.saturating_mul(1_000_000).saturating_add(view.used.pods)
}

fn misfit(pod: &Pod, request: Requests, view: &View) -> Option<Misfit> {
    let never = |reason: Str| Some(Misfit { reasons: vec![reason], preemption_helps: false });
    let spec = &pod.spec;
    let unschedulable = Taint {
        key: Str::new_static("node.kubernetes.io/unschedulable"),
        value: Str::default(),
        effect: Str::new_static("NoSchedule"),
    };
    if view.unschedulable && !tolerates(&spec.tolerations, &unschedulable) {
        return never(Str::new_static("node(s) were unschedulable"));
    }
    if let Some(taint) = view
        .taints
        .iter()
        .filter(|t| t.effect != "PreferNoSchedule" && t.key != unschedulable.key)
        .find(|t| !tolerates(&spec.tolerations, t))
    {
        return never(format_smolstr!("node(s) had untolerated taint {{{}: {}}}", taint.key, taint.value));
    }
    if !selector_matches(&spec.node_selector, &view.labels) {
        return never(Str::new_static("node(s) didn't match Pod's node affinity/selector"));
    }
    let mut missing = request.missing(view.used, view.total).peekable();
    missing.peek()?;
    let reasons = missing
        .map(
            |(what, ..)| {
                if what == "pods" { Str::new_static("Too many pods") } else { format_smolstr!("Insufficient {what}") }
            },
        )
        .collect();
    Some(Misfit { reasons, preemption_helps: true })
}

/// Whether a pod's `nodeSelector` is met.
pub(crate) fn selector_matches(selector: &BTreeMap<Str, Str>, labels: &Labels) -> bool {
    selector.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// Whether one of the tolerations covers the taint.
///
/// Source: ToleratesTaint of k8s.io/api/core/v1/toleration.go.
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|t| tolerates_taint(t, taint))
}

/// Whether this toleration covers the taint.
pub fn tolerates_taint(t: &Toleration, taint: &Taint) -> bool {
    (t.effect.is_empty() || t.effect == taint.effect)
        && match t.operator.as_str() {
            "Exists" => t.key.is_empty() || t.key == taint.key,
            _ => t.key == taint.key && t.value == taint.value,
        }
}
