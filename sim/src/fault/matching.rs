//! Which calls a fault or trigger means, and the texts of the answers that faults give. Pure functions.

use std::sync::Arc;

use arc_api::kube::{KubeRequest, Reason, Status};
use arc_api::service::{Exception, Op};
use arc_api::{Kind, Str, format_smolstr};
use controller_core::call::{CallError, Reply};

use super::{CallView, Point, Road};
use crate::plan::fault::{Fault, NetMode, RejectClass, Scope};
use crate::plan::{self, ApiStatus, Glob, SetRef, Trigger};

/// Whether a fault acts on calls at all.
pub(super) fn is_on_roads(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::GhError(_)
            | Fault::GhMalformed(_)
            | Fault::GhHang(_)
            | Fault::GhRateLimit(_)
            | Fault::NetCut(_)
            | Fault::ApiError(_)
            | Fault::ApiReject(_)
            | Fault::ActorSlow(_)
    )
}

/// Whether a fault can meet any call of a road at this point, whoever makes it: most calls of a world with a fault are not
/// its business.
pub(super) fn may_meet(fault: &Fault, kube: bool, point: Point) -> bool {
    let done = |applied: bool| if applied { Point::AfterApply } else { Point::OnArrival };
    match fault {
        Fault::GhError(f) => !kube && point == done(f.applied),
        Fault::GhHang(f) => !kube && point == done(f.applied),
        Fault::GhMalformed(f) => !kube && point == done(f.applied),
        Fault::GhRateLimit(_) => !kube && point == Point::OnArrival,
        Fault::ApiError(f) => kube && point == done(f.applied),
        Fault::ApiReject(_) => kube && point == Point::OnArrival,
        Fault::NetCut(f) if f.mode == NetMode::LoseReply => point == Point::AfterApply,
        Fault::NetCut(_) | Fault::ActorSlow(_) => point == Point::BeforeSend,
        _ => false,
    }
}

/// Whether a call lies in a GitHub fault's scope.
pub(super) fn in_scope(scope: &Scope, view: &CallView<'_>) -> bool {
    let runner = || match view.road {
        Road::Service(Op::GenerateJitConfig { name, .. } | Op::GetRunnerByName(name)) => name.clone(),
        _ => view.label.into(),
    };
    scope.org.as_ref().is_none_or(|o| o == view.org)
        && scope.scale_set.as_ref().is_none_or(|s| s.matches(view.cluster, view.scale_set))
        && scope.actor.as_ref().is_none_or(|a| a.matches(view.role, view.label))
        && scope.runner.as_ref().is_none_or(|g| g.matches(&runner()))
}

/// The exception that belongs to an operation and status.
pub(super) fn usual_exception(op: &Op, status: u16) -> Exception {
    match (op, status) {
        (Op::CreateSession { .. }, 409) => Exception::SessionConflict,
        (Op::RefreshSession { .. } | Op::DeleteSession { .. }, 400) => Exception::SessionExpired,
        (Op::RefreshSession { .. }, 404) => Exception::RunnerAdmin,
        (Op::GenerateJitConfig { .. }, 409) => Exception::AgentExists,
        (Op::GetRunner(_), 404) => Exception::AgentNotFound,
        (Op::RemoveRunner(_), 400) => Exception::JobStillRunning,
        (Op::RunnerConnect { .. }, 401) => Exception::InvalidClient,
        (Op::RunnerConnect { .. }, 409) => Exception::RunnerSessionConflict,
        (_, 401) => Exception::InvalidToken,
        (
            Op::GetScaleSetById(_)
            | Op::UpdateScaleSet { .. }
            | Op::DeleteScaleSet(_)
            | Op::CreateSession { .. }
            | Op::AcquireJobs { .. },
            404,
        ) => Exception::ScaleSetNotFound,
        _ => Exception::None,
    }
}

/// Whether a pattern such as `Pod`, `pods` or `ephemeralrunners/status` means the kind that is asked for.
pub(super) fn kind_is(pattern: &Glob, request: &KubeRequest) -> bool {
    let Some(kind) = request.kind() else { return pattern.0 == "*" };
    match request.subresource() {
        Some(sub) => {
            pattern.matches(&format!("{}/{sub}", kind.plural())) || pattern.0 == "*" || pattern.matches(kind.as_str())
        }
        None => pattern.matches(kind.as_str()) || pattern.matches(kind.plural()),
    }
}

/// The object's name, or the base of the name that will be generated.
pub(super) fn name_of(request: &KubeRequest) -> Str {
    match request {
        KubeRequest::Create(o) if o.meta().name.is_empty() => o.meta().generate_name.clone().unwrap_or_default(),
        other => other.key().map(|k| k.name).unwrap_or_default(),
    }
}

/// Whether the object belongs to a scale set, by its label.
pub(super) fn belongs_to(request: &KubeRequest, set: &SetRef, view: &CallView<'_>) -> bool {
    let label = match request {
        KubeRequest::Create(o) | KubeRequest::Update(o, _) => o.meta().label("actions.github.com/scale-set-name"),
        _ => None,
    };
    match label {
        Some(name) => set.matches(view.cluster, name),
        None => set.matches(view.cluster, view.scale_set) || name_of(request).starts_with(set.name.as_str()),
    }
}

/// `create pods`, `patch ephemeralrunners/status`, `get_message`.
fn call_name(road: Road<'_>) -> Str {
    match road {
        Road::Kube(request) => {
            let plural = request.kind().map_or("selfsubjectaccessreviews", Kind::plural);
            match request.subresource() {
                Some(sub) => format_smolstr!("{} {plural}/{sub}", request.verb()),
                None => format_smolstr!("{} {plural}", request.verb()),
            }
        }
        Road::Service(op) => op.name().into(),
    }
}

/// Whether a pattern without its road names this call.
pub(super) fn call_is(pattern: &str, road: Road<'_>) -> bool {
    Glob(pattern.into()).matches(&call_name(road))
}

/// Whether a trigger means this call at this point.
pub(super) fn trigger_meets(trigger: &Trigger, view: &CallView<'_>, point: Point) -> bool {
    let at = match trigger.point {
        plan::Point::BeforeSend => Point::BeforeSend,
        plan::Point::AfterApply => Point::AfterApply,
        plan::Point::AfterReply => Point::AfterReply,
    };
    let road = match view.road {
        Road::Kube(_) => "kube",
        Road::Service(_) => "github",
    };
    point == at
        && trigger.call.as_ref().is_some_and(|c| c.matches(&format!("{road}.{}", call_name(view.road))))
        && trigger.actor.as_ref().is_none_or(|a| a.matches(view.role, view.label))
        && trigger.name.as_ref().is_none_or(|n| match view.road {
            Road::Kube(request) => n.matches(&name_of(request)),
            Road::Service(Op::GenerateJitConfig { name, .. } | Op::GetRunnerByName(name)) => n.matches(name),
            Road::Service(_) => n.matches(view.label),
        })
}

/// The answer of a failing API server.
pub(super) fn api_failure(status: ApiStatus, request: &KubeRequest) -> Reply {
    let kind = request.kind().unwrap_or(Kind::Pod);
    let name = name_of(request);
    let status = match status {
        ApiStatus::Conflict => Status::new(
            Reason::Conflict,
            format_smolstr!(
                "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes to the latest version and try again",
                kind.resource()
            ),
        ),
        ApiStatus::AlreadyExists => {
            Status::new(Reason::AlreadyExists, format_smolstr!("{} \"{name}\" already exists", kind.resource()))
        }
        ApiStatus::Http(code) => {
            let (reason, text) = match code {
                401 => (Reason::Unauthorized, "Unauthorized".into()),
                403 => (Reason::Forbidden, format_smolstr!("{} \"{name}\" is forbidden", kind.resource())),
                404 => return Reply::Kube(Err(CallError::Api(Arc::new(Status::not_found(kind, &name))))),
                410 => (Reason::Expired, "The provided resource version is too old.".into()),
                422 => (Reason::Invalid, format_smolstr!("{} \"{name}\" is invalid", kind.qualified())),
                429 => (
                    Reason::TooManyRequests,
                    "the server has received too many requests and has asked us to try again later".into(),
                ),
                503 => (Reason::ServiceUnavailable, "the server is currently unable to handle the request".into()),
                504 => (Reason::Timeout, "Timeout: request did not complete within the allotted timeout".into()),
                _ => (Reason::InternalError, "Internal error occurred: injected".into()),
            };
            let mut status = Status::new(reason, text);
            status.code = code;
            status
        }
        ApiStatus::Timeout => {
            Status::new(Reason::Timeout, "Timeout: request did not complete within the allotted timeout")
        }
    };
    Reply::Kube(Err(CallError::Api(Arc::new(status))))
}

/// The text of a rejection, with the API server's own prefix.
pub(super) fn rejection_text(class: RejectClass, message: Option<&str>, request: &KubeRequest) -> Str {
    let kind = request.kind().unwrap_or(Kind::Pod);
    let name = name_of(request);
    let said = message.unwrap_or_default();
    match class {
        RejectClass::Invalid if said.is_empty() => {
            format_smolstr!("{} \"{name}\" is invalid: spec: Invalid value", kind.qualified())
        }
        RejectClass::Invalid => format_smolstr!("{} \"{name}\" is invalid: {said}", kind.qualified()),
        RejectClass::ForbiddenQuota if said.is_empty() => {
            format_smolstr!(
                "{} \"{name}\" is forbidden: exceeded quota: compute, requested: pods=1, used: pods=10, limited: pods=10",
                kind.resource()
            )
        }
        RejectClass::ForbiddenQuota | RejectClass::ForbiddenRbac => {
            format_smolstr!("{} \"{name}\" is forbidden: {said}", kind.resource())
        }
        RejectClass::ForbiddenWebhook => {
            let said = if said.is_empty() { "denied" } else { said };
            format_smolstr!("admission webhook \"policy.example.com\" denied the request: {said}")
        }
        RejectClass::Unauthorized => "Unauthorized".into(),
    }
}
