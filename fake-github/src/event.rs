//! What happened inside the service, as values for traces, marks and incremental invariants. Changes nothing.

use arc_api::service::{JobEventKind, JobResult};
use arc_api::{JobId, MessageId, RunnerId, ScaleSetId, SessionId, Str, Time, Token};

use crate::scope::RuleId;

/// One thing that happened. Runner 0 and scale set 0 are none.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub enum ServiceEvent {
    /// A workflow wants a job done.
    JobQueued {
        job: JobId,
    },
    /// The job was offered to a scale set (acquire-required only).
    JobAvailable {
        job: JobId,
        scale_set: ScaleSetId,
    },
    /// A listener acquired it.
    JobAcquired {
        job: JobId,
        scale_set: ScaleSetId,
    },
    /// It is bound to the scale set and waits for a runner; attempts count from 1.
    JobAssigned {
        job: JobId,
        scale_set: ScaleSetId,
        attempt: u8,
    },
    /// A runner took it.
    JobStarted {
        job: JobId,
        scale_set: ScaleSetId,
        runner: RunnerId,
    },
    /// It is over for the service.
    JobCompleted {
        job: JobId,
        scale_set: ScaleSetId,
        runner: RunnerId,
        result: JobResult,
        why: JobEnd,
    },
    /// It lost its scale set and waits in the queue again.
    JobReturned {
        job: JobId,
        scale_set: ScaleSetId,
        why: JobReturn,
    },
    /// Its runner was told to stop it.
    JobCancelRequested {
        job: JobId,
        runner: RunnerId,
    },
    /// A runner reported the end of a job that was over before: work was wasted or its result lost.
    JobEndedLate {
        job: JobId,
        runner: RunnerId,
        result: JobResult,
    },

    SessionCreated {
        scale_set: ScaleSetId,
        session: SessionId,
        owner: Str,
    },
    SessionRefused {
        scale_set: ScaleSetId,
        holder: SessionId,
        owner: Str,
    },
    SessionRefreshed {
        scale_set: ScaleSetId,
        session: SessionId,
    },
    /// The session is over.
    SessionEnded {
        scale_set: ScaleSetId,
        session: SessionId,
        why: SessionEnd,
    },

    /// A message went out; `again` if it had been delivered before.
    MessageDelivered {
        scale_set: ScaleSetId,
        message: MessageId,
        events: u32,
        again: bool,
    },
    MessageDeleted {
        scale_set: ScaleSetId,
        message: MessageId,
    },
    /// A fault kept an event out of the log for ever.
    EventDropped {
        scale_set: ScaleSetId,
        job: JobId,
        kind: EventType,
    },

    RunnerRegistered {
        runner: RunnerId,
        scale_set: ScaleSetId,
        name: Str,
    },
    RunnerOnline {
        runner: RunnerId,
        scale_set: ScaleSetId,
    },
    RunnerOffline {
        runner: RunnerId,
        scale_set: ScaleSetId,
    },
    RunnerBusy {
        runner: RunnerId,
        scale_set: ScaleSetId,
        job: JobId,
    },
    RunnerRemoved {
        runner: RunnerId,
        scale_set: ScaleSetId,
        name: Str,
        why: RunnerEnd,
    },

    ScaleSetCreated {
        scale_set: ScaleSetId,
        name: Str,
    },
    ScaleSetUpdated {
        scale_set: ScaleSetId,
        name: Str,
    },
    ScaleSetDeleted {
        scale_set: ScaleSetId,
        name: Str,
        why: ScaleSetEnd,
    },

    TokenIssued {
        token: Token,
        kind: TokenKind,
        expires: Time,
    },
    TokenRevoked {
        token: Token,
        kind: TokenKind,
    },
    /// A fault rule changed an answer: a rule that never shows up here was vacuous.
    FaultFired {
        rule: RuleId,
    },
}

/// Why a job is over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum JobEnd {
    /// Its runner said so.
    Reported,
    /// Cancelled by the workflow.
    Cancelled,
    /// No runner fetched it in any attempt.
    Unfetched,
    /// It waited longer than the queue limit.
    QueueLimit,
    /// Its runner fell silent.
    RunnerLost,
    /// Its cancelled runner never reported.
    CancelTimeout,
    /// A fault made the service end it.
    Fault,
}

/// Why a job went back to the queue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum JobReturn {
    /// No runner in time.
    Unfetched,
    /// Its scale set was deleted.
    ScaleSetDeleted,
}

/// Why a session is over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SessionEnd {
    /// E9.
    Deleted,
    /// Idle for too long.
    Expired,
    /// A fault made the service forget it.
    Evicted,
    /// Its scale set is gone.
    ScaleSetDeleted,
}

/// Why a registration is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RunnerEnd {
    /// E17.
    Removed,
    /// Ephemeral: its one job is over.
    JobCompleted,
    /// Offline for too long.
    Offline,
    /// Its scale set was deleted.
    ScaleSetDeleted,
    /// The service lost it.
    Lost,
}

/// Why a scale set is gone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ScaleSetEnd {
    /// E5.
    Deleted,
    /// Removed on the service's side: by an administrator, for inactivity, in an incident.
    Lost,
}

/// Kinds of tokens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TokenKind {
    /// Step A.
    Installation,
    /// Step B.
    Registration,
    /// Step C.
    Admin,
    /// E7, E8.
    Queue,
    /// E14.
    Jit,
    /// RunnerConnect.
    Runner,
}

/// Types of job events in messages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventType {
    /// `JobAvailable`.
    Available,
    /// `JobAssigned`.
    Assigned,
    /// `JobStarted`.
    Started,
    /// `JobCompleted`.
    Completed,
}

impl EventType {
    /// By the wire type; `None` for types nobody knows.
    pub const fn of(kind: &JobEventKind) -> Option<EventType> {
        match kind {
            JobEventKind::Available => Some(EventType::Available),
            JobEventKind::Assigned => Some(EventType::Assigned),
            JobEventKind::Started { .. } => Some(EventType::Started),
            JobEventKind::Completed { .. } => Some(EventType::Completed),
            JobEventKind::Unknown => None,
        }
    }
    /// By the name scenario files and messages use, e.g. `JobStarted`.
    pub fn from_name(name: &str) -> Option<EventType> {
        match name {
            "JobAvailable" => Some(EventType::Available),
            "JobAssigned" => Some(EventType::Assigned),
            "JobStarted" => Some(EventType::Started),
            "JobCompleted" => Some(EventType::Completed),
            _ => None,
        }
    }
}
