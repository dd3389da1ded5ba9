//! How often each key is reconciled: a key that goes round without rest is a finding, not a slow test. Changes nothing.

use std::collections::BTreeMap;

use arc_api::meta::Key;
use arc_api::{Duration, Time};

/// Passes over one key within a minute that no wait of any release explains: the work queues' own back-off allows some twenty, and
/// a busy set with a hundred runners gets a few a second.
const MOST: u32 = 1_200;
/// Passes over one key within a minute that only followed from the wish of the one before, since nothing had happened: a back-off
/// that begins at 5 ms and doubles comes to 14, a look every quarter of a second to 240.
const MOST_OWN: u32 = 300;

#[derive(Clone, Debug, Default)]
struct Count {
    passes: u32,
    own: u32,
}

/// Counts of the current minute, by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    counts: BTreeMap<(usize, Key), Count>,
    since: Time,
    /// The first key beyond the limit that nobody has been told of.
    pub(super) hot: Option<(usize, Key, u32)>,
}

impl Pace {
    /// A pass begins.
    pub(super) fn begin(&mut self, slot: usize, key: &Key, now: Time) {
        let count = self.count(slot, key, now);
        count.passes += 1;
        if count.passes == MOST {
            self.hot = Some((slot, key.clone(), MOST));
        }
    }
    /// A pass ends with the wish for another one.
    pub(super) fn again(&mut self, slot: usize, key: &Key, now: Time) {
        let count = self.count(slot, key, now);
        count.own += 1;
        if count.own == MOST_OWN {
            self.hot = Some((slot, key.clone(), MOST_OWN));
        }
    }
    fn count(&mut self, slot: usize, key: &Key, now: Time) -> &mut Count {
        if now.since(self.since) >= Duration::from_secs(60) {
            self.counts.clear();
            self.since = now;
        }
        self.counts.entry((slot, key.clone())).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_goes_round_is_told_once_a_minute() {
        let (mut pace, key) = (Pace::default(), Key::new("ns", "a"));
        for n in 0..u64::from(MOST) * 3 {
            pace.begin(0, &key, Time(n));
            pace.begin(1, &Key::new("ns", format!("{n}")), Time(n));
        }
        assert_eq!(pace.hot.take(), Some((0, key.clone(), MOST)));
        for n in 0..u64::from(MOST) - 1 {
            pace.begin(0, &key, Time::from_secs(61).after(Duration::from_micros(n)));
        }
        assert_eq!(pace.hot, None);
    }

    #[test]
    fn looking_again_without_a_reason_is_hot_much_sooner() {
        let (mut pace, key) = (Pace::default(), Key::new("ns", "a"));
        for n in 0..u64::from(MOST_OWN) - 1 {
            pace.again(3, &key, Time(n * 250_000));
        }
        assert_eq!(pace.hot, None);
        for n in 0..u64::from(MOST_OWN) {
            pace.again(3, &key, Time::from_secs(100).after(Duration::from_millis(n)));
        }
        assert_eq!(pace.hot.take(), Some((3, key, MOST_OWN)));
    }
}
