//! The listener's passes, step by step and through whole lives, release by release. Sequences are those recorded in golden/arc.

use super::*;
use crate::Release;
use crate::set_world::{Lost, World};
use arc_api::Time;
use arc_api::core::{ConfigMap, Role, ServiceAccount};
use arc_api::pod::{ContainerState, ContainerStatus, Pod, PodPhase, Terminated};

fn listener(world: &World) -> Arc<AutoscalingListener> {
    let all = world.all::<AutoscalingListener>();
    assert_eq!(all.len(), 1, "{:#?}", world.calls);
    Arc::clone(&all[0])
}

fn name(world: &World) -> Str {
    listener(world).metadata.name.clone()
}

#[track_caller]
fn check(lines: &[String], expect: &[&str]) {
    assert_eq!(lines, expect);
}

fn container(release: Release) -> &'static str {
    if release == Release::V0_7_0 { "autoscaler" } else { "listener" }
}

fn run_listener(world: &mut World, release: Release) {
    let (name, now) = (name(world), world.now);
    world.kubelet(&name, |s| {
        s.phase = PodPhase::Running;
        let state = ContainerState::Running { started_at: now };
        s.container_statuses = vec![ContainerStatus { name: container(release).into(), state, ..Default::default() }];
    });
}

fn end_listener(world: &mut World, release: Release, exit_code: i32) {
    let (name, now) = (name(world), world.now);
    world.kubelet(&name, |s| {
        s.phase = if exit_code == 0 { PodPhase::Succeeded } else { PodPhase::Failed };
        let ended = Terminated { exit_code, reason: "Error".into(), finished_at: now, ..Terminated::default() };
        let state = ContainerState::Terminated(ended);
        s.container_statuses = vec![ContainerStatus { name: container(release).into(), state, ..Default::default() }];
    });
}

#[test]
fn an_install_is_the_recorded_one_in_every_generation() {
    let mirrored = |create: bool| {
        if create { "create secrets demo-754b578d-listener" } else { "update secrets demo-754b578d-listener" }
    };
    let (secret, mirror) = ("get secrets demo-secret", "get secrets demo-754b578d-listener");
    let config = |l: &str| format!("get secrets {l}-config");
    let finalizer = |l: &str| {
        format!(
            r#"patch autoscalinglisteners {l} {{"metadata":{{"finalizers":["autoscalinglistener.actions.github.com/finalizer"]}}}}"#
        )
    };
    for release in [Release::V0_8_3, Release::V0_9_1, Release::V0_11_0] {
        let l = "demo-754b578d-listener";
        let lines = World::installed(release).calls_of("al", 0);
        let (first, get) = (finalizer(l), config(l));
        let missing = format!("{get} 404");
        let created = format!("create secrets {l}-config");
        check(
            &lines[..23],
            &[
                &first,
                secret,
                &format!("{mirror} 404"),
                mirrored(true),
                secret,
                mirror,
                mirrored(false),
                secret,
                mirror,
                "create serviceaccounts demo-754b578d-listener",
                secret,
                mirror,
                "create roles demo-754b578d-listener",
                secret,
                mirror,
                "create rolebindings demo-754b578d-listener",
                secret,
                mirror,
                &missing,
                &created,
                secret,
                mirror,
                &get,
            ],
        );
        assert_eq!(lines[23], "create pods demo-754b578d-listener", "{release}");
    }
    for (release, l) in [(Release::V0_12_1, "demo-754b578d-listener"), (Release::V0_13_1, "demo-65b9b494-listener")] {
        let lines = World::installed(release).calls_of("al", 0);
        let get = config(l);
        check(
            &lines[..12],
            &[
                &finalizer(l),
                secret,
                &format!("create serviceaccounts {l}"),
                secret,
                &format!("create roles {l}"),
                secret,
                &format!("create rolebindings {l}"),
                secret,
                &format!("{get} 404"),
                &format!("create secrets {l}-config"),
                secret,
                &get,
            ],
        );
        assert_eq!(lines[12], format!("create pods {l}"), "{release}");
    }
    let l = "demo-65b9b494-listener";
    let get = config(l);
    check(
        &World::installed(Release::V0_14_2).calls_of("al", 0)[..12],
        &[
            &finalizer(l),
            secret,
            &format!("create serviceaccounts {l}"),
            secret,
            &format!("create roles {l}"),
            secret,
            &format!("create rolebindings {l}"),
            secret,
            &format!("{get} 404"),
            &format!("create secrets {l}-config"),
            &get,
            &format!("create pods {l}"),
        ],
    );
}

#[test]
fn the_pod_is_the_recorded_one_by_release() {
    for (release, grace, linux) in [
        (Release::V0_7_0, None, false),
        (Release::V0_8_0, None, false),
        (Release::V0_8_3, Some(60), false),
        (Release::V0_14_2, Some(60), true),
    ] {
        let world = World::installed(release);
        let pod = world.get::<Pod>("arc-systems", &name(&world)).expect("made");
        let spec = &pod.spec;
        assert_eq!(spec.containers[0].name, container(release));
        assert_eq!(
            (spec.restart_policy.as_str(), spec.termination_grace_period_seconds),
            ("Never", grace),
            "{release}"
        );
        assert_eq!(!spec.node_selector.is_empty(), linux, "{release}");
        assert_eq!(spec.containers[0].image, listener(&world).spec.image);
        assert_eq!(
            spec.volumes[0].secret.as_ref().map(|s| s.secret_name.clone()),
            Some(format_smolstr!("{}-config", name(&world)))
        );
        assert_eq!(pod.metadata.labels, listener(&world).metadata.labels);
    }
}

#[test]
fn a_listener_template_is_merged_and_takes_the_grace_period_away() {
    let mut world = World::new(Release::V0_14_2);
    let mut ars = world.ars();
    let own = arc_api::pod::Container { name: "listener".into(), image: "mine".into(), ..Default::default() };
    let side = arc_api::pod::Container { name: "side".into(), ..Default::default() };
    let spec = arc_api::pod::PodSpec { containers: vec![own, side], ..Default::default() };
    let template = arc_api::pod::PodTemplate { spec: Arc::new(spec), ..Default::default() };
    Arc::make_mut(&mut ars.spec).listener_template = Some(Arc::new(template));
    world.put(ars.into());
    world.run();
    let pod = world.get::<Pod>("arc-systems", &name(&world)).expect("made");
    let names: Vec<&str> = pod.spec.containers.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["listener", "side"]);
    assert_eq!(pod.spec.containers[0].image, "mine");
    assert_eq!(pod.spec.termination_grace_period_seconds, None);
    assert_eq!(pod.spec.restart_policy, "Never");
}

#[test]
fn what_ends_a_listener_pod_differs_by_release() {
    let exit_0 = |w: &mut World, r| end_listener(w, r, 0);
    let exit_1 = |w: &mut World, r| end_listener(w, r, 1);
    let without_status = |reason: &'static str| {
        move |w: &mut World, _: Release| {
            let name = name(w);
            w.kubelet(&name, |s| {
                s.phase = PodPhase::Failed;
                s.reason = reason.into();
            });
        }
    };
    type How<'a> = (&'a str, &'a dyn Fn(&mut World, Release), [bool; 5]);
    let (evicted, shutdown) = (without_status("Evicted"), without_status("Terminated"));
    let cases: [How<'_>; 4] = [
        ("exit 1", &exit_1, [true, true, true, true, true]),
        ("exit 0", &exit_0, [false, true, true, true, true]),
        ("evicted", &evicted, [true, false, false, true, true]),
        ("node shutdown", &shutdown, [true, false, false, false, true]),
    ];
    let releases = [Release::V0_9_2, Release::V0_9_3, Release::V0_13_0, Release::V0_14_2, Release::Next];
    for (what, end, replaced) in cases {
        for (release, replaced) in releases.into_iter().zip(replaced) {
            let mut world = World::installed(release);
            let old = world.get::<Pod>("arc-systems", &name(&world)).expect("made").metadata.uid;
            end(&mut world, release);
            world.run();
            let new = world.get::<Pod>("arc-systems", &name(&world)).expect("there").metadata.uid;
            assert_eq!(new != old, replaced, "{what} at {release}");
        }
    }
}

#[test]
fn a_controller_of_0_12_1_rebuilds_the_config_when_it_deletes_an_ended_pod() {
    let mut world = World::installed(Release::V0_12_1);
    let from = world.calls.len();
    end_listener(&mut world, Release::V0_12_1, 1);
    world.run();
    let l = "demo-754b578d-listener";
    check(
        &world.calls_of("al", from)[..10],
        &[
            "get secrets demo-secret",
            &format!("delete pods {l}"),
            &format!("get secrets {l}-config"),
            &format!("delete secrets {l}-config"),
            "get secrets demo-secret",
            &format!("get secrets {l}-config 404"),
            &format!("create secrets {l}-config"),
            "get secrets demo-secret",
            &format!("get secrets {l}-config"),
            &format!("create pods {l}"),
        ],
    );
}

#[test]
fn a_pod_somebody_else_deletes_is_waited_for_and_keeps_its_config() {
    let mut world = World::installed(Release::V0_12_1);
    let l = name(&world);
    let mut pod = (*world.get::<Pod>("arc-systems", &l).expect("made")).clone();
    pod.metadata.finalizers = ["kubelet".into()].into();
    pod.metadata.deletion_timestamp = Some(world.now);
    let from = world.calls.len();
    world.put(pod.into());
    end_listener(&mut world, Release::V0_12_1, 1);
    world.run();
    assert!(world.calls_of("al", from).iter().all(|c| c == "get secrets demo-secret"), "{:?}", &world.calls[from..]);
}

fn rotate(world: &mut World) {
    let mut secret = (*world.get::<Secret>("arc-runners", "demo-secret").expect("there")).clone();
    secret.data = arc_api::meta::labels([("github_token", "new")]);
    world.put(secret.into());
}

#[test]
fn a_rotated_secret_reaches_the_config_by_release() {
    for (release, fresh) in
        [(Release::V0_9_1, false), (Release::V0_12_1, false), (Release::V0_14_2, true), (Release::Next, true)]
    {
        let mut world = World::installed(release);
        run_listener(&mut world, release);
        world.run();
        rotate(&mut world);
        // Nobody is told of the secret; the next event is the pod's deletion by hand.
        world.delete(Kind::Pod, &Key::new("arc-systems", name(&world))).expect("there");
        world.run();
        let config = world.get::<Secret>("arc-systems", &format!("{}-config", name(&world))).expect("made");
        assert_eq!(config.data["config.json"].contains("\"new\""), fresh, "{release}");
    }
}

#[test]
fn next_notices_a_rotated_secret_by_itself_and_replaces_the_pod() {
    let mut world = World::installed(Release::Next);
    run_listener(&mut world, Release::Next);
    world.run();
    let old = world.get::<Pod>("arc-systems", &name(&world)).expect("made").metadata.uid;
    rotate(&mut world);
    world.run_for(Duration::from_secs(301));
    assert_ne!(world.get::<Pod>("arc-systems", &name(&world)).expect("made").metadata.uid, old);
}

#[test]
fn foreign_labels_on_the_config_loop_at_0_14_2_and_not_in_next() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        let mut config =
            (*world.get::<Secret>("arc-systems", &format!("{}-config", name(&world))).expect("made")).clone();
        config.metadata.labels = arc_api::meta::labels([("mutated", "yes")]);
        world.put(config.into());
        let old = world.get::<Pod>("arc-systems", &name(&world)).expect("made").metadata.uid;
        run_listener(&mut world, release);
        world.run();
        let replaced = world.get::<Pod>("arc-systems", &name(&world)).expect("made").metadata.uid != old;
        assert_eq!(replaced, release == Release::V0_14_2, "{release}");
    }
}

#[test]
fn emptied_rules_are_only_repaired_in_next() {
    for release in [Release::V0_9_1, Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        let mut role = (*world.get::<Role>("arc-runners", &name(&world)).expect("made")).clone();
        role.rules = [].into();
        world.put(role.into());
        world.run();
        let role = world.get::<Role>("arc-runners", &name(&world)).expect("there");
        assert_eq!(!role.rules.is_empty(), release == Release::Next, "{release}");
    }
}

#[test]
fn ended_pods_follow_each_other_at_once_but_in_next_ever_more_slowly() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        let mut gaps = vec![];
        for _ in 0..7 {
            let ended = world.now;
            end_listener(&mut world, release, 1);
            world.run();
            let pod = world.get::<Pod>("arc-systems", &name(&world)).expect("made again");
            assert_eq!(pod.status.phase, PodPhase::Pending);
            gaps.push(world.now.since(ended).as_secs());
        }
        let expect: [u64; 7] = if release == Release::Next { [1, 2, 4, 8, 16, 30, 30] } else { [0; 7] };
        assert_eq!(gaps, expect, "{release}");
        let failing = listener(&world).status.conditions.iter().any(|c| c.type_ == "ListenerFailing");
        assert_eq!(failing, release == Release::Next);
        let on_set = world.set().status.conditions.iter().find(|c| c.type_ == "ListenerFailing").cloned();
        assert_eq!(on_set.is_some_and(|c| c.message.contains("code 1")), release == Release::Next);
    }
}

#[test]
fn a_listener_that_served_for_a_minute_is_forgiven() {
    let mut world = World::installed(Release::Next);
    for _ in 0..2 {
        end_listener(&mut world, Release::Next, 1);
        world.run();
    }
    assert_eq!(listener(&world).status.restarts, 2);
    run_listener(&mut world, Release::Next);
    world.run_for(Duration::from_secs(61));
    assert_eq!(listener(&world).status.restarts, 0);
    assert!(listener(&world).status.conditions.is_empty() && world.set().status.conditions.is_empty());
}

fn not_starting(world: &World) -> Option<(Str, Str)> {
    let on_set = world.set().status.conditions.iter().find(|c| c.type_ == NOT_STARTING).cloned();
    let on_listener = listener(world).status.conditions.iter().find(|c| c.type_ == NOT_STARTING).cloned();
    assert_eq!(on_set, on_listener);
    on_listener.map(|c| (c.reason, c.message))
}

/// Its kubelet waits between two pulls for up to five minutes, and somebody wonders why no job runs.
#[test]
fn a_listener_whose_image_cannot_be_had_says_so_until_it_runs_in_next_only() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        let (name, from) = (name(&world), world.calls.len());
        for reason in ["ErrImagePull", "ImagePullBackOff", "ErrImagePull", "ImagePullBackOff"] {
            world.kubelet(&name, |s| {
                let state = ContainerState::Waiting { reason: reason.into(), message: "Back-off".into() };
                let name = container(release).into();
                s.container_statuses = vec![ContainerStatus { name, state, ..Default::default() }];
            });
            world.run_for(Duration::from_secs(1));
            let says = not_starting(&world);
            let expect = (release == Release::Next).then(|| ("ImagePullBackOff".into(), "Back-off".into()));
            assert_eq!(says, expect, "{release}");
        }
        let written = world.calls_of("al", from).iter().filter(|c| c.starts_with("patch")).count();
        assert_eq!(written, usize::from(release == Release::Next), "said once");
        run_listener(&mut world, release);
        world.run_for(Duration::from_secs(1));
        assert_eq!(not_starting(&world), None);
    }
}

#[test]
fn a_listener_that_no_node_takes_says_so_after_three_minutes() {
    let mut world = World::installed(Release::Next);
    world.run_for(Duration::from_secs(170));
    assert_eq!(not_starting(&world), None);
    world.run_for(Duration::from_secs(181));
    let expect = ("PodNotStarting".into(), "no node has been found for the pod".into());
    assert_eq!(not_starting(&world), Some(expect));
}

/// Its past ends are forgiven after a minute; that it does not start is over at once.
#[test]
fn a_listener_that_starts_after_all_is_not_forgiven_yet() {
    let mut world = World::installed(Release::Next);
    end_listener(&mut world, Release::Next, 1);
    world.run();
    let name = name(&world);
    world.kubelet(&name, |s| {
        let state = ContainerState::Waiting { reason: "ImagePullBackOff".into(), message: Str::default() };
        s.container_statuses = vec![ContainerStatus { name: "listener".into(), state, ..Default::default() }];
    });
    world.run_for(Duration::from_secs(1));
    assert!(not_starting(&world).is_some());
    run_listener(&mut world, Release::Next);
    world.run_for(Duration::from_secs(1));
    assert_eq!((not_starting(&world), listener(&world).status.restarts), (None, 1));
    world.run_for(Duration::from_secs(61));
    assert_eq!(listener(&world).status.restarts, 0);
    assert!(listener(&world).status.conditions.is_empty());
}

#[test]
fn a_listener_without_its_set_errs_for_ever_and_deletes_itself_in_next() {
    for release in [Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        world.edit(|a| {
            a.metadata.finalizers = [].into();
            a.metadata.deletion_timestamp = Some(Time::from_secs(1));
        });
        let l = (*listener(&world)).clone();
        world.put(l.into());
        world.run_for(Duration::from_secs(1));
        let stays = !world.all::<AutoscalingListener>().is_empty();
        assert_eq!(stays, release == Release::V0_14_2, "{release}");
        if stays {
            let line = world.log.iter().find(|l| l.message == "Failed to find AutoscalingRunnerSet.").expect("said");
            assert_eq!(line.detail, "AutoscalingRunnerSet.actions.github.com \"demo\" not found");
        }
    }
}

#[test]
fn parts_are_deleted_one_a_pass_up_to_0_13_0_and_in_one_pass_since() {
    for release in [Release::V0_9_1, Release::V0_13_0, Release::V0_13_1, Release::V0_14_2, Release::Next] {
        let mut world = World::installed(release);
        let (l, from) = (name(&world), world.calls.len());
        world.delete(Kind::AutoscalingListener, &Key::new("arc-systems", l.clone())).expect("there");
        world.run_for(Duration::from_millis(1));
        let get = format!("get secrets {l}-config");
        let mut expect = vec![format!("delete pods {l}")];
        let one_pass = release >= Release::V0_13_1;
        expect.push(get.clone());
        expect.push(format!("delete secrets {l}-config"));
        for kind in ["rolebindings", "roles", "serviceaccounts"] {
            expect.extend((!one_pass).then(|| format!("{get} 404")));
            expect.push(format!("delete {kind} {l}"));
        }
        world.run();
        let lines: Vec<String> = world.calls_of("al", from).into_iter().filter(|c| !c.ends_with("-status")).collect();
        assert_eq!(lines[..expect.len()], expect, "{release}");
    }
}

#[test]
fn a_proxy_and_a_certificate_are_read_once_and_used() {
    for release in [Release::V0_9_1, Release::V0_14_2] {
        let mut world = World::new(release);
        let mut ars = world.ars();
        let spec = Arc::make_mut(&mut ars.spec);
        let server = ProxyServer { url: "http://proxy:3128".into(), credential_secret_ref: "proxy-user".into() };
        spec.proxy = Some(Arc::new(Proxy { http: Some(server), https: None, no_proxy: vec!["a".into(), "b".into()] }));
        let tls = serde_json::json!({ "certificateFrom": { "configMapKeyRef": { "name": "ca", "key": "ca.crt" } } });
        spec.github_server_tls = Some(Arc::new(tls));
        let named = |n: &str| arc_api::Meta::named("arc-runners", n);
        let data = arc_api::meta::labels([("username", "u"), ("password", "p")]);
        world.put(Secret { metadata: named("proxy-user"), data, ..Default::default() }.into());
        let data = arc_api::meta::labels([("ca.crt", "PEM")]);
        world.put(ConfigMap { metadata: named("ca"), data }.into());
        world.put(ars.into());
        world.run();
        let l = name(&world);
        let proxy = world.get::<Secret>("arc-systems", &format!("{l}-proxy")).expect("made");
        assert_eq!(proxy.data["http_proxy"], "http://u:p@proxy:3128");
        assert_eq!(proxy.data["no_proxy"], "a,b");
        let config = world.get::<Secret>("arc-systems", &format!("{l}-config")).expect("made");
        assert!(config.data["config.json"].contains("PEM"), "{release}");
        let pod = world.get::<Pod>("arc-systems", &l).expect("made");
        assert!(pod.spec.containers[0].has_env("http_proxy") && !pod.spec.containers[0].has_env("https_proxy"));
    }
}

#[test]
fn wrong_keys_stop_the_pass_from_0_12_0_on() {
    for (release, stopped) in [(Release::V0_9_3, false), (Release::V0_12_1, true), (Release::V0_14_2, true)] {
        let mut world = World::installed(release);
        let mut secret = (*world.get::<Secret>("arc-runners", "demo-secret").expect("there")).clone();
        secret.data = arc_api::meta::labels([("wrong", "x")]);
        world.put(secret.into());
        world.delete(Kind::Pod, &Key::new("arc-systems", name(&world))).expect("there");
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.all::<Pod>().is_empty(), stopped, "{release}");
    }
}

#[test]
fn prop_a_crash_while_a_listener_is_replaced_counts_its_end_once() {
    let mut quiet = World::installed(Release::Next);
    let from = quiet.calls.len();
    let before = quiet.clone();
    end_listener(&mut quiet, Release::Next, 1);
    quiet.run();
    for lost in [Lost::Request, Lost::Reply] {
        for at in 0..quiet.calls.len() - from {
            let mut world = before.clone();
            world.crash = Some((at, lost));
            end_listener(&mut world, Release::Next, 1);
            world.run();
            let pod = world.get::<Pod>("arc-systems", &name(&world)).expect("made again");
            assert_eq!(pod.status.phase, PodPhase::Pending, "{lost:?} at {at}");
            assert_eq!(listener(&world).status.restarts, 1, "{lost:?} at {at}");
        }
    }
}

/// The garbage collector takes an account that a late pass made for the listener before, long after the pod has started.
#[test]
fn a_listener_whose_account_is_made_anew_gets_a_new_pod_in_next_only() {
    for (release, replaced) in [(Release::V0_14_2, false), (Release::Next, true)] {
        let mut world = World::installed(release);
        let name = name(&world);
        let pod = |w: &World| w.get::<Pod>("arc-systems", &name).map(|p| p.metadata.uid);
        let before = pod(&world).expect("a listener pod");
        let accounts = world.all::<ServiceAccount>();
        let key =
            accounts.iter().map(|a| a.metadata.key()).find(|k| k.namespace == "arc-systems").expect("its account");
        world.now = world.now.after(Duration::from_secs(5));
        world.delete(Kind::ServiceAccount, &key).expect("it exists");
        world.run_for(Duration::from_secs(5));
        assert_eq!(pod(&world).is_some_and(|after| after != before), replaced, "{release}");
    }
}
