//! Failing pods: the budget of failures and its waits, exit codes, and what by-passes them.

use super::*;

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
