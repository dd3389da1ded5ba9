//! What the observers remember of the true world: sets, runner sets, runners, jobs; updated event by event, never recounted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use arc_api::crd::{AutoscalingListener, AutoscalingRunnerSet, EphemeralRunner, EphemeralRunnerSet};
use arc_api::kube::KubeRequest;
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Duration, JobId, Kind, MessageId, Object, RunnerId, ScaleSetId, Str, Time, Token, Uid};

use crate::world::SiteId;

/// A scale set of a cluster: the AutoscalingRunnerSet's place, whether it exists or not.
pub type SetKey = (SiteId, Key);
/// An object of a cluster.
pub type SiteKey = (SiteId, Key);

/// What the user wants of a set, and what there is of it.
#[derive(Clone, Debug, Default)]
pub struct SetState {
    /// Whether its AutoscalingRunnerSet was ever seen.
    pub existed: bool,
    /// Installed by Helm and not uninstalled: it shall exist.
    pub wanted: bool,
    /// When its user last asked for it to go.
    pub unwanted_at: Option<Time>,
    /// The objects whose deletion the user asked for, even if the user has changed his mind since.
    pub asked: BTreeSet<Uid>,
    /// minRunners as installed.
    pub min: i32,
    /// maxRunners as installed.
    pub max: i32,
    /// The object.
    pub ars: Option<Arc<AutoscalingRunnerSet>>,
    /// Its runner sets by name.
    pub runner_sets: BTreeSet<Str>,
    /// Its listeners by place.
    pub listeners: BTreeSet<Key>,
    /// Live runners: not deleting, not done, of runner sets that are not being deleted.
    pub live: i32,
    /// Registrations that are online and free.
    pub idle: i32,
    /// Registrations that work.
    pub busy: i32,
    /// Jobs of the set that wait for a runner.
    pub waiting: i32,
    /// Jobs of the set that a runner took and that are not over for the service, whatever became of the runner.
    pub running: i32,
    /// All its runners work, or did until then, or one took a job then: whoever waits, waits for them.
    pub full_at: Option<Time>,
    /// The same now.
    pub full: bool,
    /// When all its places were last taken, by runners that start as well.
    pub crowded_at: Option<Time>,
    /// A job of its runs, or ran until then, as far as the service knows: what is being deleted waits for it.
    pub worked_at: Option<Time>,
    /// The same now.
    pub works: bool,
    /// Its jobs run, or ran until then, and it has no listener: an eventual update waits for them.
    pub drained_at: Option<Time>,
    /// The same now.
    pub drains: bool,
    /// Runners that existed when maxRunners was lowered, and still do.
    pub leftover: i32,
    /// maxRunners of its live listener, 0 without one.
    pub listener_max: i32,
    /// When maxRunners was last lowered.
    pub lowered_at: Option<Time>,
    /// When a job of its was last withdrawn before a runner took it: what was made for it waits for nothing.
    pub withdrawn_at: Option<Time>,
    /// Its listener's pod waits for its image.
    pub starves: bool,
    /// It did until then, and the listener said that it does not start.
    pub starved_at: Option<Time>,
    /// The scale set that its listener listens to.
    pub listens_to: ScaleSetId,
    /// When listener processes started.
    pub listener_starts: VecDeque<Time>,
    /// How many of its jobs in a row failed for this lack.
    pub failing: BTreeMap<&'static str, u32>,
    /// What was bad when it was weighed last: limit, minimum, surplus, duplicates.
    pub bad: [bool; 4],
    /// When idle runners were removed although jobs waited for them.
    pub removed_wanted: VecDeque<Time>,
    /// When an API server last refused one of its runners' pods.
    pub pod_refused: Option<Time>,
}

/// The last writes of controllers that changed something: a world at rest has none.
#[derive(Clone, Debug, Default)]
pub struct Writes {
    last: VecDeque<Time>,
    latest: Option<(&'static str, Option<Kind>, Key)>,
}

impl Writes {
    /// How many are remembered.
    const KEPT: usize = 4;
    /// Adds one.
    pub fn add(&mut self, now: Time, request: &KubeRequest) {
        if self.last.len() == Writes::KEPT {
            self.last.pop_front();
        }
        self.last.push_back(now);
        self.latest = Some((request.verb(), request.kind(), request.key().unwrap_or_default()));
    }
    /// The latest, if there were several since: `patch EphemeralRunner arc-runners/x`.
    pub fn go_on_since(&self, since: Time) -> Option<Str> {
        let several = self.last.len() == Writes::KEPT && self.last.front().is_some_and(|first| *first > since);
        let (verb, kind, key) = self.latest.as_ref().filter(|_| several)?;
        Some(arc_api::format_smolstr!("{verb} {} {key}", kind.map_or("object", Kind::as_str)))
    }
}

/// A runner set.
#[derive(Clone, Debug)]
pub struct RunnerSetState {
    /// The object.
    pub object: Arc<EphemeralRunnerSet>,
    /// The set it belongs to.
    pub set: Option<SetKey>,
    /// Its runners by phase class: pending, running, failed; not deleting.
    pub pending: i32,
    /// Running.
    pub running: i32,
    /// Failed.
    pub failed: i32,
    /// Counted runners with a pod that exists and has not ended.
    pub usable: i32,
    /// When its spec was written last without asking for more.
    pub asked_at: Time,
    /// The jobs of its runners.
    pub work: Work,
}

/// Jobs that somebody took and that are not over for the service: what is being deleted waits for them.
#[derive(Clone, Debug, Default)]
pub struct Work {
    jobs: i32,
    last: Option<Time>,
}

impl Work {
    fn change(&mut self, by: i32, now: Time) {
        (self.jobs, self.last) = ((self.jobs + by).max(0), Some(now));
    }
    /// Until when there were any; until now if there are.
    pub fn until(&self, now: Time) -> Option<Time> {
        if self.jobs > 0 { Some(now) } else { self.last }
    }
}

/// A runner: object, pod and registration share its name.
#[derive(Clone, Debug, Default)]
pub struct RunnerState {
    /// The object.
    pub object: Option<Arc<EphemeralRunner>>,
    /// The pod.
    pub pod: Option<Arc<Pod>>,
    /// Registrations by id.
    pub registrations: BTreeSet<RunnerId>,
    /// When its pods were created.
    pub pods_made: VecDeque<Time>,
    /// How it is counted now: class, usable.
    pub counted: Option<(Class, bool)>,
    /// Runner set it is counted in.
    pub runner_set: Option<SiteKey>,
    /// Whether it counts as live in its set.
    pub live_in: Option<SetKey>,
    /// Its job.
    pub work: Work,
    /// Whether it ever had one.
    pub took_job: bool,
    /// The registration of its that a controller removed last while it was to live.
    pub robbed: Option<RunnerId>,
    /// Whether the service let its registration be removed during its job by mistake: nothing of its can be kept any more.
    pub mistaken: bool,
    /// Whether a request of a manager that is gone made its secret: it may name what a successor has removed since.
    pub late_secret: bool,
    /// Whether its success without one has been told.
    pub told: bool,
    /// When its pod failed, if no other one was made since.
    pub failed_at: Option<Time>,
    /// Whether a controller deleted a pod of its, if no other one was made since.
    pub pod_removed: bool,
}

/// Class of a runner in its set's counters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Pending, empty or unknown phase.
    Pending,
    /// Running.
    Running,
    /// Failed.
    Failed,
}

/// A registration as the service sees it.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Runner name.
    pub name: Str,
    /// Online and free, online and busy, or offline.
    pub state: Online,
    /// The set whose counters it is in.
    pub set: Option<SetKey>,
}

/// Connection state of a registration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Online {
    /// Registered only.
    Offline,
    /// Free.
    Idle,
    /// Working.
    Busy,
}

/// A job.
#[derive(Clone, Debug, Default)]
pub struct JobState {
    /// When it was queued.
    pub queued: Time,
    /// When a runner took it.
    pub started: Option<Time>,
    /// When and how it ended.
    pub ended: Option<Time>,
    /// Its set, once known.
    pub set: Option<SetKey>,
    /// Whether it was assigned before, and has not run since.
    pub assigned: bool,
    /// When a message about it first reached a listener.
    pub told: Option<Time>,
    /// When a listener was first told which runner has it.
    pub named: Option<Time>,
    /// The runner that took it, and that runner's runner set.
    pub taken_by: Option<(SiteKey, Option<SiteKey>)>,
}

/// Who used a JIT configuration.
#[derive(Clone, Debug)]
pub struct JitUse {
    /// The first pod that presented it.
    pub pod: Uid,
    /// Whether its registration took a job.
    pub took_job: bool,
}

/// Everything the observers remember.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// The last writes of controllers.
    pub writes: Writes,
    /// Sets.
    pub sets: BTreeMap<SetKey, SetState>,
    /// Runner sets.
    pub runner_sets: BTreeMap<SiteKey, RunnerSetState>,
    /// Listeners.
    pub listeners: BTreeMap<SiteKey, Arc<AutoscalingListener>>,
    /// Runners by place.
    pub runners: BTreeMap<SiteKey, RunnerState>,
    /// Place of a runner by its name; names are generated and unique.
    pub by_name: BTreeMap<Str, SiteKey>,
    /// When a manager that takes part in no election last started beside another one.
    pub overlaps: BTreeMap<SiteId, Time>,
    /// Pods of others than runners that a controller deleted and that are still there.
    pub pods_removed: BTreeSet<SiteKey>,
    /// Whether the service takes busy runners for idle in the call at hand (a fault).
    pub mistakes_busy: bool,
    /// Registrations.
    pub registrations: BTreeMap<RunnerId, Registration>,
    /// Registrations made of a request that its caller had given up or that came twice, for a runner that had none yet. It may
    /// find this one by its name, or be told of another one.
    pub echoes: Vec<(Str, RunnerId)>,
    /// Registrations made of a request that its caller had given up, for a runner that no longer wanted one.
    pub unheard: BTreeSet<RunnerId>,
    /// Scale sets made of a request that its caller had given up, when no set wanted them any more.
    pub unheard_sets: BTreeSet<ScaleSetId>,
    /// Scale sets of the service by id.
    pub scale_sets: BTreeMap<ScaleSetId, SetKey>,
    /// Jobs.
    pub jobs: BTreeMap<JobId, JobState>,
    /// JIT configurations that were presented.
    pub jits: BTreeMap<Token, JitUse>,
    /// Refusals and no-op writes by caller and object, for hot loops.
    pub repeats: BTreeMap<(u32, Key, u8), VecDeque<Time>>,
    /// When anything was last written by a controller.
    pub last_write: Time,
    /// Until when a manager may be starting, or coming round after what was done to it.
    pub manager_recovers: Time,
    /// Faults that meet managers now.
    pub hindrances: u32,
    /// Until when a pass may be waiting because the service said so (`Retry-After`), or does not answer at all.
    pub told_to_wait: Time,
    /// Messages whose deletion the service answered as if they were gone.
    pub denied: BTreeSet<(ScaleSetId, MessageId)>,
    /// When an account, role or binding of a namespace was last taken away for good.
    pub identity_gone: BTreeMap<(SiteId, Str), Time>,
    /// Sessions that exist, by scale set.
    pub sessions: BTreeMap<ScaleSetId, Str>,
}

impl SetState {
    /// Whether the user asked for the deletion of the object there is now; if there is none, whether he wants none.
    pub fn may_go(&self) -> bool {
        self.ars.as_ref().map_or(!self.wanted, |a| self.asked.contains(&a.metadata.uid))
    }
}

impl SetState {
    /// Its limits change.
    pub fn limit(&mut self, min: i32, max: i32, now: Time) {
        if max < self.max {
            self.leftover = self.leftover.max(self.live);
            self.lowered_at = Some(now);
        }
        (self.min, self.max) = (min, max);
    }
    /// The most live runners it may have: the limit is for making runners, those that exist go as surplus.
    pub fn most(&self) -> i32 {
        self.max.max(self.leftover)
    }
    /// It may not make another runner: all work, or count as working at the service.
    pub fn is_full(&self) -> bool {
        self.busy.max(self.running) >= self.max
    }
    /// A job found a runner while there may be no more of them: those that wait have got one place ahead, also if no runner
    /// works yet or any more because each takes longer to start than a job takes.
    pub fn turn_taken(&mut self, now: Time) {
        // A place that a job left is given to the next one when the listener has been told.
        if self.is_crowded() || self.crowded_at.is_some_and(|at| now.since(at) <= Duration::from_secs(30)) {
            self.full_at = Some(now);
        }
    }
    /// Its listener's pod waits for its image or does not, and the listener says that it does not start or says nothing.
    pub fn starve(&mut self, starves: bool, says: bool, now: Time) {
        if self.starves && !starves && says {
            self.starved_at = Some(now);
        }
        self.starves = starves;
    }
    /// Runners, or the jobs that have been given out, take all its places.
    fn is_crowded(&self) -> bool {
        self.live.max(self.waiting + self.running) >= self.max
    }
    /// What follows from its counters; `pass` is how long a pass may take that began before the limit was lowered.
    pub fn settle(&mut self, now: Time, pass: Duration) {
        if self.is_crowded() {
            self.crowded_at = Some(now);
        }
        let since = self.lowered_at.map_or(Duration::MAX, |at| now.since(at));
        // A listener with the old limit goes on asking until it is replaced.
        let asked = self.listener_max > self.max && since <= Duration::from_secs(60);
        let lowered = asked || since <= pass;
        self.leftover = if lowered { self.leftover.max(self.live) } else { self.leftover.min(self.live) };
        let full = self.is_full();
        if full || self.full {
            self.full_at = Some(now);
        }
        self.full = full;
        let works = self.busy > 0 || self.running > 0;
        if works || self.works {
            self.worked_at = Some(now);
        }
        self.works = works;
        let drains = works && self.listeners.is_empty();
        if drains || self.drains {
            self.drained_at = Some(now);
        }
        self.drains = drains;
    }
}

impl Ledger {
    /// Whether a protected object was made for a set of which there was never an AutoscalingRunnerSet: the chart puts the
    /// finalizers on first, and an installation that fails in between leaves them to nobody.
    pub fn is_left_by_helm(&self, site: SiteId, object: &Object) -> bool {
        let meta = object.meta();
        meta.label("actions.github.com/scale-set-name").is_some_and(|name| {
            let set = (site, Key::new(meta.namespace.clone(), name.clone()));
            self.sets.get(&set).is_none_or(|s| !s.existed)
        })
    }
    /// Whether the service has called the job over.
    pub fn is_over(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|j| j.ended.is_some())
    }
    /// Whether a listener has told of a job of the runner of this name, long enough ago for a pass that was under way to have
    /// ended, and its pod is there.
    pub fn is_known_busy(&self, name: &Str, now: Time) -> bool {
        let Some(runner) = self.by_name.get(name).and_then(|place| self.runners.get(place)) else { return false };
        let Some(status) = runner.object.as_ref().map(|r| &r.status).filter(|s| s.has_job_id()) else { return false };
        let told = status.job.as_ref().and_then(|j| self.jobs.get(&j.job_id?)).and_then(|j| j.named);
        runner.pod.is_some() && told.is_none_or(|at| now.since(at) >= Duration::from_secs(2))
    }
    /// Whether faults meet managers, or did until lately.
    pub fn is_hindered(&self, now: Time) -> bool {
        self.hindrances > 0 || now < self.manager_recovers
    }
    /// A manager has this long to come round.
    pub fn manager_recovers(&mut self, now: Time, seconds: u64) {
        self.manager_recovers = self.manager_recovers.max(now.after(Duration::from_secs(seconds)));
    }
    /// The service registered a runner of this name and nobody hears of it. A runner without a registration asks again and is
    /// told that its name is taken; one that has had its own never asks.
    pub fn not_heard(&mut self, id: RunnerId, name: &Str) {
        let runner = self.by_name.get(name).and_then(|place| self.runners.get(place)?.object.as_ref());
        if runner.is_none_or(|r| r.metadata.is_deleting() || !r.status.runner_id.is_none()) {
            self.unheard.insert(id);
        } else {
            self.echoes.push((name.clone(), id));
        }
    }
    /// The secret of a runner was made by a request whose caller is gone.
    pub fn secret_came_late(&mut self, place: SiteKey) {
        if let Some(runner) = self.runners.get_mut(&place) {
            runner.late_secret = true;
        }
    }
    /// A manager was killed beside another one, which takes runners away that it has just registered: only it could have given
    /// those registrations back.
    pub fn maker_died(&mut self) {
        let (by_name, runners) = (&self.by_name, &self.runners);
        let going = |name: &Str| {
            let runner = by_name.get(name).and_then(|place| runners.get(place)?.object.as_ref());
            runner.is_none_or(|r| r.metadata.is_deleting())
        };
        self.unheard.extend(self.registrations.iter().filter(|(_, r)| going(&r.name)).map(|(id, _)| *id));
    }
    /// A runner knows its registration: another one of its name is nobody's.
    pub fn heard(&mut self, name: &Str, id: RunnerId) {
        let unheard = &mut self.unheard;
        self.echoes.retain(|(of, echo)| {
            let settled = of == name && !id.is_none();
            if settled && *echo != id {
                unheard.insert(*echo);
            }
            !settled
        });
    }
    /// The service made a scale set and nobody hears of it. A set that is still there asks again and finds it by its name.
    pub fn scale_set_not_heard(&mut self, id: ScaleSetId, name: &Str) {
        let asks = |s: &SetState| {
            s.ars.as_ref().is_some_and(|a| !a.metadata.is_deleting() && controller_core::names::scale_set(a) == name)
        };
        if !self.sets.values().any(asks) {
            self.unheard_sets.insert(id);
        }
    }
    /// The set that an EphemeralRunnerSet's or listener's labels or owner name.
    pub fn set(&mut self, key: &SetKey) -> &mut SetState {
        self.sets.entry(key.clone()).or_default()
    }
    /// A runner takes a job.
    pub fn job_taken(&mut self, job: JobId, runner: RunnerId, now: Time) {
        let name = self.registrations.get(&runner).map(|r| &r.name);
        let Some(place) = name.and_then(|name| self.by_name.get(name)).cloned() else { return };
        let home = self.runners.get_mut(&place).and_then(|r| {
            r.took_job = true;
            r.runner_set.clone()
        });
        self.jobs.entry(job).or_default().taken_by = Some((place, home));
        self.work_changes(job, 1, now);
    }
    /// A job that may have been taken is over, or waits again.
    pub fn job_let_go(&mut self, job: JobId, now: Time) {
        self.work_changes(job, -1, now);
        self.jobs.entry(job).or_default().taken_by = None;
    }
    fn work_changes(&mut self, job: JobId, by: i32, now: Time) {
        let Some((place, home)) = self.jobs.get(&job).and_then(|j| j.taken_by.clone()) else { return };
        if let Some(runner) = self.runners.get_mut(&place) {
            runner.work.change(by, now);
        }
        if let Some(set) = home.and_then(|home| self.runner_sets.get_mut(&home)) {
            set.work.change(by, now);
        }
    }
    /// Notes an event in a sliding window; how many are in it now.
    pub fn window(list: &mut VecDeque<Time>, now: Time, length: Duration) -> usize {
        list.push_back(now);
        while list.front().is_some_and(|t| now.since(*t) > length) {
            list.pop_front();
        }
        list.len()
    }
    /// Moves a registration between its set's counters.
    pub fn move_registration(&mut self, id: RunnerId, to: Option<Online>) -> Option<SetKey> {
        let registration = self.registrations.get_mut(&id)?;
        let (from, set) = (registration.state, registration.set.clone());
        if let Some(to) = to {
            registration.state = to;
        }
        if let Some(state) = set.as_ref().and_then(|s| self.sets.get_mut(s)) {
            let slot = |state: &mut SetState, o: Online, by: i32| match o {
                Online::Idle => state.idle += by,
                Online::Busy => state.busy += by,
                Online::Offline => {}
            };
            slot(state, from, -1);
            if let Some(to) = to {
                slot(state, to, 1);
            }
        }
        if to.is_none() {
            self.registrations.remove(&id);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wait for an image of which nobody was told is no excuse, and a kubelet that got it has had its time.
    #[test]
    fn a_wait_for_an_image_counts_if_the_listener_spoke_of_it() {
        let mut set = SetState::default();
        set.starve(true, false, Time::from_secs(1));
        set.starve(false, false, Time::from_secs(2));
        assert_eq!((set.starves, set.starved_at), (false, None));
        set.starve(true, false, Time::from_secs(3));
        assert!(set.starves);
        set.starve(false, true, Time::from_secs(4));
        set.starve(false, true, Time::from_secs(9));
        assert_eq!((set.starves, set.starved_at), (false, Some(Time::from_secs(4))));
    }
}
