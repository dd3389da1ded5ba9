//! The event queue: what happens next. A total order `(at, tie, seq)`; never a tick, never a clock.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use arc_api::Time;

/// Events by time. Events of one instant are ordered by a drawn `tie`, then by the order they were scheduled in, so that
/// interleavings vary with the seed and are the same for the same seed.
#[derive(Clone, Debug)]
pub struct EventQueue<E> {
    heap: BinaryHeap<Entry<E>>,
    seq: u64,
    ties: u64,
}

#[derive(Clone, Debug)]
struct Entry<E> {
    at: Time,
    order: u64,
    event: E,
}

/// The place of an event among those of its instant.
#[derive(Clone, Copy, Default, Debug)]
struct Place(u64);

/// A timer of which only the next time matters and that is set after everything its owner does. Times that are not wanted any
/// more stay queued and serve later settings, so that one time is never queued twice.
#[derive(Clone, Debug)]
pub struct Alarm<E> {
    /// When it shall ring, with what, and that event's place.
    wanted: Option<(Time, E, Place)>,
    /// When events of it are queued, the next one last.
    queued: Vec<Time>,
}

impl<E> Default for Alarm<E> {
    fn default() -> Alarm<E> {
        Alarm { wanted: None, queued: Vec::new() }
    }
}

impl<E: Copy> Alarm<E> {
    /// When it shall ring.
    pub fn at(&self) -> Time {
        self.wanted.map_or(Time::NEVER, |(at, ..)| at)
    }
    /// Lets it ring at `at`, unless it rings before that anyway.
    pub fn set(&mut self, at: Time, event: E, queue: &mut EventQueue<E>) {
        if at < self.at() {
            self.wanted = Some((at, event, queue.draw()));
            self.queue(queue);
        }
    }
    fn queue(&mut self, queue: &mut EventQueue<E>) {
        if let Some((at, event, place)) = self.wanted
            && self.queued.last().is_none_or(|next| *next > at)
        {
            self.queued.push(at);
            queue.push_at(at, place, event);
        }
    }
    /// An event of it has come. False if that is a time that is not wanted any more.
    pub fn rings(&mut self, now: Time, queue: &mut EventQueue<E>) -> bool {
        while self.queued.last().is_some_and(|at| *at <= now) {
            self.queued.pop();
        }
        if self.at() > now {
            self.queue(queue);
            return false;
        }
        self.wanted = None;
        true
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl<E> Eq for Entry<E> {}
impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<E> EventQueue<E> {
    /// An empty queue whose ties are drawn from `seed`.
    pub fn new(seed: u64) -> EventQueue<E> {
        EventQueue { heap: BinaryHeap::with_capacity(256), seq: 0, ties: seed | 1 }
    }

    /// Draws the ties of what is scheduled from now on from another seed.
    pub fn draw_from(&mut self, seed: u64) {
        self.ties = seed | 1;
    }

    /// Schedules `event`. `at` may be now, never the past: the caller's bug would make time run backwards.
    pub fn push(&mut self, at: Time, event: E) {
        if at != Time::NEVER {
            let place = self.draw();
            self.push_at(at, place, event);
        }
    }

    /// Draws the place of an event among those of its instant, for an event that is perhaps never queued.
    fn draw(&mut self) -> Place {
        self.seq += 1;
        // One xorshift draw an event; 20 bits of it order the events of one instant, 44 bits keep the scheduling order.
        self.ties ^= self.ties << 13;
        self.ties ^= self.ties >> 7;
        self.ties ^= self.ties << 17;
        Place((self.ties >> 44).max(1) << 44 | self.seq & 0xfff_ffff_ffff)
    }

    fn push_at(&mut self, at: Time, place: Place, event: E) {
        self.heap.push(Entry { at, order: place.0, event });
    }

    /// Schedules `event` before every drawn tie of its instant: for inputs of the plan, whose order people wrote down, and for
    /// observers, which must not shift what they look at.
    pub fn push_first(&mut self, at: Time, event: E) {
        if at == Time::NEVER {
            return;
        }
        self.seq += 1;
        self.heap.push(Entry { at, order: self.seq & 0xfff_ffff_ffff, event });
    }

    /// The next event and its time.
    pub fn pop(&mut self) -> Option<(Time, E)> {
        self.heap.pop().map(|e| (e.at, e.event))
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Time {
        self.heap.peek().map_or(Time::NEVER, |e| e.at)
    }

    /// Number of scheduled events.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Nothing is scheduled.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Vec<u32> {
        let mut q = EventQueue::new(seed);
        for n in 0..6 {
            q.push(Time(5), n);
        }
        q.push(Time(1), 99);
        std::iter::from_fn(|| q.pop()).map(|(_, n)| n).collect()
    }

    #[test]
    fn time_comes_first_and_ties_follow_the_seed() {
        assert_eq!(order(1)[0], 99);
        assert_eq!(order(7), order(7));
        assert!((1..50).any(|seed| order(seed) != order(1)), "ties never vary");
    }

    #[test]
    fn an_alarm_is_queued_once_a_time_and_rings_at_the_last_time_that_was_set() {
        let (mut q, mut alarm) = (EventQueue::new(1), Alarm::default());
        for at in [60, 50] {
            alarm.set(Time(at), "ring", &mut q);
        }
        assert_eq!(q.pop(), Some((Time(50), "ring")));
        assert!(alarm.rings(Time(50), &mut q));
        alarm.set(Time(90), "ring", &mut q);
        assert_eq!((q.len(), alarm.at()), (1, Time(90)), "60 is queued still and comes first");
        assert_eq!(q.pop(), Some((Time(60), "ring")));
        assert!(!alarm.rings(Time(60), &mut q), "nobody wants it");
        assert_eq!(q.pop(), Some((Time(90), "ring")));
        assert!(alarm.rings(Time(90), &mut q));
        assert_eq!((q.pop(), alarm.at()), (None, Time::NEVER));
    }

    #[test]
    fn plan_inputs_precede_everything_else_of_their_instant() {
        for seed in 1..50 {
            let mut q = EventQueue::new(seed);
            q.push(Time(5), "drawn");
            q.push_first(Time(5), "planned");
            assert_eq!(q.pop(), Some((Time(5), "planned")));
        }
    }
}
