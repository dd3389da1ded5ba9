//! Deliberate faults in the corrected controller are noticed, each by the invariant that is there for it.
//!
//! All of them, with a budget: `arc-sim mutants --budget 1000`.
#![allow(clippy::expect_used)]

use std::sync::Arc;

use arc_sim::Release;
use arc_sim::chaos::{Profile, draw};
use arc_sim::mutants::{all, baseline};
use arc_sim::world::{RunOptions, run_with};

/// Worlds in which each of [`NOTICED`] is found out.
const BUDGET: u64 = 120;

/// A mutant, and the invariant that is there to notice it: others may notice it sooner.
const NOTICED: &[(&str, &str)] = &[
    ("switch ers_gate=always", "max-runners-respected"),
    ("switch er_backoff=none", "back-off-kept"),
    ("switch er_backoff=lost-wakeup", "reported-runners-can-serve"),
    ("switch outdated=tears-down", "owned-by-user"),
    ("switch ars_listener_binding=ignored", "references-resolve"),
    ("switch listener_order=delete-then-acquire", "job-gets-runner"),
    ("er-never-deregisters", "reported-runners-can-serve"),
    ("er-finalizer-kept", "deletion-finishes"),
    ("er-failures-forgotten", "back-off-kept"),
    ("er-deadline-too-short", "restarts-are-bounded"),
    ("ers-finished-kept", "surplus-disappears"),
    ("ers-status-dropped", "counters-true"),
    ("ars-status-dropped", "counters-true"),
    ("ars-scale-set-kept", "nothing-orphaned"),
    ("ars-runner-set-kept", "one-runner-set"),
    ("al-role-not-made", "listener-is-polling"),
    ("li-never-acknowledges", "nothing-orphaned"),
    ("li-hammers-a-conflict", "restarts-are-bounded"),
    ("li-max-off-by-one", "spec-takes-effect"),
    ("li-min-ignored", "min-runners-kept"),
    ("li-target-one-more", "surplus-disappears"),
];

#[test]
fn a_deliberate_fault_is_noticed_by_what_is_there_for_it() {
    let profile = Profile::named("nightly").expect("a built-in profile");
    let all = all();
    let mut wrong = Vec::new();
    for (id, invariant) in NOTICED {
        let mutant = all.iter().find(|m| m.id == *id).expect("a mutant of this name");
        let own = Arc::new(mutant.machines());
        let options = RunOptions { stop_on: Some(invariant), ..RunOptions::default() };
        let noticed = (0..BUDGET).any(|seed| {
            let original = draw(seed, &profile, Release::Next);
            let mut bent = original.clone();
            mutant.apply(&mut bent);
            run_with(&bent, &own, &options).broken().contains(invariant) && baseline(&original).1
        });
        if !noticed {
            wrong.push(format!("{id} is not noticed by {invariant} in {BUDGET} worlds"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_many_sorts_of_faults() {
    let all = all();
    let operators = all.iter().filter(|m| m.part != "switch").count();
    assert!(
        all.len() - operators >= 40 && operators >= 60,
        "{} switches, {operators} operators",
        all.len() - operators
    );
}

#[test]
fn the_readme_has_every_mutant_and_every_survivor_an_explanation() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let readme = std::fs::read_to_string(path).expect("the README");
    let missing: Vec<_> =
        all().into_iter().filter(|m| !readme.contains(&format!("| {} |", m.id))).map(|m| m.id).collect();
    assert!(missing.is_empty(), "not in the README: {missing:?}; `arc-sim mutants` prints the table");
    assert!(!readme.contains("not explained yet"));
}
