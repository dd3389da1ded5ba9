//! What must hold of the true world: always, and, once faults and operators leave it alone, within a bound.
//!
//! Observers see commits, service events, process ends and calls as they happen ([`Ledger`] keeps what they need), never a
//! controller's cache, and never scan the world. Deadlines are kept by [`Bounds`]: a condition that turns bad starts a clock,
//! one that turns good stops it. Nothing here knows which faults are injected, only since when the world has been left alone.

mod bounds;
mod catalogue;
mod churn;
mod ending;
mod ledger;
mod observe;
mod service;

use std::collections::BTreeMap;

use arc_api::{Str, Time};

pub use bounds::{Bounds, Check};
pub use catalogue::{CATALOGUE, Entry, Sort, entry};
pub(crate) use ending::{is_named_by, is_used_by, orphans, service_orphans};
pub use ledger::{JitUse, Ledger, RunnerSetState, RunnerState, SetKey, SetState};
pub(crate) use observe::says_not_starting;

use crate::trace::EventId;

/// A broken promise.
#[derive(Clone, PartialEq, Debug)]
pub struct Violation {
    /// Which promise.
    pub invariant: &'static str,
    /// Who broke it, coarsely: what a failure class is made of.
    pub component: &'static str,
    /// When.
    pub at: Time,
    /// What exactly.
    pub said: Str,
    /// Objects it is about.
    pub about: Vec<Str>,
    /// The trace event it was noticed at.
    pub cause: EventId,
}

/// All observers with what they remember.
#[derive(Clone, Debug)]
pub struct Invariants {
    pub(crate) ledger: Ledger,
    pub(crate) bounds: Bounds,
    violations: Vec<Violation>,
    /// How often each promise was looked at: one that never was proves nothing. Found by the address of its name, which is
    /// written in several places and may so have several entries; [`Invariants::evaluated`] adds them up.
    evaluated: Vec<(&'static str, u64)>,
    seen: std::collections::BTreeSet<(&'static str, Str)>,
    broken: BTreeMap<&'static str, usize>,
    /// What observers found since the world last asked.
    reports: Vec<Violation>,
    /// Whether there are scale sets that a fault confined to another one must not touch.
    pub(crate) has_tenants: bool,
}

/// Violations of one promise that are kept in full; what comes after is counted only.
const KEPT: usize = 20;

impl Invariants {
    /// Observers of a world with these bounds; `has_tenants` if a fault is confined to one of several scale sets.
    pub fn new(bounds: Bounds, has_tenants: bool) -> Invariants {
        Invariants {
            ledger: Ledger::default(),
            bounds,
            violations: Vec::new(),
            evaluated: Vec::new(),
            seen: Default::default(),
            broken: BTreeMap::new(),
            reports: Vec::new(),
            has_tenants,
        }
    }
    /// How often any promise was broken, also beyond what is kept in full.
    pub fn broken(&self) -> usize {
        self.broken.values().sum()
    }
    /// What was broken, in order of time; the same promise about the same object is reported once, and of each promise the
    /// first twenty.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }
    /// Whether a promise was broken.
    pub fn is_broken(&self, id: &str) -> bool {
        !self.broken.is_empty() && self.broken.contains_key(id)
    }
    /// How often each promise was looked at.
    pub fn evaluated(&self) -> BTreeMap<&'static str, u64> {
        let mut sums = BTreeMap::new();
        for (id, times) in &self.evaluated {
            *sums.entry(*id).or_default() += times;
        }
        sums
    }
    /// Notes that a promise was looked at.
    pub(crate) fn looked(&mut self, id: &'static str) {
        match self.evaluated.iter_mut().find(|(known, _)| std::ptr::eq(*known, id)) {
            Some((_, times)) => *times += 1,
            None => self.evaluated.push((id, 1)),
        }
    }
    /// Takes what observers found: the world knows what it came from.
    pub(crate) fn take_reports(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.reports)
    }
    /// Reports a broken promise; true if it is news.
    pub(crate) fn violate(&mut self, violation: Violation) -> bool {
        debug_assert!(entry(violation.invariant).is_some(), "`{}` is not in the catalogue", violation.invariant);
        let about = violation.about.first().cloned().unwrap_or_default();
        if !self.seen.insert((violation.invariant, about)) {
            return false;
        }
        let count = self.broken.entry(violation.invariant).or_default();
        *count += 1;
        if *count > KEPT {
            return false;
        }
        self.violations.push(violation);
        true
    }
}
