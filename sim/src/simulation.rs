//! The library's front door: choose a scenario, a plan or a world, a release, a seed and machines of your own; run; assert.
//!
//! Adds nothing to what plans and worlds say, draws nothing, reads no file but the one it is given.

mod report;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_api::Str;
use controller_core::Release;
use controller_core::behaviour::Behaviour;
use controller_core::own::{ListenerProgram, Reconciler};

use crate::own::{Controller, OwnMachines};
use crate::plan::Plan;
use crate::report::engine;
use crate::scenario::diagnostic::suggestion;
use crate::scenario::{self, Expect, Loaded, Rejected, Scenario};

pub use report::Report;

/// Why a simulation cannot be made. Its `Debug` is its message, so that a test that returns or unwraps it reads well.
#[derive(thiserror::Error)]
pub enum SimulationError {
    /// The file cannot be read.
    #[error("cannot read {}: {why}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        why: std::io::Error,
    },
    /// The scenario or plan is wrong: all problems, with their places.
    #[error("{}", .0.render(false))]
    Rejected(Rejected),
    /// The scenario has no such variant.
    #[error("no variant `{name}`; {hint}")]
    NoVariant {
        /// As asked for.
        name: String,
        /// What there is.
        hint: String,
    },
    /// No release has such a switch, or the switch has no such value.
    #[error("no switch `{name}` with a value `{value}`; {hint}")]
    NoSwitch {
        /// As asked for.
        name: String,
        /// As asked for.
        value: String,
        /// What there is.
        hint: String,
    },
}

impl fmt::Debug for SimulationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(Clone, Debug)]
enum Source {
    Scenario(Box<Loaded>),
    Plan(Box<Plan>),
}

/// One run to be made.
///
/// Guarantees: the same simulation gives the same [`Report`], event for event, on every machine.
///
/// ```
/// use arc_sim::{Release, Simulation, SimulationError};
///
/// # fn main() -> Result<(), SimulationError> {
/// let bug = Simulation::parse("lost-job.yaml", r#"
/// name: lost-job
/// why: The listener of 0.9.1 leaves a job behind that was queued while it was locked out.
/// release: 0.9.1
/// clusters: [{ name: prod, nodes: 2, scale_sets: [{ name: linux, min_runners: 0, max_runners: 5 }] }]
/// workload: [{ pattern: burst, scale_set: linux, at: 2m, count: 3, duration: 20s }]
/// faults: [{ at: 90s, for: 5m, gh_session: { mode: foreign } }]
/// run_for: 10m
/// expect: { next: { holds: all }, 0.9.1: { violates: [restarts-are-bounded] } }
/// "#)?;
///
/// let report = bug.clone().release(Release::V0_9_1).run();
/// report.assert_violates("restarts-are-bounded");
///
/// let report = bug.release(Release::Next).seed(7).run();
/// report.assert_holds();
/// assert_eq!(report.metric("jobs_succeeded"), Some(3.0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Simulation {
    source: Source,
    variant: Option<Str>,
    release: Option<Release>,
    seed: Option<u64>,
    switches: Vec<(Str, Str)>,
    own: OwnMachines,
    trace: bool,
}

impl Simulation {
    fn of(source: Source) -> Simulation {
        Simulation {
            source,
            variant: None,
            release: None,
            seed: None,
            switches: Vec::new(),
            own: OwnMachines::default(),
            trace: false,
        }
    }

    /// A scenario file.
    ///
    /// # Errors
    /// When it cannot be read, or everything that is wrong with it.
    pub fn scenario(path: impl AsRef<Path>) -> Result<Simulation, SimulationError> {
        let path = path.as_ref();
        Simulation::parse(&path.display().to_string(), &read(path)?)
    }

    /// The text of a scenario; `name` stands for it in messages.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str) -> Result<Simulation, SimulationError> {
        let loaded = scenario::load(name, text).map_err(SimulationError::Rejected)?;
        Ok(Simulation::of(Source::Scenario(Box::new(loaded))))
    }

    /// A scenario that a program put together: what scenario files say, as values.
    ///
    /// # Errors
    /// Everything that is wrong with it, shown in the file that would say the same.
    pub fn build(scenario: &Scenario) -> Result<Simulation, SimulationError> {
        Simulation::parse(&format!("{}.yaml", scenario.name), &scenario.to_yaml())
    }

    /// A plan. Choosing another release changes all of the plan's controllers and charts that have its own.
    pub fn plan(plan: Plan) -> Simulation {
        Simulation::of(Source::Plan(Box::new(plan)))
    }

    /// A plan's file, as failing runs write them.
    ///
    /// # Errors
    /// When it cannot be read, or everything that is wrong with it.
    pub fn plan_file(path: impl AsRef<Path>) -> Result<Simulation, SimulationError> {
        let path = path.as_ref();
        let plan = scenario::load_plan(&path.display().to_string(), &read(path)?);
        Ok(Simulation::plan(plan.map_err(SimulationError::Rejected)?))
    }

    /// Which ARC. Default: the scenario's release, the plan's.
    #[must_use]
    pub fn release(mut self, release: Release) -> Simulation {
        self.release = Some(release);
        self
    }

    /// A variant of the scenario.
    ///
    /// # Errors
    /// When there is none of this name; plans have none at all.
    pub fn variant(mut self, name: &str) -> Result<Simulation, SimulationError> {
        let variants = match &self.source {
            Source::Scenario(loaded) => loaded.scenario.variants.as_slice(),
            Source::Plan(_) => &[],
        };
        if !variants.iter().any(|v| v.name == name) {
            let hint = suggestion(name, "variants", variants.iter().map(|v| v.name.as_str()));
            return Err(SimulationError::NoVariant { name: name.to_owned(), hint });
        }
        self.variant = Some(name.into());
        Ok(self)
    }

    /// Root of all random streams. Default: the scenario's or plan's, else 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Simulation {
        self.seed = Some(seed);
        self
    }

    /// Changes one switch of every controller (`arc-sim list switches`): the release, but for this.
    ///
    /// # Errors
    /// When there is no such switch or no such value.
    pub fn switch(mut self, name: &str, value: &str) -> Result<Simulation, SimulationError> {
        if Behaviour::of(Release::Next).set(name, value).is_err() {
            let hint = match Behaviour::SWITCHES.iter().find(|s| s.name == name) {
                Some(switch) => suggestion(value, "values", switch.values.iter().map(|(value, _)| *value)),
                None => suggestion(name, "switches", Behaviour::SWITCHES.iter().map(|s| s.name)),
            };
            return Err(SimulationError::NoSwitch { name: name.to_owned(), value: value.to_owned(), hint });
        }
        self.switches.push((name.into(), value.into()));
        Ok(self)
    }

    /// Puts your reconciler in the place of one of ARC's: a function that makes passes (`MyPass::new`), or anything else that is
    /// a [`Reconciler`].
    #[must_use]
    pub fn with_reconciler(mut self, controller: Controller, reconciler: impl Reconciler + 'static) -> Simulation {
        self.own.set_reconciler(controller, Arc::new(reconciler));
        self
    }

    /// Puts your program in the place of ARC's listener.
    #[must_use]
    pub fn with_listener(mut self, program: impl ListenerProgram + 'static) -> Simulation {
        self.own.set_listener(Arc::new(program));
        self
    }

    /// Replaces all own machines at once.
    #[must_use]
    pub fn with_machines(mut self, own: OwnMachines) -> Simulation {
        self.own = own;
        self
    }

    /// Whether events are kept as they happen. A report whose trace is asked for without it runs once more; so set it only
    /// where every run is read.
    #[must_use]
    pub fn trace(mut self, keep: bool) -> Simulation {
        self.trace = keep;
        self
    }

    /// The plan that will be run.
    pub fn to_plan(&self) -> Plan {
        let mut plan = match &self.source {
            Source::Scenario(loaded) => {
                let release = self.release.unwrap_or_else(|| loaded.release());
                let seed = self.seed.unwrap_or_else(|| loaded.seed());
                // The variant was looked up when it was chosen.
                let body = loaded.body(self.variant.as_deref()).unwrap_or_else(|| loaded.scenario.clone());
                scenario::compile::compile(&body, self.variant.as_deref(), release, seed)
            }
            Source::Plan(plan) => {
                let mut plan = self.release.map_or_else(|| (**plan).clone(), |release| plan.for_release(release));
                plan.seed = self.seed.unwrap_or(plan.seed);
                plan
            }
        };
        for (name, value) in &self.switches {
            plan.switch(name, value);
        }
        plan
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When an own machine does, with its message.
    pub fn run(&self) -> Report {
        let plan = self.to_plan();
        let own = Arc::new(self.own.clone());
        let ran = engine::run_with(&plan, &own, &options(self.trace));
        Report::new(self.expect(plan.release()), self.hint(&plan), plan, own, ran)
    }

    /// What the scenario expects of this run.
    fn expect(&self, release: Release) -> Option<Expect> {
        let Source::Scenario(loaded) = &self.source else { return None };
        match &self.variant {
            None => loaded.expect(release).cloned(),
            Some(name) => loaded.scenario.variants.iter().find(|v| v.name == *name)?.expectation(release).cloned(),
        }
    }

    /// How the run is made again.
    fn hint(&self, plan: &Plan) -> String {
        let of_own = if self.own.is_empty() { "" } else { ", with the same own machines" };
        let variant = self.variant.as_ref().map_or_else(String::new, |v| format!(".variant({v:?})?"));
        match &self.source {
            Source::Scenario(loaded) if Path::new(&loaded.file).is_file() => format!(
                "Simulation::scenario({:?})?{variant}.release(\"{}\".parse()?).seed({}).run(){of_own}",
                loaded.file,
                plan.release(),
                plan.seed
            ),
            Source::Scenario(loaded) => format!(
                "{}{}, release {}, seed {}{of_own}; save_plan() keeps it",
                loaded.scenario.name,
                self.variant.as_ref().map_or_else(String::new, |v| format!(", variant {v}")),
                plan.release(),
                plan.seed
            ),
            Source::Plan(_) => {
                format!("plan {}, seed {}{of_own}; save_plan() keeps it", plan.scenario, plan.seed)
            }
        }
    }
}

fn options(trace: bool) -> crate::report::RunOptions {
    crate::report::RunOptions { trace, tail: 0 }
}

fn read(path: &Path) -> Result<String, SimulationError> {
    std::fs::read_to_string(path).map_err(|why| SimulationError::Read { path: path.to_owned(), why })
}
