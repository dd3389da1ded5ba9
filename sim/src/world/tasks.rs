//! The single calls that operators' commands are made of: edits of sets, secrets, drains, scaling of controllers.

use std::sync::Arc;

use arc_api::crd::AutoscalingRunnerSet;
use arc_api::kube::{Body, DeleteOptions, KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Object, Str, format_smolstr};

use super::operators::{Task, patch};
use super::{Machine, SiteId, World};
use crate::plan::SetRef;
use crate::plan::operator::ChartRef;
use crate::plan::world::ScaleSetSpec;

impl World {
    pub(super) fn each(
        &self,
        cluster: Option<&Str>,
        make: impl Fn(&World, SiteId) -> Vec<Task>,
    ) -> Vec<(SiteId, Vec<Task>)> {
        self.sites_of(cluster).into_iter().map(|site| (site, make(self, site))).collect()
    }

    pub(super) fn helm(
        &mut self,
        chart: &ChartRef,
        cluster: Option<&Str>,
        mut set: impl FnMut(&World, SiteId, &mut ScaleSetSpec) -> Option<Task>,
        controller: impl Fn(&World, SiteId, &str) -> Option<Task>,
    ) -> Vec<(SiteId, Vec<Task>)> {
        let mut all = Vec::new();
        if let Some(reference) = &chart.scale_set
            && let Some((site, mut spec)) = self.set_site(reference)
        {
            let task = set(self, site, &mut spec);
            let slot = self.specs[site.0 as usize].scale_sets.iter_mut().find(|s| s.name == spec.name);
            if let Some(slot) = slot {
                *slot = spec;
            }
            all.push((site, task.into_iter().collect()));
        }
        if let Some(name) = &chart.controller {
            for site in self.sites_of(cluster) {
                if let Some(task) = controller(self, site, name) {
                    all.push((site, vec![task]));
                }
            }
        }
        all
    }

    pub(super) fn installed(&self, site: SiteId, namespace: &Str, name: &Str) -> Option<controller_core::Release> {
        self.site(site).releases.last(namespace, name).map(|r| r.chart.release)
    }

    pub(super) fn replace_crds(&self, site: SiteId, release: controller_core::Release) -> Vec<Task> {
        let _ = site;
        crate::helm::controller_chart::crds(release)
            .into_iter()
            .map(|crd| {
                let json = serde_json::json!({ "metadata": { "annotations": { "arc-sim/schema": release.as_str() } } });
                patch(&crd, Sub::Main, Patch::body(Body::Json(Arc::new(json))))
            })
            .collect()
    }

    pub(super) fn edit(
        &self,
        ars: &AutoscalingRunnerSet,
        spec: &ScaleSetSpec,
        p: &crate::plan::operator::PatchSet,
    ) -> Patch {
        let mut new = (*ars.spec).clone();
        if p.set.min_runners.is_some() || p.set.unset.iter().any(|u| u == "min_runners") {
            new.min_runners = spec.min_runners.map(|n| n as i32);
        }
        if p.set.max_runners.is_some() || p.set.unset.iter().any(|u| u == "max_runners") {
            new.max_runners = spec.max_runners.map(|n| n as i32);
        }
        if let Some(group) = &p.set.runner_group {
            new.runner_group = group.clone();
        }
        if let Some(url) = &p.set.url {
            new.github_config_url = url.clone();
        }
        if let Some(name) = &p.set.runner_scale_set_name {
            new.runner_scale_set_name = name.clone();
        }
        if let Some(secret) = &p.set.secret {
            new.github_config_secret = secret.clone();
        }
        let mut template = serde_json::to_value(&*new.template).unwrap_or_default();
        if let Some(more) = &p.set.template {
            super::values::merge_template(&mut template, more);
        }
        if let Some(image) = &p.set.image {
            super::values::merge_template(
                &mut template,
                &serde_json::json!({ "spec": { "containers": [{ "name": "runner", "image": image }] } }),
            );
        }
        if let Some(account) = &p.set.service_account {
            template["spec"]["serviceAccountName"] = serde_json::json!(account);
        }
        if let Ok(template) = serde_json::from_value(template) {
            new.template = Arc::new(template);
        }
        let mut patch = Patch::default();
        if new != *ars.spec {
            patch.body = Body::ArsSpec(Arc::new(new));
        }
        if let Some(label) = &p.set.version_label {
            patch.labels.push(("app.kubernetes.io/version".into(), Some(label.clone())));
        }
        patch
    }

    pub(super) fn belongs(&self, site: SiteId, object: &Object, set: &SetRef) -> bool {
        let name = object.meta().label("actions.github.com/scale-set-name").unwrap_or(&object.meta().name);
        let spec = self.set_site(set).map(|(_, s)| s.service_name().clone());
        set.matches(&self.site(site).name, name) || spec.is_some_and(|s| s == *name)
    }

    pub(super) fn pod_is_busy(&self, site: SiteId, pod: &Pod) -> bool {
        let id = self.containers.get(&(site, pod.metadata.uid, Str::new_static("runner")));
        id.and_then(|id| self.proc(*id)).is_some_and(|p| matches!(&p.machine, Machine::Runner(r) if r.job().is_some()))
    }

    pub(super) fn secret_tasks(
        &self,
        set: &SetRef,
        make: impl Fn(&World, Key, &ScaleSetSpec) -> Option<Vec<Task>>,
    ) -> Vec<(SiteId, Vec<Task>)> {
        let Some((site, spec)) = self.set_site(set) else { return Vec::new() };
        let ars = self.site(site).cluster.api().typed::<AutoscalingRunnerSet>(&World::set_key(&spec)).cloned();
        let name = ars.map_or_else(|| spec.secret.name.clone(), |a| a.spec.github_config_secret.clone());
        make(self, Key::new(spec.namespace.clone(), name), &spec).map(|tasks| (site, tasks)).into_iter().collect()
    }

    /// Cordon, then evict every pod of the node, in order of names.
    pub(crate) fn drain_tasks(
        &self,
        site: SiteId,
        target: &str,
        grace: Option<Duration>,
        uncordon_after: Option<Duration>,
    ) -> Vec<Task> {
        let node = self.node_of(site, target);
        let cordon = |on: bool| {
            let json = serde_json::json!({ "spec": { "unschedulable": on } });
            let patch = Arc::new(Patch::body(Body::Json(Arc::new(json))));
            KubeRequest::Patch { kind: Kind::Node, key: Key::new("", node.clone()), sub: Sub::Main, patch }
        };
        let mut tasks = vec![Task::Call(cordon(true))];
        // With a stated grace the pods are deleted with it: an Eviction here carries none.
        tasks.extend(self.site(site).cluster.api().pods_on(&node).map(|p| match grace {
            None => Task::Evict(p.metadata.key()),
            Some(grace) => {
                let grace_period_seconds = Some(grace.as_secs() as i64);
                let options = DeleteOptions { grace_period_seconds, ..DeleteOptions::default() };
                Task::Call(KubeRequest::Delete { kind: Kind::Pod, key: p.metadata.key(), options })
            }
        }));
        if let Some(after) = uncordon_after {
            tasks.push(Task::Wait(after));
            tasks.push(Task::Insist(cordon(false)));
        }
        tasks
    }

    /// A node by its name, or the node that a component is on (`listener/linux`, `runner/*`).
    pub(crate) fn node_of(&self, site: SiteId, target: &str) -> Str {
        let actor: Option<crate::plan::Actor> = target.parse().ok().filter(|_| target.contains('/'));
        let found = actor.and_then(|a| {
            self.procs
                .iter()
                .filter_map(|p| p.as_deref())
                .find(|p| p.site == site && a.matches(p.role, &p.label))
                .map(|p| p.node.clone())
        });
        found.unwrap_or_else(|| target.into())
    }

    pub(super) fn scale_tasks(&self, site: SiteId, s: &crate::plan::operator::ScaleController) -> Vec<Task> {
        let api = self.site(site).cluster.api();
        let mut tasks = Vec::new();
        for d in api.iter(Kind::Deployment) {
            let name = d.meta().label("app.kubernetes.io/instance").unwrap_or(&d.meta().name);
            if s.controller.as_ref().is_some_and(|c| c != name) {
                continue;
            }
            if let Some(replicas) = s.replicas {
                tasks.push(patch(
                    d,
                    Sub::Main,
                    Patch::body(Body::Json(Arc::new(serde_json::json!({ "spec": { "replicas": replicas } })))),
                ));
            }
            if s.restart {
                let stamp = format_smolstr!("{}", self.now.to_rfc3339());
                let json = serde_json::json!({ "spec": { "template": { "metadata": { "annotations": { "kubectl.kubernetes.io/restartedAt": stamp } } } } });
                tasks.push(patch(d, Sub::Main, Patch::body(Body::Json(Arc::new(json)))));
            }
        }
        if s.leader_change {
            let leaders = self.procs.iter().filter_map(|p| p.as_deref()).filter(|p| p.site == site);
            for p in leaders.filter(|p| matches!(&p.machine, Machine::Manager(m) if m.leads())) {
                let key = match &p.who {
                    arc_api::kube::Identity::ServiceAccount { account, .. } => {
                        Key::new(account.namespace.clone(), p.pod_name.clone())
                    }
                    _ => continue,
                };
                tasks.push(Task::Call(KubeRequest::Delete { kind: Kind::Pod, key, options: DeleteOptions::default() }));
            }
        }
        tasks
    }
}
