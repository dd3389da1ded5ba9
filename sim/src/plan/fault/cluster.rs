//! Parameters of the faults of credentials, network, clocks and the Kubernetes API. Never carries one out.

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::values::*;
use super::*;

params! {
    /// A credential becomes unusable.
    CredentialFault {
        /// How.
        mode: CredentialMode,
        /// Name of the credential (see `credentials` of the organisation); default: the one in use at time zero.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<Str>,
        /// Organisation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        org: Option<Str>,
    }
    /// The link between two actors is cut, or loses requests or replies.
    NetCut {
        /// Who asks.
        from: Actor,
        /// Who is asked: `github`, `kube_api` or `proxy`.
        to: Actor,
        /// How.
        mode: NetMode,
        /// Only requests of this operation or verb, e.g. `generate_jit` or `create pods`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        call: Option<Str>,
        /// How late (`delay`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Delay>,
        /// Share of the requests.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many requests.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    }
    /// The wall clock of a node or actor is off.
    ClockSkew {
        /// A component; `kubelet/n3` is node n3 with all its pods.
        target: Actor,
        /// How much at the beginning.
        offset: Offset,
        /// How much more with every hour.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drift_per_hour: Option<Offset>,
    }
    /// A Kubernetes API request fails.
    ApiError {
        /// Whose requests; absent: everybody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<Actor>,
        /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, or `*`.
        #[serde(default = "all_names")]
        verb: Glob,
        /// Kind or resource, e.g. `Pod`, `pods`, `ephemeralrunners/status`, or `*`.
        #[serde(default = "all_names")]
        kind: Glob,
        /// Names.
        #[serde(default = "all_names")]
        name: Glob,
        /// The failure.
        status: ApiStatus,
        /// Whether the request is carried out all the same.
        #[serde(default, skip_serializing_if = "is_false")]
        applied: bool,
        /// Share of the requests.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    }
    /// The API server as a whole is frozen or down.
    ApiOutage {
        /// How.
        mode: OutageMode,
        /// How long after the end each watch comes back, by its own back-off.
        #[serde(default = "thirty_seconds")]
        watches_return: Delay,
    }
    /// Two controllers side by side during a rolling update of a one-replica Deployment: holds for updates in its window.
    RollOverlap {
        /// From the creation of the new pod to its first reconcile.
        new_start: Delay,
        /// From the deletion of the old pod to its SIGTERM.
        old_sigterm: Delay,
    }
    /// The Kubernetes API refuses an object.
    ApiReject {
        /// Kind or resource, e.g. `Pod` or `ephemeralrunners/status`.
        kind: Glob,
        /// `create`, `patch`, `update`, `delete`, or `*`.
        verb: Glob,
        /// Which refusal.
        class: RejectClass,
        /// The message after the API server's own prefix.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<Str>,
        /// Whose requests; absent: everybody's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        actor: Option<Actor>,
        /// Names.
        #[serde(default = "all_names")]
        name: Glob,
        /// Objects of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
        /// Namespaces.
        #[serde(default = "all_names")]
        namespace: Glob,
        /// Share of the requests.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
        /// At most so many.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
    }
    /// The informer cache of an actor lags, or drops its watch and lists again.
    CacheLag {
        /// Whose cache.
        #[serde(default = "controllers")]
        actor: Actor,
        /// Which kind, e.g. `EphemeralRunner`.
        kind: Glob,
        /// How far each event is behind.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Delay>,
        /// Whether the watch is dropped at the beginning and the cache listed again.
        #[serde(default, skip_serializing_if = "is_false")]
        relist: bool,
        /// Share of the events.
        #[serde(default, skip_serializing_if = "Ratio::is_one")]
        probability: Ratio,
    }
}
