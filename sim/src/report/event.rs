//! The stream of report events: what `--json` prints, one per line, and what the text for people is made of.
//!
//! Every line is an object with `v` (version of this format, [`VERSION`]) and `type`. Its JSON Schema is made from these types:
//! `arc-sim schema --report`, or `sim/schema/report.schema.json`. Members and types of events may be added within a version, so
//! readers ignore what they do not know; what is there keeps its name and meaning. Times are microseconds of virtual time.

use std::collections::BTreeMap;

use arc_api::Str;
use schemars::JsonSchema;
use serde::Serialize;

use super::{EventLine, Reason, Verdict, Violation};

/// Version of the stream's format.
pub const VERSION: u32 = 1;

/// Which run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct RunName {
    /// Scenario.
    pub scenario: Str,
    /// Variant, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<Str>,
    /// Release.
    pub release: Str,
    /// Seed.
    pub seed: u64,
}

/// A row of the mitigation table.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
pub struct Row {
    /// Variant; absent: the scenario itself.
    pub variant: Option<Str>,
    /// One value per column; absent: not measured.
    pub values: Vec<Option<f64>>,
}

/// One event of a report.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ReportEvent {
    /// Something is wrong with a file; nothing was run.
    Problem {
        /// Path as it was given.
        file: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong, in a sentence.
        said: String,
        /// A few words to the place.
        label: String,
        /// What would be right.
        hint: Option<String>,
    },
    /// A run is over.
    Run {
        /// Which.
        run: RunName,
        /// Whether it met its expectation.
        verdict: Verdict,
        /// Expected violations that happened.
        reproduced: Vec<Str>,
        /// Why it did not meet its expectation.
        reasons: Vec<Reason>,
        /// Ids of all invariants that were violated.
        violated: Vec<Str>,
        /// What was still bad at the end, oldest first.
        pending: Vec<Str>,
        /// Measurements by name.
        #[schemars(with = "BTreeMap<String, f64>")]
        metrics: BTreeMap<&'static str, f64>,
        /// How many events were handled.
        events: u64,
        /// Running hash of the history, 16 hexadecimal digits: equal plans have equal ones.
        fingerprint: String,
        /// Virtual time at the end.
        virtual_us: u64,
    },
    /// A promise was broken. Comes after its `run`.
    Violation {
        /// In which run.
        run: RunName,
        /// What was broken.
        violation: Violation,
    },
    /// Text only: further violations of an invariant that were not printed.
    #[schemars(skip)]
    More {
        /// In which run.
        run: RunName,
        /// Of which invariant.
        invariant: Str,
        /// How many.
        times: usize,
    },
    /// An event of a run: with `--trace` all of them before its `run`, else the last ones of a run that failed.
    Trace {
        /// Of which run.
        run: RunName,
        /// What happened.
        event: EventLine,
    },
    /// The plan of a run that failed was written: `arc-sim replay` runs it again.
    Replay {
        /// Which run.
        run: RunName,
        /// Path of the plan.
        plan: String,
    },
    /// Two runs of one plan differ: our bug.
    Diverged {
        /// Which run.
        run: RunName,
        /// The first event that differs.
        number: u64,
        /// As it was in the first run.
        first: String,
        /// As it was in the second.
        second: String,
    },
    /// A run panicked: our bug.
    Panic {
        /// Which run.
        run: RunName,
        /// What the panic said.
        said: String,
        /// Path of the plan.
        plan: String,
    },
    /// How a scenario's variants compare.
    Mitigation {
        /// The scenario.
        scenario: Str,
        /// The release that its variants are compared on.
        release: Str,
        /// Names of the metrics.
        columns: Vec<Str>,
        /// The scenario and its variants.
        rows: Vec<Row>,
    },
    /// The end of the stream.
    Summary {
        /// Runs that met their expectation.
        passed: usize,
        /// Runs that did not.
        failed: usize,
        /// Runs without a verdict.
        inconclusive: usize,
        /// Runs of which nothing was expected.
        measured: usize,
        /// Files that could not be read.
        rejected: usize,
        /// Virtual time of all runs together.
        virtual_us: u64,
        /// The exit code.
        exit: u8,
    },
}

/// One line of the stream.
#[derive(Serialize, JsonSchema)]
struct Line<'e, T> {
    /// Version of the format.
    #[schemars(extend("const" = VERSION))]
    v: u32,
    #[serde(flatten)]
    event: &'e T,
}

/// One line of JSON with its version, for a stream of events of some type.
pub(crate) fn line<T: Serialize>(event: &T) -> String {
    // The streams are made of strings, numbers and lists, which JSON can always say.
    serde_json::to_string(&Line { v: VERSION, event }).unwrap_or_default()
}

/// The JSON Schema of such lines.
pub(crate) fn schema_of<T: JsonSchema + 'static>(title: &str) -> String {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Line<'static, T>>().to_value();
    schema["title"] = title.into();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// The JSON Schema of a line, as it stands in `sim/schema/report.schema.json`.
pub fn schema() -> String {
    schema_of::<ReportEvent>("arc-sim report event")
}

impl ReportEvent {
    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        line(self)
    }
}
