//! When entries begin and end - chains of entries, states that hold already, patience - and what people do by hand.

use arc_sim::outcome::RunReport;
use arc_sim::scenario::load;
use arc_sim::trace::What;
use arc_sim::world::{RunOptions, run};
use controller_core::Release;

/// A world with one idle runner and one job at 60 s.
fn world(rest: &str) -> RunReport {
    let text = format!(
        "name: x\nwhy: Triggers.\nrelease: 0.12.1\nrun_for: 5m\nsettle: 2m\nexpect: {{ all: {{ holds: all }} }}\nclusters:\n  - name: prod\n    \
         scale_sets: [{{ name: linux, min_runners: 1, max_runners: 5 }}]\n\
         workload: [{{ id: job, pattern: single, scale_set: linux, at: 60s, duration: 10s }}]\n{rest}"
    );
    let loaded = load("x.yaml", &text).unwrap_or_else(|e| panic!("{text}\n{}", e.render(false)));
    let plan = loaded.plan(None, Release::V0_12_1, 3).unwrap();
    run(&plan, &RunOptions { trace: true, ..RunOptions::default() })
}

/// When its marks were made, in seconds.
fn marks(rest: &str) -> Vec<(String, u64)> {
    let report = world(rest);
    let said = |what: &What| match what {
        What::Operator { did, .. } | What::Fault { did, .. } => Some(did.to_string()),
        _ => None,
    };
    let events = report.trace.events().iter();
    events.filter_map(|e| said(&e.what).map(|s| (s, e.at.since(arc_api::Time::ZERO).as_secs()))).collect()
}

fn when(made: &[(String, u64)], text: &str) -> Option<u64> {
    made.iter().find(|(said, _)| said == text).map(|(_, at)| *at)
}

#[test]
fn an_entry_follows_the_beginning_of_another() {
    let made =
        marks("marks:\n  - { id: a, at: 20s, mark: a }\n  - { id: b, when: { begun: a, after: 7s }, mark: b }\n");
    assert_eq!((when(&made, "a"), when(&made, "b")), (Some(20), Some(27)));
}

#[test]
fn a_state_is_waited_for_from_an_entry_on_and_counts_if_it_holds() {
    let made = marks(
        "marks:\n  - { id: a, at: 20s, mark: a }\n  \
         - { when: { object: { kind: EphemeralRunner, is: phase, phase: Running }, since: a }, mark: running }\n  \
         - { when: { job: { id: \"job*\", is: finished }, since: a, after: 2s }, mark: finished }\n  \
         - { when: { object: { kind: EphemeralRunner, is: gone }, since: a, within: 30s }, mark: gone }\n",
    );
    assert_eq!(when(&made, "running"), Some(20), "it ran already");
    assert_eq!(when(&made, "gone"), Some(50), "a minimum of one is never gone: patience ends");
    assert!(when(&made, "finished").is_some_and(|at| at > 70), "{made:?}");
}

#[test]
fn a_fault_ends_with_an_entry() {
    let made = marks(
        "marks: [{ id: a, at: 90s, mark: a }]\nfaults:\n  \
         - { at: 10s, ends_with: a, gh_error: { op: get_message, status: 500 } }\n",
    );
    assert_eq!(when(&made, "ends"), Some(90), "{made:?}");
}

#[test]
fn pods_that_a_fault_holds_start_with_its_end() {
    let report = world(
        "marks: [{ id: a, at: 90s, mark: a }]\nfaults:\n  \
         - { at: 30s, ends_with: a, pod_delay: { mode: slow_start, target: runner } }\n",
    );
    let starts = report.trace.events().iter().filter(|e| match &e.what {
        What::ProcessStart { container, .. } => container == "runner",
        _ => false,
    });
    let starts: Vec<u64> = starts.map(|e| e.at.since(arc_api::Time::ZERO).as_secs()).collect();
    assert!(starts[0] < 30 && starts[1..].first() == Some(&90), "{starts:?}");
}

#[test]
fn an_entry_that_nobody_has_is_refused() {
    let text = "name: x\nwhy: Triggers.\nrelease: 0.12.1\nrun_for: 5m\nexpect: { all: { holds: all } }\nclusters: [{ name: prod }]\n\
                marks:\n  - { id: a, at: 20s, mark: a }\n  - { when: { begun: aa }, mark: b }\n  - { when: { done: x, within: 3s }, mark: c }\n";
    let told = load("x.yaml", text).err().map(|e| e.render(false)).unwrap_or_default();
    assert!(told.contains("`aa`") && told.contains("`within` needs `since`"), "{told}");
}

/// Whether a line of the history has all of these words.
fn tells(report: &RunReport, words: &[&str]) -> bool {
    let line = |e: &arc_sim::trace::TraceEvent| format!("{:?}", e.what);
    report.trace.events().iter().map(line).any(|l| words.iter().all(|w| l.contains(w)))
}

#[test]
fn jobs_are_cancelled_by_force_whatever_their_runners_do() {
    let report = world("operators: [{ at: 68s, cancel_jobs: { job: \"job*\", force: true } }]\n");
    assert!(tells(&report, &["JobCompleted", "Canceled"]), "the job runs from about 64 s to 74 s");
    let late = world("operators: [{ at: 100s, cancel_jobs: { job: \"job*\", force: true } }]\n");
    assert!(!tells(&late, &["JobCompleted", "Canceled"]));
}

#[test]
fn what_is_deleted_by_hand_can_be_chosen_by_its_phase() {
    let gone = |phase: &str| {
        let report =
            world(&format!("operators: [{{ at: 20s, delete: {{ kind: EphemeralRunner, phase: {phase} }} }}]\n"));
        let then = |e: &&arc_sim::trace::TraceEvent| e.at.since(arc_api::Time::ZERO).as_secs() == 20;
        let line = |e: &arc_sim::trace::TraceEvent| format!("{:?}", e.what);
        report
            .trace
            .events()
            .iter()
            .filter(then)
            .map(line)
            .any(|l| l.contains("\"delete\"") && l.contains("EphemeralRunner"))
    };
    assert!(gone("Running") && !gone("Failed"));
}

#[test]
fn any_object_is_edited_and_created_by_hand() {
    let report = world(
        "operators:\n  \
         - { at: 20s, edit: { kind: EphemeralRunnerSet, scale_set: linux, patch: { spec: { replicas: 3, patchID: 500 } } } }\n  \
         - { at: 40s, create: { named_after_runner_of: linux, object: { kind: ConfigMap, data: { a: b } } } }\n  \
         - { at: 40s, releases: next, create: { object: { kind: ConfigMap, metadata: { name: never, namespace: arc-runners } } } }\n",
    );
    assert!(tells(&report, &["patch", "EphemeralRunnerSet", "500"]));
    assert!(tells(&report, &["ConfigMap", "linux-", "-runner-"]), "it is called after a runner");
    assert!(!tells(&report, &["ConfigMap", "never"]), "this is 0.12.1");
}
