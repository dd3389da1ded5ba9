//! The lines that `chaos --json` and `merge --json` print: one `campaign`, then a `class` for each kind of failure, then a
//! `finding` for each that was shrunk. Never adds anything up.
//!
//! Every line is an object with `v` (version of this format, [`VERSION`](crate::report::event::VERSION)) and `type`. Its JSON
//! Schema is made from these types: `arc-sim schema --chaos`, or `sim/schema/chaos.schema.json`. Members and types of lines may be
//! added within a version, so readers ignore what they do not know; what is there keeps its name and meaning. Times are
//! microseconds of virtual time.

use std::path::Path;

use arc_api::Str;
use schemars::JsonSchema;
use serde::Serialize;

use super::finding::{Cause, Finding, Odds};
use super::results::{ClassSum, Header, Sums};
use super::seed::Class;
use crate::report::event;

/// One line.
#[derive(Clone, PartialEq, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CampaignLine {
    /// The whole campaign. Comes first, once.
    Campaign {
        /// Which ARC.
        release: Str,
        /// Name of the profile.
        profile: Str,
        /// Seeds that were run.
        seeds: u64,
        /// Seeds with a failure.
        failed: u64,
        /// How many events were handled.
        events: u64,
        /// Virtual time of all seeds together.
        virtual_us: u64,
        /// One fingerprint of all seeds, 16 hexadecimal digits: the same seeds have the same one, whatever the jobs and shards.
        fingerprint: String,
        /// Somebody stopped it (Ctrl-C) before its seeds were done or its failures shrunk: `--resume` goes on.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        stopped: bool,
    },
    /// A kind of failure, by promise and component.
    Class {
        /// Id of the promise; `panic` for a bug of the simulator itself.
        invariant: Str,
        /// Who broke it.
        component: Str,
        /// Seeds that failed so.
        seeds: u64,
        /// The lowest of them.
        first_seed: u64,
        /// The one that fails first in virtual time.
        fastest: Option<Fastest>,
    },
    /// A failure that was made small. Comes after the classes.
    Finding {
        /// Id of the promise.
        invariant: Str,
        /// Who broke it.
        component: Str,
        /// The seed it was found with.
        seed: u64,
        /// Planned actions of that seed.
        actions_before: usize,
        /// Planned actions that it takes.
        actions: usize,
        /// Executions that shrinking took.
        tries: u32,
        /// Whether nothing more can be left out; false: the budget ended before.
        minimal: bool,
        /// How often of ten it failed in the same way with the same history when it was run again.
        replays: u32,
        /// Switches of the release each of which alone cures it.
        causes: Vec<Cause>,
        /// With how many other seeds its plan fails as well; if with too few, no cause can be told from luck.
        odds: Odds,
        /// Path of its scenario file.
        file: String,
    },
}

/// A seed that fails, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, JsonSchema)]
pub struct Fastest {
    /// The seed.
    pub seed: u64,
    /// When its promise was broken.
    pub at_us: u64,
}

impl CampaignLine {
    /// Of a campaign.
    pub fn campaign(header: &Header, sums: &Sums, stopped: bool) -> CampaignLine {
        CampaignLine::Campaign {
            release: header.release.clone(),
            profile: header.profile.clone(),
            seeds: sums.seeds,
            failed: sums.failed,
            events: sums.events,
            virtual_us: sums.virtual_us,
            fingerprint: format!("{:016x}", sums.fingerprint),
            stopped,
        }
    }
    /// Of a class.
    pub fn class(class: &Class, sum: &ClassSum) -> CampaignLine {
        CampaignLine::Class {
            invariant: class.invariant.clone(),
            component: class.component.clone(),
            seeds: sum.count,
            first_seed: sum.first,
            fastest: sum.fastest.first().map(|(at, seed)| Fastest { seed: *seed, at_us: at.0 }),
        }
    }
    /// Of a finding of the campaign in a directory.
    pub fn finding(finding: &Finding, out: &Path) -> CampaignLine {
        CampaignLine::Finding {
            invariant: finding.class.invariant.clone(),
            component: finding.class.component.clone(),
            seed: finding.seed,
            actions_before: finding.actions.0,
            actions: finding.actions.1,
            tries: finding.tries,
            minimal: finding.minimal,
            replays: finding.replays,
            causes: finding.causes.clone(),
            odds: finding.odds,
            file: finding.file(out).display().to_string(),
        }
    }
    /// As one line of JSON.
    pub fn to_json(&self) -> String {
        event::line(self)
    }
}

/// The JSON Schema of a line, as it stands in `sim/schema/chaos.schema.json`.
pub fn schema() -> String {
    event::schema_of::<CampaignLine>("arc-sim campaign line")
}
