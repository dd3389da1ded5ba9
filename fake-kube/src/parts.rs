//! Which members of an object are its status: a write of one part leaves the other as it was.
//!
//! Source: kubernetes-api.md §3.3 items 4 and 7, §2.1 `generation`. Never looks at who writes.

use std::sync::Arc;

use arc_api::crd::ErsSpec;
use arc_api::kube::Sub;
use arc_api::{Kind, Meta, Object};
use serde_json::{Map, Value};

/// Whether the kind has the subresource `status`.
pub(crate) const fn has_status(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::AutoscalingRunnerSet
            | Kind::AutoscalingListener
            | Kind::EphemeralRunnerSet
            | Kind::EphemeralRunner
            | Kind::Pod
            | Kind::Namespace
            | Kind::Node
            | Kind::ResourceQuota
            | Kind::Deployment
            | Kind::PersistentVolumeClaim
            | Kind::CustomResourceDefinition
            | Kind::AdmissionPolicy
    )
}

/// Puts back what a write of `sub` may not touch: the status for a write of the object, everything else for a write of the
/// status. Without an old object (a creation) the status is emptied.
pub(crate) fn keep_other_part(new: &mut Object, old: Option<&Object>, sub: Sub) {
    match sub {
        Sub::Main => keep_status(new, old),
        Sub::Status => {
            if let Some(old) = old {
                let written = std::mem::replace(new, old.clone());
                take_status(new, &written);
            }
        }
    }
}

macro_rules! members {
    ($new:expr, $old:expr, $($member:ident),+) => {{
        // An equal member is left alone, so that an unchanged object stays shared.
        if $(($new.$member != $old.$member))||+ {
            let new = Arc::make_mut($new);
            $(new.$member.clone_from(&$old.$member);)+
        }
    }};
}

/// Sets the status members of `to` from `from`, which has the same kind.
fn copy_status(to: &mut Object, from: &Object) {
    match (&mut *to, from) {
        (Object::AutoscalingRunnerSet(n), Object::AutoscalingRunnerSet(o)) => members!(n, o, status),
        (Object::AutoscalingListener(n), Object::AutoscalingListener(o)) => members!(n, o, status),
        (Object::EphemeralRunnerSet(n), Object::EphemeralRunnerSet(o)) => members!(n, o, status),
        (Object::EphemeralRunner(n), Object::EphemeralRunner(o)) => members!(n, o, status),
        (Object::Pod(n), Object::Pod(o)) => members!(n, o, status),
        (Object::Namespace(n), Object::Namespace(o)) => members!(n, o, phase, conditions),
        (Object::Node(n), Object::Node(o)) => members!(n, o, allocatable, ready, last_heartbeat),
        (Object::ResourceQuota(n), Object::ResourceQuota(o)) => members!(n, o, used),
        (Object::Deployment(n), Object::Deployment(o)) => members!(n, o, updated_ready),
        (Object::PersistentVolumeClaim(n), Object::PersistentVolumeClaim(o)) => members!(n, o, phase),
        _ => {}
    }
    let status = |o: &Object| o.meta().rest.as_ref().and_then(|r| r.get("status").cloned());
    let wanted = status(from);
    if status(to) != wanted {
        set_rest_member(to.meta_mut(), "status", wanted);
    }
}

fn set_rest_member(meta: &mut Meta, member: &str, value: Option<Value>) {
    let mut map = match meta.rest.as_deref() {
        Some(Value::Object(map)) => map.clone(),
        _ => Map::new(),
    };
    match value {
        Some(value) => map.insert(member.to_owned(), value),
        None => map.remove(member),
    };
    meta.rest = (!map.is_empty()).then(|| Arc::new(Value::Object(map)));
}

/// An object of the same kind with an empty status, if a creation cannot set its status.
fn without_status(object: &Object) -> Option<Object> {
    match object {
        Object::AutoscalingRunnerSet(_) => Some(Object::AutoscalingRunnerSet(Arc::default())),
        Object::AutoscalingListener(_) => Some(Object::AutoscalingListener(Arc::default())),
        Object::EphemeralRunnerSet(_) => Some(Object::EphemeralRunnerSet(Arc::default())),
        Object::EphemeralRunner(_) => Some(Object::EphemeralRunner(Arc::default())),
        Object::Pod(_) => Some(Object::Pod(Arc::default())),
        Object::ResourceQuota(_) => Some(Object::ResourceQuota(Arc::default())),
        Object::Deployment(_) => Some(Object::Deployment(Arc::default())),
        _ => None,
    }
}

/// Sets the status of `new` to that of `old`, or empties it.
fn keep_status(new: &mut Object, old: Option<&Object>) {
    match old {
        Some(old) => copy_status(new, old),
        None => {
            if let Some(empty) = without_status(new) {
                copy_status(new, &empty);
            }
        }
    }
}

/// Takes the status of `written` into `new`; core kinds take labels and annotations too (pods: golden status-subresource).
fn take_status(new: &mut Object, written: &Object) {
    copy_status(new, written);
    if !new.kind().is_custom() {
        let (to, from) = (new.meta(), written.meta());
        if to.labels != from.labels || to.annotations != from.annotations {
            let meta = new.meta_mut();
            meta.labels = from.labels.clone();
            meta.annotations = from.annotations.clone();
        }
    }
}

/// Equality that looks at the pointer first: specs are shared, and large.
fn shared<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}

fn runner_set_spec(a: &ErsSpec, b: &ErsSpec) -> bool {
    a.replicas == b.replicas
        && a.patch_id == b.patch_id
        && shared(&a.ephemeral_runner_spec, &b.ephemeral_runner_spec)
        && a.ephemeral_runner_metadata == b.ephemeral_runner_metadata
}

/// Whether two objects are equal in everything; cheap when they share their specs.
pub(crate) fn equal(old: &Object, new: &Object) -> bool {
    if old.same(new) {
        return true;
    }
    match (old, new) {
        (Object::AutoscalingRunnerSet(o), Object::AutoscalingRunnerSet(n)) => {
            o.metadata == n.metadata && o.status == n.status && shared(&o.spec, &n.spec)
        }
        (Object::AutoscalingListener(o), Object::AutoscalingListener(n)) => {
            o.metadata == n.metadata && o.status == n.status && shared(&o.spec, &n.spec)
        }
        (Object::EphemeralRunnerSet(o), Object::EphemeralRunnerSet(n)) => {
            o.metadata == n.metadata && o.status == n.status && runner_set_spec(&o.spec, &n.spec)
        }
        (Object::EphemeralRunner(o), Object::EphemeralRunner(n)) => {
            o.metadata == n.metadata && o.status == n.status && shared(&o.spec, &n.spec)
        }
        (Object::Pod(o), Object::Pod(n)) => {
            o.metadata == n.metadata && o.node_name == n.node_name && o.status == n.status && shared(&o.spec, &n.spec)
        }
        _ => old == new,
    }
}

/// Whether anything outside metadata and status differs.
pub(crate) fn spec_differs(old: &Object, new: &Object) -> bool {
    match (old, new) {
        (Object::AutoscalingRunnerSet(o), Object::AutoscalingRunnerSet(n)) => !shared(&o.spec, &n.spec),
        (Object::AutoscalingListener(o), Object::AutoscalingListener(n)) => !shared(&o.spec, &n.spec),
        (Object::EphemeralRunnerSet(o), Object::EphemeralRunnerSet(n)) => !runner_set_spec(&o.spec, &n.spec),
        (Object::EphemeralRunner(o), Object::EphemeralRunner(n)) => !shared(&o.spec, &n.spec),
        (Object::Pod(o), Object::Pod(n)) => !shared(&o.spec, &n.spec) || o.node_name != n.node_name,
        (Object::Deployment(o), Object::Deployment(n)) => o.replicas != n.replicas || !shared(&o.template, &n.template),
        (Object::CustomResourceDefinition(o), Object::CustomResourceDefinition(n)) => {
            o.defines != n.defines || o.schema != n.schema
        }
        (Object::PriorityClass(o), Object::PriorityClass(n)) => o.value != n.value,
        (Object::AdmissionPolicy(o), Object::AdmissionPolicy(n)) => {
            o.resource != n.resource
                || o.match_labels != n.match_labels
                || o.reason != n.reason
                || o.message != n.message
        }
        _ => false,
    }
}
