//! What the charts refuse, ignore and look up, and the way back from a manager's pod to its arguments.

use std::sync::Arc;

use arc_api::core::Deployment;
use arc_api::pod::Pod;
use arc_api::{Meta, Object};
use arc_sim::helm::scale_set_chart::{controller_account, needs_lookup};
use arc_sim::helm::values::GithubSecret;
use arc_sim::helm::{ContainerMode, ControllerValues, ManagerArgs, ScaleSetValues, controller_chart};
use controller_core::Release;
use controller_core::reconcile::UpdateStrategy;
use serde_json::{Value, json};

const NEWEST: Release = Release::V0_14_2;

fn set(release: Release, extra: Value) -> Result<ScaleSetValues, String> {
    let mut all = json!({ "githubConfigUrl": "https://github.com/o", "githubConfigSecret": { "github_token": "pat" } });
    arc_api::json::merge(&mut all, &extra);
    ScaleSetValues::parse(release, &all).map_err(|e| e.to_string())
}

#[test]
fn the_chart_refuses_what_cannot_work() {
    let refused = |extra: Value| set(NEWEST, extra).expect_err("refused");
    assert_eq!(refused(json!({ "githubConfigUrl": null })), ".Values.githubConfigUrl is required");
    assert_eq!(
        refused(json!({ "minRunners": 3, "maxRunners": 2 })),
        "maxRunners has to be greater or equal to minRunners"
    );
    assert_eq!(refused(json!({ "minRunners": -1 })), "minRunners has to be greater or equal to 0");
    assert!(refused(json!({ "githubConfigSecret": { "github_token": "" } })).contains("github_token or"));
    let app = json!({ "githubConfigSecret": { "github_token": null, "github_app_id": "1" } });
    assert!(refused(app).contains("github_app_installation_id and"));
    assert!(refused(json!({ "githubConfigSecret": "" })).contains("is required"));
    assert!(refused(json!({ "scaleSetLabels": ["x", ""] })).contains("an empty string"));
    assert!(refused(json!({ "keyVault": { "type": "paper" } })).contains("paper"));
}

#[test]
fn what_the_chart_ignores_is_said() {
    let odd =
        json!({ "maxRunner": 5, "maxRunners": "5", "containerMode": { "type": "docker" }, "scaleSetLabels": ["a"] });
    let values = set(Release::V0_9_1, odd).expect("the chart takes it");
    assert_eq!((values.max_runners, values.mode), (None, ContainerMode::None));
    assert_eq!(values.warnings.len(), 4, "{:?}", values.warnings);
    assert_eq!(values.all["maxRunner"], 5, "kept: it is part of the hash");
    let novolume = json!({ "containerMode": { "type": "kubernetes-novolume" } });
    assert_eq!(set(Release::V0_12_1, novolume.clone()).expect("taken").mode, ContainerMode::None);
    assert_eq!(set(Release::V0_13_0, novolume).expect("taken").mode, ContainerMode::KubernetesNovolume);
}

#[test]
fn any_value_changes_the_hash_and_chart_defaults_are_in_it() {
    let hash = |release, extra| set(release, extra).expect("good").hash();
    let plain = |release| hash(release, json!({}));
    assert_eq!(plain(NEWEST).len(), 63);
    assert_ne!(plain(NEWEST), hash(NEWEST, json!({ "unrelated": 1 })));
    // Recorded (a_basic): equal values have one hash in 0.9.0-0.10.1, one in 0.11.0-0.13.1, one in 0.14.x.
    assert_eq!(plain(Release::V0_9_0), plain(Release::V0_10_1));
    assert_eq!(plain(Release::V0_11_0), plain(Release::V0_13_1));
    assert_eq!(plain(Release::V0_14_0), plain(Release::V0_14_2));
    assert_ne!(plain(Release::V0_10_1), plain(Release::V0_11_0));
    assert_ne!(plain(Release::V0_13_1), plain(Release::V0_14_0));
}

#[test]
fn an_unquoted_app_id_is_mangled() {
    let app = json!({ "githubConfigSecret": {
        "github_token": null, "github_app_id": 1234567, "github_app_installation_id": "12", "github_app_private_key": "k",
    } });
    let GithubSecret::Made(data) = set(NEWEST, app).expect("good").github_secret else { panic!("made") };
    assert_eq!(data["github_app_id"], "1.234567e+06");
}

fn controller(user: Value, name: &str, namespace: &str) -> Arc<Deployment> {
    let values = ControllerValues::parse(NEWEST, &user).expect("good");
    let objects = controller_chart::render(NEWEST, &values, name, namespace).expect("renders");
    match objects.last() {
        Some(Object::Deployment(d)) => d.clone(),
        other => panic!("not a Deployment: {other:?}"),
    }
}

#[test]
fn the_set_chart_finds_the_one_controller() {
    let values = set(NEWEST, json!({})).expect("good");
    assert!(needs_lookup(&values));
    let find = |all: &[Arc<Deployment>]| controller_account(&values, "ns", all).map_err(|e| e.to_string());
    let everywhere = controller(json!({}), "arc", "arc-systems");
    let found = find(std::slice::from_ref(&everywhere)).expect("found");
    assert_eq!((&*found.namespace, &*found.name), ("arc-systems", "arc-gha-rs-controller"));
    assert!(find(&[]).expect_err("none").starts_with("No gha-rs-controller deployment found"));
    let second = controller(json!({}), "arc2", "arc-systems-2");
    assert!(find(&[everywhere.clone(), second]).expect_err("two").starts_with("More than one"));
    let here = controller(json!({ "flags": { "watchSingleNamespace": "ns" } }), "here", "h");
    let there = controller(json!({ "flags": { "watchSingleNamespace": "other" } }), "there", "t");
    assert_eq!(find(&[there.clone(), here.clone()]).expect("found").name, "here-gha-rs-controller");
    assert!(find(&[there]).expect_err("elsewhere").contains("that watch this namespace"));
    assert!(find(&[everywhere, here]).expect_err("both").starts_with("Found both"));
    let explicit = json!({ "controllerServiceAccount": { "name": "n", "namespace": "s" } });
    let values = set(NEWEST, explicit).expect("good");
    assert!(!needs_lookup(&values));
    assert_eq!(controller_account(&values, "ns", &[]).expect("given").name, "n");
}

#[test]
fn a_manager_reads_back_what_the_chart_told_it() {
    let user = json!({
        "replicaCount": 2, "imagePullSecrets": [{ "name": "a" }, { "name": "b" }],
        "flags": {
            "updateStrategy": "eventual", "runnerMaxConcurrentReconciles": 7, "k8sClientRateLimiterQPS": 100,
            "excludeLabelPropagationPrefixes": ["argocd."], "watchSingleNamespace": "ns",
        },
    });
    let pod = |user: Value, release: Release| {
        let values = ControllerValues::parse(release, &user).expect("good");
        let objects = controller_chart::render(release, &values, "arc", "arc-systems").expect("renders");
        let Some(Object::Deployment(d)) = objects.last().cloned() else { panic!("no Deployment") };
        let metadata = Meta { labels: d.template.metadata.labels.clone(), ..Meta::named("arc-systems", "arc-x") };
        Pod { metadata, spec: d.template.spec.clone(), ..Pod::default() }
    };
    for release in Release::ALL {
        let args = ManagerArgs::from_pod(&pod(user.clone(), *release)).expect("a manager");
        assert_eq!((args.release, args.update_strategy), (*release, UpdateStrategy::Eventual));
        assert_eq!(args.image_pull_secrets, ["a", "b"], "{release}");
        assert_eq!(args.leader_election.as_deref(), Some("arc-gha-rs-controller"));
        assert_eq!(args.watch_namespace.as_deref(), Some("ns"));
        assert_eq!(args.runner_workers, (*release > Release::V0_10_0).then_some(7), "{release}");
        assert_eq!(args.qps, if *release < Release::V0_10_0 { 20 } else { 100 }, "{release}");
        assert_eq!((args.burst, args.metrics), (30, false));
        assert_eq!(args.excluded_label_prefixes.len(), usize::from(*release >= Release::V0_9_3));
    }
    let mut old = pod(json!({}), Release::V0_9_0);
    let mut spec = (*old.spec).clone();
    spec.containers[0].args.push("--k8s-client-rate-limiter-qps=5".into());
    old.spec = Arc::new(spec);
    let why = ManagerArgs::from_pod(&old).expect_err("0.9.0 has no such flag");
    assert_eq!(why.to_string(), "flag provided but not defined: -k8s-client-rate-limiter-qps");
}
