//! Labels and metadata that are handed down from a set to everything made for it. Never writes an object.
//!
//! Source: arc-controllers.md §8.2, §8.3; the maps were compared with a_basic of every release.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::crd::{ArsSpec, Overlay};
use arc_api::{Labels, Meta, Str, format_smolstr};

use crate::behaviour::{Behaviour, LabelEdges, LabelPropagation, Overlays};
use crate::reconcile::Settings;

/// `app.kubernetes.io/part-of`.
pub const PART_OF: &str = "app.kubernetes.io/part-of";
/// `app.kubernetes.io/component`.
pub const COMPONENT: &str = "app.kubernetes.io/component";
/// `app.kubernetes.io/version`: what the version gate looks at.
pub const VERSION: &str = "app.kubernetes.io/version";
/// Name of the set.
pub const SCALE_SET_NAME: &str = "actions.github.com/scale-set-name";
/// Namespace of the set.
pub const SCALE_SET_NAMESPACE: &str = "actions.github.com/scale-set-namespace";
/// From the URL.
pub const ENTERPRISE: &str = "actions.github.com/enterprise";
/// From the URL.
pub const ORGANIZATION: &str = "actions.github.com/organization";
/// From the URL.
pub const REPOSITORY: &str = "actions.github.com/repository";
/// `part-of` of everything the controller makes.
pub const PART_OF_ARC: &str = "gha-runner-scale-set";

/// A map under construction.
pub type Map = BTreeMap<Str, Str>;

/// Enterprise, organisation and repository of a config URL, as label pairs; a URL that says nothing gives none.
pub fn of_url(url: &str, behaviour: &Behaviour) -> Vec<(&'static str, Str)> {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest).split_once('/').map_or("", |(_, path)| path);
    let mut parts = path.split('/').filter(|p| !p.is_empty());
    let value = |text| label_value(text, behaviour);
    match (parts.next(), parts.next()) {
        (Some("enterprises"), Some(enterprise)) => vec![(ENTERPRISE, value(enterprise))],
        (Some(org), Some(repo)) => vec![(ORGANIZATION, value(org)), (REPOSITORY, value(repo))],
        (Some(org), None) => vec![(ORGANIZATION, value(org))],
        (None, _) => vec![],
    }
}

/// A name as a label value: cut to 63 characters with a mark, edges stripped from 0.11.0 on.
fn label_value(text: &str, behaviour: &Behaviour) -> Str {
    if text.len() > 63 {
        return format_smolstr!("{}-trim", &text[..58]);
    }
    match behaviour.label_edges {
        LabelEdges::Kept => text.into(),
        LabelEdges::Stripped => text.trim_matches(['-', '_', '.']).into(),
    }
}

/// Labels of an object that is made for a set: the set's own as far as they are handed down, then the generated ones.
pub fn for_set(ars: &Meta, component: &'static str, settings: &Settings) -> Map {
    let mut map = Map::new();
    let common = [VERSION, ENTERPRISE, ORGANIZATION, REPOSITORY];
    let all = settings.behaviour.label_propagation == LabelPropagation::All;
    let inherited = ars.labels.iter().filter(|(k, _)| all || common.contains(&k.as_str()));
    map.extend(inherited.map(|(k, v)| (k.clone(), v.clone())));
    let version = ars.label(VERSION).cloned().unwrap_or_default();
    for (key, value) in [
        (PART_OF, PART_OF_ARC.into()),
        (COMPONENT, component.into()),
        (VERSION, version),
        (SCALE_SET_NAME, ars.name.clone()),
        (SCALE_SET_NAMESPACE, ars.namespace.clone()),
    ] {
        map.insert(key.into(), value);
    }
    exclude(&mut map, settings);
    map
}

/// The version among the labels of [`for_set`].
pub fn version_of_set(ars: &Meta, settings: &Settings) -> Option<Str> {
    let excluded = settings.excluded_label_prefixes.iter().any(|p| VERSION.starts_with(p.as_str()));
    (!excluded).then(|| ars.label(VERSION).cloned().unwrap_or_default())
}

/// Labels of an object that serves a listener: the listener's own, or (0.9.1 and older) only which set it is for.
pub fn for_listener(listener: &Meta, set: (&Str, &Str), settings: &Settings) -> Map {
    let mut map = match settings.behaviour.label_propagation {
        LabelPropagation::All => (*listener.labels).clone(),
        LabelPropagation::Common => {
            let (namespace, name) = set;
            Map::from([(SCALE_SET_NAME.into(), name.clone()), (SCALE_SET_NAMESPACE.into(), namespace.clone())])
        }
    };
    exclude(&mut map, settings);
    map
}

/// Drops keys with an excluded prefix, generated ones included (#3607).
fn exclude(map: &mut Map, settings: &Settings) {
    if !settings.excluded_label_prefixes.is_empty() {
        map.retain(|k, _| !settings.excluded_label_prefixes.iter().any(|p| k.starts_with(p.as_str())));
    }
}

/// The user's overlay for one generated object, if the release has overlays.
pub fn overlay<'a>(overlays: &'a BTreeMap<Str, Overlay>, member: &str, behaviour: &Behaviour) -> Option<&'a Overlay> {
    match behaviour.overlays {
        Overlays::None => None,
        Overlays::Supported | Overlays::Complete => overlays.get(member),
    }
}

/// Puts generated labels and annotations over an overlay: the user's are the base, generated ones win (#4400).
///
/// # Errors
/// The recovered panic of an overlay that has labels but no annotations (Q-METADATA-NILMAP-PANIC).
pub fn over(
    overlay: Option<&Overlay>,
    labels: Map,
    annotations: Map,
    behaviour: &Behaviour,
) -> Result<(Labels, Labels), Str> {
    let Some(overlay) = overlay else { return Ok((Arc::new(labels), Arc::new(annotations))) };
    let nil = overlay.annotations.is_empty() && !overlay.labels.is_empty() && !annotations.is_empty();
    if nil && behaviour.overlays == Overlays::Supported {
        return Err("panic: assignment to entry in nil map [recovered]".into());
    }
    let merge = |base: &Labels, top: Map| {
        let mut map = (**base).clone();
        map.extend(top);
        Arc::new(map)
    };
    Ok((merge(&overlay.labels, labels), merge(&overlay.annotations, annotations)))
}

/// The overlays that an AutoscalingListener takes over for the objects made for it: member of the set's spec, member of the
/// listener's spec.
const LISTENER_OVERLAYS: [(&str, &str); 4] = [
    ("listenerConfigSecretMetadata", "configSecretMetadata"),
    ("listenerServiceAccountMetadata", "serviceAccountMetadata"),
    ("listenerRoleMetadata", "roleMetadata"),
    ("listenerRoleBindingMetadata", "roleBindingMetadata"),
];

/// The overlays of a listener's spec.
pub fn listener_overlays(spec: &ArsSpec, behaviour: &Behaviour) -> BTreeMap<Str, Overlay> {
    let found = LISTENER_OVERLAYS
        .iter()
        .filter_map(|(from, to)| overlay(&spec.overlays, from, behaviour).map(|o| (Str::from(*to), o.clone())));
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Release;
    use arc_api::meta::labels;

    #[test]
    fn urls_become_labels() {
        let b = Behaviour::of(Release::V0_14_2);
        assert_eq!(of_url("http://127.0.0.1:9090/my-org", &b), [(ORGANIZATION, "my-org".into())]);
        assert_eq!(of_url("https://github.com/o/-r-", &b), [(ORGANIZATION, "o".into()), (REPOSITORY, "r".into())]);
        assert_eq!(of_url("https://github.com/enterprises/e/", &b), [(ENTERPRISE, "e".into())]);
        assert_eq!(of_url("https://github.com", &b), []);
        let old = Behaviour::of(Release::V0_10_1);
        assert_eq!(of_url("https://github.com/-o", &old), [(ORGANIZATION, "-o".into())]);
        let long = format!("https://github.com/{}", "x".repeat(64));
        assert_eq!(of_url(&long, &b)[0].1, format_smolstr!("{}-trim", "x".repeat(58)));
    }

    #[test]
    fn an_overlay_without_annotations_panics_in_the_releases_that_have_overlays() {
        let one = Overlay { labels: labels([("team", "a")]), ..Overlay::default() };
        let made = || Map::from([("k".into(), "v".into())]);
        let old = over(Some(&one), made(), made(), &Behaviour::of(Release::V0_14_2));
        assert!(old.is_err_and(|e| e.contains("nil map")));
        let next = over(Some(&one), made(), made(), &Behaviour::of(Release::Next)).expect("optional");
        assert_eq!(next.0.len(), 2);
    }
}
