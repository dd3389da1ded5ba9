//! A property suite as somebody else would write it: strategies, a world per case, failures that shrink and are saved.
#![allow(clippy::expect_used)]

use std::path::Path;

use arc_sim::chaos::{Profile, examine};
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
    let owned = |plan: &arc_sim::plan::Plan| {
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

/// Leaving out goes from the last action to the first and takes back what is needed.
#[test]
fn a_tree_leaves_out_one_action_at_a_time() {
    let plans = strategy::plans(profile(), Release::V0_11_0);
    let mut runner = runner(1);
    let mut tree = (0..50)
        .map(|_| proptest::strategy::Strategy::new_tree(&plans, &mut runner).expect("nothing is rejected"))
        .find(|t| t.current().actions.len() > 5)
        .expect("one of fifty");
    let first = tree.current();
    assert!(tree.simplify() && tree.current().actions.len() == first.actions.len() - 1);
    assert!(tree.complicate() && tree.current() == first);
    assert!(tree.simplify() && tree.current().actions.last() == first.actions.last());
}
