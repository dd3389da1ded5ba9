//! What goes into a runner process and what comes out of it: its environment, its inputs, its outputs. Values only; what is made
//! of them is [`super::Runner`]'s.

use arc_api::kube::{KubeOk, KubeRequest};
use arc_api::service::{JobResult, ServiceOk, ServiceRequest};
use arc_api::{Duration, JobId, Str, Time, Token};
use controller_core::call::CallError;

use super::super::hook::HookEnv;

/// What the pod's template says to the runner.
#[derive(Clone, Debug)]
pub struct RunnerEnv {
    /// `ACTIONS_RUNNER_INPUT_JITCONFIG`.
    pub jit: Token,
    /// `RUNNER_WAIT_FOR_DOCKER_IN_SECONDS`; 0 does not wait.
    pub wait_for_docker: u32,
    /// The socket that `DOCKER_HOST` names, if any.
    pub docker_socket: Option<Str>,
    /// Pod name, namespace and whether container hooks are configured.
    pub hooks: Option<HookEnv>,
    /// `ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER`.
    pub require_container: bool,
    /// `ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE`.
    pub deprecated_exit_code: bool,
    /// Runner version, for the service's minimum.
    pub version: Str,
    /// From process start to the first connection, drawn by the world.
    pub boot: Duration,
    /// From the job's end to the process's (agent clean-up, script), drawn by the world.
    pub exit: Duration,
    /// From the loss of its registration to the process's end.
    pub lost: Duration,
    /// From a refused connection, or SIGTERM without a job, to the process's end.
    pub refused: Duration,
    /// Between two tries to connect.
    pub retry: Duration,
    /// From SIGTERM to the report that its job failed.
    pub shutdown: Duration,
}

/// Which of the agent's concurrent conversations a call belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Slot {
    /// Connect, poll, complete, disconnect: one after the other.
    Main,
    /// Lease renewal.
    Renew,
    /// The poll that goes on while it is busy, for cancellations.
    Busy,
}

/// What happens to the runner.
#[derive(Clone, PartialEq, Debug)]
pub enum RunnerInput {
    /// The process begins.
    Start {
        /// Whether the daemon's socket exists where `DOCKER_HOST` points.
        docker: bool,
    },
    /// A timer it asked for; `docker` as above.
    Wake {
        /// Whether the daemon's socket exists now.
        docker: bool,
    },
    /// The reply to its service call.
    Service(Slot, Result<ServiceOk, CallError>),
    /// The reply to a hook's API call.
    Kube(u32, Result<KubeOk, CallError>),
    /// SIGTERM.
    Term,
    /// The docker daemon it uses, or may use, is gone.
    DockerLost,
    /// The exec stream of its hook is over without an exit status: closed in good order, or reset.
    ExecLost {
        /// Whether it was closed in good order.
        clean: bool,
    },
    /// The world ends this job's work in some way (fault).
    EndJob(JobResult, i32),
}

/// What the runner does.
#[derive(Clone, PartialEq, Debug)]
pub enum RunnerOutput {
    /// One call to the service; at most one a slot is out.
    Service(Slot, ServiceRequest),
    /// A hook's API call.
    Kube(u32, KubeRequest),
    /// Its hook opened the exec stream of the job's steps.
    ExecBegins,
    /// Wake me then. An earlier wish may still come true before: the runner knows which was its last.
    WakeAt(Time),
    /// The call of this slot is given up.
    Cancel(Slot),
    /// The job began or ended: for metrics and the trace.
    JobBegan(JobId),
    /// How the job ended and why.
    JobEnded(JobId, JobResult, &'static str),
    /// The container ends.
    Exit(i32, Str),
}
