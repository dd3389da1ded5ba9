//! Runner scale sets and runner groups: E1–E6 (actions-service.md §2.2, §2.3). Never touches a runner process.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use arc_api::service::{Auth, Message, ScaleSetInfo, ServiceOk, ServiceReply};
use arc_api::{GroupId, JobId, MessageId, RunnerId, ScaleSetId, Str, Time, Token};

use crate::error::{Refusal, Why, refuse, refused};
use crate::event::{RunnerEnd, ScaleSetEnd, ServiceEvent, SessionEnd};
use crate::queue::PendingEvent;
use crate::session::SessionState;
use crate::settings::Personality;
use crate::state::{GitHub, TenantIndex};
use crate::stats::Tally;

/// A runner scale set.
#[derive(Clone, Debug)]
pub struct ScaleSet {
    /// Id; never used again after deletion.
    pub id: ScaleSetId,
    /// Name, unique in its group.
    pub name: Str,
    /// Group.
    pub group: GroupId,
    /// Labels a job may ask for.
    pub labels: Arc<[Str]>,
    /// When it was created.
    pub created: Time,
    pub(crate) tenant: u32,
    pub(crate) session: Option<SessionState>,
    /// Life of its sessions, when a fault overrides the tenant's.
    pub(crate) session_fault: crate::session::SessionFault,
    pub(crate) tally: Tally,
    /// Jobs bound to it that wait for a runner.
    pub(crate) assigned: BTreeSet<JobId>,
    /// Jobs it was offered and nobody acquired.
    pub(crate) offered: BTreeSet<JobId>,
    /// Runners that may be handed a job now: their poll is parked and they are ready.
    pub(crate) idle: BTreeSet<RunnerId>,
    /// Jobs of these classes match it.
    pub(crate) classes: Vec<u32>,
    /// Total assigned jobs the last poll allowed.
    pub(crate) capacity: i64,
    /// Events that no message has yet.
    pub(crate) pending: VecDeque<PendingEvent>,
    /// Messages delivered once and not deleted.
    pub(crate) messages: VecDeque<Arc<Message>>,
    /// Those of them that nobody can read.
    pub(crate) unreadable: Vec<(MessageId, arc_api::service::Malformed)>,
    pub(crate) next_message: MessageId,
    /// When the open poll has to be looked at again.
    pub(crate) deliver_at: Time,
    pub(crate) job_faults: crate::fault::JobFaults,
    pub(crate) expiry: Option<crate::fault::ExpiryPoint>,
}

impl ScaleSet {
    /// Its tenant.
    pub fn tenant(&self) -> TenantIndex {
        TenantIndex(self.tenant)
    }
    /// Events waiting for their first delivery.
    pub fn pending_events(&self) -> usize {
        self.pending.len()
    }
    /// Messages delivered and not deleted, oldest first.
    pub fn undeleted_messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.iter().map(|message| &**message)
    }
    /// What the last poll said of capacity; `i64::MAX` is unlimited.
    pub fn capacity(&self) -> i64 {
        self.capacity
    }
    fn serves(&self, labels: &[Str]) -> bool {
        let has = |wanted: &Str| {
            self.name.eq_ignore_ascii_case(wanted) || self.labels.iter().any(|l| l.eq_ignore_ascii_case(wanted))
        };
        labels.iter().all(has)
    }
}

impl GitHub {
    /// The scale set of an admin call, if it is the caller's.
    pub(crate) fn own_set(&self, auth: &Auth, id: ScaleSetId, now: Time) -> Result<&ScaleSet, Refusal> {
        let tenant = self.admin(auth, now)?;
        self.set(id).filter(|set| set.tenant == tenant).ok_or_else(|| refuse(&Why::ScaleSet(id)))
    }

    pub(crate) fn info(&self, set: &ScaleSet) -> Arc<ScaleSetInfo> {
        Arc::new(ScaleSetInfo {
            id: set.id,
            name: set.name.clone(),
            group: set.group,
            group_name: self.group_name(set.tenant, set.group),
            labels: set.labels.to_vec(),
            statistics: self.statistics(set),
        })
    }

    fn group_name(&self, tenant: u32, group: GroupId) -> Str {
        let groups = &self.tenant(tenant).profile.groups;
        groups.iter().find(|(_, id)| *id == group).map_or(Str::new_static("Default"), |(name, _)| name.clone())
    }

    fn is_group(&self, tenant: u32, group: GroupId) -> bool {
        group.0 == 1 || self.tenant(tenant).profile.groups.iter().any(|(_, id)| *id == group)
    }

    fn find_set(&self, tenant: u32, group: GroupId, name: &str) -> Option<&ScaleSet> {
        let ids = &self.tenant(tenant).scale_sets;
        ids.iter().filter_map(|id| self.set(*id)).find(|set| set.group == group && set.name.eq_ignore_ascii_case(name))
    }

    /// E1.
    pub(crate) fn get_scale_set(&mut self, auth: &Auth, group: GroupId, name: &str, now: Time) -> ServiceReply {
        let tenant = self.admin(auth, now)?;
        let lag = self.faults.stale.scale_sets;
        let found = self.find_set(tenant, group, name).filter(|set| set.created.after(lag) <= now || lag.is_zero());
        let info = found.map(|set| self.info(set)).or_else(|| {
            let is_it = |ghost: &&(Time, Arc<ScaleSetInfo>)| {
                now < ghost.0 && ghost.1.group == group && ghost.1.name.eq_ignore_ascii_case(name)
            };
            self.tenant(tenant).ghosts.scale_sets.iter().rev().find(is_it).map(|(_, info)| Arc::clone(info))
        });
        Ok(ServiceOk::ScaleSet(info))
    }

    /// E2.
    pub(crate) fn get_scale_set_by_id(&mut self, auth: &Auth, id: ScaleSetId, now: Time) -> ServiceReply {
        let tenant = self.admin(auth, now)?;
        if let Ok(set) = self.own_set(auth, id, now) {
            return Ok(ServiceOk::ScaleSet(Some(self.info(set))));
        }
        let ghosts = &self.tenant(tenant).ghosts.scale_sets;
        match ghosts.iter().find(|(until, info)| now < *until && info.id == id) {
            Some((_, info)) => Ok(ServiceOk::ScaleSet(Some(Arc::clone(info)))),
            None => refused(&Why::ScaleSet(id)),
        }
    }

    /// E3.
    pub(crate) fn create_scale_set(
        &mut self,
        auth: &Auth,
        group: GroupId,
        name: &Str,
        labels: &[Str],
        now: Time,
    ) -> ServiceReply {
        let tenant = self.admin(auth, now)?;
        if !self.is_group(tenant, group) {
            return refused(&Why::NotFound);
        }
        if self.find_set(tenant, group, name).is_some() {
            let status = self.tenant(tenant).profile.duplicate_scale_set_status;
            return refused(&Why::ScaleSetExists { name: name.clone(), status });
        }
        let id = ScaleSetId(self.next.scale_set as i64);
        self.next.scale_set += 1;
        let first_message = match self.tenant(tenant).profile.personality {
            Personality::Broker => 100_000_001,
            Personality::AcquireRequired => 1,
        };
        let set = ScaleSet {
            id,
            name: name.clone(),
            group,
            labels: labels.into(),
            created: now,
            tenant,
            session: None,
            session_fault: Default::default(),
            tally: Tally::default(),
            assigned: BTreeSet::new(),
            offered: BTreeSet::new(),
            idle: BTreeSet::new(),
            classes: Vec::new(),
            capacity: i64::MAX,
            pending: VecDeque::new(),
            messages: VecDeque::new(),
            unreadable: Vec::new(),
            next_message: MessageId(first_message),
            deliver_at: Time::NEVER,
            job_faults: Default::default(),
            expiry: None,
        };
        self.sets.insert(id.0 as u64, set);
        self.tenant_mut(tenant).scale_sets.push(id);
        self.emit(ServiceEvent::ScaleSetCreated { scale_set: id, name: name.clone() });
        self.match_classes(id);
        self.pump(id, now);
        let info = self.set(id).map(|set| self.info(set));
        Ok(ServiceOk::ScaleSet(info))
    }

    /// E4: absent members are unchanged; an open session goes on (recorded: a_update).
    pub(crate) fn update_scale_set(
        &mut self,
        auth: &Auth,
        id: ScaleSetId,
        group: Option<GroupId>,
        name: Option<&Str>,
        now: Time,
    ) -> ServiceReply {
        let set = self.own_set(auth, id, now)?;
        let (tenant, group) = (set.tenant, group.filter(|g| g.0 != 0).unwrap_or(set.group));
        let name = name.filter(|name| !name.is_empty()).unwrap_or(&set.name).clone();
        if !self.is_group(tenant, group) {
            return refused(&Why::NotFound);
        }
        if self.find_set(tenant, group, &name).is_some_and(|other| other.id != id) {
            let status = self.tenant(tenant).profile.duplicate_scale_set_status;
            return refused(&Why::ScaleSetExists { name, status });
        }
        if let Some(set) = self.set_mut(id) {
            // The label ARC calls `System` is the set's own name and follows it.
            let renamed = |label: &Str| if *label == set.name { name.clone() } else { label.clone() };
            set.labels = set.labels.iter().map(renamed).collect();
            set.name = name.clone();
            set.group = group;
        }
        self.emit(ServiceEvent::ScaleSetUpdated { scale_set: id, name });
        self.match_classes(id);
        self.pump(id, now);
        let info = self.set(id).map(|set| self.info(set));
        Ok(ServiceOk::ScaleSet(info))
    }

    /// E5.
    pub(crate) fn delete_scale_set(&mut self, auth: &Auth, id: ScaleSetId, now: Time) -> ServiceReply {
        let tenant = self.admin(auth, now)?;
        if self.own_set(auth, id, now).is_err() {
            return match self.tenant(tenant).profile.missing_scale_set_status {
                204 => Ok(ServiceOk::Done),
                _ => refused(&Why::ScaleSet(id)),
            };
        }
        self.drop_scale_set(id, ScaleSetEnd::Deleted, now);
        Ok(ServiceOk::Done)
    }

    /// Ends a scale set: its session, its message log, its registrations without a job; assigned jobs go back to the
    /// queue (§5.2, INF), running ones go on, and their registrations with them.
    pub(crate) fn drop_scale_set(&mut self, id: ScaleSetId, why: ScaleSetEnd, now: Time) {
        let Some(set) = self.set(id) else { return };
        let (tenant, name) = (set.tenant, set.name.clone());
        let lag = self.faults.stale.scale_sets;
        if !lag.is_zero() {
            let ghost = (now.after(lag), self.info(set));
            self.tenant_mut(tenant).ghosts.scale_sets.push(ghost);
        }
        self.end_session(id, SessionEnd::ScaleSetDeleted, now);
        let registered: Vec<RunnerId> = self
            .runners
            .iter()
            .filter(|r| r.scale_set == id && r.is_registered && !r.is_busy())
            .map(|r| r.id)
            .collect();
        for runner in registered {
            self.remove_registration(runner, RunnerEnd::ScaleSetDeleted, true, now);
        }
        // From here on nothing is logged for it and no class names it, so returned jobs look elsewhere.
        self.forget_classes(id);
        let Some(set) = self.sets.remove(id.0 as u64) else { return };
        self.tenant_mut(tenant).scale_sets.retain(|other| *other != id);
        self.emit(ServiceEvent::ScaleSetDeleted { scale_set: id, name, why });
        self.return_jobs_of(&set, now);
    }

    /// Recomputes which classes of jobs match a scale set.
    pub(crate) fn match_classes(&mut self, id: ScaleSetId) {
        self.forget_classes(id);
        let Some(set) = self.set(id) else { return };
        let mut classes = Vec::new();
        for (index, class) in self.classes.iter().enumerate() {
            if self.class_matches(set, class) {
                classes.push(index as u32);
            }
        }
        for class in &classes {
            let class = Arc::make_mut(&mut Arc::make_mut(&mut self.classes)[*class as usize]);
            class.scale_sets.push(id);
            class.scale_sets.sort_unstable();
        }
        if let Some(set) = self.set_mut(id) {
            set.classes = classes;
        }
    }

    pub(crate) fn class_matches(&self, set: &ScaleSet, class: &crate::jobs::JobClass) -> bool {
        let scope = &self.tenant(set.tenant).path;
        // An organisation's scale sets serve its repositories too.
        let is_in_scope = class.key.tenant == *scope
            || class.key.tenant.strip_prefix(scope.as_str()).is_some_and(|rest| rest.starts_with('/'));
        is_in_scope && class.key.group.is_none_or(|group| group == set.group) && set.serves(&class.key.labels)
    }

    /// Takes a scale set out of all classes and withdraws its offers.
    fn forget_classes(&mut self, id: ScaleSetId) {
        let Some(set) = self.set_mut(id) else { return };
        let classes = std::mem::take(&mut set.classes);
        let offered = std::mem::take(&mut set.offered);
        for class in classes {
            let class = Arc::make_mut(&mut Arc::make_mut(&mut self.classes)[class as usize]);
            class.scale_sets.retain(|other| *other != id);
        }
        offered.iter().for_each(|job| self.settle_offer(*job));
    }

    /// E6.
    pub(crate) fn get_runner_group(&mut self, auth: &Auth, name: &str, now: Time) -> ServiceReply {
        let tenant = self.admin(auth, now)?;
        let groups = &self.tenant(tenant).profile.groups;
        let found = groups.iter().find(|(group, _)| group.eq_ignore_ascii_case(name)).map(|(_, id)| *id);
        let default = name.eq_ignore_ascii_case("default").then_some(GroupId(1));
        Ok(ServiceOk::Group(found.or(default).unwrap_or_default()))
    }

    /// Removes a scale set on the service's side: by an administrator, for inactivity, in an incident.
    pub fn lose_scale_set(&mut self, id: ScaleSetId, now: Time) {
        self.advance(now);
        self.drop_scale_set(id, ScaleSetEnd::Lost, now);
        self.tidy();
    }

    /// A token that works for admin calls of this tenant: what tests and tools use instead of the bootstrap.
    pub fn issue_admin_token(&mut self, tenant: &str, now: Time) -> Token {
        let tenant = self.tenant_of(tenant);
        let ttl = self.tenant(tenant).profile.admin_ttl;
        self.issue(crate::event::TokenKind::Admin, tenant, 0, now, ttl).0
    }
}
