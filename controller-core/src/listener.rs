//! The listener process as one machine, over all its generations: session, polls, messages, patches, shutdown.
//!
//! **Never**: sends anything itself, reads a clock, draws, knows pods. Use: [`Listener::new`], then drain [`Listener::poll`]
//! until [`Output::WaitUntil`], hand in one [`Input`], drain again; after [`Output::Exit`] the process is over.
//!
//! Life: a session is created (E7), its counters give the first target; then polls (E10), each followed by what its message
//! asks for in the order of the release ([`crate::behaviour::MessageOrder`]); at the end the session is deleted (E9). At any
//! time at most one service call is under way. Patches go through `writer`; releases wait for each of them, `next` polls on.
//!
//! Differs: metrics are not modelled; the `409` retry branch of 0.8.0–0.13.1 is left out, since nothing can enter it
//! (Q-SESS-409-NORETRY); a blank queue URL cannot be expressed (Q-SESS-EMPTY-QURL).
//!
//! Source: actions-service.md §4 (O1–O12, G1–G11, S1–S11), recordings c_polls, c_msg_http, c_msg_crash, c_graceful, c_token,
//! c_session_conflict; *Correct controller* of field-bugs.md §3.3 for `next`.
//!
//! Reading order: this file (state, inputs) → `session` (E7, E8, E9, E10) → `message` (what follows a poll) →
//! `writer` (patches) → `shutdown`, `texts` (last words).

mod message;
mod session;
mod shutdown;
mod texts;
mod writer;

use std::collections::VecDeque;
use std::sync::Arc;

use arc_api::kube::{KubeOk, KubeRequest};
use arc_api::meta::Key;
use arc_api::service::{Op, ServiceOk, ServiceRequest, Session};
use arc_api::{Duration, MessageId, Str, Time};

use self::message::Work;
use self::session::{Doing, Told};
pub use self::session::{PHANTOM_JOBS, POISON_MESSAGE, SESSION_CONFLICT, UNREACHABLE};
use self::writer::{Write, Writer, Written};
use crate::behaviour::{Behaviour, PatchError, PollError, SessionConflictRule};
use crate::call::{CallError, ClientKey};
use crate::client::{self, AttemptId, Bearer, CallId, Client, Step};
use crate::listener_config::ListenerConfig;
use crate::reconcile::{Level, LogLine};
use crate::scaler::Scaler;

/// What a listener process is started with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its `config.json`.
    pub config: ListenerConfig,
    /// How its image behaves.
    pub behaviour: Arc<Behaviour>,
    /// Its pod's name: the owner of its session.
    pub owner: Str,
    /// The AutoscalingListener it belongs to; only `next` writes there.
    pub listener: Key,
    /// What 0.7.0 derives its sleeps from: any number, the same number gives the same sleeps.
    pub jitter: u64,
}

/// Names a patch under way; counted per process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WriteId(pub u64);

/// What happens to a listener.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// The answer to an HTTP attempt.
    Http(AttemptId, Result<ServiceOk, CallError>),
    /// The API server's answer to a patch.
    Kube(WriteId, Result<KubeOk, CallError>),
    /// The time that was waited for has come; too early is harmless.
    Wake,
    /// SIGTERM.
    Terminate,
}

/// What a listener does.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// One HTTP attempt.
    Send {
        /// Names it.
        attempt: AttemptId,
        /// What goes over the wire.
        request: ServiceRequest,
    },
    /// Closes the connection of an attempt.
    Abort {
        /// Which.
        attempt: AttemptId,
    },
    /// A request to the API server.
    Kube {
        /// Names it.
        write: WriteId,
        /// A patch.
        request: KubeRequest,
    },
    /// Closes the connection of a patch.
    AbortKube {
        /// Which.
        write: WriteId,
    },
    /// A log line.
    Log(LogLine),
    /// The process is over.
    Exit {
        /// 1 in every release, 2 after a panic; in `next` 0 after SIGTERM, and 1 only when the scale set is gone.
        code: i32,
        /// The telling part of its last line.
        text: Str,
    },
    /// Nothing more until an input comes; [`Input::Wake`] is due at `at`.
    WaitUntil {
        /// When.
        at: Time,
        /// For what.
        why: Why,
    },
}

/// What a listener waits for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Why {
    /// An answer of the service, or the client's next attempt.
    Service,
    /// The API server.
    Patch,
    /// The end of a wait before it tries again.
    Backoff,
    /// Nothing: it has exited.
    Exited,
}

/// Where the process stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Has no session yet.
    Starting,
    /// Works off [`Work::plan`].
    Working,
    /// A poll is open.
    Polling,
    /// Waits before it tries again.
    Sleeping { until: Time, then: Then },
    /// Deletes its session.
    Closing,
    /// Over.
    Exited,
}

/// What a wait was for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    CreateSession,
    Poll,
    RefreshSession,
    Work,
}

/// The longest wait between two tries of `next`.
const BACKOFF_MAX: u64 = 30;
/// A listener process.
#[derive(Clone, Debug)]
pub struct Listener {
    setup: Arc<Setup>,
    client: Client,
    call: Option<(CallId, Doing)>,
    calls: u64,
    writer: Writer,
    phase: Phase,
    session: Option<Arc<Session>>,
    last: MessageId,
    scaler: Scaler,
    work: Work,
    /// Failures in a row: of E7 in 0.7.0, of anything in `next`.
    failures: u32,
    /// `next`: how often in a row the service knew no such scale set.
    denials: u32,
    /// `next`: messages that are handled and still to be deleted.
    undeleted: Vec<MessageId>,
    /// `next`: the message that could not be read last, and how often.
    poison: (MessageId, u32),
    /// `next`: what the listener's conditions say.
    told: Told,
    cancelled: bool,
    /// When an unfinished shutdown goes on without what it waits for.
    leave_by: Time,
    last_words: Option<(i32, Str)>,
    out: VecDeque<Output>,
    drained: bool,
}

impl Listener {
    /// A process that has read its configuration at `now`.
    pub fn new(setup: Arc<Setup>, now: Time) -> Listener {
        let config = &setup.config;
        let key = ClientKey {
            url: config.configure_url.clone(),
            namespace: config.ephemeral_runner_set_namespace.clone(),
            credentials: Arc::new(config.credentials.clone()),
        };
        let mut listener = Listener {
            client: Client::new(setup.behaviour.clone(), Arc::new(key)),
            call: None,
            calls: 0,
            writer: Writer::new(setup.behaviour.listener_patch_error),
            phase: Phase::Starting,
            session: None,
            last: MessageId(0),
            scaler: Scaler::new(setup.behaviour.scaler, config.min_runners, config.max_runners, now),
            work: Work::default(),
            failures: 0,
            denials: 0,
            undeleted: Vec::new(),
            poison: (MessageId(0), 0),
            told: Told::default(),
            cancelled: false,
            leave_by: Time::NEVER,
            last_words: None,
            out: VecDeque::new(),
            drained: false,
            setup,
        };
        listener.create_session(now);
        listener.pump(now);
        listener
    }
    /// The session it holds.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.as_ref()
    }
    /// Whether a poll is open: it would learn of a job now.
    pub fn is_polling(&self) -> bool {
        self.phase == Phase::Polling
    }
    /// Whether it has exited.
    pub fn has_exited(&self) -> bool {
        self.phase == Phase::Exited
    }

    /// Takes one input.
    ///
    /// # Panics
    /// In debug builds when the outputs of the last input were not drained: a bug of the harness.
    pub fn handle(&mut self, input: Input, now: Time) {
        debug_assert!(self.drained, "a listener's outputs must be drained before its next input");
        self.drained = false;
        if self.phase == Phase::Exited {
            return;
        }
        match input {
            Input::Http(attempt, reply) => self.client.on_reply(attempt, reply, now),
            Input::Kube(write, reply) => {
                let written = self.writer.on_reply(write, reply, now);
                self.on_written(written, now);
            }
            Input::Wake => self.on_wake(now),
            Input::Terminate => self.terminate(now),
        }
        self.pump(now);
    }
    /// The next output.
    #[must_use = "drain until WaitUntil before the next handle()"]
    pub fn poll(&mut self) -> Output {
        if let Some(output) = self.out.pop_front() {
            return output;
        }
        self.drained = true;
        let (at, why) = self.waits_for();
        Output::WaitUntil { at, why }
    }

    fn waits_for(&self) -> (Time, Why) {
        if self.phase == Phase::Exited {
            return (Time::NEVER, Why::Exited);
        }
        let sleep = match self.phase {
            Phase::Sleeping { until, .. } => until,
            _ => Time::NEVER,
        };
        let writer = self.writer.next_wake().min(self.work.patience());
        let (service, leave) = (self.client.next_wake(), self.leave_by);
        let at = sleep.min(writer).min(service).min(leave);
        let why = match self.phase {
            Phase::Sleeping { .. } => Why::Backoff,
            _ if self.call.is_some() => Why::Service,
            _ => Why::Patch,
        };
        (at, why)
    }

    fn on_wake(&mut self, now: Time) {
        self.client.on_wake(now);
        let written = self.writer.on_wake(now);
        self.on_written(written, now);
        if self.leave_by <= now {
            self.leave_by = Time::NEVER;
            self.stop_waiting(now);
        }
        if let Phase::Sleeping { until, then } = self.phase
            && until <= now
        {
            self.wake_up(then, now);
        }
    }
    fn wake_up(&mut self, then: Then, now: Time) {
        match then {
            Then::CreateSession if self.cancelled && !self.retries() => {
                // 0.7.0 only: the call fails at once with the cancelled context, which counts as a failure like any other.
                self.after_failed_creation(None, now);
            }
            Then::CreateSession => self.create_session(now),
            Then::Poll => self.start_poll(false, now),
            Then::RefreshSession => self.refresh(session::After::Poll, now),
            Then::Work => self.phase = Phase::Working,
        }
    }

    /// Moves everything that can move without a new input.
    fn pump(&mut self, now: Time) {
        loop {
            match self.client.poll() {
                Some(client::Output::Send { attempt, request }) => {
                    self.out.push_back(Output::Send { attempt, request });
                }
                Some(client::Output::Abort { attempt }) => self.out.push_back(Output::Abort { attempt }),
                Some(client::Output::Done { call, step, result }) => {
                    if let Some((id, doing)) = self.call
                        && id == call
                    {
                        self.call = None;
                        self.on_done(doing, step, result, now);
                    }
                }
                None => {
                    if !self.work_on(now) {
                        break;
                    }
                }
            }
        }
        self.writer.flush(&self.setup, now, &mut self.out);
    }

    fn submit(&mut self, doing: Doing, op: Op, now: Time) {
        let bearer = match (&op, &self.session) {
            (Op::GetMessage { .. } | Op::DeleteMessage { .. } | Op::AcquireJobs { .. }, Some(session)) => {
                Bearer::Queue(session.queue_token)
            }
            _ => Bearer::Admin,
        };
        self.calls += 1;
        let id = CallId(self.calls);
        self.call = Some((id, doing));
        self.client.submit(id, op, bearer, now);
    }

    fn retries(&self) -> bool {
        self.setup.behaviour.listener_poll_error == PollError::Retry
    }
    /// Sleeps 1, 2, 4 … 30 s: `next` only.
    fn back_off(&mut self, then: Then, now: Time) {
        let seconds = (1u64 << self.failures.min(5)).min(BACKOFF_MAX);
        self.failures += 1;
        self.phase = Phase::Sleeping { until: now.after(Duration::from_secs(seconds)), then };
    }

    fn log(&mut self, level: Level, message: &'static str, detail: Str) {
        self.out.push_back(Output::Log(LogLine { level, message, detail }));
    }
    fn conflict_waits(&self) -> bool {
        self.setup.behaviour.listener_conflict == SessionConflictRule::Wait
    }
    fn patches_in_background(&self) -> bool {
        self.setup.behaviour.listener_patch_error == PatchError::Retry
    }
}

#[cfg(test)]
mod rig;
#[cfg(test)]
mod rig_service;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_next;
#[cfg(test)]
mod tests_shutdown;
