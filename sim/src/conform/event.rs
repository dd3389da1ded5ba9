//! What both sides are made of: calls, service events, starts and ends of processes, phases. Never compares anything.

use arc_api::meta::Key;
use arc_api::{Kind, Str, Time};
use serde_json::Value;

/// Whose call it was, as far as histories tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Who {
    /// A controller manager.
    Manager,
    /// A listener.
    Listener,
    /// Anybody else: people, Helm, kubelets, the loops of the cluster.
    Other,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// When, from the beginning of its own side.
    pub at: Time,
    /// Line of the recording, or ordinal in the trace.
    pub line: u32,
    /// Who did it.
    pub who: Who,
    /// What.
    pub what: What,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// A call of the Kubernetes API that was answered.
    Kube(KubeCall),
    /// A call of the Actions service that was answered, or given up by its caller.
    Service(ServiceCall),
    /// The service registered a runner: what later calls name by number.
    Registered {
        /// Number.
        id: i64,
        /// Name.
        name: Str,
    },
    /// The service made a scale set.
    ScaleSet {
        /// Number.
        id: i64,
        /// Name.
        name: Str,
    },
    /// A container's process began.
    Start {
        /// Pod.
        pod: Str,
        /// Container.
        container: Str,
    },
    /// A container's process ended.
    Exit {
        /// Pod.
        pod: Str,
        /// Container.
        container: Str,
        /// Code.
        code: i64,
    },
    /// People begin something new.
    Phase(Str),
    /// Whoever drove the recording said what comes next.
    Mark(Str),
    /// People or Helm wrote something: what follows is measured from here.
    Acted,
}

/// A call of the Kubernetes API.
#[derive(Clone, PartialEq, Debug)]
pub struct KubeCall {
    /// `create`, `patch`, `get`, …
    pub verb: Str,
    /// Kind; kinds that we do not model are left out before.
    pub kind: Kind,
    /// `status`, …
    pub sub: Str,
    /// Object; the name that the server chose, for creations.
    pub key: Key,
    /// Status code.
    pub code: u16,
    /// Reason of a refusal.
    pub reason: Str,
    /// Whether the body is known: nobody writes down that of a request that was refused before it was read.
    pub told: bool,
    /// Body as sent.
    pub body: Value,
    /// Whether the store changed.
    pub changed: bool,
    /// Whether the caller lived to see the answer.
    pub heard: bool,
}

/// A call of the Actions service.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceCall {
    /// `E7`, `runner-registration`, …
    pub op: Str,
    /// HTTP status; 0 if there was no answer.
    pub status: u16,
    /// What it was about.
    pub about: About,
    /// What else the request says, rendered alike on both sides.
    pub detail: Str,
}

/// What a service call was about.
#[derive(Clone, PartialEq, Debug)]
pub enum About {
    /// No object: tokens and registrations.
    Nothing,
    /// A runner by name.
    Runner(Str),
    /// A runner by number.
    RunnerId(i64),
    /// A scale set by name.
    Set(Str),
    /// A scale set by number.
    SetId(i64),
}
