//! One deadline per key, the earliest first. Never runs anything.

use std::collections::{BTreeMap, BTreeSet};

use arc_api::Time;

/// Deadlines by key. Equal deadlines come in key order.
#[derive(Clone, PartialEq, Debug)]
pub struct Timers<K> {
    queue: BTreeSet<(Time, K)>,
    by_key: BTreeMap<K, Time>,
}

impl<K> Default for Timers<K> {
    fn default() -> Timers<K> {
        Timers { queue: BTreeSet::new(), by_key: BTreeMap::new() }
    }
}

impl<K: Ord + Clone> Timers<K> {
    /// Sets the deadline of `key`; [`Time::NEVER`] removes it.
    pub fn set(&mut self, key: K, at: Time) {
        match self.by_key.get(&key) {
            Some(old) if *old == at => return,
            Some(old) => {
                self.queue.remove(&(*old, key.clone()));
            }
            None if at == Time::NEVER => return,
            None => {}
        }
        if at == Time::NEVER {
            self.by_key.remove(&key);
        } else {
            self.queue.insert((at, key.clone()));
            self.by_key.insert(key, at);
        }
    }
    /// Sets the deadline of `key` unless it has an earlier one.
    pub fn hasten(&mut self, key: K, at: Time) {
        if self.by_key.get(&key).is_none_or(|old| at < *old) {
            self.set(key, at);
        }
    }
    /// The deadline of `key`.
    pub fn get(&self, key: &K) -> Option<Time> {
        self.by_key.get(key).copied()
    }
    /// The earliest deadline.
    pub fn next(&self) -> Time {
        self.queue.first().map_or(Time::NEVER, |(at, _)| *at)
    }
    /// Removes and gives the first key that is due.
    pub fn pop(&mut self, now: Time) -> Option<K> {
        if self.next() > now {
            return None;
        }
        let (_, key) = self.queue.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
    /// Number of deadlines.
    pub fn len(&self) -> usize {
        self.queue.len()
    }
    /// None at all.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn earliest_first_and_one_per_key() {
        let mut timers = Timers::default();
        timers.set("b", Time(5));
        timers.set("a", Time(5));
        timers.set("c", Time(1));
        timers.set("c", Time(9));
        timers.hasten("b", Time(7));
        assert_eq!(timers.next(), Time(5));
        assert_eq!((timers.pop(Time(5)), timers.pop(Time(5)), timers.pop(Time(5))), (Some("a"), Some("b"), None));
        timers.set("c", Time::NEVER);
        assert!(timers.is_empty());
    }
}
