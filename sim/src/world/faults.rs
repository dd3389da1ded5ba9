//! Faults and triggers meet the world: verdicts on calls, what begins and ends with a fault, what it does to pods.

use std::sync::Arc;

use arc_api::service::Op;
use arc_api::{Duration, ScaleSetId, Str, Time, format_smolstr};

use super::{Body, CallId, Event, ProcId, Process, SiteId, World};
use crate::fault::{Began, CallView, Point, Road, Verdict};
use crate::invariant::SetKey;
use crate::plan::fault::{ExitPhase, Fault, OutageMode, SidecarMode};
use crate::plan::world::OrgSpec;
use crate::plan::{Action, Role, SetRef};
use crate::trace::{Actor, Digest, What};

impl World {
    /// What becomes of a call at a point of its life. Triggers go first: an action they set off may already concern this call.
    pub(crate) fn verdict(&mut self, call: CallId, point: Point) -> Verdict {
        if self.faults.is_quiet() {
            return Verdict::Pass;
        }
        let Some(flight) = self.calls.get_mut(call) else { return Verdict::Pass };
        if point == Point::OnArrival && flight.held
            || self.faults.is_quiet_at(matches!(flight.body, Body::Kube(..)), point)
        {
            return Verdict::Pass;
        }
        let (proc, body, reply) = (flight.proc, flight.body.clone(), flight.reply.clone());
        let Some(process) = self.procs.get(proc.0 as usize).and_then(Option::as_deref) else { return Verdict::Pass };
        let (role, label, site) = (process.role, process.label.clone(), process.site);
        let set = match &body {
            Body::Service(request) => self.set_of(process, &request.op),
            Body::Kube(..) => process.scale_set.clone(),
        };
        let cluster = self.sites[site.0 as usize].name.clone();
        let org = match &body {
            Body::Service(request) => self.org_of_call(&cluster, &set, &request.op),
            Body::Kube(..) => self.org_of(&cluster, &set),
        };
        let proxied = matches!(&body, Body::Service(_)) && self.is_proxied(site, role, &set);
        let view = CallView {
            role,
            label: &label,
            scale_set: &set,
            cluster: &cluster,
            org: &org,
            proxied,
            road: match &body {
                Body::Kube(_, request) => Road::Kube(request),
                Body::Service(request) => Road::Service(&request.op),
            },
            reply: reply.as_ref(),
        };
        let fired = self.faults.triggered(&view, point, self.now);
        for action in fired {
            self.trigger(action, Some(proc));
        }
        let Some((action, verdict)) = self.faults.verdict(&view, point, self.now) else { return Verdict::Pass };
        if point == Point::OnArrival
            && let Some(flight) = self.calls.get_mut(call)
        {
            flight.held = true;
        }
        let id = self.plan.actions[action as usize].id.clone();
        let what = super::describe(&body);
        self.note(Actor(0), Digest::of(9).with(u64::from(action)).text(&what), || What::Fault {
            id,
            did: format_smolstr!("meets {what}"),
        });
        verdict
    }

    /// The scale set that a call is about, by its name at the service: a listener or runner belongs to one, a manager serves all.
    /// Empty if it is about several, as whatever a shared client does for itself.
    pub(crate) fn set_of(&self, process: &Process, op: &Op) -> Str {
        if !process.scale_set.is_empty() {
            return process.scale_set.clone();
        }
        let of = |id: ScaleSetId| self.github.scale_set(id).map(|set| set.name.clone());
        let named = |runner: &str| {
            let sets = self.spec_of(process.site).scale_sets.iter().map(|s| s.service_name());
            let own = sets.filter(|set| runner.strip_prefix(set.as_str()).is_some_and(|rest| rest.starts_with('-')));
            own.max_by_key(|set| set.len()).cloned()
        };
        let found = match op {
            Op::GetScaleSet { name, .. } | Op::CreateScaleSet { name, .. } => Some(name.clone()),
            Op::GetScaleSetById(id) | Op::UpdateScaleSet { id, .. } | Op::DeleteScaleSet(id) => of(*id),
            Op::GenerateJitConfig { id, .. } => of(*id),
            Op::GetRunner(id) | Op::RemoveRunner(id) => self.github.runner(*id).and_then(|r| of(r.scale_set)),
            Op::GetRunnerByName(name) => named(name),
            _ => None,
        };
        found.unwrap_or_default()
    }

    /// The organisation that a call is made for: a client's own calls name it.
    fn org_of_call(&self, cluster: &str, set: &str, op: &Op) -> Str {
        let url = match op {
            Op::RegistrationToken { url } | Op::RunnerRegistration { url, .. } => url,
            _ => return self.org_of(cluster, set),
        };
        let is_in = |org: &&OrgSpec| url.split('/').any(|part| part == org.name);
        let named = self.plan.world.github.orgs.iter().find(is_in);
        named.map_or_else(|| self.org_of(cluster, set), |org| org.name.clone())
    }

    /// The scale set of a cluster by its name at the service, as promises know it.
    pub(crate) fn tenant(&self, site: SiteId, name: &str) -> Option<SetKey> {
        let spec = self.spec_of(site).scale_sets.iter().find(|s| *s.service_name() == name)?;
        Some((site, World::set_key(spec)))
    }

    /// The scale set that alone can feel this fault.
    fn confined(&self, fault: &Fault) -> Option<SetKey> {
        let (site, spec) = self.set_site(&fault.confined_to()?)?;
        Some((site, World::set_key(&spec)))
    }

    fn is_proxied(&self, site: SiteId, role: Role, set: &str) -> bool {
        let mut sets = self.spec_of(site).scale_sets.iter().filter(|s| s.proxy.is_some());
        // A manager asks for each set with that set's proxy; which one a call is for is not visible here.
        sets.any(|s| role == Role::Controller || s.name == set || *s.service_name() == set)
    }

    pub(super) fn org_of(&self, cluster: &str, set: &str) -> Str {
        let set = SetRef { cluster: Some(cluster.into()), name: set.into() };
        let found = self.plan.world.scale_set(&set).and_then(|(_, s)| self.plan.world.org(s)).or(self
            .plan
            .world
            .github
            .orgs
            .first());
        found.map(|o| o.name.clone()).unwrap_or_default()
    }

    /// A trigger went off: its action is due now, or after its delay.
    pub(crate) fn trigger(&mut self, action: u32, caller: Option<ProcId>) {
        let planned = &self.plan.clone().actions[action as usize];
        let after = match &planned.when {
            crate::plan::When::Event(t) => t.after.map_or(Duration::ZERO, |d| d.0),
            crate::plan::When::At(_) => Duration::ZERO,
        };
        if !after.is_zero() {
            let at = self.now.after(after);
            return self.schedule_first(at, Event::Action(action));
        }
        // A crash of the caller happens here and now, between this point and the next.
        if let Action::Fault(Fault::ActorCrash(f)) = &planned.what
            && let Some(id) = caller
            && self.is_crash_target(f, id)
        {
            self.faults.hit(action);
            let said = planned.id.clone();
            self.note(Actor(0), Digest::of(10).with(u64::from(action)), || What::Fault {
                id: said,
                did: "kills its caller".into(),
            });
            let now = self.now;
            self.invariants.bounds.echo(now, None);
            return self.crash(f, id);
        }
        self.begin_action(action);
    }

    /// A fault begins.
    pub(crate) fn begin_fault(&mut self, action: u32, fault: &Fault) {
        let plan = self.plan.clone();
        let planned = &plan.actions[action as usize];
        let id = planned.id.clone();
        let only = self.confined(fault);
        let began = Began { action, fault: Arc::new(fault.clone()), only: only.clone(), at: self.now };
        self.faults.begin(planned, began);
        self.invariants.bounds.disturb(only);
        self.invariants.ledger.hindrances += u32::from(meets_managers(fault));
        let kind = fault.id();
        self.note(Actor(0), Digest::of(11).with(u64::from(action)), || What::Fault {
            id,
            did: format_smolstr!("{kind} begins"),
        });
        match fault {
            Fault::ActorCrash(f) => {
                for id in self.crash_targets(f, planned.cluster.as_ref()) {
                    self.faults.hit(action);
                    self.crash(f, id);
                }
            }
            Fault::ActorSlow(f) => {
                for id in self.find(&f.target) {
                    if self.slow_down(id, f) {
                        self.faults.hit(action);
                    }
                }
                if let Some(pause) = &f.pause {
                    let wait = self.faults.draw(action, pause);
                    let until = self.now.after(wait);
                    for id in self.find(&f.target) {
                        if let Some(p) = self.proc_mut(id) {
                            p.paused_until = until;
                        }
                        self.faults.hit(action);
                        self.schedule(until, Event::Thaw(id));
                    }
                }
            }
            Fault::ApiOutage(f) => {
                self.faults.hit(action);
                let until = planned.lasts.map_or(self.plan.run_for.from_start(), |d| self.now.after(d.0));
                for n in 0..self.sites.len() {
                    if planned.cluster.as_ref().is_some_and(|c| *c != self.sites[n].name) {
                        continue;
                    }
                    let now = self.now;
                    self.sites[n].frozen_until = until;
                    self.sites[n].cluster.set_api_up(false, now);
                    if f.mode == OutageMode::Down {
                        self.sites[n].down = true;
                        self.close_watches(SiteId(n as u8), action, &f.watches_return, until);
                        self.cut_streams(action, SiteId(n as u8));
                    }
                }
            }
            Fault::CacheLag(f) if f.relist => {
                for id in self.find(&f.actor) {
                    self.faults.hit(action);
                    for w in 0..self.watchers.len() {
                        let kind = self.watchers[w].kind;
                        if self.watchers[w].proc == id
                            && (f.kind.matches(kind.as_str()) || f.kind.matches(kind.plural()))
                        {
                            self.watchers[w].open = false;
                            self.mark(crate::marks::Mark::RelistAfterTooOld);
                            self.input(id, crate::process::Input::WatchClosed(kind));
                        }
                    }
                }
            }
            Fault::ContainerExit(f) if f.phase.is_none() || f.phase == Some(ExitPhase::MidJob) => {
                for id in
                    self.containers_meant(f.target, f.scale_set.as_ref(), &f.pod, f.phase == Some(ExitPhase::MidJob))
                {
                    if self.faults.meets(action, f.probability, f.times) {
                        let wait = self.faults.draw(action, &f.after);
                        self.end_container_after(id, wait, f.code, f.reason.as_str());
                    }
                }
            }
            Fault::SidecarFault(f) if f.mode == SidecarMode::CrashMidJob => {
                for id in self.dinds(f.target, f.scale_set.as_ref()) {
                    let home = self.proc(id).and_then(|p| Some((p.site, p.pod?)));
                    let busy = home.is_some_and(|(site, pod)| self.is_working(site, pod, &Str::new_static("runner")));
                    if busy && self.faults.meets(action, f.probability, f.count) {
                        self.end_container_after(id, Duration::ZERO, f.code, "Error");
                    }
                }
            }
            Fault::NodeFault(f) => self.begin_node_fault(action, f),
            Fault::NetCut(f) => self.cut_established(action, f),
            Fault::ExecCut(f) => self.begin_exec_cut(action, f),
            other => self.begin_service_fault(action, other),
        }
    }

    /// A fault ends.
    pub(crate) fn end_fault(&mut self, action: u32) {
        let Some((fault, only)) = self.faults.end(action) else { return };
        if meets_managers(&fault) {
            let ledger = &mut self.invariants.ledger;
            ledger.hindrances = ledger.hindrances.saturating_sub(1);
            ledger.manager_recovers(self.now, 300);
        }
        self.invariants.bounds.calm(self.now, only);
        self.rearm_deadline();
        let id = self.plan.actions[action as usize].id.clone();
        self.note(Actor(0), Digest::of(12).with(u64::from(action)), || What::Fault { id, did: "ends".into() });
        match &*fault {
            Fault::ApiOutage(_) => {
                for n in 0..self.sites.len() {
                    if self.sites[n].frozen_until != Time::ZERO {
                        self.thaw_site(SiteId(n as u8));
                    }
                }
            }
            Fault::ActorSlow(f) => self.speed_up(f),
            Fault::NetCut(_) => self.dead_links.retain(|l| l.action != action),
            Fault::VolumeFault(_) => self.volumes_come(action),
            Fault::PodDelay(f) if f.mode == crate::plan::fault::PodDelayMode::SlowStart => self.starts_come(action),
            Fault::NodeFault(f) => self.end_node_fault(f),
            other => self.end_service_fault(action, other),
        }
    }

    pub(super) fn thaw_site(&mut self, site: SiteId) {
        let now = self.now;
        self.site_mut(site).frozen_until = Time::ZERO;
        self.site_mut(site).down = false;
        self.site_mut(site).cluster.set_api_up(true, now);
        let held = std::mem::take(&mut self.site_mut(site).held);
        for event in held {
            let now = self.now;
            self.schedule(now, event);
        }
        self.notice(site);
    }

    fn close_watches(&mut self, site: SiteId, action: u32, back: &crate::plan::Delay, until: Time) {
        for w in 0..self.watchers.len() {
            if self.watchers[w].site == site && self.watchers[w].open {
                self.watchers[w].open = false;
                let (proc, kind) = (self.watchers[w].proc, self.watchers[w].kind);
                if let Some(slot) = controller_core::caches::WATCHED.iter().position(|k| *k == kind) {
                    let wait = self.faults.draw(action, back);
                    self.returns.insert((proc, slot as u8), until.after(wait));
                }
                self.mark(crate::marks::Mark::RelistAfterTooOld);
                self.input(proc, crate::process::Input::WatchClosed(kind));
            }
        }
    }

    /// Processes that an actor pattern means now.
    pub(crate) fn find(&self, actor: &crate::plan::Actor) -> Vec<ProcId> {
        self.procs
            .iter()
            .enumerate()
            .filter_map(|(n, p)| {
                let p = p.as_deref()?;
                actor.matches(p.role, &p.label).then_some(ProcId(n as u32))
            })
            .collect()
    }
}

/// What an active fault holds at the service or a cluster, to be taken back at its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(super) service: Vec<fake_github::RuleId>,
    pub(super) messages: Vec<(ScaleSetId, arc_api::MessageId)>,
    pub(super) cluster: Vec<(SiteId, fake_kube::cluster::FaultId)>,
    pub(super) nodes: Vec<(SiteId, Str)>,
}

/// Whether a fault leaves managers with broken watches, long back-offs or none at all.
fn meets_managers(fault: &Fault) -> bool {
    let manager = |a: &crate::plan::Actor| a.role == Role::Controller;
    match fault {
        Fault::NetCut(f) => manager(&f.from) || manager(&f.to),
        Fault::ClockSkew(f) => manager(&f.target),
        Fault::ApiError(f) => f.actor.as_ref().is_none_or(manager),
        Fault::ApiReject(f) => f.actor.as_ref().is_none_or(manager),
        Fault::CacheLag(f) => manager(&f.actor),
        Fault::ActorCrash(f) => manager(&f.target),
        Fault::ActorSlow(f) => manager(&f.target),
        Fault::ContainerExit(f) => f.target == crate::plan::fault::ContainerTarget::Controller,
        Fault::ApiOutage(_) | Fault::NodeFault(_) | Fault::RollOverlap(_) => true,
        _ => false,
    }
}
