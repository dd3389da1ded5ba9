//! `arc-sim mutants`: deliberate faults in the corrected controller, each hunted in drawn worlds. Never decides what a fault is.

use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use controller_core::Release;
use serde_json::json;

use super::Io;
use super::work::{Clock, quietly, unheard, workers};
use crate::chaos::draw;
use crate::exit::Exit;
use crate::mutants::{self, Hunted, Mutant};
use crate::parallel::each;
use crate::plan::Plan;

#[derive(clap::Args, Debug)]
pub(super) struct MutantsArgs {
    /// In how many worlds each is hunted at most
    #[arg(long, value_name = "N", default_value_t = 200)]
    budget: u64,
    /// Only those whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,
    /// How wild the worlds are: pr, nightly, release, or a file
    #[arg(long, value_name = "PROFILE", default_value = "nightly")]
    profile: String,
    /// Mutants at the same time; default: one per processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// A world, and what `next` does in it: its fingerprint, and whether it keeps every invariant.
type World = (Plan, (u64, bool));

pub(super) fn mutants(args: &MutantsArgs, io: &mut Io<'_>) -> Exit {
    let profile = match super::chaos::profile(&args.profile, io) {
        Ok(profile) => profile,
        Err(exit) => return exit,
    };
    let all: Vec<Mutant> = mutants::all().into_iter().filter(|m| m.id.contains(&args.only)).collect();
    if all.is_empty() {
        io.say(&format!("error: no mutant's name contains `{}`\n", args.only));
        return Exit::Rejected;
    }
    let worlds: Vec<OnceLock<World>> = (0..args.budget).map(|_| OnceLock::new()).collect();
    let world = |seed: u64| {
        worlds[seed as usize].get_or_init(|| {
            let plan = draw(seed, &profile, Release::Next);
            let next = mutants::baseline(&plan);
            (plan, next)
        })
    };
    let meter = super::progress::Meter::new(io.progress, all.len(), "mutants");
    let stop = (io.interrupts)();
    let mut done: Vec<(usize, Hunted, Duration)> = Vec::new();
    let hunt = |(at, mutant): (usize, &Mutant)| {
        let (mut others, clock) = (Duration::ZERO, Clock::start());
        let next = |seed: u64, _: &Plan| {
            // What `next` does is found out once for all mutants, and is no time of this one.
            let own = Clock::start();
            let known = world(seed).1;
            others += own.elapsed();
            known
        };
        let hunted = mutants::hunt(mutant, 0..args.budget, |seed| draw(seed, &profile, Release::Next), next);
        (at, hunted, clock.elapsed().saturating_sub(others))
    };
    let keep = |(at, hunted, took): (usize, Hunted, Duration)| {
        if args.json {
            io.print(&line(&all[at], &hunted, took));
        }
        done.push((at, hunted, took));
        meter.done(None);
        !stop.load(Ordering::Relaxed)
    };
    quietly(unheard, || each(workers(args.jobs), all.iter().enumerate(), hunt, keep));
    meter.end();
    done.sort_by_key(|(at, ..)| *at);
    let rows: Vec<_> = done.iter().map(|(at, hunted, took)| (&all[*at], hunted, *took)).collect();
    if !args.json {
        io.print(&mutants::table(&rows, args.budget, &args.profile));
    }
    if rows.len() < all.len() {
        io.say(&format!("stopped after {} of {} mutants\n", rows.len(), all.len()));
        return Exit::Interrupted;
    }
    let unexplained = rows.iter().any(|(mutant, hunted, _)| hunted.killed.is_none() && mutant.unseen.is_none());
    if unexplained { Exit::Inconclusive } else { Exit::Fine }
}

/// A line of `--json`.
fn line(mutant: &Mutant, hunted: &Hunted, took: Duration) -> String {
    let line = json!({
        "v": 1, "type": "mutant", "mutant": mutant.id, "what": mutant.what, "part": mutant.part,
        "seeds": hunted.seeds, "events": hunted.events, "different": hunted.different,
        "cpu_ms": took.as_millis() as u64, "killed": hunted.killed, "unseen": mutant.unseen,
    });
    format!("{line}\n")
}
