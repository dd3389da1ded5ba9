//! Every refusal of the service, with its status, class and text, in one place. Decides nothing.
//!
//! Texts follow actions-service.md §1.9 and the reports it cites; where no report shows one, the text is our own and
//! clients only print it. Bodies become JSON at the HTTP edge.

use std::sync::Arc;

use arc_api::service::{Exception, ServiceError, ServiceReply};
use arc_api::{RequestId, RunnerId, ScaleSetId, SessionId, Str, format_smolstr};

use crate::settings::Personality;

/// A refused request.
pub(crate) type Refusal = Arc<ServiceError>;

/// One case, turned into status and text by [`refuse`].
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Why {
    /// Bad, expired or revoked admin or queue token.
    BadToken,
    /// A credential nobody knows (any more).
    BadCredentials,
    /// A credential that may not manage runners of this scope.
    WrongScope,
    /// Scope or App the credential cannot see.
    NotFound,
    /// Step C without its JSON body.
    EmptyRegistration(u16),
    /// The registration token is unknown, expired, or not yet everywhere.
    RegistrationToken,
    /// No such scale set.
    ScaleSet(ScaleSetId),
    /// The name is taken in this group.
    ScaleSetExists { name: Str, status: u16 },
    /// A session is open.
    SessionConflict { name: Str, owner: Str, personality: Personality },
    /// The session is over.
    DeadSession { session: SessionId, status: u16 },
    /// The message is gone.
    Message,
    /// The broker has no acquire.
    NoAcquire,
    /// `null` instead of ids.
    NullIds,
    /// Runner name taken.
    AgentExists(Str),
    /// No such runner.
    Agent(RunnerId),
    /// Busy.
    JobStillRunning { name: Str, request: RequestId },
    /// Runner's registration is gone, at its OAuth exchange.
    InvalidClient,
    /// Runner's session is open elsewhere.
    RunnerConflict,
    /// Runner's registration is gone, at its poll.
    RunnerGone,
    /// Runner version refused.
    Version(Str),
    /// The job is not (or no longer) this runner's.
    Job,
}

/// The refusal as it goes over the wire.
pub(crate) fn refuse(why: &Why) -> Refusal {
    let (status, exception, text): (u16, Exception, Str) = match why {
        Why::BadToken => (401, Exception::InvalidToken, "The access token is invalid or has expired.".into()),
        Why::BadCredentials => (401, Exception::None, "Bad credentials".into()),
        Why::WrongScope => (403, Exception::None, "Resource not accessible by personal access token".into()),
        Why::NotFound => (404, Exception::None, "Not Found".into()),
        Why::EmptyRegistration(status) => (*status, Exception::None, "Validation Failed".into()),
        Why::RegistrationToken => (401, Exception::InvalidToken, "The registration token is not valid.".into()),
        Why::ScaleSet(id) => {
            let text = format_smolstr!("No runner scale set found with identifier {id}.");
            (404, Exception::ScaleSetNotFound, text)
        }
        Why::ScaleSetExists { name, status } => {
            let text = format_smolstr!("A runner scale set named {name} exists in this runner group.");
            (*status, Exception::ScaleSetExists, text)
        }
        Why::SessionConflict { name, owner, personality } => {
            let text = match personality {
                Personality::Broker => {
                    format_smolstr!("The actions runner scaleset {name} already has an active session.")
                }
                Personality::AcquireRequired => {
                    format_smolstr!("The runner scale set {name} already has an active session for owner {owner}.")
                }
            };
            (409, Exception::SessionConflict, text)
        }
        Why::DeadSession { status: 404, session } => {
            let text = format_smolstr!("Session ID {session} was not found in redis.");
            (404, Exception::RunnerAdmin, text)
        }
        Why::DeadSession { status, session } => {
            let text = format_smolstr!("The session identifier {session} is not valid.");
            (*status, Exception::SessionExpired, text)
        }
        Why::Message => (404, Exception::None, "The message does not exist.".into()),
        Why::NoAcquire => (404, Exception::None, "404 page not found".into()),
        Why::NullIds => (400, Exception::None, "Value cannot be null.".into()),
        Why::AgentExists(name) => {
            (409, Exception::AgentExists, format_smolstr!("A runner exists with the name {name}."))
        }
        Why::Agent(id) => (404, Exception::AgentNotFound, format_smolstr!("No runner found with identifier {id}.")),
        Why::JobStillRunning { name, request } => {
            let text = format_smolstr!("The runner {name} is still running a job (request {request}).");
            (400, Exception::JobStillRunning, text)
        }
        Why::InvalidClient => {
            let text = "The runner registration has been deleted from the server.";
            (401, Exception::InvalidClient, text.into())
        }
        Why::RunnerConflict => {
            (409, Exception::RunnerSessionConflict, "A session for this runner already exists.".into())
        }
        Why::RunnerGone => (404, Exception::RunnerNotFound, "The runner registration was not found.".into()),
        Why::Version(version) => {
            let text = format_smolstr!("Runner version v{version} is deprecated and cannot receive messages.");
            (403, Exception::RunnerVersionTooOld, text)
        }
        Why::Job => (404, Exception::JobNotFound, "The job message was not found.".into()),
    };
    Arc::new(ServiceError::new(status, exception, text))
}

/// [`refuse`] as an answer.
pub(crate) fn refused(why: &Why) -> ServiceReply {
    Err(refuse(why))
}
