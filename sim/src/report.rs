//! What came of a run, whether that is what was expected, and how it is told. Never runs a world.
//!
//! The engine fills a [`RunReport`]; [`judge`](fn@judge) holds it against the scenario's expectation; [`event`] is the one stream that
//! both the text for people ([`text`]) and the JSON lines are made of, and the [`cases`] of JUnit files ([`junit`]) and of GitHub
//! Actions ([`github`]). [`timeline`] makes a page of one run's whole history.

pub mod cases;
pub mod engine;
pub mod event;
pub mod github;
pub mod judge;
pub mod junit;
pub mod text;
pub mod timeline;

use std::collections::{BTreeMap, BTreeSet};

use arc_api::{Str, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use event::ReportEvent;
pub use judge::{Judged, Reason, Verdict, judge};

/// How loudly a run is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunOptions {
    /// Whether every event is kept as text.
    pub trace: bool,
    /// How many of the last events are kept as text.
    pub tail: usize,
}

impl Default for RunOptions {
    fn default() -> RunOptions {
        RunOptions { trace: false, tail: 20 }
    }
}

/// What came of one run.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct RunReport {
    /// Why the run was given up; absent: it came to its end.
    pub gave_up: Option<Str>,
    /// Broken promises, in the order in which they were seen. One per invariant and component is enough.
    pub violations: Vec<Violation>,
    /// What was still bad at the end, oldest first.
    pub pending: Vec<Str>,
    /// Interesting states that were reached, and the marks of the plan.
    pub marks: BTreeSet<Str>,
    /// Measurements, by the names in [`crate::scenario::vocabulary::METRICS`].
    pub metrics: BTreeMap<&'static str, f64>,
    /// How many events were handled.
    pub events: u64,
    /// Running hash of the trace.
    pub fingerprint: u64,
    /// Ids of planned actions that had an effect: a fault that changed something, a command that was carried out, a trigger
    /// that happened.
    pub fired: BTreeSet<Str>,
    /// Virtual time at the end.
    pub ended_at: Time,
    /// The last events.
    pub tail: Vec<EventLine>,
    /// All events, if they were asked for.
    pub trace: Option<Vec<EventLine>>,
}

/// A broken promise.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// Which invariant, by id.
    pub invariant: Str,
    /// Which component broke it: part of the failure's class, with the invariant.
    pub component: Str,
    /// When it was seen, in microseconds.
    #[serde(with = "micros")]
    #[schemars(with = "u64")]
    pub at: Time,
    /// What was seen, in one sentence.
    pub said: Str,
    /// About which objects.
    pub about: Vec<Str>,
    /// The events that led to it, oldest first.
    pub cause: Vec<EventLine>,
}

/// One event, told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct EventLine {
    /// When, in microseconds.
    #[serde(with = "micros")]
    #[schemars(with = "u64")]
    pub at: Time,
    /// Its number in the trace.
    pub number: u64,
    /// What kind: `fault`, `kube`, `github`, `pod`, `job`, `log`, …
    pub kind: Str,
    /// What happened.
    pub text: Str,
}

mod micros {
    use arc_api::Time;
    use serde::{Deserialize, Deserializer, Serializer};
    pub(super) fn serialize<S: Serializer>(at: &Time, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(at.0)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Time, D::Error> {
        u64::deserialize(d).map(Time)
    }
}
