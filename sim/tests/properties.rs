//! Small worlds, workloads, operators and faults at random: on the corrected controller every promise holds.
//!
//! `ARC_SIM_CASES` says how many (default 300); `ARC_SIM_SEED` from which case on. A failure is shrunk and written as a scenario
//! file, which is printed; files of failures that were repaired are in `scenarios/found` and run with all other scenarios.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

mod drawn;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arc_sim::outcome::{Ending, RunReport};
use arc_sim::plan::Plan;
use arc_sim::world::{RunOptions, run};
use drawn::Case;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// What is broken: the class of a failure, which shrinking keeps.
fn broken(report: &RunReport) -> Vec<(&'static str, &'static str)> {
    let mut classes: Vec<_> = report.violations.iter().map(|v| (v.invariant, v.component)).collect();
    if report.ending != Ending::Completed {
        classes.push(("ends", "world"));
    }
    classes.sort_unstable();
    classes.dedup();
    classes
}

fn once(plan: &Plan) -> RunReport {
    run(plan, &RunOptions::default())
}

/// The smallest case that still fails like this one.
fn shrink(tree: &mut dyn ValueTree<Value = Case>, class: (&'static str, &'static str), most: u32) -> Case {
    let fails = |case: &Case| broken(&once(&case.plan())).contains(&class);
    let mut best = tree.current();
    let mut tries = 0;
    if !tree.simplify() {
        return best;
    }
    while tries < most {
        tries += 1;
        let case = tree.current();
        let moved = if fails(&case) {
            best = case;
            tree.simplify()
        } else {
            tree.complicate()
        };
        if !moved {
            break;
        }
    }
    best
}

/// The scenario file that reproduces a failure, with what it shows.
fn found(case: &Case, class: (&'static str, &'static str)) -> String {
    let report = once(&case.plan());
    let mut text = String::new();
    for v in report.violations.iter().filter(|v| (v.invariant, v.component) == class) {
        let _ = writeln!(text, "# {} {} {}: {}", v.at, v.invariant, v.about.join(", "), v.said);
    }
    text + &case.yaml()
}

#[test]
fn every_promise_holds_on_the_corrected_controller() {
    let (from, cases) = (number("ARC_SIM_SEED", 0), number("ARC_SIM_CASES", 300));
    let shrinks = number("ARC_SIM_SHRINKS", 300) as u32;
    let mut failures: BTreeMap<(&'static str, &'static str), (u64, u64, String)> = BTreeMap::new();
    let (mut hit, mut missed) = (BTreeMap::<&'static str, u32>::new(), BTreeMap::<&'static str, u32>::new());
    let mut events = 0;
    for case_number in from..from + cases {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&case_number.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config::default(), rng);
        let mut tree = drawn::cases(4).new_tree(&mut runner).expect("strategies that reject nothing");
        let plan = tree.current().plan();
        let report = once(&plan);
        events += report.events;
        for (action, hits) in plan.actions.iter().zip(&report.hits) {
            if let arc_sim::plan::Action::Fault(f) = &action.what {
                *if *hits > 0 { &mut hit } else { &mut missed }.entry(f.id()).or_default() += 1;
            }
        }
        let Some(class) = broken(&report).into_iter().find(|c| !failures.contains_key(c)) else {
            for class in broken(&report) {
                failures.entry(class).and_modify(|f| f.1 += 1);
            }
            continue;
        };
        let small = shrink(&mut tree, class, shrinks);
        failures.insert(class, (case_number, 1, found(&small, class)));
    }
    println!("{cases} cases, {events} events; faults that hit: {hit:?}; that did not: {missed:?}");
    let mut said = String::new();
    for ((invariant, component), (case, times, yaml)) in &failures {
        let path = std::env::temp_dir().join(format!("found-{case}-{invariant}.yaml"));
        let place = match std::fs::write(&path, yaml) {
            Ok(()) => path.display().to_string(),
            Err(error) => format!("not written: {error}"),
        };
        let _ = writeln!(said, "{invariant} ({component}), case {case}, {times} in all, {place}\n{yaml}");
    }
    assert!(failures.is_empty(), "{} classes of failures in {cases} cases\n{said}", failures.len());
}
