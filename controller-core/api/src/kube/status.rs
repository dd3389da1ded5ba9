//! How a server refuses: reasons and texts. Decides nothing.

use super::*;

/// `reason` of a `Status`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[allow(missing_docs)]
pub enum Reason {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    AlreadyExists,
    Conflict,
    Expired,
    RequestEntityTooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyRequests,
    InternalError,
    ServerTimeout,
    ServiceUnavailable,
    Timeout,
    /// Answers that carry no reason.
    Unknown,
}

impl Reason {
    /// The HTTP status it comes with.
    pub const fn code(self) -> u16 {
        match self {
            Reason::BadRequest => 400,
            Reason::Unauthorized => 401,
            Reason::Forbidden => 403,
            Reason::NotFound => 404,
            Reason::MethodNotAllowed => 405,
            Reason::AlreadyExists | Reason::Conflict => 409,
            Reason::Expired => 410,
            Reason::RequestEntityTooLarge => 413,
            Reason::UnsupportedMediaType => 415,
            Reason::Invalid => 422,
            Reason::TooManyRequests => 429,
            Reason::InternalError | Reason::ServerTimeout | Reason::Unknown => 500,
            Reason::ServiceUnavailable => 503,
            Reason::Timeout => 504,
        }
    }
}

/// A refusal of the API server (`kind: Status`, `status: Failure`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// HTTP status.
    pub code: u16,
    /// Machine-readable reason: the one thing clients decide on.
    pub reason: Reason,
    /// The text, as the real server writes it.
    pub message: Str,
    /// `details.causes[].field` with their messages, for 422.
    pub causes: Vec<(Str, Str)>,
    /// `details.retryAfterSeconds`.
    pub retry_after: Option<u32>,
}

impl Status {
    /// A refusal with the reason's usual HTTP status.
    pub fn new(reason: Reason, message: impl Into<Str>) -> Status {
        Status { code: reason.code(), reason, message: message.into(), causes: Vec::new(), retry_after: None }
    }
    /// 404 of one object.
    pub fn not_found(kind: Kind, name: &str) -> Status {
        Status::new(Reason::NotFound, crate::format_smolstr!("{} \"{name}\" not found", kind.resource()))
    }
    /// 404 NotFound.
    pub fn is_not_found(&self) -> bool {
        self.reason == Reason::NotFound
    }
    /// 409 AlreadyExists.
    pub fn is_already_exists(&self) -> bool {
        self.reason == Reason::AlreadyExists
    }
    /// 409 Conflict.
    pub fn is_conflict(&self) -> bool {
        self.reason == Reason::Conflict
    }
    /// 422 Invalid.
    pub fn is_invalid(&self) -> bool {
        self.reason == Reason::Invalid
    }
    /// 403 Forbidden.
    pub fn is_forbidden(&self) -> bool {
        self.reason == Reason::Forbidden
    }
}

/// An answer of the API server.
pub type KubeReply = Result<KubeOk, Arc<Status>>;
