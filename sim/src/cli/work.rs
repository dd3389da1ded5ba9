//! Long work: how many things are done at a time, how long one took, what panics say meanwhile. Never decides what is done.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::SIGINT;
use signal_hook::flag;

use crate::exit::Exit;

/// From now on the first Ctrl-C ends nothing but is told by what is given back; the second one ends the process at once. For work
/// that can stop in good order.
pub(super) fn interrupts() -> Arc<AtomicBool> {
    let told = Arc::new(AtomicBool::new(false));
    // In this order: the first one finds nothing told yet. Where the system takes no handler Ctrl-C ends the process as ever.
    let second = flag::register_conditional_shutdown(SIGINT, Exit::Interrupted.code().into(), Arc::clone(&told));
    let first = second.and_then(|_| flag::register(SIGINT, Arc::clone(&told)));
    drop(first);
    told
}

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
