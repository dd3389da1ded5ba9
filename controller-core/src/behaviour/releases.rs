//! Which release sets which switch how. Changes nothing else.

use super::*;

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
            ers_own_status: OwnStatus::AtOnce,
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
            er_stale_object: StaleObject::Believed,
            er_removal: RemovalTarget::StatusId,
            er_going_set: GoingSet::Ignored,
            er_stuck_pod: StuckPod::Ignored,
            er_registration_check: RegistrationCheck::Never,
            ars_version_gate: if r < V0_12_0 { VersionGate::Exact } else { VersionGate::Minor },
            ars_stale_object: ArsStaleObject::Believed,
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
            al_config_format: if r < V0_11_0 {
                ConfigFormat::Camel
            } else if r < V0_12_0 {
                ConfigFormat::SnakeWithoutPrefix
            } else {
                ConfigFormat::Snake
            },
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
        self.ers_own_status = OwnStatus::Later;
        self.ers_probe = TemplateProbe::One;
        self.outdated = Outdated::Reported;
        self.er_backoff = ErBackoff::TableAfterPod;
        self.er_pod_exists = PodExists::CheckOwner;
        self.er_exit_zero = ExitZero::Verified;
        self.er_quota = QuotaRejection::Wait30s;
        self.er_rejection = PodRejection::Backoff;
        self.er_used_jit = UsedJit::Replaced;
        self.er_stale_object = StaleObject::Read;
        self.er_removal = RemovalTarget::Everything;
        self.er_going_set = GoingSet::Respected;
        self.er_stuck_pod = StuckPod::Replaced;
        self.er_registration_check = RegistrationCheck::Periodic;
        self.overlays = Overlays::Complete;
        self.er_init_failure = InitFailure::HandledExceptSidecars;
        self.ars_version_gate = VersionGate::Report;
        self.ars_finalizer = ArsFinalizer::Return;
        self.ars_stale_object = ArsStaleObject::Read;
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
        self.queue_bucket = QueueBucket::Capped;
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
        self.listener_job_id = ListenerJobId::WithRunner;
        self.scaler = ScalerRule::DemandAware;
        self.listener_poll_error = PollError::Retry;
    }
}
