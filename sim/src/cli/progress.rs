//! Progress of long work, on standard error. The only place that reads the real clock; nothing simulated sees it.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Progress;

/// How far work is.
pub(super) struct Meter {
    bar: ProgressBar,
    plain: Option<Plain>,
}

#[expect(clippy::disallowed_types, reason = "progress is told in real time, to people")]
struct Plain {
    last: std::sync::Mutex<std::time::Instant>,
    total: usize,
}

impl Meter {
    /// Begins.
    #[expect(clippy::disallowed_types, reason = "progress is told in real time, to people")]
    pub(super) fn new(how: Progress, total: usize) -> Meter {
        let terminal = std::io::stderr().is_terminal();
        let bar = match how {
            Progress::Bar => true,
            Progress::Auto => terminal,
            Progress::Plain | Progress::None => false,
        };
        let plain = how == Progress::Plain || (how == Progress::Auto && !terminal);
        let target = if bar { ProgressDrawTarget::stderr_with_hz(2) } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} runs, {per_sec}, {msg}");
        let progress = ProgressBar::with_draw_target(Some(total as u64), target);
        if let Ok(style) = style {
            progress.set_style(style);
        }
        let plain = plain.then(|| Plain { last: std::sync::Mutex::new(std::time::Instant::now()), total });
        Meter { bar: progress, plain }
    }
    /// One more run is done.
    #[expect(clippy::disallowed_types, reason = "progress is told in real time, to people")]
    pub(super) fn done(&self, failed: usize) {
        self.bar.inc(1);
        self.bar.set_message(format!("{failed} failed"));
        if let Some(plain) = &self.plain
            && let Ok(mut last) = plain.last.lock()
            && last.elapsed() >= Duration::from_secs(10)
        {
            *last = std::time::Instant::now();
            eprintln!("{}/{} runs, {failed} failed", self.bar.position(), plain.total);
        }
    }
    /// Ends.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
