//! Nodes that fail, vanish, are drained and come back, and worlds with nothing to do.

use super::*;

// ---- nodes ------------------------------------------------------------------------------------------------------------

fn two_nodes(minor: u32) -> Rig {
    let mut rig = Rig::new(ClusterSettings::version(minor).with_nodes(2));
    rig.create(pod("p", &["c"], |_| {}));
    rig.secs(100);
    assert_eq!(rig.pod("p").and_then(|p| p.node_name.clone()).as_deref(), Some("node-1"));
    rig
}
fn node(rig: &Rig) -> Arc<Node> {
    rig.cluster.api().typed::<Node>(&Key::new("", "node-1")).expect("there").clone()
}
/// Seconds until `f` holds.
#[track_caller]
fn wait(rig: &mut Rig, f: impl Fn(&Rig) -> bool) -> f64 {
    let from = rig.now;
    while !f(rig) {
        assert!(rig.now < from.after(secs(3_600)), "never");
        rig.run_for(Duration::from_millis(100));
    }
    rig.now.since(from).as_secs_f64()
}

#[test]
fn power_loss_follows_the_timeline_and_the_pod_stays_terminating() {
    for (minor, range) in [(31, 30.0..=45.0), (34, 40.0..=55.0)] {
        let mut rig = two_nodes(minor);
        rig.cluster.power_off("node-1", rig.now);
        rig.drain_effects();
        assert_eq!(rig.effect_names().last(), Some(&"forget"));
        let unknown = wait(&mut rig, |r| node(r).ready == "Unknown");
        assert!(range.contains(&unknown), "1.{minor}: {unknown}");
        assert!(!rig.pod("p").expect("there").status.is_ready());
        let taint = wait(&mut rig, |r| node(r).taints.iter().any(|t| t.effect == "NoExecute"));
        assert!((0.4..=0.7).contains(&taint), "{taint}");
        let deleted = wait(&mut rig, |r| r.pod("p").is_some_and(|p| p.metadata.is_deleting()));
        assert!((299.0..=301.0).contains(&deleted), "{deleted}");
        let p = rig.pod("p").expect("there").clone();
        assert_eq!(p.status.phase.as_str(), "Running");
        let target = p.status.conditions.iter().find(|c| c.type_ == PodConditionType::DisruptionTarget).expect("there");
        assert_eq!(target.reason, "DeletionByTaintManager");
        assert_eq!(rig.next(), Time::NEVER);
        rig.secs(86_400);
        assert!(rig.pod("p").is_some());
        rig.cluster.node_back("node-1", rig.now);
        rig.secs(5);
        assert!(rig.pod("p").is_none());
        assert_eq!(rig.life("p")[3..], ["Failed c:ContainerStatusUnknown(137)", "gone"]);
        assert!(node(&rig).taints.is_empty() && node(&rig).ready == "True");
    }
}

#[test]
fn own_tolerations_decide_how_long_a_pod_stays() {
    let mut rig = Rig::new(ClusterSettings::default().with_nodes(2));
    rig.create(pod("p", &["c"], |s| {
        s.node_name = Some("node-1".into());
        s.tolerations = vec![Toleration {
            key: "node.kubernetes.io/unreachable".into(),
            operator: "Exists".into(),
            effect: "NoExecute".into(),
            toleration_seconds: Some(10),
            ..Toleration::default()
        }];
    }));
    rig.secs(100);
    rig.cluster.power_off("node-1", rig.now);
    wait(&mut rig, |r| node(r).taints.iter().any(|t| t.effect == "NoExecute"));
    let deleted = wait(&mut rig, |r| r.pod("p").is_some_and(|p| p.metadata.is_deleting()));
    assert!((9.0..=10.1).contains(&deleted), "{deleted}");
}

#[test]
fn with_all_nodes_silent_nobody_is_evicted_until_one_is_back() {
    let mut rig = two_nodes(34);
    rig.cluster.power_off("node-1", rig.now);
    rig.cluster.power_off("node-2", rig.now);
    rig.secs(3_600);
    assert!(!rig.pod("p").expect("there").metadata.is_deleting());
    rig.cluster.node_back("node-2", rig.now);
    let deleted = wait(&mut rig, |r| r.pod("p").is_some_and(|p| p.metadata.is_deleting()));
    assert!((299.0..=302.0).contains(&deleted), "{deleted}");
}

#[test]
fn a_short_silence_is_not_noticed() {
    let mut rig = two_nodes(34);
    rig.cluster.cut_off("node-1", rig.now);
    rig.secs(20);
    rig.cluster.node_back("node-1", rig.now);
    rig.secs(600);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Running c:running"));
    assert!(rig.pod("p").expect("there").status.is_ready() && node(&rig).taints.is_empty());
}

#[test]
fn a_node_that_is_cut_off_runs_on_and_ready_comes_back_with_it() {
    let mut rig = two_nodes(34);
    rig.cluster.cut_off("node-1", rig.now);
    rig.secs(120);
    assert!(!rig.pod("p").expect("there").status.is_ready());
    assert!(!rig.effect_names().contains(&"forget"));
    rig.cluster.node_back("node-1", rig.now);
    rig.secs(5);
    assert!(rig.pod("p").expect("there").status.is_ready());
}

#[test]
fn a_node_that_vanishes_takes_its_pods_along_or_leaves_them_to_pod_gc() {
    let mut rig = two_nodes(34);
    rig.cluster.vanish("node-1", Vanish::PodsAtOnce, rig.now);
    assert!(rig.pod("p").is_none());
    // PodGC looks once, and finds nothing.
    rig.secs(65);
    assert_eq!(rig.next(), Time::NEVER);

    let mut rig = two_nodes(34);
    rig.cluster.vanish("node-1", Vanish::PodsByPodGc, rig.now);
    let gone = wait(&mut rig, |r| r.pod("p").is_none());
    assert!((40.0..=61.0).contains(&gone), "{gone}");
    assert_eq!(rig.life("p")[3..], ["Failed c:running", "gone"]);
    assert_eq!(rig.next(), Time::NEVER);
}

#[test]
fn a_rebooted_node_starts_again_what_may_start_again() {
    let mut rig = Rig::new(ClusterSettings::default());
    rig.behave("init", |b| b.exits = Some((secs(1), 0)));
    rig.create(pod("p", &["c"], |s| {
        s.restart_policy = "Always".into();
        s.init_containers = vec![container("init")];
    }));
    rig.secs(5);
    rig.cluster.power_off("node-1", rig.now);
    rig.secs(20);
    rig.forgotten.clear();
    rig.cluster.node_back("node-1", rig.now);
    rig.secs(10);
    let p = rig.pod("p").expect("there");
    assert_eq!(rig::describe(p), "Running init:Completed(0) c:running");
    assert_eq!(p.status.container("c").map(|c| c.restart_count), Some(1));
}

#[test]
fn a_drain_evicts_through_the_api() {
    let mut rig = two_nodes(34);
    rig.cluster.drain("node-1", Some(secs(7)), rig.now);
    let p = rig.pod("p").expect("still there").clone();
    assert_eq!(p.metadata.deletion_grace_period_seconds, Some(7));
    assert_eq!(p.status.condition(PodConditionType::DisruptionTarget), Some(true));
    rig.secs(10);
    assert!(rig.pod("p").is_none() && node(&rig).unschedulable);
    rig.cluster.cordon("node-1", false, rig.now);
    assert!(!node(&rig).unschedulable);
}

#[test]
fn a_shut_down_ends_pods_in_order() {
    let mut rig = two_nodes(34);
    rig.cluster.shut_down("node-1", rig.now);
    rig.secs(5);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Failed(Terminated) c:Error(143)"));
    let p = rig.pod("p").expect("the object stays");
    assert_eq!(p.status.message, "Pod was terminated in response to imminent node shutdown.");
}

#[test]
fn thirty_idle_days_are_no_event_at_all() {
    let mut rig = rig();
    rig.create(deployment(1, "v1"));
    rig.create(pod("p", &["c"], |s| {
        s.containers[0].liveness_probe = Some(arc_api::pod::Probe {
            exec: Some(arc_api::pod::ExecAction { command: vec!["true".into()], rest: None }),
            ..Default::default()
        });
    }));
    rig.secs(30);
    assert_eq!(rig.next(), Time::NEVER);
}
