//! Somebody else's controller under test: an EphemeralRunnerSet reconciler written against the public interface only, right in one
//! form and wrong in two, each of which one line tells from the right one.
#![allow(clippy::expect_used)]

use std::sync::Arc;

use arc_sim::arc_api::crd::{EphemeralRunner, EphemeralRunnerSet, ErPhase, ErsStatus};
use arc_sim::arc_api::kube::{Body, DeleteOptions, ErsStatusPatch, KubeOk, KubeRequest, Patch, Sub};
use arc_sim::arc_api::meta::Key;
use arc_sim::arc_api::{Duration, Kind, Meta, Object, OwnerRef, Resource, format_smolstr};
use arc_sim::controller_core::call::Call;
use arc_sim::controller_core::ephemeral_runner::{FINALIZER, REGISTRATION_FINALIZER};
use arc_sim::controller_core::labels;
use arc_sim::controller_core::reconcile::{Decision, Observed, Outcome, Pass};
use arc_sim::{Controller, Simulation, SimulationError};

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    /// It counts the runners that its cache shows, which may not show yet what it made a moment ago.
    TrustsTheCache,
    /// A runner whose work is over stays, and counts as one that can serve.
    CountsTheFinished,
}

/// A pass: look at the runners, do the first thing that is missing, come again. One write a pass is slow and easy to get right.
#[derive(Clone, Debug)]
struct SetPass {
    key: Key,
    flaw: Flaw,
    step: &'static str,
}

impl Pass for SetPass {
    const KIND: Kind = Kind::EphemeralRunnerSet;

    fn step(&mut self, o: &mut Observed<'_>) -> Decision {
        let Some(set) = o.caches.get::<EphemeralRunnerSet>(&self.key).cloned() else {
            return Decision::End(Outcome::Settled);
        };
        match self.step {
            "start" if !set.metadata.has_finalizer(FINALIZER) && !set.metadata.is_deleting() => {
                self.write(Patch::finalizers(set.metadata.finalizers_with(FINALIZER)), Sub::Main)
            }
            "start" if self.flaw == Flaw::TrustsTheCache => {
                let runners: Vec<_> = o.caches.runners(&self.key).cloned().collect();
                self.decide(&set, &runners)
            }
            "start" => {
                self.step = "listed";
                let namespace = Some(self.key.namespace.clone());
                call(KubeRequest::List { kind: Kind::EphemeralRunner, namespace, labels: Vec::new() })
            }
            "listed" => match o.take_reply().into_kube() {
                Ok(KubeOk::List { items, .. }) => {
                    let runners = items.iter().filter_map(Object::get::<EphemeralRunner>);
                    let ours = runners.filter(|r| r.metadata.controller().is_some_and(|c| c.uid == set.metadata.uid));
                    self.decide(&set, &ours.cloned().collect::<Vec<_>>())
                }
                Ok(_) => Decision::End(Outcome::Requeue),
                Err(e) => Decision::End(Outcome::failed(&e)),
            },
            // What was written may have been the last thing or not: the next pass finds out.
            _ => match o.take_reply().into_kube() {
                Err(e) if !e.is_not_found() => Decision::End(Outcome::failed(&e)),
                _ => Decision::End(Outcome::After(Duration::from_millis(1))),
            },
        }
    }

    fn at(&self) -> &'static str {
        self.step
    }
}

impl SetPass {
    fn decide(&mut self, set: &EphemeralRunnerSet, runners: &[Arc<EphemeralRunner>]) -> Decision {
        type Runners<'r> = Vec<&'r Arc<EphemeralRunner>>;
        let staying = runners.iter().filter(|r| !r.metadata.is_deleting());
        let counts = self.flaw == Flaw::CountsTheFinished && !set.metadata.is_deleting();
        let (over, alive): (Runners, Runners) = staying.partition(|r| r.status.phase.is_done() && !counts);
        let idle = alive.iter().find(|r| !r.status.has_job_id());
        let gone = set.metadata.is_deleting();
        if let Some(runner) = over.first() {
            return self.delete(runner);
        }
        match idle {
            Some(runner) if gone => return self.delete(runner),
            // Zero is the listener's word for a comparison in both directions.
            Some(runner) if set.spec.patch_id == 0 && alive.len() as i32 > set.spec.replicas => {
                return self.delete(runner);
            }
            _ => {}
        }
        if gone {
            return match runners.is_empty() {
                true => self.write(Patch::finalizers(set.metadata.finalizers_without(FINALIZER)), Sub::Main),
                false => Decision::End(Outcome::After(Duration::from_secs(5))),
            };
        }
        if (alive.len() as i32) < set.spec.replicas {
            self.step = "created";
            return call(KubeRequest::Create(runner_of(set).into_object()));
        }
        self.report(set, &alive)
    }

    fn report(&mut self, set: &EphemeralRunnerSet, alive: &[&Arc<EphemeralRunner>]) -> Decision {
        let running = alive.iter().filter(|r| r.status.phase == ErPhase::Running).count() as i32;
        let total = alive.len() as i32;
        let ErsStatus { current_replicas, pending_ephemeral_runners, running_ephemeral_runners, .. } = set.status;
        if (current_replicas, pending_ephemeral_runners, running_ephemeral_runners) == (total, total - running, running)
        {
            return Decision::End(Outcome::Settled);
        }
        let status = ErsStatusPatch {
            current_replicas: Some(total),
            pending: Some(total - running),
            running: Some(running),
            ..Default::default()
        };
        self.write(Patch::body(Body::ErsStatus(status)), Sub::Status)
    }

    fn write(&mut self, patch: Patch, sub: Sub) -> Decision {
        self.step = "written";
        call(KubeRequest::Patch { kind: Kind::EphemeralRunnerSet, key: self.key.clone(), sub, patch: Arc::new(patch) })
    }

    /// The runner deregisters itself; its finalizers wait for that, and for its job.
    fn delete(&mut self, runner: &EphemeralRunner) -> Decision {
        self.step = "deleted";
        let options = DeleteOptions { uid: Some(runner.metadata.uid), ..DeleteOptions::default() };
        call(KubeRequest::Delete { kind: Kind::EphemeralRunner, key: runner.metadata.key(), options })
    }
}

fn call(request: KubeRequest) -> Decision {
    Decision::Call(Call::Kube(request))
}

fn runner_of(set: &EphemeralRunnerSet) -> EphemeralRunner {
    let mut metadata = Meta {
        namespace: set.metadata.namespace.clone(),
        generate_name: Some(format_smolstr!("{}-runner-", set.metadata.name)),
        labels: set.metadata.labels.clone(),
        finalizers: [FINALIZER.into(), REGISTRATION_FINALIZER.into()].into(),
        owner_references: [OwnerRef::controller(Kind::EphemeralRunnerSet, &set.metadata)].into(),
        ..Meta::default()
    };
    Arc::make_mut(&mut metadata.labels).insert(labels::COMPONENT.into(), "runner".into());
    EphemeralRunner { metadata, spec: set.spec.ephemeral_runner_spec.clone(), ..EphemeralRunner::default() }
}

/// Two waves of jobs for a set of three, while caches lag and one of the set's runners is killed.
const WORLD: &str = r#"
name: two-waves
why: Two waves of jobs, caches that lag, a runner that dies, and an uninstallation at the end.
release: next
clusters: [{ name: prod, nodes: 2, scale_sets: [{ name: linux, min_runners: 1, max_runners: 3 }] }]
workload:
  - { pattern: burst, scale_set: linux, at: 1m, count: 5, duration: 20s }
  - { pattern: burst, scale_set: linux, at: 4m, count: 2, duration: 1m }
faults:
  - { at: 30s, for: 2m, cache_lag: { kind: EphemeralRunner, by: 2s } }
  - { at: 250s, actor_crash: { target: runner } }
operators:
  - { at: 12m, uninstall: { chart: { scale_set: linux } } }
run_for: 14m
expect: { next: { holds: all } }
"#;

fn with(flaw: Flaw) -> Result<Simulation, SimulationError> {
    let own = move |key: Key| SetPass { key, flaw, step: "start" };
    Ok(Simulation::parse("two-waves.yaml", WORLD)?.with_reconciler(Controller::EphemeralRunnerSet, own))
}

#[test]
fn a_right_one_keeps_every_promise() -> Result<(), SimulationError> {
    for seed in 0..20 {
        let report = with(Flaw::None)?.seed(seed).run();
        report.assert_holds();
        assert!(report.metric("jobs_succeeded") >= Some(5.0), "{:?}", report.metric("jobs_succeeded"));
    }
    Ok(())
}

#[test]
fn one_that_trusts_its_cache_makes_too_many() -> Result<(), SimulationError> {
    with(Flaw::TrustsTheCache)?.run().assert_violates("max-runners-respected");
    Ok(())
}

#[test]
fn one_that_counts_the_finished_reports_runners_that_are_none() -> Result<(), SimulationError> {
    with(Flaw::CountsTheFinished)?.run().assert_violates("counters-true");
    Ok(())
}

#[test]
fn a_failed_assertion_says_what_broke_and_why_and_how_to_see_it_again() {
    let report = with(Flaw::TrustsTheCache).expect("the scenario is right").run();
    let said = std::panic::catch_unwind(|| drop(report.assert_holds().violated())).expect_err("it does not hold");
    let said = said.downcast::<String>().expect("a message");
    for part in ["max-runners-respected violated", "because", "cache_lag begins", "replay: ", "own machines"] {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
}

/// What a failing test leaves behind fails in the same way; whatever had no effect is said to have none.
#[test]
fn a_failing_world_is_kept_as_a_scenario() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("two-waves-kept.yaml");
    // Neither the job nor the fault ever comes; the job has another name in the file.
    let never = "when: { call: github.delete_message, occurrence: 90000 }";
    let job = format!("  - {{ id: late, pattern: single, scale_set: linux, {never} }}\nfaults:");
    let fault = format!("  - {{ id: crash, {never}, actor_crash: {{ target: runner }} }}\noperators:");
    let text = WORLD.replace("faults:", &job).replace("operators:", &fault);
    let own = |key: Key| SetPass { key, flaw: Flaw::TrustsTheCache, step: "start" };
    let world = Simulation::parse("two-waves.yaml", &text)?.with_reconciler(Controller::EphemeralRunnerSet, own);
    let report = world.seed(3).run();
    report.save_scenario(&path)?;
    let kept = Simulation::scenario(&path)?;
    let again = kept.clone().with_reconciler(Controller::EphemeralRunnerSet, own).run();
    assert_eq!(again.violated(), report.violated());
    again.assert_violates("max-runners-respected").assert_expected();
    let idle = std::fs::read_to_string(&path)?;
    assert!(idle.contains("may_not_fire: [") && idle.contains("crash"), "{idle}");
    // ARC's own controller keeps the promise in that world.
    assert!(!kept.run().violated().contains("max-runners-respected"));
    Ok(())
}

#[test]
fn what_no_file_can_say_is_not_saved() -> Result<(), SimulationError> {
    let mut plan = with(Flaw::None)?.to_plan();
    plan.forks.push(arc_sim::plan::Fork { at: arc_sim::plan::Dur::secs(60), seed: 1, tempo: 100, watch: 100 });
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("forked.yaml");
    let error = Simulation::plan(plan).run().save_scenario(&path).expect_err("files have no forks");
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported);
    assert!(!path.exists());
    Ok(())
}

#[test]
fn the_same_machines_give_the_same_history() -> Result<(), SimulationError> {
    let (one, two) = (with(Flaw::None)?.run(), with(Flaw::None)?.trace(true).run());
    assert_eq!(one.fingerprint(), two.fingerprint());
    assert_eq!(one.trace_text(), two.trace_text());
    Ok(())
}

#[test]
fn what_cannot_be_simulated_says_why() -> Result<(), SimulationError> {
    let world = with(Flaw::None)?;
    let said = [
        world.clone().variant("wait").expect_err("it has none").to_string(),
        world.clone().switch("ers_gat", "level").expect_err("no such switch").to_string(),
        world.switch("ers_gate", "levle").expect_err("no such value").to_string(),
        Simulation::scenario("nowhere.yaml").expect_err("no such file").to_string(),
    ];
    assert!(said[0].contains("no variant `wait`; there are no variants"), "{said:?}");
    assert!(said[1].contains("did you mean `ers_gate`?"), "{said:?}");
    assert!(said[2].contains("did you mean `level`?"), "{said:?}");
    assert!(said[3].contains("cannot read nowhere.yaml"), "{said:?}");
    let broken = Simulation::parse("x.yaml", "name: x\nwhy: y\nfautls: []\n").expect_err("it is wrong");
    assert!(format!("{broken:?}").contains("did you mean `faults`?"), "{broken:?}");
    Ok(())
}
