//! The namespace controller: empties a terminating namespace in rounds, says what is left, and lets it go.
//!
//! Source: kubernetes-api.md §6.2 items 3–4; pkg/controller/namespace/deletion/namespaced_resources_deleter.go. Recorded:
//! d_uninstall/0.14.2 (rounds 5 s apart; pods first).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::Namespace;
use arc_api::crd::Condition;
use arc_api::kube::{DeleteOptions, Identity, KubeRequest, Sub, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Object, Str, Time, format_smolstr};

use super::scope::draw;
use super::timers::Timers;
use crate::ApiServer;

const WHO: Identity = Identity::System("namespace-controller");

/// Delays of the namespace controller.
#[derive(Clone, PartialEq, Debug)]
pub struct NamespaceSettings {
    /// From a change of the namespace to the round it causes (§6.2 item 3: 5 s, of all versions).
    pub round: Duration,
    /// Whether pods go in a round of their own, before everything else (on from 1.33; recorded on 1.34).
    pub ordered: Option<bool>,
    /// The least and the most between two types of a round: each is listed, deleted and listed again (recorded: d_uninstall, nine
    /// types in 0.2 to 0.6 s).
    pub step: (Duration, Duration),
    /// Estimate for content that finalizers hold, in seconds (namespaced_resources_deleter.go: 15).
    pub finalizer_estimate: u64,
}

impl Default for NamespaceSettings {
    fn default() -> NamespaceSettings {
        NamespaceSettings {
            round: Duration::from_secs(5),
            ordered: None,
            step: (Duration::from_millis(5), Duration::from_millis(40)),
            finalizer_estimate: 15,
        }
    }
}

/// The namespace controller of a cluster.
#[derive(Clone, Debug)]
pub struct Namespaces {
    settings: NamespaceSettings,
    ordered: bool,
    seed: u64,
    timers: Arc<Timers<Str>>,
    rounds: u64,
    /// Rounds that are not over, with the types that are still to come, the next one last.
    going: Arc<BTreeMap<Str, Vec<Kind>>>,
}

impl Namespaces {
    /// `seed` decides the order of the types in a round, which is random in the real one.
    pub fn new(settings: NamespaceSettings, minor: u32, seed: u64) -> Namespaces {
        let ordered = settings.ordered.unwrap_or(minor >= 33);
        Namespaces { settings, ordered, seed, timers: Arc::default(), rounds: 0, going: Arc::default() }
    }
    /// Draws from another seed from now on.
    pub fn draw_from(&mut self, seed: u64) {
        self.seed = seed;
    }
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    /// Something changed.
    pub fn notice(&mut self, event: &WatchEvent, now: Time) {
        if let Object::Namespace(namespace) = &event.object {
            let name = namespace.metadata.name.clone();
            match event.type_ {
                WatchType::Deleted => Arc::make_mut(&mut self.timers).set(name, Time::NEVER),
                _ if namespace.metadata.is_deleting() => {
                    Arc::make_mut(&mut self.timers).hasten(name, now.after(self.settings.round));
                }
                _ => {}
            }
        }
    }

    /// One step of a round over one namespace; false if none is due.
    pub fn run_one(&mut self, api: &mut ApiServer, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(name) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        let key = Key::new("", name.clone());
        let Some(namespace) = api.typed::<Namespace>(&key).filter(|n| n.metadata.is_deleting()).cloned() else {
            Arc::make_mut(&mut self.going).remove(&name);
            return true;
        };
        let mut kinds = match Arc::make_mut(&mut self.going).remove(&name) {
            Some(kinds) => kinds,
            None => {
                self.rounds += 1;
                let pods_left = delete_all(api, Kind::Pod, &name, now) > 0;
                if self.ordered && pods_left { Vec::new() } else { self.order() }
            }
        };
        if let Some(kind) = kinds.pop() {
            delete_all(api, kind, &name, now);
            let (least, most) = self.settings.step;
            let spread = most.saturating_sub(least).as_micros() as u64 + 1;
            let more = draw(self.seed ^ self.rounds, "namespace step", kinds.len() as u64, spread);
            if !kinds.is_empty() {
                Arc::make_mut(&mut self.going).insert(name.clone(), kinds);
                Arc::make_mut(&mut self.timers).set(name, now.after(least + Duration::from_micros(more)));
                return true;
            }
            if self.ordered {
                delete_all(api, Kind::Pod, &name, now);
            }
        }
        let left = Left::of(api, &name);
        if left.kinds.is_empty() && left.finalizers.is_empty() {
            let _ = api.finalize_namespace(&name, now);
            return true;
        }
        let wait = self.estimate(&left);
        let changed = report(api, &namespace, &left, now);
        if !changed {
            // A change of the conditions brings the next round by itself, through the log.
            Arc::make_mut(&mut self.timers).hasten(name, now.after(wait));
        }
        true
    }

    /// All namespaced kinds but pods, in an order that differs from round to round.
    fn order(&self) -> Vec<Kind> {
        let mut kinds: Vec<Kind> = Kind::ALL.iter().copied().filter(|k| k.is_namespaced() && *k != Kind::Pod).collect();
        for i in (1..kinds.len()).rev() {
            let j = draw(self.seed ^ self.rounds, "namespace order", i as u64, i as u64 + 1) as usize;
            kinds.swap(i, j);
        }
        kinds
    }
    /// Half of what the slowest content is expected to need, and a second; never less than a round.
    fn estimate(&self, left: &Left) -> Duration {
        let held = if left.finalizers.is_empty() { 0 } else { self.settings.finalizer_estimate };
        Duration::from_secs(left.grace.max(held) / 2 + 1).max(self.settings.round)
    }
}

/// Deletes every object of a kind in a namespace; gives how many remain.
fn delete_all(api: &mut ApiServer, kind: Kind, namespace: &Str, now: Time) -> usize {
    let keys: Vec<Key> =
        api.in_namespace(kind, namespace).filter(|o| !o.meta().is_deleting()).map(Object::key).collect();
    for key in keys {
        let _ = api.handle(&WHO, &KubeRequest::Delete { kind, key, options: DeleteOptions::default() }, now);
    }
    api.in_namespace(kind, namespace).count()
}

/// What is in a namespace that should be empty.
struct Left {
    kinds: Vec<(Kind, usize)>,
    finalizers: BTreeMap<Str, usize>,
    /// The longest grace of its pods, seconds.
    grace: u64,
}

impl Left {
    fn of(api: &ApiServer, namespace: &str) -> Left {
        let mut left = Left { kinds: Vec::new(), finalizers: BTreeMap::new(), grace: 0 };
        for kind in Kind::ALL.iter().copied().filter(|k| k.is_namespaced()) {
            let mut count = 0;
            for object in api.in_namespace(kind, namespace) {
                count += 1;
                for finalizer in object.meta().finalizers.iter() {
                    *left.finalizers.entry(finalizer.clone()).or_default() += 1;
                }
                if let Some(pod) = object.get::<Pod>() {
                    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
                    left.grace = left.grace.max(grace.max(0) as u64);
                }
            }
            if count > 0 {
                left.kinds.push((kind, count));
            }
        }
        left.kinds.sort_by_key(|(kind, _)| kind.resource());
        left
    }
}

/// Writes the five conditions; false if they say what they said before.
///
/// Source: kubernetes-api.md §6.2 item 3 (types, reasons, texts); status_condition_utils.go.
fn report(api: &mut ApiServer, namespace: &Arc<Namespace>, left: &Left, now: Time) -> bool {
    let content: Vec<String> =
        left.kinds.iter().map(|(kind, n)| format!("{} has {n} resource instances", kind.resource())).collect();
    let held: Vec<String> = left.finalizers.iter().map(|(f, n)| format!("{f} in {n} resource instances")).collect();
    let entries = [
        (
            "NamespaceDeletionDiscoveryFailure",
            "ResourcesDiscovered",
            "All resources successfully discovered".into(),
            false,
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed".into(),
            false,
        ),
        (
            "NamespaceDeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization".into(),
            false,
        ),
        match content.as_slice() {
            [] => ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed".into(), false),
            list => (
                "NamespaceContentRemaining",
                "SomeResourcesRemain",
                format_smolstr!("Some resources are remaining: {}", list.join(", ")),
                true,
            ),
        },
        match held.as_slice() {
            [] => (
                "NamespaceFinalizersRemaining",
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished".into(),
                false,
            ),
            list => (
                "NamespaceFinalizersRemaining",
                "SomeFinalizersRemain",
                format_smolstr!("Some content in the namespace has finalizers remaining: {}", list.join(", ")),
                true,
            ),
        },
    ];
    let conditions: Vec<Condition> = entries
        .into_iter()
        .map(|(type_, reason, message, status): (&str, &str, Str, bool)| Condition::new(type_, status, reason, message))
        .collect();
    if namespace.conditions == conditions {
        return false;
    }
    let next = Namespace { conditions, ..(**namespace).clone() };
    api.handle(&WHO, &KubeRequest::Update(next.into(), Sub::Status), now).is_ok()
}
