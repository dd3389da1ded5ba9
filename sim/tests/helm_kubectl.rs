//! What operators do with kubectl, against the API server of `fake-kube`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::{Deployment, Lease, Namespace, Node, Secret, ServiceAccount};
use arc_api::crd::{AutoscalingRunnerSet, EphemeralRunner, ErPhase, ErStatus, JobRef};
use arc_api::kube::{Body, Identity, KubeOk, KubeRequest, Patch, Reason, Status, Sub};
use arc_api::meta::{Key, labels};
use arc_api::pod::{Container, Pod, PodSpec};
use arc_api::{Duration, Kind, Meta, Object, Resource, Str, Time};
use arc_sim::helm::{Kubectl, KubectlStep, Select, Task, controller_chart};
use arc_sim::plan::Glob;
use arc_sim::plan::fault::PodTarget;
use controller_core::Release;
use controller_core::call::CallError;
use fake_kube::api::{ApiServer, ApiSettings};
use serde_json::json;

struct Cluster {
    api: ApiServer,
    now: Time,
    /// Evictions that are refused before one succeeds.
    refused_evictions: u32,
    pauses: Vec<Duration>,
}

impl Cluster {
    fn new() -> Cluster {
        let mut cluster = Cluster {
            api: ApiServer::new(ApiSettings::default()),
            now: Time::from_secs(1),
            refused_evictions: 0,
            pauses: Vec::new(),
        };
        for crd in controller_chart::crds(Release::V0_9_1) {
            cluster.create(crd);
        }
        cluster.create(Namespace { metadata: Meta::named("", "ns"), ..Namespace::default() });
        cluster.create(ServiceAccount { metadata: Meta::named("ns", "default"), ..ServiceAccount::default() });
        cluster
    }

    fn ask(&mut self, request: &KubeRequest) -> Result<KubeOk, CallError> {
        self.now = Time(self.now.0 + 1_000_000);
        if matches!(request, KubeRequest::Evict { .. }) && self.refused_evictions > 0 {
            self.refused_evictions -= 1;
            let status = Status::new(
                Reason::TooManyRequests,
                "Cannot evict pod as it would violate the pod's disruption budget.",
            );
            return Err(CallError::Api(Arc::new(status)));
        }
        self.api.handle(&Identity::Admin, request, self.now).map_err(CallError::Api)
    }

    fn create(&mut self, object: impl Into<Object>) {
        self.ask(&KubeRequest::Create(object.into())).expect("created");
    }

    fn run(&mut self, task: Task) -> (u32, Vec<Str>) {
        let mut command = Kubectl::new(task);
        let mut reply = None;
        loop {
            reply = match command.step(reply) {
                KubectlStep::Call(request) => Some(self.ask(&request)),
                KubectlStep::Wait(time) => {
                    self.pauses.push(time);
                    None
                }
                KubectlStep::Done { changed, errors } => return (changed, errors),
            };
        }
    }

    fn get<T: Resource>(&mut self, namespace: &str, name: &str) -> Option<Arc<T>> {
        let request = KubeRequest::Get { kind: T::KIND, key: Key::new(namespace, name) };
        self.ask(&request).ok().and_then(|ok| ok.object().and_then(T::unwrap).cloned())
    }

    fn pod(&mut self, name: &str, own: &[(&str, &str)], node: Option<&str>) {
        let containers = vec![Container { name: "runner".into(), image: "i".into(), ..Container::default() }];
        let spec = Arc::new(PodSpec { containers, ..PodSpec::default() });
        let metadata = Meta { labels: labels(own.iter().copied()), ..Meta::named("ns", name) };
        self.create(Pod { metadata, spec, ..Pod::default() });
        if let Some(node) = node {
            self.ask(&KubeRequest::Bind { key: Key::new("ns", name), node: node.into() }).expect("bound");
        }
    }
}

fn protected(name: &str) -> Meta {
    Meta { finalizers: [Str::from("actions.github.com/cleanup-protection")].into(), ..Meta::named("ns", name) }
}

fn secret(name: &str) -> Secret {
    let data = Arc::new(BTreeMap::from([("github_token".into(), "old".into()), ("extra".into(), "x".into())]));
    Secret { metadata: protected(name), type_: "Opaque".into(), data, ..Secret::default() }
}

#[test]
fn deleting_leaves_finalizers_and_stripping_takes_them() {
    let mut c = Cluster::new();
    c.create(secret("a"));
    c.create(secret("b"));
    let all =
        || Select { kinds: Select::kinds(&Glob("Secret".into())), namespace: Glob("ns".into()), ..Select::default() };
    assert_eq!(c.run(Task::delete(Select { count: Some(1), ..all() }, None, false)), (1, vec![]));
    assert!(c.get::<Secret>("ns", "a").is_some_and(|s| s.metadata.is_deleting()), "the oldest, held");
    assert!(c.get::<Secret>("ns", "b").is_some_and(|s| !s.metadata.is_deleting()));
    assert_eq!(c.run(Task::force_finalize(all(), Glob("actions.github.com/*".into()))), (2, vec![]));
    assert!(c.get::<Secret>("ns", "a").is_none());
    assert!(c.get::<Secret>("ns", "b").is_some_and(|s| s.metadata.finalizers.is_empty()));
    assert_eq!(c.run(Task::force_finalize(all(), Glob::default())), (0, vec![]));
    assert_eq!(Select::kinds(&Glob("ephemeralrunner*".into())), [Kind::EphemeralRunnerSet, Kind::EphemeralRunner]);
}

#[test]
fn a_secret_is_rotated_removed_and_made_again() {
    let mut c = Cluster::new();
    c.create(secret("s"));
    let key = Key::new("ns", "s");
    let token = |t: &str| BTreeMap::from([(Str::from("github_token"), Str::from(t))]);
    assert_eq!(c.run(Task::rotate_secret(&key, token("new"))), (1, vec![]));
    let rotated = c.get::<Secret>("ns", "s").expect("there");
    assert_eq!(*rotated.data, token("new"));
    let after = Duration::from_secs(60);
    assert_eq!(c.run(Task::delete_secret(&key, Some((after, Some(token("newer")))))), (3, vec![]));
    assert_eq!(c.pauses, [after]);
    let made = c.get::<Secret>("ns", "s").expect("there again");
    assert_eq!((&*made.data, made.metadata.finalizers.len()), (&token("newer"), 0));
    assert_ne!(made.metadata.uid, rotated.metadata.uid);
    assert_eq!(c.run(Task::delete_secret(&key, None)), (1, vec![]));
    assert!(c.get::<Secret>("ns", "s").is_none());
}

#[test]
fn an_identity_is_replaced_or_left_terminating() {
    let mut c = Cluster::new();
    let key = Key::new("ns", "runner");
    c.create(ServiceAccount { metadata: protected("runner"), ..ServiceAccount::default() });
    let before = c.get::<ServiceAccount>("ns", "runner").expect("there").metadata.uid;
    assert_eq!(c.run(Task::recreate(Kind::ServiceAccount, &key, false)), (1, vec![]));
    assert!(
        c.get::<ServiceAccount>("ns", "runner").is_some_and(|s| s.metadata.is_deleting() && s.metadata.uid == before)
    );
    assert_eq!(c.run(Task::recreate(Kind::ServiceAccount, &key, true)), (3, vec![]));
    assert!(
        c.get::<ServiceAccount>("ns", "runner").is_some_and(|s| !s.metadata.is_deleting() && s.metadata.uid != before)
    );
}

#[test]
fn a_drain_cordons_evicts_with_patience_and_uncordons() {
    let mut c = Cluster::new();
    for node in ["n1", "n2"] {
        c.create(Node { metadata: Meta::named("", node), ready: "True".into(), ..Node::default() });
    }
    c.pod("here", &[], Some("n1"));
    c.pod("there", &[], Some("n2"));
    c.pod("nowhere", &[], None);
    c.refused_evictions = 2;
    let hour = Duration::from_secs(3600);
    let (changed, errors) = c.run(Task::Drain { node: "n1".into(), grace: None, uncordon_after: Some(hour) });
    assert_eq!((changed, errors.len()), (3, 0), "cordon, eviction, uncordon: {errors:?}");
    assert_eq!(c.pauses, [Duration::from_secs(5), Duration::from_secs(5), hour]);
    let deleting = |c: &mut Cluster, name: &str| c.get::<Pod>("ns", name).is_none_or(|p| p.metadata.is_deleting());
    assert!(deleting(&mut c, "here") && !deleting(&mut c, "there") && !deleting(&mut c, "nowhere"));
    assert!(c.get::<Node>("", "n1").is_some_and(|n| !n.unschedulable));
    c.run(Task::Drain { node: "n2".into(), grace: Some(Duration::ZERO), uncordon_after: None });
    assert!(c.get::<Pod>("ns", "there").is_none());
    assert!(c.get::<Node>("", "n2").is_some_and(|n| n.unschedulable));
}

#[test]
fn runner_pods_are_chosen_by_component_and_by_their_job() {
    let mut c = Cluster::new();
    let set = [("actions-ephemeral-runner", "True"), ("actions.github.com/scale-set-name", "demo")];
    for name in ["demo-a", "demo-b"] {
        c.pod(name, &set, None);
        c.create(EphemeralRunner { metadata: Meta::named("ns", name), ..EphemeralRunner::default() });
    }
    c.pod("listener", &[("app.kubernetes.io/component", "runner-scale-set-listener")], None);
    c.pod("demo-b-workflow", &[("runner-pod", "demo-b")], None);
    let job = Arc::new(JobRef { workflow_run_id: 7, ..JobRef::default() });
    let status = arc_api::kube::ErStatusPatch { job: Some(job), ..Default::default() };
    let patch = Arc::new(Patch::body(Body::ErStatus(Box::new(status))));
    let key = Key::new("ns", "demo-b");
    c.ask(&KubeRequest::Patch { kind: Kind::EphemeralRunner, key, sub: Sub::Status, patch }).expect("patched");
    let delete = |busy, target| {
        let select = Select { busy, ..Select::pods(target, Some("demo")) };
        Task::delete(select, Some(Duration::ZERO), false)
    };
    assert_eq!(c.run(delete(Some(true), PodTarget::Runner)), (1, vec![]));
    assert!(c.get::<Pod>("ns", "demo-b").is_none() && c.get::<Pod>("ns", "demo-a").is_some());
    assert_eq!(c.run(delete(None, PodTarget::Workflow)), (1, vec![]));
    assert_eq!(c.run(delete(Some(false), PodTarget::Runner)), (1, vec![]));
    assert!(c.get::<Pod>("ns", "listener").is_some());
}

#[test]
fn controllers_are_scaled_restarted_and_deposed() {
    let mut c = Cluster::new();
    let key = Key::new("ns", "arc");
    c.create(Deployment { metadata: Meta::named("ns", "arc"), replicas: 1, ..Deployment::default() });
    assert_eq!(c.run(Task::scale(&key, 3)), (1, vec![]));
    let before = c.get::<Deployment>("ns", "arc").expect("there");
    assert_eq!(before.replicas, 3);
    assert_eq!(c.run(Task::restart(&key, Time::from_secs(90))), (1, vec![]));
    assert_ne!(c.get::<Deployment>("ns", "arc").expect("there").template, before.template);
    c.pod("arc-1", &[], None);
    let holder_identity = Str::from("arc-1_6f1c");
    c.create(Lease { metadata: Meta::named("ns", "lock"), holder_identity, ..Lease::default() });
    assert_eq!(c.run(Task::DeposeLeader { lease: Key::new("ns", "lock") }), (1, vec![]));
    assert!(c.get::<Pod>("ns", "arc-1").is_none_or(|p| p.metadata.is_deleting()));
    let (_, errors) = c.run(Task::DeposeLeader { lease: Key::new("ns", "none") });
    assert_eq!(errors.len(), 1);
}

#[test]
fn sets_are_edited_statuses_reset_and_schemas_replaced() {
    let mut c = Cluster::new();
    let labels = labels([("keep", "1"), ("app.kubernetes.io/version", "0.9.1")]);
    let set = AutoscalingRunnerSet { metadata: Meta { labels, ..Meta::named("ns", "demo") }, ..Default::default() };
    c.create(set);
    let key = Key::new("ns", "demo");
    let edit =
        json!({ "spec": { "maxRunners": 9 }, "metadata": { "labels": { "app.kubernetes.io/version": "0.9.2" } } });
    assert_eq!(c.run(Task::patch(Kind::AutoscalingRunnerSet, &key, edit)), (1, vec![]));
    let edited = c.get::<AutoscalingRunnerSet>("ns", "demo").expect("there");
    assert_eq!(edited.spec.max_runners, Some(9));
    assert_eq!(edited.metadata.labels.len(), 2);
    assert_eq!(edited.metadata.label("app.kubernetes.io/version").map(|l| &**l), Some("0.9.2"));
    c.create(EphemeralRunner { metadata: Meta::named("ns", "r"), ..EphemeralRunner::default() });
    let select = || Select { kinds: vec![Kind::EphemeralRunner], ..Select::default() };
    assert_eq!(c.run(Task::reset_status(select(), Some(json!({ "phase": "Failed" })))), (1, vec![]));
    let phase = |c: &mut Cluster| c.get::<EphemeralRunner>("ns", "r").map(|r| r.status.phase);
    assert_eq!(phase(&mut c), Some(ErPhase::Failed));
    assert_eq!(c.run(Task::reset_status(select(), None)), (1, vec![]));
    assert_eq!(c.get::<EphemeralRunner>("ns", "r").map(|r| r.status.clone()), Some(ErStatus::default()));
    assert_eq!(c.run(Task::ReplaceCrds(Release::V0_12_1)), (4, vec![]));
    let name = "ephemeralrunners.actions.github.com";
    let crd = c.get::<arc_api::core::CustomResourceDefinition>("", name).expect("there");
    assert_eq!(crd.schema, "0.12.1");
    assert_eq!(c.run(Task::delete_namespace(&"ns".into())).1, Vec::<Str>::new());
    assert!(c.get::<Namespace>("", "ns").is_some_and(|n| n.phase == "Terminating"));
}
