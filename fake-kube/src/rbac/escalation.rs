//! Nobody grants what he does not have: writing a role needs every permission in it, writing a binding those of its role.
//!
//! The ARC manager makes the listener's Role, so its own ClusterRole must contain the listener's rules.
//! Source: kubernetes-api.md §7.1 item 6; golden rbac-escalation-*; policy_comparator.go of kubernetes/kubernetes.
//! Differs: the groups in the text are those of ServiceAccounts in general.

use arc_api::core::{PolicyRule, RoleRef};
use arc_api::kube::Identity;
use arc_api::meta::Key;
use arc_api::{Kind, Object, Str, format_smolstr};

use super::rules::{self, Attributes};
use super::user_name;
use crate::api::ApiServer;
use crate::status::{self, Refusal};

/// Whether an owned rule covers one verb on one resource (and name, if any).
fn covers(owned: &PolicyRule, atom: &PolicyRule) -> bool {
    let has = |words: &[Str], word: &Str| words.iter().any(|w| w == "*" || w == word);
    let resource = |word: &Str| {
        owned.resources.iter().any(|r| {
            r == "*" || r == word || word.split_once('/').is_some_and(|(of, sub)| rules::covers_resource(r, of, sub))
        })
    };
    atom.verbs.iter().all(|v| has(&owned.verbs, v))
        && atom.api_groups.iter().all(|g| has(&owned.api_groups, g))
        && atom.resources.iter().all(resource)
        && (owned.resource_names.is_empty()
            || !atom.resource_names.is_empty() && atom.resource_names.iter().all(|n| owned.resource_names.contains(n)))
}

/// A rule as single permissions.
fn atoms(rule: &PolicyRule) -> Vec<PolicyRule> {
    let mut list = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let atom = |names: Vec<Str>| PolicyRule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    resource_names: names,
                };
                if rule.resource_names.is_empty() {
                    list.push(atom(vec![]));
                }
                list.extend(rule.resource_names.iter().map(|n| atom(vec![n.clone()])));
            }
        }
    }
    list
}

fn text(rule: &PolicyRule) -> String {
    let quoted = |words: &[Str]| words.iter().map(|w| format!("{:?}", w.as_str())).collect::<Vec<_>>().join(" ");
    let names = match rule.resource_names.as_slice() {
        [] => String::new(),
        names => format!(", ResourceNames:[{}]", quoted(names)),
    };
    format!(
        "{{APIGroups:[{}], Resources:[{}]{names}, Verbs:[{}]}}",
        quoted(&rule.api_groups),
        quoted(&rule.resources),
        quoted(&rule.verbs)
    )
}

impl ApiServer {
    /// 403 if writing this role or binding would grant more than the writer has.
    pub(crate) fn check_escalation(&self, who: &Identity, object: &Object) -> Result<(), Refusal> {
        let Identity::ServiceAccount { account, .. } = who else { return Ok(()) };
        if !self.settings.rbac {
            return Ok(());
        }
        match object {
            Object::Role(role) => self.check_granting(account, object, &role.rules, "escalate", None),
            Object::ClusterRole(role) => self.check_granting(account, object, &role.rules, "escalate", None),
            Object::RoleBinding(b) => self.check_binding(account, object, &b.role_ref),
            Object::ClusterRoleBinding(b) => self.check_binding(account, object, &b.role_ref),
            _ => Ok(()),
        }
    }

    fn check_binding(&self, account: &Key, object: &Object, role: &RoleRef) -> Result<(), Refusal> {
        let role_kind = if role.kind == "ClusterRole" { Kind::ClusterRole } else { Kind::Role };
        let Some(granted) = rules::rules_of(&self.store, role, &object.meta().namespace) else {
            return Err(status::not_found(role_kind, &role.name));
        };
        self.check_granting(account, object, granted, "bind", Some((role_kind, &role.name)))
    }

    fn check_granting(
        &self,
        account: &Key,
        object: &Object,
        granting: &[PolicyRule],
        bypass: &str,
        role: Option<(Kind, &str)>,
    ) -> Result<(), Refusal> {
        let namespace = &object.meta().namespace;
        let (kind, name) = role.unwrap_or((object.kind(), &object.meta().name));
        let asked = Attributes { verb: bypass, group: kind.group(), resource: kind.plural(), sub: "", name };
        let owned: Vec<&PolicyRule> = rules::granted(&self.store, account, namespace).collect();
        if owned.iter().any(|rule| rules::rule_allows(rule, &asked)) {
            return Ok(());
        }
        let missing: Vec<String> = granting
            .iter()
            .flat_map(atoms)
            .filter(|atom| !owned.iter().any(|rule| covers(rule, atom)))
            .map(|atom| text(&atom))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let why = format_smolstr!(
            "user {:?} (groups=[\"system:serviceaccounts\" \"system:serviceaccounts:{}\" \"system:authenticated\"]) is \
             attempting to grant RBAC permissions not currently held:\n{}",
            user_name(account).as_str(),
            account.namespace,
            missing.join("\n")
        );
        Err(status::forbidden(object.kind(), &object.meta().name, &why))
    }
}
