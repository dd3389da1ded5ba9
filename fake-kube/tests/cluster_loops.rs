//! What a cluster does by itself: scheduling, collection, namespaces, quotas, roll-outs, nodes that fall silent.

#[path = "parts/node_loops.rs"]
mod node_loops;
mod rig;

use std::sync::Arc;

use arc_api::core::{ConfigMap, Deployment, Node, PersistentVolumeClaim, ResourceQuota, Secret, ServiceAccount, Taint};
use arc_api::kube::{DeleteOptions, KubeRequest, Patch, Propagation, Sub};
use arc_api::meta::{Key, labels};
use arc_api::pod::{Pod, PodConditionType, PodSpec, PodTemplate, Resources, TemplateMeta, Toleration, Volume};
use arc_api::{Duration, Kind, Meta, OwnerRef, Str, Time};
use fake_kube::cluster::{ClusterSettings, NodeSettings, PodScope, Vanish};
use rig::{Rig, container, pod};

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}
fn rig() -> Rig {
    Rig::new(ClusterSettings::default())
}
fn key(name: &str) -> Key {
    Key::new("default", name)
}
fn map(name: &str, owners: &[OwnerRef]) -> ConfigMap {
    ConfigMap {
        metadata: Meta { owner_references: owners.into(), ..Meta::named("default", name) },
        ..ConfigMap::default()
    }
}
fn exists(rig: &Rig, kind: Kind, name: &str) -> bool {
    rig.cluster.api().get(kind, &key(name)).is_some()
}
fn why_unscheduled(rig: &Rig, name: &str) -> String {
    let p = rig.pod(name).expect("there");
    let c = p.status.conditions.iter().find(|c| c.type_ == PodConditionType::PodScheduled).expect("tried");
    assert_eq!((c.status, c.reason.as_str()), (false, "Unschedulable"));
    c.message.to_string()
}
fn cpu(n: &str) -> Resources {
    Resources { requests: [("cpu".into(), n.into())].into(), ..Resources::default() }
}

// ---- scheduler --------------------------------------------------------------------------------------------------------

#[test]
fn pods_that_fit_nowhere_say_why_and_are_bound_when_there_is_room() {
    let nodes = vec![
        NodeSettings { cpu: "2".into(), ..NodeSettings::named("a") },
        NodeSettings {
            taints: vec![Taint { key: "k".into(), value: "v".into(), effect: "NoSchedule".into() }],
            ..NodeSettings::named("b")
        },
        NodeSettings { pods: 0, ..NodeSettings::named("c") },
    ];
    let mut rig = Rig::new(ClusterSettings { nodes, ..ClusterSettings::default() });
    rig.create(pod("first", &["c"], |s| s.containers[0].resources = cpu("1500m")));
    rig.secs(2);
    rig.create(pod("second", &["c"], |s| s.containers[0].resources = cpu("1")));
    rig.secs(2);
    assert_eq!(
        why_unscheduled(&rig, "second"),
        "0/3 nodes are available: 1 Insufficient cpu, 1 Too many pods, 1 node(s) had untolerated taint {k: v}. preemption: \
         0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
    );
    assert_eq!(rig.next(), Time::NEVER);
    rig.delete(Kind::Pod, "default", "first", DeleteOptions::default()).expect("deleted");
    rig.secs(5);
    assert_eq!(rig.pod("second").and_then(|p| p.node_name.clone()).as_deref(), Some("a"));
}

#[test]
fn an_autoscaler_adds_a_node_for_what_waits() {
    let mut settings = ClusterSettings::default();
    settings.nodes.clear();
    let mut rig = Rig::new(settings);
    rig.create(pod("p", &["c"], |_| {}));
    rig.secs(5);
    assert_eq!(why_unscheduled(&rig, "p"), "no nodes available to schedule pods");
    rig.cluster.add_node(NodeSettings::named("late"), secs(90), rig.now);
    rig.secs(89);
    assert_eq!(rig.pod("p").expect("there").node_name, None);
    rig.secs(5);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Running c:running"));
}

#[test]
fn held_pods_wait_and_others_do_not() {
    let mut rig = rig();
    let fault = rig.cluster.hold_pods(PodScope::named("p"), Str::default());
    rig.create(pod("p", &["c"], |_| {}));
    rig.create(pod("q", &["c"], |_| {}));
    rig.secs(600);
    assert!(why_unscheduled(&rig, "p").starts_with("0/1 nodes are available: 1 Insufficient cpu."));
    assert!(rig.pod("q").expect("there").node_name.is_some());
    // An unscheduled pod goes at once.
    rig.delete(Kind::Pod, "default", "p", DeleteOptions::default()).expect("deleted");
    assert!(rig.pod("p").is_none());
    rig.create(pod("p", &["c"], |_| {}));
    rig.secs(5);
    rig.cluster.end_fault(fault, rig.now);
    rig.secs(12);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Running c:running"));
}

#[test]
fn pods_are_spread_over_equal_nodes() {
    let mut rig = Rig::new(ClusterSettings::default().with_nodes(3));
    for i in 0..6 {
        rig.create(pod(&format!("p{i}"), &["c"], |_| {}));
    }
    rig.secs(5);
    for node in ["node-1", "node-2", "node-3"] {
        assert_eq!(rig.cluster.api().pods_on(node).count(), 2, "{node}");
    }
}

// ---- volumes ----------------------------------------------------------------------------------------------------------

fn with_work_volume(name: &str) -> Pod {
    pod(name, &["c"], |s| {
        let template = serde_json::json!({ "volumeClaimTemplate": { "spec": { "storageClassName": "fast" } } });
        s.volumes = vec![Volume { name: "work".into(), ephemeral: Some(Arc::new(template)), ..Volume::default() }];
    })
}

#[test]
fn an_ephemeral_claim_is_made_bound_and_collected() {
    for wait_for_consumer in [true, false] {
        let mut settings = ClusterSettings::default();
        settings.storage.wait_for_consumer = wait_for_consumer;
        let mut rig = Rig::new(settings);
        rig.create(with_work_volume("p"));
        rig.run_for(Duration::from_millis(50));
        assert_eq!(
            why_unscheduled(&rig, "p"),
            "waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-work\""
        );
        rig.secs(6);
        let claim = rig.cluster.api().typed::<PersistentVolumeClaim>(&key("p-work")).expect("made").clone();
        assert_eq!((claim.phase.as_str(), claim.storage_class_name.as_str()), ("Bound", "fast"));
        assert_eq!(rig.life("p").last().map(String::as_str), Some("Running c:running"));
        rig.delete(Kind::Pod, "default", "p", DeleteOptions::default()).expect("deleted");
        rig.secs(5);
        assert!(!exists(&rig, Kind::Pod, "p") && !exists(&rig, Kind::PersistentVolumeClaim, "p-work"));
        assert_eq!(rig.next(), Time::NEVER);
    }
}

#[test]
fn a_pod_of_the_same_name_gets_a_claim_of_its_own_when_the_old_one_is_gone() {
    let mut rig = rig();
    rig.create(with_work_volume("p"));
    rig.secs(6);
    rig.delete(Kind::Pod, "default", "p", DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() })
        .expect("deleted");
    let uid = rig.create(with_work_volume("p")).meta().uid;
    rig.run_for(Duration::from_millis(150));
    assert!(why_unscheduled(&rig, "p").contains("was not created for pod"));
    rig.secs(10);
    let claim = rig.cluster.api().typed::<PersistentVolumeClaim>(&key("p-work")).expect("made anew").clone();
    assert_eq!((claim.phase.as_str(), claim.metadata.owner_references[0].uid), ("Bound", uid));
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Running c:running"));
}

#[test]
fn a_claim_that_is_held_holds_its_pod() {
    let mut rig = rig();
    let fault = rig.cluster.hold_claims(PodScope::all());
    rig.create(with_work_volume("p"));
    rig.secs(600);
    assert_eq!(rig.pod("p").expect("there").node_name, None);
    rig.cluster.end_fault(fault, rig.now);
    rig.secs(5);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Running c:running"));
}

// ---- garbage collector ------------------------------------------------------------------------------------------------

#[test]
fn dependents_go_when_all_owners_are_gone() {
    let mut rig = rig();
    let (a, b) = (rig.create(map("a", &[])), rig.create(map("b", &[])));
    let second = OwnerRef { controller: false, ..OwnerRef::controller(Kind::ConfigMap, b.meta()) };
    let refs = [OwnerRef::controller(Kind::ConfigMap, a.meta()), second];
    rig.create(map("d", &refs));
    rig.create(map("e", &refs[..1]));
    rig.delete(Kind::ConfigMap, "default", "a", DeleteOptions::default()).expect("deleted");
    rig.secs(1);
    assert!(exists(&rig, Kind::ConfigMap, "d") && !exists(&rig, Kind::ConfigMap, "e"));
    let left = rig.cluster.api().get(Kind::ConfigMap, &key("d")).expect("there").meta().owner_references.len();
    assert_eq!(left, 1, "the dangling reference is taken away");
    rig.delete(Kind::ConfigMap, "default", "b", DeleteOptions::default()).expect("deleted");
    rig.secs(1);
    assert!(!exists(&rig, Kind::ConfigMap, "d"));
    assert_eq!(rig.next(), Time::NEVER);
}

#[test]
fn an_owner_of_the_same_name_with_another_identity_is_absent() {
    let mut rig = rig();
    let first = rig.create(map("a", &[]));
    rig.delete(Kind::ConfigMap, "default", "a", DeleteOptions::default()).expect("deleted");
    rig.create(map("a", &[]));
    rig.create(map("d", &[OwnerRef::controller(Kind::ConfigMap, first.meta())]));
    rig.secs(1);
    assert!(!exists(&rig, Kind::ConfigMap, "d"));
}

#[test]
fn an_owner_in_another_namespace_is_absent_and_that_is_said() {
    let mut rig = rig();
    rig.namespace("other");
    let owner = rig.create(ConfigMap { metadata: Meta::named("other", "o"), ..ConfigMap::default() });
    rig.create(map("d", &[OwnerRef::controller(Kind::ConfigMap, owner.meta())]));
    rig.secs(1);
    assert!(!exists(&rig, Kind::ConfigMap, "d"));
    let event = rig.cluster.api().iter(Kind::Event).next().and_then(|o| o.get::<arc_api::core::Event>()).cloned();
    let event = event.expect("a warning");
    assert_eq!(event.reason, "OwnerRefInvalidNamespace");
    let uid = owner.meta().uid;
    assert_eq!(
        event.message,
        format!(
            "ownerRef [v1/ConfigMap, namespace: default, name: o, uid: {uid}] does not exist in namespace \"default\""
        )
    );
}

#[test]
fn foreground_deletion_waits_for_blocking_dependents_only() {
    let mut rig = rig();
    let owner = rig.create(map("a", &[]));
    let blocking = OwnerRef::controller(Kind::ConfigMap, owner.meta());
    let lax = OwnerRef { block_owner_deletion: false, ..blocking.clone() };
    let held = |name: &str, owner: &OwnerRef| {
        let mut m = map(name, std::slice::from_ref(owner));
        m.metadata.finalizers = Arc::new(["x.io/hold".into()]);
        m
    };
    rig.create(held("blocks", &blocking));
    rig.create(held("lax", &lax));
    let options = DeleteOptions { propagation: Propagation::Foreground, ..DeleteOptions::default() };
    rig.delete(Kind::ConfigMap, "default", "a", options).expect("deleted");
    rig.secs(10);
    assert!(exists(&rig, Kind::ConfigMap, "a"));
    for name in ["blocks", "lax"] {
        assert!(rig.cluster.api().get(Kind::ConfigMap, &key(name)).expect("held").meta().is_deleting());
    }
    let patch = Arc::new(Patch::finalizers([].into()));
    rig.admin(KubeRequest::Patch { kind: Kind::ConfigMap, key: key("blocks"), sub: Sub::Main, patch })
        .expect("patched");
    rig.secs(1);
    assert!(!exists(&rig, Kind::ConfigMap, "a") && exists(&rig, Kind::ConfigMap, "lax"));
}

#[test]
fn orphans_stay_without_their_references() {
    let mut rig = rig();
    let owner = rig.create(map("a", &[]));
    rig.create(map("d", &[OwnerRef::controller(Kind::ConfigMap, owner.meta())]));
    let options = DeleteOptions { propagation: Propagation::Orphan, ..DeleteOptions::default() };
    rig.delete(Kind::ConfigMap, "default", "a", options).expect("deleted");
    rig.secs(1);
    assert!(!exists(&rig, Kind::ConfigMap, "a"));
    assert!(rig.cluster.api().get(Kind::ConfigMap, &key("d")).expect("stays").meta().owner_references.is_empty());
}

/// How many seconds after its kind's definition at 61 s the dependent of an absent custom object is still there.
fn kept_for(settings: ClusterSettings) -> u64 {
    let mut rig = Rig::new(settings);
    rig.secs(61);
    for crd in fake_kube::crds::arc_crds("0.14.2") {
        rig.create(crd);
    }
    let spec =
        Arc::new(arc_api::crd::ErSpec { github_config_url: "https://github.com/o".into(), ..Default::default() });
    let runner = arc_api::crd::EphemeralRunner { metadata: Meta::named("default", "r"), spec, ..Default::default() };
    let owner = rig.create(runner);
    rig.create(Secret {
        metadata: Meta {
            owner_references: Arc::new([OwnerRef::controller(Kind::EphemeralRunner, owner.meta())]),
            ..Meta::named("default", "s")
        },
        ..Secret::default()
    });
    rig.delete(Kind::EphemeralRunner, "default", "r", DeleteOptions::default()).expect("deleted");
    (0..100)
        .take_while(|_| {
            exists(&rig, Kind::Secret, "s") && {
                rig.secs(1);
                true
            }
        })
        .count() as u64
}

#[test]
fn dependents_of_a_new_kind_are_collected_at_the_next_discovery() {
    assert_eq!(kept_for(ClusterSettings::default()), 29);
    // Or as late as the collector's informers were recorded to be.
    let mut late = ClusterSettings::default();
    late.gc.discovered_after = Some(Duration::from_secs(48));
    assert_eq!(kept_for(late), 48);
}

// ---- namespaces, accounts, definitions, quota -------------------------------------------------------------------------

#[test]
fn a_namespace_has_a_default_account_for_ever() {
    let mut rig = rig();
    rig.namespace("n");
    let account =
        |rig: &Rig| rig.cluster.api().typed::<ServiceAccount>(&Key::new("n", "default")).map(|a| a.metadata.uid);
    let first = account(&rig).expect("made");
    rig.delete(Kind::ServiceAccount, "n", "default", DeleteOptions::default()).expect("deleted");
    rig.secs(1);
    assert!(account(&rig).is_some_and(|second| second != first));
}

fn in_namespace(name: &str) -> Pod {
    let mut p = pod(name, &["c"], |_| {});
    p.metadata.namespace = "n".into();
    p
}

#[test]
fn a_namespace_is_emptied_in_rounds_pods_first() {
    // Recorded, d_uninstall/0.14.2: DELETE at 85.4 s, pods at 90.5, everything at 95.5; held content is looked at again 5 s
    // later, and found gone another round later.
    for (minor, map_goes) in [(34, 10), (28, 5)] {
        let mut rig = Rig::new(ClusterSettings::version(minor));
        rig.namespace("n");
        rig.create(in_namespace("p"));
        rig.create(ConfigMap { metadata: Meta::named("n", "m"), ..ConfigMap::default() });
        rig.secs(5);
        let at = rig.now;
        rig.delete(Kind::Namespace, "", "n", DeleteOptions::default()).expect("deleted");
        let there = |rig: &Rig, kind, name: &str| rig.cluster.api().get(kind, &Key::new("n", name)).is_some();
        let mut gone = [None, None, None];
        while rig.now < at.after(secs(60)) {
            rig.run_for(Duration::from_millis(100));
            let namespace = rig.cluster.api().get(Kind::Namespace, &Key::new("", "n")).is_some();
            let now = [there(&rig, Kind::Pod, "p"), there(&rig, Kind::ConfigMap, "m"), namespace];
            for (slot, there) in gone.iter_mut().zip(now) {
                if !there && slot.is_none() {
                    *slot = Some(rig.now.since(at).as_secs());
                }
            }
        }
        assert_eq!(gone, [Some(5), Some(map_goes), Some(10)], "1.{minor}");
        assert_eq!(rig.next(), Time::NEVER);
    }
}

#[test]
fn a_namespace_says_what_holds_it() {
    let mut rig = rig();
    rig.namespace("n");
    let mut held = ConfigMap { metadata: Meta::named("n", "m"), ..ConfigMap::default() };
    held.metadata.finalizers = Arc::new(["x.io/hold".into()]);
    rig.create(held);
    rig.delete(Kind::Namespace, "", "n", DeleteOptions::default()).expect("deleted");
    rig.secs(60);
    let namespace = rig.cluster.api().typed::<arc_api::core::Namespace>(&Key::new("", "n")).expect("held").clone();
    let say = |type_: &str| {
        let c = namespace.conditions.iter().find(|c| c.type_ == type_).expect("there");
        (c.status, c.message.to_string())
    };
    assert_eq!(
        say("NamespaceContentRemaining"),
        (true, "Some resources are remaining: configmaps has 1 resource instances".into())
    );
    assert_eq!(
        say("NamespaceFinalizersRemaining"),
        (true, "Some content in the namespace has finalizers remaining: x.io/hold in 1 resource instances".into())
    );
    let patch = Arc::new(Patch::finalizers([].into()));
    let request = KubeRequest::Patch { kind: Kind::ConfigMap, key: Key::new("n", "m"), sub: Sub::Main, patch };
    rig.admin(request).expect("patched");
    rig.secs(20);
    assert!(rig.cluster.api().get(Kind::Namespace, &Key::new("", "n")).is_none());
}

#[test]
fn a_definition_takes_its_objects_along() {
    let mut rig = rig();
    for crd in fake_kube::crds::arc_crds("0.14.2") {
        rig.create(crd);
    }
    let listener = arc_api::crd::AutoscalingListener { metadata: Meta::named("default", "l"), ..Default::default() };
    rig.create(listener);
    rig.delete(Kind::CustomResourceDefinition, "", "autoscalinglisteners.actions.github.com", DeleteOptions::default())
        .expect("deleted");
    rig.secs(10);
    assert_eq!(rig.cluster.api().count(Kind::CustomResourceDefinition), 3);
    assert_eq!(rig.cluster.api().count(Kind::AutoscalingListener), 0);
    assert_eq!(rig.next(), Time::NEVER);
}

#[test]
fn a_quota_learns_late_that_a_pod_has_ended() {
    let mut rig = rig();
    rig.behave("c", |b| b.exits = Some((secs(10), 0)));
    rig.create(ResourceQuota {
        metadata: Meta::named("default", "q"),
        hard: Arc::new([("pods".into(), "1".into())].into()),
        ..ResourceQuota::default()
    });
    rig.secs(2);
    let used =
        |rig: &Rig| rig.cluster.api().typed::<ResourceQuota>(&key("q")).expect("there").used.get("pods").cloned();
    assert_eq!(used(&rig).as_deref(), Some("0"));
    rig.create(pod("p", &["c"], |_| {}));
    assert_eq!(used(&rig).as_deref(), Some("1"));
    let refused = rig.admin(KubeRequest::Create(pod("q", &["c"], |_| {}).into())).expect_err("over");
    assert!(refused.message.contains("exceeded quota: q"), "{}", refused.message);
    while rig.pod("p").is_some_and(|p| !p.status.phase.is_terminal()) {
        rig.run_for(Duration::from_millis(10));
    }
    assert_eq!(used(&rig).as_deref(), Some("1"));
    rig.secs(2);
    assert_eq!(used(&rig).as_deref(), Some("0"));
}

// ---- deployments ------------------------------------------------------------------------------------------------------

fn deployment(replicas: i32, image: &str) -> Deployment {
    let spec = PodSpec {
        containers: vec![arc_api::pod::Container { image: image.into(), ..container("manager") }],
        restart_policy: "Always".into(),
        ..PodSpec::default()
    };
    Deployment {
        metadata: Meta::named("default", "arc"),
        replicas,
        template: Arc::new(PodTemplate {
            metadata: TemplateMeta { labels: labels([("app", "arc")]), ..TemplateMeta::default() },
            spec: Arc::new(spec),
        }),
        ..Deployment::default()
    }
}
fn managers(rig: &Rig) -> Vec<Arc<Pod>> {
    rig.cluster.api().in_namespace(Kind::Pod, "default").filter_map(|o| o.get::<Pod>()).cloned().collect()
}
fn replace(rig: &mut Rig, change: impl FnOnce(&mut Deployment)) {
    let mut next = (**rig.cluster.api().typed::<Deployment>(&key("arc")).expect("there")).clone();
    change(&mut next);
    rig.admin(KubeRequest::Update(next.into(), Sub::Main)).expect("updated");
}

#[test]
fn an_upgrade_runs_two_managers_until_the_new_one_is_ready() {
    // Recorded, d_seed_overlap-from-0.9.0: with a start of 4 s the old manager gets its SIGTERM after the new one runs.
    let mut rig = rig();
    rig.behave("manager", |b| b.start = secs(4));
    rig.create(deployment(1, "v1"));
    rig.secs(10);
    let old = managers(&rig);
    assert_eq!(old.len(), 1);
    let name: Vec<&str> = old[0].metadata.name.split('-').collect();
    assert!(name[0] == "arc" && name[2].len() == 5, "{name:?}");
    assert_eq!(old[0].metadata.label("pod-template-hash").map(Str::as_str), Some(name[1]));
    rig.effects.clear();
    replace(&mut rig, |d| d.template = deployment(1, "v2").template);
    rig.secs(20);
    let (started, term) = (rig.effect_at("start manager 0").expect("new"), rig.effect_at("Term manager").expect("old"));
    let overlap = term.since(started.after(secs(4)));
    assert!(overlap > Duration::ZERO && overlap < secs(1), "{overlap:?}");
    let left = managers(&rig);
    assert_eq!((left.len(), left[0].spec.containers[0].image.as_str()), (1, "v2"));
    assert_eq!(rig.cluster.api().typed::<Deployment>(&key("arc")).map(|d| d.updated_ready), Some(1));
    assert_eq!(rig.next(), Time::NEVER);
}

#[test]
fn scaling_and_losing_pods() {
    let mut rig = rig();
    rig.create(deployment(2, "v1"));
    rig.secs(5);
    assert_eq!(managers(&rig).len(), 2);
    let lost = managers(&rig)[0].metadata.clone();
    rig.delete(Kind::Pod, "default", &lost.name, DeleteOptions::default()).expect("deleted");
    rig.secs(5);
    assert!(managers(&rig).len() == 2 && managers(&rig).iter().all(|p| p.metadata.uid != lost.uid));
    replace(&mut rig, |d| d.replicas = 0);
    rig.secs(5);
    assert!(managers(&rig).is_empty());
    replace(&mut rig, |d| d.replicas = 1);
    rig.secs(5);
    assert_eq!(managers(&rig).len(), 1);
    rig.delete(Kind::Deployment, "default", "arc", DeleteOptions::default()).expect("deleted");
    rig.secs(5);
    assert!(managers(&rig).is_empty());
    assert_eq!(rig.next(), Time::NEVER);
}
