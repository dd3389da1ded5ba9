//! A whole cluster as one pure machine: the API server, the kubelets of all nodes, the scheduler and the controllers.
//!
//! A request, an input of the engine or a timer changes the store; the change log tells every loop, which sets timers; the
//! engine asks for [`Cluster::next_deadline`] and calls [`Cluster::advance`]. While nothing changes there is no timer.
//! Cloning is cheap: the loops share their state until they write. Never draws a duration: the engine owns those.

use std::sync::Arc;

use arc_api::core::Namespace;
use arc_api::kube::{DeleteOptions, Identity, KubeReply, KubeRequest, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Meta, Object, Str, Time, Uid};

use crate::ApiServer;
pub use crate::kubelet::{AdmissionRule, ContainerKind, Exit, HookKind, NodeEffect, Signal, StartFailure};
use crate::kubelet::{Kubelets, worker::PodWorker};
pub use crate::loops::scope::PodScope;
pub use crate::loops::settings::{ClusterSettings, NodeSettings};
use crate::loops::{
    accounts::{self, Accounts},
    claims::Claims,
    definitions::Definitions,
    deployments::Deployments,
    gc::Gc,
    namespaces::Namespaces,
    nodes::{self, Nodes},
    quota::Quotas,
    scheduler::Scheduler,
};

/// More runs of loops than any instant has: 5,000 pods of a cluster, each of them noticed by each loop.
const TURNS_MAX: u32 = 100_000;

/// Names a fault, so that it can be ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FaultId(u64);

/// What becomes of the pods of a node that vanishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vanish {
    /// They are removed with it, as cloud providers and autoscalers do (field-bugs.md `node_fault`, mode vanish).
    PodsAtOnce,
    /// PodGC finds them after its quarantine (kubernetes-api.md §5.6).
    PodsByPodGc,
}

/// One simulated cluster.
#[derive(Clone, Debug)]
pub struct Cluster {
    api: ApiServer,
    minor: u32,
    /// The version up to which the loops have seen the log.
    seen: u64,
    api_up: bool,
    kubelets: Kubelets,
    scheduler: Scheduler,
    claims: Claims,
    gc: Gc,
    namespaces: Namespaces,
    accounts: Accounts,
    definitions: Definitions,
    quotas: Quotas,
    deployments: Deployments,
    nodes: Nodes,
    last_fault: u64,
}

impl Cluster {
    /// Draws what is a matter of chance in its loops (the order in which a namespace is emptied) from another seed from now on.
    pub fn draw_from(&mut self, seed: u64) {
        self.namespaces.draw_from(seed);
    }
    /// A cluster with its system namespaces, `default` accounts and nodes, at time zero.
    pub fn new(settings: ClusterSettings) -> Cluster {
        let ClusterSettings { api, nodes, .. } = settings;
        let (minor, seed, events) = (api.minor, api.seed, settings.events);
        let mut cluster = Cluster {
            api: ApiServer::new(api),
            minor,
            seen: 0,
            api_up: true,
            kubelets: Kubelets::new(settings.kubelet, minor, seed, events),
            scheduler: Scheduler::new(settings.scheduler, minor, events),
            claims: Claims::new(settings.storage),
            gc: Gc::new(settings.gc),
            namespaces: Namespaces::new(settings.namespaces, minor, seed),
            accounts: Accounts::new(settings.account_delay),
            definitions: Definitions::default(),
            quotas: Quotas::new(settings.quota_delay),
            deployments: Deployments::new(settings.deployments),
            nodes: Nodes::new(settings.node_lifecycle, minor, seed),
            last_fault: 0,
        };
        cluster.seen = cluster.api.resource_version();
        // Source: kubernetes-api.md §6.2, §6.3: what every cluster has.
        for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
            let namespace = Namespace { metadata: Meta::named("", name), ..Namespace::default() };
            let _ = cluster.api.handle(&Identity::Admin, &KubeRequest::Create(namespace.into()), Time::ZERO);
            accounts::make_default(&mut cluster.api, &Str::from(name), Time::ZERO);
        }
        for node in nodes {
            let _ = cluster.api.handle(&Identity::Admin, &KubeRequest::Create(node.object().into()), Time::ZERO);
        }
        cluster.observe(Time::ZERO);
        cluster
    }
    /// The API server, to read from.
    pub fn api(&self) -> &ApiServer {
        &self.api
    }
    /// The API server, to use what is not a request: two-part deletions, compaction, restarts. [`Cluster::noticed`] must
    /// follow a change.
    pub fn api_mut(&mut self) -> &mut ApiServer {
        &mut self.api
    }
    /// Answers a request; the loops notice what changed, and act when their timers say so.
    pub fn handle(&mut self, who: &Identity, request: &KubeRequest, now: Time) -> KubeReply {
        let reply = self.api.handle(who, request, now);
        self.observe(now);
        reply
    }
    /// Lets the loops notice what was changed through [`Cluster::api_mut`].
    pub fn noticed(&mut self, now: Time) {
        self.observe(now);
    }
    /// A pod as its kubelet sees it.
    pub fn worker(&self, pod: Uid) -> Option<&PodWorker> {
        self.kubelets.worker(pod)
    }
    /// What a node must do next.
    pub fn pop_effect(&mut self) -> Option<NodeEffect> {
        self.kubelets.pop_effect()
    }

    /// The earliest timer of any loop; [`Time::NEVER`] when nothing is going to happen by itself.
    pub fn next_deadline(&self) -> Time {
        let own = self.kubelets.next_deadline();
        if !self.api_up {
            return own;
        }
        [
            self.scheduler.next_deadline(),
            self.claims.next_deadline(),
            self.gc.next_deadline(),
            self.namespaces.next_deadline(),
            self.accounts.next_deadline(),
            self.definitions.next_deadline(),
            self.quotas.next_deadline(),
            self.deployments.next_deadline(),
            self.nodes.next_deadline(),
        ]
        .into_iter()
        .fold(own, Time::min)
    }
    /// Runs everything that is due, in a fixed order of the loops.
    pub fn advance(&mut self, now: Time) {
        let mut turns = 0;
        while self.next_deadline() <= now {
            turns += 1;
            // A loop that asks to be run and does nothing would stand here for ever: a mistake of this crate, told as one.
            assert!(turns <= TURNS_MAX, "the loops of the cluster go round at {now}");
            let mut ran = self.kubelets.run_one(&mut self.api, now);
            if self.api_up && !ran {
                ran = self.scheduler.run_one(&mut self.api, &self.claims, now)
                    || self.claims.run_one(&mut self.api, now)
                    || self.gc.run_one(&mut self.api, now)
                    || self.namespaces.run_one(&mut self.api, now)
                    || self.accounts.run_one(&mut self.api, now)
                    || self.definitions.run_one(&mut self.api, now)
                    || self.quotas.run_one(&mut self.api, now)
                    || self.deployments.run_one(&mut self.api, now)
                    || self.nodes.run_one(&mut self.api, now);
            }
            self.observe(now);
            if !ran {
                return;
            }
        }
    }
    /// Tells every loop what changed since it looked last.
    fn observe(&mut self, now: Time) {
        // Loops only read while they notice, so the log does not grow under the iteration.
        let Cluster {
            api,
            kubelets,
            scheduler,
            claims,
            gc,
            namespaces,
            accounts,
            definitions,
            quotas,
            deployments,
            nodes,
            ..
        } = self;
        let mut healthier = false;
        for event in api.log_since(self.seen) {
            let WatchEvent { type_, object, .. } = event;
            match object {
                Object::Pod(pod) => {
                    kubelets.notice(*type_, pod, now);
                    scheduler.notice(event, now);
                    claims.notice(event, now);
                    deployments.notice(event, now);
                    nodes.notice(event, api, now);
                }
                Object::Node(node) => {
                    match type_ {
                        WatchType::Deleted => kubelets.node_gone(&node.metadata.name),
                        _ => kubelets.node_added(&node.metadata.name),
                    }
                    healthier |= *type_ != WatchType::Deleted && node.ready == "True";
                    scheduler.notice(event, now);
                    nodes.notice(event, api, now);
                }
                Object::Secret(_) | Object::ConfigMap(_) => {
                    let meta = object.meta();
                    kubelets.object_changed(&meta.namespace, &meta.name, api, now);
                }
                Object::PersistentVolumeClaim(_) => {
                    scheduler.notice(event, now);
                    claims.notice(event, now);
                }
                Object::Namespace(_) => {
                    namespaces.notice(event, now);
                    accounts.notice(event, now);
                }
                Object::ServiceAccount(_) => accounts.notice(event, now),
                Object::Deployment(_) => deployments.notice(event, now),
                _ => {}
            }
            definitions.notice(event, now);
            gc.notice(event, api, now);
            quotas.notice(event, now);
        }
        if healthier {
            nodes.reconsider(api, now);
        }
        let version = self.api.resource_version();
        if version != self.seen {
            // The engine reads the same log and trims it when it has seen it too ([`ApiServer::trim_log`]).
            self.seen = version;
        }
    }

    // ---- inputs from the engine --------------------------------------------------------------------------------------

    /// Answer to [`NodeEffect::PrepareVolumes`].
    pub fn volumes_ready(&mut self, pod: Uid, now: Time) {
        self.input(pod, now, PodWorker::volumes_ready);
    }
    /// Volumes cannot be mounted yet (`FailedAttachVolume`, `FailedMount`): an event, and the pod waits on.
    pub fn volumes_failed(&mut self, pod: Uid, reason: &'static str, message: Str, now: Time) {
        self.input(pod, now, |_, cx| cx.notes.push((reason, message)));
    }
    /// Answer to [`NodeEffect::StartContainer`].
    pub fn container_started(&mut self, pod: Uid, container: &str, now: Time) {
        self.input(pod, now, |w, cx| w.container_started(container, cx));
    }
    /// Answer to [`NodeEffect::StartContainer`].
    pub fn start_failed(&mut self, pod: Uid, container: &str, failure: StartFailure, now: Time) {
        self.input(pod, now, |w, cx| w.start_failed(container, failure, cx));
    }
    /// The container's process is gone.
    pub fn container_exited(&mut self, pod: Uid, container: &str, exit: Exit, now: Time) {
        self.input(pod, now, |w, cx| w.container_exited(container, exit, cx));
    }
    /// The kubelet cannot find the container any more (`ContainerStatusUnknown`).
    pub fn container_lost(&mut self, pod: Uid, container: &str, now: Time) {
        self.input(pod, now, |w, cx| w.container_lost(container, cx));
    }
    /// What the container's probes see from now on; true at first, and kept over restarts.
    pub fn set_healthy(&mut self, pod: Uid, container: &str, healthy: bool, now: Time) {
        self.input(pod, now, |w, cx| w.set_health(container, Some(healthy), None, cx.now));
    }
    /// How long each probe takes to answer; above its timeout it fails.
    pub fn set_probe_latency(&mut self, pod: Uid, container: &str, latency: Duration, now: Time) {
        self.input(pod, now, |w, cx| w.set_health(container, None, Some(latency), cx.now));
    }
    /// An exec hook is over.
    pub fn hook_done(&mut self, pod: Uid, container: &str, now: Time) {
        self.input(pod, now, |w, cx| w.hook_done(container, cx));
    }
    fn input(&mut self, pod: Uid, now: Time, f: impl FnOnce(&mut PodWorker, &mut crate::kubelet::worker::Context<'_>)) {
        self.kubelets.input(pod, &mut self.api, now, f);
        self.observe(now);
    }

    // ---- faults and node operations ----------------------------------------------------------------------------------

    fn fault(&mut self) -> FaultId {
        self.last_fault += 1;
        FaultId(self.last_fault)
    }
    /// The API server answers nobody (`false`) or again (`true`): the loops stand still, kubelets go on by themselves and
    /// catch up later. Requests through [`Cluster::handle`] are the engine's to hold back.
    pub fn set_api_up(&mut self, up: bool, now: Time) {
        self.api_up = up;
        self.kubelets.set_api_up(up, &mut self.api, now);
        self.observe(now);
    }
    /// Cordons or uncordons a node.
    pub fn cordon(&mut self, node: &str, on: bool, now: Time) {
        nodes::cordon(&mut self.api, node, on, now);
        self.observe(now);
    }
    /// `kubectl drain`: cordon, then evict every pod, with its own grace or the given one.
    pub fn drain(&mut self, node: &str, grace: Option<Duration>, now: Time) {
        nodes::cordon(&mut self.api, node, true, now);
        nodes::evict_all(&mut self.api, node, grace, self.minor, now);
        self.observe(now);
    }
    /// The kubelet evicts a pod for a resource it ran short of, e.g. `memory` (§5.8): killed at once, Failed, `Evicted`.
    /// `before_status` leaves no container statuses behind. A pod that has ended stays as it is.
    pub fn evict_for_pressure(&mut self, pod: Uid, resource: &str, before_status: bool, now: Time) {
        let message = arc_api::format_smolstr!("The node was low on resource: {resource}. ");
        self.input(pod, now, |w, cx| {
            if before_status && w.is_evictable() {
                w.hide_statuses(true);
            }
            w.evicted(Str::new_static("Evicted"), message, Duration::ZERO, cx);
        });
    }
    /// Every pod of a node is evicted for a resource.
    pub fn pressure(&mut self, node: &str, resource: &str, before_status: bool, now: Time) {
        for uid in self.pods_on(node) {
            self.evict_for_pressure(uid, resource, before_status, now);
        }
    }
    /// The node shuts down in good order: its pods are ended by the kubelet with their own grace (§5.8).
    pub fn shut_down(&mut self, node: &str, now: Time) {
        for uid in self.pods_on(node) {
            self.input(uid, now, |w, cx| {
                let seconds = w.pod().spec.termination_grace_period_seconds.unwrap_or(30).max(0) as u64;
                let message = Str::new_static("Pod was terminated in response to imminent node shutdown.");
                w.evicted(Str::new_static("Terminated"), message, Duration::from_secs(seconds), cx);
            });
        }
    }
    /// Shows or hides all container statuses of a pod (a fault).
    pub fn hide_container_statuses(&mut self, pod: Uid, hidden: bool, now: Time) {
        self.input(pod, now, |w, _| w.hide_statuses(hidden));
    }
    /// The node loses power: processes die unseen, the object stays, the timeline of §5.6 begins.
    pub fn power_off(&mut self, node: &str, now: Time) {
        self.kubelets.power_off(node);
        self.nodes.fell_silent(&Str::from(node), now);
        self.observe(now);
    }
    /// The node is cut off from the API server: its processes go on, the timeline of §5.6 begins.
    pub fn cut_off(&mut self, node: &str, now: Time) {
        self.kubelets.cut_off(node);
        self.nodes.fell_silent(&Str::from(node), now);
        self.observe(now);
    }
    /// The node is back: the kubelet finishes what was asked of it meanwhile.
    pub fn node_back(&mut self, node: &str, now: Time) {
        self.nodes.heard_again(&Str::from(node), &mut self.api, now);
        self.kubelets.back(node, &mut self.api, now);
        self.observe(now);
    }
    /// The node and its processes are gone for ever.
    pub fn vanish(&mut self, node: &str, pods: Vanish, now: Time) {
        let bound: Vec<Arc<Pod>> = self.api.pods_on(node).cloned().collect();
        let options = DeleteOptions::default();
        let request = KubeRequest::Delete { kind: Kind::Node, key: Key::new("", node), options };
        let _ = self.handle(&Identity::Admin, &request, now);
        if pods == Vanish::PodsAtOnce {
            for pod in bound {
                let options = DeleteOptions {
                    grace_period_seconds: Some(0),
                    uid: Some(pod.metadata.uid),
                    ..DeleteOptions::default()
                };
                let request = KubeRequest::Delete { kind: Kind::Pod, key: pod.metadata.key(), options };
                let _ = self.handle(&Identity::System("cloud-node-controller"), &request, now);
            }
        }
    }
    /// A node joins after a while.
    pub fn add_node(&mut self, node: NodeSettings, after: Duration, now: Time) {
        self.nodes.join(node, now.after(after));
    }
    /// Kubelets refuse pods (`pod_reject`) until [`Cluster::end_fault`].
    pub fn reject_pods(&mut self, rule: AdmissionRule) -> FaultId {
        let id = self.fault();
        self.kubelets.add_rule(id.0, rule);
        id
    }
    /// Pods are not scheduled (`pod_delay`, unschedulable) until [`Cluster::end_fault`]. An empty message is about cpu.
    pub fn hold_pods(&mut self, scope: PodScope, message: Str) -> FaultId {
        let id = self.fault();
        self.scheduler.hold(id.0, scope, message);
        id
    }
    /// Claims of pods are not bound (`volume_fault`, unbound) until [`Cluster::end_fault`].
    pub fn hold_claims(&mut self, scope: PodScope) -> FaultId {
        let id = self.fault();
        self.claims.hold(id.0, scope);
        id
    }
    /// Ends a fault.
    pub fn end_fault(&mut self, fault: FaultId, now: Time) {
        self.kubelets.remove_rule(fault.0);
        self.scheduler.release(fault.0, now);
        self.claims.release(fault.0, &self.api, now);
    }
    fn pods_on(&self, node: &str) -> Vec<Uid> {
        self.api.pods_on(node).map(|p| p.metadata.uid).collect()
    }
}
