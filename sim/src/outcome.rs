//! What a run came to: the facts that expectations are judged by and reports are rendered from.

use std::collections::BTreeMap;

use arc_api::{Str, Time};

use crate::invariant::Violation;
use crate::trace::Trace;

/// Why a run stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// It reached the plan's end.
    Completed,
    /// It was to stop at the first violation.
    Stopped,
    /// Too many events at one instant: something goes round without time passing.
    HotLoop,
    /// Too many events in all.
    OutOfBudget,
    /// It never began: the installed release does not make the runners that `existing` says it had made.
    Unfurnished,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct RunReport {
    /// Why it stopped.
    pub ending: Ending,
    /// Broken promises, in order of time.
    pub violations: Vec<Violation>,
    /// How often each promise was looked at.
    pub evaluated: BTreeMap<&'static str, u64>,
    /// Figures by name.
    pub figures: BTreeMap<&'static str, i64>,
    /// ERROR lines by message, and how often.
    pub error_lines: BTreeMap<Str, u64>,
    /// Effects by action of the plan: an action with none was vacuous.
    pub hits: Vec<u32>,
    /// Interesting states that were reached.
    pub marks: crate::marks::Marks,
    /// Virtual time reached.
    pub ended_at: Time,
    /// Events handled.
    pub events: u64,
    /// The run's fingerprint.
    pub fingerprint: u64,
    /// What was still bad at the end, oldest first.
    pub pending: Vec<Str>,
    /// The history, if it was kept.
    pub trace: Trace,
}

impl RunReport {
    /// The ids of the promises that were broken, once each.
    pub fn broken(&self) -> Vec<&'static str> {
        let mut ids: Vec<_> = self.violations.iter().map(|v| v.invariant).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }
}
