//! Steers a world along a recording: wherever the recording is quiet the world is forked, and the branch is followed that has done
//! as the recording did so far; where none does, the search goes back and draws an earlier stretch anew. Deterministic; changes
//! nothing but which draws a world makes.

use std::sync::Arc;

use arc_api::{Duration, Time};
use controller_core::Release;

use super::clock::follow;
use super::history::Histories;
use super::matching::pairs;
use super::project;
use super::recording::Recording;
use super::steer::{self, Score, normal, score};
use crate::plan::{Dur, Fork};
use crate::scenario::Loaded;
use crate::scenario::recorded::Schedule;
use crate::world::{RunOptions, World};

/// A silence of the recording that is long enough to fork in: races are over within it.
const QUIET: Duration = Duration::from_millis(300);
/// In noise a branch begins every so often.
const NOISY: Duration = Duration::from_secs(1);
/// A branch begins at most so long after the last thing that happened.
const AFTER: Duration = Duration::from_millis(900);
/// How many branches are kept at a time.
const KEPT: usize = 3;
/// How often the last stretch is drawn anew, and how often every one before it: at least so often, more where more branches are
/// allowed.
const DRAWS: [u32; 2] = [32, 12];
/// The part of all branches that one stretch may take, in the same order: rare outcomes take hundreds of draws.
const SHARE: [u32; 2] = [6, 18];
/// How many stretches the search goes back when it runs dry.
const BACK: usize = 3;
/// How slow the host and how late its caches are on a branch, in percent: it had other work when the recording was made.
const TEMPI: [(u32, u32); 8] =
    [(100, 100), (160, 160), (100, 500), (70, 70), (250, 250), (100, 1500), (400, 400), (130, 300)];

const OPTIONS: RunOptions = RunOptions { trace: true, stop_at_violation: false, stop_on: None };

/// A world on its way.
#[derive(Clone)]
struct Branch {
    world: World,
    forks: Vec<Fork>,
    score: Score,
}

impl Branch {
    /// How far it has parted from the recording.
    fn unlike(&self) -> (usize, usize) {
        (self.score.unequal, self.score.distance)
    }
}

/// Steers from a schedule on. The schedule with the forks that explained most, and how many branches were tried; none if the
/// scenario's phases are not the recording's, so that one clock cannot hold for both.
pub fn steer(
    loaded: &Loaded,
    release: Release,
    recording: &Recording,
    from: &Schedule,
    most: u32,
) -> Option<(Schedule, u32)> {
    let start = Schedule { follow: true, forks: Vec::new(), ..from.clone() };
    let mut plan = start.plan(loaded, release)?;
    if !follow(&mut plan, recording) {
        return None;
    }
    let world = World::new(Arc::new(plan), OPTIONS.trace);
    let mut guide = Guide { loaded, release, recording, drawn: 0, most };
    let mut levels = vec![(Time::ZERO, vec![Branch { world, forks: Vec::new(), score: Score::default() }])];
    for until in stations(recording) {
        let kept = guide.next(&levels, until);
        levels.push((until, kept));
        if levels.len() > BACK + 1 {
            levels.remove(0);
        }
    }
    let best = levels.pop()?.1.into_iter().next()?;
    Some((Schedule { forks: best.forks, ..start }, guide.drawn))
}

/// Where the world is forked: in silences, now and then in what never falls silent, and at the end.
fn stations(recording: &Recording) -> Vec<Time> {
    let mut times: Vec<Time> = Vec::new();
    for w in recording.events.windows(2) {
        let (at, silence) = (w[0].at, w[1].at.since(w[0].at));
        if silence >= QUIET {
            times.push(at.after((silence * 2 / 3).min(AFTER)));
        } else if times.last().is_some_and(|last| at.since(*last) >= NOISY) {
            times.push(at);
        }
    }
    times.push(recording.ends_at);
    times
}

struct Guide<'a> {
    loaded: &'a Loaded,
    release: Release,
    recording: &'a Recording,
    drawn: u32,
    most: u32,
}

impl Guide<'_> {
    /// The branches that did best until a time: first those that go on as they are, then, while each of them has parted from the
    /// recording, others that part from them at the last silence, or earlier.
    fn next(&mut self, levels: &[(Time, Vec<Branch>)], until: Time) -> Vec<Branch> {
        let events = &self.recording.events;
        let (recorded, _) = normal(&events[..events.partition_point(|e| e.at <= until)], until);
        let Some((_, now)) = levels.last() else { return Vec::new() };
        let least = now.iter().map(|b| b.score.unequal).min().unwrap_or_default();
        let mut found: Vec<Branch> = now.iter().map(|b| self.go_on(b.clone(), until, &recorded)).collect();
        for (back, (at, branches)) in levels.iter().rev().take(BACK).enumerate() {
            for n in 0..DRAWS[back.min(1)].max(self.most / SHARE[back.min(1)]) {
                if self.drawn >= self.most || found.iter().any(|b| b.score.unequal <= least) {
                    break;
                }
                let Some(branch) = branches.get(n as usize / TEMPI.len() % branches.len().max(1)) else { break };
                let mut branch = branch.clone();
                self.drawn += 1;
                let seed = u64::from(self.drawn);
                let (tempo, watch) = TEMPI[n as usize % TEMPI.len()];
                let fork = Fork { at: Dur::micros(at.0), seed, tempo, watch };
                branch.world.fork_to(&fork);
                branch.forks.push(fork);
                found.push(self.go_on(branch, until, &recorded));
            }
        }
        found.sort_by_key(|b| (b.unlike(), b.forks.len()));
        found.truncate(KEPT);
        found
    }

    fn go_on(&mut self, mut branch: Branch, until: Time, recorded: &Histories) -> Branch {
        branch.world.run_before(until, &OPTIONS);
        let mut events = project::events(branch.world.trace());
        steer::known(&mut events, self.recording);
        let (simulated, _) = normal(&events, until);
        branch.score = score(&pairs(recorded, &simulated), self.loaded, self.release);
        branch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conform::matching::pairs;
    use crate::conform::steer::Search;

    const SCENARIO: &str = "name: p\nwhy: x\nrelease: 0.9.3\n\
        github: { mode: acquire_required, poll_hold: 12s }\n\
        clusters: [{ api: { read: 1ms, write: 3ms, watch: 500us..4ms }, controllers: [{ name: arc }], scale_sets: [{ name: linux, max_runners: 5 }] }]\n\
        workload: [{ id: j, pattern: burst, scale_set: linux, at: 10s, count: 4, duration: 3s }, { id: k, pattern: burst, scale_set: linux, at: 40s, count: 3, duration: 3s }]\n\
        marks: [{ id: a, at: 9s, mark: \"phase: 1\" }, { id: b, at: 39s, mark: \"phase: 2\" }]\n\
        run_for: 80s\nsettle: 2m\nexpect: { 0.9.3: { holds: all } }\n";

    /// A recording made by the simulator under a schedule.
    fn recorded(loaded: &Loaded, schedule: &Schedule) -> Recording {
        let plan = schedule.plan(loaded, Release::V0_9_3).unwrap_or_else(|| panic!("no plan"));
        let made = crate::world::run(&plan, &OPTIONS);
        let ends_at = plan.ends_at();
        let events = project::events(&made.trace);
        Recording {
            file: "made.jsonl".into(),
            events,
            commands: Vec::new(),
            sources: Vec::new(),
            ends_at,
            journal: true,
            left: None,
        }
    }

    fn schedule(seed: u64, forks: Vec<Fork>) -> Schedule {
        Schedule { seed, tempo: 100, follow: true, forks }
    }

    fn loaded() -> Loaded {
        crate::scenario::load("p.yaml", SCENARIO).unwrap_or_else(|r| panic!("{}", r.render(false)))
    }

    #[test]
    fn a_plan_with_forks_goes_as_the_forked_world_did() {
        let loaded = loaded();
        let fork = Fork { at: Dur::secs(41), seed: 99, tempo: 250, watch: 700 };
        let plain = schedule(3, Vec::new()).plan(&loaded, Release::V0_9_3).unwrap_or_else(|| panic!("no plan"));
        let mut world = World::new(Arc::new(plain.clone()), true);
        assert_eq!(world.run_before(fork.at.from_start(), &OPTIONS), None);
        let ours = world.trace().len() as usize;
        world.fork_to(&fork);
        let ending = world.run(&OPTIONS);
        let forked = world.finish(ending);
        let with = schedule(3, vec![fork]).plan(&loaded, Release::V0_9_3).unwrap_or_else(|| panic!("no plan"));
        let replayed = crate::world::run(&with, &OPTIONS);
        assert_eq!(forked.fingerprint, replayed.fingerprint);
        let unforked = crate::world::run(&plain, &OPTIONS);
        assert_ne!(forked.fingerprint, unforked.fingerprint);
        // What has happened before a fork does not change.
        assert!(ours > 100);
        assert_eq!(forked.trace.events()[..ours], unforked.trace.events()[..ours]);
    }

    #[test]
    fn steering_explains_what_no_schedule_that_was_tried_explains() {
        let loaded = loaded();
        let slow = |seed| Fork { at: Dur::secs(9), seed, tempo: 100, watch: 1500 };
        let usual = |seed| Fork { at: Dur::secs(30), seed, tempo: 100, watch: 100 };
        let (mut before, mut after, mut forks) = (0, 0, 0);
        for seed in 1000..1006 {
            let recording = recorded(&loaded, &schedule(seed, vec![slow(seed), usual(seed)]));
            let search = |branches| {
                let search = Search { first: 0, schedules: 1, branches };
                steer::search(&loaded, Release::V0_9_3, &recording, search).unwrap_or_else(|| panic!("no plan"))
            };
            let (alone, steered) = (search(0), search(200));
            assert!(steered.score <= alone.score, "{:?} {:?}", alone.score, steered.score);
            // The schedule it names explains as much by itself.
            let again = recorded(&loaded, &steered.schedule);
            let (ours, _) = normal(&again.events, recording.ends_at);
            let (theirs, _) = normal(&recording.events, recording.ends_at);
            assert_eq!(score(&pairs(&theirs, &ours), &loaded, Release::V0_9_3), steered.score);
            (before, after) = (before + alone.score.unequal, after + steered.score.unequal);
            forks += steered.schedule.forks.len();
        }
        assert!(before > 10 && after * 2 <= before && forks > 0, "{before} unequal, {after} when steered");
    }
}
