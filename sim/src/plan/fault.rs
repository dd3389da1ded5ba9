//! The vocabulary of faults with all their parameters. Never carries one out: that is the engine's business.
//!
//! One struct per row of the catalogue's fault table (field-bugs.md §1). The time window is not here: it is the planned
//! action's `when` and `for`. `probability` is drawn per occurrence from the action's own stream; `count` limits how often.

mod choices;
mod cluster;
mod github;
mod pods;

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::values::*;
pub use choices::*;
pub use cluster::*;
pub use github::*;
pub use pods::*;

/// A set of named choices: unit enum, text on the wire, documentation in the schema.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, JsonSchema)]
        #[allow(missing_docs)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }
        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];
            /// The text in files.
            pub const fn as_str(self) -> &'static str { match self { $($name::$variant => $text),* } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.as_str()) }
        }
    };
}
pub(crate) use words;

/// Parameter structs of a vocabulary: strict, all optional ones defaulted, absent ones not written.
macro_rules! params {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }
    )*};
}
pub(crate) use params;

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident($type:ident) = $id:literal;)*) => {
        /// A fault.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
        pub enum Fault { $($(#[$doc])* #[serde(rename = $id)] $variant($type)),* }
        impl Fault {
            /// Names of all faults, in the catalogue's order.
            pub const IDS: &'static [&'static str] = &[$($id),*];
            /// Its name.
            pub const fn id(&self) -> &'static str { match self { $(Fault::$variant(_) => $id),* } }
        }
    };
}

faults! {
    /// A GitHub or Actions endpoint answers an error.
    GhError(GhError) = "gh_error";
    /// Right status, wrong body.
    GhMalformed(GhMalformed) = "gh_malformed";
    /// A request to GitHub is accepted and answered late or never.
    GhHang(GhHang) = "gh_hang";
    /// A token bucket on chosen operations.
    GhRateLimit(GhRateLimit) = "gh_rate_limit";
    /// The life of a listener's message session or of a runner's session.
    GhSession(GhSession) = "gh_session";
    /// The life of tokens, and where in the protocol their end falls.
    GhTokenExpiry(GhTokenExpiry) = "gh_token_expiry";
    /// Messages of a scale set's queue are delayed, lost, repeated, reordered or invented.
    GhMessage(GhMessage) = "gh_message";
    /// Options of the service are others for a while.
    GhSettings(GhSettings) = "gh_settings";
    /// Statistics disagree with the truth.
    GhStats(GhStats) = "gh_stats";
    /// Eventually consistent reads and busy flags of the service.
    GhStaleView(GhStaleView) = "gh_stale_view";
    /// The service withdraws or mis-states a job.
    GhJobState(GhJobState) = "gh_job_state";
    /// Runner registrations vanish.
    GhRegistrationLoss(GhRegistrationLoss) = "gh_registration_loss";
    /// A scale set is removed on the service's side.
    GhScalesetLoss(GhScalesetLoss) = "gh_scaleset_loss";
    /// The service refuses runner versions; the runner exits with 7.
    GhVersionReject(GhVersionReject) = "gh_version_reject";
    /// A credential becomes unusable.
    Credential(CredentialFault) = "credential";
    /// The link between two actors is cut, or loses requests or replies.
    NetCut(NetCut) = "net_cut";
    /// The wall clock of a node or actor is off.
    ClockSkew(ClockSkew) = "clock_skew";
    /// A Kubernetes API request fails.
    ApiError(ApiError) = "api_error";
    /// The API server as a whole is frozen or down.
    ApiOutage(ApiOutage) = "api_outage";
    /// Two controllers side by side during a rolling update of a one-replica Deployment.
    RollOverlap(RollOverlap) = "roll_overlap";
    /// The Kubernetes API refuses an object.
    ApiReject(ApiReject) = "api_reject";
    /// The informer cache of an actor lags, or drops its watch and lists again.
    CacheLag(CacheLag) = "cache_lag";
    /// A node is drained, short of resources, powered off or gone.
    NodeFault(NodeFault) = "node_fault";
    /// The kubelet refuses a pod after it was scheduled: phase Failed, no container status.
    PodReject(PodReject) = "pod_reject";
    /// A pod does not start.
    PodDelay(PodDelay) = "pod_delay";
    /// An init container fails or never ends.
    InitFail(InitFail) = "init_fail";
    /// A container ends.
    ContainerExit(ContainerExit) = "container_exit";
    /// A helper container is late, dies, or outlives the main one.
    SidecarFault(SidecarFault) = "sidecar_fault";
    /// A volume is late, unbound, attached elsewhere or full.
    VolumeFault(VolumeFault) = "volume_fault";
    /// A Kubernetes exec stream is cut.
    ExecCut(ExecCut) = "exec_cut";
    /// A process is killed (SIGKILL).
    ActorCrash(ActorCrash) = "actor_crash";
    /// A process is slow or paused.
    ActorSlow(ActorSlow) = "actor_slow";
}

impl Fault {
    /// The only scale set that the fault meets, if it is confined to one.
    pub fn confined_to(&self) -> Option<SetRef> {
        let mut only = None;
        self.clone().scale_sets_mut(|set| only = Some(set.clone()));
        only
    }
    /// Visits every scale set that the fault names.
    pub fn scale_sets_mut(&mut self, mut visit: impl FnMut(&mut SetRef)) {
        let option = match self {
            Fault::GhError(f) => &mut f.scope.scale_set,
            Fault::GhMalformed(f) => &mut f.scope.scale_set,
            Fault::GhHang(f) => &mut f.scope.scale_set,
            Fault::GhRateLimit(f) => &mut f.scope.scale_set,
            Fault::GhSession(f) => &mut f.scope.scale_set,
            Fault::GhTokenExpiry(f) => &mut f.scope.scale_set,
            Fault::GhMessage(f) => &mut f.scope.scale_set,
            Fault::GhStats(f) => &mut f.scope.scale_set,
            Fault::GhStaleView(f) => &mut f.scope.scale_set,
            Fault::GhJobState(f) => &mut f.scope.scale_set,
            Fault::GhRegistrationLoss(f) => &mut f.scope.scale_set,
            Fault::GhVersionReject(f) => &mut f.scope.scale_set,
            Fault::GhScalesetLoss(f) => return visit(&mut f.scale_set),
            Fault::ApiReject(f) => &mut f.scale_set,
            Fault::PodReject(f) => &mut f.scale_set,
            Fault::PodDelay(f) => &mut f.scale_set,
            Fault::InitFail(f) => &mut f.scale_set,
            Fault::ContainerExit(f) => &mut f.scale_set,
            Fault::SidecarFault(f) => &mut f.scale_set,
            Fault::VolumeFault(f) => &mut f.scale_set,
            Fault::ExecCut(f) => &mut f.scale_set,
            Fault::Credential(_)
            | Fault::GhSettings(_)
            | Fault::NetCut(_)
            | Fault::ClockSkew(_)
            | Fault::ApiError(_)
            | Fault::ApiOutage(_)
            | Fault::RollOverlap(_)
            | Fault::CacheLag(_)
            | Fault::NodeFault(_)
            | Fault::ActorCrash(_)
            | Fault::ActorSlow(_) => return,
        };
        if let Some(set) = option {
            visit(set);
        }
    }
}

impl GhOp {
    /// Whether an operation of that name ([`arc_api::service::Op::name`]) is meant.
    pub fn matches(self, name: &str) -> bool {
        self == GhOp::All || self.as_str() == name
    }
}

/// Whose requests a GitHub fault concerns; absent members concern everybody.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// One organisation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub org: Option<Str>,
    /// One scale set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<SetRef>,
    /// Runners by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<Glob>,
    /// Requests of one component only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
}

impl Scope {
    fn is_all(&self) -> bool {
        *self == Scope::default()
    }
}

fn all_names() -> Glob {
    Glob::default()
}
fn controllers() -> Actor {
    Actor::all(Role::Controller)
}
fn yes() -> bool {
    true
}
fn is_true(b: &bool) -> bool {
    *b
}
fn is_false(b: &bool) -> bool {
    !*b
}

/// What a runner process does when its registration or job is taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub enum RunnerEffect {
    /// It stays up and serves nothing.
    #[serde(rename = "stays_up")]
    StaysUp,
    /// Its container exits with this code.
    #[serde(rename = "exits")]
    Exits(i32),
}

impl EndSignal {
    fn is_kill(&self) -> bool {
        *self == EndSignal::Kill
    }
}

fn seven() -> i32 {
    7
}
fn sigkill() -> i32 {
    137
}
fn thirty_seconds() -> Delay {
    Delay { body: Between { from: Dur::ZERO, to: Dur::secs(30) }, tail: None }
}

/// A node by name, or the node on which a component runs.
pub type NodeTarget = Str;

macro_rules! defaults {
    ($($type:ident :: $name:ident = $variant:ident;)*) => {$(
        impl $type { fn $name() -> $type { $type::$variant } }
    )*};
}
defaults! {
    SessionOf::listener = Listener;
    RunnerEffect::stays_up = StaysUp;
    LossCause::admin = Admin;
    PodTarget::runner = Runner;
    PodTarget::workflow = Workflow;
    EndSignal::kill = Kill;
    ExitReason::error = Error;
}
