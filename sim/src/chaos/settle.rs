//! How long a world may take to come to rest once nobody disturbs it any more: computed from what it is configured with.
//!
//! Faults stop at `run_for`, what is healed stays healed, no new work comes. Every wait that a correct controller may have to
//! sit out is a part of the bound; the formula is printed with a failure to settle.

use std::fmt;

use crate::plan::{Action, Dur, Fault, Plan};

/// Quiet time at the end, in which nothing may be written any more: a controller that keeps writing has not converged.
pub const QUIET: Dur = Dur::secs(120);

/// The waits of a plan's world, longest chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settle {
    /// What is waited for, and how long.
    pub parts: Vec<(&'static str, Dur)>,
}

impl Settle {
    /// All of it.
    pub fn total(&self) -> Dur {
        self.parts.iter().fold(Dur::ZERO, |sum, (_, wait)| Dur(sum.0 + wait.0))
    }
}

impl fmt::Display for Settle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (what, wait)) in self.parts.iter().enumerate() {
            write!(f, "{}{what} {wait}", if n == 0 { "" } else { " + " })?;
        }
        write!(f, " = {}", self.total())
    }
}

/// The bound of a plan.
pub fn bound(plan: &Plan) -> Settle {
    let github = &plan.world.github;
    let longest_job = plan.actions.iter().filter_map(|a| match &a.what {
        Action::Job(job) => Some(Dur(job.job.duration.0 + job.job.silent_for.unwrap_or_default().0)),
        _ => None,
    });
    let ghost = plan.actions.iter().filter_map(|a| match &a.what {
        Action::Fault(Fault::GhSession(f)) => f.ttl,
        _ => None,
    });
    Settle {
        parts: vec![
            (
                "the longest job",
                longest_job.max().unwrap_or_default().max(super::draw::existing::longest_job(&plan.world.existing)),
            ),
            ("a dead runner's job is given up", github.dead_runner_after),
            ("a session that outlives its owner", ghost.max().unwrap_or_default().max(github.session_ttl)),
            ("an empty poll", github.poll_hold),
            ("the longest bound of a promise", Dur::secs(600)),
            ("quiet", QUIET),
        ],
    }
}
