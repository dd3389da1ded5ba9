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
}

/// A job that waited longer than this for its runner counts as delayed.
pub const DELAYED: Duration = Duration::from_secs(60);

impl Metrics {
    /// Adds one to a count.
    pub fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }
    /// All figures by name: what variants are compared by.
    pub fn figures(&self) -> BTreeMap<&'static str, i64> {
        let mut f: BTreeMap<&'static str, i64> = self.counts.iter().map(|(k, v)| (*k, *v as i64)).collect();
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
        f.insert("jobs_failed_docker", jobs.clone().filter(|j| j.why == "docker-socket").count() as i64);
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
        if let Some((first, last)) = self.refusals {
            f.insert("refused_for_s", last.since(first).as_secs() as i64);
        }
        f.insert("error_lines", self.error_lines.values().sum::<u64>() as i64);
        f
    }
}
