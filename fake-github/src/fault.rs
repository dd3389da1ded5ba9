//! What can be wrong with the service itself (field-bugs.md §1, the `gh_*` rows; actions-service.md §2.9).
//!
//! Faults of the road to it (latency, loss, hanging connections) are the network's and not told here; chance is not
//! either: a rule fires by counting (skip, every, count), so that whoever wants probability draws it outside.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::service::{JobEvent, JobResult, ServiceError, Statistics};
use arc_api::{Duration, JobId, RunnerId, ScaleSetId, Str, Time};

use crate::event::{EventType, JobEnd, RunnerEnd, ServiceEvent};
use crate::jobs::JobState;
use crate::rules::{AnswerRule, Limiter};
use crate::scale_sets::ScaleSet;
use crate::scope::{Firing, RuleId, Scope};
use crate::state::GitHub;
use crate::stats::StatField;

/// What becomes of an event on its way into the log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EventMode {
    /// It comes later.
    Delay,
    /// It never comes.
    Drop,
    /// It comes twice.
    Duplicate,
    /// The next event overtakes it (after a minute it comes anyway).
    Reorder,
    /// It comes again later in another message, although its message was deleted.
    Redeliver,
}

/// A fault of the message stream.
#[derive(Clone, Debug)]
pub struct EventFault {
    /// Whose.
    pub scope: Scope,
    /// Which type; `None` is every.
    pub kind: Option<EventType>,
    /// What happens.
    pub mode: EventMode,
    /// By how much (delay, redeliver).
    pub by: Duration,
    /// To which occurrences.
    pub firing: Firing,
}

/// How a counter lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StatMode {
    /// Always 0.
    Zero,
    /// As it was when the fault began.
    Freeze,
    /// Too many by so many (or too few).
    Add(i32),
}

/// Reads that show the past.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StaleViews {
    /// E15 and E16 still show a registration for this long after it went.
    pub runners: Duration,
    /// E17 takes a busy runner for idle for this long after it got its job.
    pub busy: Duration,
    /// E1 and E2 show a scale set this long after it went, and E1 does not show one this long after it came.
    pub scale_sets: Duration,
}

/// Which runner versions are refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VersionRule {
    /// Everyone.
    All,
    /// Exactly this one.
    Exactly(Str),
    /// Everything older than this one, by its numbers.
    Below(Str),
}

impl VersionRule {
    fn refuses(&self, version: &str) -> bool {
        let numbers = |v: &str| v.split('.').map(|n| n.parse::<u32>().unwrap_or(0)).collect::<Vec<_>>();
        match self {
            VersionRule::All => true,
            VersionRule::Exactly(refused) => version == refused,
            VersionRule::Below(least) => numbers(version) < numbers(least),
        }
    }
}

/// How the service wrongs a job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum JobFault {
    /// It is cancelled, but a message for it still reaches the scale set's next idle runner, which learns that the
    /// job does not exist (`AcknowledgeJobNotFound`).
    MessageNotFound,
    /// It is reported as completed while its runner works on, and its runner counts as idle (actions/runner#4492).
    PrematureCompleted,
    /// It fails, and its runner learns at the next renewal that the job is not its own any more.
    LeaseLost,
    /// The next idle runner of its scale set is handed it in vain and stays idle (Q-RUN-GHOST-409); it is cancelled.
    AcquireConflict,
}

/// Where in the protocol a token turns out to have expired (actions-service.md §2.9, field-bugs `gh_token_expiry`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ExpiryPoint {
    /// At E10: the queue token.
    Poll,
    /// At E11: the queue token.
    Acknowledge,
    /// At E12: the queue token.
    Acquire,
    /// At E8: the admin token.
    Refresh,
}

/// Faults of a scale set's hand-over of jobs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JobFaults {
    pub(crate) lost_messages: u32,
    pub(crate) acquire_conflicts: u32,
    pub(crate) cancelled_messages_linger: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct StatFault {
    id: RuleId,
    scope: Scope,
    field: StatField,
    mode: StatMode,
    frozen: BTreeMap<ScaleSetId, Statistics>,
}

/// All faults in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) rules: u32,
    pub(crate) answers: Vec<(RuleId, AnswerRule)>,
    pub(crate) limits: Vec<Limiter>,
    pub(crate) events: Vec<(RuleId, EventFault)>,
    pub(crate) statistics: Vec<StatFault>,
    pub(crate) versions: Vec<(RuleId, VersionRule)>,
    pub(crate) stale: StaleViews,
}

impl Faults {
    pub(crate) fn next_rule(&mut self) -> RuleId {
        self.rules += 1;
        RuleId(self.rules)
    }
}

impl GitHub {
    pub(crate) fn faults_mut(&mut self) -> &mut Faults {
        Arc::make_mut(&mut self.faults)
    }

    /// Switches on a fault of the message stream.
    pub fn fault_events(&mut self, fault: EventFault) -> RuleId {
        let faults = self.faults_mut();
        let id = faults.next_rule();
        faults.events.push((id, fault));
        id
    }

    /// Lets a counter lie. It affects what sessions, messages and scale sets say, never what the service does.
    pub fn fault_statistics(&mut self, scope: Scope, field: StatField, mode: StatMode) -> RuleId {
        let covered = |set: &&ScaleSet| scope.covers(Some(&self.tenant(set.tenant).path), Some(set));
        let frozen = self.scale_sets().filter(covered).map(|set| (set.id, self.statistics(set))).collect();
        let faults = self.faults_mut();
        let id = faults.next_rule();
        faults.statistics.push(StatFault { id, scope, field, mode, frozen });
        id
    }

    /// Refuses runner versions, at connect and at every poll.
    pub fn reject_version(&mut self, rule: VersionRule) -> RuleId {
        let faults = self.faults_mut();
        let id = faults.next_rule();
        faults.versions.push((id, rule));
        id
    }

    /// Makes reads show the past from now on; `Default::default()` heals.
    pub fn set_stale_views(&mut self, stale: StaleViews) {
        self.faults_mut().stale = stale;
    }

    /// Lets reads still show one registration that just went, until a time.
    pub fn keep_runner_in_view(&mut self, tenant: &str, runner: arc_api::service::RunnerInfo, until: Time) {
        let tenant = self.tenant_of(tenant);
        self.tenant_mut(tenant).ghosts.runners.push((until, runner));
    }

    /// Switches a rule off, of whatever kind. Returns whether it was on.
    pub fn remove_rule(&mut self, id: RuleId) -> bool {
        let faults = self.faults_mut();
        let count =
            |f: &Faults| f.answers.len() + f.limits.len() + f.events.len() + f.statistics.len() + f.versions.len();
        let before = count(faults);
        faults.answers.retain(|(rule, _)| *rule != id);
        faults.limits.retain(|limiter| limiter.id != id);
        faults.events.retain(|(rule, _)| *rule != id);
        faults.statistics.retain(|rule| rule.id != id);
        faults.versions.retain(|(rule, _)| *rule != id);
        count(faults) < before
    }

    pub(crate) fn is_version_refused(&mut self, version: &str) -> bool {
        let hit = self.faults.versions.iter().find(|(_, rule)| rule.refuses(version)).map(|(id, _)| *id);
        if let Some(rule) = hit {
            self.emit(ServiceEvent::FaultFired { rule });
        }
        hit.is_some()
    }

    /// What the message faults in force do to an event of a scale set.
    pub(crate) fn event_faults(&mut self, id: ScaleSetId, event: &JobEvent) -> Vec<(EventMode, Duration)> {
        if self.faults.events.is_empty() {
            return Vec::new();
        }
        let kind = EventType::of(&event.kind);
        let set = self.sets.share(id.0 as u64);
        let tenant = set.as_ref().map(|set| self.tenant(set.tenant).path.clone());
        let mut hits = Vec::new();
        let mut fired = Vec::new();
        for (rule, fault) in &mut self.faults_mut().events {
            let is_kind = fault.kind.is_none() || fault.kind == kind;
            if is_kind && fault.scope.covers(tenant.as_deref(), set.as_deref()) && fault.firing.fires() {
                hits.push((fault.mode, fault.by));
                fired.push(*rule);
            }
        }
        fired.into_iter().for_each(|rule| self.emit(ServiceEvent::FaultFired { rule }));
        hits
    }

    pub(crate) fn distort(&self, set: &ScaleSet, statistics: &mut Statistics) {
        for fault in &self.faults.statistics {
            if fault.scope.covers(Some(&self.tenant(set.tenant).path), Some(set)) {
                // A scale set that came after the fault began was empty when it did.
                let frozen = fault.frozen.get(&set.id).copied().unwrap_or_default();
                fault.field.distort(statistics, fault.mode, &frozen);
            }
        }
    }

    /// Wrongs a job. Returns false if the job is not in a state in which that could happen.
    pub fn fault_job(&mut self, id: JobId, fault: JobFault, now: Time) -> bool {
        self.advance(now);
        let Some(job) = self.job(id) else { return false };
        let (state, scale_set, runner) = (job.state, job.scale_set, job.runner);
        match (fault, state) {
            (JobFault::MessageNotFound, JobState::Assigned) => {
                if let Some(set) = self.set_mut(scale_set) {
                    set.job_faults.lost_messages += 1;
                }
                self.complete(id, JobResult::Canceled, JobEnd::Fault, now);
            }
            (JobFault::AcquireConflict, JobState::Assigned) => {
                if let Some(set) = self.set_mut(scale_set) {
                    set.job_faults.acquire_conflicts += 1;
                }
                self.pump(scale_set, now);
            }
            (JobFault::PrematureCompleted, JobState::Running) => {
                let result = self.job(id).map_or(JobResult::Succeeded, |job| job.order.result);
                self.detach_runner(runner, id);
                self.complete(id, result, JobEnd::Fault, now);
            }
            (JobFault::LeaseLost, JobState::Running) => self.complete(id, JobResult::Failed, JobEnd::Fault, now),
            _ => return false,
        }
        self.tidy();
        true
    }

    /// The runner works on for a job the service takes for over.
    fn detach_runner(&mut self, runner: RunnerId, job: JobId) {
        let Some(entry) = self.runner_mut(runner) else { return };
        entry.job = None;
        entry.late_job = Some(job);
        let (scale_set, is_registered, is_online) = (entry.scale_set, entry.is_registered, entry.is_online());
        if let Some(set) = self.set_mut(scale_set)
            && is_registered
        {
            set.tally.busy -= 1;
            set.tally.idle += i32::from(is_online);
        }
    }

    /// Lets the next `n` idle runners of a scale set meet a job message that no longer exists.
    pub fn lose_job_messages(&mut self, id: ScaleSetId, n: u32, now: Time) {
        self.advance(now);
        if let Some(set) = self.set_mut(id) {
            set.job_faults.lost_messages += n;
        }
        self.pump(id, now);
        self.tidy();
    }

    /// Whether the message of every assigned job that is cancelled still reaches a runner.
    pub fn set_cancelled_messages_linger(&mut self, id: ScaleSetId, lingers: bool) {
        if let Some(set) = self.set_mut(id) {
            set.job_faults.cancelled_messages_linger = lingers;
        }
    }

    /// Loses a registration. A process that polls learns of it (`tells`) or goes on listening for nothing.
    pub fn lose_registration(&mut self, id: RunnerId, tells: bool, now: Time) {
        self.advance(now);
        self.remove_registration(id, RunnerEnd::Lost, tells, now);
        self.tidy();
    }

    /// Keeps a runner's session taken until a time, so that a new process of it meets a conflict.
    pub fn hold_runner_session(&mut self, id: RunnerId, until: Time) {
        if let Some(runner) = self.runner_mut(id) {
            runner.held_until = until;
        }
    }

    /// Lets the service forget a runner's session: another process of it can connect.
    pub fn evict_runner_session(&mut self, id: RunnerId, now: Time) {
        self.advance(now);
        if let Some(runner) = self.runner_mut(id) {
            runner.held_until = Time::ZERO;
        }
        self.go_offline(id, now);
        self.tidy();
    }

    /// The token of the next call of this kind on the scale set turns out to have expired.
    pub fn expire_token_at(&mut self, id: ScaleSetId, point: ExpiryPoint) {
        if let Some(set) = self.set_mut(id) {
            set.expiry = Some(point);
        }
    }

    pub(crate) fn take_expiry(&mut self, id: ScaleSetId, point: ExpiryPoint) -> bool {
        let is_due = self.set(id).is_some_and(|set| set.expiry == Some(point));
        if is_due && let Some(set) = self.set_mut(id) {
            set.expiry = None;
        }
        is_due
    }
}

/// A refusal for [`AnswerRule`]s, with the class and text a scenario states.
pub fn refusal(status: u16, exception: arc_api::service::Exception, message: impl Into<Str>) -> Arc<ServiceError> {
    Arc::new(ServiceError::new(status, exception, message))
}
