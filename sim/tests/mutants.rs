//! Deliberate faults in the corrected controller are noticed, each by the invariant that is there for it.
//!
//! All of them, with a budget: `arc-sim mutants --budget 1000`.
#![allow(clippy::expect_used)]

use arc_sim::Release;
use arc_sim::chaos::{Profile, draw};
use arc_sim::mutants::{all, baseline, hunt};

/// Worlds in which each of [`NOTICED`] is found out.
const BUDGET: u64 = 40;

/// A mutant, and an invariant that notices it in one of the first worlds.
const NOTICED: &[(&str, &str)] = &[
    ("switch ers_gate=always", "max-runners-respected"),
    ("switch er_backoff=none", "restarts-are-bounded"),
    ("switch er_backoff=lost-wakeup", "reported-runners-can-serve"),
    ("switch outdated=tears-down", "owned-by-user"),
    ("switch ars_listener_binding=ignored", "references-resolve"),
    ("switch listener_order=delete-then-acquire", "job-gets-runner"),
    ("er-never-deregisters", "reported-runners-can-serve"),
    ("er-finalizer-kept", "deletion-finishes"),
    ("er-failures-forgotten", "restarts-are-bounded"),
    ("er-deadline-too-short", "restarts-are-bounded"),
    ("ers-finished-kept", "surplus-disappears"),
    ("ers-status-dropped", "counters-true"),
    ("ars-status-dropped", "counters-true"),
    ("ars-scale-set-kept", "nothing-orphaned"),
    ("ars-runner-set-kept", "one-runner-set"),
    ("al-role-not-made", "listener-is-polling"),
    ("li-never-acknowledges", "nothing-orphaned"),
    ("li-hammers-a-conflict", "restarts-are-bounded"),
    ("li-max-off-by-one", "max-runners-respected"),
    ("li-min-ignored", "min-runners-kept"),
    ("li-target-one-more", "surplus-disappears"),
];

#[test]
fn a_deliberate_fault_is_noticed() {
    let profile = Profile::named("nightly").expect("a built-in profile");
    let all = all();
    let mut wrong = Vec::new();
    for (id, invariant) in NOTICED {
        let mutant = all.iter().find(|m| m.id == *id).expect("a mutant of this name");
        let world = |seed| draw(seed, &profile, Release::Next);
        // `next` is asked only about the world that killed the mutant: the others do not matter here.
        let mut seeds = 0..BUDGET;
        loop {
            let hunted = hunt(mutant, seeds.clone(), world, |_, _| (0, true));
            let Some(killed) = hunted.killed else {
                wrong.push(format!("{id} is not noticed"));
                break;
            };
            if baseline(&world(killed.seed)).1 {
                if killed.invariant != *invariant {
                    wrong.push(format!("{id} is noticed by {}, not by {invariant}", killed.invariant));
                }
                break;
            }
            seeds = killed.seed + 1..BUDGET;
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
