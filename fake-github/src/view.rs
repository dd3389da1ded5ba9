//! The truth, for invariants and traces: read-only views that allocate nothing. Changes nothing.

use arc_api::{JobId, MessageId, RunnerId, ScaleSetId, SessionId, Str, Time};

use crate::jobs::{Job, JobState};
use crate::runners::Runner;
use crate::scale_sets::ScaleSet;
use crate::session::SessionState;
use crate::state::{GitHub, Poller, TenantIndex, Ticket};
use crate::timer::Timer;

impl GitHub {
    /// All scale sets by id.
    pub fn scale_sets(&self) -> impl Iterator<Item = &ScaleSet> {
        self.sets.iter()
    }
    /// One scale set.
    pub fn scale_set(&self, id: ScaleSetId) -> Option<&ScaleSet> {
        self.set(id)
    }
    /// The scale set of this name in any group of the tenant.
    pub fn scale_set_named(&self, tenant: &str, name: &str) -> Option<&ScaleSet> {
        let tenant = self.tenant(self.find_tenant(tenant)?);
        tenant.scale_sets.iter().filter_map(|id| self.set(*id)).find(|set| set.name.eq_ignore_ascii_case(name))
    }
    /// All open sessions with their scale sets.
    pub fn sessions(&self) -> impl Iterator<Item = (ScaleSetId, &SessionState)> {
        self.scale_sets().filter_map(|set| Some((set.id, set.session.as_ref()?)))
    }
    /// The session of a scale set.
    pub fn session(&self, id: ScaleSetId) -> Option<&SessionState> {
        self.session_of(id)
    }
    /// Messages that the open poll of a scale set is past, so that they were handled, and that nobody has deleted.
    pub fn undeleted(&self, id: ScaleSetId) -> impl Iterator<Item = MessageId> {
        let set = self.set(id);
        let past = set.and_then(|set| set.session.as_ref()?.poll).map(|poll| poll.last);
        let messages = set.into_iter().flat_map(|set| &set.messages).map(|message| message.id);
        messages.filter(move |message| past.is_some_and(|last| *message <= last))
    }
    /// Whether this session is open.
    pub fn is_session_open(&self, id: SessionId) -> bool {
        self.sessions().any(|(_, session)| session.id == id)
    }
    /// All registrations by id, and busy runners whose registration went while they work
    /// ([`Runner::is_registered`] tells).
    pub fn runners(&self) -> impl Iterator<Item = &Runner> {
        self.runners.iter()
    }
    /// One registration.
    pub fn runner(&self, id: RunnerId) -> Option<&Runner> {
        self.runners.get(id.0 as u64)
    }
    /// The registration of this name.
    pub fn runner_named(&self, tenant: &str, name: &str) -> Option<&Runner> {
        let tenant = self.tenant(self.find_tenant(tenant)?);
        self.runner(*tenant.runner_names.get(&Str::from(name.to_ascii_lowercase()))?)
    }
    /// All jobs ever queued, by id.
    pub fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter()
    }
    /// Jobs that are not over, by id.
    pub fn open_jobs(&self) -> impl Iterator<Item = &Job> {
        self.jobs.iter_from(self.first_open_job).filter(|job| !matches!(job.state, JobState::Completed(_)))
    }
    /// One job.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(id.0)
    }
    /// Scale sets whose labels and tenant match a job's, by id.
    pub fn candidates(&self, id: JobId) -> &[ScaleSetId] {
        self.job(id).and_then(|job| self.classes.get(job.class as usize)).map_or(&[], |class| &class.scale_sets)
    }
    /// Whether a poll waits for its answer.
    pub fn is_parked(&self, ticket: Ticket) -> bool {
        match ticket.owner {
            Poller::Listener(id) => self.is_valid(Time::ZERO, Timer::Hold(id, ticket.number)),
            Poller::Runner(id) => self.is_valid(Time::ZERO, Timer::RunnerHold(id, ticket.number)),
        }
    }
    /// The tenant path of a scale set, runner or job.
    pub fn tenant_path(&self, tenant: TenantIndex) -> &Str {
        &self.tenant(tenant.0).path
    }
    /// Timers that still mean something, for tests of idleness.
    pub fn timers_pending(&self) -> usize {
        self.timers.iter().chain(self.holds.iter()).filter(|(at, timer)| self.is_valid(*at, *timer)).count()
    }
}
