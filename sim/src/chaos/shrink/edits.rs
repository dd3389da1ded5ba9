//! Simplifies the single actions of a failing plan: earlier and rounder times, shorter lengths, fewer parameters, smaller
//! numbers. Knows no action by name: an edit that makes no action is not tried.

use serde_json::Value;

use super::Shrinker;
use crate::plan::{Action, Between, Delay, Dur, JobSpec, Plan, Ratio, When};

impl Shrinker<'_> {
    pub(super) fn edits(&mut self) {
        self.all_jobs();
        for n in 0..self.best.actions.len() {
            self.times(n);
            self.trigger(n);
            self.parameters(n);
        }
    }

    /// The same edit for every job: one at a time would be many executions.
    fn all_jobs(&mut self) {
        self.attempt(|p| {
            jobs(p).for_each(|(_, job)| *job = JobSpec { duration: job.duration, ..JobSpec::default() });
        });
        for duration in [Dur::secs(1), Dur::secs(10), Dur::secs(60)] {
            let longer = jobs(&mut self.best.clone()).any(|(_, job)| weight(job.duration) > weight(duration));
            if longer && self.attempt(|p| jobs(p).for_each(|(_, job)| job.duration = job.duration.min(duration))) {
                break;
            }
        }
        let mut times: Vec<Dur> = jobs(&mut self.best.clone()).filter_map(|(when, _)| when.at()).collect();
        times.sort();
        for moved in [Some(Dur::ZERO), times.first().copied()].into_iter().flatten() {
            let all = |p: &mut Plan| {
                for (when, _) in jobs(p) {
                    if matches!(when, When::At(_)) {
                        *when = When::At(moved);
                    }
                }
            };
            if self.attempt(all) {
                break;
            }
        }
    }

    fn times(&mut self, n: usize) {
        if let When::At(at) = self.best.actions[n].when {
            let early = [0, 10, 30, 60, 120].map(Dur::secs).into_iter().filter(|early| *early < at);
            for round in early.chain(rounder(at)) {
                if self.attempt(|p| p.actions[n].when = When::At(round)) {
                    break;
                }
            }
        }
        if let Some(lasts) = self.best.actions[n].lasts {
            for shorter in [1, 5, 10, 20, 30, 60, 120].map(Dur::secs).into_iter().chain(rounder(lasts)) {
                if weight(shorter) < weight(lasts) && self.attempt(|p| p.actions[n].lasts = Some(shorter)) {
                    break;
                }
            }
        }
        if let Action::Job(job) = &self.best.actions[n].what {
            for round in rounder(job.job.duration) {
                let set = |p: &mut Plan| {
                    if let Action::Job(job) = &mut p.actions[n].what {
                        job.job.duration = round;
                    }
                };
                if self.attempt(set) {
                    break;
                }
            }
        }
    }

    fn trigger(&mut self, n: usize) {
        let When::Event(trigger) = self.best.actions[n].when.clone() else { return };
        let edit = |s: &mut Self, change: &dyn Fn(&mut crate::plan::Trigger)| {
            s.attempt(|p| {
                if let When::Event(t) = &mut p.actions[n].when {
                    change(t);
                }
            })
        };
        edit(self, &|t| t.at_latest = None);
        edit(self, &|t| t.not_before = None);
        for fewer in [1, trigger.occurrence / 4, trigger.occurrence / 2, trigger.occurrence.saturating_sub(1)] {
            if fewer > 0 && fewer < trigger.occurrence && edit(self, &|t| t.occurrence = fewer) {
                break;
            }
        }
    }

    /// Every parameter of what an action does, by what it looks like.
    fn parameters(&mut self, n: usize) {
        if matches!(self.best.actions[n].what, Action::Job(_)) {
            return;
        }
        let Ok(what) = serde_json::to_value(&self.best.actions[n].what) else { return };
        let mut paths = Vec::new();
        leaves(&what, 0, String::new(), &mut paths);
        for path in paths {
            if !HEALS.iter().any(|name| path.ends_with(name)) {
                self.try_at(n, &path, Edit::Remove);
            }
            let Ok(now) = serde_json::to_value(&self.best.actions[n].what) else { return };
            let Some(value) = now.pointer(&path) else { continue };
            for simpler in simpler(value) {
                if self.try_at(n, &path, Edit::Set(simpler)) {
                    break;
                }
            }
        }
    }

    fn try_at(&mut self, n: usize, path: &str, edit: Edit) -> bool {
        let Ok(mut what) = serde_json::to_value(&self.best.actions[n].what) else { return false };
        let Some((parent, key)) = path.rsplit_once('/') else { return false };
        match (what.pointer_mut(parent), edit) {
            (Some(Value::Object(map)), Edit::Remove) => drop(map.remove(key)),
            (Some(Value::Object(map)), Edit::Set(value)) => drop(map.insert(key.to_owned(), value)),
            _ => return false,
        }
        match serde_json::from_value::<Action>(what) {
            Ok(what) => self.attempt(|p| p.actions[n].what = what),
            Err(_) => false,
        }
    }
}

/// Parameters by which an operator takes back what it did: without them a plan is not smaller but harder.
const HEALS: [&str; 2] = ["/recreate_after", "/uncordon_after"];

enum Edit {
    Remove,
    Set(Value),
}

/// Parameters and groups of parameters below `{fault: {gh_error: {…}}}`.
fn leaves(value: &Value, depth: usize, path: String, out: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, value) in map {
            let path = format!("{path}/{key}");
            if depth >= 2 {
                out.push(path.clone());
            }
            leaves(value, depth + 1, path, out);
        }
    }
}

/// Simpler values of the same form, the simplest first.
fn simpler(value: &Value) -> Vec<Value> {
    match value {
        Value::Bool(true) => vec![Value::Bool(false)],
        Value::Number(n) => {
            let Some(n) = n.as_u64().filter(|n| *n > 1 && *n < 400) else { return Vec::new() };
            [1, n / 4, n / 2, n - 1].into_iter().filter(|m| *m > 0 && *m < n).map(Value::from).collect()
        }
        Value::String(text) => {
            if text.contains('/')
                && let Ok(ratio) = text.parse::<Ratio>()
            {
                return if ratio.is_one() { Vec::new() } else { vec![Ratio::ONE.to_string().into()] };
            }
            let Ok(delay) = text.parse::<Delay>() else { return Vec::new() };
            let Delay { body: Between { from, to }, tail } = delay;
            let mut out = Vec::new();
            if tail.is_some() || from != to {
                out.extend([to, from].map(|d| Delay::fixed(d).to_string()));
            }
            out.extend(rounder(from).into_iter().map(|d| d.to_string()));
            out.into_iter().filter(|t| t != text).map(Value::from).collect()
        }
        _ => Vec::new(),
    }
}

/// How hard a time is to read: no edit makes one heavier, so that edits come to an end.
fn weight(time: Dur) -> (usize, u64) {
    let us = time.as_micros();
    let rough = UNITS.iter().position(|unit| us.is_multiple_of(*unit)).unwrap_or(UNITS.len());
    (if us == 0 { 0 } else { rough + 1 }, us)
}

/// Units of times that people like, the roundest first, in microseconds.
const UNITS: [u64; 8] = [60_000_000, 30_000_000, 10_000_000, 5_000_000, 1_000_000, 100_000, 10_000, 1_000];

/// Rounder times near one, the roundest first; never the same, never something quite different.
fn rounder(at: Dur) -> Vec<Dur> {
    let us = at.as_micros();
    let mut out: Vec<Dur> = Vec::new();
    for unit in UNITS {
        for round in [us - us % unit, us - us % unit + unit] {
            let round = Dur::micros(round);
            if weight(round) < weight(at) && round.as_micros().abs_diff(us) <= us / 2 && !out.contains(&round) {
                out.push(round);
            }
        }
    }
    out.truncate(8);
    out
}

fn jobs(plan: &mut Plan) -> impl Iterator<Item = (&mut When, &mut JobSpec)> {
    plan.actions.iter_mut().filter_map(|a| match &mut a.what {
        Action::Job(job) => Some((&mut a.when, &mut job.job)),
        _ => None,
    })
}
