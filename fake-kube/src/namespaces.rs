//! What the API server itself knows of namespaces: their own finalizer, and the subresource that removes it. Emptying a
//! terminating namespace is the namespace controller's.
//!
//! Source: kubernetes-api.md §6.2. The finalizer `kubernetes` stands in `spec.finalizers`, which the typed namespace has no
//! field for; it is kept in `metadata.rest`, where the wire shows it in its place.

use std::sync::Arc;

use arc_api::kube::{KubeOk, KubeReply};
use arc_api::meta::Key;
use arc_api::{Kind, Object, Str, Time};
use serde_json::{Value, json};

use crate::api::ApiServer;
use crate::status;

const ACTIVE: Str = Str::new_static("Active");
const TERMINATING: Str = Str::new_static("Terminating");

/// Gives a new namespace its finalizer and phase.
pub(crate) fn prepare(object: &mut Object) {
    let Object::Namespace(namespace) = object else { return };
    let namespace = Arc::make_mut(namespace);
    namespace.phase = ACTIVE;
    let mut rest = namespace.metadata.rest.as_deref().cloned().unwrap_or_else(|| json!({}));
    rest["spec"] = json!({ "finalizers": ["kubernetes"] });
    namespace.metadata.rest = Some(Arc::new(rest));
}

/// Whether the namespace's own finalizer holds it.
pub(crate) fn is_held(object: &Object) -> bool {
    let Object::Namespace(namespace) = object else { return false };
    let held = |rest: &Value| rest["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    namespace.metadata.rest.as_deref().is_some_and(held)
}

/// The phase of a namespace that is deleted.
pub(crate) fn mark_terminating(object: &mut Object) {
    if let Object::Namespace(namespace) = object {
        Arc::make_mut(namespace).phase = TERMINATING;
    }
}

impl ApiServer {
    /// PUT `namespaces/finalize` without the finalizer `kubernetes`: the namespace controller found the namespace empty. The
    /// namespace goes unless metadata finalizers hold it.
    pub fn finalize_namespace(&mut self, name: &str, now: Time) -> KubeReply {
        let key = Key::new("", name);
        let Some(object) = self.store.get(Kind::Namespace, &key) else {
            return Err(status::not_found(Kind::Namespace, name));
        };
        let mut next = object.clone();
        if is_held(object) {
            let meta = next.meta_mut();
            let mut rest = meta.rest.as_deref().cloned().unwrap_or(Value::Null);
            rest["spec"] = json!({});
            meta.rest = Some(Arc::new(rest));
        }
        if next.meta().is_deleting() && next.meta().finalizers.is_empty() {
            return match self.remove(Kind::Namespace, &key, now) {
                Some(last) => Ok(KubeOk::Deleted(last)),
                None => Err(status::not_found(Kind::Namespace, name)),
            };
        }
        if next == *object {
            return Ok(KubeOk::Object(next));
        }
        Ok(KubeOk::Object(self.replace(next, now)))
    }
}
