//! What people do to a cluster besides helm: kubectl commands and small scripts, one API call per step. Never decides when.
//!
//! Source: field-bugs.md §1 (operator actions). A command goes on after a refusal, as kubectl does with several arguments, and
//! reports the refusals at its end. It waits for nothing but its own pauses (`kubectl delete --wait=false`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_api::core::{Lease, Secret};
use arc_api::crd::EphemeralRunner;
use arc_api::kube::{Body, DeleteOptions, KubeOk, KubeRequest, Patch, Propagation, Reason, Sub};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Object, Resource, Str, Time, format_smolstr};
use controller_core::Release;
use controller_core::call::CallError;
use serde_json::{Value, json};

use super::controller_chart;
use super::patches::typed;
use crate::plan::Glob;
use crate::plan::fault::PodTarget;

/// How long `kubectl drain` waits after a refused eviction.
pub const EVICTION_RETRY: Duration = Duration::from_secs(5);

/// Objects, as somebody at a command line chooses them.
#[derive(Clone, Debug, Default)]
pub struct Select {
    /// Kinds.
    pub kinds: Vec<Kind>,
    /// Names.
    pub name: Glob,
    /// Namespaces.
    pub namespace: Glob,
    /// Labels that must be equal.
    pub labels: Vec<(Str, Str)>,
    /// Labels that must be there.
    pub has_labels: Vec<Str>,
    /// Pods on this node only.
    pub node: Option<Str>,
    /// Runners (or their pods) that have a job, or have none, by the status of the EphemeralRunner of that name.
    pub busy: Option<bool>,
    /// How many, oldest first.
    pub count: Option<usize>,
}

impl Select {
    /// One object.
    pub fn one(kind: Kind, key: &Key) -> Select {
        Select {
            kinds: vec![kind],
            name: Glob(key.name.clone()),
            namespace: Glob(key.namespace.clone()),
            ..Select::default()
        }
    }
    /// Pods of a component, of one scale set if stated (workflow pods: those of its runners, whose names begin with its name).
    pub fn pods(target: PodTarget, scale_set: Option<&str>) -> Select {
        let (label, value) = match target {
            PodTarget::Runner => ("actions-ephemeral-runner", "True"),
            PodTarget::Listener => ("app.kubernetes.io/component", "runner-scale-set-listener"),
            PodTarget::Controller => ("app.kubernetes.io/component", "controller-manager"),
            PodTarget::Workflow | PodTarget::Any => ("", ""),
        };
        let mut select = Select { kinds: vec![Kind::Pod], ..Select::default() };
        if !label.is_empty() {
            select.labels.push((label.into(), value.into()));
        }
        match (target, scale_set) {
            (PodTarget::Workflow, set) => {
                select.has_labels.push("runner-pod".into());
                select.name = set.map_or_else(Glob::default, |set| Glob(format_smolstr!("{set}-*")));
            }
            (PodTarget::Controller, _) | (_, None) => {}
            (_, Some(set)) => select.labels.push(("actions.github.com/scale-set-name".into(), set.into())),
        }
        select
    }
    /// All kinds that a text names, as kind or resource, in any case; `*` stands for any text.
    pub fn kinds(text: &Glob) -> Vec<Kind> {
        let wanted = Glob(text.0.to_lowercase().into());
        let fits = |k: &&Kind| wanted.matches(&k.as_str().to_lowercase()) || wanted.matches(k.plural());
        Kind::ALL.iter().filter(fits).copied().collect()
    }
    fn fits(&self, object: &Object, with_job: &BTreeMap<Key, bool>) -> bool {
        let meta = object.meta();
        let on_node = || match (&self.node, object.get::<Pod>()) {
            (Some(node), Some(pod)) => pod.node_name.as_ref() == Some(node),
            (Some(_), None) => false,
            (None, _) => true,
        };
        self.name.matches(&meta.name)
            && (meta.namespace.is_empty() || self.namespace.matches(&meta.namespace))
            && self.has_labels.iter().all(|l| meta.label(l).is_some())
            && self.busy.is_none_or(|busy| with_job.get(&meta.key()) == Some(&busy))
            && on_node()
    }
}

/// What is done to each chosen object.
#[derive(Clone, Debug)]
pub enum Verb {
    /// DELETE.
    Delete {
        /// Grace period; `None`: the object's own.
        grace: Option<Duration>,
        /// Dependents stay.
        orphan: bool,
    },
    /// Takes finalizers off.
    Strip(Glob),
    /// A merge patch.
    Patch(Sub, Arc<Value>),
    /// Replaces the members of a Secret.
    SetData(Arc<BTreeMap<Str, Str>>),
    /// POST `eviction`, again every 5 s while it is refused with 429.
    Evict,
    /// A pause.
    Wait(Duration),
    /// Makes the object anew as it was: new identity. A Secret may get other members.
    Recreate(Option<Arc<BTreeMap<Str, Str>>>),
}

/// A command.
#[derive(Clone, Debug)]
pub enum Task {
    /// Does things to chosen objects.
    Each(Select, Vec<Verb>),
    /// Cordons a node and evicts its pods.
    Drain {
        /// Node.
        node: Str,
        /// Grace period instead of the pods' own: the pods are deleted, which no disruption budget refuses.
        grace: Option<Duration>,
        /// When the node is uncordoned.
        uncordon_after: Option<Duration>,
    },
    /// Deletes the pod that holds a lease.
    DeposeLeader {
        /// The lease.
        lease: Key,
    },
    /// Replaces the four CRDs by those of a release.
    ReplaceCrds(Release),
    /// `kubectl create`.
    Create(Object),
}

impl Task {
    /// `kubectl delete`.
    pub fn delete(select: Select, grace: Option<Duration>, orphan: bool) -> Task {
        Task::Each(select, vec![Verb::Delete { grace, orphan }])
    }
    /// Strips finalizers by hand.
    pub fn force_finalize(select: Select, finalizer: Glob) -> Task {
        Task::Each(select, vec![Verb::Strip(finalizer)])
    }
    /// `kubectl delete namespace`.
    pub fn delete_namespace(name: &Str) -> Task {
        Task::delete(Select::one(Kind::Namespace, &Key::new("", name.clone())), None, false)
    }
    /// `kubectl patch --type=merge`.
    pub fn patch(kind: Kind, key: &Key, patch: Value) -> Task {
        Task::Each(Select::one(kind, key), vec![Verb::Patch(Sub::Main, Arc::new(patch))])
    }
    /// Patches `status` by hand; without a patch it is emptied.
    pub fn reset_status(select: Select, status: Option<Value>) -> Task {
        let patch = json!({ "status": status.unwrap_or(Value::Null) });
        Task::Each(select, vec![Verb::Patch(Sub::Status, Arc::new(patch))])
    }
    /// Changes what a Secret holds.
    pub fn rotate_secret(key: &Key, data: BTreeMap<Str, Str>) -> Task {
        Task::Each(Select::one(Kind::Secret, key), vec![Verb::SetData(Arc::new(data))])
    }
    /// Removes a Secret, its finalizers too, and perhaps makes it again later, with the old members unless others are given.
    pub fn delete_secret(key: &Key, recreate: Option<(Duration, Option<BTreeMap<Str, Str>>)>) -> Task {
        let mut verbs = vec![Verb::Delete { grace: None, orphan: false }, Verb::Strip(Glob::default())];
        if let Some((after, data)) = recreate {
            verbs.extend([Verb::Wait(after), Verb::Recreate(data.map(Arc::new))]);
        }
        Task::Each(Select::one(Kind::Secret, key), verbs)
    }
    /// Replaces an identity object for good (new identity, old tokens are refused at once), or only deletes it, which leaves it
    /// Terminating if a finalizer holds it.
    pub fn recreate(kind: Kind, key: &Key, replace: bool) -> Task {
        let mut verbs = vec![Verb::Delete { grace: None, orphan: false }];
        if replace {
            verbs.extend([Verb::Strip(Glob::default()), Verb::Recreate(None)]);
        }
        Task::Each(Select::one(kind, key), verbs)
    }
    /// `kubectl scale deployment`.
    pub fn scale(key: &Key, replicas: u32) -> Task {
        Task::patch(Kind::Deployment, key, json!({ "replicas": replicas }))
    }
    /// `kubectl rollout restart deployment`.
    pub fn restart(key: &Key, now: Time) -> Task {
        let stamp = json!({ "kubectl.kubernetes.io/restartedAt": now.to_rfc3339() });
        Task::patch(Kind::Deployment, key, json!({ "template": { "metadata": { "annotations": stamp } } }))
    }
}

/// What comes next.
#[derive(Clone, PartialEq, Debug)]
pub enum KubectlStep {
    /// Exactly one request; step again with its reply.
    Call(KubeRequest),
    /// Step again, without a reply, after this time.
    Wait(Duration),
    /// The command has returned: how many objects it changed, and what was refused.
    Done {
        /// Requests that succeeded, reads excepted.
        changed: u32,
        /// Texts of the refusals.
        errors: Vec<Str>,
    },
}

#[derive(Clone, Debug)]
enum Job {
    List(Kind),
    ListRunners,
    Chosen,
    ReadLease(Key),
    Do(Object, VecDeque<Verb>),
    /// A request whose 404 has a fall-back, if there is one.
    Ask(KubeRequest, Option<Object>),
    Pause(Duration),
}

/// A running command.
#[derive(Clone, Debug)]
pub struct Kubectl {
    agenda: VecDeque<Job>,
    awaited: Option<Job>,
    select: Select,
    verbs: Vec<Verb>,
    found: Vec<Object>,
    with_job: BTreeMap<Key, bool>,
    changed: u32,
    errors: Vec<Str>,
}

impl Kubectl {
    /// A command that has not begun.
    pub fn new(task: Task) -> Kubectl {
        let mut command = Kubectl {
            agenda: VecDeque::new(),
            awaited: None,
            select: Select::default(),
            verbs: Vec::new(),
            found: Vec::new(),
            with_job: BTreeMap::new(),
            changed: 0,
            errors: Vec::new(),
        };
        command.plan(task);
        command
    }

    fn plan(&mut self, task: Task) {
        match task {
            Task::Each(select, verbs) => self.choose(select, verbs),
            Task::Drain { node, grace, uncordon_after } => {
                self.agenda.push_back(Job::Ask(cordon(&node, true), None));
                let verb = match grace {
                    None => Verb::Evict,
                    grace => Verb::Delete { grace, orphan: false },
                };
                let select = Select { kinds: vec![Kind::Pod], node: Some(node.clone()), ..Select::default() };
                self.choose(select, vec![verb]);
                if let Some(after) = uncordon_after {
                    self.agenda.push_back(Job::Pause(after));
                    self.agenda.push_back(Job::Ask(cordon(&node, false), None));
                }
            }
            Task::DeposeLeader { lease } => self.agenda.push_back(Job::ReadLease(lease)),
            Task::ReplaceCrds(release) => {
                for crd in controller_chart::crds(release) {
                    let (kind, key) = (crd.kind(), crd.key());
                    let body = Body::Json(Arc::new(json!({ "schema": release.as_str() })));
                    let patch = Arc::new(Patch::body(body));
                    self.agenda.push_back(Job::Ask(KubeRequest::Patch { kind, key, sub: Sub::Main, patch }, Some(crd)));
                }
            }
            Task::Create(object) => self.agenda.push_back(Job::Ask(KubeRequest::Create(object), None)),
        }
    }

    fn choose(&mut self, select: Select, verbs: Vec<Verb>) {
        if select.busy.is_some() {
            self.agenda.push_back(Job::ListRunners);
        }
        self.agenda.extend(select.kinds.iter().map(|k| Job::List(*k)));
        self.agenda.push_back(Job::Chosen);
        (self.select, self.verbs) = (select, verbs);
    }

    /// Decides what comes next: with the reply to the last call, without one at the beginning and after a pause.
    pub fn step(&mut self, reply: Option<Result<KubeOk, CallError>>) -> KubectlStep {
        if let (Some(job), Some(reply)) = (self.awaited.take(), reply) {
            self.resume(job, reply);
        }
        while let Some(job) = self.agenda.pop_front() {
            match self.begin(job) {
                Some(step) => return step,
                None => continue,
            }
        }
        KubectlStep::Done { changed: self.changed, errors: std::mem::take(&mut self.errors) }
    }

    fn begin(&mut self, job: Job) -> Option<KubectlStep> {
        let request = match &job {
            Job::List(kind) => self.list(*kind, self.select.labels.clone()),
            Job::ListRunners => self.list(Kind::EphemeralRunner, Vec::new()),
            Job::ReadLease(key) => KubeRequest::Get { kind: Kind::Lease, key: key.clone() },
            Job::Ask(request, _) => request.clone(),
            Job::Pause(time) => return Some(KubectlStep::Wait(*time)),
            Job::Chosen => {
                self.act();
                return None;
            }
            Job::Do(object, verbs) => return self.act_on(object.clone(), verbs.clone()),
        };
        self.awaited = Some(job);
        Some(KubectlStep::Call(request))
    }

    fn list(&self, kind: Kind, labels: Vec<(Str, Str)>) -> KubeRequest {
        let one = kind.is_namespaced() && self.select.namespace.is_exact();
        KubeRequest::List { kind, namespace: one.then(|| self.select.namespace.0.clone()), labels }
    }

    /// Turns what was found into work, oldest first.
    fn act(&mut self) {
        let mut chosen: Vec<Object> = std::mem::take(&mut self.found);
        chosen.retain(|o| self.select.fits(o, &self.with_job));
        chosen.sort_by_key(|o| o.meta().creation_timestamp);
        chosen.truncate(self.select.count.unwrap_or(usize::MAX));
        let verbs: VecDeque<Verb> = self.verbs.iter().cloned().collect();
        for object in chosen.into_iter().rev() {
            self.agenda.push_front(Job::Do(object, verbs.clone()));
        }
    }

    /// The first verb that asks for something becomes a call; the rest waits behind it.
    fn act_on(&mut self, object: Object, mut verbs: VecDeque<Verb>) -> Option<KubectlStep> {
        let verb = verbs.front().cloned()?;
        if let Verb::Wait(time) = verb {
            verbs.pop_front();
            self.agenda.push_front(Job::Do(object, verbs));
            return Some(KubectlStep::Wait(time));
        }
        match verb_request(&object, &verb) {
            Some(request) => {
                self.awaited = Some(Job::Do(object, verbs));
                Some(KubectlStep::Call(request))
            }
            None => {
                verbs.pop_front();
                self.agenda.push_front(Job::Do(object, verbs));
                None
            }
        }
    }

    fn resume(&mut self, job: Job, reply: Result<KubeOk, CallError>) {
        match (job, reply) {
            (Job::List(_), Ok(KubeOk::List { items, .. })) => self.found.extend(items),
            (Job::ListRunners, Ok(KubeOk::List { items, .. })) => {
                let runners = items.iter().filter_map(EphemeralRunner::unwrap);
                self.with_job.extend(runners.map(|r| (r.metadata.key(), r.status.job.is_some())));
            }
            (Job::ReadLease(key), Ok(ok)) => {
                let holder = ok.object().and_then(Lease::unwrap).map(|l| l.holder_identity.clone()).unwrap_or_default();
                let pod = holder.split('_').next().unwrap_or_default();
                let select = Select::one(Kind::Pod, &Key::new(key.namespace, pod));
                self.choose(select, vec![Verb::Delete { grace: None, orphan: false }]);
            }
            (Job::Ask(_, Some(create)), Err(e)) if e.is_not_found() => {
                self.agenda.push_front(Job::Ask(KubeRequest::Create(create), None));
            }
            (Job::Do(object, verbs), Err(e)) if is_refused_eviction(&verbs, &e) => {
                self.agenda.push_front(Job::Do(object, verbs));
                self.agenda.push_front(Job::Pause(EVICTION_RETRY));
            }
            (Job::Do(object, mut verbs), reply) => {
                let done = verbs.pop_front();
                // What is gone already needs no removal; anything else that is refused ends the work on this object.
                let gone = matches!(&done, Some(Verb::Delete { .. } | Verb::Strip(_) | Verb::Evict));
                match reply {
                    Ok(ok) => {
                        self.changed += 1;
                        let fresh = ok.object().filter(|_| !matches!(done, Some(Verb::Delete { .. }))).cloned();
                        self.agenda.push_front(Job::Do(fresh.unwrap_or(object), verbs));
                    }
                    Err(e) if gone && e.is_not_found() => self.agenda.push_front(Job::Do(object, verbs)),
                    Err(e) => self.refused(&object, &e),
                }
            }
            (Job::Ask(..), Ok(_)) => self.changed += 1,
            (_, Err(e)) => self.errors.push(e.text()),
            (_, Ok(_)) => {}
        }
    }

    fn refused(&mut self, object: &Object, why: &CallError) {
        self.errors.push(format_smolstr!("{} {}: {}", object.kind(), object.key(), why.text()));
    }
}

fn is_refused_eviction(verbs: &VecDeque<Verb>, why: &CallError) -> bool {
    let busy = why.status().is_some_and(|s| s.reason == Reason::TooManyRequests);
    busy && matches!(verbs.front(), Some(Verb::Evict))
}

fn cordon(node: &Str, on: bool) -> KubeRequest {
    let patch = Arc::new(Patch::body(Body::Json(Arc::new(json!({ "unschedulable": on })))));
    KubeRequest::Patch { kind: Kind::Node, key: Key::new("", node.clone()), sub: Sub::Main, patch }
}

/// The request for one verb; `None` if there is nothing to do.
fn verb_request(object: &Object, verb: &Verb) -> Option<KubeRequest> {
    let (kind, key) = (object.kind(), object.key());
    let patched = |sub: Sub, patch: Patch| KubeRequest::Patch { kind, key: key.clone(), sub, patch: Arc::new(patch) };
    match verb {
        Verb::Delete { grace, orphan } => {
            let options = DeleteOptions {
                grace_period_seconds: grace.map(|g| g.as_secs() as i64),
                propagation: if *orphan { Propagation::Orphan } else { Propagation::Background },
                ..DeleteOptions::default()
            };
            Some(KubeRequest::Delete { kind, key, options })
        }
        Verb::Strip(which) => {
            let kept: Arc<[Str]> = object.meta().finalizers.iter().filter(|f| !which.matches(f)).cloned().collect();
            (kept.len() < object.meta().finalizers.len()).then(|| patched(Sub::Main, Patch::finalizers(kept)))
        }
        Verb::Patch(Sub::Main, patch) => Some(patched(Sub::Main, typed((**patch).clone()))),
        Verb::Patch(Sub::Status, patch) => Some(patched(Sub::Status, Patch::body(Body::Json(patch.clone())))),
        Verb::SetData(data) => {
            let old = object.get::<Secret>()?;
            let removed = old.data.keys().filter(|k| !data.contains_key(*k)).map(|k| (k.to_string(), Value::Null));
            let set = data.iter().map(|(k, v)| (k.to_string(), json!(v)));
            let members: serde_json::Map<String, Value> = removed.chain(set).collect();
            Some(patched(Sub::Main, Patch::body(Body::Json(Arc::new(json!({ "data": members }))))))
        }
        Verb::Evict => Some(KubeRequest::Evict { key }),
        Verb::Wait(_) => None,
        Verb::Recreate(data) => Some(KubeRequest::Create(anew(object, data.as_ref()))),
    }
}

/// The object as somebody would write it down again: nothing that the server made, and no owner.
fn anew(object: &Object, data: Option<&Arc<BTreeMap<Str, Str>>>) -> Object {
    let mut object = object.clone();
    let meta = object.meta_mut();
    *meta = arc_api::Meta {
        labels: meta.labels.clone(),
        annotations: meta.annotations.clone(),
        ..arc_api::Meta::named(meta.namespace.clone(), meta.name.clone())
    };
    if let (Object::Secret(secret), Some(data)) = (&mut object, data) {
        Arc::make_mut(secret).data = data.clone();
    }
    object
}
