//! A service client as a machine: turns one operation into the HTTP attempts, token steps and waits that ARC's client makes.
//!
//! **Never**: sends anything itself, decodes JSON, knows reconcilers or sessions, blocks. Use: [`Client::submit`] operations,
//! drain [`Client::poll`], hand in replies and wake-ups, drain again. One machine is one client *object*: a manager process
//! has one per [`ClientKey`], shared by all its reconcilers; a listener has its own.
//!
//! What an operation becomes:
//! 1. If the admin token is missing or within 60 s of its end: step A (Apps only), B, C. Nothing else triggers them; a 401
//!    does not (Q-ADMIN-401-NOREFRESH), except in `next`.
//! 2. The operation, at +0, 1, 3, 7, 15 s while the answer is a transport error, 429 or 5xx but 501; `Retry-After` of 429 and
//!    503 replaces the wait. POST and DELETE are repeated as well (Q-SESS-SELF-CONFLICT).
//! 3. The answer, or the error; after the fifth attempt only the status is left of it.
//!
//! Omitted: TLS and redirect errors. Differs: a registration answer without token or URL is an error in every release; up to
//! 0.13.1 it is a nil dereference (Q-REG-NIL-PANIC), which ends the process a line earlier.
//!
//! Source: actions-service.md §1.2–§1.8; `github/actions/client.go` (to 0.13.1), `actions/scaleset` (0.14.0 on).

mod policy;

use std::collections::VecDeque;
use std::sync::Arc;

use arc_api::service::{Auth, Credentials, Exception, Op, ServiceError, ServiceOk, ServiceRequest};
use arc_api::{Duration, Time, Token};

pub use self::policy::{ATTEMPTS, endpoint};
use crate::behaviour::{AcquireRefresh, Admin401, Behaviour, ClientMutex, RegistrationRetry};
use crate::call::{CallError, ClientKey, Transport};

/// Names a submitted operation; chosen by the caller, unique among those that are not done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct CallId(pub u64);

/// Names one HTTP attempt; counted per client object, never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AttemptId(pub u64);

/// What an operation authenticates with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bearer {
    /// The client's admin token, refreshed when it is due.
    Admin,
    /// A session's queue token (E10, E11, E12).
    Queue(Token),
}

/// Which request an answer is of: an operation can fail before it is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Step {
    /// Step A.
    AccessToken,
    /// Step B.
    RegistrationToken,
    /// Step C.
    AdminConnection,
    /// The operation itself.
    Operation,
}

/// What the client wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Send this now; the reply goes to [`Client::on_reply`].
    Send {
        /// Names the attempt.
        attempt: AttemptId,
        /// What goes over the wire.
        request: ServiceRequest,
    },
    /// Close the connection of an attempt: timed out or cancelled. The service may have carried it out.
    Abort {
        /// The attempt.
        attempt: AttemptId,
    },
    /// An operation is over.
    Done {
        /// The operation.
        call: CallId,
        /// Which request the result is of.
        step: Step,
        /// Its answer.
        result: Result<ServiceOk, CallError>,
    },
}

/// How long before its end the admin token is replaced.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);

/// One client object. Two words and three empty collections when idle.
#[derive(Clone, Debug)]
pub struct Client {
    behaviour: Arc<Behaviour>,
    key: Arc<ClientKey>,
    admin: Option<(Token, Time)>,
    /// Whose operation holds the mutex.
    lock: Option<CallId>,
    /// In order of submission: the mutex is fair.
    calls: Vec<Call>,
    out: VecDeque<Output>,
    attempts: u64,
    /// A kept-alive connection exists.
    warm: bool,
}

#[derive(Clone, Debug)]
struct Call {
    id: CallId,
    op: Op,
    bearer: Bearer,
    stage: Stage,
    wait: Wait,
    /// Failed attempts of the current exchange.
    failed: u32,
    /// Repetitions of step C after 401 or 403.
    round: u32,
    /// The admin token of the last attempt was refused once already.
    refused: bool,
    /// Ends at the end of a sleep that does not listen.
    cancelled: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Has not got past the mutex.
    Blocked,
    AccessToken,
    RegistrationToken(Option<Token>),
    AdminConnection(Token),
    Operation(Token),
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    /// For the mutex.
    Mutex,
    /// For a reply.
    Reply { attempt: AttemptId, deadline: Time, warm: bool },
    /// For the next attempt. `deaf`: a plain sleep that cancellation does not end.
    Sleep { until: Time, deaf: bool },
}

impl Client {
    /// A client that has no token yet.
    pub fn new(behaviour: Arc<Behaviour>, key: Arc<ClientKey>) -> Client {
        Client {
            behaviour,
            key,
            admin: None,
            lock: None,
            calls: Vec::new(),
            out: VecDeque::new(),
            attempts: 0,
            warm: false,
        }
    }
    /// Whose client this is.
    pub fn key(&self) -> &Arc<ClientKey> {
        &self.key
    }
    /// Nothing is submitted, under way or to be drained.
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.out.is_empty()
    }
    /// Starts an operation; it is over with [`Output::Done`].
    pub fn submit(&mut self, id: CallId, op: Op, bearer: Bearer, now: Time) {
        debug_assert!(self.calls.iter().all(|c| c.id != id), "{id:?} is under way already");
        self.calls.push(Call {
            id,
            op,
            bearer,
            stage: Stage::Blocked,
            wait: Wait::Mutex,
            failed: 0,
            round: 0,
            refused: false,
            cancelled: false,
        });
        self.admit(now);
    }
    /// Gives up an operation: its caller is shutting down. It is done at once, except during the sleeps of step C up to
    /// 0.13.1, which do not listen.
    pub fn cancel(&mut self, id: CallId, now: Time) {
        let Some(i) = self.calls.iter().position(|c| c.id == id) else { return };
        match self.calls[i].wait {
            Wait::Sleep { deaf: true, .. } => {
                self.calls[i].cancelled = true;
                return;
            }
            Wait::Reply { attempt, .. } => {
                self.out.push_back(Output::Abort { attempt });
                self.warm = false;
            }
            Wait::Mutex | Wait::Sleep { deaf: false, .. } => {}
        }
        self.finish(i, Err(CallError::Transport(Transport::Cancelled)), now);
    }
    /// The next thing to do; `None` when drained.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.pop_front()
    }
    /// When [`Client::on_wake`] is due: the earliest end of a wait or of an attempt's time.
    pub fn next_wake(&self) -> Time {
        self.calls.iter().map(|c| c.wait.until()).min().unwrap_or(Time::NEVER)
    }
    /// Time has passed. Too early is harmless.
    pub fn on_wake(&mut self, now: Time) {
        while let Some(i) = self.calls.iter().position(|c| c.wait.until() <= now) {
            match self.calls[i].wait {
                Wait::Reply { attempt, .. } => {
                    self.out.push_back(Output::Abort { attempt });
                    self.warm = false;
                    self.on_error(i, CallError::Transport(Transport::Timeout), now);
                }
                Wait::Sleep { .. } if self.calls[i].cancelled => {
                    self.finish(i, Err(CallError::Transport(Transport::Cancelled)), now);
                }
                Wait::Sleep { .. } => self.send(i, now),
                Wait::Mutex => return,
            }
        }
    }
    /// The answer to an attempt. One for an attempt that was aborted is ignored.
    pub fn on_reply(&mut self, attempt: AttemptId, reply: Result<ServiceOk, CallError>, now: Time) {
        let of = |c: &Call| matches!(c.wait, Wait::Reply { attempt: a, .. } if a == attempt);
        let Some(i) = self.calls.iter().position(of) else { return };
        match reply {
            Ok(ok) => {
                self.warm = true;
                self.on_answer(i, ok, now);
            }
            Err(error) => {
                self.warm = !matches!(error, CallError::Transport(_));
                self.on_error(i, error, now);
            }
        }
    }

    /// Lets the calls in that the mutex admits.
    fn admit(&mut self, now: Time) {
        let mut i = 0;
        while i < self.calls.len() {
            if matches!(self.calls[i].stage, Stage::Blocked) && self.try_admit(i, now) {
                i = 0;
            } else {
                i += 1;
            }
        }
    }
    fn try_admit(&mut self, i: usize, now: Time) -> bool {
        let call = &self.calls[i];
        let admin = match call.bearer {
            Bearer::Admin => true,
            Bearer::Queue(_) => {
                self.behaviour.acquire_refresh == AcquireRefresh::Yes && matches!(call.op, Op::AcquireJobs { .. })
            }
        };
        if admin {
            if self.lock.is_some_and(|owner| owner != call.id) {
                return false;
            }
            let whole = self.behaviour.client_mutex == ClientMutex::WholeCall && call.bearer == Bearer::Admin;
            let token = self.admin.filter(|(_, expires)| now.after(TOKEN_MARGIN) <= *expires);
            self.lock = (whole || token.is_none()).then_some(call.id);
            self.calls[i].stage = match (token, &*self.key.credentials) {
                (Some((token, _)), _) => Stage::Operation(token),
                (None, Credentials::App { .. }) => Stage::AccessToken,
                (None, Credentials::Pat(_)) => Stage::RegistrationToken(None),
            };
        } else {
            self.calls[i].stage = Stage::Operation(Token::default());
        }
        self.send(i, now);
        true
    }

    fn request(&self, call: &Call) -> ServiceRequest {
        let url = || self.key.url.clone();
        let secret = || Auth::Secret(self.key.credentials.clone());
        let (auth, op) = match call.stage {
            Stage::Blocked | Stage::AccessToken => (secret(), Op::AccessToken),
            Stage::RegistrationToken(None) => (secret(), Op::RegistrationToken { url: url() }),
            Stage::RegistrationToken(Some(t)) => (Auth::Installation(t), Op::RegistrationToken { url: url() }),
            Stage::AdminConnection(t) => {
                (Auth::Registration(t), Op::RunnerRegistration { url: url(), has_body: call.round == 0 })
            }
            Stage::Operation(admin) => match call.bearer {
                Bearer::Admin => (Auth::Admin(admin), call.op.clone()),
                Bearer::Queue(token) => (Auth::Queue(token), call.op.clone()),
            },
        };
        ServiceRequest { auth, op }
    }
    fn send(&mut self, i: usize, now: Time) {
        let request = self.request(&self.calls[i]);
        let limit = policy::timeout(self.behaviour.http_timeout, &request.op);
        let deadline = limit.map_or(Time::NEVER, |d| now.after(d));
        self.send_until(i, request, deadline, self.warm);
    }
    fn send_until(&mut self, i: usize, request: ServiceRequest, deadline: Time, warm: bool) {
        self.attempts += 1;
        let attempt = AttemptId(self.attempts);
        self.calls[i].wait = Wait::Reply { attempt, deadline, warm };
        self.out.push_back(Output::Send { attempt, request });
    }

    fn on_answer(&mut self, i: usize, ok: ServiceOk, now: Time) {
        let call = &mut self.calls[i];
        call.failed = 0;
        call.stage = match (call.stage, ok) {
            (Stage::AccessToken, ServiceOk::Token(t)) => Stage::RegistrationToken(Some(t)),
            (Stage::RegistrationToken(_), ServiceOk::Token(t)) => {
                call.round = 0;
                Stage::AdminConnection(t)
            }
            (Stage::AdminConnection(_), ServiceOk::Admin { token, expires }) => {
                self.admin = Some((token, expires));
                if !(self.behaviour.client_mutex == ClientMutex::WholeCall && call.bearer == Bearer::Admin) {
                    self.lock = None;
                }
                Stage::Operation(token)
            }
            (Stage::Operation(_), ok) => return self.finish(i, Ok(ok), now),
            (_, _) => {
                let e = ServiceError::new(200, Exception::None, "the answer holds no usable token");
                return self.finish(i, Err(CallError::Service(Arc::new(e))), now);
            }
        };
        self.send(i, now);
        self.admit(now);
    }

    fn on_error(&mut self, i: usize, error: CallError, now: Time) {
        let call = &mut self.calls[i];
        if error == CallError::Transport(Transport::Reset)
            && let Wait::Reply { deadline, warm: true, .. } = call.wait
        {
            let request = self.request(&self.calls[i]);
            if policy::is_get(&request.op) {
                // The kept-alive connection was closed: a new one at once, uncounted and within the same time limit.
                return self.send_until(i, request, deadline, false);
            }
        }
        let call = &mut self.calls[i];
        let rule = self.behaviour.registration_retry;
        let connecting = matches!(call.stage, Stage::AdminConnection(_)) && policy::is_refused(&error);
        if connecting && let Some(wait) = policy::registration_wait(rule, call.round + 1) {
            call.round += 1;
            call.failed = 0;
            call.wait = Wait::Sleep { until: now.after(wait), deaf: true };
            return;
        }
        if policy::is_retryable(&error) || connecting && rule == RegistrationRetry::FourWithBody {
            call.failed += 1;
            if call.failed < ATTEMPTS {
                let until = now.after(policy::wait(call.failed, &error));
                call.wait = Wait::Sleep { until, deaf: false };
                return;
            }
            let op = self.request(&self.calls[i]).op;
            return self.finish(i, Err(policy::exhausted(&op, error)), now);
        }
        if self.behaviour.admin_401 == Admin401::Refresh
            && let Stage::Operation(used) = call.stage
            && call.bearer == Bearer::Admin
            && !call.refused
            && error.service().is_some_and(|e| e.status == 401)
        {
            call.refused = true;
            call.failed = 0;
            call.stage = Stage::Blocked;
            call.wait = Wait::Mutex;
            // Another operation may have replaced the token meanwhile.
            self.admin = self.admin.filter(|(token, _)| *token != used);
            return self.admit(now);
        }
        self.finish(i, Err(error), now);
    }

    fn finish(&mut self, i: usize, result: Result<ServiceOk, CallError>, now: Time) {
        let call = self.calls.remove(i);
        if self.lock == Some(call.id) {
            self.lock = None;
        }
        self.out.push_back(Output::Done { call: call.id, step: call.stage.step(), result });
        self.admit(now);
    }
}

impl Wait {
    fn until(self) -> Time {
        match self {
            Wait::Mutex => Time::NEVER,
            Wait::Reply { deadline, .. } => deadline,
            Wait::Sleep { until, .. } => until,
        }
    }
}

impl Stage {
    fn step(self) -> Step {
        match self {
            Stage::AccessToken => Step::AccessToken,
            Stage::RegistrationToken(_) => Step::RegistrationToken,
            Stage::AdminConnection(_) => Step::AdminConnection,
            Stage::Blocked | Stage::Operation(_) => Step::Operation,
        }
    }
}

#[cfg(test)]
mod prop_tests;
#[cfg(test)]
mod tests;
