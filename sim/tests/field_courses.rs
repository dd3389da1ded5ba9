//! The order of events in two field failures, held against what was recorded of the real ones.

use arc_sim::outcome::RunReport;
use arc_sim::plan::{Dur, Plan};
use arc_sim::world::{RunOptions, run};
use controller_core::Release;

fn plan(file: &str, variant: Option<&str>, release: Release, seed: u64) -> Plan {
    let path = format!("{}/../scenarios/field/{file}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the scenario is there");
    let loaded = arc_sim::scenario::load(&path, &text).expect("the scenario is sound");
    loaded.plan(variant, release, seed).expect("the variant is there")
}

fn played(plan: &Plan) -> (RunReport, Vec<String>) {
    let report = run(plan, &RunOptions { trace: true, stop_at_violation: false, stop_on: None });
    let lines = report.trace.events().iter().map(|e| report.trace.line(e)).collect();
    (report, lines)
}

/// Places of the first line that contains each text, every one after the one before it.
fn in_order(lines: &[String], texts: &[&str]) -> Vec<usize> {
    let mut at = 0;
    texts
        .iter()
        .map(|text| {
            let found = lines[at..].iter().position(|l| l.contains(text));
            at += found.unwrap_or_else(|| panic!("`{text}` does not follow")) + 1;
            at - 1
        })
        .collect()
}

/// c_session_conflict, all releases from 0.8.3 on: one refusal per process, and the next pod follows each.
#[test]
fn a_listener_that_is_refused_ends_and_is_replaced_at_once() {
    for release in [Release::V0_8_3, Release::V0_9_1, Release::V0_12_1, Release::V0_14_2] {
        let (report, lines) = played(&plan("listener-session-conflict", None, release, 0));
        let count = |text: &str| lines.iter().filter(|l| l.contains("listener/demo") && l.contains(text)).count();
        let refused = report.figures["session_refusals"] as usize;
        assert_eq!(count(" starts"), refused + 2, "{release}");
        assert_eq!(count(" exits 1:"), refused, "{release}");
    }
}

/// c_session_conflict, phase A: the first patch of the new session is forced and removes the runner that waited.
#[test]
fn the_first_patch_after_the_conflict_removes_the_idle_runner() {
    for release in [Release::V0_9_1, Release::V0_12_1, Release::V0_14_2] {
        let (_, lines) = played(&plan("listener-session-conflict", None, release, 0));
        in_order(
            &lines,
            &[
                "why: Expired",
                "200 session, assigned 0",
                "{\"spec\":{\"patchID\":0,\"replicas\":null}}",
                "RunnerRemoved { runner: RunnerId(2)",
                "JobAssigned { job: JobId(2)",
                "{\"spec\":{\"patchID\":2,\"replicas\":2}}",
                "create ephemeralrunners",
                "create ephemeralrunners",
            ],
        );
    }
}

/// d_seed_overlap: the set that both managers see is lost in three ways, d11, d13 and the clean-up by both.
#[test]
fn a_set_made_during_the_roll_is_lost_whichever_request_comes_first() {
    let (mut refused, mut ignored, mut marked) = (0, 0, 0);
    for seed in 0..120 {
        let mut plan = plan("upgrade-finalizer-not-found", None, Release::V0_9_1, seed);
        plan.actions.retain(|a| a.id != "race");
        (plan.run_for, plan.settle) = (Dur::secs(60), Dur::secs(90));
        let (report, lines) = played(&plan);
        let gone = lines.iter().find(|l| l.contains("DELETED AutoscalingRunnerSet")).expect("the set is lost");
        let finalizer = "patch  autoscalingrunnersets arc-runners/demo {\"metadata\":{\"finalizers\":[\"auto";
        let kept = lines.iter().any(|l| l.contains(finalizer));
        let errors: Vec<(&str, u64)> = report.error_lines.iter().map(|(k, v)| (k.as_str(), *v)).collect();
        match (kept, gone.contains("(deleting)")) {
            (false, _) => {
                let seen =
                    [("Failed to update autoscaling runner set with finalizer added", 1), ("Reconciler error", 1)];
                assert_eq!(errors, seen, "seed {seed}");
                refused += 1;
            }
            (true, false) => ignored += 1,
            (true, true) => marked += 1,
        }
    }
    assert!(refused > 20 && marked > 20, "{refused} {ignored} {marked}");
    assert!(ignored > 0, "a finalizer that comes after the read of the DELETE does not hold the set");
}

/// d_seed_upgrade: the new manager's gate deletes, helm patches what is terminating, the busy runner finishes, nothing is left.
#[test]
fn the_plain_order_ends_without_a_set_and_without_an_error() {
    let (report, lines) = played(&plan("upgrade-finalizer-not-found", Some("plain-order"), Release::V0_9_1, 0));
    in_order(
        &lines,
        &[
            "delete autoscalingrunnersets arc-runners/demo",
            "delete autoscalinglisteners",
            "delete ephemeralrunnersets",
            "-> 400 JobStillRunningException",
            "operator/upgrade-set     patch  autoscalingrunnersets arc-runners/demo",
            "why: Reported",
            "E5     scale set 1 -> 204",
            "DELETED AutoscalingRunnerSet",
        ],
    );
    assert!(report.error_lines.is_empty(), "{:?}", report.error_lines);
}
