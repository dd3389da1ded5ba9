//! The controller manager: informers that lag, work queues, workers, a client-side throttle, service clients, leader election;
//! and in its workers the pure passes of `controller-core`. Holds no ARC policy.
//!
//! A crash drops all of this; what was written stays. Source: arc-controllers.md §2, kubernetes-api.md §8, §9.

mod informers;
mod pace;
mod slow;

use std::sync::Arc;

use arc_api::meta::Key;
use arc_api::service::{Exception, ServiceError, ServiceOk};
use arc_api::{Duration, Kind, Str, Time};
use controller_core::autoscaling_listener::AlPass;
use controller_core::autoscaling_runner_set::ArsPass;
use controller_core::behaviour::ErWorkers;
use controller_core::caches::{Caches, WATCHED};
use controller_core::call::{Call, CallError, ClientKey, Reply};
use controller_core::client::{AttemptId, Bearer, CallId, Client, Output as ClientOutput};
use controller_core::ephemeral_runner::ErPass;
use controller_core::ephemeral_runner_set::ErsPass;
use controller_core::reconcile::{Decision, Level, LogLine, Observed, Outcome, Pass, Settings};
use controller_core::throttle::Throttles;
use controller_core::workqueue::WorkQueue;

use self::informers::Informer;
use self::pace::Pace;
use self::slow::Slow;
use super::lease::{Election, ElectionOutput};
use super::{Input, Output};
use crate::own::{Controller, OwnMachines};
use crate::world::Tag;

/// The four controllers, in the order of their slots.
const CONTROLLERS: [Kind; 4] = [
    Controller::AutoscalingRunnerSet.kind(),
    Controller::AutoscalingListener.kind(),
    Controller::EphemeralRunnerSet.kind(),
    Controller::EphemeralRunner.kind(),
];

/// What a manager is started with.
#[derive(Clone, Debug)]
pub struct ManagerConfig {
    /// Settings of its reconcilers.
    pub settings: Settings,
    /// Workers of the EphemeralRunner controller, if not the release's own number.
    pub runner_workers: Option<u32>,
    /// `--k8s-client-rate-limiter-qps`.
    pub qps: u32,
    /// `--k8s-client-rate-limiter-burst`.
    pub burst: u32,
    /// Only this namespace and its own are watched.
    pub watch_namespace: Option<Str>,
    /// Identity in leader election; `None`: it is off.
    pub election: Option<Str>,
    /// From process start to the first request.
    pub boot: Duration,
    /// Reconcilers that stand in the places of ARC's.
    pub own: Arc<OwnMachines>,
}

#[derive(Clone, Debug)]
enum AnyPass {
    Ars(ArsPass),
    Al(AlPass),
    Ers(ErsPass),
    Er(ErPass),
    Own(Box<dyn controller_core::own::DynPass>),
}

impl AnyPass {
    fn new(slot: usize, key: Key, config: &ManagerConfig) -> AnyPass {
        if let Some(own) = config.own.reconciler(slot) {
            return AnyPass::Own(own.begin(key, &config.settings));
        }
        match slot {
            0 => AnyPass::Ars(ArsPass::new(key)),
            1 => AnyPass::Al(AlPass::new(key)),
            2 => AnyPass::Ers(ErsPass::new(key)),
            _ => AnyPass::Er(ErPass::new(key)),
        }
    }
    fn step(&mut self, observed: &mut Observed<'_>) -> Decision {
        match self {
            AnyPass::Ars(p) => p.step(observed),
            AnyPass::Al(p) => p.step(observed),
            AnyPass::Ers(p) => p.step(observed),
            AnyPass::Er(p) => p.step(observed),
            AnyPass::Own(p) => p.step(observed),
        }
    }
    fn at(&self) -> &'static str {
        match self {
            AnyPass::Ars(p) => p.at(),
            AnyPass::Al(p) => p.at(),
            AnyPass::Ers(p) => p.at(),
            AnyPass::Er(p) => p.at(),
            AnyPass::Own(p) => p.at(),
        }
    }
}

#[derive(Clone, Debug)]
struct Worker {
    slot: usize,
    job: Option<(Key, AnyPass)>,
}

/// So many passes that wait for a worker are a queue: one alone is only late.
const BACKLOG: usize = 2;

/// One manager process.
#[derive(Clone, Debug)]
pub struct Manager {
    config: ManagerConfig,
    caches: Caches,
    informers: [Informer; WATCHED.len()],
    synced: bool,
    works_since: Option<Time>,
    ever_synced: [bool; WATCHED.len()],
    queues: [WorkQueue<Key>; 4],
    workers: Vec<Worker>,
    throttle: Throttles,
    clients: Vec<(Arc<ClientKey>, Client)>,
    election: Option<Election>,
    log: Vec<LogLine>,
    reconciles: u64,
    pace: Pace,
    stopped: bool,
    boots_at: Option<Time>,
    slow: Slow,
    /// Keys that their caches' handlers have not added yet, with their queue.
    late: Vec<(Time, usize, Key)>,
}

/// A body that its decoder refuses is an error to the reconcilers, whatever the status said.
fn decoded(result: Result<ServiceOk, CallError>) -> Result<ServiceOk, CallError> {
    match result {
        Ok(ServiceOk::Malformed(_)) => {
            let error = ServiceError::new(200, Exception::None, "unexpected end of JSON input");
            Err(CallError::Service(Arc::new(error)))
        }
        other => other,
    }
}

impl Manager {
    /// A manager that has not started.
    pub fn new(config: ManagerConfig) -> Manager {
        let behaviour = &config.settings.behaviour;
        let runner_workers = config.runner_workers.unwrap_or(match behaviour.er_workers {
            ErWorkers::One => 1,
            ErWorkers::Two => 2,
        });
        let mut workers: Vec<_> = (0..3).map(|slot| Worker { slot, job: None }).collect();
        workers.extend((0..runner_workers.max(1)).map(|_| Worker { slot: 3, job: None }));
        Manager {
            caches: Caches::default(),
            informers: [Informer::Idle { at: Time::NEVER, failures: 0 }; WATCHED.len()],
            synced: false,
            works_since: None,
            ever_synced: [false; WATCHED.len()],
            queues: std::array::from_fn(|_| WorkQueue::new(behaviour.queue_bucket)),
            workers,
            throttle: Throttles::new(config.qps, config.burst),
            clients: Vec::new(),
            election: config.election.clone().map(|id| Election::new(config.settings.namespace.clone(), id)),
            log: Vec::new(),
            reconciles: 0,
            pace: Pace::default(),
            stopped: false,
            boots_at: None,
            slow: Slow::default(),
            late: Vec::new(),
            config,
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.config.settings
    }
    /// Whether [`Manager::take_hot`] has something to tell.
    pub fn is_hot(&self) -> bool {
        self.pace.hot.is_some()
    }
    /// A key that was reconciled more often within a minute than any reason asks for; told once.
    pub fn take_hot(&mut self) -> Option<(Kind, Key, u32)> {
        self.pace.hot.take().map(|(slot, key, times)| (CONTROLLERS[slot], key, times))
    }
    /// Where its running passes will resume.
    pub fn steps(&self) -> impl Iterator<Item = &'static str> {
        self.workers.iter().filter_map(|w| w.job.as_ref().map(|(_, pass)| pass.at()))
    }
    /// Number of passes begun.
    pub fn reconciles(&self) -> u64 {
        self.reconciles
    }
    /// Since when its reconcilers may run; none if they may not.
    pub fn works_since(&self) -> Option<Time> {
        self.works_since
    }
    /// Whether no pass runs, nothing is queued for now and all informers are open.
    pub fn is_quiet(&self) -> bool {
        self.synced && self.workers.iter().all(|w| w.job.is_none()) && self.queues.iter().all(WorkQueue::is_idle)
    }
    /// Whether a pass for this object is due and waits for a worker in a queue.
    pub fn is_behind(&self, kind: Kind, key: &Key, now: Time) -> bool {
        let queue = CONTROLLERS.iter().position(|k| *k == kind).map(|slot| &self.queues[slot]);
        queue.is_some_and(|q| q.is_due(key, now) && q.backlog(now) >= BACKLOG)
    }
    /// Whether it takes part in an election at all.
    pub fn is_elected(&self) -> bool {
        self.election.is_some()
    }
    /// Whether it leads, if there is an election.
    pub fn leads(&self) -> bool {
        self.election.as_ref().is_some_and(Election::leads)
    }
    /// What it believes: for explanations only.
    pub fn caches(&self) -> &Caches {
        &self.caches
    }

    /// One input in; what it does is appended to `out`.
    pub fn handle(&mut self, input: Input, now: Time, out: &mut Vec<Output>) {
        match input {
            Input::Start => {
                self.boots_at = Some(now.after(self.config.boot));
                out.push(Output::WakeAt(now.after(self.config.boot)));
                return;
            }
            Input::Wake if self.boots_at.is_some() => {
                if self.boots_at.is_some_and(|t| t > now) {
                    return;
                }
                self.boots_at = None;
                for slot in 0..WATCHED.len() {
                    self.list(slot, 0, now, out);
                }
                if let Some(election) = &mut self.election {
                    election.start(now);
                }
            }
            Input::Kube(Tag::Worker(w), reply) => self.resume(w as usize, Reply::Kube(reply), now, out),
            Input::Kube(Tag::List(slot), reply) => self.on_list(slot as usize, reply, now, out),
            Input::Kube(Tag::Lease, reply) => {
                if let Some(election) = &mut self.election {
                    election.on_reply(reply, now);
                }
            }
            Input::Service(Tag::Attempt { client, attempt }, reply) => {
                if let Some((_, c)) = self.clients.get_mut(client as usize) {
                    c.on_reply(AttemptId(attempt), reply, now);
                }
            }
            Input::Watch(kind, event, lag) => self.on_event(kind, event, now.after(lag), now),
            Input::WatchClosed(kind) => {
                if let Some(slot) = WATCHED.iter().position(|k| *k == kind) {
                    self.list(slot, 0, now, out);
                }
            }
            Input::Wake => {
                for slot in 0..WATCHED.len() {
                    if let Informer::Idle { at, failures } = self.informers[slot]
                        && at <= now
                    {
                        self.list(slot, failures, now, out);
                    }
                }
                for (_, c) in &mut self.clients {
                    c.on_wake(now);
                }
                if let Some(election) = &mut self.election {
                    election.on_wake(now);
                }
            }
            // controller-runtime stops within milliseconds; passes in flight are abandoned.
            Input::Term => {
                self.stopped = true;
                out.push(Output::Exit(0, Str::default()));
            }
            Input::Kube(..) | Input::Service(..) => {}
        }
        if !self.stopped {
            self.tell_late(now);
            self.run(now, out);
        }
    }

    /// Whether reconcilers may run: all informers synced, and this process leads.
    fn active(&self) -> bool {
        self.synced && self.election.as_ref().is_none_or(Election::leads)
    }

    fn run(&mut self, now: Time, out: &mut Vec<Output>) {
        if let Some(election) = &mut self.election {
            match election.poll() {
                Some(ElectionOutput::Call(request)) => out.push(Output::Kube { tag: Tag::Lease, request, at: now }),
                Some(ElectionOutput::Lost) => {
                    self.stopped = true;
                    out.push(Output::Exit(1, "leader election lost".into()));
                    return;
                }
                None => {}
            }
        }
        self.pump_clients(now, out);
        self.works_since = self.works_since.or(Some(now)).filter(|_| self.active());
        if self.active() {
            let mut rank = [0u32; 4];
            for w in 0..self.workers.len() {
                let slot = self.workers[w].slot;
                rank[slot] += 1;
                if self.slow.workers[slot].is_some_and(|most| rank[slot] > most) {
                    continue;
                }
                while self.workers[w].job.is_none() {
                    self.shuffle(slot, now);
                    let Some(key) = self.queues[slot].get(now) else { break };
                    self.reconciles += 1;
                    self.pace.begin(slot, &key, now);
                    self.workers[w].job = Some((key.clone(), AnyPass::new(slot, key, &self.config)));
                    self.step(w, None, now, out);
                }
            }
        }
        let wakes = self.queues.iter_mut().map(|q| q.next_wake(now)).min().unwrap_or(Time::NEVER);
        let wakes = if self.active() { wakes } else { Time::NEVER };
        let clients = self.clients.iter().map(|(_, c)| c.next_wake()).min().unwrap_or(Time::NEVER);
        let informers = self.informers.iter().map(|i| match i {
            Informer::Idle { at, .. } => *at,
            Informer::Listing { .. } | Informer::Open => Time::NEVER,
        });
        let lease = self.election.as_ref().map_or(Time::NEVER, Election::next_wake);
        let late = self.late.iter().map(|(at, ..)| *at).min().unwrap_or(Time::NEVER);
        let at = wakes.min(clients).min(lease).min(late).min(informers.min().unwrap_or(Time::NEVER));
        if at != Time::NEVER {
            out.push(Output::WakeAt(at.max(now)));
        }
    }

    fn resume(&mut self, w: usize, reply: Reply, now: Time, out: &mut Vec<Output>) {
        if w < self.workers.len() && self.workers[w].job.is_some() {
            self.step(w, Some(reply), now, out);
        }
    }

    /// Steps a worker's pass once: either its next call leaves, or the pass ends.
    fn step(&mut self, w: usize, reply: Option<Reply>, now: Time, out: &mut Vec<Output>) {
        let slot = self.workers[w].slot;
        let Some((key, pass)) = &mut self.workers[w].job else { return };
        let mut observed =
            Observed { settings: &self.config.settings, caches: &self.caches, now, reply, log: &mut self.log };
        let decision = pass.step(&mut observed);
        let at = pass.at();
        if !self.log.is_empty() {
            let key = key.clone();
            self.flush_log(&key, out);
        }
        match decision {
            Decision::Call(call) => {
                out.push(Output::Step(CONTROLLERS[slot], at));
                match call {
                    Call::Kube(request) => {
                        let at = self.throttle.reserve(request.kind(), now);
                        out.push(Output::Kube { tag: Tag::Worker(w as u16), request, at });
                    }
                    Call::Service(call) => {
                        let client = self.client(call.client);
                        self.clients[client].1.submit(CallId(w as u64), call.op, Bearer::Admin, now);
                        self.pump_clients(now, out);
                    }
                }
            }
            Decision::End(outcome) => {
                let Some((key, _)) = self.workers[w].job.take() else { return };
                let own = match &outcome {
                    Outcome::Settled => false,
                    Outcome::Requeue | Outcome::Error(_) => true,
                    Outcome::After(wait) => !wait.is_zero(),
                };
                if own {
                    self.pace.again(slot, &key, now);
                }
                let queue = &mut self.queues[slot];
                match &outcome {
                    Outcome::Settled => queue.forget(&key),
                    Outcome::Requeue => {
                        queue.add_rate_limited(key.clone(), now);
                    }
                    Outcome::After(d) => {
                        queue.forget(&key);
                        if !d.is_zero() {
                            queue.add_after(key.clone(), *d, now);
                        }
                    }
                    Outcome::Error(text) => {
                        queue.add_rate_limited(key.clone(), now);
                        out.push(Output::Log("ERROR", arc_api::format_smolstr!("Reconciler error {key}: {text}")));
                    }
                }
                queue.done(&key);
            }
        }
    }

    fn flush_log(&mut self, key: &Key, out: &mut Vec<Output>) {
        for line in self.log.drain(..) {
            let level = match line.level {
                Level::Info => "INFO",
                Level::Error => "ERROR",
            };
            let slash = if key.namespace.is_empty() { "" } else { "/" };
            let colon = if line.detail.is_empty() { "" } else { ": " };
            let words = [line.message, " ", &key.namespace, slash, &key.name, colon, &line.detail];
            let text = Str::from(words.concat());
            out.push(Output::Log(level, text));
        }
    }

    fn client(&mut self, key: Arc<ClientKey>) -> usize {
        match self.clients.iter().position(|(k, _)| *k == key) {
            Some(at) => at,
            None => {
                let client = Client::new(self.config.settings.behaviour.clone(), key.clone());
                self.clients.push((key, client));
                self.clients.len() - 1
            }
        }
    }

    /// Sends what the service clients want sent and resumes the passes whose operations are done.
    fn pump_clients(&mut self, now: Time, out: &mut Vec<Output>) {
        let mut at = 0;
        while at < self.clients.len() {
            match self.clients[at].1.poll() {
                None => at += 1,
                Some(ClientOutput::Send { attempt, request }) => {
                    out.push(Output::Service { tag: Tag::Attempt { client: at as u16, attempt: attempt.0 }, request });
                }
                Some(ClientOutput::Abort { attempt }) => {
                    out.push(Output::Abort(Tag::Attempt { client: at as u16, attempt: attempt.0 }));
                }
                Some(ClientOutput::Done { call, result, .. }) => {
                    let result = decoded(result);
                    self.resume(call.0 as usize, Reply::Service(result), now, out);
                    at = 0;
                }
            }
        }
    }
}
