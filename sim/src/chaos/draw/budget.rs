//! The fault budget: takes out of a drawn plan what no correct system survives, so that every finding is one.
//!
//! Never makes a plan harder.

use std::collections::BTreeMap;

use arc_api::Str;

use controller_core::Release;

use crate::plan::fault::NodeMode;
use crate::plan::world::{ContainerMode, DindLayout};
use crate::plan::{
    Action, ApiStatus, Dur, Fault, Glob, ObjectIs, ObjectState, Operator, Plan, PlannedAction, Trigger, When, WorldSpec,
};

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
    let world = &plan.world;
    plan.actions.retain_mut(|a| stays_one(a, world));
    plan.actions.retain(|a| !denies(a));
    wait_for_the_end(plan);
    if plan.release() == Release::Next {
        order_daemons(plan);
    }
}

/// A runner and a daemon side by side start in any order, and again after their node was away: only a sidecar is waited for.
/// Nobody who uses the corrected controller's chart has them so.
fn order_daemons(plan: &mut Plan) {
    for cluster in &mut plan.world.clusters {
        // Sidecars came with 1.29.
        let dind = cluster.scale_sets.iter().any(|s| s.container_mode == ContainerMode::Dind);
        if dind && cluster.kubernetes == "1.28" {
            cluster.kubernetes = "1.30".into();
        }
    }
    for set in plan.world.clusters.iter_mut().flat_map(|c| &mut c.scale_sets) {
        if set.dind.layout == DindLayout::TwoContainers {
            set.dind.layout = DindLayout::Chart;
        }
        // A template of the user's own, and without the chart's probe.
        set.dind.pre_stop = false;
    }
}

/// Every fault ends with the time for faults.
fn ends_in_time(action: &mut PlannedAction, run_for: Dur) -> bool {
    let (Action::Fault(_), When::At(at)) = (&action.what, &action.when) else { return true };
    let left = Dur(run_for.0.saturating_sub(at.0));
    action.lasts = Some(action.lasts.unwrap_or(left).min(left));
    left > Dur::ZERO
}

/// A server that says of what it has that it has not is believed by everybody: there is nobody else to ask.
fn denies(action: &PlannedAction) -> bool {
    matches!(&action.what, Action::Fault(Fault::ApiError(f)) if f.status == ApiStatus::Http(404))
}

/// Replicas that elect nobody work side by side for ever, and each undoes what the other makes. The chart turns the election on
/// with `replicaCount` above 1; who scales the Deployment by hand from one replica gets none (arc-controllers.md,
/// `--enable-leader-election`).
fn stays_one(action: &mut PlannedAction, world: &WorldSpec) -> bool {
    let Action::Operator(Operator::ScaleController(s)) = &mut action.what else { return true };
    let elects = world.clusters.iter().flat_map(|c| &c.controllers).all(|c| c.replicas > 1);
    s.replicas = s.replicas.filter(|n| *n <= 1 || elects);
    s.replicas.is_some() || s.restart || s.leader_change
}

/// Who installs a chart again waits until the user's object of the old release is gone. Helm does not: it takes objects over that
/// are being deleted, says `deployed`, and nobody can take a deletion back (recorded; kubernetes-api.md §9.4).
fn wait_for_the_end(plan: &mut Plan) {
    let mut gone: BTreeMap<Str, (Str, Dur)> = BTreeMap::new();
    let mut order: Vec<usize> = (0..plan.actions.len()).collect();
    order.sort_by_key(|n| plan.actions[*n].when.at());
    for n in order {
        let action = &mut plan.actions[n];
        let Some(at) = action.when.at() else { continue };
        match &action.what {
            Action::Operator(Operator::Uninstall(u)) => {
                if let Some(set) = &u.chart.scale_set {
                    gone.insert(set.name.clone(), (action.id.clone(), at));
                }
            }
            Action::Operator(Operator::Install(i)) => {
                let Some(set) = &i.chart.scale_set else { continue };
                let Some((id, since)) = gone.get(&set.name) else { continue };
                let object = ObjectState {
                    kind: Glob("autoscalingrunnersets".into()),
                    name: Glob(set.name.clone()),
                    scale_set: None,
                    is: ObjectIs::Gone,
                    phase: None,
                    count: 1,
                };
                action.when = When::Event(Box::new(Trigger {
                    object: Some(object),
                    since: Some(id.clone()),
                    after: Some(Dur(at.0.saturating_sub(since.0))),
                    ..Trigger::default()
                }));
            }
            _ => {}
        }
    }
}
