//! The typed store: objects behind `Arc`, one version counter for all kinds, indexes, and what changed.
//!
//! Copy on write throughout: cloning a store is a few dozen reference counts, and a clone pays for a kind only when it
//! writes to it. Never decides whether a write is allowed; that is [`crate::api`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_api::kube::{WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Kind, Object, Resource, Str, Time, Uid};

use crate::history::{History, Log};
use crate::settings::ApiSettings;

const KINDS: usize = Kind::ALL.len();

/// Objects and watch history of one kind.
#[derive(Clone, Debug)]
struct Shelf {
    objects: Arc<BTreeMap<Key, Object>>,
    history: Arc<History>,
}

/// Everything that is stored.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    shelves: [Shelf; KINDS],
    uids: Arc<BTreeMap<Uid, (Kind, Key)>>,
    /// (owner, dependent)
    owned: Arc<BTreeSet<(Uid, Uid)>>,
    /// (node, pod)
    on_node: Arc<BTreeSet<(Str, Key)>>,
    log: Arc<Log>,
    version: u64,
    last_uid: u64,
    names_drawn: u64,
}

impl Store {
    pub(crate) fn new(settings: &ApiSettings) -> Store {
        let version = settings.first_resource_version;
        Store {
            shelves: std::array::from_fn(|_| Shelf {
                objects: Arc::default(),
                history: Arc::new(History::new(version)),
            }),
            uids: Arc::default(),
            owned: Arc::default(),
            on_node: Arc::default(),
            log: Arc::default(),
            version,
            last_uid: u64::from(settings.cluster) << 48,
            names_drawn: 0,
        }
    }

    pub(crate) const fn version(&self) -> u64 {
        self.version
    }
    pub(crate) fn get(&self, kind: Kind, key: &Key) -> Option<&Object> {
        self.shelves[kind as usize].objects.get(key)
    }
    pub(crate) fn typed<T: Resource>(&self, key: &Key) -> Option<&Arc<T>> {
        T::unwrap(self.get(T::KIND, key)?)
    }
    pub(crate) fn iter(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.shelves[kind as usize].objects.values()
    }
    pub(crate) fn len(&self, kind: Kind) -> usize {
        self.shelves[kind as usize].objects.len()
    }
    pub(crate) fn in_namespace<'a>(&'a self, kind: Kind, namespace: &'a str) -> impl Iterator<Item = &'a Object> + 'a {
        let from = Key { namespace: namespace.into(), name: Str::default() };
        self.shelves[kind as usize]
            .objects
            .range(from..)
            .take_while(move |(k, _)| k.namespace == namespace)
            .map(|(_, o)| o)
    }
    pub(crate) fn by_uid(&self, uid: Uid) -> Option<&Object> {
        let (kind, key) = self.uids.get(&uid)?;
        self.get(*kind, key)
    }
    pub(crate) fn dependents(&self, owner: Uid) -> impl Iterator<Item = &Object> {
        self.owned.range((owner, Uid(0))..=(owner, Uid(u64::MAX))).filter_map(|(_, d)| self.by_uid(*d))
    }
    pub(crate) fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arc<Pod>> + 'a {
        self.on_node
            .range((Str::from(node), Key::default())..)
            .take_while(move |(n, _)| n == node)
            .filter_map(|(_, key)| self.typed::<Pod>(key))
    }
    pub(crate) fn log_since(&self, position: u64) -> impl Iterator<Item = &WatchEvent> {
        self.log.since(position)
    }
    pub(crate) fn trim_log(&mut self, position: u64) {
        Arc::make_mut(&mut self.log).trim(position);
    }
    pub(crate) fn log_len(&self) -> usize {
        self.log.len()
    }
    pub(crate) fn history(&self, kind: Kind) -> &History {
        &self.shelves[kind as usize].history
    }
    pub(crate) fn compact(&mut self, kind: Kind, version: u64) {
        Arc::make_mut(&mut self.shelves[kind as usize].history).compact(version);
    }

    /// A fresh identity.
    pub(crate) fn next_uid(&mut self) -> Uid {
        self.last_uid += 1;
        Uid(self.last_uid)
    }
    /// A fresh suffix for a generated name.
    ///
    /// Source: kubernetes-api.md §2.1 `generateName`: five characters of an alphabet without vowels and look-alikes.
    pub(crate) fn next_suffix(&mut self, seed: u64) -> [u8; 5] {
        const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
        self.names_drawn += 1;
        // SplitMix64 of a counter: no state but the counter, and neighbouring counts give unrelated suffixes.
        let mut z = seed.wrapping_add(self.names_drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        std::array::from_fn(|_| {
            let c = ALPHABET[(z % 27) as usize];
            z /= 27;
            c
        })
    }

    /// Stores a new object.
    pub(crate) fn insert(&mut self, mut object: Object, now: Time, settings: &ApiSettings) -> Object {
        self.version += 1;
        object.meta_mut().resource_version = self.version;
        let (kind, meta) = (object.kind(), object.meta());
        let key = meta.key();
        Arc::make_mut(&mut self.uids).insert(meta.uid, (kind, key.clone()));
        if !meta.owner_references.is_empty() {
            let owned = Arc::make_mut(&mut self.owned);
            owned.extend(meta.owner_references.iter().map(|o| (o.uid, meta.uid)));
        }
        if let Object::Pod(pod) = &object
            && let Some(node) = &pod.node_name
        {
            Arc::make_mut(&mut self.on_node).insert((node.clone(), key.clone()));
        }
        Arc::make_mut(&mut self.shelves[kind as usize].objects).insert(key, object.clone());
        self.commit(WatchType::Added, object.clone(), now, settings);
        object
    }

    /// Replaces the stored object of the same key.
    pub(crate) fn replace(&mut self, mut object: Object, now: Time, settings: &ApiSettings) -> Object {
        self.version += 1;
        object.meta_mut().resource_version = self.version;
        let kind = object.kind();
        let key = object.key();
        let Some(slot) = Arc::make_mut(&mut self.shelves[kind as usize].objects).get_mut(&key) else { return object };
        let old = std::mem::replace(slot, object.clone());
        let (before, after) = (old.meta(), object.meta());
        if !Arc::ptr_eq(&before.owner_references, &after.owner_references)
            && before.owner_references != after.owner_references
        {
            let owned = Arc::make_mut(&mut self.owned);
            for o in before.owner_references.iter() {
                owned.remove(&(o.uid, before.uid));
            }
            owned.extend(after.owner_references.iter().map(|o| (o.uid, after.uid)));
        }
        if let (Object::Pod(old), Object::Pod(new)) = (&old, &object)
            && old.node_name != new.node_name
        {
            let on_node = Arc::make_mut(&mut self.on_node);
            if let Some(node) = &old.node_name {
                on_node.remove(&(node.clone(), key.clone()));
            }
            if let Some(node) = &new.node_name {
                on_node.insert((node.clone(), key));
            }
        }
        self.commit(WatchType::Modified, object.clone(), now, settings);
        object
    }

    /// Removes an object; watchers see its last state with a new version (kubernetes-api.md §2.2 item 3).
    pub(crate) fn remove(&mut self, kind: Kind, key: &Key, now: Time, settings: &ApiSettings) -> Option<Object> {
        let mut object = Arc::make_mut(&mut self.shelves[kind as usize].objects).remove(key)?;
        let last = object.clone();
        self.version += 1;
        object.meta_mut().resource_version = self.version;
        let meta = object.meta();
        Arc::make_mut(&mut self.uids).remove(&meta.uid);
        if !meta.owner_references.is_empty() {
            let owned = Arc::make_mut(&mut self.owned);
            for o in meta.owner_references.iter() {
                owned.remove(&(o.uid, meta.uid));
            }
        }
        if let Object::Pod(pod) = &object
            && let Some(node) = &pod.node_name
        {
            Arc::make_mut(&mut self.on_node).remove(&(node.clone(), key.clone()));
        }
        self.commit(WatchType::Deleted, object, now, settings);
        Some(last)
    }

    fn commit(&mut self, type_: WatchType, object: Object, at: Time, settings: &ApiSettings) {
        let event = WatchEvent { type_, object, at };
        let shelf = &mut self.shelves[event.object.kind() as usize];
        Arc::make_mut(&mut shelf.history).push(event.clone(), settings);
        Arc::make_mut(&mut self.log).push(event);
    }
}
