//! The set reconciler against reaction vectors (actions-service.md §4.13), recorded sequences and field failures.

use super::*;
use crate::release::Release;
use crate::test_world::{NS, SET, World};
use arc_api::core::Secret;
use arc_api::crd::{ErPhase, Overlay, Proxy, ProxyServer};
use arc_api::{Meta, Time};

/// A state as the vectors write it: `R@1` running stamped 1, `S` Succeeded, `F` Failed, `P` pending, `B` running with a job.
pub(super) fn state(release: Release, runners: &[(&str, i64)]) -> World {
    let mut w = World::new(release);
    for (n, (kind, stamp)) in runners.iter().enumerate() {
        let name = format!("r{n}");
        let phase = match *kind {
            "R" | "B" => ErPhase::Running,
            "S" => ErPhase::Succeeded,
            "F" => ErPhase::Failed,
            "O" => ErPhase::Outdated,
            _ => ErPhase::Empty,
        };
        let id = w.add_registered(&name, phase, Some(*stamp));
        if *kind == "B" {
            w.job_started(&name);
            w.busy.insert(id);
        }
        w.wait(1);
    }
    w
}

/// What one pass does: created with which stamp, deleted.
#[track_caller]
pub(super) fn check(
    release: Release,
    runners: &[(&str, i64)],
    replicas: i32,
    patch_id: i64,
    created: &[i64],
    deleted: &[&str],
) {
    let mut w = state(release, runners);
    w.listener(replicas, patch_id);
    w.run_set();
    let stamp = |r: &EphemeralRunner| r.metadata.annotation(PATCH_ID).and_then(|s| s.parse::<i64>().ok()).unwrap_or(-1);
    let new: Vec<i64> = w.runners().iter().filter(|r| r.metadata.generate_name.is_some()).map(|r| stamp(r)).collect();
    let gone: Vec<Str> =
        w.runners().iter().filter(|r| r.metadata.is_deleting()).map(|r| r.metadata.name.clone()).collect();
    assert_eq!(
        (new.as_slice(), gone.as_slice()),
        (created, deleted.iter().map(|s| Str::from(*s)).collect::<Vec<_>>().as_slice()),
        "{release}"
    );
}

#[test]
fn controller_reaction_vectors() {
    for r in [Release::V0_9_1, Release::V0_12_1, Release::V0_14_2] {
        check(r, &[], 3, 1, &[1, 1, 1], &[]);
        check(r, &[("R", 1), ("R", 1), ("R", 1)], 3, 1, &[], &[]);
        check(r, &[("R", 1), ("R", 1), ("S", 1)], 3, 1, &[], &[]);
        check(r, &[("R", 1), ("R", 1), ("S", 1)], 3, 2, &[2], &["r2"]);
        check(r, &[("R", 1), ("R", 1), ("R", 1)], 2, 4, &[], &[]);
        check(r, &[("R", 1), ("R", 1), ("S", 1)], 2, 4, &[], &["r2"]);
        check(r, &[("R", 1), ("S", 1), ("S", 1)], 2, 4, &[4], &["r1", "r2"]);
        check(r, &[("R", 1), ("R", 1), ("R", 1), ("B", 2)], 0, 0, &[], &["r0", "r1", "r2"]);
        check(r, &[("R", 2)], 3, 2, &[], &[]);
        check(r, &[("F", 1), ("R", 1)], 2, 2, &[], &[]);
    }
}

#[test]
fn up_to_0_8_3_every_pass_compares_in_both_directions_and_stamps_nothing() {
    let r = Release::V0_8_3;
    check(r, &[], 2, 0, &[-1, -1], &[]);
    check(r, &[("R", 0), ("R", 0), ("S", 0)], 3, 0, &[-1], &["r2"]);
    check(r, &[("R", 0), ("R", 0)], 1, 0, &[], &["r0"]);
}

#[test]
fn in_0_9_0_any_patch_removes_idle_runners() {
    check(Release::V0_9_0, &[("R", 1), ("R", 1)], 1, 2, &[], &["r0"]);
    check(Release::V0_9_1, &[("R", 1), ("R", 1)], 1, 2, &[], &[]);
}

#[test]
fn pending_runners_go_before_running_ones_oldest_first() {
    check(Release::V0_14_2, &[("R", 1), ("P", 1), ("P", 1)], 1, 0, &[], &["r1", "r2"]);
}

#[test]
fn an_unregistered_runner_is_never_removed_by_releases() {
    for (release, removed) in [(Release::V0_14_2, false), (Release::Next, true)] {
        let mut w = World::new(release);
        w.add_runner("r", ErPhase::Empty, Some(1));
        w.listener(0, 0);
        w.run_set();
        assert_eq!(w.runner("r").metadata.is_deleting(), removed, "{release}");
    }
}

#[test]
fn recorded_sequence_of_a_scale_up_and_the_counts_of_the_pass_before() {
    let mut w = World::new(Release::V0_14_2);
    w.run_set();
    w.listener(2, 0);
    w.take_trace();
    assert_eq!(w.run_set(), Outcome::Settled);
    // Counted before the creation, so nothing is reported yet (recorded: a_minmax/0.14.2).
    assert_eq!(w.take_trace(), ["create ephemeralrunners", "create ephemeralrunners"]);
    w.run_set();
    let counts = r#"patch ephemeralrunnersets/status {"status":{"currentReplicas":2,"pendingEphemeralRunners":2}}"#;
    assert_eq!(w.take_trace(), [counts]);
    let r = w.runners()[0].clone();
    assert!(r.metadata.name.starts_with("demo-abcde-runner-"));
    assert_eq!(r.metadata.label("app.kubernetes.io/component").map(Str::as_str), Some("runner"));
    assert_eq!(r.metadata.controller().map(|c| (c.uid, c.block_owner_deletion)), Some((w.set().metadata.uid, true)));
    assert_eq!(r.metadata.finalizers.len(), 2);
}

#[test]
fn status_patches_have_the_recorded_members() {
    for (release, body) in [
        (Release::V0_12_1, r#"{"status":{"pendingEphemeralRunners":0,"runningEphemeralRunners":1}}"#),
        (
            Release::V0_14_2,
            r#"{"status":{"currentReplicas":1,"pendingEphemeralRunners":0,"runningEphemeralRunners":1}}"#,
        ),
    ] {
        let mut w = state(release, &[("P", 1)]);
        w.listener(1, 1);
        w.run_set();
        w.update::<EphemeralRunner>("r0", |r| r.status.phase = ErPhase::Running);
        w.sync();
        w.take_trace();
        w.run_set();
        assert_eq!(w.take_trace(), [format!("patch ephemeralrunnersets/status {body}")], "{release}");
    }
    let mut w = World::new(Release::V0_14_2);
    w.run_set();
    assert_eq!(
        w.take_trace(),
        [r#"patch ephemeralrunnersets/status {"status":{"currentReplicas":0,"phase":"Running"}}"#]
    );
}

#[test]
fn idle_removal_reads_the_secret_once_and_asks_for_each_runner() {
    let mut w = state(Release::V0_14_2, &[("R", 1), ("R", 1)]);
    w.listener(0, 0);
    w.run_set();
    let trace = w.take_trace();
    let calls = ["get secrets gh", "E17 200", "delete ephemeralrunners", "E17 200", "delete ephemeralrunners"];
    assert_eq!(trace[..5], calls);
}

#[test]
fn a_refused_removal_is_forgotten_by_releases_and_tried_again_by_next() {
    for (release, end) in
        [(Release::V0_14_2, Outcome::Settled), (Release::Next, Outcome::After(Duration::from_secs(10)))]
    {
        let mut w = state(release, &[("R", 1)]);
        w.busy = w.registered.keys().copied().collect();
        w.listener(0, 0);
        assert_eq!(w.run_set(), end, "{release}");
        assert!(!w.runner("r0").metadata.is_deleting());
    }
}

#[test]
fn an_error_of_a_removal_ends_the_pass_without_a_report() {
    let mut w = state(Release::V0_14_2, &[("R", 1), ("R", 1)]);
    let exception = arc_api::service::Exception::AgentNotFound;
    w.service_error = Some(Arc::new(arc_api::service::ServiceError::new(404, exception, "Runner not found.")));
    w.listener(0, 0);
    assert!(matches!(w.run_set(), Outcome::Error(_)));
    assert_eq!(w.take_trace(), ["get secrets gh", "E17 404", "E17 404"]);
}

#[test]
fn finished_runners_are_swept_after_the_report_and_after_errors() {
    let mut w = state(Release::V0_12_1, &[("S", 1), ("R", 1)]);
    w.listener(1, 2);
    w.run_set();
    let trace = w.take_trace();
    assert_eq!(trace.last().map(String::as_str), Some("delete ephemeralrunners"));
    assert!(trace[0].starts_with("patch ephemeralrunnersets/status"));
    let mut w = state(Release::V0_12_1, &[("S", 1)]);
    let overlay = Overlay { labels: arc_api::meta::labels([("a", "b")]), ..Overlay::default() };
    w.switch("overlays", "supported");
    w.update::<EphemeralRunnerSet>(SET, |s| s.spec.ephemeral_runner_metadata = Some(Arc::new(overlay)));
    w.listener(1, 2);
    assert!(matches!(w.run_set(), Outcome::Error(_)), "the panic of Q-METADATA-NILMAP-PANIC");
    assert_eq!(w.take_trace(), ["delete ephemeralrunners"]);
}

#[test]
fn up_to_0_8_3_finished_runners_go_first() {
    let mut w = state(Release::V0_8_3, &[("S", 0)]);
    w.listener(1, 0);
    w.run_set();
    assert_eq!(w.take_trace()[..2], ["delete ephemeralrunners", "create ephemeralrunners"]);
}

#[test]
fn one_outdated_runner_stops_the_set_from_0_14_0_on() {
    let mut w = state(Release::V0_14_2, &[("O", 1), ("R", 1)]);
    w.listener(2, 0);
    w.run_set();
    assert_eq!(w.set().status.phase, ErsPhase::Outdated);
    assert_eq!(w.runners().len(), 3, "with an open gate a replacement is made first (Q-OUTDATED-EXTRA-RUNNER)");
    w.take_trace();
    assert_eq!(w.run_set(), Outcome::Settled);
    assert!(w.take_trace().is_empty());
    let mut w = state(Release::Next, &[("O", 1), ("R", 1)]);
    w.listener(2, 0);
    w.run_set();
    assert_eq!(w.set().status.phase, ErsPhase::Running);
}

#[test]
fn an_unreadable_url_stops_scaling_when_metrics_are_on() {
    for metrics in [false, true] {
        let mut w = World::new(Release::V0_14_2);
        w.settings.metrics = metrics;
        w.update::<EphemeralRunnerSet>(SET, |s| {
            Arc::make_mut(&mut s.spec.ephemeral_runner_spec).github_config_url = "https://github.com/a/b/c".into();
        });
        w.listener(1, 1);
        w.run_set();
        assert_eq!(w.runners().is_empty(), metrics);
    }
    assert!(is_config_url("https://github.com/my-org") && is_config_url("http://h:8080/enterprises/e/"));
    assert!(!is_config_url("github.com/org") && !is_config_url("https://github.com/"));
}

#[test]
fn a_proxy_secret_is_made_once_with_credentials_in_its_urls() {
    let mut w = World::new(Release::V0_14_2);
    let server = ProxyServer { url: "http://proxy:3128".into(), credential_secret_ref: "proxy-user".into() };
    let proxy = Proxy { http: Some(server), no_proxy: vec!["a".into(), "b".into()], ..Proxy::default() };
    w.update::<EphemeralRunnerSet>(SET, |s| {
        Arc::make_mut(&mut s.spec.ephemeral_runner_spec).proxy = Some(Arc::new(proxy));
    });
    let data = arc_api::meta::labels([("username", "u"), ("password", "p")]);
    w.put(Secret { metadata: Meta::named(NS, "proxy-user"), data, ..Secret::default() });
    w.listener(1, 1);
    w.run_set();
    let name = crate::names::runner_proxy(&Key::new(NS, SET));
    let secret = w.get::<Secret>(&name).expect("made");
    assert_eq!(secret.data.get("http_proxy").map(Str::as_str), Some("http://u:p@proxy:3128"));
    assert_eq!(secret.data.get("no_proxy").map(Str::as_str), Some("a,b"));
    assert_eq!(w.runners()[0].spec.proxy_secret_ref, name);
    w.take_trace();
    w.run_set();
    assert_eq!(w.take_trace()[0], "get secrets");
    w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.deletion_timestamp = Some(Time::ZERO));
    let runner = w.runners()[0].metadata.key();
    w.objects.remove(&(Kind::EphemeralRunner, runner));
    w.sync();
    w.run_set();
    assert_eq!(w.get::<Secret>(&name), None);
    assert_eq!(w.get::<EphemeralRunnerSet>(SET), None);
}

#[test]
fn a_deleting_set_deletes_ended_runners_first_then_asks_for_each_other() {
    for (release, end) in
        [(Release::V0_14_2, Outcome::Settled), (Release::Next, Outcome::After(Duration::from_secs(30)))]
    {
        let mut w = state(release, &[("F", 1), ("B", 1), ("R", 1), ("P", 1)]);
        w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.deletion_timestamp = Some(Time::ZERO));
        w.sync();
        assert_eq!(w.run_set(), end, "{release}");
        let trace = w.take_trace();
        assert_eq!(trace[..3], ["delete ephemeralrunners", "get secrets gh", "E17 200"], "pending before running");
        let gone: Vec<bool> = (0..4).map(|n| w.runner(&format!("r{n}")).metadata.is_deleting()).collect();
        assert_eq!(gone, [true, false, true, true], "{release}");
        assert_eq!(
            trace.contains(&"E17 400".to_owned()),
            release == Release::V0_14_2,
            "next does not ask for busy ones"
        );
    }
}

#[test]
fn a_deleting_set_waits_for_a_runner_that_the_cache_does_not_show() {
    for (release, goes) in [(Release::V0_14_2, true), (Release::Next, false)] {
        let mut w = state(release, &[]);
        w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.deletion_timestamp = Some(Time::ZERO));
        w.sync();
        let caches = w.caches.clone();
        w.add_runner("late", ErPhase::Empty, None);
        w.caches = caches;
        w.run_set();
        assert_eq!(w.get::<EphemeralRunnerSet>(SET).is_none(), goes, "{release}");
    }
}

#[test]
fn a_deleting_set_without_its_github_secret_is_stuck() {
    let mut w = state(Release::V0_14_2, &[("R", 1)]);
    w.objects.remove(&(Kind::Secret, Key::new(NS, "gh")));
    w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.deletion_timestamp = Some(Time::ZERO));
    w.sync();
    assert!(matches!(w.run_set(), Outcome::Error(_)));
}

#[test]
fn a_set_that_vanished_under_its_finalizer_patch_is_an_error_once() {
    let mut w = World::new(Release::V0_14_2);
    w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.finalizers = [].into());
    w.sync();
    w.objects.remove(&(Kind::EphemeralRunnerSet, Key::new(NS, SET)));
    let pass = ErsPass::new(Key::new(NS, SET));
    let caches = w.caches.clone();
    let settings = w.settings.clone();
    let mut pass = pass;
    let mut o = Observed { settings: &settings, caches: &caches, now: w.now, reply: None, log: &mut vec![] };
    let Decision::Call(call) = pass.step(&mut o) else { panic!("a patch") };
    let reply = w.execute(&call);
    let mut log = vec![];
    let mut o = Observed { settings: &settings, caches: &caches, now: w.now, reply: Some(reply), log: &mut log };
    assert!(matches!(pass.step(&mut o), Decision::End(Outcome::Error(_))));
    assert_eq!(log[0].message, "Failed to update ephemeral runner set with finalizer added");
}

/// The first pass creates while the cache shows nothing; the second pass sees the same empty cache.
fn twice_on_an_empty_cache(release: Release, patch_id: i64) -> usize {
    let mut w = World::new(release);
    // The template is known to be accepted.
    let accepted = arc_api::crd::Condition::new(TEMPLATE_REJECTED, false, "PodAccepted", "");
    w.update::<EphemeralRunnerSet>(SET, |s| s.status.conditions = [accepted].into());
    w.listener(3, patch_id);
    let caches = w.caches.clone();
    for _ in 0..2 {
        let mut pass = ErsPass::new(Key::new(NS, SET));
        let mut reply = None;
        loop {
            let settings = w.settings.clone();
            let mut o = Observed { settings: &settings, caches: &caches, now: w.now, reply, log: &mut w.log };
            match pass.step(&mut o) {
                Decision::End(_) => break,
                Decision::Call(call) => reply = Some(w.execute(&call)),
            }
        }
    }
    w.runners().len()
}

#[test]
fn a_cache_that_lags_makes_twice_as_many_runners_but_not_on_next() {
    assert_eq!(twice_on_an_empty_cache(Release::V0_14_2, 7), 6);
    assert_eq!(twice_on_an_empty_cache(Release::Next, 7), 3);
    assert_eq!(twice_on_an_empty_cache(Release::Next, 0), 3);
}

#[test]
fn a_creation_that_failed_or_was_lost_is_made_up_for_by_next_only() {
    for (release, total) in [(Release::V0_14_2, 2), (Release::Next, 3)] {
        let mut w = state(release, &[("R", 1)]);
        w.listener(1, 1);
        w.run_set();
        w.listener(3, 2);
        // Dropped after the first creation.
        let before = w.runners().len();
        for calls in 1.. {
            let mut copy = w.clone();
            copy.pass(ErsPass::new(Key::new(NS, SET)), calls);
            if copy.runners().len() > before {
                w = copy;
                break;
            }
        }
        for _ in 0..3 {
            w.run_set();
        }
        assert_eq!(w.runners().len(), total, "{release} (Q-PARTIAL-CREATE-MASKED)");
    }
}

#[test]
fn a_lost_reply_of_a_creation_makes_no_second_runner_on_next() {
    for at in 1..8 {
        let mut w = state(Release::Next, &[("R", 1)]);
        w.listener(1, 1);
        w.run_set();
        w.listener(3, 2);
        w.lose_reply = Some(w.calls + at);
        for _ in 0..4 {
            w.run_set();
        }
        assert_eq!(w.runners().len(), 3, "reply {at} lost: {:#?}", w.trace);
    }
}

#[test]
fn a_crash_at_any_call_leaves_as_many_runners_as_were_asked_for_on_next() {
    for (replicas, runners) in [(4, &[("R", 1)][..]), (0, &[("R", 1), ("R", 1), ("P", 1)][..])] {
        for lose in [false, true] {
            for at in 0..12 {
                let mut w = state(Release::Next, runners);
                w.listener(runners.len() as i32, 1);
                w.run_set();
                w.listener(replicas, i64::from(replicas > 0) * 2);
                if lose {
                    w.lose_reply = Some(w.calls + at);
                } else {
                    w.pass(ErsPass::new(Key::new(NS, SET)), at);
                }
                for _ in 0..5 {
                    w.run_set();
                }
                let live = w.runners().iter().filter(|r| !r.metadata.is_deleting()).count();
                assert_eq!(live, replicas as usize, "call {at}, lost {lose}: {:#?}", w.trace);
            }
        }
    }
}
