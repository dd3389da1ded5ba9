//! Runs as test cases: what JUnit files, annotations and step summaries are made of. Made from report events, or by hand.

use std::collections::BTreeMap;

use arc_api::Str;

use super::event::{ReportEvent, RunName};
use super::text::{Style, render};
use super::{Reason, Verdict};

/// Lines of a failure's body that come from one violation's causes at most.
const BODY_LINES: usize = 40;

/// One run, or whatever else passes or fails as a whole.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Case {
    /// Its name within its class: the release and the seed of a run.
    pub name: String,
    /// The class: the scenario, with its variant.
    pub classname: String,
    /// The file it comes from, if it comes from one.
    pub file: Option<String>,
    /// Virtual time that passed, in microseconds.
    pub virtual_us: u64,
    /// Why it is no success; empty: it is one.
    pub failures: Vec<Failure>,
}

/// One reason why a case is no success.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Failure {
    /// What kind: an invariant's id, `missing`, `panic`, …
    pub kind: String,
    /// One sentence.
    pub message: String,
    /// Whatever helps to understand it, several lines.
    pub body: String,
    /// Line and column in the case's file, from 1.
    pub place: Option<(usize, usize)>,
    /// Nothing was shown either way: the run was given up, or the file could not be read.
    pub is_error: bool,
}

/// Cases as they are gathered from a stream of report events.
#[derive(Clone, Debug, Default)]
pub struct Cases {
    files: BTreeMap<Str, String>,
    cases: Vec<Case>,
}

impl Cases {
    /// Cases of scenarios that come from these files, by name.
    pub fn new(files: impl IntoIterator<Item = (Str, String)>) -> Cases {
        Cases { files: files.into_iter().collect(), cases: Vec::new() }
    }
    /// All cases, in the order of their first events.
    pub fn finish(self) -> Vec<Case> {
        self.cases
    }
    /// Takes what an event says about a case.
    pub fn take(&mut self, event: &ReportEvent) {
        match event {
            ReportEvent::Problem { file, line, column, said, label, hint } => {
                let body = [label.as_str(), hint.as_deref().unwrap_or("")];
                let body = body.into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join("\n");
                let failure = Failure {
                    kind: "rejected".into(),
                    message: said.clone(),
                    body,
                    place: Some((*line, *column)),
                    is_error: true,
                };
                match self.cases.last_mut().filter(|c| c.classname == "files" && c.name == *file) {
                    Some(case) => case.failures.push(failure),
                    None => self.cases.push(Case {
                        name: file.clone(),
                        classname: "files".into(),
                        file: Some(file.clone()),
                        virtual_us: 0,
                        failures: vec![failure],
                    }),
                }
            }
            ReportEvent::Run { run, verdict, reasons, pending, virtual_us, .. } => {
                let failures = match verdict {
                    Verdict::Pass | Verdict::Measured => Vec::new(),
                    Verdict::Fail | Verdict::Inconclusive => {
                        reasons.iter().map(|reason| failure(reason, pending)).collect()
                    }
                };
                let case = self.case(run);
                case.virtual_us = *virtual_us;
                case.failures = failures;
            }
            ReportEvent::Violation { run, violation } => {
                let found = self.find(run).and_then(|case| {
                    let mut failures = case.failures.iter_mut();
                    failures.find(|f| f.kind == violation.invariant.as_str() && !f.body.contains("violated"))
                });
                if let Some(failure) = found {
                    let told = render(event, Style::default());
                    let mut lines = told.lines();
                    lines.by_ref().take(BODY_LINES).for_each(|line| push(&mut failure.body, line));
                    let left = lines.count();
                    if left > 0 {
                        push(&mut failure.body, &format!("    … and {left} more"));
                    }
                }
            }
            ReportEvent::Replay { run, .. } => {
                let told = render(event, Style::default());
                if let Some(failure) = self.find(run).and_then(|case| case.failures.first_mut()) {
                    push(&mut failure.body, told.trim_end());
                }
            }
            ReportEvent::Diverged { run, number, first, second } => {
                let failure = Failure {
                    kind: "diverged".into(),
                    message: format!("two runs of one plan differ from event #{number} on"),
                    body: format!("first:  {first}\nsecond: {second}"),
                    place: None,
                    is_error: true,
                };
                self.case(run).failures.push(failure);
            }
            ReportEvent::Panic { run, said, plan } => {
                let body = format!("this is our bug; please report it with {plan}");
                let failure =
                    Failure { kind: "panic".into(), message: said.clone(), body, place: None, is_error: true };
                self.case(run).failures.push(failure);
            }
            ReportEvent::More { .. }
            | ReportEvent::Trace { .. }
            | ReportEvent::Mitigation { .. }
            | ReportEvent::Summary { .. } => {}
        }
    }
    fn find(&mut self, run: &RunName) -> Option<&mut Case> {
        let (classname, name) = names(run);
        self.cases.iter_mut().rev().find(|c| c.classname == classname && c.name == name)
    }
    fn case(&mut self, run: &RunName) -> &mut Case {
        let (classname, name) = names(run);
        let known = self.cases.iter().rposition(|c| c.classname == classname && c.name == name);
        let at = known.unwrap_or_else(|| {
            let file = self.files.get(&run.scenario).cloned();
            self.cases.push(Case { name, classname, file, ..Case::default() });
            self.cases.len() - 1
        });
        &mut self.cases[at]
    }
}

fn names(run: &RunName) -> (String, String) {
    let variant = run.variant.as_ref().map_or_else(String::new, |v| format!(" + {v}"));
    (format!("{}{variant}", run.scenario), format!("{} seed {}", run.release, run.seed))
}

fn failure(reason: &Reason, pending: &[Str]) -> Failure {
    let kind = match reason {
        Reason::Unexpected { invariant, .. } => invariant.as_str(),
        Reason::Missing { .. } => "missing",
        Reason::NeverFired { .. } => "never-fired",
        Reason::NotReached { .. } => "not-reached",
        Reason::Metric { .. } => "metric",
        Reason::GaveUp { .. } => "given-up",
    };
    let body = match reason {
        Reason::GaveUp { .. } => pending.iter().map(|p| format!("still: {p}")).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    };
    let is_error = matches!(reason, Reason::GaveUp { .. });
    Failure { kind: kind.into(), message: reason.to_string(), body, place: None, is_error }
}

fn push(body: &mut String, line: &str) {
    if !body.is_empty() {
        body.push('\n');
    }
    body.push_str(line);
}

/// Cases for the tests of what is made of them: one of each sort, with everything that has to be escaped.
#[cfg(test)]
pub(crate) fn samples() -> Vec<Case> {
    use super::Violation;
    let run = |release: &str, seed| RunName {
        scenario: "session-conflict".into(),
        variant: None,
        release: release.into(),
        seed,
    };
    let ran = |run: RunName, verdict, reasons, violated: &[&str]| ReportEvent::Run {
        run,
        verdict,
        reproduced: Vec::new(),
        reasons,
        violated: violated.iter().map(|v| Str::from(*v)).collect(),
        pending: vec!["job-gets-runner: job 1 is queued".into()],
        metrics: BTreeMap::new(),
        events: 99,
        fingerprint: "00".into(),
        virtual_us: 780_500_000,
    };
    let unexpected = Reason::Unexpected {
        invariant: "listener-is-polling".into(),
        said: "100% of <polls> & \"sessions\", lost:\r\nat \u{1b}[31monce".into(),
    };
    let violation = Violation {
        invariant: "listener-is-polling".into(),
        component: "listener".into(),
        at: arc_api::Time::from_secs(60),
        said: "no poll for 3m | ```".into(),
        about: vec!["AutoscalingRunnerSet arc-runners/linux".into()],
        cause: Vec::new(),
    };
    let mut cases = Cases::new([("session-conflict".into(), "scenarios/a,b:c.yaml".to_owned())]);
    for event in [
        ReportEvent::Problem {
            file: "bad.yaml".into(),
            line: 3,
            column: 1,
            said: "unknown key `relase`".into(),
            label: "no such key".into(),
            hint: Some("did you mean `release`?".into()),
        },
        ran(run("0.9.3", 0), Verdict::Pass, Vec::new(), &[]),
        ran(run("0.9.1", 7), Verdict::Fail, vec![unexpected, Reason::Missing { invariant: "x".into() }], &["x"]),
        ReportEvent::Violation { run: run("0.9.1", 7), violation },
        ReportEvent::Replay { run: run("0.9.1", 7), plan: "out/plan.yaml".into() },
        ran(run("next", 1), Verdict::Inconclusive, vec![Reason::GaveUp { why: "too long".into() }], &[]),
        ReportEvent::Panic { run: run("next", 2), said: "index out of bounds".into(), plan: "p.yaml".into() },
        ReportEvent::Diverged { run: run("next", 3), number: 5, first: "a".into(), second: "b".into() },
    ] {
        cases.take(&event);
    }
    cases.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_made_of_all_events_of_its_run() {
        let cases = samples();
        let told: Vec<_> = cases
            .iter()
            .map(|c| (c.name.as_str(), c.failures.iter().map(|f| f.kind.as_str()).collect::<Vec<_>>()))
            .collect();
        assert_eq!(
            told,
            [
                ("bad.yaml", vec!["rejected"]),
                ("0.9.3 seed 0", vec![]),
                ("0.9.1 seed 7", vec!["listener-is-polling", "missing"]),
                ("next seed 1", vec!["given-up"]),
                ("next seed 2", vec!["panic"]),
                ("next seed 3", vec!["diverged"]),
            ]
        );
        let body = &cases[2].failures[0].body;
        assert!(body.contains("no poll for 3m") && body.ends_with("replay: arc-sim replay out/plan.yaml"), "{body}");
        assert_eq!(cases[2].file.as_deref(), Some("scenarios/a,b:c.yaml"));
        assert_eq!(cases[3].failures[0].body, "still: job-gets-runner: job 1 is queued");
    }
}
