//! The runner's own calls: connect, poll, renew, complete, disconnect, and which idle runner gets which job
//! (actions-service.md §6.3, §6.9). Never simulates the process that calls.

use arc_api::service::{Auth, JobEvent, JobEventKind, JobResult, ServiceOk, ServiceReply};
use arc_api::{Duration, JobId, RunnerId, ScaleSetId, Str, Time, Token};

use crate::error::{Refusal, Why, refuse, refused};
use crate::event::{JobEnd, RunnerEnd, ServiceEvent, TokenKind};
use crate::jobs::JobState;
use crate::state::{GitHub, Outcome, Poller, Ticket};
use crate::timer::Timer;

impl GitHub {
    /// RunnerConnect.
    pub(crate) fn runner_connect(&mut self, jit: Token, version: &Str, now: Time) -> ServiceReply {
        let found = self.runner_of_jit(jit).and_then(|id| self.runner(id)).filter(|runner| runner.is_registered);
        let Some(runner) = found else { return refused(&Why::InvalidClient) };
        let (id, scale_set, tenant) = (runner.id, runner.scale_set, runner.tenant);
        let is_taken = runner.session.is_some() || now < runner.held_until;
        if self.is_version_refused(version) {
            return refused(&Why::Version(version.clone()));
        }
        if is_taken {
            return refused(&Why::RunnerConflict);
        }
        let ready = now.after(self.tenant(tenant).profile.pickup_latency);
        let (token, _) = self.issue(TokenKind::Runner, tenant, id.0 as u64, now, Duration::MAX);
        if let Some(runner) = self.runner_mut(id) {
            runner.version = version.clone();
            runner.connects += 1;
            runner.ready = ready;
        }
        self.go_online(id, scale_set, token, now);
        Ok(ServiceOk::Connected { runner: id, token })
    }

    fn go_online(&mut self, id: RunnerId, scale_set: ScaleSetId, token: Token, now: Time) {
        let Some(runner) = self.runner_mut(id) else { return };
        runner.session = Some(token);
        runner.last_seen = now;
        let is_idle = runner.job.is_none() && runner.is_registered;
        if let Some(set) = self.set_mut(scale_set) {
            set.tally.idle += i32::from(is_idle);
        }
        self.emit(ServiceEvent::RunnerOnline { runner: id, scale_set });
        self.set_runner_deadline(id, now);
    }

    pub(crate) fn go_offline(&mut self, id: RunnerId, now: Time) {
        // What is still parked is from a connection that no longer counts.
        self.answer_runner(id, Ok(ServiceOk::Nothing), now);
        let Some(runner) = self.runner_mut(id) else { return };
        if runner.session.take().is_none() {
            return;
        }
        runner.last_seen = now;
        let (scale_set, is_idle) = (runner.scale_set, runner.job.is_none() && runner.is_registered);
        let is_left = runner.is_registered || runner.job.is_some();
        if let Some(set) = self.set_mut(scale_set) {
            set.idle.remove(&id);
            set.tally.idle -= i32::from(is_idle);
        }
        self.emit(ServiceEvent::RunnerOffline { runner: id, scale_set });
        if is_left {
            self.set_runner_deadline(id, now);
        } else {
            self.runners.remove(id.0 as u64);
        }
    }

    /// What time will do to a runner next.
    pub(crate) fn set_runner_deadline(&mut self, id: RunnerId, now: Time) {
        let Some(runner) = self.runner(id) else { return };
        let profile = &self.tenant(runner.tenant).profile;
        let deadline = match (runner.session, runner.poll, runner.job) {
            (None, _, None) => runner.last_seen.after(profile.offline_cleanup),
            (None, _, Some(_)) => Time::NEVER,
            (Some(_), Some(_), _) if runner.is_free() && now < runner.ready => runner.ready,
            (Some(_), Some(_), _) => Time::NEVER,
            (Some(_), None, _) => runner.last_seen.after(profile.runner_session_ttl),
        };
        if let Some(runner) = self.runner_mut(id) {
            runner.deadline = deadline;
        }
        self.timers.set(deadline, Timer::Runner(id));
    }

    pub(crate) fn runner_deadline(&mut self, id: RunnerId, now: Time) {
        let Some(runner) = self.runner_mut(id) else { return };
        runner.deadline = Time::NEVER;
        let scale_set = runner.scale_set;
        match (runner.session, runner.poll) {
            (Some(_), Some(_)) => {
                self.wait_for_work(id, now);
                self.pump(scale_set, now);
            }
            // The process behind the session is silent: its session ends, the registration stays.
            (Some(_), None) => self.go_offline(id, now),
            (None, _) => self.remove_registration(id, RunnerEnd::Offline, true, now),
        }
    }

    fn wait_for_work(&mut self, id: RunnerId, now: Time) {
        let Some(runner) = self.runner(id).filter(|r| r.is_free() && r.ready <= now) else { return };
        let scale_set = runner.scale_set;
        if let Some(set) = self.set_mut(scale_set) {
            set.idle.insert(id);
        }
    }

    /// The caller of a runner call, if its process is the connected one. A session that timed out while its process
    /// lives opens again: the agent re-creates it without being asked (§6.3, `RunnerSessionInvalid`).
    fn calling_runner(&mut self, auth: &Auth, now: Time) -> Result<RunnerId, Refusal> {
        let Some((id, token)) = self.runner_of_token(auth) else { return Err(refuse(&Why::RunnerGone)) };
        let Some(runner) = self.runner(id) else { return Err(refuse(&Why::RunnerGone)) };
        let (scale_set, session, is_held) = (runner.scale_set, runner.session, now < runner.held_until);
        match session {
            Some(held) if held == token && !is_held => {}
            None if !is_held => self.go_online(id, scale_set, token, now),
            _ => return Err(refuse(&Why::RunnerConflict)),
        }
        if let Some(runner) = self.runner_mut(id) {
            runner.last_seen = now;
        }
        Ok(id)
    }

    /// RunnerPoll: parks until there is a job, a cancellation, or an end.
    pub(crate) fn runner_poll(&mut self, auth: &Auth, now: Time) -> Outcome {
        let id = match self.calling_runner(auth, now) {
            Ok(id) => id,
            Err(refusal) => return Outcome::Reply(Err(refusal)),
        };
        let Some(runner) = self.runner(id) else { return Outcome::Reply(refused(&Why::RunnerGone)) };
        let (scale_set, version, tenant) = (runner.scale_set, runner.version.clone(), runner.tenant);
        if self.is_version_refused(&version) {
            return Outcome::Reply(refused(&Why::Version(version)));
        }
        let Some(runner) = self.runner(id) else { return Outcome::Reply(refused(&Why::RunnerGone)) };
        if !runner.is_registered && !runner.is_deaf {
            return Outcome::Reply(refused(&Why::RunnerGone));
        }
        if let Some(job) = runner.job.and_then(|job| self.job(job)).filter(|job| job.cancelled_until.is_some()) {
            return Outcome::Reply(Ok(ServiceOk::CancelJob(job.id)));
        }
        self.answer_runner(id, Ok(ServiceOk::Nothing), now);
        let ticket = self.next_ticket(Poller::Runner(id));
        let hold = now.after(self.tenant(tenant).profile.runner_poll_hold);
        if let Some(runner) = self.runner_mut(id) {
            runner.poll = Some(ticket.number);
        }
        self.holds.set(hold, Timer::RunnerHold(id, ticket.number));
        self.set_runner_deadline(id, now);
        self.wait_for_work(id, now);
        self.pump(scale_set, now);
        self.parked_or_answered(ticket)
    }

    pub(crate) fn answer_runner(&mut self, id: RunnerId, reply: ServiceReply, now: Time) {
        if let Some(number) = self.runner(id).and_then(|runner| runner.poll) {
            self.answer(Ticket { number, owner: Poller::Runner(id) }, reply, now);
        }
    }

    pub(crate) fn close_runner_poll(&mut self, id: RunnerId, now: Time) {
        let Some(runner) = self.runner_mut(id) else { return };
        runner.poll = None;
        runner.last_seen = now;
        let scale_set = runner.scale_set;
        if let Some(set) = self.set_mut(scale_set) {
            set.idle.remove(&id);
        }
        self.set_runner_deadline(id, now);
    }

    /// Hands assigned jobs to idle runners: the oldest job to the oldest registration.
    pub(crate) fn hand_out(&mut self, id: ScaleSetId, now: Time) {
        loop {
            let Some(set) = self.set(id) else { return };
            let Some(runner) = set.idle.first().copied() else { return };
            if set.job_faults.lost_messages > 0 {
                if let Some(set) = self.set_mut(id) {
                    set.job_faults.lost_messages -= 1;
                }
                self.answer_runner(runner, refused(&Why::Job), now);
                continue;
            }
            let Some(job) = set.assigned.first().copied() else { return };
            if set.job_faults.acquire_conflicts > 0 {
                if let Some(set) = self.set_mut(id) {
                    set.job_faults.acquire_conflicts -= 1;
                }
                // The runner goes on polling as if nothing had happened (Q-RUN-GHOST-409).
                self.answer_runner(runner, Ok(ServiceOk::Nothing), now);
                self.complete(job, JobResult::Canceled, JobEnd::Fault, now);
                continue;
            }
            self.start(job, runner, now);
        }
    }

    fn start(&mut self, id: JobId, runner: RunnerId, now: Time) {
        let Some(job) = self.job(id) else { return };
        let (scale_set, order, info) = (job.scale_set, job.order.clone(), job.info.clone());
        let profile = self.profile_of(scale_set);
        let (deadline, started_latency) = (now.after(profile.dead_runner_after), profile.started_latency);
        if let Some(job) = self.job_mut(id) {
            job.state = JobState::Running;
            job.runner = runner;
            job.starts += 1;
            job.started = now;
            job.deadline = deadline;
        }
        self.timers.set(deadline, Timer::Job(id));
        let Some(entry) = self.runner_mut(runner) else { return };
        entry.job = Some(id);
        entry.is_used = true;
        let runner_name = entry.name.clone();
        if let Some(set) = self.set_mut(scale_set) {
            set.assigned.remove(&id);
            set.idle.remove(&runner);
            set.tally.running += 1;
            set.tally.busy += 1;
            set.tally.idle -= 1;
        }
        self.emit(ServiceEvent::RunnerBusy { runner, scale_set, job: id });
        self.emit(ServiceEvent::JobStarted { job: id, scale_set, runner });
        let kind = JobEventKind::Started { runner, runner_name };
        self.log(scale_set, JobEvent { kind, job: info }, started_latency, now);
        self.answer_runner(runner, Ok(ServiceOk::Job(order)), now);
    }

    /// RunnerRenew: the lease begins anew; a cancellation is told.
    pub(crate) fn runner_renew(&mut self, auth: &Auth, now: Time) -> ServiceReply {
        let Some((id, _)) = self.runner_of_token(auth) else { return refused(&Why::Job) };
        let Some(runner) = self.runner(id) else { return refused(&Why::Job) };
        if runner.late_job.is_some() {
            return Ok(ServiceOk::Done);
        }
        let Some(job) = runner.job else { return refused(&Why::Job) };
        let dead_after = self.tenant(runner.tenant).profile.dead_runner_after;
        let _ = self.calling_runner(auth, now);
        if self.runner(id).is_some_and(|runner| runner.poll.is_none()) {
            self.set_runner_deadline(id, now);
        }
        let Some(job) = self.job_mut(job) else { return refused(&Why::Job) };
        job.deadline = now.after(dead_after).min(job.cancelled_until.unwrap_or(Time::NEVER));
        let (id, deadline, is_cancelled) = (job.id, job.deadline, job.cancelled_until.is_some());
        self.timers.set(deadline, Timer::Job(id));
        if is_cancelled { Ok(ServiceOk::CancelJob(id)) } else { Ok(ServiceOk::Done) }
    }

    /// RunnerComplete: the job is over and the ephemeral registration with it.
    pub(crate) fn runner_complete(&mut self, auth: &Auth, result: JobResult, now: Time) -> ServiceReply {
        let Some((id, _)) = self.runner_of_token(auth) else { return refused(&Why::Job) };
        let (job, late) = self.runner(id).map_or((None, None), |runner| (runner.job, runner.late_job));
        if let Some(job) = job {
            self.complete(job, result, JobEnd::Reported, now);
            return Ok(ServiceOk::Done);
        }
        if let Some(job) = late {
            self.emit(ServiceEvent::JobEndedLate { job, runner: id, result });
            self.remove_registration(id, RunnerEnd::JobCompleted, true, now);
            return Ok(ServiceOk::Done);
        }
        // The registration went with its job. Saying the end twice is harmless: the agent repeats a call whose answer
        // was lost (§6.5 item 6).
        let had = self.jobs.iter().find(|job| job.runner == id).map(|job| (job.id, job.end));
        match had {
            Some((_, Some(JobEnd::Reported))) => Ok(ServiceOk::Done),
            Some((job, _)) => {
                self.emit(ServiceEvent::JobEndedLate { job, runner: id, result });
                refused(&Why::Job)
            }
            None => refused(&Why::Job),
        }
    }

    /// RunnerDisconnect: the registration stays, also when it is somebody else's session by now.
    pub(crate) fn runner_disconnect(&mut self, auth: &Auth, now: Time) -> ServiceReply {
        if let Some((id, token)) = self.runner_of_token(auth)
            && self.runner(id).is_some_and(|runner| runner.session == Some(token))
        {
            self.go_offline(id, now);
        }
        Ok(ServiceOk::Done)
    }
}
