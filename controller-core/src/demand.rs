//! What the corrected listener knows about jobs beyond the service's counters: offers, unfinished assignments, phantoms.
//!
//! **Never**: calls the service, patches. No release has this: they believe `totalAssignedJobs` alone.
//!
//! The rule: demand is the larger of what statistics and unfinished assignments say; a contradiction that lasts is settled
//! for the statistics. Source: field-bugs.md, *Correct controller* of statistics-contradict-messages,
//! phantom-assigned-jobs, acquires-beyond-max, empty-poll-kills-pending-runner.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arc_api::service::{JobEvent, JobEventKind, JobInfo, Statistics};
use arc_api::{Duration, JobId, RequestId, Time};

/// How long statistics must deny an unfinished assignment before it is forgotten: longer than the service waits for a
/// runner (300 s, actions-service.md §5.3), and so that the idle runner it costs is gone within ten minutes.
pub const DOUBT: Duration = Duration::from_secs(310);
/// How old counters may be: while jobs are known to be unfinished, as their ends may have been lost, and while none is.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(100), Duration::from_secs(210));
/// How long statistics must deny an unfinished job before an open offer is taken in its place: a job that waits for a place
/// that nobody has must not wait as long as the place is doubted. Also how old counters may be while an offer stays open.
pub const OFFER_DOUBT: Duration = Duration::from_secs(60);
/// How long idle runners must get nothing although jobs are said to wait, before the excess is taken for a phantom.
pub const PHANTOM_AFTER: Duration = Duration::from_secs(15 * 60);
/// How long a phantom is believed in before runners are offered to it again.
pub const PHANTOM_FOR: Duration = Duration::from_secs(60 * 60);
/// Ended jobs that are remembered, so that an event that comes late or twice does not bring them back.
const ENDED: usize = 64;

/// A job as both personalities name it: the broker has no request ids, old servers no job ids.
type JobKey = (RequestId, JobId);

fn key(job: &JobInfo) -> Option<JobKey> {
    match (job.request, job.id) {
        (RequestId(0), JobId(0)) => None,
        (RequestId(0), id) => Some((RequestId(0), id)),
        (request, _) => Some((request, JobId(0))),
    }
}

/// How far an unfinished job has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Stage {
    /// We took the offer; the assignment has not come yet.
    Acquired,
    /// It waits for a runner.
    Assigned,
    /// A runner has it.
    Started,
}

#[derive(Clone, Copy, Debug)]
struct Unfinished {
    stage: Stage,
    since: Time,
}

/// Excess of assigned over running jobs while idle runners get nothing.
#[derive(Clone, Copy, Debug)]
struct Excess {
    least: i32,
    since: Time,
}

/// Offers, unfinished assignments and the latest counters.
#[derive(Clone, Debug, Default)]
pub struct Demand {
    statistics: Statistics,
    seen: Time,
    distrusted: bool,
    jobs: BTreeMap<JobKey, Unfinished>,
    offers: BTreeSet<RequestId>,
    /// Jobs that are over, and whether they were only taken back, so that they may be assigned again.
    ended: VecDeque<(JobKey, bool)>,
    /// Jobs that were taken back and of which an assignment was heard since: the counters say whether it is a new one.
    again: BTreeSet<JobKey>,
    denied_since: Option<Time>,
    excess: Option<Excess>,
    phantom: Option<(i32, Time)>,
}

impl Demand {
    /// Takes in the events of a message. Seeing an event twice changes nothing.
    pub fn on_events(&mut self, events: &[JobEvent], now: Time) {
        // The order inside a batch is not guaranteed, so what has ended is taken off last (actions-service.md §3.4).
        for event in events {
            let Some(key) = key(&event.job) else { continue };
            match event.kind {
                JobEventKind::Available => {
                    if !self.jobs.contains_key(&key) {
                        self.offers.insert(key.0);
                    }
                }
                JobEventKind::Assigned => match self.ended(key) {
                    None => self.advance(key, Stage::Assigned, now),
                    // A returned assignment comes again under the same name; but so does one that was told late or twice.
                    Some(true) => drop(self.again.insert(key)),
                    Some(false) => {}
                },
                JobEventKind::Started { .. } => match self.ended(key) {
                    None => self.advance(key, Stage::Started, now),
                    Some(true) => drop(self.again.insert(key)),
                    Some(false) => {}
                },
                JobEventKind::Completed { .. } | JobEventKind::Unknown => {}
            }
        }
        for event in events {
            if let (JobEventKind::Completed { runner, .. }, Some(key)) = (&event.kind, key(&event.job)) {
                self.jobs.remove(&key);
                self.offers.remove(&key.0);
                self.again.remove(&key);
                self.ended.retain(|(k, _)| *k != key);
                if self.ended.len() == ENDED {
                    self.ended.pop_front();
                }
                // No runner had it: its assignment was taken back, or it was cancelled while it waited.
                self.ended.push_back((key, runner.0 == 0));
            }
        }
    }
    /// Whether a job is over; if so, whether it was only taken back.
    fn ended(&self, key: JobKey) -> Option<bool> {
        self.ended.iter().find(|(k, _)| *k == key).map(|(_, returned)| *returned)
    }
    fn advance(&mut self, key: JobKey, stage: Stage, now: Time) {
        self.offers.remove(&key.0);
        let job = self.jobs.entry(key).or_insert(Unfinished { stage, since: now });
        if stage > job.stage {
            *job = Unfinished { stage, since: now };
        }
    }
    /// Takes in counters, which are current at delivery, and settles contradictions that have lasted.
    pub fn on_statistics(&mut self, statistics: &Statistics, now: Time) {
        self.statistics = *statistics;
        self.seen = now;
        self.distrusted = false;
        let said = self.said();
        for key in std::mem::take(&mut self.again) {
            if self.jobs.len() < said {
                self.ended.retain(|(k, _)| *k != key);
                self.advance(key, Stage::Assigned, now);
            }
        }
        self.settle_denied(now);
        self.settle_excess(now);
    }
    /// Unfinished jobs by the counters.
    fn said(&self) -> usize {
        let s = &self.statistics;
        (s.total_assigned_jobs + s.total_acquired_jobs).max(s.total_running_jobs).max(0) as usize
    }
    fn settle_denied(&mut self, now: Time) {
        let said = self.said();
        if self.jobs.len() <= said {
            self.denied_since = None;
            return;
        }
        let since = *self.denied_since.get_or_insert(now);
        if now.since(since) < DOUBT {
            return;
        }
        let mut oldest: Vec<(Time, JobKey)> = self.jobs.iter().map(|(k, j)| (j.since, *k)).collect();
        oldest.sort_unstable();
        let surplus = self.jobs.len() - said;
        for (_, key) in oldest.into_iter().take_while(|(t, _)| now.since(*t) >= DOUBT).take(surplus) {
            self.jobs.remove(&key);
        }
    }
    fn settle_excess(&mut self, now: Time) {
        let s = &self.statistics;
        let excess = s.total_assigned_jobs - s.total_running_jobs;
        self.phantom = match self.phantom {
            Some((size, until)) if until > now && excess > 0 => Some((size.min(excess), until)),
            Some(_) | None => None,
        };
        let left = excess - self.phantom();
        if left <= 0 || s.total_idle_runners < left {
            self.excess = None;
            return;
        }
        let tracked = self.excess.get_or_insert(Excess { least: left, since: now });
        tracked.least = tracked.least.min(left);
        if now.since(tracked.since) >= PHANTOM_AFTER {
            let size = tracked.least + self.phantom();
            self.excess = None;
            self.phantom = Some((size, now.after(PHANTOM_FOR)));
            self.jobs.retain(|_, j| j.stage == Stage::Started || now.since(j.since) < PHANTOM_AFTER);
        }
    }
    /// Jobs that want a runner, those that have one included.
    pub fn wanted(&self) -> i32 {
        let s = &self.statistics;
        (s.total_assigned_jobs - self.phantom()).max(s.total_running_jobs).max(self.jobs.len() as i32)
    }
    /// Assigned jobs that the service counts and that never take a runner.
    pub fn phantom(&self) -> i32 {
        self.phantom.map_or(0, |(size, _)| size)
    }
    /// Whether no offer is on its way to becoming an assignment: only then may runners be called surplus.
    pub fn is_settled(&self, max: i32) -> bool {
        let acquired = self.jobs.values().any(|j| j.stage == Stage::Acquired);
        !acquired && self.statistics.total_acquired_jobs == 0 && (self.offers.is_empty() || self.room(max) == 0)
    }
    /// How many more jobs can be run under `max`. An end that was never told of takes no room once counters have denied its
    /// job for a minute; what was acquired since they came always does.
    pub fn room(&self, max: i32) -> i32 {
        let s = &self.statistics;
        let denied = self.denied_since.is_some_and(|since| self.seen.since(since) >= OFFER_DOUBT);
        let known = match denied {
            true => self.said() + self.jobs.values().filter(|j| j.since > self.seen).count(),
            false => self.jobs.len(),
        };
        let owned = (s.total_assigned_jobs + s.total_acquired_jobs).max(known as i32);
        max.saturating_sub(owned).max(0)
    }
    /// Open offers as far as there is room: take these and no more.
    pub fn affordable_offers(&self, max: i32) -> Vec<RequestId> {
        self.offers.iter().copied().take(self.room(max) as usize).collect()
    }
    /// What came of an acquire: offers that were not given to us are somebody else's now.
    pub fn on_acquired(&mut self, asked: &[RequestId], got: &[RequestId], now: Time) {
        for request in asked {
            self.offers.remove(request);
            if got.contains(request) {
                self.advance((*request, JobId(0)), Stage::Acquired, now);
            }
        }
    }
    /// The service was asked which offers are open: what it does not name is none any more.
    pub fn keep_offers(&mut self, open: &[JobEvent]) {
        self.offers.retain(|request| open.iter().any(|e| e.job.request == *request));
    }
    /// Whether the service holds offers that this process was not told of: a predecessor deleted their message.
    pub fn misses_offers(&self, max: i32) -> bool {
        self.statistics.total_available_jobs > 0 && self.offers.is_empty() && self.room(max) > 0
    }
    /// Something was not understood: the counters are stale until new ones come.
    pub fn distrust(&mut self) {
        self.distrusted = true;
    }
    /// Whether the counters are too old to be relied on.
    pub fn is_stale(&self, now: Time) -> bool {
        if self.distrusted {
            return true;
        }
        let judged = |since: Time, at: Time| at.since(since) >= DOUBT;
        if self.denied_since.is_some_and(|since| judged(since, now) && !judged(since, self.seen)) {
            return true;
        }
        // Also when nothing is known of: the message that told of it may have been lost.
        let patience = match (self.offers.is_empty(), self.jobs.is_empty()) {
            (false, _) => OFFER_DOUBT,
            (true, false) => PATIENCE.0,
            (true, true) => PATIENCE.1,
        };
        now.since(self.seen) >= patience
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arc_api::RunnerId;
    use arc_api::service::JobResult;

    use super::*;

    const M: u64 = 60;

    fn event(kind: JobEventKind, n: u64) -> JobEvent {
        let job = JobInfo {
            id: JobId(n),
            request: RequestId(0),
            display_name: "build".into(),
            repository: "my-org/app".into(),
            workflow_ref: "ci.yml@main".into(),
            workflow_run: 1,
        };
        JobEvent { kind, job: Arc::new(job) }
    }
    fn offer(request: i64) -> JobEvent {
        let mut e = event(JobEventKind::Available, 0);
        Arc::make_mut(&mut e.job).request = RequestId(request);
        e
    }
    fn started(n: u64) -> JobEvent {
        event(JobEventKind::Started { runner: RunnerId(1), runner_name: "r".into() }, n)
    }
    fn completed(n: u64) -> JobEvent {
        let result = JobResult::Succeeded;
        event(JobEventKind::Completed { runner: RunnerId(1), runner_name: "r".into(), result }, n)
    }
    fn statistics(assigned: i32, running: i32, idle: i32) -> Statistics {
        Statistics {
            total_assigned_jobs: assigned,
            total_running_jobs: running,
            total_idle_runners: idle,
            ..Statistics::default()
        }
    }

    #[test]
    fn an_assignment_counts_although_statistics_say_zero() {
        let mut d = Demand::default();
        d.on_events(&[event(JobEventKind::Assigned, 1)], Time::ZERO);
        d.on_statistics(&statistics(0, 0, 0), Time::ZERO);
        assert_eq!(d.wanted(), 1);
        d.on_events(&[event(JobEventKind::Assigned, 1)], Time::ZERO);
        assert_eq!(d.wanted(), 1, "seen twice, counted once");
        d.on_events(&[completed(1), started(1)], Time::ZERO);
        assert_eq!(d.wanted(), 0);
        d.on_events(&[started(1)], Time::ZERO);
        assert_eq!(d.wanted(), 0, "a JobStarted that comes after the end");
    }

    #[test]
    fn an_assignment_that_is_told_after_the_end_is_none() {
        let mut d = Demand::default();
        d.on_events(&[completed(1)], Time::ZERO);
        d.on_events(&[event(JobEventKind::Assigned, 1)], Time::ZERO);
        d.on_statistics(&statistics(0, 0, 0), Time::ZERO);
        assert_eq!((d.wanted(), d.room(1)), (0, 1));
    }

    #[test]
    fn an_assignment_that_was_taken_back_counts_again_if_the_counters_know_of_it() {
        let returned = || {
            let result = JobResult::Canceled;
            event(JobEventKind::Completed { runner: RunnerId(0), runner_name: "".into(), result }, 1)
        };
        let mut d = Demand::default();
        d.on_events(&[event(JobEventKind::Assigned, 1), returned()], Time::ZERO);
        d.on_events(&[event(JobEventKind::Assigned, 1)], Time::ZERO);
        d.on_statistics(&statistics(0, 0, 0), Time::ZERO);
        assert_eq!(d.wanted(), 0, "told twice");
        d.on_events(&[event(JobEventKind::Assigned, 1)], Time::ZERO);
        d.on_statistics(&statistics(1, 0, 0), Time::ZERO);
        assert_eq!(d.jobs.len(), 1, "assigned again");
    }

    #[test]
    fn an_assignment_whose_end_was_lost_is_forgotten_when_statistics_keep_denying_it() {
        let mut d = Demand::default();
        d.on_events(&[event(JobEventKind::Assigned, 1), started(1)], Time::ZERO);
        assert!(!d.is_stale(Time::from_secs(99)) && d.is_stale(Time::from_secs(100)));
        for minute in 0..=5 {
            d.on_statistics(&statistics(0, 0, 0), Time::from_secs(minute * M));
            assert_eq!(d.wanted(), 1);
        }
        assert!(!d.is_stale(Time::from_secs(309)) && d.is_stale(Time::from_secs(310)), "it is time to decide");
        d.on_statistics(&statistics(0, 0, 0), Time::from_secs(310));
        assert_eq!(d.wanted(), 0);
        assert!(!d.is_stale(Time::from_secs(519)) && d.is_stale(Time::from_secs(520)));
    }

    #[test]
    fn jobs_that_never_take_an_idle_runner_are_phantoms_until_new_ones_come() {
        let mut d = Demand::default();
        for minute in 0..=15 {
            d.on_statistics(&statistics(17, 2, 20), Time::from_secs(minute * M));
        }
        assert_eq!((d.phantom(), d.wanted()), (15, 2));
        d.on_events(&[event(JobEventKind::Assigned, 1)], Time::from_secs(16 * M));
        d.on_statistics(&statistics(18, 2, 5), Time::from_secs(16 * M));
        assert_eq!(d.wanted(), 3);
        d.on_statistics(&statistics(2, 2, 0), Time::from_secs(17 * M));
        assert_eq!((d.phantom(), d.wanted()), (0, 2));
    }

    #[test]
    fn a_steady_flow_of_jobs_makes_no_phantoms() {
        let mut d = Demand::default();
        for minute in 0..60 {
            d.on_statistics(&statistics(3, 2, 5), Time::from_secs(minute * M));
            d.on_statistics(&statistics(3, 3, 4), Time::from_secs(minute * M + 5));
        }
        assert_eq!((d.phantom(), d.wanted()), (0, 3));
    }

    #[test]
    fn an_offer_does_not_wait_for_a_place_that_only_a_lost_end_takes() {
        let mut d = Demand::default();
        d.on_events(&[offer(2)], Time::ZERO);
        d.on_events(&[event(JobEventKind::Assigned, 1), started(1)], Time::ZERO);
        d.on_statistics(&statistics(1, 1, 0), Time::ZERO);
        assert_eq!(d.affordable_offers(1), [], "it runs");
        assert!(!d.is_stale(Time::from_secs(M - 1)) && d.is_stale(Time::from_secs(M)));
        d.on_statistics(&statistics(0, 0, 0), Time::from_secs(M));
        assert_eq!(d.affordable_offers(1), [], "counters may lie once");
        d.on_statistics(&statistics(0, 0, 0), Time::from_secs(2 * M));
        assert_eq!((d.affordable_offers(1), d.wanted()), (vec![RequestId(2)], 1));
        d.on_events(&[offer(3)], Time::from_secs(2 * M));
        d.on_acquired(&[RequestId(2)], &[RequestId(2)], Time::from_secs(2 * M + 1));
        assert_eq!(d.affordable_offers(1), [], "the place is taken now");
    }

    #[test]
    fn offers_beyond_the_maximum_stay_open() {
        let mut d = Demand::default();
        d.on_events(&[offer(1), offer(2), offer(3)], Time::ZERO);
        d.on_statistics(&statistics(1, 1, 0), Time::ZERO);
        assert_eq!(d.affordable_offers(0), []);
        assert_eq!(d.affordable_offers(3), [RequestId(1), RequestId(2)]);
        assert!(!d.is_settled(3) && d.is_settled(0));
        d.on_acquired(&[RequestId(1), RequestId(2)], &[RequestId(2)], Time::ZERO);
        assert_eq!(d.affordable_offers(i32::MAX), [RequestId(3)]);
        assert!(!d.is_settled(0), "an acquired job is about to be assigned");
    }
}
