//! Which switches of a release's behaviour touch a difference: those whose other values bring the simulation nearer to the
//! recording under the same schedule. A hint for whoever reads a difference; never changes a result.

use controller_core::Behaviour;

use super::matching::pairs;
use super::recording::Recording;
use super::steer::{Best, Score, run, score};
use crate::scenario::Loaded;

/// A switch that touches a difference.
#[derive(Clone, PartialEq, Debug)]
pub struct Touch {
    /// Switch.
    pub switch: &'static str,
    /// The release's value.
    pub has: &'static str,
    /// The value that explains more.
    pub with: &'static str,
    /// How well the recording is explained with it.
    pub score: Score,
}

/// Tries every other value of every switch, one at a time; what explains most comes first.
pub fn switches(loaded: &Loaded, recording: &Recording, best: &Best) -> Vec<Touch> {
    let behaviour = Behaviour::of(best.release);
    let mut found = Vec::new();
    for switch in Behaviour::SWITCHES {
        let Some(has) = behaviour.get(switch.name) else { continue };
        for (with, _) in switch.values.iter().filter(|(value, _)| *value != has) {
            let Some(mut plan) = best.schedule.plan(loaded, best.release) else { continue };
            plan.switch(switch.name, with);
            let (simulated, _) = run(plan, &best.schedule, recording);
            let score = score(&pairs(&best.recorded, &simulated), loaded, best.release);
            if (score.unequal, score.distance) < (best.score.unequal, best.score.distance) {
                found.push(Touch { switch: switch.name, has, with, score });
            }
        }
    }
    found.sort_by_key(|t| (t.score.unequal, t.score.distance));
    found
}
