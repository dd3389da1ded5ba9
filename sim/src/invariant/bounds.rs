//! Clocks of bad conditions: what is bad, since when, and when that has lasted too long.
//!
//! A bound runs from the later of "since bad" and "since the world was left alone" (no fault active, no operator at work).
//! Bounds are virtual time; the defaults are computed from ARC's own waits (see [`super::CATALOGUE`]).

use std::collections::BTreeMap;

use arc_api::{Duration, JobId, Str, Time, Uid};

use super::ledger::SetKey;

/// A condition that may be bad for a while.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Check {
    /// A counted runner without a usable pod.
    RunnerServes(Uid),
    /// More runners than allowed.
    OverMax(SetKey),
    /// A job that waits for a runner.
    JobRunner(JobId),
    /// A set without a polling listener.
    Polling(SetKey),
    /// An object that is being deleted.
    Deleting(Uid),
    /// A pod that does not start, or a listener that does not stay up, unseen.
    Visible(Uid),
    /// Jobs of a set that fail one after another for this lack of their runners, unseen.
    JobsFail(SetKey, &'static str),
    /// A set with fewer idle runners than asked for.
    MinRunners(SetKey),
    /// A registration without its EphemeralRunner, or the second one.
    Registration(i64),
    /// A runner set whose counters are wrong.
    Counters(Uid),
    /// A set whose own counter is another than that of its runner set.
    Reported(SetKey),
    /// A set with two live runner sets or listeners.
    Duplicate(SetKey),
    /// A reference to something that is gone or going.
    Reference(Uid),
    /// More idle runners than asked for.
    Surplus(SetKey),
    /// A runner that has done its work and is still there.
    Finished(Uid),
    /// A runner set that was asked for more runners and makes none.
    Applied(Uid),
    /// A job that waits for a runner while at most other scale sets are disturbed.
    Isolated(SetKey, JobId),
}

impl Check {
    /// The promise it belongs to and the bound.
    pub fn rule(&self) -> (&'static str, Duration) {
        let minutes = |m: u64| Duration::from_secs(60 * m);
        match self {
            Check::RunnerServes(_) => ("reported-runners-can-serve", minutes(3)),
            Check::OverMax(_) => ("max-runners-respected", Duration::from_secs(10)),
            Check::JobRunner(_) => ("job-gets-runner", minutes(5)),
            Check::Polling(_) => ("listener-is-polling", minutes(3)),
            Check::Deleting(_) => ("deletion-finishes", minutes(5)),
            Check::Visible(_) | Check::JobsFail(..) => ("failure-is-visible", minutes(10)),
            Check::MinRunners(_) => ("min-runners-kept", minutes(5)),
            Check::Registration(_) => ("one-registration-per-runner", minutes(2)),
            // A dead connection is noticed after 45 s, a list that was refused is tried again after up to 30.
            Check::Counters(_) => ("counters-true", Duration::from_secs(90)),
            Check::Reported(_) => ("counters-true", minutes(2)),
            Check::Duplicate(_) => ("one-runner-set", minutes(1)),
            Check::Reference(_) => ("references-resolve", minutes(2)),
            Check::Surplus(_) | Check::Finished(_) => ("surplus-disappears", minutes(10)),
            Check::Applied(_) => ("spec-takes-effect", Duration::from_secs(20)),
            Check::Isolated(..) => ("tenants-isolated", minutes(10)),
        }
    }
    /// Whose failure it is.
    pub fn component(&self) -> &'static str {
        match self {
            Check::RunnerServes(_)
            | Check::Registration(_)
            | Check::Visible(_)
            | Check::JobsFail(..)
            | Check::Finished(_)
            | Check::Reference(_) => "runner",
            Check::Applied(_) | Check::OverMax(_) | Check::MinRunners(_) | Check::Counters(_) | Check::Surplus(_) => {
                "runner-set"
            }
            Check::JobRunner(_) | Check::Isolated(..) => "job",
            Check::Polling(_) => "listener",
            Check::Deleting(_) => "deletion",
            Check::Duplicate(_) | Check::Reported(_) => "set",
        }
    }
}

#[derive(Clone, Debug)]
struct Bad {
    since: Time,
    about: Str,
    said: Str,
}

/// How many disturb something, and since when nobody does.
#[derive(Clone, Copy, Debug, Default)]
struct Calm {
    busy: u32,
    since: Time,
}

impl Calm {
    fn end(&mut self, now: Time) {
        self.busy = self.busy.saturating_sub(1);
        self.since = self.since.max(now);
    }
    fn since(self) -> Time {
        if self.busy > 0 { Time::NEVER } else { self.since }
    }
}

/// All running clocks.
#[derive(Clone, Debug, Default)]
pub struct Bounds {
    bad: BTreeMap<Check, Bad>,
    /// Whoever disturbs anything at all.
    world: Calm,
    /// Whoever disturbs more than one scale set.
    shared: Calm,
    /// Whoever disturbs one scale set only.
    confined: BTreeMap<SetKey, Calm>,
    scale: u32,
    /// How much longer than usual the service keeps a session that nobody holds.
    sessions_stay: Duration,
    /// The earliest due time among clocks that started since somebody last asked.
    fresh: Option<Time>,
}

impl Bounds {
    /// Clocks whose bounds are stretched to `percent` of the defaults (100: as they are). Where sessions live longer than usual by
    /// `sessions_stay`, a listener has as much longer to get one.
    pub fn new(percent: u32, sessions_stay: Duration) -> Bounds {
        Bounds { scale: percent.max(1), sessions_stay, ..Bounds::default() }
    }
    /// A fault begins or an operator sets to work; `only` if one scale set alone can feel it.
    pub fn disturb(&mut self, only: Option<SetKey>) {
        self.world.busy += 1;
        self.place(only).busy += 1;
    }
    /// It ends.
    pub fn calm(&mut self, now: Time, only: Option<SetKey>) {
        self.world.end(now);
        self.place(only).end(now);
    }
    /// Something that a fault had held up takes effect, now or later: only then the world is left alone.
    pub fn echo(&mut self, now: Time, only: Option<SetKey>) {
        self.world.since = self.world.since.max(now);
        let place = self.place(only);
        place.since = place.since.max(now);
    }
    fn place(&mut self, only: Option<SetKey>) -> &mut Calm {
        match only {
            Some(set) => self.confined.entry(set).or_default(),
            None => &mut self.shared,
        }
    }
    /// Since when nothing has disturbed the world; `NEVER` while something does.
    pub fn calm_since(&self) -> Time {
        self.world.since()
    }
    /// The same of one scale set: what is confined to others does not count.
    fn calm_for(&self, set: &SetKey) -> Time {
        self.shared.since().max(self.confined.get(set).map_or(Time::ZERO, |own| own.since()))
    }
    /// Whether another scale set is being disturbed, or was, by what is confined to it.
    pub fn others_are_disturbed(&self, set: &SetKey) -> bool {
        self.confined.keys().any(|other| other != set)
    }
    /// Sets whether a condition is bad. `about` and `said` are asked only when it turns bad.
    pub fn set(&mut self, check: Check, bad: bool, now: Time, about: impl FnOnce() -> Str, said: impl FnOnce() -> Str) {
        if !bad {
            self.clear(&check);
        } else if !self.bad.contains_key(&check) {
            self.start(check, Bad { since: now, about: about(), said: said() });
        }
    }
    /// A condition is not bad any more.
    pub fn clear(&mut self, check: &Check) {
        // Nearly always nothing is bad at all.
        if !self.bad.is_empty() {
            self.bad.remove(check);
        }
    }
    /// Starts a condition's clock again. `about` is asked only if what is said of it is new.
    pub fn restart(&mut self, check: Check, now: Time, about: impl FnOnce() -> Str, said: impl FnOnce() -> Str) {
        let said = said();
        let about = match self.bad.get_mut(&check) {
            Some(bad) if bad.said == said => std::mem::take(&mut bad.about),
            _ => about(),
        };
        self.start(check, Bad { since: now, about, said });
    }
    fn start(&mut self, check: Check, bad: Bad) {
        let due = self.due_at(&check, &bad);
        self.fresh = Some(self.fresh.map_or(due, |f| f.min(due)));
        self.bad.insert(check, bad);
    }
    /// Whether a condition is bad now.
    pub fn is_bad(&self, check: &Check) -> bool {
        self.bad.contains_key(check)
    }
    fn due_at(&self, check: &Check, bad: &Bad) -> Time {
        let calm = match check {
            Check::Isolated(set, _) => self.calm_for(set),
            _ => self.calm_since(),
        };
        if calm == Time::NEVER {
            return Time::NEVER;
        }
        let (_, bound) = check.rule();
        let longer = if matches!(check, Check::Polling(_)) { self.sessions_stay } else { Duration::ZERO };
        bad.since.max(calm).after(bound * self.scale / 100).after(longer)
    }
    /// The earliest due time of clocks started since the last call.
    pub fn take_fresh(&mut self) -> Option<Time> {
        self.fresh.take()
    }
    /// When the next clock runs out, if nothing changes.
    pub fn next(&self) -> Time {
        self.bad.iter().map(|(c, b)| self.due_at(c, b)).min().unwrap_or(Time::NEVER)
    }
    /// Takes the conditions that have been bad for too long.
    pub fn overdue(&mut self, now: Time) -> Vec<(Check, Time, Str, Str)> {
        let due: Vec<_> = self.bad.iter().filter(|(c, b)| self.due_at(c, b) <= now).map(|(c, _)| c.clone()).collect();
        due.into_iter().filter_map(|c| self.bad.remove(&c).map(|b| (c, b.since, b.about, b.said))).collect()
    }
    /// Everything that is bad now, oldest first: what a failure to settle is made of.
    pub fn pending(&self) -> Vec<(&Check, Time, &Str, &Str)> {
        let mut all: Vec<_> = self.bad.iter().map(|(c, b)| (c, b.since, &b.about, &b.said)).collect();
        all.sort_by_key(|(_, since, ..)| *since);
        all
    }
}

#[cfg(test)]
mod tests {
    use arc_api::meta::Key;

    use super::*;
    use crate::world::SiteId;

    fn set(b: &mut Bounds, bad: bool, at: u64) {
        b.set(Check::JobRunner(JobId(1)), bad, Time::from_secs(at), || "job 1".into(), || "waits".into());
    }

    #[test]
    fn a_condition_is_overdue_exactly_at_its_bound() {
        let mut b = Bounds::new(100, Duration::ZERO);
        set(&mut b, true, 10);
        set(&mut b, true, 200);
        assert_eq!(b.next(), Time::from_secs(310));
        assert!(b.overdue(Time(Time::from_secs(310).0 - 1)).is_empty());
        assert_eq!(b.overdue(Time::from_secs(310)).len(), 1);
    }

    #[test]
    fn turning_good_stops_the_clock() {
        let mut b = Bounds::new(100, Duration::ZERO);
        set(&mut b, true, 10);
        set(&mut b, false, 100);
        set(&mut b, true, 200);
        assert_eq!(b.next(), Time::from_secs(500));
    }

    #[test]
    fn bounds_count_from_when_the_world_was_left_alone() {
        let mut b = Bounds::new(100, Duration::ZERO);
        set(&mut b, true, 10);
        b.disturb(None);
        assert_eq!(b.next(), Time::NEVER);
        b.calm(Time::from_secs(1000), None);
        assert_eq!(b.next(), Time::from_secs(1300));
    }

    #[test]
    fn what_is_confined_to_another_set_does_not_stop_a_sets_own_clock() {
        let of = |name: &str| (SiteId(0), Key::new("n", name));
        let mut b = Bounds::new(100, Duration::ZERO);
        b.set(Check::Isolated(of("a"), JobId(1)), true, Time::from_secs(10), || "job 1".into(), || "waits".into());
        b.disturb(Some(of("b")));
        assert_eq!(b.calm_since(), Time::NEVER);
        assert_eq!(b.next(), Time::from_secs(610));
        assert!(b.others_are_disturbed(&of("a")) && !b.others_are_disturbed(&of("b")));
        b.echo(Time::from_secs(100), Some(of("b")));
        b.calm(Time::from_secs(200), Some(of("b")));
        assert_eq!((b.next(), b.calm_since()), (Time::from_secs(610), Time::from_secs(200)));
        b.disturb(Some(of("a")));
        assert_eq!(b.next(), Time::NEVER);
        b.calm(Time::from_secs(300), Some(of("a")));
        assert_eq!(b.next(), Time::from_secs(900));
        b.disturb(None);
        assert_eq!(b.next(), Time::NEVER);
    }
}
