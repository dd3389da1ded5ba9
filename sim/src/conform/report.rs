//! Tells what a comparison found: a line per object, and both histories side by side where they part. Never compares.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::blame::Touch;
use super::compare::{Difference, How};
use super::fold::RULES;
use super::history::{Id, Step};
use super::matching::{Pair, pairs};
use super::steer::{Best, Schedule};

/// Most steps of a history that are shown before and after the difference.
const AROUND: usize = 5;

/// A comparison for people.
pub fn text(best: &Best, verbose: bool, show: Option<&str>) -> String {
    let mut out = String::new();
    let pairs = pairs(&best.recorded, &best.simulated);
    for pair in &pairs {
        if show.is_some_and(|part| name(pair.id).contains(part)) {
            write_whole(&mut out, pair).unwrap_or(());
        }
        match pair.difference() {
            None if verbose => writeln!(out, "  equal    {}  {} steps", name(pair.id), pair.recorded.len()),
            None => Ok(()),
            Some(difference) => write_difference(&mut out, best, pair, &difference),
        }
        .unwrap_or(());
    }
    for (text, side) in
        best.left.recorded.iter().map(|t| (t, "recorded")).chain(best.left.simulated.iter().map(|t| (t, "simulated")))
    {
        writeln!(out, "  LEFT     only {side}: {text}").unwrap_or(());
    }
    let folded: Vec<String> =
        RULES.iter().zip(best.folded).filter(|(_, n)| *n > 0).map(|(r, n)| format!("{} {n}", r.name)).collect();
    let score = best.score;
    writeln!(
        out,
        "{}: {} of {} objects equal{}; left at the end: {} of {} as recorded; seed {}{} of {} schedules{}; folded: {}",
        best.release,
        score.equal(),
        score.objects,
        if score.accepted == 0 { String::new() } else { format!(", {} differ as accepted", score.accepted) },
        best.left.equal,
        best.left.items,
        best.schedule.seed,
        schedule(&best.schedule),
        best.tried,
        if best.branches == 0 { String::new() } else { format!(" and {} branches", best.branches) },
        if folded.is_empty() { "nothing".into() } else { folded.join(", ") }
    )
    .unwrap_or(());
    out
}

/// Switches that touch the differences, for people.
pub fn touches(found: &[Touch]) -> String {
    if found.is_empty() {
        return "  no switch explains more\n".into();
    }
    let line = |t: &Touch| {
        let (equal, objects) = (t.score.equal(), t.score.objects);
        format!("  {} = {} instead of {}: {equal} of {objects} objects equal\n", t.switch, t.with, t.has)
    };
    found.iter().map(line).collect()
}

/// A comparison for programs.
pub fn json(best: &Best, file: &str) -> Value {
    let pairs = pairs(&best.recorded, &best.simulated);
    let objects: Vec<Value> = pairs
        .iter()
        .map(|pair| {
            let mut object =
                json!({ "object": name(pair.id), "recorded": pair.recorded.len(), "simulated": pair.simulated.len() });
            if let Some(d) = pair.difference() {
                object["difference"] = json!({
                    "how": if d.how == How::Wait { "wait" } else { "step" },
                    "recorded": d.recorded.map(|n| step_json(&pair.recorded[n])),
                    "simulated": d.simulated.map(|n| step_json(&pair.simulated[n])),
                });
            }
            object
        })
        .collect();
    json!({
        "v": 1, "type": "conform", "recording": file, "release": best.release.to_string(), "schedule": best.schedule, "tried": best.tried, "branches": best.branches,
        "compared": best.score.objects, "equal": best.score.equal(), "accepted": best.score.accepted, "objects": objects,
        "left": {
            "compared": best.left.items, "equal": best.left.equal,
            "only_recorded": best.left.recorded, "only_simulated": best.left.simulated,
        },
    })
}

fn schedule(schedule: &Schedule) -> String {
    let tempo = if schedule.tempo == 100 { String::new() } else { format!(" at {} %", schedule.tempo) };
    let forks = match schedule.forks.len() {
        0 => String::new(),
        1 => ", forked once".into(),
        n => format!(", forked {n} times"),
    };
    tempo + if schedule.follow { "" } else { " by the scenario's clock" } + &forks
}

fn step_json(step: &Step) -> Value {
    json!({ "at_us": step.at.0, "line": step.line, "waited_us": step.waited.as_micros() as u64, "said": said(step) })
}

/// What a history is about, for people.
pub fn name(id: &Id) -> String {
    match id.subject {
        super::history::Subject::Object(kind) => format!("{} {}", kind.as_str(), id.name),
        other if id.name.is_empty() => format!("{}, credentials", other.as_str()),
        other => format!("{} · {}", id.name, other.as_str()),
    }
}

/// The same without what differs between two runs: what accepted differences are named by.
pub fn role_name(id: &Id) -> String {
    name(&Id { name: id.role(), ..id.clone() })
}

fn write_difference(out: &mut String, best: &Best, pair: &Pair<'_>, d: &Difference) -> std::fmt::Result {
    writeln!(out, "  DIFFERS  {} on {}", name(pair.id), best.release)?;
    writeln!(out, "    {:<76} | simulated", "recorded")?;
    let lane = |steps: &[Step]| steps.iter().filter(|s| s.who == d.who).cloned().collect::<Vec<_>>();
    let (left, right) = (lane(pair.recorded), lane(pair.simulated));
    let before = |n: Option<usize>, all: &[Step], lane: &[Step]| {
        n.map_or(lane.len(), |n| all[..n].iter().filter(|s| s.who == d.who).count())
    };
    let at = before(d.recorded, pair.recorded, &left).min(before(d.simulated, pair.simulated, &right));
    let from = at.saturating_sub(AROUND);
    let to = (at + AROUND + 1).min(left.len().max(right.len()));
    for n in from..to {
        let mark = match n == at {
            true if d.how == How::Wait => "wait",
            true => "HERE",
            false => "",
        };
        let (l, r) = (left.get(n), right.get(n));
        writeln!(out, "{mark:>4}{:<76} | {}", cell(l), cell(r))?;
        if n == at
            && let (Some(l), Some(r)) = (l, r)
        {
            for (path, value) in l.fields.iter().filter(|f| !r.fields.contains(f)) {
                writeln!(out, "        only recorded:  {path} = {value}")?;
            }
            for (path, value) in r.fields.iter().filter(|f| !l.fields.contains(f)) {
                writeln!(out, "        only simulated: {path} = {value}")?;
            }
        }
    }
    Ok(())
}

fn write_whole(out: &mut String, pair: &Pair<'_>) -> std::fmt::Result {
    writeln!(out, "  {}\n    {:<76} | simulated", name(pair.id), "recorded")?;
    for n in 0..pair.recorded.len().max(pair.simulated.len()) {
        writeln!(out, "    {:<76} | {}", cell(pair.recorded.get(n)), cell(pair.simulated.get(n)))?;
    }
    Ok(())
}

fn cell(step: Option<&Step>) -> String {
    let Some(step) = step else { return "-".into() };
    let text =
        format!("{:>8.1} (+{:.1}) {} [{}]", step.at.0 as f64 / 1e6, step.waited.as_secs_f64(), said(step), step.line);
    if text.chars().count() > 76 { text.chars().take(75).chain(['…']).collect() } else { text }
}

/// A step in one line.
pub fn said(step: &Step) -> String {
    let mut out = format!("{} {}", step.verb, step.code);
    if !step.reason.is_empty() {
        write!(out, " {}", step.reason).unwrap_or(());
    }
    if step.is_ok() && !step.changed {
        out.push_str(" (no change)");
    }
    for (path, value) in step.fields.iter().take(6) {
        let short = path.rsplit('.').next().unwrap_or(path);
        write!(out, " {}{}{value}", short, if short.is_empty() { "" } else { "=" }).unwrap_or(());
    }
    if step.times > 1 {
        write!(out, " (×{})", step.times).unwrap_or(());
    }
    if step.turns > 1 {
        write!(out, " ({} turns)", step.turns).unwrap_or(());
    }
    out
}
