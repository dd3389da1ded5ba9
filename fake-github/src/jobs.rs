//! Jobs from queueing to their end: time-outs, returns, cancellation, completion (actions-service.md §5). How they come to
//! a scale set is told in `assign.rs`, how to a runner in `runner_calls.rs`; what a runner does is nobody's here.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_api::service::{JobEventKind, JobInfo, JobNeeds, JobOrder, JobResult, ServiceOk};
use arc_api::{Duration, GroupId, JobId, RequestId, RunnerId, ScaleSetId, Str, Time};

use crate::event::{JobEnd, JobReturn, ServiceEvent};
use crate::scale_sets::ScaleSet;
use crate::settings::{Personality, Unfetched};
use crate::state::GitHub;
use crate::timer::Timer;

/// `runnerRequestId` of a job is its number plus this, as the recordings' service counts.
pub(crate) const REQUEST_BASE: i64 = 1000;

/// A job to be queued.
#[derive(Clone, PartialEq, Debug)]
pub struct JobSpec {
    /// Whose workflow asks: `my-org` or `my-org/app`. Scale sets of the organisation serve its repositories.
    pub tenant: Str,
    /// `runs-on`: a scale set's name, or labels that one scale set must have all of.
    pub labels: Arc<[Str]>,
    /// Only scale sets of this group, if given.
    pub group: Option<GroupId>,
    /// Title.
    pub display_name: Str,
    /// `owner/name`.
    pub repository: Str,
    /// Workflow file and ref.
    pub workflow_ref: Str,
    /// Run.
    pub workflow_run: i64,
    /// Work in virtual time.
    pub runs_for: Duration,
    /// How it ends if nothing goes wrong.
    pub result: JobResult,
    /// What it asks of its runner.
    pub needs: JobNeeds,
}

impl JobSpec {
    /// A job for the scale set of this name, running for a while and succeeding.
    pub fn new(tenant: impl Into<Str>, runs_on: impl Into<Str>, runs_for: Duration) -> JobSpec {
        JobSpec {
            tenant: tenant.into(),
            labels: Arc::new([runs_on.into()]),
            group: None,
            display_name: Str::new_static("build"),
            repository: Str::new_static("my-org/app"),
            workflow_ref: Str::new_static("my-org/app/.github/workflows/ci.yml@refs/heads/main"),
            workflow_run: 900_001,
            runs_for,
            result: JobResult::Succeeded,
            needs: JobNeeds::default(),
        }
    }
}

/// Where a job is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum JobState {
    /// Waits; no scale set knows of it.
    Queued,
    /// Offered and not acquired.
    Available,
    /// Acquired, about to be assigned.
    Acquired,
    /// Bound to a scale set, waits for a runner.
    Assigned,
    /// On a runner.
    Running,
    /// Over.
    Completed(JobResult),
}

/// A job as the service knows it.
#[derive(Clone, Debug)]
pub struct Job {
    /// Id.
    pub id: JobId,
    /// Where it is.
    pub state: JobState,
    /// Its scale set from acquire or assignment on; 0 is none.
    pub scale_set: ScaleSetId,
    /// The runner that has or had it; 0 is none.
    pub runner: RunnerId,
    /// How often it was assigned.
    pub attempts: u8,
    /// How often a runner was given it: more than 1 would be a bug of this service.
    pub starts: u8,
    /// When it was queued.
    pub queued: Time,
    /// When it was last assigned.
    pub assigned: Time,
    /// When a runner got it.
    pub started: Time,
    /// When it was over.
    pub finished: Time,
    /// Why it is over.
    pub end: Option<JobEnd>,
    /// When its state ends by itself; [`Time::NEVER`] if it does not.
    pub deadline: Time,
    /// By when a cancelled running job has to be over.
    pub cancelled_until: Option<Time>,
    /// What messages say of it.
    pub info: Arc<JobInfo>,
    /// What its runner is told.
    pub order: Arc<JobOrder>,
    pub(crate) class: u32,
}

impl Job {
    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        matches!(self.state, JobState::Completed(_))
    }
}

/// What decides which scale sets match.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct ClassKey {
    pub(crate) tenant: Str,
    pub(crate) group: Option<GroupId>,
    pub(crate) labels: Arc<[Str]>,
}

/// All jobs that ask for the same.
#[derive(Clone, Debug)]
pub(crate) struct JobClass {
    pub(crate) key: ClassKey,
    /// Scale sets that match, by id.
    pub(crate) scale_sets: Vec<ScaleSetId>,
    /// Jobs without a scale set: queued or available.
    pub(crate) waiting: BTreeSet<JobId>,
}

impl GitHub {
    /// Queues a job. If no scale set serves it yet it waits for one.
    pub fn queue_job(&mut self, spec: JobSpec, now: Time) -> JobId {
        self.advance(now);
        let class = self.class_of(&spec);
        let id = JobId(self.next.job);
        self.next.job += 1;
        let profile = self.profile(&spec.tenant);
        let request = match profile.personality {
            Personality::Broker => RequestId(0),
            Personality::AcquireRequired => RequestId(REQUEST_BASE + id.0 as i64),
        };
        let deadline = now.after(profile.queue_limit);
        let job = Job {
            id,
            state: JobState::Queued,
            scale_set: ScaleSetId(0),
            runner: RunnerId(0),
            attempts: 0,
            starts: 0,
            queued: now,
            assigned: Time::ZERO,
            started: Time::ZERO,
            finished: Time::ZERO,
            end: None,
            deadline,
            cancelled_until: None,
            info: Arc::new(JobInfo {
                id,
                request,
                display_name: spec.display_name,
                repository: spec.repository,
                workflow_ref: spec.workflow_ref,
                workflow_run: spec.workflow_run,
            }),
            order: Arc::new(JobOrder { id, runs_for: spec.runs_for, result: spec.result, needs: spec.needs }),
            class,
        };
        self.jobs.insert(id.0, job);
        self.timers.set(deadline, Timer::Job(id));
        self.emit(ServiceEvent::JobQueued { job: id });
        self.enter_queue(id, now);
        self.tidy();
        id
    }

    fn class_of(&mut self, spec: &JobSpec) -> u32 {
        let tenant = match spec.tenant.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Str::from(spec.tenant.to_ascii_lowercase()),
            false => spec.tenant.clone(),
        };
        let key = ClassKey { tenant, group: spec.group, labels: Arc::clone(&spec.labels) };
        if let Some(class) = self.class_ids.get(&key) {
            return *class;
        }
        let index = self.classes.len() as u32;
        let mut class = JobClass { key: key.clone(), scale_sets: Vec::new(), waiting: BTreeSet::new() };
        class.scale_sets = self.scale_sets().filter(|set| self.class_matches(set, &class)).map(|set| set.id).collect();
        for id in class.scale_sets.clone() {
            if let Some(set) = self.set_mut(id) {
                set.classes.push(index);
            }
        }
        Arc::make_mut(&mut self.classes).push(Arc::new(class));
        Arc::make_mut(&mut self.class_ids).insert(key, index);
        index
    }

    pub(crate) fn class_mut(&mut self, class: u32) -> &mut JobClass {
        Arc::make_mut(&mut Arc::make_mut(&mut self.classes)[class as usize])
    }

    pub(crate) fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(id.0)
    }

    /// The time of a job's state is over.
    pub(crate) fn job_deadline(&mut self, id: JobId, now: Time) {
        let Some(job) = self.job(id) else { return };
        let (state, scale_set, attempts) = (job.state, job.scale_set, job.attempts);
        match state {
            JobState::Queued | JobState::Available => self.complete(id, JobResult::Canceled, JobEnd::QueueLimit, now),
            JobState::Acquired => {
                if let Some(set) = self.set_mut(scale_set) {
                    set.tally.acquired -= 1;
                }
                self.assign(id, scale_set, now);
                self.pump(scale_set, now);
            }
            JobState::Assigned => {
                let profile = self.profile_of(scale_set);
                if attempts >= profile.pickup_attempts && profile.unfetched == Unfetched::Cancel {
                    self.complete(id, JobResult::Canceled, JobEnd::Unfetched, now);
                } else {
                    self.return_job(id, JobReturn::Unfetched, now);
                }
            }
            JobState::Running if job.cancelled_until.is_some_and(|until| until <= now) => {
                self.complete(id, JobResult::Canceled, JobEnd::CancelTimeout, now);
            }
            JobState::Running => self.complete(id, JobResult::Failed, JobEnd::RunnerLost, now),
            JobState::Completed(_) => {}
        }
    }

    /// Ends a job in whatever state it is. A job that is over stays as it ended.
    pub(crate) fn complete(&mut self, id: JobId, result: JobResult, why: JobEnd, now: Time) {
        let Some(job) = self.job(id) else { return };
        let (state, scale_set, runner, class) = (job.state, job.scale_set, job.runner, job.class);
        let mut told = Vec::new();
        match state {
            JobState::Completed(_) => return,
            JobState::Queued | JobState::Available => {
                for set in &self.classes[class as usize].scale_sets {
                    let is_told = self.set(*set).is_some_and(|set| set.offered.contains(&id));
                    if is_told && self.profile_of(*set).report_waiting_cancel {
                        told.push(*set);
                    }
                }
                self.leave_queue(id);
            }
            JobState::Acquired | JobState::Assigned | JobState::Running => {
                told.push(scale_set);
                self.unbind(id, state, scale_set);
            }
        }
        if let Some(job) = self.job_mut(id) {
            job.state = JobState::Completed(result);
            job.deadline = Time::NEVER;
            job.finished = now;
            job.end = Some(why);
        }
        while self.job(JobId(self.first_open_job)).is_some_and(Job::is_over) {
            self.first_open_job += 1;
        }
        let runner_name = self.runner(runner).map_or(Str::default(), |runner| runner.name.clone());
        self.emit(ServiceEvent::JobCompleted { job: id, scale_set, runner, result, why });
        for set in &told {
            let kind = JobEventKind::Completed { runner, runner_name: runner_name.clone(), result };
            self.log_job(*set, id, kind, now);
        }
        if state == JobState::Running {
            self.release_runner(runner, id, now);
        }
        for set in told {
            self.pump(set, now);
        }
    }

    /// Takes a job off its scale set's count.
    fn unbind(&mut self, id: JobId, state: JobState, scale_set: ScaleSetId) {
        let Some(set) = self.set_mut(scale_set) else { return };
        match state {
            JobState::Acquired => set.tally.acquired -= 1,
            JobState::Running => set.tally.running -= 1,
            _ => drop(set.assigned.remove(&id)),
        }
    }

    /// An acquired or assigned job loses its scale set and waits again; the scale set hears it was cancelled (§5.1).
    pub(crate) fn return_job(&mut self, id: JobId, why: JobReturn, now: Time) {
        let Some(job) = self.job(id) else { return };
        let (state, scale_set, queued) = (job.state, job.scale_set, job.queued);
        self.unbind(id, state, scale_set);
        let limit = match self.set(scale_set) {
            Some(_) => self.profile_of(scale_set).queue_limit,
            None => self.settings.profile.queue_limit,
        };
        let deadline = queued.after(limit).max(now);
        if let Some(job) = self.job_mut(id) {
            job.state = JobState::Queued;
            job.scale_set = ScaleSetId(0);
            job.deadline = deadline;
        }
        self.timers.set(deadline, Timer::Job(id));
        self.emit(ServiceEvent::JobReturned { job: id, scale_set, why });
        let kind =
            JobEventKind::Completed { runner: RunnerId(0), runner_name: Str::default(), result: JobResult::Canceled };
        self.log_job(scale_set, id, kind, now);
        self.enter_queue(id, now);
        self.pump(scale_set, now);
    }

    /// After a scale set was deleted: what it had not started goes back to the queue.
    pub(crate) fn return_jobs_of(&mut self, set: &ScaleSet, now: Time) {
        let is_bound =
            |job: &&Job| job.scale_set == set.id && matches!(job.state, JobState::Acquired | JobState::Assigned);
        let bound: Vec<JobId> = self.open_jobs().filter(is_bound).map(|job| job.id).collect();
        for job in bound {
            self.return_job(job, JobReturn::ScaleSetDeleted, now);
        }
    }

    /// Cancels a job in whatever state it is; a running one ends when its runner reports, or at the time-out.
    pub fn cancel_job(&mut self, id: JobId, now: Time) {
        self.advance(now);
        let Some(job) = self.job(id) else { return };
        let (state, scale_set, runner) = (job.state, job.scale_set, job.runner);
        match state {
            JobState::Running => self.ask_to_stop(id, scale_set, runner, now),
            _ => {
                if state == JobState::Assigned
                    && let Some(set) = self.set_mut(scale_set)
                    && set.job_faults.cancelled_messages_linger
                {
                    set.job_faults.lost_messages += 1;
                }
                self.complete(id, JobResult::Canceled, JobEnd::Cancelled, now);
            }
        }
        self.tidy();
    }

    /// "Force cancel": the job is over at once, whether its runner answers or not.
    pub fn force_cancel_job(&mut self, id: JobId, now: Time) {
        self.advance(now);
        self.complete(id, JobResult::Canceled, JobEnd::Cancelled, now);
        self.tidy();
    }

    fn ask_to_stop(&mut self, id: JobId, scale_set: ScaleSetId, runner: RunnerId, now: Time) {
        let until = now.after(self.profile_of(scale_set).cancel_timeout);
        let Some(job) = self.job_mut(id) else { return };
        if job.cancelled_until.is_some() {
            return;
        }
        job.cancelled_until = Some(until);
        job.deadline = job.deadline.min(until);
        let deadline = job.deadline;
        self.timers.set(deadline, Timer::Job(id));
        self.emit(ServiceEvent::JobCancelRequested { job: id, runner });
        self.answer_runner(runner, Ok(ServiceOk::CancelJob(id)), now);
    }
}
