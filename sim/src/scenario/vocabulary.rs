//! The names that scenario files, reports and `explain` share: invariants and metrics. Never checks or measures anything.

/// An invariant as files name it.
#[derive(Clone, Copy, Debug)]
pub struct InvariantInfo {
    /// Name in files and reports.
    pub id: &'static str,
    /// Name in the catalogue of field failures (field-bugs.md §1); empty if the promise is only ours.
    pub catalogue: &'static str,
    /// The promise, in a line; [`crate::invariant::CATALOGUE`] has its bounds and what it tolerates.
    pub promise: &'static str,
}

/// All invariants, in the catalogue's order.
pub const INVARIANTS: &[InvariantInfo] = &[
    InvariantInfo {
        id: "max-runners-respected",
        catalogue: "SAFE-CAP",
        promise: "live runners of a scale set never exceed maxRunners, but for the stated transient allowance",
    },
    InvariantInfo {
        id: "demand-bounded",
        catalogue: "SAFE-DEMAND",
        promise: "runners created and kept follow true demand: at most assigned + minRunners + a constant",
    },
    InvariantInfo {
        id: "reported-runners-can-serve",
        catalogue: "SAFE-COUNT",
        promise: "every runner that ARC counts as capacity has a pod that can serve, or is being replaced within a bound",
    },
    InvariantInfo {
        id: "counters-true",
        catalogue: "SAFE-TRUTH",
        promise: "status counters and phases equal the objects that exist, within a bound",
    },
    InvariantInfo {
        id: "busy-runner-kept",
        catalogue: "SAFE-BUSY",
        promise: "ARC never deletes a pod or runner that has an assigned job",
    },
    InvariantInfo {
        id: "one-registration-per-runner",
        catalogue: "SAFE-REG",
        promise: "at most one live registration per EphemeralRunner, and none that is in use is removed",
    },
    InvariantInfo {
        id: "registration-serves-one-job",
        catalogue: "SAFE-JIT",
        promise: "one registration is used by at most one pod start that reaches the service, and runs at most one job",
    },
    InvariantInfo {
        id: "nothing-orphaned",
        catalogue: "SAFE-ORPHAN",
        promise: "at quiescence nothing is left without owner: registrations, sessions, scale sets, pods, secrets, volumes",
    },
    InvariantInfo {
        id: "owned-by-user",
        catalogue: "SAFE-OWNER",
        promise: "objects the user owns (AutoscalingRunnerSet, scale set) are deleted only on the user's request",
    },
    InvariantInfo {
        id: "references-resolve",
        catalogue: "SAFE-REF",
        promise: "references (runner set, scale set id, version, secret hash, identity) resolve to live, current objects",
    },
    InvariantInfo {
        id: "one-runner-set",
        catalogue: "SAFE-ONE",
        promise: "exactly one live runner set per generation and at most one active listener session per scale set",
    },
    InvariantInfo {
        id: "runner-ready-before-job",
        catalogue: "SAFE-READY",
        promise: "no job is taken before declared dependencies and permissions are ready",
    },
    InvariantInfo {
        id: "result-has-proof",
        catalogue: "SAFE-RESULT",
        promise: "a job or step is successful only with proof; infrastructure failure is never reported as success",
    },
    InvariantInfo {
        id: "back-off-kept",
        catalogue: "",
        promise: "a pod that failed is followed by another one only after a wait",
    },
    InvariantInfo {
        id: "restarts-are-bounded",
        catalogue: "SAFE-RATE",
        promise: "create, delete, register and restart cycles are rate-bounded and back off",
    },
    InvariantInfo {
        id: "job-gets-runner",
        catalogue: "LIVE-JOB",
        promise: "every assigned job gets a working runner within a bound once capacity exists and faults ended",
    },
    InvariantInfo {
        id: "listener-is-polling",
        catalogue: "LIVE-LISTEN",
        promise: "a live, non-outdated scale set has a polling listener within a bound",
    },
    InvariantInfo {
        id: "min-runners-kept",
        catalogue: "LIVE-MIN",
        promise: "idle runners reach minRunners within a bound",
    },
    InvariantInfo {
        id: "surplus-disappears",
        catalogue: "LIVE-DOWN",
        promise: "surplus idle runners disappear within a bound",
    },
    InvariantInfo {
        id: "deletion-finishes",
        catalogue: "LIVE-DEL",
        promise: "objects marked for deletion disappear within a bound, or the blocker is reported",
    },
    InvariantInfo {
        id: "world-converges",
        catalogue: "LIVE-HEAL",
        promise: "after all faults end the system converges without manual action",
    },
    InvariantInfo {
        id: "spec-takes-effect",
        catalogue: "LIVE-APPLY",
        promise: "spec, secret and version changes take effect within a bound",
    },
    InvariantInfo {
        id: "failure-is-visible",
        catalogue: "OBS-ERR",
        promise: "a persistent failure is visible as condition, status reason or event, with its cause",
    },
    InvariantInfo {
        id: "tenants-isolated",
        catalogue: "ISO",
        promise: "one tenant's fault does not delay or break another beyond a bound",
    },
];

/// The invariant of a name, by id or by its name in the catalogue.
pub fn invariant(name: &str) -> Option<&'static InvariantInfo> {
    INVARIANTS.iter().find(|i| i.id == name || i.catalogue == name)
}

/// A metric of a run.
#[derive(Clone, Copy, Debug)]
pub struct MetricInfo {
    /// Name in files and reports.
    pub id: &'static str,
    /// Whether less is better; absent: neither.
    pub less_is_better: Option<bool>,
    /// What is counted or measured.
    pub doc: &'static str,
}

const fn less(id: &'static str, doc: &'static str) -> MetricInfo {
    MetricInfo { id, less_is_better: Some(true), doc }
}
const fn more(id: &'static str, doc: &'static str) -> MetricInfo {
    MetricInfo { id, less_is_better: Some(false), doc }
}
const fn plain(id: &'static str, doc: &'static str) -> MetricInfo {
    MetricInfo { id, less_is_better: None, doc }
}

/// All metrics that a run reports; the end of a name says its unit, if it has one.
pub const METRICS: &[MetricInfo] = &[
    plain("jobs_queued", "jobs queued"),
    more("jobs_succeeded", "jobs that succeeded"),
    less("jobs_failed", "jobs that failed"),
    less("jobs_failed_docker", "jobs that failed because the docker daemon could not be reached"),
    less("docker_failures", "those of all jobs that ended, per mille"),
    less("docker_failures_low", "lower end of their 95 % interval (Wilson), per mille"),
    less("docker_failures_high", "upper end of their 95 % interval (Wilson), per mille"),
    less("dind_restarts", "docker daemons started again in the same pod"),
    less("jobs_failed_hook", "jobs that failed in a container hook"),
    less("jobs_failed_shutdown", "jobs that failed because their runner was shut down"),
    less("jobs_never_started", "jobs that no runner took"),
    less("jobs_delayed", "jobs that waited more than a minute for a runner, or wait still"),
    less("wait_p50_ms", "median wait of jobs from queueing to start"),
    less("wait_p95_ms", "95th percentile of that wait"),
    less("wait_max_ms", "longest wait, of jobs that wait still as well"),
    less("infra_failures", "failures of jobs that are not the jobs' own"),
    less("offline_max_s", "longest time an installed scale set had no polling listener"),
    less("offline_total_s", "all such times of a second or more together"),
    less("session_refusals", "session creations answered 409"),
    less("refusals_per_minute", "session refusals a minute between the first and the last of them"),
    less("refused_for_s", "first to last refusal of a session"),
    plain("sessions", "message sessions opened"),
    less("listener_starts", "listener processes started"),
    less("listener_exits", "listener processes ended"),
    less("sets_deleted", "AutoscalingRunnerSets deleted by a controller and not by their users"),
    plain("controller_starts", "controller processes started"),
    less("runners_created", "EphemeralRunner objects created"),
    less("runners_failed", "EphemeralRunner objects that were Failed at some time"),
    less("runner_pods", "runner pods created"),
    less("pods_rejected", "pod creations that an API server refused"),
    plain("reported_current", "sum of status.currentRunners of all sets at the last mark, or at the end"),
    plain("reported_pending", "sum of status.pendingEphemeralRunners of all sets, likewise"),
    plain("reported_running", "sum of status.runningEphemeralRunners of all sets, likewise"),
    plain("reported_failed", "sum of status.failedEphemeralRunners of all runner sets, likewise"),
    plain("pods_existing", "runner pods that exist, likewise"),
    less("runner_starts", "runner processes started"),
    plain("registrations", "registrations made"),
    less("runners_wasted", "registrations that ran no job"),
    less("error_lines", "ERROR lines of controllers"),
    less("violations", "promises broken, each counted once per object"),
];

/// The metric of a name.
pub fn metric(name: &str) -> Option<&'static MetricInfo> {
    METRICS.iter().find(|m| m.id == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_promise_has_its_name_here_and_somebody_watches_it() {
        for entry in crate::invariant::CATALOGUE {
            assert_eq!(invariant(entry.id).map(|i| i.catalogue), Some(entry.field_id), "{}", entry.id);
        }
        assert!(INVARIANTS.iter().all(|i| crate::invariant::entry(i.id).is_some()));
        assert!(METRICS.iter().enumerate().all(|(i, m)| METRICS[..i].iter().all(|o| o.id != m.id)));
    }

    #[test]
    fn every_figure_of_a_run_is_named_and_every_name_is_a_figure() {
        let mut figures: Vec<&str> =
            crate::metrics::Metrics::default().figures(arc_api::Time::ZERO).into_keys().collect();
        figures.extend(["violations", "runners_wasted"]);
        figures.sort_unstable();
        let mut names: Vec<&str> = METRICS.iter().map(|m| m.id).collect();
        names.sort_unstable();
        assert_eq!(figures, names);
    }

    #[test]
    fn every_invariant_of_the_catalogue_has_one_kebab_case_name() {
        assert_eq!(INVARIANTS.iter().filter(|i| !i.catalogue.is_empty()).count(), 23);
        for (i, info) in INVARIANTS.iter().enumerate() {
            assert!(info.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", info.id);
            assert!(INVARIANTS[..i].iter().all(|o| o.id != info.id && o.catalogue != info.catalogue), "{}", info.id);
        }
    }
}
