//! What only the corrected controller does.

use super::*;
use crate::call::{Call, Transport};
use arc_api::kube::KubeRequest;

#[test]
fn a_runner_that_exits_0_without_a_job_is_a_failure_and_gets_a_new_registration() {
    let mut w = up(Release::Next);
    let first = w.runner("r").status.runner_id;
    w.kubelet("r", exited(0));
    let Outcome::After(wait) = settle(&mut w, "r") else { panic!("a wait") };
    assert!(wait <= Duration::from_secs(5) && w.get::<Pod>("r").is_none());
    assert_eq!((w.runner("r").status.reason.as_str(), w.runner("r").status.phase), ("NoJobServed", ErPhase::Empty));
    assert!(w.registered.is_empty());
    w.now = w.now.after(wait);
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 2);
    assert_ne!(w.runner("r").status.runner_id, first);
    assert_eq!(w.registered.keys().copied().collect::<Vec<_>>(), [w.runner("r").status.runner_id]);
}

#[test]
fn no_second_pod_is_ever_made_for_a_runner_whose_job_nobody_reported() {
    let mut w = up(Release::Next);
    w.busy = w.registered.keys().copied().collect();
    w.kubelet("r", exited(1));
    settle(&mut w, "r");
    assert!(is_gone(&w, "r"));
    assert_eq!(w.pods_made["r"], 1);
}

#[test]
fn a_pod_that_vanished_unseen_takes_its_registration_along() {
    for (release, same) in [(Release::V0_14_2, true), (Release::Next, false)] {
        let mut w = up(release);
        let first = w.runner("r").status.runner_id;
        w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
        w.sync();
        settle(&mut w, "r");
        assert_eq!(w.pods_made["r"], 2, "{release}");
        assert_eq!(w.runner("r").status.runner_id == first, same, "{release}");
        assert_eq!(w.registered.len(), 1, "{release}");
    }
}

#[test]
fn a_pod_that_nobody_ever_saw_takes_its_registration_along() {
    let mut w = World::new(Release::Next);
    bare(&mut w, "r");
    while w.get::<Pod>("r").is_none() {
        w.run("r");
    }
    let first = w.runner("r").status.runner_id;
    w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
    w.sync();
    settle(&mut w, "r");
    assert_eq!((w.pods_made["r"], w.registered.len()), (2, 1));
    assert_ne!(w.runner("r").status.runner_id, first);
}

#[test]
fn a_runner_whose_job_is_known_ends_with_its_pod_even_if_nobody_saw_it_end() {
    for (release, again) in [(Release::V0_14_2, true), (Release::Next, false)] {
        let mut w = up(release);
        w.job_started("r");
        w.registered.clear();
        w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
        w.sync();
        settle(&mut w, "r");
        assert_eq!(w.pods_made["r"] == 2, again, "{release}");
        assert_eq!(is_gone(&w, "r"), !again, "{release}");
        assert!(w.registered.is_empty(), "{release}");
    }
}

#[test]
fn a_runner_that_is_over_is_not_registered_because_a_cache_shows_it() {
    for (release, registered) in [(Release::V0_14_2, 1), (Release::Next, 0)] {
        let mut w = up(release);
        w.registered.clear();
        for kind in [Kind::Secret, Kind::Pod, Kind::EphemeralRunner] {
            if kind == Kind::EphemeralRunner {
                w.sync();
            }
            w.objects.remove(&(kind, Key::new(NS, "r")));
        }
        w.run("r");
        assert_eq!(w.registered.len(), registered, "{release}");
    }
}

#[test]
fn a_live_runner_keeps_its_registration_when_its_secret_is_deleted() {
    for (release, kept) in [(Release::V0_14_2, false), (Release::Next, true)] {
        let mut w = up(release);
        let first = w.runner("r").status.runner_id;
        w.objects.remove(&(Kind::Secret, Key::new(NS, "r")));
        settle(&mut w, "r");
        assert_eq!(w.registered.contains_key(&first), kept, "{release}");
        delete(&mut w, "r");
        settle(&mut w, "r");
        assert_eq!(w.registered.is_empty(), kept, "{release} leaks");
    }
}

#[test]
fn a_pod_that_stays_terminating_on_a_dead_node_costs_its_runner() {
    let mut w = up(Release::Next);
    let now = w.now;
    w.update::<Pod>("r", |p| p.metadata.deletion_timestamp = Some(now));
    w.sync();
    assert_eq!(settle(&mut w, "r"), Outcome::After(Duration::from_secs(90)));
    w.wait(90);
    settle(&mut w, "r");
    assert!(is_gone(&w, "r"));
}

#[test]
fn an_idle_runner_without_a_registration_is_found_within_minutes() {
    let mut w = up(Release::Next);
    let Outcome::After(wait) = settle(&mut w, "r") else { panic!("a check") };
    assert_eq!(wait, Duration::from_secs(180));
    w.registered.clear();
    w.now = w.now.after(wait);
    assert_eq!(w.run("r"), Outcome::After(Duration::from_secs(30)), "one 404 proves nothing");
    assert_eq!(w.pods_made["r"], 1);
    w.wait(10);
    settle(&mut w, "r");
    assert_eq!(w.runner("r").status.failure_count(), 0, "its own write does not confirm anything");
    w.wait(20);
    settle(&mut w, "r");
    assert_eq!(w.runner("r").status.failure_count(), 1);
    w.wait(6);
    w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
    w.sync();
    settle(&mut w, "r");
    assert_eq!((w.pods_made["r"], w.registered.len()), (2, 1));
}

#[test]
fn an_outage_does_not_make_an_idle_runner_look_unregistered() {
    let mut w = up(Release::Next);
    w.wait(180);
    w.service_error =
        Some(Arc::new(arc_api::service::ServiceError::new(500, arc_api::service::Exception::None, "outage")));
    for _ in 0..10 {
        let Outcome::After(wait) = w.run("r") else { panic!("a wait") };
        w.now = w.now.after(wait);
    }
    assert_eq!((w.runner("r").status.failure_count(), w.pods_made["r"]), (0, 1));
}

#[test]
fn a_refused_version_is_reported_and_the_runner_replaced_with_its_waits() {
    let mut w = up(Release::Next);
    w.kubelet("r", exited(7));
    assert!(matches!(settle(&mut w, "r"), Outcome::After(_)));
    let r = w.runner("r");
    assert!(r.status.conditions.iter().any(|c| c.type_ == OUTDATED && c.status));
    assert_eq!(r.status.phase, ErPhase::Empty);
}

#[test]
fn a_pod_that_does_not_start_is_told_of_after_three_minutes_and_until_it_does() {
    for (release, told) in [(Release::V0_14_2, ""), (Release::Next, NOT_STARTING)] {
        let mut w = World::new(release);
        bare(&mut w, "r");
        settle(&mut w, "r");
        let change = |w: &mut World, f: &dyn Fn(&mut Pod)| {
            let mut pod = w.get::<Pod>("r").expect("it was made").as_ref().clone();
            f(&mut pod);
            w.put(pod);
            w.sync();
        };
        change(&mut w, &|p| {
            p.node_name = Some("n1".into());
            let state = ContainerState::Running { started_at: Time(0) };
            let dind = ContainerStatus { name: "dind".into(), state, ..ContainerStatus::default() };
            p.status.init_container_statuses = vec![dind];
            let state = ContainerState::Waiting { reason: "PodInitializing".into(), message: "".into() };
            p.status.container_statuses =
                vec![ContainerStatus { name: "runner".into(), state, ..ContainerStatus::default() }];
        });
        w.wait(100);
        let outcome = settle(&mut w, "r");
        assert_eq!(w.runner("r").status.reason, "", "{release}");
        assert_eq!(matches!(outcome, Outcome::After(_)), release == Release::Next, "{release}: {outcome:?}");
        w.wait(100);
        settle(&mut w, "r");
        let message = if told.is_empty() { "" } else { "init container dind does not end" };
        let status = w.runner("r").status.clone();
        assert_eq!((status.reason.as_str(), status.message.as_str()), (told, message), "{release}");
        change(&mut w, &|p| p.status.phase = PodPhase::Running);
        settle(&mut w, "r");
        assert_eq!(w.runner("r").status.reason, "", "{release}");
    }
}

/// The runner is deleted by another manager while this one registers it; its own asks for the registration too early.
#[test]
fn a_registration_that_comes_after_the_runner_was_taken_down_is_removed_by_who_made_it() {
    for (release, left) in [(Release::V0_14_2, 1), (Release::Next, 0)] {
        for vanished in [false, true] {
            let mut w = World::new(release);
            bare(&mut w, "r");
            w.run("r");
            w.registered.clear();
            for kind in [Kind::Secret, Kind::Pod] {
                w.objects.remove(&(kind, Key::new(NS, "r")));
            }
            w.update::<EphemeralRunner>("r", |r| {
                r.status.runner_id = RunnerId(0);
                r.status.phase = ErPhase::Empty;
            });
            w.sync();
            let (mut pass, mut reply) = (ErPass::new(Key::new(NS, "r")), None);
            let caches = w.caches.clone();
            loop {
                let settings = w.settings.clone();
                let mut o = Observed { settings: &settings, caches: &caches, now: w.now, reply, log: &mut w.log };
                let Decision::Call(call) = pass.step(&mut o) else { break };
                reply = Some(w.execute(&call));
                if w.registered.len() == 1 && vanished {
                    w.objects.remove(&(Kind::EphemeralRunner, Key::new(NS, "r")));
                } else if w.registered.len() == 1 {
                    delete(&mut w, "r");
                }
            }
            assert_eq!(w.registered.len(), left, "{release}, vanished {vanished}: {:#?}", w.trace);
        }
    }
}

/// Another manager takes the runner down while this one registers it, and this one's writes get no answer.
#[test]
fn a_registration_that_could_not_be_written_down_goes_if_nobody_will_use_it() {
    enum Meanwhile {
        Nothing,
        Gone,
        Deleting,
        AnothersSecret,
    }
    use Meanwhile::{AnothersSecret, Deleting, Gone, Nothing};
    // What happens while this manager registers; which writes get no answer, how many reads after that; what is left.
    let cases = [
        (Nothing, Kind::Secret, 0, 1, 1),
        (Nothing, Kind::EphemeralRunner, 0, 1, 1),
        (Gone, Kind::Secret, 0, 0, 1),
        (Gone, Kind::Secret, 4, 0, 1),
        (Gone, Kind::Secret, 5, 1, 1),
        (Gone, Kind::EphemeralRunner, 0, 0, 1),
        (Deleting, Kind::Secret, 0, 0, 1),
        (Deleting, Kind::EphemeralRunner, 1, 0, 1),
        (AnothersSecret, Kind::Secret, 0, 0, 1),
        (AnothersSecret, Kind::Secret, 4, 0, 1),
    ];
    for (n, (meanwhile, unanswered, reads, next, tagged)) in cases.into_iter().enumerate() {
        for (release, left) in [(Release::V0_14_2, tagged), (Release::Next, next)] {
            let mut w = World::new(release);
            bare(&mut w, "r");
            w.update::<EphemeralRunner>("r", |r| {
                r.metadata.finalizers = [FINALIZER, REGISTRATION_FINALIZER].map(Str::from).into()
            });
            w.sync();
            let (mut pass, mut reply, mut lost) = (ErPass::new(Key::new(NS, "r")), None, None);
            let caches = w.caches.clone();
            let end = loop {
                let settings = w.settings.clone();
                let mut o = Observed { settings: &settings, caches: &caches, now: w.now, reply, log: &mut w.log };
                let call = match pass.step(&mut o) {
                    Decision::Call(call) => call,
                    Decision::End(outcome) => break outcome,
                };
                let mut answer = w.execute(&call);
                let is_write = match &call {
                    Call::Kube(KubeRequest::Create(object)) => object.kind() == unanswered,
                    Call::Kube(KubeRequest::Patch { kind, .. }) => *kind == unanswered,
                    _ => false,
                };
                let is_read =
                    matches!(call, Call::Kube(KubeRequest::Get { kind: Kind::Secret | Kind::EphemeralRunner, .. }));
                if is_write || lost.is_some_and(|n| is_read && n < reads) {
                    lost = Some(lost.map_or(0, |n| n + 1));
                    answer = Reply::Kube(Err(CallError::Transport(Transport::Reset)));
                }
                if matches!(&call, Call::Service(s) if matches!(s.op, Op::GenerateJitConfig { .. })) {
                    match meanwhile {
                        Nothing => {}
                        Gone => drop(w.objects.remove(&(Kind::EphemeralRunner, Key::new(NS, "r")))),
                        Deleting => delete(&mut w, "r"),
                        AnothersSecret => {
                            let data = labels([("jitToken", "9"), ("runnerId", "999")]);
                            w.put(Secret { metadata: Meta::named(NS, "r"), data, ..Secret::default() });
                        }
                    }
                }
                reply = Some(answer);
            };
            assert!(matches!(end, Outcome::Error(_)), "{release}, case {n}: {end:?}");
            assert_eq!(w.registered.len(), left, "{release}, case {n}: {:#?}", w.trace);
        }
    }
}

/// Two managers registered it one after the other, and the secret names the registration that is gone already.
#[test]
fn a_runner_deleted_before_it_has_a_pod_takes_along_what_bears_its_name() {
    for (release, left) in [(Release::V0_14_2, 1), (Release::Next, 0)] {
        let mut w = World::new(release);
        bare(&mut w, "r");
        w.run("r");
        let known = *w.registered.keys().next().expect("a registration");
        w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
        w.update::<EphemeralRunner>("r", |r| r.status.runner_id = known);
        let one = w.registered.remove(&known).expect("the registration");
        w.registered.insert(RunnerId(known.0 + 1000), one);
        delete(&mut w, "r");
        w.sync();
        settle(&mut w, "r");
        assert!(is_gone(&w, "r"), "{release}");
        assert_eq!(w.registered.len(), left, "{release}: {:#?}", w.trace);
    }
}
