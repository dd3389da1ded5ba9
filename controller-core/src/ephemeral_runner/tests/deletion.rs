//! Deleting runners.

use super::*;

#[test]
fn a_busy_runner_that_is_deleted_is_asked_again_after_30_seconds() {
    for release in [Release::V0_9_3, Release::V0_14_2, Release::Next] {
        let mut w = up(release);
        w.busy = w.registered.keys().copied().collect();
        delete(&mut w, "r");
        assert_eq!(w.run("r"), Outcome::After(Duration::from_secs(30)), "{release}");
        assert!(w.get::<Pod>("r").is_some());
    }
}

#[test]
fn a_waiting_deletion_takes_one_thing_per_pass() {
    let mut w = up(Release::V0_10_1);
    delete(&mut w, "r");
    w.take_trace();
    assert_eq!(w.run("r"), Outcome::Settled);
    check_trace(&mut w, &["get secrets gh", "E17 200", ONLY_F1]);
    assert_eq!(w.run("r"), Outcome::Requeue);
    check_trace(&mut w, &["delete pods"]);
    assert_eq!(w.run("r"), Outcome::Requeue);
    assert!(w.take_trace().is_empty(), "the pod is terminating");
    w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
    w.sync();
    assert_eq!(w.run("r"), Outcome::Requeue);
    check_trace(&mut w, &["get secrets", "delete secrets"]);
}

fn hook_objects(w: &mut World) {
    let metadata = || Meta { labels: labels([("runner-pod", "r")]), ..Meta::named(NS, "r-workflow") };
    w.put(Pod { metadata: metadata(), ..Pod::default() });
    w.put(Secret { metadata: metadata(), ..Secret::default() });
    w.update::<EphemeralRunner>("r", |r| {
        let spec = Arc::make_mut(&mut r.spec);
        let pod = Arc::make_mut(&mut Arc::make_mut(&mut spec.template).spec);
        pod.containers[0].env.push(arc_api::pod::EnvVar::value("ACTIONS_RUNNER_CONTAINER_HOOKS", "index.js"));
    });
    w.sync();
}

#[test]
fn what_hooks_left_behind_goes_with_the_runner() {
    for (release, pass_waits) in [(Release::V0_10_1, true), (Release::V0_11_0, false), (Release::Next, false)] {
        let mut w = up(release);
        hook_objects(&mut w);
        delete(&mut w, "r");
        let mut waited = false;
        for _ in 0..12 {
            if w.get::<EphemeralRunner>("r").is_none() {
                break;
            }
            waited |= w.run("r") == Outcome::After(Duration::from_secs(5));
            w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
            w.sync();
        }
        assert_eq!(w.get::<EphemeralRunner>("r"), None, "{release}");
        assert_eq!((w.get::<Pod>("r-workflow"), w.get::<Secret>("r-workflow")), (None, None), "{release}");
        assert_eq!(waited, pass_waits, "{release}");
    }
}

#[test]
fn a_runner_without_its_first_finalizer_is_left_terminating_by_all_but_the_corrected_controller() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut w = up(release);
        w.update::<EphemeralRunner>("r", |r| r.metadata.finalizers = [REGISTRATION_FINALIZER.into()].into());
        delete(&mut w, "r");
        w.take_trace();
        assert_eq!(w.run("r"), Outcome::Settled);
        let corrected = release == Release::Next;
        assert_eq!((w.get::<EphemeralRunner>("r").is_none(), w.registered.is_empty()), (corrected, corrected));
        if !corrected {
            check_trace(&mut w, &[]);
        }
    }
}
