//! A small engine for tests: it owns the process models of a cluster's containers and nothing else.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_api::core::Namespace;
use arc_api::kube::{DeleteOptions, Identity, KubeOk, KubeReply, KubeRequest};
use arc_api::meta::Key;
use arc_api::pod::{Container, ContainerState, Pod, PodSpec};
use arc_api::{Duration, Kind, Meta, Object, Time, Uid};
use fake_kube::cluster::{Cluster, ClusterSettings, Exit, NodeEffect, Signal, StartFailure};

/// What a container does.
#[derive(Clone)]
pub struct Behaviour {
    pub start: Duration,
    pub fails: Option<StartFailure>,
    /// Ends by itself after this, with this code.
    pub exits: Option<(Duration, i32)>,
    /// Ends after SIGTERM; `None` ignores it.
    pub on_term: Option<(Duration, i32)>,
    pub hook: Duration,
    /// Healthy this long after its start; `None` never.
    pub healthy_after: Option<Duration>,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            start: Duration::from_millis(400),
            fails: None,
            exits: None,
            on_term: Some((Duration::from_millis(200), 143)),
            hook: Duration::ZERO,
            healthy_after: Some(Duration::ZERO),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Todo {
    Volumes,
    Started(String),
    Failed(String),
    Healthy(String),
    Exited(String, i32),
    HookDone(String),
}

#[derive(Clone)]
pub struct Rig {
    pub cluster: Cluster,
    pub now: Time,
    pub behaviours: BTreeMap<String, Behaviour>,
    pub volumes: Option<Duration>,
    todo: BTreeSet<(Time, u64, Uid, Todo)>,
    seq: u64,
    /// Every effect, as text, with its time.
    pub effects: Vec<(Time, String)>,
    pub forgotten: BTreeSet<Uid>,
}

impl Rig {
    pub fn new(settings: ClusterSettings) -> Rig {
        Rig {
            cluster: Cluster::new(settings),
            now: Time::ZERO,
            behaviours: BTreeMap::new(),
            volumes: Some(Duration::from_millis(100)),
            todo: BTreeSet::new(),
            seq: 0,
            effects: Vec::new(),
            forgotten: BTreeSet::new(),
        }
    }
    pub fn behave(&mut self, container: &str, f: impl FnOnce(&mut Behaviour)) {
        f(self.behaviours.entry(container.to_owned()).or_default());
    }
    fn behaviour(&self, container: &str) -> Behaviour {
        self.behaviours.get(container).cloned().unwrap_or_default()
    }
    fn plan(&mut self, after: Duration, pod: Uid, todo: Todo) {
        self.seq += 1;
        self.todo.insert((self.now.after(after), self.seq, pod, todo));
    }
    fn drop_plans(&mut self, pod: Uid, container: Option<&str>) {
        self.todo.retain(|(_, _, p, todo)| {
            *p != pod
                || container.is_some_and(|c| {
                    !matches!(todo, Todo::Started(n) | Todo::Failed(n) | Todo::Healthy(n) | Todo::Exited(n, _) | Todo::HookDone(n) if n == c)
                })
        });
    }
    pub fn next(&self) -> Time {
        self.todo.first().map_or(Time::NEVER, |t| t.0).min(self.cluster.next_deadline())
    }
    pub fn drain_effects(&mut self) {
        while let Some(effect) = self.cluster.pop_effect() {
            match effect {
                NodeEffect::PrepareVolumes { pod, .. } => {
                    assert!(!self.forgotten.contains(&pod.metadata.uid));
                    self.effects.push((self.now, format!("volumes {}", pod.metadata.name)));
                    if let Some(after) = self.volumes {
                        self.plan(after, pod.metadata.uid, Todo::Volumes);
                    }
                }
                NodeEffect::StartContainer { pod, container, attempt, .. } => {
                    let uid = pod.metadata.uid;
                    assert!(!self.forgotten.contains(&uid), "start for a forgotten pod");
                    self.effects.push((self.now, format!("start {container} {attempt}")));
                    let b = self.behaviour(&container);
                    let name = container.to_string();
                    self.plan(b.start, uid, if b.fails.is_some() { Todo::Failed(name) } else { Todo::Started(name) });
                }
                NodeEffect::Hook { pod, container, kind, .. } => {
                    assert!(!self.forgotten.contains(&pod));
                    self.effects.push((self.now, format!("{kind:?} {container}")));
                    let b = self.behaviour(&container);
                    self.plan(b.hook, pod, Todo::HookDone(container.to_string()));
                }
                NodeEffect::Signal { pod, container, signal } => {
                    assert!(!self.forgotten.contains(&pod), "signal for a forgotten pod");
                    self.effects.push((self.now, format!("{signal:?} {container}")));
                    let b = self.behaviour(&container);
                    match (signal, b.on_term) {
                        (Signal::Kill, _) => {
                            self.drop_plans(pod, Some(&container));
                            self.plan(Duration::ZERO, pod, Todo::Exited(container.to_string(), 137));
                        }
                        (Signal::Term, Some((after, code))) => {
                            self.plan(after, pod, Todo::Exited(container.to_string(), code));
                        }
                        (Signal::Term, None) => {}
                    }
                }
                NodeEffect::Forget { pod } => {
                    self.effects.push((self.now, "forget".into()));
                    self.forgotten.insert(pod);
                    self.drop_plans(pod, None);
                }
            }
        }
    }
    /// Does the next thing, if it is due by `end`.
    pub fn step(&mut self, end: Time) -> bool {
        self.drain_effects();
        let next = self.next();
        if next > end {
            return false;
        }
        self.now = self.now.max(next);
        let now = self.now;
        if self.todo.first().is_some_and(|t| t.0 <= now) {
            let (_, _, pod, todo) = self.todo.pop_first().expect("there is one");
            match todo {
                Todo::Volumes => self.cluster.volumes_ready(pod, now),
                Todo::Started(c) => {
                    let b = self.behaviour(&c);
                    self.cluster.set_healthy(pod, &c, b.healthy_after == Some(Duration::ZERO), now);
                    self.cluster.container_started(pod, &c, now);
                    if let Some(after) = b.healthy_after.filter(|d| !d.is_zero()) {
                        self.plan(after, pod, Todo::Healthy(c.clone()));
                    }
                    if let Some((after, code)) = b.exits {
                        self.plan(after, pod, Todo::Exited(c, code));
                    }
                }
                Todo::Failed(c) => {
                    let failure = self.behaviour(&c).fails.expect("it fails");
                    self.cluster.start_failed(pod, &c, failure, now);
                }
                Todo::Healthy(c) => self.cluster.set_healthy(pod, &c, true, now),
                Todo::Exited(c, code) => {
                    self.drop_plans(pod, Some(&c));
                    self.cluster.container_exited(pod, &c, Exit::code(code), now);
                }
                Todo::HookDone(c) => self.cluster.hook_done(pod, &c, now),
            }
        } else {
            self.cluster.advance(now);
        }
        self.drain_effects();
        true
    }
    pub fn run_until(&mut self, end: Time) {
        while self.step(end) {}
        self.now = self.now.max(end);
    }
    pub fn run_for(&mut self, d: Duration) {
        self.run_until(self.now.after(d));
    }
    pub fn secs(&mut self, s: u64) {
        self.run_for(Duration::from_secs(s));
    }
    pub fn admin(&mut self, request: KubeRequest) -> KubeReply {
        self.cluster.handle(&Identity::Admin, &request, self.now)
    }
    #[track_caller]
    pub fn create(&mut self, object: impl Into<Object>) -> Object {
        match self.admin(KubeRequest::Create(object.into())) {
            Ok(KubeOk::Object(o)) => o,
            other => panic!("{other:?}"),
        }
    }
    pub fn namespace(&mut self, name: &str) {
        self.create(Namespace { metadata: Meta::named("", name), ..Namespace::default() });
        self.run_for(Duration::from_millis(100));
    }
    pub fn delete(&mut self, kind: Kind, namespace: &str, name: &str, options: DeleteOptions) -> KubeReply {
        self.admin(KubeRequest::Delete { kind, key: Key::new(namespace, name), options })
    }
    pub fn pod(&self, name: &str) -> Option<&Arc<Pod>> {
        self.cluster.api().typed::<Pod>(&Key::new("default", name))
    }
    #[track_caller]
    pub fn uid(&self, name: &str) -> Uid {
        self.pod(name).expect("the pod exists").metadata.uid
    }
    /// `Phase container:state …` of every change of a pod, repeats left out; `gone` at its end.
    pub fn life(&self, name: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let from = self.cluster.api().history_floor(Kind::Pod);
        for event in self.cluster.api().events_after(Kind::Pod, from).expect("in history") {
            let Some(pod) = event.object.get::<Pod>().filter(|p| p.metadata.name == name) else { continue };
            let line = match event.type_ {
                arc_api::kube::WatchType::Deleted => "gone".to_owned(),
                _ => describe(pod),
            };
            if lines.last() != Some(&line) {
                lines.push(line);
            }
        }
        lines
    }
    pub fn effect_names(&self) -> Vec<&str> {
        self.effects.iter().map(|(_, e)| e.as_str()).collect()
    }
    pub fn effect_at(&self, name: &str) -> Option<Time> {
        self.effects.iter().find(|(_, e)| e == name).map(|(t, _)| *t)
    }
}

pub fn describe(pod: &Pod) -> String {
    let mut text = pod.status.phase.as_str().to_owned();
    if !pod.status.reason.is_empty() {
        text += &format!("({})", pod.status.reason);
    }
    for c in pod.status.init_container_statuses.iter().chain(&pod.status.container_statuses) {
        let state = match &c.state {
            ContainerState::Waiting { reason, .. } => reason.to_string(),
            ContainerState::Running { .. } if c.started => "running".into(),
            ContainerState::Running { .. } => "starting".into(),
            ContainerState::Terminated(end) => format!("{}({})", end.reason, end.exit_code),
        };
        text += &format!(" {}:{state}", c.name);
    }
    text
}

/// A pod in `default` with these main containers.
pub fn pod(name: &str, containers: &[&str], f: impl FnOnce(&mut PodSpec)) -> Pod {
    let mut spec = PodSpec {
        containers: containers.iter().map(|c| container(c)).collect(),
        restart_policy: "Never".into(),
        ..PodSpec::default()
    };
    f(&mut spec);
    Pod { metadata: Meta::named("default", name), spec: Arc::new(spec), ..Pod::default() }
}

pub fn container(name: &str) -> Container {
    Container { name: name.into(), image: "image".into(), ..Container::default() }
}

/// A native sidecar.
pub fn sidecar(name: &str) -> Container {
    Container { restart_policy: Some("Always".into()), ..container(name) }
}
