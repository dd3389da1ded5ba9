//! What differs between the releases: one named switch per row of the feature matrix.
//!
//! Reconcilers and listener read switches, never release numbers. Each switch is an enum whose variants are the ways upstream
//! ever did it, plus (often) the way a correct controller does it, which only `next` has. [`Behaviour::set`] changes one switch
//! by name, for experiments and for the tests that break switches one by one.
//!
//! Source: arc-controllers.md §10, actions-service.md §4.11.

#[macro_use]
mod more_switches;
mod releases;

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

with_more_switches! { switches {
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
    /// When a set or runner set looks at a report of its own status.
    ers_own_status: OwnStatus {
        /// At once: two managers that see different runners answer each other without end (all releases).
        AtOnce = "at-once",
        /// Two seconds later.
        Later = "later",
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
        /// It is removed, the next pod gets a new one; a runner whose job is known is deleted instead.
        Replaced = "replaced",
    }
    /// Whether the runner object is read from the server before it is registered (found: registered-after-its-end).
    er_stale_object: StaleObject {
        /// The cache is believed, so a runner that is over is registered again (all releases).
        Believed = "believed",
        /// It is read first.
        Read = "read",
    }
    /// Which registrations a deleting runner removes (Q-JIT-LEAK, Q-SECRET-DELETED-REREGISTER).
    er_removal: RemovalTarget {
        /// `status.runnerId`, also when it is 0 (all releases).
        StatusId = "status-id",
        /// Also what the JIT secret names, or, without a secret, what the service knows by the runner's name.
        Everything = "everything",
    }
    /// Whether a runner whose set is being deleted still gets a registration and a pod.
    er_going_set: GoingSet {
        /// Yes (all releases).
        Ignored = "ignored",
        /// No: what its account could do ends a minute after the account's deletion.
        Respected = "respected",
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
    /// What a deletion believes of the set itself and of its runner sets.
    ars_stale_object: ArsStaleObject {
        /// The cache (all releases).
        Believed = "believed",
        /// The server is asked before the registration and the rights go.
        Read = "read",
    }
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

} }

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
