//! The names that scenario files, reports and `explain` share: invariants and metrics. Never checks or measures anything.

/// What kind of promise an invariant is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Holds at every moment.
    Always,
    /// Holds within a bound once capacity exists and faults have ended.
    Settles,
}

/// An invariant as files name it.
#[derive(Clone, Copy, Debug)]
pub struct InvariantInfo {
    /// Name in files and reports.
    pub id: &'static str,
    /// Name in the catalogue of field failures (field-bugs.md §1).
    pub catalogue: &'static str,
    /// Kind.
    pub kind: Kind,
    /// The promise.
    pub promise: &'static str,
    /// Who relies on it.
    pub relied_on_by: &'static str,
}

/// All invariants, in the catalogue's order.
pub const INVARIANTS: &[InvariantInfo] = &[
    InvariantInfo {
        id: "max-runners-respected",
        catalogue: "SAFE-CAP",
        kind: Kind::Always,
        promise: "live runners of a scale set never exceed maxRunners, but for the stated transient allowance",
        relied_on_by: "whoever pays for the nodes",
    },
    InvariantInfo {
        id: "demand-bounded",
        catalogue: "SAFE-DEMAND",
        kind: Kind::Always,
        promise: "runners created and kept follow true demand: at most assigned + minRunners + a constant",
        relied_on_by: "whoever pays for the nodes",
    },
    InvariantInfo {
        id: "reported-runners-can-serve",
        catalogue: "SAFE-COUNT",
        kind: Kind::Settles,
        promise: "every runner that ARC counts as capacity has a pod that can serve, or is being replaced within a bound",
        relied_on_by: "everybody who reads currentRunners",
    },
    InvariantInfo {
        id: "counters-true",
        catalogue: "SAFE-TRUTH",
        kind: Kind::Settles,
        promise: "status counters and phases equal the objects that exist, within a bound",
        relied_on_by: "dashboards and alerts",
    },
    InvariantInfo {
        id: "busy-runner-kept",
        catalogue: "SAFE-BUSY",
        kind: Kind::Always,
        promise: "ARC never deletes a pod or runner that has an assigned job",
        relied_on_by: "whoever waits for the job",
    },
    InvariantInfo {
        id: "one-registration-per-runner",
        catalogue: "SAFE-REG",
        kind: Kind::Always,
        promise: "at most one live registration per EphemeralRunner, and none that is in use is removed",
        relied_on_by: "the service's runner list",
    },
    InvariantInfo {
        id: "registration-serves-one-job",
        catalogue: "SAFE-JIT",
        kind: Kind::Always,
        promise: "one registration is used by at most one pod start that reaches the service, and runs at most one job",
        relied_on_by: "everybody who needs clean runners",
    },
    InvariantInfo {
        id: "nothing-orphaned",
        catalogue: "SAFE-ORPHAN",
        kind: Kind::Settles,
        promise: "at quiescence nothing is left without owner: registrations, sessions, scale sets, pods, secrets, volumes",
        relied_on_by: "cluster and organisation administrators",
    },
    InvariantInfo {
        id: "owned-by-user",
        catalogue: "SAFE-OWNER",
        kind: Kind::Always,
        promise: "objects the user owns (AutoscalingRunnerSet, scale set) are deleted only on the user's request",
        relied_on_by: "everybody who declares a scale set",
    },
    InvariantInfo {
        id: "references-resolve",
        catalogue: "SAFE-REF",
        kind: Kind::Settles,
        promise: "references (runner set, scale set id, version, secret hash, identity) resolve to live, current objects",
        relied_on_by: "every controller down the chain",
    },
    InvariantInfo {
        id: "one-session-per-scale-set",
        catalogue: "SAFE-ONE",
        kind: Kind::Always,
        promise: "exactly one live runner set per generation and at most one active listener session per scale set",
        relied_on_by: "the scaling decision",
    },
    InvariantInfo {
        id: "runner-ready-before-job",
        catalogue: "SAFE-READY",
        kind: Kind::Always,
        promise: "no job is taken before declared dependencies and permissions are ready",
        relied_on_by: "whoever wrote the job",
    },
    InvariantInfo {
        id: "result-has-proof",
        catalogue: "SAFE-RESULT",
        kind: Kind::Always,
        promise: "a job or step is successful only with proof; infrastructure failure is never reported as success",
        relied_on_by: "whoever merges on green",
    },
    InvariantInfo {
        id: "restarts-are-bounded",
        catalogue: "SAFE-RATE",
        kind: Kind::Always,
        promise: "create, delete, register and restart cycles are rate-bounded and back off",
        relied_on_by: "the API server and the service",
    },
    InvariantInfo {
        id: "job-gets-runner",
        catalogue: "LIVE-JOB",
        kind: Kind::Settles,
        promise: "every assigned job gets a working runner within a bound once capacity exists and faults ended",
        relied_on_by: "whoever waits for the job",
    },
    InvariantInfo {
        id: "listener-is-polling",
        catalogue: "LIVE-LISTEN",
        kind: Kind::Settles,
        promise: "a live, non-outdated scale set has a polling listener within a bound",
        relied_on_by: "every job of the scale set",
    },
    InvariantInfo {
        id: "min-runners-kept",
        catalogue: "LIVE-MIN",
        kind: Kind::Settles,
        promise: "idle runners reach minRunners within a bound",
        relied_on_by: "whoever pays for fast starts",
    },
    InvariantInfo {
        id: "surplus-disappears",
        catalogue: "LIVE-DOWN",
        kind: Kind::Settles,
        promise: "surplus idle runners disappear within a bound",
        relied_on_by: "whoever pays for the nodes",
    },
    InvariantInfo {
        id: "deletion-finishes",
        catalogue: "LIVE-DEL",
        kind: Kind::Settles,
        promise: "objects marked for deletion disappear within a bound, or the blocker is reported",
        relied_on_by: "helm uninstall and namespace deletion",
    },
    InvariantInfo {
        id: "world-converges",
        catalogue: "LIVE-HEAL",
        kind: Kind::Settles,
        promise: "after all faults end the system converges without manual action",
        relied_on_by: "whoever is on call",
    },
    InvariantInfo {
        id: "spec-takes-effect",
        catalogue: "LIVE-APPLY",
        kind: Kind::Settles,
        promise: "spec, secret and version changes take effect within a bound",
        relied_on_by: "everybody who changes a setting",
    },
    InvariantInfo {
        id: "failure-is-visible",
        catalogue: "OBS-ERR",
        kind: Kind::Settles,
        promise: "a persistent failure is visible as condition, status reason or event, with its cause",
        relied_on_by: "whoever looks for the cause",
    },
    InvariantInfo {
        id: "tenants-isolated",
        catalogue: "ISO",
        kind: Kind::Settles,
        promise: "one tenant's fault does not delay or break another beyond a bound",
        relied_on_by: "teams that share a controller",
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
    /// Unit; empty for counts.
    pub unit: &'static str,
    /// Whether less is better.
    pub less_is_better: bool,
    /// What is counted or measured.
    pub doc: &'static str,
}

const fn count(id: &'static str, doc: &'static str) -> MetricInfo {
    MetricInfo { id, unit: "", less_is_better: true, doc }
}
const fn time(id: &'static str, doc: &'static str) -> MetricInfo {
    MetricInfo { id, unit: "s", less_is_better: true, doc }
}

/// All metrics that a run reports.
pub const METRICS: &[MetricInfo] = &[
    MetricInfo { id: "jobs_queued", unit: "", less_is_better: false, doc: "jobs queued" },
    MetricInfo { id: "jobs_succeeded", unit: "", less_is_better: false, doc: "jobs that ended as they should" },
    count("jobs_failed", "jobs that failed although their work would have passed"),
    count("jobs_cancelled", "jobs that were cancelled"),
    count("jobs_unfinished", "jobs that had not ended at the end of the run"),
    count("jobs_delayed", "jobs that waited for a runner longer than the bound of job-gets-runner"),
    time("job_wait_p50", "median wait of jobs from queueing to start"),
    time("job_wait_p95", "95th percentile of that wait"),
    time("job_wait_max", "longest wait"),
    time("time_to_recover", "end of the last fault to the moment from which every invariant holds"),
    count("refusals", "session creations answered 409"),
    count("listener_restarts", "listener processes after the first of each scale set"),
    time("listener_away", "longest time a live scale set had no polling listener"),
    MetricInfo { id: "runners_created", unit: "", less_is_better: true, doc: "EphemeralRunner objects created" },
    count("runners_wasted", "runners that were registered and never ran a job"),
    count("runners_failed", "EphemeralRunner objects that reached phase Failed"),
    count("pods_rejected", "pod creations that the API server refused"),
    count("pods_created", "pods created"),
    count("registrations", "registrations made"),
    count("orphans", "objects and registrations without owner at the end"),
    count("github_calls", "requests to GitHub"),
    count("kube_calls", "requests to API servers"),
    count("errors_logged", "ERROR lines of controllers"),
];

/// The metric of a name.
pub fn metric(name: &str) -> Option<&'static MetricInfo> {
    METRICS.iter().find(|m| m.id == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_invariant_of_the_catalogue_has_one_kebab_case_name() {
        assert_eq!(INVARIANTS.len(), 23);
        for (i, info) in INVARIANTS.iter().enumerate() {
            assert!(info.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'), "{}", info.id);
            assert!(INVARIANTS[..i].iter().all(|o| o.id != info.id && o.catalogue != info.catalogue), "{}", info.id);
        }
    }
}
