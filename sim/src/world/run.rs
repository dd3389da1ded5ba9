//! The loop: take the next event, let it happen, see what follows; until the plan's end, or until nothing is left to wait for.

use std::sync::Arc;

use arc_api::{Duration, Time};

use super::{Event, SiteId, World};
use crate::invariant::Check;
use crate::outcome::{Ending, RunReport};
use crate::own::OwnMachines;
use crate::plan::{Action, Plan, When};
use crate::trace::{Digest, What};

/// How a run is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunOptions {
    /// Keep every trace event, for reading.
    pub trace: bool,
    /// End at the first violation, and keep the world as it is there.
    pub stop_at_violation: bool,
    /// End at the first violation of this promise.
    pub stop_on: Option<&'static str>,
}

/// Runs a plan to its end.
pub fn run(plan: &Plan, options: &RunOptions) -> RunReport {
    run_with(plan, &Arc::default(), options)
}

/// Runs a plan to its end in a world in which some machines are somebody else's. Without any it is [`run`].
pub fn run_with(plan: &Plan, own: &Arc<OwnMachines>, options: &RunOptions) -> RunReport {
    let mut world = World::with(Arc::new(plan.clone()), own.clone(), options.trace);
    let ended = world.run(options);
    world.finish(ended)
}

/// A leak planted by a test to see whether the self-check finds it; no plan can ask for one. The closures live in the test,
/// so that no clock and no hash-ordered container comes near the world.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Leak {
    /// Which watcher comes at this place of the order in which a commit is told to them; how many there are; when.
    pub watcher: Option<fn(usize, usize, Time) -> usize>,
    /// How much longer a request takes.
    pub latency: Option<fn(Time) -> Duration>,
}

/// Runs a plan in a world with a leak.
#[doc(hidden)]
pub fn run_leaking(plan: &Plan, options: &RunOptions, leak: Leak) -> RunReport {
    let mut world = World::new(Arc::new(plan.clone()), options.trace);
    world.leak = leak;
    let ended = world.run(options);
    world.finish(ended)
}

impl World {
    /// Lets events happen until the plan's end; says why it stopped.
    pub fn run(&mut self, options: &RunOptions) -> Ending {
        self.run_until(self.plan.ends_at(), options)
    }

    /// Lets everything happen that happens before `at`. None if the world is still running then.
    pub fn run_before(&mut self, at: Time, options: &RunOptions) -> Option<Ending> {
        let last = Time(at.0.saturating_sub(1)).min(self.plan.ends_at());
        let ending = self.run_until(last, options);
        (ending != Ending::Completed || last == self.plan.ends_at()).then_some(ending)
    }

    fn run_until(&mut self, end: Time, options: &RunOptions) -> Ending {
        let limits = self.plan.limits;
        let (mut instant, mut at_instant) = (Time::NEVER, 0u64);
        if self.unfurnished {
            return Ending::Unfurnished;
        }
        loop {
            let next = self.queue.next_at();
            if next > end {
                self.now = end;
                return Ending::Completed;
            }
            if !self.step() {
                self.now = end;
                return Ending::Completed;
            }
            if self.now == instant {
                at_instant += 1;
                if at_instant > limits.events_at_one_instant {
                    return Ending::HotLoop;
                }
            } else {
                (instant, at_instant) = (self.now, 0);
            }
            if self.events > limits.events {
                return Ending::OutOfBudget;
            }
            if options.stop_at_violation && !self.invariants.violations().is_empty() {
                return Ending::Stopped;
            }
            if options.stop_on.is_some_and(|id| self.invariants.is_broken(id)) {
                return Ending::Stopped;
            }
        }
    }

    /// Lets the next event happen. False if there is none.
    pub fn step(&mut self) -> bool {
        let Some((at, scheduled)) = self.queue.pop() else { return false };
        debug_assert!(at >= self.now, "time runs backwards");
        self.now = at;
        self.events += 1;
        self.cause = scheduled.cause;
        match scheduled.event {
            Event::ClusterDue(site) => self.cluster_due(site),
            Event::GitHubDue => self.github_due(),
            Event::Leave(call) => self.leave(call),
            Event::Arrive(call) => match self.calls.get_mut(call).map(|c| matches!(c.body, super::Body::Kube(..))) {
                Some(true) => self.arrive_kube(call),
                Some(false) => self.arrive_service(call),
                None => {}
            },
            Event::Reply(call) => self.on_reply(call),
            Event::Deliver { watcher } => self.deliver(watcher as usize),
            Event::Wake(id) => self.wake(id),
            Event::NodeWork { pending } => self.node_work(pending),
            Event::Action(action) => self.begin_action(action),
            Event::ActionEnd(action) => self.end_action(action),
            Event::GiveUp(action) => {
                if self.faults.give_up(action) {
                    self.begin_action(action);
                }
            }
            Event::Fork(n) => {
                let plan = self.plan.clone();
                self.fork_to(&plan.forks[n as usize]);
            }
            Event::Deadline => self.on_deadline(),
            Event::CancelJob(job) => self.cancel_job(job),
            Event::WrongJob { job, action } => self.wrong_job(job, action),
            Event::NodeStep { action, gone } => self.node_step(action, gone),
            Event::Release { site, fault } => self.release_pod(site, fault),
            Event::CutExec { proc, action } => self.cut_idle_stream(proc, action),
            Event::Thaw(id) => self.run_doomed(id),
        }
        true
    }

    fn cluster_due(&mut self, site: SiteId) {
        let (now, cause) = (self.now, self.cause);
        let place = &mut self.sites[site.0 as usize];
        if !place.due.rings(now, &mut self.queue) {
            return;
        }
        if place.frozen_until > now {
            let event = super::Scheduled { event: Event::ClusterDue(site), cause };
            return place.due.set(place.frozen_until, event, &mut self.queue);
        }
        self.site_mut(site).cluster.advance(now);
        self.notice(site);
    }

    /// Queues the plan's forks: each comes before everything else of its instant.
    pub(crate) fn queue_forks(&mut self) {
        let plan = self.plan.clone();
        for (n, fork) in plan.forks.iter().enumerate() {
            let event = super::Scheduled { event: Event::Fork(n as u32), cause: 0 };
            self.queue.push_first(fork.at.from_start(), event);
        }
    }

    /// Queues the plan's timed actions.
    pub(crate) fn queue_actions(&mut self) {
        let plan = self.plan.clone();
        for (n, action) in plan.actions.iter().enumerate() {
            let (at, event) = match &action.when {
                When::At(at) => (*at, Event::Action(n as u32)),
                When::Event(trigger) => match trigger.at_latest {
                    Some(at) => (at, Event::GiveUp(n as u32)),
                    None => continue,
                },
            };
            self.queue.push_first(at.from_start(), super::Scheduled { event, cause: 0 });
        }
    }

    /// An action of the plan begins.
    pub(crate) fn begin_action(&mut self, n: u32) {
        let plan = self.plan.clone();
        let action = &plan.actions[n as usize];
        let lasts = |default: Duration| action.lasts.map_or(default, |d| d.0);
        match &action.what {
            Action::Job(job) => {
                self.faults.hit(n);
                self.queue_job(n, job);
            }
            Action::Cancel(cancel) => {
                self.faults.hit(n);
                self.cancel_jobs(cancel);
            }
            Action::Operator(operator) => self.begin_operator(n, operator),
            Action::Fault(fault) => {
                self.begin_fault(n, fault);
                let rest = plan.run_for.from_start().since(self.now);
                let end = self.now.after(lasts(rest));
                self.schedule_first(end, Event::ActionEnd(n));
            }
            Action::Mark(text) => {
                self.faults.hit(n);
                self.observe_reported();
                let (id, did) = (action.id.clone(), text.clone());
                self.note(crate::trace::Actor(0), Digest::of(13).with(u64::from(n)), || What::Operator { id, did });
            }
        }
        self.faults.note_begun(n);
        self.begun_triggers(&action.id);
    }

    fn end_action(&mut self, n: u32) {
        let plan = self.plan.clone();
        if let Action::Fault(_) = &plan.actions[n as usize].what {
            self.end_fault(n);
        }
    }

    fn on_deadline(&mut self) {
        if self.deadline > self.now {
            return;
        }
        self.deadline = Time::NEVER;
        self.check_overdue();
        self.rearm_deadline();
    }

    /// Queues the next deadline of the invariants, if it comes before the queued one.
    pub(crate) fn rearm_deadline(&mut self) {
        let next = self.invariants.bounds.next();
        if next < self.deadline {
            self.deadline = next;
            let at = next.max(self.now);
            self.schedule_first(at, Event::Deadline);
        }
    }
}

impl World {
    /// Looks at the end state and makes the report.
    pub fn finish(mut self, ending: Ending) -> RunReport {
        let (now, cause) = (self.now, self.cause);
        if self.metrics.reported.is_none() {
            self.observe_reported();
        }
        if ending == Ending::HotLoop {
            let said = "events follow each other without time passing".into();
            self.violation("restarts-are-bounded", "world", now, cause, &"world".into(), said);
        }
        if ending == Ending::Completed {
            self.check_end();
        }
        let pending = self.invariants.bounds.pending();
        let pending = pending
            .into_iter()
            // A poll that is open is nothing bad.
            .filter(|(c, ..)| !matches!(c, Check::Polling(_)))
            .map(|(c, since, about, said)| arc_api::format_smolstr!("{}: {about} {said} (since {since})", c.rule().0))
            .collect();
        let mut figures = self.metrics.figures(now);
        figures.insert("violations", self.invariants.broken() as i64);
        RunReport {
            ending,
            violations: self.invariants.violations().to_vec(),
            evaluated: self.invariants.evaluated(),
            figures,
            error_lines: self.metrics.error_lines.clone(),
            hits: self.faults.hits().to_vec(),
            marks: self.marks,
            ended_at: self.now,
            events: self.events,
            fingerprint: self.trace.fingerprint(),
            pending,
            trace: self.trace,
        }
    }

    /// What must hold at the end, if the world was left alone long enough.
    fn check_end(&mut self) {
        let (now, cause) = (self.now, self.cause);
        let calm = self.invariants.bounds.calm_since();
        if calm == Time::NEVER || now.since(calm) < Duration::from_secs(300) {
            return;
        }
        self.invariants.looked("nothing-orphaned");
        let mut left = Vec::new();
        for n in 0..self.sites.len() {
            left.extend(crate::invariant::orphans(SiteId(n as u8), &self.sites[n].cluster, &self.invariants));
        }
        let clusters: Vec<_> = self.sites.iter().map(|s| &s.cluster).collect();
        left.extend(crate::invariant::service_orphans(&self.github, &clusters, &self.invariants));
        for orphan in left {
            self.violation("nothing-orphaned", "end", now, cause, &orphan.about, orphan.said);
        }
        self.invariants.looked("world-converges");
        // An idle runner is not to be had while jobs wait for one, nor at once after the last.
        let lately = |(at, _): (Time, _)| now.since(at) < Duration::from_secs(300);
        let waiting = self.metrics.jobs.values().any(|j| j.ended.is_none_or(lately));
        let working = self.metrics.jobs.values().any(|j| j.started.is_some() && j.ended.is_none());
        let last_end = self.metrics.jobs.values().filter_map(|j| j.ended).map(|(at, _)| at).max().unwrap_or(Time::ZERO);
        let quiet_from = Time(now.0.saturating_sub(crate::chaos::settle::QUIET.as_micros()));
        // What a job leaves behind is cleared away after it; a quiet window that began before that proves nothing.
        if !working
            && calm.after(Duration::from_secs(600)) <= quiet_from
            && last_end.after(Duration::from_secs(60)) <= quiet_from
            && let Some(latest) = self.invariants.ledger.writes.go_on_since(quiet_from)
        {
            let said = arc_api::format_smolstr!("controllers keep writing, the latest: {latest}");
            self.violation("world-converges", "controller", now, cause, &"world".into(), said);
        }
        let old = now.0.saturating_sub(Duration::from_secs(60).as_micros() as u64);
        let wrong: Vec<_> = self
            .invariants
            .bounds
            .pending()
            .iter()
            .filter(|(c, since, ..)| {
                since.0 <= old
                    && !working
                    && match c {
                        Check::Polling(_) | Check::Surplus(_) | Check::Finished(_) | Check::Isolated(..) => false,
                        Check::MinRunners(_) => !waiting,
                        // The queue may be longer than the time that was given.
                        Check::JobRunner(_) => now.since(*since) >= Duration::from_secs(300),
                        _ => true,
                    }
                    && self.good_until(c).is_none_or(|until| until.0 <= old)
            })
            .map(|(c, since, about, said)| {
                ((*about).clone(), arc_api::format_smolstr!("{}: {said} (since {since})", c.rule().0))
            })
            .collect();
        for (about, said) in wrong {
            self.violation("world-converges", "end", now, cause, &about, said);
        }
    }
}
