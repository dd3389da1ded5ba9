//! Helm's memory: what each release was last asked to be. Owned by the world; never reads a cluster.
//!
//! Source: kubernetes-api.md §9.4. In a cluster these are Secrets; nobody but Helm acts on them, so they are not API objects here.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::{Object, Str, Time};
use controller_core::Release;
use serde_json::Value;

/// Which of ARC's charts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ChartName {
    /// `gha-runner-scale-set-controller`.
    Controller,
    /// `gha-runner-scale-set`.
    ScaleSet,
}

/// A chart in a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chart {
    /// Which.
    pub name: ChartName,
    /// Its version, and with it what it renders.
    pub release: Release,
}

/// State of a revision.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Status {
    PendingInstall,
    PendingUpgrade,
    Deployed,
    Superseded,
    Failed,
    Uninstalling,
}

impl Status {
    /// A command is (or was, when it died) under way.
    pub const fn is_pending(self) -> bool {
        matches!(self, Status::PendingInstall | Status::PendingUpgrade)
    }
    /// As `helm list` prints it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::PendingInstall => "pending-install",
            Status::PendingUpgrade => "pending-upgrade",
            Status::Deployed => "deployed",
            Status::Superseded => "superseded",
            Status::Failed => "failed",
            Status::Uninstalling => "uninstalling",
        }
    }
}

/// One revision of a release.
#[derive(Clone, Debug)]
pub struct Revision {
    /// From 1 on.
    pub number: u32,
    /// State.
    pub status: Status,
    /// Chart.
    pub chart: Chart,
    /// The user's values.
    pub values: Arc<Value>,
    /// What the chart rendered, in the order of installation, without Helm's own marks.
    pub manifest: Arc<[Object]>,
    /// When the command recorded it.
    pub at: Time,
    /// Why it failed.
    pub description: Str,
}

/// All releases of one cluster.
#[derive(Clone, Debug, Default)]
pub struct Releases {
    all: BTreeMap<(Str, Str), Arc<Vec<Revision>>>,
}

impl Releases {
    /// The revisions of a release, oldest first; empty if there is none.
    pub fn history(&self, namespace: &Str, name: &Str) -> &[Revision] {
        self.all.get(&(namespace.clone(), name.clone())).map_or(&[], |h| h)
    }
    /// The newest revision.
    pub fn last(&self, namespace: &Str, name: &Str) -> Option<&Revision> {
        self.history(namespace, name).last()
    }
    /// The revision that an upgrade starts from: the deployed one, else the newest if it failed or was superseded. One that is
    /// being uninstalled is none (`prepareUpgrade` of Helm 3).
    pub fn current(&self, namespace: &Str, name: &Str) -> Option<&Revision> {
        let history = self.history(namespace, name);
        let newest = history.last().filter(|r| matches!(r.status, Status::Failed | Status::Superseded));
        history.iter().rev().find(|r| r.status == Status::Deployed).or(newest)
    }
    /// Every release with its newest revision: `helm list -A -a`.
    pub fn list(&self) -> impl Iterator<Item = (&Str, &Str, &Revision)> {
        self.all.iter().filter_map(|((namespace, name), h)| Some((namespace, name, h.last()?)))
    }
    /// Adds a revision and gives its number.
    pub(super) fn push(&mut self, namespace: &Str, name: &Str, mut revision: Revision) -> u32 {
        let history = self.all.entry((namespace.clone(), name.clone())).or_default();
        revision.number = history.last().map_or(1, |r| r.number + 1);
        let number = revision.number;
        Arc::make_mut(history).push(revision);
        number
    }
    /// Ends a revision's command. A newly deployed one supersedes those before it.
    pub(super) fn finish(&mut self, namespace: &Str, name: &Str, number: u32, status: Status, description: Str) {
        let Some(history) = self.all.get_mut(&(namespace.clone(), name.clone())) else { return };
        for revision in Arc::make_mut(history) {
            if revision.number == number {
                revision.status = status;
                revision.description = description.clone();
            } else if status == Status::Deployed && revision.status == Status::Deployed {
                revision.status = Status::Superseded;
            }
        }
    }
    /// Forgets a release.
    pub(super) fn purge(&mut self, namespace: &Str, name: &Str) {
        self.all.remove(&(namespace.clone(), name.clone()));
    }
}
