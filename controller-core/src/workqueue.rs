//! client-go's rate-limited, delaying work queue, in both of the forms ARC was built with.
//!
//! **Never**: runs anything, reads a clock, gives one key to two workers. Keys are taken with [`WorkQueue::get`], given back
//! with [`WorkQueue::done`]; a key that is added meanwhile is handed out once more after `done`.
//!
//! Source: arc-controllers.md §2.4, kubernetes-api.md §9.2; `k8s.io/client-go/util/workqueue` and controller-runtime's
//! `pkg/controller/priorityqueue` (default from 0.23, ARC 0.14.0).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arc_api::{Duration, Time};

use crate::behaviour::QueueBucket;
use crate::throttle::Throttle;

/// First wait after a failure; doubled by each further one.
const BASE: Duration = Duration::from_millis(5);
/// The longest wait, and that of the corrected controller: after an outage of minutes nobody sleeps for a quarter of an hour.
const CAP: Duration = Duration::from_secs(1000);
const SHORT_CAP: Duration = Duration::from_secs(30);
/// Priority of keys from an informer's initial list.
const LOW: i32 = -100;

/// A work queue of one controller.
#[derive(Clone, Debug)]
pub struct WorkQueue<K> {
    items: Items<K>,
    /// Keys that workers have, with the priority they were taken at: a requeue keeps it. As few as there are workers.
    processing: Vec<(K, i32)>,
    failures: BTreeMap<K, u32>,
    /// The classic limiter's bucket over all keys: 10 a second, burst 100.
    bucket: Option<Throttle>,
    cap: Duration,
    added: u64,
}

/// What waits. The two forms differ in what an immediate add does to a delayed one.
#[derive(Clone, Debug)]
enum Items<K> {
    /// 0.13.1 and older: a FIFO of ready keys and, independent of it, a heap of delayed ones.
    Classic { ready: VecDeque<K>, dirty: BTreeSet<K>, delayed: Delayed<K> },
    /// 0.14.0 on: every key once, whether ready or delayed.
    Priority { by_key: BTreeMap<K, Rank>, order: BTreeMap<Rank, K> },
}

#[derive(Clone, Debug)]
struct Delayed<K> {
    at: BTreeMap<K, (Time, u64)>,
    order: BTreeMap<(Time, u64), K>,
}

/// Position of a key in the priority queue: keys that were never delayed come first, then delayed ones by their time; among
/// equals higher priority, then older.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Rank {
    ready_at: Option<Time>,
    low: std::cmp::Reverse<i32>,
    added: u64,
}

impl<K: Ord + Clone> WorkQueue<K> {
    /// An empty queue of a release: [`QueueBucket::Yes`] is the classic queue, the others are the priority queue.
    pub fn new(kind: QueueBucket) -> WorkQueue<K> {
        let (items, bucket) = match kind {
            QueueBucket::Yes => (
                Items::Classic {
                    ready: VecDeque::new(),
                    dirty: BTreeSet::new(),
                    delayed: Delayed { at: BTreeMap::new(), order: BTreeMap::new() },
                },
                Some(Throttle::new(10, 100)),
            ),
            QueueBucket::No | QueueBucket::Capped => {
                (Items::Priority { by_key: BTreeMap::new(), order: BTreeMap::new() }, None)
            }
        };
        let cap = if kind == QueueBucket::Capped { SHORT_CAP } else { CAP };
        WorkQueue { items, processing: Vec::new(), failures: BTreeMap::new(), bucket, cap, added: 0 }
    }
    /// Adds a key for now, as a watch event does.
    pub fn add(&mut self, key: K, now: Time) {
        self.put(key, None, 0, now);
    }
    /// Adds a key that an informer's initial list brought: behind all others in the priority queue.
    pub fn add_initial(&mut self, key: K, now: Time) {
        self.put(key, None, LOW, now);
    }
    /// Adds a key for later; zero is now. `RequeueAfter` ends here.
    pub fn add_after(&mut self, key: K, delay: Duration, now: Time) {
        let priority = self.processing.iter().find(|(k, _)| *k == key).map_or(0, |(_, priority)| *priority);
        self.put(key, (!delay.is_zero()).then(|| now.after(delay)), priority, now);
    }
    /// Adds a key after a wait that doubles with each failure; gives the wait. Errors and `Requeue` end here.
    pub fn add_rate_limited(&mut self, key: K, now: Time) -> Duration {
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let own = BASE.saturating_mul(1u32.checked_shl(*failures).unwrap_or(u32::MAX)).min(self.cap);
        *failures = failures.saturating_add(1);
        let delay = self.bucket.as_mut().map_or(own, |b| own.max(b.reserve(now).since(now)));
        self.add_after(key, delay, now);
        delay
    }
    /// Forgets the key's failures; what is queued stays.
    pub fn forget(&mut self, key: &K) {
        self.failures.remove(key);
    }
    /// How often in a row the key was added with a growing wait.
    pub fn failures(&self, key: &K) -> u32 {
        self.failures.get(key).copied().unwrap_or(0)
    }
    /// Takes the next key that is ready and that no worker has.
    pub fn get(&mut self, now: Time) -> Option<K> {
        self.advance(now);
        let (key, priority) = match &mut self.items {
            Items::Classic { ready, dirty, .. } => {
                let key = ready.pop_front()?;
                dirty.remove(&key);
                (key, 0)
            }
            Items::Priority { by_key, order } => {
                let due = |rank: &Rank| rank.ready_at.is_none_or(|t| t <= now);
                let processing = &self.processing;
                let rank = *order.iter().take_while(|(r, _)| due(r)).find(|(_, k)| !has(processing, k))?.0;
                let key = order.remove(&rank)?;
                by_key.remove(&key);
                (key, rank.low.0)
            }
        };
        self.processing.push((key.clone(), priority));
        Some(key)
    }
    /// Gives a key back; if it was added meanwhile it is ready again.
    pub fn done(&mut self, key: &K) {
        let Some(at) = self.processing.iter().position(|(k, _)| k == key) else { return };
        self.processing.swap_remove(at);
        if let Items::Classic { ready, dirty, .. } = &mut self.items
            && dirty.contains(key)
        {
            ready.push_back(key.clone());
        }
    }
    /// When a delayed key becomes ready: later than `now`, or [`Time::NEVER`]. What is ready already is not counted: call
    /// [`get`](WorkQueue::get) while a worker is free.
    pub fn next_wake(&mut self, now: Time) -> Time {
        self.advance(now);
        match &self.items {
            Items::Classic { delayed, .. } => delayed.order.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at),
            Items::Priority { order, .. } => {
                // Nearly always nothing is delayed: those would be the last.
                if order.last_key_value().is_none_or(|(r, _)| r.ready_at.is_none_or(|t| t <= now)) {
                    return Time::NEVER;
                }
                let after = Rank { ready_at: Some(now), low: std::cmp::Reverse(i32::MIN), added: u64::MAX };
                order.range(after..).find_map(|(r, _)| r.ready_at).unwrap_or(Time::NEVER)
            }
        }
    }
    /// How many keys are ready, those that a worker has included.
    pub fn len(&mut self, now: Time) -> usize {
        self.advance(now);
        match &self.items {
            Items::Classic { dirty, .. } => dirty.len(),
            Items::Priority { order, .. } => order.keys().take_while(|r| r.ready_at.is_none_or(|t| t <= now)).count(),
        }
    }
    /// Whether a key waits for its turn now, or will when its worker gives it back: adding it once more changes nothing.
    pub fn is_queued(&self, key: &K) -> bool {
        match &self.items {
            Items::Classic { dirty, .. } => dirty.contains(key),
            Items::Priority { by_key, .. } => by_key.get(key).is_some_and(|rank| rank.ready_at.is_none()),
        }
    }
    /// Whether a key is due and no worker has taken it yet.
    pub fn is_due(&self, key: &K, now: Time) -> bool {
        !has(&self.processing, key)
            && match &self.items {
                Items::Classic { dirty, delayed, .. } => {
                    dirty.contains(key) || delayed.at.get(key).is_some_and(|(at, _)| *at <= now)
                }
                Items::Priority { by_key, .. } => {
                    by_key.get(key).is_some_and(|rank| rank.ready_at.is_none_or(|at| at <= now))
                }
            }
    }
    /// How many keys are due and with no worker.
    pub fn backlog(&self, now: Time) -> usize {
        match &self.items {
            Items::Classic { dirty, .. } => dirty.len(),
            Items::Priority { by_key, .. } => by_key
                .iter()
                .filter(|(key, rank)| rank.ready_at.is_none_or(|at| at <= now) && !has(&self.processing, key))
                .count(),
        }
    }
    /// Nothing is ready, delayed or with a worker.
    pub fn is_idle(&self) -> bool {
        self.processing.is_empty()
            && match &self.items {
                Items::Classic { dirty, delayed, .. } => dirty.is_empty() && delayed.at.is_empty(),
                Items::Priority { order, .. } => order.is_empty(),
            }
    }

    fn put(&mut self, key: K, ready_at: Option<Time>, priority: i32, now: Time) {
        self.advance(now);
        self.added += 1;
        let added = self.added;
        match &mut self.items {
            Items::Classic { ready, dirty, delayed } => match ready_at {
                // An earlier time replaces a later one; a key may be ready and delayed at once, and then runs twice.
                Some(at) => match delayed.at.get(&key) {
                    Some((known, _)) if *known <= at => {}
                    known => {
                        if let Some(known) = known {
                            delayed.order.remove(known);
                        }
                        delayed.order.insert((at, added), key.clone());
                        delayed.at.insert(key, (at, added));
                    }
                },
                None => {
                    if dirty.insert(key.clone()) && !has(&self.processing, &key) {
                        ready.push_back(key);
                    }
                }
            },
            Items::Priority { by_key, order } => {
                let mut rank = Rank { ready_at, low: std::cmp::Reverse(priority), added };
                if let Some(known) = by_key.get(&key) {
                    if known.ready_at <= ready_at && known.low <= rank.low {
                        // It waits already, and no later.
                        return;
                    }
                    order.remove(known);
                    rank = Rank {
                        // `None` is "now" and smaller than any time.
                        ready_at: known.ready_at.min(ready_at),
                        low: known.low.min(rank.low),
                        added: known.added,
                    };
                }
                order.insert(rank, key.clone());
                by_key.insert(key, rank);
            }
        }
    }

    /// Moves delayed keys of the classic queue whose time has come, in the order of their times.
    fn advance(&mut self, now: Time) {
        let Items::Classic { ready, dirty, delayed } = &mut self.items else { return };
        while let Some(entry) = delayed.order.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            delayed.at.remove(&key);
            if dirty.insert(key.clone()) && !has(&self.processing, &key) {
                ready.push_back(key);
            }
        }
    }
}

/// Whether a worker has the key.
fn has<K: PartialEq>(processing: &[(K, i32)], key: &K) -> bool {
    processing.iter().any(|(k, _)| k == key)
}

#[cfg(test)]
#[path = "workqueue_tests.rs"]
mod tests;
