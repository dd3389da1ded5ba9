//! Known bugs of ARC's own releases that chaos has to find again without hints, and what it took: how good is the search?
//!
//! A bug is known by the switch that holds it ([`controller_core::Behaviour`]). It is found when a drawn plan fails a promise,
//! and does not fail it any more with that one switch turned, nor does it with other seeds ([`super::finding::witnesses`]).
//! Nothing here tells the generator what to draw.

use controller_core::Release;

use super::finding::{self, Finding, find_if, with_switch};
use super::profile::Profile;
use super::{Seen, draw, examine};
use crate::marks::Mark;
use crate::plan::Plan;

/// A known bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hunt {
    /// Name.
    pub id: &'static str,
    /// What happens.
    pub what: &'static str,
    /// A release that has it.
    pub release: Release,
    /// The switch that holds it, and the value that cures it: that of the release that corrected it, if there is one.
    pub cure: (&'static str, &'static str),
    /// The promise that it breaks.
    pub promise: &'static str,
    /// A state that the world has to reach for it.
    pub mark: Option<Mark>,
    /// Where it is described.
    pub source: &'static str,
}

/// The bugs that issue and references name.
pub const HUNTS: [Hunt; 10] = [
    Hunt {
        id: "failed-runners-block-scale-up",
        what: "terminal Failed runners count as capacity and block scale-up",
        release: Release::V0_11_0,
        cure: ("ers_failed_counts", "not-counted"),
        promise: "reported-runners-can-serve",
        mark: None,
        source: "Q-FAILED-COUNTS-CAPACITY",
    },
    Hunt {
        id: "lost-wake-up",
        what: "a negative requeue during the back-off: the runner is never looked at again",
        release: Release::V0_12_0,
        cure: ("er_backoff", "table"),
        promise: "min-runners-kept",
        mark: None,
        source: "Q-BACKOFF-LOST-WAKEUP",
    },
    Hunt {
        id: "double-registration",
        what: "a stale pass registers a runner a second time",
        release: Release::V0_9_2,
        cure: ("er_finalizers", "two-passes"),
        promise: "result-has-proof",
        mark: None,
        source: "Q-DOUBLE-JIT-STALE",
    },
    Hunt {
        id: "used-jit-reused",
        what: "a pod is made again with a JIT configuration that has been used",
        release: Release::V0_12_1,
        cure: ("er_used_jit", "replaced"),
        promise: "registration-serves-one-job",
        mark: None,
        source: "Q-JIT-REUSE-EXTERNAL-DELETE",
    },
    Hunt {
        id: "empty-poll-kills-starting-runners",
        what: "an empty poll removes runners that are still starting",
        release: Release::V0_9_1,
        cure: ("scaler", "empty-keeps"),
        promise: "demand-bounded",
        mark: None,
        source: "empty-poll-kills-pending-runner",
    },
    Hunt {
        id: "listener-stuck-on-409",
        what: "a listener exits at a session conflict and is made again without back-off",
        release: Release::V0_12_1,
        cure: ("listener_conflict", "wait"),
        promise: "restarts-are-bounded",
        mark: None,
        source: "Q-SESSION-CONFLICT-LOOP",
    },
    Hunt {
        id: "patch-id-collision",
        what: "a set does not compare because a runner is stamped with the patch's id already",
        release: Release::V0_11_0,
        cure: ("ers_gate", "always"),
        promise: "spec-takes-effect",
        mark: Some(Mark::PatchIdAgain),
        source: "Q-PATCHID-COLLISION",
    },
    Hunt {
        id: "set-deleted-by-old-controller",
        what: "during a rolling update the old controller deletes the sets of the new version",
        release: Release::V0_11_0,
        cure: ("ars_version_gate", "report"),
        promise: "owned-by-user",
        mark: None,
        source: "Q-VERSION-MISMATCH",
    },
    Hunt {
        id: "back-off-overtaken",
        what: "the pod's deletion is seen before its failure is recorded, and the back-off is skipped",
        release: Release::V0_12_1,
        cure: ("er_backoff", "table-after-pod"),
        promise: "back-off-kept",
        mark: None,
        source: "Q-BACKOFF-BYPASS",
    },
    Hunt {
        id: "offer-kills-idle-runner",
        what: "an offered job makes the listener ask for fewer runners, and the idle one is removed",
        release: Release::V0_12_1,
        cure: ("scaler", "demand-aware"),
        promise: "demand-bounded",
        mark: None,
        source: "Q-OFFER-KILLS-IDLE",
    },
];

/// What came of a hunt.
#[derive(Clone, PartialEq, Debug)]
pub struct Caught {
    /// Seeds that were run up to and with the one that shows it.
    pub seeds: u64,
    /// It, made small.
    pub finding: Finding,
}

impl Hunt {
    fn reaches(&self, seen: &Seen) -> bool {
        self.mark.is_none_or(|mark| seen.marks.has(mark))
    }
    /// Looks for it in at most so many seeds.
    pub fn hunt(&self, profile: &Profile, most: u64) -> Option<Caught> {
        let (switch, value) = self.cure;
        for seed in 0..most {
            let plan = draw(seed, profile, self.release);
            let seen = examine(&plan, None);
            if !self.reaches(&seen) {
                continue;
            }
            for class in seen.classes.keys().filter(|c| c.invariant == self.promise) {
                let fails = |p: &Plan| examine(&with_switch(p, switch, value), Some(class)).classes.contains_key(class);
                if fails(&plan) {
                    continue;
                }
                let Some(finding) =
                    find_if(&plan, class, profile.shrink, &mut |p| self.reaches(&examine(p, None)) && !fails(p))
                else {
                    continue;
                };
                let (witnesses, _) = finding::witnesses(&finding.plan, class);
                if finding::cures(&witnesses, class, switch, value) {
                    return Some(Caught { seeds: seed + 1, finding });
                }
            }
        }
        None
    }
}
