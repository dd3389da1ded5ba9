//! Deliberate faults in the corrected controller, and how long it takes until an invariant notices each: the test of the tests.
//!
//! Two sorts: every switch of `next` turned back to what a release does, and operators that bend its own reconcilers and its
//! listener (a finalizer that is not added, two writes swapped, a conflict swallowed, a deadline off). Draws no worlds: they are
//! given. A mutant that no world tells from `next` carries the explanation, or names what is missing to see it.
//!
//! Reading order: [`Mutant`], [`all`], [`hunt`] → `switches`, `reconcilers`, `listening` (the faults) → `bend` (how) → `unseen`, `table`.

mod bend;
mod listening;
mod reconcilers;
mod switches;
mod table;
mod unseen;

use std::sync::Arc;

use arc_api::Str;
use serde::Serialize;

use crate::chaos::seed::caught;
use crate::outcome::{Ending, RunReport};
use crate::own::{Controller, OwnMachines};
use crate::plan::Plan;
use crate::world::{RunOptions, run_with};

pub use table::table;

/// What a mutant changes.
#[derive(Clone, Debug)]
enum Change {
    Switch { name: &'static str, value: &'static str },
    Reconciler(bend::Bent),
    Listener(listening::Bend),
}

/// One deliberate fault in `next`.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// Unique: `switch ers_gate=always`, `er-finalizer-kept`.
    pub id: Str,
    /// What is wrong with it, in a sentence.
    pub what: Str,
    /// Which part of ARC it is in: `AutoscalingRunnerSet`, `listener`, …; of a switch: `switch`.
    pub part: &'static str,
    /// Why nobody sees it but by chance, or what it would take; none if it is seen.
    pub unseen: Option<&'static str>,
    change: Change,
}

impl Mutant {
    /// Changes the plan of a world of `next`.
    pub fn apply(&self, plan: &mut Plan) {
        if let Change::Switch { name, value } = self.change {
            plan.switch(name, value);
        }
    }
    /// The machines that stand in the places of `next`'s.
    pub fn machines(&self) -> OwnMachines {
        let mut own = OwnMachines::default();
        match &self.change {
            Change::Switch { .. } => {}
            Change::Reconciler(bent) => own.set_reconciler(bent.controller, Arc::new(*bent)),
            Change::Listener(bend) => own.set_listener(Arc::new(*bend)),
        }
        own
    }
}

/// All mutants: switches in their order, then operators on reconcilers, then those on the listener.
pub fn all() -> Vec<Mutant> {
    let mut all = switches::all();
    all.extend(reconcilers::rows().into_iter().map(|row| Mutant {
        id: row.id.into(),
        what: row.what.into(),
        part: part(row.controller),
        unseen: None,
        change: Change::Reconciler(bend::Bent { controller: row.controller, bend: row.bend }),
    }));
    all.extend(listening::rows().into_iter().map(|row| Mutant {
        id: row.id.into(),
        what: row.what.into(),
        part: "listener",
        unseen: None,
        change: Change::Listener(row.bend),
    }));
    for mutant in &mut all {
        mutant.unseen = unseen::why(&mutant.id);
    }
    all
}

fn part(controller: Controller) -> &'static str {
    controller.kind().as_str()
}

/// What became of a mutant.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Hunted {
    /// Which.
    pub mutant: Str,
    /// Worlds that it ran in.
    pub seeds: u64,
    /// Worlds in which it made another history than `next`: none means that nothing led to the fault.
    pub different: u64,
    /// Events of all of them: what the hunt cost, whatever the machine.
    pub events: u64,
    /// The world that killed it, if any did.
    pub killed: Option<Killed>,
}

/// How a mutant was found out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Killed {
    /// The seed of the world.
    pub seed: u64,
    /// The invariant that was violated first, which `next` keeps in the same world.
    pub invariant: Str,
    /// What was seen.
    pub said: Str,
}

/// Runs a mutant in the worlds of `seeds` until an invariant notices it.
///
/// A violation counts only if `next` itself keeps every invariant in the same world. `next` says what its run came to, so that it
/// is made once for all mutants: fingerprint, and whether it was clean.
pub fn hunt(
    mutant: &Mutant,
    seeds: impl IntoIterator<Item = u64>,
    mut plan: impl FnMut(u64) -> Plan,
    mut next: impl FnMut(u64, &Plan) -> (u64, bool),
) -> Hunted {
    let own = Arc::new(mutant.machines());
    let mut hunted = Hunted { mutant: mutant.id.clone(), seeds: 0, different: 0, events: 0, killed: None };
    for seed in seeds {
        let original = plan(seed);
        let (fingerprint, clean) = next(seed, &original);
        if !clean {
            continue;
        }
        let mut bent = original;
        mutant.apply(&mut bent);
        hunted.seeds += 1;
        let options = RunOptions { stop_at_violation: true, ..RunOptions::default() };
        // A bent machine may break what ours are sure of; that is noticed as well.
        let Some(report) = caught(|| run_with(&bent, &own, &options)) else {
            hunted.different += 1;
            hunted.killed = Some(Killed { seed, invariant: "panic".into(), said: "the controller panics".into() });
            break;
        };
        hunted.events += report.events;
        if let Some((invariant, said)) = noticed(&report) {
            hunted.different += 1;
            hunted.killed = Some(Killed { seed, invariant, said });
            break;
        }
        hunted.different += u64::from(report.fingerprint != fingerprint);
    }
    hunted
}

/// `next` in a world: its fingerprint, and whether it kept every invariant.
pub fn baseline(plan: &Plan) -> (u64, bool) {
    let report = run_with(plan, &Arc::default(), &RunOptions::default());
    (report.fingerprint, noticed(&report).is_none())
}

/// What a run violated first.
fn noticed(report: &RunReport) -> Option<(Str, Str)> {
    match report.violations.first() {
        Some(v) => Some((v.invariant.into(), v.said.clone())),
        None if report.ending == Ending::OutOfBudget => {
            Some(("budget".into(), "more events than a run may have".into()))
        }
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use controller_core::Release;

    use super::*;
    use crate::chaos::{Profile, draw};

    /// What is bent must be the one thing that a row says: a pass or a listener in a bending that bends nothing is `next`.
    #[test]
    fn a_bending_of_nothing_changes_no_history() {
        let profile = Profile::named("pr").expect("a built-in profile");
        let mut own = OwnMachines::default();
        for controller in Controller::ALL {
            own.set_reconciler(controller, Arc::new(bend::Bent { controller, bend: bend::Bend::NONE }));
        }
        own.set_listener(Arc::new(listening::Bend::NONE));
        let own = Arc::new(own);
        for seed in 0..40 {
            let plan = draw(seed, &profile, Release::Next);
            let bent = run_with(&plan, &own, &RunOptions::default());
            assert_eq!(bent.fingerprint, baseline(&plan).0, "seed {seed}");
        }
    }

    #[test]
    fn explanations_are_of_mutants_that_there_are() {
        let all = all();
        for id in unseen::ids() {
            assert!(all.iter().any(|m| m.id == id), "{id}");
        }
        let mut ids: Vec<_> = all.iter().map(|m| &m.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all.len());
    }
}
