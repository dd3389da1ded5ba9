//! Faults of answers: refusals and malformed bodies by operation, and rate limits (field-bugs.md `gh_error`,
//! `gh_malformed`, `gh_rate_limit`). They look at requests only, never at what the operation would have done.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::service::{
    Auth, Credentials, Exception, Malformed, Op, ServiceError, ServiceOk, ServiceReply, ServiceRequest,
};
use arc_api::{Duration, ScaleSetId, Str, Time};

use crate::event::ServiceEvent;
use crate::scope::{Firing, RuleId, Scope};
use crate::state::GitHub;

/// A set of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpSet(u32);

impl OpSet {
    /// Every operation.
    pub const ALL: OpSet = OpSet(u32::MAX);
    /// None yet.
    pub const NONE: OpSet = OpSet(0);

    /// By the names of [`Op::NAMES`], or `all`. `None` if a name is unknown.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<OpSet> {
        names.into_iter().try_fold(OpSet::NONE, |set, name| match name {
            "all" => Some(OpSet::ALL),
            _ => Some(OpSet(set.0 | 1 << Op::NAMES.iter().position(|known| *known == name)?)),
        })
    }
    /// Whether it is in the set.
    pub fn has(self, op: &Op) -> bool {
        self == OpSet::ALL || self.0 & 1 << index(op) != 0
    }
    fn has_get_message(self) -> bool {
        self.0 & 1 << GET_MESSAGE != 0
    }
}

const GET_MESSAGE: u32 = 12;

/// Position in [`Op::NAMES`].
const fn index(op: &Op) -> u32 {
    match op {
        Op::AccessToken => 0,
        Op::RegistrationToken { .. } => 1,
        Op::RunnerRegistration { .. } => 2,
        Op::GetScaleSet { .. } => 3,
        Op::GetScaleSetById(_) => 4,
        Op::CreateScaleSet { .. } => 5,
        Op::UpdateScaleSet { .. } => 6,
        Op::DeleteScaleSet(_) => 7,
        Op::GetRunnerGroup { .. } => 8,
        Op::CreateSession { .. } => 9,
        Op::RefreshSession { .. } => 10,
        Op::DeleteSession { .. } => 11,
        Op::GetMessage { .. } => GET_MESSAGE,
        Op::DeleteMessage { .. } => 13,
        Op::AcquireJobs { .. } => 14,
        Op::GetAcquirableJobs(_) => 15,
        Op::GenerateJitConfig { .. } => 16,
        Op::GetRunner(_) => 17,
        Op::GetRunnerByName(_) => 18,
        Op::RemoveRunner(_) => 19,
        Op::RunnerConnect { .. } => 20,
        Op::RunnerPoll => 21,
        Op::RunnerRenew => 22,
        Op::RunnerComplete(_) => 23,
        Op::RunnerDisconnect => 24,
    }
}

/// A fault of answers.
#[derive(Clone, Debug)]
pub struct AnswerRule {
    /// Which operations.
    pub ops: OpSet,
    /// Whose.
    pub scope: Scope,
    /// Which occurrences.
    pub firing: Firing,
    /// What is answered instead.
    pub answer: AnswerFault,
}

/// What is answered instead.
#[derive(Clone, Debug)]
pub enum AnswerFault {
    /// A refusal; the operation does not happen.
    Refuse(Arc<ServiceError>),
    /// The operation happens, and its good answer has an unusable body. For E10 it is applied when the poll is
    /// answered; every mode but [`Malformed::Empty`] waits for a message to spoil, which stays undeleted.
    /// [`Malformed::NoStatistics`] on E7 and E8 is a session without statistics.
    Spoil(Malformed),
}

/// Who shares a budget.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LimitKey {
    /// All callers together (one address).
    Everybody,
    /// Each tenant by itself (organisation).
    Tenant,
    /// Each credential by itself, through all tokens made from it (App, user).
    Credential,
}

/// A token bucket.
#[derive(Clone, Debug)]
pub struct RateLimit {
    /// What costs.
    pub ops: OpSet,
    /// Whom it concerns.
    pub scope: Scope,
    /// Who shares.
    pub key: LimitKey,
    /// Requests per [`RateLimit::per`], and the most that can be saved up.
    pub budget: u32,
    /// The time in which an empty bucket fills.
    pub per: Duration,
    /// 429 or 403.
    pub status: u16,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u32>,
}

impl RateLimit {
    /// `budget` requests per `per`, refused with 429.
    pub fn new(ops: OpSet, key: LimitKey, budget: u32, per: Duration) -> RateLimit {
        RateLimit { ops, scope: Scope::default(), key, budget, per, status: 429, retry_after: None }
    }
}

/// How much is left, in request-microseconds: a request costs `per`, a microsecond brings `budget`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    level: u64,
    at: Time,
}

/// A rate limit in force.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    pub(crate) id: RuleId,
    limit: RateLimit,
    buckets: BTreeMap<u64, Bucket>,
}

impl Limiter {
    fn allows(&mut self, key: u64, now: Time) -> bool {
        let cost = self.limit.per.as_micros() as u64;
        let full = cost.saturating_mul(u64::from(self.limit.budget));
        let bucket = self.buckets.entry(key).or_insert(Bucket { level: full, at: now });
        let gained = (now.since(bucket.at).as_micros() as u64).saturating_mul(u64::from(self.limit.budget));
        *bucket = Bucket { level: bucket.level.saturating_add(gained).min(full), at: now };
        let is_allowed = bucket.level >= cost;
        bucket.level -= if is_allowed { cost } else { 0 };
        is_allowed
    }
}

impl GitHub {
    /// Switches on a fault of answers.
    pub fn fault_answers(&mut self, rule: AnswerRule) -> RuleId {
        let faults = self.faults_mut();
        let id = faults.next_rule();
        faults.answers.push((id, rule));
        id
    }

    /// Limits the rate of some operations.
    pub fn limit_rate(&mut self, limit: RateLimit) -> RuleId {
        let faults = self.faults_mut();
        let id = faults.next_rule();
        faults.limits.push(Limiter { id, limit, buckets: BTreeMap::new() });
        id
    }

    /// Tenant and scale set a request is about.
    fn subject(&self, request: &ServiceRequest) -> (Option<u32>, Option<ScaleSetId>) {
        let of_runner = |token: &arc_api::Token| {
            let record = self.tokens.get(token.0)?;
            self.runner(arc_api::RunnerId(record.subject as i64)).map(|runner| runner.scale_set)
        };
        let set = match &request.op {
            Op::GetScaleSetById(id) | Op::DeleteScaleSet(id) | Op::GetAcquirableJobs(id) => Some(*id),
            Op::UpdateScaleSet { id, .. }
            | Op::CreateSession { id, .. }
            | Op::RefreshSession { id, .. }
            | Op::DeleteSession { id, .. }
            | Op::GetMessage { id, .. }
            | Op::DeleteMessage { id, .. }
            | Op::AcquireJobs { id, .. }
            | Op::GenerateJitConfig { id, .. } => Some(*id),
            Op::GetRunner(id) | Op::RemoveRunner(id) => self.runner(*id).map(|runner| runner.scale_set),
            Op::RunnerConnect { jit, .. } => of_runner(jit),
            _ => match &request.auth {
                Auth::Runner(token) => of_runner(token),
                _ => None,
            },
        };
        let tenant = match (&request.op, &request.auth) {
            (Op::RegistrationToken { url } | Op::RunnerRegistration { url, .. }, _) => {
                self.find_tenant(&crate::auth::tenant_path(url))
            }
            (_, Auth::Registration(t) | Auth::Admin(t) | Auth::Queue(t) | Auth::Runner(t)) => {
                self.tokens.get(t.0).map(|record| record.tenant)
            }
            _ => None,
        };
        (tenant.filter(|index| (*index as usize) < self.tenants.len()), set)
    }

    fn limit_key(&self, key: LimitKey, tenant: Option<u32>, auth: &Auth) -> u64 {
        match key {
            LimitKey::Everybody => 0,
            LimitKey::Tenant => tenant.map_or(0, |tenant| u64::from(tenant) + 1),
            LimitKey::Credential => match auth {
                Auth::Secret(credentials) => self.credential_number(credentials),
                Auth::Installation(t) | Auth::Registration(t) | Auth::Admin(t) => {
                    self.tokens.get(t.0).map_or(0, |record| record.subject)
                }
                Auth::Queue(_) | Auth::Runner(_) => 0,
            },
        }
    }

    fn credential_number(&self, credentials: &Credentials) -> u64 {
        self.credentials.iter().position(|known| **known == *credentials).map_or(0, |at| at as u64 + 1)
    }

    /// What a rule answers before the operation is looked at; malformed bodies for anything but E10 come after it.
    pub(crate) fn intercept(&mut self, request: &ServiceRequest, now: Time) -> Intercepted {
        if self.faults.answers.is_empty() && self.faults.limits.is_empty() {
            return Intercepted::Nothing;
        }
        if let Auth::Secret(credentials) = &request.auth {
            self.credential(credentials);
        }
        let (tenant, set) = self.subject(request);
        let path = tenant.map(|index| self.tenant(index).path.clone());
        let set = set.and_then(|id| self.sets.share(id.0 as u64));
        let named = scale_set_name(&request.op);
        let keys = [LimitKey::Everybody, LimitKey::Tenant, LimitKey::Credential]
            .map(|key| self.limit_key(key, tenant, &request.auth));
        let is_covered = |scope: &Scope| {
            // A request that names a scale set that does not exist is still about it.
            let by_name = scope.id.is_none()
                && scope.scale_set.is_some()
                && named.is_some_and(|name| scope.scale_set.as_ref().is_some_and(|s| s.eq_ignore_ascii_case(name)));
            match by_name {
                true => Scope { scale_set: None, ..scope.clone() }.covers(path.as_deref(), None),
                false => scope.covers(path.as_deref(), set.as_deref()),
            }
        };
        let is_poll = matches!(request.op, Op::GetMessage { .. });
        let faults = self.faults_mut();
        let mut found = None;
        for limiter in &mut faults.limits {
            let limit = &limiter.limit;
            let (id, key, status, retry_after) = (limiter.id, limit.key, limit.status, limit.retry_after);
            if limit.ops.has(&request.op) && is_covered(&limit.scope) && !limiter.allows(keys[key as usize], now) {
                let mut error = ServiceError::new(status, Exception::None, "API rate limit exceeded");
                error.retry_after = retry_after;
                found = Some((id, Intercepted::Refuse(Arc::new(error))));
                break;
            }
        }
        if found.is_none() {
            for (id, rule) in &mut faults.answers {
                if !rule.ops.has(&request.op) || !is_covered(&rule.scope) {
                    continue;
                }
                match &rule.answer {
                    AnswerFault::Refuse(error) if rule.firing.fires() => {
                        found = Some((*id, Intercepted::Refuse(Arc::clone(error))));
                        break;
                    }
                    AnswerFault::Spoil(mode) if !is_poll && rule.firing.fires() => {
                        found = Some((*id, Intercepted::Spoil(*mode)));
                        break;
                    }
                    _ => {}
                }
            }
        }
        let Some((rule, found)) = found else { return Intercepted::Nothing };
        self.emit(ServiceEvent::FaultFired { rule });
        found
    }

    /// What a rule makes of a poll that is about to be answered.
    pub(crate) fn malformed_poll(&mut self, id: ScaleSetId, has_message: bool) -> Option<Malformed> {
        if self.faults.answers.is_empty() {
            return None;
        }
        let set = self.sets.share(id.0 as u64);
        let tenant = set.as_ref().map(|set| self.tenant(set.tenant).path.clone());
        let mut found = None;
        for (rule, fault) in &mut self.faults_mut().answers {
            let AnswerFault::Spoil(mode) = fault.answer else { continue };
            let is_possible = has_message || mode == Malformed::Empty;
            if is_possible
                && fault.ops.has_get_message()
                && fault.scope.covers(tenant.as_deref(), set.as_deref())
                && fault.firing.fires()
            {
                found = Some((*rule, mode));
                break;
            }
        }
        let (rule, mode) = found?;
        self.emit(ServiceEvent::FaultFired { rule });
        Some(mode)
    }
}

/// The name in a request that finds or makes a scale set by name.
fn scale_set_name(op: &Op) -> Option<&Str> {
    match op {
        Op::GetScaleSet { name, .. } | Op::CreateScaleSet { name, .. } => Some(name),
        _ => None,
    }
}

/// What rules make of a request.
pub(crate) enum Intercepted {
    /// Nothing.
    Nothing,
    /// It is refused.
    Refuse(Arc<ServiceError>),
    /// Its good answer is spoiled.
    Spoil(Malformed),
}

/// A good answer with an unusable body.
pub(crate) fn spoil(reply: ServiceReply, mode: Malformed) -> ServiceReply {
    match (reply, mode) {
        (Ok(ServiceOk::Session(session)), Malformed::NoStatistics) => {
            let mut session = session;
            Arc::make_mut(&mut session).statistics = None;
            Ok(ServiceOk::Session(session))
        }
        (Ok(_), mode) => Ok(ServiceOk::Malformed(mode)),
        (refusal, _) => refusal,
    }
}
