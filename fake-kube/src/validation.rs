//! Validation of what is written: metadata of all kinds, and the few rules of core kinds that clients meet. Pods have
//! [`crate::pod_validation`]. Never changes an object.
//!
//! Source: kubernetes-api.md §2.3, §2.4, §2.6; apimachinery pkg/api/validation/objectmeta.go; golden names, finalizers.

use std::sync::Arc;

use arc_api::core::{ConfigMap, ResourceQuota, Secret};
use arc_api::{Kind, Meta, Object, Str, format_smolstr};

use crate::delete::{FOREGROUND, ORPHAN};
use crate::names;
use crate::pod_validation;
use crate::quantity::Quantity;
use crate::settings::ApiSettings;
use crate::status::{Problems, Refusal};

/// Bytes of all annotations together.
const ANNOTATIONS_MAX: usize = 256 * 1024;

fn add_all(problems: &mut Problems, field: &str, value: &str, faults: names::Faults) {
    for fault in faults {
        problems.add(field, format_smolstr!("Invalid value: \"{value}\": {fault}"));
    }
}

/// 422 unless a new object is valid. The name is the one it will have.
pub(crate) fn new_object(object: &Object, settings: &ApiSettings) -> Result<(), Refusal> {
    let kind = object.kind();
    let meta = object.meta();
    let mut problems = Problems::default();
    name_of(kind, meta, &mut problems);
    metadata(kind, None, meta, settings, &mut problems);
    match object {
        Object::Pod(pod) => pod_validation::pod(pod, settings, &mut problems),
        Object::AutoscalingRunnerSet(set) => bounds(set.spec.min_runners, set.spec.max_runners, &mut problems),
        Object::AutoscalingListener(listener) => {
            bounds(Some(listener.spec.min_runners), Some(listener.spec.max_runners), &mut problems);
        }
        Object::ConfigMap(map) => config_keys(map.data.keys(), &mut problems),
        Object::Secret(secret) => config_keys(secret.data.keys(), &mut problems),
        Object::ResourceQuota(quota) => hard_limits(quota, &mut problems),
        _ => {}
    }
    problems.check(kind, &meta.name)
}

/// 422 unless `new` may replace `old`. Only what changed is looked at.
pub(crate) fn change(old: &Object, new: &Object, settings: &ApiSettings) -> Result<(), Refusal> {
    let kind = old.kind();
    let mut problems = Problems::default();
    let (before, after) = (old.meta(), new.meta());
    metadata(kind, Some(before), after, settings, &mut problems);
    new_finalizers(before, after, &mut problems);
    match (old, new) {
        (Object::Secret(o), Object::Secret(n)) => secret_change(o, n, &mut problems),
        (Object::ConfigMap(o), Object::ConfigMap(n)) => config_map_change(o, n, &mut problems),
        (Object::AutoscalingRunnerSet(_), Object::AutoscalingRunnerSet(n)) => {
            bounds(n.spec.min_runners, n.spec.max_runners, &mut problems)
        }
        (Object::RoleBinding(o), Object::RoleBinding(n)) if o.role_ref != n.role_ref => {
            role_ref(&n.role_ref.name, &mut problems)
        }
        (Object::ClusterRoleBinding(o), Object::ClusterRoleBinding(n)) if o.role_ref != n.role_ref => {
            role_ref(&n.role_ref.name, &mut problems);
        }
        (Object::Pod(o), Object::Pod(n)) => pod_validation::change(o, n, &mut problems),
        (Object::ResourceQuota(o), Object::ResourceQuota(n)) if o.hard != n.hard => hard_limits(n, &mut problems),
        _ => {}
    }
    problems.check(kind, &after.name)
}

type Predicate = fn(&str) -> bool;
type Judge = fn(&str) -> names::Faults;

fn name_of(kind: Kind, meta: &Meta, problems: &mut Problems) {
    let (fine, judge): (Predicate, Judge) = match kind {
        Kind::Namespace => (names::is_label_name, names::label),
        Kind::Role | Kind::RoleBinding | Kind::ClusterRole | Kind::ClusterRoleBinding => {
            (|name| names::path_segment(name).is_empty(), names::path_segment)
        }
        _ => (names::is_subdomain, names::subdomain),
    };
    // A base may end with a dash: the suffix follows.
    if let Some(base) = &meta.generate_name {
        let probe = format_smolstr!("{base}a");
        if !base.is_empty() && !fine(&probe) {
            add_all(problems, "metadata.generateName", base, judge(&probe));
        }
    }
    if !fine(&meta.name) {
        add_all(problems, "metadata.name", &meta.name, judge(&meta.name));
    }
}

/// The rules of metadata, for the members that `before` did not have already.
fn metadata(kind: Kind, before: Option<&Meta>, meta: &Meta, settings: &ApiSettings, problems: &mut Problems) {
    if before.is_none_or(|b| b.owner_references != meta.owner_references) {
        owners(meta, settings, problems);
    }
    if before.is_none_or(|b| b.finalizers != meta.finalizers) {
        finalizers(kind, meta, problems);
    }
    if before.is_none_or(|b| b.labels != meta.labels) {
        for (key, value) in meta.labels.iter() {
            add_all(problems, "metadata.labels", key, names::qualified(key));
            add_all(problems, "metadata.labels", value, names::label_value(value));
        }
    }
    if before.is_none_or(|b| b.annotations != meta.annotations) {
        annotations(meta, settings, problems);
    }
}

fn finalizers(kind: Kind, meta: &Meta, problems: &mut Problems) {
    for finalizer in meta.finalizers.iter() {
        add_all(problems, "metadata.finalizers", finalizer, names::qualified(finalizer));
    }
    if !kind.is_custom() {
        for (i, finalizer) in meta.finalizers.iter().enumerate() {
            let standard = matches!(finalizer.as_str(), ORPHAN | FOREGROUND | "kubernetes");
            if !standard && !finalizer.contains('/') {
                let field = format_smolstr!("metadata.finalizers[{i}]");
                let text = "name is neither a standard finalizer name nor is it fully qualified";
                problems.add(field, format_smolstr!("Invalid value: \"{finalizer}\": {text}"));
            }
        }
    }
    if meta.has_finalizer(ORPHAN) && meta.has_finalizer(FOREGROUND) {
        let list: Vec<&str> = meta.finalizers.iter().map(Str::as_str).collect();
        let text = "finalizer orphan and foregroundDeletion cannot be both set";
        problems.add("metadata.finalizers", format_smolstr!("Invalid value: {list:?}: {text}"));
    }
}

fn annotations(meta: &Meta, settings: &ApiSettings, problems: &mut Problems) {
    let mut size = 0;
    for (key, value) in meta.annotations.iter() {
        size += key.len() + value.len();
        // Keys are judged in lower case.
        let faults = names::qualified(key);
        if !faults.is_empty() {
            add_all(problems, "metadata.annotations", key, names::qualified(&key.to_lowercase()));
        }
    }
    if size > ANNOTATIONS_MAX {
        let text = if settings.minor >= 28 { "Too long: may not be more than" } else { "Too long: must have at most" };
        problems.add("metadata.annotations", format_smolstr!("{text} {ANNOTATIONS_MAX} bytes"));
    }
}

fn owners(meta: &Meta, settings: &ApiSettings, problems: &mut Problems) {
    let mut controller: Option<&arc_api::OwnerRef> = None;
    for owner in meta.owner_references.iter() {
        if owner.kind == Kind::Event {
            let text = "/v1, Kind=Event is disallowed from being an owner";
            problems
                .add("metadata.ownerReferences", format_smolstr!("Invalid value: {:?}: {text}", owner.name.as_str()));
        }
        if owner.name.is_empty() {
            problems.add("metadata.ownerReferences.name", "Invalid value: \"\": name must not be empty");
        }
        if owner.uid.0 == 0 {
            problems.add("metadata.ownerReferences.uid", "Invalid value: \"\": uid must not be empty");
        }
        match (owner.controller, controller) {
            (true, None) => controller = Some(owner),
            (true, Some(first)) => {
                let text = "Only one reference can have Controller set to true. Found \"true\" in references for";
                let (a, b) = if settings.minor >= 23 {
                    (format_smolstr!("{}/{}", first.kind, first.name), format_smolstr!("{}/{}", owner.kind, owner.name))
                } else {
                    (first.name.clone(), owner.name.clone())
                };
                problems.add(
                    "metadata.ownerReferences",
                    format_smolstr!("Invalid value: {:?}: {text} {a} and {b}", b.as_str()),
                );
            }
            (false, _) => {}
        }
    }
}

/// While an object is being deleted its finalizers can only become fewer (§2.4 item 3).
fn new_finalizers(before: &Meta, after: &Meta, problems: &mut Problems) {
    if !before.is_deleting() || Arc::ptr_eq(&before.finalizers, &after.finalizers) {
        return;
    }
    let added: Vec<String> =
        after.finalizers.iter().filter(|f| !before.has_finalizer(f)).map(|f| format!("{:?}", f.as_str())).collect();
    if !added.is_empty() {
        let text = "no new finalizers can be added if the object is being deleted, found new finalizers";
        problems.add("metadata.finalizers", format_smolstr!("Forbidden: {text} []string{{{}}}", added.join(", ")));
    }
}

fn config_keys<'a>(keys: impl Iterator<Item = &'a Str>, problems: &mut Problems) {
    for key in keys {
        add_all(problems, &format_smolstr!("data[{key}]"), key, names::config_key(key));
    }
}

fn hard_limits(quota: &ResourceQuota, problems: &mut Problems) {
    for (name, limit) in quota.hard.iter() {
        let field = format_smolstr!("spec.hard[{name}]");
        match Quantity::parse(limit) {
            None => problems.add(
                field,
                format_smolstr!("Invalid value: \"{limit}\": quantities must match the regular expression"),
            ),
            Some(q) if q.is_negative() => {
                problems.add(field, format_smolstr!("Invalid value: \"{limit}\": must be greater than or equal to 0"));
            }
            Some(q) if !q.is_whole() && (name == "pods" || name.starts_with("count/")) => {
                problems.add(field, format_smolstr!("Invalid value: {limit}: must be an integer"));
            }
            Some(_) => {}
        }
    }
}

fn secret_change(old: &Secret, new: &Secret, problems: &mut Problems) {
    let stated = |t: &Str| if t.is_empty() { Str::new_static("Opaque") } else { t.clone() };
    if stated(&old.type_) != stated(&new.type_) {
        problems.add("type", format_smolstr!("Invalid value: \"{}\": field is immutable", new.type_));
    }
    if old.immutable {
        if !new.immutable {
            problems.add("immutable", "Forbidden: field is immutable when `immutable` is set");
        }
        if old.data != new.data {
            problems.add("data", "Forbidden: field is immutable when `immutable` is set");
        }
    }
}

/// `immutable` of a ConfigMap has no typed member.
fn config_map_change(old: &ConfigMap, new: &ConfigMap, problems: &mut Problems) {
    let frozen = |map: &ConfigMap| map.metadata.rest.as_ref().is_some_and(|r| r.get("immutable") == Some(&true.into()));
    if frozen(old) {
        if !frozen(new) {
            problems.add("immutable", "Forbidden: field is immutable when `immutable` is set");
        }
        if old.data != new.data {
            problems.add("data", "Forbidden: field is immutable when `immutable` is set");
        }
    }
}

/// The minimum that the shipped definitions state (golden arc-ars-negative-min, arc-listener-negative).
fn bounds(min: Option<i32>, max: Option<i32>, problems: &mut Problems) {
    for (field, value) in [("spec.maxRunners", max), ("spec.minRunners", min)] {
        if let Some(value) = value.filter(|v| *v < 0) {
            let text = format_smolstr!("Invalid value: {value}: {field} in body should be greater than or equal to 0");
            problems.add(field, text);
        }
    }
}

fn role_ref(name: &str, problems: &mut Problems) {
    problems.add("roleRef", format_smolstr!("Invalid value: {name:?}: cannot change roleRef"));
}
