//! The listener's session: creating it, waiting for it, polling with it, refreshing its token, losing it.
//!
//! **Never**: looks into messages (`message` does), repeats an HTTP attempt (the client does).
//!
//! Source: actions-service.md §4.3 O1–O4, O8–O12; §4.4 G1–G11; §4.5 S1–S11; recorded: c_session_conflict*, c_msg_http.

use std::sync::Arc;

use arc_api::crd::Condition;
use arc_api::service::{Exception, Malformed, Op, ServiceOk, Session};
use arc_api::{Duration, MessageId, Str, Time, format_smolstr};

use super::message::Work;
use super::texts::Failure;
use super::writer::condition;
use super::{Level, Listener, Phase, Step, Then, Write};
use crate::behaviour::{CapacityHeader, NoStatistics, PoisonRule, SessionConflictRule};
use crate::call::{CallError, Transport};

/// The service call under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Doing {
    /// E7.
    Create,
    /// E8, because of a 401 or of old statistics.
    Refresh(After),
    /// E9 of a session that was lost; a new one follows (`next`).
    Drop,
    /// E10; `again` after a refresh.
    Poll { again: bool },
    /// E11.
    Delete { again: bool },
    /// E12.
    Acquire { again: bool },
    /// E13.
    Seed,
    /// E9, the last call.
    Close,
}

/// What a refreshed session is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    Poll,
    Acquire,
    Delete,
    /// Its statistics (`next`).
    Statistics,
}

/// Tries of 0.7.0 to create a session.
const CREATIONS: u32 = 10;
/// Readings of a poison message before `next` deletes it.
const READINGS: u32 = 5;
/// Denials of the scale set before the corrected listener ends, so that the controller looks for it: an outage lies once.
const DENIALS: u32 = 3;

/// Another session is held; the message names its owner.
pub const SESSION_CONFLICT: &str = "SessionConflict";
/// The service does not answer, or refuses.
pub const UNREACHABLE: &str = "ServiceUnreachable";
/// A message that could not be read was deleted; stays for the life of the process.
pub const POISON_MESSAGE: &str = "PoisonMessage";
/// Assigned jobs that never take a runner are not provided for.
pub const PHANTOM_JOBS: &str = "PhantomJobs";

impl Listener {
    pub(super) fn create_session(&mut self, now: Time) {
        self.phase = Phase::Starting;
        let op = Op::CreateSession { id: self.setup.config.runner_scale_set_id, owner: self.setup.owner.clone() };
        self.submit(Doing::Create, op, now);
    }

    pub(super) fn on_done(&mut self, doing: Doing, step: Step, result: Result<ServiceOk, CallError>, now: Time) {
        match doing {
            Doing::Create => match result {
                Ok(ServiceOk::Session(session)) => self.on_session(session, now),
                Ok(_) => self.after_failed_creation(None, now),
                Err(error) => self.after_failed_creation(Some((step, error)), now),
            },
            Doing::Refresh(after) => match result {
                Ok(ServiceOk::Session(session)) => self.on_refreshed(session, after, now),
                Ok(_) => self.fail(Failure::Cancelled, now),
                Err(error) => self.after_failed_refresh(after, step, error, now),
            },
            // A first loss is made good at once; sessions that are lost again and again are spaced out.
            Doing::Drop if self.failures == 0 => {
                self.failures = 1;
                self.create_session(now);
            }
            Doing::Drop => self.back_off(Then::CreateSession, now),
            Doing::Poll { again } => self.on_poll(again, result, now),
            Doing::Delete { again } => self.on_deleted(again, step, result, now),
            Doing::Acquire { again } => self.on_acquired(again, step, result, now),
            Doing::Seed => self.on_seeded(step, result, now),
            Doing::Close => self.leave(),
        }
    }

    fn on_session(&mut self, session: Arc<Session>, now: Time) {
        let statistics = session.statistics;
        self.session = Some(session);
        if self.cancelled && self.retries() {
            return self.close(0, "terminated".into(), now);
        }
        match (statistics, self.setup.behaviour.listener_no_statistics) {
            (None, NoStatistics::PanicOnSession) => return self.panic(false, now),
            (None, NoStatistics::Exit | NoStatistics::PanicOnMessage) => {
                return self.fail(Failure::NoSessionStatistics, now);
            }
            (None, NoStatistics::Kept) | (Some(_), _) => {}
        }
        self.scaler.observe(statistics.as_ref(), &[], now);
        self.work = Work::initial(&self.setup.behaviour, statistics);
        self.phase = Phase::Working;
    }

    /// E7 failed, or could not be sent because of a cancelled context.
    pub(super) fn after_failed_creation(&mut self, error: Option<(Step, CallError)>, now: Time) {
        match self.setup.behaviour.listener_conflict {
            SessionConflictRule::SleepAndRetry => {
                self.failures += 1;
                if self.failures >= CREATIONS {
                    return self.fail(Failure::TooManyCreations, now);
                }
                let seconds = 30 + mix(self.setup.jitter, self.failures) % 15;
                let until = now.after(Duration::from_secs(seconds));
                self.phase = Phase::Sleeping { until, then: Then::CreateSession };
            }
            SessionConflictRule::Exit => match &error {
                Some((step, error)) => self.fail(Failure::CreateSession(*step, error), now),
                None => self.fail(Failure::Cancelled, now),
            },
            SessionConflictRule::Wait => {
                if self.cancelled {
                    return self.close(0, "terminated".into(), now);
                }
                let Some((step, error)) = &error else { return self.back_off(Then::CreateSession, now) };
                self.report_trouble(*step, error);
                let gone = error.service().is_some_and(|e| e.exception == Exception::ScaleSetNotFound);
                self.denials = if gone { self.denials + 1 } else { 0 };
                if self.denials >= DENIALS {
                    // The controller registers anew or says why not; waiting here would hide the loss from it.
                    return self.fail(Failure::CreateSession(*step, error), now);
                }
                self.back_off(Then::CreateSession, now);
            }
        }
    }

    // ---- E10

    pub(super) fn start_poll(&mut self, again: bool, now: Time) {
        if self.cancelled {
            return match self.retries() {
                true => self.close(0, "terminated".into(), now),
                false => self.fail(Failure::Cancelled, now),
            };
        }
        self.work = Work::default();
        self.phase = Phase::Polling;
        let config = &self.setup.config;
        let capacity = match self.setup.behaviour.listener_capacity {
            CapacityHeader::No => None,
            CapacityHeader::Max => Some(config.max_runners),
        };
        let op = Op::GetMessage { id: config.runner_scale_set_id, last: self.last, capacity };
        self.submit(Doing::Poll { again }, op, now);
    }

    fn on_poll(&mut self, again: bool, result: Result<ServiceOk, CallError>, now: Time) {
        match result {
            Ok(ServiceOk::Message(message)) => {
                self.failures = 0;
                if self.setup.behaviour.listener_poison == PoisonRule::SkipsUnknown && message.events.is_empty() {
                    // 0.7.0 decodes the empty body of any message but the initial one (Q-EMPTY-BODY-EOF-OLD).
                    return self.fail(Failure::Handle(super::texts::Body::Eof), now);
                }
                self.start_message(message, now);
            }
            Ok(ServiceOk::Malformed(why)) => self.on_malformed(None, why, now),
            Ok(ServiceOk::Poison { id, why }) => self.on_malformed(Some(id), why, now),
            Ok(_) => {
                self.failures = 0;
                self.work = Work::empty(&self.setup.behaviour);
                self.phase = Phase::Working;
            }
            Err(error) if !again && is_expired(Step::Operation, &error) => self.refresh(After::Poll, now),
            Err(error) if self.retries() => self.after_failed_poll(error, now),
            Err(error) => self.fail(Failure::GetMessage { again, error: &error }, now),
        }
    }

    fn on_malformed(&mut self, id: Option<MessageId>, why: Malformed, now: Time) {
        match (self.setup.behaviour.listener_poison, id, why) {
            (PoisonRule::Deleted, Some(id), _) => {
                self.log(Level::Error, "message cannot be handled", format_smolstr!("message {id}: {why:?}"));
                let readings = if self.poison.0 == id { self.poison.1 + 1 } else { 1 };
                self.poison = (id, readings);
                if readings < READINGS {
                    return self.back_off(Then::Poll, now);
                }
                let text = format_smolstr!("message {id} could not be read {READINGS} times ({why:?})");
                self.told.poison = Some(condition(POISON_MESSAGE, true, "Deleted", text));
                self.tell();
                self.start_deletion(id, now);
            }
            (PoisonRule::Deleted, None, _) => {
                self.log(Level::Error, "poll answered with an unusable body", format_smolstr!("{why:?}"));
                self.back_off(Then::Poll, now);
            }
            (PoisonRule::SkipsUnknown, Some(id), Malformed::UnknownType) => self.start_deletion(id, now),
            (_, _, Malformed::Empty) => self.fail(Failure::EmptyPoll, now),
            (_, _, Malformed::Truncated) => self.fail(Failure::Handle(super::texts::Body::Undecodable), now),
            (_, _, Malformed::UnknownType) => self.fail(Failure::Handle(super::texts::Body::UnknownType), now),
            (_, _, Malformed::NoStatistics) => match self.setup.behaviour.listener_no_statistics {
                NoStatistics::PanicOnMessage => self.panic(true, now),
                NoStatistics::PanicOnSession | NoStatistics::Exit | NoStatistics::Kept => {
                    self.fail(Failure::Handle(super::texts::Body::NoStatistics), now);
                }
            },
        }
    }
    /// `next`: a poll that failed for good at the HTTP level.
    fn after_failed_poll(&mut self, error: CallError, now: Time) {
        if self.cancelled {
            return self.close(0, "terminated".into(), now);
        }
        self.report_trouble(Step::Operation, &error);
        if is_passing(&error) { self.back_off(Then::Poll, now) } else { self.renew_session(now) }
    }

    // ---- E8

    pub(super) fn refresh(&mut self, after: After, now: Time) {
        let Some(session) = &self.session else { return self.create_session(now) };
        let op = Op::RefreshSession { id: self.setup.config.runner_scale_set_id, session: session.id };
        if after == After::Poll {
            self.phase = Phase::Polling;
        }
        self.submit(Doing::Refresh(after), op, now);
    }
    fn on_refreshed(&mut self, session: Arc<Session>, after: After, now: Time) {
        let statistics = session.statistics;
        self.session = Some(session);
        self.scaler.observe(statistics.as_ref(), &[], now);
        match after {
            After::Poll => self.start_poll(true, now),
            After::Acquire => self.acquire(true, now),
            After::Delete => self.delete(true, now),
            After::Statistics => self.work.refreshed(),
        }
    }
    fn after_failed_refresh(&mut self, after: After, step: Step, error: CallError, now: Time) {
        if !self.retries() {
            return self.fail(Failure::Refresh(step, &error), now);
        }
        if self.cancelled {
            return self.close(0, "terminated".into(), now);
        }
        self.report_trouble(step, &error);
        match (step, is_passing(&error), after) {
            // The session is unknown or over: a new one, in this process.
            (Step::Operation, false, _) => self.renew_session(now),
            (_, _, After::Statistics) => self.work.refreshed(),
            (_, _, After::Poll | After::Acquire | After::Delete) => self.back_off(Then::RefreshSession, now),
        }
    }
    /// `next`: replaces a session that the service no longer honours. What was being handled comes again; what was handled
    /// stays handled, since the cursor is kept.
    fn renew_session(&mut self, now: Time) {
        self.phase = Phase::Starting;
        self.work = Work::default();
        match self.session.take() {
            Some(session) => {
                let op = Op::DeleteSession { id: self.setup.config.runner_scale_set_id, session: session.id };
                self.submit(Doing::Drop, op, now);
            }
            None => self.create_session(now),
        }
    }

    // ---- reports of `next`

    fn report_trouble(&mut self, step: Step, error: &CallError) {
        let text = error.text();
        self.log(Level::Error, "service call failed", text.clone());
        if !self.conflict_waits() {
            return;
        }
        let (type_, reason, message) = match error {
            CallError::Service(e) if e.status == 409 => (SESSION_CONFLICT, "HeldByOther", owner_text(&e.message)),
            CallError::Service(e) if e.status == 404 && step == Step::Operation => (UNREACHABLE, "NotFound", text),
            CallError::Service(e) if matches!(e.status, 401 | 403) => (UNREACHABLE, "Unauthorized", text),
            CallError::Service(_) => (UNREACHABLE, "ServiceError", text),
            CallError::Transport(_) | CallError::Api(_) => (UNREACHABLE, "NoConnection", text),
        };
        let trouble = condition(type_, true, reason, message);
        if self.told.trouble.as_ref() != Some(&trouble) {
            self.told.trouble = Some(trouble);
            self.tell();
        }
    }
    /// All is well: a session is held and its counters have been acted on. What was said is taken back.
    pub(super) fn report_listening(&mut self) {
        let phantom = self.scaler.demand().map_or(0, |d| d.phantom());
        if self.told.trouble.is_some() || self.told.phantom != phantom {
            self.told.trouble = None;
            self.told.phantom = phantom;
            self.tell();
        }
    }
    fn tell(&mut self) {
        let told = &self.told;
        let phantom = (told.phantom > 0).then(|| {
            let text = format_smolstr!("{} assigned jobs take no idle runner and are not provided for", told.phantom);
            condition(PHANTOM_JOBS, true, "StatisticsDisagree", text)
        });
        let all = [told.trouble.clone(), told.poison.clone(), phantom];
        self.writer.push(Write::Conditions(all.into_iter().flatten().collect()));
    }
}

/// What `next` has said on its AutoscalingListener.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    trouble: Option<Condition>,
    phantom: i32,
    /// The last message that was deleted unread; stays.
    poison: Option<Condition>,
}

/// 401 of the operation itself: the queue token has expired.
pub(super) fn is_expired(step: Step, error: &CallError) -> bool {
    step == Step::Operation && error.service().is_some_and(|e| e.status == 401)
}

/// Whether a failure says nothing about the session: no connection, 429, 5xx.
fn is_passing(error: &CallError) -> bool {
    match error {
        CallError::Transport(Transport::Refused | Transport::Reset | Transport::Timeout | Transport::Cancelled) => true,
        CallError::Service(e) => e.status == 429 || e.status >= 500,
        CallError::Api(_) => false,
    }
}

/// The owner of the other session, if the service names it (actions-service.md §1.9).
fn owner_text(message: &str) -> Str {
    match message.rsplit_once(" for owner ") {
        Some((_, owner)) => format_smolstr!("held by {}", owner.trim_end_matches('.')),
        None => message.into(),
    }
}

/// A well-spread number from the process's jitter and a counter (splitmix64): the machine itself never draws.
fn mix(jitter: u64, n: u32) -> u64 {
    let mut z = jitter.wrapping_add(u64::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
