//! `helm install`, `upgrade` and `uninstall` as a step machine: one API call per step, in Helm's order.
//!
//! Source: kubernetes-api.md §9.4 (Helm 3.18), field-bugs.md seed-upgrade-finalizer-not-found; recorded: every `helm` line of
//! a_basic, a_wrongorder, b_kube_mode, d_*. Waits for nothing, as Helm does without `--wait`; hooks do not exist in ARC's charts.
//! Objects of one kind, which Helm sends side by side, go out in the order of the chart's files.

use std::sync::Arc;

use arc_api::core::{Deployment, Namespace};
use arc_api::kube::{KubeOk, KubeRequest, Sub};
use arc_api::meta::labels;
use arc_api::{Kind, Meta, Object, Resource, Str, Time, format_smolstr};
use controller_core::call::CallError;
use serde_json::Value;

use super::command::{
    Command, HelmResult, HelmStep, delete_request, looks_up, new_crds, same_object, template, uninstall_order,
};
use super::merge;
use super::names::{owned, ownership_problem};
use super::patches::helm_patch;
use super::releases::{Chart, Releases, Revision, Status};

#[derive(Clone, Debug)]
enum At {
    Begin,
    Crd(usize),
    Lookup,
    Conflict(usize),
    Namespace,
    Create(usize),
    Exists(usize),
    Live(usize),
    Patch(usize),
    Refresh(usize),
    PruneGet(usize),
    Prune(usize),
    Delete(usize),
    Over,
}

/// A running `helm` process. Its death at any step leaves the release as it was recorded last.
#[derive(Clone, Debug)]
pub struct HelmOp {
    name: Str,
    namespace: Str,
    command: Command,
    server_minor: Str,
    at: At,
    values: Arc<Value>,
    warnings: Vec<String>,
    crds: Vec<Object>,
    /// The chart's objects, bare and with Helm's marks, in one order.
    manifest: Arc<[Object]>,
    targets: Vec<Object>,
    /// What the last revision had, and what is adopted.
    last: Vec<Object>,
    adopts: bool,
    revision: u32,
    errors: Vec<Str>,
}

type Reply = Result<KubeOk, CallError>;

impl HelmOp {
    /// A command for the release `name` in `namespace`. `server_minor` is the minor version that the server reports (`34`, `29+`).
    pub fn new(
        name: impl Into<Str>,
        namespace: impl Into<Str>,
        command: Command,
        server_minor: impl Into<Str>,
    ) -> HelmOp {
        HelmOp {
            name: name.into(),
            namespace: namespace.into(),
            command,
            server_minor: server_minor.into(),
            at: At::Begin,
            values: Arc::default(),
            warnings: Vec::new(),
            crds: Vec::new(),
            manifest: Arc::default(),
            targets: Vec::new(),
            last: Vec::new(),
            adopts: false,
            revision: 0,
            errors: Vec::new(),
        }
    }

    /// The release's name.
    pub fn name(&self) -> &Str {
        &self.name
    }

    /// Name of the step whose reply is awaited, for traces and crash points.
    pub fn at(&self) -> &'static str {
        match self.at {
            At::Begin => "Begin",
            At::Crd(_) => "InstallCrd",
            At::Lookup => "LookupController",
            At::Conflict(_) => "CheckOwner",
            At::Namespace => "CreateNamespace",
            At::Create(_) => "Create",
            At::Exists(_) => "CheckExists",
            At::Live(_) => "ReadLive",
            At::Patch(_) => "Patch",
            At::Refresh(_) => "Refresh",
            At::PruneGet(_) => "ReadSurplus",
            At::Prune(_) => "DeleteSurplus",
            At::Delete(_) => "Delete",
            At::Over => "Over",
        }
    }

    /// Decides what comes next. The first step has no reply, each later one that of the last call.
    pub fn step(&mut self, releases: &mut Releases, reply: Option<Reply>, now: Time) -> HelmStep {
        let next = match (std::mem::replace(&mut self.at, At::Over), reply) {
            (At::Begin, _) => self.begin(releases, now),
            (at, Some(reply)) => self.resume(at, reply, releases, now),
            (_, None) => Err("the command is over".into()),
        };
        match next {
            Ok(Some(request)) => HelmStep::Call(request),
            Ok(None) => self.done(releases, Ok(())),
            Err(why) => self.done(releases, Err(why)),
        }
    }

    fn done(&mut self, releases: &mut Releases, outcome: Result<(), Str>) -> HelmStep {
        self.at = At::Over;
        if self.revision > 0 {
            let (status, text) = match (&outcome, &self.command) {
                (Ok(()), Command::Uninstall) => (Status::Uninstalling, Str::default()),
                (Err(why), Command::Uninstall) => (Status::Uninstalling, why.clone()),
                (Ok(()), _) => (Status::Deployed, Str::default()),
                (Err(why), _) => (Status::Failed, why.clone()),
            };
            releases.finish(&self.namespace, &self.name, self.revision, status, text);
        }
        if matches!((&outcome, &self.command), (Ok(()), Command::Uninstall)) {
            releases.purge(&self.namespace, &self.name);
        }
        HelmStep::Done(HelmResult { outcome, revision: self.revision, warnings: std::mem::take(&mut self.warnings) })
    }

    fn begin(&mut self, releases: &mut Releases, now: Time) -> Result<Option<KubeRequest>, Str> {
        let last = releases.last(&self.namespace, &self.name);
        match (&self.command, last) {
            (Command::Install { .. }, Some(_)) => Err("cannot re-use a name that is still in use".into()),
            (Command::Install { chart, values }, None) => {
                (self.values, self.crds) = (values.clone(), new_crds(*chart));
                self.crd(0, releases, now)
            }
            (Command::Upgrade { install: true, chart, values, .. }, None) => {
                let (chart, values) = (*chart, values.clone().unwrap_or_default());
                self.command = Command::Install { chart, values: values.clone() };
                (self.values, self.crds) = (values, new_crds(chart));
                self.crd(0, releases, now)
            }
            (Command::Upgrade { .. }, None) => Err(format_smolstr!("\"{}\" has no deployed releases", self.name)),
            (Command::Upgrade { .. }, Some(r)) if r.status.is_pending() => {
                Err("another operation (install/upgrade/rollback) is in progress".into())
            }
            (Command::Upgrade { values, reuse, .. }, Some(_)) => {
                let Some(current) = releases.current(&self.namespace, &self.name) else {
                    return Err(format_smolstr!("\"{}\" has no deployed releases", self.name));
                };
                self.values = match values {
                    None => current.values.clone(),
                    Some(given) if *reuse => Arc::new(merge::coalesce(&current.values, given)),
                    Some(given) => given.clone(),
                };
                self.last = current.manifest.to_vec();
                self.look_up(releases, now)
            }
            (Command::Uninstall, None) => {
                Err(format_smolstr!("uninstall: Release not loaded: {}: release: not found", self.name))
            }
            (Command::Uninstall, Some(newest)) => {
                self.revision = newest.number;
                self.targets = uninstall_order(&newest.manifest);
                releases.finish(&self.namespace, &self.name, self.revision, Status::Uninstalling, Str::default());
                self.delete(0)
            }
        }
    }

    fn resume(&mut self, at: At, reply: Reply, releases: &mut Releases, now: Time) -> Result<Option<KubeRequest>, Str> {
        match (at, reply) {
            (At::Crd(i), Ok(_)) => self.crd(i + 1, releases, now),
            (At::Crd(i), Err(e)) if e.is_already_exists() => self.crd(i + 1, releases, now),
            (At::Crd(i), Err(e)) => {
                Err(format_smolstr!("failed to install CRD {}: {}", self.crds[i].meta().name, e.text()))
            }
            (At::Lookup, Ok(KubeOk::List { items, .. })) => {
                let deployments: Vec<_> = items.iter().filter_map(|o| Deployment::unwrap(o).cloned()).collect();
                self.render(&deployments, releases, now)
            }
            (At::Lookup, Ok(_)) => self.render(&[], releases, now),
            (At::Lookup, Err(e)) => Err(e.text()),
            (At::Conflict(i), Ok(found)) => {
                if let Some(found) = found.object() {
                    self.adopt(i, found)?;
                }
                self.conflict(i + 1, releases, now)
            }
            (At::Conflict(i), Err(e)) if e.is_not_found() => self.conflict(i + 1, releases, now),
            (At::Conflict(_), Err(e)) => Err(format_smolstr!(
                "Unable to continue with install: could not get information \
                about the resource: {}",
                e.text()
            )),
            (At::Namespace, Err(e)) if !e.is_already_exists() => Err(e.text()),
            (At::Namespace, _) => Ok(self.record(releases, now)),
            (At::Create(_), Err(e)) => Err(e.text()),
            (At::Exists(i), Err(e)) if e.is_not_found() => Ok(Some(self.create(i))),
            (At::Exists(_), Err(e)) => {
                Err(format_smolstr!("could not get information about the resource: {}", e.text()))
            }
            (At::Exists(i), Ok(_)) => {
                self.at = At::Live(i);
                Ok(Some(self.get(&self.targets[i])))
            }
            (At::Live(i), Ok(live)) => Ok(self.patch(i, live.object())),
            (At::Live(i), Err(e)) if e.is_not_found() => Ok(self.patch(i, None)),
            (At::Live(i) | At::Patch(i) | At::Refresh(i), Err(e)) => {
                let target = &self.targets[i];
                self.errors.push(format_smolstr!(
                    "cannot patch \"{}\" with kind {}: {}",
                    target.meta().name,
                    target.kind(),
                    e.text()
                ));
                self.apply(i + 1)
            }
            (At::Create(i) | At::Patch(i) | At::Refresh(i), Ok(_)) => self.apply(i + 1),
            (At::PruneGet(i), Err(e)) if e.is_not_found() => Ok(self.prune(i + 1)),
            (At::PruneGet(i), _) => {
                self.at = At::Prune(i);
                Ok(Some(delete_request(&self.last[i])))
            }
            (At::Prune(i), _) => Ok(self.prune(i + 1)),
            (At::Delete(i), reply) => {
                if let Some(e) = reply.err().filter(|e| !e.is_not_found()) {
                    self.errors.push(e.text());
                }
                self.delete(i + 1)
            }
            (At::Begin | At::Over, _) => Err("the command is over".into()),
        }
    }

    fn chart(&self) -> Option<Chart> {
        match &self.command {
            Command::Install { chart, .. } | Command::Upgrade { chart, .. } => Some(*chart),
            Command::Uninstall => None,
        }
    }

    fn get(&self, object: &Object) -> KubeRequest {
        KubeRequest::Get { kind: object.kind(), key: object.key() }
    }

    fn crd(&mut self, i: usize, releases: &mut Releases, now: Time) -> Result<Option<KubeRequest>, Str> {
        let Some(crd) = self.crds.get(i).cloned() else { return self.look_up(releases, now) };
        self.at = At::Crd(i);
        Ok(Some(KubeRequest::Create(crd)))
    }

    fn look_up(&mut self, releases: &mut Releases, now: Time) -> Result<Option<KubeRequest>, Str> {
        if self.chart().is_some_and(|chart| looks_up(chart, &self.values)) {
            self.at = At::Lookup;
            return Ok(Some(KubeRequest::List { kind: Kind::Deployment, namespace: None, labels: Vec::new() }));
        }
        self.render(&[], releases, now)
    }

    fn render(
        &mut self,
        deployments: &[Arc<Deployment>],
        releases: &mut Releases,
        now: Time,
    ) -> Result<Option<KubeRequest>, Str> {
        if let Some(chart) = self.chart() {
            let rendered = template(chart, &self.values, &self.name, &self.namespace, &self.server_minor, deployments)?;
            (self.manifest, self.warnings) = (rendered.0.into(), rendered.1);
        }
        self.targets = self.manifest.iter().map(|o| owned(o, &self.name, &self.namespace)).collect();
        self.conflict(0, releases, now)
    }

    /// Looks at what exists of the objects that are new in this revision.
    fn conflict(&mut self, from: usize, releases: &mut Releases, now: Time) -> Result<Option<KubeRequest>, Str> {
        let is_new = |o: &Object| !self.last.iter().any(|l| same_object(l, o));
        let next = (from..self.targets.len()).find(|i| is_new(&self.targets[*i]));
        match next {
            Some(i) => {
                self.at = At::Conflict(i);
                Ok(Some(self.get(&self.targets[i])))
            }
            None if matches!(self.command, Command::Install { .. }) => {
                self.at = At::Namespace;
                let own = labels([
                    ("name", self.namespace.as_str()),
                    ("kubernetes.io/metadata.name", self.namespace.as_str()),
                ]);
                let metadata = Meta { labels: own, ..Meta::named("", self.namespace.clone()) };
                Ok(Some(KubeRequest::Create(Namespace { metadata, ..Namespace::default() }.into())))
            }
            None => Ok(self.record(releases, now)),
        }
    }

    /// Takes an object that exists already into the release, terminating or not, if it carries the release's marks.
    fn adopt(&mut self, i: usize, found: &Object) -> Result<(), Str> {
        let target = self.targets[i].clone();
        if let Some(problem) = ownership_problem(found.meta(), &self.name, &self.namespace) {
            let what = if matches!(self.command, Command::Install { .. }) { "install" } else { "update" };
            let (kind, meta) = (target.kind(), target.meta());
            return Err(format_smolstr!(
                "Unable to continue with {what}: {kind} \"{}\" in namespace \"{}\" exists and cannot be imported into the \
                 current release: {problem}",
                meta.name,
                meta.namespace
            ));
        }
        self.adopts = true;
        self.last.push(target);
        Ok(())
    }

    fn record(&mut self, releases: &mut Releases, now: Time) -> Option<KubeRequest> {
        let chart = self.chart()?;
        let status = if matches!(self.command, Command::Install { .. }) {
            Status::PendingInstall
        } else {
            Status::PendingUpgrade
        };
        let revision = Revision {
            number: 0,
            status,
            chart,
            values: self.values.clone(),
            manifest: self.manifest.clone(),
            at: now,
            description: Str::default(),
        };
        self.revision = releases.push(&self.namespace, &self.name, revision);
        self.apply(0).ok().flatten()
    }

    fn apply(&mut self, i: usize) -> Result<Option<KubeRequest>, Str> {
        if i >= self.targets.len() {
            return match self.errors.join(" && ") {
                none if none.is_empty() => Ok(self.prune(0)),
                errors => Err(errors.into()),
            };
        }
        if matches!(self.command, Command::Install { .. }) && !self.adopts {
            return Ok(Some(self.create(i)));
        }
        self.at = At::Exists(i);
        Ok(Some(self.get(&self.targets[i])))
    }

    fn create(&mut self, i: usize) -> KubeRequest {
        self.at = At::Create(i);
        KubeRequest::Create(self.targets[i].clone())
    }

    fn patch(&mut self, i: usize, live: Option<&Object>) -> Option<KubeRequest> {
        let target = &self.targets[i];
        let last = self.last.iter().find(|l| same_object(l, target)).unwrap_or(target);
        let (kind, key) = (target.kind(), target.key());
        match helm_patch(last, target, live.unwrap_or(target)) {
            Some(patch) => {
                self.at = At::Patch(i);
                Some(KubeRequest::Patch { kind, key, sub: Sub::Main, patch: Arc::new(patch) })
            }
            None => {
                self.at = At::Refresh(i);
                Some(KubeRequest::Get { kind, key })
            }
        }
    }

    /// Deletes what the last revision had and this one has no more.
    fn prune(&mut self, from: usize) -> Option<KubeRequest> {
        let gone = |o: &Object| !self.targets.iter().any(|t| same_object(t, o));
        let i = (from..self.last.len()).find(|i| gone(&self.last[*i]))?;
        self.at = At::PruneGet(i);
        Some(self.get(&self.last[i]))
    }

    fn delete(&mut self, i: usize) -> Result<Option<KubeRequest>, Str> {
        match self.targets.get(i) {
            Some(target) => {
                self.at = At::Delete(i);
                Ok(Some(delete_request(target)))
            }
            None if self.errors.is_empty() => Ok(None),
            None => Err(format_smolstr!("failed to delete release: {}", self.name)),
        }
    }
}
