//! One seed: its plan, run to the end, and what was seen. Never keeps a trace: whoever wants to read one runs the plan again.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arc_api::{Str, Time};

use crate::invariant::CATALOGUE;
use crate::marks::Marks;
use crate::outcome::{Ending, RunReport};
use crate::plan::{Action, Fault, Plan};
use crate::world::{RunOptions, run};

/// What kind of failure: the promise and who broke it. Never the words, which have names and numbers in them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Class {
    /// Id of the promise; `panic` for a bug of the simulator itself.
    pub invariant: Str,
    /// Who broke it.
    pub component: Str,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.invariant, self.component)
    }
}

impl Class {
    /// The class of a panic.
    pub fn panic() -> Class {
        Class { invariant: Str::new_static("panic"), component: Str::new_static("simulator") }
    }
    /// Reads what [`Class`] writes.
    pub fn read(text: &str) -> Option<Class> {
        let (invariant, component) = text.split_once('/')?;
        Some(Class { invariant: invariant.into(), component: component.into() })
    }
}

/// What was seen of one plan.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// The run's fingerprint.
    pub fingerprint: u64,
    /// Events handled.
    pub events: u64,
    /// Virtual time.
    pub ended_at: Time,
    /// Classes of failures, and when each was first seen.
    pub classes: BTreeMap<Class, Time>,
    /// Families of faults that were planned, by their place in [`Fault::IDS`].
    pub drawn: u64,
    /// Families of faults that changed something.
    pub fired: u64,
    /// Promises that were looked at, by their place in the catalogue.
    pub looked: u64,
    /// Marks that were reached.
    pub marks: Marks,
}

/// Runs a plan. `only` ends the run at the first failure of that class.
pub fn examine(plan: &Plan, only: Option<&Class>) -> Seen {
    let known = only.and_then(|c| CATALOGUE.iter().find(|e| e.id == c.invariant));
    let options = RunOptions { stop_on: known.map(|e| e.id), ..RunOptions::default() };
    caught(|| run(plan, &options)).map_or_else(Seen::of_panic, |report| Seen::of(plan, &report))
}

/// What a run that may panic came to; none if it panicked. The panic hook decides what is said about that.
pub fn caught<R>(run: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(run)).ok()
}

impl Seen {
    fn of_panic() -> Seen {
        Seen { classes: [(Class::panic(), Time::ZERO)].into(), ..Seen::default() }
    }
    /// What there is to see of a run of a plan.
    pub fn of(plan: &Plan, report: &RunReport) -> Seen {
        let mut classes = BTreeMap::new();
        for v in &report.violations {
            classes.entry(Class { invariant: v.invariant.into(), component: v.component.into() }).or_insert(v.at);
        }
        if report.ending == Ending::OutOfBudget {
            let class = Class { invariant: "restarts-are-bounded".into(), component: "budget".into() };
            classes.entry(class).or_insert(report.ended_at);
        }
        if report.ending == Ending::Unfurnished {
            classes.insert(Class { invariant: "unfurnished".into(), component: "world".into() }, Time::ZERO);
        }
        let (mut drawn, mut fired) = (0, 0);
        for (action, hits) in plan.actions.iter().zip(&report.hits) {
            if let Action::Fault(fault) = &action.what {
                let bit = Fault::IDS.iter().position(|id| *id == fault.id()).map_or(0, |at| 1 << at);
                drawn |= bit;
                fired |= if *hits > 0 { bit } else { 0 };
            }
        }
        let places = CATALOGUE.iter().enumerate();
        let looked = places.filter(|(_, e)| report.evaluated.get(e.id).is_some_and(|n| *n > 0)).map(|(at, _)| 1 << at);
        Seen {
            fingerprint: report.fingerprint,
            events: report.events,
            ended_at: report.ended_at,
            classes,
            drawn,
            fired,
            looked: looked.sum(),
            marks: report.marks,
        }
    }
}
