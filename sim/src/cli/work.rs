//! Long work: how many things are done at a time, how long one took, what panics say meanwhile. Never decides what is done.

use std::time::Duration;

/// How many things are done at a time: as many as asked for, else one per processor.
pub(super) fn workers(asked: Option<usize>) -> usize {
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1)
}

/// Does work whose panics are caught where they happen: what they say goes to `heard`, not into the middle of a report.
pub(super) fn quietly<R>(heard: fn(&str), work: impl FnOnce() -> R) -> R {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| heard(&info.to_string())));
    let done = work();
    std::panic::set_hook(loud);
    done
}

/// For [`quietly`]: nobody wants to know.
pub(super) fn unheard(_: &str) {}

/// Time that this thread has worked, where the system tells; otherwise time that has passed.
#[expect(clippy::disallowed_types, reason = "how long a search takes is told to people; no world sees it")]
pub(super) struct Clock {
    worked: Option<Duration>,
    began: std::time::Instant,
}

impl Clock {
    /// Begins.
    #[expect(clippy::disallowed_types, reason = "how long a search takes is told to people; no world sees it")]
    pub(super) fn start() -> Clock {
        Clock { worked: worked(), began: std::time::Instant::now() }
    }
    /// Since then.
    pub(super) fn elapsed(&self) -> Duration {
        match (self.worked, worked()) {
            (Some(then), Some(now)) => now.saturating_sub(then),
            _ => self.began.elapsed(),
        }
    }
}

/// Linux: nanoseconds on a processor.
fn worked() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
