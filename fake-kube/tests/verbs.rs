//! Create, get, list, update and patch: one test per rule, with the texts of the real server.

mod common;

use std::sync::Arc;

use arc_api::core::*;
use arc_api::crd::*;
use arc_api::kube::*;
use arc_api::meta::{Key, labels};
use arc_api::pod::*;
use arc_api::*;
use common::*;
use serde_json::json;

#[test]
fn the_server_fills_in_what_only_it_knows() {
    let mut s = server(34);
    let mut map = config_map("a");
    map.metadata.uid = Uid(77);
    map.metadata.generation = 9;
    map.metadata.creation_timestamp = Time::from_secs(999);
    let stored = s.create(map, Time::from_millis(5_700));
    let meta = stored.meta();
    assert_ne!(meta.uid, Uid(77));
    assert_eq!((meta.generation, meta.creation_timestamp), (0, Time::from_secs(5)));
    assert_eq!(meta.resource_version, s.api.resource_version());
    assert!(s.api.by_uid(meta.uid).is_some_and(|o| o.same(&stored)));
}

#[test]
fn a_submitted_version_is_refused_without_a_reason() {
    let mut s = server(34);
    let mut map = config_map("a");
    map.metadata.resource_version = 5;
    let status = s.refused(KubeRequest::Create(map.into()));
    assert_eq!((status.code, status.reason), (500, Reason::Unknown));
    assert_eq!(status.message, "resourceVersion should not be set on objects to be created");
}

#[test]
fn generated_names_are_cut_and_drawn_from_the_alphabet() {
    let mut s = server(34);
    let base = "b".repeat(70);
    let mut map = config_map("");
    map.metadata.generate_name = Some(base.as_str().into());
    let (one, two) = (s.create(map.clone(), T0), s.create(map, T0));
    let name = one.meta().name.as_str();
    assert_eq!((name.len(), &name[..58]), (63, &base[..58]));
    assert!(name[58..].chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)));
    assert_ne!(one.meta().name, two.meta().name);
    assert_eq!(one.meta().generate_name.as_deref(), Some(base.as_str()));
    let status = s.refused(KubeRequest::Create(config_map("").into()));
    assert_eq!(
        status.message,
        "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required"
    );
}

#[test]
fn the_same_seed_draws_the_same_names_and_another_seed_others() {
    let name = |seed| {
        let mut s = Fixture::new(ApiSettings { seed, ..ApiSettings::version(34) });
        let mut map = config_map("");
        map.metadata.generate_name = Some("run-".into());
        s.create(map, T0).meta().name.clone()
    };
    assert_eq!(name(1), name(1));
    assert_ne!(name(1), name(2));
}

#[test]
fn a_taken_name_is_refused_and_says_so_while_it_is_being_deleted() {
    let mut s = server(34);
    let mut map = config_map("a");
    map.metadata.finalizers = ["x.io/f".into()].into();
    s.create(map, T0);
    let create = || KubeRequest::Create(config_map("a").into());
    assert_eq!(s.refused(create()).message, "configmaps \"a\" already exists");
    s.ok(delete(Kind::ConfigMap, "a"));
    let status = s.refused(create());
    assert_eq!(status.message, "object is being deleted: configmaps \"a\" already exists");
    assert!(status.is_already_exists());
}

#[test]
fn a_stale_update_conflicts_and_a_core_kind_without_version_does_not() {
    let mut s = server(34);
    let stored = s.create(config_map("a"), T0);
    let mut map = config_map("a");
    map.metadata.resource_version = stored.meta().resource_version - 1;
    let status = s.refused(KubeRequest::Update(map.clone().into(), Sub::Main));
    assert_eq!(
        status.message,
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the \
         latest version and try again"
    );
    assert!(status.is_conflict());
    map.metadata.resource_version = 0;
    map.data = Arc::new([("k".into(), "v".into())].into());
    assert_ne!(
        s.object(KubeRequest::Update(map.into(), Sub::Main)).meta().resource_version,
        stored.meta().resource_version
    );
}

#[test]
fn custom_resources_and_leases_need_a_version_and_a_lease_is_created_by_put() {
    let mut s = server(34);
    s.create(runner_set("e1"), T0);
    let status = s.refused(KubeRequest::Update(runner_set("e1").into(), Sub::Main));
    assert_eq!(
        status.message,
        "ephemeralrunnersets.actions.github.com \"e1\" is invalid: metadata.resourceVersion: Invalid value: 0: must be \
         specified for an update"
    );
    let lease = || Lease { metadata: Meta::named(NS, "l"), ..Lease::default() };
    s.ok(KubeRequest::Update(lease().into(), Sub::Main));
    assert!(s.refused(KubeRequest::Update(lease().into(), Sub::Main)).is_invalid());
    assert!(s.refused(KubeRequest::Update(config_map("nope").into(), Sub::Main)).is_not_found());
}

#[test]
fn a_write_that_changes_nothing_has_no_version_and_no_event() {
    let mut s = server(34);
    let stored = s.create(runner_set("e1"), T0);
    let before = s.api.resource_version();
    for patch in [
        Patch::default(),
        Patch::body(Body::ErsSpec { replicas: Some(1), patch_id: Some(0) }),
        Patch::body(Body::Json(Arc::new(json!({ "spec": { "replicas": 1 }, "status": {} })))),
        Patch { labels: vec![("gone".into(), None)], ..Patch::default() },
    ] {
        let answer = s.object(patch_of(Kind::EphemeralRunnerSet, "e1", Sub::Main, patch));
        assert_eq!(answer.meta().resource_version, stored.meta().resource_version);
    }
    s.ok(patch_of(Kind::EphemeralRunnerSet, "e1", Sub::Status, Patch::body(Body::Json(Arc::new(json!({}))))));
    assert_eq!(s.api.resource_version(), before);
    assert_eq!(s.api.log_since(before).count(), 0);
}

#[test]
fn generation_counts_changes_of_the_spec_and_the_first_deletion() {
    let mut s = server(34);
    let mut set = runner_set("e1");
    set.metadata.finalizers = ["x.io/f".into()].into();
    assert_eq!(s.create(set, T0).meta().generation, 1);
    let mut generation = |sub, patch| s.object(patch_of(Kind::EphemeralRunnerSet, "e1", sub, patch)).meta().generation;
    assert_eq!(generation(Sub::Main, Patch::body(Body::ErsSpec { replicas: Some(3), patch_id: None })), 2);
    assert_eq!(generation(Sub::Main, Patch { labels: vec![("a".into(), Some("b".into()))], ..Patch::default() }), 2);
    let status = ErsStatusPatch { current_replicas: Some(3), ..Default::default() };
    assert_eq!(generation(Sub::Status, Patch::body(Body::ErsStatus(status))), 2);
    assert_eq!(generation(Sub::Main, Patch::body(Body::Json(Arc::new(json!({ "spec": { "replicas": null } }))))), 3);
    for _ in 0..2 {
        assert_eq!(s.object(delete(Kind::EphemeralRunnerSet, "e1")).meta().generation, 4);
    }
}

#[test]
fn status_and_spec_are_written_apart() {
    let mut s = server(34);
    let mut set = runner_set("e1");
    set.status.current_replicas = 9;
    let stored = s.create(set, T0);
    let status_of = |o: &Object| o.get::<EphemeralRunnerSet>().expect("set").status.current_replicas;
    assert_eq!(status_of(&stored), 0, "a creation has no status");

    let mut put = (**stored.get::<EphemeralRunnerSet>().expect("set")).clone();
    put.status.current_replicas = 5;
    put.spec.replicas = 7;
    put.metadata.labels = labels([("a", "b")]);
    let by_status = s.object(KubeRequest::Update(put.clone().into(), Sub::Status));
    assert_eq!(status_of(&by_status), 5);
    assert_eq!(by_status.get::<EphemeralRunnerSet>().expect("set").spec.replicas, 1);
    assert!(by_status.meta().labels.is_empty(), "a custom resource's status write takes no labels");

    put.metadata.resource_version = by_status.meta().resource_version;
    put.status.current_replicas = 8;
    let by_main = s.object(KubeRequest::Update(put.into(), Sub::Main));
    assert_eq!((status_of(&by_main), by_main.get::<EphemeralRunnerSet>().expect("set").spec.replicas), (5, 7));
}

#[test]
fn a_pods_status_write_takes_labels() {
    let mut s = server(34);
    s.create(pod("p"), T0);
    let patch = json!({ "metadata": { "labels": { "a": "b" } }, "status": { "phase": "Running" }, "spec": { "restartPolicy": "Never" } });
    let answer = s.object(patch_of(Kind::Pod, "p", Sub::Status, Patch::body(Body::Json(Arc::new(patch)))));
    let pod = answer.get::<Pod>().expect("pod");
    assert_eq!(pod.metadata.label("a").map(|l| l.as_str()), Some("b"));
    assert_eq!((pod.status.phase, pod.spec.restart_policy.as_str()), (PodPhase::Running, "Always"));
}

#[test]
fn json_patches_lose_nothing_and_keep_sixty_four_bits() {
    let mut s = server(34);
    let wire = json!({
        "metadata": { "name": "r", "namespace": NS, "creationTimestamp": "2030-01-01T00:00:00Z", "uid": "", "resourceVersion": "0" },
        "spec": { "githubConfigUrl": "u", "githubConfigSecret": "s", "runnerScaleSetId": 1,
            "spec": { "containers": [{ "name": "runner", "image": "i", "tty": true }], "dnsPolicy": "None" } },
    });
    let mut wire = wire;
    wire["metadata"].as_object_mut().expect("map").retain(|k, _| k == "name" || k == "namespace");
    let object = json::from_json(Kind::EphemeralRunner, &wire).expect("reads");
    s.ok(KubeRequest::Create(object));
    let patch =
        json!({ "status": { "jobRequestId": 9_007_199_254_740_993_i64, "workflowRunId": 9_007_199_254_740_995_i64 } });
    s.ok(patch_of(Kind::EphemeralRunner, "r", Sub::Status, Patch::body(Body::Json(Arc::new(patch)))));
    let patch = json!({ "metadata": { "labels": { "a": "b" } } });
    let stored = json::to_json(&s.object(patch_of(
        Kind::EphemeralRunner,
        "r",
        Sub::Main,
        Patch::body(Body::Json(Arc::new(patch))),
    )));
    assert_eq!(stored["status"]["jobRequestId"], 9_007_199_254_740_993_i64);
    assert_eq!(stored["status"]["workflowRunId"], 9_007_199_254_740_995_i64);
    assert_eq!(stored["spec"]["spec"]["containers"][0]["tty"], true);
    assert_eq!(stored["spec"]["spec"]["dnsPolicy"], "None");
}

#[test]
fn failures_merge_by_pod_and_times_lose_their_fraction() {
    let mut s = server(34);
    s.create(runner("r"), T0);
    let mut fail = |uid, at| {
        let failures = [(Uid(uid), FailureMark::At(at))].into();
        let patch = ErStatusPatch { failures: Some(failures), ..Default::default() };
        let answer =
            s.object(patch_of(Kind::EphemeralRunner, "r", Sub::Status, Patch::body(Body::ErStatus(Box::new(patch)))));
        answer.get::<EphemeralRunner>().expect("runner").status.clone()
    };
    fail(1, Time::from_millis(1_900));
    let status = fail(2, Time::from_millis(2_100));
    assert_eq!((status.failure_count(), status.last_failure()), (2, Some(Time::from_secs(2))));
}

#[test]
fn lists_are_ordered_by_key_and_filtered_by_labels() {
    let mut s = server(34);
    for (name, label) in [("b", "x"), ("a", "x"), ("c", "y")] {
        let mut map = config_map(name);
        map.metadata.labels = labels([("l", label)]);
        s.create(map, T0);
    }
    let mut list = |namespace: Option<&str>, wanted: Vec<(Str, Str)>| {
        let request = KubeRequest::List { kind: Kind::ConfigMap, namespace: namespace.map(Str::from), labels: wanted };
        match s.ok(request) {
            KubeOk::List { items, resource_version } => {
                (items.iter().map(|o| o.meta().name.to_string()).collect::<Vec<_>>(), resource_version)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(list(Some(NS), vec![("l".into(), "x".into())]).0, ["a", "b"]);
    assert_eq!(list(None, vec![]).0, ["a", "b", "c"]);
    assert_eq!(list(Some("nope"), vec![]).0, Vec::<String>::new());
    let rv = s.api.resource_version();
    assert!(s.api.events_after(Kind::ConfigMap, rv).is_ok());
}

#[test]
fn a_namespace_must_exist_and_not_be_ending() {
    let mut s = server(34);
    let mut map = config_map("a");
    map.metadata.namespace = "nope".into();
    let status = s.refused(KubeRequest::Create(map.into()));
    assert_eq!((status.code, status.message.as_str()), (404, "namespaces \"nope\" not found"));
    let marked = s.object(KubeRequest::Delete {
        kind: Kind::Namespace,
        key: Key::new("", NS),
        options: DeleteOptions::default(),
    });
    assert_eq!(marked.get::<Namespace>().expect("namespace").phase, "Terminating");
    let status = s.refused(KubeRequest::Create(config_map("new").into()));
    assert_eq!(
        status.message,
        "configmaps \"new\" is forbidden: unable to create new content in namespace ns because it is being terminated"
    );
    assert_eq!(status.causes, [("metadata.namespace".into(), "namespace ns is being terminated".into())]);
    assert!(s.api.finalize_namespace(NS, T0).is_ok());
    assert!(s.api.get(Kind::Namespace, &Key::new("", NS)).is_none());
    let status = s.refused(KubeRequest::Delete {
        kind: Kind::Namespace,
        key: Key::new("", "default"),
        options: DeleteOptions::default(),
    });
    assert!(status.is_not_found() || status.message.ends_with("this namespace may not be deleted"));
}

#[test]
fn secrets_keep_their_type_and_immutable_data() {
    let mut s = server(34);
    let mut secret = Secret { metadata: Meta::named(NS, "x"), immutable: true, ..Secret::default() };
    s.create(secret.clone(), T0);
    secret.data = Arc::new([("k".into(), "v".into())].into());
    let status = s.refused(KubeRequest::Update(secret.clone().into(), Sub::Main));
    assert_eq!(status.message, "Secret \"x\" is invalid: data: Forbidden: field is immutable when `immutable` is set");
    secret.data = Arc::default();
    secret.type_ = "foo/bar".into();
    let status = s.refused(KubeRequest::Update(secret.into(), Sub::Main));
    assert_eq!(status.message, "Secret \"x\" is invalid: type: Invalid value: \"foo/bar\": field is immutable");
}

#[test]
fn an_old_definition_drops_members_it_does_not_know() {
    let mut s = Fixture::with_crds(ApiSettings::version(34), "0.8.3");
    let mut set = runner_set("e1");
    set.spec.patch_id = 4;
    assert_eq!(s.create(set, T0).get::<EphemeralRunnerSet>().expect("set").spec.patch_id, 0);
    let before = s.api.resource_version();
    let patch = Patch::body(Body::ErsSpec { replicas: Some(1), patch_id: Some(9) });
    s.ok(patch_of(Kind::EphemeralRunnerSet, "e1", Sub::Main, patch));
    let patch = ErsStatusPatch { phase: Some(ErsPhase::Running), ..Default::default() };
    assert_eq!(s.api.resource_version(), before, "what is pruned changes nothing");
    // But it leaves an empty status behind, the first time.
    s.ok(patch_of(Kind::EphemeralRunnerSet, "e1", Sub::Status, Patch::body(Body::ErsStatus(patch.clone()))));
    assert_eq!(s.api.resource_version(), before + 1);
    s.ok(patch_of(Kind::EphemeralRunnerSet, "e1", Sub::Status, Patch::body(Body::ErsStatus(patch))));
    assert_eq!(s.api.resource_version(), before + 1);

    s.create(runner("r"), T0);
    let job = JobRef { job_request_id: RequestId(1), job_id: Some(JobId(2)), ..JobRef::default() };
    let patch = ErStatusPatch { job: Some(Arc::new(job)), ..Default::default() };
    let answer =
        s.object(patch_of(Kind::EphemeralRunner, "r", Sub::Status, Patch::body(Body::ErStatus(Box::new(patch)))));
    let status = &answer.get::<EphemeralRunner>().expect("runner").status;
    assert!(status.has_job_request() && !status.has_job_id());

    let failures = [(Uid(1), FailureMark::At(T0))].into();
    let patch = ErStatusPatch { failures: Some(failures), ..Default::default() };
    let status =
        s.refused(patch_of(Kind::EphemeralRunner, "r", Sub::Status, Patch::body(Body::ErStatus(Box::new(patch)))));
    assert!(
        status.is_invalid() && status.message.contains("in body must be of type boolean: \"string\""),
        "{status:?}"
    );
}

#[test]
fn a_kind_without_definition_is_not_served_and_a_terminating_one_takes_no_new_objects() {
    let mut s = Fixture::bare(ApiSettings::version(34));
    let status = s.refused(KubeRequest::Create(runner_set("e1").into()));
    assert_eq!((status.code, status.message.as_str()), (404, "the server could not find the requested resource"));
    assert!(s.api.watch(&Identity::Admin, Kind::EphemeralRunner, None, T0).is_err());
    let mut s = server(34);
    let crd = Key::new("", "ephemeralrunnersets.actions.github.com");
    s.ok(KubeRequest::Delete {
        kind: Kind::CustomResourceDefinition,
        key: crd.clone(),
        options: DeleteOptions::default(),
    });
    let status = s.refused(KubeRequest::Create(runner_set("e1").into()));
    assert_eq!(
        status.message,
        "ephemeralrunnersets.actions.github.com \"e1\" is forbidden: create not allowed while custom resource definition is \
         terminating"
    );
    let patch = Patch::finalizers([].into());
    s.ok(KubeRequest::Patch { kind: Kind::CustomResourceDefinition, key: crd, sub: Sub::Main, patch: Arc::new(patch) });
    assert_eq!(s.refused(KubeRequest::Create(runner_set("e1").into())).code, 404);
}
