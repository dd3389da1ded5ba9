//! How containers are stopped: preStop hooks, SIGTERM in order, SIGKILL at the end of the grace period. Never decides that
//! a pod stops; [`super::worker`] does.
//!
//! Source: kubernetes-api.md §5.4 items 3–4, §5.5; `killContainer` and `terminationOrdering` of pkg/kubelet/kuberuntime.

use arc_api::pod::Terminated;
use arc_api::{Duration, Str, Time, Uid};

use super::container::{Container, Run};
use super::effects::{ContainerKind, Exit, HookKind, NodeEffect, Signal};

/// The least time between SIGTERM and SIGKILL when hooks or waiting used up the grace period (§5.4 item 4).
pub const GRACE_MIN: Duration = Duration::from_secs(2);
/// How long after SIGKILL a silent engine is believed no more: the kubelet takes the process for dead.
///
/// `Differs:` the real kubelet waits for its runtime for ever; here grace always ends.
pub const KILL_ANSWER_MAX: Duration = Duration::from_secs(2);

/// Why a pod's containers are stopped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Cause {
    /// All main containers have ended, or an init container failed for good: what is left goes.
    Completed,
    /// The kubelet evicts the pod, or its node shuts down.
    Evicted,
    /// DELETE.
    Deleted,
    /// The pod is gone from the API: nobody hears of the rest.
    Removed,
}

/// The stop of one container.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stopping {
    /// End of the grace period.
    end: Time,
    /// When a preStop hook is over: known for `sleep`, [`Time::NEVER`] for exec until the engine says so.
    hook_until: Time,
    /// SIGTERM was sent.
    term_at: Option<Time>,
    /// SIGKILL was sent.
    kill_at: Option<Time>,
}

impl Stopping {
    fn killable_at(&self, term: Time) -> Time {
        self.end.max(term.after(GRACE_MIN))
    }
}

/// Begins to stop one container. A grace of zero is SIGKILL at once.
pub(super) fn begin(
    container: &mut Container,
    spec: Option<&arc_api::pod::Container>,
    pod: Uid,
    grace: Duration,
    now: Time,
    effects: &mut Vec<NodeEffect>,
) {
    let signal = |signal| NodeEffect::Signal { pod, container: container.name.clone(), signal };
    if matches!(container.run, Run::Starting { .. }) {
        effects.push(signal(Signal::Kill));
        container.attempt = container.attempt.saturating_sub(1);
        let Run::Starting { reason, message } = container.run.clone() else { return };
        container.run = match (&container.last, reason.is_empty()) {
            // A restart that does not happen: the end before it stands.
            (Some(end), true) => {
                container.restarts -= 1;
                Run::Exited(end.clone())
            }
            _ => Run::Waiting { reason, message },
        };
        return;
    }
    if !container.is_alive() || container.stopping.is_some() {
        return;
    }
    container.probes.halt();
    if grace.is_zero() {
        effects.push(signal(Signal::Kill));
        container.stopping = Some(Stopping { end: now, hook_until: now, term_at: Some(now), kill_at: Some(now) });
        return;
    }
    let end = now.after(grace);
    let hook = spec.and_then(|c| c.lifecycle.as_ref()).and_then(|l| l.pre_stop.as_ref());
    let hook_until = match hook {
        Some(hook) if hook.exec.is_some() => {
            let container = container.name.clone();
            effects.push(NodeEffect::Hook { pod, container, kind: HookKind::PreStop, until: end });
            Time::NEVER
        }
        Some(hook) => now.after(Duration::from_secs(hook.sleep.as_ref().map_or(0, |s| s.seconds.max(0) as u64))),
        None => now,
    };
    container.stopping = Some(Stopping { end, hook_until, term_at: None, kill_at: None });
}

/// A shorter grace period arrived.
pub(super) fn shorten(containers: &mut [Container], end: Time) {
    for stopping in containers.iter_mut().filter_map(|c| c.stopping.as_mut()) {
        stopping.end = stopping.end.min(end);
    }
}

/// A preStop hook is over.
pub(super) fn hook_done(container: &mut Container, now: Time) {
    if let Some(stopping) = &mut container.stopping {
        stopping.hook_until = stopping.hook_until.min(now);
    }
}

/// Whether a sidecar's turn has come: all main containers and all later sidecars have ended, and the ordinary init
/// container that may be running too.
fn turn(containers: &[Container], index: usize) -> bool {
    containers[index].kind != ContainerKind::Sidecar
        || containers
            .iter()
            .enumerate()
            .all(|(i, c)| i == index || (i < index && c.kind == ContainerKind::Sidecar) || !c.is_alive())
}

/// Sends what is due. Containers that do not answer SIGKILL are taken for dead; true if there were any.
pub(super) fn advance(containers: &mut [Container], pod: Uid, now: Time, effects: &mut Vec<NodeEffect>) -> bool {
    let mut died = false;
    loop {
        let mut again = false;
        for i in 0..containers.len() {
            let Some(stopping) = containers[i].stopping else { continue };
            let name: Str = containers[i].name.clone();
            match (stopping.term_at, stopping.kill_at) {
                (None, _) => {
                    let late = now >= stopping.end;
                    if late || (now >= stopping.hook_until && turn(containers, i)) {
                        containers[i].stopping = Some(Stopping { term_at: Some(now), ..stopping });
                        effects.push(NodeEffect::Signal { pod, container: name, signal: Signal::Term });
                    }
                }
                (Some(term), None) if now >= stopping.killable_at(term) => {
                    containers[i].stopping = Some(Stopping { kill_at: Some(now), ..stopping });
                    effects.push(NodeEffect::Signal { pod, container: name, signal: Signal::Kill });
                }
                (Some(_), Some(kill)) if now >= kill.after(KILL_ANSWER_MAX) => {
                    let dead: Terminated = Exit::code(137).terminated(now);
                    containers[i].exited(dead, now);
                    (again, died) = (true, true);
                }
                _ => {}
            }
        }
        if !again {
            return died;
        }
    }
}

/// When [`advance`] has something to do next.
pub(super) fn deadline(containers: &[Container]) -> Time {
    let mut next = Time::NEVER;
    for (i, container) in containers.iter().enumerate() {
        let Some(stopping) = &container.stopping else { continue };
        let due = match (stopping.term_at, stopping.kill_at) {
            (None, _) if turn(containers, i) => stopping.hook_until.min(stopping.end),
            (None, _) => stopping.end,
            (Some(term), None) => stopping.killable_at(term),
            (Some(_), Some(kill)) => kill.after(KILL_ANSWER_MAX),
        };
        next = next.min(due);
    }
    next
}
