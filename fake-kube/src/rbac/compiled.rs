//! Grants as bit masks, per account: the hot path of every request a controller makes. Forgotten as a whole when any role or
//! binding is written; never an authority of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::PolicyRule;
use arc_api::meta::Key;
use arc_api::{Kind, Object, Str};

use crate::store::Store;

use super::rules::{covers_resource, is_subject, rules_of};

/// Subresources that requests of this world name, and the resource itself.
const SUBS: [&str; 8] = ["", "status", "binding", "eviction", "token", "exec", "log", "finalizers"];
const SLOTS: usize = Kind::ALL.len() * SUBS.len();

/// Which subresource.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SubIndex(u8);

impl SubIndex {
    /// A subresource that no request of this world names is the resource itself.
    pub(crate) fn of(sub: Option<&str>) -> SubIndex {
        SubIndex(sub.and_then(|s| SUBS.iter().position(|known| *known == s)).unwrap_or(0) as u8)
    }
    pub(crate) fn name(self) -> Option<&'static str> {
        SUBS.get(usize::from(self.0)).copied().filter(|s| !s.is_empty())
    }
}

/// The verbs of requests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) const ALL: [Verb; 7] =
        [Verb::Get, Verb::List, Verb::Watch, Verb::Create, Verb::Update, Verb::Patch, Verb::Delete];
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
        }
    }
    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// One request, as the authorizer sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) verb: Verb,
    pub(crate) kind: Kind,
    pub(crate) sub: SubIndex,
    /// Empty: cluster-wide.
    pub(crate) namespace: &'a str,
    /// Empty: collections and creations.
    pub(crate) name: &'a str,
}

impl Question<'_> {
    fn slot(&self) -> usize {
        self.kind as usize * SUBS.len() + usize::from(self.sub.0)
    }
}

/// The rules of one scope.
#[derive(Clone, Debug)]
struct Scope {
    /// Verbs by kind and subresource.
    masks: [u8; SLOTS],
    /// Rules that are restricted to names: slot, verbs, names.
    named: Vec<(usize, u8, Vec<Str>)>,
}

impl Default for Scope {
    fn default() -> Scope {
        Scope { masks: [0; SLOTS], named: Vec::new() }
    }
}

impl Scope {
    fn add(&mut self, rule: &PolicyRule) {
        let verbs = Verb::ALL.iter().filter(|v| rule.verbs.iter().any(|w| w == "*" || w == v.as_str()));
        let mask = verbs.fold(0, |mask, v| mask | v.bit());
        // A word names one resource or all of them, so words are looked at once and kinds only by plural.
        let words: Vec<(&str, &str)> =
            rule.resources.iter().map(|w| w.split_once('/').unwrap_or((w.as_str(), ""))).collect();
        let everything = words.contains(&("*", ""));
        for kind in Kind::ALL {
            let covers = |of: &str| of == "*" || of == kind.plural();
            if !everything && !words.iter().any(|(of, _)| covers(of))
                || !rule.api_groups.iter().any(|g| g == "*" || g == kind.group())
            {
                continue;
            }
            for (sub, name) in SUBS.iter().enumerate() {
                if !rule.resources.iter().any(|r| covers_resource(r, kind.plural(), name)) {
                    continue;
                }
                let slot = *kind as usize * SUBS.len() + sub;
                match rule.resource_names.as_slice() {
                    [] => self.masks[slot] |= mask,
                    names => self.named.push((slot, mask, names.to_vec())),
                }
            }
        }
    }
    fn allows(&self, question: &Question<'_>) -> bool {
        let (slot, bit) = (question.slot(), question.verb.bit());
        self.masks[slot] & bit != 0
            || self
                .named
                .iter()
                .any(|(s, mask, names)| *s == slot && mask & bit != 0 && names.iter().any(|n| n == question.name))
    }
}

/// Everything one account may do.
#[derive(Clone, Debug, Default)]
pub(crate) struct Compiled {
    cluster: Scope,
    /// By namespace, in the order of names.
    local: Vec<(Str, Scope)>,
}

impl Compiled {
    fn new(store: &Store, account: &Key) -> Compiled {
        let mut compiled = Compiled::default();
        for object in store.iter(Kind::ClusterRoleBinding) {
            if let Object::ClusterRoleBinding(b) = object
                && is_subject(&b.subjects, account, "")
            {
                rules_of(store, &b.role_ref, "").unwrap_or_default().iter().for_each(|r| compiled.cluster.add(r));
            }
        }
        for object in store.iter(Kind::RoleBinding) {
            let Object::RoleBinding(b) = object else { continue };
            let namespace = &b.metadata.namespace;
            if !is_subject(&b.subjects, account, namespace) {
                continue;
            }
            // Bindings come ordered by namespace: only the last scope can be theirs.
            if compiled.local.last().is_none_or(|(ns, _)| ns != namespace) {
                compiled.local.push((namespace.clone(), Scope::default()));
            }
            if let Some((_, scope)) = compiled.local.last_mut() {
                rules_of(store, &b.role_ref, namespace).unwrap_or_default().iter().for_each(|r| scope.add(r));
            }
        }
        compiled
    }
    /// Whether the account may do what is asked.
    pub(crate) fn allows(&self, question: &Question<'_>) -> bool {
        self.cluster.allows(question)
            || !question.namespace.is_empty()
                && self.local.iter().any(|(ns, scope)| ns == question.namespace && scope.allows(question))
    }
}

/// Grants per account, compiled on first use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants {
    by_account: Arc<BTreeMap<Key, Arc<Compiled>>>,
}

impl Grants {
    /// A role or binding was written.
    pub(crate) fn forget(&mut self) {
        if !self.by_account.is_empty() {
            self.by_account = Arc::default();
        }
    }
    /// What the account may do.
    pub(crate) fn of(&mut self, account: &Key, store: &Store) -> Arc<Compiled> {
        if let Some(known) = self.by_account.get(account) {
            return Arc::clone(known);
        }
        let compiled = Arc::new(Compiled::new(store, account));
        Arc::make_mut(&mut self.by_account).insert(account.clone(), Arc::clone(&compiled));
        compiled
    }
}
