//! A property suite as somebody else would write it: strategies, a world per case, failures that shrink and are saved.
#![allow(clippy::expect_used)]

use std::path::Path;

use arc_sim::chaos::{Profile, examine, shrink};
use arc_sim::plan::{Action, Plan};
use arc_sim::{Simulation, scenario, strategy};
use controller_core::Release;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

fn profile() -> Profile {
    Profile::named("pr").expect("built in")
}

/// A bug of a release is found, proptest leaves out what is not needed, and the rest is a scenario file that anybody can run.
#[test]
fn a_failure_shrinks_and_is_saved_as_a_scenario() {
    let plans = strategy::plans(profile(), Release::V0_11_0);
    let owned = |plan: &Plan| {
        let report = Simulation::plan(plan.clone()).run();
        report.violations().iter().any(|v| v.invariant == "owned-by-user")
    };
    let found = runner(60).run(&plans, |plan| match owned(&plan) {
        true => Err(TestCaseError::fail("the user's set was deleted")),
        false => Ok(()),
    });
    let Err(TestError::Fail(_, small)) = found else { panic!("sixty worlds are plenty: {found:?}") };
    assert!(owned(&small) && small.actions.len() <= 3, "{}", small.to_yaml());
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("strategies");
    let saved = strategy::failing(&small, &dir, 500).expect("written");
    let (finding, path) = saved.iter().find(|(f, _)| f.class.invariant == "owned-by-user").expect("it still fails");
    let text = std::fs::read_to_string(path).expect("saved");
    let loaded = scenario::load("saved.yaml", &text).unwrap_or_else(|e| panic!("{}", e.render(false)));
    let again = loaded.plan(None, Release::V0_11_0, loaded.seed()).expect("it has no variants");
    assert!(examine(&again, None).classes.contains_key(&finding.class));
}

/// The tree proposes what chaos would try: with the same answers it ends with the same plan.
#[test]
fn a_tree_shrinks_as_chaos_does() {
    let plans = strategy::plans(profile(), Release::V0_11_0);
    let mut runner = runner(1);
    let mut shrunk = 0;
    while shrunk < 3 {
        let mut tree = proptest::strategy::Strategy::new_tree(&plans, &mut runner).expect("nothing is rejected");
        let first = tree.current();
        // A property of the plan alone: it holds at least one job and one fault.
        let bad = |plan: &Plan| {
            let has = |f: fn(&Action) -> bool| plan.actions.iter().any(|a| f(&a.what));
            has(|a| matches!(a, Action::Job(_))) && has(|a| matches!(a, Action::Fault(_)))
        };
        if !bad(&first) {
            continue;
        }
        shrunk += 1;
        let mut moved = tree.simplify();
        while moved {
            moved = if bad(&tree.current()) { tree.simplify() } else { tree.complicate() };
        }
        let by_chaos = shrink::shrink(&first, true, &mut |p| bad(p), 1_000);
        assert!(by_chaos.minimal && bad(&tree.current()));
        assert_eq!(tree.current().to_yaml(), by_chaos.plan.to_yaml());
        assert_eq!(tree.current().actions.len(), 2);
    }
}

/// Who gives up in the middle goes back to the last plan that failed.
#[test]
fn an_abandoned_search_ends_with_a_plan_that_failed() {
    let plans = strategy::plans(profile(), Release::V0_11_0);
    let mut tree = proptest::strategy::Strategy::new_tree(&plans, &mut runner(1)).expect("nothing is rejected");
    let first = tree.current();
    assert!(tree.simplify() && tree.current() != first);
    while tree.complicate() {}
    assert_eq!(tree.current(), first);
}
