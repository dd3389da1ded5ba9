//! What the service tells of jobs, sessions and registrations, in the ledger and the clocks. Called by the world; decides
//! nothing about it.

use arc_api::{Duration, JobId, RunnerId, Str, Time, format_smolstr};
use fake_github::event::{RunnerEnd, ScaleSetEnd, ServiceEvent, SessionEnd};

use super::Invariants;
use super::bounds::Check;
use super::ledger::{JobState, Online, Registration, SetKey};
use crate::trace::EventId;

impl Invariants {
    /// Something happened inside the service. `job_of` is asked which job the process of a registration still has.
    pub(crate) fn on_service(
        &mut self,
        event: &ServiceEvent,
        now: Time,
        cause: EventId,
        job_of: impl Fn(RunnerId) -> Option<JobId>,
    ) {
        match event {
            ServiceEvent::JobQueued { job } => {
                self.ledger.jobs.insert(*job, JobState { queued: now, ..JobState::default() });
                self.looked("job-gets-runner");
                self.start_job_clock(*job, now, "is queued and has no runner");
            }
            ServiceEvent::JobAvailable { job, scale_set } => {
                let set = self.ledger.scale_sets.get(scale_set).cloned();
                self.ledger.jobs.entry(*job).or_default().set = set;
            }
            ServiceEvent::JobAssigned { job, scale_set, .. } => {
                let set = self.ledger.scale_sets.get(scale_set).cloned();
                if let Some(set) = &set {
                    self.ledger.set(set).waiting += 1;
                    self.weigh(set, now);
                }
                let state = self.ledger.jobs.entry(*job).or_default();
                // A job that nobody picks up is assigned again and again: it has waited since the first time.
                let again = state.set.is_some() && state.set == set && state.assigned;
                (state.set, state.assigned) = (set, true);
                if !again {
                    self.start_job_clock(*job, now, "is assigned and has no runner");
                }
            }
            ServiceEvent::JobStarted { job, runner, .. } => {
                self.ledger.job_taken(*job, *runner, now);
                let state = self.ledger.jobs.entry(*job).or_default();
                (state.started, state.assigned) = (Some(now), false);
                let set = state.set.clone();
                if let Some(set) = &set {
                    self.ledger.set(set).turn_taken(now);
                }
                self.job_runs(set.as_ref(), 1);
                self.job_leaves_queue(set, now);
                self.clear_job_clock(*job);
            }
            ServiceEvent::JobReturned { job, .. } => {
                self.ledger.job_let_go(*job, now);
                let state = self.ledger.jobs.entry(*job).or_default();
                let (set, ran) = (state.set.clone(), state.started.take().is_some());
                self.job_stops(set, ran, now);
            }
            ServiceEvent::JobCompleted { job, .. } => {
                self.ledger.job_let_go(*job, now);
                let state = self.ledger.jobs.entry(*job).or_default();
                state.ended = Some(now);
                let (set, ran) = (state.set.clone(), state.started.is_some());
                if let Some(set) = set.as_ref().filter(|_| !ran) {
                    self.ledger.set(set).withdrawn_at = Some(now);
                }
                self.job_stops(set, ran, now);
                self.clear_job_clock(*job);
            }
            ServiceEvent::SessionCreated { scale_set, owner, .. } => {
                self.ledger.sessions.insert(*scale_set, owner.clone());
            }
            ServiceEvent::SessionEnded { scale_set, why, .. } => {
                let _: &SessionEnd = why;
                self.ledger.sessions.remove(scale_set);
            }
            ServiceEvent::RunnerRegistered { runner, name, .. } => self.on_registered(*runner, name, now),
            ServiceEvent::RunnerOnline { runner, .. } => self.on_online(*runner, Some(Online::Idle), now),
            ServiceEvent::RunnerOffline { runner, .. } => self.on_online(*runner, Some(Online::Offline), now),
            ServiceEvent::RunnerBusy { runner, .. } => self.on_online(*runner, Some(Online::Busy), now),
            ServiceEvent::RunnerRemoved { runner, name, why, .. } => {
                self.looked("busy-runner-kept");
                let busy = self.ledger.registrations.get(runner).is_some_and(|r| r.state == Online::Busy);
                let could_know = !self.ledger.mistakes_busy || self.ledger.is_known_busy(name, now);
                if busy
                    && *why == RunnerEnd::Removed
                    && !could_know
                    && let Some(place) = self.ledger.by_name.get(name).cloned()
                {
                    // Its user asked for fewer, or needs fewer than he said: that there was one to remove is nobody's fault.
                    let home = self.ledger.runners.get(&place).and_then(|r| r.live_in.as_ref());
                    let home = home.and_then(|set| self.ledger.sets.get(set));
                    let lately = |at: Option<Time>| at.is_some_and(|at| now.since(at) <= Duration::from_secs(300));
                    let asked = home.is_some_and(|set| lately(set.lowered_at) || lately(set.withdrawn_at));
                    self.ledger.runners.entry(place).or_default().mistaken = asked;
                }
                if busy
                    && *why == RunnerEnd::Removed
                    && could_know
                    && job_of(*runner).is_some_and(|j| !self.ledger.is_over(j))
                {
                    self.report(
                        "busy-runner-kept",
                        "runner",
                        now,
                        cause,
                        name,
                        "its registration was removed during its job".into(),
                    );
                }
                if !busy && *why == RunnerEnd::Removed {
                    self.check_removal(*runner, name, now, cause);
                }
                self.on_online(*runner, None, now);
                if let Some(place) = self.ledger.by_name.get(name).cloned() {
                    if let Some(r) = self.ledger.runners.get_mut(&place) {
                        r.registrations.remove(runner);
                    }
                    self.check_registrations(&place, now);
                    self.drop_if_empty(&place);
                }
                self.bounds.clear(&Check::Registration(runner.0));
            }
            ServiceEvent::ScaleSetDeleted { scale_set, name, why } => {
                self.looked("owned-by-user");
                let set = self.ledger.scale_sets.remove(scale_set);
                let kept = set.as_ref().and_then(|s| self.ledger.sets.get(s)).is_some_and(|s| !s.may_go());
                if kept && *why == ScaleSetEnd::Deleted {
                    self.report(
                        "owned-by-user",
                        "set",
                        now,
                        cause,
                        name,
                        "its scale set was deleted and nobody had asked for it".into(),
                    );
                }
            }
            _ => {}
        }
    }

    fn start_job_clock(&mut self, job: JobId, now: Time, said: &'static str) {
        let about = || format_smolstr!("job {job}");
        self.bounds.restart(Check::JobRunner(job), now, about, || said.into());
        // Only a world with confined faults has anybody to be kept apart from.
        if let Some(set) = self.ledger.jobs.get(&job).and_then(|j| j.set.clone()).filter(|_| self.has_tenants) {
            if self.bounds.others_are_disturbed(&set) {
                self.looked("tenants-isolated");
            }
            self.bounds.restart(Check::Isolated(set, job), now, about, || said.into());
        }
    }

    fn clear_job_clock(&mut self, job: JobId) {
        self.bounds.clear(&Check::JobRunner(job));
        if let Some(set) = self.ledger.jobs.get(&job).and_then(|j| j.set.clone()).filter(|_| self.has_tenants) {
            self.bounds.clear(&Check::Isolated(set, job));
        }
    }

    fn job_runs(&mut self, set: Option<&SetKey>, by: i32) {
        if let Some(set) = set {
            let state = self.ledger.set(set);
            state.running = (state.running + by).max(0);
        }
    }

    /// A job is over or waits again: it ran, or it waited until now.
    fn job_stops(&mut self, set: Option<SetKey>, ran: bool, now: Time) {
        if !ran {
            return self.job_leaves_queue(set, now);
        }
        self.job_runs(set.as_ref(), -1);
        if let Some(set) = set {
            self.weigh(&set, now);
        }
    }

    fn job_leaves_queue(&mut self, set: Option<SetKey>, now: Time) {
        if let Some(set) = set {
            let state = self.ledger.set(&set);
            state.waiting = (state.waiting - 1).max(0);
            self.weigh(&set, now);
        }
    }

    fn on_registered(&mut self, runner: RunnerId, name: &Str, now: Time) {
        let place = self.ledger.by_name.get(name).cloned();
        let set = place.as_ref().and_then(|p| self.ledger.runners.get(p)).and_then(|r| r.runner_set.clone());
        let set = set.and_then(|s| self.ledger.runner_sets.get(&s)).and_then(|s| s.set.clone());
        self.ledger.registrations.insert(runner, Registration { name: name.clone(), state: Online::Offline, set });
        if let Some(place) = place {
            self.ledger.runners.entry(place.clone()).or_default().registrations.insert(runner);
            self.check_registrations(&place, now);
        }
    }

    fn on_online(&mut self, runner: RunnerId, to: Option<Online>, now: Time) {
        if let Some(set) = self.ledger.move_registration(runner, to) {
            self.weigh(&set, now);
        }
    }
}
