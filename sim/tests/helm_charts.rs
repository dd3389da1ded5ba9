//! Both charts, all releases: what is rendered, and for which releases it is the same.
//!
//! Origin of the shapes: the bodies that Helm 3.18 sent for the releases' own charts (recordings a_basic for both charts and
//! b_kube_mode for the container modes; our rendering was compared with them member by member for the 15 recorded releases) and,
//! for releases and servers without a recording, the charts' templates at their tags.

use std::collections::BTreeMap;
use std::fmt::Write;

use arc_api::{Kind, Object, json as wire};
use arc_sim::helm::scale_set_chart::ControllerAccount;
use arc_sim::helm::{ControllerValues, ScaleSetValues, controller_chart, pod_shapes, scale_set_chart};
use controller_core::Release;
use serde_json::{Value, json};

fn account() -> ControllerAccount {
    ControllerAccount { namespace: "arc-systems".into(), name: "arc-gha-rs-controller".into() }
}

fn values(extra: Value) -> Value {
    let mut all = json!({
        "githubConfigUrl": "https://github.com/my-org/", "githubConfigSecret": { "github_token": "pat" },
        "minRunners": 0, "maxRunners": 3,
    });
    arc_api::json::merge(&mut all, &extra);
    all
}

fn render(release: Release, extra: Value, minor: &str) -> Vec<Object> {
    let values = ScaleSetValues::parse(release, &values(extra)).expect("good values");
    scale_set_chart::render(release, &values, "demo", "arc-runners", minor, &account()).expect("renders")
}

/// One object in a few lines; the release's own number is `<release>`, the values hash `<hash>`.
fn show(release: Release, object: &Object) -> String {
    let value = wire::to_json(object);
    let meta = object.meta();
    let mut out = format!("{} {}", object.kind(), object.key());
    for f in meta.finalizers.iter() {
        write!(out, " finalizer={f}").expect("writes");
    }
    for (title, map) in [("label", &meta.labels), ("annotation", &meta.annotations)] {
        for (k, v) in map.iter() {
            let v = if k.ends_with("values-hash") { "<hash>" } else { v };
            write!(out, "\n  {title} {k}={v}").expect("writes");
        }
    }
    for (member, value) in value.as_object().into_iter().flatten() {
        if !["metadata", "kind", "apiVersion", "status"].contains(&member.as_str()) {
            match value {
                Value::Array(rules) => rules.iter().for_each(|r| write!(out, "\n  {member}[] {r}").expect("writes")),
                other => write!(out, "\n  {member} {other}").expect("writes"),
            }
        }
    }
    ["-", "=", ":", "\""]
        .iter()
        .fold(out, |out, before| out.replace(&format!("{before}{release}"), &format!("{before}<release>")))
}

/// Each distinct object once, with the releases that render it so; the order is that of installation.
fn grouped(all: impl IntoIterator<Item = (Release, Vec<Object>)>) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for (release, objects) in all {
        let mut at = 0;
        for text in objects.iter().map(|o| show(release, o)) {
            match groups.iter().position(|(t, _)| *t == text) {
                Some(i) => {
                    groups[i].1.push(release.as_str());
                    at = i + 1;
                }
                None => {
                    let name = |t: &str| t.lines().next().unwrap_or_default().to_owned();
                    while groups.get(at).is_some_and(|(t, _)| name(t) == name(&text)) {
                        at += 1;
                    }
                    groups.insert(at, (text, vec![release.as_str()]));
                    at += 1;
                }
            }
        }
    }
    let show = |(text, releases): &(String, Vec<&str>)| format!("# {}\n{text}\n", releases.join(" "));
    groups.iter().map(show).collect::<Vec<_>>().join("\n")
}

fn only(kind: Kind, objects: Vec<Object>) -> Vec<Object> {
    objects.into_iter().filter(|o| o.kind() == kind).collect()
}

#[test]
fn plain_scale_set() {
    insta::assert_snapshot!(grouped(Release::ALL.iter().map(|r| (*r, render(*r, json!({}), "34")))));
}

#[test]
fn kubernetes_modes() {
    let claim = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    let mode = json!({ "containerMode": { "type": "kubernetes", "kubernetesModeWorkVolumeClaim": claim } });
    insta::assert_snapshot!("kubernetes", grouped(Release::ALL.iter().map(|r| (*r, render(*r, mode.clone(), "34")))));
    let mode = json!({ "containerMode": { "type": "kubernetes-novolume" } });
    insta::assert_snapshot!("novolume", grouped(Release::ALL.iter().map(|r| (*r, render(*r, mode.clone(), "34")))));
}

#[test]
fn dind_pods() {
    let mode = json!({ "containerMode": { "type": "dind" } });
    let sets = |minor: &'static str| {
        let mode = mode.clone();
        Release::ALL.iter().map(move |r| (*r, only(Kind::AutoscalingRunnerSet, render(*r, mode.clone(), minor))))
    };
    insta::assert_snapshot!("dind-1.34", grouped(sets("34")));
    let plain = |minor| grouped(sets(minor));
    assert_eq!(plain("28"), plain("29+"), "`29+` is not a number to the chart");
    assert_eq!(plain("29"), plain("34"));
    insta::assert_snapshot!("dind-1.28", plain("28"));
}

#[test]
fn the_pod_shape_follows_release_and_server() {
    let mut table: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for release in Release::ALL {
        let row: Vec<String> = ["20", "28", "29", "29+", "34", "34+"]
            .iter()
            .map(|minor| format!("{minor}:{:?}", pod_shapes::DindShape::of(*release, minor)))
            .collect();
        table.entry(row.join(" ")).or_default().push(release.as_str());
    }
    let lines: Vec<String> = table.iter().map(|(row, releases)| format!("{}\n  {row}", releases.join(" "))).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_user_s_template_is_merged() {
    let template = json!({ "metadata": { "labels": { "team": "a" } }, "spec": {
        "terminationGracePeriodSeconds": 90, "nodeSelector": { "pool": "x" },
        "initContainers": [{ "name": "prepare", "image": "busybox" }],
        "containers": [
            { "name": "side", "image": "fluentd" },
            { "name": "runner", "image": "mine:1", "env": [{ "name": "DOCKER_HOST", "value": "tcp://x" }],
              "volumeMounts": [{ "name": "work", "mountPath": "/w" }, { "name": "cache", "mountPath": "/c" }] },
            { "name": "dind", "image": "other" },
        ],
        "volumes": [{ "name": "cache", "emptyDir": {} }, { "name": "work", "hostPath": { "path": "/x" } }],
    } });
    let set = |release, extra: Value| only(Kind::AutoscalingRunnerSet, render(release, extra, "34"));
    let dind = json!({ "template": template, "containerMode": { "type": "dind" } });
    insta::assert_snapshot!("merged-dind", grouped([(Release::V0_14_2, set(Release::V0_14_2, dind))]));
    let none = json!({ "template": template });
    let both = [Release::V0_11_0, Release::V0_12_0, Release::V0_12_1];
    insta::assert_snapshot!("merged-plain", grouped(both.map(|r| (r, set(r, none.clone())))));
}

#[test]
fn controllers() {
    let plain = |r: &Release, user: Value| {
        let values = ControllerValues::parse(*r, &user).expect("good values");
        (*r, controller_chart::render(*r, &values, "arc", "arc-systems").expect("renders"))
    };
    insta::assert_snapshot!("controller", grouped(Release::ALL.iter().map(|r| plain(r, json!({})))));
    let user = json!({
        "replicaCount": 2, "imagePullSecrets": [{ "name": "a" }, { "name": "b" }],
        "flags": {
            "watchSingleNamespace": "arc-runners", "updateStrategy": "eventual", "runnerMaxConcurrentReconciles": 7,
            "k8sClientRateLimiterQPS": 100, "k8sClientRateLimiterBurst": 200, "excludeLabelPropagationPrefixes": ["argocd."],
        },
        "metrics": { "controllerManagerAddr": ":8080", "listenerAddr": ":8080", "listenerEndpoint": "/metrics" },
    });
    insta::assert_snapshot!("controller-flags", grouped(Release::ALL.iter().map(|r| plain(r, user.clone()))));
}

#[test]
fn everything_the_chart_makes_has_a_typed_place() {
    let claim = json!({ "accessModes": ["ReadWriteOnce"] });
    for mode in ["", "dind", "kubernetes", "kubernetes-novolume"] {
        let extra = json!({ "containerMode": { "type": mode, "kubernetesModeWorkVolumeClaim": claim } });
        for release in Release::ALL {
            let objects = render(*release, extra.clone(), "34");
            assert!(objects.iter().all(|o| o.meta().rest.is_none()), "{release} {mode}");
        }
    }
}
