//! The operators that bend reconcilers: what each leaves out, does twice, believes or forgets. Never a switch of a release: those
//! are enumerated elsewhere.

use std::sync::Arc;

use arc_api::core::Secret;
use arc_api::crd::{AutoscalingListener, EphemeralRunner, EphemeralRunnerSet, ErPhase};
use arc_api::kube::{KubeOk, KubeRequest};
use arc_api::pod::Pod;
use arc_api::service::Exception;
use arc_api::{Duration, Kind, Labels};
use controller_core::call::{Call, CallError, Reply};
use controller_core::reconcile::Outcome;

use super::bend::*;
use crate::own::Controller::{self, AutoscalingRunnerSet as Ars, EphemeralRunner as Er, EphemeralRunnerSet as Ers};

const AL: Controller = Controller::AutoscalingListener;

/// An operator by its id.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    pub(super) controller: Controller,
    pub(super) bend: Bend,
}

macro_rules! rows {
    ($($controller:ident $id:literal $what:literal { $($part:ident: $bend:expr),* })*) => {
        vec![$(Row {
            id: $id,
            what: $what,
            controller: $controller,
            bend: Bend { $($part: $bend,)* ..Bend::NONE },
        }),*]
    };
}

fn conflict(e: &CallError) -> bool {
    e.status().is_some_and(|s| s.is_conflict())
}
fn busy(e: &CallError) -> bool {
    e.service().is_some_and(|s| s.exception == Exception::JobStillRunning)
}
fn name_taken(e: &CallError) -> bool {
    e.service().is_some_and(|s| s.exception == Exception::AgentExists)
}
fn lost_wake_up(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Requeue | Outcome::Error(_) => Outcome::Settled,
        other => other,
    }
}
fn never_again(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::After(_) => Outcome::Settled,
        other => other,
    }
}
fn at_once(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::After(wait) if !wait.is_zero() => Outcome::After(Duration::from_millis(1)),
        other => other,
    }
}
fn much_later(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::After(wait) => Outcome::After(wait.saturating_mul(100)),
        other => other,
    }
}
/// Answers a read of the server from the cache.
fn from_cache(call: Call, caches: &controller_core::caches::Caches) -> Fate {
    match &call {
        Call::Kube(KubeRequest::Get { kind, key }) if controller_core::caches::WATCHED.contains(kind) => {
            Fate::Pretend(match cached(caches, *kind, key) {
                Some(object) => Reply::Kube(Ok(KubeOk::Object(object))),
                None => not_found(*kind, key),
            })
        }
        Call::Kube(KubeRequest::List { kind, namespace, labels })
            if controller_core::caches::WATCHED.contains(kind) =>
        {
            let fits = |o: &&arc_api::Object| {
                namespace.as_ref().is_none_or(|n| o.meta().namespace == *n)
                    && labels.iter().all(|(k, v)| o.meta().label(k) == Some(v))
            };
            let items = caches.of(*kind).iter().filter(fits).cloned().collect();
            Fate::Pretend(Reply::Kube(Ok(KubeOk::List { items, resource_version: 0 })))
        }
        _ => Fate::Send(call),
    }
}
/// Leaves an object out of a list.
fn one_short(call: &Call, reply: Reply, kind: Kind) -> Answer {
    Answer::Take(match reply {
        Reply::Kube(Ok(KubeOk::List { mut items, resource_version })) if lists(call, kind) => {
            items.pop();
            Reply::Kube(Ok(KubeOk::List { items, resource_version }))
        }
        other => other,
    })
}
fn unlabelled(labels: &mut Labels, label: &str) {
    Arc::make_mut(labels).remove(label);
}

/// All operators on reconcilers.
pub(super) fn rows() -> Vec<Row> {
    rows! {
        // ---- EphemeralRunner
        Er "er-pod-without-owner" "The runner pod is made without owner reference." {
            call: |c, _| made::<Pod>(c, |p| p.metadata.owner_references = [].into())
        }
        Er "er-secret-without-owner" "The JIT secret is made without owner reference." {
            call: |c, _| made::<Secret>(c, |s| s.metadata.owner_references = [].into())
        }
        Er "er-secret-kept" "The JIT secret is never deleted." {
            call: |c, k| drop_if(deletes(&c, Kind::Secret), c, k)
        }
        Er "er-secret-leaked" "The JIT secret is made without owner reference and never deleted." {
            call: |c, k| if deletes(&c, Kind::Secret) { drop_if(true, c, k) }
                else { made::<Secret>(c, |s| s.metadata.owner_references = [].into()) }
        }
        Er "er-pod-kept" "The pod of a runner that is over is never deleted." {
            call: |c, k| drop_if(deletes(&c, Kind::Pod), c, k)
        }
        Er "er-pod-leaked" "The pod is made without owner reference and never deleted." {
            call: |c, k| if deletes(&c, Kind::Pod) { drop_if(true, c, k) }
                else { made::<Pod>(c, |p| p.metadata.owner_references = [].into()) }
        }
        Er "er-never-deregisters" "The registration is never removed at the service." {
            call: |c, k| drop_if(asks(&c, "remove_runner"), c, k)
        }
        Er "er-deregisters-after-finalizer" "Removing the registration and removing its finalizer are swapped." {
            call: |c, k| late_if(asks(&c, "remove_runner"), c, k)
        }
        Er "er-finalizer-kept" "Finalizers are never taken off a runner." {
            call: |c, k| drop_if(unprotects(&c, Kind::EphemeralRunner, k), c, k)
        }
        Er "er-busy-swallowed" "The service's refusal to remove a busy runner is taken for success." {
            reply: |c, r| instead(c, r, busy)
        }
        Er "er-status-dropped" "The status of a runner is never written." {
            call: |c, k| drop_if(writes_status(&c, Kind::EphemeralRunner), c, k)
        }
        Er "er-phase-dropped" "The phase of a runner is never written, the rest of its status is." {
            call: |c, _| patched(c, |p| runner_status(p, |s| s.phase = None))
        }
        Er "er-id-dropped" "The registration's id is not written to the status." {
            call: |c, _| patched(c, |p| runner_status(p, |s| s.runner_id = None))
        }
        Er "er-failed-is-success" "A runner that failed for good is reported Succeeded." {
            call: |c, _| patched(c, |p| runner_status(p, |s| {
                if s.phase == Some(ErPhase::Failed) { s.phase = Some(ErPhase::Succeeded) }
            }))
        }
        Er "er-failures-forgotten" "Failed pods are not counted: the back-off never grows." {
            call: |c, _| patched(c, |p| runner_status(p, |s| s.failures = None))
        }
        Er "er-rejections-forgotten" "Refused pods are not counted: their back-off never grows." {
            call: |c, _| patched(c, |p| runner_status(p, |s| s.rejections = s.rejections.map(|_| 1)))
        }
        Er "er-reason-dropped" "Reason and message of a runner's trouble are not written." {
            call: |c, _| patched(c, |p| runner_status(p, |s| { s.reason = None; s.message = None; }))
        }
        Er "er-secret-after-pod" "The pod is made before the secret that it mounts." {
            call: |c, k| late_if(creates(&c, Kind::Secret), c, k)
        }
        Er "er-secret-not-made" "The JIT secret is not made at all." {
            call: |c, k| drop_if(creates(&c, Kind::Secret), c, k)
        }
        Er "er-secret-not-read" "Whether a secret exists is not asked: there is none." {
            call: |c, k| drop_if(reads(&c, Kind::Secret), c, k)
        }
        Er "er-live-read-from-cache" "Reads that must see the server are answered from the cache." {
            call: from_cache
        }
        Er "er-pod-exists-believed" "A pod whose name exists is taken for the runner's own." {
            reply: |c, r| match creates(c, Kind::Pod) {
                true => instead(c, r, CallError::is_already_exists),
                false => Answer::Take(r),
            }
        }
        Er "er-pod-made-twice" "A pod whose creation was not answered well is created again at once." {
            reply: |c, r| match &r {
                Reply::Kube(Err(_)) if creates(c, Kind::Pod) => Answer::Again,
                _ => Answer::Take(r),
            }
        }
        Er "er-conflict-swallowed" "409 Conflict of a write is taken for success." {
            reply: |c, r| instead(c, r, conflict)
        }
        Er "er-not-found-is-an-error" "404 is an error wherever it comes." {
            reply: |_, r| alarmed(r, CallError::is_not_found)
        }
        Er "er-exists-is-an-error" "409 AlreadyExists is an error wherever it comes." {
            reply: |_, r| alarmed(r, CallError::is_already_exists)
        }
        Er "er-name-taken-is-an-error" "A registration name that is taken is an error, and the old registration stays." {
            reply: |_, r| alarmed(r, name_taken)
        }
        Er "er-lost-wake-up" "What failed is not tried again before something happens." { end: lost_wake_up }
        Er "er-never-looks-again" "What was to be looked at later is not." { end: never_again }
        Er "er-deadline-too-short" "What was to be looked at later is looked at at once." { end: at_once }
        Er "er-deadline-too-long" "What was to be looked at later is looked at a hundred times later." { end: much_later }

        // ---- EphemeralRunnerSet
        Ers "ers-runner-without-owner" "Runners are made without owner reference." {
            call: |c, _| made::<EphemeralRunner>(c, |r| r.metadata.owner_references = [].into())
        }
        Ers "ers-runner-without-finalizers" "Runners are made without finalizers." {
            call: |c, _| made::<EphemeralRunner>(c, |r| r.metadata.finalizers = [].into())
        }
        Ers "ers-runner-without-label" "Runners are made without the label of their scale set." {
            call: |c, _| made::<EphemeralRunner>(c, |r| {
                unlabelled(&mut r.metadata.labels, controller_core::labels::SCALE_SET_NAME);
            })
        }
        Ers "ers-counts-one-too-few" "One runner is overlooked when they are counted." {
            reply: |c, r| one_short(c, r, Kind::EphemeralRunner)
        }
        Ers "ers-list-from-cache" "Runners are counted in the cache, not at the server." { call: from_cache }
        Ers "ers-runner-made-twice" "A creation that was not answered well is repeated at once." {
            reply: |c, r| match &r {
                Reply::Kube(Err(_)) if creates(c, Kind::EphemeralRunner) => Answer::Again,
                _ => Answer::Take(r),
            }
        }
        Ers "ers-create-error-swallowed" "A creation that failed is taken for success." {
            reply: |c, r| match &r {
                Reply::Kube(Err(_)) if creates(c, Kind::EphemeralRunner) => instead(c, r, |_| true),
                _ => Answer::Take(r),
            }
        }
        Ers "ers-runner-kept" "Runners are never deleted." {
            call: |c, k| drop_if(deletes(&c, Kind::EphemeralRunner), c, k)
        }
        Ers "ers-finished-kept" "Runners that are over stay, unless their set goes." {
            call: |c, k| {
                let over = match &c {
                    Call::Kube(KubeRequest::Delete { kind: Kind::EphemeralRunner, key, .. }) => {
                        k.get::<EphemeralRunner>(key).is_some_and(|r| r.status.phase.is_done())
                    }
                    _ => false,
                };
                drop_if(over, c, k)
            }
        }
        Ers "ers-deletes-before-asking" "Deleting an idle runner and removing its registration are swapped." {
            call: |c, k| late_if(asks(&c, "remove_runner"), c, k)
        }
        Ers "ers-busy-swallowed" "The service's refusal to remove a busy runner is taken for success." {
            reply: |c, r| instead(c, r, busy)
        }
        Ers "ers-status-dropped" "The counts are never written." {
            call: |c, k| drop_if(writes_status(&c, Kind::EphemeralRunnerSet), c, k)
        }
        Ers "ers-finalizer-kept" "The finalizer is never taken off a set." {
            call: |c, k| drop_if(unprotects(&c, Kind::EphemeralRunnerSet, k), c, k)
        }
        Ers "ers-finalizer-not-added" "A set gets no finalizer." {
            call: |c, k| drop_if(protects(&c, Kind::EphemeralRunnerSet, k), c, k)
        }
        Ers "ers-lost-wake-up" "What failed is not tried again before something happens." { end: lost_wake_up }
        Ers "ers-never-looks-again" "What was to be looked at later is not." { end: never_again }
        Ers "ers-deadline-too-short" "What was to be looked at later is looked at at once." { end: at_once }

        // ---- AutoscalingRunnerSet
        Ars "ars-scale-set-kept" "The scale set is never deleted at the service." {
            call: |c, k| drop_if(asks(&c, "delete_scaleset"), c, k)
        }
        Ars "ars-finalizer-kept" "The finalizer is never taken off the user's object." {
            call: |c, k| drop_if(unprotects(&c, Kind::AutoscalingRunnerSet, k), c, k)
        }
        Ars "ars-finalizer-not-added" "The user's object gets no finalizer." {
            call: |c, k| drop_if(protects(&c, Kind::AutoscalingRunnerSet, k), c, k)
        }
        Ars "ars-finalizer-before-scale-set" "Deleting the scale set and taking off the finalizer are swapped." {
            call: |c, k| late_if(asks(&c, "delete_scaleset"), c, k)
        }
        Ars "ars-runner-set-without-owner" "EphemeralRunnerSets are made without owner reference." {
            call: |c, _| made::<EphemeralRunnerSet>(c, |s| s.metadata.owner_references = [].into())
        }
        Ars "ars-runner-set-kept" "EphemeralRunnerSets are never deleted." {
            call: |c, k| drop_if(deletes(&c, Kind::EphemeralRunnerSet), c, k)
        }
        Ars "ars-listener-kept" "AutoscalingListeners are never deleted." {
            call: |c, k| drop_if(deletes(&c, Kind::AutoscalingListener), c, k)
        }
        Ars "ars-max-off-by-one" "The listener is told a limit that is one too high." {
            call: |c, _| made::<AutoscalingListener>(c, |l| {
                let spec = Arc::make_mut(&mut l.spec);
                spec.max_runners = spec.max_runners.saturating_add(1);
            })
        }
        Ars "ars-min-ignored" "The listener is told to keep no idle runners." {
            call: |c, _| made::<AutoscalingListener>(c, |l| Arc::make_mut(&mut l.spec).min_runners = 0)
        }
        Ars "ars-status-dropped" "The counts of the user's object are never written." {
            call: |c, k| drop_if(writes_status(&c, Kind::AutoscalingRunnerSet), c, k)
        }
        Ars "ars-list-from-cache" "What must be seen at the server is looked up in the cache." { call: from_cache }
        Ars "ars-conflict-swallowed" "409 Conflict of a write is taken for success." {
            reply: |c, r| instead(c, r, conflict)
        }
        Ars "ars-exists-is-an-error" "409 AlreadyExists is an error wherever it comes." {
            reply: |_, r| alarmed(r, CallError::is_already_exists)
        }
        Ars "ars-lost-wake-up" "What failed is not tried again before something happens." { end: lost_wake_up }
        Ars "ars-never-looks-again" "What was to be looked at later is not." { end: never_again }

        // ---- AutoscalingListener
        AL "al-pod-kept" "The listener pod is never deleted by its controller." {
            call: |c, k| drop_if(deletes(&c, Kind::Pod), c, k)
        }
        AL "al-role-not-made" "The listener's role is not made." {
            call: |c, k| drop_if(creates(&c, Kind::Role), c, k)
        }
        AL "al-role-kept" "Role and binding of the listener are never deleted." {
            call: |c, k| drop_if(deletes(&c, Kind::Role) || deletes(&c, Kind::RoleBinding), c, k)
        }
        AL "al-finalizer-kept" "The finalizer is never taken off a listener." {
            call: |c, k| drop_if(unprotects(&c, Kind::AutoscalingListener, k), c, k)
        }
        AL "al-finalizer-not-added" "A listener gets no finalizer." {
            call: |c, k| drop_if(protects(&c, Kind::AutoscalingListener, k), c, k)
        }
        AL "al-restarts-forgotten" "Restarts are not counted: their back-off never grows." {
            call: |c, k| drop_if(writes_status(&c, Kind::AutoscalingListener), c, k)
        }
        AL "al-pod-without-owner" "The listener pod is made without owner reference." {
            call: |c, _| made::<Pod>(c, |p| p.metadata.owner_references = [].into())
        }
        AL "al-not-found-is-an-error" "404 is an error wherever it comes." {
            reply: |_, r| alarmed(r, CallError::is_not_found)
        }
        AL "al-exists-is-an-error" "409 AlreadyExists is an error wherever it comes." {
            reply: |_, r| alarmed(r, CallError::is_already_exists)
        }
        AL "al-lost-wake-up" "What failed is not tried again before something happens." { end: lost_wake_up }
        AL "al-never-looks-again" "What was to be looked at later is not." { end: never_again }
        AL "al-deadline-too-short" "What was to be looked at later is looked at at once." { end: at_once }
    }
}
