//! A manager that a fault slows down: fewer workers, a smaller budget of requests, another order of ready work.

use std::collections::BTreeMap;

use arc_api::{Str, Time};
use controller_core::throttle::Throttles;

use super::{CONTROLLERS, Manager, Worker};

/// How a fault slows a manager down.
#[derive(Clone, Debug, Default)]
pub(super) struct Slow {
    /// At most so many workers, by slot.
    pub(super) workers: [Option<u32>; 4],
    /// How many it has without the fault, where a fault added some.
    pub(super) usual: [Option<u32>; 4],
    pub(super) order: Option<u64>,
}

impl Manager {
    /// Fewer (or more) workers by kind or for all (`*`), another budget of requests, another order of ready work.
    pub fn slow_down(
        &mut self,
        workers: &BTreeMap<Str, u32>,
        qps: Option<u32>,
        burst: Option<u32>,
        order_seed: Option<u64>,
    ) {
        for (slot, kind) in CONTROLLERS.iter().enumerate() {
            let most = workers.get(kind.as_str()).or(workers.get("*")).copied();
            self.slow.workers[slot] = most.map(|n| n.max(1)).or(self.slow.workers[slot]);
            let have = self.workers.iter().filter(|w| w.slot == slot).count() as u32;
            let more = most.unwrap_or(0).saturating_sub(have);
            self.workers.extend((0..more).map(|_| Worker { slot, job: None }));
            if more > 0 {
                self.slow.usual[slot] = Some(self.slow.usual[slot].unwrap_or(have));
            }
        }
        if qps.is_some() || burst.is_some() {
            self.throttle =
                Throttles::new(qps.unwrap_or(self.config.qps).max(1), burst.unwrap_or(self.config.burst).max(1));
        }
        self.slow.order = order_seed.map(|s| s | 1).or(self.slow.order);
    }
    /// As it was started.
    pub fn speed_up(&mut self) {
        self.slow = Slow { workers: self.slow.usual, usual: self.slow.usual, order: None };
        self.throttle = Throttles::new(self.config.qps, self.config.burst);
    }
    /// Another ready key comes first, by the seed of a fault.
    pub(super) fn shuffle(&mut self, slot: usize, now: Time) {
        let Some(seed) = &mut self.slow.order else { return };
        let ready = self.queues[slot].len(now) as u64;
        if ready < 2 {
            return;
        }
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        for _ in 0..*seed % ready {
            let Some(key) = self.queues[slot].get(now) else { return };
            self.queues[slot].add(key.clone(), now);
            self.queues[slot].done(&key);
        }
    }
}
