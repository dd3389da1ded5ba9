//! Exit codes. Never more than these: shells give codes from 126 on their own meaning, of which 130 is meant here as well.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Exit {
    /// 0: everything met its expectation.
    #[default]
    Fine,
    /// 1: an invariant was violated, or an expected violation did not occur.
    Failed,
    /// 2: bad usage, or a bad scenario file.
    Rejected,
    /// 3: a budget ended without a verdict.
    Inconclusive,
    /// 4: two runs of one plan diverged.
    Diverged,
    /// 70: our bug, a panic, caught and reported with its plan.
    Bug,
    /// 130: stopped by Ctrl-C; what was done by then is kept and told.
    Interrupted,
}

impl Exit {
    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Failed => 1,
            Exit::Rejected => 2,
            Exit::Inconclusive => 3,
            Exit::Diverged => 4,
            Exit::Bug => 70,
            Exit::Interrupted => 130,
        }
    }
    /// How bad it is: 130, 70, 4, 2, 1, 3, 0.
    const fn badness(self) -> u8 {
        match self {
            Exit::Fine => 0,
            Exit::Inconclusive => 1,
            Exit::Failed => 2,
            Exit::Rejected => 3,
            Exit::Diverged => 4,
            Exit::Bug => 5,
            Exit::Interrupted => 6,
        }
    }
    /// The worse of two.
    #[must_use]
    pub fn and(self, other: Exit) -> Exit {
        if other.badness() > self.badness() { other } else { self }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_wins() {
        let order = [
            Exit::Fine,
            Exit::Inconclusive,
            Exit::Failed,
            Exit::Rejected,
            Exit::Diverged,
            Exit::Bug,
            Exit::Interrupted,
        ];
        for (i, a) in order.into_iter().enumerate() {
            for (j, b) in order.into_iter().enumerate() {
                assert_eq!(a.and(b), order[i.max(j)]);
            }
        }
        assert_eq!(order.map(Exit::code), [0, 3, 1, 2, 4, 70, 130]);
    }
}
