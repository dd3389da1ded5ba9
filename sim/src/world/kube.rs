//! The road to the API servers: requests out, commits noticed, watch streams in.

use std::sync::Arc;

use arc_api::kube::{Identity, KubeRequest};
use arc_api::{Duration, Kind, Object, Time};
use controller_core::call::{CallError, Reply, Transport};

use super::{Body, Event, InFlight, ProcId, Scheduled, SiteId, Tag, Watcher, World, describe};
use crate::fault::{Point, Verdict};
use crate::marks::Mark;
use crate::plan::Role;
use crate::process::Input;
use crate::trace::{Digest, What};

/// From the read of a DELETE to its transaction in the store.
const TRANSACTION: Duration = Duration::from_micros(300);

/// The agent's HTTP timeout (`GITHUB_ACTIONS_RUNNER_HTTP_TIMEOUT`, 100 s unless set).
const RUNNER_PATIENCE: Duration = Duration::from_secs(100);

impl World {
    /// A process sends an API request.
    pub(crate) fn send_kube(&mut self, proc: ProcId, tag: Tag, request: KubeRequest, at: Time) {
        let Some(process) = self.proc(proc) else { return };
        let body = Body::Kube(process.site, Arc::new(request));
        let call = self.calls.insert(InFlight {
            proc,
            tag,
            body,
            reply: None,
            cause: self.cause,
            orphaned: false,
            lose_reply: None,
            sent: at,
            trip: 0,
            held: false,
            deleting: None,
        });
        if at > self.now {
            self.schedule(at, Event::Leave(call));
        } else {
            self.leave(call);
        }
    }

    /// A request goes out: faults of the road first, then the road's latency.
    pub(crate) fn leave(&mut self, call: super::CallId) {
        let Some(flight) = self.calls.get_mut(call) else { return };
        if flight.orphaned {
            self.calls.remove(call);
            return;
        }
        flight.sent = self.now;
        flight.trip = self.trace.departs(self.now);
        let latency = match &flight.body {
            Body::Kube(..) => self.latency.kube,
            Body::Service(_) => self.latency.github,
        };
        let dice = match &flight.body {
            Body::Kube(..) => &mut self.dice.kube,
            Body::Service(_) => &mut self.dice.github,
        };
        let mut arrival = dice.arrival(self.now, latency);
        if let Some(more) = self.leak.latency {
            arrival = arrival.after(more(self.now));
        }
        let verdict = self.verdict(call, Point::BeforeSend);
        if self.calls.get_mut(call).is_none_or(|c| c.orphaned) {
            // Its process was killed at this very point: nothing has left it.
            self.calls.remove(call);
            return;
        }
        if let Some(until) = self.dead_link(call) {
            return self.lose(call, "request", "dead connection", until, Transport::Timeout);
        }
        if self.is_refused(call) {
            let soon = self.now.after(Duration::from_millis(1));
            return self.lose(call, "request", "refused", soon, Transport::Refused);
        }
        match verdict {
            Verdict::Pass => self.schedule(arrival, Event::Arrive(call)),
            Verdict::Delay(d) => {
                // Kubernetes clients wait as long as it takes, and what they wait for is held up as well.
                let at = arrival.after(d);
                self.invariants.bounds.echo(at, None);
                self.arrive_late(call, at);
            }
            Verdict::Lose { how, until, error } => self.lose(call, "request", how, until, error),
            Verdict::Answer(reply) => {
                if let Some(flight) = self.calls.get_mut(call) {
                    flight.reply = Some(*reply);
                }
                let back = arrival.after(arrival.since(self.now));
                self.schedule(back, Event::Reply(call));
            }
            Verdict::LoseReply { how } => {
                if let Some(flight) = self.calls.get_mut(call) {
                    flight.lose_reply = Some(how);
                }
                self.schedule(arrival, Event::Arrive(call));
            }
            Verdict::Duplicate => {
                if let Some(copy) = self.calls.get_mut(call).cloned() {
                    let trip = self.trace.departs_twice(copy.trip);
                    let twin = self.calls.insert(InFlight { orphaned: true, trip, ..copy });
                    self.schedule(arrival, Event::Arrive(twin));
                }
                self.schedule(arrival, Event::Arrive(call));
            }
        }
    }

    /// Whether nobody listens where a call goes: the API server is down, or this watch's back-off after an outage lasts.
    fn is_refused(&mut self, call: super::CallId) -> bool {
        let Some(flight) = self.calls.get_mut(call) else { return false };
        let Body::Kube(site, _) = flight.body else { return false };
        self.site(site).down && self.site(site).frozen_until > self.now || self.is_still_away(call)
    }

    /// Whether a call was given up for lost while it was under way.
    pub(super) fn was_lost(&mut self, call: super::CallId) -> bool {
        match self.dead_calls.iter().position(|c| *c == call) {
            Some(at) => {
                self.dead_calls.remove(at);
                true
            }
            None => false,
        }
    }

    /// When the caller stops waiting, if the world has to know: managers and listeners have timers of their own.
    fn gives_up_at(&mut self, call: super::CallId) -> Option<Time> {
        let flight = self.calls.get_mut(call)?;
        let (proc, sent) = (flight.proc, flight.sent);
        let runner = matches!(flight.body, Body::Service(_)) && self.proc(proc).is_some_and(|p| p.role == Role::Runner);
        runner.then(|| sent.after(RUNNER_PATIENCE))
    }

    /// A request is held up on its way: it arrives all the same when nobody waits for it any more.
    pub(crate) fn arrive_late(&mut self, call: super::CallId, at: Time) {
        if let Some(until) = self.gives_up_at(call).filter(|t| *t <= at)
            && let Some(copy) = self.calls.get_mut(call).cloned()
        {
            let trip = self.trace.departs_twice(copy.trip);
            let twin = self.calls.insert(InFlight { orphaned: true, trip, ..copy });
            self.schedule(at, Event::Arrive(twin));
            return self.lose(call, "reply", "too late", until, Transport::Timeout);
        }
        self.schedule(at, Event::Arrive(call));
    }

    /// A message does not come through: its sender learns of it at `until`, if ever.
    pub(crate) fn lose(
        &mut self,
        call: super::CallId,
        part: &'static str,
        how: &'static str,
        until: Time,
        error: Transport,
    ) {
        let until = if until == Time::NEVER { self.gives_up_at(call).unwrap_or(until) } else { until };
        self.mark(if part == "reply" { Mark::ReplyLost } else { Mark::RequestLost });
        let Some(flight) = self.calls.get_mut(call) else { return };
        let (name, proc, trip) = (describe(&flight.body), flight.proc, flight.trip);
        flight.reply = Some(match &flight.body {
            Body::Kube(..) => Reply::Kube(Err(CallError::Transport(error))),
            Body::Service(_) => Reply::Service(Err(CallError::Transport(error))),
        });
        let actor = self.proc(proc).map(|p| p.actor).unwrap_or_default();
        let digest = Digest::of(20).text(&name).text(part).text(how);
        self.note(actor, digest, || What::Lost { call: name, part, how });
        self.trace.is_lost(trip, self.cause);
        self.schedule(until, Event::Reply(call));
    }

    /// Whether a DELETE has just read an object that nothing holds: it will be removed whatever happens to it before the
    /// transaction, a new finalizer included (kubernetes-api.md §2.4 item 7). Only custom resources: nobody else's finalizers race.
    fn begins_removal(&mut self, site: SiteId, who: &Identity, request: &KubeRequest, call: super::CallId) -> bool {
        let KubeRequest::Delete { kind, key, options } = request else { return false };
        let Some(flight) = self.calls.get_mut(call).filter(|f| f.deleting.is_none()) else { return false };
        let custom =
            [Kind::AutoscalingRunnerSet, Kind::AutoscalingListener, Kind::EphemeralRunnerSet, Kind::EphemeralRunner];
        if !custom.contains(kind) {
            return false;
        }
        let api = self.sites[site.0 as usize].cluster.api_mut();
        match api.begin_delete(who, *kind, key, options, self.now) {
            Ok(pending) if pending.removes_now() => {
                flight.deleting = Some(Box::new(pending));
                flight.held = true;
                true
            }
            _ => false,
        }
    }

    /// A request reaches an API server.
    pub(crate) fn arrive_kube(&mut self, call: super::CallId) {
        if self.was_lost(call) {
            return;
        }
        let Some(flight) = self.calls.get_mut(call) else { return };
        let Body::Kube(site, request) = flight.body.clone() else { return };
        let (proc, orphaned, cause, trip) = (flight.proc, flight.orphaned, flight.cause, flight.trip);
        self.trace.arrives(trip, self.now);
        if self.site(site).frozen_until > self.now {
            self.site_mut(site).held.push(Event::Arrive(call));
            return;
        }
        let (who, actor) = match self.proc(proc) {
            Some(p) => (p.who.clone(), p.actor),
            None => match self.graveyard_identity(proc) {
                Some(found) => found,
                None => {
                    self.calls.remove(call);
                    return;
                }
            },
        };
        self.cause = cause;
        match self.verdict(call, Point::OnArrival) {
            Verdict::Answer(reply) => {
                self.trace_kube(actor, &request, &reply, false);
                self.trace.answered(trip, self.cause);
                self.observe_kube_call(proc, site, &who, &request, &reply, false);
                return self.send_back(call, *reply);
            }
            Verdict::Delay(d) => {
                let at = self.now.after(d);
                return self.schedule(at, Event::Arrive(call));
            }
            _ => {}
        }
        if self.begins_removal(site, &who, &request, call) {
            let at = self.now.after(TRANSACTION);
            return self.schedule(at, Event::Arrive(call));
        }
        let pending = self.calls.get_mut(call).and_then(|c| c.deleting.take());
        let request = self.admit(site, &request).unwrap_or(request);
        let before = self.site(site).cluster.api().resource_version();
        let (now, cluster) = (self.now, &mut self.sites[site.0 as usize].cluster);
        let reply = Reply::kube(match pending {
            Some(pending) => {
                let reply = cluster.api_mut().commit_delete(&pending, now);
                cluster.noticed(now);
                reply
            }
            None => cluster.handle(&who, &request, now),
        });
        let changed = self.site(site).cluster.api().resource_version() != before;
        self.trace_kube(actor, &request, &reply, changed);
        self.trace.answered(trip, self.cause);
        self.observe_kube_call(proc, site, &who, &request, &reply, changed);
        self.notice(site);
        if orphaned {
            if let (KubeRequest::Create(Object::Secret(secret)), true) = (&*request, changed) {
                self.invariants.ledger.secret_came_late((site, secret.metadata.key()));
            }
            self.calls.remove(call);
        } else {
            self.send_back(call, reply);
        }
    }

    fn trace_kube(&mut self, actor: crate::trace::Actor, request: &KubeRequest, reply: &Reply, changed: bool) {
        let refused = match reply {
            Reply::Kube(Err(CallError::Api(status))) => Some(status),
            _ => None,
        };
        let mut digest =
            Digest::of(1).text(request.verb()).with(u64::from(changed)).with(refused.map_or(0, |s| u64::from(s.code)));
        if let Some(kind) = request.kind() {
            digest = digest.with(kind as u64);
        }
        match request {
            KubeRequest::Patch { key, .. } | KubeRequest::Get { key, .. } | KubeRequest::Delete { key, .. } => {
                digest = digest.key(key)
            }
            KubeRequest::Create(o) | KubeRequest::Update(o, _) => {
                digest = digest.text(&o.meta().namespace).text(&o.meta().name);
            }
            _ => {}
        }
        let refused = refused.map(|s| (s.reason, s.message.clone()));
        self.cause = self.trace.record(self.now, self.cause, actor, digest, || What::Kube {
            verb: request.verb(),
            kind: request.kind(),
            key: match reply {
                Reply::Kube(Ok(ok)) => ok.object().map(Object::key).or_else(|| request.key()),
                _ => request.key(),
            }
            .unwrap_or_default(),
            sub: request.subresource(),
            request: Box::new(request.clone()),
            refused,
            changed,
        });
    }

    /// A reply sets out on its way back, unless the plan loses or delays it.
    pub(crate) fn send_back(&mut self, call: super::CallId, reply: Reply) {
        let Some(flight) = self.calls.get_mut(call) else { return };
        if flight.orphaned {
            // Nobody waits for it: its caller has another copy's reply, or is gone.
            self.calls.remove(call);
            return;
        }
        flight.reply = Some(reply);
        let cause = self.cause;
        flight.cause = cause;
        let lost = flight.lose_reply;
        let (latency, dice) = match &flight.body {
            Body::Kube(..) => (self.latency.kube, &mut self.dice.kube),
            Body::Service(_) => (self.latency.github, &mut self.dice.github),
        };
        let arrival = dice.arrival(self.now, latency);
        if let Some(how) = lost {
            return self.lose(call, "reply", how, arrival, Transport::Reset);
        }
        match self.verdict(call, Point::AfterApply) {
            Verdict::Pass | Verdict::Duplicate => self.schedule(arrival, Event::Reply(call)),
            Verdict::Delay(d) => match self.gives_up_at(call).filter(|t| *t <= arrival.after(d)) {
                Some(until) => self.lose(call, "reply", "too late", until, Transport::Timeout),
                None => self.schedule(arrival.after(d), Event::Reply(call)),
            },
            Verdict::Lose { how, until, error } => self.lose(call, "reply", how, until.max(arrival), error),
            Verdict::LoseReply { how } => self.lose(call, "reply", how, arrival, Transport::Reset),
            Verdict::Answer(reply) => {
                self.observe_denial(call, &reply);
                if let Some(flight) = self.calls.get_mut(call) {
                    flight.reply = Some(*reply);
                }
                self.schedule(arrival, Event::Reply(call));
            }
        }
    }

    /// A reply reaches its process.
    pub(crate) fn on_reply(&mut self, call: super::CallId) {
        let Some(flight) = self.calls.get_mut(call) else { return };
        let (proc, tag, cause) = (flight.proc, flight.tag, flight.cause);
        if let Some(until) = self.proc(proc).map(|p| p.paused_until).filter(|t| *t > self.now) {
            return self.schedule(until, Event::Reply(call));
        }
        let hit = self.verdict(call, Point::AfterReply);
        if let Verdict::Delay(d) = hit {
            let at = self.now.after(d);
            return self.schedule(at, Event::Reply(call));
        }
        self.observe_wait(call);
        let Some(InFlight { reply: Some(reply), trip, .. }) = self.calls.remove(call) else { return };
        self.trace.comes_back(trip, self.now);
        if self.cause == 0 {
            self.cause = cause;
        }
        self.mark_service_call(&reply);
        self.observe_service_reply(proc, &reply);
        let input = match reply {
            Reply::Kube(reply) => Input::Kube(tag, reply),
            Reply::Service(reply) => Input::Service(tag, reply),
        };
        self.input(proc, input);
    }

    /// Looks at what a cluster did since last time: nodes' work, commits for observers and watchers, its next deadline.
    pub(crate) fn notice(&mut self, site: SiteId) {
        while let Some(effect) = self.site_mut(site).cluster.pop_effect() {
            self.on_node_effect(site, effect);
        }
        let seen = self.site(site).seen;
        let now_at = self.site(site).cluster.api().resource_version();
        if now_at != seen {
            let events: Vec<_> = self.site(site).cluster.api().log_since(seen).cloned().collect();
            let actor = crate::trace::Actor(0);
            for event in &events {
                let meta = event.object.meta();
                let digest = Digest::of(2)
                    .with(event.object.kind() as u64 | (event.type_ as u64) << 8)
                    .with(meta.resource_version)
                    .text(&meta.name);
                self.cause = self.trace.record(self.now, self.cause, actor, digest, || What::Commit {
                    site: site.0,
                    verb: event.type_,
                    object: event.object.clone(),
                });
                self.observe_commit(site, event);
            }
            self.site_mut(site).seen = now_at;
            self.site_mut(site).cluster.api_mut().trim_log(now_at);
            for place in 0..self.watchers.len() {
                let w = self.leak.watcher.map_or(place, |order| order(place, self.watchers.len(), self.now));
                let watcher = &self.watchers[w];
                if watcher.site == site && watcher.open && watcher.head_at == Time::NEVER {
                    let kind = watcher.kind;
                    if events.iter().any(|e| e.object.kind() == kind) {
                        self.schedule_delivery(w);
                    }
                }
            }
        }
        let due = self.site(site).cluster.next_deadline();
        let event = Scheduled { event: Event::ClusterDue(site), cause: self.cause };
        self.sites[site.0 as usize].due.set(due.max(self.now), event, &mut self.queue);
    }

    /// A process opens a watch.
    pub(crate) fn open_watch(&mut self, proc: ProcId, kind: Kind, cursor: u64) {
        let Some(site) = self.proc(proc).map(|p| p.site) else { return };
        let fresh =
            Watcher { proc, site, kind, cursor, head_at: Time::NEVER, open: true, lag_until: Time::ZERO, dead: false };
        let slot = match self.watchers.iter().position(|w| w.proc == proc && w.kind == kind) {
            Some(slot) => {
                self.watchers[slot] = fresh;
                slot
            }
            None => {
                self.watchers.push(fresh);
                self.watchers.len() - 1
            }
        };
        self.schedule_delivery(slot);
    }

    /// Queues the delivery of a stream's next event, if there is one.
    pub(crate) fn schedule_delivery(&mut self, slot: usize) {
        let w = &self.watchers[slot];
        let (site, kind, cursor, lag) = (w.site, w.kind, w.cursor, w.lag_until);
        let head = match self.site(site).cluster.api().events_after(kind, cursor) {
            Ok(mut events) => events.next().map(|e| e.at),
            // Compacted: the stream ends with 410 at once.
            Err(_) => Some(self.now),
        };
        let Some(committed) = head else { return };
        let lag_by = match self.proc(self.watchers[slot].proc).map(|p| (p.role, p.label.clone())) {
            Some((role, label)) if !self.faults.is_idle() => self.faults.cache_lag(role, &label, kind),
            _ => Duration::ZERO,
        };
        let arrival = self.dice.watch.arrival(committed, self.latency.watch).after(lag_by);
        let at = arrival.max(self.now).max(lag);
        self.watchers[slot].head_at = at;
        self.schedule(at, Event::Deliver { watcher: slot as u32 });
    }

    /// The head of a stream arrives.
    pub(crate) fn deliver(&mut self, slot: usize) {
        let w = &self.watchers[slot];
        if !w.open || w.head_at != self.now {
            return;
        }
        let (proc, site, kind, cursor) = (w.proc, w.site, w.kind, w.cursor);
        if let Some(until) = self.proc(proc).map(|p| p.paused_until).filter(|t| *t > self.now) {
            self.watchers[slot].head_at = until;
            return self.schedule(until, Event::Deliver { watcher: slot as u32 });
        }
        if self.watchers[slot].dead {
            self.watchers[slot].open = false;
            return self.input(proc, Input::WatchClosed(kind));
        }
        let head = self.site(site).cluster.api().events_after(kind, cursor).map(|mut events| events.next().cloned());
        self.watchers[slot].head_at = Time::NEVER;
        let Ok(head) = head else {
            self.mark(Mark::RelistAfterTooOld);
            self.watchers[slot].open = false;
            return self.input(proc, Input::WatchClosed(kind));
        };
        let Some(event) = head else { return };
        self.watchers[slot].cursor = event.object.meta().resource_version;
        self.schedule_delivery(slot);
        let lag = self.dice.handlers.delay(self.latency.handlers);
        self.input(proc, Input::Watch(kind, event, lag));
    }
}
