//! Roles and bindings as they are written: which rules an account has in a namespace, and what a rule covers. The reference
//! that [`super::compiled`] is tested against.
//!
//! Source: kubernetes-api.md §7.1; evaluation_helpers.go and rule.go of kubernetes/kubernetes.

use arc_api::core::{ClusterRole, PolicyRule, Role, RoleRef, Subject};
use arc_api::meta::Key;
use arc_api::{Kind, Object};

use crate::store::Store;

use super::user_name;

/// One question to the authorizer.
pub(crate) struct Attributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    /// Empty for the resource itself.
    pub(crate) sub: &'a str,
    /// Empty for collections and creations.
    pub(crate) name: &'a str,
}

fn lists(words: &[arc_api::Str], word: &str) -> bool {
    words.iter().any(|w| w == "*" || w == word)
}

/// Whether a word of a rule's `resources` covers a resource or subresource: a grant on `pods` does not cover `pods/log`.
pub(crate) fn covers_resource(word: &str, resource: &str, sub: &str) -> bool {
    match (word, sub) {
        ("*", _) => true,
        (word, "") => word == resource,
        (word, sub) => word.split_once('/').is_some_and(|(of, named)| named == sub && (of == "*" || of == resource)),
    }
}

/// Whether one rule allows what is asked.
pub(crate) fn rule_allows(rule: &PolicyRule, asked: &Attributes<'_>) -> bool {
    lists(&rule.verbs, asked.verb)
        && lists(&rule.api_groups, asked.group)
        && rule.resources.iter().any(|r| covers_resource(r, asked.resource, asked.sub))
        && (rule.resource_names.is_empty() || rule.resource_names.iter().any(|n| n == asked.name))
}

/// Whether a binding's subjects include the account.
pub(crate) fn is_subject(subjects: &[Subject], account: &Key, binding_namespace: &str) -> bool {
    subjects.iter().any(|s| match s.kind.as_str() {
        "ServiceAccount" => {
            let namespace = if s.namespace.is_empty() { binding_namespace } else { &s.namespace };
            s.name == account.name && namespace == account.namespace
        }
        "User" => s.name == user_name(account),
        "Group" => match s.name.as_str() {
            "system:authenticated" | "system:serviceaccounts" => true,
            group => group.strip_prefix("system:serviceaccounts:").is_some_and(|ns| ns == account.namespace),
        },
        _ => false,
    })
}

/// The rules of the role that a binding names, if the role exists.
pub(crate) fn rules_of<'a>(store: &'a Store, role: &RoleRef, namespace: &str) -> Option<&'a [PolicyRule]> {
    match role.kind.as_str() {
        "ClusterRole" => store.typed::<ClusterRole>(&Key::new("", role.name.clone())).map(|r| &*r.rules),
        _ => store.typed::<Role>(&Key::new(namespace, role.name.clone())).map(|r| &*r.rules),
    }
}

/// The bindings that count for an account in a namespace (`""`: cluster-wide ones only), with where they bind.
fn bindings<'a>(
    store: &'a Store,
    account: &'a Key,
    namespace: &'a str,
) -> impl Iterator<Item = (&'a RoleRef, &'a str)> + 'a {
    let cluster = store.iter(Kind::ClusterRoleBinding).filter_map(move |o| match o {
        Object::ClusterRoleBinding(b) if is_subject(&b.subjects, account, "") => Some((&b.role_ref, "")),
        _ => None,
    });
    let local = (!namespace.is_empty()).then(|| store.in_namespace(Kind::RoleBinding, namespace)).into_iter().flatten();
    cluster.chain(local.filter_map(move |o| match o {
        Object::RoleBinding(b) if is_subject(&b.subjects, account, namespace) => Some((&b.role_ref, namespace)),
        _ => None,
    }))
}

/// Every rule an account has in a namespace.
pub(crate) fn granted<'a>(
    store: &'a Store,
    account: &'a Key,
    namespace: &'a str,
) -> impl Iterator<Item = &'a PolicyRule> + 'a {
    bindings(store, account, namespace).flat_map(|(role, ns)| rules_of(store, role, ns).unwrap_or_default())
}

/// The roles that bindings of the account name and that do not exist, as refusals list them.
pub(crate) fn missing_roles(store: &Store, account: &Key, namespace: &str) -> Vec<String> {
    bindings(store, account, namespace)
        .filter(|(role, ns)| rules_of(store, role, ns).is_none())
        .map(|(role, _)| {
            let kind = if role.kind == "ClusterRole" { "clusterrole" } else { "role" };
            format!("{kind}.rbac.authorization.k8s.io \"{}\" not found", role.name)
        })
        .collect()
}
