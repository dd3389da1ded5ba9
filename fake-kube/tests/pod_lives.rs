//! Whole lives of pods, from creation to the last DELETE, as watchers see them.

#[path = "parts/pod_troubles.rs"]
mod pod_troubles;
mod rig;

use std::sync::Arc;

use arc_api::core::{ConfigMap, Secret};
use arc_api::kube::DeleteOptions;
use arc_api::meta::labels;
use arc_api::pod::{
    EnvSource, EnvVar, ExecAction, Handler, KeyRef, Lifecycle, PodConditionType, Probe, Resources, SecretVolume,
    SleepAction, Volume,
};
use arc_api::{Duration, Kind, Meta, Str, Time};
use fake_kube::cluster::{AdmissionRule, ClusterSettings, NodeSettings, PodScope, StartFailure};
use rig::{Rig, container, pod, sidecar};

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}
fn rig() -> Rig {
    Rig::new(ClusterSettings::default())
}
fn version(minor: u32) -> Rig {
    Rig::new(ClusterSettings::version(minor))
}
fn plain() -> DeleteOptions {
    DeleteOptions::default()
}
#[track_caller]
fn delete(rig: &mut Rig, name: &str, grace: Option<i64>) {
    let options = DeleteOptions { grace_period_seconds: grace, ..plain() };
    rig.delete(Kind::Pod, "default", name, options).expect("deleted");
}
fn startup(period: i64, threshold: i64) -> Option<Probe> {
    let exec = Some(ExecAction { command: vec!["docker".into(), "info".into()], rest: None });
    Some(Probe { exec, period_seconds: Some(period), failure_threshold: Some(threshold), ..Probe::default() })
}
fn pre_stop(sleep: Option<i64>) -> Option<Lifecycle> {
    let handler = match sleep {
        Some(seconds) => Handler { sleep: Some(SleepAction { seconds }), ..Handler::default() },
        None => Handler { exec: Some(ExecAction::default()), ..Handler::default() },
    };
    Some(Lifecycle { pre_stop: Some(handler), ..Lifecycle::default() })
}

/// Milliseconds between effects that begin so.
fn gaps(rig: &Rig, effect: &str) -> Vec<u64> {
    let times: Vec<u64> = rig.effects.iter().filter(|(_, e)| e.starts_with(effect)).map(|(t, _)| t.0 / 1000).collect();
    times.windows(2).map(|w| w[1] - w[0]).collect()
}

#[test]
fn a_runner_lives_as_recorded() {
    // golden/arc/a_basic/0.14.2: Pending creating, Running, Succeeded; then ARC deletes the finished pod.
    let mut rig = rig();
    rig.behave("runner", |b| b.exits = Some((secs(3), 0)));
    rig.create(pod("p", &["runner"], |_| {}));
    rig.secs(10);
    let p = rig.pod("p").expect("still there");
    let initialized = p.status.conditions.iter().find(|c| c.type_ == PodConditionType::Initialized).expect("there");
    assert_eq!((initialized.status, initialized.reason.as_str()), (true, "PodCompleted"));
    delete(&mut rig, "p", None);
    rig.secs(1);
    assert_eq!(
        rig.life("p"),
        [
            "Pending",
            "Pending runner:ContainerCreating",
            "Running runner:running",
            "Succeeded runner:Completed(0)",
            "gone"
        ]
    );
    assert_eq!(rig.next(), Time::NEVER);
}

#[test]
fn an_idle_runner_that_is_deleted_lives_as_recorded() {
    // golden/arc/a_basic/0.14.2, runner <suffix-7>: DELETE, SIGTERM, exit 0 0.2 s later, Succeeded, DELETE 0.3 s later.
    let mut rig = rig();
    rig.behave("runner", |b| b.on_term = Some((Duration::from_millis(200), 0)));
    rig.create(pod("p", &["runner"], |_| {}));
    rig.secs(5);
    let at = rig.now;
    delete(&mut rig, "p", None);
    rig.secs(5);
    assert_eq!(rig.life("p")[2..], ["Running runner:running", "Succeeded runner:Completed(0)", "gone"]);
    assert_eq!(rig.effect_at("Term runner"), Some(at.after(Duration::from_millis(50))));
    assert_eq!(rig.next(), Time::NEVER);
}

#[test]
fn a_listener_that_is_killed_fails_and_goes_at_once() {
    // golden/arc/c_session_conflict/0.14.2 at 23.8 s: exit 137, Failed, DELETE, the name is free at once.
    let mut rig = rig();
    rig.behave("listener", |b| b.exits = Some((secs(11), 137)));
    rig.create(pod("l", &["listener"], |_| {}));
    rig.secs(20);
    delete(&mut rig, "l", None);
    rig.create(pod("l", &["listener"], |_| {}));
    assert_eq!(
        rig.life("l"),
        [
            "Pending",
            "Pending listener:ContainerCreating",
            "Running listener:running",
            "Failed listener:Error(137)",
            "gone",
            "Pending"
        ]
    );
}

#[test]
fn a_deaf_process_is_killed_at_the_end_of_its_grace() {
    let mut rig = rig();
    rig.behave("c", |b| b.on_term = None);
    rig.create(pod("p", &["c"], |_| {}));
    rig.secs(5);
    let at = rig.now.after(Duration::from_millis(50));
    delete(&mut rig, "p", None);
    rig.secs(60);
    assert_eq!(rig.effect_at("Term c"), Some(at));
    assert_eq!(rig.effect_at("Kill c"), Some(at.after(secs(30))));
    assert_eq!(rig.life("p")[3..], ["Failed c:Error(137)", "gone"]);
}

#[test]
fn a_shorter_grace_cuts_a_longer_one() {
    let mut rig = rig();
    rig.behave("c", |b| b.on_term = None);
    rig.create(pod("p", &["c"], |_| {}));
    rig.secs(5);
    delete(&mut rig, "p", None);
    rig.secs(2);
    delete(&mut rig, "p", Some(3));
    let at = rig.now.after(Duration::from_millis(50));
    rig.secs(20);
    assert_eq!(rig.effect_at("Kill c"), Some(at.after(secs(3))));
    assert!(rig.pod("p").is_none());
}

#[test]
fn a_pod_that_is_forced_away_leaves_its_process_behind_for_seconds() {
    let mut rig = rig();
    rig.behave("c", |b| b.on_term = None);
    rig.create(pod("p", &["c"], |_| {}));
    rig.secs(5);
    delete(&mut rig, "p", Some(0));
    assert!(rig.pod("p").is_none());
    let at = rig.now.after(Duration::from_millis(50));
    rig.secs(20);
    assert_eq!((rig.effect_at("Term c"), rig.effect_at("Kill c")), (Some(at), Some(at.after(secs(2)))));
    assert_eq!(rig.effect_names().last(), Some(&"forget"));
    assert_eq!(rig.cluster.worker(arc_api::Uid(1)), None);
    assert_eq!(rig.next(), Time::NEVER);
}

#[test]
fn a_pod_that_is_forced_away_as_its_kubelet_is_about_to_delete_it_is_gone_once() {
    // Its container ends a second after SIGTERM; the final DELETE falls due before the kubelet hears that the pod is gone.
    for ms in (1_000..1_600).step_by(5) {
        let mut rig = rig();
        rig.behave("c", |b| b.on_term = Some((secs(1), 0)));
        rig.create(pod("p", &["c"], |_| {}));
        rig.secs(5);
        delete(&mut rig, "p", None);
        rig.run_for(Duration::from_millis(ms));
        let _ = rig.delete(
            Kind::Pod,
            "default",
            "p",
            DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() },
        );
        rig.secs(20);
        assert!(rig.pod("p").is_none());
        assert_eq!(rig.next(), Time::NEVER, "after {ms} ms");
    }
}

#[test]
fn before_1_27_a_deleted_pod_keeps_its_phase() {
    for (minor, last) in [(26, "Running c:Completed(0)"), (27, "Succeeded c:Completed(0)")] {
        let mut rig = version(minor);
        rig.behave("c", |b| b.on_term = Some((secs(1), 0)));
        rig.create(pod("p", &["c"], |s| s.restart_policy = "Always".into()));
        rig.secs(5);
        delete(&mut rig, "p", None);
        rig.secs(5);
        let life = rig.life("p");
        assert_eq!(life[life.len() - 2..], [last, "gone"], "1.{minor}");
    }
}

#[test]
fn a_pod_deleted_before_it_ran_ends_failed() {
    let mut rig = rig();
    rig.volumes = None;
    rig.create(pod("p", &["c"], |_| {}));
    rig.secs(1);
    delete(&mut rig, "p", None);
    rig.secs(1);
    assert_eq!(rig.life("p")[1..], ["Pending c:ContainerCreating", "Failed c:ContainerCreating", "gone"]);
}

fn dind(rig: &mut Rig, ready_after: Option<Duration>) {
    rig.behave("dind", |b| b.healthy_after = ready_after);
    rig.create(pod("p", &["runner"], |s| {
        let mut dind = sidecar("dind");
        dind.startup_probe = startup(5, 24);
        s.init_containers = vec![container("externals"), dind];
    }));
}

#[test]
fn the_runner_starts_when_dind_has_passed_its_probe() {
    let mut rig = rig();
    rig.behave("externals", |b| b.exits = Some((secs(1), 0)));
    rig.behave("runner", |b| b.exits = Some((secs(60), 0)));
    dind(&mut rig, Some(secs(17)));
    rig.secs(300);
    assert_eq!(
        rig.life("p"),
        [
            "Pending",
            "Pending externals:PodInitializing dind:PodInitializing runner:PodInitializing",
            "Pending externals:running dind:PodInitializing runner:PodInitializing",
            "Pending externals:Completed(0) dind:PodInitializing runner:PodInitializing",
            "Pending externals:Completed(0) dind:starting runner:PodInitializing",
            "Pending externals:Completed(0) dind:running runner:PodInitializing",
            "Running externals:Completed(0) dind:running runner:running",
            // The terminal phase is held back until the sidecar is gone.
            "Running externals:Completed(0) dind:running runner:Completed(0)",
            "Succeeded externals:Completed(0) dind:Error(143) runner:Completed(0)",
        ]
    );
    // Probes at 0, 5, 10, 15, 20 s after dind's start: it was ready at 17.
    let started = |name| rig.effect_at(name).expect("happened");
    assert_eq!(started("start runner 0").since(started("start dind 0")), Duration::from_millis(20_400));
    assert_eq!(rig.next(), Time::NEVER);
}

#[test]
fn a_dind_that_is_never_ready_is_restarted_and_the_runner_never_starts() {
    let mut rig = rig();
    rig.behave("externals", |b| b.exits = Some((secs(1), 0)));
    dind(&mut rig, None);
    rig.secs(3_600);
    assert!(!rig.effect_names().contains(&"start runner 0"));
    // 115 s of probing, 0.2 s of dying, 0.4 s of starting; back-off 0, 10, 20, 40 …
    assert_eq!(gaps(&rig, "start dind")[..5], [115_600, 125_600, 135_600, 155_600, 195_600]);
    assert_eq!(rig.pod("p").expect("there").status.phase.as_str(), "Pending");
}

#[test]
fn on_1_28_a_sidecar_blocks_like_any_init_container() {
    let mut rig = version(28);
    rig.behave("externals", |b| b.exits = Some((secs(1), 0)));
    // The server of that version refuses probes on init containers, so the pod comes without.
    rig.create(pod("p", &["runner"], |s| s.init_containers = vec![container("externals"), sidecar("dind")]));
    rig.secs(86_400);
    assert_eq!(
        rig.life("p").last().map(String::as_str),
        Some("Pending externals:Completed(0) dind:starting runner:PodInitializing")
            .map(|s| s.replace("starting", "running"))
            .as_deref()
    );
    assert!(!rig.effect_names().contains(&"start runner 0"));
    assert_eq!(rig.next(), Time::NEVER);
}

#[test]
fn a_dead_sidecar_is_restarted_under_a_running_main_container() {
    let mut rig = rig();
    rig.behave("dind", |b| b.exits = Some((secs(30), 137)));
    rig.create(pod("p", &["runner"], |s| s.init_containers = vec![sidecar("dind")]));
    rig.secs(45);
    let p = rig.pod("p").expect("there");
    assert_eq!(p.status.init_container_statuses[0].restart_count, 1);
    assert_eq!(p.status.init_container_statuses[0].last_terminated.as_ref().map(|t| t.exit_code), Some(137));
    assert_eq!(p.status.phase.as_str(), "Running");
    assert_eq!(p.status.container("runner").map(|c| c.restart_count), Some(0));
}

#[test]
fn sidecars_are_stopped_last_and_in_reverse() {
    let mut rig = rig();
    for name in ["one", "two", "main"] {
        rig.behave(name, |b| b.on_term = Some((secs(3), 0)));
    }
    rig.create(pod("p", &["main"], |s| s.init_containers = vec![sidecar("one"), sidecar("two")]));
    rig.secs(5);
    let at = rig.now.after(Duration::from_millis(50));
    delete(&mut rig, "p", None);
    rig.secs(30);
    let after = |name| rig.effect_at(name).expect("sent").since(at).as_secs();
    assert_eq!((after("Term main"), after("Term two"), after("Term one")), (0, 3, 6));
}

#[test]
fn a_sidecar_gets_two_seconds_when_the_others_used_up_the_grace() {
    let mut rig = rig();
    rig.behave("main", |b| b.on_term = None);
    rig.behave("dind", |b| b.on_term = None);
    rig.create(pod("p", &["main"], |s| {
        s.init_containers = vec![sidecar("dind")];
        s.termination_grace_period_seconds = Some(10);
    }));
    rig.secs(5);
    let at = rig.now.after(Duration::from_millis(50));
    delete(&mut rig, "p", None);
    rig.secs(30);
    let after = |name| rig.effect_at(name).expect("sent").since(at).as_secs();
    assert_eq!((after("Term main"), after("Kill main"), after("Term dind"), after("Kill dind")), (0, 10, 10, 12));
    assert!(rig.pod("p").is_none());
}

#[test]
fn hooks_run_first_and_are_cut_off_by_the_grace() {
    for (hook, term, kill) in [(4, 4, 10), (60, 10, 12)] {
        let mut rig = rig();
        rig.behave("c", |b| (b.hook, b.on_term) = (secs(hook), None));
        rig.create(pod("p", &["c"], |s| {
            s.containers[0].lifecycle = pre_stop(None);
            s.termination_grace_period_seconds = Some(10);
        }));
        rig.secs(5);
        let at = rig.now.after(Duration::from_millis(50));
        delete(&mut rig, "p", None);
        rig.secs(100);
        let after = |name| rig.effect_at(name).expect("sent").since(at).as_secs();
        assert_eq!((after("PreStop c"), after("Term c"), after("Kill c")), (0, term, kill));
    }
}

#[test]
fn drain_takes_dind_from_under_the_job_unless_a_hook_holds_it() {
    // field-bugs.md seed-dind-socket-not-ready, variant B: two ordinary containers; dind ends on SIGTERM at once, the runner
    // uses its grace. A preStop hook on dind that waits for the worker is the users' remedy.
    for (hook, dind_first) in [(None, true), (Some(20), false)] {
        let mut rig = Rig::new(ClusterSettings::default().with_nodes(2));
        rig.behave("dind", |b| b.on_term = Some((Duration::from_millis(100), 0)));
        rig.behave("runner", |b| b.on_term = Some((secs(15), 143)));
        rig.create(pod("p", &["runner", "dind"], |s| s.containers[1].lifecycle = hook.and_then(|h| pre_stop(Some(h)))));
        rig.secs(5);
        let node = rig.pod("p").and_then(|p| p.node_name.clone()).expect("bound");
        rig.cluster.drain(&node, None, rig.now);
        rig.secs(60);
        let life = rig.life("p");
        let dind_gone_while_runner_runs = life.iter().any(|l| l == "Running runner:running dind:Completed(0)");
        assert_eq!(dind_gone_while_runner_runs, dind_first, "{life:?}");
        assert_eq!(life[life.len() - 2..], ["Failed runner:Error(143) dind:Completed(0)", "gone"]);
        // The node takes nothing any more.
        rig.create(pod("q", &["runner"], |_| {}));
        rig.secs(2);
        assert_ne!(rig.pod("q").and_then(|p| p.node_name.clone()), Some(node));
    }
}

#[test]
fn a_failed_init_container_fails_the_pod_or_is_tried_again() {
    let mut rig = rig();
    rig.behave("init", |b| b.exits = Some((secs(1), 3)));
    rig.create(pod("p", &["c"], |s| s.init_containers = vec![container("init")]));
    rig.create(pod("q", &["c"], |s| {
        s.init_containers = vec![container("init")];
        s.restart_policy = "OnFailure".into();
    }));
    rig.secs(40);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Failed init:Error(3) c:PodInitializing"));
    assert!(rig.life("q").contains(&"Pending init:CrashLoopBackOff c:PodInitializing".to_owned()));
    assert_eq!(rig.pod("q").expect("there").status.init_container_statuses[0].restart_count, 3);
}

#[test]
fn crash_loop_backs_off_and_says_so() {
    let mut rig = rig();
    rig.behave("c", |b| b.exits = Some((secs(1), 1)));
    rig.create(pod("p", &["c"], |s| s.restart_policy = "Always".into()));
    rig.secs(20);
    let p = rig.pod("p").expect("there");
    let uid = p.metadata.uid;
    let arc_api::pod::ContainerState::Waiting { reason, message } = &p.status.container_statuses[0].state else {
        panic!("{:?}", p.status)
    };
    assert_eq!(reason, "CrashLoopBackOff");
    assert_eq!(*message, format!("back-off 20s restarting failed container=c pod=p_default({uid})"));
    assert_eq!(p.status.phase.as_str(), "Running");
    assert_eq!(p.status.container_statuses[0].last_terminated.as_ref().map(|t| t.exit_code), Some(1));
}

#[test]
fn a_missing_key_heals_at_a_sync_after_it_appears_and_costs_nothing_before() {
    let mut rig = rig();
    rig.create(pod("p", &["c"], |s| {
        let wanted = KeyRef { name: "s".into(), key: "k".into(), optional: false };
        let source = EnvSource { secret_key_ref: Some(wanted), ..EnvSource::default() };
        s.containers[0].env = vec![EnvVar { name: "K".into(), value: None, value_from: Some(source) }];
    }));
    rig.secs(5);
    let message = |rig: &Rig| match &rig.pod("p").expect("there").status.container_statuses[0].state {
        arc_api::pod::ContainerState::Waiting { reason, message } => format!("{reason}: {message}"),
        other => format!("{other:?}"),
    };
    assert_eq!(message(&rig), "CreateContainerConfigError: secret \"s\" not found");
    assert_eq!(rig.next(), Time::NEVER);
    let secret = |key: &str| Secret {
        metadata: Meta::named("default", "s"),
        data: Arc::new([(Str::from(key), "v".into())].into()),
        ..Secret::default()
    };
    rig.create(secret("other"));
    rig.secs(12);
    assert_eq!(message(&rig), "CreateContainerConfigError: couldn't find key k in Secret default/s");
    rig.delete(Kind::Secret, "default", "s", plain()).expect("deleted");
    rig.secs(12);
    assert_eq!(message(&rig), "CreateContainerConfigError: secret \"s\" not found");
    rig.create(secret("k"));
    rig.secs(12);
    assert_eq!(rig.pod("p").expect("there").status.phase.as_str(), "Running");
}

#[test]
fn a_missing_volume_holds_the_pod_until_it_appears() {
    let mut rig = rig();
    rig.create(pod("p", &["c"], |s| {
        let secret = SecretVolume { secret_name: "s".into(), optional: false };
        let map = arc_api::pod::LocalRef { name: "m".into() };
        s.volumes = vec![
            Volume { name: "a".into(), secret: Some(secret), ..Volume::default() },
            Volume { name: "b".into(), config_map: Some(map), ..Volume::default() },
        ];
    }));
    rig.secs(60);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Pending c:ContainerCreating"));
    let event = rig.cluster.api().iter(Kind::Event).next().and_then(|o| o.get::<arc_api::core::Event>()).cloned();
    assert_eq!(event.map(|e| e.reason.clone()).as_deref(), Some("FailedMount"));
    rig.create(Secret { metadata: Meta::named("default", "s"), ..Secret::default() });
    rig.secs(200);
    rig.create(ConfigMap { metadata: Meta::named("default", "m"), ..ConfigMap::default() });
    rig.secs(130);
    assert_eq!(rig.pod("p").expect("there").status.phase.as_str(), "Running");
}

#[test]
fn images_that_cannot_be_pulled_are_tried_for_ever() {
    let mut rig = rig();
    rig.behave("c", |b| b.fails = Some(StartFailure::ImagePull));
    rig.create(pod("p", &["c"], |_| {}));
    rig.secs(3_600);
    let life = rig.life("p");
    assert!(life.contains(&"Pending c:ErrImagePull".into()) && life.contains(&"Pending c:ImagePullBackOff".into()));
    // 0.4 s of trying each.
    assert_eq!(gaps(&rig, "start c 0")[..7], [10_400, 20_400, 40_400, 80_400, 160_400, 300_400, 300_400]);
    rig.behave("c", |b| b.fails = None);
    rig.secs(400);
    assert_eq!(rig.pod("p").expect("there").status.phase.as_str(), "Running");
}

#[test]
fn a_bad_command_ends_the_pod() {
    let mut rig = rig();
    rig.behave("init", |b| b.fails = Some(StartFailure::StartError(128, "exec: no such file".into())));
    rig.create(pod("p", &["c"], |s| s.init_containers = vec![container("init")]));
    rig.secs(5);
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Failed init:StartError(128) c:PodInitializing"));
}

#[test]
fn liveness_kills_and_policy_decides() {
    for (policy, last) in [("Never", "Failed c:Error(143)"), ("Always", "Running c:running")] {
        let mut rig = rig();
        rig.create(pod("p", &["c"], |s| {
            s.restart_policy = policy.into();
            s.containers[0].liveness_probe = startup(5, 2);
        }));
        rig.secs(5);
        let uid = rig.uid("p");
        rig.cluster.set_healthy(uid, "c", false, rig.now);
        rig.secs(15);
        rig.cluster.set_healthy(uid, "c", true, rig.now);
        rig.secs(15);
        assert_eq!(rig.life("p").last().map(String::as_str), Some(last));
        assert_eq!(rig.next(), Time::NEVER);
    }
}

#[test]
fn readiness_is_a_condition_of_the_pod() {
    let mut rig = rig();
    rig.create(pod("p", &["c"], |s| s.containers[0].readiness_probe = startup(5, 1)));
    rig.secs(5);
    let ready = |rig: &Rig| rig.pod("p").expect("there").status.is_ready();
    assert!(ready(&rig));
    let uid = rig.uid("p");
    rig.cluster.set_healthy(uid, "c", false, rig.now);
    rig.secs(6);
    assert!(!ready(&rig));
    let p = rig.pod("p").expect("there");
    let why = p.status.conditions.iter().find(|c| c.type_ == PodConditionType::Ready).expect("there");
    assert_eq!(
        (why.reason.as_str(), why.message.as_str()),
        ("ContainersNotReady", "containers with unready status: [c]")
    );
    rig.cluster.set_healthy(uid, "c", true, rig.now);
    rig.secs(6);
    assert!(ready(&rig));
}

#[test]
fn a_post_start_hook_holds_back_the_next_container() {
    let mut rig = rig();
    rig.behave("dind", |b| b.hook = secs(7));
    rig.create(pod("p", &["dind", "runner"], |s| {
        let hook = Handler { exec: Some(ExecAction::default()), ..Handler::default() };
        s.containers[0].lifecycle = Some(Lifecycle { post_start: Some(hook), ..Lifecycle::default() });
    }));
    rig.secs(20);
    let at = |name| rig.effect_at(name).expect("happened");
    assert_eq!(at("start runner 0").since(at("PostStart dind")), secs(7));
    assert_eq!(rig.life("p").last().map(String::as_str), Some("Running dind:running runner:running"));
}
