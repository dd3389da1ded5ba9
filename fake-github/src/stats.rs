//! The seven counters, from one tally that every transition keeps (actions-service.md §3.3, §5.4). Emits nothing.

use arc_api::service::Statistics;
use arc_api::{RunnerId, ScaleSetId};

use crate::fault::StatMode;
use crate::jobs::JobState;
use crate::scale_sets::ScaleSet;
use crate::state::GitHub;

/// What is counted as it happens. Jobs offered and assigned jobs waiting are sets with a length of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) acquired: i32,
    pub(crate) running: i32,
    pub(crate) registered: i32,
    /// Registered, with a job.
    pub(crate) busy: i32,
    /// Registered, online, without a job.
    pub(crate) idle: i32,
    /// Jobs that exist only in the counters, since an incident.
    pub(crate) phantom: i32,
}

/// A counter, by the name scenario files use.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[allow(missing_docs)]
pub enum StatField {
    Available,
    Acquired,
    Assigned,
    Running,
    Registered,
    Busy,
    Idle,
    /// All seven.
    All,
}

impl StatField {
    /// `total_assigned` or `totalAssignedJobs` → [`StatField::Assigned`].
    pub fn from_name(name: &str) -> Option<StatField> {
        let short = name.trim_start_matches("total").trim_start_matches('_').to_ascii_lowercase();
        let short = short.trim_end_matches("jobs").trim_end_matches("runners").trim_end_matches('_');
        Some(match short {
            "available" => StatField::Available,
            "acquired" => StatField::Acquired,
            "assigned" => StatField::Assigned,
            "running" => StatField::Running,
            "registered" => StatField::Registered,
            "busy" => StatField::Busy,
            "idle" => StatField::Idle,
            "all" => StatField::All,
            _ => return None,
        })
    }

    fn of(self, statistics: &mut Statistics) -> Option<&mut i32> {
        Some(match self {
            StatField::Available => &mut statistics.total_available_jobs,
            StatField::Acquired => &mut statistics.total_acquired_jobs,
            StatField::Assigned => &mut statistics.total_assigned_jobs,
            StatField::Running => &mut statistics.total_running_jobs,
            StatField::Registered => &mut statistics.total_registered_runners,
            StatField::Busy => &mut statistics.total_busy_runners,
            StatField::Idle => &mut statistics.total_idle_runners,
            StatField::All => return None,
        })
    }

    const EACH: [StatField; 7] = [
        StatField::Available,
        StatField::Acquired,
        StatField::Assigned,
        StatField::Running,
        StatField::Registered,
        StatField::Busy,
        StatField::Idle,
    ];

    pub(crate) fn distort(self, statistics: &mut Statistics, mode: StatMode, frozen: &Statistics) {
        if self == StatField::All {
            StatField::EACH.into_iter().for_each(|field| field.distort(statistics, mode, frozen));
            return;
        }
        let kept = self.of(&mut frozen.clone()).copied().unwrap_or_default();
        if let Some(value) = self.of(statistics) {
            *value = match mode {
                StatMode::Zero => 0,
                StatMode::Freeze => kept,
                StatMode::Add(n) => value.saturating_add(n).max(0),
            };
        }
    }
}

impl ScaleSet {
    /// The counters as they truly are, before any fault distorts them.
    pub fn true_statistics(&self) -> Statistics {
        Statistics {
            total_available_jobs: self.offered.len() as i32,
            total_acquired_jobs: self.tally.acquired,
            total_assigned_jobs: self.assigned.len() as i32 + self.tally.running + self.tally.phantom,
            total_running_jobs: self.tally.running,
            total_registered_runners: self.tally.registered,
            total_busy_runners: self.tally.busy,
            total_idle_runners: self.tally.idle,
        }
    }
}

impl GitHub {
    /// The counters as the service says them.
    pub(crate) fn statistics(&self, set: &ScaleSet) -> Statistics {
        let mut statistics = set.true_statistics();
        if !self.faults.statistics.is_empty() {
            self.distort(set, &mut statistics);
        }
        statistics
    }

    /// Recounts everything the service counts as it goes and says what disagrees. Costs time; for tests.
    pub fn audit(&self) -> Result<(), String> {
        for set in self.scale_sets() {
            self.audit_set(set)?;
        }
        for (index, class) in self.classes.iter().enumerate() {
            for job in &class.waiting {
                let state = self.job(*job).map(|job| job.state);
                if !matches!(state, Some(JobState::Queued | JobState::Available)) {
                    return Err(format!("class {index} lets job {job} wait, which is {state:?}"));
                }
            }
        }
        for job in self.jobs.iter() {
            let waits = self.classes[job.class as usize].waiting.contains(&job.id);
            let is_offered = self.scale_sets().any(|set| set.offered.contains(&job.id));
            if is_offered != (job.state == JobState::Available) {
                return Err(format!("job {} is {:?} and offered: {is_offered}", job.id, job.state));
            }
            if waits != matches!(job.state, JobState::Queued | JobState::Available) {
                return Err(format!("job {} is {:?} and waiting: {waits}", job.id, job.state));
            }
        }
        Ok(())
    }

    fn audit_set(&self, set: &ScaleSet) -> Result<(), String> {
        let count = |is: &dyn Fn(JobState) -> bool| {
            self.jobs.iter().filter(|job| job.scale_set == set.id && is(job.state)).count() as i32
        };
        let runners = |is: &dyn Fn(&crate::runners::Runner) -> bool| {
            self.runners.iter().filter(|r| r.scale_set == set.id && r.is_registered && is(r)).count() as i32
        };
        let offered = self.jobs.iter().filter(|job| job.state == JobState::Available && set.offered.contains(&job.id));
        let waiting = count(&|state| state == JobState::Assigned);
        let recount = Statistics {
            total_available_jobs: offered.count() as i32,
            total_acquired_jobs: count(&|state| state == JobState::Acquired),
            total_assigned_jobs: waiting + count(&|state| state == JobState::Running) + set.tally.phantom,
            total_running_jobs: count(&|state| state == JobState::Running),
            total_registered_runners: runners(&|_| true),
            total_busy_runners: runners(&|r| r.job.is_some()),
            total_idle_runners: runners(&|r| r.job.is_none() && r.is_online()),
        };
        let said = set.true_statistics();
        if recount != said {
            return Err(format!("scale set {} says {said:?}, counted {recount:?}", set.id));
        }
        let idle: Vec<RunnerId> = set.idle.iter().copied().collect();
        for id in idle {
            let is_free = self.runner(id).is_some_and(|r| r.poll.is_some() && r.job.is_none() && !r.is_used);
            if !is_free {
                return Err(format!("runner {id} is not free, yet it waits for work"));
            }
        }
        Ok(())
    }

    /// Adds jobs that exist only in the counters of a scale set (negative: takes them away again); they count as
    /// assigned until the scale set is deleted.
    pub fn add_phantom_jobs(&mut self, id: ScaleSetId, n: i32) {
        if let Some(set) = self.set_mut(id) {
            set.tally.phantom = set.tally.phantom.saturating_add(n).max(0);
        }
    }
}
