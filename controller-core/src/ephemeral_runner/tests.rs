//! The runner reconciler against recorded histories, its reference traces, and crashes at every step.

use super::*;
use crate::release::Release;
use crate::test_world::{NS, World, exited, running, waiting};
use arc_api::core::Secret;
use arc_api::crd::FailureMark;
use arc_api::kube::{Reason, Status};
use arc_api::meta::labels;
use arc_api::pod::{ContainerState, ContainerStatus, PodPhase};
use arc_api::{Meta, OwnerRef, ScaleSetId};
use std::sync::Arc;

const F1_F2: &str = r#"patch ephemeralrunners {"metadata":{"finalizers":["ephemeralrunner.actions.github.com/finalizer","ephemeralrunner.actions.github.com/runner-registration-finalizer"]}}"#;
const F2_F1: &str = r#"patch ephemeralrunners {"metadata":{"finalizers":["ephemeralrunner.actions.github.com/runner-registration-finalizer","ephemeralrunner.actions.github.com/finalizer"]}}"#;
const ONLY_F1: &str =
    r#"patch ephemeralrunners {"metadata":{"finalizers":["ephemeralrunner.actions.github.com/finalizer"]}}"#;
const ONLY_F2: &str = r#"patch ephemeralrunners {"metadata":{"finalizers":["ephemeralrunner.actions.github.com/runner-registration-finalizer"]}}"#;
const NONE: &str = r#"patch ephemeralrunners {"metadata":{"finalizers":null}}"#;
const JIT_STATUS: &str =
    r#"patch ephemeralrunners/status {"status":{"runnerId":5,"runnerJITConfig":"<token>","runnerName":"r"}}"#;
const ID_STATUS: &str = r#"patch ephemeralrunners/status {"status":{"runnerId":5,"runnerName":"r"}}"#;
const PENDING: &str = r#"patch ephemeralrunners/status {"status":{"phase":"Pending"}}"#;
const RUNNING: &str = r#"patch ephemeralrunners/status {"status":{"phase":"Running","ready":true}}"#;
const SUCCEEDED: &str = r#"patch ephemeralrunners/status {"status":{"phase":"Succeeded"}}"#;

/// A stored runner without finalizers.
pub(super) fn bare(world: &mut World, name: &str) {
    world.add_runner(name, ErPhase::Empty, None);
    world.update::<EphemeralRunner>(name, |r| r.metadata.finalizers = [].into());
    world.sync();
}

/// Passes until one ends without having changed anything: every own write is an event, a requeue is another pass.
#[track_caller]
pub(super) fn settle(world: &mut World, name: &str) -> Outcome {
    for _ in 0..40 {
        let before = world.objects.clone();
        let outcome = world.run(name);
        if outcome != Outcome::Requeue && world.objects == before {
            return outcome;
        }
    }
    panic!("{name} does not settle: {:#?}", world.trace)
}

#[track_caller]
fn check_trace(world: &mut World, expect: &[&str]) {
    let trace = world.take_trace();
    assert_eq!(trace, expect, "\n{trace:#?}");
}

fn is_gone(world: &World, name: &str) -> bool {
    world.get::<EphemeralRunner>(name).is_none_or(|r| r.metadata.is_deleting())
}

fn delete(world: &mut World, name: &str) {
    let now = world.now;
    world.update::<EphemeralRunner>(name, |r| r.metadata.deletion_timestamp = Some(now));
    world.sync();
}

/// A runner with a running pod.
pub(super) fn up(release: Release) -> World {
    let mut w = World::new(release);
    bring_up(&mut w);
    w
}

fn bring_up(w: &mut World) {
    bare(w, "r");
    settle(w, "r");
    w.kubelet("r", waiting("ContainerCreating"));
    settle(w, "r");
    w.kubelet("r", running(w.now));
    settle(w, "r");
}

/// A runner's ordinary life: pod, job, exit 0; its set deletes it if it is left.
pub(super) fn ordinary_life(w: &mut World) {
    bring_up(w);
    w.job_started("r");
    settle(w, "r");
    // The service forgets the registration with its job.
    w.registered.clear();
    w.kubelet("r", exited(0));
    settle(w, "r");
    if !is_gone(w, "r") {
        assert_eq!(w.runner("r").status.phase, ErPhase::Succeeded);
        delete(w, "r");
        settle(w, "r");
    }
    assert_eq!(w.get::<EphemeralRunner>("r"), None);
    assert_eq!((w.get::<Pod>("r"), w.get::<Secret>("r")), (None, None));
}

/// Reads of the secret while the pod starts, reports and takes a job.
const STARTING: [&str; 9] = [
    "get secrets",
    "get secrets",
    PENDING,
    "get secrets",
    "get secrets",
    RUNNING,
    "get secrets",
    "get secrets",
    "get secrets",
];

#[test]
fn recorded_history_of_a_runner_0_8_3() {
    let mut w = World::new(Release::V0_8_3);
    ordinary_life(&mut w);
    let born =
        [ONLY_F2, F2_F1, "get secrets gh", "E14 200", JIT_STATUS, "get secrets 404", "create secrets", "get secrets"];
    let end = ["get secrets gh", "E15 404", SUCCEEDED, ONLY_F1, "delete pods", "get secrets", "delete secrets"];
    let gone = ["get secrets 404", "list secrets", NONE];
    check_trace(&mut w, &[&born[..], &["create pods"], &STARTING, &end, &gone].concat());
}

#[test]
fn recorded_history_of_a_runner_0_9_1() {
    let mut w = World::new(Release::V0_9_1);
    ordinary_life(&mut w);
    let born =
        [ONLY_F2, F2_F1, "get secrets gh", "E14 200", JIT_STATUS, "get secrets 404", "create secrets", "get secrets"];
    let end =
        ["get secrets gh", "E15 404", SUCCEEDED, "delete pods", "get secrets", "delete secrets", "get secrets 404"];
    let gone = [ONLY_F1, "get secrets 404", "list secrets", NONE];
    check_trace(&mut w, &[&born[..], &["create pods"], &STARTING, &end, &gone].concat());
}

#[test]
fn recorded_history_of_a_runner_0_12_1() {
    let mut w = World::new(Release::V0_12_1);
    ordinary_life(&mut w);
    let born =
        [ONLY_F1, F1_F2, "get secrets gh", "E14 200", JIT_STATUS, "get secrets 404", "create secrets", "get secrets"];
    let end = [SUCCEEDED, "delete pods", "get secrets", "delete secrets", "get secrets 404"];
    let gone = ["get secrets gh", "E17 200", ONLY_F1, "get secrets 404", NONE];
    check_trace(&mut w, &[&born[..], &["create pods"], &STARTING, &end, &gone].concat());
}

#[test]
fn recorded_history_of_a_runner_0_14_2() {
    let mut w = World::new(Release::V0_14_2);
    ordinary_life(&mut w);
    let born = [F1_F2, "get secrets 404", "get secrets gh", "E14 200", "create secrets", ID_STATUS, "create pods"];
    let end = ["delete ephemeralrunners", "get secrets gh", "E17 200", ONLY_F1, "delete pods", "get secrets"];
    check_trace(&mut w, &[&born[..], &STARTING, &end, &["delete secrets", NONE]].concat());
}

#[test]
fn a_trailing_pass_on_a_stale_copy_reads_the_secret_and_ignores_the_404() {
    let mut w = up(Release::V0_14_2);
    delete(&mut w, "r");
    let stale = w.clone();
    settle(&mut w, "r");
    w.caches = stale.caches.clone();
    w.caches.of_mut(Kind::Pod).remove(&Key::new(NS, "r"));
    let mut last = (*stale.runner("r")).clone();
    last.metadata.finalizers = [FINALIZER.into()].into();
    w.caches.of_mut(Kind::EphemeralRunner).insert(last.into());
    w.take_trace();
    assert_eq!(w.run("r"), Outcome::Settled);
    check_trace(&mut w, &["get secrets 404", r#"patch ephemeralrunners 404 {"metadata":{"finalizers":null}}"#]);
}

/// Every pod of the runner ends with 1, 1 s after it was made. Gives the seconds at which pods were made after the first.
fn fail_for_ever(w: &mut World) -> Vec<u64> {
    bare(w, "r");
    settle(w, "r");
    let first = w.now;
    let mut made = vec![];
    for _ in 0..20 {
        if is_gone(w, "r") || w.runner("r").status.phase == ErPhase::Failed {
            break;
        }
        w.wait(1);
        w.kubelet("r", exited(1));
        match settle(w, "r") {
            Outcome::After(wait) => w.now = w.now.after(wait),
            Outcome::Settled => {}
            other => panic!("{other:?}"),
        }
        if is_gone(w, "r") || w.runner("r").status.phase == ErPhase::Failed {
            break;
        }
        settle(w, "r");
        if w.get::<Pod>("r").is_none() {
            break;
        }
        made.push(w.now.since(first).as_secs());
    }
    made
}

#[test]
fn six_failures_take_155_seconds_and_then_the_runner_goes() {
    for release in [Release::V0_12_1, Release::V0_14_2] {
        let mut w = World::new(release);
        // Each pod lives a second: 1+5, 1+10, 1+20, 1+40, 1+80 s after the one before.
        assert_eq!(fail_for_ever(&mut w), [6, 17, 38, 79, 160], "{release}");
        assert_eq!(w.get::<EphemeralRunner>("r"), None, "{release}");
        assert!(w.registered.is_empty());
    }
}

#[test]
fn up_to_0_11_0_six_pods_follow_each_other_and_the_runner_stays_failed() {
    let mut w = World::new(Release::V0_11_0);
    assert_eq!(fail_for_ever(&mut w), [1, 2, 3, 4, 5]);
    let r = w.runner("r");
    assert_eq!((r.status.phase, r.status.reason.as_str()), (ErPhase::Failed, "TooManyPodFailures"));
    assert_eq!(r.status.message, "Pod has failed to start more than 5 times: ");
    assert!(r.status.failures.iter().flat_map(|f| f.values()).all(|m| *m == FailureMark::Happened(true)));
    assert!(w.registered.is_empty() && w.get::<Secret>("r").is_none());
}

#[test]
fn a_runner_that_failed_once_is_dead_in_0_12_0() {
    let mut w = World::new(Release::V0_12_0);
    bare(&mut w, "r");
    settle(&mut w, "r");
    w.kubelet("r", exited(1));
    assert_eq!(settle(&mut w, "r"), Outcome::Settled);
    assert!(w.get::<Pod>("r").is_none(), "no pod, no wake-up");
    // Only an event after the window revives it.
    w.wait(6);
    settle(&mut w, "r");
    assert!(w.get::<Pod>("r").is_some());
}

/// The pod's DELETE event is handled while the cache still shows the runner without its failure.
fn overtaken(release: Release) -> World {
    let mut w = up(release);
    w.kubelet("r", exited(1));
    let before = w.caches.get::<EphemeralRunner>(&Key::new(NS, "r")).cloned().expect("cached");
    w.run("r");
    w.caches.of_mut(Kind::EphemeralRunner).insert(before.into());
    w.run("r");
    w
}

#[test]
fn a_failure_that_the_cache_does_not_show_yet_skips_its_wait() {
    assert_eq!(overtaken(Release::V0_14_2).pods_made["r"], 2);
}

#[test]
fn the_corrected_controller_removed_the_registration_so_no_stale_copy_starts_a_pod_with_it() {
    let mut w = overtaken(Release::Next);
    assert!(w.pods_made["r"] == 1 || w.registered.len() == 1);
    settle(&mut w, "r");
    assert!(w.registered.len() <= 1, "{:?}", w.registered);
}

#[test]
fn a_deleting_pod_that_failed_refreshes_its_own_entry() {
    let mut w = up(Release::V0_14_2);
    w.kubelet("r", exited(137));
    w.update::<Pod>("r", |p| p.metadata.deletion_timestamp = Some(Time::from_secs(100)));
    w.sync();
    w.take_trace();
    w.run("r");
    assert!(w.take_trace()[1].starts_with(r#"patch ephemeralrunners/status {"status":{"failures":{"#));
    w.wait(6);
    w.run("r");
    assert_eq!(w.runner("r").status.failure_count(), 1);
    assert_eq!(w.runner("r").status.last_failure(), Some(w.now.truncated()));
}

#[test]
fn up_to_0_11_0_the_same_failure_again_is_an_empty_patch() {
    let mut w = up(Release::V0_11_0);
    w.kubelet("r", exited(137));
    w.update::<Pod>("r", |p| p.metadata.deletion_timestamp = Some(Time::from_secs(100)));
    w.sync();
    w.run("r");
    w.take_trace();
    w.run("r");
    check_trace(&mut w, &["get secrets", "patch ephemeralrunners/status {}"]);
}

/// What the end of the runner container with `code` does, with or without a job: the calls after the secret was read.
fn end(release: Release, code: i32, job: bool) -> Vec<String> {
    let mut w = up(release);
    if job {
        w.job_started("r");
        w.registered.clear();
    }
    w.kubelet("r", exited(code));
    w.take_trace();
    w.run("r");
    w.take_trace().split_off(1)
}

#[test]
fn exit_codes_mean_what_each_release_made_of_them() {
    let restart = "delete pods";
    for (release, code, job, first) in [
        (Release::V0_11_0, 0, false, "get secrets gh"),
        (Release::V0_12_1, 0, false, SUCCEEDED),
        (Release::V0_13_0, 0, false, "delete ephemeralrunners"),
        (Release::V0_12_1, 1, true, restart),
        (Release::V0_13_0, 1, true, "delete ephemeralrunners"),
        (Release::V0_13_0, 1, false, restart),
        (Release::V0_13_1, 7, false, restart),
    ] {
        assert_eq!(end(release, code, job)[0], first, "{release} exit {code}, job {job}");
    }
    let outdated = r#"patch ephemeralrunners/status {"status":{"message":"Runner is deprecated","phase":"Outdated","reason":"Outdated"}}"#;
    assert_eq!(end(Release::V0_14_0, 7, true), [outdated, "get secrets gh", "E17 200"]);
    assert_eq!(end(Release::V0_13_0, 137, true), ["delete ephemeralrunners", "get secrets gh", "E17 200"]);
}

#[test]
fn a_runner_still_known_after_exit_0_was_restarted_up_to_0_12_0() {
    let calls = end(Release::V0_11_0, 0, false);
    assert_eq!(calls[..3], ["get secrets gh", "E15 200", "delete pods"]);
}

#[test]
fn a_busy_runner_that_is_deleted_is_asked_again_after_30_seconds() {
    for release in [Release::V0_9_3, Release::V0_14_2, Release::Next] {
        let mut w = up(release);
        w.busy = w.registered.keys().copied().collect();
        delete(&mut w, "r");
        assert_eq!(w.run("r"), Outcome::After(Duration::from_secs(30)), "{release}");
        assert!(w.get::<Pod>("r").is_some());
    }
}

#[test]
fn a_waiting_deletion_takes_one_thing_per_pass() {
    let mut w = up(Release::V0_10_1);
    delete(&mut w, "r");
    w.take_trace();
    assert_eq!(w.run("r"), Outcome::Settled);
    check_trace(&mut w, &["get secrets gh", "E17 200", ONLY_F1]);
    assert_eq!(w.run("r"), Outcome::Requeue);
    check_trace(&mut w, &["delete pods"]);
    assert_eq!(w.run("r"), Outcome::Requeue);
    assert!(w.take_trace().is_empty(), "the pod is terminating");
    w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
    w.sync();
    assert_eq!(w.run("r"), Outcome::Requeue);
    check_trace(&mut w, &["get secrets", "delete secrets"]);
}

fn hook_objects(w: &mut World) {
    let metadata = || Meta { labels: labels([("runner-pod", "r")]), ..Meta::named(NS, "r-workflow") };
    w.put(Pod { metadata: metadata(), ..Pod::default() });
    w.put(Secret { metadata: metadata(), ..Secret::default() });
    w.update::<EphemeralRunner>("r", |r| {
        let spec = Arc::make_mut(&mut r.spec);
        let pod = Arc::make_mut(&mut Arc::make_mut(&mut spec.template).spec);
        pod.containers[0].env.push(arc_api::pod::EnvVar::value("ACTIONS_RUNNER_CONTAINER_HOOKS", "index.js"));
    });
    w.sync();
}

#[test]
fn what_hooks_left_behind_goes_with_the_runner() {
    for (release, pass_waits) in [(Release::V0_10_1, true), (Release::V0_11_0, false), (Release::Next, false)] {
        let mut w = up(release);
        hook_objects(&mut w);
        delete(&mut w, "r");
        let mut waited = false;
        for _ in 0..12 {
            if w.get::<EphemeralRunner>("r").is_none() {
                break;
            }
            waited |= w.run("r") == Outcome::After(Duration::from_secs(5));
            w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
            w.sync();
        }
        assert_eq!(w.get::<EphemeralRunner>("r"), None, "{release}");
        assert_eq!((w.get::<Pod>("r-workflow"), w.get::<Secret>("r-workflow")), (None, None), "{release}");
        assert_eq!(waited, pass_waits, "{release}");
    }
}

#[test]
fn a_runner_without_its_first_finalizer_is_left_terminating() {
    let mut w = up(Release::V0_14_2);
    w.update::<EphemeralRunner>("r", |r| r.metadata.finalizers = [REGISTRATION_FINALIZER.into()].into());
    delete(&mut w, "r");
    w.take_trace();
    assert_eq!(w.run("r"), Outcome::Settled);
    check_trace(&mut w, &[]);
}

pub(super) fn refusal(reason: Reason, text: &str) -> Arc<Status> {
    Arc::new(Status::new(reason, text))
}

/// The first pod is refused; gives the end of the pass.
fn refused(release: Release, reason: Reason, text: &str) -> (World, Outcome) {
    let mut w = World::new(release);
    w.pod_refusal = Some(refusal(reason, text));
    bare(&mut w, "r");
    let outcome = settle(&mut w, "r");
    (w, outcome)
}

#[test]
fn a_refused_pod_fails_the_runner_for_ever_in_every_release_since_0_8_0() {
    for reason in [Reason::Invalid, Reason::Forbidden] {
        let (mut w, outcome) = refused(Release::V0_14_2, reason, "no");
        assert_eq!(outcome, Outcome::Settled);
        let r = w.runner("r");
        assert_eq!((r.status.phase, r.status.reason.as_str()), (ErPhase::Failed, "InvalidPod"));
        assert_eq!(r.status.message, "Failed to create the pod: no");
        assert!(w.registered.is_empty() && w.get::<Secret>("r").is_none());
        w.pod_refusal = None;
        settle(&mut w, "r");
        assert!(w.pods_made.is_empty(), "nothing heals it");
    }
}

#[test]
fn a_refused_pod_was_an_endless_error_in_0_7_0() {
    let mut w = World::new(Release::V0_7_0);
    w.pod_refusal = Some(refusal(Reason::Invalid, "no"));
    bare(&mut w, "r");
    let ends: Vec<Outcome> = (0..6).map(|_| w.run("r")).collect();
    assert_eq!(ends.last(), Some(&Outcome::Error("no".into())));
    assert_eq!(w.runner("r").status.phase, ErPhase::Empty);
}

#[test]
fn a_full_quota_fails_the_runner_up_to_0_13_0_and_waits_30_s_later() {
    let text = "pods \"r\" is forbidden: exceeded quota: few-pods";
    assert_eq!(refused(Release::V0_13_0, Reason::Forbidden, text).0.runner("r").status.phase, ErPhase::Failed);
    let (mut w, outcome) = refused(Release::V0_13_1, Reason::Forbidden, text);
    assert_eq!(outcome, Outcome::After(Duration::from_secs(30)));
    assert_eq!(w.registered.len(), 1);
    w.wait(601);
    settle(&mut w, "r");
    assert!(is_gone(&w, "r"), "after ten minutes it is given up");
}

#[test]
fn the_corrected_controller_waits_for_quota_as_long_as_it_takes_and_says_so() {
    let (mut w, outcome) = refused(Release::Next, Reason::Forbidden, "exceeded quota: few-pods");
    assert!(matches!(outcome, Outcome::After(_)));
    for _ in 0..50 {
        w.wait(30);
        settle(&mut w, "r");
    }
    let r = w.runner("r");
    assert_eq!((r.status.reason.as_str(), r.status.phase, w.registered.len()), (QUOTA_EXCEEDED, ErPhase::Empty, 1));
    w.pod_refusal = None;
    w.wait(30);
    settle(&mut w, "r");
    assert_eq!((w.pods_made["r"], w.runner("r").status.rejections, w.registered.len()), (1, 0, 1));
}

#[test]
fn the_corrected_controller_retries_a_refused_pod_with_growing_waits_and_one_registration() {
    let (mut w, _) = refused(Release::Next, Reason::Invalid, "no such volume");
    let mut waits = vec![];
    let begin = w.now;
    while w.now.since(begin) < Duration::from_secs(1800) {
        match settle(&mut w, "r") {
            Outcome::After(wait) => {
                waits.push(wait.as_secs());
                w.now = w.now.after(wait);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(waits[..7], [5, 10, 20, 40, 80, 160, 300]);
    let r = w.runner("r");
    assert_eq!((r.status.reason.as_str(), r.status.message.as_str()), (POD_REJECTED, "no such volume"));
    assert_eq!(w.registered.len(), 1, "no registration is burnt");
    w.pod_refusal = None;
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 1);
    assert!(w.runner("r").status.conditions.is_empty());
}

#[test]
fn a_pod_that_exists_already_is_an_error_up_to_0_12_1_and_waited_for_later() {
    for (release, end) in [
        (Release::V0_12_1, Outcome::Error("pods \"r\" already exists".into())),
        (Release::V0_13_0, Outcome::After(Duration::from_secs(5))),
        (Release::Next, Outcome::After(Duration::from_secs(5))),
    ] {
        let mut w = World::new(release);
        bare(&mut w, "r");
        w.put(Pod { metadata: Meta::named(NS, "r"), ..Pod::default() });
        for _ in 0..6 {
            // The cache does not show the pod yet.
            w.sync();
            w.caches.of_mut(Kind::Pod).remove(&Key::new(NS, "r"));
            let mut pass = ErPass::new(Key::new(NS, "r"));
            let caches = w.caches.clone();
            let mut reply = None;
            let outcome = loop {
                let settings = w.settings.clone();
                let mut o = Observed { settings: &settings, caches: &caches, now: w.now, reply, log: &mut w.log };
                match pass.step(&mut o) {
                    Decision::End(outcome) => break outcome,
                    Decision::Call(call) => reply = Some(w.execute(&call)),
                }
            };
            if w.get::<Secret>("r").is_some() && w.runner("r").status.runner_id.0 > 0 && outcome != Outcome::Settled {
                if outcome == Outcome::Requeue {
                    continue;
                }
                assert_eq!(outcome, end, "{release}");
                break;
            }
        }
    }
}

#[test]
fn a_pod_of_another_owner_is_a_dead_end_that_only_the_corrected_controller_reports() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut w = World::new(release);
        bare(&mut w, "r");
        w.put(Pod { metadata: Meta::named(NS, "r"), ..Pod::default() });
        w.sync();
        let outcome = settle(&mut w, "r");
        let reason = w.runner("r").status.reason.clone();
        match release {
            Release::Next => {
                assert_eq!((reason.as_str(), outcome), ("ForeignPod", Outcome::After(Duration::from_secs(30))))
            }
            _ => assert_eq!((reason.as_str(), outcome), ("", Outcome::Settled)),
        }
        delete(&mut w, "r");
        settle(&mut w, "r");
        assert_eq!(w.get::<Pod>("r").is_some(), release == Release::Next, "what is not ours stays");
    }
}

#[test]
fn a_taken_name_is_looked_up_removed_and_registered_anew() {
    for release in [Release::V0_12_1, Release::V0_14_2, Release::Next] {
        let mut w = World::new(release);
        w.registered.insert(RunnerId(900), ("r".into(), ScaleSetId(1)));
        bare(&mut w, "r");
        settle(&mut w, "r");
        let trace = w.take_trace();
        let service: Vec<&str> = trace.iter().map(String::as_str).filter(|t| t.starts_with('E')).collect();
        assert_eq!(service, ["E14 409", "E16 200", "E17 200", "E14 200"], "{release}");
        assert_eq!(w.pods_made["r"], 1);
    }
}

#[test]
fn a_name_of_another_scale_set_ends_the_runner_from_0_13_0_on() {
    for (release, gone) in [(Release::V0_12_1, false), (Release::V0_13_0, true), (Release::Next, true)] {
        let mut w = World::new(release);
        w.registered.insert(RunnerId(900), ("r".into(), ScaleSetId(2)));
        bare(&mut w, "r");
        for _ in 0..5 {
            w.run("r");
        }
        assert_eq!(is_gone(&w, "r"), gone, "{release}");
        assert_eq!(w.registered.len(), 1, "the other set's registration is not ours to remove");
    }
}

#[test]
fn a_secret_without_a_registration_is_deleted_from_0_13_0_on_unless_it_is_foreign() {
    let mut w = World::new(Release::V0_14_2);
    w.put(Secret { metadata: Meta::named(NS, "r"), ..Secret::default() });
    bare(&mut w, "r");
    settle(&mut w, "r");
    assert_eq!(w.get::<Secret>("r").and_then(|s| jit::runner_id_of(&s)), w.registered.keys().next().copied());
    let mut w = World::new(Release::Next);
    w.put(Secret { metadata: Meta::named(NS, "r"), ..Secret::default() });
    bare(&mut w, "r");
    settle(&mut w, "r");
    assert_eq!(w.runner("r").status.reason, "ForeignSecret");
    assert!(w.get::<Secret>("r").is_some_and(|s| s.data.is_empty()));
}

#[test]
fn a_stale_copy_registers_twice_up_to_0_9_2() {
    let mut w = World::new(Release::V0_9_1);
    bare(&mut w, "r");
    w.run("r");
    let before = w.caches.get::<EphemeralRunner>(&Key::new(NS, "r")).cloned().expect("cached");
    w.run("r");
    let first = w.runner("r").status.runner_id;
    w.caches.of_mut(Kind::EphemeralRunner).insert(before.into());
    assert_eq!(w.run("r"), Outcome::Requeue);
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 1);
    assert!(w.registered.is_empty(), "the pod has the token of {first}, which was removed (Q-DOUBLE-JIT-STALE)");
}

#[test]
fn a_failed_pod_without_a_container_status_is_ignored_up_to_0_13_0() {
    for (release, restarted) in [(Release::V0_13_0, false), (Release::V0_13_1, true), (Release::Next, true)] {
        let mut w = World::new(release);
        bare(&mut w, "r");
        settle(&mut w, "r");
        w.update::<Pod>("r", |p| {
            p.status.phase = PodPhase::Failed;
            p.status.reason = "OutOfcpu".into();
        });
        w.sync();
        w.run("r");
        assert_eq!(w.runner("r").status.failure_count() == 1, restarted, "{release}");
    }
}

fn init_status(name: &str, code: i32) -> ContainerStatus {
    ContainerStatus { name: name.into(), state: exited(code), ..ContainerStatus::default() }
}

#[test]
fn failed_init_containers_count_from_0_14_2_on_and_sidecars_never_should() {
    let run = |release, sidecar: bool| {
        let mut w = up(release);
        w.update::<Pod>("r", |p| {
            let restart_policy = sidecar.then(|| "Always".into());
            let init = arc_api::pod::Container { name: "dind".into(), restart_policy, ..Default::default() };
            Arc::make_mut(&mut p.spec).init_containers = vec![init];
            p.status.init_container_statuses = vec![init_status("dind", 137)];
        });
        w.sync();
        w.run("r");
        w.runner("r").status.failure_count()
    };
    assert_eq!((run(Release::V0_14_1, false), run(Release::V0_14_2, false), run(Release::V0_14_2, true)), (0, 1, 1));
    assert_eq!((run(Release::Next, false), run(Release::Next, true)), (1, 0));
}

#[test]
fn readiness_is_sticky_up_to_0_10_1_and_follows_the_pod_later() {
    for (release, ready) in [(Release::V0_10_1, true), (Release::V0_11_0, false)] {
        let mut w = up(release);
        w.update::<Pod>("r", |p| p.status.conditions[0].status = false);
        w.sync();
        settle(&mut w, "r");
        assert_eq!(w.runner("r").status.ready, ready, "{release}");
    }
}

#[test]
fn without_its_github_secret_a_deleting_runner_is_stuck_and_next_says_why() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut w = up(release);
        w.objects.remove(&(Kind::Secret, Key::new(NS, "gh")));
        delete(&mut w, "r");
        assert!(matches!(w.run("r"), Outcome::Error(_)), "{release}");
        assert_eq!(w.runner("r").status.reason == "DeregistrationBlocked", release == Release::Next);
    }
}

#[test]
fn any_answer_but_204_blocks_a_deletion_and_next_takes_404_for_gone() {
    for (release, stuck) in [(Release::V0_14_2, true), (Release::Next, false)] {
        let mut w = up(release);
        let exception = arc_api::service::Exception::AgentNotFound;
        w.service_error = Some(Arc::new(arc_api::service::ServiceError::new(404, exception, "Runner not found.")));
        delete(&mut w, "r");
        for _ in 0..5 {
            w.run("r");
        }
        assert_eq!(w.get::<EphemeralRunner>("r").is_some(), stuck, "{release}");
    }
}

// ---- the corrected controller

#[test]
fn a_runner_that_exits_0_without_a_job_is_a_failure_and_gets_a_new_registration() {
    let mut w = up(Release::Next);
    let first = w.runner("r").status.runner_id;
    w.kubelet("r", exited(0));
    let Outcome::After(wait) = settle(&mut w, "r") else { panic!("a wait") };
    assert!(wait <= Duration::from_secs(5) && w.get::<Pod>("r").is_none());
    assert_eq!((w.runner("r").status.reason.as_str(), w.runner("r").status.phase), ("NoJobServed", ErPhase::Empty));
    assert!(w.registered.is_empty());
    w.now = w.now.after(wait);
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 2);
    assert_ne!(w.runner("r").status.runner_id, first);
    assert_eq!(w.registered.keys().copied().collect::<Vec<_>>(), [w.runner("r").status.runner_id]);
}

#[test]
fn no_second_pod_is_ever_made_for_a_runner_whose_job_nobody_reported() {
    let mut w = up(Release::Next);
    w.busy = w.registered.keys().copied().collect();
    w.kubelet("r", exited(1));
    settle(&mut w, "r");
    assert!(is_gone(&w, "r"));
    assert_eq!(w.pods_made["r"], 1);
}

#[test]
fn a_pod_that_vanished_unseen_takes_its_registration_along() {
    for (release, same) in [(Release::V0_14_2, true), (Release::Next, false)] {
        let mut w = up(release);
        let first = w.runner("r").status.runner_id;
        w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
        w.sync();
        settle(&mut w, "r");
        assert_eq!(w.pods_made["r"], 2, "{release}");
        assert_eq!(w.runner("r").status.runner_id == first, same, "{release}");
        assert_eq!(w.registered.len(), 1, "{release}");
    }
}

#[test]
fn a_live_runner_keeps_its_registration_when_its_secret_is_deleted() {
    for (release, kept) in [(Release::V0_14_2, false), (Release::Next, true)] {
        let mut w = up(release);
        let first = w.runner("r").status.runner_id;
        w.objects.remove(&(Kind::Secret, Key::new(NS, "r")));
        settle(&mut w, "r");
        assert_eq!(w.registered.contains_key(&first), kept, "{release}");
        delete(&mut w, "r");
        settle(&mut w, "r");
        assert_eq!(w.registered.is_empty(), kept, "{release} leaks");
    }
}

#[test]
fn a_pod_that_stays_terminating_on_a_dead_node_costs_its_runner() {
    let mut w = up(Release::Next);
    let now = w.now;
    w.update::<Pod>("r", |p| p.metadata.deletion_timestamp = Some(now));
    w.sync();
    assert_eq!(settle(&mut w, "r"), Outcome::After(Duration::from_secs(90)));
    w.wait(90);
    settle(&mut w, "r");
    assert!(is_gone(&w, "r"));
}

#[test]
fn an_idle_runner_without_a_registration_is_found_within_ten_minutes() {
    let mut w = up(Release::Next);
    let Outcome::After(wait) = settle(&mut w, "r") else { panic!("a check") };
    assert_eq!(wait, Duration::from_secs(600));
    w.registered.clear();
    w.now = w.now.after(wait);
    assert_eq!(w.run("r"), Outcome::After(Duration::from_secs(30)), "one 404 proves nothing");
    assert_eq!(w.pods_made["r"], 1);
    w.wait(30);
    settle(&mut w, "r");
    w.wait(6);
    w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
    w.sync();
    settle(&mut w, "r");
    assert_eq!((w.pods_made["r"], w.registered.len()), (2, 1));
}

#[test]
fn an_outage_does_not_make_an_idle_runner_look_unregistered() {
    let mut w = up(Release::Next);
    w.wait(600);
    w.service_error =
        Some(Arc::new(arc_api::service::ServiceError::new(500, arc_api::service::Exception::None, "outage")));
    for _ in 0..10 {
        let Outcome::After(wait) = w.run("r") else { panic!("a wait") };
        w.now = w.now.after(wait);
    }
    assert_eq!((w.runner("r").status.failure_count(), w.pods_made["r"]), (0, 1));
}

#[test]
fn a_refused_version_is_reported_and_the_runner_replaced_with_its_waits() {
    let mut w = up(Release::Next);
    w.kubelet("r", exited(7));
    assert!(matches!(settle(&mut w, "r"), Outcome::After(_)));
    let r = w.runner("r");
    assert!(r.status.conditions.iter().any(|c| c.type_ == OUTDATED && c.status));
    assert_eq!(r.status.phase, ErPhase::Empty);
}

// ---- crashes

/// Crashes the pass of an ordinary life at call `at`: dropped before it, or its reply lost; then everything goes on.
fn crash(release: Release, at: usize, lose: bool) -> World {
    let mut w = World::new(release);
    bare(&mut w, "r");
    if lose {
        w.lose_reply = Some(at);
    }
    let mut crashed = false;
    for round in 0..80 {
        let Some(r) = w.get::<EphemeralRunner>("r") else { break };
        let before = w.calls;
        let limit = if !lose && !crashed { at.saturating_sub(before) } else { usize::MAX };
        let end = w.pass(ErPass::new(Key::new(NS, "r")), limit);
        crashed |= end.is_none();
        if let Some(Outcome::After(wait)) = end {
            w.now = w.now.after(wait);
        }
        w.wait(1);
        let phase = w.get::<Pod>("r").map(|p| p.status.container("runner").map(|c| c.state.clone()));
        match phase {
            Some(None) => w.kubelet("r", waiting("ContainerCreating")),
            Some(Some(ContainerState::Waiting { .. })) => w.kubelet("r", running(w.now)),
            Some(Some(ContainerState::Running { .. })) if round > 12 => {
                w.registered.remove(&r.status.runner_id);
                w.job_started("r");
                w.kubelet("r", exited(0));
            }
            Some(Some(_)) | None => {}
        }
        if r.status.phase == ErPhase::Succeeded && !r.metadata.is_deleting() {
            delete(&mut w, "r");
        }
    }
    w
}

#[test]
fn a_crash_at_any_step_leaves_one_pod_and_a_runner_that_ends() {
    for release in [Release::V0_8_3, Release::V0_9_3, Release::V0_12_1, Release::V0_14_2, Release::Next] {
        let calls = crash(release, usize::MAX, false).calls;
        assert!(calls > 15, "{release} made only {calls} calls");
        for lose in [false, true] {
            for at in 0..=calls {
                let w = crash(release, at, lose);
                let what = format!("{release}, crash at call {at}, reply lost: {lose}\n{:#?}", w.trace);
                assert_eq!(w.get::<EphemeralRunner>("r"), None, "{what}");
                assert_eq!((w.get::<Pod>("r"), w.get::<Secret>("r")), (None, None), "{what}");
                assert_eq!(w.pods_made["r"], 1, "{what}");
                if release == Release::Next {
                    assert!(w.registered.is_empty(), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_runner_deleted_after_any_crash_leaks_no_registration_on_next() {
    for lose in [false, true] {
        for at in 1..14 {
            let mut w = World::new(Release::Next);
            bare(&mut w, "r");
            if lose {
                w.lose_reply = Some(at);
                while w.calls < at {
                    if w.run("r") == Outcome::Settled && w.calls < at && w.get::<Pod>("r").is_some() {
                        break;
                    }
                }
            } else {
                while w.calls < at {
                    let left = at - w.calls;
                    if w.pass(ErPass::new(Key::new(NS, "r")), left).is_some() && w.get::<Pod>("r").is_some() {
                        break;
                    }
                }
            }
            delete(&mut w, "r");
            for _ in 0..3 {
                settle(&mut w, "r");
            }
            assert!(w.registered.is_empty(), "deleted after call {at}, lost {lose}: {:#?}", w.trace);
            assert_eq!(w.get::<EphemeralRunner>("r"), None);
        }
    }
}

/// A runner whose first two pods end with 1, with a crash at call `at`; 10 minutes of it.
fn failing_life(release: Release, at: usize, lose: bool) -> World {
    let mut w = World::new(release);
    bare(&mut w, "r");
    w.lose_reply = lose.then_some(at);
    let mut crashed = lose;
    let mut wake = Time::ZERO;
    for _ in 0..120 {
        let before = w.objects.clone();
        let limit = if crashed { usize::MAX } else { at.saturating_sub(w.calls) };
        let end = w.pass(ErPass::new(Key::new(NS, "r")), limit);
        crashed |= end.is_none();
        if w.objects == before {
            if let Some(Outcome::After(wait)) = end {
                wake = w.now.after(wait);
            }
            w.now = w.now.after(Duration::from_secs(1)).max(wake.min(w.now.after(Duration::from_secs(60))));
        }
        let bad = w.jits_used.len() <= 2;
        match w.get::<Pod>("r").map(|p| p.status.container("runner").map(|c| c.state.clone())) {
            Some(None) => w.kubelet("r", running(w.now)),
            Some(Some(ContainerState::Running { .. })) if bad => w.kubelet("r", exited(1)),
            Some(Some(_)) | None => {}
        }
    }
    w
}

#[test]
fn a_registration_is_given_to_one_pod_only_whatever_crashes_on_next() {
    let calls = failing_life(Release::Next, usize::MAX, false).calls;
    for lose in [false, true] {
        for at in 0..=calls.min(60) {
            let w = failing_life(Release::Next, at, lose);
            let what = format!("crash at call {at}, reply lost: {lose}\n{:#?}", w.trace);
            let distinct: std::collections::BTreeSet<_> = w.jits_used.iter().collect();
            assert_eq!(distinct.len(), w.jits_used.len(), "{what}");
            assert_eq!(w.registered.len(), 1, "{what}");
            assert_eq!(w.runner("r").status.phase, ErPhase::Running, "{what}");
            assert_eq!(w.registered.keys().next(), Some(&w.runner("r").status.runner_id), "{what}");
        }
    }
    let reused = failing_life(Release::V0_14_2, usize::MAX, false).jits_used;
    assert_eq!(reused.len(), 3);
    assert_eq!(reused[0], reused[2], "releases start every pod with the same configuration");
}

#[test]
fn the_pod_of_a_successor_is_not_deleted_through_a_stale_copy() {
    let mut w = up(Release::Next);
    w.kubelet("r", exited(1));
    let stale = w.caches.get::<Pod>(&Key::new(NS, "r")).cloned().expect("cached");
    settle(&mut w, "r");
    w.wait(6);
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 2);
    w.caches.of_mut(Kind::Pod).insert(stale.into());
    w.run("r");
    assert!(w.get::<Pod>("r").is_some_and(|p| !p.metadata.is_deleting()));
    assert_eq!(w.registered.len(), 1);
}

#[test]
fn a_registration_without_a_secret_leaks_in_releases_when_the_runner_is_deleted() {
    let mut w = World::new(Release::V0_14_2);
    bare(&mut w, "r");
    // Finalizers, secret 404, GitHub secret, E14: dropped before the secret is created.
    assert_eq!(w.pass(ErPass::new(Key::new(NS, "r")), 4), None);
    assert_eq!(w.registered.len(), 1);
    delete(&mut w, "r");
    settle(&mut w, "r");
    assert_eq!(w.registered.len(), 1, "id 0 was removed instead (Q-JIT-LEAK)");
}

#[test]
fn a_pod_of_a_former_runner_of_the_same_name_is_not_ours() {
    let mut w = World::new(Release::Next);
    let stranger = Meta { uid: Uid(4711), ..Meta::named(NS, "r") };
    let owner_references = [OwnerRef::controller(Kind::EphemeralRunner, &stranger)].into();
    w.put(Pod { metadata: Meta { owner_references, ..Meta::named(NS, "r") }, ..Pod::default() });
    bare(&mut w, "r");
    assert_eq!(settle(&mut w, "r"), Outcome::After(Duration::from_secs(30)));
    w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
    w.sync();
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 1);
}
