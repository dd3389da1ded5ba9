//! Registrations: E14–E17 and how they end (actions-service.md §2.7). The runner's own calls are in `runner_calls.rs`;
//! never simulates the process behind a registration.
//!
//! Busy means that the service gave the registration a job, online that it has a session; a busy runner whose
//! registration went stays known until its job is over, because jobs are renewed and completed with a job's own token.

use arc_api::service::{Auth, RunnerInfo, ServiceOk, ServiceReply};
use arc_api::{Duration, JobId, RequestId, RunnerId, ScaleSetId, Str, Time, Token};

use crate::error::{Why, refused};
use crate::event::{RunnerEnd, ServiceEvent, TokenKind};
use crate::state::{GitHub, TenantIndex};

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
    /// A fault lost its registration without a word: its calls are taken and nothing comes of them.
    pub(crate) is_deaf: bool,
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
    pub(crate) fn is_free(&self) -> bool {
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
            is_deaf: false,
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
        if tells {
            self.answer_runner(id, refused(&Why::RunnerGone), now);
        } else if let Some(runner) = self.runner_mut(id) {
            runner.is_deaf = true;
        }
        // A busy one is still needed for its job; a deaf one so that its calls can go unanswered.
        if !is_busy && (tells || !is_online) {
            self.runners.remove(id.0 as u64);
        }
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
