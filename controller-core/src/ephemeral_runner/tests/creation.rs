//! Registrations and pods that are refused, taken or foreign; pods in odd states.

use super::*;

pub(super) fn refusal(reason: Reason, text: &str) -> Arc<Status> {
    Arc::new(Status::new(reason, text))
}

/// The first pod is refused; gives the end of the pass.
fn refused(release: Release, reason: Reason, text: &str) -> (World, Outcome) {
    let mut w = World::new(release);
    w.pod_refusal = Some(refusal(reason, text));
    bare(&mut w, "r");
    let outcome = settle(&mut w, "r");
    (w, outcome)
}

#[test]
fn a_refused_pod_fails_the_runner_for_ever_in_every_release_since_0_8_0() {
    for reason in [Reason::Invalid, Reason::Forbidden] {
        let (mut w, outcome) = refused(Release::V0_14_2, reason, "no");
        assert_eq!(outcome, Outcome::Settled);
        let r = w.runner("r");
        assert_eq!((r.status.phase, r.status.reason.as_str()), (ErPhase::Failed, "InvalidPod"));
        assert_eq!(r.status.message, "Failed to create the pod: no");
        assert!(w.registered.is_empty() && w.get::<Secret>("r").is_none());
        w.pod_refusal = None;
        settle(&mut w, "r");
        assert!(w.pods_made.is_empty(), "nothing heals it");
    }
}

#[test]
fn a_refused_pod_was_an_endless_error_in_0_7_0() {
    let mut w = World::new(Release::V0_7_0);
    w.pod_refusal = Some(refusal(Reason::Invalid, "no"));
    bare(&mut w, "r");
    let ends: Vec<Outcome> = (0..6).map(|_| w.run("r")).collect();
    assert_eq!(ends.last(), Some(&Outcome::Error("no".into())));
    assert_eq!(w.runner("r").status.phase, ErPhase::Empty);
}

#[test]
fn a_full_quota_fails_the_runner_up_to_0_13_0_and_waits_30_s_later() {
    let text = "pods \"r\" is forbidden: exceeded quota: few-pods";
    assert_eq!(refused(Release::V0_13_0, Reason::Forbidden, text).0.runner("r").status.phase, ErPhase::Failed);
    let (mut w, outcome) = refused(Release::V0_13_1, Reason::Forbidden, text);
    assert_eq!(outcome, Outcome::After(Duration::from_secs(30)));
    assert_eq!(w.registered.len(), 1);
    w.wait(601);
    settle(&mut w, "r");
    assert!(is_gone(&w, "r"), "after ten minutes it is given up");
}

#[test]
fn the_corrected_controller_waits_for_quota_as_long_as_it_takes_and_says_so() {
    let (mut w, outcome) = refused(Release::Next, Reason::Forbidden, "exceeded quota: few-pods");
    assert!(matches!(outcome, Outcome::After(_)));
    for _ in 0..50 {
        w.wait(30);
        settle(&mut w, "r");
    }
    let r = w.runner("r");
    assert_eq!((r.status.reason.as_str(), r.status.phase, w.registered.len()), (QUOTA_EXCEEDED, ErPhase::Empty, 1));
    w.pod_refusal = None;
    w.wait(30);
    settle(&mut w, "r");
    assert_eq!((w.pods_made["r"], w.runner("r").status.rejections, w.registered.len()), (1, 0, 1));
}

#[test]
fn the_corrected_controller_retries_a_refused_pod_with_growing_waits_and_one_registration() {
    let (mut w, _) = refused(Release::Next, Reason::Invalid, "no such volume");
    let mut waits = vec![];
    let begin = w.now;
    while w.now.since(begin) < Duration::from_secs(1800) {
        match settle(&mut w, "r") {
            Outcome::After(wait) => {
                waits.push(wait.as_secs());
                w.now = w.now.after(wait);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(waits[..7], [5, 10, 20, 40, 80, 160, 300]);
    let r = w.runner("r");
    assert_eq!((r.status.reason.as_str(), r.status.message.as_str()), (POD_REJECTED, "no such volume"));
    assert_eq!(w.registered.len(), 1, "no registration is burnt");
    w.pod_refusal = None;
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 1);
    assert!(w.runner("r").status.conditions.is_empty());
}

#[test]
fn a_pod_made_by_a_pass_that_did_not_know_of_the_refusal_clears_it() {
    let (mut w, _) = refused(Release::Next, Reason::Forbidden, "denied");
    settle(&mut w, "r");
    let refused = w.runner("r").status.clone();
    w.update::<EphemeralRunner>("r", |r| (r.status.rejections, r.status.conditions) = (0, [].into()));
    w.sync();
    w.pod_refusal = None;
    settle(&mut w, "r");
    w.update::<EphemeralRunner>("r", |r| r.status = refused);
    w.sync();
    settle(&mut w, "r");
    let status = w.runner("r").status.clone();
    assert_eq!((w.pods_made["r"], status.rejections, status.conditions.len()), (1, 0, 0));
}

#[test]
fn a_pod_that_exists_already_is_an_error_up_to_0_12_1_and_waited_for_later() {
    for (release, end) in [
        (Release::V0_12_1, Outcome::Error("pods \"r\" already exists".into())),
        (Release::V0_13_0, Outcome::After(Duration::from_secs(5))),
        (Release::Next, Outcome::After(Duration::from_secs(5))),
    ] {
        let mut w = World::new(release);
        bare(&mut w, "r");
        w.put(Pod { metadata: Meta::named(NS, "r"), ..Pod::default() });
        for _ in 0..6 {
            // The cache does not show the pod yet.
            w.sync();
            w.caches.of_mut(Kind::Pod).remove(&Key::new(NS, "r"));
            let mut pass = ErPass::new(Key::new(NS, "r"));
            let caches = w.caches.clone();
            let mut reply = None;
            let outcome = loop {
                let settings = w.settings.clone();
                let mut o = Observed { settings: &settings, caches: &caches, now: w.now, reply, log: &mut w.log };
                match pass.step(&mut o) {
                    Decision::End(outcome) => break outcome,
                    Decision::Call(call) => reply = Some(w.execute(&call)),
                }
            };
            if w.get::<Secret>("r").is_some() && w.runner("r").status.runner_id.0 > 0 && outcome != Outcome::Settled {
                if outcome == Outcome::Requeue {
                    continue;
                }
                assert_eq!(outcome, end, "{release}");
                break;
            }
        }
    }
}

#[test]
fn a_pod_of_another_owner_is_a_dead_end_that_only_the_corrected_controller_reports() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut w = World::new(release);
        bare(&mut w, "r");
        w.put(Pod { metadata: Meta::named(NS, "r"), ..Pod::default() });
        w.sync();
        let outcome = settle(&mut w, "r");
        let reason = w.runner("r").status.reason.clone();
        match release {
            Release::Next => {
                assert_eq!((reason.as_str(), outcome), ("ForeignPod", Outcome::After(Duration::from_secs(30))))
            }
            _ => assert_eq!((reason.as_str(), outcome), ("", Outcome::Settled)),
        }
        delete(&mut w, "r");
        settle(&mut w, "r");
        assert_eq!(w.get::<Pod>("r").is_some(), release == Release::Next, "what is not ours stays");
    }
}

#[test]
fn a_name_that_stays_taken_costs_the_corrected_controller_the_runner_and_nobody_else_anything() {
    for taken in [Kind::Pod, Kind::Secret] {
        let mut w = World::new(Release::Next);
        bare(&mut w, "r");
        match taken {
            Kind::Pod => w.put(Pod { metadata: Meta::named(NS, "r"), ..Pod::default() }),
            _ => w.put(Secret { metadata: Meta::named(NS, "r"), ..Secret::default() }),
        };
        w.sync();
        settle(&mut w, "r");
        w.run("r");
        assert!(!is_gone(&w, "r"), "it may be taken for a moment only");
        w.wait(30);
        settle(&mut w, "r");
        settle(&mut w, "r");
        assert!(is_gone(&w, "r"));
        assert!(w.registered.is_empty());
        let stays = [w.get::<Pod>("r").is_some(), w.get::<Secret>("r").is_some()];
        assert_eq!(stays, [taken == Kind::Pod, taken == Kind::Secret], "what is not ours stays");
    }
}

#[test]
fn a_taken_name_is_looked_up_removed_and_registered_anew() {
    for release in [Release::V0_12_1, Release::V0_14_2, Release::Next] {
        let mut w = World::new(release);
        w.registered.insert(RunnerId(900), ("r".into(), ScaleSetId(1)));
        bare(&mut w, "r");
        settle(&mut w, "r");
        let trace = w.take_trace();
        let service: Vec<&str> = trace.iter().map(String::as_str).filter(|t| t.starts_with('E')).collect();
        assert_eq!(service, ["E14 409", "E16 200", "E17 200", "E14 200"], "{release}");
        assert_eq!(w.pods_made["r"], 1);
    }
}

#[test]
fn a_name_of_another_scale_set_ends_the_runner_from_0_13_0_on() {
    for (release, gone) in [(Release::V0_12_1, false), (Release::V0_13_0, true), (Release::Next, true)] {
        let mut w = World::new(release);
        w.registered.insert(RunnerId(900), ("r".into(), ScaleSetId(2)));
        bare(&mut w, "r");
        for _ in 0..5 {
            w.run("r");
        }
        assert_eq!(is_gone(&w, "r"), gone, "{release}");
        assert_eq!(w.registered.len(), 1, "the other set's registration is not ours to remove");
    }
}

#[test]
fn a_secret_without_a_registration_is_deleted_from_0_13_0_on_unless_it_is_foreign() {
    let mut w = World::new(Release::V0_14_2);
    w.put(Secret { metadata: Meta::named(NS, "r"), ..Secret::default() });
    bare(&mut w, "r");
    settle(&mut w, "r");
    assert_eq!(w.get::<Secret>("r").and_then(|s| jit::runner_id_of(&s)), w.registered.keys().next().copied());
    let mut w = World::new(Release::Next);
    w.put(Secret { metadata: Meta::named(NS, "r"), ..Secret::default() });
    bare(&mut w, "r");
    settle(&mut w, "r");
    assert_eq!(w.runner("r").status.reason, "ForeignSecret");
    assert!(w.get::<Secret>("r").is_some_and(|s| s.data.is_empty()));
}

#[test]
fn a_stale_copy_registers_twice_up_to_0_9_2() {
    let mut w = World::new(Release::V0_9_1);
    bare(&mut w, "r");
    w.run("r");
    let before = w.caches.get::<EphemeralRunner>(&Key::new(NS, "r")).cloned().expect("cached");
    w.run("r");
    let first = w.runner("r").status.runner_id;
    w.caches.of_mut(Kind::EphemeralRunner).insert(before.into());
    assert_eq!(w.run("r"), Outcome::Requeue);
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 1);
    assert!(w.registered.is_empty(), "the pod has the token of {first}, which was removed (Q-DOUBLE-JIT-STALE)");
}

#[test]
fn a_failed_pod_without_a_container_status_is_ignored_up_to_0_13_0() {
    for (release, restarted) in [(Release::V0_13_0, false), (Release::V0_13_1, true), (Release::Next, true)] {
        let mut w = World::new(release);
        bare(&mut w, "r");
        settle(&mut w, "r");
        w.update::<Pod>("r", |p| {
            p.status.phase = PodPhase::Failed;
            p.status.reason = "OutOfcpu".into();
        });
        w.sync();
        w.run("r");
        assert_eq!(w.runner("r").status.failure_count() == 1, restarted, "{release}");
    }
}

fn init_status(name: &str, code: i32) -> ContainerStatus {
    ContainerStatus { name: name.into(), state: exited(code), ..ContainerStatus::default() }
}

#[test]
fn failed_init_containers_count_from_0_14_2_on_and_sidecars_never_should() {
    let run = |release, sidecar: bool| {
        let mut w = up(release);
        w.update::<Pod>("r", |p| {
            let restart_policy = sidecar.then(|| "Always".into());
            let init = arc_api::pod::Container { name: "dind".into(), restart_policy, ..Default::default() };
            Arc::make_mut(&mut p.spec).init_containers = vec![init];
            p.status.init_container_statuses = vec![init_status("dind", 137)];
        });
        w.sync();
        w.run("r");
        w.runner("r").status.failure_count()
    };
    assert_eq!((run(Release::V0_14_1, false), run(Release::V0_14_2, false), run(Release::V0_14_2, true)), (0, 1, 1));
    assert_eq!((run(Release::Next, false), run(Release::Next, true)), (1, 0));
}

#[test]
fn readiness_is_sticky_up_to_0_10_1_and_follows_the_pod_later() {
    for (release, ready) in [(Release::V0_10_1, true), (Release::V0_11_0, false)] {
        let mut w = up(release);
        w.update::<Pod>("r", |p| p.status.conditions[0].status = false);
        w.sync();
        settle(&mut w, "r");
        assert_eq!(w.runner("r").status.ready, ready, "{release}");
    }
}

#[test]
fn without_its_github_secret_a_deleting_runner_is_stuck_and_next_says_why() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut w = up(release);
        w.objects.remove(&(Kind::Secret, Key::new(NS, "gh")));
        delete(&mut w, "r");
        assert!(matches!(w.run("r"), Outcome::Error(_)), "{release}");
        assert_eq!(w.runner("r").status.reason == "DeregistrationBlocked", release == Release::Next);
    }
}

#[test]
fn any_answer_but_204_blocks_a_deletion_and_next_takes_404_for_gone() {
    for (release, stuck) in [(Release::V0_14_2, true), (Release::Next, false)] {
        let mut w = up(release);
        let exception = arc_api::service::Exception::AgentNotFound;
        w.service_error = Some(Arc::new(arc_api::service::ServiceError::new(404, exception, "Runner not found.")));
        delete(&mut w, "r");
        for _ in 0..5 {
            w.run("r");
        }
        assert_eq!(w.get::<EphemeralRunner>("r").is_some(), stuck, "{release}");
    }
}
