//! What a test asks a run: did everything hold, what broke and why, how much. Its assertions panic with the causal chain of what
//! broke and with what makes the run again; nothing else here panics.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use arc_api::{Str, Time, format_smolstr};

use crate::own::OwnMachines;
use crate::plan::Plan;
use crate::report::event::{ReportEvent, RunName};
use crate::report::text::{Style, render};
use crate::report::{EventLine, Judged, Reason, RunReport, Verdict, Violation, engine, judge};
use crate::scenario::diagnostic::suggestion;
use crate::scenario::file::Holds;
use crate::scenario::write::{self, Title};
use crate::scenario::{Expect, compile, vocabulary};

/// A finished run.
#[derive(Clone, Debug)]
pub struct Report {
    expect: Option<Expect>,
    hint: String,
    plan: Plan,
    own: Arc<OwnMachines>,
    ran: RunReport,
}

impl Report {
    pub(super) fn new(
        expect: Option<Expect>,
        hint: String,
        plan: Plan,
        own: Arc<OwnMachines>,
        ran: RunReport,
    ) -> Report {
        Report { expect, hint, plan, own, ran }
    }

    /// The plan that was run.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
    /// Broken promises, in the order in which they were seen. Their causes are told if the trace was kept.
    pub fn violations(&self) -> &[Violation] {
        &self.ran.violations
    }
    /// Ids of the invariants that were violated.
    pub fn violated(&self) -> BTreeSet<&str> {
        self.ran.violations.iter().map(|v| v.invariant.as_str()).collect()
    }
    /// A measurement by its name (`arc-sim list metrics`).
    pub fn metric(&self, name: &str) -> Option<f64> {
        self.ran.metrics.get(name).copied()
    }
    /// Whether a planned action or a mark of this id had an effect.
    pub fn fired(&self, id: &str) -> bool {
        self.ran.fired.contains(id) || self.ran.marks.contains(id)
    }
    /// What was still bad at the end, oldest first.
    pub fn pending(&self) -> &[Str] {
        &self.ran.pending
    }
    /// Virtual time at the end.
    pub fn ended_at(&self) -> Time {
        self.ran.ended_at
    }
    /// Number of events.
    pub fn events(&self) -> u64 {
        self.ran.events
    }
    /// Running hash of the whole history: equal simulations have equal ones.
    pub fn fingerprint(&self) -> u64 {
        self.ran.fingerprint
    }
    /// What reports are rendered from.
    pub fn ran(&self) -> &RunReport {
        &self.ran
    }

    /// All events. Runs once more unless the trace was kept.
    pub fn trace(&self) -> Vec<EventLine> {
        match &self.ran.trace {
            Some(trace) => trace.clone(),
            None => self.again().trace.unwrap_or_default(),
        }
    }
    /// All events as text, one a line: time, kind, who and what. Without their numbers, so that one event more changes one line
    /// of a snapshot. Runs once more unless the trace was kept.
    pub fn trace_text(&self) -> String {
        lines(&self.trace())
    }
    /// The same of those events that `wanted` picks.
    pub fn trace_of(&self, wanted: impl Fn(&EventLine) -> bool) -> String {
        lines(&self.trace().into_iter().filter(wanted).collect::<Vec<_>>())
    }

    /// Writes the plan that was run; [`Simulation::plan_file`](crate::Simulation::plan_file) and `arc-sim replay` read it. A plan
    /// says nothing of own machines.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_plan(&self, path: impl AsRef<Path>) -> std::io::Result<()> {
        std::fs::write(path, self.plan.to_yaml())
    }

    /// Writes the world that was run as a scenario file, which expects of the release what the run came to: a failing test leaves a
    /// file that anybody can run, make smaller (`arc-sim shrink`) and keep. Runs once more, since jobs are named anew in a file.
    /// Own machines are not part of it: a test gives them to [`Simulation::scenario`](crate::Simulation::scenario) again.
    ///
    /// ```
    /// use arc_sim::{Release, Simulation};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let text = r#"
    /// # name: locked-out
    /// # why: A listener that is locked out restarts for ever.
    /// # release: 0.9.1
    /// # clusters: [{ name: prod, nodes: 2, scale_sets: [{ name: linux, min_runners: 0, max_runners: 5 }] }]
    /// # faults: [{ at: 90s, for: 5m, gh_session: { mode: foreign } }]
    /// # run_for: 10m
    /// # expect: { next: { holds: all } }
    /// # "#;
    /// # let path = std::env::temp_dir().join(format!("locked-out-{}.yaml", std::process::id()));
    /// let report = Simulation::parse("locked-out.yaml", text)?.release(Release::V0_9_1).seed(7).run();
    /// if !report.violations().is_empty() {
    ///     report.save_scenario(&path)?;
    ///     // From now on that file is the test.
    ///     Simulation::scenario(&path)?.run().assert_expected();
    /// }
    /// # assert!(std::fs::read_to_string(&path)?.contains("restarts-are-bounded"));
    /// # std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When it cannot be written, or, as [`Unsupported`](std::io::ErrorKind::Unsupported), when scenario files have no word for
    /// something in the plan: forks, a container job that is cancelled.
    pub fn save_scenario(&self, path: impl AsRef<Path>) -> std::io::Result<()> {
        let (plan, release) = (&self.plan, self.plan.release());
        let variant = plan.variant.as_ref().map_or_else(String::new, |v| format!("-{v}"));
        let why = self.ran.violations.first().map_or_else(
            || "Every promise was kept.".into(),
            |v| format_smolstr!("{}: {}", v.about.join(", "), v.said),
        );
        let title = Title { name: format_smolstr!("{}{variant}", plan.scenario), why, ..Title::default() };
        let mut scenario =
            write::scenario(plan, &title).map_err(|why| std::io::Error::new(std::io::ErrorKind::Unsupported, why))?;
        let compiled = compile::compile(&scenario, None, release, plan.seed);
        let ran = engine::run_with(&compiled, &self.own, &super::options(false));
        let idle = judge(None, &compiled, &ran).reasons.into_iter().filter_map(|reason| match reason {
            Reason::NeverFired { action } => Some(action),
            _ => None,
        });
        let violated: BTreeSet<Str> = ran.violations.iter().map(|v| v.invariant.clone()).collect();
        let expect = Expect {
            holds: violated.is_empty().then_some(Holds::All),
            violates: violated.into_iter().collect(),
            may_not_fire: idle.collect(),
            ..Expect::default()
        };
        scenario.expect.insert(release.as_str().into(), expect);
        let story = format!("From a run of {}{variant} on {release} with seed {}.", plan.scenario, plan.seed);
        std::fs::write(path, write::text(&scenario, &[story]))
    }

    /// Every invariant held, and every fault, operator action and trigger of the plan had its effect.
    ///
    /// # Panics
    /// When not: with what broke, the events that led there, and what makes the run again.
    #[track_caller]
    pub fn assert_holds(&self) -> &Report {
        let may_not_fire = self.expect.as_ref().map(|e| e.may_not_fire.clone()).unwrap_or_default();
        let all = Expect { holds: Some(Holds::All), may_not_fire, ..Expect::default() };
        self.assert_judged("every invariant holds", &all)
    }

    /// No invariant was violated; faults that met nothing are no failure. For worlds and faults that were drawn.
    ///
    /// # Panics
    /// As [`Report::assert_holds`].
    #[track_caller]
    pub fn assert_no_violation(&self) -> &Report {
        if !self.ran.violations.is_empty() || self.ran.gave_up.is_some() {
            let all = Expect { holds: Some(Holds::All), ..Expect::default() };
            let mut judged = judge(Some(&all), &self.plan, &self.ran);
            judged.reasons.retain(|r| matches!(r, Reason::Unexpected { .. } | Reason::GaveUp { .. }));
            panic!("{}", self.failure("no invariant is violated", &judged.reasons));
        }
        self
    }

    /// This invariant was violated; others may have been.
    ///
    /// # Panics
    /// When it held, or when there is no such invariant.
    #[track_caller]
    pub fn assert_violates(&self, invariant: &str) -> &Report {
        if !self.violated().contains(invariant) {
            if vocabulary::invariant(invariant).is_none() {
                let names = crate::invariant::CATALOGUE.iter().map(|e| e.id);
                panic!("no invariant `{invariant}`; {}", suggestion(invariant, "invariants", names));
            }
            let missing = Reason::Missing { invariant: invariant.into() };
            panic!("{}", self.failure(&format!("{invariant} is violated"), &[missing]));
        }
        self
    }

    /// What the scenario itself expects of this release: violations, bounds of metrics, marks.
    ///
    /// # Panics
    /// When something else came, or when the scenario expects nothing of this release or is a plan.
    #[track_caller]
    pub fn assert_expected(&self) -> &Report {
        let Some(expect) = &self.expect else {
            panic!("{} expects nothing of {}", self.plan.scenario, self.plan.release());
        };
        self.assert_judged("what the scenario expects", expect)
    }

    #[track_caller]
    fn assert_judged(&self, what: &str, expect: &Expect) -> &Report {
        let Judged { verdict, reasons, .. } = judge(Some(expect), &self.plan, &self.ran);
        if verdict != Verdict::Pass {
            panic!("{}", self.failure(what, &reasons));
        }
        self
    }

    /// The message of a failed assertion.
    fn failure(&self, asserted: &str, reasons: &[Reason]) -> String {
        let run = RunName {
            scenario: self.plan.scenario.clone(),
            variant: self.plan.variant.clone(),
            release: self.plan.release().as_str().into(),
            seed: self.plan.seed,
        };
        let variant = run.variant.as_ref().map_or_else(String::new, |v| format!(" + {v}"));
        let mut out = format!("{}{variant} {} seed {}: not so that {asserted}\n", run.scenario, run.release, run.seed);
        for reason in reasons {
            let _ = writeln!(out, "- {reason}");
        }
        let told = if self.ran.trace.is_some() { self.ran.clone() } else { self.again() };
        let mut seen = BTreeSet::new();
        // The first of its kind is the one to read; whatever follows from it says the same again.
        for violation in told.violations.into_iter().filter(|v| seen.insert(v.invariant.clone())) {
            out.push_str(&render(&ReportEvent::Violation { run: run.clone(), violation }, Style::default()));
        }
        for pending in &self.ran.pending {
            let _ = writeln!(out, "still: {pending}");
        }
        let _ = write!(out, "replay: {}", self.hint);
        out
    }

    fn again(&self) -> RunReport {
        engine::run_with(&self.plan, &self.own, &super::options(true))
    }
}

fn lines(events: &[EventLine]) -> String {
    let mut out = String::new();
    for event in events {
        let _ = writeln!(out, "{} {:<9} {}", event.at, event.kind, event.text);
    }
    out
}
