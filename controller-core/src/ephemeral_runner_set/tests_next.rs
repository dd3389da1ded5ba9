//! The set reconciler of the corrected controller: what it does otherwise than every release.

use super::tests::state;
use super::*;
use crate::release::Release;
use crate::test_world::{NS, SET, World, exited, running};
use arc_api::crd::{ArsSpec, ArsStatus, AutoscalingRunnerSet, ErPhase, JobRef};
use arc_api::kube::{Reason, Status};
use arc_api::pod::Pod;
use arc_api::{Meta, OwnerRef};

fn ended(w: &mut World, name: &str) {
    let generation = w.set().metadata.generation;
    w.update::<EphemeralRunner>(name, |r| {
        r.status.phase = ErPhase::Succeeded;
        r.status.ended_generation = generation;
    });
    w.sync();
}

#[test]
fn a_runner_that_ended_with_its_job_counts_until_the_listener_answers() {
    let mut w = state(Release::Next, &[("B", 1), ("B", 1)]);
    w.listener(2, 3);
    w.run_set();
    ended(&mut w, "r0");
    w.run_set();
    assert_eq!(w.runners().len(), 2, "no surplus runner");
    assert!(!w.runner("r0").metadata.is_deleting());
    assert_eq!(w.set().status.current_replicas, 1, "it cannot serve, so it is not reported");
    w.listener(1, 4);
    w.run_set();
    assert!(w.runner("r0").metadata.is_deleting());
    assert_eq!(w.runners().len(), 2);
}

#[test]
fn another_job_that_waits_gets_its_runner_with_the_listeners_answer() {
    let mut w = state(Release::Next, &[("B", 1)]);
    w.listener(1, 3);
    w.run_set();
    ended(&mut w, "r0");
    w.run_set();
    assert_eq!(w.runners().len(), 1);
    w.listener(1, 4);
    w.run_set();
    assert_eq!(w.runners().len(), 2);
    assert!(w.runner("r0").metadata.is_deleting());
}

/// Q-STAMP-CLOSES-EARLY: the target knew of the end before the controller did.
#[test]
fn a_runner_whose_end_was_answered_before_anybody_saw_it_is_not_waited_for() {
    let mut w = state(Release::Next, &[("B", 1)]);
    w.listener(1, 3);
    w.run_set();
    w.update::<EphemeralRunner>("r0", |r| {
        r.status.phase = ErPhase::Succeeded;
        r.status.ended_generation = crate::ephemeral_runner::END_ANSWERED;
    });
    w.sync();
    w.run_set();
    assert_eq!(w.runners().len(), 2, "the job that waits has its runner at once");
}

/// A job that the service calls over keeps no runner of a set that goes, whether or not its runner ever ended.
#[test]
fn a_deleted_set_asks_for_a_runner_whose_job_is_over() {
    for (ended, asked) in [(0, false), (crate::ephemeral_runner::END_ANSWERED, true)] {
        let mut w = state(Release::Next, &[("B", 1)]);
        w.update::<EphemeralRunner>("r0", |r| r.status.ended_generation = ended);
        w.busy.clear();
        let now = w.now;
        w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.deletion_timestamp = Some(now));
        w.sync();
        w.run_set();
        assert_eq!(w.runner("r0").metadata.is_deleting(), asked, "{ended}");
    }
}

/// Q-DELETING-BUSY-NOT-COUNTED.
#[test]
fn a_deleted_runner_that_still_works_takes_up_room_below_the_maximum() {
    for (release, max, made) in [(Release::V0_14_2, 1, 1), (Release::Next, 1, 0), (Release::Next, 2, 1)] {
        let mut w = state(release, &[("B", 1)]);
        let spec = ArsSpec { max_runners: Some(max), ..ArsSpec::default() };
        w.put(AutoscalingRunnerSet {
            metadata: Meta::named(NS, "demo"),
            spec: spec.into(),
            status: ArsStatus::default(),
        });
        let owner = OwnerRef::controller(Kind::AutoscalingRunnerSet, &Meta::named(NS, "demo"));
        w.update::<EphemeralRunnerSet>(SET, |s| s.metadata.owner_references = [owner].into());
        w.listener(1, 3);
        let (now, owner) = (w.now, OwnerRef::controller(Kind::EphemeralRunner, &w.runner("r0").metadata));
        let mut pod = Pod { metadata: Meta::named(NS, "r0"), ..Pod::default() };
        pod.metadata.owner_references = [owner].into();
        w.put(pod);
        w.kubelet("r0", running(now));
        w.update::<EphemeralRunner>("r0", |r| r.metadata.deletion_timestamp = Some(now));
        w.sync();
        w.run_set();
        assert_eq!(w.runners().len(), 1 + made, "{release}, at most {max}");
    }
}

#[test]
fn an_ended_runner_counts_also_under_a_forced_patch() {
    let mut w = state(Release::Next, &[("B", 1)]);
    w.listener(1, 0);
    w.run_set();
    ended(&mut w, "r0");
    w.run_set();
    assert_eq!(w.runners().len(), 1);
}

#[test]
fn failed_runners_of_older_releases_are_replaced() {
    let mut w = state(Release::Next, &[("F", 1), ("R", 1)]);
    w.listener(2, 2);
    w.run_set();
    w.run_set();
    assert!(w.runner("r0").metadata.is_deleting());
    assert_eq!(w.runners().iter().filter(|r| !r.metadata.is_deleting()).count(), 2);
}

#[test]
fn a_new_template_is_tried_with_one_runner() {
    let mut w = World::new(Release::Next);
    w.listener(5, 1);
    assert!(matches!(w.run_set(), Outcome::After(_) | Outcome::Settled));
    for _ in 0..3 {
        assert!(matches!(w.run_set(), Outcome::After(_)), "looked at again");
    }
    assert_eq!(w.runners().len(), 1);
    let r = w.runners()[0].clone();
    let owner = [OwnerRef::controller(Kind::EphemeralRunner, &r.metadata)].into();
    w.put(Pod {
        metadata: Meta { owner_references: owner, ..Meta::named(NS, r.metadata.name.clone()) },
        ..Pod::default()
    });
    w.sync();
    w.run_set();
    assert_eq!(w.runners().len(), 5, "accepted: the others follow at once");
}

#[test]
fn a_refused_template_burns_one_registration_and_is_reported() {
    let mut w = World::new(Release::Next);
    w.pod_refusal = Some(Arc::new(Status::new(Reason::Invalid, "no such volume")));
    w.listener(5, 1);
    let begin = w.now;
    while w.now.since(begin) < Duration::from_secs(900) {
        w.run_set();
        for r in w.runners() {
            w.run(&r.metadata.name);
        }
        w.wait(1);
    }
    assert_eq!((w.runners().len(), w.registered.len()), (1, 1));
    let set = w.set();
    let rejected = set.status.conditions.iter().find(|c| c.type_ == TEMPLATE_REJECTED).expect("reported");
    assert_eq!((rejected.status, rejected.message.as_str()), (true, "no such volume"));
    let status = &set.status;
    let counts = (status.current_replicas, status.pending_ephemeral_runners, status.failed_ephemeral_runners);
    assert_eq!(counts, (0, 0, 1), "nobody is able to serve");
    // The cause ends outside the template: the next try succeeds and the others follow.
    w.pod_refusal = None;
    for _ in 0..310 {
        w.run_set();
        for r in w.runners() {
            w.run(&r.metadata.name);
        }
        w.wait(1);
    }
    assert_eq!(w.runners().len(), 5);
    let off = w.set().status.conditions.iter().any(|c| c.type_ == TEMPLATE_REJECTED && !c.status);
    assert!(off, "{:?}", w.set().status.conditions);
}

#[test]
fn refused_versions_keep_one_runner_trying_and_the_others_come_when_it_is_accepted() {
    let mut w = World::new(Release::Next);
    w.listener(4, 1);
    let mut refuse = true;
    let begin = w.now;
    let mut live = vec![];
    while w.now.since(begin) < Duration::from_secs(1500) {
        refuse &= w.now.since(begin) < Duration::from_secs(1200);
        w.run_set();
        for r in w.runners() {
            let name = r.metadata.name.clone();
            w.run(&name);
            if let Some(pod) = w.get::<Pod>(&name) {
                match pod.status.container("runner").map(|c| c.state.is_running()) {
                    None => w.kubelet(&name, running(w.now)),
                    Some(true) if refuse => w.kubelet(&name, exited(7)),
                    Some(_) => {}
                }
            }
        }
        w.wait(1);
        live.push(w.runners().iter().filter(|r| !r.metadata.is_deleting()).count());
    }
    assert!(live[1100] <= 1, "while it is refused a single runner tries, not {}", live[1100]);
    assert_eq!(live.last(), Some(&4), "{:?}", w.set().status.conditions);
    assert!(!w.set().status.conditions.iter().any(|c| c.type_ == crate::ephemeral_runner::OUTDATED));
}

#[test]
fn runners_that_cannot_serve_are_removed_before_those_that_can() {
    let mut w = state(Release::Next, &[("P", 1), ("P", 1)]);
    w.update::<EphemeralRunner>("r1", |r| {
        r.status.rejections = 2;
        r.status.reason = crate::ephemeral_runner::POD_REJECTED.into();
    });
    w.listener(1, 0);
    w.run_set();
    assert!(w.runner("r1").metadata.is_deleting() && !w.runner("r0").metadata.is_deleting());
}

#[test]
fn a_runner_with_a_job_is_never_asked_to_go_whatever_the_release_looks_at() {
    let mut w = state(Release::V0_12_1, &[("R", 1)]);
    let job = JobRef { job_id: Some(arc_api::JobId(3)), ..JobRef::default() };
    w.update::<EphemeralRunner>("r0", |r| r.status.job = Some(Arc::new(job)));
    w.listener(0, 0);
    w.run_set();
    assert!(w.runner("r0").metadata.is_deleting(), "up to 0.12.1 a job id alone says nothing (Q-BROKER-REQID-0)");
    let mut w = state(Release::V0_14_2, &[("B", 1)]);
    w.busy.clear();
    w.listener(0, 0);
    w.run_set();
    assert_eq!(w.take_trace()[0], "get secrets gh");
    assert!(!w.runner("r0").metadata.is_deleting());
}
