//! A manager's informer caches: what its reconcilers see, which may lag any amount behind the server, each kind by itself.
//!
//! Secrets and ConfigMaps are never here: ARC reads them live (arc-controllers.md §2.2). The `.metadata.controller` index maps
//! the *name* of a controlling owner to its dependents, not its uid (Q-ERS-INDEX-BY-NAME).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::crd::*;
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Kind, Object, Resource, Str};

/// The kinds a manager watches (kubernetes-api.md §1.2).
pub const WATCHED: &[Kind] = &[
    Kind::AutoscalingRunnerSet,
    Kind::AutoscalingListener,
    Kind::EphemeralRunnerSet,
    Kind::EphemeralRunner,
    Kind::Pod,
    Kind::ServiceAccount,
    Kind::Role,
    Kind::RoleBinding,
];

/// What an owner of a kind owns, by name.
type Children = (Kind, BTreeMap<Str, Object>);

/// One kind's cache.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    objects: BTreeMap<Key, Object>,
    /// Place of the owner → its kind and its objects by name, so that a pass reads its children without a look-up each.
    by_owner: BTreeMap<Key, Vec<Children>>,
}

impl Cache {
    /// Stores the newest state of an object; gives the state it replaces.
    pub fn insert(&mut self, object: Object) -> Option<Object> {
        let key = object.key();
        let owner = owner_of(&object);
        let old = self.objects.insert(key.clone(), object.clone());
        if let Some(gone) = old.as_ref().and_then(owner_of).filter(|gone| Some(gone) != owner.as_ref()) {
            self.unindex(&gone, &key.name);
        }
        if let Some(owner) = owner {
            let (kind, owner) = owner;
            let kinds = self.by_owner.entry(owner).or_default();
            match kinds.iter_mut().find(|(k, _)| *k == kind) {
                Some((_, set)) => drop(set.insert(key.name, object)),
                None => kinds.push((kind, BTreeMap::from([(key.name, object)]))),
            }
        }
        old
    }
    /// Forgets an object; gives its last state.
    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        let old = self.objects.remove(key)?;
        if let Some(owner) = owner_of(&old) {
            self.unindex(&owner, &key.name);
        }
        Some(old)
    }
    fn unindex(&mut self, (kind, owner): &(Kind, Key), name: &Str) {
        let Some(kinds) = self.by_owner.get_mut(owner) else { return };
        if let Some((_, set)) = kinds.iter_mut().find(|(k, _)| k == kind) {
            set.remove(name);
        }
        kinds.retain(|(_, set)| !set.is_empty());
        if kinds.is_empty() {
            self.by_owner.remove(owner);
        }
    }
    /// One object.
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }
    /// All objects, by key.
    pub fn iter(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }
    /// Objects whose controlling owner has this kind and name.
    pub fn owned_by(&self, kind: Kind, owner: &Key) -> impl Iterator<Item = &Object> {
        let kinds = self.by_owner.get(owner).into_iter().flatten();
        kinds.filter(move |(k, _)| *k == kind).flat_map(|(_, set)| set.values())
    }
    /// Number of objects.
    pub fn len(&self) -> usize {
        self.objects.len()
    }
    /// Nothing cached.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}

/// Index key of an object that has a controlling owner.
fn owner_of(object: &Object) -> Option<(Kind, Key)> {
    let meta = object.meta();
    meta.controller().map(|o| (o.kind, Key { namespace: meta.namespace.clone(), name: o.name.clone() }))
}

/// All caches of a manager process.
#[derive(Clone, Debug, Default)]
pub struct Caches {
    kinds: [Cache; WATCHED.len()],
}

fn slot(kind: Kind) -> usize {
    match kind {
        Kind::AutoscalingRunnerSet => 0,
        Kind::AutoscalingListener => 1,
        Kind::EphemeralRunnerSet => 2,
        Kind::EphemeralRunner => 3,
        Kind::Pod => 4,
        Kind::ServiceAccount => 5,
        Kind::Role => 6,
        Kind::RoleBinding => 7,
        other => panic!("a manager does not watch {other}"),
    }
}

impl Caches {
    /// The cache of one kind.
    ///
    /// # Panics
    /// For a kind that managers do not watch: a bug.
    pub fn of(&self, kind: Kind) -> &Cache {
        &self.kinds[slot(kind)]
    }
    /// The cache of one kind, to feed it.
    ///
    /// # Panics
    /// For a kind that managers do not watch: a bug.
    pub fn of_mut(&mut self, kind: Kind) -> &mut Cache {
        &mut self.kinds[slot(kind)]
    }
    /// A cached object by type.
    pub fn get<T: Resource>(&self, key: &Key) -> Option<&Arc<T>> {
        self.of(T::KIND).get(key).and_then(T::unwrap)
    }
    /// Cached objects of a type owned by (kind, place), in key order.
    pub fn owned<T: Resource>(&self, kind: Kind, owner: &Key) -> impl Iterator<Item = &Arc<T>> {
        self.of(T::KIND).owned_by(kind, owner).filter_map(T::unwrap)
    }
    /// EphemeralRunnerSets of an AutoscalingRunnerSet.
    pub fn runner_sets(&self, ars: &Key) -> impl Iterator<Item = &Arc<EphemeralRunnerSet>> {
        self.owned(Kind::AutoscalingRunnerSet, ars)
    }
    /// EphemeralRunners of an EphemeralRunnerSet.
    pub fn runners(&self, ers: &Key) -> impl Iterator<Item = &Arc<EphemeralRunner>> {
        self.owned(Kind::EphemeralRunnerSet, ers)
    }
    /// Pods with a label, in one namespace.
    pub fn pods_labelled<'a>(
        &'a self,
        namespace: &'a str,
        label: &'a str,
        value: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Pod>> {
        self.of(Kind::Pod)
            .iter()
            .filter_map(Pod::unwrap)
            .filter(move |p| p.metadata.namespace == namespace && p.metadata.label(label).is_some_and(|v| v == value))
    }
}
