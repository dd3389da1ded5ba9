//! Why a mutant is not noticed, or only by chance, or what it would take. What survived the budget that the README states is here.

/// Other ways of doing it that are as right: what differs is told in a name, a text, a hash or a number of calls.
const NO_FAULT: &str = "no fault by itself: another way to the same end";
/// What it would take is drawn by no profile.
const NO_WORLD: &str = "no drawn world leads there; scenarios do (`sim/tests/switches.rs`, `scenarios/recorded`)";
/// The corrected controller makes good what goes wrong.
const HEALED: &str = "`next` heals it: another pass, the garbage collector or a periodic check finds what was left out";
/// Somebody waits longer, within what the promises tolerate.
const SLOWER: &str = "only slower, within what the promises tolerate";

/// Chance decides within how many worlds.
const RARE: &str = "harms only a runner that ends with 0 and did nothing, once in thousands of worlds; scenarios have it (`scenarios/quirks`)";
/// Told to people, or to `kubectl get`.
const TOLD: &str = "what it tells is for people: promises read it as an excuse at most";
/// A pod that is refused alone harms nothing.
const REFUSED: &str = "a runner whose pod is refused is tried again or replaced either way; that each waits registered, or none tells why, is in \
     `scenarios/quirks`";
/// A process of the listener ends, and comes back.
const COMES_BACK: &str = "the listener comes back within its back-off and goes on; only one that has to do so for long is noticed, in scenarios";
/// What it looks at never is.
const NOTHING_THERE: &str = "`next` leaves no runner in phase Failed: there is nobody to be counted";

/// What it changes is hardly looked at.
const BY_LEVEL: &str = "`next` compares levels: of the patch's id it asks only whether it is 0";

const UNSEEN: &[(&str, &[&str])] = &[
    (NOTHING_THERE, &["switch ers_failed_counts=counted"]),
    (BY_LEVEL, &["li-patch-id-stands-still"]),
    (RARE, &["switch er_exit_zero=succeeded"]),
    (
        TOLD,
        &[
            "switch ars_status=on-total",
            "switch ars_status=on-total-or-phase",
            "switch conditions=none",
            "er-reason-dropped",
        ],
    ),
    (
        REFUSED,
        &[
            "switch ers_probe=none",
            "switch er_rejection=mark-failed",
            "switch er_rejection=error",
            "switch er_quota=mark-failed",
            "switch er_quota=retry-30s",
            "er-rejections-forgotten",
        ],
    ),
    (COMES_BACK, &["switch listener_conflict=exit", "li-exits-on-transport-error", "li-exits-on-conflict"]),
    (
        NO_FAULT,
        &[
            "switch ers_status_patch=only-changed",
            "switch er_finalizers=two-in-one-pass",
            "switch er_finalizers=two-passes",
            "switch er_single_pass=no",
            "switch er_done_cleanup=waiting",
            "switch er_deletion=waiting",
            "switch er_exit_zero=delete",
            "switch er_pod_exists=after-5s",
            "switch er_work_folder=never",
            "switch ars_finalizer=fall-through",
            "switch ars_protection_removal=one-per-pass",
            "switch spec_generation=first",
            "switch spec_generation=second",
            "switch spec_generation=third",
            "switch spec_generation=fourth",
            "switch label_propagation=common",
            "switch al_deletion=stepwise",
            "switch al_identity_name=set-and-namespace",
            "switch al_config_format=camel",
            "switch al_config_format=snake-without-prefix",
            "switch al_container=autoscaler",
            "switch al_node_selector=none",
            "switch al_grace=default",
            "switch listener_texts=plain",
            "switch listener_texts=actions",
            "switch listener_texts=session-request",
            "switch listener_close=yes",
            "switch listener_close=unbounded",
            "ars-finalizer-not-added",
        ],
    ),
    (
        NO_WORLD,
        &[
            "switch er_failure_limit=mark-failed",
            "switch er_foreign_name=error",
            "switch er_init_failure=ignored",
            "switch er_init_failure=handled",
            "switch ars_version_gate=exact",
            "switch ars_version_gate=minor",
            "switch ars_values_hash=ignored",
            "switch ars_scale_set_gone=error",
            "switch label_edges=kept",
            "switch overlays=none",
            "switch overlays=supported",
            "switch al_set_gone=error",
            "switch al_role_rules=hash-label",
            "switch registration_retry=none",
            "switch registration_retry=three-empty",
            "switch registration_retry=five-empty",
            "switch listener_no_statistics=panic-on-session",
            "switch listener_no_statistics=exit",
            "switch listener_no_statistics=panic-on-message",
            "switch listener_poison=skips-unknown",
            "switch listener_poison=exit",
            "switch listener_acquire_retry=null",
            "switch listener_drain=aborted",
            "er-failed-is-success",
            "er-conflict-swallowed",
            "ars-conflict-swallowed",
        ],
    ),
    (
        HEALED,
        &[
            "switch er_done_cleanup=none",
            "switch er_exit_zero=ask-service",
            "switch er_exit_with_job=restart-pod",
            "switch er_going_set=ignored",
            "switch er_stuck_pod=ignored",
            "switch ars_stale_object=believed",
            "switch al_name=namespace-group-url",
            "switch al_mirror_secret=yes",
            "switch al_replace=terminated",
            "switch al_replace=terminated-or-evicted",
            "switch listener_close=never",
            "switch listener_seed=acquired",
            "switch listener_seed=discarded",
            "switch listener_seed=none",
            "switch listener_patch_error=exit",
            "switch listener_poll_error=exit",
            "switch listener_started_error=logged",
            "switch listener_started_error=exit",
            "switch listener_delete_401=exit",
            "switch acquire_refresh=yes",
            "er-secret-after-pod",
            "er-pod-exists-believed",
            "er-pod-made-twice",
            "er-exists-is-an-error",
            "ers-runner-without-finalizers",
            "ers-runner-made-twice",
            "ers-create-error-swallowed",
            "ers-deletes-before-asking",
            "ers-lost-wake-up",
            "ers-never-looks-again",
            "ars-finalizer-before-scale-set",
            "ars-list-from-cache",
            "ars-exists-is-an-error",
            "al-exists-is-an-error",
            "al-lost-wake-up",
            "li-cursor-lost",
            "li-exits-on-500",
            "li-session-not-closed",
            "li-patch-error-swallowed",
        ],
    ),
    (
        SLOWER,
        &[
            "switch er_backoff=table",
            "switch er_pod_exists=error",
            "switch er_workers=one",
            "switch ars_delete_wait=events",
            "switch gone_objects=error",
            "switch queue_bucket=yes",
            "switch queue_bucket=no",
            "switch client_mutex=whole-call",
            "switch ers_finished_sweep=first",
            "switch ers_scale_down=forced-only",
        ],
    ),
    (
        "several managers at once and caches that disagree for minutes: `two-managers-answer-each-other` has them",
        &["switch ers_own_status=at-once"],
    ),
    (
        "what tells that a runner is busy is asked of the service as well before it goes; only `kubectl get` shows less. A promise \
         that a busy runner's status names its job would see it, but lost messages excuse that",
        &[
            "switch busy_test=job-request-id",
            "switch listener_job_id=no",
            "switch listener_job_id=yes",
            "li-job-not-written",
        ],
    ),
    (
        "a deprecated runner version is refused by no drawn service",
        &["switch er_deprecated_code=not-asked", "switch outdated=unknown"],
    ),
    (
        "a runner's phase and readiness are promised nothing but that runners that are counted can serve",
        &["switch er_ready=sticky-phase"],
    ),
    (
        "a runner that is over is registered again only when caches lag behind its end: `registered-after-its-end` has the race",
        &["switch er_stale_object=believed"],
    ),
    (
        "counters of the user's object are zero for a moment; the promise about them tolerates two minutes",
        &["switch ars_change_hash=zeroes-status"],
    ),
    (
        "accounts of the runners are deleted by no drawn operator: `kube-mode-hook-forbidden` has it",
        &["switch ars_identity=ignored"],
    ),
    (
        "the listener's configuration changes in no drawn world but with the whole listener",
        &[
            "switch al_config_refresh=never",
            "switch al_config_refresh=on-termination",
            "switch al_config_refresh=on-drift",
        ],
    ),
    (
        "the capacity that is told limits offers of a service with a gate; the target keeps the limit all the same",
        &["switch listener_capacity=no", "li-capacity-too-high"],
    ),
    (
        "a lag of the cache has to meet two passes within its length: `two-managers-make-the-same-runners` and \
         `sim/tests/own_controller.rs` have it",
        &["ers-list-from-cache"],
    ),
    ("the runner's own finalizer asks again, and waits for the job", &["ers-busy-swallowed"]),
    (
        "a listener without its session for ten minutes is rare: the service forgets a dead one's session before",
        &["li-conditions-not-written"],
    ),
];

pub(super) fn why(id: &str) -> Option<&'static str> {
    UNSEEN.iter().find(|(_, of)| of.contains(&id)).map(|(why, _)| *why)
}

/// All that are explained.
#[cfg(test)]
pub(super) fn ids() -> impl Iterator<Item = &'static str> {
    UNSEEN.iter().flat_map(|(_, of)| *of).copied()
}
