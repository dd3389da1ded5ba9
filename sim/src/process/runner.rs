//! The runner container: the entry script that waits for docker, the agent that registers, polls and runs one job, and the
//! exit code that the scripts make of the agent's. A pure machine; the world carries out what it asks and draws its delays.
//!
//! Source: actions-service.md §6 (runner 2.336). Differs: the V1 protocol and the message types that do not change a job's
//! fate are not modelled; the agent's many HTTP calls are the five of [`Op`].

mod vocabulary;

use arc_api::kube::KubeOk;
use arc_api::service::{Auth, Exception, JobOrder, JobResult, Op, ServiceOk, ServiceRequest};
use arc_api::{Duration, RunnerId, Str, Time, Token};
use controller_core::call::{CallError, Transport};
use std::sync::Arc;

use super::hook::{Hook, HookCall};

pub use vocabulary::{RunnerEnv, RunnerInput, RunnerOutput, Slot};

#[derive(Clone, PartialEq, Debug)]
enum State {
    Created,
    /// The entry script tries `docker ps` once a second.
    WaitingForDocker {
        left: u32,
    },
    Booting,
    Connecting {
        conflicts: u32,
    },
    RetryConnect {
        conflicts: u32,
    },
    Polling {
        errors: u32,
    },
    RetryPoll {
        errors: u32,
    },
    Working(Box<Work>),
    /// `completejob` is on its way; afterwards the process ends with this code.
    Completing {
        code: i32,
        tries: u32,
        result: JobResult,
    },
    /// Leaving while idle.
    Disconnecting,
    Exiting {
        code: i32,
    },
    Ended,
}

#[derive(Clone, PartialEq, Debug)]
struct Work {
    job: Arc<JobOrder>,
    began: Time,
    renew_at: Time,
    renewing: bool,
    /// When the poll beside the job is tried again after an error.
    poll_at: Option<Time>,
    docker_at: Option<Time>,
    end_at: Option<Time>,
    hook: Option<Hook>,
    /// The result is decided; cleaning up, then reported.
    outcome: Option<(JobResult, &'static str, i32)>,
}

/// One runner process.
#[derive(Clone, Debug)]
pub struct Runner {
    env: RunnerEnv,
    state: State,
    id: RunnerId,
    token: Token,
    terminated: bool,
    /// Its last wish.
    wake_at: Time,
    /// When its daemon, which had answered, was gone.
    docker_lost: Option<Time>,
    out: Vec<RunnerOutput>,
}

/// The step of a runner at which its hook's exec stream is open.
pub const EXEC_BEGINS: &str = "ExecBegins";
/// Lease renewal (actions-service.md §6.5).
const RENEW: Duration = Duration::from_secs(60);
/// After a renewal that failed: 5 to 15 s there (§6.5 item 4), the longest here.
const RENEW_AGAIN: Duration = Duration::from_secs(15);
/// After a failed poll (§6.3).
const POLL_AGAIN: Duration = Duration::from_secs(22);
/// A job that begins this soon after the daemon's end met it by chance: nobody could have kept the runner from taking it, and
/// the kubelet lets a container that ends again and again wait for up to five minutes.
const DOCKER_RESTARTS: Duration = Duration::from_secs(300);

impl Runner {
    /// A runner that has not started.
    pub fn new(env: RunnerEnv) -> Runner {
        let (id, token) = (RunnerId(0), Token(0));
        let (state, wake_at) = (State::Created, Time::ZERO);
        Runner { env, state, id, token, terminated: false, wake_at, docker_lost: None, out: Vec::new() }
    }

    /// The registration it runs under, once connected.
    pub fn registration(&self) -> RunnerId {
        self.id
    }
    /// The JIT configuration it was given.
    pub fn jit(&self) -> Token {
        self.env.jit
    }
    /// Where it looks for a docker daemon, if its pod says so.
    pub fn docker_socket(&self) -> Option<&Str> {
        self.env.docker_socket.as_ref()
    }
    /// The job it works on.
    pub fn job(&self) -> Option<&Arc<JobOrder>> {
        match &self.state {
            State::Working(w) => Some(&w.job),
            _ => None,
        }
    }
    /// Its process will end before it connects.
    pub fn never_connects(&mut self) {
        if matches!(self.state, State::Created | State::WaitingForDocker { .. } | State::Booting) {
            self.state = State::Ended;
        }
    }
    /// Whether its job talks to a docker daemon.
    pub fn uses_docker(&self) -> bool {
        self.job().is_some_and(|j| j.needs.docker_after.is_some())
    }

    /// Takes what the runner wants done.
    pub fn take_outputs(&mut self) -> Vec<RunnerOutput> {
        std::mem::take(&mut self.out)
    }

    /// One input in.
    pub fn handle(&mut self, input: RunnerInput, now: Time) {
        match input {
            RunnerInput::Start { docker } => {
                if self.env.wait_for_docker > 0 && self.env.docker_socket.is_some() && !docker {
                    self.state = State::WaitingForDocker { left: self.env.wait_for_docker };
                    self.wake(now.after(Duration::from_secs(1)));
                } else {
                    self.boot(now);
                }
            }
            RunnerInput::Wake { docker } => self.on_wake(docker, now),
            RunnerInput::Service(Slot::Main, reply) => self.on_service(reply, now),
            RunnerInput::Service(slot, reply) => self.on_aside(slot, reply, now),
            RunnerInput::Kube(id, reply) => self.on_kube(id, reply, now),
            RunnerInput::Term => self.on_term(now),
            RunnerInput::DockerLost => self.on_docker_lost(now),
            RunnerInput::ExecLost { clean } => self.on_exec_lost(clean, now),
            RunnerInput::EndJob(result, code) => self.end_work(result, "container exit", code, now),
        }
    }

    fn wake(&mut self, at: Time) {
        self.wake_at = at;
        self.out.push(RunnerOutput::WakeAt(at));
    }
    fn call(&mut self, op: Op) {
        self.call_in(Slot::Main, op);
    }
    fn call_in(&mut self, slot: Slot, op: Op) {
        let auth = Auth::Runner(if self.token.0 == 0 { self.env.jit } else { self.token });
        self.out.push(RunnerOutput::Service(slot, ServiceRequest { auth, op }));
    }
    fn boot(&mut self, now: Time) {
        self.state = State::Booting;
        self.wake(now.after(self.env.boot));
    }
    fn connect(&mut self, conflicts: u32) {
        self.state = State::Connecting { conflicts };
        let op = Op::RunnerConnect { jit: self.env.jit, version: self.env.version.clone() };
        self.call(op);
    }
    fn poll(&mut self, errors: u32) {
        self.state = State::Polling { errors };
        self.call(Op::RunnerPoll);
    }
    /// The agent ends with `code` soon; the scripts turn every code but 0 and 7 into 0, and any end after SIGTERM into 143
    /// (actions-service.md §6.6).
    fn end(&mut self, code: i32, text: &str, now: Time) {
        self.end_after(self.env.exit, code, text, now);
    }
    /// It has no job and is told to go, or is refused: it takes its time.
    fn leave(&mut self, code: i32, text: &str, now: Time) {
        self.end_after(self.env.refused, code, text, now);
    }
    fn end_after(&mut self, wait: Duration, code: i32, text: &str, now: Time) {
        let seen = match code {
            _ if self.terminated => 143,
            7 if self.env.deprecated_exit_code => 7,
            _ => 0,
        };
        let _ = text;
        self.state = State::Exiting { code: seen };
        self.wake(now.after(wait));
    }

    fn on_wake(&mut self, docker: bool, now: Time) {
        // A job looks at the clock by itself; everything else waits for one time, which a timer of the job before is not.
        if now < self.wake_at && !matches!(self.state, State::Working(_)) {
            return self.out.push(RunnerOutput::WakeAt(self.wake_at));
        }
        match &mut self.state {
            State::WaitingForDocker { left } => {
                *left -= 1;
                if docker || *left == 0 {
                    self.boot(now);
                } else {
                    self.wake(now.after(Duration::from_secs(1)));
                }
            }
            State::Booting => self.connect(0),
            State::RetryConnect { conflicts } => {
                let conflicts = *conflicts;
                self.connect(conflicts);
            }
            State::RetryPoll { errors } => {
                let errors = *errors;
                self.poll(errors);
            }
            State::Working(_) => self.work(docker, now),
            State::Completing { result, .. } => {
                let result = *result;
                self.call(Op::RunnerComplete(result));
            }
            State::Exiting { code } => {
                let code = *code;
                self.state = State::Ended;
                self.out.push(RunnerOutput::Exit(code, Str::default()));
            }
            State::Created | State::Connecting { .. } | State::Polling { .. } | State::Disconnecting | State::Ended => {
            }
        }
    }

    fn on_service(&mut self, reply: Result<ServiceOk, CallError>, now: Time) {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Connecting { conflicts } => self.on_connected(reply, conflicts, now),
            State::Polling { errors } => self.on_polled(reply, errors, now),
            State::Completing { code, tries, result } => match reply {
                // Five tries, 5 s apart (§6.5 item 6); a refusal ends them.
                Err(CallError::Transport(_)) if tries < 5 => {
                    self.state = State::Completing { code, tries: tries + 1, result };
                    self.wake(now.after(Duration::from_secs(5)));
                }
                // Its own code, whatever the scripts make of others.
                _ => {
                    self.state = State::Exiting { code: if self.terminated { 143 } else { code } };
                    self.wake(now.after(self.env.exit));
                }
            },
            State::Disconnecting => self.leave(0, "", now),
            // A reply to a call that the state has outlived.
            other => self.state = other,
        }
    }

    /// The conversations beside the job: lease and cancellation (§6.3, §6.5 items 4 and 7).
    fn on_aside(&mut self, slot: Slot, reply: Result<ServiceOk, CallError>, now: Time) {
        let State::Working(work) = &mut self.state else { return };
        if slot == Slot::Renew {
            work.renewing = false;
            work.renew_at = match reply {
                Ok(_) => work.renew_at.max(now),
                Err(_) => work.renew_at.min(now.after(RENEW_AGAIN)),
            };
            self.wake_at = work.renew_at;
            self.out.push(RunnerOutput::WakeAt(work.renew_at));
        }
        match reply {
            Ok(ServiceOk::CancelJob(_)) => self.end_work(JobResult::Canceled, "cancelled", 0, now),
            // The lease is lost: the renewal task ends before the worker and the job is abandoned.
            Err(CallError::Service(e)) if slot == Slot::Renew && e.status == 404 => {
                self.end_work(JobResult::Failed, "lease-lost", 0, now);
            }
            Ok(_) if slot == Slot::Busy => self.call_in(Slot::Busy, Op::RunnerPoll),
            // The outer loop of poll errors goes on beside the job (§6.3).
            Err(_) if slot == Slot::Busy => {
                work.poll_at = Some(now.after(POLL_AGAIN));
                self.wake(now.after(POLL_AGAIN));
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn on_connected(&mut self, reply: Result<ServiceOk, CallError>, conflicts: u32, now: Time) {
        match reply {
            Ok(ServiceOk::Connected { runner, token }) => {
                self.id = runner;
                self.token = token;
                if self.terminated {
                    self.state = State::Disconnecting;
                    self.call(Op::RunnerDisconnect);
                } else {
                    self.poll(0);
                }
            }
            Ok(_) => self.end(1, "unexpected answer", now),
            Err(CallError::Service(e)) => match e.exception {
                Exception::InvalidClient => self.leave(1, "registration was deleted", now),
                Exception::RunnerVersionTooOld => self.end(7, "runner version is deprecated", now),
                Exception::RunnerSessionConflict if conflicts + 1 >= 8 => self.end(5, "session conflict", now),
                Exception::RunnerSessionConflict => {
                    self.state = State::RetryConnect { conflicts: conflicts + 1 };
                    self.wake(now.after(self.env.retry));
                }
                _ if matches!(e.status, 401 | 403 | 404) => self.leave(1, "access denied", now),
                _ => {
                    self.state = State::RetryConnect { conflicts };
                    self.wake(now.after(self.env.retry));
                }
            },
            // Anything else is retried for ever, every 30 s (§6.4).
            Err(CallError::Transport(_) | CallError::Api(_)) => {
                self.state = State::RetryConnect { conflicts };
                self.wake(now.after(self.env.retry));
            }
        }
    }

    fn on_polled(&mut self, reply: Result<ServiceOk, CallError>, errors: u32, now: Time) {
        match reply {
            Ok(ServiceOk::Job(job)) => self.begin(job, now),
            Ok(_) if self.terminated => self.end(0, "", now),
            Ok(_) => self.poll(0),
            Err(CallError::Service(e)) => match e.exception {
                Exception::RunnerNotFound | Exception::InvalidClient => {
                    self.end_after(self.env.lost, 0, "registration is gone", now);
                }
                Exception::RunnerVersionTooOld => self.end(7, "runner version is deprecated", now),
                Exception::JobNotFound => self.end(0, "job message is gone", now),
                _ => self.retry_poll(errors, now),
            },
            Err(CallError::Transport(Transport::Cancelled)) if self.terminated => {
                self.state = State::Disconnecting;
                self.call(Op::RunnerDisconnect);
            }
            Err(CallError::Transport(_) | CallError::Api(_)) => self.retry_poll(errors, now),
        }
    }

    /// Outer loop of poll errors: 22 s for the first five, 45 s up to the tenth, then exit 2, which the script restarts (§6.3).
    fn retry_poll(&mut self, errors: u32, now: Time) {
        let wait = if errors < 5 { 22 } else { 45 };
        self.state =
            if errors >= 10 { State::RetryConnect { conflicts: 0 } } else { State::RetryPoll { errors: errors + 1 } };
        self.wake(now.after(Duration::from_secs(wait)));
    }

    fn begin(&mut self, job: Arc<JobOrder>, now: Time) {
        self.out.push(RunnerOutput::JobBegan(job.id));
        let mut work = Work {
            began: now,
            renew_at: now.after(RENEW),
            renewing: false,
            poll_at: None,
            docker_at: job.needs.docker_after.map(|d| now.after(d)),
            end_at: Some(now.after(job.runs_for)),
            hook: None,
            outcome: None,
            job,
        };
        if self.env.require_container && !work.job.needs.container {
            work.end_at = None;
            self.state = State::Working(Box::new(work));
            self.end_work(JobResult::Failed, "jobs without a job container are forbidden", 0, now);
            return;
        }
        if work.job.needs.container
            && let Some(env) = &self.env.hooks
        {
            // The work begins when the workflow pod is up; until then there is no end.
            work.end_at = None;
            let mut hook = Hook::new(env.clone());
            for HookCall(id, request) in hook.start() {
                self.out.push(RunnerOutput::Kube(id, request));
            }
            work.hook = Some(hook);
        }
        self.state = State::Working(Box::new(work));
        self.call_in(Slot::Busy, Op::RunnerPoll);
        self.work(true, now);
    }

    /// Looks at the clock while working: docker use, lease, end of work; then sleeps until the next of them.
    fn work(&mut self, docker: bool, now: Time) {
        let State::Working(work) = &mut self.state else { return };
        if work.docker_at.is_some_and(|t| t <= now) {
            work.docker_at = None;
            if !docker {
                let restarts = self.docker_lost.is_some_and(|lost| work.began <= lost.after(DOCKER_RESTARTS));
                let why = if restarts { "docker-lost" } else { "docker-socket" };
                return self.end_work(JobResult::Failed, why, 0, now);
            }
        }
        let State::Working(work) = &mut self.state else { return };
        if let Some(hook) = &mut work.hook {
            let calls = hook.on_wake(now);
            self.out.extend(calls.into_iter().map(|HookCall(id, r)| RunnerOutput::Kube(id, r)));
        }
        if work.renew_at <= now && !work.renewing {
            work.renew_at = now.after(RENEW);
            work.renewing = true;
            self.call_in(Slot::Renew, Op::RunnerRenew);
        }
        let State::Working(work) = &mut self.state else { return };
        if work.poll_at.is_some_and(|t| t <= now) {
            work.poll_at = None;
            self.call_in(Slot::Busy, Op::RunnerPoll);
        }
        let State::Working(work) = &mut self.state else { return };
        if work.end_at.is_some_and(|t| t <= now) {
            let (result, why, code) = work.outcome.unwrap_or((work.job.result, "", 0));
            if work.hook.as_ref().is_some_and(Hook::needs_cleanup) {
                let calls = work.hook.as_mut().map(Hook::clean_up).unwrap_or_default();
                work.end_at = None;
                work.outcome = Some((result, why, code));
                self.out.extend(calls.into_iter().map(|HookCall(id, r)| RunnerOutput::Kube(id, r)));
            } else {
                return self.report(result, why, code);
            }
        }
        let State::Working(work) = &self.state else { return };
        let next = [
            // Renewals do not overlap: the reply, or its absence, sets the time of the next.
            (!work.renewing).then_some(work.renew_at),
            work.poll_at,
            work.docker_at,
            work.end_at,
            work.hook.as_ref().and_then(Hook::wake_at),
        ];
        if let Some(at) = next.into_iter().flatten().min() {
            self.wake(at);
        }
    }

    fn end_work(&mut self, result: JobResult, why: &'static str, code: i32, now: Time) {
        let State::Working(work) = &mut self.state else { return };
        work.outcome = Some((result, why, code));
        work.end_at = Some(now);
        work.docker_at = None;
        self.work(true, now);
    }

    fn report(&mut self, result: JobResult, why: &'static str, code: i32) {
        if let State::Working(work) = &self.state {
            self.out.push(RunnerOutput::JobEnded(work.job.id, result, why));
        }
        self.out.push(RunnerOutput::Cancel(Slot::Busy));
        self.out.push(RunnerOutput::Cancel(Slot::Renew));
        self.state = State::Completing { code, tries: 1, result };
        self.call(Op::RunnerComplete(result));
    }

    fn on_kube(&mut self, id: u32, reply: Result<KubeOk, CallError>, now: Time) {
        let State::Working(work) = &mut self.state else { return };
        let Some(hook) = &mut work.hook else { return };
        let progress = hook.on_reply(id, reply, now);
        self.out.extend(progress.calls.into_iter().map(|HookCall(id, r)| RunnerOutput::Kube(id, r)));
        if progress.ready {
            work.end_at = Some(now.after(work.job.runs_for));
            self.out.push(RunnerOutput::ExecBegins);
        }
        if progress.cleaned && work.outcome.is_some() {
            work.end_at = Some(now);
            work.hook = None;
        }
        if let Some(why) = progress.failed {
            return self.end_work(JobResult::Failed, why, 0, now);
        }
        self.work(true, now);
    }

    fn on_term(&mut self, now: Time) {
        self.terminated = true;
        match &mut self.state {
            // The script is not yet trapping anything that matters, or nothing is registered: it just ends.
            State::Created | State::WaitingForDocker { .. } | State::Booting => self.leave(0, "", now),
            State::RetryConnect { .. } | State::RetryPoll { .. } => self.leave(0, "", now),
            State::Polling { .. } => {
                self.out.push(RunnerOutput::Cancel(Slot::Main));
                self.state = State::Disconnecting;
                self.call(Op::RunnerDisconnect);
            }
            // The worker is told RunnerShutdown, its job fails, and the listener waits for it (§6.7).
            State::Working(work) => {
                if work.outcome.is_none() {
                    work.outcome = Some((JobResult::Failed, "shutdown-signal", 0));
                    work.end_at = Some(now.after(self.env.shutdown));
                    work.docker_at = None;
                    self.work(true, now);
                }
            }
            // The token of all its waits is cancelled: no session, nothing to leave (recorded: c_jobs phase G, 0.3 s to the end).
            State::Connecting { .. } => {
                self.out.push(RunnerOutput::Cancel(Slot::Main));
                self.leave(0, "", now);
            }
            State::Completing { .. } | State::Disconnecting | State::Exiting { .. } | State::Ended => {}
        }
    }

    /// Whether an exec stream of its hook is open: until when its present step prints nothing is the job's own matter.
    pub fn streams(&self) -> bool {
        matches!(&self.state, State::Working(w) if w.outcome.is_none() && w.hook.as_ref().is_some_and(Hook::is_in_steps))
    }

    /// Hooks up to 0.8.1 take a stream that closes without a status for the step's success; a reset fails the step
    /// (runner-container-hooks#331, actions-service.md §7.6).
    fn on_exec_lost(&mut self, clean: bool, now: Time) {
        if self.streams() {
            let result = if clean { JobResult::Succeeded } else { JobResult::Failed };
            self.end_work(result, if clean { "exec-closed" } else { "exec-reset" }, 0, now);
        }
    }

    fn on_docker_lost(&mut self, now: Time) {
        self.docker_lost = Some(now);
        if self.uses_docker() {
            self.end_work(JobResult::Failed, "docker-lost", 0, now);
        }
    }
}

#[cfg(test)]
mod tests;
