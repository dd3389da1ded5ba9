//! The roads of calls: when a request left, arrived, was answered, and when its reply came. Never part of the fingerprint.
//!
//! Kept only together with the events; a trace that keeps none hands out trip 0 and ignores everything that is said of it.

use arc_api::Time;

use super::{EventId, Trace};

/// Ordinal of a trip; 0 is a trip that is not kept.
pub type TripId = u32;

/// One call on its way there and back. A point that was never reached is [`Time::NEVER`], an event that never came 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trip {
    /// When the request left.
    pub left: Time,
    /// When it reached the other side.
    pub arrived: Time,
    /// The event of its answer there; for a request that never arrived that of its loss.
    pub event: EventId,
    /// The event of the loss of request or reply.
    pub lost: EventId,
    /// When the caller heard of it: the reply, or that there is none.
    pub back: Time,
}

impl Trace {
    /// A request leaves.
    pub fn departs(&mut self, at: Time) -> TripId {
        if !self.keep {
            return 0;
        }
        self.trips.push(Trip { left: at, arrived: Time::NEVER, event: 0, lost: 0, back: Time::NEVER });
        self.trips.len() as TripId
    }
    /// A second copy of a request goes the same way.
    pub fn departs_twice(&mut self, trip: TripId) -> TripId {
        match self.trip(trip) {
            Some(trip) => self.departs(trip.left),
            None => 0,
        }
    }
    /// A request reaches the other side.
    pub fn arrives(&mut self, trip: TripId, at: Time) {
        if let Some(trip) = self.trip_mut(trip)
            && trip.arrived == Time::NEVER
        {
            trip.arrived = at;
        }
    }
    /// A request is answered: the event of the answer.
    pub fn answered(&mut self, trip: TripId, event: EventId) {
        if let Some(trip) = self.trip_mut(trip) {
            trip.event = event;
        }
    }
    /// A request or its reply is lost: the event of the loss.
    pub fn is_lost(&mut self, trip: TripId, event: EventId) {
        if let Some(trip) = self.trip_mut(trip) {
            trip.lost = event;
            if trip.event == 0 {
                trip.event = event;
            }
        }
    }
    /// The caller hears of its call.
    pub fn comes_back(&mut self, trip: TripId, at: Time) {
        if let Some(trip) = self.trip_mut(trip) {
            trip.back = at;
        }
    }
    /// All calls, in the order in which they left; none if events are not kept.
    pub fn trips(&self) -> &[Trip] {
        &self.trips
    }
    fn trip(&self, trip: TripId) -> Option<Trip> {
        self.trips.get((trip as usize).checked_sub(1)?).copied()
    }
    fn trip_mut(&mut self, trip: TripId) -> Option<&mut Trip> {
        self.trips.get_mut((trip as usize).checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trip_is_told_as_it_went_and_only_when_events_are_kept() {
        let mut kept = Trace::new(true);
        let lost = kept.departs(Time(5));
        let twin = kept.departs_twice(lost);
        kept.is_lost(lost, 7);
        kept.comes_back(lost, Time(9));
        kept.arrives(twin, Time(6));
        kept.arrives(twin, Time(8));
        kept.answered(twin, 4);
        let [a, b] = kept.trips() else { panic!("two trips, not {}", kept.trips().len()) };
        assert_eq!((a.arrived, a.event, a.lost, a.back), (Time::NEVER, 7, 7, Time(9)));
        assert_eq!((b.left, b.arrived, b.event, b.lost, b.back), (Time(5), Time(6), 4, 0, Time::NEVER));

        let mut dropped = Trace::new(false);
        let trip = dropped.departs(Time(5));
        dropped.arrives(trip, Time(6));
        assert_eq!((trip, dropped.trips().len(), dropped.departs_twice(trip)), (0, 0, 0));
    }
}
