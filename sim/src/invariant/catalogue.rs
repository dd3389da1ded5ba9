//! The promises by name: what each says, who relies on it, what it tolerates and why, and where it comes from.

/// When a promise is checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// At every event; no bad state is excused.
    Always,
    /// A bad state may last for a bound, counted from when faults and operators last touched the world.
    Settles,
    /// At the end of the run.
    AtTheEnd,
}

/// One promise.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Id in scenario files.
    pub id: &'static str,
    /// Id in the catalogue of field failures (field-bugs.md §1); empty if it is only ours.
    pub field_id: &'static str,
    /// When it is checked.
    pub sort: Sort,
    /// The promise.
    pub promise: &'static str,
    /// Who relies on it.
    pub for_whom: &'static str,
    /// What it tolerates, and why.
    pub tolerates: &'static str,
    /// Source.
    pub source: &'static str,
}

/// Looks a promise up.
pub fn entry(id: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|e| e.id == id)
}

macro_rules! catalogue {
    ($($id:literal $field:literal $sort:ident: $promise:literal, $whom:literal, $tolerates:literal, $source:literal;)*) => {
        /// All promises, the best known first.
        pub const CATALOGUE: &[Entry] = &[$(Entry {
            id: $id, field_id: $field, sort: Sort::$sort, promise: $promise, for_whom: $whom, tolerates: $tolerates, source: $source,
        }),*];
    };
}

catalogue! {
    "reported-runners-can-serve" "SAFE-COUNT" Settles:
        "The runner count that ARC reports equals the pods that exist and can serve.",
        "whoever reads currentRunners to judge capacity; the listener, whose target the count is compared with",
        "three minutes without a usable pod for a counted runner: pods are replaced with waits of up to 80 s; a pod that exists and has not ended counts as one that can serve, its hanging is failure-is-visible's business; a runner whose pass waits for a worker, behind those of others",
        "arc-controllers.md §13 I2, field-bugs.md SAFE-COUNT";
    "max-runners-respected" "SAFE-CAP" Settles:
        "Live runners of a scale set never exceed maxRunners.",
        "whoever pays for the nodes",
        "ten seconds of surplus: a count taken from a stale cache is corrected by the next pass; runners of a set that is being replaced; runners that existed when maxRunners was lowered or were made within five seconds of it (sixty while faults meet the manager), or within a minute while its listener still has the old limit, which go when their job is done or as surplus; as long as the manager waits for the answer to a call that was lost",
        "arc-controllers.md §13 I1, Q-STALE-EMPTY-LIST-DUP";
    "job-gets-runner" "LIVE-JOB" Settles:
        "An assigned job gets a runner.",
        "whoever waits for the job",
        "five minutes, counted from the assignment or from when the world was last disturbed; jobs beyond maxRunners wait for those before them, so the five minutes begin again as long as all runners work, and with each job that gets one of maxRunners runners; jobs for a set that its user took away, or that an eventual update drains, or whose listener says that it does not start while its image is pulled; a template whose pods the API server refuses or which never start, for as long as a condition of the set says so",
        "arc-controllers.md §13 I3";
    "listener-is-polling" "LIVE-LISTEN" Settles:
        "An installed scale set has a listener that polls.",
        "every job of the scale set",
        "three minutes without a finished or open poll: a listener's replacement, a poll's hold time and its retries fit in, and a session's time to live of 90 s, beyond which they are as much longer; they begin again when the last job of the old runners is over, if the controller updates eventually, and when the kubelet has got the listener's image, which it tries every five minutes, if a condition says that the listener does not start",
        "actions-service.md §8 I21, arc-controllers.md §13 I5";
    "busy-runner-kept" "SAFE-BUSY" Always:
        "ARC deletes no pod and no registration of a runner that works on a job.",
        "whoever waits for the job's result",
        "deleting the EphemeralRunner of a busy runner: its finalizer waits for the job; removing the registration of a runner that the service takes for busy and whose process has ended: nothing works there any more; a runner of whose job no listener has told, or only two seconds ago, while the service denies that it works, or knows it no more, or when its pod was deleted by force: nobody can know; the pod of one that lost its registration so when its user had lowered maxRunners or withdrawn a job; a runner whose job the service has called over: its result is out",
        "arc-controllers.md §13 I4";
    "registration-serves-one-job" "SAFE-JIT" Always:
        "A registration that took a job is never presented again by another pod.",
        "the isolation between jobs",
        "a pod that was restarted before its registration took a job",
        "actions-service.md §8 I13, arc-controllers.md §13 I10";
    "nothing-orphaned" "SAFE-ORPHAN" AtTheEnd:
        "At quiescence nothing is left without its owner: registrations, sessions, scale sets, pods, secrets, protected objects, messages that were handled.",
        "whoever cleans up, or pays for what is not cleaned up",
        "sessions within their time to live; a registration that the service makes, after its caller has given the request up, for a runner that has had one, or a second time of a request that came twice: it is never told of, and goes after a day offline; one that a manager made for a runner that another one takes away, and was killed before it gave it back; a scale set that it makes of such a request for a set that is gone or going",
        "arc-controllers.md §13 I9, actions-service.md §8 I12";
    "deletion-finishes" "LIVE-DEL" Settles:
        "An object marked for deletion disappears.",
        "whoever uninstalls, renames or upgrades",
        "five minutes, which begin when the last job of its own runners is over, also for the service, which takes ten minutes to notice a dead runner and keeps its registration until then; an identity that a live set still uses; what a failed installation left to a set that was never made",
        "arc-controllers.md §13 I12";
    "restarts-are-bounded" "SAFE-RATE" Always:
        "Restarts, registrations and pod creations back off: no more than six listener starts a minute for a set, ten pods for a runner in ten minutes, no write repeated more than sixty times a minute to no effect, no refusal of the service answered by the same request more than sixty times a minute, and no object looked at more than 300 times a minute to which nothing happened.",
        "the service's rate limits, the API server",
        "bursts below these rates; listeners whose pods people, nodes or faults took away",
        "field-bugs.md SAFE-RATE, Q-LISTENER-NO-BACKOFF";
    "failure-is-visible" "OBS-ERR" Settles:
        "A persistent failure is visible in a status, condition or event, with its cause.",
        "whoever is called at night",
        "ten minutes; logs do not count; a job that fails now and then for want of its daemon or hook while others of its kind pass",
        "field-bugs.md OBS-ERR";
    "world-converges" "LIVE-HEAL" AtTheEnd:
        "After faults and operators have left it alone the world comes to rest in the state that was asked for, and stays there.",
        "everybody",
        "polls and lease renewals go on; work that is still running, and work that waits for its place",
        "dst-practices.md §8";
    "min-runners-kept" "LIVE-MIN" Settles:
        "Idle runners reach minRunners.",
        "whoever pays for warm runners to have none waiting",
        "five minutes, which begin again with the listener after an eventual update or a wait for its image of which it says so; a job takes a place from its assignment until the service gives it up; a template whose pods the API server refuses or which never start, for as long as a condition of the set says so",
        "arc-controllers.md §13 I2";
    "owned-by-user" "SAFE-OWNER" Always:
        "The objects the user owns, the AutoscalingRunnerSet and its scale set, are deleted only on the user's request.",
        "whoever installed them",
        "the scale set of a set that the user deletes",
        "field-bugs.md SAFE-OWNER, Q-VERSION-MISMATCH";
    "one-registration-per-runner" "SAFE-REG" Settles:
        "An EphemeralRunner has at most one registration, and a registration has its EphemeralRunner.",
        "the runner list on GitHub, the runner limit of the group",
        "two minutes: a lost reply is repaired by removing and registering again; a registration that nobody is told of, see nothing-orphaned",
        "actions-service.md §8 I12";
    "counters-true" "SAFE-TRUTH" Settles:
        "The counters of an EphemeralRunnerSet equal the EphemeralRunners that exist, and the count of its AutoscalingRunnerSet equals its own.",
        "dashboards and alerts",
        "ninety seconds (a dead connection is noticed after 45, a refused list tried again after up to 30), two minutes for the AutoscalingRunnerSet's; as long as the service told a pass to wait (Retry-After) or lets it hang, thirty seconds a call, or no manager is up; its pending and running runners, which releases write only when the count changes",
        "arc-controllers.md §13 I15";
    "one-runner-set" "SAFE-ONE" Settles:
        "A scale set has one live EphemeralRunnerSet and one live AutoscalingListener.",
        "the capacity limit, the session",
        "one minute: a surplus set is removed by the next passes",
        "arc-controllers.md §13 I5, I6";
    "references-resolve" "SAFE-REF" Settles:
        "A listener's EphemeralRunnerSet and a runner pod's ServiceAccount exist and are not being deleted.",
        "the listener's patches, the container hook",
        "two minutes; pods that have ended; runners of a set that its user took away, which end with their job",
        "arc-controllers.md §13 I7, field-bugs.md seed-kube-mode-hook-forbidden";
    "runner-ready-before-job" "SAFE-READY" Always:
        "No job is taken before its docker daemon and its permissions are ready.",
        "whoever reads the job's red cross",
        "a daemon that dies by itself during a job or less than five minutes before it, the kubelet's longest back-off, when the runner is already waiting for the job; a hook that the network fails: its request lost, or delivered twice; a hook less than a minute after somebody removed an account, role or binding of the namespace: a runner that waited for a job then takes it before anybody can replace it; the hook of a job whose set its user took away while it ran",
        "field-bugs.md SAFE-READY";
    "surplus-disappears" "LIVE-DOWN" Settles:
        "Idle runners above what was asked for disappear, and so do EphemeralRunners that have Succeeded.",
        "whoever pays for them",
        "ten minutes: they go with an empty poll; a runner for each job whose own runner died, until the service gives the job up",
        "field-bugs.md LIVE-DOWN";
    "spec-takes-effect" "LIVE-APPLY" Settles:
        "A runner set that is asked for more runners than it has makes one.",
        "whoever queued the jobs that they are for",
        "twenty seconds, as long as the manager is left alone: one that starts has a minute, one that was stopped, cut off or refused five, one that the service told to wait (Retry-After) as long, one whose call to the service hangs thirty seconds a call; fewer than were asked for are job-gets-runner's business; a set none of whose runners has a pod that could be made, or that says in a condition why it makes none; one that has as many as its user allows since two minutes ago; a cluster whose manager is down",
        "Q-PATCHID-COLLISION, field-bugs.md LIVE-APPLY";
    "demand-bounded" "SAFE-DEMAND" Always:
        "A runner that jobs wait for is not removed to be made again.",
        "whoever waits for the job, and for the image to be pulled once more",
        "such removals within ten seconds, once in ten minutes: they may have crossed with the jobs' arrival; jobs that no listener has been told of yet; a set whose limit was lowered, that is replaced or deleted; runners that end, fail or are deleted by somebody; runners beyond what all jobs need or maxRunners allows",
        "Q-OFFER-KILLS-IDLE, empty-poll-kills-pending-runner, field-bugs.md SAFE-DEMAND";
    "result-has-proof" "SAFE-RESULT" Always:
        "An EphemeralRunner is Succeeded only if it had a job.",
        "whoever waits for the job that it was made for",
        "a runner that ended by itself because the service had lost its registration: its controller cannot know; one whose registration a manager took from another with which it overlapped during a rollout, or whose secret came from a request of a manager that was gone; one that was removed as surplus (up to a minute ago, while faults meet the manager) or with its set and whose deletion got lost: it goes anyway",
        "Q-SUCCEEDED-BEFORE-RUN, Q-DOUBLE-JIT-STALE, double-registration-marks-succeeded";
    "tenants-isolated" "ISO" Settles:
        "What is confined to one scale set keeps no job of another one waiting.",
        "teams that share a controller",
        "ten minutes, counted while nothing disturbs the world but faults that name another scale set; else as job-gets-runner",
        "field-bugs.md ISO, hung-service-call-stalls-controller";
    "back-off-kept" "" Always:
        "A pod that failed is followed by another one only after a wait.",
        "the service's rate limits, the API server, whoever pays for nodes",
        "pods that were deleted by somebody and did not fail",
        "Q-BACKOFF-BYPASS (seven pods within a second are possible), field-bugs.md SAFE-RATE";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_promise_is_explained() {
        let mut ids: Vec<_> = CATALOGUE.iter().map(|e| e.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), CATALOGUE.len());
        for e in CATALOGUE {
            assert!([e.promise, e.for_whom, e.tolerates, e.source].iter().all(|t| t.len() > 8), "{}", e.id);
        }
    }
}
