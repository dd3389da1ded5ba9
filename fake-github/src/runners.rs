//! Registrations and the runner's own calls: E14–E17 and connect, poll, renew, complete, disconnect
//! (actions-service.md §2.7, §6.3, §6.9). Never simulates the process behind a registration.
//!
//! Busy means that the service gave the registration a job, online that it has a session; a busy runner whose
//! registration went stays known until its job is over, because jobs are renewed and completed with a job's own token.

use arc_api::service::{Auth, JobEventKind, JobResult, RunnerInfo, ServiceOk, ServiceReply};
use arc_api::{Duration, JobId, RequestId, RunnerId, ScaleSetId, Str, Time, Token};

use crate::error::{Refusal, Why, refuse, refused};
use crate::event::{JobEnd, RunnerEnd, ServiceEvent, TokenKind};
use crate::jobs::JobState;
use crate::state::{GitHub, Outcome, Poller, TenantIndex, Ticket};
use crate::timer::Timer;

/// A registration.
#[derive(Clone, Debug)]
pub struct Runner {
    /// Id.
    pub id: RunnerId,
    /// Name, unique in the tenant whatever its case.
    pub name: Str,
    /// Its scale set.
    pub scale_set: ScaleSetId,
    /// When its JIT configuration was made.
    pub registered: Time,
    /// Whether the service still lists it.
    pub is_registered: bool,
    /// Whether it has been given its one job.
    pub is_used: bool,
    /// The job it has.
    pub job: Option<JobId>,
    /// A job it still works on although the service ended it before its time.
    pub late_job: Option<JobId>,
    /// How many processes presented its JIT configuration with success.
    pub connects: u32,
    /// When it was last heard of.
    pub last_seen: Time,
    pub(crate) tenant: u32,
    pub(crate) version: Str,
    /// Token of the process that is connected.
    pub(crate) session: Option<Token>,
    pub(crate) poll: Option<u64>,
    pub(crate) ready: Time,
    pub(crate) deadline: Time,
    /// A fault keeps its session taken until then.
    pub(crate) held_until: Time,
}

impl Runner {
    /// Whether a process of it is connected, as far as the service knows.
    pub fn is_online(&self) -> bool {
        self.session.is_some()
    }
    /// Whether it has a job.
    pub fn is_busy(&self) -> bool {
        self.job.is_some()
    }
    /// Whether its long poll is parked here.
    pub fn is_polling(&self) -> bool {
        self.poll.is_some()
    }
    /// Its tenant.
    pub fn tenant(&self) -> TenantIndex {
        TenantIndex(self.tenant)
    }
    fn info(&self) -> RunnerInfo {
        RunnerInfo { id: self.id, name: self.name.clone(), scale_set: self.scale_set }
    }
    fn is_free(&self) -> bool {
        self.poll.is_some() && self.job.is_none() && !self.is_used && self.is_registered
    }
}

fn folded(name: &Str) -> Str {
    match name.bytes().any(|b| b.is_ascii_uppercase()) {
        true => Str::from(name.to_ascii_lowercase()),
        false => name.clone(),
    }
}

impl GitHub {
    pub(crate) fn runner_mut(&mut self, id: RunnerId) -> Option<&mut Runner> {
        self.runners.get_mut(id.0 as u64)
    }

    /// E14.
    pub(crate) fn generate_jit(&mut self, auth: &Auth, id: ScaleSetId, name: &Str, now: Time) -> ServiceReply {
        let tenant = self.own_set(auth, id, now)?.tenant;
        let key = folded(name);
        if self.tenant(tenant).runner_names.contains_key(&key) {
            return refused(&Why::AgentExists(name.clone()));
        }
        let runner = RunnerId(self.next.runner as i64);
        self.next.runner += 1;
        let (jit, _) = self.issue(TokenKind::Jit, tenant, runner.0 as u64, now, Duration::MAX);
        let entry = Runner {
            id: runner,
            name: name.clone(),
            scale_set: id,
            registered: now,
            is_registered: true,
            is_used: false,
            job: None,
            late_job: None,
            connects: 0,
            last_seen: now,
            tenant,
            version: Str::default(),
            session: None,
            poll: None,
            ready: Time::ZERO,
            deadline: Time::NEVER,
            held_until: Time::ZERO,
        };
        let info = entry.info();
        self.runners.insert(runner.0 as u64, entry);
        self.tenant_mut(tenant).runner_names.insert(key, runner);
        if let Some(set) = self.set_mut(id) {
            set.tally.registered += 1;
        }
        self.set_runner_deadline(runner, now);
        self.emit(ServiceEvent::RunnerRegistered { runner, scale_set: id, name: name.clone() });
        Ok(ServiceOk::Jit { runner: info, jit })
    }

    /// E15.
    pub(crate) fn get_runner(&mut self, auth: &Auth, id: RunnerId, now: Time) -> ServiceReply {
        let tenant = self.admin(auth, now)?;
        if let Some(runner) = self.runner(id).filter(|r| r.is_registered && r.tenant == tenant) {
            return Ok(ServiceOk::Runner(Some(runner.info())));
        }
        let ghosts = &self.tenant(tenant).ghosts.runners;
        match ghosts.iter().find(|(until, info)| now < *until && info.id == id) {
            Some((_, info)) => Ok(ServiceOk::Runner(Some(info.clone()))),
            None => refused(&Why::Agent(id)),
        }
    }

    /// E16.
    pub(crate) fn get_runner_by_name(&mut self, auth: &Auth, name: &Str, now: Time) -> ServiceReply {
        let tenant = self.tenant(self.admin(auth, now)?);
        let found = tenant.runner_names.get(&folded(name)).and_then(|id| self.runner(*id)).map(Runner::info);
        let is_it = |ghost: &&(Time, RunnerInfo)| now < ghost.0 && ghost.1.name.eq_ignore_ascii_case(name);
        let ghost = || tenant.ghosts.runners.iter().rev().find(is_it).map(|(_, info)| info.clone());
        Ok(ServiceOk::Runner(found.or_else(ghost)))
    }

    /// E17: 204 also for what does not exist (U1), 400 while its job runs as far as the service has noticed.
    pub(crate) fn remove_runner(&mut self, auth: &Auth, id: RunnerId, now: Time) -> ServiceReply {
        let tenant = self.admin(auth, now)?;
        let Some(runner) = self.runner(id).filter(|r| r.is_registered && r.tenant == tenant) else {
            return match self.tenant(tenant).profile.unknown_runner_status {
                204 => Ok(ServiceOk::Done),
                _ => refused(&Why::Agent(id)),
            };
        };
        if let Some(job) = runner.job.and_then(|job| self.job(job)) {
            let lag = self.faults.stale.busy;
            if job.started.after(lag) <= now || lag.is_zero() {
                let request = RequestId(job.info.request.0);
                return refused(&Why::JobStillRunning { name: runner.name.clone(), request });
            }
        }
        self.remove_registration(id, RunnerEnd::Removed, true, now);
        Ok(ServiceOk::Done)
    }

    /// Takes a registration off the list. A process that polls is told at once if `tells`, else it waits for ever.
    pub(crate) fn remove_registration(&mut self, id: RunnerId, why: RunnerEnd, tells: bool, now: Time) {
        let lag = self.faults.stale.runners;
        let Some(runner) = self.runner_mut(id).filter(|runner| runner.is_registered) else { return };
        runner.is_registered = false;
        let info = runner.info();
        let (tenant, is_busy, is_online) = (runner.tenant, runner.job.is_some(), runner.is_online());
        runner.deadline = Time::NEVER;
        let key = folded(&info.name);
        self.tenant_mut(tenant).runner_names.remove(&key);
        if !lag.is_zero() {
            let ghosts = &mut self.tenant_mut(tenant).ghosts.runners;
            ghosts.retain(|(until, _)| now < *until);
            ghosts.push((now.after(lag), info.clone()));
        }
        if let Some(set) = self.set_mut(info.scale_set) {
            set.idle.remove(&id);
            set.tally.registered -= 1;
            set.tally.busy -= i32::from(is_busy);
            set.tally.idle -= i32::from(!is_busy && is_online);
        }
        self.emit(ServiceEvent::RunnerRemoved { runner: id, scale_set: info.scale_set, name: info.name, why });
        if tells && !is_busy {
            self.answer_runner(id, refused(&Why::RunnerGone), now);
        }
        // A busy one is still needed for its job; a deaf one so that its calls can go unanswered.
        if !is_busy && (tells || !is_online) {
            self.runners.remove(id.0 as u64);
        }
    }

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
        let Some(runner) = self.runner_mut(id) else { return };
        if runner.session.take().is_none() {
            return;
        }
        runner.poll = None;
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
    fn set_runner_deadline(&mut self, id: RunnerId, now: Time) {
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
        if !runner.is_registered && runner.job.is_some() {
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
        self.log(scale_set, arc_api::service::JobEvent { kind, job: info }, started_latency, now);
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
        let dead_after = self.profile_of(runner.scale_set).dead_runner_after;
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
        let lost = self.jobs.iter().find(|job| job.runner == id).map(|job| job.id);
        if let Some(job) = lost {
            self.emit(ServiceEvent::JobEndedLate { job, runner: id, result });
        }
        refused(&Why::Job)
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

    /// The job of a runner is over: an ephemeral registration has served.
    pub(crate) fn release_runner(&mut self, id: RunnerId, job: JobId, now: Time) {
        let Some(runner) = self.runner_mut(id).filter(|runner| runner.job == Some(job)) else { return };
        runner.job = None;
        let (scale_set, is_registered, is_online) = (runner.scale_set, runner.is_registered, runner.is_online());
        if !is_registered {
            self.answer_runner(id, refused(&Why::RunnerGone), now);
            self.runners.remove(id.0 as u64);
            return;
        }
        if let Some(set) = self.set_mut(scale_set) {
            set.tally.busy -= 1;
            set.tally.idle += i32::from(is_online);
        }
        self.remove_registration(id, RunnerEnd::JobCompleted, true, now);
    }
}
