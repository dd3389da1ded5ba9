//! Work on many things, several at a time. Knows neither what is done nor in which order it should be told: who asks sorts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};

/// Does `work` with each of `things`, `jobs` of them at a time. What came of one is given to `told`, on the thread that asked, as
/// soon as it is there; once that says false nothing further begins, and what had begun is still told.
pub(crate) fn each<T: Send, R: Send>(
    jobs: usize,
    things: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    mut told: impl FnMut(R) -> bool,
) {
    let things = Mutex::new(things);
    let stop = AtomicBool::new(false);
    let (tell, done) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            let (tell, things, work, stop) = (tell.clone(), &things, &work, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(thing) = things.lock().ok().and_then(|mut things| things.next()) else { return };
                    if tell.send(work(thing)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(tell);
        for result in done {
            if !told(result) {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::each;

    #[test]
    fn everything_is_done_once_for_any_number_of_jobs() {
        for jobs in [0, 1, 3, 64] {
            let mut seen = Vec::new();
            each(
                jobs,
                0..40,
                |n| n * n,
                |square| {
                    seen.push(square);
                    true
                },
            );
            seen.sort_unstable();
            assert_eq!(seen, (0..40).map(|n| n * n).collect::<Vec<_>>(), "{jobs} jobs");
        }
    }

    #[test]
    fn who_says_stop_hears_no_more_than_what_had_begun() {
        let mut heard = 0;
        each(
            2,
            0_u64..,
            |n| n,
            |_| {
                heard += 1;
                heard < 5
            },
        );
        assert!(heard >= 5, "{heard}");
    }
}
