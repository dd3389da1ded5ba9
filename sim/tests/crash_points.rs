//! A process killed in every gap between two of its calls, and every call lost on its way there or back: on the corrected
//! controller all promises hold all the same, and no job is lost.
//!
//! Exhaustive: the n-th call is counted up until a run has none.
#![allow(clippy::expect_used)]

use std::fmt::Write as _;

use arc_sim::outcome::{Ending, RunReport};
use arc_sim::plan::fault::{ActorCrash, NetCut, NetMode};
use arc_sim::plan::{Action, Actor, Dur, Fault, Glob, Plan, PlannedAction, Point, Ratio, Role, Trigger, When};
use arc_sim::scenario;
use arc_sim::world::{RunOptions, run};
use controller_core::Release;

/// Something that happens to one call.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// The caller is killed before the request leaves it.
    KillBeforeSend,
    /// The caller is killed when the request was carried out and the reply is on its way.
    KillAfterApply,
    /// The caller is killed when it has the reply and did nothing yet.
    KillAfterReply,
    /// The request is lost.
    LoseRequest,
    /// The reply is lost.
    LoseReply,
    /// The request arrives twice.
    Twice,
}

const BLOWS: [Blow; 6] =
    [Blow::KillBeforeSend, Blow::KillAfterApply, Blow::KillAfterReply, Blow::LoseRequest, Blow::LoseReply, Blow::Twice];

impl Blow {
    fn point(self) -> Point {
        match self {
            Blow::KillBeforeSend | Blow::LoseRequest | Blow::Twice => Point::BeforeSend,
            Blow::KillAfterApply | Blow::LoseReply => Point::AfterApply,
            Blow::KillAfterReply => Point::AfterReply,
        }
    }
    fn faults(self, caller: &Actor) -> Vec<Fault> {
        let mode = match self {
            Blow::KillBeforeSend | Blow::KillAfterApply | Blow::KillAfterReply => {
                return vec![Fault::ActorCrash(ActorCrash {
                    signal: arc_sim::plan::fault::EndSignal::Kill,
                    target: caller.clone(),
                    restart_after: None,
                    in_flight_applied: Ratio { num: 1, den: 2 },
                    pod: false,
                    leader: false,
                })];
            }
            Blow::LoseRequest => NetMode::LoseRequest,
            Blow::LoseReply => NetMode::LoseReply,
            Blow::Twice => NetMode::Duplicate,
        };
        let cut = |to| {
            Fault::NetCut(NetCut {
                from: caller.clone(),
                to: Actor::all(to),
                mode,
                call: None,
                by: None,
                probability: Ratio::ONE,
                count: Some(1),
            })
        };
        vec![cut(Role::KubeApi), cut(Role::Github)]
    }
    /// The plan with this blow at the n-th call of a process.
    fn at(self, plan: &Plan, caller: &Actor, n: u32) -> Plan {
        let mut plan = plan.clone();
        for (i, fault) in self.faults(caller).into_iter().enumerate() {
            let trigger = Trigger {
                call: Some(Glob("*".into())),
                actor: Some(caller.clone()),
                occurrence: n,
                point: self.point(),
                ..Trigger::default()
            };
            plan.actions.push(PlannedAction {
                id: format!("blow{i}").into(),
                when: When::Event(Box::new(trigger)),
                lasts: Some(Dur::micros(1)),
                ends_with: None,
                cluster: None,
                what: Action::Fault(fault),
            });
        }
        plan
    }
}

fn plan(sets: &str, jobs: &str) -> Plan {
    let text = format!(
        r#"
name: life
why: an EphemeralRunner from creation to deletion
release: next
clusters: [{{ name: prod, scale_sets: [{sets}] }}]
workload: [{jobs}]
run_for: 2m
settle: 13m
expect: {{ next: {{ holds: all }} }}
"#
    );
    let loaded = scenario::load("life.yaml", &text).unwrap_or_else(|e| panic!("{}", e.render(false)));
    loaded.plan(None, Release::Next, 1).expect("no variants")
}

fn one(plan: &Plan) -> RunReport {
    run(plan, &RunOptions::default())
}

fn fails(report: &RunReport, jobs: i64) -> Option<String> {
    let done = report.figures.get("jobs_succeeded").copied().unwrap_or(0);
    if report.ending == Ending::Completed && report.violations.is_empty() && done >= jobs {
        return None;
    }
    let mut text = format!("{:?}, {done} of {jobs} jobs", report.ending);
    for v in &report.violations {
        let _ = write!(text, "; {} {} {:?}: {}", v.at, v.invariant, v.about, v.said);
    }
    Some(text)
}

/// Every blow at every call of a process in the life of a world; how many calls and runs there were.
fn every_gap(name: &str, plan: &Plan, caller: &Actor, jobs: i64, least: u32) {
    let clean = one(plan);
    assert_eq!(fails(&clean, jobs), None, "{name}: without any blow");
    let first = clean.hits.len();
    let (mut runs, mut gaps, mut bad) = (0, 0, Vec::new());
    for blow in BLOWS {
        for n in 1.. {
            let report = one(&blow.at(plan, caller, n));
            if report.hits[first..].iter().all(|h| *h == 0) {
                assert!(n > least, "{name}: {blow:?} met only {n} calls");
                gaps = gaps.max(n - 1);
                break;
            }
            runs += 1;
            if let Some(said) = fails(&report, jobs) {
                bad.push(format!("{blow:?} at call {n}: {said}"));
            }
        }
    }
    println!("{name}: {gaps} calls of {caller}, {runs} runs, {} failed", bad.len());
    assert!(bad.is_empty(), "{name}: {} of {runs} runs failed\n{}", bad.len(), bad.join("\n"));
}

const COLD: (&str, &str) =
    ("{ name: a, min_runners: 0, max_runners: 1 }", "{ pattern: single, scale_set: a, at: 30s, duration: 5s }");

#[test]
fn the_controller_dies_in_every_gap_of_a_runners_life() {
    every_gap("cold", &plan(COLD.0, COLD.1), &Actor::all(Role::Controller), 1, 80);
}

#[test]
fn the_controller_dies_in_every_gap_of_a_warm_runners_life() {
    let warm = plan(
        "{ name: a, min_runners: 1, max_runners: 2 }",
        "{ pattern: burst, scale_set: a, at: 30s, count: 2, duration: 5s }",
    );
    every_gap("warm", &warm, &Actor::all(Role::Controller), 2, 80);
}

#[test]
fn the_listener_dies_in_every_gap_between_its_calls() {
    every_gap("listener", &plan(COLD.0, COLD.1), &Actor::all(Role::Listener), 1, 20);
}

#[test]
fn the_runner_dies_in_every_gap_between_its_calls() {
    // A job dies with its runner.
    every_gap("runner", &plan(COLD.0, COLD.1), &Actor::all(Role::Runner), 0, 3);
}
