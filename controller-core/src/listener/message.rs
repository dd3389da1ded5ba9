//! What follows a poll: acquire, delete, job data, target, in the order of the release.
//!
//! **Never**: polls. A plan is worked off part by part; each part makes at most one call at a time, so every gap between two
//! calls is a point where the process can die.
//!
//! Source: actions-service.md §4.3 H, §4.4 HandleMessage, §4.5 S10, §4.11; recorded order of c_msg_http and c_graceful.

use std::sync::Arc;

use arc_api::service::{JobEvent, JobEventKind, Message, Op, ServiceOk, Statistics};
use arc_api::{Duration, MessageId, RequestId, Time};

use super::session::{After, Doing, is_expired};
use super::texts::Failure;
use super::{Level, Listener, Phase, Step, Then, Write, Written};
use crate::behaviour::{AcquireRetry, Behaviour, Delete401, MessageOrder, SeedRule, StartedError};
use crate::call::CallError;
use crate::scaler::Seen;

/// A piece of work between two polls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// E8 for fresh statistics when the last ones are old (`next`).
    Refresh,
    /// E13.
    Seed,
    /// E12.
    Acquire,
    /// The data of each started job, on its runner.
    Started,
    /// The target, on the runner set.
    Scale,
    /// Waits a little for the API server to take the patches (`next`).
    Flush,
    /// E11.
    Delete,
}
use Part::*;

const INITIAL: &[Part] = &[Seed, Acquire, Scale];
const EMPTY: &[Part] = &[Scale];
const DELETION: &[Part] = &[Delete];
/// The counters of the message that was not understood are asked for.
const DELETION_NEXT: &[Part] = &[Delete, Refresh, Seed, Acquire, Scale, Flush];
const INITIAL_NEXT: &[Part] = &[Seed, Acquire, Scale, Flush];
const EMPTY_NEXT: &[Part] = &[Refresh, Seed, Acquire, Scale, Flush, Delete];

fn plan(order: MessageOrder) -> &'static [Part] {
    match order {
        MessageOrder::DeleteLast => &[Started, Acquire, Scale, Delete],
        MessageOrder::AcquireThenDelete => &[Acquire, Delete, Started, Scale],
        MessageOrder::NeverAcquires => &[Delete, Started, Scale],
        MessageOrder::DeleteThenAcquire => &[Delete, Acquire, Started, Scale],
        MessageOrder::AcknowledgeLast => &[Acquire, Started, Scale, Flush, Delete],
    }
}

/// How long `next` waits for the API server before it polls again with the patches still to be written.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often in a row `next` asks for offers before it polls again; they stay open.
const ACQUIRES: u32 = 3;

/// The work between two polls, and what of it outlives them (`next`).
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    plan: &'static [Part],
    at: usize,
    /// What the target follows: the session, a message, or nothing new.
    source: Source,
    /// Seeding, refreshing and scaling are done once per plan.
    seeded: bool,
    refreshed: bool,
    scaled: bool,
    /// Position among the message's events up to which job data was written.
    started: usize,
    /// Failed acquires.
    tries: u32,
    /// Offers asked for.
    asked: Vec<RequestId>,
    patience: Option<Time>,
}

#[derive(Clone, Debug, Default)]
enum Source {
    #[default]
    Nothing,
    Session(Statistics, Vec<JobEvent>),
    Message(Arc<Message>),
}

impl Work {
    fn new(plan: &'static [Part], source: Source) -> Work {
        Work { plan, source, ..Work::default() }
    }
    /// After a session was made.
    pub(super) fn initial(behaviour: &Behaviour, statistics: Option<Statistics>) -> Work {
        let source = statistics.map_or(Source::Nothing, |s| Source::Session(s, Vec::new()));
        Work::new(if is_next(behaviour) { INITIAL_NEXT } else { INITIAL }, source)
    }
    /// After a poll that brought nothing.
    pub(super) fn empty(behaviour: &Behaviour) -> Work {
        Work::new(if is_next(behaviour) { EMPTY_NEXT } else { EMPTY }, Source::Nothing)
    }
    /// Whether a message is in hand, which most releases finish after SIGTERM.
    pub(super) fn handles_message(&self) -> bool {
        matches!(self.source, Source::Message(_))
    }
    /// When the wait for the API server ends.
    pub(super) fn patience(&self) -> Time {
        match self.plan.get(self.at) {
            Some(Flush) => self.patience.unwrap_or(Time::NEVER),
            _ => Time::NEVER,
        }
    }
    pub(super) fn refreshed(&mut self) {
        self.refreshed = true;
    }
}

fn is_next(behaviour: &Behaviour) -> bool {
    behaviour.listener_order == MessageOrder::AcknowledgeLast
}

impl Listener {
    pub(super) fn start_message(&mut self, message: Arc<Message>, now: Time) {
        if self.is_aware() {
            self.scaler.observe(Some(&message.statistics), &message.events, now);
        }
        self.work = Work::new(plan(self.setup.behaviour.listener_order), Source::Message(message));
        self.phase = Phase::Working;
    }
    /// Only deletes a message.
    pub(super) fn start_deletion(&mut self, id: MessageId, now: Time) {
        let message = Message { id, events: Vec::new(), statistics: Statistics::default() };
        let plan = if self.is_aware() { DELETION_NEXT } else { DELETION };
        if let Some(demand) = self.scaler.demand_mut() {
            demand.distrust();
        }
        self.work = Work::new(plan, Source::Message(Arc::new(message)));
        self.phase = Phase::Working;
        let _ = self.work_on(now);
    }
    fn is_aware(&self) -> bool {
        is_next(&self.setup.behaviour)
    }

    /// Works on; false when nothing moves before the next input.
    pub(super) fn work_on(&mut self, now: Time) -> bool {
        if self.phase != Phase::Working || self.call.is_some() {
            return false;
        }
        if self.writer.is_busy() && !self.patches_in_background() {
            return false;
        }
        let Some(part) = self.work.plan.get(self.work.at) else {
            self.report_listening();
            self.start_poll(false, now);
            return true;
        };
        let done = match part {
            Refresh => self.part_refresh(now),
            Seed => self.part_seed(now),
            Acquire => self.part_acquire(now),
            Started => self.part_started(),
            Scale => self.part_scale(now),
            Flush => self.writer.is_settled() || self.work.patience.is_none_or(|t| t <= now),
            Delete => self.part_delete(now),
        };
        if done {
            self.work.at += 1;
        }
        done || self.call.is_some()
    }

    // ---- E8 and E13

    fn part_refresh(&mut self, now: Time) -> bool {
        let stale = self.scaler.demand().is_some_and(|d| d.is_stale(now));
        if self.work.refreshed || !stale {
            return true;
        }
        self.refresh(After::Statistics, now);
        false
    }
    fn part_seed(&mut self, now: Time) -> bool {
        let max = self.setup.config.max_runners;
        let wanted = match (self.setup.behaviour.listener_seed, &self.work.source) {
            (SeedRule::None, _) => false,
            (SeedRule::Acquired | SeedRule::Discarded, Source::Session(s, _)) => {
                s.total_available_jobs > 0 || s.total_assigned_jobs > 0
            }
            (SeedRule::Acquired | SeedRule::Discarded, Source::Nothing | Source::Message(_)) => false,
            (SeedRule::Reconciled, _) => self.scaler.demand().is_some_and(|d| d.misses_offers(max)),
        };
        if self.work.seeded || !wanted {
            return true;
        }
        self.work.seeded = true;
        self.submit(Doing::Seed, Op::GetAcquirableJobs(self.setup.config.runner_scale_set_id), now);
        false
    }
    pub(super) fn on_seeded(&mut self, step: Step, result: Result<ServiceOk, CallError>, now: Time) {
        let offers = match result {
            Ok(ServiceOk::Acquirable(offers)) => offers,
            Ok(_) => Vec::new(),
            Err(error) => match self.setup.behaviour.listener_seed {
                SeedRule::Reconciled | SeedRule::None => {
                    return self.log(Level::Error, "failed to ask for acquirable jobs", error.text());
                }
                SeedRule::Acquired => {
                    // Nothing deletes the session yet (Q-SESS-LEAK-SEED).
                    self.session = None;
                    return self.fail(Failure::Seed(step, &error), now);
                }
                SeedRule::Discarded => return self.fail(Failure::Seed(step, &error), now),
            },
        };
        match (self.setup.behaviour.listener_seed, &mut self.work.source) {
            (SeedRule::Acquired, Source::Session(_, events)) => *events = offers,
            (SeedRule::Reconciled, _) => {
                if let Some(demand) = self.scaler.demand_mut() {
                    demand.keep_offers(&offers);
                }
                self.scaler.observe(None, &offers, now);
            }
            (SeedRule::Acquired | SeedRule::Discarded | SeedRule::None, _) => {}
        }
    }

    // ---- E12

    /// Request ids to acquire: all offers in releases (Q-MAXRUNNERS0-ACQUIRES), what `max` has room for in `next`.
    fn offers(&self) -> Vec<RequestId> {
        if let Some(demand) = self.scaler.demand() {
            return demand.affordable_offers(self.setup.config.max_runners);
        }
        let events: &[JobEvent] = match &self.work.source {
            Source::Nothing => &[],
            Source::Session(_, events) => events,
            Source::Message(message) => &message.events,
        };
        let offered = events.iter().filter(|e| e.kind == JobEventKind::Available);
        offered.map(|e| e.job.request).collect()
    }
    fn part_acquire(&mut self, now: Time) -> bool {
        let offers = self.offers();
        if offers.is_empty() || self.work.tries >= ACQUIRES {
            return true;
        }
        self.work.asked = offers;
        self.acquire(false, now);
        false
    }
    pub(super) fn acquire(&mut self, again: bool, now: Time) {
        let null = again && self.setup.behaviour.listener_acquire_retry == AcquireRetry::Null;
        let requests = (!null).then(|| self.work.asked.clone());
        let op = Op::AcquireJobs { id: self.setup.config.runner_scale_set_id, requests };
        self.submit(Doing::Acquire { again }, op, now);
    }
    pub(super) fn on_acquired(&mut self, again: bool, step: Step, result: Result<ServiceOk, CallError>, now: Time) {
        match result {
            Ok(ok) => {
                let asked = std::mem::take(&mut self.work.asked);
                let mut denied = false;
                if let (Some(demand), ServiceOk::Acquired(got)) = (self.scaler.demand_mut(), &ok) {
                    demand.on_acquired(&asked, got, now);
                    denied = got.len() < asked.len();
                }
                // Those that were cancelled or went to others cost a poll each if the rest waited for the next one.
                if denied && !self.offers().is_empty() && self.work.tries < ACQUIRES && !self.cancelled {
                    self.work.tries += 1;
                    let open = Op::GetAcquirableJobs(self.setup.config.runner_scale_set_id);
                    return self.submit(Doing::Seed, open, now);
                }
                self.work.at += 1;
            }
            Err(error) if !again && is_expired(step, &error) => self.refresh(After::Acquire, now),
            Err(error) if self.retries() => {
                self.log(Level::Error, "failed to acquire jobs", error.text());
                self.work.tries += 1;
                if self.work.tries < ACQUIRES && !self.cancelled {
                    self.back_off(Then::Work, now);
                } else if error.service().is_some_and(|e| matches!(e.status, 400 | 404)) {
                    // Nobody can take these; those that are open are in the counters, and asked for again.
                    let asked = std::mem::take(&mut self.work.asked);
                    if let Some(demand) = self.scaler.demand_mut() {
                        demand.on_acquired(&asked, &[], now);
                    }
                }
            }
            Err(error) => self.fail(Failure::Acquire(step, &error), now),
        }
    }

    // ---- E11

    fn part_delete(&mut self, now: Time) -> bool {
        if let Source::Message(message) = &self.work.source {
            self.last = message.id;
            if self.is_aware() && !self.undeleted.contains(&message.id) {
                self.undeleted.push(message.id);
                self.work.source = Source::Nothing;
            }
        }
        if self.is_aware() && (self.undeleted.is_empty() || !self.writer.is_settled()) {
            return true;
        }
        self.delete(false, now);
        false
    }
    pub(super) fn delete(&mut self, again: bool, now: Time) {
        let message = self.undeleted.first().copied().unwrap_or(self.last);
        let op = Op::DeleteMessage { id: self.setup.config.runner_scale_set_id, message };
        self.submit(Doing::Delete { again }, op, now);
    }
    pub(super) fn on_deleted(&mut self, again: bool, step: Step, result: Result<ServiceOk, CallError>, now: Time) {
        let refreshes = self.setup.behaviour.listener_delete_401 == Delete401::Refresh;
        match result {
            Ok(_) if self.is_aware() => {
                // The rest of the backlog follows.
                self.undeleted.remove(0);
            }
            Ok(_) => self.work.at += 1,
            Err(error) if refreshes && !again && is_expired(step, &error) => self.refresh(After::Delete, now),
            Err(error) if self.is_aware() => {
                self.log(Level::Error, "failed to delete message", error.text());
                if error.service().is_some_and(|e| e.status == 404) {
                    self.undeleted.remove(0);
                } else {
                    // It is tried again after the next poll; the cursor keeps it from being handled twice.
                    self.work.at += 1;
                }
            }
            Err(error) => self.fail(Failure::Delete(step, &error), now),
        }
    }

    // ---- patches

    fn part_started(&mut self) -> bool {
        let Source::Message(message) = &self.work.source else { return true };
        while let Some(event) = message.events.get(self.work.started) {
            self.work.started += 1;
            if let JobEventKind::Started { runner: id, runner_name } = &event.kind {
                self.writer.push(Write::Started { runner: runner_name.clone(), id: *id, job: event.job.clone() });
                if !is_next(&self.setup.behaviour) {
                    return false;
                }
            }
        }
        true
    }
    fn part_scale(&mut self, now: Time) -> bool {
        if std::mem::replace(&mut self.work.scaled, true) {
            return true;
        }
        self.work.patience = Some(now.after(PATIENCE));
        let seen = match &self.work.source {
            Source::Nothing => Seen::Nothing,
            Source::Session(statistics, _) => Seen::Session(statistics),
            Source::Message(message) => Seen::Message(&message.statistics, &message.events),
        };
        match self.scaler.desired(seen) {
            None => true,
            Some(target) => {
                self.writer.push(Write::Target(target));
                self.answer_ends();
                self.patches_in_background()
            }
        }
    }
    /// Tells the runners whose jobs are over that the target has been told without them: a set that sees such a runner end
    /// only later would take it for one that the target still counts, and leave a job without a runner until the next poll
    /// (Q-STAMP-CLOSES-EARLY).
    fn answer_ends(&mut self) {
        let Source::Message(message) = &self.work.source else { return };
        if !is_next(&self.setup.behaviour) {
            return;
        }
        for event in &message.events {
            if let JobEventKind::Completed { runner_name, .. } = &event.kind
                && !runner_name.is_empty()
            {
                self.writer.push(Write::Ended { runner: runner_name.clone() });
            }
        }
    }
    pub(super) fn on_written(&mut self, written: Written, now: Time) {
        let (write, error) = match written {
            Written::Nothing | Written::Ok => return,
            Written::Failed(write, error) => (write, error),
        };
        match (&write, self.setup.behaviour.listener_started_error) {
            (Write::Started { .. }, StartedError::Logged) => {
                self.log(Level::Error, "failed to update ephemeral runner with job info", error.text());
            }
            (Write::Started { .. }, StartedError::ExitExceptNotFound) if error.is_not_found() => {}
            (Write::Started { .. }, StartedError::Exit | StartedError::ExitExceptNotFound) => {
                self.fail(Failure::Started(&error), now);
            }
            (Write::Target(target), _) => {
                let initial = matches!(self.work.source, Source::Session(..));
                self.fail(Failure::Scale { initial, target: *target, error: &error }, now);
            }
            (Write::Ended { .. } | Write::Conditions(_), _) => {}
        }
    }
}
