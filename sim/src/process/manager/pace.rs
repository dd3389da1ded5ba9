//! How often each key is reconciled: a key that goes round without rest is a finding, not a slow test. Changes nothing.

use std::collections::BTreeMap;

use arc_api::meta::Key;
use arc_api::{Duration, Time};

/// Passes over one key within a minute that no wait of any release explains: the work queues' own back-off allows some twenty, and
/// a busy set with a hundred runners gets a few a second.
const MOST: u32 = 1_200;

/// Counts of the current minute, by key.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    counts: BTreeMap<(usize, Key), u32>,
    since: Time,
    /// The first key beyond the limit that nobody has been told of.
    pub(super) hot: Option<(usize, Key, u32)>,
}

impl Pace {
    /// A pass begins.
    pub(super) fn begin(&mut self, slot: usize, key: &Key, now: Time) {
        if now.since(self.since) >= Duration::from_secs(60) {
            self.counts.clear();
            self.since = now;
        }
        let count = match self.counts.get_mut(&(slot, key.clone())) {
            Some(count) => count,
            None => self.counts.entry((slot, key.clone())).or_default(),
        };
        *count += 1;
        if *count == MOST {
            self.hot = Some((slot, key.clone(), MOST));
        }
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
}
