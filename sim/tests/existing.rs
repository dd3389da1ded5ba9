//! What is there when a world begins: runners as each release leaves them, jobs and sessions; and worlds that cannot begin so.
#![allow(clippy::expect_used)]

use arc_sim::{Release, Report, Simulation};

fn world(runners: &str, more: &str) -> Simulation {
    let text = format!(
        "name: before\nwhy: Runners are there when the world begins.\nrelease: next\n\
         clusters: [{{ name: prod, nodes: 2, scale_sets: [{{ name: demo, min_runners: 3, max_runners: 6 }}] }}]\n\
         existing: {{ runners: [{runners}] }}\n{more}run_for: 3m\nexpect: {{ all: {{ holds: all }} }}\n"
    );
    Simulation::parse("before.yaml", &text).unwrap_or_else(|e| panic!("{e}")).trace(true)
}

fn run(runners: &str, release: Release) -> Report {
    world(runners, "").release(release).run()
}

/// Lines of the history in which all words occur, up to a second.
fn lines(report: &Report, until: u64, words: &[&str]) -> usize {
    let trace = report.trace();
    let early = trace.iter().filter(|e| e.at.0 <= until * 1_000_000);
    early.filter(|e| words.iter().all(|w| e.text.contains(w))).count()
}

#[test]
fn idle_runners_serve_from_the_start_and_nobody_makes_others() {
    for release in Release::ALL {
        let report = run("{ scale_set: demo, count: 3 }", *release);
        report.assert_no_violation();
        assert_eq!(lines(&report, 0, &["ADDED EphemeralRunner arc-runners/"]), 3, "{release}");
        assert_eq!(lines(&report, 0, &["RunnerRegistered"]), 3, "{release}");
        assert_eq!(lines(&report, 10, &["RunnerOnline"]), 3, "{release}");
        assert_eq!(lines(&report, 180, &["create ephemeralrunners "]), 0, "{release}");
        assert_eq!(report.metric("registrations"), Some(3.0), "{release}");
    }
}

#[test]
fn busy_runners_go_on_with_their_jobs() {
    for release in Release::ALL {
        let report = run("{ scale_set: demo, count: 2, busy_for: 1m }", *release);
        assert_eq!(lines(&report, 10, &["JobStarted {"]), 2, "{release}");
        assert_eq!(report.metric("jobs_succeeded"), Some(2.0), "{release}");
        assert!(report.metric("wait_max_ms").is_some_and(|wait| wait < 10_000.0), "{release}");
    }
}

#[test]
fn what_was_lost_is_lost() {
    for release in Release::ALL {
        let forgotten = run("{ scale_set: demo, count: 1, registered: false }", *release);
        assert_eq!(lines(&forgotten, 0, &["RunnerRemoved", "Lost"]), 1, "{release}");
        assert!(lines(&forgotten, 10, &["runner-connect", "401"]) >= 1, "{release}: its pod finds out");
        let podless = run("{ scale_set: demo, count: 1, pods: false }", *release);
        assert_eq!(lines(&podless, 0, &["DELETED Pod arc-runners/"]), 1, "{release}");
        // Six are one more than any release endures.
        let failed = run("{ scale_set: demo, count: 1, failures: 6, pods: false }", *release);
        assert_eq!(lines(&failed, 0, &["MODIFIED EphemeralRunner arc-runners/"]), {
            let whole = run("{ scale_set: demo, count: 1, pods: false }", *release);
            lines(&whole, 0, &["MODIFIED EphemeralRunner arc-runners/"]) + 1
        });
    }
}

/// Up to 0.11.0 a runner with too many failures is Failed for ever; 0.12.0 and later replace it.
#[test]
fn failures_from_before_count() {
    let runners_failed = |release| {
        let report = run("{ scale_set: demo, count: 1, failures: 6, pods: false }", release);
        report.metric("runners_failed")
    };
    for release in Release::ALL {
        let failed = if *release <= Release::V0_11_0 { 1.0 } else { 0.0 };
        assert_eq!(runners_failed(*release), Some(failed), "{release}");
    }
}

#[test]
fn a_session_and_a_backlog_are_there_as_well() {
    let more = "";
    let text = "{ scale_set: demo, count: 3 }], sessions: [{ scale_set: demo, owner: ghost, ttl: 1m }], \
                backlog: [{ scale_set: demo, count: 2, job: { duration: 5s } }";
    let report = world(text, more).release(Release::V0_14_2).run();
    assert!(report.metric("session_refusals").is_some_and(|n| n >= 1.0));
    assert_eq!(report.metric("jobs_succeeded"), Some(2.0));
}

/// The release that is installed refuses a set of another version: it never made these runners.
#[test]
fn runners_that_nobody_could_make_are_told_of() {
    let text = "name: before\nwhy: A set that the controller does not look at.\nrelease: 0.14.2\n\
         clusters: [{ name: prod, scale_sets: [{ name: demo, chart: 0.9.1 }] }]\n\
         existing: { runners: [{ scale_set: demo, count: 1 }] }\nrun_for: 3m\nexpect: { all: { holds: all } }\n";
    let report = Simulation::parse("before.yaml", text).unwrap_or_else(|e| panic!("{e}")).run();
    let why = report.ran().gave_up.clone().expect("given up");
    assert!(why.contains("existing.runners"), "{why}");
    assert_eq!(report.events(), 0);
}
