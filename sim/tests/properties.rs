//! Drawn worlds, jobs, operators and faults: on the corrected controller every promise holds. Written with what the crate gives to
//! everybody: [`strategy::plans`], [`Simulation`], [`strategy::failing`].
//!
//! `ARC_SIM_CASES` says how many (default 500), `ARC_SIM_SEED` from which case on, `ARC_SIM_PROFILE` how wild (default `pr`). A
//! failure is shrunk and written as a scenario file, which is printed; files of failures that were repaired are in
//! `scenarios/found` and run with all other scenarios.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use arc_sim::chaos::Profile;
use arc_sim::plan::{Action, Plan};
use arc_sim::{Simulation, strategy};
use controller_core::Release;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// The plan of a case: a runner of its own for each, so that a case is the same whichever came before.
fn plan(case: u64, profile: &Profile) -> Plan {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&case.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let plans = strategy::plans(profile.clone(), Release::Next);
    plans.new_tree(&mut runner).expect("a strategy that rejects nothing").current()
}

#[test]
fn every_promise_holds_on_the_corrected_controller() {
    let (from, cases) = (number("ARC_SIM_SEED", 0), number("ARC_SIM_CASES", 500));
    let name = std::env::var("ARC_SIM_PROFILE").unwrap_or_else(|_| "pr".into());
    let profile = Profile::named(&name).expect("a profile of that name");
    let mut failures: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut hit, mut events) = (BTreeSet::new(), 0);
    for case in from..from + cases {
        let plan = plan(case, &profile);
        let report = Simulation::plan(plan.clone()).run();
        events += report.events();
        hit.extend(plan.actions.iter().filter_map(|action| match &action.what {
            Action::Fault(fault) if report.fired(&action.id) => Some(fault.id()),
            _ => None,
        }));
        let broken: BTreeSet<String> =
            report.violations().iter().map(|v| format!("{}/{}", v.invariant, v.component)).collect();
        for class in broken {
            failures.entry(class).or_insert((case, 0)).1 += 1;
        }
    }
    println!("{cases} cases, {events} events; {} sorts of faults changed something: {hit:?}", hit.len());
    let mut said = String::new();
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("properties");
    let first: BTreeSet<u64> = failures.values().map(|(case, _)| *case).collect();
    for (class, (case, times)) in &failures {
        let _ = writeln!(said, "{class}: case {case}, {times} in all");
    }
    for case in first {
        for (finding, path) in strategy::failing(&plan(case, &profile), &dir, 600).expect("findings can be written") {
            let text = std::fs::read_to_string(&path).expect("it was written");
            let _ = writeln!(said, "{} ({})\n{text}", path.display(), finding.name());
        }
    }
    assert!(failures.is_empty(), "{} classes of failures in {cases} cases\n{said}", failures.len());
    if cases >= 500 && from == 0 {
        assert!(hit.len() >= 20, "only {hit:?} of the faults changed anything");
    }
}
