//! A world for the tests of the set and listener reconcilers: a store, a service, one controller process, no delays. Never
//! used outside tests; it knows just enough of Kubernetes for these passes.
//!
//! A crash can be placed at the n-th call, losing the request or only its reply; the process then starts again with an empty
//! queue and every object as a Create event.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_api::core::*;
use arc_api::crd::*;
use arc_api::kube::*;
use arc_api::meta::{Key, labels};
use arc_api::pod::*;
use arc_api::service::*;
use arc_api::*;

use crate::autoscaling_listener::AlPass;
use crate::autoscaling_runner_set::ArsPass;
use crate::caches::{Caches, WATCHED};
use crate::call::{Call, CallError, Reply, Transport};
use crate::reconcile::{Decision, LogLine, Observed, Outcome, Pass, Settings, UpdateStrategy};
use crate::{Behaviour, Release, names, triggers};

/// What a crash at a call loses.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Lost {
    Request,
    Reply,
}

#[derive(Clone)]
pub(crate) struct World {
    pub settings: Settings,
    pub store: BTreeMap<(Kind, Key), Object>,
    pub caches: Caches,
    /// Kinds whose events the process does not get for now.
    pub held: Vec<Kind>,
    pub scale_sets: BTreeMap<ScaleSetId, Str>,
    pub now: Time,
    pub log: Vec<LogLine>,
    /// Every call, `ars …` or `al …`.
    pub calls: Vec<String>,
    /// Calls left until the process dies.
    pub crash: Option<(usize, Lost)>,
    /// Answers the next calls whose line contains the text with this refusal.
    pub refuse: Option<(&'static str, CallError)>,
    queue: VecDeque<(Kind, Key)>,
    timers: BTreeMap<(Kind, Key), Time>,
    failures: BTreeMap<(Kind, Key), u32>,
    counter: u64,
}

pub(crate) fn ars_key() -> Key {
    Key::new("arc-runners", "demo")
}

impl World {
    /// A controller of `release` and the chart's objects of one set, before the set itself exists.
    pub fn new(release: Release) -> World {
        let version: Str = if release == Release::Next { "0.14.2".into() } else { release.as_str().into() };
        let settings = Settings {
            behaviour: Arc::new(Behaviour::of(release)),
            image: format_smolstr!("controller:{version}"),
            version,
            namespace: "arc-systems".into(),
            update_strategy: UpdateStrategy::Immediate,
            image_pull_secrets: vec![],
            excluded_label_prefixes: vec![],
            metrics: false,
        };
        let mut world = World {
            settings,
            store: BTreeMap::new(),
            caches: Caches::default(),
            held: vec![],
            scale_sets: BTreeMap::new(),
            now: Time::from_secs(100),
            log: vec![],
            calls: vec![],
            crash: None,
            refuse: None,
            queue: VecDeque::new(),
            timers: BTreeMap::new(),
            failures: BTreeMap::new(),
            counter: 0,
        };
        let protected =
            |name: &str| Meta { finalizers: [Str::from(names::PROTECTION)].into(), ..Meta::named("arc-runners", name) };
        world.put(ServiceAccount { metadata: protected("demo-no-permission"), ..Default::default() }.into());
        let data = labels([("github_token", "pat")]);
        world.put(Secret { metadata: protected("demo-secret"), data, ..Default::default() }.into());
        world.put(Role { metadata: protected("demo-manager"), ..Default::default() }.into());
        world.put(RoleBinding { metadata: protected("demo-manager"), ..Default::default() }.into());
        world
    }

    /// The set as a chart of the controller's own version makes it.
    pub fn ars(&self) -> AutoscalingRunnerSet {
        let metadata = Meta {
            labels: labels([
                ("app.kubernetes.io/version", self.settings.version.as_str()),
                ("helm.sh/chart", "gha-rs"),
            ]),
            annotations: labels([
                ("actions.github.com/cleanup-github-secret-name", "demo-secret"),
                ("actions.github.com/cleanup-manager-role-binding", "demo-manager"),
                ("actions.github.com/cleanup-manager-role-name", "demo-manager"),
                ("actions.github.com/cleanup-no-permission-service-account-name", "demo-no-permission"),
                ("actions.github.com/values-hash", "v1"),
            ]),
            ..Meta::named("arc-runners", "demo")
        };
        let runner = Container { name: "runner".into(), image: "runner:1".into(), ..Container::default() };
        let pod = PodSpec {
            containers: vec![runner],
            service_account_name: "demo-no-permission".into(),
            ..PodSpec::default()
        };
        let spec = ArsSpec {
            github_config_url: "http://127.0.0.1:9090/my-org".into(),
            github_config_secret: "demo-secret".into(),
            max_runners: Some(3),
            template: Arc::new(PodTemplate { spec: Arc::new(pod), ..PodTemplate::default() }),
            ..ArsSpec::default()
        };
        AutoscalingRunnerSet { metadata, spec: Arc::new(spec), ..Default::default() }
    }

    /// A world in which the set has been installed and everything is quiet.
    pub fn installed(release: Release) -> World {
        let mut world = World::new(release);
        let ars = world.ars();
        world.put(ars.into());
        world.run();
        world
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Creates or replaces an object, as somebody else does it.
    pub fn put(&mut self, mut object: Object) {
        let version = self.next();
        let now = self.now.truncated();
        let meta = object.meta_mut();
        if meta.uid == Uid(0) {
            meta.uid = Uid(version);
            meta.creation_timestamp = now;
        }
        meta.resource_version = version;
        let gone = meta.is_deleting() && meta.finalizers.is_empty();
        let (kind, key) = (object.kind(), object.key());
        if gone {
            self.store.remove(&(kind, key.clone()));
        } else {
            self.store.insert((kind, key.clone()), object.clone());
        }
        self.observe(object, gone);
    }

    fn observe(&mut self, object: Object, gone: bool) {
        if !WATCHED.contains(&object.kind()) || self.held.contains(&object.kind()) {
            return;
        }
        let cache = self.caches.of_mut(object.kind());
        if gone {
            cache.remove(&object.key());
        } else {
            cache.insert(object.clone());
        }
        for key in triggers::users(&object, &self.caches, &self.settings.behaviour) {
            let at = self.now.after(triggers::IDENTITY_WAIT);
            let timer = self.timers.entry((Kind::AutoscalingRunnerSet, key)).or_insert(at);
            *timer = at.min(*timer);
        }
        for wake in triggers::enqueue(&object).filter(|(k, _)| is_ours(*k)) {
            if !self.queue.contains(&wake) {
                self.queue.push_back(wake);
            }
        }
    }

    /// Lets the process see everything it was kept from.
    pub fn release(&mut self) {
        for kind in std::mem::take(&mut self.held) {
            let known: Vec<Object> = self.caches.of(kind).iter().cloned().collect();
            for object in known {
                if !self.store.contains_key(&(kind, object.key())) {
                    self.observe(object, true);
                }
            }
            let now: Vec<Object> = self.store.values().filter(|o| o.kind() == kind).cloned().collect();
            for object in now {
                self.observe(object, false);
            }
        }
    }

    pub fn get<T: Resource>(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.store.get(&(T::KIND, Key::new(namespace, name))).and_then(T::unwrap).cloned()
    }

    pub fn all<T: Resource>(&self) -> Vec<Arc<T>> {
        self.store.values().filter_map(T::unwrap).cloned().collect()
    }

    pub fn set(&self) -> Arc<AutoscalingRunnerSet> {
        self.get("arc-runners", "demo").expect("the set exists")
    }

    /// Changes the set as a person does, two seconds later.
    pub fn edit(&mut self, change: impl FnOnce(&mut AutoscalingRunnerSet)) {
        self.now = self.now.after(Duration::from_secs(2));
        let mut ars = (*self.set()).clone();
        change(&mut ars);
        self.put(ars.into());
    }

    /// Changes a pod's status as its kubelet does.
    pub fn kubelet(&mut self, name: &str, change: impl FnOnce(&mut PodStatus)) {
        let mut pod = (*self.get::<Pod>("arc-systems", name).expect("the pod exists")).clone();
        change(&mut pod.status);
        self.put(pod.into());
    }

    /// DELETE, by anybody.
    pub fn delete(&mut self, kind: Kind, key: &Key) -> Result<KubeOk, CallError> {
        let Some(object) = self.store.get(&(kind, key.clone())).cloned() else { return Err(not_found(kind, key)) };
        let mut object = object;
        if object.meta().is_deleting() && !object.meta().finalizers.is_empty() {
            return Ok(KubeOk::Object(object));
        }
        object.meta_mut().deletion_timestamp = Some(self.now.truncated());
        self.put(object.clone());
        Ok(KubeOk::Deleted(object))
    }

    fn kube(&mut self, request: &KubeRequest) -> Result<KubeOk, CallError> {
        match request {
            KubeRequest::Get { kind, key } => {
                self.store.get(&(*kind, key.clone())).cloned().map(KubeOk::Object).ok_or_else(|| not_found(*kind, key))
            }
            KubeRequest::List { kind, namespace, labels } => {
                let fits = |o: &&Object| {
                    o.kind() == *kind
                        && namespace.as_ref().is_none_or(|n| o.meta().namespace == *n)
                        && labels.iter().all(|(k, v)| o.meta().label(k) == Some(v))
                };
                let items = self.store.values().filter(fits).cloned().collect();
                Ok(KubeOk::List { items, resource_version: self.counter })
            }
            KubeRequest::Create(object) => {
                let mut object = object.clone();
                if let (true, Some(base)) = (object.meta().name.is_empty(), object.meta().generate_name.clone()) {
                    let n = self.next();
                    object.meta_mut().name = format_smolstr!("{base}{n:05}");
                }
                let id = (object.kind(), object.key());
                if self.store.contains_key(&id) {
                    let text = format_smolstr!("{} \"{}\" already exists", id.0.resource(), id.1.name);
                    return Err(CallError::Api(Arc::new(Status::new(Reason::AlreadyExists, text))));
                }
                self.put(object);
                Ok(KubeOk::Object(self.store[&id].clone()))
            }
            KubeRequest::Update(object, _) => {
                let id = (object.kind(), object.key());
                if !self.store.contains_key(&id) {
                    return Err(not_found(id.0, &id.1));
                }
                self.put(object.clone());
                Ok(KubeOk::Object(object.clone()))
            }
            KubeRequest::Patch { kind, key, patch, .. } => {
                let id = (*kind, key.clone());
                let Some(mut object) = self.store.get(&id).cloned() else { return Err(not_found(*kind, key)) };
                apply(&mut object, patch);
                if !self.store[&id].eq(&object) {
                    self.put(object.clone());
                    object = self.store.get(&id).cloned().unwrap_or(object);
                }
                Ok(KubeOk::Object(object))
            }
            KubeRequest::Delete { kind, key, .. } => self.delete(*kind, key),
            other => panic!("the passes under test do not send {other:?}"),
        }
    }

    fn service(&mut self, op: &Op) -> Result<ServiceOk, CallError> {
        let gone = || {
            let why = "No runner scale set found";
            CallError::Service(Arc::new(ServiceError::new(404, Exception::ScaleSetNotFound, why)))
        };
        let info = |id: ScaleSetId, name: &Str| {
            let statistics = Statistics::default();
            let group_name = "Default".into();
            let (group, labels) = (GroupId(1), vec![name.clone()]);
            ServiceOk::ScaleSet(Some(Arc::new(ScaleSetInfo {
                id,
                name: name.clone(),
                group,
                group_name,
                labels,
                statistics,
            })))
        };
        match op {
            Op::GetScaleSet { name, .. } => {
                let found = self.scale_sets.iter().find(|(_, n)| *n == name);
                Ok(found.map_or(ServiceOk::ScaleSet(None), |(id, n)| info(*id, n)))
            }
            Op::CreateScaleSet { name, .. } => {
                let id = ScaleSetId(self.next() as i64);
                self.scale_sets.insert(id, name.clone());
                Ok(info(id, name))
            }
            Op::GetScaleSetById(id) => self.scale_sets.get(id).map(|n| info(*id, n)).ok_or_else(gone),
            Op::UpdateScaleSet { id, name, .. } => {
                let slot = self.scale_sets.get_mut(id).ok_or_else(gone)?;
                if let Some(name) = name {
                    *slot = name.clone();
                }
                Ok(info(*id, slot))
            }
            Op::GetRunnerGroup { .. } => Ok(ServiceOk::Group(GroupId(2))),
            Op::DeleteScaleSet(id) => self.scale_sets.remove(id).map(|_| ServiceOk::Done).ok_or_else(gone),
            other => panic!("the passes under test do not send {other:?}"),
        }
    }

    fn answer(&mut self, call: &Call) -> Reply {
        match call {
            Call::Kube(request) => Reply::Kube(self.kube(request)),
            Call::Service(call) => Reply::Service(self.service(&call.op)),
        }
    }

    /// Runs one pass; true if the process died in it.
    fn pass<P: Pass>(&mut self, mut pass: P, tag: &str, id: &(Kind, Key)) -> bool {
        let mut reply = None;
        for _ in 0..200 {
            let decision = pass.step(&mut Observed {
                settings: &self.settings,
                caches: &self.caches,
                now: self.now,
                reply: reply.take(),
                log: &mut self.log,
            });
            let call = match decision {
                Decision::Call(call) => call,
                Decision::End(outcome) => {
                    self.end(id, &outcome);
                    return false;
                }
            };
            let line = format!("{tag} {}", render(&call));
            let dies = self.crash.is_some_and(|(left, _)| left == 0);
            if let Some((left, lost)) = self.crash {
                self.crash = (left > 0).then(|| (left - 1, lost));
                if dies {
                    self.calls.push(format!("{line} (crash)"));
                    if lost == Lost::Reply {
                        self.answer(&call);
                    }
                    return true;
                }
            }
            let refused = self.refuse.as_ref().filter(|(text, _)| line.contains(text)).map(|(_, e)| e.clone());
            let answer = match (refused, &call) {
                (Some(e), Call::Kube(_)) => Reply::Kube(Err(e)),
                (Some(e), Call::Service(_)) => Reply::Service(Err(e)),
                (None, _) => self.answer(&call),
            };
            let code = match &answer {
                Reply::Kube(Err(e)) | Reply::Service(Err(e)) => match e {
                    CallError::Api(s) => format!(" {}", s.code),
                    CallError::Service(s) => format!(" {}", s.status),
                    CallError::Transport(t) => format!(" {t:?}"),
                },
                Reply::Kube(Ok(_)) | Reply::Service(Ok(_)) => String::new(),
            };
            self.calls.push(line + &code);
            reply = Some(answer);
        }
        panic!("a pass without end: {:?}", &self.calls[self.calls.len() - 10..]);
    }

    fn end(&mut self, id: &(Kind, Key), outcome: &Outcome) {
        let wait = match outcome {
            Outcome::Settled => {
                self.failures.remove(id);
                return;
            }
            Outcome::After(wait) => {
                self.failures.remove(id);
                *wait
            }
            Outcome::Requeue | Outcome::Error(_) => {
                let n = self.failures.entry(id.clone()).or_default();
                *n += 1;
                Duration::from_millis(5 << (*n - 1).min(17))
            }
        };
        self.timers.insert(id.clone(), self.now.after(wait));
    }

    fn restart(&mut self) {
        self.queue.clear();
        self.timers.clear();
        self.failures.clear();
        self.held.clear();
        self.caches = Caches::default();
        let all: Vec<Object> = self.store.values().cloned().collect();
        for object in all {
            self.observe(object, false);
        }
    }

    /// Runs until nothing is due within two minutes.
    pub fn run(&mut self) {
        self.run_for(Duration::from_secs(120));
    }

    /// Runs until nothing is due within `patience` of the last pass, but no longer than ten times that.
    pub fn run_for(&mut self, patience: Duration) {
        let end = self.now.after(patience * 10);
        for _ in 0..5_000 {
            if self.queue.is_empty() {
                let Some((id, at)) = self.timers.iter().min_by_key(|(id, at)| (**at, (*id).clone())) else { return };
                let (id, at) = (id.clone(), *at);
                if at > self.now.after(patience) || at > end {
                    return;
                }
                self.timers.remove(&id);
                self.now = self.now.max(at);
                self.queue.push_back(id);
            }
            let Some(id) = self.queue.pop_front() else { return };
            let died = match id.0 {
                Kind::AutoscalingRunnerSet => self.pass(ArsPass::new(id.1.clone()), "ars", &id),
                _ => self.pass(AlPass::new(id.1.clone()), "al", &id),
            };
            if died {
                self.restart();
            }
        }
        panic!("the world does not come to rest: {:#?}", &self.calls[self.calls.len() - 20..]);
    }

    /// Lines of `calls` from `from` on that begin with `tag`, without it.
    pub fn calls_of(&self, tag: &str, from: usize) -> Vec<String> {
        self.calls[from..].iter().filter_map(|l| l.strip_prefix(tag)).map(|l| l.trim_start().to_owned()).collect()
    }
}

fn is_ours(kind: Kind) -> bool {
    matches!(kind, Kind::AutoscalingRunnerSet | Kind::AutoscalingListener)
}

fn not_found(kind: Kind, key: &Key) -> CallError {
    CallError::Api(Arc::new(Status::not_found(kind, &key.name)))
}

/// A reply that never came.
pub(crate) fn timeout() -> CallError {
    CallError::Transport(Transport::Timeout)
}

fn render(call: &Call) -> String {
    match call {
        Call::Service(call) => call.op.code().to_owned(),
        Call::Kube(request) => {
            let kind = request.kind().map_or("", |k| k.plural());
            let name = request.key().map(|k| k.name).unwrap_or_default();
            match request {
                KubeRequest::Patch { patch, sub, .. } => {
                    let sub = if *sub == Sub::Status { "/status" } else { "" };
                    format!("patch {kind}{sub} {name} {}", patch.to_json())
                }
                KubeRequest::Create(o) if name.is_empty() => {
                    format!("create {kind} {}*", o.meta().generate_name.clone().unwrap_or_default())
                }
                other => format!("{} {kind} {name}", other.verb()).trim_end().to_owned(),
            }
        }
    }
}

fn apply(object: &mut Object, patch: &Patch) {
    let meta = object.meta_mut();
    if let Some(list) = &patch.finalizers {
        meta.finalizers = Arc::clone(list);
    }
    for (map, entries) in [(&mut meta.labels, &patch.labels), (&mut meta.annotations, &patch.annotations)] {
        for (key, value) in entries {
            let map = Arc::make_mut(map);
            match value {
                Some(value) => map.insert(key.clone(), value.clone()),
                None => map.remove(key),
            };
        }
    }
    match (&patch.body, object) {
        (Body::None, _) => {}
        (Body::ErsSpec { replicas, patch_id }, Object::EphemeralRunnerSet(set)) => {
            let spec = &mut Arc::make_mut(set).spec;
            spec.replicas = replicas.unwrap_or(spec.replicas);
            spec.patch_id = patch_id.unwrap_or(spec.patch_id);
        }
        (Body::ArsStatus(p), Object::AutoscalingRunnerSet(ars)) => {
            let s = &mut Arc::make_mut(ars).status;
            s.current_runners = p.current_runners.unwrap_or(s.current_runners);
            s.phase = p.phase.unwrap_or(s.phase);
            s.pending_ephemeral_runners = p.pending.unwrap_or(s.pending_ephemeral_runners);
            s.running_ephemeral_runners = p.running.unwrap_or(s.running_ephemeral_runners);
            s.failed_ephemeral_runners = p.failed.unwrap_or(s.failed_ephemeral_runners);
            s.conditions = p.conditions.clone().unwrap_or_else(|| Arc::clone(&s.conditions));
        }
        (Body::AlStatus(p), Object::AutoscalingListener(al)) => {
            let s = &mut Arc::make_mut(al).status;
            s.restarts = p.restarts.unwrap_or(s.restarts);
            s.last_restart = p.last_restart.or(s.last_restart);
            s.conditions = p.conditions.clone().unwrap_or_else(|| Arc::clone(&s.conditions));
        }
        (body, object) => panic!("no such patch of {}: {body:?}", object.kind()),
    }
}
