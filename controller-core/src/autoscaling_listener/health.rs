//! Looking at the listener pod: when it has ended, how soon it is replaced, and what is said about it. Never restarts a
//! container in place.
//!
//! Source: arc-controllers.md §6.1 step 15, §6.4; recorded: c_session_conflict, a_delete. Back-off and conditions of the
//! corrected controller: field-bugs.md, seed-listener-session-409-crashloop, SAFE-RATE, OBS-ERR.

use arc_api::core::{Secret, ServiceAccount};
use arc_api::crd::{AutoscalingListener, Condition};
use arc_api::kube::{AlStatusPatch, Body, DeleteOptions, KubeRequest, Patch, Sub};
use arc_api::pod::{ContainerState, Pod, PodPhase};
use arc_api::{Duration, Kind, Resource, Str, Time, format_smolstr};
use std::sync::Arc;

use super::pod::container_name;
use super::{AlPass, Step};
use crate::autoscaling_runner_set::with_condition;
use crate::behaviour::*;
use crate::names;
use crate::pod_start::{START_PATIENCE, waits_in_vain, why_not_started};
use crate::reconcile::{Decision, Observed, Outcome};

/// A call this listener needs keeps failing.
pub(super) const BLOCKED: &str = "ListenerBlocked";
/// The listener pod ended; it is replaced with back-off.
const FAILING: &str = "ListenerFailing";
/// The listener pod does not start: its image cannot be had, or no node takes it. The kubelet's business, and worth knowing.
pub const NOT_STARTING: &str = "ListenerNotStarting";
/// The longest wait before a listener pod is made again.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A listener that has been running this long serves: its past ends are forgotten. Longer than the longest wait and than the
/// service client's own retries (15 s), so that a process which dies of a failed call does not count as served.
pub(crate) const SERVING_AFTER: Duration = Duration::from_secs(60);

/// The wait after `restarts` ends in a row: 1, 2, 4 … 30 s.
pub(super) fn wait_after(restarts: i32) -> Duration {
    let seconds = 1u64 << restarts.saturating_sub(1).clamp(0, 5);
    Duration::from_secs(seconds).min(LONGEST_WAIT)
}

impl AlPass {
    /// Steps 13 to 15.
    pub(super) fn look_at_pod(&mut self, o: &Observed<'_>) -> Decision {
        let Some(pod) = o.caches.get::<Pod>(&self.key).cloned() else {
            if let Some(rest) = self.wait_before_next_pod(o) {
                return Decision::End(Outcome::After(rest));
            }
            return match o.settings.behaviour.al_restart {
                ListenerRestart::Immediate => self.need_config(o),
                ListenerRestart::Backoff => self.read_live_listener(None),
            };
        };
        if self.has_stale_config(&pod) {
            return self.delete(Step::AfterStalePodDeleted, Kind::Pod, self.key.clone());
        }
        if self.is_of_another_account(&pod, o) {
            let options = DeleteOptions { uid: Some(pod.metadata.uid), ..DeleteOptions::default() };
            let request = KubeRequest::Delete { kind: Kind::Pod, key: self.key.clone(), options };
            return self.kube(Step::AfterStalePodDeleted, request);
        }
        if pod.metadata.is_deleting() {
            // Somebody else deletes it: nothing is counted, the config stays (recorded: a_update2/0.12.1).
            return Self::settle(o);
        }
        if has_ended(&pod, &o.settings.behaviour) {
            return self.replace(&pod, o);
        }
        self.note_serving(&pod, o)
    }

    /// Whether the account was made anew under a running pod: its token is bound to the one before, and every call of it is
    /// refused for as long as it lives (kubernetes-api.md §6.3).
    fn is_of_another_account(&self, pod: &Pod, o: &Observed<'_>) -> bool {
        let account = self.beside_us(self.identity_name(o));
        Self::is_corrected(o)
            && !pod.metadata.is_deleting()
            && o.caches
                .get::<ServiceAccount>(&account)
                .is_some_and(|account| account.metadata.creation_timestamp > pod.metadata.creation_timestamp)
    }

    /// How long the corrected controller still waits before it makes the next pod.
    fn wait_before_next_pod(&self, o: &Observed<'_>) -> Option<Duration> {
        let status = &self.listener().status;
        if o.settings.behaviour.al_restart == ListenerRestart::Immediate || status.restarts == 0 {
            return None;
        }
        let due = status.last_restart?.after(wait_after(status.restarts));
        (o.now < due).then(|| due.since(o.now))
    }

    /// How often it ended stands in the listener's status, and a cache that lags shows none of it: every end would be the first.
    fn read_live_listener(&mut self, ended: Option<Arc<Pod>>) -> Decision {
        self.ended = ended;
        self.get(Step::AfterLiveListenerRead, Kind::AutoscalingListener, self.key.clone())
    }

    pub(super) fn after_live_listener_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let live = match o.take_reply().into_found::<AutoscalingListener>() {
            Ok(found) => found,
            Err(e) => return Decision::End(Outcome::failed(&e)),
        };
        let same =
            |l: &Arc<AutoscalingListener>| l.metadata.uid == self.listener().metadata.uid && !l.metadata.is_deleting();
        let Some(live) = live.filter(same) else { return Self::settle(o) };
        self.listener = Some(live);
        match (self.ended.take(), self.wait_before_next_pod(o)) {
            (Some(pod), _) => self.count_end(&pod, o),
            (None, Some(rest)) => Decision::End(Outcome::After(rest)),
            (None, None) => self.need_config(o),
        }
    }

    fn replace(&mut self, pod: &Arc<Pod>, o: &Observed<'_>) -> Decision {
        if o.settings.behaviour.al_restart == ListenerRestart::Backoff && !is_counted(self.listener(), pod) {
            return self.read_live_listener(Some(Arc::clone(pod)));
        }
        self.delete(Step::AfterEndedPodDeleted, Kind::Pod, self.key.clone())
    }

    fn count_end(&mut self, pod: &Pod, o: &Observed<'_>) -> Decision {
        if !is_counted(self.listener(), pod) {
            let failing = Condition::new(FAILING, true, "Ended", how_it_ended(pod, &o.settings.behaviour));
            let status = &self.listener().status;
            let patch = AlStatusPatch {
                // The process is gone, and with it what it said of itself.
                conditions: Some(with_condition(
                    &status.conditions.iter().filter(|c| c.type_ == BLOCKED).cloned().collect(),
                    failing,
                )),
                restarts: Some(status.restarts.saturating_add(1)),
                last_restart: Some(o.now),
            };
            return self.patch(Step::AfterEndCounted, Sub::Status, Patch::body(Body::AlStatus(patch)));
        }
        self.delete(Step::AfterEndedPodDeleted, Kind::Pod, self.key.clone())
    }

    /// The end is counted before the pod goes, so that a crash between the two loses neither.
    pub(super) fn after_end_counted(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => self.delete(Step::AfterEndedPodDeleted, Kind::Pod, self.key.clone()),
            Err(e) if e.is_not_found() => Self::settle(o),
            Err(e) => Decision::End(Outcome::failed(&e)),
        }
    }

    pub(super) fn after_ended_pod_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = Self::take_deleted(o) {
            return self.fail(o, ("Unable to delete the listener pod", "ApiServer"), e.text());
        }
        if o.settings.behaviour.al_config_refresh == ConfigRefresh::OnTermination {
            // Rebuilt by the next pass, so that a crash picks up new credentials (#4033).
            let key = self.beside_us(names::listener_config(&self.key.name));
            return self.get(Step::AfterEndedConfigRead, Kind::Secret, key);
        }
        Self::settle(o)
    }

    pub(super) fn after_ended_config_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_object() {
            Ok(object) => match object.as_ref().and_then(Secret::unwrap) {
                Some(secret) if secret.metadata.is_deleting() => {
                    // An error that wraps nothing (Q-CONFIGSECRET-DELETING).
                    Decision::End(Outcome::Error("failed to get listener config secret: %!w(<nil>)".into()))
                }
                Some(secret) => self.delete(Step::AfterEndedConfigDeleted, Kind::Secret, secret.metadata.key()),
                None => Self::settle(o),
            },
            Err(e) if e.is_not_found() => Self::settle(o),
            Err(e) => Decision::End(Outcome::failed(&e)),
        }
    }

    /// A pod that has been running for a while clears what is said about it; one that does not start is spoken of.
    fn note_serving(&mut self, pod: &Pod, o: &Observed<'_>) -> Decision {
        if o.settings.behaviour.al_restart == ListenerRestart::Immediate {
            return Self::settle(o);
        }
        let status = &self.listener().status;
        let running = pod.status.container(container_name(&o.settings.behaviour)).and_then(|c| match &c.state {
            ContainerState::Running { started_at } => Some(*started_at),
            ContainerState::Waiting { .. } | ContainerState::Terminated(_) => None,
        });
        let Some(since) = running else { return self.note_start(pod, o) };
        // What the listener process says of itself is its own to take back.
        let ours = |c: &Condition| c.type_ == BLOCKED || c.type_ == FAILING || c.type_ == NOT_STARTING;
        if status.restarts == 0 && !status.conditions.iter().any(ours) {
            return Self::settle(o);
        }
        let serves_at: Time = since.after(SERVING_AFTER);
        let serves = o.now >= serves_at || status.restarts == 0;
        if !serves && !status.conditions.iter().any(|c| c.type_ == NOT_STARTING) {
            return Decision::End(Outcome::After(serves_at.since(o.now)));
        }
        // It has started, whether it serves or not; the patch's own event brings the next pass.
        let over = |c: &Condition| if serves { ours(c) } else { c.type_ == NOT_STARTING };
        let conditions = Some(status.conditions.iter().filter(|c| !over(c)).cloned().collect());
        let patch = AlStatusPatch { conditions, restarts: serves.then_some(0), ..AlStatusPatch::default() };
        self.patch(Step::AfterHealthWritten, Sub::Status, Patch::body(Body::AlStatus(patch)))
    }

    /// A pod that has not started yet. Nothing is done about it: another pod would wait for the same image or node.
    fn note_start(&mut self, pod: &Pod, o: &Observed<'_>) -> Decision {
        if o.settings.behaviour.conditions == ConditionsRule::None {
            return Self::settle(o);
        }
        let (reason, message) = match waits_in_vain(pod) {
            // The kubelet says one while it tries and the other in between.
            Some((reason, message)) if reason == "ErrImagePull" => ("ImagePullBackOff".into(), message.clone()),
            Some((reason, message)) => (reason.clone(), message.clone()),
            None => {
                let due = pod.metadata.creation_timestamp.after(START_PATIENCE);
                if o.now < due {
                    return Decision::End(Outcome::After(due.since(o.now)));
                }
                ("PodNotStarting".into(), why_not_started(pod))
            }
        };
        if self.listener().status.conditions.iter().any(|c| c.type_ == NOT_STARTING && c.reason == reason) {
            return Self::settle(o);
        }
        self.report(Step::AfterHealthWritten, NOT_STARTING, reason, message)
    }

    /// Writes one condition.
    pub(super) fn report(&mut self, step: Step, type_: &'static str, reason: impl Into<Str>, message: Str) -> Decision {
        let one = Condition::new(type_, true, reason, message);
        let conditions = Some(with_condition(&self.listener().status.conditions, one));
        let patch = AlStatusPatch { conditions, ..AlStatusPatch::default() };
        self.patch(step, Sub::Status, Patch::body(Body::AlStatus(patch)))
    }
}

/// Whether this release sees that the pod has ended.
fn has_ended(pod: &Pod, behaviour: &Behaviour) -> bool {
    let terminated = pod.status.container(container_name(behaviour)).is_some_and(|c| c.state.exit_code().is_some());
    match behaviour.al_replace {
        // Exit 0 leaves a Completed pod for ever (Q-LISTENER-EXIT0).
        ListenerReplace::PhaseFailed => pod.status.phase == PodPhase::Failed,
        // A pod that failed without ever having a container status is waited for (Q-LISTENER-EVICTED).
        ListenerReplace::Terminated => terminated,
        ListenerReplace::TerminatedOrEvicted => pod.status.reason == "Evicted" || terminated,
        ListenerReplace::AnyEnd => pod.status.phase.is_terminal() || terminated,
    }
}

/// Whether the end of this very pod has been counted: the next pod is created at least a second later.
fn is_counted(listener: &Arc<AutoscalingListener>, pod: &Pod) -> bool {
    listener.status.last_restart.is_some_and(|t| t >= pod.metadata.creation_timestamp)
}

fn how_it_ended(pod: &Pod, behaviour: &Behaviour) -> Str {
    let status = pod.status.container(container_name(behaviour));
    match status.map(|c| &c.state) {
        Some(ContainerState::Terminated(t)) if t.message.is_empty() => {
            format_smolstr!("the listener exited with code {} ({})", t.exit_code, t.reason)
        }
        Some(ContainerState::Terminated(t)) => {
            format_smolstr!("the listener exited with code {} ({}): {}", t.exit_code, t.reason, t.message)
        }
        _ => format_smolstr!("the listener pod ended: {} {}", pod.status.reason, pod.status.message),
    }
}
