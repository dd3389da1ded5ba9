//! Walks through a kept trace once and fills the page's data: which lane each event is in, what it says, what it changes.

use std::collections::{BTreeMap, BTreeSet};

use arc_api::kube::{KubeRequest, WatchType};
use arc_api::meta::Key;
use arc_api::service::Op;
use arc_api::{Kind, Object, RunnerId, ScaleSetId, Str, Time, Uid, format_smolstr};
use fake_github::ServiceEvent;
use serde_json::Value;

use super::bars::{Bars, Tone};
use super::data::{Band, Calls, Events, Sort, Texts};
use super::details;
use super::lanes::{Group, LaneId, Lanes};
use crate::plan::{Action, Fault, Plan};
use crate::trace::{Actor, Trace, TraceEvent, What};

/// Runner pods, by cluster and key: their lanes are among themselves.
type RunnerPods = BTreeSet<(u8, Key)>;

pub(super) struct Collector<'p> {
    plan: &'p Plan,
    trace: &'p Trace,
    pub(super) lanes: Lanes,
    pub(super) bars: Bars,
    pub(super) bands: Vec<Band>,
    pub(super) texts: Texts,
    pub(super) events: Events,
    pods: RunnerPods,
    sets: BTreeMap<ScaleSetId, Str>,
    runners: BTreeMap<RunnerId, Str>,
    actors: BTreeMap<Actor, LaneId>,
    /// Lanes whose process has not ended.
    alive: BTreeSet<LaneId>,
    seen: BTreeMap<(u8, Uid), Value>,
    /// Faults that last: the band that each has begun.
    lasting: BTreeMap<Str, usize>,
    last: Time,
}

impl<'p> Collector<'p> {
    pub(super) fn new(plan: &'p Plan, trace: &'p Trace) -> Collector<'p> {
        let mut texts = Texts::default();
        // Text 0 is the empty one.
        texts.id("");
        let clusters = plan.world.clusters.iter().map(|c| c.name.clone()).collect();
        let mut collector = Collector {
            plan,
            trace,
            lanes: Lanes::new(clusters),
            bars: Bars::default(),
            bands: Vec::new(),
            texts,
            events: Events::default(),
            pods: RunnerPods::new(),
            sets: BTreeMap::new(),
            runners: BTreeMap::new(),
            actors: BTreeMap::new(),
            alive: BTreeSet::new(),
            seen: BTreeMap::new(),
            lasting: BTreeMap::new(),
            last: Time::ZERO,
        };
        collector.learn();
        collector
    }

    /// Names that are used before they are given.
    fn learn(&mut self) {
        let trace = self.trace;
        for event in trace.events() {
            match &event.what {
                What::Commit { site, verb: WatchType::Added, object: Object::Pod(pod) }
                    if pod.metadata.owner_references.iter().any(|o| o.kind == Kind::EphemeralRunner) =>
                {
                    self.pods.insert((*site, pod.metadata.key()));
                }
                What::ServiceEvent(event) => match &**event {
                    ServiceEvent::ScaleSetCreated { scale_set, name } => {
                        self.sets.insert(*scale_set, name.clone());
                    }
                    ServiceEvent::RunnerRegistered { runner, name, .. } => {
                        self.runners.insert(*runner, name.clone());
                    }
                    _ => {}
                },
                _ => {}
            }
        }
    }

    pub(super) fn walk(&mut self) {
        let trace = self.trace;
        for event in trace.events() {
            self.event(event);
        }
    }

    /// The last event of a lane, or of all lanes, until a time; 0 if there is none.
    pub(super) fn last_of(&self, lane: Option<LaneId>, until: Time) -> u32 {
        let events = self.trace.events();
        let before = events.partition_point(|e| e.at <= until).min(self.events.lane.len());
        let concerns = |row: &usize| lane.is_none_or(|l| self.events.lane[*row] == l || self.events.to[*row] == l + 1);
        (0..before).rev().find(concerns).map_or(0, |row| events[row].id)
    }

    /// The calls, once all events have their final lanes.
    pub(super) fn calls(&self) -> Calls {
        let mut calls = Calls::default();
        let since = |left: Time, at: Time| if at == Time::NEVER { 0 } else { at.0.saturating_sub(left.0) + 1 };
        for trip in self.trace.trips() {
            // A call without an event was answered by a fault, or was still on its way at the end.
            let Some(row) = (trip.event as usize).checked_sub(1).filter(|row| *row < self.events.to.len()) else {
                continue;
            };
            calls.event.push(trip.event);
            calls.lane.push(self.events.lane[row]);
            calls.to.push(self.events.to[row]);
            calls.left.push(trip.left.0);
            calls.arrived.push(since(trip.left, trip.arrived));
            calls.back.push(since(trip.left, trip.back));
            calls.lost.push(trip.lost);
        }
        calls
    }

    fn event(&mut self, event: &TraceEvent) {
        let mut said = details::line(&event.what.to_string());
        let (mut to, mut detail, mut bad) = (None, None, false);
        let (lane, sort) = match &event.what {
            What::Kube { kind, key, request, refused, changed, .. } => {
                to = Some(self.object(self.trace.site(event.actor), *kind, key));
                detail = details::request(request);
                bad = refused.is_some();
                let sort = match (request.is_write(), *changed || refused.is_some()) {
                    (false, _) => Sort::Read,
                    (true, true) => Sort::Write,
                    // A DELETE whose object is held by finalizers and was marked before changes nothing either.
                    (true, false) => Sort::Idle,
                };
                (self.actor(event.actor), sort)
            }
            What::Service { request, status, .. } => {
                to = Some(self.operation(request));
                detail = Some(serde_json::json!({ "request": format!("{request:?}") }));
                bad = *status == 0 || *status >= 400;
                (self.actor(event.actor), Sort::Service)
            }
            What::ServiceEvent(happened) => {
                said = details::happening(&said);
                (self.happening(event.at, happened), Sort::Happening)
            }
            What::Commit { site, verb, object } => {
                let json = details::object(object);
                let lane = self.object(*site, Some(object.kind()), &object.key());
                self.bars.commit(lane, event.at, *verb, object, &json);
                detail = self.commit(event, *site, *verb, object, json);
                said = details::commit(*verb, detail.as_ref());
                (lane, Sort::Commit)
            }
            What::ProcessStart { role, .. } => {
                let lane = self.actor(event.actor);
                let tone =
                    if self.trace.name(event.actor).starts_with("operator/") { Tone::Exists } else { Tone::Runs };
                self.bars.begin(lane, u64::from(event.actor.0), event.at, role.as_str().into(), tone);
                (lane, Sort::Process)
            }
            What::ProcessExit { code, .. } => {
                let lane = self.actor(event.actor);
                self.bars.end(lane, u64::from(event.actor.0), event.at);
                self.alive.remove(&lane);
                bad = *code != 0;
                (lane, Sort::Process)
            }
            What::Signal(signal) => {
                bad = *signal == "SIGKILL";
                (self.actor(event.actor), Sort::Process)
            }
            What::Log { level, .. } => {
                bad = *level == "ERROR";
                (self.actor(event.actor), Sort::Log)
            }
            What::Lost { .. } => {
                bad = true;
                (self.actor(event.actor), Sort::Lost)
            }
            What::Fault { id, did } => (self.fault(id, did, event.at), Sort::Fault),
            What::Operator { id, did } => {
                bad = did.starts_with("failed");
                (self.operator(id), Sort::Operator)
            }
            What::Violation { invariant, .. } => {
                bad = true;
                (self.lanes.lane(0, Group::Findings, invariant, || (*invariant).into()), Sort::Violation)
            }
        };
        let columns = &mut self.events;
        columns.at.push(event.at.0 - self.last.0);
        self.last = event.at;
        columns.cause.push(if event.cause == 0 { 0 } else { event.id - event.cause });
        columns.sort.push(sort as u8);
        columns.lane.push(lane);
        columns.to.push(to.map_or(0, |lane| lane + 1));
        columns.text.push(self.texts.id(said));
        columns.detail.push(self.texts.json(detail.as_ref()));
        if bad {
            columns.bad.push(event.id);
        }
    }

    /// What a commit changed; of a new object that nobody asked for all of it, since no request shows it.
    fn commit(&mut self, event: &TraceEvent, site: u8, verb: WatchType, object: &Object, json: Value) -> Option<Value> {
        let identity = (site, object.meta().uid);
        match verb {
            WatchType::Deleted => {
                self.seen.remove(&identity);
                None
            }
            WatchType::Added => {
                let asked = self.trace.event(event.cause).is_some_and(|cause| {
                    matches!(&cause.what, What::Kube { request, .. } if matches!(**request, KubeRequest::Create(_)))
                });
                let told = (!asked).then(|| serde_json::json!({ "body": json }));
                self.seen.insert(identity, json);
                told
            }
            WatchType::Modified => {
                let before = self.seen.insert(identity, json);
                details::changes(&before?, self.seen.get(&identity)?)
            }
        }
    }

    fn actor(&mut self, actor: Actor) -> LaneId {
        if let Some(lane) = self.actors.get(&actor) {
            return *lane;
        }
        let name = self.trace.name(actor);
        let group = match name.split_once('/').map_or(name, |(role, _)| role) {
            "controller" => Group::Managers,
            "listener" => Group::Listeners,
            "runner" | "dind" | "hook" | "workflow" => Group::Runners,
            "operator" => Group::Operators,
            _ => Group::Others,
        };
        let shown = if group == Group::Operators { name.trim_start_matches("operator/") } else { name };
        // A process that was started anew goes on in the lane of the one before; two at a time have a lane each.
        let site = self.trace.site(actor);
        let mut lane = self.lanes.lane(site, group, shown, || name.into());
        let mut copy = 1;
        while actor != Actor(0) && self.alive.contains(&lane) {
            copy += 1;
            lane = self.lanes.lane(site, group, &format!("{shown} ({copy})"), || name.into());
        }
        self.alive.insert(lane);
        self.actors.insert(actor, lane);
        lane
    }

    fn object(&mut self, site: u8, kind: Option<Kind>, key: &Key) -> LaneId {
        match kind {
            Some(kind) if !key.name.is_empty() => {
                let runs_jobs = kind == Kind::Pod && self.pods.contains(&(site, key.clone()));
                self.lanes.object(site, kind, key, runs_jobs)
            }
            Some(kind) => self.lanes.lane(site, Group::ApiServer, &format!("all {}", kind.plural()), || {
                format_smolstr!("collection of {}", kind.plural())
            }),
            None => self.lanes.lane(site, Group::ApiServer, "accessreviews", || "access reviews".into()),
        }
    }

    fn operator(&mut self, id: &str) -> LaneId {
        self.lanes.lane(0, Group::Operators, id, || format_smolstr!("operator/{id}"))
    }

    /// A fault's lane, with the band of its time.
    fn fault(&mut self, id: &Str, did: &str, at: Time) -> LaneId {
        let planned = self.plan.actions.iter().find(|a| a.id == *id);
        let kind = planned.map_or("", |a| if let Action::Fault(f) = &a.what { f.id() } else { "" });
        let entry = id.split('.').next().unwrap_or(id);
        let name = if kind.is_empty() || entry.starts_with(kind) { entry.into() } else { format!("{entry} ({kind})") };
        let lane = self.lanes.lane(0, Group::Faults, &name, || format_smolstr!("fault {kind}"));
        // These happen in an instant, though their entry may stay in force: nothing lasts that could be shown.
        let lasts = planned.is_some_and(|a| {
            a.lasts.is_some()
                || a.ends_with.is_some()
                || !matches!(a.what, Action::Fault(Fault::ActorCrash(_) | Fault::GhScalesetLoss(_)))
        });
        if did.ends_with(" begins") && lasts {
            let (name, from) = (id.clone(), at.0);
            self.lasting.insert(id.clone(), self.bands.len());
            self.bands.push(Band { name, lane, from, to: u64::MAX });
            self.bars.begin(lane, self.bands.len() as u64, at, kind.into(), Tone::Bad);
        } else if did == "ends"
            && let Some(band) = self.lasting.remove(id)
        {
            self.bands[band].to = at.0;
            self.bars.end(lane, band as u64 + 1, at);
        }
        lane
    }

    fn service(&mut self) -> LaneId {
        self.lanes.lane(0, Group::Service, "API", || "GitHub's API".into())
    }

    fn set(&mut self, id: ScaleSetId) -> LaneId {
        let name = self.sets.get(&id).map_or("", Str::as_str);
        let shown = format_smolstr!("scale set {id} {name}");
        self.lanes.lane(0, Group::Service, shown.trim_end(), || format_smolstr!("scale set {name} at the service"))
    }

    fn registration(&mut self, id: RunnerId) -> LaneId {
        let Some(name) = self.runners.get(&id) else { return self.service() };
        let shown = format_smolstr!("{id} {name}");
        let lane = self.lanes.lane(0, Group::Registrations, &shown, || format_smolstr!("registration of {name}"));
        self.lanes.alias(format_smolstr!("runner {id}"), lane);
        lane
    }

    fn job(&mut self, job: arc_api::JobId) -> LaneId {
        let lane = self.lanes.lane(0, Group::Jobs, &format!("job {}", job.0), || format_smolstr!("job {job}"));
        self.lanes.alias(format_smolstr!("job {job}"), lane);
        lane
    }

    /// What an operation of the service is about.
    fn operation(&mut self, op: &Op) -> LaneId {
        match op {
            Op::GetScaleSetById(id) | Op::DeleteScaleSet(id) | Op::GetAcquirableJobs(id) => self.set(*id),
            Op::UpdateScaleSet { id, .. }
            | Op::CreateSession { id, .. }
            | Op::RefreshSession { id, .. }
            | Op::DeleteSession { id, .. }
            | Op::GetMessage { id, .. }
            | Op::DeleteMessage { id, .. }
            | Op::AcquireJobs { id, .. }
            | Op::GenerateJitConfig { id, .. } => self.set(*id),
            Op::GetRunner(id) | Op::RemoveRunner(id) => self.registration(*id),
            Op::AccessToken
            | Op::RegistrationToken { .. }
            | Op::RunnerRegistration { .. }
            | Op::GetScaleSet { .. }
            | Op::CreateScaleSet { .. }
            | Op::GetRunnerGroup { .. }
            | Op::GetRunnerByName(_)
            | Op::RunnerConnect { .. }
            | Op::RunnerPoll
            | Op::RunnerRenew
            | Op::RunnerComplete(_)
            | Op::RunnerDisconnect => self.service(),
        }
    }

    /// The lane of something that happened inside the service, and its bar.
    fn happening(&mut self, at: Time, event: &ServiceEvent) -> LaneId {
        use ServiceEvent as E;
        match event {
            E::JobQueued { job }
            | E::JobAvailable { job, .. }
            | E::JobAcquired { job, .. }
            | E::JobAssigned { job, .. }
            | E::JobStarted { job, .. }
            | E::JobCompleted { job, .. }
            | E::JobReturned { job, .. }
            | E::JobCancelRequested { job, .. }
            | E::EventDropped { job, .. }
            | E::JobEndedLate { job, .. } => {
                let lane = self.job(*job);
                self.bars.job(lane, at, event);
                lane
            }
            E::RunnerRegistered { runner, .. }
            | E::RunnerOnline { runner, .. }
            | E::RunnerOffline { runner, .. }
            | E::RunnerBusy { runner, .. }
            | E::RunnerRemoved { runner, .. } => {
                let lane = self.registration(*runner);
                self.bars.registration(lane, at, event);
                lane
            }
            E::SessionCreated { scale_set, session, owner } => {
                let lane = self.set(*scale_set);
                self.bars.begin(lane, session.0, at, format_smolstr!("session of {owner}"), Tone::Runs);
                lane
            }
            E::SessionEnded { scale_set, session, .. } => {
                let lane = self.set(*scale_set);
                self.bars.end(lane, session.0, at);
                lane
            }
            E::SessionRefused { scale_set, .. }
            | E::SessionRefreshed { scale_set, .. }
            | E::MessageDelivered { scale_set, .. }
            | E::MessageDeleted { scale_set, .. }
            | E::ScaleSetCreated { scale_set, .. }
            | E::ScaleSetUpdated { scale_set, .. }
            | E::ScaleSetDeleted { scale_set, .. } => self.set(*scale_set),
            E::TokenIssued { .. } | E::TokenRevoked { .. } | E::FaultFired { .. } => self.service(),
        }
    }
}
