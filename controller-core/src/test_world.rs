//! A store and a service just large enough to drive runner passes in tests: one reply per call, no timing of its own.
//!
//! Never a model of Kubernetes or GitHub: admission, quota and busyness are what a test says they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_api::core::Secret;
use arc_api::crd::*;
use arc_api::kube::{Body, ErStatusPatch, KubeOk, KubeReply, KubeRequest, Patch, Reason, Status, Sub};
use arc_api::meta::{Key, labels};
use arc_api::pod::*;
use arc_api::service::{Exception, Op, RunnerInfo, ServiceError, ServiceOk, ServiceReply};
use arc_api::{
    Duration, Kind, Meta, Object, OwnerRef, Resource, RunnerId, ScaleSetId, Str, Time, Token, Uid, format_smolstr,
};

use crate::behaviour::Behaviour;
use crate::caches::{Caches, WATCHED};
use crate::call::{Call, CallError, Reply, Transport};
use crate::ephemeral_runner::{ErPass, FINALIZER, REGISTRATION_FINALIZER};
use crate::ephemeral_runner_set::ErsPass;
use crate::reconcile::{Decision, LogLine, Observed, Outcome, Pass, Settings, UpdateStrategy};
use crate::release::Release;

pub(crate) const NS: &str = "arc-runners";
pub(crate) const SET: &str = "demo-abcde";

/// Settings of a manager of `release`.
pub(crate) fn settings(release: Release) -> Settings {
    Settings {
        behaviour: Arc::new(Behaviour::of(release)),
        version: release.as_str().into(),
        namespace: "arc-systems".into(),
        image: "controller".into(),
        update_strategy: UpdateStrategy::Immediate,
        image_pull_secrets: vec![],
        excluded_label_prefixes: vec![],
        metrics: false,
    }
}

pub(crate) fn spec() -> Arc<ErSpec> {
    let container = Container { name: "runner".into(), image: "runner".into(), ..Container::default() };
    let pod = PodSpec { containers: vec![container], restart_policy: "Never".into(), ..PodSpec::default() };
    Arc::new(ErSpec {
        github_config_url: "https://github.com/my-org".into(),
        github_config_secret: "gh".into(),
        runner_scale_set_id: ScaleSetId(1),
        template: Arc::new(PodTemplate { spec: Arc::new(pod), ..PodTemplate::default() }),
        ..ErSpec::default()
    })
}

/// A runner as its set creates it, not stored.
pub(crate) fn runner(name: &str) -> EphemeralRunner {
    let owner = Meta { uid: Uid(1), ..Meta::named(NS, SET) };
    let metadata = Meta {
        uid: Uid(77),
        owner_references: [OwnerRef::controller(Kind::EphemeralRunnerSet, &owner)].into(),
        ..Meta::named(NS, name)
    };
    EphemeralRunner { metadata, spec: spec(), ..EphemeralRunner::default() }
}

/// What the API does to a pod creation.
pub(crate) type Refusal = Arc<Status>;

#[derive(Clone)]
pub(crate) struct World {
    pub settings: Settings,
    pub now: Time,
    pub objects: BTreeMap<(Kind, Key), Object>,
    pub caches: Caches,
    /// Registrations at the service, by id.
    pub registered: BTreeMap<RunnerId, (Str, ScaleSetId)>,
    /// Those that run a job.
    pub busy: BTreeSet<RunnerId>,
    /// Answer to the next pod creations.
    pub pod_refusal: Option<Refusal>,
    /// Answer to every service call.
    pub service_error: Option<Arc<ServiceError>>,
    /// The call, counted over the world's life, whose reply is lost after it was carried out.
    pub lose_reply: Option<usize>,
    pub calls: usize,
    pub trace: Vec<String>,
    /// All calls and ends of passes, never taken.
    pub history: Vec<String>,
    pub log: Vec<LogLine>,
    /// Pods ever created, by name.
    pub pods_made: BTreeMap<Str, usize>,
    /// The JIT configuration each of them was given.
    pub jits_used: Vec<Str>,
    next: u64,
}

impl World {
    /// A set `demo-abcde` with its GitHub secret, and no runners.
    pub(crate) fn new(release: Release) -> World {
        let mut world = World {
            settings: settings(release),
            now: Time::from_secs(100),
            objects: BTreeMap::new(),
            caches: Caches::default(),
            registered: BTreeMap::new(),
            busy: BTreeSet::new(),
            pod_refusal: None,
            service_error: None,
            lose_reply: None,
            calls: 0,
            trace: vec![],
            history: vec![],
            log: vec![],
            pods_made: BTreeMap::new(),
            jits_used: vec![],
            next: 0,
        };
        let data = labels([("github_token", "pat")]);
        world.put(Secret { metadata: Meta::named(NS, "gh"), data, ..Secret::default() });
        let metadata = Meta {
            labels: labels([
                ("actions.github.com/scale-set-name", "demo"),
                ("app.kubernetes.io/component", "runner-set"),
            ]),
            finalizers: [FINALIZER.into()].into(),
            generation: 1,
            ..Meta::named(NS, SET)
        };
        let ers = ErsSpec { ephemeral_runner_spec: spec(), ..ErsSpec::default() };
        world.put(EphemeralRunnerSet { metadata, spec: ers, status: ErsStatus::default() });
        world.sync();
        world
    }
    pub(crate) fn switch(&mut self, name: &str, value: &str) {
        Arc::make_mut(&mut self.settings.behaviour).set(name, value).expect("a switch");
    }
    fn uid(&mut self) -> Uid {
        self.next += 1;
        Uid(self.next)
    }
    /// Stores an object as the server would on CREATE.
    pub(crate) fn put<T: Resource>(&mut self, object: T) -> Key {
        let mut object = object;
        let uid = self.uid();
        let (now, next) = (self.now.truncated(), self.next);
        let meta = object.meta_mut();
        meta.uid = uid;
        meta.creation_timestamp = now;
        meta.resource_version = next;
        if let Some(base) = meta.generate_name.clone().filter(|_| meta.name.is_empty()) {
            meta.name = format_smolstr!("{base}{next:05}");
        }
        let key = object.meta().key();
        self.objects.insert((T::KIND, key.clone()), object.into_object());
        key
    }
    pub(crate) fn get<T: Resource>(&self, name: &str) -> Option<Arc<T>> {
        self.objects.get(&(T::KIND, Key::new(NS, name))).and_then(T::unwrap).cloned()
    }
    pub(crate) fn runner(&self, name: &str) -> Arc<EphemeralRunner> {
        self.get(name).expect("a runner")
    }
    pub(crate) fn set(&self) -> Arc<EphemeralRunnerSet> {
        self.get(SET).expect("the set")
    }
    pub(crate) fn runners(&self) -> Vec<Arc<EphemeralRunner>> {
        self.objects.values().filter_map(Object::get::<EphemeralRunner>).cloned().collect()
    }
    pub(crate) fn update<T: Resource>(&mut self, name: &str, change: impl FnOnce(&mut T)) {
        let mut object = (*self.get::<T>(name).expect("the object")).clone();
        change(&mut object);
        self.next += 1;
        object.meta_mut().resource_version = self.next;
        self.objects.insert((T::KIND, Key::new(NS, name)), object.into_object());
    }
    /// What the listener does.
    pub(crate) fn listener(&mut self, replicas: i32, patch_id: i64) {
        self.update::<EphemeralRunnerSet>(SET, |set| {
            let spec = ErsSpec { replicas, patch_id, ..set.spec.clone() };
            if spec != set.spec {
                set.spec = spec;
                set.metadata.generation += 1;
            }
        });
        self.sync();
    }
    /// Brings all caches up to date.
    pub(crate) fn sync(&mut self) {
        self.caches = Caches::default();
        for object in self.objects.values().filter(|o| WATCHED.contains(&o.kind())) {
            self.caches.of_mut(object.kind()).insert(object.clone());
        }
    }
    /// One pass of the runner, with caches that follow every call.
    pub(crate) fn run(&mut self, name: &str) -> Outcome {
        self.pass(ErPass::new(Key::new(NS, name)), usize::MAX).expect("an end")
    }
    /// One pass of the set.
    pub(crate) fn run_set(&mut self) -> Outcome {
        self.pass(ErsPass::new(Key::new(NS, SET)), usize::MAX).expect("an end")
    }
    /// Drives a pass for at most `limit` calls; `None` if it was dropped.
    pub(crate) fn pass<P: Pass>(&mut self, mut pass: P, limit: usize) -> Option<Outcome> {
        let mut reply = None;
        for n in 0.. {
            let settings = self.settings.clone();
            let mut observed =
                Observed { settings: &settings, caches: &self.caches, now: self.now, reply, log: &mut self.log };
            match pass.step(&mut observed) {
                Decision::End(outcome) => {
                    self.history.push(format!("=> {outcome:?}"));
                    return Some(outcome);
                }
                Decision::Call(_) if n == limit => return None,
                Decision::Call(call) => reply = Some(self.execute(&call)),
            }
        }
        None
    }
    /// Carries out one call.
    pub(crate) fn execute(&mut self, call: &Call) -> Reply {
        self.calls += 1;
        let lost = self.lose_reply == Some(self.calls);
        match call {
            Call::Kube(request) => {
                let answer = self.kube(request);
                let line = render(request, &answer);
                self.history.push(match request {
                    KubeRequest::Create(object) => format!("{line} {}", arc_api::json::to_json(object)),
                    _ => line.clone(),
                });
                self.trace.push(line);
                self.sync();
                if lost { Reply::Kube(Err(CallError::Transport(Transport::Timeout))) } else { Reply::kube(answer) }
            }
            Call::Service(service) => {
                let answer = match self.service_error.clone() {
                    Some(e) => Err(e),
                    None => self.service(&service.op),
                };
                let status = answer.as_ref().map_or_else(|e| e.status, |_| 200);
                self.history.push(format!("{:?} {status}", service.op));
                self.trace.push(format!("{} {status}", service.op.code()));
                let answer = answer.map_err(CallError::Service);
                Reply::Service(if lost { Err(CallError::Transport(Transport::Timeout)) } else { answer })
            }
        }
    }
    fn kube(&mut self, request: &KubeRequest) -> KubeReply {
        let missing = |kind: Kind, key: &Key| Arc::new(Status::not_found(kind, &key.name));
        match request {
            KubeRequest::Get { kind, key } => {
                let found = self.objects.get(&(*kind, key.clone())).cloned();
                found.map(KubeOk::Object).ok_or_else(|| missing(*kind, key))
            }
            KubeRequest::List { kind, labels, .. } => {
                let fits = |o: &&Object| labels.iter().all(|(k, v)| o.meta().label(k) == Some(v));
                let items = self.objects.values().filter(|o| o.kind() == *kind).filter(fits).cloned().collect();
                Ok(KubeOk::List { items, resource_version: self.next })
            }
            KubeRequest::Create(object) => self.create(object),
            KubeRequest::Patch { kind, key, sub, patch } => {
                let Some(object) = self.objects.get(&(*kind, key.clone())).cloned() else {
                    return Err(missing(*kind, key));
                };
                let patched = apply(object, *sub, patch);
                self.store_patched(patched)
            }
            KubeRequest::Delete { kind, key, options } => {
                let Some(mut object) = self.objects.get(&(*kind, key.clone())).cloned() else {
                    return Err(missing(*kind, key));
                };
                if options.uid.is_some_and(|uid| uid != object.meta().uid) {
                    return Err(Arc::new(Status::new(Reason::Conflict, "the UID in the precondition differs")));
                }
                let waits = !object.meta().finalizers.is_empty() || is_running_pod(&object);
                if waits {
                    let meta = object.meta_mut();
                    meta.deletion_timestamp.get_or_insert(self.now.truncated());
                    self.objects.insert((*kind, key.clone()), object.clone());
                } else {
                    self.objects.remove(&(*kind, key.clone()));
                }
                Ok(KubeOk::Deleted(object))
            }
            other => panic!("a runner pass never asks {other:?}"),
        }
    }
    fn create(&mut self, object: &Object) -> KubeReply {
        if let Object::Pod(_) = object {
            if self.objects.contains_key(&(Kind::Pod, object.key())) {
                let text = format_smolstr!("pods \"{}\" already exists", object.key().name);
                return Err(Arc::new(Status::new(Reason::AlreadyExists, text)));
            }
            if let Some(refusal) = &self.pod_refusal {
                return Err(refusal.clone());
            }
            *self.pods_made.entry(object.key().name).or_default() += 1;
            let jit = self.get::<Secret>(&object.key().name).and_then(|s| s.data.get("jitToken").cloned());
            self.jits_used.extend(jit);
        }
        let key = match object {
            Object::Pod(o) => self.put((**o).clone()),
            Object::Secret(o) if self.objects.contains_key(&(Kind::Secret, o.metadata.key())) => {
                return Err(Arc::new(Status::new(Reason::AlreadyExists, "secret already exists")));
            }
            Object::Secret(o) => self.put((**o).clone()),
            Object::EphemeralRunner(o) => self.put((**o).clone()),
            other => panic!("a runner pass never creates {}", other.kind()),
        };
        Ok(KubeOk::Object(self.objects[&(object.kind(), key)].clone()))
    }
    fn store_patched(&mut self, object: Object) -> KubeReply {
        let slot = (object.kind(), object.key());
        if object.meta().is_deleting() && object.meta().finalizers.is_empty() {
            self.objects.remove(&slot);
        } else {
            self.objects.insert(slot, object.clone());
        }
        Ok(KubeOk::Object(object))
    }
    fn service(&mut self, op: &Op) -> ServiceReply {
        let refuse = |status, exception| Err(Arc::new(ServiceError::new(status, exception, "refused")));
        let info = |(id, (name, set)): (&RunnerId, &(Str, ScaleSetId))| RunnerInfo {
            id: *id,
            name: name.clone(),
            scale_set: *set,
        };
        match op {
            Op::GenerateJitConfig { id, name, .. } => {
                if self.registered.values().any(|(n, _)| n == name) {
                    return refuse(409, Exception::AgentExists);
                }
                self.next += 1;
                let runner = RunnerId(self.next as i64);
                self.registered.insert(runner, (name.clone(), *id));
                let info = RunnerInfo { id: runner, name: name.clone(), scale_set: *id };
                Ok(ServiceOk::Jit { runner: info, jit: Token(self.next) })
            }
            Op::GetRunner(id) => match self.registered.get_key_value(id) {
                Some(found) => Ok(ServiceOk::Runner(Some(info(found)))),
                None => refuse(404, Exception::AgentNotFound),
            },
            Op::GetRunnerByName(name) => {
                Ok(ServiceOk::Runner(self.registered.iter().find(|(_, (n, _))| n == name).map(info)))
            }
            Op::RemoveRunner(id) if self.busy.contains(id) => refuse(400, Exception::JobStillRunning),
            Op::RemoveRunner(id) => {
                self.registered.remove(id);
                Ok(ServiceOk::Done)
            }
            other => panic!("a runner pass never asks {other:?}"),
        }
    }
    /// The kubelet's next report: the runner container's state and what follows from it.
    pub(crate) fn kubelet(&mut self, name: &str, state: ContainerState) {
        let at = self.now.truncated();
        self.update::<Pod>(name, |pod| {
            let exit = state.exit_code();
            let running = state.is_running();
            pod.status.phase = match exit {
                Some(0) => PodPhase::Succeeded,
                Some(_) => PodPhase::Failed,
                None if running => PodPhase::Running,
                None => PodPhase::Pending,
            };
            let ready = PodCondition {
                type_: PodConditionType::Ready,
                status: running,
                reason: Str::default(),
                message: Str::default(),
                last_transition_time: at,
            };
            pod.status.conditions = vec![ready];
            let status = ContainerStatus { name: "runner".into(), state, ready: running, ..ContainerStatus::default() };
            pod.status.container_statuses = vec![status];
        });
        self.sync();
    }
    pub(crate) fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }
    /// The listener's JobStarted patch.
    pub(crate) fn job_started(&mut self, name: &str) {
        self.update::<EphemeralRunner>(name, |r| {
            r.status.job = Some(Arc::new(JobRef {
                job_request_id: arc_api::RequestId(1001),
                job_id: Some(arc_api::JobId(9)),
                ..JobRef::default()
            }));
        });
        self.sync();
    }
    /// A stored runner with a chosen phase and stamp.
    pub(crate) fn add_runner(&mut self, name: &str, phase: ErPhase, stamp: Option<i64>) -> Key {
        let mut r = runner(name);
        let owner = self.set().metadata.clone();
        r.metadata.owner_references = [OwnerRef::controller(Kind::EphemeralRunnerSet, &owner)].into();
        r.metadata.finalizers = [FINALIZER.into(), REGISTRATION_FINALIZER.into()].into();
        r.metadata.labels = labels([("actions.github.com/scale-set-name", "demo")]);
        if let Some(stamp) = stamp {
            r.metadata.annotations = labels([(crate::ephemeral_runner_set::PATCH_ID, stamp.to_string().as_str())]);
        }
        r.status.phase = phase;
        let key = self.put(r);
        self.sync();
        key
    }
    /// A registered, stored runner.
    pub(crate) fn add_registered(&mut self, name: &str, phase: ErPhase, stamp: Option<i64>) -> RunnerId {
        self.add_runner(name, phase, stamp);
        self.next += 1;
        let id = RunnerId(self.next as i64);
        self.registered.insert(id, (name.into(), ScaleSetId(1)));
        self.update::<EphemeralRunner>(name, |r| {
            r.status.runner_id = id;
            r.status.runner_name = name.into();
        });
        self.sync();
        id
    }
    /// The calls since the last time this was asked.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }
}

pub(crate) fn waiting(reason: &str) -> ContainerState {
    ContainerState::Waiting { reason: reason.into(), message: Str::default() }
}
pub(crate) fn running(at: Time) -> ContainerState {
    ContainerState::Running { started_at: at }
}
pub(crate) fn exited(code: i32) -> ContainerState {
    ContainerState::Terminated(Terminated { exit_code: code, ..Terminated::default() })
}

fn is_running_pod(object: &Object) -> bool {
    object.get::<Pod>().is_some_and(|p| !p.status.phase.is_terminal() && !p.status.container_statuses.is_empty())
}

fn apply(mut object: Object, sub: Sub, patch: &Patch) -> Object {
    if let Some(list) = patch.finalizers.clone().filter(|_| sub == Sub::Main) {
        object.meta_mut().finalizers = list;
    }
    match (&mut object, &patch.body) {
        (_, Body::None) => {}
        (Object::EphemeralRunner(r), Body::ErStatus(p)) => apply_status(&mut Arc::make_mut(r).status, p),
        (Object::EphemeralRunnerSet(s), Body::ErsStatus(p)) => {
            let status = &mut Arc::make_mut(s).status;
            status.current_replicas = p.current_replicas.unwrap_or(status.current_replicas);
            status.pending_ephemeral_runners = p.pending.unwrap_or(status.pending_ephemeral_runners);
            status.running_ephemeral_runners = p.running.unwrap_or(status.running_ephemeral_runners);
            status.failed_ephemeral_runners = p.failed.unwrap_or(status.failed_ephemeral_runners);
            status.phase = p.phase.unwrap_or(status.phase);
            if let Some(c) = &p.conditions {
                status.conditions = c.clone();
            }
        }
        (_, other) => panic!("a runner pass never patches {other:?}"),
    }
    object
}

fn apply_status(status: &mut ErStatus, p: &ErStatusPatch) {
    status.phase = p.phase.unwrap_or(status.phase);
    status.ready = p.ready.unwrap_or(status.ready);
    status.reason = p.reason.clone().unwrap_or_else(|| status.reason.clone());
    status.message = p.message.clone().unwrap_or_else(|| status.message.clone());
    status.runner_id = p.runner_id.unwrap_or(status.runner_id);
    status.runner_name = p.runner_name.clone().unwrap_or_else(|| status.runner_name.clone());
    status.runner_jit_config = p.runner_jit_config.or(status.runner_jit_config);
    status.ended_generation = p.ended_generation.unwrap_or(status.ended_generation);
    status.rejections = p.rejections.unwrap_or(status.rejections);
    status.last_rejection = p.last_rejection.or(status.last_rejection);
    if let Some(c) = &p.conditions {
        status.conditions = c.clone();
    }
    if let Some(entries) = &p.failures {
        let map = Arc::make_mut(status.failures.get_or_insert_default());
        map.extend(entries.iter().map(|(k, v)| (*k, *v)));
    }
}

/// `verb resource[/status] code [body]`: what a recording shows, without names.
fn render(request: &KubeRequest, answer: &KubeReply) -> String {
    let kind = request.kind().map_or("", Kind::plural);
    let sub = request.subresource().map(|s| format!("/{s}")).unwrap_or_default();
    let whose = match request.key() {
        Some(key) if key.name == "gh" => " gh",
        _ => "",
    };
    let code = match answer {
        Ok(_) => String::new(),
        Err(status) => format!(" {}", status.code),
    };
    let body = match request {
        KubeRequest::Patch { patch, .. } => format!(" {}", patch.to_json()),
        _ => String::new(),
    };
    format!("{} {kind}{sub}{whose}{code}{body}", request.verb())
}
