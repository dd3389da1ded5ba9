//! A scale set's message log and its long poll: E10, E11 (actions-service.md §2.5, §2.11, §3.4).
//!
//! Guarantees: message ids strictly increase; a delivered message keeps its id and content until it is deleted, for
//! every later session; counters are those of the moment of delivery.
//! Differs: an id is given at first delivery, not when the event happens. Clients cannot see the difference.

use std::sync::Arc;

use arc_api::service::{Auth, JobEvent, JobEventKind, Malformed, Message, ServiceOk, ServiceReply};
use arc_api::{Duration, MessageId, ScaleSetId, Time};

use crate::error::{Why, refused};
use crate::event::{EventType, ServiceEvent};
use crate::fault::{EventMode, ExpiryPoint};
use crate::session::ListenerPoll;
use crate::settings::Personality;
use crate::state::{GitHub, Outcome, Poller, Ticket};
use crate::timer::Timer;

/// An event no message has yet.
#[derive(Clone, Debug)]
pub(crate) struct PendingEvent {
    pub(crate) visible_at: Time,
    /// From when on it goes out with a message that goes out anyway.
    pub(crate) joins_at: Time,
    pub(crate) event: JobEvent,
    /// A reorder fault: goes out behind the next event.
    pub(crate) waits_for_next: bool,
}

impl GitHub {
    /// Brings a scale set up to date: binds or offers jobs, hands them to idle runners, answers the open poll.
    pub(crate) fn pump(&mut self, id: ScaleSetId, now: Time) {
        self.take_jobs(id, now);
        self.hand_out(id, now);
        self.deliver(id, now);
    }

    /// E10.
    pub(crate) fn get_message(
        &mut self,
        auth: &Auth,
        id: ScaleSetId,
        last: MessageId,
        capacity: Option<i32>,
        now: Time,
    ) -> Outcome {
        if self.take_expiry(id, ExpiryPoint::Poll) {
            self.expire_queue_token(auth);
        }
        if let Err(refusal) = self.queue(auth, id, now) {
            return Outcome::Reply(Err(refusal));
        }
        // A client that polls again has given up its older poll; what the network still holds is answered empty.
        self.answer_listener(id, Ok(ServiceOk::Nothing), now);
        let ticket = self.next_ticket(Poller::Listener(id));
        let profile = self.profile_of(id);
        let absent = if profile.absent_capacity_is_unlimited { i64::MAX } else { 0 };
        let hold = now.after(profile.poll_hold);
        if let Some(set) = self.set_mut(id) {
            set.capacity = capacity.map_or(absent, i64::from);
            if let Some(session) = &mut set.session {
                session.poll = Some(ListenerPoll { number: ticket.number, last });
                // With a poll open the idle time stands still, so there is no timer to set.
                session.touch(Duration::MAX, now);
            }
        }
        self.holds.set(hold, Timer::Hold(id, ticket.number));
        self.pump(id, now);
        self.parked_or_answered(ticket)
    }

    /// A poll that was answered while it was being parked is an ordinary reply.
    pub(crate) fn parked_or_answered(&mut self, ticket: Ticket) -> Outcome {
        match self.ready.iter().rposition(|(answered, _)| *answered == ticket) {
            Some(at) => match self.ready.remove(at) {
                Some((_, reply)) => Outcome::Reply(reply),
                None => Outcome::Parked(ticket),
            },
            None => Outcome::Parked(ticket),
        }
    }

    /// Answers a parked poll; a ticket that is no longer parked is left alone.
    pub(crate) fn answer(&mut self, ticket: Ticket, reply: ServiceReply, now: Time) {
        if !self.close_poll(ticket, now) {
            return;
        }
        let reply = self.spoil_poll(ticket, reply);
        self.ready.push_back((ticket, reply));
    }

    /// Takes a poll off its owner. Returns whether it was parked.
    fn close_poll(&mut self, ticket: Ticket, now: Time) -> bool {
        if !self.is_parked(ticket) {
            return false;
        }
        match ticket.owner {
            Poller::Listener(id) => self.close_listener_poll(id, now),
            Poller::Runner(id) => self.close_runner_poll(id, now),
        }
        true
    }

    /// The client of a parked poll is gone. Nothing else changes: what was to be delivered stays (§2.11).
    pub fn cancel(&mut self, ticket: Ticket, now: Time) {
        self.advance(now);
        self.close_poll(ticket, now);
        self.tidy();
    }

    /// Answers the open poll with the oldest message it has not seen, if there is one.
    fn deliver(&mut self, id: ScaleSetId, now: Time) {
        let Some(set) = self.set(id) else { return };
        let Some(poll) = set.session.as_ref().and_then(|session| session.poll) else { return };
        let profile = &self.tenant(set.tenant).profile;
        let again = set.messages.iter().find(|message| message.id > poll.last);
        let (message, again) = if let Some(message) = again {
            let mut message = Arc::clone(message);
            if !profile.stale_replay_statistics {
                Arc::make_mut(&mut message).statistics = self.statistics(set);
            }
            (message, true)
        } else if set.next_message > poll.last && set.pending.iter().any(|pending| pending.visible_at <= now) {
            let batch_max = profile.batch_max.max(1);
            let statistics = self.statistics(set);
            let Some(set) = self.set_mut(id) else { return };
            let mut events = Vec::new();
            set.pending.retain(|pending| {
                let is_taken = pending.joins_at <= now && events.len() < batch_max;
                if is_taken {
                    events.push(pending.event.clone());
                }
                !is_taken
            });
            let number = set.next_message;
            set.next_message = MessageId(number.0 + 1);
            let message = Arc::new(Message { id: number, events, statistics });
            set.messages.push_back(Arc::clone(&message));
            (message, false)
        } else {
            let next = set.pending.iter().map(|pending| pending.visible_at).min().unwrap_or(Time::NEVER);
            // What is visible already waits for a poll with a lower cursor, not for time.
            if now < next && next < set.deliver_at {
                if let Some(set) = self.set_mut(id) {
                    set.deliver_at = next;
                }
                self.timers.set(next, Timer::Deliver(id));
            }
            return;
        };
        self.emit(ServiceEvent::MessageDelivered {
            scale_set: id,
            message: message.id,
            events: message.events.len() as u32,
            again,
        });
        self.answer_listener(id, Ok(ServiceOk::Message(message)), now);
    }

    /// E11 prunes exactly this message, for every session.
    pub(crate) fn delete_message(
        &mut self,
        auth: &Auth,
        id: ScaleSetId,
        message: MessageId,
        now: Time,
    ) -> ServiceReply {
        if self.take_expiry(id, ExpiryPoint::Acknowledge) {
            self.expire_queue_token(auth);
        }
        self.queue(auth, id, now)?;
        self.touch_session(id, now);
        let Some(set) = self.set_mut(id) else { return refused(&Why::BadToken) };
        let before = set.messages.len();
        set.messages.retain(|kept| kept.id != message);
        if set.messages.len() < before {
            self.emit(ServiceEvent::MessageDeleted { scale_set: id, message });
            return Ok(ServiceOk::Done);
        }
        match self.profile_of(id).deleted_message_status {
            204 => Ok(ServiceOk::Done),
            _ => refused(&Why::Message),
        }
    }

    /// Writes an event into a scale set's log, as the message faults in force want it.
    pub(crate) fn log(&mut self, id: ScaleSetId, event: JobEvent, delay: Duration, now: Time) {
        let Some(set) = self.set(id) else { return };
        // What is written while a message waits to go out goes with it (§2.11 item 6; a_basic/0.9.3 line 206: three jobs started
        // within 0.1 s, one message 0.3 s after the first).
        let written = now.after(delay);
        let mut visible_at = written.after(self.tenant(set.tenant).profile.delivery_latency);
        let ordinary = visible_at;
        let mut copy_at = None;
        let mut waits_for_next = false;
        for (mode, by) in self.event_faults(id, &event) {
            match mode {
                EventMode::Delay => visible_at = visible_at.after(by),
                EventMode::Duplicate => copy_at = Some(visible_at),
                EventMode::Redeliver => copy_at = Some(visible_at.after(by)),
                EventMode::Reorder => waits_for_next = true,
                EventMode::Drop => {
                    if let Some(kind) = EventType::of(&event.kind) {
                        self.emit(ServiceEvent::EventDropped { scale_set: id, job: event.job.id, kind });
                    }
                    return;
                }
            }
        }
        let Some(set) = self.set_mut(id) else { return };
        if waits_for_next {
            visible_at = visible_at.after(REORDER_AT_MOST);
        }
        let overtaken = set.pending.iter().position(|pending| pending.waits_for_next).filter(|_| !waits_for_next);
        let overtaken = overtaken.and_then(|at| set.pending.remove(at));
        let joins_at = if visible_at == ordinary { written } else { visible_at };
        set.pending.push_back(PendingEvent { visible_at, joins_at, event: event.clone(), waits_for_next });
        if let Some(late) = overtaken {
            set.pending.push_back(PendingEvent { visible_at, joins_at, waits_for_next: false, ..late });
        }
        if let Some(copy_at) = copy_at {
            set.pending.push_back(PendingEvent {
                visible_at: copy_at,
                joins_at: copy_at,
                event,
                waits_for_next: false,
            });
        }
    }

    /// Logs what became of a job for one scale set.
    pub(crate) fn log_job(&mut self, id: ScaleSetId, job: arc_api::JobId, kind: JobEventKind, now: Time) {
        let Some(info) = self.job(job).map(|job| Arc::clone(&job.info)) else { return };
        self.log(id, JobEvent { kind, job: info }, Duration::ZERO, now);
    }

    fn expire_queue_token(&mut self, auth: &Auth) {
        if let Auth::Queue(token) = auth {
            self.revoke_token(*token);
        }
    }

    /// E12 at the broker, and the personality of a scale set.
    pub(crate) fn personality_of(&self, id: ScaleSetId) -> Personality {
        self.profile_of(id).personality
    }

    /// What a malformed-body fault makes of a poll's answer.
    fn spoil_poll(&mut self, ticket: Ticket, reply: ServiceReply) -> ServiceReply {
        let Poller::Listener(id) = ticket.owner else { return reply };
        let reply = self.unreadable(id, reply);
        let message = match &reply {
            Ok(ServiceOk::Message(message)) => Some(message.id),
            _ => None,
        };
        let spoiled = reply.is_ok().then(|| self.malformed_poll(id, message.is_some())).flatten();
        match (spoiled, message) {
            (None, _) => reply,
            // The envelope's id can still be read, so the message can be deleted.
            (Some(why @ (Malformed::UnknownType | Malformed::NoStatistics)), Some(id)) => {
                Ok(ServiceOk::Poison { id, why })
            }
            (Some(mode), _) => Ok(ServiceOk::Malformed(mode)),
        }
    }
}

/// How long a reordered event waits for one to overtake it.
const REORDER_AT_MOST: Duration = Duration::from_secs(60);
