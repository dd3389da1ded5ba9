//! Looks for the schedule of the simulator that explains a recording best. Deterministic; never changes a world's rules.

use std::sync::Arc;

use arc_api::{Duration, Time};
use controller_core::Release;

use super::compare::How;
use super::cut::{cut, end};
use super::event::{Event, What};
use super::fold::{RULES, fold};
use super::history::{Histories, histories, waits};
use super::left::{self, Compared, Item};
use super::matching::{Pair, pairs};
use super::project;
use super::recording::Recording;
use crate::plan::{Delay, Glob, Plan};
use crate::scenario::Loaded;
pub use crate::scenario::recorded::Schedule;
use crate::world::{self, RunOptions};

/// What is tried for every seed: how fast the host is, in percent of the scenario's own latencies, and whether people act when they
/// acted in the recording. Recordings were made on hosts that had other work, and which of two things comes first often hangs on it:
/// links and API server become slower or faster together.
const VARIED: [(u32, bool); 10] = [
    (100, true),
    (100, false),
    (160, true),
    (70, true),
    (250, true),
    (600, true),
    (400, true),
    (130, true),
    (85, true),
    (250, false),
];

impl Schedule {
    /// The `n`-th schedule that is tried, after the one that the scenario names.
    pub fn nth(first: u64, n: u64) -> Schedule {
        let (tempo, follow) = VARIED[(n % VARIED.len() as u64) as usize];
        Schedule { seed: first + n / VARIED.len() as u64, tempo, follow, forks: Vec::new() }
    }
    /// The plan of a scenario under this schedule.
    pub fn plan(&self, loaded: &Loaded, release: Release) -> Option<Plan> {
        let mut plan = loaded.plan(None, release, self.seed)?;
        let scale = |delay: &mut Delay| {
            for d in [&mut delay.body.from, &mut delay.body.to] {
                d.0 = d.0 * self.tempo / 100;
            }
        };
        scale(&mut plan.world.network.cluster);
        for cluster in &mut plan.world.clusters {
            [&mut cluster.api.read, &mut cluster.api.write, &mut cluster.api.watch].into_iter().for_each(scale);
        }
        plan.forks.clone_from(&self.forks);
        Some(plan)
    }
}

/// What is looked for, and how hard.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The first seed.
    pub first: u64,
    /// How many schedules are tried at most.
    pub schedules: u64,
    /// How many branches steering tries at most, where no schedule explains everything.
    pub branches: u32,
}

/// The best schedule for a recording.
#[derive(Clone, Debug)]
pub struct Best {
    /// Release of both sides.
    pub release: Release,
    /// The recording's histories.
    pub recorded: Arc<Histories>,
    /// The simulation's.
    pub simulated: Histories,
    /// The schedule that explained most.
    pub schedule: Schedule,
    /// How many schedules were tried.
    pub tried: u64,
    /// How many branches were tried after that.
    pub branches: u32,
    /// Objects that are equal, and all.
    pub score: Score,
    /// What the rules removed, on both sides together.
    pub folded: [u32; RULES.len()],
    /// What is left at the end, where the recording tells that.
    pub left: Compared,
}

/// How well a schedule explains a recording: fewer unequal objects first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Score {
    /// Objects that differ.
    pub unequal: usize,
    /// How far they differ.
    pub distance: usize,
    /// Objects that differ as the scenario says they may.
    pub accepted: usize,
    /// Objects compared.
    pub objects: usize,
}

impl Score {
    /// Objects that are equal.
    pub fn equal(&self) -> usize {
        self.objects - self.unequal - self.accepted
    }
}

/// A recording stops while its world goes on: what happens so shortly before its end may not be in it, or only in it.
const END: Duration = Duration::from_millis(800);

/// The histories of events until the end of a recording, folded.
pub fn normal(events: &[Event], ends_at: Time) -> (Histories, [u32; RULES.len()]) {
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

/// The histories of one run, for as long as the recording lasts. People's acts are the recording's, or what the scenario makes of
/// them, as the schedule says.
pub fn run(plan: Plan, schedule: &Schedule, recording: &Recording) -> (Histories, [u32; RULES.len()]) {
    let (normal, _) = play(plan, schedule, recording);
    normal
}

/// The same with what it leaves, if the recording tells what that one left.
fn play(mut plan: Plan, schedule: &Schedule, recording: &Recording) -> ((Histories, [u32; RULES.len()]), Vec<Item>) {
    let followed = schedule.follow && super::clock::follow(&mut plan, recording);
    let ends_at = if followed { recording.ends_at } else { Time::NEVER };
    let made = world::run(&plan, &RunOptions { trace: true, stop_at_violation: false, stop_on: None });
    let mut events = project::events(&made.trace);
    let until = end(&events, &recording.events).unwrap_or(Time::NEVER);
    let left = if recording.left.is_some() { left::of_trace(&made.trace, until) } else { Vec::new() };
    cut(&mut events, &recording.events);
    known(&mut events, recording);
    (normal(&events, ends_at), left)
}

/// Leaves out of a simulation's events what the recording has no eyes for.
pub fn known(events: &mut Vec<Event>, recording: &Recording) {
    if !recording.journal {
        events.retain(|e| !matches!(e.what, What::Service(_) | What::Start { .. } | What::Exit { .. }));
    }
}

/// How well one side explains the other.
pub fn score(pairs: &[Pair<'_>], loaded: &Loaded, release: Release) -> Score {
    let mut score = Score { objects: pairs.len(), ..Score::default() };
    let accepted = loaded.scenario.recorded.iter().flat_map(|r| r.accepted(release));
    let mut accepted: Vec<(&Glob, u32)> = accepted.map(|a| (&a.object, a.at_most)).collect();
    for pair in pairs {
        let Some(difference) = pair.difference() else { continue };
        let name = super::report::role_name(pair.id);
        if let Some((_, left)) = accepted.iter_mut().find(|(object, left)| *left > 0 && object.matches(&name)) {
            *left -= 1;
            score.accepted += 1;
            continue;
        }
        score.unequal += 1;
        let far = super::compare::distance(pair.recorded, pair.simulated);
        score.distance += if difference.how == How::Wait { far } else { far.max(2) };
    }
    score
}

/// How many of the best schedules are steered from.
const ROOTS: usize = 3;

/// Tries schedules until one explains everything that is not accepted, or the search is over. The scenario's own comes first. What
/// is left then is steered, from the schedules that explained most.
pub fn search(loaded: &Loaded, release: Release, recording: &Recording, search: Search) -> Option<Best> {
    let (recorded, folded) = normal(&recording.events, recording.ends_at);
    let recorded = (Arc::new(recorded), folded);
    let named = loaded.scenario.recorded.as_ref().and_then(|r| r.schedule(release));
    let mut best: Option<Best> = None;
    let mut roots: Vec<(Score, Schedule)> = Vec::new();
    for n in 0..search.schedules {
        let schedule = match &named {
            Some(named) if n == 0 => named.clone(),
            _ => Schedule::nth(search.first, n - u64::from(named.is_some())),
        };
        let made = attempt(loaded, release, recording, &recorded, schedule)?;
        roots.push((made.score, Schedule { follow: true, forks: Vec::new(), ..made.schedule.clone() }));
        best = better(best, made);
        if let Some(best) = &mut best {
            best.tried = n + 1;
            if best.score.unequal == 0 {
                return Some(best.clone());
            }
        }
    }
    let mut best = best?;
    roots.sort_by_key(|(score, _)| *score);
    let mut steered: Vec<Schedule> = Vec::new();
    let mut branches = 0;
    for (_, root) in roots {
        if best.score.unequal == 0 || branches >= search.branches || steered.len() == ROOTS {
            break;
        }
        if steered.contains(&root) {
            continue;
        }
        steered.push(root.clone());
        let most = (search.branches - branches).min(search.branches.div_ceil(ROOTS as u32));
        if let Some((found, drawn)) = super::guide::steer(loaded, release, recording, &root, most) {
            branches += drawn;
            best = better(Some(best), attempt(loaded, release, recording, &recorded, found)?)?;
        }
    }
    (best.tried, best.branches) = (search.schedules, branches);
    Some(best)
}

fn better(best: Option<Best>, other: Best) -> Option<Best> {
    match best {
        Some(best) if best.score <= other.score => Some(best),
        _ => Some(other),
    }
}

type Normal = (Arc<Histories>, [u32; RULES.len()]);

fn attempt(
    loaded: &Loaded,
    release: Release,
    recording: &Recording,
    normal: &Normal,
    schedule: Schedule,
) -> Option<Best> {
    let (recorded, folded) = normal;
    let ((simulated, removed), rest) = play(schedule.plan(loaded, release)?, &schedule, recording);
    let left = recording.left.as_ref().map(|theirs| left::compare((theirs, recorded), (&rest, &simulated)));
    let left = left.unwrap_or_default();
    let score = score(&pairs(recorded, &simulated), loaded, release);
    let folded = std::array::from_fn(|i| folded[i] + removed[i]);
    Some(Best { release, recorded: recorded.clone(), simulated, schedule, tried: 1, branches: 0, score, folded, left })
}
