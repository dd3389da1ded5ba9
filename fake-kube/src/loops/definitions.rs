//! Terminating CustomResourceDefinitions: their objects are deleted, then the definition goes. Never starts a deletion.
//!
//! Source: kubernetes-api.md §3.4; apiextensions-apiserver pkg/controller/finalizer/crd_finalizer.go (5 s between looks).

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::CustomResourceDefinition;
use arc_api::kube::{DeleteOptions, Identity, KubeRequest, Patch, Sub, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::{Duration, Kind, Object, Time};

use super::timers::Timers;
use crate::ApiServer;
use crate::crds::CLEANUP_FINALIZER;

const WHO: Identity = Identity::System("crd-finalizer");
/// Between the DELETE of a definition and the deletion of its objects: the server makes its storage anew first, and compiles the
/// schema with all pod templates in it (recorded: d_uninstall2/0.14.2, 1.7 s for AutoscalingListener, 2.2 s for EphemeralRunner and
/// more than 3 s for AutoscalingRunnerSet, which has two templates; on a host with two processors).
const DELAY: Duration = Duration::from_millis(1700);

fn delay(kind: Option<Kind>) -> Duration {
    if kind == Some(Kind::AutoscalingRunnerSet) { DELAY * 2 } else { DELAY }
}
/// Between two looks at objects that do not go (crd_finalizer.go).
const AGAIN: Duration = Duration::from_secs(5);

/// The definition finalizer of a cluster.
#[derive(Clone, Default, Debug)]
pub struct Definitions {
    timers: Arc<Timers<Key>>,
    /// Definitions that wait for their last object.
    waiting: BTreeMap<Kind, Key>,
}

impl Definitions {
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    /// Something changed.
    pub fn notice(&mut self, event: &WatchEvent, now: Time) {
        if let Object::CustomResourceDefinition(crd) = &event.object
            && event.type_ == WatchType::Modified
            && crd.metadata.is_deleting()
        {
            Arc::make_mut(&mut self.timers).hasten(crd.metadata.key(), now.after(delay(crd.defines)));
        } else if event.type_ == WatchType::Deleted
            && let Some(key) = self.waiting.get(&event.object.kind())
        {
            Arc::make_mut(&mut self.timers).hasten(key.clone(), now.after(AGAIN));
        }
    }
    /// Looks at one definition; false if none is due.
    pub fn run_one(&mut self, api: &mut ApiServer, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(key) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        let Some(crd) = api.typed::<CustomResourceDefinition>(&key).filter(|c| c.metadata.is_deleting()).cloned()
        else {
            return true;
        };
        let Some(kind) = crd.defines else { return true };
        let keys: Vec<Key> = api.iter(kind).filter(|o| !o.meta().is_deleting()).map(Object::key).collect();
        for key in keys {
            let _ = api.handle(&WHO, &KubeRequest::Delete { kind, key, options: DeleteOptions::default() }, now);
        }
        if api.count(kind) > 0 {
            // Differs: the real one looks every 5 s; this one 5 s after one of them went.
            self.waiting.insert(kind, key);
        } else {
            self.waiting.remove(&kind);
            let patch = Arc::new(Patch::finalizers(crd.metadata.finalizers_without(CLEANUP_FINALIZER)));
            let request = KubeRequest::Patch { kind: Kind::CustomResourceDefinition, key, sub: Sub::Main, patch };
            let _ = api.handle(&WHO, &request, now);
        }
        true
    }
}
