//! Report events as text for people. Meaning never rests on colour alone.

use std::fmt::Write as _;

use super::event::{ReportEvent, Row, RunName};
use super::{EventLine, Verdict};
use crate::plan::Dur;

/// How the text looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Style {
    /// Whether it is coloured.
    pub colour: bool,
}

/// What a piece of text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ink {
    /// Good.
    Good,
    /// Bad.
    Bad,
    /// Undecided.
    Unsure,
    /// A name.
    Name,
    /// Less important.
    Faint,
}

impl Style {
    /// Paints a text.
    pub fn paint(self, ink: Ink, text: &str) -> String {
        let code = match ink {
            Ink::Good => 32,
            Ink::Bad => 31,
            Ink::Unsure => 33,
            Ink::Name => 36,
            Ink::Faint => 2,
        };
        if self.colour { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// One event as text; empty for those that people do not need.
pub fn render(event: &ReportEvent, style: Style) -> String {
    let mut out = String::new();
    let result = match event {
        // Problems are rendered from their files, with carets, before they become events.
        ReportEvent::Problem { .. } => Ok(()),
        ReportEvent::Run {
            run, verdict, reproduced, reasons, violated, pending, metrics, events, virtual_us, ..
        } => {
            let word = match verdict {
                Verdict::Pass => style.paint(Ink::Good, "pass    "),
                Verdict::Fail => style.paint(Ink::Bad, "FAIL    "),
                Verdict::Inconclusive => style.paint(Ink::Unsure, "unclear "),
                Verdict::Measured => style.paint(Ink::Faint, "measured"),
            };
            let shown = match (verdict, reproduced.is_empty(), violated.is_empty()) {
                (Verdict::Pass, false, _) => format!("reproduced: {}", reproduced.join(", ")),
                (Verdict::Pass, true, true) => "all hold".to_owned(),
                (_, _, false) => format!("violated: {}", violated.join(", ")),
                (Verdict::Inconclusive, _, true) => "no verdict".to_owned(),
                (_, _, true) => "all hold".to_owned(),
            };
            let jobs = metrics.get("jobs_queued").map_or_else(String::new, |n| format!("{n} jobs, "));
            let numbers = format!("({jobs}{events} events, {} virtual)", whole(*virtual_us));
            let head = writeln!(out, "{word} {}  {shown}  {}", name(run, style), style.paint(Ink::Faint, &numbers));
            let told = *verdict == Verdict::Fail || *verdict == Verdict::Inconclusive;
            let pending = pending.iter().filter(|_| told).map(|p| format!("still: {p}"));
            let lines = reasons.iter().map(ToString::to_string).chain(pending);
            lines.fold(head, |so_far, line| so_far.and_then(|()| writeln!(out, "         - {line}")))
        }
        ReportEvent::Violation { violation, .. } => {
            let at = violation.at;
            let about =
                if violation.about.is_empty() { String::new() } else { format!(" [{}]", violation.about.join(", ")) };
            let word = style.paint(Ink::Bad, "violated");
            let head = writeln!(
                out,
                "  {at} {word} {} by {}: {}{about}",
                violation.invariant, violation.component, violation.said
            );
            violation
                .cause
                .iter()
                .fold(head, |so_far, e| so_far.and_then(|()| writeln!(out, "    because {}", line(e))))
        }
        ReportEvent::More { invariant, times, .. } => {
            writeln!(out, "  … and {times} more of {invariant} (--json has them all)")
        }
        ReportEvent::Trace { event, .. } => writeln!(out, "  {}", line(event)),
        ReportEvent::Replay { plan, .. } => writeln!(out, "replay: arc-sim replay {plan}"),
        ReportEvent::Diverged { run, number, first, second } => {
            let word = style.paint(Ink::Bad, "DIVERGED");
            writeln!(out, "{word} {}  at event #{number}\n  first:  {first}\n  second: {second}", name(run, style))
        }
        ReportEvent::Panic { run, said, plan } => {
            let word = style.paint(Ink::Bad, "PANIC   ");
            writeln!(out, "{word} {}  {said}\n  this is our bug; please report it with {plan}", name(run, style))
        }
        ReportEvent::Mitigation { scenario, release, columns, rows } => {
            write!(out, "{}", table(scenario, release, columns, rows, style))
        }
        ReportEvent::Summary { passed, failed, inconclusive, measured, rejected, virtual_us, .. } => {
            let mut parts =
                vec![format!("{failed} failed"), format!("{passed} passed"), format!("{inconclusive} inconclusive")];
            if *measured > 0 {
                parts.push(format!("{measured} measured"));
            }
            if *rejected > 0 {
                parts.push(format!("{rejected} rejected"));
            }
            writeln!(out, "{}; {} simulated", parts.join(", "), whole(*virtual_us))
        }
    };
    // Writing into a string cannot fail.
    result.unwrap_or(());
    out
}

/// `t+00:05.003 #112  fault     crash listener`.
fn line(event: &EventLine) -> String {
    format!("{} #{:<6} {:<9} {}", event.at, event.number, event.kind, event.text)
}

fn name(run: &RunName, style: Style) -> String {
    let variant = run.variant.as_ref().map_or_else(String::new, |v| format!(" + {v}"));
    format!("{} {}", style.paint(Ink::Name, &format!("{}{variant}", run.scenario)), run.release)
}

/// Virtual time in whole seconds from a second on.
fn whole(us: u64) -> String {
    let us = if us >= 1_000_000 { us - us % 1_000_000 } else { us };
    Dur::micros(us).to_string()
}

/// A metric's value.
fn value(value: Option<f64>) -> String {
    match value {
        None => "-".to_owned(),
        Some(v) if v.fract() == 0.0 => format!("{v:.0}"),
        Some(v) => format!("{v:.2}"),
    }
}

fn table(scenario: &str, release: &str, columns: &[arc_api::Str], rows: &[Row], style: Style) -> String {
    let first = |row: &Row| row.variant.as_ref().map_or_else(|| "(as it is)".to_owned(), ToString::to_string);
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.values.iter().map(|v| value(*v)).collect()).collect();
    let left = rows.iter().map(|r| first(r).chars().count()).max().unwrap_or(0).max(7);
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(i, c)| cells.iter().filter_map(|row| row.get(i)).map(|v| v.len()).max().unwrap_or(0).max(c.len()))
        .collect();
    let mut out = format!("mitigations of {} on {release}\n", style.paint(Ink::Name, scenario));
    let mut push = |head: &str, values: &[String]| {
        let mut line = format!("  {head:<left$}");
        for (value, width) in values.iter().zip(&widths) {
            write!(line, "  {value:>width$}").unwrap_or(());
        }
        out.push_str(line.trim_end());
        out.push('\n');
    };
    push("variant", &columns.iter().map(ToString::to_string).collect::<Vec<_>>());
    for (row, values) in rows.iter().zip(&cells) {
        push(&first(row), values);
    }
    out
}
