//! Draws what people do with helm and kubectl. Never draws what nobody could recover from by asking for the same again.

use arc_api::{Str, format_smolstr};
use controller_core::Release;

use super::super::draws::Draws;
use super::{Shape, swarm};
use crate::plan::fault::PodTarget;
use crate::plan::operator::*;
use crate::plan::{Action, Dur, Glob, Operator, PlannedAction, ReleaseRef, SetRef, When, WorldSpec};
use crate::rand::Streams;

fn chart(set: &SetRef) -> ChartRef {
    ChartRef { controller: None, scale_set: Some(set.clone()) }
}

/// Actions, and when controllers are rolled by them.
pub(super) fn draw(streams: &Streams, shape: &Shape<'_>, world: &WorldSpec) -> (Vec<PlannedAction>, Vec<Dur>) {
    let mut out = Vec::new();
    let mut rolls = Vec::new();
    let mut add = |out: &mut Vec<PlannedAction>, at: Dur, cluster: Option<Str>, what: Operator| {
        let id = format_smolstr!("o{}", out.len() + 1);
        let rolled = match &what {
            Operator::Upgrade(u) => u.chart.controller.is_some(),
            Operator::ScaleController(s) => s.restart,
            _ => false,
        };
        rolls.extend(rolled.then_some(at));
        out.push(PlannedAction {
            id,
            when: When::At(at),
            lasts: None,
            ends_with: None,
            cluster,
            what: Action::Operator(what),
        });
    };
    upgrade(&mut Draws::of(streams, "upgrade"), shape, world, &mut |at, what| add(&mut out, at, None, what));
    let weights = swarm(&mut Draws::of(streams, "swarm operators"), &shape.profile.operators, shape.profile.family_off);
    let mut d = Draws::of(streams, "operators");
    for n in 1..=d.between(0, shape.profile.most.operators) {
        let Some(kind) = d.weighted(&weights) else { break };
        let mut d = Draws::of(streams, &format!("operator {n}"));
        let last = (shape.profile.run_for.0.as_secs() as u32).saturating_sub(90).max(31);
        let at = Dur(d.secs(30, last).0 + d.millis(0, 999).0);
        let Some(what) = one(&kind, &mut d, shape, world) else { continue };
        let (again, later) = (d.one_in(2), Dur(at.0 + d.millis(200, 60_000).0));
        let gone = match &what {
            Operator::Uninstall(u) if again => Some(u.chart.clone()),
            _ => None,
        };
        add(&mut out, at, None, what);
        // What was uninstalled is often wanted back, and seldom waited for.
        if let Some(chart) = gone {
            let install = Install {
                chart,
                version: ReleaseRef::Exact(shape.release),
                namespace: None,
                set: SetChange::default(),
                or_upgrade: true,
            };
            add(&mut out, later, None, Operator::Install(install));
        }
    }
    (out, rolls)
}

/// The controllers of a world that began with an older release are upgraded, then their scale sets; or the other way round.
fn upgrade(d: &mut Draws, shape: &Shape<'_>, world: &WorldSpec, add: &mut dyn FnMut(Dur, Operator)) {
    let to = ReleaseRef::Exact(shape.release);
    let (first, gap, sets_first) = (d.secs(40, 120), d.millis(100, 60_000), d.one_in(3));
    if shape.release == Release::Next || world.clusters.iter().all(|c| c.controllers.iter().all(|c| c.release == to)) {
        return;
    }
    let second = Dur(first.0 + gap.0);
    let (controllers_at, sets_at) = if sets_first { (second, first) } else { (first, second) };
    // Controllers are named alike in every cluster, and an action without a cluster is for all of them.
    if let Some(controller) = world.clusters.first().and_then(|c| c.controllers.first()) {
        let chart = ChartRef { controller: Some(controller.name.clone()), scale_set: None };
        let up = Upgrade { chart, version: Some(to), crds: Crds::Replace, set: SetChange::default() };
        add(controllers_at, Operator::Upgrade(up));
    }
    for (set, _) in &shape.sets {
        let up = Upgrade { chart: chart(set), version: Some(to), crds: Crds::Leave, set: SetChange::default() };
        add(sets_at, Operator::Upgrade(up));
    }
}

fn change(d: &mut Draws) -> SetChange {
    let (min, max, image) = (d.between(0, 2), d.between(1, 6), d.one_in(3));
    if image {
        return SetChange { image: Some(format_smolstr!("runner:v{}", d.between(2, 4))), ..SetChange::default() };
    }
    SetChange { min_runners: Some(min), max_runners: Some(max.max(min)), ..SetChange::default() }
}

fn one(kind: &str, d: &mut Draws, shape: &Shape<'_>, world: &WorldSpec) -> Option<Operator> {
    let set = shape.set(d);
    Some(match kind {
        "upgrade" => {
            let (same, change) = (d.one_in(5), change(d));
            let set_change = if same { SetChange::default() } else { change };
            Operator::Upgrade(Upgrade { chart: chart(&set), version: None, crds: Crds::Leave, set: set_change })
        }
        "patch" => Operator::Patch(PatchSet { scale_set: set, set: change(d) }),
        "delete" => {
            let kind = d.one(&["autoscalinglistener", "ephemeralrunnerset", "ephemeralrunner", "pod"]);
            let (some, count) = (d.one_in(2), d.between(1, 2));
            Operator::Delete(Delete {
                kind: Glob(kind.into()),
                name: Glob::default(),
                namespace: Glob::default(),
                scale_set: Some(set),
                phase: None,
                count: some.then_some(count),
                grace: None,
                orphan: false,
            })
        }
        "delete_pod" => Operator::DeletePod(DeletePod {
            target: d.one(&[PodTarget::Runner, PodTarget::Listener, PodTarget::Controller]),
            scale_set: None,
            which: d.one(&[Which::Oldest, Which::Idle, Which::Busy, Which::All]),
            count: None,
            grace: d.one(&[None, None, Some(Dur::ZERO), Some(Dur::secs(1))]),
        }),
        "uninstall" => Operator::Uninstall(Uninstall { chart: chart(&set) }),
        "drain_node" => {
            let node = format_smolstr!("n{}", d.between(1, shape.nodes));
            Operator::DrainNode(DrainNode { node, grace: None, uncordon_after: Some(d.secs(5, 120)) })
        }
        "rotate_secret" => Operator::RotateSecret(RotateSecret { scale_set: set, credential: "spare".into() }),
        "delete_secret" => Operator::DeleteSecret(DeleteSecret {
            scale_set: set,
            recreate_after: Some(d.secs(1, 60)),
            credential: None,
        }),
        "recreate_identity" => Operator::RecreateIdentity(RecreateIdentity {
            scale_set: set,
            object: d.one(&[Identity::All, Identity::ServiceAccount, Identity::Role, Identity::RoleBinding]),
            mode: IdentityMode::Replace,
        }),
        "scale_controller" => {
            let replicas = world.clusters.first().and_then(|c| c.controllers.first()).map_or(1, |c| c.replicas);
            let how = d.below(3);
            Operator::ScaleController(ScaleController {
                controller: None,
                replicas: (how == 0).then_some(if replicas == 1 { 2 } else { 1 }),
                restart: how == 1,
                leader_change: how == 2,
            })
        }
        "status_reset" => Operator::StatusReset(StatusReset {
            kind: Glob(d.one(&["ephemeralrunnersets", "autoscalingrunnersets"]).into()),
            name: Glob::default(),
            status: None,
        }),
        "cancel_jobs" => Operator::CancelJobs(CancelJobs { job: Glob::default(), force: d.one_in(3) }),
        _ => return None,
    })
}
