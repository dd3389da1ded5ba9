//! Crashes and lost replies at every call.

use super::*;

/// Crashes the pass of an ordinary life at call `at`: dropped before it, or its reply lost; then everything goes on.
fn crash(release: Release, at: usize, lose: bool) -> World {
    let mut w = World::new(release);
    bare(&mut w, "r");
    if lose {
        w.lose_reply = Some(at);
    }
    let mut crashed = false;
    for round in 0..80 {
        let Some(r) = w.get::<EphemeralRunner>("r") else { break };
        let before = w.calls;
        let limit = if !lose && !crashed { at.saturating_sub(before) } else { usize::MAX };
        let end = w.pass(ErPass::new(Key::new(NS, "r")), limit);
        crashed |= end.is_none();
        if let Some(Outcome::After(wait)) = end {
            w.now = w.now.after(wait);
        }
        w.wait(1);
        let phase = w.get::<Pod>("r").map(|p| p.status.container("runner").map(|c| c.state.clone()));
        match phase {
            Some(None) => w.kubelet("r", waiting("ContainerCreating")),
            Some(Some(ContainerState::Waiting { .. })) => w.kubelet("r", running(w.now)),
            Some(Some(ContainerState::Running { .. })) if round > 12 => {
                w.registered.remove(&r.status.runner_id);
                w.job_started("r");
                w.kubelet("r", exited(0));
            }
            Some(Some(_)) | None => {}
        }
        if r.status.phase == ErPhase::Succeeded && !r.metadata.is_deleting() {
            delete(&mut w, "r");
        }
    }
    w
}

#[test]
fn a_crash_at_any_step_leaves_one_pod_and_a_runner_that_ends() {
    for release in [Release::V0_8_3, Release::V0_9_3, Release::V0_12_1, Release::V0_14_2, Release::Next] {
        let calls = crash(release, usize::MAX, false).calls;
        assert!(calls > 15, "{release} made only {calls} calls");
        for lose in [false, true] {
            for at in 0..=calls {
                let w = crash(release, at, lose);
                let what = format!("{release}, crash at call {at}, reply lost: {lose}\n{:#?}", w.trace);
                assert_eq!(w.get::<EphemeralRunner>("r"), None, "{what}");
                assert_eq!((w.get::<Pod>("r"), w.get::<Secret>("r")), (None, None), "{what}");
                assert_eq!(w.pods_made["r"], 1, "{what}");
                if release == Release::Next {
                    assert!(w.registered.is_empty(), "{what}");
                }
            }
        }
    }
}

#[test]
fn a_runner_deleted_after_any_crash_leaks_no_registration_on_next() {
    for lose in [false, true] {
        for at in 1..14 {
            let mut w = World::new(Release::Next);
            bare(&mut w, "r");
            if lose {
                w.lose_reply = Some(at);
                while w.calls < at {
                    if w.run("r") == Outcome::Settled && w.calls < at && w.get::<Pod>("r").is_some() {
                        break;
                    }
                }
            } else {
                while w.calls < at {
                    let left = at - w.calls;
                    if w.pass(ErPass::new(Key::new(NS, "r")), left).is_some() && w.get::<Pod>("r").is_some() {
                        break;
                    }
                }
            }
            delete(&mut w, "r");
            for _ in 0..3 {
                settle(&mut w, "r");
            }
            assert!(w.registered.is_empty(), "deleted after call {at}, lost {lose}: {:#?}", w.trace);
            assert_eq!(w.get::<EphemeralRunner>("r"), None);
        }
    }
}

/// A runner whose first two pods end with 1, with a crash at call `at`; 10 minutes of it.
fn failing_life(release: Release, at: usize, lose: bool) -> World {
    let mut w = World::new(release);
    bare(&mut w, "r");
    w.lose_reply = lose.then_some(at);
    let mut crashed = lose;
    let mut wake = Time::ZERO;
    for _ in 0..120 {
        let before = w.objects.clone();
        let limit = if crashed { usize::MAX } else { at.saturating_sub(w.calls) };
        let end = w.pass(ErPass::new(Key::new(NS, "r")), limit);
        crashed |= end.is_none();
        if w.objects == before {
            if let Some(Outcome::After(wait)) = end {
                wake = w.now.after(wait);
            }
            w.now = w.now.after(Duration::from_secs(1)).max(wake.min(w.now.after(Duration::from_secs(60))));
        }
        let bad = w.jits_used.len() <= 2;
        match w.get::<Pod>("r").map(|p| p.status.container("runner").map(|c| c.state.clone())) {
            Some(None) => w.kubelet("r", running(w.now)),
            Some(Some(ContainerState::Running { .. })) if bad => w.kubelet("r", exited(1)),
            Some(Some(_)) | None => {}
        }
    }
    w
}

#[test]
fn a_registration_is_given_to_one_pod_only_whatever_crashes_on_next() {
    let calls = failing_life(Release::Next, usize::MAX, false).calls;
    for lose in [false, true] {
        for at in 0..=calls.min(60) {
            let w = failing_life(Release::Next, at, lose);
            let what = format!("crash at call {at}, reply lost: {lose}\n{:#?}", w.trace);
            let distinct: std::collections::BTreeSet<_> = w.jits_used.iter().collect();
            assert_eq!(distinct.len(), w.jits_used.len(), "{what}");
            assert_eq!(w.registered.len(), 1, "{what}");
            assert_eq!(w.runner("r").status.phase, ErPhase::Running, "{what}");
            assert_eq!(w.registered.keys().next(), Some(&w.runner("r").status.runner_id), "{what}");
        }
    }
    let reused = failing_life(Release::V0_14_2, usize::MAX, false).jits_used;
    assert_eq!(reused.len(), 3);
    assert_eq!(reused[0], reused[2], "releases start every pod with the same configuration");
}

#[test]
fn the_pod_of_a_successor_is_not_deleted_through_a_stale_copy() {
    let mut w = up(Release::Next);
    w.kubelet("r", exited(1));
    let stale = w.caches.get::<Pod>(&Key::new(NS, "r")).cloned().expect("cached");
    settle(&mut w, "r");
    w.wait(6);
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 2);
    w.caches.of_mut(Kind::Pod).insert(stale.into());
    w.run("r");
    assert!(w.get::<Pod>("r").is_some_and(|p| !p.metadata.is_deleting()));
    assert_eq!(w.registered.len(), 1);
}

#[test]
fn a_registration_without_a_secret_leaks_in_releases_when_the_runner_is_deleted() {
    let mut w = World::new(Release::V0_14_2);
    bare(&mut w, "r");
    // Finalizers, secret 404, GitHub secret, E14: dropped before the secret is created.
    assert_eq!(w.pass(ErPass::new(Key::new(NS, "r")), 4), None);
    assert_eq!(w.registered.len(), 1);
    delete(&mut w, "r");
    settle(&mut w, "r");
    assert_eq!(w.registered.len(), 1, "id 0 was removed instead (Q-JIT-LEAK)");
}

#[test]
fn a_pod_of_a_former_runner_of_the_same_name_is_not_ours() {
    let mut w = World::new(Release::Next);
    let stranger = Meta { uid: Uid(4711), ..Meta::named(NS, "r") };
    let owner_references = [OwnerRef::controller(Kind::EphemeralRunner, &stranger)].into();
    w.put(Pod { metadata: Meta { owner_references, ..Meta::named(NS, "r") }, ..Pod::default() });
    bare(&mut w, "r");
    assert_eq!(settle(&mut w, "r"), Outcome::After(Duration::from_secs(30)));
    w.objects.remove(&(Kind::Pod, Key::new(NS, "r")));
    w.sync();
    settle(&mut w, "r");
    assert_eq!(w.pods_made["r"], 1);
}
