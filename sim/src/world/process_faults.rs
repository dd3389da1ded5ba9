//! Faults of processes: kills, slowness, clocks that are off, connections that died without a word. Meets no service state.

use arc_api::service::{Exception, Op, ServiceError, ServiceOk};
use arc_api::{Str, Time};
use controller_core::call::{CallError, Reply, Transport};

use super::{Body, CallId, Machine, ProcId, SiteId, Tag, World};
use crate::fault::KUBE_PATIENCE;
use crate::plan::Role;
use crate::plan::fault::{ActorCrash, ActorSlow, Fault, NetCut, NetMode};

/// A connection that carries nothing any more although neither end knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadLink {
    pub(crate) action: u32,
    proc: ProcId,
    kube: bool,
    /// When its owner gives it up: HTTP/2 by its health check, HTTP/1.1 with the one request that uses it again.
    until: Time,
}

/// An idle HTTP/1.1 connection is closed by its owner after this (Go's `http.DefaultTransport`, IdleConnTimeout).
const IDLE_CONNECTION: arc_api::Duration = arc_api::Duration::from_secs(90);

impl World {
    /// Processes that a crash means: with `leader`, only those that hold the lease, or need none.
    pub(super) fn crash_targets(&self, f: &ActorCrash, cluster: Option<&Str>) -> Vec<ProcId> {
        let mut all = self.find(&f.target);
        all.retain(|id| self.is_crash_target(f, *id) && cluster.is_none_or(|c| self.is_in(*id, c)));
        all
    }

    pub(super) fn is_crash_target(&self, f: &ActorCrash, id: ProcId) -> bool {
        let Some(p) = self.proc(id) else { return false };
        let leads = match &p.machine {
            Machine::Manager(m) => m.leads() || !m.is_elected(),
            _ => false,
        };
        f.target.matches(p.role, &p.label) && (!f.leader || leads)
    }

    fn is_in(&self, id: ProcId, cluster: &str) -> bool {
        self.proc(id).is_some_and(|p| self.site(p.site).name == cluster)
    }

    /// kill -9: what it had on its way is carried out or lost with it as the plan says; its container is started again by its
    /// kubelet, not before `restart_after`; with `pod`, the whole pod is gone at once.
    pub(crate) fn crash(&mut self, f: &ActorCrash, id: ProcId) {
        if f.signal == crate::plan::fault::EndSignal::Term {
            return self.terminate(id);
        }
        let Some(process) = self.proc(id) else { return };
        let (site, pod, container) = (process.site, process.pod, process.container.clone());
        if let (Some(wait), Some(pod)) = (f.restart_after, pod) {
            self.restarts.insert((site, pod, container), self.now.after(wait.0));
        }
        self.end(id, 137, "killed".into(), f.in_flight_applied);
        if let (true, Some(pod)) = (f.pod, pod) {
            self.remove_pod(site, pod);
        }
    }

    /// `kubectl delete pod --force --grace-period=0`, as whoever lost the machine would do it.
    fn remove_pod(&mut self, site: SiteId, pod: arc_api::Uid) {
        let Some(key) = self.site(site).cluster.api().by_uid(pod).map(arc_api::Object::key) else { return };
        let options =
            arc_api::kube::DeleteOptions { grace_period_seconds: Some(0), ..arc_api::kube::DeleteOptions::default() };
        let request = arc_api::kube::KubeRequest::Delete { kind: arc_api::Kind::Pod, key, options };
        let now = self.now;
        let _ = self.site_mut(site).cluster.handle(&arc_api::kube::Identity::Admin, &request, now);
        self.notice(site);
    }

    /// Slows a manager down as far as the fault says how; says whether there was anything to do.
    pub(super) fn slow_down(&mut self, id: ProcId, f: &ActorSlow) -> bool {
        let Some(Machine::Manager(m)) = self.proc_mut(id).map(|p| &mut p.machine) else { return false };
        let any = !f.workers.is_empty() || f.qps.is_some() || f.burst.is_some() || f.order_seed.is_some();
        if any {
            m.slow_down(&f.workers, f.qps, f.burst, f.order_seed);
        }
        any
    }

    pub(super) fn speed_up(&mut self, f: &ActorSlow) {
        for id in self.find(&f.target) {
            if let Some(Machine::Manager(m)) = self.proc_mut(id).map(|p| &mut p.machine) {
                m.speed_up();
                self.input(id, crate::process::Input::Wake);
            }
        }
    }

    /// A process began: it is slow from the start if a fault says so.
    pub(super) fn slow_newcomer(&mut self, id: ProcId) {
        let Some((role, label)) = self.proc(id).map(|p| (p.role, p.label.clone())) else { return };
        let active: Vec<_> = self.faults.active().map(|(a, f)| (a, f.clone())).collect();
        for (action, fault) in active {
            if let Fault::ActorSlow(f) = &*fault
                && f.target.matches(role, &label)
                && self.slow_down(id, f)
            {
                self.faults.hit(action);
            }
        }
    }

    /// How far the clock of a process is off, in microseconds: its own, or its node's (`kubelet/n3`).
    fn skew_of(&mut self, id: ProcId) -> i64 {
        if self.faults.is_idle() {
            return 0;
        }
        let now = self.now;
        let Some(p) = self.proc(id) else { return 0 };
        let mut all = 0;
        for (action, fault) in self.faults.active() {
            let Fault::ClockSkew(f) = &**fault else { continue };
            if f.target.matches(p.role, &p.label) || f.target.matches(Role::Kubelet, &p.node) {
                let hours = now.since(self.faults.since(action)).as_micros() as i128;
                let drift = f.drift_per_hour.map_or(0, |d| i128::from(d.micros()) * hours / 3_600_000_000);
                all += f.offset.micros() + drift as i64;
            }
        }
        all
    }

    /// What the service says to a request that states the time of a clock that is off: the App's JWT is issued 60 s in the past
    /// and lives 9 min; a runner's assertion is refused from 5 min on (field-bugs clock-skew-runner-exits, actions/runner#531).
    pub(super) fn clock_refusal(&mut self, proc: ProcId, op: &Op) -> Option<Reply> {
        const MINUTE: i64 = 60_000_000;
        if !matches!(op, Op::AccessToken | Op::RunnerConnect { .. }) {
            return None;
        }
        let skew = self.skew_of(proc);
        let (refused, exception, text) = match op {
            Op::AccessToken if skew > MINUTE => (true, Exception::None, "'Issued at' claim ('iat') must be an Integer"),
            Op::AccessToken if skew < -8 * MINUTE => {
                (true, Exception::None, "'Expiration time' claim ('exp') is too far in the past")
            }
            Op::RunnerConnect { .. } if skew.abs() >= 5 * MINUTE => {
                (true, Exception::InvalidClient, "The token is not valid at this time. Current server time is …")
            }
            _ => (false, Exception::None, ""),
        };
        if !refused {
            return None;
        }
        self.hit_clocks(proc);
        let error = ServiceError::new(401, exception, text);
        Some(Reply::Service(Err(CallError::Service(std::sync::Arc::new(error)))))
    }

    fn hit_clocks(&mut self, id: ProcId) {
        let Some((role, label, node)) = self.proc(id).map(|p| (p.role, p.label.clone(), p.node.clone())) else {
            return;
        };
        let meant = |f: &Fault| matches!(f, Fault::ClockSkew(s) if s.target.matches(role, &label) || s.target.matches(Role::Kubelet, &node));
        let hit: Vec<u32> = self.faults.active().filter(|(_, f)| meant(f)).map(|(a, _)| a).collect();
        hit.into_iter().for_each(|a| self.faults.hit(a));
    }

    /// The end of an admin token as a clock that is off sees it: a slow one takes it for valid too long.
    pub(super) fn seen_by_clock(&mut self, proc: ProcId, reply: &mut Reply) {
        let Reply::Service(Ok(ServiceOk::Admin { expires, .. })) = reply else { return };
        let skew = self.skew_of(proc);
        if skew != 0 {
            *expires = Time(expires.0.saturating_add_signed(-skew));
            self.hit_clocks(proc);
        }
    }

    /// Connections that exist now carry nothing any more: calls under way are lost, the next request on an idle one as well;
    /// new connections work.
    pub(super) fn cut_established(&mut self, action: u32, f: &NetCut) {
        if f.mode != NetMode::BlackholeEstablished {
            return;
        }
        let kube = f.to.role == Role::KubeApi;
        for proc in self.find(&f.from) {
            let flights: Vec<CallId> = self.calls.of(proc);
            for call in flights {
                let meant = self.calls.get_mut(call).is_some_and(|c| matches!(c.body, Body::Kube(..)) == kube);
                if !meant || !self.faults.meets(action, f.probability, f.count) {
                    continue;
                }
                self.parked.retain(|_, c| *c != call);
                let until = if kube { self.now.after(KUBE_PATIENCE) } else { Time::NEVER };
                self.dead_calls.push(call);
                self.lose(call, "request or reply", "dead connection", until, Transport::Timeout);
            }
            let life = if kube { KUBE_PATIENCE } else { IDLE_CONNECTION };
            self.dead_links.push(DeadLink { action, proc, kube, until: self.now.after(life) });
            if kube {
                let until = self.now.after(KUBE_PATIENCE);
                for w in 0..self.watchers.len() {
                    if self.watchers[w].proc == proc && self.watchers[w].open {
                        self.faults.hit(action);
                        self.watchers[w].lag_until = until;
                        self.watchers[w].dead = true;
                        self.watchers[w].head_at = until;
                        self.schedule(until, super::Event::Deliver { watcher: w as u32 });
                    }
                }
            }
        }
    }

    /// Whether a request goes out on a dead connection; the caller learns of it at the returned time.
    pub(super) fn dead_link(&mut self, call: CallId) -> Option<Time> {
        if self.dead_links.is_empty() {
            return None;
        }
        let flight = self.calls.get_mut(call)?;
        let (proc, kube) = (flight.proc, matches!(flight.body, Body::Kube(..)));
        let now = self.now;
        self.dead_links.retain(|l| l.until > now);
        let at = self.dead_links.iter().position(|l| l.proc == proc && l.kube == kube)?;
        let link = self.dead_links[at];
        let share = self.plan.clone();
        let crate::plan::Action::Fault(Fault::NetCut(f)) = &share.actions[link.action as usize].what else {
            return None;
        };
        if !kube {
            self.dead_links.remove(at);
        }
        if !self.faults.meets(link.action, f.probability, f.count) {
            return None;
        }
        Some(if kube { link.until } else { Time::NEVER })
    }

    /// A kubelet may start a container again only after the plan's time.
    pub(super) fn not_before(&mut self, site: SiteId, pod: arc_api::Uid, container: &Str) -> Time {
        self.restarts.remove(&(site, pod, container.clone())).unwrap_or(Time::ZERO)
    }

    /// After an outage each watch comes back by its own back-off (field-bugs §1, `api_outage`): its LIST is refused until then.
    pub(super) fn is_still_away(&mut self, call: CallId) -> bool {
        if self.returns.is_empty() {
            return false;
        }
        let Some(flight) = self.calls.get_mut(call) else { return false };
        let Tag::List(slot) = flight.tag else { return false };
        let key = (flight.proc, slot);
        let now = self.now;
        self.returns.retain(|_, at| *at > now);
        self.returns.contains_key(&key)
    }
}
