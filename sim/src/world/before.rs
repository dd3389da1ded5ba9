//! What was at work before time zero: charts, scale sets and runners that are there when a world begins. The passes of the release
//! that is installed make them, call by call with nothing in between; the controllers that live in this world never do.
//!
//! Differs: the time that this took is not simulated. Everything bears the date of time zero, the pods (the manager's, the
//! listener's, the runners') start then, a runner goes on with its job when it is connected, and what the service told the listener
//! of before is told once more to the listener of this world.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::Deployment;
use arc_api::crd::{AutoscalingRunnerSet, EphemeralRunner};
use arc_api::kube::{Body, DeleteOptions, ErStatusPatch, Identity, KubeRequest, Patch, Sub, WatchType};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::service::{Auth, ServiceRequest};
use arc_api::{Kind, Meta, Object, RunnerId, ScaleSetId, Uid};
use controller_core::autoscaling_listener::AlPass;
use controller_core::autoscaling_runner_set::ArsPass;
use controller_core::behaviour::ErsGate;
use controller_core::caches::{Caches, WATCHED};
use controller_core::call::{Call, CallError, Reply, ServiceCall, Transport};
use controller_core::ephemeral_runner::{ErPass, failure_mark};
use controller_core::ephemeral_runner_set::ErsPass;
use controller_core::names;
use controller_core::reconcile::{Decision, Observed, Pass, Settings};
use fake_github::Outcome;

use super::operators::{Command, Task};
use super::{SiteId, World};
use crate::plan::world::ExistingRunners;
use crate::plan::{Dur, JobSpec, QueueJob, SetRef};
use crate::process::{Input, Output};

/// Calls of one pass: more would be a bug.
const CALLS: usize = 10_000;
/// How often every object is looked at: enough for whatever is one wait after another (a registration in 0.7.0 takes five).
const ROUNDS: usize = 24;

impl World {
    /// Whether runners were at work in a cluster before time zero, and so everything that it takes to have them.
    pub(super) fn was_at_work(&self, site: SiteId) -> bool {
        self.plan.world.existing.runners.iter().any(|r| self.site_of_set(&r.scale_set) == Some(site))
    }

    fn site_of_set(&self, set: &SetRef) -> Option<SiteId> {
        self.set_site(set).map(|(site, _)| site)
    }

    /// Makes what was at work in a cluster: its charts by these tasks, its scale sets, listeners and runners by the passes of the
    /// installed release. What cannot be made so leaves the world [unfurnished](crate::outcome::Ending::Unfurnished).
    pub(super) fn before_zero(&mut self, site: SiteId, tasks: Vec<Task>) {
        self.at_once(site, tasks);
        let Some(settings) = self.past_settings(site) else {
            self.unfurnished = true;
            return;
        };
        Past::new(self, site, settings).live();
    }

    /// A command line whose calls are all answered at once.
    fn at_once(&mut self, site: SiteId, tasks: Vec<Task>) {
        let mut command = Command::new("time-zero".into(), None, tasks);
        let (mut input, mut out, now) = (Input::Start, Vec::new(), self.now);
        loop {
            let wishes = self.step_command(site, &mut command, input, now, &mut out);
            self.notice(site);
            for wish in wishes {
                self.wish(site, wish);
            }
            match out.pop() {
                Some(Output::Kube { tag, request, .. }) => {
                    let reply = self.site_mut(site).cluster.handle(&Identity::Admin, &request, now);
                    input = Input::Kube(tag, reply.map_err(CallError::Api));
                }
                _ => return,
            }
        }
    }

    /// How the manager was told to be that a cluster has installed.
    fn past_settings(&mut self, site: SiteId) -> Option<Settings> {
        let spec = self.spec_of(site).controllers.iter().find(|c| c.installed)?.clone();
        let of_chart = |d: &&Arc<Deployment>| {
            d.metadata.namespace == spec.namespace && d.metadata.label("app.kubernetes.io/instance") == Some(&spec.name)
        };
        let deployments = self.site(site).cluster.api().iter(Kind::Deployment).filter_map(Object::get::<Deployment>);
        let deployment = deployments.into_iter().find(of_chart)?;
        let template = &deployment.template;
        let metadata = Meta {
            labels: template.metadata.labels.clone(),
            ..Meta::named(deployment.metadata.namespace.clone(), deployment.metadata.name.clone())
        };
        let pod = Arc::new(Pod { metadata, spec: template.spec.clone(), ..Pod::default() });
        self.manager_config(site, &pod).ok().map(|config| config.settings)
    }
}

/// A manager for whom no time passes.
struct Past<'w> {
    world: &'w mut World,
    site: SiteId,
    settings: Settings,
    caches: Caches,
    seen: u64,
}

impl<'w> Past<'w> {
    fn new(world: &'w mut World, site: SiteId, settings: Settings) -> Past<'w> {
        let api = world.site(site).cluster.api();
        let (mut caches, seen) = (Caches::default(), api.resource_version());
        for kind in WATCHED {
            for object in api.iter(*kind) {
                caches.of_mut(*kind).insert(object.clone());
            }
        }
        Past { world, site, settings, caches, seen }
    }

    fn live(&mut self) {
        self.settle();
        let plan = self.world.plan.clone();
        let mut wanted: BTreeMap<Key, Vec<&ExistingRunners>> = BTreeMap::new();
        for runners in &plan.world.existing.runners {
            if let Some((site, set)) = self.world.set_site(&runners.scale_set)
                && site == self.site
            {
                wanted.entry(World::set_key(&set)).or_default().push(runners);
            }
        }
        for (set, groups) in &wanted {
            self.scale(set, groups.iter().map(|g| g.count).sum());
        }
        self.settle();
        for (set, groups) in &wanted {
            let mut runners = self.runners(set).into_iter();
            for group in groups {
                for _ in 0..group.count {
                    match runners.next() {
                        Some(runner) => self.leave(set, &runner, group),
                        None => self.world.unfurnished = true,
                    }
                }
            }
        }
    }

    /// Every controller looks at everything, until nothing is written any more.
    fn settle(&mut self) {
        for _ in 0..ROUNDS {
            let before = self.seen;
            for key in self.keys(Kind::AutoscalingRunnerSet) {
                self.reconcile(ArsPass::new(key));
            }
            for key in self.keys(Kind::AutoscalingListener) {
                self.reconcile(AlPass::new(key));
            }
            for key in self.keys(Kind::EphemeralRunnerSet) {
                self.reconcile(ErsPass::new(key));
            }
            for key in self.keys(Kind::EphemeralRunner) {
                self.reconcile(ErPass::new(key));
            }
            if self.seen == before {
                return;
            }
        }
    }

    fn keys(&self, kind: Kind) -> Vec<Key> {
        self.caches.of(kind).iter().map(Object::key).collect()
    }

    fn reconcile(&mut self, mut pass: impl Pass) {
        let (mut reply, mut log) = (None, Vec::new());
        for _ in 0..CALLS {
            let now = self.world.now;
            let mut observed =
                Observed { settings: &self.settings, caches: &self.caches, now, reply: reply.take(), log: &mut log };
            match pass.step(&mut observed) {
                Decision::End(_) => return,
                Decision::Call(Call::Kube(request)) => reply = Some(self.kube(&request)),
                Decision::Call(Call::Service(call)) => reply = Some(self.service(call)),
            }
        }
    }

    fn service(&mut self, call: ServiceCall) -> Reply {
        let now = self.world.now;
        let tenant = fake_github::tenant_path(&call.client.url);
        let auth = Auth::Admin(self.world.github.issue_admin_token(&tenant, now));
        let answer = match self.world.github.handle(&ServiceRequest { auth, op: call.op }, now) {
            Outcome::Reply(answer) => answer.map_err(CallError::Service),
            Outcome::Parked(_) => Err(CallError::Transport(Transport::Timeout)),
        };
        self.world.notice_github();
        Reply::Service(answer)
    }

    /// A call that is answered at once, and what the caches see of it. Observers hear of it before the next one.
    fn kube(&mut self, request: &KubeRequest) -> Reply {
        let now = self.world.now;
        let cluster = &mut self.world.site_mut(self.site).cluster;
        let reply = cluster.handle(&Identity::Admin, request, now);
        for event in cluster.api().log_since(self.seen).filter(|e| WATCHED.contains(&e.object.kind())) {
            let cache = self.caches.of_mut(event.object.kind());
            match event.type_ {
                WatchType::Deleted => drop(cache.remove(&event.object.key())),
                _ => drop(cache.insert(event.object.clone())),
            }
        }
        self.seen = cluster.api().resource_version();
        self.world.notice(self.site);
        Reply::kube(reply)
    }

    /// What the listener asked for last.
    fn scale(&mut self, set: &Key, count: u32) {
        let patch_id = match self.settings.behaviour.ers_gate {
            ErsGate::Always => None,
            ErsGate::PatchId | ErsGate::Level => Some(1),
        };
        let body = Body::ErsSpec { replicas: Some(count as i32), patch_id };
        for key in self.caches.runner_sets(set).map(|s| s.metadata.key()).collect::<Vec<_>>() {
            let patch = Arc::new(Patch { body: body.clone(), ..Patch::default() });
            self.kube(&KubeRequest::Patch { kind: Kind::EphemeralRunnerSet, key, sub: Sub::Main, patch });
        }
    }

    /// The runners of a set that have all they need.
    fn runners(&self, set: &Key) -> Vec<Arc<EphemeralRunner>> {
        let owned = |set: &Key| self.caches.owned::<EphemeralRunner>(Kind::EphemeralRunnerSet, set).cloned().collect();
        let all = self.caches.runner_sets(set).flat_map(|s| -> Vec<_> { owned(&s.metadata.key()) });
        let is_made = |r: &Arc<EphemeralRunner>| {
            r.status.runner_id != RunnerId(0) && self.caches.get::<Pod>(&r.metadata.key()).is_some()
        };
        all.filter(is_made).collect()
    }

    /// Leaves a runner as the scenario says it was left.
    fn leave(&mut self, set: &Key, runner: &Arc<EphemeralRunner>, left: &ExistingRunners) {
        let (key, now) = (runner.metadata.key(), self.world.now);
        if left.failures > 0 {
            let mark = failure_mark(&self.settings.behaviour, now);
            // Of pods that nobody will ever see again.
            let pods = (0..left.failures).map(|n| (Uid(u64::MAX - u64::from(n)), mark));
            let status = ErStatusPatch { failures: Some(pods.collect()), ..ErStatusPatch::default() };
            let patch = Arc::new(Patch { body: Body::ErStatus(Box::new(status)), ..Patch::default() });
            self.kube(&KubeRequest::Patch { kind: Kind::EphemeralRunner, key: key.clone(), sub: Sub::Status, patch });
        }
        if !left.registered {
            self.world.github.lose_registration(runner.status.runner_id, false, now);
            self.world.notice_github();
        }
        if !left.pods {
            let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
            self.kube(&KubeRequest::Delete { kind: Kind::Pod, key, options });
        }
        if left.busy_for > Dur::ZERO {
            self.employ(set, left);
        }
    }

    /// A job of this set that the next idle runner goes on with.
    fn employ(&mut self, set: &Key, left: &ExistingRunners) {
        let Some(ars) = self.caches.get::<AutoscalingRunnerSet>(set) else { return };
        let id = ars.metadata.annotation(names::SCALE_SET_ID).and_then(|id| id.parse().ok()).map(ScaleSetId);
        let Some(id) = id else { return };
        let hooks = self.world.set_site(&left.scale_set).is_some_and(|(_, s)| s.container_mode.has_hooks());
        let job = JobSpec { duration: left.busy_for, container: hooks, ..JobSpec::default() };
        let queued = QueueJob { scale_set: left.scale_set.clone(), label: None, job };
        let now = self.world.now;
        let job = self.world.queue_job(u32::MAX, &queued);
        self.world.github.assign_job(job, id, now);
        self.world.notice_github();
    }
}
