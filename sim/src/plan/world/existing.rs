//! What exists at time zero besides what helm installs. Never made by the controllers of this world.

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::values::*;

settings! {
    /// What exists at time zero besides what helm installs.
    ExistingSpec {
        /// Sessions that somebody holds.
        sessions: Vec<ExistingSession> = Vec::new(),
        /// Runners left from before, with or without registration.
        runners: Vec<ExistingRunners> = Vec::new(),
        /// Jobs waiting at GitHub.
        backlog: Vec<Backlog> = Vec::new(),
        /// Kubernetes objects, as JSON.
        objects: Vec<ExistingObject> = Vec::new(),
    }
    /// A session that somebody holds.
    ExistingSession {
        /// Scale set; its registration exists as well.
        scale_set: SetRef = SetRef { cluster: None, name: Str::new_static("linux") },
        /// Owner.
        owner: Str = Str::new_static("ghost"),
        /// How long it lives.
        ttl: Dur = Dur::secs(90),
    }
    /// Runners left from before.
    ExistingRunners {
        /// Scale set.
        scale_set: SetRef = SetRef { cluster: None, name: Str::new_static("linux") },
        /// How many.
        count: u32 = 1,
        /// How long each still has a job; 0: idle.
        busy_for: Dur = Dur::ZERO,
        /// Whether the service knows them.
        registered: bool = true,
        /// Whether their pods exist.
        pods: bool = true,
        /// Failed pods recorded in status.failures.
        failures: u32 = 0,
    }
    /// Jobs waiting at GitHub.
    Backlog {
        /// Scale set.
        scale_set: SetRef = SetRef { cluster: None, name: Str::new_static("linux") },
        /// How many.
        count: u32 = 1,
        /// The jobs.
        job: crate::plan::JobSpec = crate::plan::JobSpec::default(),
    }
    /// A Kubernetes object.
    ExistingObject {
        /// Cluster; empty: the first.
        cluster: Str = Str::default(),
        /// Kubernetes JSON with apiVersion and kind.
        object: Value = Value::Null,
    }
}
