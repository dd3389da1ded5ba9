//! Authorization: rules, texts, reviews, escalation, and the rights that ARC's charts give (kubernetes-api.md §1.6).

mod common;

use std::sync::Arc;

use arc_api::core::*;
use arc_api::kube::*;
use arc_api::meta::Key;
use arc_api::*;
use common::*;
use proptest::prelude::*;

const ARC: &str = "actions.github.com";
const SETS: &[&str] = &["autoscalingrunnersets", "autoscalinglisteners", "ephemeralrunnersets", "ephemeralrunners"];

/// A ServiceAccount and its identity.
fn account(s: &mut Fixture, name: &str) -> Identity {
    let object = s.create(ServiceAccount { metadata: Meta::named(NS, name), ..ServiceAccount::default() }, T0);
    identity(&object)
}

fn subject(name: &str) -> Vec<Subject> {
    vec![Subject { kind: "ServiceAccount".into(), name: name.into(), namespace: NS.into() }]
}

fn role(s: &mut Fixture, name: &str, rules: &[PolicyRule]) {
    s.create(Role { metadata: Meta::named(NS, name), rules: rules.into() }, T0);
}

fn bind(s: &mut Fixture, role: &str, to: &str) {
    let role_ref = RoleRef { kind: "Role".into(), name: role.into() };
    s.create(RoleBinding { metadata: Meta::named(NS, format!("{role}-{to}")), role_ref, subjects: subject(to) }, T0);
}

fn bind_cluster(s: &mut Fixture, name: &str, rules: &[PolicyRule], to: &str) {
    s.create(ClusterRole { metadata: Meta::named("", name), rules: rules.into() }, T0);
    let role_ref = RoleRef { kind: "ClusterRole".into(), name: name.into() };
    s.create(ClusterRoleBinding { metadata: Meta::named("", name), role_ref, subjects: subject(to) }, T0);
}

fn code(s: &mut Fixture, who: &Identity, request: KubeRequest) -> u16 {
    s.api.handle(who, &request, T0).map_or_else(|e| e.code, |_| 200)
}

fn text(s: &mut Fixture, who: &Identity, request: KubeRequest) -> Str {
    s.api.handle(who, &request, T0).expect_err("refused").message.clone()
}

fn list(kind: Kind, namespace: Option<&str>) -> KubeRequest {
    KubeRequest::List { kind, namespace: namespace.map(Str::from), labels: vec![] }
}

#[test]
fn refusals_name_user_verb_resource_and_place() {
    let mut s = server(34);
    let who = account(&mut s, "sa1");
    let user = "User \"system:serviceaccount:ns:sa1\" cannot";
    let mut check = |request, expected: String| assert_eq!(text(&mut s, &who, request), expected);
    check(
        list(Kind::ConfigMap, Some(NS)),
        format!(
            "configmaps is forbidden: {user} list resource \"configmaps\" in API group \"\" in the namespace \"ns\""
        ),
    );
    check(
        list(Kind::ConfigMap, None),
        format!("configmaps is forbidden: {user} list resource \"configmaps\" in API group \"\" at the cluster scope"),
    );
    check(
        KubeRequest::Create(config_map("a").into()),
        format!(
            "configmaps is forbidden: {user} create resource \"configmaps\" in API group \"\" in the namespace \"ns\""
        ),
    );
    check(
        patch_of(Kind::EphemeralRunner, "r", Sub::Status, Patch::default()),
        format!(
            "ephemeralrunners.actions.github.com \"r\" is forbidden: {user} patch resource \"ephemeralrunners/status\" in API \
             group \"actions.github.com\" in the namespace \"ns\""
        ),
    );
    check(
        KubeRequest::Evict { key: Key::new(NS, "p") },
        format!(
            "pods \"p\" is forbidden: {user} create resource \"pods/eviction\" in API group \"\" in the namespace \"ns\""
        ),
    );
}

#[test]
fn a_binding_to_a_missing_role_is_named_in_the_refusal() {
    let mut s = server(34);
    let who = account(&mut s, "sa1");
    bind(&mut s, "missing", "sa1");
    assert!(
        text(&mut s, &who, list(Kind::ConfigMap, Some(NS)))
            .ends_with("in the namespace \"ns\": RBAC: role.rbac.authorization.k8s.io \"missing\" not found")
    );
}

#[test]
fn a_grant_on_pods_is_not_one_on_their_subresources_and_names_never_allow_creation() {
    let mut s = server(34);
    let who = account(&mut s, "sa1");
    let mut named = PolicyRule::new(&["get", "update", "create", "list"], "", &["configmaps"]);
    named.resource_names = vec!["a".into()];
    role(&mut s, "r", &[PolicyRule::new(&["*"], "", &["pods"]), named, PolicyRule::new(&["*"], "", &["*/status"])]);
    bind(&mut s, "r", "sa1");
    assert_eq!(code(&mut s, &who, list(Kind::Pod, Some(NS))), 200);
    assert_eq!(code(&mut s, &who, list(Kind::Pod, None)), 403);
    assert_eq!(code(&mut s, &who, KubeRequest::Evict { key: Key::new(NS, "p") }), 403);
    assert_eq!(code(&mut s, &who, patch_of(Kind::Pod, "p", Sub::Status, Patch::default())), 404);
    assert_eq!(code(&mut s, &who, patch_of(Kind::EphemeralRunner, "p", Sub::Status, Patch::default())), 403);
    s.create(config_map("a"), T0);
    assert_eq!(code(&mut s, &who, get(Kind::ConfigMap, "a")), 200);
    assert_eq!(code(&mut s, &who, get(Kind::ConfigMap, "b")), 403);
    assert_eq!(code(&mut s, &who, KubeRequest::Create(config_map("a").into())), 403);
    assert_eq!(code(&mut s, &who, list(Kind::ConfigMap, Some(NS))), 403);
    assert!(
        s.api.watch(&who, Kind::Pod, Some(NS), T0).is_ok() && s.api.watch(&who, Kind::Secret, Some(NS), T0).is_err()
    );
}

#[test]
fn grants_follow_their_objects_and_last_until_these_are_gone() {
    let mut s = server(34);
    let who = account(&mut s, "sa1");
    role(&mut s, "r", &[PolicyRule::new(&["list"], "", &["pods"])]);
    bind(&mut s, "r", "sa1");
    let allowed = |s: &mut Fixture| code(s, &who, list(Kind::Pod, Some(NS))) == 200;
    assert!(allowed(&mut s));
    let hold = |kind, name: &str, list: &[&str]| {
        patch_of(kind, name, Sub::Main, Patch::finalizers(list.iter().map(|f| Str::from(*f)).collect()))
    };
    s.ok(hold(Kind::Role, "r", &["x.io/f"]));
    s.ok(delete(Kind::Role, "r"));
    assert!(allowed(&mut s), "recorded: a Terminating role grants");
    s.ok(hold(Kind::Role, "r", &[]));
    assert!(!allowed(&mut s));
    role(&mut s, "r", &[PolicyRule::new(&["list"], "", &["pods"])]);
    assert!(allowed(&mut s));
    s.ok(delete(Kind::RoleBinding, "r-sa1"));
    assert!(!allowed(&mut s));
}

#[test]
fn nobody_grants_what_he_does_not_have() {
    let mut s = server(34);
    let who = account(&mut s, "sa1");
    let every = &["create", "get", "patch", "update", "list"];
    role(
        &mut s,
        "r",
        &[
            PolicyRule::new(every, "rbac.authorization.k8s.io", &["roles", "rolebindings"]),
            PolicyRule::new(&["list"], "", &["configmaps"]),
        ],
    );
    bind(&mut s, "r", "sa1");
    role(&mut s, "big", &[PolicyRule::new(&["get"], "", &["secrets"])]);
    let new_role =
        |name: &str, rule| KubeRequest::Create(Role { metadata: Meta::named(NS, name), rules: [rule].into() }.into());
    let refusal = |resource: &str| {
        format!(
            "{resource}.rbac.authorization.k8s.io \"x\" is forbidden: user \"system:serviceaccount:ns:sa1\" \
             (groups=[\"system:serviceaccounts\" \"system:serviceaccounts:ns\" \"system:authenticated\"]) is attempting to grant \
             RBAC permissions not currently held:\n{{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}}"
        )
    };
    assert_eq!(text(&mut s, &who, new_role("x", PolicyRule::new(&["get"], "", &["secrets"]))), refusal("roles"));
    assert_eq!(code(&mut s, &who, new_role("y", PolicyRule::new(&["list"], "", &["configmaps"]))), 200);
    let binding = |name: &str, role: &str| {
        let role_ref = RoleRef { kind: "Role".into(), name: role.into() };
        KubeRequest::Create(RoleBinding { metadata: Meta::named(NS, name), role_ref, subjects: vec![] }.into())
    };
    assert_eq!(text(&mut s, &who, binding("x", "big")), refusal("rolebindings"));
    assert_eq!(text(&mut s, &who, binding("x", "nope")), "roles.rbac.authorization.k8s.io \"nope\" not found");
    assert_eq!(code(&mut s, &who, binding("z", "r")), 200);
    let finalizer = Patch::finalizers(["x.io/f".into()].into());
    assert_eq!(
        code(&mut s, &who, patch_of(Kind::Role, "big", Sub::Main, finalizer)),
        200,
        "finalizers are nobody's rights"
    );
    let label = Patch { labels: vec![("a".into(), Some("b".into()))], ..Patch::default() };
    assert_eq!(code(&mut s, &who, patch_of(Kind::Role, "big", Sub::Main, label)), 403);
}

#[test]
fn reviews_answer_what_requests_would() {
    let mut s = server(34);
    let who = account(&mut s, "hook");
    role(
        &mut s,
        "r",
        &[PolicyRule::new(&["get", "create"], "", &["pods/exec"]), PolicyRule::new(&["get"], "batch", &["jobs"])],
    );
    bind(&mut s, "r", "hook");
    let mut ask = |verb: &str, group: &str, resource: &str| {
        let access = Access {
            verb: verb.into(),
            group: group.into(),
            resource: resource.into(),
            namespace: NS.into(),
            name: None,
        };
        s.api.handle(&who, &KubeRequest::ReviewAccess(access), T0).expect("everybody may ask")
    };
    assert_eq!(ask("create", "", "pods/exec"), KubeOk::Allowed(true));
    assert_eq!(ask("create", "", "pods"), KubeOk::Allowed(false));
    assert_eq!(ask("get", "batch", "jobs"), KubeOk::Allowed(true));
    assert_eq!(ask("get", "", "jobs"), KubeOk::Allowed(false));
}

/// The controller chart's rights, as in kubernetes-api.md §1.6.
fn install_manager(s: &mut Fixture) -> Identity {
    let who = account(s, "manager");
    let status: Vec<String> = SETS.iter().map(|p| format!("{p}/status")).collect();
    let status: Vec<&str> = status.iter().map(String::as_str).collect();
    let rbac = "rbac.authorization.k8s.io";
    bind_cluster(
        s,
        "manager",
        &[
            PolicyRule::new(&["create", "delete", "get", "list", "patch", "update", "watch"], ARC, SETS),
            PolicyRule::new(&["get", "patch", "update"], ARC, &status),
            PolicyRule::new(&["list", "watch"], "", &["pods", "serviceaccounts"]),
            PolicyRule::new(&["list", "watch"], rbac, &["rolebindings"]),
            PolicyRule::new(&["list", "watch", "patch"], rbac, &["roles"]),
        ],
        "manager",
    );
    role(
        s,
        "manager",
        &[
            PolicyRule::new(&["create", "delete", "get"], "", &["pods"]),
            PolicyRule::new(&["get"], "", &["pods/status"]),
            PolicyRule::new(
                &["create", "delete", "get", "list", "patch", "update"],
                "",
                &["secrets", "serviceaccounts"],
            ),
            PolicyRule::new(&["create", "delete", "get", "patch", "update"], rbac, &["roles", "rolebindings"]),
        ],
    );
    bind(s, "manager", "manager");
    who
}

#[test]
fn the_manager_can_make_a_listener_and_cannot_update_pods() {
    let mut s = server(34);
    let manager = install_manager(&mut s);
    let listener = account(&mut s, "listener");
    let mut one_set = PolicyRule::new(&["patch"], ARC, &["ephemeralrunnersets"]);
    one_set.resource_names = vec!["e1".into()];
    let rules = [one_set, PolicyRule::new(&["patch"], ARC, &["ephemeralrunners", "ephemeralrunners/status"])];
    let made = Role { metadata: Meta::named(NS, "listener"), rules: rules.into() };
    assert_eq!(code(&mut s, &manager, KubeRequest::Create(made.into())), 200);
    let role_ref = RoleRef { kind: "Role".into(), name: "listener".into() };
    let binding = RoleBinding { metadata: Meta::named(NS, "listener"), role_ref, subjects: subject("listener") };
    assert_eq!(code(&mut s, &manager, KubeRequest::Create(binding.into())), 200);

    assert_eq!(code(&mut s, &manager, KubeRequest::Create(runner_set("e1").into())), 200);
    assert_eq!(code(&mut s, &manager, KubeRequest::Create(pod("p").into())), 200);
    let stored = s.object(get(Kind::Pod, "p"));
    assert_eq!(code(&mut s, &manager, KubeRequest::Update(stored, Sub::Main)), 403, "recorded: the listener pod's PUT");
    assert_eq!(code(&mut s, &manager, patch_of(Kind::EphemeralRunnerSet, "e1", Sub::Status, Patch::default())), 200);
    assert_eq!(code(&mut s, &manager, get(Kind::ConfigMap, "ca")), 403);

    let scale = |name: &str| {
        let body = Body::ErsSpec { replicas: Some(2), patch_id: Some(1) };
        patch_of(Kind::EphemeralRunnerSet, name, Sub::Main, Patch::body(body))
    };
    assert_eq!(code(&mut s, &listener, scale("e1")), 200);
    assert_eq!(code(&mut s, &listener, scale("e2")), 403);
    assert_eq!(code(&mut s, &listener, get(Kind::EphemeralRunnerSet, "e1")), 403);
    assert_eq!(code(&mut s, &listener, patch_of(Kind::EphemeralRunner, "r", Sub::Status, Patch::default())), 404);
}

#[test]
fn without_rbac_and_for_people_everything_is_allowed() {
    let mut s = Fixture::new(ApiSettings { rbac: false, ..ApiSettings::version(34) });
    let who = account(&mut s, "sa1");
    assert_eq!(code(&mut s, &who, list(Kind::Secret, None)), 200);
    let mut s = server(34);
    for who in [Identity::Admin, Identity::System("scheduler"), Identity::Kubelet("n1".into())] {
        assert_eq!(code(&mut s, &who, list(Kind::Secret, None)), 200);
    }
}

fn words(list: &'static [&'static str]) -> impl Strategy<Value = Vec<Str>> {
    proptest::collection::vec(proptest::sample::select(list).prop_map(Str::from), 1..3)
}

fn rules() -> impl Strategy<Value = PolicyRule> {
    (
        words(&["get", "list", "create", "patch", "*"]),
        words(&["", ARC, "*"]),
        words(&["pods", "pods/eviction", "ephemeralrunners", "ephemeralrunners/status", "*/status", "*"]),
        proptest::collection::vec(proptest::sample::select(&["a", "b"][..]).prop_map(Str::from), 0..2),
    )
        .prop_map(|(verbs, api_groups, resources, resource_names)| PolicyRule {
            verbs,
            api_groups,
            resources,
            resource_names,
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    /// The compiled grants of the hot path and the plain rules of the review agree on every request.
    #[test]
    fn prop_compiled_grants_equal_the_rules(local in proptest::collection::vec(rules(), 0..3), cluster in proptest::collection::vec(rules(), 0..2)) {
        let mut s = server(34);
        let who = account(&mut s, "sa1");
        role(&mut s, "r", &local);
        bind(&mut s, "r", "sa1");
        bind_cluster(&mut s, "c", &cluster, "sa1");
        let key = |name: &str| Key::new(NS, name);
        for (kind, resource) in [(Kind::Pod, "pods"), (Kind::EphemeralRunner, "ephemeralrunners")] {
            for (verb, sub, name, request) in [
                ("get", "", "a", KubeRequest::Get { kind, key: key("a") }),
                ("get", "", "c", KubeRequest::Get { kind, key: key("c") }),
                ("list", "", "", list(kind, Some(NS))),
                ("patch", "/status", "b", KubeRequest::Patch { kind, key: key("b"), sub: Sub::Status, patch: Arc::default() }),
                ("create", "/eviction", "a", KubeRequest::Evict { key: key("a") }),
            ] {
                if sub == "/eviction" && kind != Kind::Pod {
                    continue;
                }
                let access = Access {
                    verb: verb.into(),
                    group: kind.group().into(),
                    resource: format_smolstr!("{resource}{sub}"),
                    namespace: NS.into(),
                    name: (!name.is_empty()).then(|| name.into()),
                };
                let review = s.api.handle(&who, &KubeRequest::ReviewAccess(access), T0).expect("allowed to ask");
                let refused = s.api.handle(&who, &request, T0).is_err_and(|e| e.is_forbidden());
                prop_assert_eq!(review, KubeOk::Allowed(!refused), "{} {}{}", verb, resource, sub);
            }
        }
    }
}
