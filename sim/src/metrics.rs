//! What a run measured: counts and durations for mitigation tables. Decides nothing.

use std::collections::BTreeMap;

use arc_api::service::JobResult;
use arc_api::{Duration, JobId, Str, Time};

use crate::invariant::SetKey;

/// One job's times.
#[derive(Clone, Debug, Default)]
pub struct JobTimes {
    /// Queued.
    pub queued: Time,
    /// Taken by a runner.
    pub started: Option<Time>,
    /// Over, and how.
    pub ended: Option<(Time, JobResult)>,
    /// Why it failed, as its runner saw it.
    pub why: &'static str,
}

/// Since when a scale set has no polling listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Poll {
    /// A poll is open.
    Open,
    /// None is, since then.
    Away(Time),
}

/// Counters and times of a run.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Jobs by id.
    pub jobs: BTreeMap<JobId, JobTimes>,
    /// Plain counts by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Exits of listener processes: time and code.
    pub listener_exits: Vec<(Time, i32)>,
    polls: BTreeMap<SetKey, Poll>,
    /// Gaps of a second or more without a polling listener, of installed scale sets.
    offline: Vec<Duration>,
    /// ERROR lines by message.
    pub error_lines: BTreeMap<Str, u64>,
    /// First refusal and last refusal of a session.
    pub refusals: Option<(Time, Time)>,
    /// EphemeralRunner objects that were Failed at some time.
    pub failed: std::collections::BTreeSet<arc_api::Uid>,
    /// What the sets reported at the last mark, or at the end.
    pub reported: Option<Reported>,
}

/// What all sets together report, and what there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reported {
    /// `status.currentRunners`.
    pub current: i64,
    /// `status.pendingEphemeralRunners`.
    pub pending: i64,
    /// `status.runningEphemeralRunners`.
    pub running: i64,
    /// `status.failedEphemeralRunners` of their runner sets.
    pub failed: i64,
    /// Runner pods that exist.
    pub pods: i64,
}

/// Names of the plain counts.
const COUNTS: &[&str] = &[
    "controller_starts",
    "dind_restarts",
    "infra_failures",
    "listener_starts",
    "pods_rejected",
    "registrations",
    "runner_pods",
    "runner_starts",
    "runners_created",
    "runners_failed",
    "session_refusals",
    "sessions",
    "sets_deleted",
];

/// A job that waited longer than this for its runner counts as delayed.
pub const DELAYED: Duration = Duration::from_secs(60);

impl Metrics {
    /// Adds one to a count.
    pub fn count(&mut self, name: &'static str) {
        debug_assert!(COUNTS.contains(&name), "`{name}` is not a metric");
        *self.counts.entry(name).or_default() += 1;
    }
    /// A scale set is installed from now on, or is not any more.
    pub fn wanted(&mut self, set: &SetKey, wanted: bool, now: Time) {
        if wanted {
            self.polls.entry(set.clone()).or_insert(Poll::Away(now));
        } else if let Some(Poll::Away(since)) = self.polls.remove(set) {
            self.gap(since, now);
        }
    }
    /// A poll of a scale set's listener reached the service and is open (or was answered at once).
    pub fn poll_opens(&mut self, set: &SetKey, now: Time) {
        if let Some(poll) = self.polls.get_mut(set)
            && let Poll::Away(since) = std::mem::replace(poll, Poll::Open)
        {
            self.gap(since, now);
        }
    }
    /// The poll is over, however it ended.
    pub fn poll_ends(&mut self, set: &SetKey, now: Time) {
        if let Some(poll @ Poll::Open) = self.polls.get_mut(set) {
            *poll = Poll::Away(now);
        }
    }
    fn gap(&mut self, since: Time, now: Time) {
        let gap = now.since(since);
        if gap >= Duration::from_secs(1) {
            self.offline.push(gap);
        }
    }
    /// All figures by name at the end of a run: what variants are compared by.
    pub fn figures(&self, end: Time) -> BTreeMap<&'static str, i64> {
        let mut f: BTreeMap<&'static str, i64> = COUNTS.iter().map(|k| (*k, 0)).collect();
        f.extend(self.counts.iter().map(|(k, v)| (*k, *v as i64)));
        let jobs = self.jobs.values();
        f.insert("jobs_queued", self.jobs.len() as i64);
        f.insert(
            "jobs_succeeded",
            jobs.clone().filter(|j| matches!(j.ended, Some((_, JobResult::Succeeded)))).count() as i64,
        );
        f.insert(
            "jobs_failed",
            jobs.clone().filter(|j| matches!(j.ended, Some((_, JobResult::Failed)))).count() as i64,
        );
        f.insert("jobs_never_started", jobs.clone().filter(|j| j.started.is_none()).count() as i64);
        let docker = jobs.clone().filter(|j| j.why.starts_with("docker-")).count();
        f.insert("jobs_failed_docker", docker as i64);
        let (share, low, high) = per_mille(docker, jobs.clone().filter(|j| j.ended.is_some()).count());
        f.extend([("docker_failures", share), ("docker_failures_low", low), ("docker_failures_high", high)]);
        f.insert("jobs_failed_hook", jobs.clone().filter(|j| j.why.starts_with("hook-")).count() as i64);
        f.insert("jobs_failed_shutdown", jobs.clone().filter(|j| j.why == "shutdown-signal").count() as i64);
        let mut waits: Vec<Duration> = jobs.clone().filter_map(|j| j.started.map(|s| s.since(j.queued))).collect();
        waits.sort_unstable();
        let at = |p: usize| waits.get((waits.len() * p / 100).min(waits.len().saturating_sub(1)));
        let ms = |d: Option<&Duration>| d.map_or(0, |d| d.as_millis() as i64);
        f.insert("wait_p50_ms", ms(at(50)));
        f.insert("wait_p95_ms", ms(at(95)));
        let still = jobs.clone().filter(|j| j.started.is_none() && j.ended.is_none()).map(|j| end.since(j.queued));
        waits.extend(still);
        f.insert("wait_max_ms", ms(waits.iter().max()));
        f.insert("jobs_delayed", waits.iter().filter(|w| **w > DELAYED).count() as i64);
        f.insert("listener_exits", self.listener_exits.len() as i64);
        let away = self.polls.values().filter_map(|p| match p {
            Poll::Away(since) => Some(end.since(*since)).filter(|d| *d >= Duration::from_secs(1)),
            Poll::Open => None,
        });
        let offline: Vec<Duration> = self.offline.iter().copied().chain(away).collect();
        f.insert("offline_max_s", offline.iter().max().map_or(0, |d| d.as_secs() as i64));
        f.insert("offline_total_s", offline.iter().sum::<Duration>().as_secs() as i64);
        let refused = self.refusals.map_or(Duration::ZERO, |(first, last)| last.since(first));
        f.insert("refused_for_s", refused.as_secs() as i64);
        let between = f["session_refusals"] - 1;
        let us = refused.as_micros() as i64;
        f.insert("refusals_per_minute", if us == 0 { 0 } else { (between * 60_000_000 + us / 2) / us });
        let r = self.reported.unwrap_or_default();
        f.extend([("reported_current", r.current), ("reported_pending", r.pending), ("reported_running", r.running)]);
        f.extend([("reported_failed", r.failed), ("pods_existing", r.pods)]);
        f.insert("error_lines", self.error_lines.values().sum::<u64>() as i64);
        f
    }
}

/// A share and its 95 % confidence interval (Wilson's score), in thousandths.
fn per_mille(part: usize, whole: usize) -> (i64, i64, i64) {
    if whole == 0 {
        return (0, 0, 0);
    }
    // Only additions, products, quotients and square roots: the same bits on every machine.
    let (n, z2) = (whole as f64, 1.96 * 1.96);
    let p = part as f64 / n;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = (1.96 / (1.0 + z2 / n)) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    let round = |x: f64| (x * 1000.0 + 0.5) as i64;
    (round(p), round((centre - half).max(0.0)), round((centre + half).min(1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_of_five_hundred_lie_between_four_and_twenty_three_per_mille() {
        assert_eq!(per_mille(5, 500), (10, 4, 23));
        assert_eq!(per_mille(0, 500), (0, 0, 8));
        assert_eq!(per_mille(0, 0), (0, 0, 0));
    }

    #[test]
    fn time_without_a_poll_counts_while_the_set_is_installed() {
        let set: SetKey = (crate::world::SiteId(0), arc_api::meta::Key::new("ns", "demo"));
        let at = Time::from_secs;
        let mut m = Metrics::default();
        m.poll_opens(&set, at(1));
        m.wanted(&set, true, at(10));
        m.poll_opens(&set, at(14));
        m.poll_ends(&set, at(64));
        m.poll_opens(&set, at(64));
        m.poll_ends(&set, at(70));
        m.wanted(&set, false, at(90));
        m.wanted(&set, true, at(200));
        let f = m.figures(at(207));
        assert_eq!((f["offline_max_s"], f["offline_total_s"]), (20, 4 + 20 + 7));
    }

    #[test]
    fn a_job_that_waits_still_is_delayed_and_counts_in_the_longest_wait() {
        let mut m = Metrics::default();
        m.jobs.insert(JobId(1), JobTimes { queued: Time::from_secs(10), ..JobTimes::default() });
        let f = m.figures(Time::from_secs(100));
        assert_eq!((f["jobs_delayed"], f["wait_max_ms"], f["wait_p95_ms"]), (1, 90_000, 0));
    }
}
