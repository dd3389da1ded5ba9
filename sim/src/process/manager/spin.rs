//! How often a manager looks at one object of its own accord: nothing happened, it only wanted to look again. Decides nothing.

use std::collections::BTreeMap;

use arc_api::Time;
use arc_api::meta::Key;

/// More looks at one object in one minute are a loop that goes round for nothing: a back-off that begins at 5 ms and doubles
/// comes to 14, a look every quarter of a second to 240.
const MOST: u32 = 300;
const MINUTE: u64 = 60_000_000;

/// Looks within the present minute, by queue and key.
#[derive(Clone, Debug, Default)]
pub(super) struct Spins {
    minute: u64,
    looks: BTreeMap<(usize, Key), u32>,
}

impl Spins {
    /// A pass ended with the wish for another one. True once it is one too many.
    pub(super) fn again(&mut self, slot: usize, key: &Key, now: Time) -> bool {
        let minute = now.0 / MINUTE;
        if std::mem::replace(&mut self.minute, minute) != minute {
            self.looks.clear();
        }
        let looks = self.looks.entry((slot, key.clone())).or_default();
        *looks += 1;
        *looks == MOST + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_look_too_many_in_a_minute_is_told_once() {
        let (mut spins, key) = (Spins::default(), Key::new("a", "b"));
        let told = (0..700u64).filter(|n| spins.again(3, &key, Time(n * 1000))).count();
        assert_eq!(told, 1);
        let spread = (0..700u64).filter(|n| spins.again(3, &key, Time(MINUTE + n * 250_000))).count();
        assert_eq!(spread, 0);
    }
}
