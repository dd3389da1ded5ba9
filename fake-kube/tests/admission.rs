//! Pods and other creations that are refused, changed or charged, with the texts of the real server.

mod common;

use std::sync::Arc;

use arc_api::core::*;
use arc_api::kube::*;
use arc_api::meta::{Key, labels};
use arc_api::pod::*;
use arc_api::*;
use common::*;
use serde_json::json;

#[track_caller]
fn check_refused(minor: u32, pod: Pod, message: &str) {
    let status = server(minor).refused(KubeRequest::Create(pod.into()));
    assert_eq!(status.message, message);
}

fn invalid(pod: Pod, problems: &str) {
    check_refused(34, pod, &format!("Pod \"p\" is invalid: {problems}"));
}

fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.into(), mount_path: path.into(), ..VolumeMount::default() }
}

fn scratch(name: &str) -> Volume {
    Volume { name: name.into(), empty_dir: Some(Arc::new(json!({}))), ..Volume::default() }
}

fn amounts(list: &[(&str, &str)]) -> std::collections::BTreeMap<Str, Str> {
    list.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

#[test]
fn pods_are_validated_in_order_with_the_real_texts() {
    invalid(pod_with("p", |s| s.containers.clear()), "spec.containers: Required value");
    invalid(pod_with("p", |s| s.containers[0].image = "".into()), "spec.containers[0].image: Required value");
    invalid(
        pod_with("p", |s| s.containers[0].image = " i".into()),
        "spec.containers[0].image: Invalid value: \" i\": must not have leading or trailing whitespace",
    );
    invalid(pod_with("p", |s| s.containers.push(container("c"))), "spec.containers[1].name: Duplicate value: \"c\"");
    invalid(
        pod_with("p", |s| s.init_containers.push(container("c"))),
        "spec.initContainers[0].name: Duplicate value: \"c\"",
    );
    invalid(
        pod_with("p", |s| s.restart_policy = "Foo".into()),
        "spec.restartPolicy: Unsupported value: \"Foo\": supported values: \"Always\", \"OnFailure\", \"Never\"",
    );
    invalid(
        pod_with("p", |s| s.volumes = vec![scratch("w"), scratch("w")]),
        "spec.volumes[1].name: Duplicate value: \"w\"",
    );
    invalid(
        pod_with("p", |s| s.containers[0].volume_mounts.push(mount("v", "/a"))),
        "spec.containers[0].volumeMounts[0].name: Not found: \"v\"",
    );
    invalid(
        pod_with("p", |s| {
            s.volumes.push(scratch("v"));
            s.containers[0].volume_mounts = vec![mount("v", "/a"), mount("v", "/a")];
        }),
        "spec.containers[0].volumeMounts[1].mountPath: Invalid value: \"/a\": must be unique",
    );
    invalid(
        pod_with("p", |s| {
            s.containers[0].resources.requests = amounts(&[("memory", "2Gi")]);
            s.containers[0].resources.limits = amounts(&[("memory", "1Gi")]);
        }),
        "spec.containers[0].resources.requests: Invalid value: \"2Gi\": must be less than or equal to memory limit of 1Gi",
    );
    invalid(
        pod_with("p", |s| s.containers[0].liveness_probe = Some(Probe { period_seconds: Some(5), ..Probe::default() })),
        "spec.containers[0].livenessProbe: Required value: must specify a handler type",
    );
    let many = pod_with("p", |s| {
        s.containers[0].image = "".into();
        s.containers.push(container("c"));
        s.restart_policy = "Foo".into();
    });
    let status = server(34).refused(KubeRequest::Create(many.into()));
    let fields: Vec<&str> = status.causes.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["spec.containers[0].image", "spec.containers[1].name", "spec.restartPolicy"]);
    assert!(status.message.starts_with("Pod \"p\" is invalid: [spec.containers[0].image: Required value, "));
}

/// What a server makes of `restartPolicy` on an init container: kept, dropped, or the refusal.
fn init_policy(minor: u32, policy: &str) -> Result<Option<Str>, Str> {
    let pod = pod_with("p", |s| {
        let mut dind = container("dind");
        dind.restart_policy = Some(policy.into());
        s.init_containers.push(dind);
    });
    let mut s = server(minor);
    match s.handle(KubeRequest::Create(pod.into())) {
        Ok(ok) => {
            Ok(ok.object().expect("pod").get::<Pod>().expect("pod").spec.init_containers[0].restart_policy.clone())
        }
        Err(status) => Err(status.message.clone()),
    }
}

#[test]
fn the_restart_policy_of_an_init_container_is_kept_dropped_or_refused_by_version() {
    for minor in [20, 27, 28] {
        assert_eq!(init_policy(minor, "Always"), Ok(None), "1.{minor}");
        assert_eq!(init_policy(minor, "OnFailure"), Ok(None), "1.{minor}");
    }
    for minor in [29, 33] {
        assert_eq!(init_policy(minor, "Always"), Ok(Some("Always".into())));
        let text = "Pod \"p\" is invalid: spec.initContainers[0].restartPolicy: Unsupported value: \"OnFailure\": supported \
                    values: \"Always\"";
        assert_eq!(init_policy(minor, "OnFailure"), Err(text.into()));
    }
    // Recorded on 1.34.4: b_invalid_template.
    assert_eq!(init_policy(34, "Always"), Ok(Some("Always".into())));
    assert_eq!((init_policy(34, "OnFailure"), init_policy(34, "Bogus")), (Ok(None), Ok(None)));
    assert_eq!(init_policy(35, "OnFailure"), Ok(Some("OnFailure".into())));
    let main = |minor| {
        let pod = pod_with("p", |s| s.containers[0].restart_policy = Some("Always".into()));
        server(minor).handle(KubeRequest::Create(pod.into())).map_err(|e| e.message.clone()).err()
    };
    assert_eq!((main(27), main(34)), (None, None));
    let text =
        "Pod \"p\" is invalid: spec.containers[0].restartPolicy: Forbidden: may not be set for non-init containers";
    assert_eq!(main(30).as_deref(), Some(text));
}

#[test]
fn an_ordinary_init_container_has_no_probes() {
    let exec = |rest| Probe {
        exec: Some(ExecAction { command: vec!["docker".into(), "info".into()], rest }),
        ..Probe::default()
    };
    let pod = |policy: Option<&str>| {
        pod_with("p", |s| {
            let mut dind = container("dind");
            dind.startup_probe = Some(exec(None));
            dind.restart_policy = policy.map(Str::from);
            s.init_containers.push(dind);
        })
    };
    let text = "Pod \"p\" is invalid: spec.initContainers[0].startupProbe: Forbidden: may not be set for init containers without \
                restartPolicy=Always";
    check_refused(34, pod(None), text);
    check_refused(34, pod(Some("OnFailure")), text);
    server(34).create(pod(Some("Always")), T0);

    // 0.12.0's chart writes the probe's numbers inside `exec`.
    let misplaced = json!({ "periodSeconds": 5 });
    let pod = pod_with("p", |s| {
        s.containers[0].startup_probe = Some(exec(misplaced.as_object().cloned().map(Arc::new)));
    });
    let stored = server(34).create(pod, T0);
    let spec = &stored.get::<Pod>().expect("pod").spec;
    assert_eq!(spec.containers[0].startup_probe, Some(exec(None)));
}

#[test]
fn defaults_that_decisions_read() {
    let mut s = server(34);
    let pod = pod_with("p", |spec| spec.containers[0].resources.limits = amounts(&[("cpu", "1")]));
    let stored = s.create(pod, T0);
    let spec = &stored.get::<Pod>().expect("pod").spec;
    assert_eq!((spec.restart_policy.as_str(), spec.service_account_name.as_str()), ("Always", "default"));
    assert_eq!(spec.containers[0].resources.requests, amounts(&[("cpu", "1")]));
    let tolerated: Vec<_> = spec.tolerations.iter().map(|t| (t.key.as_str(), t.toleration_seconds)).collect();
    let (not_ready, unreachable) = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable");
    assert_eq!(tolerated, [(not_ready, Some(300)), (unreachable, Some(300))]);
    assert!(spec.volumes[0].name.starts_with("kube-api-access-"));
    assert_eq!(spec.containers[0].volume_mounts[0].mount_path, "/var/run/secrets/kubernetes.io/serviceaccount");
    let bare = s.create(pod_with("q", |spec| spec.automount_service_account_token = Some(false)), T0);
    assert!(bare.get::<Pod>().expect("pod").spec.volumes.is_empty());
    assert_eq!((stored.meta().generation, server(32).create(common::pod("p"), T0).meta().generation), (1, 0));
}

#[test]
fn accounts_and_priority_classes_must_exist() {
    let mut s = server(34);
    let status = s.refused(KubeRequest::Create(pod_with("p", |spec| spec.service_account_name = "nosa".into()).into()));
    assert_eq!(
        (status.code, status.message.as_str()),
        (403, "pods \"p\" is forbidden: error looking up service account ns/nosa: serviceaccount \"nosa\" not found")
    );
    let classy = || pod_with("p", |spec| spec.priority_class_name = "gold".into());
    let status = s.refused(KubeRequest::Create(classy().into()));
    assert_eq!(status.message, "pods \"p\" is forbidden: no PriorityClass with name gold was found");
    s.create(PriorityClass { metadata: Meta::named("", "gold"), value: 7 }, T0);
    s.create(classy(), T0);
}

#[test]
fn an_admission_policy_answers_422_unless_it_says_forbidden() {
    let mut s = server(34);
    let mut policy = AdmissionPolicy {
        metadata: Meta::named("", "deny-runners"),
        resource: Some(Kind::Pod),
        match_labels: amounts(&[("runner", "yes")]),
        message: "not today".into(),
        reason: "".into(),
    };
    s.create(policy.clone(), T0);
    let runner = || {
        let mut pod = pod("p");
        pod.metadata.labels = labels([("runner", "yes")]);
        KubeRequest::Create(pod.into())
    };
    let text = "pods \"p\" is forbidden: ValidatingAdmissionPolicy 'deny-runners' with binding 'deny-runners' denied request: \
                not today";
    let status = s.refused(runner());
    assert_eq!((status.code, status.reason, status.message.as_str()), (422, Reason::Invalid, text));
    policy.reason = "Forbidden".into();
    s.ok(KubeRequest::Update(policy.into(), Sub::Main));
    let status = s.refused(runner());
    assert_eq!((status.code, status.message.as_str()), (403, text));
    s.create(pod("other"), T0);
}

fn quota(s: &mut Fixture, name: &str, hard: &[(&str, &str)], used: &[(&str, &str)]) {
    let mut quota =
        ResourceQuota { metadata: Meta::named(NS, name), hard: Arc::new(amounts(hard)), used: Arc::default() };
    s.create(quota.clone(), T0);
    quota.used = Arc::new(amounts(used));
    s.ok(KubeRequest::Update(quota.into(), Sub::Status));
}

fn used(s: &Fixture, name: &str, resource: &str) -> Str {
    s.api.typed::<ResourceQuota>(&Key::new(NS, name)).expect("quota").used[resource].clone()
}

#[test]
fn quotas_charge_and_refuse() {
    let mut s = server(34);
    quota(&mut s, "few-pods", &[("pods", "2")], &[("pods", "0")]);
    s.create(pod("a"), T0);
    s.create(pod("b"), T0);
    assert_eq!(used(&s, "few-pods", "pods"), "2");
    let status = s.refused(KubeRequest::Create(pod("p").into()));
    assert_eq!(
        (status.code, status.message.as_str()),
        (403, "pods \"p\" is forbidden: exceeded quota: few-pods, requested: pods=1, used: pods=2, limited: pods=2")
    );
    let invalid = pod_with("p", |spec| spec.restart_policy = "Foo".into());
    assert_eq!(s.refused(KubeRequest::Create(invalid.into())).code, 422, "validation comes before quota");
}

#[test]
fn only_exceeded_resources_are_named_and_requests_must_be_stated() {
    let mut s = server(24);
    let none: &[(&str, &str)] = &[("limits.memory", "0"), ("requests.cpu", "0"), ("pods", "0")];
    quota(&mut s, "rq", &[("limits.memory", "1Gi"), ("requests.cpu", "1"), ("pods", "9")], none);
    let asking = pod_with("p", |spec| {
        spec.containers[0].resources.requests = amounts(&[("cpu", "1500m")]);
        spec.containers[0].resources.limits = amounts(&[("memory", "2Gi"), ("cpu", "2")]);
    });
    assert_eq!(
        s.refused(KubeRequest::Create(asking.into())).message,
        "pods \"p\" is forbidden: exceeded quota: rq, requested: limits.memory=2Gi,requests.cpu=1500m, used: \
         limits.memory=0,requests.cpu=0, limited: limits.memory=1Gi,requests.cpu=1"
    );
    let status = s.refused(KubeRequest::Create(pod("p").into()));
    assert_eq!(status.message, "pods \"p\" is forbidden: failed quota: rq: must specify limits.memory,requests.cpu");
    let mut newer = server(34);
    quota(&mut newer, "rq", &[("requests.cpu", "1")], &[("requests.cpu", "0")]);
    let status = newer.refused(KubeRequest::Create(pod("p").into()));
    assert_eq!(status.message, "pods \"p\" is forbidden: failed quota: rq: must specify requests.cpu for: c");
}

#[test]
fn a_quota_without_status_refuses_and_counts_custom_resources() {
    let mut s = server(34);
    let resource = "count/ephemeralrunners.actions.github.com";
    quota(&mut s, "rq", &[(resource, "1")], &[]);
    assert_eq!(
        s.refused(KubeRequest::Create(runner("r").into())).message,
        format!(
            "ephemeralrunners.actions.github.com \"r\" is forbidden: status unknown for quota: rq, resources: {resource}"
        )
    );
    s.create(pod("p"), T0);
    let mut s = server(34);
    quota(&mut s, "rq", &[(resource, "1")], &[(resource, "0")]);
    s.create(runner("r"), T0);
    assert!(s.refused(KubeRequest::Create(runner("q").into())).message.contains("exceeded quota: rq"));
}

#[test]
fn the_effective_request_counts_sidecars() {
    let mut s = server(34);
    quota(&mut s, "rq", &[("requests.cpu", "9")], &[("requests.cpu", "0")]);
    let with = |name: &str, cpu: &str, sidecar: bool| {
        let mut c = container(name);
        c.resources.requests = amounts(&[("cpu", cpu)]);
        c.restart_policy = sidecar.then(|| "Always".into());
        c
    };
    let pod = pod_with("p", |spec| {
        spec.init_containers = vec![with("i", "700m", false), with("s", "300m", true), with("j", "600m", false)];
        spec.containers = vec![with("a", "200m", false), with("b", "300m", false)];
    });
    s.create(pod, T0);
    assert_eq!(used(&s, "rq", "requests.cpu"), "900m", "j runs beside s");
}

#[test]
fn pod_security_refuses_by_the_namespaces_label() {
    let mut s = server(34);
    let patch = Patch {
        labels: vec![("pod-security.kubernetes.io/enforce".into(), Some("baseline".into()))],
        ..Patch::default()
    };
    s.ok(KubeRequest::Patch { kind: Kind::Namespace, key: Key::new("", NS), sub: Sub::Main, patch: Arc::new(patch) });
    let dind = || {
        pod_with("p", |spec| {
            let mut dind = container("dind");
            dind.security_context = Some(SecurityContext { privileged: true, rest: None });
            spec.containers.push(dind);
        })
    };
    assert_eq!(
        s.refused(KubeRequest::Create(dind().into())).message,
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"dind\" must not set \
         securityContext.privileged=true)"
    );
    s.create(pod("q"), T0);
}

#[test]
fn a_pods_spec_is_fixed_but_for_images_and_added_tolerations() {
    let mut s = server(34);
    let stored = s.create(pod("p"), T0);
    let change = |change: &dyn Fn(&mut PodSpec)| {
        let mut pod = (**stored.get::<Pod>().expect("pod")).clone();
        pod.metadata.resource_version = 0;
        change(Arc::make_mut(&mut pod.spec));
        KubeRequest::Update(pod.into(), Sub::Main)
    };
    s.ok(change(&|spec| spec.containers[0].image = "busybox:2".into()));
    s.ok(change(&|spec| {
        spec.tolerations.push(Toleration { key: "k".into(), operator: "Exists".into(), ..Default::default() })
    }));
    let status = s.refused(change(&|spec| {
        spec.restart_policy = "Never".into();
        spec.tolerations.push(Toleration { key: "k".into(), operator: "Exists".into(), ..Default::default() });
    }));
    assert!(
        status
            .message
            .starts_with("Pod \"p\" is invalid: spec: Forbidden: pod updates may not change fields other than")
    );
    let status = s.refused(change(&|spec| spec.containers.push(container("d"))));
    assert_eq!(
        status.message,
        "Pod \"p\" is invalid: spec.containers: Forbidden: pod updates may not add or remove containers"
    );
}
