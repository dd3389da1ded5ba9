//! Faults that are active and triggers that are armed: which calls they meet, and what becomes of those.
//!
//! Decides about roads and answers only; what a fault does to nodes, processes and the service's state is carried out by the
//! world when the fault begins and ends. Every fault counts its hits: one that never hit made the run prove nothing.

mod matching;

use std::sync::Arc;

use arc_api::kube::{KubeRequest, Reason, Status};
use arc_api::service::{Exception, Malformed, Op, ServiceError, ServiceOk};
use arc_api::{Duration, Kind, Time};
use controller_core::call::{CallError, Reply, Transport};

use crate::invariant::SetKey;
use crate::network::Dice;
use crate::plan::fault::{Fault, MalformedMode, NetMode, RejectClass};
use crate::plan::{self, ApiStatus, Plan, PlannedAction, Role, Trigger, When};

/// Where in the life of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// It leaves its process.
    BeforeSend,
    /// It reaches the other side.
    OnArrival,
    /// It was carried out and the reply leaves.
    AfterApply,
    /// The reply reaches the process.
    AfterReply,
}

/// What becomes of a call.
#[derive(Clone, PartialEq, Debug)]
pub enum Verdict {
    /// Nothing special.
    Pass,
    /// Later by this.
    Delay(Duration),
    /// It does not come through; the caller learns at `until` (never: by its own patience).
    Lose {
        /// For the trace.
        how: &'static str,
        /// When the caller hears of it.
        until: Time,
        /// What it hears.
        error: Transport,
    },
    /// It is carried out, but its reply does not come back.
    LoseReply {
        /// For the trace.
        how: &'static str,
    },
    /// It is answered so.
    Answer(Box<Reply>),
    /// It is carried out twice.
    Duplicate,
}

/// What a rule sees of a call.
#[derive(Clone, Copy)]
pub struct CallView<'a> {
    /// Who calls.
    pub role: Role,
    /// Which of them.
    pub label: &'a str,
    /// Its scale set, if it has one.
    pub scale_set: &'a str,
    /// Its cluster.
    pub cluster: &'a str,
    /// Its organisation.
    pub org: &'a str,
    /// Whether the call goes through an egress proxy.
    pub proxied: bool,
    /// The call.
    pub road: Road<'a>,
    /// The reply, once there is one.
    pub reply: Option<&'a Reply>,
}

/// The two roads.
#[derive(Clone, Copy)]
pub enum Road<'a> {
    /// To an API server.
    Kube(&'a KubeRequest),
    /// To the service.
    Service(&'a Op),
}

/// A fault that is on.
#[derive(Clone, Debug)]
struct Active {
    action: u32,
    fault: Arc<Fault>,
    cluster: Option<arc_api::Str>,
    only: Option<SetKey>,
    since: Time,
    hits: u32,
    dice: Dice,
    /// Times of recent requests (rate limits, `rate`).
    recent: std::collections::VecDeque<Time>,
}

/// A fault that begins.
pub struct Began {
    /// Which action of the plan.
    pub action: u32,
    /// What it does.
    pub fault: Arc<Fault>,
    /// The scale set that alone can feel it, as it is called now.
    pub only: Option<SetKey>,
    /// When.
    pub at: Time,
}

/// A trigger that waits.
#[derive(Clone, Debug)]
struct Armed {
    action: u32,
    trigger: Arc<Trigger>,
    left: u32,
    /// Whether it still waits for the action that it counts from.
    asleep: bool,
}

/// All faults of a run.
#[derive(Clone, Debug)]
pub struct Faults {
    active: Vec<Active>,
    armed: Vec<Armed>,
    /// Hits by action of the plan.
    hits: Vec<u32>,
    /// Actions that have begun.
    begun: Vec<u32>,
    seed: u64,
    on_roads: u32,
    calls_armed: u32,
    steps_armed: u32,
}

/// How long a kube client waits on a dead connection before its health check closes it: 30 s read idle and 15 s ping
/// (client-go's HTTP/2 defaults).
pub const KUBE_PATIENCE: Duration = Duration::from_secs(45);

impl Faults {
    /// The faults and triggers of a plan, none active.
    pub fn new(plan: &Plan) -> Faults {
        let armed: Vec<Armed> = plan
            .actions
            .iter()
            .enumerate()
            .filter_map(|(n, a)| match &a.when {
                When::Event(t) => Some(Armed {
                    action: n as u32,
                    trigger: Arc::new((**t).clone()),
                    left: t.occurrence.max(1),
                    asleep: t.since.is_some(),
                }),
                When::At(_) => None,
            })
            .collect();
        Faults {
            active: Vec::new(),
            hits: vec![0; plan.actions.len()],
            begun: Vec::new(),
            seed: plan.seed,
            on_roads: 0,
            calls_armed: armed.iter().filter(|a| a.trigger.call.is_some()).count() as u32,
            steps_armed: armed.iter().filter(|a| a.trigger.step.is_some()).count() as u32,
            armed,
        }
    }
    /// Begins a fault.
    pub fn begin(&mut self, planned: &PlannedAction, began: Began) {
        let Began { action, fault, only, at } = began;
        let dice = Dice::new(self.seed, &format!("fault/{}", planned.id));
        self.on_roads += u32::from(matching::is_on_roads(&fault));
        let cluster = planned.cluster.clone();
        self.active.push(Active { action, fault, cluster, only, since: at, hits: 0, dice, recent: Default::default() });
    }
    /// Ends it; gives it back if it was on, with the scale set that alone could feel it when it began.
    pub fn end(&mut self, action: u32) -> Option<(Arc<Fault>, Option<SetKey>)> {
        let at = self.active.iter().position(|a| a.action == action)?;
        let ended = self.active.remove(at);
        self.on_roads -= u32::from(matching::is_on_roads(&ended.fault));
        Some((ended.fault, ended.only))
    }
    /// Notes that an action had an effect.
    pub fn hit(&mut self, action: u32) {
        if let Some(h) = self.hits.get_mut(action as usize) {
            *h += 1;
        }
    }
    /// Effects by action of the plan.
    pub fn hits(&self) -> &[u32] {
        &self.hits
    }
    /// Whether any call can be affected at all: the fast path.
    pub fn is_quiet(&self) -> bool {
        self.on_roads == 0 && self.calls_armed == 0
    }
    /// Whether no call of this road can be affected at this point.
    pub fn is_quiet_at(&self, kube: bool, point: Point) -> bool {
        self.is_quiet()
            || self.calls_armed == 0 && !self.active.iter().any(|a| matching::may_meet(&a.fault, kube, point))
    }
    /// Whether no fault is active.
    pub fn is_idle(&self) -> bool {
        self.active.is_empty()
    }
    /// Whether a reconcile step can trigger anything.
    pub fn has_step_triggers(&self) -> bool {
        self.steps_armed > 0
    }
    /// Active faults with their actions, in order.
    pub fn active(&self) -> impl Iterator<Item = (u32, &Arc<Fault>)> {
        self.active.iter().map(|a| (a.action, &a.fault))
    }
    /// Draws for an active fault of pods or processes whether it meets this one; counts the hit.
    pub fn meets(&mut self, action: u32, share: plan::Ratio, count: Option<u32>) -> bool {
        let Some(active) = self.active.iter_mut().find(|a| a.action == action) else { return false };
        let drawn = active.dice.hits(share);
        if !drawn || count.is_some_and(|c| active.hits >= c) {
            return false;
        }
        active.hits += 1;
        self.hit(action);
        true
    }
    /// Draws from a fault's own stream whether a share of cases includes this one; counts nothing.
    pub fn draws(&mut self, action: u32, share: plan::Ratio) -> bool {
        match self.active.iter_mut().find(|a| a.action == action) {
            Some(active) => active.dice.hits(share),
            None => Dice::new(self.seed ^ u64::from(action), "fault/begins").hits(share),
        }
    }
    /// Whether an active fault concerns a cluster.
    pub fn concerns(&self, action: u32, cluster: &str) -> bool {
        self.active.iter().any(|a| a.action == action && a.cluster.as_ref().is_none_or(|c| c == cluster))
    }
    /// A delay drawn from an active fault's own stream.
    pub fn draw(&mut self, action: u32, delay: &plan::Delay) -> Duration {
        self.active.iter_mut().find(|a| a.action == action).map_or(Duration::ZERO, |a| a.dice.sample(delay))
    }

    /// Actions whose trigger this call sets off, at this point.
    pub fn triggered(&mut self, view: &CallView<'_>, point: Point, now: Time) -> Vec<u32> {
        if self.calls_armed == 0 {
            return Vec::new();
        }
        self.fire(|t| t.call.is_some() && matching::trigger_meets(t, view, point), now)
    }
    /// Actions that a reconcile step sets off.
    pub fn on_step(&mut self, role: Role, label: &str, kind: Kind, step: &str, name: &str, now: Time) -> Vec<u32> {
        let _ = kind;
        self.fire(
            |t| {
                t.step.as_ref().is_some_and(|s| s.matches(step))
                    && t.actor.as_ref().is_none_or(|a| a.matches(role, label))
                    && t.name.as_ref().is_none_or(|n| n.matches(name))
            },
            now,
        )
    }
    /// Actions set off by anything else that a test of the trigger recognises (objects, jobs, other actions).
    pub fn fire(&mut self, meets: impl Fn(&Trigger) -> bool, now: Time) -> Vec<u32> {
        let mut fired = Vec::new();
        for armed in &mut self.armed {
            let early = armed.trigger.not_before.is_some_and(|d| now < d.from_start());
            let over = armed.left == 0 && !armed.trigger.every;
            if over || armed.asleep || early || !meets(&armed.trigger) {
                continue;
            }
            armed.left = armed.left.saturating_sub(1);
            if armed.left == 0 {
                fired.push(armed.action);
            }
        }
        fired
    }
    /// An action's patience is over: its trigger is armed no more. False if it had fired before.
    pub fn give_up(&mut self, action: u32) -> bool {
        let waiting = self.armed.iter_mut().find(|a| a.action == action && a.left > 0);
        waiting.map(|a| a.left = 0).is_some()
    }
    /// Triggers that are still armed.
    pub fn armed(&self) -> impl Iterator<Item = (u32, &Arc<Trigger>)> {
        self.armed.iter().filter(|a| !a.asleep && (a.left > 0 || a.trigger.every)).map(|a| (a.action, &a.trigger))
    }
    /// Notes that an action has begun.
    pub fn note_begun(&mut self, action: u32) {
        self.begun.push(action);
    }
    /// Whether an action of such an id has begun.
    pub fn has_begun(&self, id: &plan::Glob, plan: &Plan) -> bool {
        self.begun.iter().any(|n| id.matches(&plan.actions[*n as usize].id))
    }
    /// An action begins: the triggers that count from it wake up.
    pub fn wake(&mut self, id: &str) -> Vec<(u32, Arc<Trigger>)> {
        let meant = self.armed.iter_mut().filter(|a| a.asleep && a.trigger.since.as_deref() == Some(id));
        meant
            .map(|a| {
                a.asleep = false;
                (a.action, a.trigger.clone())
            })
            .collect()
    }
    /// A trigger's state holds when it wakes: whether that was what it waited for.
    pub fn holds_at_once(&mut self, action: u32) -> bool {
        let Some(armed) = self.armed.iter_mut().find(|a| a.action == action && a.left > 0) else { return false };
        armed.left -= 1;
        armed.left == 0
    }

    /// What the active faults make of a call: the first that does anything decides. The index is the action's.
    pub fn verdict(&mut self, view: &CallView<'_>, point: Point, now: Time) -> Option<(u32, Verdict)> {
        if self.on_roads == 0 {
            return None;
        }
        for n in 0..self.active.len() {
            let verdict = self.try_one(n, view, point, now);
            if let Some(verdict) = verdict {
                let active = &mut self.active[n];
                active.hits += 1;
                let action = active.action;
                self.hit(action);
                return Some((action, verdict));
            }
        }
        None
    }

    fn try_one(&mut self, n: usize, view: &CallView<'_>, point: Point, now: Time) -> Option<Verdict> {
        let active = &mut self.active[n];
        if active.cluster.as_ref().is_some_and(|c| c != view.cluster) {
            return None;
        }
        let fault = active.fault.clone();
        let mut lucky = |share: plan::Ratio, count: Option<u32>| {
            let drawn = active.dice.hits(share);
            drawn && count.is_none_or(|c| active.hits < c)
        };
        match (&*fault, view.road) {
            (Fault::GhError(f), Road::Service(op)) => {
                let at = if f.applied { Point::AfterApply } else { Point::OnArrival };
                (point == at
                    && f.op.matches(op.name())
                    && matching::in_scope(&f.scope, view)
                    && lucky(f.probability, f.count))
                .then(|| {
                    let exception = match &f.exception {
                        Some(name) => Exception::from_name(name).unwrap_or(Exception::None),
                        None => matching::usual_exception(op, f.status),
                    };
                    let mut error = ServiceError::new(f.status, exception, f.body.clone().unwrap_or_default());
                    error.retry_after = f.retry_after.map(|d| d.0.as_secs() as u32);
                    Verdict::Answer(Box::new(Reply::Service(Err(CallError::Service(Arc::new(error))))))
                })
            }
            (Fault::GhMalformed(f), Road::Service(op)) => {
                let good = matches!(view.reply, Some(Reply::Service(Ok(ok))) if !matches!(ok, ServiceOk::Nothing));
                // An answer without a body has none to spoil; an empty poll can at least become an empty 200.
                let bare = matches!(view.reply, Some(Reply::Service(Ok(ServiceOk::Done))));
                let good = !f.applied
                    || !bare
                        && (good
                            || f.mode == MalformedMode::Empty200 && matches!(view.reply, Some(Reply::Service(Ok(_)))));
                let at = if f.applied { Point::AfterApply } else { Point::OnArrival };
                if !(point == at && f.op.matches(op.name()) && matching::in_scope(&f.scope, view) && good) {
                    return None;
                }
                let allowed = f.rate.is_none_or(|r| {
                    active.recent.retain(|t| now.since(*t) <= r.per.0);
                    (active.recent.len() as u32) < r.count
                });
                let drawn = active.dice.hits(f.probability);
                if !allowed || !drawn || f.count.is_some_and(|c| active.hits >= c) {
                    return None;
                }
                active.recent.push_back(now);
                let how = match f.mode {
                    MalformedMode::Empty200 => Malformed::Empty,
                    MalformedMode::Truncated | MalformedMode::EmptyArray => Malformed::Truncated,
                    MalformedMode::MissingField => Malformed::NoStatistics,
                    MalformedMode::UnknownMessageType | MalformedMode::UnknownEventType => Malformed::UnknownType,
                };
                Some(Verdict::Answer(Box::new(Reply::Service(Ok(ServiceOk::Malformed(how))))))
            }
            (Fault::GhHang(f), Road::Service(op)) => {
                let at = if f.applied { Point::AfterApply } else { Point::OnArrival };
                if !(point == at
                    && f.op.matches(op.name())
                    && matching::in_scope(&f.scope, view)
                    && lucky(f.probability, f.count))
                {
                    return None;
                }
                Some(match &f.duration {
                    Some(d) => Verdict::Delay(active.dice.sample(d)),
                    None => Verdict::Lose { how: "hangs", until: Time::NEVER, error: Transport::Timeout },
                })
            }
            (Fault::GhRateLimit(f), Road::Service(op)) => {
                let concerned = f.ops.iter().any(|o| o.matches(op.name())) && matching::in_scope(&f.scope, view);
                if point != Point::OnArrival || !concerned {
                    return None;
                }
                active.recent.retain(|t| now.since(*t) <= f.budget.per.0);
                if (active.recent.len() as u32) < f.budget.count {
                    active.recent.push_back(now);
                    return None;
                }
                let mut error = ServiceError::new(f.answer, Exception::None, "API rate limit exceeded");
                error.retry_after = f.retry_after.map(|d| d.0.as_secs() as u32);
                Some(Verdict::Answer(Box::new(Reply::Service(Err(CallError::Service(Arc::new(error)))))))
            }
            (Fault::NetCut(f), road) => {
                let to = match road {
                    Road::Kube(_) => Role::KubeApi,
                    Road::Service(_) => Role::Github,
                };
                let meant = f.from.matches(view.role, view.label)
                    && (f.to.role == to || f.to.role == Role::Proxy && view.proxied)
                    && f.call.as_ref().is_none_or(|c| matching::call_is(c, road));
                let at = if f.mode == NetMode::LoseReply { Point::AfterApply } else { Point::BeforeSend };
                if !meant || point != at || !lucky(f.probability, f.count) {
                    return None;
                }
                let patience = match road {
                    Road::Kube(_) => now.after(KUBE_PATIENCE),
                    Road::Service(_) => Time::NEVER,
                };
                let soon = now.after(Duration::from_millis(1));
                Some(match f.mode {
                    NetMode::Refused => Verdict::Lose { how: "refused", until: soon, error: Transport::Refused },
                    NetMode::Reset | NetMode::LoseRequest => {
                        Verdict::Lose { how: "reset", until: soon, error: Transport::Reset }
                    }
                    NetMode::Blackhole => {
                        Verdict::Lose { how: "black hole", until: patience, error: Transport::Timeout }
                    }
                    // New connections work; those that existed are dead: their requests go nowhere.
                    NetMode::BlackholeEstablished => return None,
                    NetMode::LoseReply => Verdict::LoseReply { how: "reply lost" },
                    NetMode::Duplicate => Verdict::Duplicate,
                    NetMode::Delay => Verdict::Delay(f.by.as_ref().map_or(Duration::ZERO, |d| active.dice.sample(d))),
                })
            }
            (Fault::ApiError(f), Road::Kube(request)) => {
                let at = if f.applied { Point::AfterApply } else { Point::OnArrival };
                let meant = point == at
                    && f.actor.as_ref().is_none_or(|a| a.matches(view.role, view.label))
                    && f.verb.matches(request.verb())
                    && matching::kind_is(&f.kind, request)
                    && f.name.matches(&request.key().map(|k| k.name).unwrap_or_default());
                (meant && lucky(f.probability, f.count)).then(|| match f.status {
                    ApiStatus::Timeout => {
                        Verdict::Lose { how: "timeout", until: now.after(KUBE_PATIENCE), error: Transport::Timeout }
                    }
                    status => Verdict::Answer(Box::new(matching::api_failure(status, request))),
                })
            }
            (Fault::ApiReject(f), Road::Kube(request)) => {
                let key = request.key().unwrap_or_default();
                let meant = point == Point::OnArrival
                    && f.actor.as_ref().is_none_or(|a| a.matches(view.role, view.label))
                    && f.verb.matches(request.verb())
                    && matching::kind_is(&f.kind, request)
                    && f.name.matches(&matching::name_of(request))
                    && f.namespace.matches(&key.namespace)
                    && f.scale_set.as_ref().is_none_or(|s| matching::belongs_to(request, s, view));
                (meant && lucky(f.probability, f.count)).then(|| {
                    let reason = match f.class {
                        RejectClass::Invalid => Reason::Invalid,
                        RejectClass::ForbiddenQuota | RejectClass::ForbiddenWebhook | RejectClass::ForbiddenRbac => {
                            Reason::Forbidden
                        }
                        RejectClass::Unauthorized => Reason::Unauthorized,
                    };
                    let message = matching::rejection_text(f.class, f.message.as_deref(), request);
                    Verdict::Answer(Box::new(Reply::Kube(Err(CallError::Api(Arc::new(Status::new(reason, message)))))))
                })
            }
            (Fault::ActorSlow(f), road) if point == Point::BeforeSend && f.target.matches(view.role, view.label) => {
                let extra = match road {
                    Road::Kube(_) => f.kube_latency.as_ref(),
                    Road::Service(_) => f.github_latency.as_ref(),
                };
                extra.map(|d| Verdict::Delay(active.dice.sample(d)))
            }
            _ => None,
        }
    }

    /// How far a watcher's cache of a kind lags because of active faults.
    pub fn cache_lag(&mut self, role: Role, label: &str, kind: Kind) -> Duration {
        let mut lag = Duration::ZERO;
        for n in 0..self.active.len() {
            let active = &mut self.active[n];
            if let Fault::CacheLag(f) = &*active.fault.clone()
                && f.actor.matches(role, label)
                && (f.kind.matches(kind.as_str()) || f.kind.matches(kind.plural()))
                && let Some(by) = &f.by
                && active.dice.hits(f.probability)
            {
                lag = lag.max(active.dice.sample(by));
                active.hits += 1;
                let action = active.action;
                self.hit(action);
            }
        }
        lag
    }
    /// When an active fault began.
    pub fn since(&self, action: u32) -> Time {
        self.active.iter().find(|a| a.action == action).map_or(Time::NEVER, |a| a.since)
    }
}
