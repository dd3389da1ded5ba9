//! Last words: the telling part of the line a listener exits with, in the wording of its generation.
//!
//! **Never**: decides anything; no code depends on these texts. Ids of requests and the base URL are not modelled, so they are
//! empty or missing here.
//!
//! Source: actions-service.md §1.9 (error formats), §4.5 (exit texts).

use arc_api::kube::{Body as PatchBody, Patch};
use arc_api::{Str, format_smolstr};

use crate::behaviour::ErrorTexts;
use crate::call::{CallError, Transport};
use crate::client::Step;
use crate::scaler::Target;

/// Why a process ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failure<'a> {
    CreateSession(Step, &'a CallError),
    TooManyCreations,
    NoSessionStatistics,
    Seed(Step, &'a CallError),
    GetMessage {
        again: bool,
        error: &'a CallError,
    },
    EmptyPoll,
    Handle(Body),
    Refresh(Step, &'a CallError),
    Acquire(Step, &'a CallError),
    Delete(Step, &'a CallError),
    Started(&'a CallError),
    Scale {
        initial: bool,
        target: Target,
        error: &'a CallError,
    },
    /// SIGTERM between two calls.
    Cancelled,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body {
    Eof,
    Undecodable,
    UnknownType,
    NoStatistics,
}

/// The text of a patch that SIGTERM aborted.
pub(super) fn cancelled_patch() -> Str {
    "could not patch ephemeral runner set: context canceled".into()
}

/// Words a failure.
pub(super) fn render(texts: ErrorTexts, failure: &Failure<'_>) -> Str {
    let lib = texts == ErrorTexts::Scaleset;
    let session = |step, error| service(texts, step, error, true);
    let queue = |error| service(texts, Step::Operation, error, false);
    match *failure {
        Failure::CreateSession(step, e) if lib => format_smolstr!(
            "failed to create actions message session client: failed to create message session: {}",
            session(step, e)
        ),
        Failure::CreateSession(step, e) => {
            format_smolstr!("createSession failed: failed to create session: {}", session(step, e))
        }
        Failure::TooManyCreations => "failed to create session: exceeds 10 retry limit".into(),
        Failure::NoSessionStatistics => "session statistics is nil".into(),
        Failure::Seed(step, e) => format_smolstr!("failed to get acquirable jobs: {}", session(step, e)),
        Failure::GetMessage { again, error } if lib => {
            let prefix = if again { "" } else { "failed to get next message: " };
            format_smolstr!("failed to get message: {prefix}{}", queue(error))
        }
        Failure::GetMessage { again: true, error } => {
            format_smolstr!("failed to get next message after message session refresh: {}", queue(error))
        }
        Failure::GetMessage { again: false, error } => {
            format_smolstr!("failed to get message: failed to get next message: {}", queue(error))
        }
        Failure::EmptyPoll if lib => {
            "failed to parse message response: failed to decode runner scale set message response: EOF: unknown error"
                .into()
        }
        Failure::EmptyPoll => "failed to get next message: EOF".into(),
        Failure::Handle(body) => handle(lib, body).into(),
        Failure::Refresh(step, e) if lib => format_smolstr!("failed to refresh message session: {}", session(step, e)),
        Failure::Refresh(step, e) => format_smolstr!("refresh message session failed. {}", session(step, e)),
        Failure::Acquire(step, e) => {
            format_smolstr!("failed to handle message: failed to acquire jobs: {}", service(texts, step, e, false))
        }
        Failure::Delete(step, e) => {
            format_smolstr!("failed to handle message: failed to delete message: {}", service(texts, step, e, false))
        }
        Failure::Started(e) => {
            format_smolstr!("failed to handle message: failed to handle job started: {}", e.text())
        }
        Failure::Scale { initial, target, error } => {
            let prefix = if initial {
                "handling initial message failed"
            } else {
                "failed to handle message: failed to handle desired runner count"
            };
            let body = PatchBody::ErsSpec { replicas: Some(target.replicas), patch_id: target.patch_id };
            let patch = Patch::body(body).to_json();
            format_smolstr!(
                "{prefix}: could not patch ephemeral runner set , patch JSON: {patch}, error: {}",
                error.text()
            )
        }
        Failure::Cancelled => "context canceled".into(),
    }
}

fn handle(lib: bool, body: Body) -> &'static str {
    match (lib, body) {
        (true, Body::Undecodable | Body::Eof) => {
            "failed to parse message response: failed to unmarshal batched messages: unexpected end of JSON input: unknown error"
        }
        (true, Body::UnknownType) => "unsupported message type: unknown error",
        (_, Body::NoStatistics) => {
            "failed to handle message: failed to parse message: invalid message: statistics is nil"
        }
        (false, Body::Eof) => "failed to handle message: could not decode job messages: EOF",
        (false, Body::Undecodable) => {
            "failed to handle message: failed to parse message: failed to unmarshal batched messages: unexpected end of JSON input"
        }
        (false, Body::UnknownType) => "failed to handle message: failed to parse message: invalid message type",
    }
}

/// A service error as the client of a generation words it. `session`: E7, E8, E9 and E13 go through the session helper.
fn service(texts: ErrorTexts, step: Step, error: &CallError, session: bool) -> Str {
    let e = match error {
        CallError::Service(e) => e,
        CallError::Transport(Transport::Cancelled) => {
            return "giving up after 1 attempt(s): context canceled".into();
        }
        CallError::Transport(_) => return format_smolstr!("giving up after 5 attempt(s): {}", error.text()),
        CallError::Api(_) => return error.text(),
    };
    let (status, exception, message) = (e.status, e.exception.as_str(), e.message.as_str());
    let rest = step != Step::Operation;
    let expired = !session && !rest && status == 401;
    match texts {
        ErrorTexts::Plain if expired => format_smolstr!("{message}"),
        ErrorTexts::Plain => format_smolstr!("{status} - had issue communicating with Actions backend: {message}"),
        ErrorTexts::Actions | ErrorTexts::SessionRequest if rest => {
            format_smolstr!("github api error: StatusCode {status}, RequestID \"\": {message}")
        }
        ErrorTexts::Actions | ErrorTexts::SessionRequest if expired => {
            format_smolstr!("MessageQueueTokenExpiredError: {exception}: {message}")
        }
        ErrorTexts::SessionRequest if session => format_smolstr!(
            "failed to do the session request: actions error: StatusCode {status}, AcivityId \"\": {exception}: {message}"
        ),
        ErrorTexts::Actions | ErrorTexts::SessionRequest => {
            format_smolstr!("actions error: StatusCode {status}, AcivityId \"\": {exception}: {message}")
        }
        ErrorTexts::Scaleset => {
            let prefix = if session { "failed to do the session request: " } else { "" };
            let cause = if expired {
                Str::new_static("message queue token expired")
            } else {
                format_smolstr!("unexpected status code {status}")
            };
            format_smolstr!("{prefix}request failed(status=\"{status}\"): {cause}: {exception}: {message}")
        }
    }
}
