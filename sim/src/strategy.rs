//! proptest strategies (feature `proptest`): worlds, jobs, operators and faults at random, for other people's property suites.
//!
//! A plan is drawn as chaos draws it ([`crate::chaos::draw`]) from a seed that proptest gives. A failure shrinks: actions
//! disappear, the world's network gets its defaults. [`failing`] makes it as small as chaos does and saves it as a scenario file.
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
use crate::chaos::{Class, Profile, draw, examine, report};
use crate::plan::{Plan, WorldSpec};

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

/// A plan and what can be left out of it.
#[derive(Clone, Debug)]
pub struct PlanTree {
    current: Plan,
    before: Option<Plan>,
    /// The next thing to leave out: actions from the last to the first, then the settings of the network.
    next: usize,
}

impl PlanTree {
    /// A tree whose first value is this plan.
    pub fn new(plan: Plan) -> PlanTree {
        PlanTree { current: plan, before: None, next: 0 }
    }
}

impl ValueTree for PlanTree {
    type Value = Plan;
    fn current(&self) -> Plan {
        self.current.clone()
    }
    fn simplify(&mut self) -> bool {
        let mut smaller = self.current.clone();
        let actions = smaller.actions.len();
        if self.next < actions {
            smaller.actions.remove(actions - 1 - self.next);
        } else if self.next == actions && smaller.world.network != WorldSpec::default().network {
            smaller.world.network = WorldSpec::default().network;
        } else {
            return false;
        }
        self.before = Some(std::mem::replace(&mut self.current, smaller));
        true
    }
    fn complicate(&mut self) -> bool {
        // What was left out is needed: it comes back, and the next thing is tried.
        let Some(before) = self.before.take() else { return false };
        self.current = before;
        self.next += 1;
        self.next <= self.current.actions.len()
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
