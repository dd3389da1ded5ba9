//! The world: clusters, GitHub, processes and the roads between them, moved by one queue of events.
//!
//! Holds no ARC policy, no Kubernetes or GitHub rule: those are in the machines. What is here is *when* things happen and what
//! is lost on the way. Single-threaded; a world is a function of its plan.

mod before;
mod build;
mod calls;
mod excuses;
mod faults;
mod furniture;
mod kube;
mod kubectl;
mod listener;
mod marks;
mod observe;
mod operators;
mod pod_faults;
mod pods;
mod process_faults;
mod processes;
mod reactions;
mod run;
mod service;
mod service_faults;
mod tasks;
mod triggers;
mod values;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::kube::Identity;
use arc_api::meta::Key;
use arc_api::{JobId, Kind, Str, Time, Uid};
use controller_core::{Behaviour, Release};
use fake_github::GitHub;
use fake_kube::Cluster;

use crate::engine::{Alarm, EventQueue};
use crate::fault::Faults;
use crate::invariant::Invariants;
use crate::metrics::Metrics;
use crate::network::{Dice, Latency};
use crate::own::OwnMachines;
use crate::plan::{Plan, Role};
use crate::process::manager::Manager;
use crate::process::runner::Runner;
use crate::shared::Shared;
use crate::trace::{Actor, EventId, Trace};

pub use calls::Tag;
pub(crate) use calls::{Body, CallId, Calls, InFlight, describe};
#[doc(hidden)]
pub use run::{Leak, run_leaking};
pub use run::{RunOptions, run, run_with};

/// A cluster of the world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SiteId(pub u8);

/// A process of the world; never re-used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProcId(pub u32);

/// What the queue holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    /// A cluster's own loops have something to do.
    ClusterDue(SiteId),
    /// The service has something to do.
    GitHubDue,
    /// A request leaves its process (after throttling).
    Leave(CallId),
    /// A request reaches the other side.
    Arrive(CallId),
    /// A reply reaches its process.
    Reply(CallId),
    /// The head of a watch stream reaches its process.
    Deliver { watcher: u32 },
    /// A process asked to be woken.
    Wake(ProcId),
    /// Something on a node that takes time is over.
    NodeWork { pending: u32 },
    /// An action of the plan is due, by its place in the plan.
    Action(u32),
    /// An action of the plan is over.
    ActionEnd(u32),
    /// An action of the plan has waited long enough for its trigger.
    GiveUp(u32),
    /// Draws come from another seed from now on, by the fork's place in the plan.
    Fork(u32),
    /// An invariant's deadline.
    Deadline,
    /// A frozen or slow process goes on.
    Thaw(ProcId),
    /// A person cancels a job.
    CancelJob(JobId),
    /// A fault meets a job that runs.
    WrongJob { job: JobId, action: u32 },
    /// A node that a fault struck comes back, or its object goes.
    NodeStep { action: u32, gone: bool },
    /// A pod that a fault held back may be scheduled.
    Release { site: SiteId, fault: fake_kube::cluster::FaultId },
    /// The silent exec streams of a runner have been idle for too long.
    CutExec { proc: ProcId, action: u32 },
}

/// A queue entry: what happens and what it follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scheduled {
    pub(crate) event: Event,
    pub(crate) cause: EventId,
}

/// How long things take, by kind of road or work.
#[derive(Clone, Copy, Debug)]
pub struct Latencies {
    /// Process to API server, one way.
    pub kube: Latency,
    /// Commit to a watcher's cache.
    pub watch: Latency,
    /// A change of a cache to its handlers.
    pub handlers: Latency,
    /// Process to GitHub, one way.
    pub github: Latency,
    /// The order to start a pod's first container to its process.
    pub container_create: Latency,
    /// The same for each further container.
    pub container_start: Latency,
    /// Image pull for a pod's first container.
    pub image_pull: Latency,
    /// Life of an ordinary init container.
    pub init_run: Latency,
    /// The kubelet's decision to SIGTERM.
    pub sigterm: Latency,
    /// The end of a process to the kubelet's notice.
    pub status: Latency,
    /// The same where the kubelet stopped it.
    pub status_after_stop: Latency,
    /// Listener process start to its first call.
    pub boot: Latency,
    /// Runner process start to its connection.
    pub runner_boot: Latency,
    /// Runner's decision to leave to the end of its process.
    pub runner_exit: Latency,
    /// Manager process start to its first LIST.
    pub manager_boot: Latency,
    /// Between two calls of an operator's command.
    pub operator: Latency,
}

/// A cluster with what the world keeps about it.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) name: Str,
    pub(crate) cluster: Cluster,
    pub(crate) releases: crate::helm::Releases,
    /// How far the world has looked at the commit log.
    pub(crate) seen: u64,
    /// When the cluster's own loops have something to do.
    pub(crate) due: Alarm<Scheduled>,
    /// The API server answers nothing until then.
    pub(crate) frozen_until: Time,
    /// What arrived while it was frozen, in order.
    pub(crate) held: Vec<Event>,
    /// Meanwhile connections are refused, not held.
    pub(crate) down: bool,
    /// Nodes that the autoscaler has ordered, and when the last of them is there.
    pub(crate) ordered: (u32, Time),
}

/// A watch stream.
#[derive(Clone, Debug)]
pub(crate) struct Watcher {
    pub(crate) proc: ProcId,
    pub(crate) site: SiteId,
    pub(crate) kind: Kind,
    pub(crate) cursor: u64,
    /// When the head of the stream arrives, if a delivery is queued.
    pub(crate) head_at: Time,
    pub(crate) open: bool,
    /// Nothing is delivered before this (cache lag).
    pub(crate) lag_until: Time,
    /// Its connection is dead: what comes next is its end.
    pub(crate) dead: bool,
}

/// The daemon of a dind container.
#[derive(Clone, Debug)]
pub(crate) struct Dind {
    pub(crate) ready_at: Time,
    pub(crate) ready: bool,
    /// Path of its socket, if its arguments name one.
    pub(crate) socket: Option<Str>,
    /// From SIGTERM to its end.
    pub(crate) stop: arc_api::Duration,
    /// When it ends, once it was told to.
    pub(crate) ends_at: Option<Time>,
}

/// What runs in a process.
#[derive(Clone, Debug)]
pub(crate) enum Machine {
    Manager(Box<Manager>),
    Listener(Box<listener::ListenerProcess>),
    Runner(Box<Runner>),
    Dind(Dind),
    /// Init containers and other containers: end by themselves at a time, or never.
    Plain {
        ends_at: Time,
        code: i32,
    },
    /// A person or a script at the command line.
    Operator(Box<operators::Command>),
}

/// A process and where it lives.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) machine: Machine,
    pub(crate) actor: Actor,
    pub(crate) role: Role,
    pub(crate) label: Str,
    /// Scale set, by the label of its objects; empty if it has none.
    pub(crate) scale_set: Str,
    /// Place of its AutoscalingRunnerSet.
    pub(crate) set_key: Key,
    pub(crate) site: SiteId,
    pub(crate) pod: Option<Uid>,
    pub(crate) pod_name: Str,
    pub(crate) container: Str,
    pub(crate) node: Str,
    pub(crate) who: Identity,
    /// When it wants to be woken.
    pub(crate) wake: Alarm<Scheduled>,
    /// Frozen (stop-the-world) until then.
    pub(crate) paused_until: Time,
    pub(crate) cause: EventId,
    pub(crate) terminating: bool,
}

/// Draws by concern.
#[derive(Clone, Debug)]
pub(crate) struct DiceBox {
    pub(crate) kube: Dice,
    pub(crate) watch: Dice,
    pub(crate) github: Dice,
    pub(crate) node: Dice,
    pub(crate) boot: Dice,
    pub(crate) docker: Dice,
    pub(crate) crash: Dice,
    pub(crate) handlers: Dice,
}

/// A whole world at one instant. Cloning it forks the history.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) now: Time,
    pub(crate) queue: EventQueue<Scheduled>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) sites: Vec<Site>,
    pub(crate) github: GitHub,
    pub(crate) github_due: Alarm<Scheduled>,
    pub(crate) parked: BTreeMap<fake_github::Ticket, CallId>,
    pub(crate) procs: Vec<Option<Shared<Process>>>,
    pub(crate) containers: Shared<BTreeMap<(SiteId, Uid, Str), ProcId>>,
    pub(crate) calls: Calls,
    pub(crate) watchers: Vec<Watcher>,
    pub(crate) pending: Vec<Option<pods::NodeJob>>,
    pub(crate) dice: DiceBox,
    pub(crate) latency: Latencies,
    pub(crate) faults: Faults,
    pub(crate) trace: Trace,
    pub(crate) cause: EventId,
    pub(crate) invariants: Shared<Invariants>,
    pub(crate) metrics: Shared<Metrics>,
    pub(crate) events: u64,
    pub(crate) deadline: Time,
    pub(crate) scratch: Vec<crate::process::Output>,
    /// Identities of processes that are gone and whose requests are still on their way.
    pub(crate) graves: Shared<BTreeMap<ProcId, (Identity, Actor)>>,
    /// Containers that a fault will end: when, which, how.
    pub(crate) doomed: Vec<(Time, ProcId, i32, Str)>,
    /// Jobs by the id of the action that queued them.
    pub(crate) job_ids: Shared<BTreeMap<JobId, Str>>,
    /// The labels that jobs ask for.
    pub(crate) job_labels: Shared<BTreeMap<JobId, Str>>,
    /// Jobs that will be cancelled.
    pub(crate) cancels: Shared<BTreeMap<JobId, crate::plan::JobCancel>>,
    /// Clusters' settings as operators have changed them.
    pub(crate) specs: Shared<Vec<crate::plan::world::ClusterSpec>>,
    /// Rules that active faults hold at the service and the clusters, by action.
    pub(crate) rules: BTreeMap<u32, faults::Rules>,
    /// Containers that may not be started again before a time.
    pub(crate) restarts: Shared<BTreeMap<(SiteId, Uid, Str), Time>>,
    /// Connections that died without a word.
    pub(crate) dead_links: Vec<process_faults::DeadLink>,
    /// Calls that were lost on them: what the other side says to them does not matter any more.
    pub(crate) dead_calls: Vec<CallId>,
    /// When a watch may be opened again after an outage, by process and slot.
    pub(crate) returns: Shared<BTreeMap<(ProcId, u8), Time>>,
    /// Pods whose volumes do not come while an action lasts.
    pub(crate) stuck: Vec<(u32, SiteId, Uid)>,
    /// Starts of containers that an action holds until its end, and when they were due.
    pub(crate) held_starts: Vec<(u32, Time, pods::NodeJob)>,
    /// What the plan says was at work before could not be made.
    unfurnished: bool,
    /// Behaviours by release and changed switches.
    pub(crate) behaviours: Shared<Behaviours>,
    /// Interesting states that were reached.
    pub(crate) marks: crate::marks::Marks,
    /// The last patch of each runner set: its id, and how many runners it asked for.
    pub(crate) patches: Shared<BTreeMap<Uid, (i64, i32)>>,
    /// Planted by a test of the self-check.
    pub(crate) leak: Leak,
    /// Machines that stand in the places of ours.
    pub(crate) own: Arc<OwnMachines>,
}

/// Behaviours by release and changed switches.
type Behaviours = BTreeMap<(Release, Vec<(Str, Str)>), Arc<Behaviour>>;

impl World {
    /// Virtual time.
    pub fn now(&self) -> Time {
        self.now
    }
    /// Events handled so far.
    pub fn events(&self) -> u64 {
        self.events
    }
    /// The history.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
    pub(crate) fn schedule(&mut self, at: Time, event: Event) {
        self.queue.push(at, Scheduled { event, cause: self.cause });
    }
    /// Schedules what the plan or the observers want: without a tie of its own, so that neither shifts anything else.
    pub(crate) fn schedule_first(&mut self, at: Time, event: Event) {
        self.queue.push_first(at, Scheduled { event, cause: self.cause });
    }
    pub(crate) fn site(&self, id: SiteId) -> &Site {
        &self.sites[id.0 as usize]
    }
    pub(crate) fn site_mut(&mut self, id: SiteId) -> &mut Site {
        &mut self.sites[id.0 as usize]
    }
    pub(crate) fn proc(&self, id: ProcId) -> Option<&Process> {
        self.procs.get(id.0 as usize)?.as_deref()
    }
    pub(crate) fn proc_mut(&mut self, id: ProcId) -> Option<&mut Process> {
        self.procs.get_mut(id.0 as usize)?.as_deref_mut()
    }
}
