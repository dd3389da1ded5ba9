//! What operators do: the vocabulary of helm and kubectl actions with all their parameters. Never carries one out.

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::{PodTarget, params, words};
use super::values::*;
use super::world::ContainerMode;

macro_rules! actions {
    ($($(#[$doc:meta])* $variant:ident($type:ident) = $id:literal;)*) => {
        /// Something an operator does.
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
        pub enum Operator { $($(#[$doc])* #[serde(rename = $id)] $variant($type)),* }
        impl Operator {
            /// Names of all actions, in the catalogue's order.
            pub const IDS: &'static [&'static str] = &[$($id),*];
            /// Its name.
            pub const fn id(&self) -> &'static str { match self { $(Operator::$variant(_) => $id),* } }
        }
    };
}

actions! {
    /// `helm install` of a controller or scale set that the world knows.
    Install(Install) = "install";
    /// `helm upgrade` of a controller or scale set: version, values or neither.
    Upgrade(Upgrade) = "upgrade";
    /// `helm uninstall`: returns after the DELETE calls without waiting.
    Uninstall(Uninstall) = "uninstall";
    /// Edits a live AutoscalingRunnerSet with kubectl.
    Patch(PatchSet) = "patch";
    /// `kubectl delete` of any object.
    Delete(Delete) = "delete";
    /// Strips finalizers by hand.
    ForceFinalize(ForceFinalize) = "force_finalize";
    /// Deletes a namespace.
    DeleteNamespace(DeleteNamespace) = "delete_namespace";
    /// Deletes listener, runner or workflow pods.
    DeletePod(DeletePod) = "delete_pod";
    /// Cordons a node and evicts its pods.
    DrainNode(DrainNode) = "drain_node";
    /// Changes the content of a GitHub secret.
    RotateSecret(RotateSecret) = "rotate_secret";
    /// Removes a GitHub secret, and perhaps makes it again.
    DeleteSecret(DeleteSecret) = "delete_secret";
    /// Replaces ServiceAccount, Role or RoleBinding of a live set, or leaves them Terminating.
    RecreateIdentity(RecreateIdentity) = "recreate_identity";
    /// Changes the controller's replicas, restarts it, or moves the lease.
    ScaleController(ScaleController) = "scale_controller";
    /// Patches a status by hand.
    StatusReset(StatusReset) = "status_reset";
    /// Cancels jobs at GitHub.
    CancelJobs(CancelJobs) = "cancel_jobs";
    /// `kubectl create` of any object.
    Create(CreateObject) = "create";
    /// `kubectl patch` of any object.
    Edit(EditObject) = "edit";
}

fn is_false(b: &bool) -> bool {
    !*b
}
fn run() -> ReleaseRef {
    ReleaseRef::Run
}
fn all_names() -> Glob {
    Glob::default()
}

/// What helm acts on: exactly one of the two.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChartRef {
    /// A controller by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<Str>,
    /// A scale set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale_set: Option<SetRef>,
}

words! {
    /// What happens to the custom resource definitions.
    Crds {
        /// As helm does it: nothing.
        Leave = "leave",
        /// Replaced by those of the new version first (server-side apply).
        Replace = "replace",
    }
}
words! {
    /// Which of several.
    Which {
        /// The oldest.
        Oldest = "oldest",
        /// One without a job.
        Idle = "idle",
        /// One with a job.
        Busy = "busy",
        /// All of them.
        All = "all",
    }
}
words! {
    /// Which identity object.
    Identity { ServiceAccount = "service_account", Role = "role", RoleBinding = "role_binding", All = "all" }
}
words! {
    /// What happens to it.
    IdentityMode {
        /// Deleted for good and created again: a new UID, old tokens are refused at once.
        Replace = "replace",
        /// Deleted, and kept Terminating by its finalizer.
        Terminating = "terminating",
    }
}

params! {
    /// `helm install` of a controller or scale set that the world knows.
    Install {
        /// What.
        chart: ChartRef,
        /// Chart version; default: that of the run.
        #[serde(default = "run")]
        version: ReleaseRef,
        /// Another namespace than the world states.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        namespace: Option<Str>,
        /// Changes to what the world states.
        #[serde(default, skip_serializing_if = "SetChange::is_empty")]
        set: SetChange,
        /// Whether it is done again if it fails (`upgrade --install`, GitOps).
        #[serde(default, skip_serializing_if = "is_false")]
        or_upgrade: bool,
    }
    /// `helm upgrade` of a controller or scale set.
    Upgrade {
        /// What.
        chart: ChartRef,
        /// Chart version; absent: the version that is installed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<ReleaseRef>,
        /// Custom resource definitions.
        #[serde(default = "Crds::leave")]
        crds: Crds,
        /// Changed values; they stay changed for later upgrades.
        #[serde(default, skip_serializing_if = "SetChange::is_empty")]
        set: SetChange,
    }
    /// `helm uninstall`.
    Uninstall {
        /// What.
        chart: ChartRef,
    }
    /// Edits a live AutoscalingRunnerSet with kubectl.
    PatchSet {
        /// Which.
        scale_set: SetRef,
        /// What changes.
        set: SetChange,
    }
    /// `kubectl delete` of any object.
    Delete {
        /// Kind or resource, e.g. `AutoscalingListener`.
        kind: Glob,
        /// Names.
        #[serde(default = "all_names")]
        name: Glob,
        /// Namespaces.
        #[serde(default = "all_names")]
        namespace: Glob,
        /// Objects of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
        /// Objects of this `status.phase`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        phase: Option<Str>,
        /// How many, oldest first; absent: all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Grace period.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Dur>,
        /// Whether dependents are orphaned.
        #[serde(default, skip_serializing_if = "is_false")]
        orphan: bool,
    }
    /// Strips finalizers by hand.
    ForceFinalize {
        /// Kind or resource.
        kind: Glob,
        /// Names.
        #[serde(default = "all_names")]
        name: Glob,
        /// Namespaces.
        #[serde(default = "all_names")]
        namespace: Glob,
        /// Which finalizers.
        #[serde(default = "all_names")]
        finalizer: Glob,
    }
    /// Deletes a namespace.
    DeleteNamespace {
        /// Which.
        namespace: Str,
    }
    /// Deletes listener, runner or workflow pods.
    DeletePod {
        /// What kind of pod.
        target: PodTarget,
        /// Of which scale set; absent: of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
        /// Which of them.
        #[serde(default = "Which::oldest")]
        which: Which,
        /// How many of those; absent: one, or all with `which: all`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        count: Option<u32>,
        /// Grace period; absent: the pod's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Dur>,
    }
    /// Cordons a node and evicts its pods.
    DrainNode {
        /// A node, or the node of a component (`listener/linux`).
        node: Str,
        /// Grace period; absent: the pods' own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        grace: Option<Dur>,
        /// When it is uncordoned; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        uncordon_after: Option<Dur>,
    }
    /// Changes the content of a GitHub secret.
    RotateSecret {
        /// Scale set whose secret it is.
        scale_set: SetRef,
        /// Name of the new credential (see `credentials` of the organisation).
        credential: Str,
    }
    /// Removes a GitHub secret, and perhaps makes it again.
    DeleteSecret {
        /// Scale set whose secret it is.
        scale_set: SetRef,
        /// When it is made again; absent: never.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        recreate_after: Option<Dur>,
        /// With which credential; absent: the old one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        credential: Option<Str>,
    }
    /// Replaces ServiceAccount, Role or RoleBinding of a live set, or leaves them Terminating.
    RecreateIdentity {
        /// Whose.
        scale_set: SetRef,
        /// Which object.
        #[serde(default = "Identity::all")]
        object: Identity,
        /// How.
        mode: IdentityMode,
    }
    /// Changes the controller's replicas, restarts it, or moves the lease.
    ScaleController {
        /// Which controller; absent: the only one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        controller: Option<Str>,
        /// New number of replicas.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        replicas: Option<u32>,
        /// Rolling restart.
        #[serde(default, skip_serializing_if = "is_false")]
        restart: bool,
        /// Deletes the leader's pod.
        #[serde(default, skip_serializing_if = "is_false")]
        leader_change: bool,
    }
    /// Patches a status by hand.
    StatusReset {
        /// Kind or resource.
        kind: Glob,
        /// Names.
        #[serde(default = "all_names")]
        name: Glob,
        /// Merge patch of `status`; absent: `status` is emptied.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<Value>,
    }
}

params! {
    /// Cancels jobs at GitHub.
    CancelJobs {
        /// Jobs, by the ids of the entries that queued them (`w1.*`).
        #[serde(default = "all_names")]
        job: Glob,
        /// Whether jobs that run are over at once, whatever their runners do ("force cancel").
        #[serde(default, skip_serializing_if = "is_false")]
        force: bool,
    }
    /// `kubectl create` of any object.
    CreateObject {
        /// The object, as JSON: kind, metadata and the rest.
        object: Value,
        /// It is called after the newest EphemeralRunner of this scale set, in its namespace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        named_after_runner_of: Option<SetRef>,
    }
    /// `kubectl patch` of any object.
    EditObject {
        /// Kind or resource.
        kind: Glob,
        /// Names.
        #[serde(default = "all_names")]
        name: Glob,
        /// Namespaces.
        #[serde(default = "all_names")]
        namespace: Glob,
        /// Objects of one scale set.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale_set: Option<SetRef>,
        /// Merge patch.
        patch: Value,
    }
}

/// Changed settings of a scale set or controller; absent members stay.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetChange {
    /// minRunners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_runners: Option<u32>,
    /// maxRunners.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_runners: Option<u32>,
    /// Names of the settings to remove: `min_runners`, `max_runners`, `service_account`, `template`, `container_mode`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<Str>,
    /// Container mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_mode: Option<ContainerMode>,
    /// Pod template (merged as a strategic merge: containers by name).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Value>,
    /// Runner image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Str>,
    /// Own ServiceAccount.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<Str>,
    /// Runner group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_group: Option<Str>,
    /// githubConfigUrl.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Str>,
    /// runnerScaleSetName.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner_scale_set_name: Option<Str>,
    /// Name of an own secret instead of the chart's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Str>,
    /// Credential that the chart's secret holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<Str>,
    /// Value of the label `app.kubernetes.io/version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_label: Option<Str>,
    /// Helm values, merged over all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<Value>,
}

impl Operator {
    /// Visits every release that the action names.
    pub fn releases_mut(&mut self, mut visit: impl FnMut(&mut ReleaseRef)) {
        match self {
            Operator::Install(p) => visit(&mut p.version),
            Operator::Upgrade(p) => p.version.iter_mut().for_each(visit),
            _ => {}
        }
    }
    /// Visits every scale set that the action names.
    pub fn scale_sets_mut(&mut self, mut visit: impl FnMut(&mut SetRef)) {
        let option = match self {
            Operator::Install(p) => &mut p.chart.scale_set,
            Operator::Upgrade(p) => &mut p.chart.scale_set,
            Operator::Uninstall(p) => &mut p.chart.scale_set,
            Operator::Delete(p) => &mut p.scale_set,
            Operator::Edit(p) => &mut p.scale_set,
            Operator::Create(p) => &mut p.named_after_runner_of,
            Operator::DeletePod(p) => &mut p.scale_set,
            Operator::Patch(p) => return visit(&mut p.scale_set),
            Operator::RotateSecret(p) => return visit(&mut p.scale_set),
            Operator::DeleteSecret(p) => return visit(&mut p.scale_set),
            Operator::RecreateIdentity(p) => return visit(&mut p.scale_set),
            Operator::ForceFinalize(_)
            | Operator::DeleteNamespace(_)
            | Operator::DrainNode(_)
            | Operator::ScaleController(_)
            | Operator::StatusReset(_)
            | Operator::CancelJobs(_) => return,
        };
        if let Some(set) = option {
            visit(set);
        }
    }
}

impl SetChange {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == SetChange::default()
    }
}

impl Crds {
    fn leave() -> Crds {
        Crds::Leave
    }
}
impl Which {
    fn oldest() -> Which {
        Which::Oldest
    }
}
impl Identity {
    fn all() -> Identity {
        Identity::All
    }
}
