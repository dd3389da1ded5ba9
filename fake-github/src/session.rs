//! Message sessions: E7–E9, one per scale set, and how they end (actions-service.md §2.4).
//!
//! Never decides what a listener does about a refusal. A session is idle from its last E7, E8, E10 or E11 on; a poll in
//! flight keeps it alive.

use std::sync::Arc;

use arc_api::service::{Auth, ServiceOk, ServiceReply, Session};
use arc_api::{Duration, MessageId, ScaleSetId, SessionId, Str, Time, Token};

use crate::error::{Why, refuse, refused};
use crate::event::{ServiceEvent, SessionEnd, TokenKind};
use crate::fault::ExpiryPoint;
use crate::state::{GitHub, Poller, Ticket};
use crate::timer::Timer;

/// An open session.
#[derive(Clone, Debug)]
pub struct SessionState {
    /// Id.
    pub id: SessionId,
    /// Owner, as its creator said.
    pub owner: Str,
    /// When it was created.
    pub created: Time,
    /// Last E7, E8, E10 or E11.
    pub last_activity: Time,
    /// The newest queue token.
    pub queue_token: Token,
    /// When it expires unless something happens; [`Time::NEVER`] while a poll is open.
    pub deadline: Time,
    /// Whether nobody holds it: made by a fault, or it outlived its deletion.
    pub is_ghost: bool,
    pub(crate) poll: Option<ListenerPoll>,
}

impl SessionState {
    /// Whether its listener's long poll is parked here.
    pub fn is_polling(&self) -> bool {
        self.poll.is_some()
    }
    pub(crate) fn touch(&mut self, ttl: Duration, now: Time) {
        self.last_activity = now;
        if !self.is_ghost {
            self.deadline = if self.poll.is_some() { Time::NEVER } else { now.after(ttl) };
        }
    }
}

/// A parked E10.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ListenerPoll {
    pub(crate) number: u64,
    pub(crate) last: MessageId,
}

/// How sessions of a scale set live, when not as the tenant's profile says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SessionFault {
    /// Life after the last activity; `Duration::MAX` is for ever.
    pub ttl: Option<Duration>,
    /// Whether E9 is answered 204 and forgotten: the session survives its owner.
    pub survives_deletion: bool,
}

impl GitHub {
    fn session_ttl(&self, id: ScaleSetId) -> Duration {
        let stated = self.set(id).and_then(|set| set.session_fault.ttl);
        stated.unwrap_or_else(|| self.profile_of(id).session_ttl)
    }

    /// Notes activity: the idle time begins anew, or stands still while a poll is open.
    pub(crate) fn touch_session(&mut self, id: ScaleSetId, now: Time) {
        let ttl = self.session_ttl(id);
        let Some(session) = self.set_mut(id).and_then(|set| set.session.as_mut()) else { return };
        session.touch(ttl, now);
        let deadline = session.deadline;
        self.timers.set(deadline, Timer::Session(id));
    }

    /// Takes the open poll off a session, which is idle from now on.
    pub(crate) fn close_listener_poll(&mut self, id: ScaleSetId, now: Time) {
        let ttl = self.session_ttl(id);
        let Some(session) = self.set_mut(id).and_then(|set| set.session.as_mut()) else { return };
        session.poll = None;
        session.touch(ttl, now);
        let deadline = session.deadline;
        self.timers.set(deadline, Timer::Session(id));
    }

    fn open_session(&mut self, id: ScaleSetId, owner: Str, deadline: Time, is_ghost: bool, now: Time) -> SessionId {
        let session = SessionId(self.next.session);
        self.next.session += 1;
        if let Some(set) = self.set_mut(id) {
            set.session = Some(SessionState {
                id: session,
                owner: owner.clone(),
                created: now,
                last_activity: now,
                queue_token: Token(0),
                deadline,
                is_ghost,
                poll: None,
            });
        }
        self.timers.set(deadline, Timer::Session(id));
        self.emit(ServiceEvent::SessionCreated { scale_set: id, session, owner });
        session
    }

    /// E7. The same owner conflicts too (§2.4).
    pub(crate) fn create_session(&mut self, auth: &Auth, id: ScaleSetId, owner: &Str, now: Time) -> ServiceReply {
        let set = self.own_set(auth, id, now)?;
        if let Some(held) = &set.session {
            let personality = self.tenant(set.tenant).profile.personality;
            let why = Why::SessionConflict { name: set.name.clone(), owner: held.owner.clone(), personality };
            let event = ServiceEvent::SessionRefused { scale_set: id, holder: held.id, owner: owner.clone() };
            self.emit(event);
            return refused(&why);
        }
        self.open_session(id, owner.clone(), Time::NEVER, false, now);
        self.touch_session(id, now);
        if self.profile_of(id).reoffer {
            self.offer_again(id, now);
        }
        self.session_answer(id, now)
    }

    /// E7 and E8 answer alike: the session with a new queue token and the counters of now.
    fn session_answer(&mut self, id: ScaleSetId, now: Time) -> ServiceReply {
        let Some(set) = self.set(id) else { return refused(&Why::ScaleSet(id)) };
        let Some(session) = set.session.as_ref().map(|session| session.id) else { return refused(&Why::BadToken) };
        let (tenant, ttl) = (set.tenant, self.tenant(set.tenant).profile.queue_ttl);
        let (queue_token, _) = self.issue(TokenKind::Queue, tenant, session.0, now, ttl);
        if let Some(session) = self.set_mut(id).and_then(|set| set.session.as_mut()) {
            session.queue_token = queue_token;
        }
        let Some(set) = self.set(id) else { return refused(&Why::ScaleSet(id)) };
        let owner = set.session.as_ref().map_or(Str::default(), |session| session.owner.clone());
        let statistics = Some(self.statistics(set));
        Ok(ServiceOk::Session(Arc::new(Session { id: session, owner, scale_set: id, queue_token, statistics })))
    }

    fn live_session(
        &self,
        auth: &Auth,
        id: ScaleSetId,
        session: SessionId,
        now: Time,
    ) -> Result<(), crate::error::Refusal> {
        let set = self.own_set(auth, id, now)?;
        match &set.session {
            Some(held) if held.id == session && !held.is_ghost => Ok(()),
            _ => {
                let status = self.tenant(set.tenant).profile.dead_session_status();
                Err(refuse(&Why::DeadSession { session, status }))
            }
        }
    }

    /// E8: the id stays, the queue token is new.
    pub(crate) fn refresh_session(
        &mut self,
        auth: &Auth,
        id: ScaleSetId,
        session: SessionId,
        now: Time,
    ) -> ServiceReply {
        if self.take_expiry(id, ExpiryPoint::Refresh)
            && let Auth::Admin(token) = auth
        {
            self.revoke_token(*token);
        }
        self.live_session(auth, id, session, now)?;
        self.touch_session(id, now);
        self.emit(ServiceEvent::SessionRefreshed { scale_set: id, session });
        self.session_answer(id, now)
    }

    /// E9.
    pub(crate) fn delete_session(
        &mut self,
        auth: &Auth,
        id: ScaleSetId,
        session: SessionId,
        now: Time,
    ) -> ServiceReply {
        self.live_session(auth, id, session, now)?;
        let fault = self.set(id).map(|set| set.session_fault).unwrap_or_default();
        if !fault.survives_deletion {
            self.end_session(id, SessionEnd::Deleted, now);
            return Ok(ServiceOk::Done);
        }
        self.answer_listener(id, refused(&Why::BadToken), now);
        let deadline = now.after(self.session_ttl(id));
        if let Some(session) = self.set_mut(id).and_then(|set| set.session.as_mut()) {
            session.is_ghost = true;
            session.deadline = deadline;
        }
        self.timers.set(deadline, Timer::Session(id));
        Ok(ServiceOk::Done)
    }

    /// Answers the open poll of a scale set, if there is one.
    pub(crate) fn answer_listener(&mut self, id: ScaleSetId, reply: ServiceReply, now: Time) {
        if let Some(poll) = self.session_of(id).and_then(|session| session.poll) {
            self.answer(Ticket { number: poll.number, owner: Poller::Listener(id) }, reply, now);
        }
    }

    /// Ends the session, whatever ended it. Its open poll is refused at once, as the recordings' service does (U25).
    pub(crate) fn end_session(&mut self, id: ScaleSetId, why: SessionEnd, now: Time) {
        if self.session_of(id).is_none() {
            return;
        }
        self.answer_listener(id, refused(&Why::BadToken), now);
        let Some(session) = self.set_mut(id).and_then(|set| set.session.take()) else { return };
        self.emit(ServiceEvent::SessionEnded { scale_set: id, session: session.id, why });
    }

    pub(crate) fn expire_session_timer(&mut self, id: ScaleSetId, now: Time) {
        self.end_session(id, SessionEnd::Expired, now);
    }

    // Faults.

    /// Changes how sessions of a scale set live from now on: longer than their owners, for ever, or past their
    /// deletion. `Default::default()` heals.
    pub fn set_session_fault(&mut self, id: ScaleSetId, fault: SessionFault, now: Time) {
        self.advance(now);
        if let Some(set) = self.set_mut(id) {
            set.session_fault = fault;
        }
        let ttl = self.session_ttl(id);
        if let Some(session) = self.set_mut(id).and_then(|set| set.session.as_mut())
            && session.poll.is_none()
            && !session.is_ghost
        {
            session.deadline = session.last_activity.after(ttl).max(now);
            let deadline = session.deadline;
            self.timers.set(deadline, Timer::Session(id));
        }
        self.tidy();
    }

    /// Lets a stranger hold the session until a time ([`Time::NEVER`]: for good). An open session is evicted.
    pub fn hold_session(&mut self, id: ScaleSetId, owner: impl Into<Str>, until: Time, now: Time) {
        self.advance(now);
        if self.set(id).is_some() {
            self.end_session(id, SessionEnd::Evicted, now);
            self.open_session(id, owner.into(), until, true, now);
        }
        self.tidy();
    }

    /// Makes the service forget the session.
    pub fn evict_session(&mut self, id: ScaleSetId, now: Time) {
        self.advance(now);
        self.end_session(id, SessionEnd::Evicted, now);
        self.tidy();
    }

    /// Ends the session as if it had been idle for too long.
    pub fn expire_session(&mut self, id: ScaleSetId, now: Time) {
        self.advance(now);
        self.end_session(id, SessionEnd::Expired, now);
        self.tidy();
    }
}
