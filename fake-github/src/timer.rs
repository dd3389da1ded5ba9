//! What the service still has to do by itself, ordered by time. Knows nothing of what the entries mean.
//!
//! Entries are never taken out of the middle: an entity remembers its own deadline, and an entry that no longer agrees
//! with its entity is dropped when it reaches the top. So setting a timer again and again costs one push each.

use std::{cmp::Reverse, collections::BinaryHeap};

use arc_api::{JobId, RunnerId, ScaleSetId, Time};

/// What comes due. Each entity has at most one valid entry per kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// The scale set's session was idle for too long.
    Session(ScaleSetId),
    /// A logged event becomes visible to the open poll.
    Deliver(ScaleSetId),
    /// The job's current state has lasted too long (or long enough).
    Job(JobId),
    /// The runner is ready for work, or its session or registration ends.
    Runner(RunnerId),
    /// A listener's poll was held long enough; the number is the poll's.
    Hold(ScaleSetId, u64),
    /// A runner's poll was held long enough; the number is the poll's.
    RunnerHold(RunnerId, u64),
}

/// Entries below this are never worth a sweep.
const SWEEP_AT_LEAST: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Time, u64, Timer)>>,
    /// Ties are broken by order of setting.
    seq: u64,
    sweep_at: usize,
}

impl Timers {
    pub(crate) fn new() -> Timers {
        Timers { heap: BinaryHeap::new(), seq: 0, sweep_at: SWEEP_AT_LEAST }
    }

    pub(crate) fn set(&mut self, at: Time, timer: Timer) {
        if at != Time::NEVER {
            self.seq += 1;
            self.heap.push(Reverse((at, self.seq, timer)));
        }
    }

    /// The earliest entry.
    pub(crate) fn peek(&self) -> Option<(Time, Timer)> {
        self.heap.peek().map(|Reverse((at, _, timer))| (*at, *timer))
    }

    pub(crate) fn pop(&mut self) -> Option<(Time, Timer)> {
        self.heap.pop().map(|Reverse((at, _, timer))| (at, timer))
    }

    /// Whether so much has piled up that dropping outdated entries pays.
    pub(crate) fn wants_sweep(&self) -> bool {
        self.heap.len() >= self.sweep_at
    }

    pub(crate) fn sweep(&mut self, mut is_valid: impl FnMut(Time, Timer) -> bool) {
        self.heap.retain(|Reverse((at, _, timer))| is_valid(*at, *timer));
        self.sweep_at = (self.heap.len() * 2).max(SWEEP_AT_LEAST);
    }

    /// All entries, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Time, Timer)> {
        self.heap.iter().map(|Reverse((at, _, timer))| (*at, *timer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_come_out_in_the_order_they_were_set() {
        let mut t = Timers::new();
        t.set(Time(5), Timer::Job(JobId(9)));
        t.set(Time(5), Timer::Job(JobId(1)));
        t.set(Time::NEVER, Timer::Job(JobId(2)));
        t.set(Time(4), Timer::Runner(RunnerId(7)));
        assert_eq!(t.pop(), Some((Time(4), Timer::Runner(RunnerId(7)))));
        assert_eq!(t.pop(), Some((Time(5), Timer::Job(JobId(9)))));
        assert_eq!(t.pop(), Some((Time(5), Timer::Job(JobId(1)))));
        assert_eq!(t.pop(), None, "an endless wait is not an entry");
    }
}
