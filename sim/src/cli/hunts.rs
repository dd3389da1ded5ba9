//! `arc-sim hunts`: how long chaos takes to find the bugs of ARC's releases that are known. Measures processor time; decides
//! nothing.

use super::work::Clock;
use super::{Io, files};
use crate::chaos::hunts::{Caught, HUNTS, Hunt};
use crate::chaos::{Profile, report};
use crate::exit::Exit;

pub(super) fn hunts(only: &[String], profile: &Profile, budget: u64, out: &std::path::Path, io: &mut Io<'_>) -> Exit {
    if let Some(unknown) = only.iter().find(|id| HUNTS.iter().all(|h| h.id != id.as_str())) {
        let hint = crate::scenario::diagnostic::suggestion(unknown, "hunts", HUNTS.iter().map(|h| h.id));
        io.say(&format!("error: no hunt `{unknown}`\n\nhint: {hint}\n"));
        return Exit::Rejected;
    }
    let mut exit = Exit::Fine;
    io.print(
        "| bug | release | promise that failed | seeds | CPU seconds | actions, faults | executions to shrink |\n",
    );
    io.print("|---|---|---|---:|---:|---:|---:|\n");
    for hunt in HUNTS.iter().filter(|h| only.is_empty() || only.iter().any(|id| id == h.id)) {
        let clock = Clock::start();
        let caught = hunt.hunt(profile, budget);
        let took = clock.elapsed().as_secs_f64();
        if caught.is_none() {
            exit = Exit::Failed;
        }
        io.print(&row(hunt, caught.as_ref(), budget, took));
        let Some(caught) = &caught else { continue };
        let file = out.join(format!("{}.yaml", hunt.id));
        let text = report::scenario_file(&caught.finding, hunt.id, &format!("chaos, profile {}", profile.name));
        if let Err(error) = text.map_err(std::io::Error::other).and_then(|text| files::write(&file, &text)) {
            io.say(&format!("warning: {}: {error}\n", file.display()));
        }
    }
    exit
}

fn row(hunt: &Hunt, caught: Option<&Caught>, budget: u64, took: f64) -> String {
    let head = format!("| {}: {} ({}) | {} |", hunt.id, hunt.what, hunt.source, hunt.release);
    match caught {
        Some(c) => {
            let faults =
                c.finding.plan.actions.iter().filter(|a| matches!(a.what, crate::plan::Action::Fault(_))).count();
            format!(
                "{head} {} | {} | {took:.1} | {}, {faults} | {} |\n",
                c.finding.class,
                c.seeds,
                c.finding.plan.actions.len(),
                c.finding.tries
            )
        }
        None => format!("{head} not found | {budget} | {took:.1} | | |\n"),
    }
}
