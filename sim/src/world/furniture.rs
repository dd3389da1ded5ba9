//! What the world has that nobody installs: admission webhooks that change pods, nodes that an autoscaler adds, and what was at
//! the service before time zero.

use std::sync::Arc;

use arc_api::kube::{KubeRequest, WatchEvent};
use arc_api::pod::{Container, Pod, PodConditionType};
use arc_api::service::{Auth, Op, ServiceOk, ServiceRequest};
use arc_api::{Duration, Object, ScaleSetId, Str, format_smolstr};
use fake_github::Outcome;
use fake_kube::loops::settings::NodeSettings;

use super::{ProcId, SiteId, World};
use crate::plan::fault::{Fault, SidecarMode, SidecarTarget};
use crate::plan::world::ClusterSpec;

impl World {
    /// Mutating webhooks of a cluster: a helper container in every runner pod, init containers without a restart policy
    /// (field-bugs `sidecar_fault` injected; seed-invalid-init-restart-policy).
    pub(super) fn admit(&self, site: SiteId, request: &KubeRequest) -> Option<Arc<KubeRequest>> {
        let spec = self.spec_of(site);
        if spec.injected_sidecar.is_empty() && !spec.strips_init_restart_policy {
            return None;
        }
        let KubeRequest::Create(object) = request else { return None };
        let pod = object.get::<Pod>()?;
        let mut pod: Pod = (**pod).clone();
        let mut body = (*pod.spec).clone();
        if !spec.injected_sidecar.is_empty()
            && body.container("runner").is_some()
            && body.container(&spec.injected_sidecar).is_none()
        {
            let name = spec.injected_sidecar.clone();
            body.containers.push(Container { image: name.clone(), name, ..Container::default() });
        }
        if spec.strips_init_restart_policy {
            body.init_containers.iter_mut().for_each(|c| c.restart_policy = None);
        }
        pod.spec = body.into();
        Some(Arc::new(KubeRequest::Create(Object::from(pod))))
    }

    /// A runner's container ended: its injected helper ends with it, unless a fault lets it live on.
    pub(super) fn sidecar_follows(&mut self, site: SiteId, pod: arc_api::Uid, set: &Str) {
        let name = self.spec_of(site).injected_sidecar.clone();
        if name.is_empty() {
            return;
        }
        let Some(id) = self.containers.get(&(site, pod, name)).copied() else { return };
        let cluster = self.site(site).name.clone();
        let active: Vec<_> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            if let Fault::SidecarFault(f) = &*fault
                && f.target == SidecarTarget::Injected
                && f.mode == SidecarMode::OutlivesMain
                && f.scale_set.as_ref().is_none_or(|s| s.matches(&cluster, set))
                && self.faults.meets(action, f.probability, f.count)
            {
                return;
            }
        }
        self.end_container_after(id, Duration::from_millis(100), 0, "Completed");
    }

    /// Whether a process is the helper container that a sidecar fault means.
    pub(super) fn is_helper(&self, id: ProcId, target: SidecarTarget) -> bool {
        let Some(p) = self.proc(id) else { return false };
        match target {
            SidecarTarget::Dind => p.role == crate::plan::Role::Dind,
            SidecarTarget::Injected => p.pod.is_some() && p.container == self.spec_of(p.site).injected_sidecar,
        }
    }

    /// A pod finds no node: the autoscaler orders one, one at a time, up to its limit.
    pub(super) fn autoscale(&mut self, site: SiteId, event: &WatchEvent) {
        let Some(pod) = event.object.get::<Pod>() else { return };
        let spec = self.spec_of(site);
        let (ordered, there) = self.site(site).ordered;
        if spec.nodes + ordered >= spec.nodes_max || there > self.now {
            return;
        }
        let lost = |c: &arc_api::pod::PodCondition| {
            c.type_ == PodConditionType::PodScheduled && !c.status && c.reason == "Unschedulable"
        };
        if pod.node_name.is_some() || pod.metadata.is_deleting() || !pod.status.conditions.iter().any(lost) {
            return;
        }
        let spec = spec.clone();
        let after = self.dice.node.sample(&spec.add_node_after);
        let now = self.now;
        let node = node_settings(&spec, spec.nodes + ordered + 1);
        self.site_mut(site).ordered = (ordered + 1, now.after(after));
        self.site_mut(site).cluster.add_node(node, after, now);
    }

    /// Scale sets and sessions that the service already has at time zero.
    pub(super) fn existing_sessions(&mut self) {
        let plan = self.plan.clone();
        for session in &plan.world.existing.sessions {
            let Some((_, set)) = plan.world.scale_set(&session.scale_set) else { continue };
            let Some(org) = plan.world.org(set) else { continue };
            let url = if set.url.is_empty() { org.config_url() } else { set.url.clone() };
            let now = self.now;
            let token = self.github.issue_admin_token(&fake_github::tenant_path(&url), now);
            let mut ask = |op: Op| match self.github.handle(&ServiceRequest { auth: Auth::Admin(token), op }, now) {
                Outcome::Reply(Ok(ok)) => Some(ok),
                _ => None,
            };
            let group = match ask(Op::GetRunnerGroup { name: set.runner_group.clone() }) {
                Some(ServiceOk::Group(id)) => id,
                _ => arc_api::GroupId(1),
            };
            let name = set.service_name().clone();
            let id: Option<ScaleSetId> = match ask(Op::CreateScaleSet { group, name: name.clone(), labels: vec![name] })
            {
                Some(ServiceOk::ScaleSet(Some(info))) => Some(info.id),
                _ => None,
            };
            if let Some(id) = id {
                self.github.hold_session(id, session.owner.clone(), now.after(session.ttl.0), now);
            }
        }
    }

    /// Budgets that organisations give to Apps and tokens, and versions that may connect.
    pub(super) fn limits_of_the_service(&mut self) {
        use crate::plan::fault::RateKey;
        let plan = self.plan.clone();
        for org in &plan.world.github.orgs {
            if let Some(rate) = org.rate_budget {
                let key = match org.rate_key {
                    RateKey::App => fake_github::LimitKey::Credential,
                    RateKey::Org => fake_github::LimitKey::Tenant,
                    RateKey::Ip => fake_github::LimitKey::Everybody,
                };
                let mut limit = fake_github::RateLimit::new(fake_github::OpSet::ALL, key, rate.count, rate.per.0);
                if let Some(ops) =
                    fake_github::OpSet::named(["access_token", "registration_token", "runner_registration"])
                {
                    limit.ops = ops;
                }
                limit.scope = fake_github::Scope::tenant(fake_github::tenant_path(&org.config_url()));
                self.github.limit_rate(limit);
            }
        }
        let least = &plan.world.github.minimum_runner_version;
        if !least.is_empty() {
            self.github.reject_version(fake_github::VersionRule::Below(least.clone()));
        }
    }
}

/// The n-th node of a cluster.
pub(super) fn node_settings(spec: &ClusterSpec, n: u32) -> NodeSettings {
    let mut node = NodeSettings::named(format_smolstr!("n{n}"));
    node.pods = spec.node.pods;
    node.cpu = format_smolstr!("{}", spec.node.cpu);
    node.memory = format_smolstr!("{}", spec.node.memory);
    node
}
