//! Sequences of committed changes that are cheap to clone, append to and trim: the watch history of a kind, and the log of
//! all kinds. Never decides what is a change.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_api::Time;
use arc_api::kube::WatchEvent;

use crate::settings::ApiSettings;

/// Events per chunk. A fork shares whole chunks, so its first append copies at most this many reference counts.
const CHUNK: usize = 32;

/// Events in commit order, in shared chunks. All chunks but the last are full.
#[derive(Clone, Default, Debug)]
struct Chunks {
    chunks: VecDeque<Arc<Vec<WatchEvent>>>,
    len: usize,
}

pub(crate) fn version_of(event: &WatchEvent) -> u64 {
    event.object.meta().resource_version
}

impl Chunks {
    fn push(&mut self, event: WatchEvent) {
        self.len += 1;
        match self.chunks.back_mut() {
            Some(last) if last.len() < CHUNK => Arc::make_mut(last).push(event),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(event);
                self.chunks.push_back(Arc::new(chunk));
            }
        }
    }
    fn drop_front(&mut self) -> Option<u64> {
        let chunk = self.chunks.pop_front()?;
        self.len -= chunk.len();
        chunk.last().map(version_of)
    }
    fn first_version(&self) -> Option<u64> {
        self.chunks.front()?.first().map(version_of)
    }
    /// The events from the first one whose version is above `version`.
    fn after(&self, version: u64) -> impl Iterator<Item = &WatchEvent> {
        // Readers are nearly always at the end: look there before searching.
        let mut chunk = self.chunks.len();
        while chunk > 0 && self.chunks[chunk - 1].first().is_some_and(|e| version_of(e) > version) {
            chunk -= 1;
            if self.chunks.len() - chunk > 2 {
                chunk = self.chunks.partition_point(|c| c.first().is_some_and(|e| version_of(e) <= version));
                break;
            }
        }
        let first = chunk.saturating_sub(1);
        let skip = self.chunks.get(first).map_or(0, |c| c.partition_point(|e| version_of(e) <= version));
        self.chunks.range(first..).flat_map(|c| c.iter()).skip(skip)
    }
}

/// The watch history of one kind.
///
/// Source: kubernetes-api.md §3.8 "Other": keeps a minimum, then a window of time, then a maximum.
#[derive(Clone, Debug)]
pub(crate) struct History {
    events: Chunks,
    /// A watch may start here or later.
    floor: u64,
}

impl History {
    pub(crate) fn new(floor: u64) -> History {
        History { events: Chunks::default(), floor }
    }
    pub(crate) fn push(&mut self, event: WatchEvent, settings: &ApiSettings) {
        let now = event.at;
        self.events.push(event);
        if self.events.len > settings.history_min + CHUNK {
            self.trim(now, settings);
        }
    }
    fn trim(&mut self, now: Time, settings: &ApiSettings) {
        while let Some(front) = self.events.chunks.front() {
            let left = self.events.len - front.len();
            let old = front.last().is_some_and(|e| now.since(e.at) > settings.history_window);
            if left < settings.history_min || !(old || self.events.len > settings.history_max) {
                return;
            }
            self.events.drop_front();
            // The real watch cache measures against its oldest event, not against the last one it dropped.
            self.floor = self.events.first_version().map_or(self.floor, |v| v - 1);
        }
    }
    /// Forgets everything up to `version` (compaction, restart).
    pub(crate) fn compact(&mut self, version: u64) {
        let kept: Vec<WatchEvent> = self.events.after(version).cloned().collect();
        self.events = Chunks::default();
        for event in kept {
            self.events.push(event);
        }
        self.floor = self.floor.max(version);
    }
    /// The oldest version a watch can start from.
    pub(crate) const fn floor(&self) -> u64 {
        self.floor
    }
    /// Events after `version`; `Err(floor)` if some of them are forgotten.
    pub(crate) fn after(&self, version: u64) -> Result<impl Iterator<Item = &WatchEvent>, u64> {
        if version < self.floor { Err(self.floor) } else { Ok(self.events.after(version)) }
    }
}

/// The log of all kinds in commit order. Every commit takes exactly one version, so positions are versions.
#[derive(Clone, Default, Debug)]
pub(crate) struct Log {
    events: Chunks,
}

impl Log {
    pub(crate) fn push(&mut self, event: WatchEvent) {
        self.events.push(event);
    }
    /// Events after `position`; those that were trimmed are silently missing.
    pub(crate) fn since(&self, position: u64) -> impl Iterator<Item = &WatchEvent> {
        let first = self.events.first_version().unwrap_or(0);
        let index = (position + 1).saturating_sub(first) as usize;
        let chunk = (index / CHUNK).min(self.events.chunks.len());
        self.events.chunks.range(chunk..).flat_map(|c| c.iter()).skip(index - chunk * CHUNK)
    }
    /// Lets go of whole chunks that end at or before `position`.
    pub(crate) fn trim(&mut self, position: u64) {
        while self
            .events
            .chunks
            .front()
            .is_some_and(|c| c.len() == CHUNK && c.last().is_some_and(|e| version_of(e) <= position))
        {
            self.events.drop_front();
        }
    }
    pub(crate) fn len(&self) -> usize {
        self.events.len
    }
}
