//! From the service's counters to the size of the runner set: target, patch id, and whether to patch at all.
//!
//! **Never**: sends anything, remembers what was really written, knows sessions or messages beyond their counters.
//!
//! Source: actions-service.md §4.6, vectors §4.13; `cmd/ghalistener/worker` (0.8.0–0.13.1), `cmd/ghalistener/scaler`
//! (0.14.x), `cmd/githubrunnerscalesetlistener` (0.7.0).

use arc_api::Time;
use arc_api::service::{JobEvent, Statistics};

use crate::behaviour::ScalerRule;
use crate::demand::Demand;

/// What the set's spec shall say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.patchID`; 0.8.3 and older send none. 0 forces the removal of surplus idle runners.
    pub patch_id: Option<i64>,
}

/// What the listener has just seen.
#[derive(Clone, Copy, Debug)]
pub enum Seen<'a> {
    /// A new session and its counters.
    Session(&'a Statistics),
    /// A message and its counters.
    Message(&'a Statistics, &'a [JobEvent]),
    /// A poll that brought nothing.
    Nothing,
}

/// The scaler of one listener process: what is lost when the process ends.
#[derive(Clone, Debug)]
pub struct Scaler {
    rule: ScalerRule,
    min: i32,
    max: i32,
    last: i32,
    last_id: i64,
    seq: i64,
    assigned: i32,
    demand: Option<Box<Demand>>,
}

impl Scaler {
    /// A scaler that has not patched yet. `born` is when its process started.
    pub fn new(rule: ScalerRule, min: i32, max: i32, born: Time) -> Scaler {
        let aware = rule == ScalerRule::DemandAware;
        Scaler {
            rule,
            min,
            max,
            last: -1,
            last_id: -1,
            // Differs: `next` counts on from its start time, so that a restarted listener's ids never meet stamps of its
            // predecessor (Q-PATCHID-COLLISION). Releases start at -1, which makes the first id 0.
            seq: if aware { born.secs() as i64 } else { -1 },
            assigned: 0,
            demand: aware.then(Box::default),
        }
    }
    /// What `next` knows beyond the counters; releases know nothing.
    pub fn demand(&self) -> Option<&Demand> {
        self.demand.as_deref()
    }
    /// As [`Scaler::demand`], to tell it about offers.
    pub fn demand_mut(&mut self) -> Option<&mut Demand> {
        self.demand.as_deref_mut()
    }
    /// Takes in what `next` wants to know before it acquires and before [`Scaler::desired`]; releases take in nothing.
    pub fn observe(&mut self, statistics: Option<&Statistics>, events: &[JobEvent], now: Time) {
        let Some(demand) = &mut self.demand else { return };
        demand.on_events(events, now);
        if let Some(statistics) = statistics {
            demand.on_statistics(statistics, now);
        }
    }
    /// Decides whether to patch the set, and to what.
    pub fn desired(&mut self, seen: Seen<'_>) -> Option<Target> {
        let (statistics, events) = match seen {
            Seen::Session(s) => (Some(s), &[][..]),
            Seen::Message(s, e) => (Some(s), e),
            Seen::Nothing => (None, &[][..]),
        };
        let (started, completed) = count(events);
        let assigned = statistics.map_or(0, |s| s.total_assigned_jobs);
        match self.rule {
            ScalerRule::Floor => {
                statistics?;
                let target = self.max.min(assigned).max(self.min);
                (target != self.last).then(|| self.patch(target, None))
            }
            ScalerRule::EveryMessage => {
                statistics?;
                Some(self.patch(self.clamp(assigned), None))
            }
            ScalerRule::OnChange => {
                statistics?;
                let target = self.clamp(assigned);
                if target == self.last && completed == 0 {
                    return None;
                }
                self.seq += 1;
                Some(self.patch(target, Some(self.seq)))
            }
            ScalerRule::EmptyResets => {
                self.seq = if assigned == 0 && completed == 0 { 0 } else { self.seq + 1 };
                Some(self.patch(self.clamp(assigned), Some(self.seq)))
            }
            ScalerRule::EmptyKeeps => {
                self.seq += 1;
                let mut target = self.clamp(assigned);
                let mut id = self.seq;
                if assigned == 0 && completed == 0 {
                    target = target.max(self.last);
                    if target == self.min {
                        id = 0;
                    }
                }
                Some(self.patch(target, Some(id)))
            }
            ScalerRule::Statistics => {
                if statistics.is_some() {
                    self.assigned = assigned;
                }
                let dirty = started + completed > 0;
                if self.seq == i64::from(i32::MAX) {
                    self.seq = 0;
                }
                self.seq += 1;
                let target = self.clamp(self.assigned);
                let quiet = !dirty && target == self.last && target == self.min;
                Some(self.patch(target, Some(if quiet { 0 } else { self.seq })))
            }
            ScalerRule::DemandAware => {
                let demand = self.demand.as_ref()?;
                let wanted = demand.wanted();
                // Forced only by a poll that brought nothing, changes nothing and leaves no offer open: then every runner
                // above the target is surplus. Differs: releases force at min only, and also while an offer is open
                // (Q-OFFER-KILLS-IDLE), and with a process's first patch (Q-FIRST-PATCH-0).
                let settled = matches!(seen, Seen::Nothing) && demand.is_settled(self.max);
                let target = self.clamp(wanted);
                // While runners are wanted every second quiet poll has a new id: a spec that changes is the answer that the
                // set waits for when a runner ended after its JobCompleted had been answered, and the runner could not be told.
                let answers = target > 0 && self.last_id == 0;
                let quiet = settled && target == self.last && !answers;
                self.seq += 1;
                Some(self.patch(target, Some(if quiet { 0 } else { self.seq })))
            }
        }
    }

    /// `min` idle spares above the assigned jobs, at most `max` (0.8.0 on, #3139).
    fn clamp(&self, assigned: i32) -> i32 {
        self.min.saturating_add(assigned).min(self.max)
    }
    fn patch(&mut self, replicas: i32, patch_id: Option<i64>) -> Target {
        self.last = replicas;
        self.last_id = patch_id.unwrap_or(-1);
        Target { replicas, patch_id }
    }
}

/// Started and completed jobs of a batch.
fn count(events: &[JobEvent]) -> (usize, usize) {
    use arc_api::service::JobEventKind::*;
    events.iter().fold((0, 0), |(s, c), e| match e.kind {
        Started { .. } => (s + 1, c),
        Completed { .. } => (s, c + 1),
        Available | Assigned | Unknown => (s, c),
    })
}

#[cfg(test)]
#[path = "scaler_tests.rs"]
mod tests;
