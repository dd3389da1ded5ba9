//! The runner reconciler against recorded histories, its reference traces, and crashes at every step.

mod corrected;
mod crashes;
mod creation;
mod deletion;
mod failures;
mod recorded;

use super::*;
use crate::release::Release;
use crate::test_world::{NS, World, exited, running, waiting};
use arc_api::core::Secret;
use arc_api::crd::FailureMark;
use arc_api::kube::{Reason, Status};
use arc_api::meta::labels;
use arc_api::pod::{ContainerState, ContainerStatus, Pod, PodPhase};
use arc_api::{Meta, OwnerRef, RunnerId, ScaleSetId, Time, Uid};
use std::sync::Arc;

const F1_F2: &str = r#"patch ephemeralrunners {"metadata":{"finalizers":["ephemeralrunner.actions.github.com/finalizer","ephemeralrunner.actions.github.com/runner-registration-finalizer"]}}"#;
const F2_F1: &str = r#"patch ephemeralrunners {"metadata":{"finalizers":["ephemeralrunner.actions.github.com/runner-registration-finalizer","ephemeralrunner.actions.github.com/finalizer"]}}"#;
const ONLY_F1: &str =
    r#"patch ephemeralrunners {"metadata":{"finalizers":["ephemeralrunner.actions.github.com/finalizer"]}}"#;
const ONLY_F2: &str = r#"patch ephemeralrunners {"metadata":{"finalizers":["ephemeralrunner.actions.github.com/runner-registration-finalizer"]}}"#;
const NONE: &str = r#"patch ephemeralrunners {"metadata":{"finalizers":null}}"#;
const JIT_STATUS: &str =
    r#"patch ephemeralrunners/status {"status":{"runnerId":5,"runnerJITConfig":"<token>","runnerName":"r"}}"#;
const ID_STATUS: &str = r#"patch ephemeralrunners/status {"status":{"runnerId":5,"runnerName":"r"}}"#;
const PENDING: &str = r#"patch ephemeralrunners/status {"status":{"phase":"Pending"}}"#;
const RUNNING: &str = r#"patch ephemeralrunners/status {"status":{"phase":"Running","ready":true}}"#;
const SUCCEEDED: &str = r#"patch ephemeralrunners/status {"status":{"phase":"Succeeded"}}"#;

/// A stored runner without finalizers.
pub(super) fn bare(world: &mut World, name: &str) {
    world.add_runner(name, ErPhase::Empty, None);
    world.update::<EphemeralRunner>(name, |r| r.metadata.finalizers = [].into());
    world.sync();
}

/// Passes until one ends without having changed anything: every own write is an event, a requeue is another pass.
#[track_caller]
pub(super) fn settle(world: &mut World, name: &str) -> Outcome {
    for _ in 0..40 {
        let before = world.objects.clone();
        let outcome = world.run(name);
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

fn is_gone(world: &World, name: &str) -> bool {
    world.get::<EphemeralRunner>(name).is_none_or(|r| r.metadata.is_deleting())
}

fn delete(world: &mut World, name: &str) {
    let now = world.now;
    world.update::<EphemeralRunner>(name, |r| r.metadata.deletion_timestamp = Some(now));
    world.sync();
}

/// A runner with a running pod.
pub(super) fn up(release: Release) -> World {
    let mut w = World::new(release);
    bring_up(&mut w);
    w
}

fn bring_up(w: &mut World) {
    bare(w, "r");
    settle(w, "r");
    w.kubelet("r", waiting("ContainerCreating"));
    settle(w, "r");
    w.kubelet("r", running(w.now));
    settle(w, "r");
}

/// A runner's ordinary life: pod, job, exit 0; its set deletes it if it is left.
pub(super) fn ordinary_life(w: &mut World) {
    bring_up(w);
    w.job_started("r");
    settle(w, "r");
    // The service forgets the registration with its job.
    w.registered.clear();
    w.kubelet("r", exited(0));
    settle(w, "r");
    if !is_gone(w, "r") {
        assert_eq!(w.runner("r").status.phase, ErPhase::Succeeded);
        delete(w, "r");
        settle(w, "r");
    }
    assert_eq!(w.get::<EphemeralRunner>("r"), None);
    assert_eq!((w.get::<Pod>("r"), w.get::<Secret>("r")), (None, None));
}

/// Reads of the secret while the pod starts, reports and takes a job.
const STARTING: [&str; 9] = [
    "get secrets",
    "get secrets",
    PENDING,
    "get secrets",
    "get secrets",
    RUNNING,
    "get secrets",
    "get secrets",
    "get secrets",
];
