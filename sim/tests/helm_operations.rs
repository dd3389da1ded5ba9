//! helm commands against the API server of `fake-kube`: order of calls, adoption, three-way upgrades, failures.
//!
//! The call lists are those of the recordings named at each test (kube-apiserver 1.34.4, Helm 3.18); reads, which the recordings
//! leave out, are left out here as well.

use std::sync::Arc;

use arc_api::kube::{Body, DeleteOptions, Identity, KubeOk, KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::{Kind, Object, Str, Time};
use arc_sim::helm::{Chart, ChartName, Command, HelmOp, HelmResult, HelmStep, Releases, Status};
use controller_core::Release;
use controller_core::call::CallError;
use fake_kube::api::{ApiServer, ApiSettings};
use serde_json::{Value, json};

struct Cluster {
    api: ApiServer,
    releases: Releases,
    now: Time,
    /// Write requests with their outcome.
    writes: Vec<String>,
    /// Refuses the creation of this kind once.
    refuse: Option<Kind>,
}

impl Cluster {
    fn new() -> Cluster {
        Cluster {
            api: ApiServer::new(ApiSettings::default()),
            releases: Releases::default(),
            now: Time::from_secs(1),
            writes: Vec::new(),
            refuse: None,
        }
    }

    fn ask(&mut self, request: &KubeRequest) -> Result<KubeOk, CallError> {
        self.now = Time(self.now.0 + 10_000);
        if matches!(request, KubeRequest::Create(o) if self.refuse == Some(o.kind())) {
            self.refuse = None;
            let status = arc_api::kube::Status::new(
                arc_api::kube::Reason::Forbidden,
                "admission webhook \"w\" denied the request",
            );
            return Err(CallError::Api(Arc::new(status)));
        }
        self.api.handle(&Identity::Admin, request, self.now).map_err(CallError::Api)
    }

    fn run(&mut self, name: &str, namespace: &str, command: Command) -> HelmResult {
        let mut op = HelmOp::new(name, namespace, command, "34");
        let mut reply = None;
        self.writes.clear();
        loop {
            match op.step(&mut self.releases, reply, self.now) {
                HelmStep::Done(result) => return result,
                HelmStep::Call(request) => {
                    let answer = self.ask(&request);
                    if request.is_write() {
                        let code = answer
                            .as_ref()
                            .err()
                            .and_then(|e| e.status())
                            .map_or(String::new(), |s| format!(" {}", s.code));
                        let name = request.key().map(|k| k.name).unwrap_or_default();
                        let plural = request.kind().map_or("", |k| k.plural());
                        let body = match &request {
                            KubeRequest::Patch { patch, .. } => format!(" {}", patch.to_json()),
                            _ => String::new(),
                        };
                        self.writes.push(format!("{} {plural} {name}{code}{body}", request.verb()));
                    }
                    reply = Some(answer);
                }
            }
        }
    }

    fn controller(&mut self, release: Release) {
        let chart = Chart { name: ChartName::Controller, release };
        let command = match self.releases.last(&"arc-systems".into(), &"arc".into()) {
            None => Command::Install { chart, values: Arc::default() },
            Some(_) => Command::Upgrade { chart, values: None, reuse: false, install: false },
        };
        let result = self.run("arc", "arc-systems", command);
        assert_eq!(result.outcome, Ok(()));
    }

    fn install(&mut self, release: Release, values: Value) -> HelmResult {
        let chart = Chart { name: ChartName::ScaleSet, release };
        self.run("demo", "arc-runners", Command::Install { chart, values: Arc::new(values) })
    }

    fn upgrade(&mut self, release: Release, values: Option<Value>) -> HelmResult {
        let chart = Chart { name: ChartName::ScaleSet, release };
        let values = values.map(Arc::new);
        self.run("demo", "arc-runners", Command::Upgrade { chart, values, reuse: false, install: false })
    }

    fn uninstall(&mut self) -> HelmResult {
        self.run("demo", "arc-runners", Command::Uninstall)
    }

    fn get(&mut self, kind: Kind, name: &str) -> Option<Object> {
        let key = Key::new("arc-runners", name);
        self.ask(&KubeRequest::Get { kind, key }).ok().and_then(|ok| ok.object().cloned())
    }

    fn patch(&mut self, kind: Kind, name: &str, patch: Patch) {
        let key = Key::new("arc-runners", name);
        self.ask(&KubeRequest::Patch { kind, key, sub: Sub::Main, patch: Arc::new(patch) }).expect("patched");
    }

    /// What a controller does to a set: puts its own finalizer on.
    fn hold(&mut self) {
        let own = Patch::finalizers([Str::from("autoscalingrunnerset.actions.github.com/finalizer")].into());
        self.patch(Kind::AutoscalingRunnerSet, "demo", own);
    }

    /// What a controller does at the end of a set: takes off the finalizers of its dependents and its own.
    fn clean_up(&mut self) {
        for (kind, name) in DEPENDENTS {
            self.patch(kind, name, Patch::finalizers(Arc::default()));
        }
        self.patch(Kind::AutoscalingRunnerSet, "demo", Patch::finalizers(Arc::default()));
    }
}

const DEPENDENTS: [(Kind, &str); 4] = [
    (Kind::ServiceAccount, "demo-gha-rs-no-permission"),
    (Kind::Secret, "demo-gha-rs-github-secret"),
    (Kind::RoleBinding, "demo-gha-rs-manager"),
    (Kind::Role, "demo-gha-rs-manager"),
];

fn values(extra: Value) -> Value {
    let mut all = json!({
        "githubConfigUrl": "https://github.com/my-org", "githubConfigSecret": { "github_token": "pat" }, "minRunners": 1, "maxRunners": 3,
    });
    arc_api::json::merge(&mut all, &extra);
    all
}

fn ready(release: Release) -> Cluster {
    let mut cluster = Cluster::new();
    cluster.controller(release);
    let result = cluster.install(release, values(json!({})));
    assert_eq!((result.outcome, result.revision), (Ok(()), 1));
    cluster
}

/// Recorded: a_basic, all releases.
#[test]
fn install_and_uninstall_in_helm_s_order() {
    let mut cluster = Cluster::new();
    cluster.controller(Release::V0_9_1);
    insta::assert_snapshot!(cluster.writes.join("\n"), @r"
    create customresourcedefinitions autoscalinglisteners.actions.github.com
    create customresourcedefinitions autoscalingrunnersets.actions.github.com
    create customresourcedefinitions ephemeralrunners.actions.github.com
    create customresourcedefinitions ephemeralrunnersets.actions.github.com
    create namespaces arc-systems
    create serviceaccounts arc-gha-rs-controller
    create clusterroles arc-gha-rs-controller
    create clusterrolebindings arc-gha-rs-controller
    create roles arc-gha-rs-controller-listener
    create rolebindings arc-gha-rs-controller-listener
    create deployments arc-gha-rs-controller
    ");
    cluster.install(Release::V0_9_1, values(json!({})));
    insta::assert_snapshot!(cluster.writes.join("\n"), @r"
    create namespaces arc-runners
    create serviceaccounts demo-gha-rs-no-permission
    create secrets demo-gha-rs-github-secret
    create roles demo-gha-rs-manager
    create rolebindings demo-gha-rs-manager
    create autoscalingrunnersets demo
    ");
    assert_eq!(cluster.uninstall().outcome, Ok(()));
    insta::assert_snapshot!(cluster.writes.join("\n"), @r"
    delete rolebindings demo-gha-rs-manager
    delete roles demo-gha-rs-manager
    delete secrets demo-gha-rs-github-secret
    delete serviceaccounts demo-gha-rs-no-permission
    delete autoscalingrunnersets demo
    ");
    assert!(
        cluster.get(Kind::Role, "demo-gha-rs-manager").is_some_and(|o| o.meta().is_deleting()),
        "held by its finalizer"
    );
    assert!(cluster.get(Kind::AutoscalingRunnerSet, "demo").is_none(), "no controller had taken it");
    cluster.run("arc", "arc-systems", Command::Uninstall);
    insta::assert_snapshot!(cluster.writes.join("\n"), @r"
    delete deployments arc-gha-rs-controller
    delete rolebindings arc-gha-rs-controller-listener
    delete roles arc-gha-rs-controller-listener
    delete clusterrolebindings arc-gha-rs-controller
    delete clusterroles arc-gha-rs-controller
    delete serviceaccounts arc-gha-rs-controller
    ");
    assert_eq!(cluster.releases.list().count(), 0);
    cluster.controller(Release::V0_9_3);
    assert!(cluster.writes[0].ends_with("autoscalinglisteners.actions.github.com 409"), "CRDs stay as they are");
}

/// Recorded: d_chain-from-0.12.0/0.12.1 and the others; a_update; a_update2.
#[test]
fn an_upgrade_sends_only_differences() {
    let mut cluster = ready(Release::V0_12_0);
    cluster.upgrade(Release::V0_12_1, None);
    insta::assert_snapshot!(cluster.writes.join("\n"), @r#"
    patch serviceaccounts demo-gha-rs-no-permission {"metadata":{"labels":{"app.kubernetes.io/version":"0.12.1","helm.sh/chart":"gha-rs-0.12.1"}}}
    patch secrets demo-gha-rs-github-secret {"metadata":{"labels":{"app.kubernetes.io/version":"0.12.1","helm.sh/chart":"gha-rs-0.12.1"}}}
    patch roles demo-gha-rs-manager {"metadata":{"labels":{"app.kubernetes.io/version":"0.12.1","helm.sh/chart":"gha-rs-0.12.1"}}}
    patch rolebindings demo-gha-rs-manager {"metadata":{"labels":{"app.kubernetes.io/version":"0.12.1","helm.sh/chart":"gha-rs-0.12.1"}}}
    patch autoscalingrunnersets demo {"metadata":{"annotations":{"meta.helm.sh/release-name":"demo","meta.helm.sh/release-namespace":"arc-runners"},"labels":{"app.kubernetes.io/version":"0.12.1","helm.sh/chart":"gha-rs-0.12.1"}}}
    "#);
    cluster.controller(Release::V0_12_1);
    assert_eq!(cluster.writes.len(), 2, "ServiceAccount and Deployment: {:?}", cluster.writes);
    cluster.upgrade(Release::V0_12_1, Some(values(json!({ "maxRunners": 5 }))));
    assert_eq!(cluster.writes.len(), 1);
    assert!(cluster.writes[0].ends_with(r#","spec":{"maxRunners":5}}"#), "{}", cluster.writes[0]);
    cluster.upgrade(
        Release::V0_12_1,
        Some(values(json!({ "maxRunners": 5, "githubConfigSecret": { "github_token": "new" } }))),
    );
    assert_eq!(cluster.writes[0], r#"patch secrets demo-gha-rs-github-secret {"data":{"github_token":"bmV3"}}"#);
    cluster.upgrade(Release::V0_12_1, Some(values(json!({ "maxRunners": 5, "githubConfigSecret": "own" }))));
    assert!(cluster.writes[0].contains(r#""actions.github.com/cleanup-github-secret-name":null"#));
    assert!(cluster.writes[0].ends_with(r#""spec":{"githubConfigSecret":"own"}}"#));
    assert_eq!(cluster.writes[1], "delete secrets demo-gha-rs-github-secret");
    let revision = cluster.releases.last(&"arc-runners".into(), &"demo".into()).expect("release");
    assert_eq!((revision.number, revision.status), (5, Status::Deployed));
}

#[test]
fn a_hand_edit_of_the_set_survives_an_upgrade_that_does_not_touch_it() {
    let mut cluster = ready(Release::V0_14_2);
    let edit = Patch::body(Body::Json(Arc::new(json!({ "spec": { "maxRunners": 50 } }))));
    cluster.patch(Kind::AutoscalingRunnerSet, "demo", edit);
    cluster.upgrade(Release::V0_14_2, Some(values(json!({ "minRunners": 2 }))));
    let Some(Object::AutoscalingRunnerSet(set)) = cluster.get(Kind::AutoscalingRunnerSet, "demo") else {
        panic!("there")
    };
    assert_eq!((set.spec.min_runners, set.spec.max_runners), (Some(2), Some(50)));
}

/// Recorded: d_seed_upgrade-from-0.9.0/0.9.1.
#[test]
fn an_upgrade_of_a_terminating_set_is_lost_and_the_second_one_heals() {
    let mut cluster = ready(Release::V0_9_0);
    cluster.hold();
    let key = Key::new("arc-runners", "demo");
    let gate = KubeRequest::Delete { kind: Kind::AutoscalingRunnerSet, key, options: DeleteOptions::default() };
    cluster.ask(&gate).expect("deleted by the version gate");
    let result = cluster.upgrade(Release::V0_9_1, None);
    assert_eq!((result.outcome, result.revision), (Ok(()), 2));
    assert!(cluster.writes.iter().all(|w| w.starts_with("patch")), "{:?}", cluster.writes);
    cluster.clean_up();
    assert!(cluster.get(Kind::AutoscalingRunnerSet, "demo").is_none(), "the upgrade is lost");
    assert_eq!(cluster.upgrade(Release::V0_9_1, None).outcome, Ok(()));
    insta::assert_snapshot!(cluster.writes.join("\n"), @r#"
    patch serviceaccounts demo-gha-rs-no-permission {"metadata":{"finalizers":["actions.github.com/cleanup-protection"]}}
    patch secrets demo-gha-rs-github-secret {"metadata":{"finalizers":["actions.github.com/cleanup-protection"]}}
    patch roles demo-gha-rs-manager {"metadata":{"finalizers":["actions.github.com/cleanup-protection"]}}
    patch rolebindings demo-gha-rs-manager {"metadata":{"finalizers":["actions.github.com/cleanup-protection"]}}
    create autoscalingrunnersets demo
    "#);
}

/// Recorded: d_seed_v-from-0.9.0/0.9.1.
#[test]
fn an_install_adopts_what_is_still_terminating() {
    let mut cluster = ready(Release::V0_9_0);
    cluster.hold();
    assert_eq!(cluster.uninstall().outcome, Ok(()));
    cluster.controller(Release::V0_9_1);
    let result = cluster.install(Release::V0_9_1, values(json!({})));
    assert_eq!((result.outcome, result.revision), (Ok(()), 1));
    insta::assert_snapshot!(cluster.writes.join("\n"), @r#"
    create namespaces arc-runners 409
    patch serviceaccounts demo-gha-rs-no-permission {"metadata":{"labels":{"app.kubernetes.io/version":"0.9.1","helm.sh/chart":"gha-rs-0.9.1"}}}
    patch secrets demo-gha-rs-github-secret {"metadata":{"labels":{"app.kubernetes.io/version":"0.9.1","helm.sh/chart":"gha-rs-0.9.1"}}}
    patch roles demo-gha-rs-manager {"metadata":{"labels":{"app.kubernetes.io/version":"0.9.1","helm.sh/chart":"gha-rs-0.9.1"}}}
    patch rolebindings demo-gha-rs-manager {"metadata":{"labels":{"app.kubernetes.io/version":"0.9.1","helm.sh/chart":"gha-rs-0.9.1"}}}
    "#);
    cluster.clean_up();
    for (kind, name) in DEPENDENTS {
        assert!(cluster.get(kind, name).is_none(), "nothing is left: {kind}");
    }
    let chart = Chart { name: ChartName::ScaleSet, release: Release::V0_9_1 };
    let again = Command::Upgrade { chart, values: None, reuse: false, install: true };
    assert_eq!(cluster.run("demo", "arc-runners", again).outcome, Ok(()));
    assert!(
        cluster.writes.iter().all(|w| w.starts_with("create")) && cluster.writes.len() == 5,
        "{:?}",
        cluster.writes
    );
}

/// Recorded: b_kube_mode phases 2 and 3.
#[test]
fn leaving_and_returning_to_the_chart_s_identity_leaves_it_terminating() {
    let claim = json!({ "accessModes": ["ReadWriteOnce"] });
    let mode = json!({ "containerMode": { "type": "kubernetes", "kubernetesModeWorkVolumeClaim": claim } });
    let mut own = mode.clone();
    own["template"] = json!({ "spec": { "serviceAccountName": "own-sa" } });
    let mut cluster = Cluster::new();
    cluster.controller(Release::V0_14_2);
    cluster.install(Release::V0_14_2, values(mode.clone()));
    cluster.upgrade(Release::V0_14_2, Some(values(own)));
    assert!(cluster.writes[0].starts_with("patch autoscalingrunnersets demo"));
    assert!(cluster.writes[0].ends_with(r#""spec":{"template":{"spec":{"serviceAccountName":"own-sa"}}}}"#));
    assert_eq!(
        cluster.writes[1..],
        [
            "delete serviceaccounts demo-gha-rs-kube-mode",
            "delete roles demo-gha-rs-kube-mode",
            "delete rolebindings demo-gha-rs-kube-mode",
        ]
    );
    cluster.upgrade(Release::V0_14_2, Some(values(mode)));
    assert_eq!(cluster.writes.len(), 1, "{:?}", cluster.writes);
    assert!(cluster.get(Kind::ServiceAccount, "demo-gha-rs-kube-mode").is_some_and(|o| o.meta().is_deleting()));
}

#[test]
fn failures_are_recorded_and_leave_what_was_done() {
    let mut cluster = Cluster::new();
    let missing = cluster.install(Release::V0_14_2, values(json!({})));
    assert!(missing.outcome.expect_err("no controller").contains("No gha-rs-controller deployment found"));
    cluster.controller(Release::V0_14_2);
    let bad = cluster.install(Release::V0_14_2, values(json!({ "minRunners": 9 })));
    assert!(bad.outcome.expect_err("refused").ends_with("maxRunners has to be greater or equal to minRunners"));
    assert_eq!(cluster.releases.list().count(), 1, "nothing was recorded for the set");
    cluster.refuse = Some(Kind::AutoscalingRunnerSet);
    let result = cluster.install(Release::V0_14_2, values(json!({})));
    assert_eq!(result.outcome, Err("admission webhook \"w\" denied the request".into()));
    let last = |c: &Cluster| c.releases.last(&"arc-runners".into(), &"demo".into()).map(|r| (r.number, r.status));
    assert_eq!(last(&cluster), Some((1, Status::Failed)));
    assert!(cluster.get(Kind::Role, "demo-gha-rs-manager").is_some());
    let again = cluster.install(Release::V0_14_2, values(json!({})));
    assert_eq!(again.outcome, Err("cannot re-use a name that is still in use".into()));
    assert_eq!(cluster.upgrade(Release::V0_14_2, None).outcome, Ok(()));
    assert_eq!(last(&cluster), Some((2, Status::Deployed)));
    assert!(cluster.get(Kind::AutoscalingRunnerSet, "demo").is_some());
    let foreign = cluster.run(
        "other",
        "arc-runners",
        Command::Install {
            chart: Chart { name: ChartName::ScaleSet, release: Release::V0_14_2 },
            values: Arc::new(values(json!({ "runnerScaleSetName": "demo" }))),
        },
    );
    assert!(foreign.outcome.expect_err("owned by demo").contains("invalid ownership metadata"));
    let unknown = cluster.run("nobody", "x", Command::Uninstall);
    assert_eq!(unknown.outcome, Err("uninstall: Release not loaded: nobody: release: not found".into()));
}

#[test]
fn a_killed_upgrade_blocks_the_next_one() {
    let mut cluster = ready(Release::V0_14_2);
    let chart = Chart { name: ChartName::ScaleSet, release: Release::V0_14_2 };
    let command = Command::Upgrade { chart, values: None, reuse: false, install: false };
    let mut op = HelmOp::new("demo", "arc-runners", command, "34");
    let mut reply = None;
    while op.at() != "CheckExists" {
        let HelmStep::Call(request) = op.step(&mut cluster.releases, reply, cluster.now) else { panic!("ended") };
        reply = Some(cluster.ask(&request));
    }
    drop(op);
    let next = cluster.upgrade(Release::V0_14_2, None);
    assert_eq!(next.outcome, Err("another operation (install/upgrade/rollback) is in progress".into()));
    assert_eq!(cluster.uninstall().outcome, Ok(()));
}
