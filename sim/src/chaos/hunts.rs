//! Known bugs of ARC's own releases that chaos has to find again without hints, and what it took: how good is the search?
//!
//! A bug is known by the switch that holds it ([`controller_core::Behaviour`]). It is found when a drawn plan fails a promise,
//! and does not fail it any more with that one switch as the corrected controller has it, by the rules of
//! [`super::finding::causes`]. Nothing here tells the generator what to draw.

use controller_core::{Behaviour, Release};

use super::finding::{self, Finding, find_if, with_switch};
use super::profile::Profile;
use super::{draw, examine};
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
    /// The switch that holds it.
    pub switch: &'static str,
    /// Where it is described.
    pub source: &'static str,
}

/// The bugs that issue and references name.
pub const HUNTS: [Hunt; 10] = [
    Hunt {
        id: "failed-runners-block-scale-up",
        what: "terminal Failed runners count as capacity and block scale-up",
        release: Release::V0_11_0,
        switch: "ers_failed_counts",
        source: "Q-FAILED-COUNTS-CAPACITY",
    },
    Hunt {
        id: "lost-wake-up",
        what: "a negative requeue during the back-off: the runner is never looked at again",
        release: Release::V0_12_0,
        switch: "er_backoff",
        source: "Q-BACKOFF-LOST-WAKEUP",
    },
    Hunt {
        id: "double-registration",
        what: "a stale pass registers a runner a second time",
        release: Release::V0_9_2,
        switch: "er_stale_object",
        source: "Q-DOUBLE-JIT-STALE",
    },
    Hunt {
        id: "used-jit-reused",
        what: "a pod is made again with a JIT configuration that has been used",
        release: Release::V0_12_1,
        switch: "er_used_jit",
        source: "Q-JIT-REUSE-EXTERNAL-DELETE",
    },
    Hunt {
        id: "empty-poll-kills-starting-runners",
        what: "an empty poll removes runners that are still starting",
        release: Release::V0_9_1,
        switch: "scaler",
        source: "empty-poll-kills-pending-runner",
    },
    Hunt {
        id: "listener-stuck-on-409",
        what: "a listener exits at a session conflict and is made again without back-off",
        release: Release::V0_12_1,
        switch: "listener_conflict",
        source: "Q-SESSION-CONFLICT-LOOP",
    },
    Hunt {
        id: "patch-id-collision",
        what: "a set does not compare because a runner is stamped with the patch's id already",
        release: Release::V0_11_0,
        switch: "ers_gate",
        source: "Q-PATCHID-COLLISION",
    },
    Hunt {
        id: "set-deleted-by-old-controller",
        what: "during a rolling update the old controller deletes the sets of the new version",
        release: Release::V0_11_0,
        switch: "ars_version_gate",
        source: "Q-VERSION-MISMATCH",
    },
    Hunt {
        id: "back-off-overtaken",
        what: "the pod's deletion is seen before its failure is recorded, and the back-off is skipped",
        release: Release::V0_12_1,
        switch: "er_backoff",
        source: "Q-BACKOFF-BYPASS",
    },
    Hunt {
        id: "offer-kills-idle-runner",
        what: "an offered job makes the listener ask for fewer runners, and the idle one is removed",
        release: Release::V0_12_1,
        switch: "scaler",
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
    /// The value that cures it.
    pub fn cure(&self) -> Option<&'static str> {
        Behaviour::of(Release::Next).get(self.switch)
    }
    /// Looks for it in at most so many seeds.
    pub fn hunt(&self, profile: &Profile, most: u64) -> Option<Caught> {
        let cure = self.cure()?;
        for seed in 0..most {
            let plan = draw(seed, profile, self.release);
            let seen = examine(&plan, None);
            if seen.classes.is_empty() {
                continue;
            }
            let cured = examine(&with_switch(&plan, self.switch, cure), None);
            for class in seen.classes.keys().filter(|c| !cured.classes.contains_key(c)) {
                let mut keeps =
                    |p: &Plan| !examine(&with_switch(p, self.switch, cure), Some(class)).classes.contains_key(class);
                let Some(finding) = find_if(&plan, class, profile.shrink, &mut keeps) else { continue };
                if finding::is_cause(&finding.plan, class, self.switch) {
                    return Some(Caught { seeds: seed + 1, finding });
                }
            }
        }
        None
    }
}
