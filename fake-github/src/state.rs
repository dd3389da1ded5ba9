//! The service's state and the loop that keeps its promises: timers, parked polls, read-only views.
//!
//! Never reads a clock, draws, waits or does I/O: time comes in with every call. What an operation means is told by the
//! modules named after it; here is only what they share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_api::service::{Credentials, ScaleSetInfo, ServiceOk, ServiceReply};
use arc_api::{RunnerId, ScaleSetId, Str, Time};

use crate::auth::{Standing, TokenRecord};
use crate::event::ServiceEvent;
use crate::fault::Faults;
use crate::jobs::{ClassKey, Job, JobClass};
use crate::runners::Runner;
use crate::scale_sets::ScaleSet;
use crate::session::SessionState;
use crate::settings::{Profile, Settings};
use crate::table::{Cells, Table};
use crate::timer::{Timer, Timers};

/// GitHub's Actions service for scale sets.
///
/// Guarantees: the same calls with the same times give the same answers; a clone shares nothing that can change; a
/// parked [`Ticket`] is answered exactly once through [`GitHub::pop_ready`] unless it is cancelled.
/// Assumes: times never go back, and [`GitHub::advance`] is called at [`GitHub::next_deadline`] or before any later call
/// (each entry point runs what is due before it, so a late caller sees the past in order).
/// Source: actions-service.md §1–§6.
#[derive(Clone, Debug)]
pub struct GitHub {
    pub(crate) settings: Arc<Settings>,
    pub(crate) tenants: Arc<Vec<Arc<Tenant>>>,
    pub(crate) sets: Cells<ScaleSet>,
    pub(crate) runners: Table<Runner>,
    pub(crate) jobs: Table<Job>,
    pub(crate) tokens: Table<TokenRecord>,
    pub(crate) classes: Arc<Vec<Arc<JobClass>>>,
    pub(crate) class_ids: Arc<BTreeMap<ClassKey, u32>>,
    pub(crate) standings: Arc<Vec<Standing>>,
    /// Credentials seen; their number is their position plus 1.
    pub(crate) credentials: Arc<Vec<Arc<Credentials>>>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) timers: Timers,
    pub(crate) holds: Timers,
    pub(crate) ready: VecDeque<(Ticket, ServiceReply)>,
    pub(crate) events: VecDeque<ServiceEvent>,
    pub(crate) next: Counters,
    /// No job below this number is unfinished.
    pub(crate) first_open_job: u64,
}

/// Where all identifiers come from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    pub(crate) scale_set: u64,
    pub(crate) runner: u64,
    pub(crate) job: u64,
    pub(crate) session: u64,
    pub(crate) token: u64,
    pub(crate) ticket: u64,
}

/// An organisation, repository or enterprise: the pool in which runner names are unique (§2.7).
#[derive(Clone, Debug)]
pub(crate) struct Tenant {
    /// `my-org`, `my-org/app` or `enterprises/big`, in lower case.
    pub(crate) path: Str,
    pub(crate) profile: Profile,
    /// Registered runners by lower-case name.
    pub(crate) runner_names: BTreeMap<Str, RunnerId>,
    pub(crate) scale_sets: Vec<ScaleSetId>,
    /// Views of things that are gone, for as long as reads lag.
    pub(crate) ghosts: Ghosts,
}

/// What stale reads still show, each until its time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ghosts {
    pub(crate) runners: Vec<(Time, arc_api::service::RunnerInfo)>,
    pub(crate) scale_sets: Vec<(Time, Arc<ScaleSetInfo>)>,
}

/// A parked long poll.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket {
    pub(crate) number: u64,
    pub(crate) owner: Poller,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Poller {
    Listener(ScaleSetId),
    Runner(RunnerId),
}

impl Ticket {
    /// The scale set whose listener polls.
    pub fn scale_set(self) -> Option<ScaleSetId> {
        match self.owner {
            Poller::Listener(id) => Some(id),
            Poller::Runner(_) => None,
        }
    }
    /// The runner that polls.
    pub fn runner(self) -> Option<RunnerId> {
        match self.owner {
            Poller::Runner(id) => Some(id),
            Poller::Listener(_) => None,
        }
    }
}

/// How the service takes a request.
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Answered at once.
    Reply(ServiceReply),
    /// A long poll that waits.
    Parked(Ticket),
}

impl GitHub {
    /// An empty service.
    pub fn new(settings: Settings) -> GitHub {
        GitHub {
            settings: Arc::new(settings),
            tenants: Arc::new(Vec::new()),
            sets: Cells::new(),
            runners: Table::new(),
            jobs: Table::new(),
            tokens: Table::new(),
            classes: Arc::new(Vec::new()),
            class_ids: Arc::new(BTreeMap::new()),
            standings: Arc::new(Vec::new()),
            credentials: Arc::new(Vec::new()),
            faults: Arc::new(Faults::default()),
            timers: Timers::new(),
            holds: Timers::new(),
            ready: VecDeque::new(),
            events: VecDeque::new(),
            next: Counters { scale_set: 1, runner: 1, job: 1, session: 1, token: 1, ticket: 1 },
            first_open_job: 1,
        }
    }

    /// The earliest time at which the service has something to do; [`Time::NEVER`] if only requests can change it.
    pub fn next_deadline(&self) -> Time {
        match (self.timers.peek(), self.holds.peek()) {
            (Some((a, _)), Some((b, _))) => a.min(b),
            (Some((at, _)), None) | (None, Some((at, _))) => at,
            (None, None) => Time::NEVER,
        }
    }

    /// The earliest time at which something happens other than an empty poll running out: until then every poll that is
    /// repeated at once gets the same empty answer, so an engine whose clients sit still may skip whole cycles.
    pub fn quiet_until(&self) -> Time {
        self.timers.peek().map_or(Time::NEVER, |(at, _)| at)
    }

    /// Runs everything due up to and including `now`, each at its own time.
    pub fn advance(&mut self, now: Time) {
        loop {
            // On a tie the state changes first, so that a poll about to end empty can still carry the news.
            let timer = self.timers.peek().filter(|(at, _)| *at <= now);
            let hold = self.holds.peek().filter(|(at, _)| *at <= now);
            match (timer, hold) {
                (None, None) => break,
                (Some((at, _)), held) if held.is_none_or(|(end, _)| at <= end) => {
                    if let Some((at, timer)) = self.timers.pop() {
                        self.fire(timer, at);
                    }
                }
                _ => {
                    if let Some((at, hold)) = self.holds.pop() {
                        self.fire(hold, at);
                    }
                }
            }
            self.tidy();
        }
    }

    fn fire(&mut self, timer: Timer, at: Time) {
        if !self.is_valid(at, timer) {
            return;
        }
        match timer {
            Timer::Session(id) => self.expire_session_timer(id, at),
            Timer::Deliver(id) => {
                if let Some(set) = self.set_mut(id) {
                    set.deliver_at = Time::NEVER;
                }
                self.pump(id, at);
            }
            Timer::Job(id) => self.job_deadline(id, at),
            Timer::Runner(id) => self.runner_deadline(id, at),
            Timer::Hold(id, number) => {
                self.answer(Ticket { number, owner: Poller::Listener(id) }, Ok(ServiceOk::Nothing), at);
            }
            Timer::RunnerHold(id, number) => {
                self.answer(Ticket { number, owner: Poller::Runner(id) }, Ok(ServiceOk::Nothing), at);
            }
        }
    }

    /// Whether an entry still agrees with its entity.
    pub(crate) fn is_valid(&self, at: Time, timer: Timer) -> bool {
        match timer {
            Timer::Session(id) => self.session_of(id).is_some_and(|session| session.deadline == at),
            Timer::Deliver(id) => self.set(id).is_some_and(|set| set.deliver_at == at),
            Timer::Job(id) => self.job(id).is_some_and(|job| job.deadline == at),
            Timer::Runner(id) => self.runners.get(id.0 as u64).is_some_and(|runner| runner.deadline == at),
            Timer::Hold(id, number) => {
                self.session_of(id).and_then(|session| session.poll.as_ref()).is_some_and(|poll| poll.number == number)
            }
            Timer::RunnerHold(id, number) => {
                self.runners.get(id.0 as u64).is_some_and(|runner| runner.poll == Some(number))
            }
        }
    }

    /// Drops entries that no longer mean anything from the top, so that [`GitHub::next_deadline`] names a real one.
    pub(crate) fn tidy(&mut self) {
        while let Some((at, timer)) = self.timers.peek() {
            if self.is_valid(at, timer) {
                break;
            }
            self.timers.pop();
        }
        while let Some((at, hold)) = self.holds.peek() {
            if self.is_valid(at, hold) {
                break;
            }
            self.holds.pop();
        }
        if self.timers.wants_sweep() {
            let mut timers = std::mem::replace(&mut self.timers, Timers::new());
            timers.sweep(|at, timer| self.is_valid(at, timer));
            self.timers = timers;
        }
        if self.holds.wants_sweep() {
            let mut holds = std::mem::replace(&mut self.holds, Timers::new());
            holds.sweep(|at, hold| self.is_valid(at, hold));
            self.holds = holds;
        }
    }

    /// The next long poll that is answered now.
    pub fn pop_ready(&mut self) -> Option<(Ticket, ServiceReply)> {
        self.ready.pop_front()
    }

    /// The next thing that happened.
    pub fn pop_event(&mut self) -> Option<ServiceEvent> {
        self.events.pop_front()
    }

    pub(crate) fn emit(&mut self, event: ServiceEvent) {
        self.events.push_back(event);
    }

    pub(crate) fn next_ticket(&mut self, owner: Poller) -> Ticket {
        let number = self.next.ticket;
        self.next.ticket += 1;
        Ticket { number, owner }
    }

    // Tenants.

    pub(crate) fn tenant(&self, index: u32) -> &Tenant {
        &self.tenants[index as usize]
    }

    pub(crate) fn tenant_mut(&mut self, index: u32) -> &mut Tenant {
        Arc::make_mut(&mut Arc::make_mut(&mut self.tenants)[index as usize])
    }

    pub(crate) fn find_tenant(&self, path: &str) -> Option<u32> {
        self.tenants.iter().position(|tenant| tenant.path.eq_ignore_ascii_case(path)).map(|index| index as u32)
    }

    /// The tenant of a path, which begins to exist when it is first named.
    pub(crate) fn tenant_of(&mut self, path: &str) -> u32 {
        if let Some(index) = self.find_tenant(path) {
            return index;
        }
        let path = Str::from(path.to_ascii_lowercase());
        let profile = self.stated_profile(&path).clone();
        let tenants = Arc::make_mut(&mut self.tenants);
        tenants.push(Arc::new(Tenant {
            path,
            profile,
            runner_names: BTreeMap::new(),
            scale_sets: Vec::new(),
            ghosts: Ghosts::default(),
        }));
        tenants.len() as u32 - 1
    }

    /// Changes a tenant's knobs (`None`: everybody's) from now on. Tokens, sessions and jobs under way keep the
    /// deadlines they have until their next change of state.
    pub fn tune(&mut self, tenant: Option<&str>, change: impl Fn(&mut Profile)) {
        match tenant {
            Some(path) => {
                let index = self.tenant_of(path);
                change(&mut self.tenant_mut(index).profile);
            }
            None => {
                let settings = Arc::make_mut(&mut self.settings);
                change(&mut settings.profile);
                settings.tenants.values_mut().for_each(&change);
                for index in 0..self.tenants.len() as u32 {
                    change(&mut self.tenant_mut(index).profile);
                }
            }
        }
    }

    /// A tenant's knobs.
    pub fn profile(&self, tenant: &str) -> &Profile {
        match self.find_tenant(tenant) {
            Some(index) => &self.tenant(index).profile,
            None => self.stated_profile(&Str::from(tenant.to_ascii_lowercase())),
        }
    }

    /// A repository is served as its organisation is unless stated otherwise.
    fn stated_profile(&self, path: &str) -> &Profile {
        let owner = path.split_once('/').map_or(path, |(owner, _)| owner);
        let stated = |path: &str| self.settings.tenants.get(path);
        stated(path).or_else(|| stated(owner)).unwrap_or(&self.settings.profile)
    }

    pub(crate) fn profile_of(&self, id: ScaleSetId) -> &Profile {
        match self.set(id) {
            Some(set) => &self.tenant(set.tenant).profile,
            None => &self.settings.profile,
        }
    }

    // Scale sets.

    pub(crate) fn set(&self, id: ScaleSetId) -> Option<&ScaleSet> {
        self.sets.get(id.0 as u64)
    }

    pub(crate) fn set_mut(&mut self, id: ScaleSetId) -> Option<&mut ScaleSet> {
        self.sets.get_mut(id.0 as u64)
    }

    pub(crate) fn session_of(&self, id: ScaleSetId) -> Option<&SessionState> {
        self.set(id)?.session.as_ref()
    }
}

/// Which tenant something belongs to; [`GitHub::tenant_path`] names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct TenantIndex(pub(crate) u32);
