//! Looks for the schedule of the simulator that explains a recording best. Deterministic; never changes a world's rules.

use arc_api::{Duration, Time};
use controller_core::Release;

use super::compare::How;
use super::cut::cut;
use super::fold::{RULES, fold};
use super::history::{Histories, histories, waits};
use super::matching::{Pair, pairs};
use super::project;
use super::recording::Recording;
use crate::plan::Plan;
use crate::scenario::Loaded;
use crate::world::{self, RunOptions};

/// What was looked for, and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The first seed.
    pub first: u64,
    /// How many seeds are tried at most.
    pub seeds: u64,
}

/// The best schedule for a recording.
#[derive(Clone, Debug)]
pub struct Best {
    /// Release of both sides.
    pub release: Release,
    /// The recording's histories.
    pub recorded: Histories,
    /// The simulation's.
    pub simulated: Histories,
    /// The seed that explained most.
    pub seed: u64,
    /// How many schedules were tried.
    pub tried: u64,
    /// Objects that are equal, and all.
    pub score: Score,
    /// What the rules removed, on both sides together.
    pub folded: [u32; RULES.len()],
}

/// How well a schedule explains a recording: fewer unequal objects first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Score {
    /// Objects that differ.
    pub unequal: usize,
    /// How far they differ.
    pub distance: usize,
    /// Objects compared.
    pub objects: usize,
}

/// A recording stops while its world goes on: what happens so shortly before its end may not be in it, or only in it.
const END: Duration = Duration::from_millis(800);

/// The histories of events until the end of a recording, folded.
pub fn normal(events: &[super::event::Event], ends_at: Time) -> (Histories, [u32; RULES.len()]) {
    let mut all = histories(events);
    let mut removed = [0; RULES.len()];
    let acted = std::mem::take(&mut all.acted);
    for steps in all.of.values_mut() {
        for (sum, n) in removed.iter_mut().zip(fold(steps)) {
            *sum += n;
        }
        waits(steps, &acted);
        steps.iter_mut().for_each(|s| s.last = s.at.after(END) > ends_at);
    }
    all.acted = acted;
    (all, removed)
}

/// The histories of one run, for as long as the recording lasts.
pub fn simulate(plan: &Plan, recording: &Recording, ends_at: Time) -> (Histories, [u32; RULES.len()]) {
    let made = world::run(plan, &RunOptions { trace: true, stop_at_violation: false });
    let mut events = project::events(&made.trace);
    cut(&mut events, &recording.events);
    normal(&events, ends_at)
}

/// How well one side explains the other.
pub fn score(pairs: &[Pair<'_>]) -> Score {
    let mut score = Score { objects: pairs.len(), ..Score::default() };
    for pair in pairs {
        if let Some(difference) = pair.difference() {
            score.unequal += 1;
            let far = super::compare::distance(pair.recorded, pair.simulated);
            score.distance += if difference.how == How::Wait { far } else { far.max(2) };
        }
    }
    score
}

/// Tries schedules until one explains everything, or the search is over.
pub fn search(loaded: &Loaded, release: Release, recording: &Recording, search: Search) -> Option<Best> {
    let (recorded, folded) = normal(&recording.events, recording.ends_at);
    let mut best: Option<Best> = None;
    for n in 0..2 * search.seeds {
        let seed = search.first + n / 2;
        let mut plan = loaded.plan(None, release, seed)?;
        // People's acts are the recording's, or what the scenario makes of them: the better explanation counts.
        let followed = n % 2 == 0 && super::clock::follow(&mut plan, recording);
        let ends_at = if followed { recording.ends_at } else { Time::NEVER };
        let (simulated, removed) = simulate(&plan, recording, ends_at);
        let score = score(&pairs(&recorded, &simulated));
        let tried = n + 1;
        if best.as_ref().is_none_or(|b| score < b.score) {
            let folded = std::array::from_fn(|i| folded[i] + removed[i]);
            let recorded = recorded.clone();
            best = Some(Best { release, recorded, simulated, seed, tried, score, folded });
        }
        if let Some(best) = &mut best {
            best.tried = tried;
            if best.score.unequal == 0 {
                break;
            }
        }
    }
    best
}
