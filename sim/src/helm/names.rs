//! Names, labels and ownership marks that both charts and Helm put on objects. Decides nothing about contents.
//!
//! Source: arc-controllers.md §8.1, §8.2, §9; recorded: a_basic, a_update2.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::{Meta, Object, Str, format_smolstr};
use controller_core::Release;
use serde_json::Value;

use super::values::{ScaleSetValues, text, truthy};

/// The finalizer that keeps a scale set's identity until its AutoscalingRunnerSet has been cleaned up.
pub const CLEANUP_PROTECTION: &str = "actions.github.com/cleanup-protection";
/// Helm's label on everything it manages.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Helm's annotation with the release's name.
pub const RELEASE_NAME: &str = "meta.helm.sh/release-name";
/// Helm's annotation with the release's namespace.
pub const RELEASE_NAMESPACE: &str = "meta.helm.sh/release-namespace";

/// Cuts at 63 characters, and a dash that is left at the end.
pub(super) fn truncated(name: &str) -> Str {
    let cut: String = name.chars().take(63).collect();
    cut.strip_suffix('-').unwrap_or(&cut).into()
}

/// The names of one scale set's objects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetNames {
    /// Scale set name as given, e.g. in labels.
    pub scale_set: Str,
    /// The AutoscalingRunnerSet's name.
    pub ars: Str,
    /// Namespace of all objects.
    pub namespace: Str,
    base: Str,
}

impl SetNames {
    /// The names of the set that `helm install RELEASE_NAME -n NAMESPACE` makes.
    pub fn new(release: Release, values: &ScaleSetValues, release_name: &str, namespace: &str) -> SetNames {
        let scale_set =
            if values.scale_set_name.is_empty() { release_name.into() } else { values.scale_set_name.clone() };
        let ars = if release >= Release::V0_13_0 { scale_set.replace('_', "-").into() } else { scale_set.clone() };
        SetNames {
            base: truncated(&format_smolstr!("{scale_set}-gha-rs")),
            namespace: values.namespace.clone().unwrap_or_else(|| namespace.into()),
            ars,
            scale_set,
        }
    }
    /// Role and RoleBinding of the controller.
    pub fn manager(&self) -> Str {
        format_smolstr!("{}-manager", self.base)
    }
    /// The ServiceAccount without rights.
    pub fn no_permission(&self) -> Str {
        format_smolstr!("{}-no-permission", self.base.replace('_', "-"))
    }
    /// Role and RoleBinding of the container hooks.
    pub fn kube_mode(&self) -> Str {
        format_smolstr!("{}-kube-mode", self.base)
    }
    /// ServiceAccount of the container hooks.
    pub fn kube_mode_account(&self) -> Str {
        format_smolstr!("{}-kube-mode", self.base.replace('_', "-"))
    }
    /// The Secret that the chart makes.
    pub fn github_secret(&self) -> Str {
        format_smolstr!("{}-github-secret", self.base.replace('_', "-"))
    }
    /// The labels that every object of the set carries.
    pub fn labels(&self, release: Release) -> BTreeMap<Str, Str> {
        let mut out = BTreeMap::new();
        let mut put = |k: &str, v: Str| _ = out.insert(Str::from(k), v);
        put("helm.sh/chart", truncated(&format!("gha-rs-{release}")));
        put("app.kubernetes.io/name", self.scale_set.clone());
        put("app.kubernetes.io/instance", self.scale_set.clone());
        put("app.kubernetes.io/version", release.as_str().into());
        put(MANAGED_BY, "Helm".into());
        put("app.kubernetes.io/part-of", "gha-rs".into());
        put("actions.github.com/scale-set-name", self.scale_set.clone());
        put("actions.github.com/scale-set-namespace", self.namespace.clone());
        out
    }
}

/// Metadata of one object of the set: the user's extra labels and annotations (0.11.0 on) below the chart's own.
///
/// `which` is the object's key in `resourceMeta`; `component` its label, if it has one.
pub(super) fn set_meta(
    release: Release,
    values: &ScaleSetValues,
    names: &SetNames,
    name: Str,
    which: &str,
    component: &str,
) -> Meta {
    let own = names.labels(release);
    let is_set = which == "autoscalingRunnerSet";
    let (mut labels, mut annotations) = (BTreeMap::new(), BTreeMap::new());
    if release >= Release::V0_11_0 {
        let special = &values.all["resourceMeta"][which];
        for (source, strict) in [(&values.all, true), (special, is_set)] {
            let filtered = release >= Release::V0_13_0 && strict;
            labels.extend(entries(&source["labels"]).filter(|(k, _)| {
                let reserved = own.contains_key(k) || k == COMPONENT || k.starts_with("actions.github.com/");
                !(filtered && reserved)
            }));
            annotations.extend(entries(&source["annotations"]).filter(|(k, _)| {
                let reserved = k.starts_with("actions.github.com/cleanup-") || k == "actions.github.com/values-hash";
                !(filtered && is_set && reserved)
            }));
        }
    }
    labels.extend(own);
    if !component.is_empty() {
        labels.insert(COMPONENT.into(), component.into());
    }
    Meta { labels: Arc::new(labels), annotations: Arc::new(annotations), ..Meta::named(names.namespace.clone(), name) }
}

const COMPONENT: &str = "app.kubernetes.io/component";

/// The entries of a map of texts.
pub(super) fn entries(value: &Value) -> impl Iterator<Item = (Str, Str)> + '_ {
    value
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, v)| truthy(v) || v.is_string())
        .map(|(k, v)| (k.into(), text(v)))
}

/// The object as Helm sends it: with its label and its two annotations.
pub fn owned(object: &Object, release_name: &str, namespace: &str) -> Object {
    let mut object = object.clone();
    let meta = object.meta_mut();
    Arc::make_mut(&mut meta.labels).insert(MANAGED_BY.into(), "Helm".into());
    let annotations = Arc::make_mut(&mut meta.annotations);
    annotations.insert(RELEASE_NAME.into(), release_name.into());
    annotations.insert(RELEASE_NAMESPACE.into(), namespace.into());
    object
}

/// Why Helm will not take an existing object into a release; `None` if it may.
pub fn ownership_problem(meta: &Meta, release_name: &str, namespace: &str) -> Option<Str> {
    let mut problems = Vec::new();
    let mut check = |what: &str, key: &str, found: Option<&Str>, wanted: &str| match found {
        None => problems.push(format!("{what} validation error: missing key \"{key}\": must be set to \"{wanted}\"")),
        Some(found) if found != wanted => problems.push(format!(
            "{what} validation error: key \"{key}\" must equal \"{wanted}\": current value is \"{found}\""
        )),
        Some(_) => {}
    };
    check("label", MANAGED_BY, meta.label(MANAGED_BY), "Helm");
    check("annotation", RELEASE_NAME, meta.annotation(RELEASE_NAME), release_name);
    check("annotation", RELEASE_NAMESPACE, meta.annotation(RELEASE_NAMESPACE), namespace);
    (!problems.is_empty()).then(|| format_smolstr!("invalid ownership metadata; {}", problems.join("; ")))
}
