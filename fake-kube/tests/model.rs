//! Model-based test of the store and its verbs: random requests against the server and against a reference that is too simple
//! to be wrong, and laws that hold whatever is asked.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::ConfigMap;
use arc_api::crd::*;
use arc_api::kube::*;
use arc_api::meta::Key;
use arc_api::*;
use common::*;
use proptest::prelude::*;

const NAMES: [&str; 3] = ["a", "b", "c"];
const FINALIZERS: [&str; 2] = ["x.io/f", "x.io/g"];
const KINDS: [Kind; 2] = [Kind::ConfigMap, Kind::EphemeralRunnerSet];

/// A request of the test. Everything is an index into a small world, so that requests meet.
#[derive(Clone, Debug)]
enum Op {
    Create {
        kind: usize,
        name: usize,
        finalizers: u8,
    },
    /// PUT of the value with the version that was current `age` commits ago.
    Update {
        kind: usize,
        name: usize,
        value: u8,
        age: usize,
    },
    Finalizers {
        kind: usize,
        name: usize,
        finalizers: u8,
    },
    Value {
        kind: usize,
        name: usize,
        value: u8,
    },
    Status {
        name: usize,
        value: u8,
    },
    Delete {
        kind: usize,
        name: usize,
        foreground: bool,
    },
}

fn ops() -> impl Strategy<Value = Op> {
    let (kind, name) = (0..2usize, 0..3usize);
    prop_oneof![
        3 => (kind.clone(), name.clone(), 0..4u8).prop_map(|(kind, name, finalizers)| Op::Create { kind, name, finalizers }),
        2 => (kind.clone(), name.clone(), 0..3u8, 0..3usize)
            .prop_map(|(kind, name, value, age)| Op::Update { kind, name, value, age }),
        3 => (kind.clone(), name.clone(), 0..4u8).prop_map(|(kind, name, finalizers)| Op::Finalizers { kind, name, finalizers }),
        3 => (kind.clone(), name.clone(), 0..3u8).prop_map(|(kind, name, value)| Op::Value { kind, name, value }),
        2 => (name.clone(), 0..3u8).prop_map(|(name, value)| Op::Status { name, value }),
        3 => (kind, name, any::<bool>()).prop_map(|(kind, name, foreground)| Op::Delete { kind, name, foreground }),
    ]
}

/// What the reference knows of an object.
#[derive(Clone, PartialEq, Debug)]
struct Known {
    version: u64,
    generation: i64,
    value: u8,
    /// Nothing until the first write, which is a change whatever it says.
    status: Option<u8>,
    finalizers: Vec<Str>,
    deleting: bool,
    /// Versions it had before.
    past: Vec<u64>,
}

#[derive(Default)]
struct Reference {
    objects: BTreeMap<(Kind, &'static str), Known>,
    version: u64,
}

/// Success, or the HTTP status of the refusal.
type Outcome = Result<(), u16>;

fn named(bits: u8) -> Vec<Str> {
    FINALIZERS.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, f)| Str::from(*f)).collect()
}

impl Reference {
    fn commit(&mut self, kind: Kind, name: &'static str, change: impl FnOnce(&mut Known)) {
        self.version += 1;
        let version = self.version;
        let known = self.objects.get_mut(&(kind, name)).expect("known");
        known.past.push(known.version);
        change(known);
        known.version = version;
    }
    fn apply(&mut self, op: &Op) -> Outcome {
        match *op {
            Op::Create { kind, name, finalizers } => {
                let (kind, name) = (KINDS[kind], NAMES[name]);
                if self.objects.contains_key(&(kind, name)) {
                    return Err(409);
                }
                self.version += 1;
                let known = Known {
                    version: self.version,
                    generation: i64::from(kind.is_custom()),
                    value: 0,
                    status: None,
                    finalizers: named(finalizers),
                    deleting: false,
                    past: vec![],
                };
                self.objects.insert((kind, name), known);
            }
            Op::Update { kind, name, value, age } => {
                let (kind, name) = (KINDS[kind], NAMES[name]);
                let known = self.objects.get(&(kind, name)).ok_or(404u16)?;
                if age > 0 && known.past.len() >= age {
                    return Err(409);
                }
                if known.value != value {
                    self.commit(kind, name, |k| {
                        k.value = value;
                        k.generation += i64::from(kind.is_custom());
                    });
                }
            }
            Op::Value { kind, name, value } => return self.apply(&Op::Update { kind, name, value, age: 0 }),
            Op::Status { name, value } => {
                let known = self.objects.get(&(KINDS[1], NAMES[name])).ok_or(404u16)?;
                if known.status != Some(value) {
                    self.commit(KINDS[1], NAMES[name], |k| k.status = Some(value));
                }
            }
            Op::Finalizers { kind, name, finalizers } => {
                let (kind, name) = (KINDS[kind], NAMES[name]);
                let known = self.objects.get(&(kind, name)).ok_or(404u16)?;
                let list = named(finalizers);
                if known.finalizers == list {
                    return Ok(());
                }
                if known.deleting && list.iter().any(|f| !known.finalizers.contains(f)) {
                    return Err(422);
                }
                if known.deleting && list.is_empty() {
                    self.version += 1;
                    self.objects.remove(&(kind, name));
                } else {
                    self.commit(kind, name, |k| k.finalizers = list);
                }
            }
            Op::Delete { kind, name, foreground } => {
                let (kind, name) = (KINDS[kind], NAMES[name]);
                let known = self.objects.get(&(kind, name)).ok_or(404u16)?;
                let mut list = known.finalizers.clone();
                if foreground && !list.contains(&"foregroundDeletion".into()) {
                    list.push("foregroundDeletion".into());
                }
                if list.is_empty() {
                    self.version += 1;
                    self.objects.remove(&(kind, name));
                } else if !known.deleting || list != known.finalizers {
                    self.commit(kind, name, |k| {
                        k.generation += i64::from(!k.deleting && k.generation > 0);
                        k.deleting = true;
                        k.finalizers = list;
                    });
                }
            }
        }
        Ok(())
    }
}

fn text(value: u8) -> Str {
    format_smolstr!("v{value}")
}

fn with_value(object: &Object, value: u8) -> Object {
    match object.clone() {
        Object::ConfigMap(mut map) => {
            let data = if value == 0 { BTreeMap::new() } else { [("k".into(), text(value))].into() };
            Arc::make_mut(&mut map).data = Arc::new(data);
            map.into()
        }
        Object::EphemeralRunnerSet(mut set) => {
            Arc::make_mut(&mut set).spec.replicas = i32::from(value);
            set.into()
        }
        other => other,
    }
}

fn value_of(object: &Object) -> u8 {
    match object {
        Object::ConfigMap(map) => map.data.get("k").map_or(0, |v| v[1..].parse().expect("number")),
        Object::EphemeralRunnerSet(set) => set.spec.replicas as u8,
        _ => 0,
    }
}

fn request(s: &Fixture, reference: &Reference, op: &Op) -> KubeRequest {
    let patch = |kind: usize, name: usize, sub, patch| patch_of(KINDS[kind], NAMES[name], sub, patch);
    match *op {
        Op::Create { kind, name, finalizers } => {
            let mut meta = Meta::named(NS, NAMES[name]);
            meta.finalizers = named(finalizers).into();
            KubeRequest::Create(match KINDS[kind] {
                Kind::ConfigMap => ConfigMap { metadata: meta, ..ConfigMap::default() }.into(),
                _ => EphemeralRunnerSet { metadata: meta, ..EphemeralRunnerSet::default() }.into(),
            })
        }
        Op::Update { kind, name, value, age } => {
            let stored = s.api.get(KINDS[kind], &Key::new(NS, NAMES[name])).cloned();
            let mut object = stored.unwrap_or_else(|| match KINDS[kind] {
                Kind::ConfigMap => config_map(NAMES[name]).into(),
                _ => runner_set(NAMES[name]).into(),
            });
            let past = reference.objects.get(&(KINDS[kind], NAMES[name])).map(|k| k.past.clone()).unwrap_or_default();
            if age > 0 && past.len() >= age {
                object.meta_mut().resource_version = past[past.len() - age];
            }
            KubeRequest::Update(with_value(&object, value), Sub::Main)
        }
        Op::Value { kind, name, value } => {
            let json = match KINDS[kind] {
                Kind::ConfigMap if value == 0 => serde_json::json!({ "data": { "k": null } }),
                Kind::ConfigMap => serde_json::json!({ "data": { "k": text(value) } }),
                _ => {
                    let body = Body::ErsSpec { replicas: Some(i32::from(value)), patch_id: None };
                    return patch(kind, name, Sub::Main, Patch::body(body));
                }
            };
            patch(kind, name, Sub::Main, Patch::body(Body::Json(Arc::new(json))))
        }
        Op::Status { name, value } => {
            let status = ErsStatusPatch { current_replicas: Some(i32::from(value)), ..Default::default() };
            patch(1, name, Sub::Status, Patch::body(Body::ErsStatus(status)))
        }
        Op::Finalizers { kind, name, finalizers } => {
            patch(kind, name, Sub::Main, Patch::finalizers(named(finalizers).into()))
        }
        Op::Delete { kind, name, foreground } => {
            let propagation = if foreground { Propagation::Foreground } else { Propagation::Background };
            delete_with(KINDS[kind], NAMES[name], DeleteOptions { propagation, ..Default::default() })
        }
    }
}

/// Version, generation, value, status, finalizers, deleting.
type Facts = (u64, i64, u8, u8, Vec<Str>, bool);

fn known(s: &Fixture, kind: Kind) -> BTreeMap<Str, Facts> {
    let status = |o: &Object| o.get::<EphemeralRunnerSet>().map_or(0, |e| e.status.current_replicas as u8);
    s.api
        .in_namespace(kind, NS)
        .map(|o| {
            let m = o.meta();
            let facts =
                (m.resource_version, m.generation, value_of(o), status(o), m.finalizers.to_vec(), m.is_deleting());
            (m.name.clone(), facts)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn prop_the_server_does_what_the_reference_does(list in proptest::collection::vec(ops(), 1..60)) {
        let mut s = server(34);
        let start = s.api.resource_version();
        let mut reference = Reference { version: start, ..Reference::default() };
        for op in &list {
            let request = request(&s, &reference, op);
            let before = s.api.resource_version();
            let answer = s.handle(request);
            let expected = reference.apply(op);
            prop_assert_eq!(answer.as_ref().map(|_| ()).map_err(|e| e.code), expected, "{:?} {:?}", op, answer.as_ref().err());
            // The counter moves by one per commit, never back, and a refusal or no-op leaves no event.
            prop_assert_eq!(s.api.resource_version(), reference.version, "{:?}", op);
            prop_assert_eq!(s.api.log_since(before).count() as u64, s.api.resource_version() - before);
            for kind in KINDS {
                let expected: BTreeMap<Str, _> = reference
                    .objects
                    .iter()
                    .filter(|((k, _), _)| *k == kind)
                    .map(|((_, name), k)| {
                        (Str::from(*name), (k.version, k.generation, k.value, k.status.unwrap_or(0), k.finalizers.clone(), k.deleting))
                    })
                    .collect();
                prop_assert_eq!(known(&s, kind), expected, "{:?}", op);
            }
        }
        // A watcher that replays the history of a kind has the store's objects.
        for kind in KINDS {
            let mut seen: BTreeMap<Key, Object> = BTreeMap::new();
            let mut last = start;
            for event in s.api.events_after(kind, start).expect("history") {
                let version = event.object.meta().resource_version;
                prop_assert!(version > last);
                last = version;
                let key = event.object.key();
                match event.type_ {
                    WatchType::Added => prop_assert!(seen.insert(key, event.object.clone()).is_none()),
                    WatchType::Modified => prop_assert!(seen.insert(key, event.object.clone()).is_some()),
                    WatchType::Deleted => prop_assert!(seen.remove(&key).is_some()),
                }
            }
            let stored: BTreeMap<Key, Object> = s.api.iter(kind).map(|o| (o.key(), o.clone())).collect();
            prop_assert_eq!(seen, stored);
        }
        for object in KINDS.iter().flat_map(|k| s.api.iter(*k)) {
            prop_assert!(s.api.by_uid(object.meta().uid).is_some_and(|o| o.same(object)));
        }
    }

    /// The same requests give the same answers, and a clone is a world of its own.
    #[test]
    fn prop_a_fork_answers_as_its_origin(first in proptest::collection::vec(ops(), 1..20), then in proptest::collection::vec(ops(), 1..20)) {
        let mut s = server(34);
        let reference = Reference::default();
        for op in &first {
            let request = request(&s, &reference, op);
            let _ = s.handle(request);
        }
        let mut fork = Fixture { api: s.api.clone() };
        let frozen: Vec<_> = KINDS.iter().map(|k| known(&s, *k)).collect();
        let mut answers = Vec::new();
        for op in &then {
            let request = request(&fork, &reference, op);
            answers.push(fork.handle(request));
        }
        prop_assert_eq!(&frozen, &KINDS.iter().map(|k| known(&s, *k)).collect::<Vec<_>>());
        for (op, answer) in then.iter().zip(answers) {
            let request = request(&s, &reference, op);
            prop_assert_eq!(s.handle(request), answer);
        }
    }
}
