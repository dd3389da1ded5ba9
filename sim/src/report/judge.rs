//! Holds what came of a run against what was expected of it. Never looks at the world.

use std::collections::BTreeSet;

use arc_api::{Str, format_smolstr};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunReport;
use crate::plan::{Action, Plan, When};
use crate::scenario::file::{Expect, Holds};

/// Whether a run met its expectation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It did.
    Pass,
    /// It did not.
    Fail,
    /// Nobody can tell: the run was given up.
    Inconclusive,
    /// Nothing was expected: the run was measured.
    Measured,
}

/// Why a run did not meet its expectation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Reason {
    /// An invariant was violated that should hold.
    Unexpected {
        /// Which.
        invariant: Str,
        /// What was seen.
        said: Str,
    },
    /// A violation was expected and did not happen: the file says more than the world shows.
    Missing {
        /// Which invariant.
        invariant: Str,
    },
    /// A planned action never had an effect: whatever held, held vacuously.
    NeverFired {
        /// Which.
        action: Str,
    },
    /// A state was not reached.
    NotReached {
        /// Which.
        mark: Str,
    },
    /// A metric lies outside its bounds, or was not measured.
    Metric {
        /// Which.
        metric: Str,
        /// What was measured.
        value: Str,
        /// The bounds.
        bound: Str,
    },
    /// The run was given up.
    GaveUp {
        /// Why.
        why: Str,
    },
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Unexpected { invariant, said } => write!(f, "{invariant} violated: {said}"),
            Reason::Missing { invariant } => write!(f, "{invariant} was expected to be violated and held"),
            Reason::NeverFired { action } => write!(f, "`{action}` never had an effect, so nothing was shown"),
            Reason::NotReached { mark } => write!(f, "`{mark}` was not reached"),
            Reason::Metric { metric, value, bound } => write!(f, "{metric} is {value}, expected {bound}"),
            Reason::GaveUp { why } => write!(f, "given up: {why}"),
        }
    }
}

/// The judgement of one run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Verdict.
    pub verdict: Verdict,
    /// Expected violations that happened.
    pub reproduced: Vec<Str>,
    /// Why it is not a pass.
    pub reasons: Vec<Reason>,
}

/// Judges a run. Without an expectation it is only measured, but its actions must have had an effect.
pub fn judge(expect: Option<&Expect>, plan: &Plan, report: &RunReport) -> Judged {
    let mut reasons = Vec::new();
    let violated: BTreeSet<&Str> = report.violations.iter().map(|v| &v.invariant).collect();
    let nothing = Expect::default();
    let may_not_fire = &expect.unwrap_or(&nothing).may_not_fire;
    if let Some(expect) = expect {
        let holds_all = expect.holds == Some(Holds::All);
        let allowed = |id: &Str| !holds_all && (expect.violates.contains(id) || expect.may_violate.contains(id));
        let mut told = BTreeSet::new();
        for violation in report.violations.iter().filter(|v| !allowed(&v.invariant)) {
            if told.insert(&violation.invariant) {
                reasons
                    .push(Reason::Unexpected { invariant: violation.invariant.clone(), said: violation.said.clone() });
            }
        }
        let missing = expect.violates.iter().filter(|id| !violated.contains(id));
        reasons.extend(missing.map(|id| Reason::Missing { invariant: id.clone() }));
        let unreached = expect.reaches.iter().filter(|mark| !report.marks.contains(*mark));
        reasons.extend(unreached.map(|mark| Reason::NotReached { mark: mark.clone() }));
        for (metric, bound) in &expect.metrics {
            let value = report.metrics.get(metric.as_str());
            if !value.is_some_and(|v| bound.contains(*v)) {
                let value = value.map_or_else(|| "not measured".into(), |v| format_smolstr!("{v}"));
                reasons.push(Reason::Metric { metric: metric.clone(), value, bound: format_smolstr!("{bound}") });
            }
        }
    }
    reasons.extend(never_fired(plan, report, may_not_fire));
    let reproduced =
        expect.map_or_else(Vec::new, |e| e.violates.iter().filter(|id| violated.contains(id)).cloned().collect());
    let verdict = match &report.gave_up {
        Some(why) => {
            // What was seen before the end stays seen: a violation that should not be is a failure all the same.
            let seen = reasons.iter().any(|r| matches!(r, Reason::Unexpected { .. }));
            reasons.retain(|r| matches!(r, Reason::Unexpected { .. }));
            reasons.push(Reason::GaveUp { why: why.clone() });
            if seen { Verdict::Fail } else { Verdict::Inconclusive }
        }
        None if !reasons.is_empty() => Verdict::Fail,
        None if expect.is_none() => Verdict::Measured,
        None => Verdict::Pass,
    };
    Judged { verdict, reproduced, reasons }
}

/// Entries none of whose actions had an effect.
fn never_fired(plan: &Plan, report: &RunReport, may_not_fire: &[Str]) -> Vec<Reason> {
    let entry = |id: &Str| Str::from(id.split('.').next().unwrap_or(id));
    let mut fired: Vec<(Str, bool)> = Vec::new();
    for action in &plan.actions {
        let must = match (&action.what, &action.when) {
            (Action::Fault(_) | Action::Operator(_), _) | (_, When::Event(_)) => true,
            (Action::Job(_) | Action::Cancel(_) | Action::Mark(_), When::At(_)) => false,
        };
        if !must {
            continue;
        }
        let (id, has) = (entry(&action.id), report.fired.contains(&action.id));
        match fired.iter_mut().find(|(known, _)| *known == id) {
            Some((_, any)) => *any |= has,
            None => fired.push((id, has)),
        }
    }
    let never = fired.into_iter().filter(|(id, any)| !any && !may_not_fire.contains(id));
    never.map(|(action, _)| Reason::NeverFired { action }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Violation;
    use crate::scenario::load;

    const SCENARIO: &str = r#"
name: hand-made
why: Judgement needs no world.
release: 0.9.1
clusters: [{ scale_sets: [{ name: linux }] }]
workload: [{ id: late, pattern: single, scale_set: linux, when: { job: { is: finished } } }, { pattern: single, scale_set: linux }]
faults: [{ id: kill, at: 1m, every: 1m, times: 3, actor_crash: { target: listener/linux } }]
operators: [{ id: drain, at: 2m, drain_node: { node: n1 } }]
marks: [{ at: 1m, mark: begun }]
run_for: 1h
expect: { next: { holds: all } }
"#;

    fn plan() -> Plan {
        let loaded = load("hand-made.yaml", SCENARIO).unwrap_or_else(|r| panic!("{}", r.render(false)));
        loaded.plan(None, controller_core::Release::Next, 0).unwrap_or_else(|| panic!("no plan"))
    }

    fn report(violated: &[&str]) -> RunReport {
        let violation = |id: &&str| Violation {
            invariant: (*id).into(),
            component: "x".into(),
            at: arc_api::Time::ZERO,
            said: "it broke".into(),
            about: Vec::new(),
            cause: Vec::new(),
        };
        RunReport {
            violations: violated.iter().map(violation).collect(),
            fired: ["kill.2", "drain", "late.1"].map(Str::from).into(),
            metrics: [("jobs_failed", 4.0)].into(),
            ..RunReport::default()
        }
    }

    fn expect(yaml: &str) -> Expect {
        serde_saphyr::from_str(yaml).unwrap_or_else(|e| panic!("{e}"))
    }

    #[track_caller]
    fn check(expect_yaml: &str, report: &RunReport, verdict: Verdict, reasons: &[&str]) {
        let judged = judge(Some(&expect(expect_yaml)), &plan(), report);
        let said: Vec<String> = judged.reasons.iter().map(ToString::to_string).collect();
        assert_eq!((judged.verdict, said.iter().map(String::as_str).collect::<Vec<_>>()), (verdict, reasons.to_vec()));
    }

    #[test]
    fn listed_violations_must_happen_and_others_must_not() {
        check("{ violates: [a, b] }", &report(&["b", "a", "a"]), Verdict::Pass, &[]);
        check("{ violates: [a, b] }", &report(&["a"]), Verdict::Fail, &["b was expected to be violated and held"]);
        check("{ violates: [a] }", &report(&["a", "c", "c"]), Verdict::Fail, &["c violated: it broke"]);
        check("{ violates: [a], may_violate: [c] }", &report(&["a", "c"]), Verdict::Pass, &[]);
        check("{ violates: [a], may_violate: [c] }", &report(&["a"]), Verdict::Pass, &[]);
        check("{ holds: all }", &report(&[]), Verdict::Pass, &[]);
        check("{ holds: all }", &report(&["a"]), Verdict::Fail, &["a violated: it broke"]);
    }

    #[test]
    fn metrics_and_states_are_held_against_their_bounds() {
        check("{ metrics: { jobs_failed: 3..8 } }", &report(&[]), Verdict::Pass, &[]);
        check("{ metrics: { jobs_failed: ..3 } }", &report(&[]), Verdict::Fail, &["jobs_failed is 4, expected ..3"]);
        check("{ metrics: { other: 1.. } }", &report(&[]), Verdict::Fail, &["other is not measured, expected 1.."]);
        check("{ reaches: [begun] }", &report(&[]), Verdict::Fail, &["`begun` was not reached"]);
    }

    #[test]
    fn whatever_never_had_an_effect_fails_the_run() {
        let none = RunReport { fired: Default::default(), ..report(&[]) };
        let said = ["late", "drain", "kill"].map(|id| format!("`{id}` never had an effect, so nothing was shown"));
        check("{ holds: all }", &none, Verdict::Fail, &[&said[0], &said[1], &said[2]]);
        check("{ holds: all, may_not_fire: [late, drain, kill] }", &none, Verdict::Pass, &[]);
        assert_eq!(judge(None, &plan(), &report(&["a"])).verdict, Verdict::Measured);
        assert_eq!(judge(None, &plan(), &none).verdict, Verdict::Fail);
    }

    #[test]
    fn a_run_that_was_given_up_has_no_verdict_but_what_was_seen_stays_seen() {
        let given_up = |violated: &[&str]| RunReport { gave_up: Some("too long".into()), ..report(violated) };
        check("{ violates: [a] }", &given_up(&[]), Verdict::Inconclusive, &["given up: too long"]);
        check("{ holds: all }", &given_up(&["a"]), Verdict::Fail, &["a violated: it broke", "given up: too long"]);
    }
}
