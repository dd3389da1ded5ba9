//! A recording ends when its script ends, in the middle of a life; the simulated side is cut at the same place. Never cuts a
//! recording.

use std::time::Duration;

use arc_api::Time;

use super::event::{Event, What};

/// What one side may be late by: a script's last words take it a moment.
const SLACK: Duration = Duration::from_secs(1);

/// Takes away what the simulation did later after its last phase began than the recording lasted after its own. A simulation that
/// never came to the recording's last phase is not cut.
pub fn cut(simulated: &mut Vec<Event>, recorded: &[Event]) {
    if let Some(until) = end(simulated, recorded) {
        simulated.retain(|e| e.at <= until);
    }
}

/// Where that is; `None` if it never came there.
pub fn end(simulated: &[Event], recorded: &[Event]) -> Option<Time> {
    let phases = |events: &[Event]| -> Vec<_> {
        let phase = |e: &Event| if let What::Phase(_) = e.what { Some(e.at) } else { None };
        events.iter().filter_map(phase).collect()
    };
    let (ours, theirs) = (phases(simulated), phases(recorded));
    let (began, last, end) = (ours.last()?, theirs.last()?, recorded.last()?);
    (ours.len() == theirs.len()).then(|| began.after(end.at.since(*last)).after(SLACK))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::event::Who;

    fn phase(at: u64) -> Event {
        Event { at: Time::from_secs(at), line: 0, who: Who::Other, what: What::Phase("1".into()) }
    }
    fn acted(at: u64) -> Event {
        Event { what: What::Acted, ..phase(at) }
    }

    #[test]
    fn the_simulation_ends_where_the_script_did() {
        let recorded = [phase(0), phase(10), acted(15)];
        let mut simulated = vec![phase(0), acted(5), phase(12), acted(17), acted(18), acted(19)];
        cut(&mut simulated, &recorded);
        assert_eq!(simulated.last(), Some(&acted(18)));
    }

    #[test]
    fn a_simulation_that_never_came_there_is_not_cut() {
        let mut simulated = vec![phase(0), acted(500)];
        cut(&mut simulated, &[phase(0), phase(10), acted(15)]);
        assert_eq!(simulated.len(), 2);
    }
}
