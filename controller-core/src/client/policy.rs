//! What the service client does about a failed attempt: repeat it or not, and after which wait. Pure functions.
//!
//! Source: actions-service.md §1.3, §1.7 (go-retryablehttp 0.7 with its defaults), recorded in c_token, c_msg_http,
//! b_github_create, b_github_remove.

use std::sync::Arc;

use arc_api::service::{Exception, Op, ServiceError};
use arc_api::{Duration, Str, format_smolstr};

use crate::behaviour::{HttpTimeout, RegistrationRetry};
use crate::call::{CallError, Transport};

/// Attempts of one HTTP exchange.
pub const ATTEMPTS: u32 = 5;

/// Whether the HTTP layer repeats after this: transport errors, 429 and 5xx except 501.
pub(super) fn is_retryable(error: &CallError) -> bool {
    match error {
        CallError::Transport(Transport::Cancelled) => false,
        CallError::Transport(Transport::Refused | Transport::Reset | Transport::Timeout) => true,
        CallError::Service(e) => e.status == 429 || e.status >= 500 && e.status != 501,
        CallError::Api(_) => false,
    }
}

/// 401 or 403: what step C repeats because registration tokens are eventually consistent (#3377).
pub(super) fn is_refused(error: &CallError) -> bool {
    error.service().is_some_and(|e| matches!(e.status, 401 | 403))
}

/// The wait after the `failed`-th attempt: 1, 2, 4, 8 s, or what the service asks for with 429 and 503.
pub(super) fn wait(failed: u32, error: &CallError) -> Duration {
    let asked = error.service().filter(|e| matches!(e.status, 429 | 503)).and_then(|e| e.retry_after);
    match asked {
        Some(seconds) => Duration::from_secs(seconds.into()),
        None => Duration::from_secs(1 << (failed - 1).min(5)).min(Duration::from_secs(30)),
    }
}

/// The wait before step C is repeated without its body for the `round`-th time; `None` when it is not.
///
/// 0.10.0 adds a jitter that is nanoseconds by mistake (Q-REG-JITTER-NS): none.
pub(super) fn registration_wait(rule: RegistrationRetry, round: u32) -> Option<Duration> {
    match rule {
        RegistrationRetry::None | RegistrationRetry::FourWithBody => None,
        RegistrationRetry::ThreeEmpty => (round <= 3).then(|| Duration::from_millis(500) * (round + 1)),
        RegistrationRetry::FiveEmpty => (round <= 5).then(|| Duration::from_secs(1 << (round - 1)).min(MAX_SLEEP)),
    }
}

const MAX_SLEEP: Duration = Duration::from_secs(20);

/// How long one attempt may take.
pub(super) fn timeout(rule: HttpTimeout, op: &Op) -> Option<Duration> {
    match rule {
        HttpTimeout::None => None,
        HttpTimeout::FiveMinutes => Some(Duration::from_secs(300)),
        HttpTimeout::ByCall if matches!(op, Op::GetMessage { .. }) => Some(Duration::from_secs(120)),
        HttpTimeout::ByCall => Some(Duration::from_secs(30)),
    }
}

/// The error after the last attempt: body and type of the answer are lost, only the status is known.
pub(super) fn exhausted(op: &Op, error: CallError) -> CallError {
    match error {
        CallError::Service(e) => {
            let (method, path) = endpoint(op);
            let message = format_smolstr!("{method} {path} giving up after {ATTEMPTS} attempt(s)");
            CallError::Service(Arc::new(ServiceError::new(e.status, Exception::None, message)))
        }
        CallError::Transport(_) | CallError::Api(_) => error,
    }
}

/// Whether Go's transport repeats the request by itself when a kept-alive connection turns out to be closed.
pub(super) fn is_get(op: &Op) -> bool {
    endpoint(op).0 == "GET"
}

/// Method and path of an operation, for error texts. The base URL is not known here.
pub fn endpoint(op: &Op) -> (&'static str, Str) {
    const SETS: &str = "_apis/runtime/runnerscalesets";
    const AGENTS: &str = "_apis/distributedtask/pools/0/agents";
    match op {
        Op::AccessToken => ("POST", "app/installations/access_tokens".into()),
        Op::RegistrationToken { .. } => ("POST", "actions/runners/registration-token".into()),
        Op::RunnerRegistration { .. } => ("POST", "actions/runner-registration".into()),
        Op::GetScaleSet { .. } => ("GET", SETS.into()),
        Op::GetScaleSetById(id) => ("GET", format_smolstr!("{SETS}/{id}")),
        Op::CreateScaleSet { .. } => ("POST", SETS.into()),
        Op::UpdateScaleSet { id, .. } => ("PATCH", format_smolstr!("{SETS}/{id}")),
        Op::DeleteScaleSet(id) => ("DELETE", format_smolstr!("{SETS}/{id}")),
        Op::GetRunnerGroup { .. } => ("GET", "_apis/runtime/runnergroups/".into()),
        Op::CreateSession { id, .. } => ("POST", format_smolstr!("{SETS}/{id}/sessions")),
        Op::RefreshSession { id, session } => ("PATCH", format_smolstr!("{SETS}/{id}/sessions/{session}")),
        Op::DeleteSession { id, session } => ("DELETE", format_smolstr!("{SETS}/{id}/sessions/{session}")),
        Op::GetMessage { id, .. } => ("GET", format_smolstr!("{SETS}/{id}/messages")),
        Op::DeleteMessage { id, message } => ("DELETE", format_smolstr!("{SETS}/{id}/messages/{message}")),
        Op::AcquireJobs { id, .. } => ("POST", format_smolstr!("{SETS}/{id}/acquirejobs")),
        Op::GetAcquirableJobs(id) => ("GET", format_smolstr!("{SETS}/{id}/acquirablejobs")),
        Op::GenerateJitConfig { id, .. } => ("POST", format_smolstr!("{SETS}/{id}/generatejitconfig")),
        Op::GetRunner(id) => ("GET", format_smolstr!("{AGENTS}/{id}")),
        Op::GetRunnerByName(_) => ("GET", AGENTS.into()),
        Op::RemoveRunner(id) => ("DELETE", format_smolstr!("{AGENTS}/{id}")),
        Op::RunnerConnect { .. } | Op::RunnerPoll | Op::RunnerRenew | Op::RunnerComplete(_) | Op::RunnerDisconnect => {
            ("POST", "runner".into())
        }
    }
}
