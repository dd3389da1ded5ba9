//! Pods in trouble: pressure, full nodes, refusals, an API server that is away.

use super::*;

#[test]
fn pressure_evicts_with_or_without_container_statuses() {
    for (before, last) in [(false, "Failed(Evicted) c:Error(137)"), (true, "Failed(Evicted)")] {
        let mut rig = rig();
        rig.create(pod("p", &["c"], |_| {}));
        rig.secs(5);
        let uid = rig.uid("p");
        rig.cluster.evict_for_pressure(uid, "memory", before, rig.now);
        rig.secs(60);
        assert_eq!(rig.life("p").last().map(String::as_str), Some(last));
        let p = rig.pod("p").expect("the object stays");
        assert_eq!(p.status.message, "The node was low on resource: memory. ");
        assert_eq!(p.status.condition(PodConditionType::DisruptionTarget), Some(true));
        assert_eq!(rig.next(), Time::NEVER);
    }
}

#[test]
fn a_node_that_is_full_refuses_what_was_put_on_it_by_name() {
    let nodes = vec![NodeSettings { cpu: "2".into(), ..NodeSettings::named("n") }];
    let mut rig = Rig::new(ClusterSettings { nodes, ..ClusterSettings::default() });
    let cpu = |n: &str| Resources { requests: [("cpu".into(), n.into())].into(), ..Resources::default() };
    rig.create(pod("a", &["c"], |s| s.containers[0].resources = cpu("1500m")));
    rig.secs(2);
    rig.create(pod("b", &["c"], |s| {
        s.containers[0].resources = cpu("1");
        s.node_name = Some("n".into());
    }));
    rig.secs(2);
    assert_eq!(rig.life("b").last().map(String::as_str), Some("Failed(OutOfcpu)"));
    let p = rig.pod("b").expect("there");
    assert_eq!(
        p.status.message,
        "Pod was rejected: Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"
    );
    assert!(p.status.container_statuses.is_empty());
    // Its room is given back when the first one has ended.
    delete(&mut rig, "a", None);
    rig.secs(5);
    delete(&mut rig, "b", None);
    rig.create(pod("b", &["c"], |s| {
        s.containers[0].resources = cpu("1");
        s.node_name = Some("n".into());
    }));
    rig.secs(2);
    assert_eq!(rig.life("b").last().map(String::as_str), Some("Running c:running"));
}

#[test]
fn nodes_refuse_pods_by_rule() {
    let mut rig = rig();
    let rule = AdmissionRule {
        scope: PodScope::named("p"),
        reason: "OutOfpods".into(),
        message: Str::default(),
        chance: (1, 1),
        times: Some(1),
    };
    let fault = rig.cluster.reject_pods(rule);
    for name in ["p1", "q", "p2"] {
        rig.create(pod(name, &["c"], |_| {}));
        rig.secs(2);
    }
    let phase = |name| rig.life(name).last().cloned().expect("there");
    assert_eq!(phase("p1"), "Failed(OutOfpods)");
    assert_eq!((phase("q").as_str(), phase("p2").as_str()), ("Running c:running", "Running c:running"));
    rig.cluster.end_fault(fault, rig.now);
}

#[test]
fn kubelets_write_what_they_missed_when_the_api_is_back() {
    let mut rig = rig();
    rig.behave("c", |b| b.exits = Some((secs(10), 0)));
    rig.create(pod("p", &["c"], |s| s.restart_policy = "OnFailure".into()));
    rig.secs(5);
    rig.cluster.set_api_up(false, rig.now);
    rig.secs(30);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Running c:running"));
    rig.cluster.set_api_up(true, rig.now);
    rig.secs(1);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Succeeded c:Completed(0)"));
}

#[test]
fn statuses_can_be_lost() {
    let mut rig = rig();
    rig.create(pod("p", &["c"], |_| {}));
    rig.secs(5);
    let uid = rig.uid("p");
    rig.cluster.hide_container_statuses(uid, true, rig.now);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Running"));
    rig.cluster.hide_container_statuses(uid, false, rig.now);
    rig.cluster.container_lost(uid, "c", rig.now);
    rig.secs(1);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Failed c:ContainerStatusUnknown(137)"));
}

#[test]
fn a_node_selector_is_a_label_of_the_node() {
    let mut settings = ClusterSettings::default().with_nodes(2);
    settings.nodes[1].labels = vec![("pool".into(), "runners".into())];
    let mut rig = Rig::new(settings);
    let mut p = pod("p", &["c"], |s| s.node_selector = [("pool".into(), "runners".into())].into());
    p.metadata.labels = labels([("a", "b")]);
    rig.create(p);
    rig.secs(2);
    assert_eq!(rig.pod("p").and_then(|p| p.node_name.clone()).as_deref(), Some("node-2"));
}
