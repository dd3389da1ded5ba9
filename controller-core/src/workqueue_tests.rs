//! Tests of the work queue: what client-go promises, and where its two forms differ.

use proptest::prelude::*;

use super::*;

const BOTH: [QueueBucket; 2] = [QueueBucket::Yes, QueueBucket::No];
const SECOND: Duration = Duration::from_secs(1);

fn drain(q: &mut WorkQueue<u32>, now: Time) -> Vec<u32> {
    std::iter::from_fn(|| q.get(now)).collect()
}

#[test]
fn waits_double_from_5_ms_to_1000_s() {
    for kind in BOTH {
        let mut q = WorkQueue::new(kind);
        let mut waits = Vec::new();
        let mut now = Time::ZERO;
        for _ in 0..20 {
            let wait = q.add_rate_limited(1, now);
            assert_eq!(q.next_wake(now), now.after(wait));
            now = now.after(wait);
            assert_eq!(q.get(now), Some(1));
            q.done(&1);
            waits.push(wait.as_micros() as u64);
        }
        let want: Vec<u64> = (0..20).map(|n| (5_000u64 << n).min(1_000_000_000)).collect();
        assert_eq!(waits, want, "{kind:?}");
        q.forget(&1);
        assert_eq!(q.add_rate_limited(1, now), BASE);
    }
}

#[test]
fn a_key_added_while_processed_runs_once_more() {
    for kind in BOTH {
        let mut q = WorkQueue::new(kind);
        q.add(1, Time::ZERO);
        assert_eq!(drain(&mut q, Time::ZERO), [1]);
        q.add(1, Time::ZERO);
        q.add(1, Time::ZERO);
        assert_eq!(q.get(Time::ZERO), None, "a second worker must not get it");
        q.done(&1);
        assert_eq!(drain(&mut q, Time::ZERO), [1]);
        q.done(&1);
        assert!(q.is_idle());
    }
}

#[test]
fn the_classic_queue_delays_everybody_after_a_hundred_failures_within_ten_seconds() {
    let mut q = WorkQueue::new(QueueBucket::Yes);
    let waits: Vec<Duration> = (0..103).map(|k| q.add_rate_limited(k, Time::ZERO)).collect();
    assert!(waits[..100].iter().all(|w| *w == BASE));
    assert_eq!(waits[100..], [100, 200, 300].map(Duration::from_millis));
    let mut q = WorkQueue::new(QueueBucket::No);
    assert!((0..200).all(|k| q.add_rate_limited(k, Time::ZERO) == BASE));
}

#[test]
fn an_immediate_add_replaces_a_delayed_one_only_in_the_priority_queue() {
    for (kind, runs) in [(QueueBucket::Yes, 2), (QueueBucket::No, 1)] {
        let mut q = WorkQueue::new(kind);
        q.add_after(1, SECOND, Time::ZERO);
        q.add(1, Time::ZERO);
        let mut count = 0;
        for now in [Time::ZERO, Time::from_secs(1), Time::from_secs(2)] {
            while let Some(key) = q.get(now) {
                count += 1;
                q.done(&key);
            }
        }
        assert_eq!(count, runs, "{kind:?}");
    }
}

#[test]
fn an_earlier_delay_wins_over_a_later_one() {
    for kind in BOTH {
        let mut q = WorkQueue::new(kind);
        q.add_after(1, 5 * SECOND, Time::ZERO);
        q.add_after(1, SECOND, Time::ZERO);
        q.add_after(1, 9 * SECOND, Time::ZERO);
        assert_eq!(q.next_wake(Time::ZERO), Time::from_secs(1));
        assert_eq!(q.get(Time::from_secs(1)), Some(1));
        q.done(&1);
        assert!(q.is_idle(), "{kind:?}");
    }
}

#[test]
fn keys_of_the_initial_list_yield_to_others_only_in_the_priority_queue() {
    for (kind, want) in [(QueueBucket::Yes, [1, 2, 3]), (QueueBucket::No, [3, 1, 2])] {
        let mut q = WorkQueue::new(kind);
        q.add_initial(1, Time::ZERO);
        q.add_initial(2, Time::ZERO);
        q.add(3, Time::ZERO);
        assert_eq!(drain(&mut q, Time::ZERO), want, "{kind:?}");
    }
}

#[test]
fn a_requeue_keeps_the_low_priority() {
    let mut q = WorkQueue::new(QueueBucket::No);
    q.add_initial(1, Time::ZERO);
    assert_eq!(q.get(Time::ZERO), Some(1));
    q.add_rate_limited(1, Time::ZERO);
    q.done(&1);
    let at = Time::from_millis(5);
    q.add_after(2, BASE, Time::ZERO);
    assert_eq!(drain(&mut q, at), [2, 1]);
}

#[test]
fn a_wake_up_is_never_asked_for_in_the_past() {
    for kind in BOTH {
        let mut q = WorkQueue::new(kind);
        q.add(1, Time::ZERO);
        assert_eq!(q.get(Time::ZERO), Some(1));
        q.add_after(1, SECOND, Time::ZERO);
        let late = Time::from_secs(7);
        assert_eq!(q.next_wake(late), Time::NEVER, "the worker still has it: {kind:?}");
        q.done(&1);
        assert_eq!(q.get(late), Some(1));
    }
}

#[derive(Clone, Debug)]
enum Act {
    Add(u8),
    Initial(u8),
    After(u8, u64),
    Fail(u8),
    Get,
    Done(u8),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let key = 0u8..5;
    prop_oneof![
        key.clone().prop_map(Act::Add),
        key.clone().prop_map(Act::Initial),
        (key.clone(), 1u64..3_000_000).prop_map(|(k, d)| Act::After(k, d)),
        key.clone().prop_map(Act::Fail),
        Just(Act::Get),
        key.prop_map(Act::Done),
        (0u64..1_000_000).prop_map(Act::Pass),
    ]
}

proptest! {
    #[test]
    fn no_two_workers_have_one_key_and_no_add_is_lost(acts in prop::collection::vec(act(), 1..200), bucket: bool) {
        let mut q = WorkQueue::new(if bucket { QueueBucket::Yes } else { QueueBucket::No });
        let mut now = Time::ZERO;
        let mut held = BTreeSet::new();
        // Keys that were added and not handed out since.
        let mut owed = BTreeSet::new();
        for act in acts {
            match act {
                Act::Add(k) => { q.add(k, now); owed.insert(k); }
                Act::Initial(k) => { q.add_initial(k, now); owed.insert(k); }
                Act::After(k, d) => { q.add_after(k, Duration::from_micros(d), now); owed.insert(k); }
                Act::Fail(k) => { q.add_rate_limited(k, now); owed.insert(k); }
                Act::Get => if let Some(k) = q.get(now) {
                    prop_assert!(held.insert(k), "{k} is with two workers");
                    owed.remove(&k);
                },
                Act::Done(k) => if held.remove(&k) { q.done(&k) },
                Act::Pass(d) => now = now.after(Duration::from_micros(d)),
            }
            prop_assert!(q.next_wake(now) > now);
        }
        for k in std::mem::take(&mut held) {
            q.done(&k);
        }
        loop {
            while let Some(k) = q.get(now) {
                owed.remove(&k);
                q.done(&k);
            }
            match q.next_wake(now) {
                Time::NEVER => break,
                at => now = at,
            }
        }
        // A key that was handed out after its delayed add had been merged with an earlier one is not owed any more.
        prop_assert!(owed.is_empty(), "lost: {owed:?}");
        prop_assert!(q.is_idle());
    }

    #[test]
    fn immediate_adds_of_equals_come_out_in_order(keys in prop::collection::vec(0u8..20, 1..50), bucket: bool) {
        let mut q = WorkQueue::new(if bucket { QueueBucket::Yes } else { QueueBucket::No });
        let mut want = Vec::new();
        for k in keys {
            q.add(k, Time::ZERO);
            if !want.contains(&k) { want.push(k) }
        }
        let got: Vec<u8> = std::iter::from_fn(|| q.get(Time::ZERO)).collect();
        prop_assert_eq!(got, want);
    }
}

#[test]
fn releases_up_to_0_13_have_the_classic_queue_and_later_ones_the_priority_queue() {
    use crate::{Behaviour, Release};
    for release in Release::ALL {
        let mut q = WorkQueue::new(Behaviour::of(*release).queue_bucket);
        q.add_initial(1, Time::ZERO);
        q.add(2, Time::ZERO);
        let want = if *release < Release::V0_14_0 { [1, 2] } else { [2, 1] };
        assert_eq!(drain(&mut q, Time::ZERO), want, "{release}");
    }
}
