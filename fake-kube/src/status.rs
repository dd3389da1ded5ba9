//! The refusals of the API server, with the texts that the real one writes. Built only when a request is refused: the
//! path of success formats nothing.
//!
//! Source: kubernetes-api.md §3.1–§3.5, §7.3; the fixed parts are checked against golden/kubernetes.

use std::sync::Arc;

use arc_api::kube::{Reason, Status};
use arc_api::{Kind, Str, Uid, format_smolstr};

/// A refusal, ready to be an answer.
pub type Refusal = Arc<Status>;

pub(crate) fn refuse<T>(reason: Reason, message: impl Into<Str>) -> Result<T, Refusal> {
    Err(Arc::new(Status::new(reason, message)))
}

/// 404 of an object.
pub(crate) fn not_found(kind: Kind, name: &str) -> Refusal {
    Arc::new(Status::not_found(kind, name))
}

/// 404 of a kind that is not served (its CustomResourceDefinition is missing).
pub(crate) fn not_served() -> Refusal {
    Arc::new(Status::new(Reason::NotFound, "the server could not find the requested resource"))
}

/// 409 of a stale resource version.
pub(crate) fn conflict(kind: Kind, name: &str) -> Refusal {
    Arc::new(Status::new(
        Reason::Conflict,
        format_smolstr!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes to \
             the latest version and try again",
            kind.resource()
        ),
    ))
}

/// 409 of a name that is taken.
pub(crate) fn already_exists(kind: Kind, name: &str, deleting: bool) -> Refusal {
    let prefix = if deleting { "object is being deleted: " } else { "" };
    let message = format_smolstr!("{prefix}{} \"{name}\" already exists", kind.resource());
    Arc::new(Status::new(Reason::AlreadyExists, message))
}

/// 409 of a generated name that is taken after the last try.
pub(crate) fn no_unique_name(kind: Kind, name: &str) -> Refusal {
    let message = format_smolstr!(
        "{} \"{name}\" already exists, the server was not able to generate a unique name for the object",
        kind.resource()
    );
    Arc::new(Status { retry_after: Some(1), ..Status::new(Reason::AlreadyExists, message) })
}

/// 409 of a DELETE for another identity. Names the kind, not the resource.
pub(crate) fn uid_precondition(kind: Kind, name: &str, asked: Uid, stored: Uid) -> Refusal {
    Arc::new(Status::new(
        Reason::Conflict,
        format_smolstr!(
            "Operation cannot be fulfilled on {} \"{name}\": the UID in the precondition ({asked}) does not match the UID \
             in record ({stored}). The object might have been deleted and then recreated",
            kind.qualified()
        ),
    ))
}

/// 409 of a DELETE for another version.
pub(crate) fn version_precondition(kind: Kind, name: &str, asked: u64, stored: u64) -> Refusal {
    Arc::new(Status::new(
        Reason::Conflict,
        format_smolstr!(
            "Operation cannot be fulfilled on {} \"{name}\": the ResourceVersion in the precondition ({asked}) does not \
             match the ResourceVersion in record ({stored}). The object might have been modified",
            kind.qualified()
        ),
    ))
}

/// 403 of an admission plugin.
pub(crate) fn forbidden(kind: Kind, name: &str, why: &str) -> Refusal {
    Arc::new(Status::new(Reason::Forbidden, forbidden_text(kind, name, why)))
}

/// `pods "p" is forbidden: …`
pub(crate) fn forbidden_text(kind: Kind, name: &str, why: &str) -> Str {
    match name {
        "" => format_smolstr!("{} is forbidden: {why}", kind.resource()),
        name => format_smolstr!("{} \"{name}\" is forbidden: {why}", kind.resource()),
    }
}

/// 410 of a watch that starts before the kept history.
pub(crate) fn too_old(asked: u64, floor: u64) -> Refusal {
    Arc::new(Status::new(Reason::Expired, format_smolstr!("too old resource version: {asked} ({floor})")))
}

/// The problems of one object, in the order of validation; one 422 for all of them.
#[derive(Default, Debug)]
pub(crate) struct Problems(Vec<(Str, Str)>);

impl Problems {
    /// Adds the problem of `field`; `what` is the text after `field: `.
    pub(crate) fn add(&mut self, field: impl Into<Str>, what: impl Into<Str>) {
        self.0.push((field.into(), what.into()));
    }
    /// 422 if there is any problem.
    pub(crate) fn check(self, kind: Kind, name: &str) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(self.status(&kind.qualified(), name)) }
    }
    /// The 422.
    pub(crate) fn status(self, what: &str, name: &str) -> Refusal {
        let all: Vec<String> = self.0.iter().map(|(field, text)| format!("{field}: {text}")).collect();
        let list = if let [one] = all.as_slice() { one.clone() } else { format!("[{}]", all.join(", ")) };
        let message = format_smolstr!("{what} \"{name}\" is invalid: {list}");
        Arc::new(Status { causes: self.0, ..Status::new(Reason::Invalid, message) })
    }
}
