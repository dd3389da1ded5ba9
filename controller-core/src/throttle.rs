//! The client-side token bucket of a Kubernetes client: when the next request may leave the process.
//!
//! **Never**: refuses a request, knows what it carries, reads a clock. Integer arithmetic only, so two runs agree to the
//! microsecond.
//!
//! Source: arc-controllers.md §2.1 (20 QPS, burst 30), the recordings (a_basic/0.8.3: 87 calls of a manager within half a second,
//! none of a kind above its own bucket; c_jobs/0.8.3 likewise: one bucket per kind), kubernetes-api.md §9.2 (a listener's
//! typed client: 5 QPS, burst 10; the client it really patches with: 5 QPS, burst 300).

use arc_api::{Kind, Time};

/// A token bucket. `Copy`: a fork of a world takes three words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Throttle {
    interval: u64,
    burst: u64,
    /// When the bucket would be full again, in nanoseconds: one number holds the whole state.
    full_at: u64,
}

const NANOS: u64 = 1_000_000_000;

impl Throttle {
    /// A full bucket that refills at `qps` tokens a second and holds `burst`.
    ///
    /// # Panics
    /// If either is zero: nothing would ever leave.
    pub const fn new(qps: u32, burst: u32) -> Throttle {
        assert!(qps > 0 && burst > 0, "a throttle that never lets anything pass");
        Throttle { interval: NANOS / qps as u64, burst: burst as u64, full_at: 0 }
    }
    /// A bucket of a manager process: 20 QPS, burst 30.
    pub const fn manager() -> Throttle {
        Throttle::new(20, 30)
    }
    /// The bucket of the client a listener patches with: 5 QPS, burst 300.
    pub const fn listener() -> Throttle {
        Throttle::new(5, 300)
    }
    /// Takes a token, in debt if there is none, and tells when the request may leave: `now` or later.
    ///
    /// Requests leave in the order of their reservations.
    #[must_use = "the request may not leave before this"]
    pub fn reserve(&mut self, now: Time) -> Time {
        let at = now.0.saturating_mul(1_000);
        self.full_at = self.full_at.max(at).saturating_add(self.interval);
        let leave = self.full_at.saturating_sub(self.burst * self.interval);
        // Rounded up: a microsecond early would be one token too many.
        Time(leave.div_ceil(1_000).max(now.0))
    }
}

/// The buckets of a manager process: controller-runtime makes a REST client, and client-go a rate limiter, for every kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Throttles([Throttle; Kind::ALL.len()]);

impl Throttles {
    /// Full buckets.
    ///
    /// # Panics
    /// As [`Throttle::new`].
    pub const fn new(qps: u32, burst: u32) -> Throttles {
        Throttles([Throttle::new(qps, burst); Kind::ALL.len()])
    }
    /// Takes a token of the kind's bucket; requests about no object (access reviews) have none to wait for.
    #[must_use = "the request may not leave before this"]
    pub fn reserve(&mut self, kind: Option<Kind>, now: Time) -> Time {
        kind.map_or(now, |kind| self.0[kind as usize].reserve(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_at_the_rate() {
        let mut bucket = Throttle::manager();
        let leave: Vec<Time> = (0..33).map(|_| bucket.reserve(Time::ZERO)).collect();
        assert!(leave[..30].iter().all(|t| *t == Time::ZERO));
        assert_eq!(leave[30..], [Time::from_millis(50), Time::from_millis(100), Time::from_millis(150)]);
    }

    #[test]
    fn kinds_do_not_wait_for_each_other() {
        let mut all = Throttles::new(20, 30);
        for _ in 0..30 {
            assert_eq!(all.reserve(Some(Kind::Secret), Time::ZERO), Time::ZERO);
            assert_eq!(all.reserve(Some(Kind::Pod), Time::ZERO), Time::ZERO);
        }
        assert_eq!(all.reserve(Some(Kind::Secret), Time::ZERO), Time::from_millis(50));
        assert_eq!(all.reserve(Some(Kind::Role), Time::ZERO), Time::ZERO);
    }

    #[test]
    fn tokens_come_back_while_nothing_is_sent() {
        let mut bucket = Throttle::manager();
        for _ in 0..30 {
            let _ = bucket.reserve(Time::ZERO);
        }
        let later = Time::from_millis(100);
        assert_eq!(bucket.reserve(later), later);
        assert_eq!(bucket.reserve(later), later);
        assert_eq!(bucket.reserve(later), Time::from_millis(150));
        let much_later = Time::from_secs(60);
        assert!((0..30).all(|_| bucket.reserve(much_later) == much_later));
        assert_ne!(bucket.reserve(much_later), much_later);
    }

    proptest! {
        #[test]
        fn no_window_lets_more_pass_than_burst_plus_rate(
            qps in 1u32..50, burst in 1u32..50, gaps in prop::collection::vec(0u64..200_000, 1..200),
        ) {
            let mut bucket = Throttle::new(qps, burst);
            let mut now = 0;
            let mut leave = Vec::new();
            for gap in gaps {
                now += gap;
                let at = bucket.reserve(Time(now));
                prop_assert!(at.0 >= now);
                leave.push(at.0);
            }
            prop_assert!(leave.windows(2).all(|w| w[0] <= w[1]), "out of order");
            for (i, from) in leave.iter().enumerate() {
                for (j, to) in leave.iter().enumerate().skip(i) {
                    let allowed = u64::from(burst) + (to - from) * u64::from(qps) / 1_000_000 + 1;
                    prop_assert!((j - i + 1) as u64 <= allowed, "{} requests within {} us", j - i + 1, to - from);
                }
            }
        }
    }
}
