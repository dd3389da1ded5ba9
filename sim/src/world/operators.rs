//! What people and pipelines do: helm commands and kubectl calls, each a process of its own with the administrator's rights.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_api::core::{CustomResourceDefinition, Secret};
use arc_api::crd::AutoscalingRunnerSet;
use arc_api::kube::{Body, DeleteOptions, KubeOk, KubeRequest, Patch, Propagation, Sub};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Object, Str, Time, format_smolstr};
use controller_core::call::CallError;

use super::{SiteId, World};
use crate::helm::{Chart, ChartName, Command as HelmCommand, HelmOp, HelmStep};
use crate::plan::fault::PodTarget;
use crate::plan::operator::{Crds, Identity as IdentityObject, IdentityMode, Operator, Which};
use crate::plan::world::{ClusterSpec, ScaleSetSpec};
use crate::plan::{Action, SetRef};
use crate::process::{Input, Output};
use crate::trace::{Actor, Digest, What};

/// Between two tries of a person who wants something back.
const INSIST: Duration = Duration::from_secs(10);

/// One thing a command does.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    /// A helm command; what it means for the user's wishes once it succeeds.
    Helm(Box<HelmOp>, Wish),
    /// One API call.
    Call(KubeRequest),
    /// One API call that gives back what the command took: again and again until the server has decided.
    Insist(KubeRequest),
    /// A pause.
    Wait(Duration),
    /// Deletes a pod through the eviction API until it is allowed.
    Evict(Key),
}

/// What the user wants from now on.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// Nothing about scale sets.
    None,
    /// This set shall exist, with these limits; since when somebody has been asking for it.
    Set(Key, i32, i32, Time),
}

/// A command line at work.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) id: Str,
    pub(crate) action: Option<u32>,
    tasks: VecDeque<Task>,
    wait_until: Time,
    said: Vec<Str>,
}

impl Command {
    pub(crate) fn new(id: Str, action: Option<u32>, tasks: impl IntoIterator<Item = Task>) -> Command {
        Command { id, action, tasks: tasks.into_iter().collect(), wait_until: Time::ZERO, said: Vec::new() }
    }
}

impl World {
    /// Lets a command take its next step.
    pub(crate) fn step_command(
        &mut self,
        site: SiteId,
        c: &mut Command,
        input: Input,
        now: Time,
        out: &mut Vec<Output>,
    ) -> Vec<Wish> {
        let mut wishes = Vec::new();
        let mut reply: Option<Result<KubeOk, CallError>> = match input {
            Input::Kube(_, reply) => Some(reply),
            Input::Wake if now < c.wait_until => return wishes,
            _ => None,
        };
        loop {
            let Some(task) = c.tasks.front_mut() else {
                let text = c.said.join("; ");
                out.push(Output::Exit(i32::from(!c.said.is_empty()), text.into()));
                return wishes;
            };
            match task {
                Task::Helm(op, wish) => {
                    let releases = &mut self.sites[site.0 as usize].releases;
                    match op.step(releases, reply.take(), now) {
                        HelmStep::Call(request) => {
                            out.push(Output::Kube { tag: super::Tag::Own(0), request, at: now });
                            return wishes;
                        }
                        HelmStep::Done(result) => {
                            match result.outcome {
                                Ok(()) => wishes.push(wish.clone()),
                                Err(why) => c.said.push(why),
                            }
                            c.tasks.pop_front();
                        }
                    }
                }
                Task::Call(request) => match reply.take() {
                    None => {
                        out.push(Output::Kube { tag: super::Tag::Own(0), request: request.clone(), at: now });
                        return wishes;
                    }
                    Some(answer) => {
                        if let Err(e) = answer
                            && !e.is_not_found()
                        {
                            c.said.push(e.text());
                        }
                        c.tasks.pop_front();
                    }
                },
                Task::Insist(request) => match reply.take() {
                    None => {
                        out.push(Output::Kube { tag: super::Tag::Own(0), request: request.clone(), at: now });
                        return wishes;
                    }
                    // Nobody goes home while the server does not answer.
                    Some(Err(e)) if e.status().is_none_or(|s| s.code >= 500 || s.code == 429) => {
                        c.tasks.push_front(Task::Wait(INSIST));
                    }
                    Some(answer) => {
                        if let Err(e) = answer
                            && !e.is_already_exists()
                        {
                            c.said.push(e.text());
                        }
                        c.tasks.pop_front();
                    }
                },
                Task::Evict(key) => match reply.take() {
                    None => {
                        out.push(Output::Kube {
                            tag: super::Tag::Own(0),
                            request: KubeRequest::Evict { key: key.clone() },
                            at: now,
                        });
                        return wishes;
                    }
                    // Blocked by a budget: kubectl drain tries again every 5 s.
                    Some(Err(e)) if e.status().is_some_and(|s| s.code == 429) => {
                        c.tasks.push_front(Task::Wait(Duration::from_secs(5)));
                    }
                    Some(_) => {
                        c.tasks.pop_front();
                    }
                },
                Task::Wait(d) => {
                    if c.wait_until == Time::ZERO {
                        c.wait_until = now.after(*d);
                    }
                    if now < c.wait_until {
                        out.push(Output::WakeAt(c.wait_until));
                        return wishes;
                    }
                    c.wait_until = Time::ZERO;
                    c.tasks.pop_front();
                }
            }
        }
    }

    /// What the user wants has changed.
    pub(crate) fn wish(&mut self, site: SiteId, wish: Wish) {
        match wish {
            Wish::None => {}
            Wish::Set(key, min, max, since) => {
                let set = (site, key);
                // Who has asked for the opposite meanwhile has the last word.
                let over = self.invariants.ledger.sets.get(&set).and_then(|s| s.unwanted_at);
                if over.is_none_or(|at| at < since) {
                    self.intend(set, Some((min, max)));
                }
                self.after_observation();
            }
        }
    }

    /// A scale set shall exist from now on, with these limits, or not exist any more.
    pub(crate) fn intend(&mut self, set: crate::invariant::SetKey, wanted: Option<(i32, i32)>) {
        self.metrics.wanted(&set, wanted.is_some(), self.now);
        self.invariants.intend(set, wanted, self.now);
    }

    /// People do without these sets of a cluster.
    fn unwanted(&mut self, site: SiteId, which: impl Fn(&Key) -> bool) {
        let sets = self.invariants.ledger.sets.keys().filter(|(s, k)| *s == site && which(k)).cloned();
        for set in sets.collect::<Vec<_>>() {
            self.intend(set, None);
        }
    }

    pub(super) fn run_command(&mut self, site: SiteId, id: &Str, action: Option<u32>, tasks: Vec<Task>) {
        self.invariants.bounds.disturb(None);
        let command = Command::new(id.clone(), action, tasks);
        let process = self.operator_process(site, id, command);
        self.spawn(process);
    }

    /// A command is over.
    pub(crate) fn command_over(&mut self, c: &Command, code: i32, text: &Str) {
        let now = self.now;
        self.invariants.bounds.calm(now, None);
        self.rearm_deadline();
        let (id, did) = (c.id.clone(), if code == 0 { "done".into() } else { format_smolstr!("failed: {text}") });
        self.note(Actor(0), Digest::of(16).with(code as u64), || What::Operator { id, did });
        if let Some(action) = c.action {
            self.faults.hit(action);
            self.done_triggers(&c.id);
        }
    }

    pub(super) fn sites_of(&self, cluster: Option<&Str>) -> Vec<SiteId> {
        (0..self.sites.len())
            .filter(|n| cluster.is_none_or(|c| *c == self.sites[*n].name))
            .map(|n| SiteId(n as u8))
            .collect()
    }

    pub(super) fn set_site(&self, set: &SetRef) -> Option<(SiteId, ScaleSetSpec)> {
        self.specs.iter().enumerate().find_map(|(n, c)| {
            c.scale_sets.iter().find(|s| set.matches(&c.name, &s.name)).map(|s| (SiteId(n as u8), s.clone()))
        })
    }

    /// The chart's own name for the AutoscalingRunnerSet.
    pub(crate) fn set_key(spec: &ScaleSetSpec) -> Key {
        Key::new(spec.namespace.clone(), spec.service_name().clone())
    }

    pub(super) fn controller_task(
        &self,
        cluster: &ClusterSpec,
        name: &str,
        install: bool,
        release: controller_core::Release,
    ) -> Option<Task> {
        let spec = cluster.controllers.iter().find(|c| c.name == name)?;
        let chart = Chart { name: ChartName::Controller, release };
        let mut values = super::values::controller_values(spec);
        if self.plan.release() == controller_core::Release::Next {
            values["global"][crate::helm::controller_chart::RIGHTS] = "next".into();
        }
        let values = Arc::new(values);
        let command = if install {
            HelmCommand::Install { chart, values }
        } else {
            HelmCommand::Upgrade { chart, values: Some(values), reuse: false, install: false }
        };
        let op = HelmOp::new(spec.name.clone(), spec.namespace.clone(), command, server_minor(cluster));
        Some(Task::Helm(Box::new(op), Wish::None))
    }

    pub(super) fn set_task(
        &self,
        cluster: &ClusterSpec,
        spec: &ScaleSetSpec,
        install: bool,
        or_upgrade: bool,
        release: controller_core::Release,
    ) -> Option<Task> {
        let org = self.plan.world.org(spec).or(self.plan.world.github.orgs.first())?;
        let chart = Chart { name: ChartName::ScaleSet, release };
        let mut values = super::values::scale_set_values(spec, org);
        // With several controllers in a cluster the chart must be told whose it is.
        if let (true, Some(c)) = (cluster.controllers.len() > 1, cluster.controllers.first())
            && values.get("controllerServiceAccount").is_none()
        {
            let name = crate::helm::controller_chart::full_name(
                &crate::helm::ControllerValues::parse(release, &super::values::controller_values(c)).ok()?,
                &c.name,
            );
            values["controllerServiceAccount"] = serde_json::json!({ "name": name, "namespace": c.namespace });
        }
        let values = Arc::new(values);
        let command = match (install, or_upgrade) {
            (true, true) => HelmCommand::Upgrade { chart, values: Some(values), reuse: false, install: true },
            (true, false) => HelmCommand::Install { chart, values },
            (false, _) => HelmCommand::Upgrade { chart, values: Some(values), reuse: false, install: false },
        };
        let op = HelmOp::new(spec.name.clone(), spec.namespace.clone(), command, server_minor(cluster));
        let limits = (spec.min_runners.unwrap_or(0) as i32, spec.max_runners.map_or(i32::MAX, |m| m as i32));
        Some(Task::Helm(Box::new(op), Wish::Set(World::set_key(spec), limits.0, limits.1, self.now)))
    }

    /// What is installed at time zero: controllers first, the sets when those have had time to start.
    pub(crate) fn install_at_zero(&mut self) {
        let plan = self.plan.clone();
        for (n, cluster) in plan.world.clusters.iter().enumerate() {
            let mut tasks = Vec::new();
            for c in cluster.controllers.iter().filter(|c| c.installed) {
                tasks.extend(self.controller_task(cluster, &c.name, true, c.release.resolve(plan.release())));
            }
            let at_work = self.was_at_work(SiteId(n as u8));
            if !at_work {
                tasks.push(Task::Wait(Duration::from_secs(3)));
            }
            for s in cluster.scale_sets.iter().filter(|s| s.installed) {
                tasks.extend(self.set_task(cluster, s, true, false, s.chart.resolve(plan.release())));
            }
            if at_work {
                self.before_zero(SiteId(n as u8), tasks);
            } else {
                self.run_command(SiteId(n as u8), &"time-zero".into(), None, tasks);
            }
        }
    }

    /// An operator's action of the plan begins.
    pub(crate) fn begin_operator(&mut self, n: u32, operator: &Operator) {
        let plan = self.plan.clone();
        let action = &plan.actions[n as usize];
        debug_assert!(matches!(action.what, Action::Operator(_)));
        let verb = operator.id();
        let id = action.id.clone();
        self.note(Actor(0), Digest::of(17).with(u64::from(n)), || What::Operator { id, did: verb.into() });
        for (site, tasks) in self.compile_operator(operator, action.cluster.as_ref()) {
            self.run_command(site, &action.id, Some(n), tasks);
        }
    }

    pub(super) fn compile_operator(&mut self, operator: &Operator, cluster: Option<&Str>) -> Vec<(SiteId, Vec<Task>)> {
        let run = self.plan.release();
        match operator {
            Operator::Install(i) => {
                let release = i.version.resolve(run);
                self.helm(&i.chart, cluster, |w, site, spec| {
                    super::values::change(spec, &i.set);
                    let cluster = w.specs[site.0 as usize].clone();
                    w.set_task(&cluster, spec, true, i.or_upgrade, release)
                }, |w, site, name| w.controller_task(&w.specs[site.0 as usize].clone(), name, true, release))
            }
            Operator::Upgrade(u) => {
                let crds = u.crds == Crds::Replace;
                let version = u.version.map(|v| v.resolve(run));
                let mut all = self.helm(&u.chart, cluster, |w, site, spec| {
                    super::values::change(spec, &u.set);
                    let release = version.or_else(|| w.installed(site, &spec.namespace, &spec.name)).unwrap_or(run);
                    let cluster = w.specs[site.0 as usize].clone();
                    w.set_task(&cluster, spec, false, false, release)
                }, |w, site, name| {
                    let cluster = w.specs[site.0 as usize].clone();
                    let spec = cluster.controllers.iter().find(|c| c.name == name)?;
                    let release = version.or_else(|| w.installed(site, &spec.namespace, &spec.name)).unwrap_or(run);
                    w.controller_task(&cluster, name, false, release)
                });
                if crds {
                    for (site, tasks) in &mut all {
                        let replace = self.replace_crds(*site, version.unwrap_or(run));
                        tasks.splice(0..0, replace);
                    }
                }
                all
            }
            Operator::Uninstall(u) => {
                let mut wishes = Vec::new();
                let all = self.helm(&u.chart, cluster, |w, site, spec| {
                    wishes.push((site, World::set_key(spec)));
                    let cluster = &w.specs[site.0 as usize];
                    let op = HelmOp::new(spec.name.clone(), spec.namespace.clone(), HelmCommand::Uninstall, server_minor(cluster));
                    Some(Task::Helm(Box::new(op), Wish::None))
                }, |w, site, name| {
                    let cluster = &w.specs[site.0 as usize];
                    let spec = cluster.controllers.iter().find(|c| c.name == name)?;
                    let op = HelmOp::new(spec.name.clone(), spec.namespace.clone(), HelmCommand::Uninstall, server_minor(cluster));
                    Some(Task::Helm(Box::new(op), Wish::None))
                });
                for key in wishes {
                    self.intend(key, None);
                }
                all
            }
            Operator::Patch(p) => {
                let Some((site, mut spec)) = self.set_site(&p.scale_set) else { return Vec::new() };
                let key = World::set_key(&spec);
                let Some(ars) = self.site(site).cluster.api().typed::<AutoscalingRunnerSet>(&key).cloned() else { return Vec::new() };
                super::values::change(&mut spec, &p.set);
                let patch = self.edit(&ars, &spec, p);
                // What is wanted then is what the object says: a patch that does not arrive changes nothing.
                vec![(site, vec![Task::Call(KubeRequest::Patch { kind: Kind::AutoscalingRunnerSet, key, sub: Sub::Main, patch: Arc::new(patch) })])]
            }
            Operator::Delete(d) => {
                let mut all = Vec::new();
                for site in self.sites_of(cluster) {
                    let api = self.site(site).cluster.api();
                    let mut found: Vec<&Object> = World::kinds(&d.kind)
                        .flat_map(|k| api.iter(k))
                        .filter(|o| d.name.matches(&o.meta().name) && d.namespace.matches(&o.meta().namespace))
                        .filter(|o| d.scale_set.as_ref().is_none_or(|s| self.belongs(site, o, s)))
                        .filter(|o| d.phase.as_deref().is_none_or(|p| p == super::triggers::phase_of(o)))
                        .collect();
                    found.sort_by_key(|o| (o.meta().creation_timestamp, o.key()));
                    let options = DeleteOptions {
                        grace_period_seconds: d.grace.map(|g| g.0.as_secs() as i64),
                        propagation: if d.orphan { Propagation::Orphan } else { Propagation::Background },
                        ..DeleteOptions::default()
                    };
                    let most = d.count.map_or(usize::MAX, |c| c as usize);
                    let tasks = found.iter().take(most).map(|o| delete(o, options.clone())).collect();
                    let of_sets = |o: &Object| {
                        o.get::<CustomResourceDefinition>().is_some_and(|c| c.defines == Some(Kind::AutoscalingRunnerSet))
                    };
                    // Who deletes the definition deletes every set.
                    let no_sets = found.iter().take(most).any(|o| of_sets(o));
                    all.push((site, tasks));
                    if no_sets {
                        self.unwanted(site, |_| true);
                    }
                }
                all
            }
            Operator::ForceFinalize(f) => self
                .sites_of(cluster)
                .into_iter()
                .map(|site| {
                    let api = self.site(site).cluster.api();
                    let tasks = World::kinds(&f.kind)
                        .flat_map(|k| api.iter(k))
                        .filter(|o| f.name.matches(&o.meta().name) && f.namespace.matches(&o.meta().namespace))
                        .filter(|o| o.meta().finalizers.iter().any(|x| f.finalizer.matches(x)))
                        .map(|o| {
                            let left = o.meta().finalizers.iter().filter(|x| !f.finalizer.matches(x)).cloned().collect();
                            patch(o, Sub::Main, Patch::finalizers(left))
                        })
                        .collect();
                    (site, tasks)
                })
                .collect(),
            Operator::DeleteNamespace(d) => {
                for site in self.sites_of(cluster) {
                    self.unwanted(site, |k| k.namespace == d.namespace);
                }
                self.each(cluster, |_, _| vec![Task::Call(KubeRequest::Delete { kind: Kind::Namespace, key: Key::new("", d.namespace.clone()), options: DeleteOptions::default() })])
            }
            Operator::DeletePod(d) => self.each(cluster, |w, site| {
                let api = w.site(site).cluster.api();
                let mut pods: Vec<&Arc<Pod>> = api
                    .iter(Kind::Pod)
                    .filter_map(|o| o.get::<Pod>())
                    .filter(|p| !p.metadata.is_deleting())
                    .filter(|p| match d.target {
                        PodTarget::Any => true,
                        PodTarget::Runner => p.spec.container("runner").is_some(),
                        PodTarget::Listener => p.spec.container("listener").or(p.spec.container("autoscaler")).is_some(),
                        PodTarget::Controller => p.spec.container("manager").is_some(),
                        PodTarget::Workflow => p.spec.container("job").is_some(),
                    })
                    .filter(|p| d.scale_set.as_ref().is_none_or(|s| w.belongs(site, &Object::Pod((*p).clone()), s)))
                    .filter(|p| match d.which {
                        Which::Oldest | Which::All => true,
                        Which::Idle => !w.pod_is_busy(site, p),
                        Which::Busy => w.pod_is_busy(site, p),
                    })
                    .collect();
                pods.sort_by_key(|p| (p.metadata.creation_timestamp, p.metadata.key()));
                let most = d.count.map_or(if d.which == Which::All { usize::MAX } else { 1 }, |c| c as usize);
                let options = DeleteOptions { grace_period_seconds: d.grace.map(|g| g.0.as_secs() as i64), ..DeleteOptions::default() };
                pods.iter().take(most).map(|p| delete(&Object::Pod((*p).clone()), options.clone())).collect()
            }),
            Operator::DrainNode(d) => self.each(cluster, |w, site| w.drain_tasks(site, &d.node, d.grace.map(|g| g.0), d.uncordon_after.map(|d| d.0))),
            Operator::RotateSecret(r) => self.secret_tasks(&r.scale_set, |w, key, spec| {
                let org = w.plan.world.org(spec)?;
                let data = super::values::credential(org, &r.credential).map(|c| super::values::secret_data(org, c))?;
                let json = serde_json::json!({ "stringData": data.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect::<std::collections::BTreeMap<_, _>>() });
                Some(vec![Task::Call(KubeRequest::Patch { kind: Kind::Secret, key, sub: Sub::Main, patch: Arc::new(Patch::body(Body::Json(Arc::new(json)))) })])
            }),
            Operator::DeleteSecret(s) => self.secret_tasks(&s.scale_set, |w, key, spec| {
                let (site, _) = w.set_site(&s.scale_set)?;
                let old = w.site(site).cluster.api().typed::<Secret>(&key).cloned()?;
                let mut tasks = vec![Task::Call(KubeRequest::Delete { kind: Kind::Secret, key: key.clone(), options: DeleteOptions::default() })];
                if let Some(after) = s.recreate_after {
                    let org = w.plan.world.org(spec)?;
                    let name = s.credential.clone().unwrap_or_else(|| spec.secret.credential.clone());
                    let data = super::values::credential(org, &name).map(|c| super::values::secret_data(org, c))?;
                    let mut fresh = Secret { data: Arc::new(data.into_iter().collect()), ..(*old).clone() };
                    fresh.metadata = arc_api::Meta { labels: old.metadata.labels.clone(), annotations: old.metadata.annotations.clone(), finalizers: old.metadata.finalizers.clone(), ..arc_api::Meta::named(key.namespace, key.name) };
                    tasks.push(Task::Wait(after.0));
                    tasks.push(Task::Insist(KubeRequest::Create(fresh.into())));
                }
                Some(tasks)
            }),
            Operator::RecreateIdentity(r) => {
                let Some((site, _)) = self.set_site(&r.scale_set) else { return Vec::new() };
                let api = self.site(site).cluster.api();
                let kinds: &[Kind] = match r.object {
                    IdentityObject::ServiceAccount => &[Kind::ServiceAccount],
                    IdentityObject::Role => &[Kind::Role],
                    IdentityObject::RoleBinding => &[Kind::RoleBinding],
                    IdentityObject::All => &[Kind::RoleBinding, Kind::Role, Kind::ServiceAccount],
                };
                let mut tasks = Vec::new();
                for o in kinds.iter().flat_map(|k| api.iter(*k)) {
                    let runners = o.meta().name.ends_with("-kube-mode") || o.meta().name.ends_with("-no-permission");
                    if !runners || !self.belongs(site, o, &r.scale_set) {
                        continue;
                    }
                    tasks.push(delete(o, DeleteOptions::default()));
                    if r.mode == IdentityMode::Replace {
                        tasks.push(patch(o, Sub::Main, Patch::finalizers([].into())));
                        let mut fresh = o.clone();
                        let meta = fresh.meta_mut();
                        *meta = arc_api::Meta { labels: meta.labels.clone(), annotations: meta.annotations.clone(), finalizers: meta.finalizers.clone(), ..arc_api::Meta::named(meta.namespace.clone(), meta.name.clone()) };
                        tasks.push(Task::Insist(KubeRequest::Create(fresh)));
                    }
                }
                vec![(site, tasks)]
            }
            Operator::Create(c) => self.each(cluster, |w, site| w.create_tasks(site, c)),
            Operator::Edit(e) => self.each(cluster, |w, site| w.edit_tasks(site, e)),
            Operator::CancelJobs(c) => {
                self.cancel_by_hand(c);
                vec![(SiteId(0), Vec::new())]
            }
            Operator::ScaleController(s) => self.each(cluster, |w, site| w.scale_tasks(site, s)),
            Operator::StatusReset(s) => self.each(cluster, |w, site| {
                let api = w.site(site).cluster.api();
                let body = s.status.clone().unwrap_or(serde_json::Value::Null);
                World::kinds(&s.kind)
                    .flat_map(|k| api.iter(k))
                    .filter(|o| s.name.matches(&o.meta().name))
                    .map(|o| patch(o, Sub::Status, Patch::body(Body::Json(Arc::new(serde_json::json!({ "status": body }))))))
                    .collect()
            }),
        }
    }
}

pub(super) fn server_minor(cluster: &ClusterSpec) -> Str {
    cluster.kubernetes.split('.').nth(1).unwrap_or("34").into()
}

pub(super) fn delete(object: &Object, options: DeleteOptions) -> Task {
    Task::Call(KubeRequest::Delete { kind: object.kind(), key: object.key(), options })
}

pub(super) fn patch(object: &Object, sub: Sub, patch: Patch) -> Task {
    Task::Call(KubeRequest::Patch { kind: object.kind(), key: object.key(), sub, patch: Arc::new(patch) })
}
