//! A run as the page reads it: one table of texts, columns of numbers, bars, bands and findings. Never a judgement.
//!
//! Columns are in the order of events. Times are microseconds; `at` holds differences, `cause` how many events before the event
//! its cause lies (0: none), all texts are ordinals in `strings`.

use std::collections::BTreeMap;

use arc_api::{Str, Time};
use serde::Serialize;
use serde_json::Value;

use super::Story;
use super::bars::Bar;
use super::lanes::{Heading, Lane};

/// Version of the embedded data.
const VERSION: u32 = 1;

/// What sort an event is: what the page filters by, in the order of its buttons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sort {
    Violation,
    Fault,
    Operator,
    Process,
    Write,
    Idle,
    Read,
    Commit,
    Service,
    Happening,
    Lost,
    Log,
}

/// The sorts' names on the page.
pub(super) const SORTS: [&str; 12] = [
    "violation",
    "fault",
    "operator",
    "process",
    "write",
    "no-op write",
    "read",
    "object change",
    "GitHub call",
    "GitHub event",
    "lost",
    "log",
];

/// Texts, each once.
#[derive(Default)]
pub(super) struct Texts {
    known: BTreeMap<Str, u32>,
    all: Vec<Str>,
}

impl Texts {
    pub(super) fn id(&mut self, text: impl Into<Str> + AsRef<str>) -> u32 {
        if let Some(id) = self.known.get(text.as_ref()) {
            return *id;
        }
        let (id, text) = (self.all.len() as u32, text.into());
        self.all.push(text.clone());
        self.known.insert(text, id);
        id
    }
    pub(super) fn json(&mut self, value: Option<&Value>) -> u32 {
        let text = value.map_or_else(String::new, Value::to_string);
        self.id(text)
    }
}

/// The events, column by column.
#[derive(Default, Serialize)]
pub(super) struct Events {
    pub(super) at: Vec<u64>,
    pub(super) cause: Vec<u32>,
    pub(super) sort: Vec<u8>,
    pub(super) lane: Vec<u32>,
    /// The lane of what it was about, plus 1; 0: none.
    pub(super) to: Vec<u32>,
    pub(super) text: Vec<u32>,
    pub(super) detail: Vec<u32>,
    /// Ordinals of events that tell of something going wrong: refusals, errors, kills.
    pub(super) bad: Vec<u32>,
}

/// The calls, column by column. An event is an ordinal from 1; 0: none. A time is a difference to `left`, plus 1; 0: never.
#[derive(Default, Serialize)]
pub(super) struct Calls {
    pub(super) event: Vec<u32>,
    pub(super) lane: Vec<u32>,
    pub(super) to: Vec<u32>,
    pub(super) left: Vec<u64>,
    pub(super) arrived: Vec<u64>,
    pub(super) back: Vec<u64>,
    pub(super) lost: Vec<u32>,
}

/// A fault while it lasts.
#[derive(Serialize)]
pub(super) struct Band {
    pub(super) name: Str,
    pub(super) lane: u32,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// A broken promise.
#[derive(Serialize)]
pub(super) struct Finding {
    pub(super) invariant: &'static str,
    pub(super) component: &'static str,
    pub(super) said: Str,
    pub(super) promise: &'static str,
    pub(super) about: Vec<Str>,
    pub(super) at: u64,
    /// Since when it was bad, if it was for a while.
    pub(super) since: Option<u64>,
    /// The event of the finding, from 1.
    pub(super) event: u32,
    /// The lane it is about, plus 1; 0: none.
    pub(super) to: u32,
}

/// Everything.
pub(super) struct Data<'s> {
    pub(super) story: &'s Story,
    pub(super) head: Value,
    pub(super) texts: Texts,
    pub(super) groups: Vec<Heading>,
    pub(super) lanes: Vec<Lane>,
    pub(super) events: Events,
    pub(super) calls: Calls,
    pub(super) bars: Vec<Bar>,
    pub(super) bands: Vec<Band>,
    pub(super) findings: Vec<Finding>,
    pub(super) end: Time,
}

#[derive(Serialize)]
struct Written<'d> {
    version: u32,
    story: &'d Story,
    head: &'d Value,
    end: u64,
    sorts: &'static [&'static str],
    groups: &'d [Heading],
    lanes: &'d [Lane],
    events: &'d Events,
    calls: &'d Calls,
    /// Lane, from, to minus from, text, tone.
    bars: Vec<[u64; 5]>,
    bands: &'d [Band],
    findings: &'d [Finding],
    strings: &'d [Str],
}

impl Data<'_> {
    /// As JSON that can stand within a script element: nothing in it can end the element or begin a comment.
    pub(super) fn into_json(mut self) -> String {
        let mut bars = Vec::with_capacity(self.bars.len());
        for bar in &self.bars {
            let state = self.texts.id(bar.state.clone());
            bars.push([u64::from(bar.lane), bar.from.0, bar.to.0 - bar.from.0, u64::from(state), bar.tone as u64]);
        }
        let written = Written {
            version: VERSION,
            story: self.story,
            head: &self.head,
            end: self.end.0,
            sorts: &SORTS,
            groups: &self.groups,
            lanes: &self.lanes,
            events: &self.events,
            calls: &self.calls,
            bars,
            bands: &self.bands,
            findings: &self.findings,
            strings: &self.texts.all,
        };
        // Texts and numbers: JSON can always say them.
        serde_json::to_string(&written).unwrap_or_default().replace('<', "\\u003c")
    }
}
