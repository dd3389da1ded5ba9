//! *Sometimes* marks: interesting states that a campaign must reach, or its green proves nothing. Never a promise: none is good or
//! bad.
//!
//! One list; each mark is set at one place (`world/marks.rs`), has an effect on nothing, and is reached by a test. Scenario files
//! name them under `expect: { reaches: [...] }` (dst-practices.md §9).

use controller_core::Release;

macro_rules! marks {
    ($($(#[doc = $doc:literal])* $name:ident = $id:literal;)*) => {
        /// An interesting state.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Mark { $($(#[doc = $doc])* $name),* }
        impl Mark {
            /// All of them, in the order of their bits.
            pub const ALL: &'static [Mark] = &[$(Mark::$name),*];
            /// Its name in files and tables.
            pub const fn id(self) -> &'static str { match self { $(Mark::$name => $id),* } }
            /// What it says.
            pub const fn doc(self) -> &'static str { match self { $(Mark::$name => concat!($($doc),*)),* } }
        }
    };
}

marks! {
    /// A watch was behind what the server remembers (410) or was dropped, and its cache listed again.
    RelistAfterTooOld = "relist-after-410";
    /// A write lost against another one (409 Conflict).
    WriteConflict = "write-conflict";
    /// A create met its object: an earlier try had been carried out (409 AlreadyExists).
    AlreadyExists = "create-met-its-object";
    /// A write came too late: its object was gone (404).
    WriteToGone = "write-to-what-is-gone";
    /// The API server refused a pod of a runner.
    PodRefused = "pod-refused";
    /// A request was carried out and its reply was lost.
    ReplyLost = "reply-lost";
    /// A request was lost on its way.
    RequestLost = "request-lost";
    /// A manager was killed in the middle of a pass.
    KilledInPass = "manager-killed-in-pass";
    /// A manager was killed after a runner was registered and before its secret was made.
    KilledAfterJit = "manager-killed-between-jit-and-secret";
    /// Two managers of one installation were alive at once.
    TwoManagers = "two-managers-alive";
    /// Another replica took the lease over.
    LeaseTaken = "lease-changed-hands";
    /// A session was refused because somebody holds one (409).
    SessionRefused = "session-refused-409";
    /// A session ended without its owner's doing.
    SessionLost = "session-lost";
    /// A message was delivered a second time.
    MessageAgain = "message-delivered-again";
    /// An event never came into the queue.
    EventDropped = "event-dropped";
    /// A listener sent a patch with an id that a runner of the set is stamped with already.
    PatchIdAgain = "patch-id-collision";
    /// A job was assigned again because nobody fetched it.
    AssignedAgain = "job-assigned-again";
    /// A job went back to the queue.
    JobReturned = "job-returned-to-queue";
    /// A job was cancelled while it waited.
    CancelledWaiting = "job-cancelled-while-waiting";
    /// A job was cancelled while it ran.
    CancelledRunning = "job-cancelled-while-running";
    /// The service gave a job up because its runner fell silent.
    RunnerLost = "runner-lost-with-job";
    /// A job's end was reported after the service had given it up.
    EndedLate = "job-ended-late";
    /// A busy runner's pod was deleted or evicted by somebody.
    BusyEvicted = "busy-runner-evicted";
    /// A runner's pod failed before any container ran.
    FailedUnstarted = "pod-failed-before-start";
    /// A runner's pod failed and another one was made for the same EphemeralRunner.
    PodReplaced = "runner-pod-replaced";
    /// An EphemeralRunner became Failed.
    RunnerFailed = "runner-failed";
    /// An EphemeralRunner became Outdated.
    RunnerOutdated = "runner-outdated";
    /// A registration vanished under its runner.
    RegistrationLost = "registration-lost";
    /// A scale set vanished under its AutoscalingRunnerSet.
    ScaleSetLost = "scale-set-lost";
    /// A token was revoked or ran out in use (401).
    Unauthorized = "unauthorized-401";
    /// The service refused for too many requests (429).
    RateLimited = "rate-limited-429";
    /// A listener process ended with an error.
    ListenerDied = "listener-died";
    /// A runner set was replaced by one of another template.
    SetReplaced = "runner-set-replaced";
    /// An AutoscalingRunnerSet was deleted while its runners worked.
    UninstalledBusy = "uninstalled-while-busy";
    /// A node was lost with runners on it.
    NodeLost = "node-lost-with-runners";
    /// Something waited for its finalizer after its owner was gone.
    ProtectedLeft = "protected-object-deleting";
}

impl Mark {
    /// Whether a release can reach it at all.
    pub fn is_of(self, release: Release) -> bool {
        match self {
            // The corrected controller reports a refused version and replaces the runner.
            Mark::RunnerOutdated => release >= Release::V0_14_0 && release != Release::Next,
            // Before 0.9.0 patches have no ids; the corrected listener never uses one twice.
            Mark::PatchIdAgain => release >= Release::V0_9_0 && release != Release::Next,
            // The corrected controller keeps no runner as Failed.
            Mark::RunnerFailed => release < Release::V0_12_0,
            _ => true,
        }
    }
}

/// A set of marks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Marks(pub u64);

impl Marks {
    /// Adds one.
    pub fn reach(&mut self, mark: Mark) {
        self.0 |= 1 << mark as u64;
    }
    /// Whether one is in it.
    pub fn has(self, mark: Mark) -> bool {
        self.0 >> (mark as u64) & 1 == 1
    }
    /// Those in it.
    pub fn iter(self) -> impl Iterator<Item = Mark> {
        Mark::ALL.iter().copied().filter(move |m| self.has(*m))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_fit_into_a_word() {
        let mut ids: Vec<_> = Mark::ALL.iter().map(|m| m.id()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), Mark::ALL.len());
        assert!(ids.len() <= 64);
        let mut marks = Marks::default();
        marks.reach(Mark::NodeLost);
        assert_eq!(marks.iter().collect::<Vec<_>>(), [Mark::NodeLost]);
    }
}
