//! Progress of long work, on standard error, and when its time is over. Reads the real clock; nothing simulated sees it.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Progress;

/// A bar, if one is wanted, else one that shows nothing; and whether a line is wanted now and then in its place.
fn bar(how: Progress, length: Option<u64>, template: &str) -> (ProgressBar, bool) {
    let terminal = std::io::stderr().is_terminal();
    let shown = how == Progress::Bar || (how == Progress::Auto && terminal);
    let target = if shown { ProgressDrawTarget::stderr_with_hz(2) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(length, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    (bar, how == Progress::Plain || (how == Progress::Auto && !terminal))
}

/// How far work is.
pub(super) struct Meter {
    bar: ProgressBar,
    plain: Option<Plain>,
    unit: &'static str,
}

#[expect(clippy::disallowed_types, reason = "progress is told in real time, to people")]
struct Plain {
    last: std::sync::Mutex<std::time::Instant>,
    total: usize,
}

impl Meter {
    /// Begins.
    #[expect(clippy::disallowed_types, reason = "progress is told in real time, to people")]
    pub(super) fn new(how: Progress, total: usize, unit: &'static str) -> Meter {
        let template = format!("{{wide_bar}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{msg}}");
        let (bar, plain) = bar(how, Some(total as u64), &template);
        let plain = plain.then(|| Plain { last: std::sync::Mutex::new(std::time::Instant::now()), total });
        Meter { bar, plain, unit }
    }
    /// One more is done; how many of those that are done failed, if that is of interest.
    #[expect(clippy::disallowed_types, reason = "progress is told in real time, to people")]
    pub(super) fn done(&self, failed: Option<usize>) {
        self.bar.inc(1);
        let failed = failed.map_or(String::new(), |n| format!("{n} failed"));
        self.bar.set_message(failed.clone());
        if let Some(plain) = &self.plain
            && let Ok(mut last) = plain.last.lock()
            && last.elapsed() >= Duration::from_secs(10)
        {
            *last = std::time::Instant::now();
            let comma = if failed.is_empty() { "" } else { ", " };
            eprintln!("{}/{} {}{comma}{failed}", self.bar.position(), plain.total, self.unit);
        }
    }
    /// Ends.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// How far a campaign is, and whether its time is over.
pub(super) struct Watch {
    bar: ProgressBar,
    plain: bool,
    clock: Clock,
    before: u64,
    time: Option<Duration>,
}

#[expect(clippy::disallowed_types, reason = "campaigns by time end in real time; no world sees it")]
struct Clock {
    began: std::time::Instant,
    told: std::cell::Cell<std::time::Instant>,
}

impl Watch {
    /// Begins: so many seeds in all, if that is known, of which so many were done before; or so much time.
    #[expect(clippy::disallowed_types, reason = "campaigns by time end in real time; no world sees it")]
    pub(super) fn new(how: Progress, seeds: Option<u64>, before: u64, time: Option<crate::plan::Dur>) -> Watch {
        let template =
            if seeds.is_some() { "{wide_bar} {pos}/{len} seeds, {msg}" } else { "{spinner} {pos} seeds, {msg}" };
        let (bar, plain) = bar(how, seeds, template);
        let now = std::time::Instant::now();
        let clock = Clock { began: now, told: std::cell::Cell::new(now) };
        Watch { bar, plain, clock, before, time: time.map(|t| t.0) }
    }
    /// Whether the time is over.
    pub(super) fn is_over(&self) -> bool {
        self.time.is_some_and(|time| self.clock.began.elapsed() >= time)
    }
    /// Tells how far it is, now and then.
    #[expect(clippy::disallowed_types, reason = "progress is told in real time, to people")]
    pub(super) fn tell(&self, sums: &crate::chaos::results::Sums) {
        let waits = if self.plain { 10_000 } else { 200 };
        if self.clock.told.get().elapsed() < Duration::from_millis(waits) {
            return;
        }
        self.clock.told.set(std::time::Instant::now());
        let pace = (sums.seeds - self.before) as f64 / self.clock.began.elapsed().as_secs_f64();
        let (days, marks) = (sums.virtual_us / 86_400_000_000, sums.marks.len());
        let said = format!(
            "{} failed in {} classes, {pace:.0} seeds/s, {days} virtual days, {marks} marks",
            sums.failed,
            sums.classes.len()
        );
        if self.plain {
            eprintln!("{} seeds, {said}", sums.seeds);
        }
        self.bar.set_position(sums.seeds);
        self.bar.set_message(said);
    }
    /// Ends.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
