//! The stream of report events: what `--json` prints, one per line, and what the text for people is made of.
//!
//! Every line is an object with `v` (version of this format, 1) and `type`. Times are microseconds of virtual time.
//!
//! | type | members |
//! |---|---|
//! | `problem` | `file`, `line`, `column`, `said`, `label`, `hint`: a file that was rejected |
//! | `run` | `run` (scenario, variant, release, seed), `verdict`, `reproduced`, `reasons`, `violated`, `pending`, `metrics`, `events`, `fingerprint`, `virtual_us` |
//! | `violation` | `run`, `violation` (invariant, component, at, said, about, cause) |
//! | `trace` | `run`, `event` (at, number, kind, text): with `--trace`, and the last events of a failing run without violation |
//! | `replay` | `run`, `plan` (path of the plan that was written) |
//! | `diverged` | `run`, `number`, `first`, `second`: the first event in which two runs of one plan differ |
//! | `panic` | `run`, `said`, `plan`: our bug |
//! | `mitigation` | `scenario`, `release`, `columns`, `rows` (variant, values) |
//! | `summary` | `passed`, `failed`, `inconclusive`, `measured`, `rejected`, `virtual_us`, `exit` |

use std::collections::BTreeMap;

use arc_api::Str;
use serde::Serialize;

use super::{EventLine, Reason, Verdict, Violation};

/// Version of the stream's format.
pub const VERSION: u32 = 1;

/// Which run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
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
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Row {
    /// Variant; absent: the scenario itself.
    pub variant: Option<Str>,
    /// One value per column; absent: not measured.
    pub values: Vec<Option<f64>>,
}

/// One event of a report.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum ReportEvent {
    Problem {
        file: String,
        line: usize,
        column: usize,
        said: String,
        label: String,
        hint: Option<String>,
    },
    Run {
        run: RunName,
        verdict: Verdict,
        reproduced: Vec<Str>,
        reasons: Vec<Reason>,
        violated: Vec<Str>,
        pending: Vec<Str>,
        metrics: BTreeMap<&'static str, f64>,
        events: u64,
        fingerprint: String,
        virtual_us: u64,
    },
    Violation {
        run: RunName,
        violation: Violation,
    },
    /// Text only: further violations of an invariant that were not printed.
    More {
        run: RunName,
        invariant: Str,
        times: usize,
    },
    Trace {
        run: RunName,
        event: EventLine,
    },
    Replay {
        run: RunName,
        plan: String,
    },
    Diverged {
        run: RunName,
        number: u64,
        first: String,
        second: String,
    },
    Panic {
        run: RunName,
        said: String,
        plan: String,
    },
    Mitigation {
        scenario: Str,
        release: Str,
        columns: Vec<Str>,
        rows: Vec<Row>,
    },
    Summary {
        passed: usize,
        failed: usize,
        inconclusive: usize,
        measured: usize,
        rejected: usize,
        virtual_us: u64,
        exit: u8,
    },
}

#[derive(Serialize)]
struct Line<'e> {
    v: u32,
    #[serde(flatten)]
    event: &'e ReportEvent,
}

impl ReportEvent {
    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        // The stream is made of strings, numbers and lists, which JSON can always say.
        serde_json::to_string(&Line { v: VERSION, event: self }).unwrap_or_default()
    }
}
