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
        /// Runners left from before, with or without registration. Whoever has some in a cluster finds its charts installed, its
        /// listeners made and its runners stamped as the installed release leaves them; their pods start at time zero.
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
        /// How long each still has a job, from the moment it is connected again; 0: idle.
        busy_for: Dur = Dur::ZERO,
        /// Whether the service knows them.
        registered: bool = true,
        /// Whether their pods exist.
        pods: bool = true,
        /// Failed pods recorded in status.failures, the last of them at time zero.
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

impl ExistingSpec {
    /// Visits the scale sets that entries name.
    pub fn scale_sets_mut(&mut self, mut visit: impl FnMut(&mut SetRef)) {
        self.sessions.iter_mut().for_each(|s| visit(&mut s.scale_set));
        self.runners.iter_mut().for_each(|r| visit(&mut r.scale_set));
        self.backlog.iter_mut().for_each(|b| visit(&mut b.scale_set));
    }
}
