//! The second half of the switches: appended to the first by a macro, so that all of them are one list. Reads nothing.

/// Hands `$head` and the switches of this file to the macro `$then`.
macro_rules! with_more_switches {
    ($then:ident { $($head:tt)* }) => {
        $then! {
            $($head)*
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
            /// Keys of the listener's config.json (0.11.0, 0.12.0).
            al_config_format: ConfigFormat {
                /// camelCase (0.10.1 and older).
                Camel = "camel",
                /// snake_case, `token` and `app_id` without prefix (0.11.0).
                SnakeWithoutPrefix = "snake-without-prefix",
                /// snake_case, `github_token` and `github_app_id` (0.12.0 on).
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
                /// As `no`, and no failing key waits longer than 30 s instead of 1,000 s (corrected).
        Capped = "capped",
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
                /// With the registration that took it: a write that comes late says nothing of a later one.
                WithRunner = "with-runner",
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
    };
}
