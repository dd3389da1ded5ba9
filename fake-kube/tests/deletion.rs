//! DELETE, finalizers, grace, watch events and history: one test per rule.

mod common;

use arc_api::core::*;
use arc_api::kube::*;
use arc_api::meta::Key;
use arc_api::pod::*;
use arc_api::*;
use common::*;

const FINALIZER: &str = "x.io/f";

fn held(name: &str) -> ConfigMap {
    let mut map = config_map(name);
    map.metadata.finalizers = [FINALIZER.into()].into();
    map
}

fn finalizers(list: &[&str]) -> Patch {
    Patch::finalizers(list.iter().map(|f| Str::from(*f)).collect())
}

#[test]
fn a_finalizer_keeps_the_object_until_it_is_removed() {
    let mut s = server(34);
    let rv = s.create(held("a"), T0).meta().resource_version;
    let marked = s.object(delete(Kind::ConfigMap, "a"));
    assert_eq!((marked.meta().deletion_timestamp, marked.meta().deletion_grace_period_seconds), (Some(T0), Some(0)));
    assert_eq!(marked.meta().resource_version, rv + 1);
    assert_eq!(
        s.object(delete(Kind::ConfigMap, "a")).meta().resource_version,
        rv + 1,
        "a repeated DELETE changes nothing"
    );

    let answer = s.object(patch_of(Kind::ConfigMap, "a", Sub::Main, finalizers(&[])));
    assert_eq!(
        (answer.meta().resource_version, answer.meta().finalizers.len()),
        (rv + 1, 0),
        "the answer has the old version"
    );
    assert!(!s.has(Kind::ConfigMap, "a"));
    assert_eq!(s.events(Kind::ConfigMap, rv - 1), ["Added a", "Modified a", "Deleted a"]);
    let last = s.api.events_after(Kind::ConfigMap, rv + 1).expect("history").last().expect("event").object.clone();
    assert_eq!(
        (last.meta().resource_version, last.meta().finalizers.len()),
        (rv + 2, 1),
        "the last stored state, a new version"
    );
    assert!(s.refused(patch_of(Kind::ConfigMap, "a", Sub::Main, finalizers(&[]))).is_not_found());
}

#[test]
fn finalizers_only_become_fewer_while_deleting() {
    let mut s = server(34);
    s.create(held("a"), T0);
    s.ok(delete(Kind::ConfigMap, "a"));
    let status = s.refused(patch_of(Kind::ConfigMap, "a", Sub::Main, finalizers(&[FINALIZER, "y.io/g"])));
    assert_eq!(
        status.message,
        "ConfigMap \"a\" is invalid: metadata.finalizers: Forbidden: no new finalizers can be added if the object is being \
         deleted, found new finalizers []string{\"y.io/g\"}"
    );
    let data = serde_json::json!({ "data": { "k": "v" } });
    s.ok(patch_of(Kind::ConfigMap, "a", Sub::Main, Patch::body(Body::Json(data.into()))));
    let put = s.object(KubeRequest::Update(config_map("a").into(), Sub::Main));
    assert!(put.meta().finalizers.is_empty() && !s.has(Kind::ConfigMap, "a"), "a PUT without finalizers removes it");
}

#[test]
fn a_finalizer_that_arrives_between_read_and_commit_is_lost() {
    // Recorded: d_seed_overlap-from-0.9.0/0.9.1.
    let mut s = server(34);
    s.create(runner("r"), T0);
    let key = Key::new(NS, "r");
    let options = DeleteOptions::default();
    let pending = s.api.begin_delete(&Identity::Admin, Kind::EphemeralRunner, &key, &options, T0).expect("free to go");
    assert!(pending.removes_now());
    s.ok(patch_of(Kind::EphemeralRunner, "r", Sub::Main, finalizers(&[FINALIZER])));
    assert!(matches!(s.api.commit_delete(&pending, T0), Ok(KubeOk::Deleted(_))));
    assert!(!s.has(Kind::EphemeralRunner, "r"));

    s.create(runner("q"), T0);
    s.ok(patch_of(Kind::EphemeralRunner, "q", Sub::Main, finalizers(&[FINALIZER])));
    let key = Key::new(NS, "q");
    let pending =
        s.api.begin_delete(&Identity::Admin, Kind::EphemeralRunner, &key, &options, T0).expect("to be marked");
    s.ok(patch_of(Kind::EphemeralRunner, "q", Sub::Main, finalizers(&[])));
    assert!(matches!(s.api.commit_delete(&pending, T0), Ok(KubeOk::Deleted(_))), "a mark is decided anew");
    assert!(s.api.commit_delete(&pending, T0).is_err_and(|e| e.is_not_found()));
}

#[test]
fn preconditions_name_the_kind() {
    let mut s = server(34);
    let uid = s.create(runner("r"), T0).meta().uid;
    let options = DeleteOptions { uid: Some(Uid(9)), ..Default::default() };
    let status = s.refused(delete_with(Kind::EphemeralRunner, "r", options));
    assert_eq!(
        status.message,
        format!(
            "Operation cannot be fulfilled on EphemeralRunner.actions.github.com \"r\": the UID in the precondition ({}) does \
             not match the UID in record ({uid}). The object might have been deleted and then recreated",
            Uid(9)
        )
    );
    let options = DeleteOptions { resource_version: Some(1), ..Default::default() };
    assert!(s.refused(delete_with(Kind::EphemeralRunner, "r", options)).is_conflict());
    s.ok(delete_with(Kind::EphemeralRunner, "r", DeleteOptions { uid: Some(uid), ..Default::default() }));
}

#[test]
fn propagation_leaves_the_collectors_finalizer() {
    let mut s = server(34);
    for (name, propagation, finalizer) in
        [("f", Propagation::Foreground, "foregroundDeletion"), ("o", Propagation::Orphan, "orphan")]
    {
        s.create(config_map(name), T0);
        let options = DeleteOptions { propagation, ..Default::default() };
        let marked = s.object(delete_with(Kind::ConfigMap, name, options.clone()));
        assert!(marked.meta().has_finalizer(finalizer) && marked.meta().is_deleting());
        let again = s.object(delete_with(Kind::ConfigMap, name, options));
        assert_eq!(again.meta().resource_version, marked.meta().resource_version);
    }
    let options = DeleteOptions { propagation: Propagation::Orphan, ..Default::default() };
    let swapped = s.object(delete_with(Kind::ConfigMap, "f", options));
    assert_eq!(swapped.meta().finalizers.to_vec(), ["orphan"]);
}

fn bound(s: &mut Fixture, name: &str) -> Object {
    s.create(pod(name), T0);
    s.ok(KubeRequest::Bind { key: Key::new(NS, name), node: "n1".into() });
    s.object(get(Kind::Pod, name))
}

#[test]
fn an_unscheduled_pod_goes_at_once_with_two_events() {
    let mut s = server(34);
    let rv = s.create(pod("p"), T0).meta().resource_version;
    let answer = s.object(delete(Kind::Pod, "p"));
    assert_eq!(answer.meta().deletion_grace_period_seconds, Some(0));
    assert_eq!(answer.meta().resource_version, rv + 1);
    assert!(!s.has(Kind::Pod, "p"));
    assert_eq!(s.events(Kind::Pod, rv), ["Modified p", "Deleted p"]);
}

#[test]
fn a_bound_pod_stays_for_its_grace() {
    let mut s = server(34);
    let before = bound(&mut s, "p");
    assert_eq!(s.api.pods_on("n1").map(|p| p.metadata.name.as_str()).collect::<Vec<_>>(), ["p"]);
    let marked = s.object(delete(Kind::Pod, "p"));
    let meta = marked.meta();
    assert_eq!((meta.deletion_timestamp, meta.deletion_grace_period_seconds), (Some(Time::from_secs(130)), Some(30)));
    assert_eq!(meta.resource_version, before.meta().resource_version + 1);
    let grace = |s: &mut Fixture, g| {
        let options = DeleteOptions { grace_period_seconds: Some(g), ..Default::default() };
        s.object(delete_with(Kind::Pod, "p", options)).meta().clone()
    };
    assert_eq!(grace(&mut s, 90).resource_version, meta.resource_version, "a longer grace changes nothing");
    let shorter = grace(&mut s, 5);
    assert_eq!(
        (shorter.deletion_timestamp, shorter.deletion_grace_period_seconds),
        (Some(Time::from_secs(105)), Some(5))
    );
    assert_eq!(grace(&mut s, 0).deletion_grace_period_seconds, Some(0));
    assert!(!s.has(Kind::Pod, "p"));
    assert_eq!(s.api.pods_on("n1").count(), 0);
}

#[test]
fn a_finished_pod_goes_at_once_and_a_finalizer_still_holds_it() {
    let mut s = server(34);
    for (name, held) in [("p", false), ("q", true)] {
        bound(&mut s, name);
        let status = PodStatus { phase: PodPhase::Succeeded, ..PodStatus::default() };
        s.ok(patch_of(Kind::Pod, name, Sub::Status, Patch::body(Body::PodStatus(Box::new(status)))));
        if held {
            s.ok(patch_of(Kind::Pod, name, Sub::Main, finalizers(&[FINALIZER])));
        }
        assert_eq!(s.object(delete(Kind::Pod, name)).meta().deletion_grace_period_seconds, Some(0));
        assert_eq!(s.has(Kind::Pod, name), held);
    }
}

#[test]
fn grace_of_the_option_wins_over_the_spec_and_a_negative_one_is_one_second() {
    let mut s = server(34);
    for (option, expected) in [(None, 7), (Some(60), 60), (Some(-1), 1)] {
        s.create(pod_with("p", |spec| spec.termination_grace_period_seconds = Some(7)), T0);
        s.ok(KubeRequest::Bind { key: Key::new(NS, "p"), node: "n1".into() });
        let options = DeleteOptions { grace_period_seconds: option, ..Default::default() };
        assert_eq!(s.object(delete_with(Kind::Pod, "p", options)).meta().deletion_grace_period_seconds, Some(expected));
        s.ok(delete_with(Kind::Pod, "p", DeleteOptions { grace_period_seconds: Some(0), ..Default::default() }));
    }
}

#[test]
fn binding_is_refused_twice_and_while_deleting() {
    let mut s = server(34);
    bound(&mut s, "p");
    let bind = || KubeRequest::Bind { key: Key::new(NS, "p"), node: "n2".into() };
    assert_eq!(
        s.refused(bind()).message,
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
    );
    s.ok(KubeRequest::Evict { key: Key::new(NS, "p") });
    assert_eq!(
        s.refused(bind()).message,
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is being deleted, cannot be assigned to a host"
    );
    assert!(s.refused(KubeRequest::Evict { key: Key::new(NS, "nope") }).is_not_found());
}

#[test]
fn history_is_bounded_and_says_what_is_too_old() {
    let settings = ApiSettings { history_min: 10, history_window: Duration::from_secs(5), ..ApiSettings::version(34) };
    let mut s = Fixture::new(settings);
    let first = s.create(config_map("a"), T0).meta().resource_version;
    for i in 0..500u64 {
        let patch = Patch { labels: vec![("i".into(), Some(format_smolstr!("v{i}")))], ..Patch::default() };
        let request = patch_of(Kind::ConfigMap, "a", Sub::Main, patch);
        s.api.handle(&Identity::Admin, &request, T0.after(Duration::from_secs(i))).expect("patched");
    }
    let floor = s.api.history_floor(Kind::ConfigMap);
    let status = s.api.events_after(Kind::ConfigMap, first).err().expect("too old");
    assert_eq!((status.code, status.reason), (410, Reason::Expired));
    assert_eq!(status.message, format!("too old resource version: {first} ({floor})"));
    let kept = s.api.events_after(Kind::ConfigMap, floor).expect("kept").count();
    assert!((10..100).contains(&kept), "{kept}");
    s.api.restart();
    let now = s.api.resource_version();
    assert!(s.api.events_after(Kind::ConfigMap, now - 1).is_err());
    assert_eq!(s.api.events_after(Kind::ConfigMap, now).expect("fresh").count(), 0);
}

#[test]
fn the_log_has_every_commit_of_every_kind_in_order_until_it_is_trimmed() {
    let mut s = server(34);
    let start = s.api.resource_version();
    for i in 0..100 {
        s.create(config_map(&format!("c{i}")), T0);
        s.create(runner(&format!("r{i}")), T0);
    }
    let versions =
        |s: &Fixture, from| s.api.log_since(from).map(|e| e.object.meta().resource_version).collect::<Vec<_>>();
    assert_eq!(versions(&s, start), (start + 1..=start + 200).collect::<Vec<_>>());
    assert_eq!(versions(&s, start + 150), (start + 151..=start + 200).collect::<Vec<_>>());
    s.api.trim_log(start + 120);
    assert_eq!(versions(&s, start + 120), (start + 121..=start + 200).collect::<Vec<_>>());
    assert!(s.api.log_len() < 120);
    assert_eq!(versions(&s, start + 200), Vec::<u64>::new());
}

#[test]
fn dependents_follow_owner_references() {
    let mut s = server(34);
    let owner = s.create(runner_set("e"), T0);
    let mut child = runner("r");
    let reference = OwnerRef::controller(Kind::EphemeralRunnerSet, owner.meta());
    child.metadata.owner_references = [reference.clone(), reference].into();
    let child = s.create(child, T0);
    assert_eq!(child.meta().owner_references.len(), 1, "equal references are one");
    assert_eq!(s.api.dependents(owner.meta().uid).map(|o| o.meta().uid).collect::<Vec<_>>(), [child.meta().uid]);
    s.ok(delete(Kind::EphemeralRunner, "r"));
    assert_eq!(s.api.dependents(owner.meta().uid).count(), 0);
    assert!(s.api.by_uid(child.meta().uid).is_none());
}

#[test]
fn a_clone_is_a_world_of_its_own() {
    let mut s = server(34);
    s.create(config_map("a"), T0);
    let mut fork = Fixture { api: s.api.clone() };
    fork.create(config_map("b"), T0);
    s.ok(delete(Kind::ConfigMap, "a"));
    assert!(fork.has(Kind::ConfigMap, "a") && fork.has(Kind::ConfigMap, "b"));
    assert!(!s.has(Kind::ConfigMap, "b"));
}

#[test]
fn a_terminating_account_authenticates_for_a_minute_more() {
    // Recorded: b_sa_token/0.14.2: account, role and binding are deleted at one moment, and a finalizer holds all three.
    let mut s = server(34);
    let held = |name: &str| {
        let finalizers = [FINALIZER.into()].into();
        Meta { finalizers, ..Meta::named(NS, name) }
    };
    let account = s.create(ServiceAccount { metadata: held("sa"), ..ServiceAccount::default() }, T0);
    let rule = PolicyRule::new(&["list"], "", &["pods"]);
    s.create(Role { metadata: held("sa"), rules: [rule].into() }, T0);
    let role_ref = RoleRef { kind: "Role".into(), name: "sa".into() };
    let subjects = vec![Subject { kind: "ServiceAccount".into(), name: "sa".into(), namespace: NS.into() }];
    s.create(RoleBinding { metadata: held("sa"), role_ref, subjects }, T0);
    let who = identity(&account);
    let key = Key::new(NS, "sa");
    for kind in [Kind::RoleBinding, Kind::Role, Kind::ServiceAccount] {
        s.ok(delete(kind, "sa"));
    }
    let list = KubeRequest::List { kind: Kind::Pod, namespace: Some(NS.into()), labels: vec![] };
    let mut code =
        |after| s.api.handle(&who, &list, T0.after(Duration::from_secs(after))).map_or_else(|e| e.code, |_| 200);
    assert_eq!([1, 10, 30, 50, 58, 62, 66, 75].map(&mut code), [200, 200, 200, 200, 200, 401, 401, 401]);
    let token = s.ok(KubeRequest::CreateToken { key: key.clone() });
    assert_eq!(token, KubeOk::Token { account: key, uid: account.meta().uid }, "tokens are issued, dead");
    s.create(pod_with("p", |spec| spec.service_account_name = "sa".into()), T0.after(Duration::from_secs(66)));
    s.ok(patch_of(Kind::ServiceAccount, "sa", Sub::Main, finalizers(&[])));
    s.create(ServiceAccount { metadata: Meta::named(NS, "sa"), ..ServiceAccount::default() }, T0);
    let status = s.api.handle(&who, &get(Kind::Pod, "p"), T0).expect_err("another account");
    assert_eq!((status.code, status.message.as_str()), (401, "Unauthorized"));
    assert!(s.refused(KubeRequest::CreateToken { key: Key::new(NS, "nosa") }).is_not_found());
}
