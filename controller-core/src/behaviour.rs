//! What differs between the releases: one named switch per row of the feature matrix.
//!
//! Reconcilers and listener read switches, never release numbers. Each switch is an enum whose variants are the ways upstream
//! ever did it, plus (often) the way a correct controller does it, which only `next` has. [`Behaviour::set`] changes one switch
//! by name, for experiments and for the tests that break switches one by one.
//!
//! Source: arc-controllers.md §10, actions-service.md §4.11.

use crate::release::Release;

macro_rules! switches {
    ($(
        $(#[doc = $doc:literal])*
        $field:ident : $type:ident { $( $(#[doc = $vdoc:literal])* $variant:ident = $text:literal ),* $(,)? }
    )*) => {
        $(
            $(#[doc = $doc])*
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
            pub enum $type { $( $(#[doc = $vdoc])* $variant ),* }
        )*

        /// How one release behaves: the value of every switch.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Behaviour { $( $(#[doc = $doc])* pub $field: $type ),* }

        impl Behaviour {
            /// Every switch: its name, what it decides, and its possible values with their meaning.
            pub const SWITCHES: &'static [Switch] = &[$( Switch {
                name: stringify!($field),
                doc: concat!($($doc, "\n"),*),
                values: &[$( ($text, concat!($($vdoc, "\n"),*)) ),*],
            } ),*];

            /// The value of the switch `name`.
            pub fn get(&self, name: &str) -> Option<&'static str> {
                match name {
                    $( stringify!($field) => Some(match self.$field { $( $type::$variant => $text ),* }), )*
                    _ => None,
                }
            }

            /// Changes one switch by name.
            ///
            /// # Errors
            /// When there is no such switch or no such value; nothing is changed then.
            pub fn set(&mut self, name: &str, value: &str) -> Result<(), UnknownSwitch> {
                let unknown = || UnknownSwitch { name: name.to_owned(), value: value.to_owned() };
                match name {
                    $( stringify!($field) => self.$field = match value {
                        $( $text => $type::$variant, )*
                        _ => return Err(unknown()),
                    }, )*
                    _ => return Err(unknown()),
                }
                Ok(())
            }
        }
    };
}

/// A switch, for documentation and experiments.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// Name of the field of [`Behaviour`].
    pub name: &'static str,
    /// What it decides, with the source.
    pub doc: &'static str,
    /// Values and what they mean.
    pub values: &'static [(&'static str, &'static str)],
}

/// There is no such switch, or it has no such value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownSwitch {
    /// The name that was asked for.
    pub name: String,
    /// The value that was asked for.
    pub value: String,
}

switches! {
    // ---- EphemeralRunnerSet
    /// When the set compares desired with existing runners (arc-controllers.md §4.2, §4.7).
    ers_gate: ErsGate {
        /// Every pass (0.8.3 and older).
        Always = "always",
        /// Id 0, or an id that no listed runner is stamped with (0.9.0 on).
        PatchId = "patch-id",
        /// Every pass, counting its own creations that the cache does not show yet and runners that ended with their job until
        /// the listener has answered for them.
        Level = "level",
    }
    /// Which comparisons may remove idle runners (#3371, #3426).
    ers_scale_down: ErsScaleDown {
        /// Any (0.9.0 and older).
        AnyPatch = "any-patch",
        /// Only id 0 (0.9.1 on).
        ForcedOnly = "forced-only",
        /// Only id 0; a shortfall (removal refused) is tried again after 10 s, and a deleting set looks again after 30 s.
        ForcedWithRetry = "forced-with-retry",
    }
    /// When finished (Succeeded) runners are deleted (arc-controllers.md §4.7).
    ers_finished_sweep: FinishedSweep {
        /// First thing of every pass; an error ends the pass (0.8.3 and older).
        First = "first",
        /// At the end of a pass with an open gate; errors are only logged (0.9.0 on).
        DeferredGated = "deferred-gated",
    }
    /// Which members a status patch of the set has (recorded: a_basic).
    ers_status_patch: ErsStatusMembers {
        /// Those that change (0.13.1 and older).
        OnlyChanged = "only-changed",
        /// `currentReplicas` always, of the others those that change (0.14.0 on).
        AlwaysTotal = "always-total",
    }
    /// How many runners a set makes before the API accepted a pod of its template (seed-invalid-init-restart-policy).
    ers_probe: TemplateProbe {
        /// As many as are wanted (all releases).
        None = "none",
        /// One, until a pod was accepted; none beside a runner whose pod is refused or that is Outdated.
        One = "one",
    }
    /// Whether Failed runners count as capacity (Q-FAILED-COUNTS-CAPACITY).
    ers_failed_counts: FailedCounts {
        /// They count and are never replaced (all releases).
        Counted = "counted",
        /// They do not count; replacements are created with back-off.
        NotCounted = "not-counted",
    }
    /// What tells that a runner has a job, when idle runners are removed (#4239).
    busy_test: BusyTest {
        /// `status.jobRequestId > 0` (0.12.1 and older).
        JobRequestId = "job-request-id",
        /// `status.jobId` is set (0.13.0 on).
        JobId = "job-id",
    }
    /// Whether the Outdated phases exist (#4404).
    outdated: Outdated {
        /// Exit code 7 is nothing special (0.13.1 and older).
        Unknown = "unknown",
        /// One Outdated runner tears the whole scale set down until its spec is changed (0.14.0 on).
        TearsDown = "tears-down",
        /// The runner is replaced with back-off, a condition says why, the scale set stays.
        Reported = "reported",
    }

    // ---- EphemeralRunner
    /// How the two finalizers get on a runner (arc-controllers.md §5.6).
    er_finalizers: ErFinalizers {
        /// Two patches in one pass, registration finalizer first (0.9.2 and older).
        TwoInOnePass = "two-in-one-pass",
        /// Two patches in two passes (0.9.3 to 0.13.0; #3528).
        TwoPasses = "two-passes",
        /// In the CREATE; missing ones in one patch without returning (0.13.1 on; #4320).
        AtCreation = "at-creation",
    }
    /// Where the JIT configuration is kept, and what guards its generation (#4191).
    er_jit_store: JitStore {
        /// `status.runnerJITConfig`; guarded by the cached `status.runnerId` (0.12.1 and older).
        Status = "status",
        /// Only in the Secret; guarded by a live GET (0.13.0 on).
        SecretOnly = "secret-only",
    }
    /// Whether registration, secret and pod are made in one pass (#3831).
    er_single_pass: SinglePass {
        /// A pass for each (0.9.3 and older).
        No = "no",
        /// One pass (0.10.0 on).
        Yes = "yes",
    }
    /// Whether a Done runner's pod and secret are cleaned before anything else, and how (0.9.0 on).
    er_done_cleanup: DoneCleanup {
        /// Nothing is cleaned in phase Done (0.8.3 and older).
        None = "none",
        /// Pod, then secret, waiting for each with a requeue (0.9.0 to 0.10.1).
        Waiting = "waiting",
        /// Both deleted in one pass, not waiting (0.11.0 on; #3941).
        OnePass = "one-pass",
    }
    /// How a deleting runner is torn down (#3941).
    er_deletion: ErDeletion {
        /// Stepwise, waiting for pod, secret and hook objects (0.10.1 and older).
        Waiting = "waiting",
        /// One pass, waiting for nothing (0.11.0 on).
        OnePass = "one-pass",
    }
    /// Whether a Succeeded runner's registration is removed at its end (arc-controllers.md §5.6, 0.11.0).
    er_remove_after_success: RemoveAfterSuccess {
        /// No: the finalizer is dropped without a call (0.10.1 and older).
        Skipped = "skipped",
        /// Always called (0.11.0 on).
        Called = "called",
    }
    /// What exit code 0 of the runner container means (#4142, #4260).
    er_exit_zero: ExitZero {
        /// The service is asked: gone is Succeeded, still known restarts the pod (0.12.0 and older).
        AskService = "ask-service",
        /// Succeeded (0.12.1).
        Succeeded = "succeeded",
        /// The runner object is deleted (0.13.0 on).
        Delete = "delete",
        /// Succeeded if a job was recorded or the registration is gone; else the runner never served: a failure.
        Verified = "verified",
    }
    /// What a failed runner container does to a runner that has a job (#4239).
    er_exit_with_job: ExitWithJob {
        /// The pod is restarted with the used JIT configuration (0.12.1 and older).
        RestartPod = "restart-pod",
        /// The runner object is deleted and deregistered (0.13.0 on).
        DeleteRunner = "delete-runner",
    }
    /// What happens after more than five failures (#4059).
    er_failure_limit: FailureLimit {
        /// Phase Failed, for ever (0.11.0 and older).
        MarkFailed = "mark-failed",
        /// The runner object is deleted (0.12.0 on).
        DeleteRunner = "delete-runner",
    }
    /// The wait before a failed pod is made again (#4059, #4152).
    er_backoff: ErBackoff {
        /// None (0.11.0 and older).
        None = "none",
        /// Computed with the wrong sign, so the wake-up is lost (0.12.0).
        LostWakeup = "lost-wakeup",
        /// 5, 10, 20, 40, 80 s; looked at before the pod (0.12.1 on).
        Table = "table",
        /// The same waits, decided after the pod was looked at and on the patched status; a failure is recorded before its pod is deleted.
        TableAfterPod = "table-after-pod",
    }
    /// What 409 AlreadyExists of the pod creation means (#4201).
    er_pod_exists: PodExists {
        /// An error (0.12.1 and older).
        Error = "error",
        /// Looked at again after 5 s (0.13.0 on).
        After5s = "after-5s",
        /// As above, and a pod of another owner is reported.
        CheckOwner = "check-owner",
    }
    /// What a 403 because of quota means (#4305).
    er_quota: QuotaRejection {
        /// Phase Failed, for ever (0.13.0 and older).
        MarkFailed = "mark-failed",
        /// Again every 30 s; a runner older than 10 min is deleted (0.13.1 on).
        Retry30s = "retry-30s",
        /// Again every 30 s, said on the runner, which keeps its registration for as long as it takes.
        Wait30s = "wait-30s",
    }
    /// What any other rejection of the pod (422, 403) means.
    er_rejection: PodRejection {
        /// Phase Failed, for ever, registration removed (0.8.0 on).
        MarkFailed = "mark-failed",
        /// Error and back-off for ever (0.7.0).
        Error = "error",
        /// Reported on the runner and the set, registration kept, retried with growing waits.
        Backoff = "backoff",
    }
    /// Whether a Failed pod without a terminated runner status is noticed (#4336, #4340).
    er_pod_failed: PodFailed {
        /// Only `Evicted` with a container status (0.13.0 and older).
        EvictedOnly = "evicted-only",
        /// Always, first thing (0.13.1 on).
        First = "first",
    }
    /// Whether a failed init container is noticed (#4457).
    er_init_failure: InitFailure {
        /// No (0.14.1 and older).
        Ignored = "ignored",
        /// Yes, native sidecars included (0.14.2 on).
        Handled = "handled",
        /// Yes, but not native sidecars and not when the runner itself ended.
        HandledExceptSidecars = "handled-except-sidecars",
    }
    /// Where `status.ready` comes from (#3891).
    er_ready: ReadySource {
        /// Phase Running, sticky (0.10.1 and older).
        StickyPhase = "sticky-phase",
        /// The pod's Ready condition (0.11.0 on).
        Condition = "condition",
    }
    /// What a name conflict with another scale set's runner means (0.13.0).
    er_foreign_name: ForeignName {
        /// An error, for ever (0.12.1 and older).
        Error = "error",
        /// The runner object is deleted (0.13.0 on).
        DeleteRunner = "delete-runner",
    }
    /// Whether the runner's working directory is sent at registration (#3477).
    er_work_folder: WorkFolder {
        /// No (0.9.2 and older).
        Never = "never",
        /// Yes (0.9.3 on).
        Sent = "sent",
    }

    /// Whether a runner is told to end with code 7 when its version is refused (#4404).
    er_deprecated_code: DeprecatedCode {
        /// No (0.13.1 and older).
        NotAsked = "not-asked",
        /// `ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE=1` (0.14.0 on).
        Asked = "asked",
    }
    /// What becomes of a registration whose pod ended or vanished without a job (Q-JIT-REUSE-EXTERNAL-DELETE).
    er_used_jit: UsedJit {
        /// The next pod uses it again (all releases).
        Reused = "reused",
        /// It is removed, the next pod gets a new one.
        Replaced = "replaced",
    }
    /// Which registrations a deleting runner removes (Q-JIT-LEAK, Q-SECRET-DELETED-REREGISTER).
    er_removal: RemovalTarget {
        /// `status.runnerId`, also when it is 0 (all releases).
        StatusId = "status-id",
        /// Also what the JIT secret names, or, without a secret, what the service knows by the runner's name.
        Everything = "everything",
    }
    /// What a pod means that stays Terminating, e.g. on a dead node.
    er_stuck_pod: StuckPod {
        /// Waited for, for ever (all releases).
        Ignored = "ignored",
        /// The runner is replaced 60 s after the pod's grace period.
        Replaced = "replaced",
    }
    /// Whether the registration of an idle runner is looked after (registrations-lost-in-outage).
    er_registration_check: RegistrationCheck {
        /// Never (all releases).
        Never = "never",
        /// Every 10 min; gone twice, 30 s apart, and the runner is replaced.
        Periodic = "periodic",
    }

    // ---- AutoscalingRunnerSet
    /// Which version labels a controller accepts (arc-controllers.md §1.6).
    ars_version_gate: VersionGate {
        /// Exactly its own, else the object is deleted (0.11.0 and older).
        Exact = "exact",
        /// Its own minor, else the object is deleted (0.12.0 on; #4080).
        Minor = "minor",
        /// Any; a difference is reported as a condition and nothing is deleted.
        Report = "report",
    }
    /// Whether adding the finalizer ends the pass (#4404).
    ars_finalizer: ArsFinalizer {
        /// Yes (0.13.1 and older).
        Return = "return",
        /// No (0.14.0 on).
        FallThrough = "fall-through",
    }
    /// Whether a change hash is kept and status zeroed at each change (0.14.0).
    ars_change_hash: ChangeHash {
        /// No (0.13.1 and older).
        None = "none",
        /// Annotation, then status Pending with zero counters (0.14.0 on).
        ZeroesStatus = "zeroes-status",
    }
    /// Whether the GitHub secret is read in every pass (0.11.0 and older).
    ars_secret_get: ArsSecretGet {
        /// Yes (0.11.0 and older).
        EveryPass = "every-pass",
        /// Only for service calls (0.12.0 on).
        OnDemand = "on-demand",
    }
    /// How a deleting set waits (arc-controllers.md §3.1).
    ars_delete_wait: ArsDeleteWait {
        /// For events only (0.13.1 and older).
        Events = "events",
        /// Looks again after 5 s (0.14.0 on).
        After5s = "after-5s",
    }
    /// How dependents' protection finalizers are taken off (#3536).
    ars_protection_removal: ProtectionRemoval {
        /// One per pass (0.9.2 and older).
        OnePerPass = "one-per-pass",
        /// All in one pass (0.9.3 on).
        OnePass = "one-pass",
    }
    /// Whether the chart's values hash replaces the listener (#3195).
    ars_values_hash: ValuesHash {
        /// No (0.8.3 and older; hashes are labels).
        Ignored = "ignored",
        /// Yes (0.9.0 on).
        Compared = "compared",
    }
    /// What an eventual drain patches (0.9.1).
    ars_drain: Drain {
        /// Replicas only: the gate stays closed (0.9.0 and older).
        ReplicasOnly = "replicas-only",
        /// Replicas and id 0 (0.9.1 on).
        ResetsId = "resets-id",
    }
    /// How the EphemeralRunnerSet is named (Q-DUP-ERS).
    ars_ers_name: ErsName {
        /// Generated: a stale cache creates two (all releases).
        Generated = "generated",
        /// Derived from set and spec hash: a second creation is refused.
        Derived = "derived",
    }
    /// When the ARS status counters are written (Q-STATUS-STALE).
    ars_status: ArsStatusRule {
        /// Only when the total changes (0.13.1 and older).
        OnTotal = "on-total",
        /// When the total or the phase changes (0.14.0 on).
        OnTotalOrPhase = "on-total-or-phase",
        /// When any counter changes; conditions of the runner set are copied.
        OnAnyChange = "on-any-change",
    }
    /// What E5 answering 404 means (Q-SCALESET-404-STUCK).
    ars_scale_set_gone: ScaleSetGone {
        /// An error, for ever (all releases).
        Error = "error",
        /// It is gone, as wanted.
        Fine = "fine",
    }
    /// Whether a set whose listener is bound to a missing EphemeralRunnerSet gets a new listener (Q-LISTENER-DEAD-ERS).
    ars_listener_binding: ListenerBinding {
        /// Never looked at (all releases).
        Ignored = "ignored",
        /// A listener of another EphemeralRunnerSet is replaced.
        Checked = "checked",
    }
    /// Whether `eventual` lets a missing listener wait for runners (Q-EVENTUAL-DEADLOCK).
    ars_eventual_listener: EventualListener {
        /// Yes, also after a change that drains nothing: for ever if idle runners are wanted (all releases).
        WaitsForRunners = "waits-for-runners",
        /// Only a set that is being drained waits; any other listener comes back at once.
        AtOnce = "at-once",
    }
    /// Whether the identity of the runner template is looked at (seed-kube-mode-hook-forbidden).
    ars_identity: IdentityCheck {
        /// Never: runners go on with tokens that no server accepts (all releases).
        Ignored = "ignored",
        /// A broken one is reported and takes no jobs; the chart's own account is made anew and old runners are replaced.
        Repaired = "repaired",
    }
    /// Whether the cached scale set id is ever checked (scale-set-vanishes-on-service).
    ars_scale_set_check: ScaleSetCheck {
        /// Never (all releases).
        Never = "never",
        /// While the listener fails; a loss seen twice leads to one new registration.
        WhenListenerFails = "when-listener-fails",
    }
    /// Whether ARS, AL and ERS carry conditions.
    conditions: ConditionsRule {
        /// No (all releases).
        None = "none",
        /// Persistent failures are conditions with their cause.
        Reported = "reported",
    }
    /// What 404 means when a finalizer is added or an object deleted (Q-FINALIZER-ADD-ERROR, Q-RETRYABLE-DELETE-NOTFOUND).
    gone_objects: GoneObjects {
        /// An error, tried again (all releases).
        Error = "error",
        /// The object is gone: nothing is left to do.
        Fine = "fine",
    }
    /// Which generation of spec types the spec hashes dump: a new one changes every hash (arc-controllers.md §1.7).
    ///
    /// Recorded in a_basic: the same values give another hash in each of these groups, and the same inside a group.
    spec_generation: SpecGeneration {
        /// The types of 0.10.1 and older.
        First = "first",
        /// The types of 0.11.0.
        Second = "second",
        /// The types of 0.12.0 and 0.12.1.
        Third = "third",
        /// The types of 0.13.0 and 0.13.1.
        Fourth = "fourth",
        /// The types of 0.14.0 on.
        Fifth = "fifth",
    }
    /// What happens to `-`, `_` and `.` at the edges of label values made from the URL (#3664).
    label_edges: LabelEdges {
        /// They stay, and the API server refuses the object (0.10.1 and older).
        Kept = "kept",
        /// They are stripped (0.11.0 on).
        Stripped = "stripped",
    }
    /// Whether labels of the set are handed down to everything (#3157).
    label_propagation: LabelPropagation {
        /// Common keys only (0.9.1 and older).
        Common = "common",
        /// All (0.9.2 on).
        All = "all",
    }
    /// Whether scale sets can have more labels and generated objects metadata overlays (#4408, #4400).
    overlays: Overlays {
        /// No (0.13.1 and older).
        None = "none",
        /// Yes; one with labels and no annotations ends in a panic (0.14.0 on; Q-METADATA-NILMAP-PANIC).
        Supported = "supported",
        /// Yes, whichever of the two maps it has.
        Complete = "complete",
    }

    // ---- AutoscalingListener
    /// What makes the controller replace the listener pod (#3548, #4332, #4492).
    al_replace: ListenerReplace {
        /// Pod phase Failed (0.9.2 and older).
        PhaseFailed = "phase-failed",
        /// Container terminated (0.9.3 to 0.13.0).
        Terminated = "terminated",
        /// Container terminated or pod Evicted (0.13.1 on).
        TerminatedOrEvicted = "terminated-or-evicted",
        /// Any terminal pod.
        AnyEnd = "any-end",
    }
    /// How fast a listener pod is replaced (Q-LISTENER-NO-BACKOFF).
    al_restart: ListenerRestart {
        /// At once, for ever (all releases).
        Immediate = "immediate",
        /// 1, 2, 4 … 30 s apart, starting again after a served session.
        Backoff = "backoff",
    }
    /// When the listener's config secret is rebuilt (#4033, #4492).
    al_config_refresh: ConfigRefresh {
        /// Never (0.11.0 and older).
        Never = "never",
        /// When the controller deletes a terminated pod (0.12.0 to 0.14.1).
        OnTermination = "on-termination",
        /// When it differs in data, labels or annotations; the pod is replaced then (0.14.2).
        OnDrift = "on-drift",
        /// When its data differs; foreign labels stay; looked at every five minutes too, as nobody watches the source secret.
        OnDataDrift = "on-data-drift",
    }
    /// Whether the GitHub secret is mirrored beside the listener (#4090).
    al_mirror_secret: MirrorSecret {
        /// Yes (0.11.0 and older).
        Yes = "yes",
        /// No (0.12.0 on).
        No = "no",
    }
    /// How a deleting listener's objects are removed (#4289).
    al_deletion: ListenerDeletion {
        /// One per pass, rate-limited (0.13.0 and older).
        Stepwise = "stepwise",
        /// All in one pass, looked at again after 1 s (0.13.1 on).
        OnePass = "one-pass",
    }
    /// What the listener's name is made of (#4299).
    al_name: ListenerName {
        /// The namespace (0.13.0 and older).
        Namespace = "namespace",
        /// Namespace, group and URL: an edit orphans the old listener (0.13.1 on).
        NamespaceGroupUrl = "namespace-group-url",
    }
    /// What the listener's ServiceAccount, Role and RoleBinding are called (#4076).
    al_identity_name: ListenerIdentityName {
        /// Set and namespace (0.11.0 and older).
        SetAndNamespace = "set-and-namespace",
        /// As the listener (0.12.0 on).
        AsListener = "as-listener",
    }
    /// What a listener without its set means (Q-LISTENER-ARS-GONE).
    al_set_gone: SetGone {
        /// An error, for ever (all releases).
        Error = "error",
        /// The listener is deleted.
        Delete = "delete",
    }
    /// How the Role's rules are judged (Q-ROLE-RULES-NOT-REPAIRED).
    al_role_rules: RoleRules {
        /// By a label that holds their hash (all releases).
        HashLabel = "hash-label",
        /// By themselves.
        Compared = "compared",
    }
    /// Keys of the listener's config.json (0.11.0).
    al_config_format: ConfigFormat {
        /// camelCase (0.10.1 and older).
        Camel = "camel",
        /// snake_case (0.11.0 on).
        Snake = "snake",
    }
    /// What the listener's container is called (#3167).
    al_container: ListenerContainer {
        /// `autoscaler` (0.7.0).
        Autoscaler = "autoscaler",
        /// `listener` (0.8.0 on).
        Listener = "listener",
    }
    /// Whether the listener pod asks for a Linux node (#4377).
    al_node_selector: ListenerNodeSelector {
        /// No (0.13.1 and older).
        None = "none",
        /// Yes (0.14.0 on).
        Linux = "linux",
    }
    /// Grace period of the listener pod (#3187).
    al_grace: ListenerGrace {
        /// The default 30 s (0.8.1 and older).
        Default = "default",
        /// 60 s (0.8.2 on).
        Sixty = "sixty",
    }

    // ---- manager process
    /// Workers of the EphemeralRunner controller (#3832).
    er_workers: ErWorkers {
        /// One (0.9.3 and older).
        One = "one",
        /// Two (0.10.0 on).
        Two = "two",
    }
    /// Whether a global 10/s bucket delays failing keys too (arc-controllers.md §2.4).
    queue_bucket: QueueBucket {
        /// Yes (0.13.1 and older).
        Yes = "yes",
        /// No; and an immediate add replaces a delayed one (0.14.0 on).
        No = "no",
    }
    /// Where service calls of one set of credentials are serialised (Q-CLIENT-MUTEX).
    client_mutex: ClientMutex {
        /// Only the token refresh (0.13.1 and older).
        Refresh = "refresh",
        /// Every call with all its retries (0.14.0 on).
        WholeCall = "whole-call",
    }
    /// What a 401 of an admin call means (Q-ADMIN-401-NOREFRESH).
    admin_401: Admin401 {
        /// An error; the token is kept until it nears its end (all releases).
        Error = "error",
        /// Refreshed once.
        Refresh = "refresh",
    }
    /// Retries of step C after 401 or 403 (#3377, #3724).
    registration_retry: RegistrationRetry {
        /// None (0.8.3 and older).
        None = "none",
        /// After 1, 1.5, 2 s, without body (0.9.x).
        ThreeEmpty = "three-empty",
        /// After 1, 2, 4, 8, 16 s, without body (0.10.0 to 0.13.1).
        FiveEmpty = "five-empty",
        /// After 1, 2, 4, 8 s, with body (0.14.0 on).
        FourWithBody = "four-with-body",
    }
    /// How long one attempt of a service call may take (Q-NO-HTTP-TIMEOUT, #3103).
    http_timeout: HttpTimeout {
        /// For ever: a call on a dead connection never ends (0.7.0).
        None = "none",
        /// 5 minutes, long polls included (0.8.0 on).
        FiveMinutes = "five-minutes",
        /// 2 minutes for long polls, 30 s for all others: well below the time a job may wait.
        ByCall = "by-call",
    }
    /// Whether the acquire call first refreshes the admin token that it does not use (actions-service.md §1.5).
    acquire_refresh: AcquireRefresh {
        /// No (0.13.1 and older): without other admin calls the token is stale at every stop.
        No = "no",
        /// Yes, and it fails with the refresh (0.14.0 on).
        Yes = "yes",
    }

    // ---- listener and scaler
    /// What a 409 at session creation means (Q-SESSION-CONFLICT-LOOP).
    listener_conflict: SessionConflictRule {
        /// Sleep 30 to 44 s in the process, up to ten times, deaf to SIGTERM; any error counts (0.7.0).
        SleepAndRetry = "sleep-and-retry",
        /// Exit 1 (0.8.0 on).
        Exit = "exit",
        /// A wait state with bounded back-off, reported.
        Wait = "wait",
    }
    /// Whether the session is deleted on exit (#3240).
    listener_close: ListenerClose {
        /// Yes; an abort in flight counts as well (0.7.0).
        Yes = "yes",
        /// Never (0.8.0, 0.8.1).
        Never = "never",
        /// Yes, given up after 30 s (0.8.2 to 0.13.1).
        Within30s = "within-30s",
        /// Yes, without limit (0.14.0 on).
        Unbounded = "unbounded",
    }
    /// Order of the calls that handle a message (actions-service.md §4.11).
    listener_order: MessageOrder {
        /// Started patches, acquire, scale, then delete (0.7.0).
        DeleteLast = "delete-last",
        /// Acquire, delete, started patches, scale (0.8.0 to 0.13.1).
        AcquireThenDelete = "acquire-then-delete",
        /// Delete, never acquire, started patches, scale (0.14.0).
        NeverAcquires = "never-acquires",
        /// Delete, acquire, started patches, scale (0.14.1 on).
        DeleteThenAcquire = "delete-then-acquire",
        /// Acquire, started patches, scale; deleted when the API server has taken the patches.
        AcknowledgeLast = "acknowledge-last",
    }
    /// What the jobs that wait at session creation are asked for (E13; actions-service.md §4.3, §4.4).
    listener_seed: SeedRule {
        /// They are acquired as if a message had offered them (0.7.0).
        Acquired = "acquired",
        /// Asked for and thrown away; a failure ends the process (0.8.0, 0.8.1).
        Discarded = "discarded",
        /// Nothing is asked (0.8.2 on).
        None = "none",
        /// Asked for whenever statistics speak of offers that no message brought; a failure is tried again.
        Reconciled = "reconciled",
    }
    /// What statistics that are missing mean (Q-STATS-NIL).
    listener_no_statistics: NoStatistics {
        /// In a session a panic, in a message an exit (0.8.1 and older).
        PanicOnSession = "panic-on-session",
        /// Exit (0.8.2 to 0.13.1).
        Exit = "exit",
        /// In a session an exit, in a message a panic (0.14.0 on).
        PanicOnMessage = "panic-on-message",
        /// The latest ones stay in force.
        Kept = "kept",
    }
    /// What a message that cannot be handled means (Q-POISON-MESSAGE, Q-UNKNOWN-TYPE).
    listener_poison: PoisonRule {
        /// An unknown envelope is skipped and deleted, anything else and a message without events ends the process (0.7.0).
        SkipsUnknown = "skips-unknown",
        /// Exit; it comes again for ever (0.8.0 on).
        Exit = "exit",
        /// Deleted after the third reading, and reported.
        Deleted = "deleted",
    }
    /// What an API server's refusal of the target or of a job's data means (listener-exits-on-apiserver-error).
    listener_patch_error: PatchError {
        /// Exit; what the message said is lost (all releases).
        Exit = "exit",
        /// Tried again with back-off while polling goes on.
        Retry = "retry",
    }
    /// How the listener words the errors it exits with (actions-service.md §1.9, §4.5).
    listener_texts: ErrorTexts {
        /// `409 - had issue communicating with Actions backend: …` (0.9.0 and older).
        Plain = "plain",
        /// `actions error: StatusCode 409, …` (0.9.1 to 0.11.0).
        Actions = "actions",
        /// The same after `failed to do the session request: ` (0.12.0 to 0.13.1).
        SessionRequest = "session-request",
        /// `request POST … failed(status="409 Conflict", …)` (0.14.0 on).
        Scaleset = "scaleset",
    }
    /// Whether a message in flight is finished after SIGTERM (#3187).
    listener_drain: ListenerDrain {
        /// Aborted (0.8.1 and older).
        Aborted = "aborted",
        /// Finished (0.8.2 on).
        Finished = "finished",
    }
    /// What 401 at E11 means (#3529).
    listener_delete_401: Delete401 {
        /// Exit (0.7.0: refreshed once; 0.8.0 to 0.9.1: exit).
        Exit = "exit",
        /// Refresh and try once more (0.9.2 on, and 0.7.0).
        Refresh = "refresh",
    }
    /// What the acquire call sends when it is repeated after a refresh (#3307).
    listener_acquire_retry: AcquireRetry {
        /// `null` (0.8.0 to 0.8.2).
        Null = "null",
        /// The ids (all others).
        Ids = "ids",
    }
    /// What a JobStarted patch that the API refuses means.
    listener_started_error: StartedError {
        /// Logged (0.7.0).
        Logged = "logged",
        /// Exit, 404 included (0.8.0, 0.8.1).
        Exit = "exit",
        /// Exit, but 404 is fine (0.8.2 on).
        ExitExceptNotFound = "exit-except-not-found",
    }
    /// Whether the JobStarted patch carries `jobId` (0.13.0).
    listener_job_id: ListenerJobId {
        /// No (0.12.1 and older).
        No = "no",
        /// Yes (0.13.0 on).
        Yes = "yes",
    }
    /// Whether polls tell the capacity (#3431).
    listener_capacity: CapacityHeader {
        /// No (0.9.0 and older).
        No = "no",
        /// maxRunners (0.9.1 on).
        Max = "max",
    }
    /// What the scaler makes of counts: target, id and whether it patches at all (actions-service.md §4.6).
    scaler: ScalerRule {
        /// min is a floor; patch on change (0.7.0).
        Floor = "floor",
        /// Patch on every message, no id (0.8.x).
        EveryMessage = "every-message",
        /// Id + 1 on change or completion (0.9.0).
        OnChange = "on-change",
        /// Every message and poll; an empty one resets the id and the target to min (0.9.1).
        EmptyResets = "empty-resets",
        /// Every message and poll; an empty one keeps the target, forced only at min (0.9.2 to 0.13.1).
        EmptyKeeps = "empty-keeps",
        /// By statistics; forced only if nothing happened and the target is min (0.14.0 on).
        Statistics = "statistics",
        /// By statistics and unfinished assignments; never forced while offers are open.
        DemandAware = "demand-aware",
    }
    /// What a 2xx with an unusable body, or another error of a poll, means.
    listener_poll_error: PollError {
        /// Exit (all releases).
        Exit = "exit",
        /// Retried in the process with back-off; the session is kept or made anew.
        Retry = "retry",
    }
}

impl Behaviour {
    /// How `release` behaves.
    pub fn of(release: Release) -> Behaviour {
        use Release::*;
        let r = release;
        let mut b = Behaviour {
            ers_gate: if r < V0_9_0 { ErsGate::Always } else { ErsGate::PatchId },
            ers_scale_down: if r < V0_9_1 { ErsScaleDown::AnyPatch } else { ErsScaleDown::ForcedOnly },
            ers_finished_sweep: if r < V0_9_0 { FinishedSweep::First } else { FinishedSweep::DeferredGated },
            ers_status_patch: if r < V0_14_0 { ErsStatusMembers::OnlyChanged } else { ErsStatusMembers::AlwaysTotal },
            ers_probe: TemplateProbe::None,
            ers_failed_counts: FailedCounts::Counted,
            busy_test: if r < V0_13_0 { BusyTest::JobRequestId } else { BusyTest::JobId },
            outdated: if r < V0_14_0 { Outdated::Unknown } else { Outdated::TearsDown },
            er_finalizers: match r {
                r if r < V0_9_3 => ErFinalizers::TwoInOnePass,
                r if r < V0_13_1 => ErFinalizers::TwoPasses,
                _ => ErFinalizers::AtCreation,
            },
            er_jit_store: if r < V0_13_0 { JitStore::Status } else { JitStore::SecretOnly },
            er_single_pass: if r < V0_10_0 { SinglePass::No } else { SinglePass::Yes },
            er_done_cleanup: match r {
                r if r < V0_9_0 => DoneCleanup::None,
                r if r < V0_11_0 => DoneCleanup::Waiting,
                _ => DoneCleanup::OnePass,
            },
            er_deletion: if r < V0_11_0 { ErDeletion::Waiting } else { ErDeletion::OnePass },
            er_remove_after_success: if r < V0_11_0 { RemoveAfterSuccess::Skipped } else { RemoveAfterSuccess::Called },
            er_exit_zero: match r {
                r if r < V0_12_1 => ExitZero::AskService,
                V0_12_1 => ExitZero::Succeeded,
                _ => ExitZero::Delete,
            },
            er_exit_with_job: if r < V0_13_0 { ExitWithJob::RestartPod } else { ExitWithJob::DeleteRunner },
            er_failure_limit: if r < V0_12_0 { FailureLimit::MarkFailed } else { FailureLimit::DeleteRunner },
            er_backoff: match r {
                r if r < V0_12_0 => ErBackoff::None,
                V0_12_0 => ErBackoff::LostWakeup,
                _ => ErBackoff::Table,
            },
            er_pod_exists: if r < V0_13_0 { PodExists::Error } else { PodExists::After5s },
            er_quota: if r < V0_13_1 { QuotaRejection::MarkFailed } else { QuotaRejection::Retry30s },
            er_rejection: if r < V0_8_0 { PodRejection::Error } else { PodRejection::MarkFailed },
            er_pod_failed: if r < V0_13_1 { PodFailed::EvictedOnly } else { PodFailed::First },
            er_init_failure: if r < V0_14_2 { InitFailure::Ignored } else { InitFailure::Handled },
            er_ready: if r < V0_11_0 { ReadySource::StickyPhase } else { ReadySource::Condition },
            er_foreign_name: if r < V0_13_0 { ForeignName::Error } else { ForeignName::DeleteRunner },
            er_work_folder: if r < V0_9_3 { WorkFolder::Never } else { WorkFolder::Sent },
            er_deprecated_code: if r < V0_14_0 { DeprecatedCode::NotAsked } else { DeprecatedCode::Asked },
            er_used_jit: UsedJit::Reused,
            er_removal: RemovalTarget::StatusId,
            er_stuck_pod: StuckPod::Ignored,
            er_registration_check: RegistrationCheck::Never,
            ars_version_gate: if r < V0_12_0 { VersionGate::Exact } else { VersionGate::Minor },
            ars_finalizer: if r < V0_14_0 { ArsFinalizer::Return } else { ArsFinalizer::FallThrough },
            ars_change_hash: if r < V0_14_0 { ChangeHash::None } else { ChangeHash::ZeroesStatus },
            ars_secret_get: if r < V0_12_0 { ArsSecretGet::EveryPass } else { ArsSecretGet::OnDemand },
            ars_delete_wait: if r < V0_14_0 { ArsDeleteWait::Events } else { ArsDeleteWait::After5s },
            ars_protection_removal: if r < V0_9_3 { ProtectionRemoval::OnePerPass } else { ProtectionRemoval::OnePass },
            ars_values_hash: if r < V0_9_0 { ValuesHash::Ignored } else { ValuesHash::Compared },
            ars_drain: if r < V0_9_1 { Drain::ReplicasOnly } else { Drain::ResetsId },
            ars_ers_name: ErsName::Generated,
            ars_status: if r < V0_14_0 { ArsStatusRule::OnTotal } else { ArsStatusRule::OnTotalOrPhase },
            ars_scale_set_gone: ScaleSetGone::Error,
            ars_listener_binding: ListenerBinding::Ignored,
            ars_eventual_listener: EventualListener::WaitsForRunners,
            ars_identity: IdentityCheck::Ignored,
            ars_scale_set_check: ScaleSetCheck::Never,
            conditions: ConditionsRule::None,
            gone_objects: GoneObjects::Error,
            spec_generation: match r {
                r if r < V0_11_0 => SpecGeneration::First,
                r if r < V0_12_0 => SpecGeneration::Second,
                r if r < V0_13_0 => SpecGeneration::Third,
                r if r < V0_14_0 => SpecGeneration::Fourth,
                _ => SpecGeneration::Fifth,
            },
            label_edges: if r < V0_11_0 { LabelEdges::Kept } else { LabelEdges::Stripped },
            label_propagation: if r < V0_9_2 { LabelPropagation::Common } else { LabelPropagation::All },
            overlays: if r < V0_14_0 { Overlays::None } else { Overlays::Supported },
            al_replace: match r {
                r if r < V0_9_3 => ListenerReplace::PhaseFailed,
                r if r < V0_13_1 => ListenerReplace::Terminated,
                _ => ListenerReplace::TerminatedOrEvicted,
            },
            al_restart: ListenerRestart::Immediate,
            al_config_refresh: match r {
                r if r < V0_12_0 => ConfigRefresh::Never,
                r if r < V0_14_2 => ConfigRefresh::OnTermination,
                _ => ConfigRefresh::OnDrift,
            },
            al_mirror_secret: if r < V0_12_0 { MirrorSecret::Yes } else { MirrorSecret::No },
            al_deletion: if r < V0_13_1 { ListenerDeletion::Stepwise } else { ListenerDeletion::OnePass },
            al_name: if r < V0_13_1 { ListenerName::Namespace } else { ListenerName::NamespaceGroupUrl },
            al_identity_name: if r < V0_12_0 {
                ListenerIdentityName::SetAndNamespace
            } else {
                ListenerIdentityName::AsListener
            },
            al_set_gone: SetGone::Error,
            al_role_rules: RoleRules::HashLabel,
            al_config_format: if r < V0_11_0 { ConfigFormat::Camel } else { ConfigFormat::Snake },
            al_container: if r < V0_8_0 { ListenerContainer::Autoscaler } else { ListenerContainer::Listener },
            al_node_selector: if r < V0_14_0 { ListenerNodeSelector::None } else { ListenerNodeSelector::Linux },
            al_grace: if r < V0_8_2 { ListenerGrace::Default } else { ListenerGrace::Sixty },
            er_workers: if r < V0_10_0 { ErWorkers::One } else { ErWorkers::Two },
            queue_bucket: if r < V0_14_0 { QueueBucket::Yes } else { QueueBucket::No },
            client_mutex: if r < V0_14_0 { ClientMutex::Refresh } else { ClientMutex::WholeCall },
            admin_401: Admin401::Error,
            registration_retry: match r {
                r if r < V0_9_0 => RegistrationRetry::None,
                r if r < V0_10_0 => RegistrationRetry::ThreeEmpty,
                r if r < V0_14_0 => RegistrationRetry::FiveEmpty,
                _ => RegistrationRetry::FourWithBody,
            },
            http_timeout: if r < V0_8_0 { HttpTimeout::None } else { HttpTimeout::FiveMinutes },
            acquire_refresh: if r < V0_14_0 { AcquireRefresh::No } else { AcquireRefresh::Yes },
            listener_conflict: if r < V0_8_0 { SessionConflictRule::SleepAndRetry } else { SessionConflictRule::Exit },
            listener_close: match r {
                V0_7_0 => ListenerClose::Yes,
                V0_8_0 | V0_8_1 => ListenerClose::Never,
                r if r < V0_14_0 => ListenerClose::Within30s,
                _ => ListenerClose::Unbounded,
            },
            listener_order: match r {
                V0_7_0 => MessageOrder::DeleteLast,
                r if r < V0_14_0 => MessageOrder::AcquireThenDelete,
                V0_14_0 => MessageOrder::NeverAcquires,
                _ => MessageOrder::DeleteThenAcquire,
            },
            listener_seed: match r {
                V0_7_0 => SeedRule::Acquired,
                V0_8_0 | V0_8_1 => SeedRule::Discarded,
                _ => SeedRule::None,
            },
            listener_no_statistics: match r {
                r if r < V0_8_2 => NoStatistics::PanicOnSession,
                r if r < V0_14_0 => NoStatistics::Exit,
                _ => NoStatistics::PanicOnMessage,
            },
            listener_poison: if r < V0_8_0 { PoisonRule::SkipsUnknown } else { PoisonRule::Exit },
            listener_patch_error: PatchError::Exit,
            listener_texts: match r {
                r if r < V0_9_1 => ErrorTexts::Plain,
                r if r < V0_12_0 => ErrorTexts::Actions,
                r if r < V0_14_0 => ErrorTexts::SessionRequest,
                _ => ErrorTexts::Scaleset,
            },
            listener_drain: if r < V0_8_2 { ListenerDrain::Aborted } else { ListenerDrain::Finished },
            listener_delete_401: if (V0_8_0..V0_9_2).contains(&r) { Delete401::Exit } else { Delete401::Refresh },
            listener_acquire_retry: if (V0_8_0..V0_8_3).contains(&r) { AcquireRetry::Null } else { AcquireRetry::Ids },
            listener_started_error: match r {
                V0_7_0 => StartedError::Logged,
                V0_8_0 | V0_8_1 => StartedError::Exit,
                _ => StartedError::ExitExceptNotFound,
            },
            listener_job_id: if r < V0_13_0 { ListenerJobId::No } else { ListenerJobId::Yes },
            listener_capacity: if r < V0_9_1 { CapacityHeader::No } else { CapacityHeader::Max },
            scaler: match r {
                V0_7_0 => ScalerRule::Floor,
                r if r < V0_9_0 => ScalerRule::EveryMessage,
                V0_9_0 => ScalerRule::OnChange,
                V0_9_1 => ScalerRule::EmptyResets,
                r if r < V0_14_0 => ScalerRule::EmptyKeeps,
                _ => ScalerRule::Statistics,
            },
            listener_poll_error: PollError::Exit,
        };
        if release == Next {
            b.correct();
        }
        b
    }

    /// Sets every switch that has a correct value to it: the corrected controller.
    fn correct(&mut self) {
        self.ers_gate = ErsGate::Level;
        self.ers_scale_down = ErsScaleDown::ForcedWithRetry;
        self.ers_failed_counts = FailedCounts::NotCounted;
        self.ers_probe = TemplateProbe::One;
        self.outdated = Outdated::Reported;
        self.er_backoff = ErBackoff::TableAfterPod;
        self.er_pod_exists = PodExists::CheckOwner;
        self.er_exit_zero = ExitZero::Verified;
        self.er_quota = QuotaRejection::Wait30s;
        self.er_rejection = PodRejection::Backoff;
        self.er_used_jit = UsedJit::Replaced;
        self.er_removal = RemovalTarget::Everything;
        self.er_stuck_pod = StuckPod::Replaced;
        self.er_registration_check = RegistrationCheck::Periodic;
        self.overlays = Overlays::Complete;
        self.er_init_failure = InitFailure::HandledExceptSidecars;
        self.ars_version_gate = VersionGate::Report;
        self.ars_finalizer = ArsFinalizer::Return;
        self.ars_change_hash = ChangeHash::None;
        self.ars_ers_name = ErsName::Derived;
        self.ars_status = ArsStatusRule::OnAnyChange;
        self.ars_scale_set_gone = ScaleSetGone::Fine;
        self.ars_listener_binding = ListenerBinding::Checked;
        self.ars_eventual_listener = EventualListener::AtOnce;
        self.ars_identity = IdentityCheck::Repaired;
        self.ars_scale_set_check = ScaleSetCheck::WhenListenerFails;
        self.conditions = ConditionsRule::Reported;
        self.gone_objects = GoneObjects::Fine;
        self.al_config_refresh = ConfigRefresh::OnDataDrift;
        self.al_replace = ListenerReplace::AnyEnd;
        self.al_restart = ListenerRestart::Backoff;
        self.al_name = ListenerName::Namespace;
        self.al_set_gone = SetGone::Delete;
        self.al_role_rules = RoleRules::Compared;
        self.client_mutex = ClientMutex::Refresh;
        self.admin_401 = Admin401::Refresh;
        self.http_timeout = HttpTimeout::ByCall;
        self.acquire_refresh = AcquireRefresh::No;
        self.listener_conflict = SessionConflictRule::Wait;
        self.listener_close = ListenerClose::Within30s;
        self.listener_order = MessageOrder::AcknowledgeLast;
        self.listener_seed = SeedRule::Reconciled;
        self.listener_no_statistics = NoStatistics::Kept;
        self.listener_poison = PoisonRule::Deleted;
        self.listener_patch_error = PatchError::Retry;
        self.scaler = ScalerRule::DemandAware;
        self.listener_poll_error = PollError::Retry;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_switch_can_be_read_and_set_by_name() {
        for switch in Behaviour::SWITCHES {
            for (value, doc) in switch.values {
                let mut b = Behaviour::of(Release::V0_14_2);
                b.set(switch.name, value).expect("a listed value");
                assert_eq!(b.get(switch.name), Some(*value));
                assert!(doc.len() > 10, "{}={value} is not documented", switch.name);
            }
        }
        assert!(Behaviour::of(Release::Next).set("er_backoff", "nonsense").is_err());
    }

    #[test]
    fn every_value_is_some_releases_value() {
        for switch in Behaviour::SWITCHES {
            for (value, _) in switch.values {
                assert!(
                    Release::ALL.iter().any(|r| Behaviour::of(*r).get(switch.name) == Some(value)),
                    "no release has {}={value}",
                    switch.name
                );
            }
        }
    }
}
