//! proptest strategies (feature `proptest`): worlds, jobs, operators and faults at random, for other people's property suites.
//!
//! A plan is drawn as chaos draws it ([`crate::chaos::draw`]) from a seed that proptest gives. A failure shrinks
//! as chaos shrinks it, whatever the property is. [`failing`] does the same for ARC's own promises and saves scenario files.
//!
//! ```
//! use arc_sim::{Simulation, chaos::Profile, strategy};
//! use controller_core::Release;
//! use proptest::test_runner::{Config, TestRunner};
//!
//! let plans = strategy::plans(Profile::named("pr").expect("built in"), Release::Next);
//! let mut runner = TestRunner::new(Config { cases: 2, failure_persistence: None, ..Config::default() });
//! let held = runner.run(&plans, |plan| {
//!     let report = Simulation::plan(plan).run();
//!     proptest::prop_assert!(report.violations().is_empty());
//!     Ok(())
//! });
//! assert!(held.is_ok());
//! ```

use std::path::{Path, PathBuf};

use controller_core::Release;
use proptest::strategy::{NewTree, Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use crate::chaos::finding::{Finding, find};
use crate::chaos::{Class, Profile, draw, examine, report, shrink};
use crate::plan::Plan;

/// Plans of a profile for a release.
pub fn plans(profile: Profile, release: Release) -> Plans {
    Plans { profile, release }
}

/// See [`plans`].
#[derive(Clone, Debug)]
pub struct Plans {
    profile: Profile,
    release: Release,
}

impl Strategy for Plans {
    type Tree = PlanTree;
    type Value = Plan;
    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Plans> {
        let seed = proptest::num::u64::ANY.new_tree(runner)?.current();
        Ok(PlanTree::new(draw(seed, &self.profile, self.release)))
    }
}

/// A plan and the smaller ones that chaos would try, one after the other ([`crate::chaos::shrink`]): less time, whole families of
/// actions, single ones, scale sets, settings, numbers.
///
/// What to try next depends on what failed before, so the answers are kept and the search is gone through again for each step:
/// plans are copied, worlds are not run.
#[derive(Clone, Debug)]
pub struct PlanTree {
    first: Plan,
    /// Whether each candidate so far failed.
    answers: Vec<bool>,
    current: Plan,
    /// The smallest that failed.
    best: Plan,
}

/// More candidates than a plan of any profile needs (chaos: median below 100, 95 % within 304).
const CANDIDATES_MAX: u32 = 1_000;

impl PlanTree {
    /// A tree whose first value is this plan.
    pub fn new(plan: Plan) -> PlanTree {
        PlanTree { current: plan.clone(), best: plan.clone(), answers: Vec::new(), first: plan }
    }

    /// Goes on to the candidate after those that are answered; to the best, and false, if there is none.
    fn go_on(&mut self) -> bool {
        let (answers, mut asked) = (&self.answers, 0);
        let mut next = None;
        let mut fails = |candidate: &Plan| {
            let answer = answers.get(asked).copied();
            asked += 1;
            if answer.is_none() {
                next = Some(candidate.clone());
            }
            answer.unwrap_or(false)
        };
        // One more execution than answers: the search ends with the candidate that nobody has tried.
        let most = (answers.len() as u32 + 1).min(CANDIDATES_MAX);
        // The failure may be one of the end state: a world keeps the time that it needs to settle.
        shrink::shrink(&self.first, true, &mut fails, most);
        let found = next.is_some();
        self.current = next.unwrap_or_else(|| self.best.clone());
        found
    }
}

impl ValueTree for PlanTree {
    type Value = Plan;
    fn current(&self) -> Plan {
        self.current.clone()
    }
    /// The current plan failed: a smaller one.
    fn simplify(&mut self) -> bool {
        if self.current != self.first || !self.answers.is_empty() {
            self.answers.push(true);
        }
        self.best = self.current.clone();
        self.go_on()
    }
    /// The current plan did not fail: what was taken from it comes back, and something else goes.
    fn complicate(&mut self) -> bool {
        if self.current == self.best {
            return false;
        }
        self.answers.push(false);
        self.go_on()
    }
}

/// The failures of a plan, made small, with the files they were saved to. Empty if it fails nothing.
///
/// # Errors
/// If a file cannot be written.
pub fn failing(plan: &Plan, dir: &Path, executions: u32) -> std::io::Result<Vec<(Finding, PathBuf)>> {
    let classes: Vec<Class> = examine(plan, None).classes.into_keys().collect();
    let mut out = Vec::new();
    for class in classes {
        let Some(finding) = find(plan, &class, executions) else { continue };
        let path = dir.join(format!("{}.yaml", finding.name()));
        let text = report::scenario_file(&finding, &finding.name(), "a property suite")
            .unwrap_or_else(|_| finding.plan.to_yaml());
        std::fs::create_dir_all(dir)?;
        std::fs::write(&path, text)?;
        out.push((finding, path));
    }
    Ok(out)
}
