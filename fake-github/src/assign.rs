//! How a waiting job comes to a scale set: matching, offers, acquire (E12, E13), assignment (actions-service.md §2.6,
//! §2.11, §5.1). Never ends a job.
//!
//! One deterministic rule replaces GitHub's unspecified choice: the oldest waiting job goes first, and of several scale
//! sets that could have it, the one with the lowest id that polls with room (broker), or whose acquire comes first.

use std::sync::Arc;

use arc_api::service::{Auth, JobEvent, JobEventKind, ServiceOk, ServiceReply};
use arc_api::{JobId, RequestId, ScaleSetId, Time};

use crate::error::{Why, refused};
use crate::event::ServiceEvent;
use crate::fault::ExpiryPoint;
use crate::jobs::{Job, JobState, REQUEST_BASE};
use crate::scale_sets::ScaleSet;
use crate::settings::Personality;
use crate::state::GitHub;
use crate::timer::Timer;

impl GitHub {
    /// A job begins to wait: it is offered, or bound, wherever that is possible now.
    pub(crate) fn enter_queue(&mut self, id: JobId, now: Time) {
        let Some(class) = self.job(id).map(|job| job.class) else { return };
        self.class_mut(class).waiting.insert(id);
        for set in self.classes[class as usize].scale_sets.clone() {
            let profile = self.profile_of(set);
            if profile.personality == Personality::AcquireRequired && !profile.is_gated() {
                self.offer(id, set, now);
            }
            self.pump(set, now);
        }
    }

    /// Takes a waiting job out of the queue and withdraws its offers.
    pub(crate) fn leave_queue(&mut self, id: JobId) {
        let Some(class) = self.job(id).map(|job| job.class) else { return };
        self.class_mut(class).waiting.remove(&id);
        for at in 0..self.classes[class as usize].scale_sets.len() {
            let set = self.classes[class as usize].scale_sets[at];
            if let Some(set) = self.set_mut(set) {
                set.offered.remove(&id);
            }
        }
    }

    fn offer(&mut self, id: JobId, scale_set: ScaleSetId, now: Time) {
        let Some(job) = self.job_mut(id) else { return };
        job.state = JobState::Available;
        let Some(set) = self.set_mut(scale_set) else { return };
        if set.offered.insert(id) {
            self.emit(ServiceEvent::JobAvailable { job: id, scale_set });
            self.log_job(scale_set, id, JobEventKind::Available, now);
        }
    }

    /// Offers without a message that still carries them are sent again: to a new session (U9).
    pub(crate) fn offer_again(&mut self, id: ScaleSetId, now: Time) {
        let Some(set) = self.set(id) else { return };
        let says = |event: &JobEvent, job: JobId| event.job.id == job && event.kind == JobEventKind::Available;
        let is_silent = |job: &&JobId| {
            !set.pending.iter().any(|pending| says(&pending.event, **job))
                && !set.messages.iter().any(|message| message.events.iter().any(|event| says(event, **job)))
        };
        let silent: Vec<JobId> = set.offered.iter().filter(is_silent).copied().collect();
        for job in silent {
            self.log_job(id, job, JobEventKind::Available, now);
        }
    }

    /// After a scale set went: an available job that nobody is offered any more is merely queued.
    pub(crate) fn settle_offer(&mut self, id: JobId) {
        let Some(job) = self.job(id) else { return };
        let class = &self.classes[job.class as usize];
        let is_offered = class.scale_sets.iter().any(|set| self.set(*set).is_some_and(|s| s.offered.contains(&id)));
        if let Some(job) = self.job_mut(id)
            && job.state == JobState::Available
            && !is_offered
        {
            job.state = JobState::Queued;
        }
    }

    /// What a scale set takes from the queue now: assignments at the broker, offers otherwise.
    pub(crate) fn take_jobs(&mut self, id: ScaleSetId, now: Time) {
        let Some(set) = self.set(id) else { return };
        let profile = &self.tenant(set.tenant).profile;
        let (personality, is_gated) = (profile.personality, profile.is_gated());
        let is_polling = set.session.as_ref().is_some_and(|session| session.poll.is_some());
        // The broker assigns at poll time only; offers are made at once unless capacity has a say (§2.11 item 3).
        if !is_polling && (personality == Personality::Broker || is_gated) {
            return;
        }
        let waiting: usize = set.classes.iter().map(|class| self.classes[*class as usize].waiting.len()).sum();
        if waiting == set.offered.len() {
            return;
        }
        loop {
            let Some(set) = self.set(id) else { return };
            let taken = set.assigned.len() as i64
                + i64::from(set.tally.running + set.tally.phantom + set.tally.acquired)
                + set.offered.len() as i64;
            if is_gated && taken >= set.capacity {
                return;
            }
            let Some(job) = self.oldest_waiting(set) else { return };
            match personality {
                Personality::Broker => self.assign(job, id, now),
                Personality::AcquireRequired => self.offer(job, id, now),
            }
        }
    }

    fn oldest_waiting(&self, set: &ScaleSet) -> Option<JobId> {
        let heads = set.classes.iter().filter_map(|class| {
            let waiting = &self.classes[*class as usize].waiting;
            waiting.iter().find(|job| !set.offered.contains(job))
        });
        heads.min().copied()
    }

    /// Binds a waiting job to a scale set whether or not somebody polls there: as it was left from before.
    pub fn assign_job(&mut self, id: JobId, scale_set: ScaleSetId, now: Time) {
        let waits = self.job(id).is_some_and(|job| matches!(job.state, JobState::Queued | JobState::Available));
        if waits && self.set(scale_set).is_some() {
            self.assign(id, scale_set, now);
            self.tidy();
        }
    }

    /// Binds a waiting or acquired job to a scale set.
    pub(crate) fn assign(&mut self, id: JobId, scale_set: ScaleSetId, now: Time) {
        self.leave_queue(id);
        let deadline = now.after(self.profile_of(scale_set).pickup_timeout);
        let Some(job) = self.job_mut(id) else { return };
        job.state = JobState::Assigned;
        job.scale_set = scale_set;
        job.attempts = job.attempts.saturating_add(1);
        job.assigned = now;
        job.deadline = deadline;
        let attempt = job.attempts;
        self.timers.set(deadline, Timer::Job(id));
        if let Some(set) = self.set_mut(scale_set) {
            set.assigned.insert(id);
        }
        self.emit(ServiceEvent::JobAssigned { job: id, scale_set, attempt });
        self.log_job(scale_set, id, JobEventKind::Assigned, now);
    }

    /// E12: what was still to be had, in the order asked for. Ids of others are missing from the answer (U10).
    pub(crate) fn acquire_jobs(
        &mut self,
        auth: &Auth,
        id: ScaleSetId,
        requests: Option<&[RequestId]>,
        now: Time,
    ) -> ServiceReply {
        if self.take_expiry(id, ExpiryPoint::Acquire)
            && let Auth::Queue(token) = auth
        {
            self.revoke_token(*token);
        }
        if self.personality_of(id) == Personality::Broker && self.set(id).is_some() {
            return refused(&Why::NoAcquire);
        }
        self.queue(auth, id, now)?;
        let Some(requests) = requests else {
            return match self.profile_of(id).null_acquire_status {
                200 => Ok(ServiceOk::Acquired(Vec::new())),
                _ => refused(&Why::NullIds),
            };
        };
        let latency = self.profile_of(id).assign_latency;
        let mut acquired = Vec::new();
        for request in requests {
            let job = JobId(request.0.saturating_sub(REQUEST_BASE).max(0) as u64);
            if !self.set(id).is_some_and(|set| set.offered.contains(&job)) {
                continue;
            }
            self.leave_queue(job);
            let deadline = now.after(latency);
            if let Some(job) = self.job_mut(job) {
                job.state = JobState::Acquired;
                job.scale_set = id;
                job.deadline = deadline;
            }
            if let Some(set) = self.set_mut(id) {
                set.tally.acquired += 1;
            }
            self.timers.set(deadline, Timer::Job(job));
            self.emit(ServiceEvent::JobAcquired { job, scale_set: id });
            acquired.push(*request);
        }
        Ok(ServiceOk::Acquired(acquired))
    }

    /// E13; the broker has nothing to offer.
    pub(crate) fn acquirable_jobs(&mut self, auth: &Auth, id: ScaleSetId, now: Time) -> ServiceReply {
        let set = self.own_set(auth, id, now)?;
        let offers = set.offered.iter().filter_map(|job| self.job(*job));
        let event = |job: &Job| JobEvent { kind: JobEventKind::Available, job: Arc::clone(&job.info) };
        Ok(ServiceOk::Acquirable(offers.map(event).collect()))
    }
}
