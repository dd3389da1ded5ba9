//! One HTML page for one finished run: a timeline that needs nothing but a browser, and no network. Never runs a world.
//!
//! A lane per process, per object and per thing of the service; the plan's faults as bands; calls and replies as arrows; the
//! violations marked, with what caused them. The page is `timeline/page.html` with its style, its scripts and the run's data
//! (`data`) written into it: no other file, no address of any other place.
//!
//! Reading order: `lanes` (rows) → `bars` (states) → `details` (texts) → `collect` (one walk over the trace) → `data`.

mod bars;
mod collect;
mod data;
mod details;
mod lanes;

use arc_api::Str;
use arc_api::Time;
use serde::Serialize;
use serde_json::json;

use crate::invariant::Violation;
use crate::outcome::{Ending, RunReport};
use crate::plan::Plan;
use crate::trace::What;

use collect::Collector;
use data::{Data, Finding};

const PAGE: &str = include_str!("timeline/page.html");
const STYLE: &str = include_str!("timeline/page.css");
const SCRIPTS: [&str; 5] = [
    include_str!("timeline/model.js"),
    include_str!("timeline/view.js"),
    include_str!("timeline/draw.js"),
    include_str!("timeline/panel.js"),
    include_str!("timeline/page.js"),
];

/// What the page says of the run besides its history. Plain facts; all may be empty.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Story {
    /// Why the scenario was written down.
    pub why: Str,
    /// Upstream issues.
    pub upstream: Vec<Str>,
    /// Whether the run met its expectation, in a word.
    pub verdict: Str,
    /// Why it did not.
    pub reasons: Vec<String>,
    /// The command that shows the run again.
    pub replay: String,
    /// The promise whose violation is shown when the page opens; empty: the first one that was broken.
    pub first: Str,
}

/// The page of a run. Its trace should have been kept ([`crate::world::RunOptions::trace`]); without events the page says so.
pub fn page(plan: &Plan, made: &RunReport, story: &Story) -> String {
    let name = plan.variant.as_ref().map_or_else(|| plan.scenario.to_string(), |v| format!("{} + {v}", plan.scenario));
    let broken = made.violations.first().map_or_else(String::new, |v| format!(": {}", v.invariant));
    let title = format!("{name} {} seed {}{broken}", plan.release, plan.seed);
    let data = data(plan, made, story).into_json();
    fill(&[
        ("{{title}}", &escaped(&title)),
        ("{{style}}", STYLE),
        ("{{data}}", &data),
        ("{{scripts}}", &SCRIPTS.join("\n")),
    ])
}

/// The page with its holes filled. They are looked for in the page only, never in what was put in before.
fn fill(holes: &[(&str, &str)]) -> String {
    let mut out = String::new();
    let mut rest = PAGE;
    for (hole, text) in holes {
        if let Some((before, after)) = rest.split_once(hole) {
            out.push_str(before);
            out.push_str(text);
            rest = after;
        }
    }
    out + rest
}

/// Text within an HTML element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn data<'s>(plan: &Plan, made: &RunReport, story: &'s Story) -> Data<'s> {
    let mut collector = Collector::new(plan, &made.trace);
    collector.walk();
    let mut findings = findings(made, &collector);
    let (groups, lanes, went) = std::mem::replace(&mut collector.lanes, lanes::Lanes::new(Vec::new())).finish();
    let moved = |lane: u32| went[lane as usize];
    let moved_to = |to: u32| if to == 0 { 0 } else { went[to as usize - 1] + 1 };
    collector.events.lane.iter_mut().for_each(|lane| *lane = moved(*lane));
    collector.events.to.iter_mut().for_each(|to| *to = moved_to(*to));
    let calls = collector.calls();
    let mut bars = std::mem::take(&mut collector.bars).finish(made.ended_at);
    bars.iter_mut().for_each(|bar| bar.lane = moved(bar.lane));
    bars.sort_by_key(|bar| (bar.lane, bar.from));
    for band in &mut collector.bands {
        band.lane = moved(band.lane);
        band.to = band.to.min(made.ended_at.0);
    }
    for finding in &mut findings {
        finding.to = moved_to(finding.to);
    }
    let head = json!({
        "scenario": plan.scenario,
        "variant": plan.variant,
        "release": plan.release.to_string(),
        "seed": plan.seed.to_string(),
        "handled": made.events,
        "fingerprint": format!("{:016x}", made.fingerprint),
        "pending": made.pending,
        "ending": match made.ending {
            Ending::Completed => "completed",
            Ending::Stopped => "stopped at the first violation",
            Ending::HotLoop => "stopped: events followed each other without time passing",
            Ending::OutOfBudget => "given up: too many events",
            Ending::Unfurnished => "given up: the runners from before time zero were not made",
        },
    });
    Data {
        story,
        head,
        texts: std::mem::take(&mut collector.texts),
        groups,
        lanes,
        events: std::mem::take(&mut collector.events),
        calls,
        bars,
        bands: std::mem::take(&mut collector.bands),
        findings,
        end: made.ended_at,
    }
}

/// The violations with their events. Both are in the order in which they were seen; a violation that has no event of its own
/// stands for the event at which it was noticed, or else for the last one of what it is about.
fn findings(made: &RunReport, collector: &Collector<'_>) -> Vec<Finding> {
    let mut events: Vec<(u32, Time, &str)> = made
        .trace
        .events()
        .iter()
        .filter_map(|e| match &e.what {
            What::Violation { invariant, .. } => Some((e.id, e.at, *invariant)),
            _ => None,
        })
        .collect();
    let mut event =
        |v: &Violation, lane: Option<u32>| match events.iter().position(|e| (e.1, e.2) == (v.at, v.invariant)) {
            Some(place) => events.remove(place).0,
            None if v.cause != 0 => v.cause,
            None => collector.last_of(lane, v.at),
        };
    made.violations
        .iter()
        .map(|v| {
            let lane = v.about.iter().find_map(|about| collector.lanes.named(about));
            Finding {
                invariant: v.invariant,
                component: v.component,
                said: v.said.clone(),
                promise: crate::invariant::entry(v.invariant).map_or("", |e| e.promise),
                about: v.about.clone(),
                at: v.at.0,
                since: since(&v.said).map(|t| t.0),
                event: event(v, lane),
                to: lane.map_or(0, |lane| lane + 1),
            }
        })
        .collect()
}

/// Since when something was bad: a violation of a bound says so in its sentence, `(since t+00:20.621, 180 s)`.
fn since(said: &str) -> Option<Time> {
    let (_, rest) = said.split_once("(since t+")?;
    let clock = rest.split([',', ')']).next()?;
    let (whole, millis) = clock.split_once('.')?;
    let seconds = whole.split(':').try_fold(0u64, |sum, part| Some(sum * 60 + part.parse::<u64>().ok()?))?;
    Some(Time::from_millis(seconds * 1000 + millis.parse::<u64>().ok()?))
}

#[cfg(test)]
mod tests;
