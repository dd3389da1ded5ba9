//! GitHub's side of the wire: operations E1–E17, the bootstrap steps, the runner's calls, and their answers.
//!
//! Source: actions-service.md §1–§3, §6. Tokens are opaque counters; bodies are typed.

use std::sync::Arc;

use crate::{GroupId, JobId, MessageId, RequestId, RunnerId, ScaleSetId, SessionId, Str, Time, Token};

/// One request to the service.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceRequest {
    /// What it authenticates with.
    pub auth: Auth,
    /// What it asks.
    pub op: Op,
}

/// Credentials of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Auth {
    /// A personal access token or an App's installation credentials, as they stand in the GitHub secret.
    Secret(Arc<Credentials>),
    /// An installation token (step A) presented to step B.
    Installation(Token),
    /// A registration token (step B) presented to step C.
    Registration(Token),
    /// The admin token of step C.
    Admin(Token),
    /// A session's `messageQueueAccessToken`.
    Queue(Token),
    /// A runner's JIT configuration or what it was exchanged for.
    Runner(Token),
}

/// What the GitHub secret holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Credentials {
    /// `github_token`.
    Pat(Str),
    /// `github_app_id`, `github_app_installation_id`, `github_app_private_key`.
    App {
        /// App id or client id.
        app_id: Str,
        /// Installation.
        installation_id: Str,
        /// Key.
        private_key: Str,
    },
}

/// An operation. Comments give the number of actions-service.md §2.1.
#[derive(Clone, PartialEq, Debug)]
pub enum Op {
    /// Step A (Apps only).
    AccessToken,
    /// Step B. `url` is the configured URL: enterprise, organisation or repository.
    RegistrationToken {
        /// Scope.
        url: Str,
    },
    /// Step C. `has_body` is false on the retries of 0.9.0–0.13.1 (Q-REG-RETRY-EMPTY-BODY).
    RunnerRegistration {
        /// Scope.
        url: Str,
        /// Whether the JSON body was sent.
        has_body: bool,
    },
    /// E1.
    GetScaleSet {
        /// Group.
        group: GroupId,
        /// Name.
        name: Str,
    },
    /// E2.
    GetScaleSetById(ScaleSetId),
    /// E3.
    CreateScaleSet {
        /// Group.
        group: GroupId,
        /// Name.
        name: Str,
        /// Labels, the set's own name first.
        labels: Vec<Str>,
    },
    /// E4; absent members are unchanged.
    UpdateScaleSet {
        /// Which.
        id: ScaleSetId,
        /// New group.
        group: Option<GroupId>,
        /// New name.
        name: Option<Str>,
    },
    /// E5.
    DeleteScaleSet(ScaleSetId),
    /// E6.
    GetRunnerGroup {
        /// Name.
        name: Str,
    },
    /// E7.
    CreateSession {
        /// Scale set.
        id: ScaleSetId,
        /// Listener pod name.
        owner: Str,
    },
    /// E8.
    RefreshSession {
        /// Scale set.
        id: ScaleSetId,
        /// Session.
        session: SessionId,
    },
    /// E9.
    DeleteSession {
        /// Scale set.
        id: ScaleSetId,
        /// Session.
        session: SessionId,
    },
    /// E10, a long poll.
    GetMessage {
        /// Scale set (from the queue URL).
        id: ScaleSetId,
        /// 0 is absent.
        last: MessageId,
        /// `X-ScaleSetMaxCapacity` (0.9.1 on).
        capacity: Option<i32>,
    },
    /// E11.
    DeleteMessage {
        /// Scale set.
        id: ScaleSetId,
        /// Message.
        message: MessageId,
    },
    /// E12. `None` is the literal `null` of 0.8.0–0.8.2 (Q-ACQ-NULL-IDS).
    AcquireJobs {
        /// Scale set.
        id: ScaleSetId,
        /// Offers.
        requests: Option<Vec<RequestId>>,
    },
    /// E13.
    GetAcquirableJobs(ScaleSetId),
    /// E14.
    GenerateJitConfig {
        /// Scale set.
        id: ScaleSetId,
        /// Runner name.
        name: Str,
        /// Runner container's working directory.
        work_folder: Str,
    },
    /// E15.
    GetRunner(RunnerId),
    /// E16.
    GetRunnerByName(Str),
    /// E17.
    RemoveRunner(RunnerId),
    /// A runner process presents its JIT configuration and opens its session.
    RunnerConnect {
        /// JIT configuration.
        jit: Token,
        /// Runner version, for the service's minimum.
        version: Str,
    },
    /// A connected runner's long poll for a job.
    RunnerPoll,
    /// A busy runner renews its lease.
    RunnerRenew,
    /// A busy runner reports its job's end; the ephemeral registration goes with it.
    RunnerComplete(JobResult),
    /// A runner leaves; the registration stays.
    RunnerDisconnect,
}

impl Op {
    /// `E7`, or the name of a bootstrap or runner step: how recordings and traces name it.
    pub const fn code(&self) -> &'static str {
        match self {
            Op::AccessToken => "access-token",
            Op::RegistrationToken { .. } => "registration-token",
            Op::RunnerRegistration { .. } => "runner-registration",
            Op::GetScaleSet { .. } => "E1",
            Op::GetScaleSetById(_) => "E2",
            Op::CreateScaleSet { .. } => "E3",
            Op::UpdateScaleSet { .. } => "E4",
            Op::DeleteScaleSet(_) => "E5",
            Op::GetRunnerGroup { .. } => "E6",
            Op::CreateSession { .. } => "E7",
            Op::RefreshSession { .. } => "E8",
            Op::DeleteSession { .. } => "E9",
            Op::GetMessage { .. } => "E10",
            Op::DeleteMessage { .. } => "E11",
            Op::AcquireJobs { .. } => "E12",
            Op::GetAcquirableJobs(_) => "E13",
            Op::GenerateJitConfig { .. } => "E14",
            Op::GetRunner(_) => "E15",
            Op::GetRunnerByName(_) => "E16",
            Op::RemoveRunner(_) => "E17",
            Op::RunnerConnect { .. } => "runner-connect",
            Op::RunnerPoll => "runner-next",
            Op::RunnerRenew => "runner-renew",
            Op::RunnerComplete(_) => "runner-finish",
            Op::RunnerDisconnect => "runner-disconnect",
        }
    }
    /// The name scenario files use, e.g. `create_session`.
    pub const fn name(&self) -> &'static str {
        match self {
            Op::AccessToken => "access_token",
            Op::RegistrationToken { .. } => "registration_token",
            Op::RunnerRegistration { .. } => "runner_registration",
            Op::GetScaleSet { .. } => "get_scaleset",
            Op::GetScaleSetById(_) => "get_scaleset_by_id",
            Op::CreateScaleSet { .. } => "create_scaleset",
            Op::UpdateScaleSet { .. } => "update_scaleset",
            Op::DeleteScaleSet(_) => "delete_scaleset",
            Op::GetRunnerGroup { .. } => "get_runner_group",
            Op::CreateSession { .. } => "create_session",
            Op::RefreshSession { .. } => "refresh_session",
            Op::DeleteSession { .. } => "delete_session",
            Op::GetMessage { .. } => "get_message",
            Op::DeleteMessage { .. } => "delete_message",
            Op::AcquireJobs { .. } => "acquire_jobs",
            Op::GetAcquirableJobs(_) => "acquirable_jobs",
            Op::GenerateJitConfig { .. } => "generate_jit",
            Op::GetRunner(_) => "get_runner",
            Op::GetRunnerByName(_) => "get_runner_by_name",
            Op::RemoveRunner(_) => "remove_runner",
            Op::RunnerConnect { .. } => "runner_connect",
            Op::RunnerPoll => "runner_poll",
            Op::RunnerRenew => "runner_renew",
            Op::RunnerComplete(_) => "runner_complete",
            Op::RunnerDisconnect => "runner_disconnect",
        }
    }
    /// Names of all operations, for scenario files.
    pub const NAMES: &'static [&'static str] = &[
        "access_token",
        "registration_token",
        "runner_registration",
        "get_scaleset",
        "get_scaleset_by_id",
        "create_scaleset",
        "update_scaleset",
        "delete_scaleset",
        "get_runner_group",
        "create_session",
        "refresh_session",
        "delete_session",
        "get_message",
        "delete_message",
        "acquire_jobs",
        "acquirable_jobs",
        "generate_jit",
        "get_runner",
        "get_runner_by_name",
        "remove_runner",
        "runner_connect",
        "runner_poll",
        "runner_renew",
        "runner_complete",
        "runner_disconnect",
    ];
}

/// How a job ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum JobResult {
    Succeeded,
    Failed,
    Canceled,
}

/// A good answer.
#[derive(Clone, PartialEq, Debug)]
pub enum ServiceOk {
    /// Steps A and B.
    Token(Token),
    /// Step C: the admin token and its `exp`.
    Admin {
        /// Token.
        token: Token,
        /// Its `exp` claim.
        expires: Time,
    },
    /// E1 (nothing found: `None`), E2, E3, E4.
    ScaleSet(Option<Arc<ScaleSetInfo>>),
    /// E6; group 0 when no group has that name (an empty list is not a refusal).
    Group(GroupId),
    /// E7, E8.
    Session(Arc<Session>),
    /// E10: 200.
    Message(Arc<Message>),
    /// E10 or runner poll: 202.
    Nothing,
    /// E10: 200 with a body of which not even the message's id can be read.
    Malformed(Malformed),
    /// E10: 200 with a message that can be named, and so deleted, but not handled: undecodable events
    /// ([`Malformed::Truncated`]), an unknown envelope, no statistics. It comes again until it is deleted.
    Poison {
        /// The message.
        id: MessageId,
        /// What is wrong with it.
        why: Malformed,
    },
    /// E12: what was really acquired.
    Acquired(Vec<RequestId>),
    /// E13.
    Acquirable(Vec<JobEvent>),
    /// E14.
    Jit {
        /// Registration.
        runner: RunnerInfo,
        /// `encodedJITConfig`.
        jit: Token,
    },
    /// E15, E16 (nothing found: `None`).
    Runner(Option<RunnerInfo>),
    /// 204: E5, E9, E11, E17, runner calls.
    Done,
    /// RunnerConnect: the runner's own token.
    Connected {
        /// Registration.
        runner: RunnerId,
        /// Token of its further calls.
        token: Token,
    },
    /// RunnerPoll: a job, which is running from now on.
    Job(Arc<JobOrder>),
    /// RunnerPoll or RunnerRenew of a busy runner: the job was cancelled and is to be stopped (`JobCancellation`).
    CancelJob(JobId),
}

/// A body that cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Malformed {
    /// 200 with no body.
    Empty,
    /// A body cut short.
    Truncated,
    /// An envelope of an unknown type.
    UnknownType,
    /// An envelope without statistics.
    NoStatistics,
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceError {
    /// HTTP status.
    pub status: u16,
    /// `typeName`, shortened to its class.
    pub exception: Exception,
    /// Text.
    pub message: Str,
    /// `Retry-After` in seconds (429, 503).
    pub retry_after: Option<u32>,
}

impl ServiceError {
    /// A refusal.
    pub fn new(status: u16, exception: Exception, message: impl Into<Str>) -> ServiceError {
        ServiceError { status, exception, message: message.into(), retry_after: None }
    }
}

macro_rules! exceptions {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// The exception classes that clients tell apart (actions-service.md §1.9).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub enum Exception { $($(#[$doc])* $name),* }
        impl Exception {
            /// The `typeName` without its namespace; empty for [`Exception::None`].
            pub const fn as_str(self) -> &'static str { match self { $(Exception::$name => $text),* } }
            /// By its `typeName`.
            pub fn from_name(name: &str) -> Option<Exception> { match name { $($text => Some(Exception::$name),)* _ => None } }
        }
    };
}
exceptions! {
    /// No body, or one without a type.
    None = "",
    /// 409 at E14: the name is taken.
    AgentExists = "AgentExistsException",
    /// 404 at E15.
    AgentNotFound = "AgentNotFoundException",
    /// 400 at E17: the runner is busy.
    JobStillRunning = "JobStillRunningException",
    /// 404 on anything of a scale set that is gone.
    ScaleSetNotFound = "RunnerScaleSetNotFoundException",
    /// 409 at E3.
    ScaleSetExists = "RunnerScaleSetExistsException",
    /// 409 at E7.
    SessionConflict = "RunnerScaleSetSessionConflictException",
    /// 400 at E8, E9.
    SessionExpired = "RunnerScaleSetSessionExpiredException",
    /// 404 at E8 when the broker lost the session.
    RunnerAdmin = "RunnerAdminException",
    /// 401.
    InvalidToken = "InvalidTokenException",
    /// 401 at RunnerConnect: the registration is gone.
    InvalidClient = "invalid_client",
    /// 409 at RunnerConnect: another process of this registration is connected.
    RunnerSessionConflict = "TaskAgentSessionConflictException",
    /// Runner poll: the registration is gone.
    RunnerNotFound = "RunnerNotFound",
    /// Runner calls: the version is refused.
    RunnerVersionTooOld = "RunnerVersionTooOld",
    /// Runner poll: the job message no longer exists.
    JobNotFound = "AcknowledgeJobNotFound",
}

/// An answer of the service.
pub type ServiceReply = Result<ServiceOk, Arc<ServiceError>>;

/// A scale set as E1–E4 answer it.
#[derive(Clone, PartialEq, Debug)]
pub struct ScaleSetInfo {
    /// Id.
    pub id: ScaleSetId,
    /// Name.
    pub name: Str,
    /// Group.
    pub group: GroupId,
    /// Group's name.
    pub group_name: Str,
    /// Labels.
    pub labels: Vec<Str>,
    /// Counters.
    pub statistics: Statistics,
}

/// A session as E7 and E8 answer it.
#[derive(Clone, PartialEq, Debug)]
pub struct Session {
    /// Session.
    pub id: SessionId,
    /// Owner.
    pub owner: Str,
    /// Scale set.
    pub scale_set: ScaleSetId,
    /// Token for E10, E11, E12.
    pub queue_token: Token,
    /// Counters; `None` emulates a service that leaves them out.
    pub statistics: Option<Statistics>,
}

/// A registration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunnerInfo {
    /// Id.
    pub id: RunnerId,
    /// Name.
    pub name: Str,
    /// Its scale set.
    pub scale_set: ScaleSetId,
}

/// The counters that come with sessions and messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Statistics {
    pub total_available_jobs: i32,
    pub total_acquired_jobs: i32,
    /// Waiting for a runner plus running: the only counter that drives scaling.
    pub total_assigned_jobs: i32,
    pub total_running_jobs: i32,
    pub total_registered_runners: i32,
    pub total_busy_runners: i32,
    pub total_idle_runners: i32,
}

/// A message of the queue.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// Strictly increasing per scale set.
    pub id: MessageId,
    /// Body.
    pub events: Vec<JobEvent>,
    /// Counters at delivery.
    pub statistics: Statistics,
}

/// What happened to a job.
#[derive(Clone, PartialEq, Debug)]
pub struct JobEvent {
    /// What.
    pub kind: JobEventKind,
    /// The job.
    pub job: Arc<JobInfo>,
}

/// Kinds of job events.
#[derive(Clone, PartialEq, Debug)]
pub enum JobEventKind {
    /// Offered (pipelines personality).
    Available,
    /// Bound to the scale set.
    Assigned,
    /// A runner took it.
    Started {
        /// Registration.
        runner: RunnerId,
        /// Its name.
        runner_name: Str,
    },
    /// Over; runner 0 and an empty name if it never had one.
    Completed {
        /// Registration.
        runner: RunnerId,
        /// Its name.
        runner_name: Str,
        /// How.
        result: JobResult,
    },
    /// A type the clients do not know.
    Unknown,
}

/// What messages say about a job.
#[derive(Clone, PartialEq, Debug)]
pub struct JobInfo {
    /// Job.
    pub id: JobId,
    /// 0 in the broker personality.
    pub request: RequestId,
    /// Title.
    pub display_name: Str,
    /// `owner/name`.
    pub repository: Str,
    /// Workflow file and ref.
    pub workflow_ref: Str,
    /// Run.
    pub workflow_run: i64,
}

/// A job as the runner gets it.
#[derive(Clone, PartialEq, Debug)]
pub struct JobOrder {
    /// Job.
    pub id: JobId,
    /// How long its work takes, in virtual time.
    pub runs_for: crate::Duration,
    /// How it ends if nothing goes wrong.
    pub result: JobResult,
    /// What it needs.
    pub needs: JobNeeds,
}

/// What a job asks of its runner.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobNeeds {
    /// Talks to the docker daemon this long after it began.
    pub docker_after: Option<crate::Duration>,
    /// Runs in a workflow pod (`container:`).
    pub container: bool,
    /// Is silent for this long in one step.
    pub silent_for: Option<crate::Duration>,
}
