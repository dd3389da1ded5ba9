//! Time zero: from a plan to a world in which nothing has happened yet but the first commands of its operators.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::{Namespace, ResourceQuota, Secret};
use arc_api::kube::{Identity, KubeRequest};
use arc_api::meta::{Key, labels};
use arc_api::pod::Pod;
use arc_api::{Duration, JobId, Meta, Str, Time, format_smolstr};
use controller_core::{Behaviour, Release};
use fake_github::{GitHub, Personality, Profile, Settings};
use fake_kube::Cluster;
use fake_kube::loops::settings::ClusterSettings;

use super::{Calls, DiceBox, Latencies, Machine, Process, Site, SiteId, World};
use crate::engine::{Alarm, EventQueue};
use crate::fault::Faults;
use crate::helm::ManagerArgs;
use crate::invariant::{Bounds, Invariants};
use crate::network::{Dice, Latency};
use crate::own::OwnMachines;
use crate::plan::world::{ClusterSpec, GithubSpec, ScaleSetSpec};
use crate::plan::{Action, Fork, Plan, PlannedAction, QueueJob, Role};
use crate::process::manager::ManagerConfig;
use crate::shared::Shared;
use crate::trace::Trace;

impl World {
    /// A world at time zero.
    pub fn new(plan: Arc<Plan>, trace: bool) -> World {
        World::with(plan, Arc::default(), trace)
    }

    /// A world at time zero in which some machines are somebody else's.
    pub fn with(plan: Arc<Plan>, own: Arc<OwnMachines>, trace: bool) -> World {
        let seed = plan.seed;
        let usual = GithubSpec::default().session_ttl.0;
        let sessions_stay = plan.world.github.session_ttl.0.saturating_sub(usual);
        let mut world = World {
            now: Time::ZERO,
            queue: EventQueue::new(ties(seed)),
            sites: Vec::new(),
            github: GitHub::new(service_settings(&plan.world.github)),
            github_due: Alarm::default(),
            parked: BTreeMap::new(),
            procs: Vec::new(),
            containers: Shared::default(),
            calls: Calls::default(),
            watchers: Vec::new(),
            pending: Vec::new(),
            dice: DiceBox::new(seed),
            latency: latencies(&plan),
            faults: Faults::new(&plan),
            trace: Trace::new(trace),
            cause: 0,
            invariants: Invariants::new(Bounds::new(100, sessions_stay), has_tenants(&plan)).into(),
            metrics: Shared::default(),
            events: 0,
            deadline: Time::NEVER,
            scratch: Vec::new(),
            graves: Shared::default(),
            doomed: Vec::new(),
            job_ids: Shared::default(),
            job_labels: Shared::default(),
            specs: plan.world.clusters.clone().into(),
            cancels: Default::default(),
            rules: BTreeMap::new(),
            behaviours: Shared::default(),
            marks: Default::default(),
            patches: Shared::default(),
            leak: super::Leak::default(),
            own,
            restarts: Shared::default(),
            dead_links: Vec::new(),
            dead_calls: Vec::new(),
            returns: Shared::default(),
            stuck: Vec::new(),
            held_starts: Vec::new(),
            unfurnished: false,
            plan,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        let plan = self.plan.clone();
        self.credentials();
        for (n, spec) in plan.world.clusters.iter().enumerate() {
            self.sites.push(Site {
                name: spec.name.clone(),
                cluster: Cluster::new(cluster_settings(spec, n, plan.seed)),
                releases: crate::helm::Releases::default(),
                seen: 0,
                due: Alarm::default(),
                frozen_until: Time::ZERO,
                held: Vec::new(),
                down: false,
                ordered: (0, Time::ZERO),
            });
            let site = SiteId(n as u8);
            self.furnish(site, spec);
            self.notice(site);
        }
        self.existing_sessions();
        self.install_at_zero();
        self.limits_of_the_service();
        self.queue_forks();
        self.queue_actions();
        self.backlog();
        self.notice_github();
    }

    fn admin(&mut self, site: SiteId, request: KubeRequest) {
        let now = self.now;
        // Time zero: what is refused here is a mistake of the scenario, which its check has reported.
        let _ = self.site_mut(site).cluster.handle(&Identity::Admin, &request, now);
    }

    fn furnish(&mut self, site: SiteId, spec: &ClusterSpec) {
        let mut namespaces: Vec<Str> = spec.namespaces.iter().map(|n| n.name.clone()).collect();
        namespaces.extend(spec.scale_sets.iter().map(|s| s.namespace.clone()));
        namespaces.sort();
        namespaces.dedup();
        for name in namespaces {
            let level =
                spec.namespaces.iter().find(|n| n.name == name).map(|n| n.pod_security.clone()).unwrap_or_default();
            let mut metadata = Meta::named("", name);
            if !level.is_empty() {
                metadata.labels = labels([("pod-security.kubernetes.io/enforce", level.as_str())]);
            }
            self.admin(site, KubeRequest::Create(Namespace { metadata, ..Namespace::default() }.into()));
        }
        for n in spec.namespaces.iter().filter(|n| !n.quota.is_empty()) {
            let quota = ResourceQuota {
                metadata: Meta::named(n.name.clone(), "quota"),
                hard: Arc::new(n.quota.clone()),
                ..ResourceQuota::default()
            };
            self.admin(site, KubeRequest::Create(quota.into()));
        }
        let plan = self.plan.clone();
        for set in spec.scale_sets.iter().filter(|s| s.secret.kind == crate::plan::world::SecretKind::External) {
            let Some(org) = plan.world.org(set) else { continue };
            let Some(credential) = super::values::credential(org, &set.secret.credential) else { continue };
            let data = super::values::secret_data(org, credential).into_iter().collect();
            let metadata = Meta::named(set.namespace.clone(), set.secret.name.clone());
            self.admin(
                site,
                KubeRequest::Create(Secret { metadata, data: Arc::new(data), ..Secret::default() }.into()),
            );
        }
        for existing in &plan.world.existing.objects {
            let here = existing.cluster.is_empty() && site.0 == 0 || existing.cluster == spec.name;
            let kind =
                existing.object["kind"].as_str().and_then(|k| arc_api::Kind::ALL.iter().find(|x| x.as_str() == k));
            if let (true, Some(kind)) = (here, kind)
                && let Ok(object) = arc_api::json::from_json(*kind, &fill_meta(&existing.object))
            {
                self.admin(site, KubeRequest::Create(object));
            }
        }
    }

    fn credentials(&mut self) {
        let plan = self.plan.clone();
        for org in &plan.world.github.orgs {
            let path = fake_github::tenant_path(&org.config_url());
            for credential in &org.credentials {
                let data: BTreeMap<Str, Str> = super::values::secret_data(org, credential).into_iter().collect();
                let secret = Secret { data: Arc::new(data), ..Secret::default() };
                if let Ok(c) = controller_core::credentials::credentials(&secret) {
                    let state = if credential.valid {
                        fake_github::CredentialState::Valid
                    } else {
                        fake_github::CredentialState::NeverExisted
                    };
                    self.github.set_credential(Some(&path), &Arc::new(c), state);
                }
            }
        }
    }

    fn backlog(&mut self) {
        let plan = self.plan.clone();
        for backlog in &plan.world.existing.backlog {
            for _ in 0..backlog.count {
                let job = QueueJob { scale_set: backlog.scale_set.clone(), label: None, job: backlog.job.clone() };
                self.queue_job(u32::MAX, &job);
            }
        }
    }

    /// A job of the plan is queued at the service.
    pub(crate) fn queue_job(&mut self, action: u32, job: &QueueJob) -> JobId {
        let plan = self.plan.clone();
        let set = plan.world.scale_set(&job.scale_set).map(|(_, s)| s);
        let org = set.and_then(|s| plan.world.org(s)).or(plan.world.github.orgs.first());
        let url = set
            .filter(|s| !s.url.is_empty())
            .map_or_else(|| org.map(|o| o.config_url()).unwrap_or_default(), |s| s.url.clone());
        let label =
            job.label.clone().unwrap_or_else(|| set.map_or(job.scale_set.name.clone(), |s| s.service_name().clone()));
        let mut spec = fake_github::JobSpec::new(fake_github::tenant_path(&url), label.clone(), job.job.duration.0);
        spec.result = job.job.result;
        spec.needs = arc_api::service::JobNeeds {
            docker_after: job.job.docker_after.map(|d| d.0),
            container: job.job.container,
            silent_for: job.job.silent_for.map(|d| d.0),
        };
        let number = self.job_ids.len() + 1;
        spec.display_name = format_smolstr!("job-{number}");
        spec.workflow_run += number as i64;
        let id = self.github.queue_job(spec, self.now);
        let name =
            plan.actions.get(action as usize).map_or_else(|| format_smolstr!("backlog-{number}"), |a| a.id.clone());
        self.job_ids.insert(id, name);
        self.job_labels.insert(id, label);
        if let Some(cancel) = job.job.cancel {
            self.cancels.insert(id, cancel);
            if let crate::plan::JobCancel::AfterQueued(d) = cancel {
                let at = self.now.after(d.0);
                self.schedule(at, super::Event::CancelJob(id));
            }
        }
        self.notice_github();
        id
    }

    /// Jobs by the id of the action that queued them are cancelled.
    pub(crate) fn cancel_jobs(&mut self, cancel: &crate::plan::CancelJob) {
        let meant: Vec<JobId> =
            self.job_ids.iter().filter(|(_, name)| cancel.job.matches(name)).map(|(id, _)| *id).collect();
        for id in meant {
            let taken = self.metrics.jobs.get(&id).is_some_and(|j| j.started.is_some());
            if !(cancel.queued_only && taken) {
                self.github.cancel_job(id, self.now);
            }
        }
        self.notice_github();
    }

    /// The moment has come at which a person loses patience with a job.
    pub(crate) fn cancel_job(&mut self, id: JobId) {
        let taken = self.metrics.jobs.get(&id).is_some_and(|j| j.started.is_some());
        let meant = match self.cancels.remove(&id) {
            Some(crate::plan::JobCancel::AfterQueued(_)) => !taken,
            Some(crate::plan::JobCancel::AfterStarted(_)) => taken,
            None => false,
        };
        if meant {
            self.github.cancel_job(id, self.now);
            self.notice_github();
        }
    }

    /// What a controller's pod tells its manager to be.
    pub(crate) fn manager_config(&mut self, site: SiteId, pod: &Arc<Pod>) -> Result<ManagerConfig, Str> {
        let args = ManagerArgs::from_pod(pod).map_err(|e| e.0)?;
        let instance = pod.metadata.label("app.kubernetes.io/instance").cloned().unwrap_or_default();
        let behaviour = self.behaviour(site, args.release, &instance);
        Ok(ManagerConfig {
            settings: args.settings(behaviour),
            runner_workers: args.runner_workers,
            qps: args.qps,
            burst: args.burst,
            watch_namespace: args.watch_namespace.clone(),
            // Every process is a candidate of its own: one that was restarted waits until its former lease is over.
            election: args
                .leader_election
                .as_ref()
                .map(|_| format_smolstr!("{}_{}", pod.metadata.name, self.procs.len())),
            boot: self.dice.boot.delay(self.latency.manager_boot),
            own: self.own.clone(),
        })
    }

    /// How a release behaves in this world: with the switches that the controller's settings change, and as `next` throughout
    /// when the run is for `next`, whose claim is about itself, not about what an older manager does beside it.
    pub(crate) fn behaviour(&mut self, site: SiteId, release: Release, instance: &str) -> Arc<Behaviour> {
        let release = if self.plan.release() == Release::Next { Release::Next } else { release };
        let switches = self
            .spec_of(site)
            .controllers
            .iter()
            .find(|c| c.name == instance)
            .or(self.spec_of(site).controllers.first())
            .map(|c| c.switches.clone())
            .unwrap_or_default();
        let key = (release, switches.iter().map(|(k, v)| (k.clone(), v.clone())).collect::<Vec<_>>());
        if let Some(found) = self.behaviours.get(&key) {
            return found.clone();
        }
        let mut behaviour = Behaviour::of(release);
        for (name, value) in &switches {
            // The scenario's check has reported unknown switches.
            let _ = behaviour.set(name, value);
        }
        let behaviour = Arc::new(behaviour);
        self.behaviours.insert(key, behaviour.clone());
        behaviour
    }

    /// The release whose listener program a pod's image holds.
    pub(crate) fn listener_behaviour(&mut self, site: SiteId, pod: &Arc<Pod>) -> Arc<Behaviour> {
        let image = pod
            .spec
            .container("listener")
            .or(pod.spec.container("autoscaler"))
            .map(|c| c.image.clone())
            .unwrap_or_default();
        let release =
            image.rsplit_once(':').and_then(|(_, tag)| tag.parse().ok()).unwrap_or_else(|| self.plan.release());
        self.behaviour(site, release, "")
    }

    /// The runner version in a set's image.
    pub(crate) fn runner_set(&self, site: SiteId, pod: &Pod) -> Option<&ScaleSetSpec> {
        let name = pod.metadata.label("actions.github.com/scale-set-name").cloned().unwrap_or_default();
        self.spec_of(site).scale_sets.iter().find(|s| s.name == name || *s.service_name() == name)
    }

    /// A cluster's settings, as operators have changed them meanwhile.
    pub(crate) fn spec_of(&self, site: SiteId) -> &ClusterSpec {
        &self.specs[site.0 as usize]
    }

    /// A process that operators' commands run in.
    pub(crate) fn operator_process(&mut self, site: SiteId, id: &Str, command: super::operators::Command) -> Process {
        let actor = self.trace.actor(format_smolstr!("operator/{id}"), site.0);
        Process {
            machine: Machine::Operator(Box::new(command)),
            actor,
            role: Role::Operator,
            label: id.clone(),
            scale_set: Str::default(),
            set_key: Key::default(),
            site,
            pod: None,
            pod_name: Str::default(),
            container: Str::default(),
            node: Str::default(),
            who: Identity::Admin,
            wake: Alarm::default(),
            paused_until: Time::ZERO,
            cause: self.cause,
            terminating: false,
        }
    }
}

pub(super) fn fill_meta(object: &serde_json::Value) -> serde_json::Value {
    let mut object = object.clone();
    let meta = &mut object["metadata"];
    for (key, value) in [
        ("uid", "00000000-0000-4000-8000-000000000000"),
        ("resourceVersion", "0"),
        ("creationTimestamp", "2030-01-01T00:00:00Z"),
    ] {
        if meta.get(key).is_none() {
            meta[key] = value.into();
        }
    }
    object
}

impl DiceBox {
    fn new(seed: u64) -> DiceBox {
        let dice = |label: &str| Dice::new(seed, label);
        DiceBox {
            kube: dice("net/kube"),
            watch: dice("net/watch"),
            github: dice("net/github"),
            node: dice("node"),
            boot: dice("boot"),
            docker: dice("docker"),
            crash: dice("crash"),
            handlers: dice("handlers"),
        }
    }
}

/// Where the order of simultaneous events is drawn from.
fn ties(seed: u64) -> u64 {
    Dice::new(seed, "schedule").bits()
}

impl World {
    /// Gives chance another turn from here on: the rest of the history is another one.
    pub fn fork_to(&mut self, fork: &Fork) {
        self.dice = DiceBox::new(fork.seed);
        self.queue.draw_from(ties(fork.seed));
        for (n, site) in self.sites.iter_mut().enumerate() {
            site.cluster.draw_from(fork.seed ^ n as u64);
        }
        let usual = latencies(&self.plan);
        let scale = |l: Latency, by: u32| Latency { base: l.base * by / 100, spread: l.spread * by / 100 };
        self.latency.kube = scale(usual.kube, fork.tempo);
        self.latency.watch = scale(usual.watch, fork.watch);
        self.latency.handlers = scale(usual.handlers, fork.watch);
    }
}

/// Handlers run in goroutines of their own, behind the cache by as much as makes rare what was rare in the recordings (2 of 181
/// first registrations of 0.9.0 and 0.9.1 met the gap; here 2 of 1,242).
const HANDLERS: Latency = Latency::micros(5, 1500);

fn latencies(plan: &Plan) -> Latencies {
    let spec = plan.world.clusters.first().cloned().unwrap_or_default();
    let (k, api, net) = (&spec.kubelet, &spec.api, &plan.world.network);
    let usual = Latency::usual;
    let sum = |a: Latency, b: Latency| Latency { base: a.base + b.base, spread: a.spread + b.spread };
    let one_way = |total: Latency| Latency { base: total.base / 2, spread: total.spread / 2 };
    Latencies {
        kube: sum(usual(&net.cluster), one_way(usual(&api.write))),
        watch: usual(&api.watch),
        handlers: HANDLERS,
        github: sum(usual(&net.github), one_way(usual(&plan.world.github.latency))),
        container_create: usual(&k.create),
        container_start: usual(&k.container_start),
        image_pull: usual(&k.image_pull),
        init_run: usual(&k.init_run),
        sigterm: usual(&k.sigterm),
        status: usual(&k.status_latency),
        status_after_stop: usual(k.status_after_stop.as_ref().unwrap_or(&k.status_latency)),
        boot: usual(&k.listener_start),
        runner_boot: usual(&k.runner_start),
        runner_exit: usual(&k.runner_exit),
        manager_boot: usual(&k.controller_start),
        operator: Latency { base: Duration::from_millis(20), spread: Duration::from_millis(20) },
    }
}

/// Whether a fault is confined to one of several scale sets, so that the others must not feel it.
fn has_tenants(plan: &Plan) -> bool {
    let confined = |a: &PlannedAction| matches!(&a.what, Action::Fault(f) if f.confined_to().is_some());
    plan.world.clusters.iter().map(|c| c.scale_sets.len()).sum::<usize>() > 1 && plan.actions.iter().any(confined)
}

fn service_settings(spec: &GithubSpec) -> Settings {
    let longest = |d: &crate::plan::Delay| d.body.to.0;
    let mut groups = BTreeMap::new();
    for org in &spec.orgs {
        for (n, name) in org.groups.iter().enumerate() {
            groups.entry(name.clone()).or_insert(arc_api::GroupId(n as i64 + 2));
        }
    }
    let profile = Profile {
        personality: match spec.mode {
            crate::plan::world::Personality::Push => Personality::Broker,
            crate::plan::world::Personality::AcquireRequired => Personality::AcquireRequired,
        },
        poll_hold: spec.poll_hold.0,
        session_ttl: spec.session_ttl.0,
        admin_ttl: spec.admin_token_ttl.0,
        queue_ttl: spec.queue_token_ttl.0,
        registration_ttl: spec.registration_token_ttl.0,
        delivery_latency: longest(&spec.delivery_latency),
        assign_latency: longest(&spec.assign_latency),
        pickup_latency: longest(&spec.start_latency),
        pickup_timeout: spec.pickup_timeout.0,
        pickup_attempts: spec.pickup_tries.min(255) as u8,
        dead_runner_after: spec.dead_runner_after.0,
        queue_limit: spec.queue_limit.0,
        offline_cleanup: spec.offline_cleanup.0,
        capacity_gate: Some(spec.capacity_gate && spec.mode == crate::plan::world::Personality::Push),
        unknown_runner_status: spec.remove_unknown_runner,
        null_acquire_status: spec.acquire_null,
        empty_registration_status: if spec.empty_registration == 200 { 0 } else { spec.empty_registration },
        groups: groups.into_iter().collect(),
        ..Profile::default()
    };
    Settings { profile, strict_credentials: true, ..Settings::default() }
}

fn cluster_settings(spec: &ClusterSpec, n: usize, seed: u64) -> ClusterSettings {
    let mut settings = ClusterSettings::version(spec.minor());
    settings.nodes = (1..=spec.nodes).map(|n| super::furniture::node_settings(spec, n)).collect();
    settings.api.seed = seed ^ n as u64;
    // No two objects of a world have one uid.
    settings.api.cluster = n as u16;
    settings.api.container_restart_rules = spec.api.container_restart_rules;
    settings.kubelet.sync_period = spec.kubelet.sync.0;
    settings.kubelet.teardown = spec.kubelet.teardown.body.from.0;
    settings.storage.ignored = !spec.kubelet.claims;
    settings.node_lifecycle.toleration = spec.unreachable_toleration.0;
    settings.gc.delay = spec.api.garbage_collection.body.from.0;
    settings.gc.discovered_after = spec.api.new_kinds_collected.as_ref().map(|delay| {
        let mut dice = Dice::new(seed, &format!("collector/{n}"));
        dice.delay(Latency::usual(delay))
    });
    settings.scheduler.delay = spec.kubelet.schedule.body.from.0;
    settings
}
