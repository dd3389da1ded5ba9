//! The set's passes, step by step and through whole lives, release by release. Sequences are those recorded in golden/arc.

mod corrected;

use super::*;
use crate::reconcile::UpdateStrategy;
use crate::set_world::{World, ars_key, timeout};
use crate::{Behaviour, Release};
use arc_api::kube::Status;
use arc_api::{ScaleSetId, Time};

const RELEASES: [Release; 5] = [Release::V0_8_3, Release::V0_9_1, Release::V0_12_1, Release::V0_14_2, Release::Next];

fn listener(world: &World) -> Arc<AutoscalingListener> {
    let all = world.all::<AutoscalingListener>();
    assert_eq!(all.len(), 1, "{:#?}", world.calls);
    Arc::clone(&all[0])
}

fn runner_set(world: &World) -> Arc<EphemeralRunnerSet> {
    let all = world.all::<EphemeralRunnerSet>();
    assert_eq!(all.len(), 1, "{:#?}", world.calls);
    Arc::clone(&all[0])
}

fn change_template(world: &mut World) {
    world.edit(|a| {
        let spec = Arc::make_mut(&mut a.spec);
        let pod = Arc::make_mut(&mut Arc::make_mut(&mut spec.template).spec);
        pod.containers[0].image = "runner:2".into();
    });
    world.run();
}

/// Hashes and generated names are not upstream's: they are blanked for comparison.
fn blank(lines: Vec<String>) -> Vec<String> {
    let blank_hash = |line: String| match line.split_once("change-hash\":\"") {
        Some((head, tail)) => format!("{head}change-hash\":\"*{}", &tail[tail.find('"').unwrap_or(0)..]),
        None => line,
    };
    lines.into_iter().map(blank_hash).collect()
}

#[track_caller]
fn check(lines: Vec<String>, expect: &[&str]) {
    assert_eq!(blank(lines), expect);
}

fn working(world: &mut World, count: i32) {
    let mut set = (*runner_set(world)).clone();
    set.status = ErsStatus { current_replicas: count, running_ephemeral_runners: count, ..ErsStatus::default() };
    set.spec.replicas = count;
    set.spec.patch_id = 7;
    world.put(set.into());
    world.run();
}

/// Helm deletes everything of the release at once.
fn uninstall(world: &mut World) {
    let marked: Vec<(Kind, Key)> = world.store.keys().filter(|(_, k)| k.namespace == "arc-runners").cloned().collect();
    for (kind, key) in marked {
        let by_chart = matches!(kind, Kind::AutoscalingRunnerSet | Kind::Secret | Kind::ServiceAccount)
            || matches!(kind, Kind::Role | Kind::RoleBinding) && key.name == "demo-manager";
        if by_chart {
            world.delete(kind, &key).expect("it exists");
        }
    }
}

fn is_clean(world: &World) -> bool {
    world.scale_sets.is_empty() && world.store.is_empty()
}

fn calls_of_install(release: Release) -> usize {
    World::installed(release).calls.len()
}

#[test]
fn an_install_at_0_14_2_is_the_recorded_one() {
    let world = World::installed(Release::V0_14_2);
    check(
        world.calls_of("ars", 0),
        &[
            r#"patch autoscalingrunnersets demo {"metadata":{"finalizers":["autoscalingrunnerset.actions.github.com/finalizer"]}}"#,
            r#"patch autoscalingrunnersets demo {"metadata":{"annotations":{"actions.github.com/change-hash":"*"}}}"#,
            r#"patch autoscalingrunnersets/status demo {"status":{"phase":"Pending"}}"#,
            "get secrets demo-secret",
            "E1",
            "E3",
            &format!(
                r#"patch autoscalingrunnersets demo {{"metadata":{{"annotations":{{"actions.github.com/runner-group-name":"Default","actions.github.com/runner-scale-set-name":"demo","runner-scale-set-id":"{}"}},"labels":{{"actions.github.com/organization":"my-org"}}}}}}"#,
                world.scale_sets.keys().next().expect("registered")
            ),
            r#"patch autoscalingrunnersets demo {"metadata":{"annotations":{"actions.github.com/change-hash":"*"}}}"#,
            "create ephemeralrunnersets demo-*",
            "create autoscalinglisteners demo-65b9b494-listener",
            r#"patch autoscalingrunnersets/status demo {"status":{"phase":"Running"}}"#,
        ],
    );
}

#[test]
fn an_install_reads_the_secret_in_every_pass_up_to_0_11_0_and_writes_no_phase_up_to_0_13_1() {
    for (release, secrets) in [(Release::V0_8_3, true), (Release::V0_9_1, true), (Release::V0_12_1, false)] {
        let world = World::installed(release);
        let lines = world.calls_of("ars", 0);
        let brief: Vec<&str> = lines.iter().map(|l| l.split('{').next().unwrap_or_default().trim()).collect();
        let mut expect = vec!["patch autoscalingrunnersets demo", "get secrets demo-secret", "E1", "E3"];
        expect.push("patch autoscalingrunnersets demo");
        for made in ["create ephemeralrunnersets demo-*", "create autoscalinglisteners demo-754b578d-listener"] {
            expect.extend(secrets.then_some("get secrets demo-secret"));
            expect.push(made);
        }
        assert_eq!(brief[..expect.len()], expect, "{release}");
        assert!(brief[expect.len()..].iter().all(|l| *l == "get secrets demo-secret"), "{release}: {brief:?}");
    }
}

#[test]
fn hashes_and_the_scale_sets_name_moved_from_labels_to_annotations_at_0_9_0() {
    let old = World::installed(Release::V0_8_3);
    assert!(runner_set(&old).metadata.label("runner-spec-hash").is_some());
    assert_eq!(runner_set(&old).metadata.annotations.len(), 1);
    assert!(old.set().metadata.annotation("runner-scale-set-name").is_some());
    assert!(listener(&old).metadata.annotations.is_empty());
    let new = World::installed(Release::V0_9_0);
    assert!(runner_set(&new).metadata.annotation("actions.github.com/runner-spec-hash").is_some());
    assert!(new.set().metadata.annotation("actions.github.com/runner-scale-set-name").is_some());
    assert_eq!(listener(&new).metadata.annotation(names::VALUES_HASH).map(|v| v.as_str()), Some("v1"));
}

#[test]
fn labels_are_handed_down_from_0_9_2_on() {
    for (release, all) in [(Release::V0_9_1, false), (Release::V0_9_2, true)] {
        let world = World::installed(release);
        for meta in [&runner_set(&world).metadata, &listener(&world).metadata] {
            assert_eq!(meta.label("helm.sh/chart").is_some(), all, "{release}");
            assert_eq!(meta.label("actions.github.com/organization").map(|v| v.as_str()), Some("my-org"));
            assert_eq!(meta.label("app.kubernetes.io/part-of").map(|v| v.as_str()), Some("gha-runner-scale-set"));
        }
    }
}

#[test]
fn a_set_of_another_version_is_deleted_before_it_gets_a_finalizer() {
    for (release, label, kept) in [
        (Release::V0_9_1, "0.9.0", false),
        (Release::V0_12_1, "0.12.0", true),
        (Release::V0_14_2, "0.13.1", false),
        (Release::Next, "0.13.1", true),
    ] {
        let mut world = World::new(release);
        let mut ars = world.ars();
        ars.metadata.labels = arc_api::meta::labels([("app.kubernetes.io/version", label)]);
        world.put(ars.into());
        world.run();
        let set = world.get::<AutoscalingRunnerSet>("arc-runners", "demo");
        assert_eq!(set.is_some(), kept, "{release}");
        if !kept {
            assert_eq!(world.calls, ["ars delete autoscalingrunnersets demo"]);
            let line = "Autoscaling runner set version doesn't match the build version. Deleting the resource.";
            assert_eq!(world.log[0].message, line);
        }
        let skewed = set.is_some_and(|s| s.status.conditions.iter().any(|c| c.type_ == "VersionSkew"));
        assert_eq!(skewed, release == Release::Next, "{release}");
    }
}

#[test]
fn a_set_that_vanishes_before_its_finalizer_is_an_error_once_and_quiet_in_next() {
    for release in [Release::V0_9_1, Release::V0_14_2, Release::Next] {
        let mut world = World::new(release);
        let ars = world.ars();
        world.put(ars.into());
        world.store.remove(&(Kind::AutoscalingRunnerSet, ars_key()));
        let mut pass = ArsPass::new(ars_key());
        let mut step = |reply| {
            pass.step(&mut Observed {
                settings: &world.settings,
                caches: &world.caches,
                now: Time::ZERO,
                reply,
                log: &mut world.log,
            })
        };
        assert!(matches!(step(None), Decision::Call(_)));
        let gone = CallError::Api(Arc::new(Status::not_found(Kind::AutoscalingRunnerSet, "demo")));
        let end = step(Some(crate::call::Reply::Kube(Err(gone))));
        assert_eq!(world.log[0].message, "Adding finalizer");
        if release == Release::Next {
            assert_eq!(end, Decision::End(Outcome::Settled));
            continue;
        }
        let text = "autoscalingrunnersets.actions.github.com \"demo\" not found";
        assert_eq!(end, Decision::End(Outcome::Error(text.into())));
        assert_eq!(world.log[1].message, "Failed to update autoscaling runner set with finalizer added");
        assert_eq!(world.log[1].detail, text);
    }
}

#[test]
fn a_change_of_limits_replaces_only_the_listener() {
    for release in RELEASES {
        let mut world = World::installed(release);
        let (before, set) = (listener(&world), runner_set(&world).metadata.uid);
        world.edit(|a| Arc::make_mut(&mut a.spec).max_runners = Some(9));
        world.run();
        let after = listener(&world);
        assert_ne!(after.metadata.uid, before.metadata.uid, "{release}");
        assert_eq!(after.spec.max_runners, 9);
        assert_eq!(runner_set(&world).metadata.uid, set, "{release}");
    }
}

#[test]
fn a_template_change_makes_a_new_runner_set_then_deletes_the_old_one_then_makes_the_listener() {
    for release in RELEASES {
        let mut world = World::installed(release);
        let (from, old) = (world.calls.len(), runner_set(&world).metadata.name.clone());
        change_template(&mut world);
        assert_ne!(runner_set(&world).metadata.name, old, "{release}");
        assert_eq!(listener(&world).spec.ephemeral_runner_set_name, runner_set(&world).metadata.name, "{release}");
        let order: Vec<String> = world
            .calls_of("ars", from)
            .into_iter()
            .filter(|l| l.starts_with("create") || l.starts_with("delete"))
            .map(|l| l.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
            .collect();
        let (first, last) = (&order[0], &order[order.len() - 3..]);
        assert_eq!(first, "delete autoscalinglisteners", "{release}");
        assert_eq!(
            last,
            ["create ephemeralrunnersets", "delete ephemeralrunnersets", "create autoscalinglisteners"],
            "{release}"
        );
    }
}

#[test]
fn eventual_drains_before_it_replaces_and_0_9_0_forgets_the_id() {
    for (release, patch) in [
        (Release::V0_9_0, r#"{"spec":{"replicas":null}}"#),
        (Release::V0_14_2, r#"{"spec":{"patchID":0,"replicas":null}}"#),
        (Release::Next, r#"{"spec":{"patchID":0,"replicas":null}}"#),
    ] {
        let mut world = World::installed(release);
        world.settings.update_strategy = UpdateStrategy::Eventual;
        working(&mut world, 1);
        let (from, old) = (world.calls.len(), runner_set(&world).metadata.name.clone());
        change_template(&mut world);
        let drained = format!("patch ephemeralrunnersets {old} {patch}");
        assert!(world.calls_of("ars", from).contains(&drained), "{release}: {:#?}", &world.calls[from..]);
        assert_eq!(runner_set(&world).metadata.name, old);
        working(&mut world, 0);
        assert_ne!(runner_set(&world).metadata.name, old, "{release}");
        assert_eq!(listener(&world).spec.ephemeral_runner_set_name, runner_set(&world).metadata.name);
    }
}

#[test]
fn eventual_leaves_a_set_without_listener_after_a_change_that_drains_nothing_but_next_does_not() {
    for release in [Release::V0_9_1, Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        world.settings.update_strategy = UpdateStrategy::Eventual;
        working(&mut world, 1);
        world.edit(|a| Arc::make_mut(&mut a.spec).max_runners = Some(9));
        world.run();
        let listeners = world.all::<AutoscalingListener>().len();
        assert_eq!(listeners, usize::from(release == Release::Next), "{release}");
    }
}

#[test]
fn counters_follow_the_total_only_and_every_change_in_next() {
    for release in [Release::V0_12_1, Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        working(&mut world, 2);
        assert_eq!(world.set().status.current_runners, 2);
        let mut set = (*runner_set(&world)).clone();
        set.status.running_ephemeral_runners = 1;
        set.status.pending_ephemeral_runners = 1;
        world.put(set.into());
        world.run();
        let stale = if release == Release::Next { 1 } else { 0 };
        assert_eq!(world.set().status.pending_ephemeral_runners, stale, "{release}");
    }
}

#[test]
fn one_outdated_runner_set_takes_the_whole_scale_set_down_until_the_spec_changes() {
    let mut world = World::installed(Release::V0_14_2);
    let mut set = (*runner_set(&world)).clone();
    set.status.phase = ErsPhase::Outdated;
    world.put(set.into());
    world.run();
    assert!(world.scale_sets.is_empty() && world.all::<EphemeralRunnerSet>().is_empty());
    assert_eq!(world.set().status.phase, ArsPhase::Outdated);
    assert_eq!(world.set().metadata.annotation(names::SCALE_SET_ID), None);
    world.edit(|a| Arc::make_mut(&mut a.spec).max_runners = Some(4));
    world.run();
    assert_eq!(world.set().status.phase, ArsPhase::Running);
    assert_eq!((world.scale_sets.len(), world.all::<AutoscalingListener>().len()), (1, 1));
}

#[test]
fn what_a_lost_manager_registered_goes_with_the_set() {
    for (release, left) in [(Release::V0_14_2, 1), (Release::Next, 0)] {
        let mut world = World::installed(release);
        // The manager ended between the registration and the write of its id.
        world.edit(|a| {
            Arc::make_mut(&mut a.metadata.annotations).remove(names::SCALE_SET_ID);
            a.metadata.deletion_timestamp = Some(a.metadata.creation_timestamp);
        });
        world.run();
        assert!(world.all::<AutoscalingRunnerSet>().is_empty(), "{release}");
        assert_eq!(world.scale_sets.len(), left, "{release}");
    }
}

#[test]
fn an_uninstall_leaves_nothing_and_goes_in_the_recorded_order() {
    for release in Release::ALL {
        let mut world = World::installed(*release);
        let from = world.calls.len();
        uninstall(&mut world);
        world.run();
        // The mirror is the garbage collector's.
        world.store.retain(|(kind, key), _| !(*kind == Kind::Secret && key.name.ends_with("-listener")));
        assert!(is_clean(&world), "{release}: {:#?}", world.store.keys());
        let ars = world.calls_of("ars", from);
        let first =
            |text: &str| ars.iter().position(|l| l.starts_with(text)).unwrap_or_else(|| panic!("{text}: {ars:#?}"));
        let forgotten = ars.iter().position(|l| l.contains(r#""runner-scale-set-id":null"#)).unwrap_or_default();
        let order = [
            first("delete autoscalinglisteners"),
            first("delete ephemeralrunnersets"),
            first("E5"),
            forgotten,
            first("patch serviceaccounts demo-no-permission"),
            first("patch secrets demo-secret"),
            first("patch rolebindings demo-manager"),
            first("patch roles demo-manager"),
            first(r#"patch autoscalingrunnersets demo {"metadata":{"finalizers":null}}"#),
        ];
        assert!(order.is_sorted(), "{release}: {ars:#?}");
    }
}

#[test]
fn protection_goes_one_object_a_pass_up_to_0_9_2() {
    for (release, gets) in [(Release::V0_9_2, true), (Release::V0_9_3, false)] {
        let mut world = World::installed(release);
        let from = world.calls.len();
        uninstall(&mut world);
        world.run();
        let ars = world.calls_of("ars", from);
        let at = ars.iter().position(|l| l.starts_with("patch secrets demo-secret")).expect("let go");
        assert_eq!(ars[at + 1].starts_with("get secrets demo-secret"), gets, "{release}: {ars:#?}");
    }
}

#[test]
fn a_scale_set_that_is_gone_already_blocks_the_deletion_for_ever_but_not_in_next() {
    for release in [Release::V0_9_1, Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        world.scale_sets.clear();
        uninstall(&mut world);
        world.run();
        let gone = world.get::<AutoscalingRunnerSet>("arc-runners", "demo").is_none();
        assert_eq!(gone, release == Release::Next, "{release}");
        if !gone {
            let said: Vec<&str> = world.log.iter().map(|l| l.message).collect();
            assert!(said.contains(&"Failed to delete runner scale set"));
            assert!(said.contains(&"Failed to clean up resources during deletion"));
        }
    }
}

#[test]
fn a_lost_reply_of_any_kind_ends_the_pass_with_an_error_and_nothing_else() {
    for text in ["create ephemeralrunnersets", "create autoscalinglisteners", "E1", "E3", "get secrets demo-secret"] {
        let mut world = World::new(Release::V0_14_2);
        world.refuse = Some((text, timeout()));
        let ars = world.ars();
        world.put(ars.into());
        world.run_for(Duration::from_millis(50));
        world.refuse = None;
        world.run();
        assert_eq!((world.scale_sets.len(), world.all::<AutoscalingListener>().len()), (1, 1), "{text}");
    }
}

#[test]
fn ties_of_creation_are_broken_the_same_way_for_the_same_history() {
    let mut world = World::installed(Release::V0_14_2);
    let one = runner_set(&world);
    let mut two = (*one).clone();
    two.metadata.name = "demo-other".into();
    let (one, two) = (one, Arc::new(two));
    let mut winners = std::collections::BTreeSet::new();
    for _ in 0..20 {
        world.edit(|a| a.status.failed_ephemeral_runners += 1);
        let ars = world.set();
        let pick = |sets: [&Arc<EphemeralRunnerSet>; 2]| {
            build::latest(&ars, sets.into_iter(), &world.settings).map(|s| s.metadata.name.clone())
        };
        assert_eq!(pick([&one, &two]), pick([&two, &one]));
        winners.insert(pick([&one, &two]));
    }
    assert_eq!(winners.len(), 2, "upstream's sort lets either win");
}

#[test]
fn a_scale_set_id_that_is_no_number_is_none() {
    let b = Behaviour::of(Release::V0_14_2);
    assert_eq!(b.ars_ers_name, ErsName::Generated);
    for (text, id) in [("7", Some(7)), ("0", None), ("-1", None), ("x", None), ("", None)] {
        let mut world = World::new(Release::V0_14_2);
        let mut ars = world.ars();
        Arc::make_mut(&mut ars.metadata.annotations).insert(names::SCALE_SET_ID.into(), text.into());
        let mut pass = ArsPass::new(ars_key());
        pass.ars = Some(Arc::new(ars.clone()));
        assert_eq!(pass.scale_set_id(), id.map(ScaleSetId), "{text}");
        world.put(ars.into());
    }
}
