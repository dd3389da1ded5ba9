//! The road to GitHub: requests out, long polls parked, answers back.

use std::sync::Arc;

use arc_api::service::{Op, ServiceOk, ServiceRequest};
use arc_api::{Duration, Str};
use controller_core::call::{CallError, Reply};
use fake_github::Outcome;
use fake_github::ServiceEvent;

use super::{Body, Event, InFlight, ProcId, Scheduled, Tag, World};
use crate::fault::{Point, Verdict};
use crate::trace::{Digest, What};

impl World {
    /// A process sends a service request.
    pub(crate) fn send_service(&mut self, proc: ProcId, tag: Tag, request: ServiceRequest) {
        if self.proc(proc).is_none() {
            return;
        }
        let call = self.calls.insert(InFlight {
            proc,
            tag,
            body: Body::Service(Arc::new(request)),
            reply: None,
            cause: self.cause,
            orphaned: false,
            lose_reply: None,
            sent: self.now,
            trip: 0,
            held: false,
            deleting: None,
        });
        self.leave(call);
    }

    /// A request reaches the service.
    pub(crate) fn arrive_service(&mut self, call: super::CallId) {
        if self.was_lost(call) {
            return;
        }
        let Some(flight) = self.calls.get_mut(call) else { return };
        self.cause = flight.cause;
        let (proc, orphaned) = (flight.proc, flight.orphaned);
        self.trace.arrives(flight.trip, self.now);
        let late = self.now.since(flight.sent) >= Duration::from_secs(1);
        match self.verdict(call, Point::OnArrival) {
            Verdict::Answer(reply) => return self.answer(call, proc, *reply),
            Verdict::Delay(d) => {
                let at = self.now.after(d);
                return self.arrive_late(call, at);
            }
            Verdict::Lose { how, until, error } => return self.lose(call, "request", how, until, error),
            _ => {}
        }
        let Some(InFlight { body: Body::Service(request), .. }) = self.calls.get_mut(call) else { return };
        let request = request.clone();
        if orphaned && late {
            // A fault held it up; its caller gave up long ago and nobody expects it.
            let only = self.proc(proc).and_then(|p| self.tenant(p.site, &self.set_of(p, &request.op)));
            self.invariants.bounds.echo(self.now, only);
        }
        if let Some(refusal) = self.clock_refusal(proc, &request.op) {
            return self.answer(call, proc, refusal);
        }
        let stale = self.stale_before(proc, &request.op);
        let outcome = self.github.handle(&request, self.now);
        if stale {
            self.stale_after();
        }
        match outcome {
            Outcome::Reply(reply) => {
                if let (true, Ok(ServiceOk::Jit { runner, .. })) = (orphaned, &reply) {
                    self.invariants.ledger.not_heard(runner.id, &runner.name);
                }
                if let (true, Op::CreateScaleSet { .. }, Ok(ServiceOk::ScaleSet(Some(made)))) =
                    (orphaned, &request.op, &reply)
                {
                    self.invariants.ledger.scale_set_not_heard(made.id, &made.name);
                }
                let reply = Reply::Service(reply.map_err(CallError::Service));
                if orphaned {
                    self.calls.remove(call);
                } else {
                    self.answer(call, proc, reply);
                }
            }
            Outcome::Parked(ticket) => {
                if orphaned {
                    self.github.cancel(ticket, self.now);
                    self.calls.remove(call);
                } else {
                    let polls = matches!(request.op, Op::GetMessage { .. });
                    self.parked.insert(ticket, call);
                    if polls {
                        self.observe_poll_parked(proc);
                    }
                }
            }
        }
        self.notice_github();
        // Only what this call did was done in error.
        self.invariants.ledger.mistakes_busy = false;
    }

    fn answer(&mut self, call: super::CallId, proc: ProcId, mut reply: Reply) {
        if !self.faults.is_idle() {
            self.seen_by_clock(proc, &mut reply);
            self.runner_effects(proc, call, &reply);
        }
        let Some(InFlight { body: Body::Service(request), trip, .. }) = self.calls.get_mut(call) else { return };
        let trip = *trip;
        let (op, status) = (request.op.code(), status_of(&reply));
        let about = if self.trace.is_kept() { about(&request.op) } else { Str::default() };
        let digest = Digest::of(3).text(op).with(u64::from(status));
        let sent = self.trace.is_kept().then(|| Box::new(request.op.clone()));
        let actor = self.proc(proc).map(|p| p.actor).unwrap_or_default();
        let words = if self.trace.is_kept() { answer_words(&reply) } else { Str::default() };
        self.cause = self.trace.record(self.now, self.cause, actor, digest, || What::Service {
            op,
            about,
            request: sent.unwrap_or_else(|| Box::new(Op::AccessToken)),
            status,
            answer: words,
        });
        self.trace.answered(trip, self.cause);
        self.observe_service_call(proc, call, &reply);
        self.send_back(call, reply);
    }

    /// Looks at what the service did since last time.
    pub(crate) fn notice_github(&mut self) {
        while let Some((ticket, reply)) = self.github.pop_ready() {
            if let Some(call) = self.parked.remove(&ticket)
                && let Some(flight) = self.calls.get_mut(call)
            {
                let (proc, cause) = (flight.proc, flight.cause);
                if self.cause == 0 {
                    self.cause = cause;
                }
                self.answer(call, proc, Reply::Service(reply.map_err(CallError::Service)));
            }
        }
        while let Some(event) = self.github.pop_event() {
            let digest = digest_of(&event);
            self.cause = self.trace.record(self.now, self.cause, crate::trace::Actor(0), digest, || {
                What::ServiceEvent(Box::new(event.clone()))
            });
            self.observe_service(&event);
        }
        let due = self.github.next_deadline();
        let event = Scheduled { event: Event::GitHubDue, cause: self.cause };
        self.github_due.set(due.max(self.now), event, &mut self.queue);
    }

    /// Gives a call up: nobody waits for its reply any more.
    pub(crate) fn abort(&mut self, proc: ProcId, tag: Tag) {
        if let Some(call) = self.calls.find(proc, tag) {
            self.abandon(call);
        }
    }

    /// The caller is gone or has given up: a parked poll ends, a request still on its way may arrive all the same.
    pub(crate) fn abandon(&mut self, call: super::CallId) {
        let ticket = self.parked.iter().find(|(_, c)| **c == call).map(|(t, _)| *t);
        if let Some(ticket) = ticket {
            self.parked.remove(&ticket);
            self.github.cancel(ticket, self.now);
            self.calls.remove(call);
            return self.notice_github();
        }
        self.observe_wait(call);
        let gone = match self.calls.get_mut(call) {
            Some(flight) if flight.reply.is_none() => {
                flight.orphaned = true;
                false
            }
            Some(_) => true,
            None => false,
        };
        if gone && let Some(flight) = self.calls.remove(call) {
            let (call, cause) = (super::describe(&flight.body), std::mem::replace(&mut self.cause, flight.cause));
            let digest = Digest::of(20).text(&call).text("caller gone");
            let actor = self.proc(flight.proc).map(|p| p.actor).unwrap_or_default();
            self.note(actor, digest, || What::Lost { call, part: "reply", how: "caller gone" });
            self.trace.is_lost(flight.trip, self.cause);
            self.cause = cause;
        }
    }

    /// Runs the service's timers.
    pub(crate) fn github_due(&mut self) {
        if !self.github_due.rings(self.now, &mut self.queue) {
            return;
        }
        self.github.advance(self.now);
        self.notice_github();
    }
}

fn status_of(reply: &Reply) -> u16 {
    match reply {
        Reply::Service(Ok(ServiceOk::Nothing)) => 202,
        Reply::Service(Ok(ServiceOk::Acquirable(jobs))) if jobs.is_empty() => 204,
        Reply::Service(Ok(ServiceOk::Done)) => 204,
        Reply::Service(Ok(ServiceOk::Token(_))) => 201,
        Reply::Service(Ok(_)) => 200,
        Reply::Service(Err(CallError::Service(e))) => e.status,
        Reply::Service(Err(_)) | Reply::Kube(_) => 0,
    }
}

/// What an operation is about, in a few words.
pub(crate) fn about(op: &Op) -> Str {
    use arc_api::format_smolstr as f;
    match op {
        Op::GetScaleSet { name, .. } | Op::CreateScaleSet { name, .. } | Op::GetRunnerGroup { name } => name.clone(),
        Op::GetScaleSetById(id) | Op::DeleteScaleSet(id) | Op::GetAcquirableJobs(id) => f!("scale set {id}"),
        Op::UpdateScaleSet { id, .. } => f!("scale set {id}"),
        Op::CreateSession { id, owner } => f!("scale set {id} owner {owner}"),
        Op::RefreshSession { id, .. } | Op::DeleteSession { id, .. } => f!("scale set {id}"),
        Op::GetMessage { id, last, capacity } => f!("scale set {id} after {last} capacity {capacity:?}"),
        Op::DeleteMessage { id, message } => f!("scale set {id} message {message}"),
        Op::AcquireJobs { id, requests } => f!("scale set {id} {requests:?}"),
        Op::GenerateJitConfig { name, .. } => name.clone(),
        Op::GetRunner(id) | Op::RemoveRunner(id) => f!("runner {id}"),
        Op::GetRunnerByName(name) => name.clone(),
        Op::RunnerComplete(result) => f!("{result:?}"),
        Op::RegistrationToken { url } | Op::RunnerRegistration { url, .. } => url.clone(),
        Op::AccessToken | Op::RunnerConnect { .. } | Op::RunnerPoll | Op::RunnerRenew | Op::RunnerDisconnect => {
            Str::default()
        }
    }
}

fn answer_words(reply: &Reply) -> Str {
    use arc_api::format_smolstr as f;
    match reply {
        Reply::Service(Ok(ok)) => match ok {
            ServiceOk::Message(m) => {
                let kinds: Vec<_> = m.events.iter().map(|e| event_word(&e.kind)).collect();
                f!("message {} [{}] assigned {}", m.id, kinds.join(" "), m.statistics.total_assigned_jobs)
            }
            ServiceOk::Session(s) => f!("session, assigned {}", s.statistics.map_or(-1, |s| s.total_assigned_jobs)),
            ServiceOk::ScaleSet(Some(s)) => f!("scale set {}", s.id),
            ServiceOk::ScaleSet(None) | ServiceOk::Runner(None) => "none".into(),
            ServiceOk::Runner(Some(r)) => f!("runner {}", r.id),
            ServiceOk::Jit { runner, .. } => f!("runner {}", runner.id),
            ServiceOk::Acquired(ids) => f!("{} acquired", ids.len()),
            ServiceOk::Job(_) => "job".into(),
            ServiceOk::Malformed(how) => f!("malformed: {how:?}"),
            ServiceOk::Poison { id, why } => f!("message {id} is poison: {why:?}"),
            ServiceOk::CancelJob(job) => f!("cancel {job}"),
            ServiceOk::Token(_)
            | ServiceOk::Admin { .. }
            | ServiceOk::Group(_)
            | ServiceOk::Nothing
            | ServiceOk::Acquirable(_)
            | ServiceOk::Done
            | ServiceOk::Connected { .. } => Str::default(),
        },
        Reply::Service(Err(e)) => e.text(),
        Reply::Kube(_) => Str::default(),
    }
}

fn event_word(kind: &arc_api::service::JobEventKind) -> &'static str {
    use arc_api::service::JobEventKind::*;
    match kind {
        Available => "JobAvailable",
        Assigned => "JobAssigned",
        Started { .. } => "JobStarted",
        Completed { .. } => "JobCompleted",
        Unknown => "unknown",
    }
}

fn digest_of(event: &ServiceEvent) -> Digest {
    use ServiceEvent as E;
    let d = Digest::of(4);
    match event {
        E::JobQueued { job } => d.with(1).with(job.0),
        E::JobAvailable { job, scale_set } => d.with(2).with(job.0).with(scale_set.0 as u64),
        E::JobAcquired { job, scale_set } => d.with(3).with(job.0).with(scale_set.0 as u64),
        E::JobAssigned { job, scale_set, attempt } => {
            d.with(4).with(job.0).with(scale_set.0 as u64 ^ u64::from(*attempt) << 32)
        }
        E::JobStarted { job, runner, .. } => d.with(5).with(job.0).with(runner.0 as u64),
        E::JobCompleted { job, runner, result, .. } => {
            d.with(6).with(job.0).with(runner.0 as u64 ^ (*result as u64) << 60)
        }
        E::JobReturned { job, .. } => d.with(7).with(job.0),
        E::SessionCreated { scale_set, session, .. } => d.with(8).with(scale_set.0 as u64).with(session.0),
        E::SessionRefused { scale_set, holder, .. } => d.with(9).with(scale_set.0 as u64).with(holder.0),
        E::SessionEnded { scale_set, session, .. } => d.with(10).with(scale_set.0 as u64).with(session.0),
        E::MessageDelivered { scale_set, message, .. } => d.with(11).with(scale_set.0 as u64).with(message.0 as u64),
        E::MessageDeleted { scale_set, message } => d.with(12).with(scale_set.0 as u64).with(message.0 as u64),
        E::RunnerRegistered { runner, name, .. } => d.with(13).with(runner.0 as u64).text(name),
        E::RunnerOnline { runner, .. } => d.with(14).with(runner.0 as u64),
        E::RunnerOffline { runner, .. } => d.with(15).with(runner.0 as u64),
        E::RunnerBusy { runner, .. } => d.with(16).with(runner.0 as u64),
        E::RunnerRemoved { runner, why, .. } => d.with(17).with(runner.0 as u64).with(*why as u64),
        E::ScaleSetCreated { scale_set, .. } => d.with(18).with(scale_set.0 as u64),
        E::ScaleSetDeleted { scale_set, .. } => d.with(19).with(scale_set.0 as u64),
        E::TokenIssued { token, .. } => d.with(20).with(token.0),
        _ => d.with(21),
    }
}
