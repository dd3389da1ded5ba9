//! Runs a plan in the world and tells what came of it in the words of reports. Never judges.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{EventLine, RunOptions, RunReport, Violation};
use crate::outcome::{self, Ending};
use crate::own::OwnMachines;
use crate::plan::{Action, Plan};
use crate::scenario::vocabulary::METRICS;
use crate::trace::{Trace, TraceEvent, What};
use crate::world;

/// Longest causal chain that is told.
const CAUSES_MAX: usize = 20;

/// Runs a plan. Events are told only if the trace is asked for; without it a run is several times as fast.
pub fn run(plan: &Plan, options: &RunOptions) -> RunReport {
    run_with(plan, &Arc::default(), options)
}

/// Runs a plan in a world in which some machines are somebody else's.
pub fn run_with(plan: &Plan, own: &Arc<OwnMachines>, options: &RunOptions) -> RunReport {
    let made = world::run_with(plan, own, &world::RunOptions { trace: options.trace, ..world::RunOptions::default() });
    tell(plan, options, &made)
}

/// Tells what came of a run that was made.
pub fn tell(plan: &Plan, options: &RunOptions, made: &outcome::RunReport) -> RunReport {
    let trace = &made.trace;
    let hit = || plan.actions.iter().zip(&made.hits).filter(|(_, hits)| **hits > 0).map(|(action, _)| action);
    let violations = made.violations.iter().map(|v| Violation {
        invariant: v.invariant.into(),
        component: v.component.into(),
        at: v.at,
        said: v.said.clone(),
        about: v.about.clone(),
        cause: trace.causes(v.cause, CAUSES_MAX).into_iter().map(|e| line(trace, e)).collect(),
    });
    let events = trace.events();
    RunReport {
        gave_up: match made.ending {
            // A world that goes round without time passing is a finding, and the engine has reported it as one.
            Ending::Completed | Ending::Stopped | Ending::HotLoop => None,
            Ending::OutOfBudget => Some(arc_api::format_smolstr!("more than {} events", plan.limits.events)),
            Ending::Unfurnished => Some("the installed release does not make the runners of `existing.runners`".into()),
        },
        violations: violations.collect(),
        pending: made.pending.clone(),
        marks: hit()
            .filter_map(|action| match &action.what {
                Action::Mark(text) => Some(text.clone()),
                _ => None,
            })
            .chain(made.marks.iter().map(|m| m.id().into()))
            .collect(),
        metrics: metrics(&made.figures),
        events: made.events,
        fingerprint: made.fingerprint,
        fired: hit().map(|action| action.id.clone()).collect(),
        ended_at: made.ended_at,
        tail: events.iter().rev().take(options.tail).rev().map(|e| line(trace, e)).collect(),
        trace: options.trace.then(|| events.iter().map(|e| line(trace, e)).collect()),
    }
}

/// All metrics: what the engine counted, zero for what it never met, and what follows from both.
fn metrics(figures: &BTreeMap<&'static str, i64>) -> BTreeMap<&'static str, f64> {
    let figure = |name: &str| figures.get(name).copied().unwrap_or(0);
    let served = figure("jobs_queued") - figure("jobs_never_started");
    let wasted = (figure("registrations") - served).max(0);
    let known = METRICS.iter().map(|m| (m.id, figure(m.id) as f64));
    known.chain(figures.iter().map(|(id, v)| (*id, *v as f64))).chain([("runners_wasted", wasted as f64)]).collect()
}

fn line(trace: &Trace, event: &TraceEvent) -> EventLine {
    let kind = match &event.what {
        What::Kube { .. } => "kube",
        What::Service { .. } | What::ServiceEvent(_) => "github",
        What::ProcessStart { .. } | What::ProcessExit { .. } | What::Signal(_) => "process",
        What::Log { .. } => "log",
        What::Lost { .. } => "network",
        What::Fault { .. } => "fault",
        What::Operator { .. } => "operator",
        What::Commit { .. } => "node",
        What::Violation { .. } => "FAIL",
    };
    EventLine {
        at: event.at,
        number: u64::from(event.id),
        kind: kind.into(),
        text: arc_api::format_smolstr!("{}: {}", trace.name(event.actor), event.what),
    }
}
