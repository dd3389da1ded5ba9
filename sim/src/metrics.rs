//! What a run measured: counts and durations for mitigation tables. Decides nothing.

use std::collections::BTreeMap;

use arc_api::service::JobResult;
use arc_api::{Duration, JobId, Str, Time};

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

/// Counters and times of a run.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Jobs by id.
    pub jobs: BTreeMap<JobId, JobTimes>,
    /// Plain counts by name.
    pub counts: BTreeMap<&'static str, u64>,
    /// Exits of listener processes: time and code.
    pub listener_exits: Vec<(Time, i32)>,
    /// Gaps without a polling listener that ended.
    pub offline: Vec<Duration>,
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
];

/// A job that waited longer than this for its runner counts as delayed.
pub const DELAYED: Duration = Duration::from_secs(60);

impl Metrics {
    /// Adds one to a count.
    pub fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }
    /// All figures by name: what variants are compared by.
    pub fn figures(&self) -> BTreeMap<&'static str, i64> {
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
        let docker = jobs.clone().filter(|j| j.why == "docker-socket").count();
        f.insert("jobs_failed_docker", docker as i64);
        let (share, low, high) = per_mille(docker, jobs.clone().filter(|j| j.ended.is_some()).count());
        f.extend([("docker_failures", share), ("docker_failures_low", low), ("docker_failures_high", high)]);
        f.insert("jobs_failed_hook", jobs.clone().filter(|j| j.why.starts_with("hook-")).count() as i64);
        f.insert("jobs_failed_shutdown", jobs.clone().filter(|j| j.why == "shutdown-signal").count() as i64);
        let mut waits: Vec<u64> =
            jobs.clone().filter_map(|j| j.started.map(|s| s.since(j.queued).as_millis() as u64)).collect();
        waits.sort_unstable();
        let at = |p: usize| {
            waits.get((waits.len() * p / 100).min(waits.len().saturating_sub(1))).copied().unwrap_or(0) as i64
        };
        f.insert("wait_p50_ms", at(50));
        f.insert("wait_p95_ms", at(95));
        f.insert("wait_max_ms", waits.last().copied().unwrap_or(0) as i64);
        f.insert("jobs_delayed", waits.iter().filter(|w| **w > DELAYED.as_millis() as u64).count() as i64);
        f.insert("listener_exits", self.listener_exits.len() as i64);
        f.insert("offline_max_s", self.offline.iter().max().map_or(0, |d| d.as_secs() as i64));
        f.insert("refused_for_s", self.refusals.map_or(0, |(first, last)| last.since(first).as_secs() as i64));
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
}
