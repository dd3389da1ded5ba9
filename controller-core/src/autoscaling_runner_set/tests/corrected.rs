//! What only the corrected controller gets right, and that a crash at any call of a set's life heals.

use super::*;
use crate::set_world::Lost;
use arc_api::core::{Role, RoleBinding, RoleRef, Secret, ServiceAccount, Subject};
use arc_api::meta::labels;
use arc_api::pod::Pod;

#[test]
fn a_runner_set_cache_that_lags_makes_a_second_set_at_0_14_2_and_none_in_next() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut world = World::new(release);
        world.held = vec![Kind::EphemeralRunnerSet];
        let ars = world.ars();
        world.put(ars.into());
        world.run_for(Duration::from_millis(10));
        world.edit(|a| a.status.current_runners = 7);
        world.run_for(Duration::from_millis(10));
        let sets = world.all::<EphemeralRunnerSet>().len();
        assert_eq!(sets > 1, release == Release::V0_14_2, "{release}: {sets}");
        world.release();
        world.run();
        assert_eq!(world.all::<EphemeralRunnerSet>().len(), 1, "{release}");
        assert_eq!(listener(&world).spec.ephemeral_runner_set_name, runner_set(&world).metadata.name);
    }
}

#[test]
fn a_listener_bound_to_a_deleted_runner_set_stays_dangling_up_to_0_14_2() {
    for release in [Release::V0_9_1, Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        let old = runner_set(&world).metadata.key();
        world.delete(Kind::EphemeralRunnerSet, &old).expect("it exists");
        world.run();
        let bound = listener(&world).spec.ephemeral_runner_set_name == runner_set(&world).metadata.name;
        // The name of next is derived: the new set has it again, so the listener is right as it is.
        assert_eq!(bound, release == Release::Next, "{release}");
    }
}

#[test]
fn an_upgrade_across_the_rename_orphans_a_listener_but_not_in_next() {
    for release in [Release::V0_13_1, Release::Next] {
        let mut world = World::installed(Release::V0_13_0);
        let stray = World::installed(Release::V0_14_2);
        world.settings = World::new(release).settings;
        world.settings.version = "0.13.0".into();
        if release == Release::Next {
            // The listener of a release that names it by group and URL.
            let mut al = (*listener(&stray)).clone();
            al.metadata.uid = arc_api::Uid(0);
            world.put(al.into());
        } else {
            world.edit(|a| a.status.current_runners = 1);
        }
        world.run();
        let count = world.all::<AutoscalingListener>().len();
        assert_eq!(count, if release == Release::Next { 1 } else { 2 }, "{release}");
    }
}

#[test]
fn a_new_controller_image_replaces_the_listener_only_in_next() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        world.settings.image = "controller:newer".into();
        world.edit(|a| a.status.failed_ephemeral_runners = 1);
        world.run();
        assert_eq!(listener(&world).spec.image == "controller:newer", release == Release::Next, "{release}");
    }
}

#[test]
fn a_scale_set_lost_at_the_service_is_registered_anew_after_two_denials() {
    let mut world = World::installed(Release::Next);
    let before = listener(&world).spec.runner_scale_set_id;
    world.scale_sets.clear();
    let mut al = (*listener(&world)).clone();
    al.status.restarts = 2;
    al.status.last_restart = Some(world.now);
    let from = world.calls.len();
    world.put(al.into());
    world.run();
    assert_eq!(world.calls_of("ars", from).iter().filter(|l| l.starts_with("E2")).count(), 2);
    let now = *world.scale_sets.keys().next().expect("registered anew");
    assert!(now > before);
    assert_eq!(listener(&world).spec.runner_scale_set_id, now);
    assert_eq!(runner_set(&world).spec.ephemeral_runner_spec.runner_scale_set_id, now);
    assert!(world.set().status.conditions.is_empty(), "{:?}", world.set().status.conditions);
}

#[test]
fn a_terminating_account_of_the_chart_is_made_anew_and_its_runners_are_replaced() {
    let mut world = World::installed(Release::Next);
    let old = runner_set(&world).metadata.uid;
    world.delete(Kind::ServiceAccount, &Key::new("arc-runners", "demo-no-permission")).expect("it exists");
    world.run();
    let account = world.get::<ServiceAccount>("arc-runners", "demo-no-permission").expect("made anew");
    assert!(!account.metadata.is_deleting() && account.metadata.has_finalizer(names::PROTECTION));
    let uid = format!("{}", account.metadata.uid);
    assert_ne!(runner_set(&world).metadata.uid, old);
    assert_eq!(runner_set(&world).metadata.annotation(names::IDENTITY).map(|v| v.as_str()), Some(uid.as_str()));
    assert!(world.set().status.conditions.is_empty());
    uninstall(&mut world);
    world.run();
    assert!(is_clean(&world), "{:?}", world.store.keys());
}

#[test]
fn a_hook_runner_whose_account_is_the_users_and_terminating_offers_no_jobs_and_says_so() {
    let mut world = World::new(Release::Next);
    let mut ars = world.ars();
    let spec = Arc::make_mut(&mut ars.spec);
    let pod = Arc::make_mut(&mut Arc::make_mut(&mut spec.template).spec);
    pod.service_account_name = "own".into();
    let hooks = "ACTIONS_RUNNER_CONTAINER_HOOKS";
    pod.containers[0].env.push(arc_api::pod::EnvVar::value(hooks, "/home/runner/k8s/index.js"));
    let metadata = arc_api::Meta { finalizers: ["keep".into()].into(), ..arc_api::Meta::named("arc-runners", "own") };
    world.put(ServiceAccount { metadata, ..Default::default() }.into());
    world.put(ars.into());
    world.run();
    assert_eq!(listener(&world).spec.max_runners, 3);
    world.delete(Kind::ServiceAccount, &Key::new("arc-runners", "own")).expect("it exists");
    world.run_for(Duration::from_secs(6));
    assert_eq!((listener(&world).spec.max_runners, listener(&world).spec.min_runners), (0, 0));
    let broken = &world.set().status.conditions[0];
    assert_eq!((broken.type_.as_str(), broken.reason.as_str()), ("IdentityBroken", "AccountTerminating"));
}

/// A quiet set: nothing but the account's own events tells it.
#[test]
fn a_quiet_set_whose_account_is_replaced_replaces_its_runners_by_itself() {
    let mut world = World::installed(Release::Next);
    let (old, from) = (runner_set(&world).metadata.uid, world.calls.len());
    let key = Key::new("arc-runners", "demo-no-permission");
    let mut account = (*world.get::<ServiceAccount>(&key.namespace, &key.name).expect("it exists")).clone();
    account.metadata.uid = arc_api::Uid(77);
    world.put(account.into());
    world.run_for(Duration::from_secs(4));
    assert!(world.calls_of("ars", from).is_empty(), "half of a replacement is waited out");
    world.run_for(Duration::from_secs(6));
    let set = runner_set(&world);
    let expect = format!("{}", arc_api::Uid(77));
    assert_eq!(set.metadata.annotation(names::IDENTITY).map(|v| v.as_str()), Some(expect.as_str()));
    assert_ne!(set.metadata.uid, old);
}

/// A set whose release made an account, a role and a binding that its annotations do not name, all of them marked for deletion.
fn with_left_behind(account: &str) -> World {
    let mut world = World::new(Release::Next);
    let helm = || labels([("meta.helm.sh/release-name", "demo"), ("meta.helm.sh/release-namespace", "arc-runners")]);
    let meta = |name: &str| arc_api::Meta {
        finalizers: [Str::from(names::PROTECTION)].into(),
        annotations: helm(),
        ..arc_api::Meta::named("arc-runners", name)
    };
    let subject = Subject { kind: "ServiceAccount".into(), name: "kube-mode".into(), namespace: "arc-runners".into() };
    world.put(ServiceAccount { metadata: meta("kube-mode"), ..Default::default() }.into());
    world.put(Role { metadata: meta("kube-mode"), ..Default::default() }.into());
    let role_ref = RoleRef { kind: "Role".into(), name: "kube-mode".into() };
    world.put(RoleBinding { metadata: meta("kube-mode"), role_ref, subjects: vec![subject] }.into());
    let mut ars = world.ars();
    let mut annotations = (*ars.metadata.annotations).clone();
    annotations.extend(helm().iter().map(|(k, v)| (k.clone(), v.clone())));
    ars.metadata.annotations = annotations.into();
    let template = Arc::make_mut(&mut Arc::make_mut(&mut ars.spec).template);
    Arc::make_mut(&mut template.spec).service_account_name = account.into();
    world.put(ars.into());
    world.run();
    for kind in [Kind::ServiceAccount, Kind::Role, Kind::RoleBinding] {
        world.delete(kind, &Key::new("arc-runners", "kube-mode")).expect("it exists");
    }
    world.edit(|a| a.status.failed_ephemeral_runners = 1);
    world.run();
    world
}

#[test]
fn an_account_that_a_set_names_by_itself_is_made_anew_and_its_rights_stay() {
    let mut world = with_left_behind("kube-mode");
    let account = world.get::<ServiceAccount>("arc-runners", "kube-mode").expect("made anew");
    assert!(!account.metadata.is_deleting() && account.metadata.finalizers.is_empty());
    assert_eq!(account.metadata.owner_references.len(), 1, "goes with its set");
    assert!(world.get::<RoleBinding>("arc-runners", "kube-mode").is_some_and(|b| b.metadata.is_deleting()));
    assert!(world.get::<Role>("arc-runners", "kube-mode").is_some_and(|r| r.metadata.is_deleting()));
    uninstall(&mut world);
    world.run();
    assert!(is_clean(&world), "{:?}", world.store.keys());
}

#[test]
fn what_an_upgrade_left_behind_unused_is_let_go() {
    let mut world = with_left_behind("demo-no-permission");
    for kind in [Kind::ServiceAccount, Kind::Role, Kind::RoleBinding] {
        assert!(!world.store.contains_key(&(kind, Key::new("arc-runners", "kube-mode"))), "{kind}");
    }
    uninstall(&mut world);
    world.run();
    assert!(is_clean(&world), "{:?}", world.store.keys());
}

#[test]
fn missing_credentials_are_an_error_for_ever_and_a_condition_in_next() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut world = World::new(release);
        let secret = world.get::<Secret>("arc-runners", "demo-secret").expect("it exists");
        world.store.remove(&(Kind::Secret, secret.metadata.key()));
        let ars = world.ars();
        world.put(ars.into());
        world.run_for(Duration::from_secs(2));
        let told = world.set().status.conditions.iter().any(|c| c.type_ == "Blocked" && c.reason == "Credentials");
        assert_eq!(told, release == Release::Next, "{release}");
        world.put((*secret).clone().into());
        world.run();
        assert_eq!(listener(&world).spec.max_runners, 3);
        assert!(world.set().status.conditions.is_empty());
    }
}

#[test]
fn prop_an_install_converges_after_a_crash_at_any_call() {
    for release in RELEASES {
        for lost in [Lost::Request, Lost::Reply] {
            for at in 0..calls_of_install(release) {
                let mut world = World::new(release);
                world.crash = Some((at, lost));
                let ars = world.ars();
                world.put(ars.into());
                world.run();
                let what = format!("{release} {lost:?} at {at}: {:#?}", world.calls);
                assert_eq!(world.scale_sets.len(), 1, "{what}");
                assert_eq!(world.all::<EphemeralRunnerSet>().len(), 1, "{what}");
                assert_eq!(listener(&world).spec.ephemeral_runner_set_name, runner_set(&world).metadata.name, "{what}");
                assert_eq!(world.all::<Pod>().len(), 1, "{what}");
            }
        }
    }
}

#[test]
fn prop_a_deletion_of_next_heals_from_a_crash_at_any_call() {
    let quiet = World::installed(Release::Next);
    let mut whole = quiet.clone();
    uninstall(&mut whole);
    whole.run();
    for lost in [Lost::Request, Lost::Reply] {
        for at in 0..whole.calls.len() - quiet.calls.len() {
            let mut world = quiet.clone();
            world.crash = Some((at, lost));
            uninstall(&mut world);
            world.run();
            assert!(is_clean(&world), "{lost:?} at {at}: {:#?}", &world.calls[quiet.calls.len()..]);
        }
    }
}

#[test]
fn prop_an_update_of_next_heals_from_a_crash_at_any_call() {
    let quiet = World::installed(Release::Next);
    let mut whole = quiet.clone();
    change_template(&mut whole);
    for lost in [Lost::Request, Lost::Reply] {
        for at in 0..whole.calls.len() - quiet.calls.len() {
            let mut world = quiet.clone();
            world.crash = Some((at, lost));
            change_template(&mut world);
            let template = &runner_set(&world).spec.ephemeral_runner_spec.template;
            assert_eq!(template.spec.containers[0].image, "runner:2", "{lost:?} at {at}");
            assert_eq!(listener(&world).spec.ephemeral_runner_set_name, runner_set(&world).metadata.name);
        }
    }
}
