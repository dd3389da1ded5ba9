//! The fault budget: takes out of a drawn plan what no correct system survives, so that every finding is one.
//!
//! Never makes a plan harder.

use crate::plan::fault::NodeMode;
use crate::plan::{Action, Dur, Fault, Operator, Plan, PlannedAction, When};

/// Keeps a plan within the budget.
pub(super) fn keep(plan: &mut Plan) {
    let nodes = plan.world.clusters.iter().map(|c| c.nodes).min().unwrap_or(1);
    let mut lost = 0;
    // A cluster keeps a node: without one nothing can run, whoever controls it.
    plan.actions.retain(|a| match &a.what {
        Action::Fault(Fault::NodeFault(f)) if f.mode != NodeMode::Drain => {
            lost += 1;
            lost < nodes
        }
        _ => true,
    });
    // A set that is uninstalled for good, and whose registration somebody else removed meanwhile, has nobody to ask for either.
    let uninstalls = plan.actions.iter().any(|a| matches!(&a.what, Action::Operator(Operator::Uninstall(_))));
    if uninstalls {
        plan.actions.retain(|a| !matches!(&a.what, Action::Fault(Fault::GhScalesetLoss(_))));
    }
    let run_for = plan.run_for;
    plan.actions.retain_mut(|a| ends_in_time(a, run_for));
}

/// Every fault ends with the time for faults.
fn ends_in_time(action: &mut PlannedAction, run_for: Dur) -> bool {
    let (Action::Fault(_), When::At(at)) = (&action.what, &action.when) else { return true };
    let left = Dur(run_for.0.saturating_sub(at.0));
    action.lasts = Some(action.lasts.unwrap_or(left).min(left));
    left > Dur::ZERO
}
