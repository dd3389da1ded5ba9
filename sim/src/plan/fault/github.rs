//! Parameters of the faults of GitHub and its Actions service. Never carries one out.

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::*;
use super::*;

params! {
    /// A GitHub or Actions endpoint answers an error.
    GhError {
        /// Which operation.
        op: GhOp,
        /// HTTP status of the answer.
        #[schemars(range(min = 400, max = 599))]
        status: u16,
        /// Class in the answer's `typeName`; default: the one that belongs to operation and status, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exception: Option<Str>,
        /// Message in the body.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Str>,
        /// `Retry-After`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<Dur>,
        /// Whether the request is carried out all the same.
        #[serde(default, skip_serializing_if = "is_false")]
        applied: bool,
        /// Share of the requests that fail.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many failures.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Whose requests.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// Right status, wrong body.
    GhMalformed {
        /// Which operation.
        op: GhOp,
        /// How.
        mode: MalformedMode,
        /// The absent field (`missing_field`), e.g. `statistics` or `messageQueueUrl`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        field: Option<Str>,
        /// Whether the request is carried out (true), or answered so at once (false).
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        applied: bool,
        /// At most so often in a time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<Rate>,
        /// Share of the answers.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Whose requests.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// A request to GitHub is accepted and answered late or never.
    GhHang {
        /// Which operation.
        op: GhOp,
        /// How late each attempt is answered; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration: Option<Delay>,
        /// Whether the request is carried out at once (true) or only when it is answered (false).
        #[serde(default = "yes", skip_serializing_if = "is_true")]
        applied: bool,
        /// Share of the requests.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Whose requests.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// A token bucket on chosen operations.
    GhRateLimit {
        /// Which operations share the budget.
        #[schemars(length(min = 1))]
        ops: Vec<GhOp>,
        /// The budget.
        budget: Rate,
        /// Whose budget it is.
        key: RateKey,
        /// The refusal's status: 429 or 403.
        #[schemars(range(min = 403, max = 429))]
        answer: u16,
        /// `Retry-After` of the refusal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after: Option<Dur>,
        /// Whose requests.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// The life of a listener's message session or of a runner's session.
    GhSession {
        /// What happens.
        mode: SessionMode,
        /// How long a session outlives its owner (`ghost`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl: Option<Dur>,
        /// Whose session.
        #[serde(default = "SessionOf::listener")]
        of: SessionOf,
        /// Which scale set or runner.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// The life of tokens, and where in the protocol their end falls. One of `life`, `falls_on` and `revoke` is stated.
    GhTokenExpiry {
        /// Which tokens.
        token: TokenKind,
        /// Life of tokens issued while the fault lasts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        life: Option<Dur>,
        /// The token ends just before this request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        falls_on: Option<TokenPoint>,
        /// Every token of the kind that exists ends at once.
        #[serde(default, skip_serializing_if = "is_false")]
        revoke: bool,
        /// At most so many tokens.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Whose tokens.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// Messages of a scale set's queue are delayed, lost, repeated, reordered or invented.
    GhMessage {
        /// Which events.
        #[serde(rename = "type")]
        type_: MessageType,
        /// What happens to them.
        mode: MessageMode,
        /// How late (`delay`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Delay>,
        /// Instead of an event, the injected message has this (`inject`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<InjectedBody>,
        /// Share of the events.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Whose events.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// Statistics disagree with the truth.
    GhStats {
        /// Which counter.
        field: StatsField,
        /// How.
        mode: StatsMode,
        /// How much too many (`add`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        add: Option<i32>,
        /// Whether the fault ends when the scale set is registered anew.
        #[serde(default, skip_serializing_if = "is_false")]
        until_reregistered: bool,
        /// Whose statistics.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// Eventually consistent reads and busy flags of the service.
    GhStaleView {
        /// Which read.
        op: StaleOp,
        /// How far it is behind.
        lag: Delay,
        /// Share of the reads.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Whose reads.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// The service withdraws or mis-states a job.
    GhJobState {
        /// How.
        mode: JobStateMode,
        /// What the runner does then.
        #[serde(default = "RunnerEffect::stays_up")]
        runner_effect: RunnerEffect,
        /// How long after the job's start (`premature_completed`, `lease_lost`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<Delay>,
        /// Share of the jobs.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many jobs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Whose jobs.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// Options of the service are others for a while; absent ones stay.
    GhSettings {
        /// How long an empty poll is held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        poll_hold: Option<Dur>,
        /// Life of a message session without requests.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session_ttl: Option<Dur>,
        /// Life of admin tokens that are issued meanwhile.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        admin_token_ttl: Option<Dur>,
        /// How long an assigned job waits for a runner.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pickup_timeout: Option<Dur>,
        /// How often a job is assigned.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pickup_tries: Option<u32>,
    }
    /// Runner registrations vanish. One of `fraction` and `names` is stated.
    GhRegistrationLoss {
        /// Share of the registrations that exist when the fault begins, and of those made while it lasts.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fraction: Option<Ratio>,
        /// These runners.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        names: Vec<Glob>,
        /// What their processes do.
        #[serde(default = "RunnerEffect::stays_up")]
        runner_effect: RunnerEffect,
        /// Whose registrations.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
    /// A scale set is removed on the service's side.
    GhScalesetLoss {
        /// Which.
        scale_set: SetRef,
        /// Why: what the service answers afterwards is the same.
        #[serde(default = "LossCause::admin")]
        cause: LossCause,
    }
    /// The service refuses runner versions; the runner exits with 7.
    GhVersionReject {
        /// Versions, e.g. `2.328.0` or `*`; empty is every version that runs when the fault begins.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        versions: Vec<Glob>,
        /// Exit code of the refused runner's container.
        #[serde(default = "seven")]
        exit_code: i32,
        /// Whose runners.
        #[serde(default, skip_serializing_if = "Scope::is_all")]
        scope: Scope,
    }
}
