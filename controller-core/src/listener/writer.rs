//! The listener's patches: the set's target, a job's data on its runner, and in `next` the conditions of the listener.
//!
//! **Never**: decides what to write, waits for anything but the API server. One patch is under way at a time.
//!
//! Releases send each patch once, without a time limit of their own, and end the process when it is refused
//! (Q-PATCH-NO-TIMEOUT). `next` tries again with back-off, keeps only the newest target, and gives each try 30 s.
//!
//! Source: actions-service.md §4.6 (bodies), kubernetes-api.md §1.3; recorded: a_basic, c_polls, c_patch_failures.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_api::crd::{Condition, Conditions, JobRef};
use arc_api::kube::{AlStatusPatch, Body, ErStatusPatch, KubeOk, KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::service::JobInfo;
use arc_api::{Duration, JobId, Kind, RunnerId, Str, Time};

use super::{Output, Setup, WriteId};
use crate::behaviour::{ListenerJobId, PatchError};
use crate::call::CallError;
use crate::ephemeral_runner::END_ANSWERED;
use crate::scaler::Target;

/// How long `next` waits for the API server.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Something to write.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Write {
    /// Spec of the runner set.
    Target(Target),
    /// Status of the runner that took a job.
    Started { runner: Str, id: RunnerId, job: Arc<JobInfo> },
    /// Status of the runner whose job is over, after the target that its end led to (`next`).
    Ended { runner: Str },
    /// Status of the listener.
    Conditions(Conditions),
}

/// How a patch ended.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Written {
    /// Nothing of the kind.
    Nothing,
    /// It is stored.
    Ok,
    /// It was refused, and the release does not try again.
    Failed(Write, CallError),
}

/// Patches that wait, and the one under way.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    rule: PatchError,
    waiting: VecDeque<Write>,
    flying: Option<Flying>,
    writes: u64,
    failures: u32,
    not_before: Time,
    timed_out: Option<WriteId>,
}

#[derive(Clone, Debug)]
struct Flying {
    id: WriteId,
    write: Write,
    deadline: Time,
}

impl Writer {
    pub(super) fn new(rule: PatchError) -> Writer {
        Writer {
            rule,
            waiting: VecDeque::new(),
            flying: None,
            writes: 0,
            failures: 0,
            not_before: Time::ZERO,
            timed_out: None,
        }
    }
    /// Queues a write; an older one of the same thing that has not left is dropped.
    pub(super) fn push(&mut self, write: Write) {
        self.waiting.retain(|w| !w.is_outdated_by(&write));
        self.waiting.push_back(write);
    }
    /// A patch is under way or waits.
    pub(super) fn is_busy(&self) -> bool {
        self.flying.is_some() || !self.waiting.is_empty()
    }
    /// Nothing that a message asked for is unwritten.
    pub(super) fn is_settled(&self) -> bool {
        let of_message = |w: &Write| !matches!(w, Write::Conditions(_));
        !self.waiting.iter().any(of_message) && !self.flying.iter().any(|f| of_message(&f.write))
    }
    /// Sends the next write if none is under way.
    pub(super) fn flush(&mut self, setup: &Setup, now: Time, out: &mut VecDeque<Output>) {
        if let Some(write) = self.timed_out.take() {
            out.push_back(Output::AbortKube { write });
        }
        if self.flying.is_some() || now < self.not_before {
            return;
        }
        let Some(write) = self.waiting.pop_front() else { return };
        self.writes += 1;
        let id = WriteId(self.writes);
        out.push_back(Output::Kube { write: id, request: request(setup, &write) });
        let deadline = match self.rule {
            PatchError::Exit => Time::NEVER,
            PatchError::Retry => now.after(TIME_LIMIT),
        };
        self.flying = Some(Flying { id, write, deadline });
    }
    pub(super) fn on_reply(&mut self, id: WriteId, reply: Result<KubeOk, CallError>, now: Time) -> Written {
        match self.flying.take_if(|f| f.id == id) {
            None => Written::Nothing,
            Some(flying) => self.finish(flying.write, reply.err(), now),
        }
    }
    fn finish(&mut self, write: Write, error: Option<CallError>, now: Time) -> Written {
        let Some(error) = error else {
            self.failures = 0;
            return Written::Ok;
        };
        match (self.rule, &write) {
            (PatchError::Exit, _) => Written::Failed(write, error),
            // The runner is gone: its job's data has nowhere to go.
            (PatchError::Retry, Write::Started { .. } | Write::Ended { .. }) if error.is_not_found() => Written::Ok,
            // A Role without the right, or no listener object: the condition is not worth a wait of the others.
            (PatchError::Retry, Write::Conditions(_)) if error.status().is_some_and(|s| s.code < 500) => Written::Ok,
            (PatchError::Retry, _) => {
                if !self.waiting.iter().any(|w| write.is_outdated_by(w)) {
                    self.waiting.push_back(write);
                }
                let seconds = (1u64 << self.failures.min(5)).min(super::BACKOFF_MAX);
                self.failures += 1;
                self.not_before = now.after(Duration::from_secs(seconds));
                Written::Nothing
            }
        }
    }
    pub(super) fn on_wake(&mut self, now: Time) -> Written {
        match self.flying.take_if(|f| f.deadline <= now) {
            None => Written::Nothing,
            Some(flying) => {
                self.timed_out = Some(flying.id);
                let error = CallError::Transport(crate::call::Transport::Timeout);
                self.finish(flying.write, Some(error), now)
            }
        }
    }
    pub(super) fn next_wake(&self) -> Time {
        match &self.flying {
            Some(flying) => flying.deadline,
            None if self.waiting.is_empty() => Time::NEVER,
            None => self.not_before,
        }
    }
    /// Drops everything; names the patch that was under way.
    pub(super) fn abort(&mut self) -> Option<WriteId> {
        self.waiting.clear();
        self.flying.take().map(|f| f.id)
    }
}

impl Write {
    fn is_outdated_by(&self, newer: &Write) -> bool {
        match (self, newer) {
            (Write::Target(_), Write::Target(_)) | (Write::Conditions(_), Write::Conditions(_)) => true,
            (Write::Started { runner: a, .. }, Write::Started { runner: b, .. }) => a == b,
            (Write::Ended { runner: a }, Write::Ended { runner: b }) => a == b,
            _ => false,
        }
    }
}

fn request(setup: &Setup, write: &Write) -> KubeRequest {
    let config = &setup.config;
    let in_set = |name: &Str| Key::new(config.ephemeral_runner_set_namespace.clone(), name.clone());
    match write {
        Write::Target(target) => patch(
            Kind::EphemeralRunnerSet,
            in_set(&config.ephemeral_runner_set_name),
            Sub::Main,
            Body::ErsSpec { replicas: Some(target.replicas), patch_id: target.patch_id },
        ),
        Write::Started { runner, id, job } => {
            let switch = setup.behaviour.listener_job_id;
            let with_id = switch != ListenerJobId::No && job.id != JobId(0);
            let with_runner = switch == ListenerJobId::WithRunner;
            let job = JobRef {
                job_request_id: job.request,
                job_repository_name: job.repository.clone(),
                job_workflow_ref: job.workflow_ref.clone(),
                workflow_run_id: job.workflow_run,
                job_display_name: job.display_name.clone(),
                job_id: with_id.then_some(job.id),
                job_runner_id: if with_runner { *id } else { RunnerId(0) },
            };
            let status = ErStatusPatch { job: Some(Arc::new(job)), ..ErStatusPatch::default() };
            patch(Kind::EphemeralRunner, in_set(runner), Sub::Status, Body::ErStatus(Box::new(status)))
        }
        Write::Ended { runner } => {
            let status = ErStatusPatch { ended_generation: Some(END_ANSWERED), ..ErStatusPatch::default() };
            patch(Kind::EphemeralRunner, in_set(runner), Sub::Status, Body::ErStatus(Box::new(status)))
        }
        Write::Conditions(conditions) => {
            let status = AlStatusPatch { conditions: Some(conditions.clone()), ..AlStatusPatch::default() };
            patch(Kind::AutoscalingListener, setup.listener.clone(), Sub::Status, Body::AlStatus(status))
        }
    }
}

fn patch(kind: Kind, key: Key, sub: Sub, body: Body) -> KubeRequest {
    KubeRequest::Patch { kind, key, sub, patch: Arc::new(Patch::body(body)) }
}

/// A condition of the listener.
pub(super) fn condition(type_: &'static str, status: bool, reason: &'static str, message: Str) -> Condition {
    Condition::new(type_, status, reason, message)
}
