//! The named choices in fault parameters. Never decides what they do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words;

words! {
    /// An operation of GitHub or its Actions service.
    GhOp {
        AccessToken = "access_token", RegistrationToken = "registration_token", RunnerRegistration = "runner_registration",
        GetScaleset = "get_scaleset", GetScalesetById = "get_scaleset_by_id", CreateScaleset = "create_scaleset",
        UpdateScaleset = "update_scaleset", DeleteScaleset = "delete_scaleset", GetRunnerGroup = "get_runner_group",
        CreateSession = "create_session", RefreshSession = "refresh_session", DeleteSession = "delete_session",
        GetMessage = "get_message", DeleteMessage = "delete_message", AcquireJobs = "acquire_jobs",
        AcquirableJobs = "acquirable_jobs", GenerateJit = "generate_jit", GetRunner = "get_runner",
        GetRunnerByName = "get_runner_by_name", RemoveRunner = "remove_runner", RunnerConnect = "runner_connect",
        RunnerPoll = "runner_poll", RunnerRenew = "runner_renew", RunnerComplete = "runner_complete",
        RunnerDisconnect = "runner_disconnect", All = "all",
    }
}
words! {
    /// How a body is wrong.
    MalformedMode {
        /// 200 with no body at all.
        Empty200 = "empty_200",
        /// A body cut short.
        Truncated = "truncated",
        /// `field` is absent.
        MissingField = "missing_field",
        /// A message envelope of an unknown type.
        UnknownMessageType = "unknown_message_type",
        /// A job event of an unknown type.
        UnknownEventType = "unknown_event_type",
        /// A message with an empty array of events.
        EmptyArray = "empty_array",
    }
}
words! {
    /// What a rate budget belongs to.
    RateKey {
        /// One GitHub App or token.
        App = "app",
        /// One organisation.
        Org = "org",
        /// Everybody behind one address.
        Ip = "ip",
    }
}
words! {
    /// What happens to sessions.
    SessionMode {
        /// A session survives its owner for `ttl`.
        Ghost = "ghost",
        /// Somebody else holds the session while the fault lasts.
        Foreign = "foreign",
        /// The service forgets the session: poll 401, refresh 400.
        Evict = "evict",
    }
}
words! {
    /// Whose session.
    SessionOf {
        /// The listener's message session.
        Listener = "listener",
        /// A runner's own session.
        Runner = "runner",
    }
}
words! {
    /// A kind of token.
    TokenKind {
        /// A listener's `messageQueueAccessToken`.
        MessageQueue = "message_queue",
        /// The admin token of step C.
        Admin = "admin",
        /// The registration token of step B.
        Registration = "registration",
        /// A runner's own token.
        Runner = "runner",
    }
}
words! {
    /// The request before which a token ends.
    TokenPoint {
        /// get_message.
        Poll = "poll",
        /// delete_message.
        Ack = "ack",
        /// acquire_jobs.
        Acquire = "acquire",
        /// refresh_session.
        Refresh = "refresh",
    }
}
words! {
    /// A type of job event.
    MessageType {
        JobAvailable = "JobAvailable", JobAssigned = "JobAssigned", JobStarted = "JobStarted", JobCompleted = "JobCompleted",
        Any = "any",
    }
}
words! {
    /// What happens to messages.
    MessageMode {
        /// Delivered `by` later.
        Delay = "delay",
        /// Never delivered.
        Drop = "drop",
        /// Delivered twice under two ids.
        Duplicate = "duplicate",
        /// Delivered after its successor.
        Reorder = "reorder",
        /// Delivered again under the same id although it was acknowledged.
        Redeliver = "redeliver",
        /// An event about a job and runner that nobody knows; what is still in the log when the fault ends is taken out by hand.
        Inject = "inject",
    }
}
words! {
    /// What an injected message has instead of an event.
    InjectedBody {
        /// No events.
        EmptyArray = "empty_array",
        /// An event of an unknown type.
        UnknownEventType = "unknown_event_type",
        /// An envelope of an unknown type.
        UnknownMessageType = "unknown_message_type",
        /// A body cut short.
        Truncated = "truncated",
    }
}
words! {
    /// A signal that ends a process.
    EndSignal {
        /// SIGKILL: nothing can be tidied up.
        Kill = "kill",
        /// SIGTERM: the process ends as it sees fit; nobody sends SIGKILL after it.
        Term = "term",
    }
}
words! {
    /// A counter of the statistics.
    StatsField {
        TotalAvailable = "total_available", TotalAcquired = "total_acquired", TotalAssigned = "total_assigned",
        TotalRunning = "total_running", TotalRegistered = "total_registered", TotalBusy = "total_busy", TotalIdle = "total_idle",
        All = "all",
    }
}
words! {
    /// How a counter is wrong.
    StatsMode {
        /// Always 0.
        Zero = "zero",
        /// As it was when the fault began.
        Freeze = "freeze",
        /// The truth plus `add`.
        Add = "add",
    }
}
words! {
    /// A read that may be stale.
    StaleOp {
        /// The registration of a finished runner is still there.
        GetRunner = "get_runner",
        /// As above, by name.
        GetRunnerByName = "get_runner_by_name",
        /// A runner that just became busy still counts as idle.
        RemoveRunner = "remove_runner",
        /// A scale set's latest change is not seen yet.
        GetScaleset = "get_scaleset",
    }
}
words! {
    /// How a job is withdrawn or mis-stated.
    JobStateMode {
        /// The job message no longer exists when the runner asks for it.
        MessageNotFound = "message_not_found",
        /// JobCompleted is sent while the job runs on.
        PrematureCompleted = "premature_completed",
        /// The runner's lease is lost.
        LeaseLost = "lease_lost",
    }
}
words! {
    /// Why a scale set went away.
    LossCause { Admin = "admin", Inactivity = "inactivity", Incident = "incident" }
}
words! {
    /// How a credential is unusable.
    CredentialMode {
        /// 401 from now on.
        Revoked = "revoked",
        /// 401 from now on, because its time is over.
        Expired = "expired",
        /// 401, always.
        NeverExisted = "never_existed",
        /// 403 or 404: it lacks a permission.
        WrongScope = "wrong_scope",
    }
}
words! {
    /// What a link does.
    NetMode {
        /// Connections are refused.
        Refused = "refused",
        /// Connections are reset, established ones too.
        Reset = "reset",
        /// Nothing arrives, no error is seen.
        Blackhole = "blackhole",
        /// Established connections carry nothing any more; new ones work.
        BlackholeEstablished = "blackhole_established",
        /// The request is lost: not carried out, connection reset.
        LoseRequest = "lose_request",
        /// The reply is lost: carried out, connection reset.
        LoseReply = "lose_reply",
        /// The request arrives twice.
        Duplicate = "duplicate",
        /// Requests and replies are late.
        Delay = "delay",
    }
}
words! {
    /// How an API server is out.
    OutageMode {
        /// Connections stay open, nothing is answered until the end.
        Frozen = "frozen",
        /// Connections are refused, watches cut.
        Down = "down",
    }
}
words! {
    /// A refusal of the Kubernetes API.
    RejectClass {
        /// 422.
        Invalid = "Invalid",
        /// 403 `exceeded quota`.
        ForbiddenQuota = "Forbidden quota",
        /// 403 by an admission webhook or policy.
        ForbiddenWebhook = "Forbidden webhook",
        /// 403 by the authorizer.
        ForbiddenRbac = "Forbidden RBAC",
        /// 401.
        Unauthorized = "Unauthorized",
    }
}
words! {
    /// How a node fails.
    NodeMode { Drain = "drain", PressureEviction = "pressure_eviction", PowerOff = "power_off", Vanish = "vanish" }
}
words! {
    /// `status.reason` of a pod that the kubelet refused.
    RejectReason { OutOfPods = "OutOfpods", OutOfCpu = "OutOfcpu", OutOfMemory = "OutOfmemory" }
}
words! {
    /// A kind of pod.
    PodTarget { Runner = "runner", Workflow = "workflow", Listener = "listener", Controller = "controller", Any = "any" }
}
words! {
    /// What a pod waits for.
    PodDelayMode {
        /// A node.
        Unschedulable = "unschedulable",
        /// Its containers.
        SlowStart = "slow_start",
        /// Its image.
        ImagePullError = "image_pull_error",
    }
}
words! {
    /// How an init container fails.
    InitMode {
        /// It cannot be started.
        StartError = "start_error",
        /// It exits with `code`.
        Exit = "exit",
        /// It never ends.
        NeverCompletes = "never_completes",
    }
}
words! {
    /// A container that can end.
    ContainerTarget { Runner = "runner", Listener = "listener", Controller = "controller", Workflow = "workflow" }
}
words! {
    /// Why a container ended.
    ExitReason { Error = "Error", OomKilled = "OOMKilled", Completed = "Completed" }
}
words! {
    /// A phase in the life of a runner.
    ExitPhase {
        /// After its start, without having connected to the service.
        BeforeConnect = "before_connect",
        /// After its start and before it has a job.
        BeforeJob = "before_job",
        /// While its job runs.
        MidJob = "mid_job",
        /// After its job's end.
        AfterJob = "after_job",
    }
}
words! {
    /// A helper container.
    SidecarTarget {
        /// The docker daemon.
        Dind = "dind",
        /// One that an admission webhook added (mesh proxy, log shipper).
        Injected = "injected",
    }
}
words! {
    /// How a helper container fails.
    SidecarMode {
        ReadyDelay = "ready_delay", CrashAtStart = "crash_at_start", CrashMidJob = "crash_mid_job", OutlivesMain = "outlives_main",
    }
}
words! {
    /// How a volume fails.
    VolumeMode { Unbound = "unbound", SlowAttach = "slow_attach", MultiAttach = "multi_attach", Full = "full" }
}
words! {
    /// How an exec stream ends.
    ExecMode { CleanClose = "clean_close", Reset = "reset" }
}
