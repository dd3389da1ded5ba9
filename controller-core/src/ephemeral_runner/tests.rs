//! The runner reconciler against recorded histories and its reference traces.

use super::*;
use crate::reconcile::Outcome;
use crate::release::Release;
use crate::test_world::{World, exited, running, waiting};
use arc_api::crd::FailureMark;

const F1: &str = "ephemeralrunner.actions.github.com/finalizer";
const F2: &str = "ephemeralrunner.actions.github.com/runner-registration-finalizer";

fn bare(world: &mut World, name: &str) {
    world.add_runner(name, ErPhase::Empty, None);
    world.update::<EphemeralRunner>(name, |r| r.metadata.finalizers = [].into());
    world.sync();
}

/// Passes until one settles, waits or errs.
fn settle(world: &mut World, name: &str) -> Outcome {
    for _ in 0..20 {
        let before = world.objects.clone();
        let outcome = world.run(name);
        // An own write is an event: the runner is looked at again.
        if outcome != Outcome::Requeue && world.objects == before {
            return outcome;
        }
    }
    panic!("{name} does not settle: {:#?}", world.trace)
}

#[track_caller]
fn check_trace(world: &mut World, expect: &[&str]) {
    let trace = world.take_trace();
    assert_eq!(trace, expect, "\n{trace:#?}");
}

/// A runner's ordinary life: made, its pod runs, a job runs, the pod ends with 0, the set deletes it if it is left.
fn ordinary_life(release: Release) -> World {
    let mut w = World::new(release);
    bare(&mut w, "r");
    settle(&mut w, "r");
    w.kubelet("r", waiting("ContainerCreating"));
    settle(&mut w, "r");
    w.kubelet("r", running(w.now));
    settle(&mut w, "r");
    w.job_started("r");
    settle(&mut w, "r");
    // The service forgets the registration with its job.
    w.registered.clear();
    w.kubelet("r", exited(0));
    settle(&mut w, "r");
    if let Some(r) = w.get::<EphemeralRunner>("r").filter(|r| !r.metadata.is_deleting()) {
        assert_eq!(r.status.phase, ErPhase::Succeeded);
        w.update::<EphemeralRunner>("r", |r| r.metadata.deletion_timestamp = Some(Time::ZERO));
        w.sync();
        settle(&mut w, "r");
    }
    w
}
