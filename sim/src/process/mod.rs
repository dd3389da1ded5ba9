//! The processes of the world: controller managers, listeners, runners, docker daemons, operators. Each is a machine with one
//! shape: an input in, outputs drained. They know nothing of networks, faults or each other.

pub mod hook;
pub mod lease;
pub mod manager;
pub mod runner;

use arc_api::kube::{KubeOk, KubeRequest, WatchEvent};
use arc_api::service::{JobResult, ServiceOk, ServiceRequest};
use arc_api::{Duration, JobId, Kind, Str, Time};
use controller_core::call::CallError;

use crate::world::Tag;

/// What happens to a process.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// It begins.
    Start,
    /// The reply to an API call it made under this tag.
    Kube(Tag, Result<KubeOk, CallError>),
    /// The reply to a service call it made under this tag.
    Service(Tag, Result<ServiceOk, CallError>),
    /// A time it asked to be woken at has come; spurious wake-ups are harmless.
    Wake,
    /// An event of a watch it opened, and how long after its cache the handlers are told of it.
    Watch(Kind, WatchEvent, Duration),
    /// A watch it opened is over: the server closed it, or what it asked for is too old.
    WatchClosed(Kind),
    /// SIGTERM.
    Term,
}

/// What a process does.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// An API call, not to be sent before `at` (client-side throttling).
    Kube {
        /// Whose reply this will be.
        tag: Tag,
        /// Request.
        request: KubeRequest,
        /// Earliest time.
        at: Time,
    },
    /// A service call.
    Service {
        /// Whose reply this will be.
        tag: Tag,
        /// Request.
        request: ServiceRequest,
    },
    /// A call is given up: its reply must not come any more.
    Abort(Tag),
    /// Wake me then. The earliest of all wishes counts; a later one does not cancel it.
    WakeAt(Time),
    /// Stream events of a kind from a resource version on.
    OpenWatch(Kind, u64),
    /// A log line.
    Log(&'static str, Str),
    /// A reconcile pass reached this step with the call just made: where crash points are.
    Step(Kind, &'static str),
    /// A runner began to work on a job.
    JobBegan(JobId),
    /// A runner's job ended, and why if it was not the job's own end.
    JobEnded(JobId, JobResult, &'static str),
    /// The process ends.
    Exit(i32, Str),
}
