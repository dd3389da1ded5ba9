//! Which runners a set has, by what they are good for. Never removes or creates any.
//!
//! Source: arc-controllers.md §4.3.

use std::sync::Arc;

use arc_api::crd::{EphemeralRunner, ErPhase};

use super::PATCH_ID;
use crate::behaviour::ErsGate;

/// The counts of one look at the runners.
#[derive(Clone, Debug, Default)]
pub(super) struct Census {
    /// Neither running nor over, not deleting.
    pub(super) pending: i32,
    /// Phase Running, not deleting.
    pub(super) running: i32,
    /// Phase Failed, not deleting.
    pub(super) failed: i32,
    /// Phase Outdated, not deleting.
    pub(super) outdated: i32,
    /// Phase Succeeded, not deleting.
    pub(super) finished: Vec<Arc<EphemeralRunner>>,
    /// The largest patch id that any runner is stamped with, deleting ones included; 0 without any, and where no gate asks.
    pub(super) latest_patch_id: i64,
    /// Of the pending ones, those whose pod the API refuses (`next`).
    pub(super) blocked: i32,
}

impl Census {
    /// Counts runners; reads their stamps only for a gate that compares them.
    pub(super) fn of<'a>(runners: impl Iterator<Item = &'a Arc<EphemeralRunner>>, gate: ErsGate) -> Census {
        let mut census = Census::default();
        for runner in runners {
            if gate == ErsGate::PatchId {
                census.latest_patch_id = census.latest_patch_id.max(patch_id(runner));
            }
            if runner.metadata.is_deleting() {
                continue;
            }
            match runner.status.phase {
                ErPhase::Running => census.running += 1,
                ErPhase::Succeeded => census.finished.push(runner.clone()),
                ErPhase::Failed => census.failed += 1,
                ErPhase::Outdated => census.outdated += 1,
                ErPhase::Empty | ErPhase::Pending => census.pending += 1,
            }
        }
        census
    }
    /// What is compared with `replicas`: Failed runners count (Q-FAILED-COUNTS-CAPACITY), deleting and finished ones do not.
    pub(super) fn total(&self) -> i32 {
        self.pending + self.running + self.failed
    }
    /// Pending, running and failed as the status reports them: a runner whose pod is refused cannot serve.
    pub(super) fn reported(&self) -> (i32, i32, i32) {
        (self.pending - self.blocked, self.running, self.failed + self.blocked)
    }
    /// Runners that are not over and not deleting, in the order in which idle ones are removed, the first one last: pending
    /// before running, oldest first. Upstream's sort is unstable; here equal times go by name.
    pub(super) fn idle_first<'a>(runners: impl Iterator<Item = &'a Arc<EphemeralRunner>>) -> Vec<Arc<EphemeralRunner>> {
        let alive = |r: &&Arc<EphemeralRunner>| !r.metadata.is_deleting() && !over(r);
        let mut list: Vec<Arc<EphemeralRunner>> = runners.filter(alive).cloned().collect();
        list.sort_by_cached_key(|r| {
            (r.status.phase == ErPhase::Running, r.metadata.creation_timestamp.truncated(), r.metadata.name.clone())
        });
        list.reverse();
        list
    }
}

/// Phase Succeeded, Failed or Outdated.
pub(super) fn over(runner: &EphemeralRunner) -> bool {
    runner.status.phase.is_done()
}

/// The stamp of a runner; 0 if it has none or an unreadable one.
pub(super) fn patch_id(runner: &EphemeralRunner) -> i64 {
    runner.metadata.annotation(PATCH_ID).and_then(|id| id.parse().ok()).unwrap_or(0)
}
