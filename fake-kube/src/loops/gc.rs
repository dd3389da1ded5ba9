//! The garbage collector: dependents whose owners are gone, foreground deletion, orphaning.
//!
//! Source: kubernetes-api.md §6.1; pkg/controller/garbagecollector. Differs: it judges against the store, not against a
//! lagging graph; an owner reference that an update adds is looked at when its owner goes, not before.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::Event;
use arc_api::kube::{Body, DeleteOptions, Identity, KubeRequest, Patch, Propagation, Sub, WatchEvent, WatchType};
use arc_api::{Duration, Kind, Meta, Object, OwnerRef, Str, Time, Uid, format_smolstr};

use super::timers::Timers;
use crate::ApiServer;
use crate::delete::{FOREGROUND, ORPHAN};

const WHO: Identity = Identity::System("garbage-collector");

/// Delays of the garbage collector.
#[derive(Clone, PartialEq, Debug)]
pub struct GcSettings {
    /// From a change to the reaction (§6.1: 0.06 s after a creation with an absent owner, 0.46 s after an owner's end).
    pub delay: Duration,
    /// How often it looks for new kinds: dependents of a new kind are collected up to this late (recorded). Zero: at once.
    pub discovery: Duration,
    /// From a kind's definition to the first look at its objects, whatever the rounds say: 28 to 49 s in the recordings, as the
    /// collector's rounds fell and its new informers synchronised. Absent: the next round.
    pub discovered_after: Option<Duration>,
}

impl Default for GcSettings {
    fn default() -> GcSettings {
        GcSettings { delay: Duration::from_millis(200), discovery: Duration::from_secs(30), discovered_after: None }
    }
}

/// The garbage collector of a cluster.
#[derive(Clone, Debug)]
pub struct Gc {
    settings: GcSettings,
    timers: Arc<Timers<Uid>>,
    /// Custom kinds that it does not watch yet.
    watched_from: BTreeMap<Kind, Time>,
}

impl Gc {
    /// A collector that has nothing to do.
    pub fn new(settings: GcSettings) -> Gc {
        Gc { settings, timers: Arc::default(), watched_from: BTreeMap::new() }
    }
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    fn look(&mut self, uid: Uid, kinds: [Kind; 2], now: Time) {
        let watched = |kind| self.watched_from.get(&kind).copied().unwrap_or(Time::ZERO);
        let at = now.after(self.settings.delay).max(watched(kinds[0])).max(watched(kinds[1]));
        Arc::make_mut(&mut self.timers).hasten(uid, at);
    }

    /// Something changed.
    pub fn notice(&mut self, event: &WatchEvent, api: &ApiServer, now: Time) {
        let object = &event.object;
        let (kind, meta) = (object.kind(), object.meta());
        match event.type_ {
            WatchType::Deleted => {
                for dependent in api.dependents(meta.uid) {
                    let uid = dependent.meta().uid;
                    let kinds = [dependent.kind(), kind];
                    self.look(uid, kinds, now);
                }
                // The last blocking dependent of an owner that is deleted in the foreground may just have gone.
                for owner in meta.owner_references.iter() {
                    if api.by_uid(owner.uid).is_some_and(|o| o.meta().has_finalizer(FOREGROUND)) {
                        self.look(owner.uid, [owner.kind, kind], now);
                    }
                }
            }
            WatchType::Added => {
                if let Object::CustomResourceDefinition(crd) = object
                    && let Some(defined) = crd.defines
                    && !self.settings.discovery.is_zero()
                {
                    let period = self.settings.discovery.as_micros() as u64;
                    let round = Time(now.0.div_euclid(period) * period + period);
                    self.watched_from.insert(defined, self.settings.discovered_after.map_or(round, |d| now.after(d)));
                }
                if meta.owner_references.iter().any(|o| owner_of(o, meta, api).is_none()) {
                    self.look(meta.uid, [kind, kind], now);
                }
            }
            WatchType::Modified => {}
        }
        if event.type_ != WatchType::Deleted
            && meta.is_deleting()
            && (meta.has_finalizer(FOREGROUND) || meta.has_finalizer(ORPHAN))
        {
            self.look(meta.uid, [kind, kind], now);
        }
    }

    /// Judges one object; false if none is due.
    pub fn run_one(&mut self, api: &mut ApiServer, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(uid) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        let Some(object) = api.by_uid(uid).cloned() else { return true };
        let meta = object.meta();
        if meta.is_deleting() && meta.has_finalizer(ORPHAN) {
            self.orphan(&object, api, now);
        } else if meta.is_deleting() && meta.has_finalizer(FOREGROUND) {
            self.foreground(&object, api, now);
        } else {
            self.judge(&object, api, now);
        }
        true
    }

    /// Deletes the object if all its owners are gone; takes dangling references away if some are there.
    fn judge(&self, object: &Object, api: &mut ApiServer, now: Time) {
        let meta = object.meta();
        let (mut alive, mut waiting, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for owner in meta.owner_references.iter() {
            match owner_of(owner, meta, api) {
                None => gone.push(owner),
                Some(o)
                    if o.meta().is_deleting() && o.meta().has_finalizer(FOREGROUND) && owner.block_owner_deletion =>
                {
                    waiting.push(owner);
                }
                Some(_) => alive.push(owner),
            }
        }
        let cluster_scoped = meta.namespace.is_empty();
        if gone.is_empty() && (waiting.is_empty() || alive.is_empty() && meta.is_deleting()) {
            return;
        }
        if cluster_scoped && gone.iter().any(|o| o.kind.is_namespaced()) {
            // A cluster-scoped dependent of a namespaced owner is never deleted (§6.1).
            return;
        }
        for owner in &gone {
            self.report_foreign(object, owner, api, now);
        }
        if !alive.is_empty() {
            let kept: Arc<[OwnerRef]> = alive.into_iter().cloned().collect();
            set_owners(object, &kept, api, now);
            return;
        }
        if meta.is_deleting() {
            return;
        }
        // A dependent that blocks its waiting owner goes in the foreground itself if it has blocking dependents.
        let blocks = !waiting.is_empty() && api.dependents(meta.uid).next().is_some();
        let propagation = if blocks { Propagation::Foreground } else { Propagation::Background };
        let options = DeleteOptions { uid: Some(meta.uid), propagation, ..DeleteOptions::default() };
        let request = KubeRequest::Delete { kind: object.kind(), key: object.key(), options };
        let _ = api.handle(&WHO, &request, now);
    }

    /// A Warning when the owner exists, but in another namespace (§6.1).
    fn report_foreign(&self, object: &Object, owner: &OwnerRef, api: &mut ApiServer, now: Time) {
        let meta = object.meta();
        let elsewhere = api.by_uid(owner.uid).map(|o| o.meta().namespace.clone());
        if elsewhere.is_none_or(|namespace| namespace.is_empty() || namespace == meta.namespace) {
            return;
        }
        let message = format_smolstr!(
            "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace \"{}\"",
            owner.kind.api_version(),
            owner.kind,
            meta.namespace,
            owner.name,
            owner.uid,
            meta.namespace
        );
        let event = Event {
            metadata: Meta::named(
                meta.namespace.clone(),
                format_smolstr!("{}.{:x}", meta.name, api.resource_version()),
            ),
            type_: Str::new_static("Warning"),
            reason: Str::new_static("OwnerRefInvalidNamespace"),
            message,
            involved_kind: Some(object.kind()),
            involved_name: meta.name.clone(),
            count: 1,
            last_timestamp: Some(now.truncated()),
        };
        let _ = api.handle(&WHO, &KubeRequest::Create(event.into()), now);
    }

    /// Deletes what depends on a waiting owner; lets the owner go when nothing that blocks is left.
    fn foreground(&mut self, owner: &Object, api: &mut ApiServer, now: Time) {
        let dependents: Vec<Object> = api.dependents(owner.meta().uid).cloned().collect();
        let mut blocked = false;
        for dependent in dependents {
            let meta = dependent.meta();
            blocked |= meta.owner_references.iter().any(|o| o.uid == owner.meta().uid && o.block_owner_deletion);
            if !meta.is_deleting() {
                self.judge_waiting(&dependent, owner, api, now);
            }
        }
        let still = api
            .dependents(owner.meta().uid)
            .any(|d| d.meta().owner_references.iter().any(|o| o.uid == owner.meta().uid && o.block_owner_deletion));
        if !(blocked && still) {
            drop_finalizer(owner, FOREGROUND, api, now);
        }
    }
    fn judge_waiting(&self, dependent: &Object, owner: &Object, api: &mut ApiServer, now: Time) {
        let meta = dependent.meta();
        let others = meta.owner_references.iter().any(|o| {
            o.uid != owner.meta().uid
                && owner_of(o, meta, api)
                    .is_some_and(|o| !(o.meta().is_deleting() && o.meta().has_finalizer(FOREGROUND)))
        });
        if others {
            let kept: Arc<[OwnerRef]> =
                meta.owner_references.iter().filter(|o| o.uid != owner.meta().uid).cloned().collect();
            set_owners(dependent, &kept, api, now);
            return;
        }
        let has_dependents = api.dependents(meta.uid).next().is_some();
        // In a cycle nobody could ever go: what the dependent blocks and depends on is the same object.
        let cycle = owner.meta().owner_references.iter().any(|o| o.uid == meta.uid);
        let propagation = if has_dependents && !cycle { Propagation::Foreground } else { Propagation::Background };
        let options = DeleteOptions { uid: Some(meta.uid), propagation, ..DeleteOptions::default() };
        let request = KubeRequest::Delete { kind: dependent.kind(), key: dependent.key(), options };
        let _ = api.handle(&WHO, &request, now);
    }

    /// Takes the owner's reference from every dependent, then lets the owner go.
    fn orphan(&self, owner: &Object, api: &mut ApiServer, now: Time) {
        let uid = owner.meta().uid;
        let dependents: Vec<Object> = api.dependents(uid).cloned().collect();
        for dependent in dependents {
            let kept: Arc<[OwnerRef]> =
                dependent.meta().owner_references.iter().filter(|o| o.uid != uid).cloned().collect();
            set_owners(&dependent, &kept, api, now);
        }
        drop_finalizer(owner, ORPHAN, api, now);
    }
}

/// The owner, if it exists where the dependent may have one: same identity, the dependent's namespace or none.
fn owner_of<'a>(owner: &OwnerRef, dependent: &Meta, api: &'a ApiServer) -> Option<&'a Object> {
    let object = api.by_uid(owner.uid)?;
    let meta = object.meta();
    let near = meta.namespace.is_empty() || meta.namespace == dependent.namespace;
    (near && meta.name == owner.name && object.kind() == owner.kind).then_some(object)
}

fn set_owners(object: &Object, owners: &Arc<[OwnerRef]>, api: &mut ApiServer, now: Time) {
    let list: Vec<serde_json::Value> = owners.iter().map(reference).collect();
    let body = Body::Json(Arc::new(serde_json::json!({ "metadata": { "ownerReferences": list } })));
    let patch = Arc::new(Patch { resource_version: Some(object.meta().resource_version), ..Patch::body(body) });
    let request = KubeRequest::Patch { kind: object.kind(), key: object.key(), sub: Sub::Main, patch };
    let _ = api.handle(&WHO, &request, now);
}

fn reference(owner: &OwnerRef) -> serde_json::Value {
    serde_json::to_value(owner).unwrap_or_default()
}

fn drop_finalizer(object: &Object, finalizer: &str, api: &mut ApiServer, now: Time) {
    let patch = Arc::new(Patch::finalizers(object.meta().finalizers_without(finalizer)));
    let request = KubeRequest::Patch { kind: object.kind(), key: object.key(), sub: Sub::Main, patch };
    let _ = api.handle(&WHO, &request, now);
}
