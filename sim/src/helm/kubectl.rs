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
use arc_api::{Duration, Kind, Object, Resource, Str, format_smolstr};
use controller_core::call::CallError;
use serde_json::{Value, json};

use super::controller_chart;
use super::patches::typed;
use super::task::{Select, Task, Verb};

/// How long `kubectl drain` waits after a refused eviction.
pub const EVICTION_RETRY: Duration = Duration::from_secs(5);

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
                    let body = Body::Json(Arc::new(
                        json!({ "metadata": { "annotations": { "arc-sim/schema": release.as_str() } } }),
                    ));
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
    let patch = Arc::new(Patch::body(Body::Json(Arc::new(json!({ "spec": { "unschedulable": on } })))));
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
            let removed: serde_json::Map<String, Value> = removed.collect();
            let body = json!({ "data": removed, "stringData": &**data });
            Some(patched(Sub::Main, Patch::body(Body::Json(Arc::new(body)))))
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
