//! The manager's informers: a list, then a watch of each kind; what they see changes the caches and fills the work queues.
//!
//! Never reconciles anything. Source: kubernetes-api.md §9.1.

use arc_api::crd::{EphemeralRunner, FailureMark};
use arc_api::kube::{KubeOk, KubeRequest, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::{Duration, Kind, Object, Time};
use controller_core::behaviour::FailureLimit;
use controller_core::caches::WATCHED;
use controller_core::call::CallError;
use controller_core::triggers;

use super::{CONTROLLERS, Manager};
use crate::process::Output;
use crate::world::Tag;

/// Reflector back-off: 0.8 s doubling to 30 s (kubernetes-api.md §9.1 item 5).
const REFLECTOR_BASE: Duration = Duration::from_millis(800);
const REFLECTOR_CAP: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Informer {
    /// Waits for its back-off.
    Idle { at: Time, failures: u32 },
    /// LIST is on its way.
    Listing { failures: u32 },
    /// The stream is open.
    Open,
}

impl Manager {
    /// Adds the keys whose handlers have come so far.
    pub(super) fn tell_late(&mut self, now: Time) {
        while let Some(at) = self.late.iter().position(|(at, ..)| *at <= now) {
            let (_, slot, key) = self.late.remove(at);
            self.queues[slot].add(key, now);
        }
    }

    pub(super) fn list(&mut self, slot: usize, failures: u32, now: Time, out: &mut Vec<Output>) {
        self.informers[slot] = Informer::Listing { failures };
        let request = KubeRequest::List {
            kind: WATCHED[slot],
            namespace: self.config.watch_namespace.clone(),
            labels: Vec::new(),
        };
        out.push(Output::Kube { tag: Tag::List(slot as u8), request, at: now });
    }

    pub(super) fn on_list(&mut self, slot: usize, reply: Result<KubeOk, CallError>, now: Time, out: &mut Vec<Output>) {
        let Informer::Listing { failures } = self.informers[slot] else { return };
        let kind = WATCHED[slot];
        let (items, rv) = match reply {
            Ok(KubeOk::List { items, resource_version }) if self.can_decode(kind, &items) => (items, resource_version),
            _ => {
                let wait = REFLECTOR_BASE.saturating_mul(1 << failures.min(6)).min(REFLECTOR_CAP);
                self.informers[slot] = Informer::Idle { at: now.after(wait), failures: failures + 1 };
                return;
            }
        };
        let initial = !std::mem::replace(&mut self.ever_synced[slot], true);
        // A relist replaces the cache: what vanished meanwhile is deleted late, as its last known state (§9.1 item 7).
        let vanished: Vec<_> = {
            let cache = self.caches.of(kind);
            let listed: std::collections::BTreeSet<Key> = items.iter().map(Object::key).collect();
            cache.iter().map(Object::key).filter(|k| !listed.contains(k)).collect()
        };
        for key in vanished {
            if let Some(old) = self.caches.of_mut(kind).remove(&key) {
                self.enqueue(&old, now, false);
                self.tell_users(&old, now);
            }
        }
        for object in items {
            let same = self
                .caches
                .of(kind)
                .get(&object.key())
                .is_some_and(|o| o.meta().resource_version == object.meta().resource_version);
            if !same {
                self.caches.of_mut(kind).insert(object.clone());
                self.enqueue(&object, now, initial);
                if !initial {
                    self.tell_users(&object, now);
                }
            }
        }
        self.informers[slot] = Informer::Open;
        out.push(Output::OpenWatch(kind, rv));
        self.synced = self.ever_synced.iter().all(|s| *s);
    }

    /// `status.failures` changed its type in 0.12.0: a list with an old map cannot be decoded and the informer never syncs
    /// (Q-FAILURES-TYPE-CHANGE).
    fn can_decode(&self, kind: Kind, items: &[Object]) -> bool {
        let times = self.config.settings.behaviour.er_failure_limit == FailureLimit::DeleteRunner;
        kind != Kind::EphemeralRunner
            || !times
            || !items.iter().filter_map(Object::get::<EphemeralRunner>).any(|r| {
                r.status.failures.iter().flat_map(|f| f.values()).any(|m| matches!(m, FailureMark::Happened(_)))
            })
    }

    pub(super) fn on_event(&mut self, kind: Kind, event: WatchEvent, told_at: Time, now: Time) {
        let cache = self.caches.of_mut(kind);
        let mut patience = Duration::ZERO;
        match event.type_ {
            WatchType::Added | WatchType::Modified => {
                let old = cache.insert(event.object.clone());
                // The one global predicate: an update without a new resource version wakes nobody.
                if let Some(old) = old {
                    if old.meta().resource_version == event.object.meta().resource_version {
                        return;
                    }
                    patience = triggers::patience(&old, &event.object, &self.config.settings.behaviour);
                }
            }
            WatchType::Deleted => {
                cache.remove(&event.object.key());
            }
        }
        self.tell_users(&event.object, now);
        if patience.is_zero() {
            return self.tell(&event.object, told_at, now);
        }
        for (kind, key) in triggers::enqueue(&event.object) {
            let Some(slot) = CONTROLLERS.iter().position(|k| *k == kind) else { continue };
            match kind == event.object.kind() {
                true => self.queues[slot].add_after(key, patience, now),
                false => self.queues[slot].add(key, now),
            }
        }
    }

    /// What a watch event adds to the queues. A cache is changed before its handlers are told: a pass that begins in between
    /// sees the change and is followed by another one because of it (client-go's sharedIndexInformer; Q-DOUBLE-JIT-STALE needs
    /// it, recorded: c_session_conflict_ab/0.9.0 line 110). It matters only for keys that wait already.
    fn tell(&mut self, object: &Object, told_at: Time, now: Time) {
        for (kind, key) in triggers::enqueue(object) {
            let Some(slot) = CONTROLLERS.iter().position(|k| *k == kind) else { continue };
            if told_at > now && self.queues[slot].is_queued(&key) {
                self.late.push((told_at, slot, key));
            } else {
                self.queues[slot].add(key, now);
            }
        }
    }

    /// Sets whose runners live on what has changed look at it soon (corrected controller).
    fn tell_users(&mut self, object: &Object, now: Time) {
        let Some(slot) = CONTROLLERS.iter().position(|k| *k == Kind::AutoscalingRunnerSet) else { return };
        for key in triggers::users(object, &self.caches, &self.config.settings.behaviour) {
            self.queues[slot].add_after(key, triggers::IDENTITY_WAIT, now);
        }
    }

    fn enqueue(&mut self, object: &Object, now: Time, initial: bool) {
        for (kind, key) in triggers::enqueue(object) {
            if let Some(slot) = CONTROLLERS.iter().position(|k| *k == kind) {
                if initial { self.queues[slot].add_initial(key, now) } else { self.queues[slot].add(key, now) }
            }
        }
    }
}
