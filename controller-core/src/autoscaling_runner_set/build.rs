//! The objects that a set owns, as they should be, and whether those that exist are right. Never asks anybody.
//!
//! Source: arc-controllers.md §1.7, §3.1 steps 8–16, §3.7; labels, annotations and specs compared with a_basic.

use std::sync::Arc;

use arc_api::crd::*;
use arc_api::meta::Key;
use arc_api::{Kind, Labels, Meta, Object, OwnerRef, ScaleSetId, Str, format_smolstr};

use super::identity::Identity;
use crate::behaviour::*;
use crate::labels::{self, Map};
use crate::reconcile::Settings;
use crate::{hashes, names};

/// The newest runner set.
///
/// Creation times have whole seconds, so ties are common, and upstream's sort of an unordered list leaves them to chance in
/// every pass (Q-DUP-ERS, Q-LISTENER-DEAD-ERS). Differs: chance is a hash over the name and the version of the
/// AutoscalingRunnerSet, so the winner is the same for the same history and may change from pass to pass. The corrected
/// controller takes what is not being deleted and fits, by name.
pub(super) fn latest<'a>(
    ars: &AutoscalingRunnerSet,
    sets: impl Iterator<Item = &'a Arc<EphemeralRunnerSet>>,
    settings: &Settings,
) -> Option<&'a Arc<EphemeralRunnerSet>> {
    if settings.behaviour.ars_ers_name == ErsName::Derived {
        let wanted = spec_hash(ars, settings);
        let hash = |s: &EphemeralRunnerSet| read_hash(&s.metadata, settings) == Some(&wanted);
        let live = sets.filter(|s| !s.metadata.is_deleting());
        return live.max_by_key(|s| (hash(s), s.metadata.creation_timestamp, s.metadata.name.clone()));
    }
    let toss = |s: &EphemeralRunnerSet| {
        let version = ars.metadata.resource_version.to_le_bytes();
        hashes::Fnv::default().bytes(s.metadata.name.as_bytes()).bytes(&version).number()
    };
    sets.max_by_key(|s| (s.metadata.creation_timestamp, toss(s)))
}

/// Whether runners of a set are running or about to.
pub(super) fn is_working(status: &ErsStatus) -> bool {
    status.running_ephemeral_runners + status.pending_ephemeral_runners > 0
}

fn scale_set_id(ars: &AutoscalingRunnerSet) -> ScaleSetId {
    let text = ars.metadata.annotation(names::SCALE_SET_ID);
    ScaleSetId(text.and_then(|t| t.parse().ok()).unwrap_or_default())
}

/// The hash of what the runners depend on; with derived names the registration is part of it.
fn spec_hash(ars: &AutoscalingRunnerSet, settings: &Settings) -> Str {
    let hash = hashes::spec(&ars.spec, &settings.behaviour);
    match settings.behaviour.ars_ers_name {
        ErsName::Generated => hash.runner_set(),
        ErsName::Derived => hash.runner_set_of(scale_set_id(ars)),
    }
}

fn read_hash<'a>(meta: &'a Meta, settings: &Settings) -> Option<&'a Str> {
    let key = names::spec_hash_key(&settings.behaviour);
    if names::hashes_are_labels(&settings.behaviour) { meta.label(key) } else { meta.annotation(key) }
}

/// Puts a spec hash where the release keeps it.
fn write_hash(labels: &mut Map, annotations: &mut Map, hash: Str, behaviour: &Behaviour) {
    let map = if names::hashes_are_labels(behaviour) { labels } else { annotations };
    map.insert(names::spec_hash_key(behaviour).into(), hash);
}

/// Whether a runner set is of the current spec (and, corrected controller, of the current identity).
pub(super) fn runner_set_fits(
    set: &EphemeralRunnerSet,
    ars: &AutoscalingRunnerSet,
    identity: &Identity,
    settings: &Settings,
) -> bool {
    read_hash(&set.metadata, settings) == Some(&spec_hash(ars, settings)) && !identity.is_replaced_since(&set.metadata)
}

/// A runner set without runners.
///
/// # Errors
/// The text of Q-METADATA-NILMAP-PANIC.
pub(super) fn runner_set(
    ars: &AutoscalingRunnerSet,
    name: Option<Str>,
    identity: &Identity,
    settings: &Settings,
) -> Result<EphemeralRunnerSet, Str> {
    let behaviour = &*settings.behaviour;
    let (spec, meta) = (&ars.spec, &ars.metadata);
    let mut labels = labels::for_set(meta, "runner-set", settings);
    let mut annotations = Map::new();
    let mut copy = |key: &'static str| {
        if let Some(value) = meta.annotation(key) {
            annotations.insert(key.into(), value.clone());
        }
    };
    copy(names::GROUP_NAME);
    if !names::hashes_are_labels(behaviour) {
        copy(names::scale_set_name_key(behaviour));
    }
    if let Some(uid) = identity.sound() {
        annotations.insert(names::IDENTITY.into(), format_smolstr!("{uid}"));
    }
    write_hash(&mut labels, &mut annotations, spec_hash(ars, settings), behaviour);
    let overlay = |member| labels::overlay(&spec.overlays, member, behaviour);
    let (labels, annotations) = labels::over(overlay("ephemeralRunnerSetMetadata"), labels, annotations, behaviour)?;
    let shared = |member| overlay(member).cloned().map(Arc::new);
    let runner = ErSpec {
        github_config_url: spec.github_config_url.clone(),
        github_config_secret: spec.github_config_secret.clone(),
        runner_scale_set_id: scale_set_id(ars),
        proxy: spec.proxy.clone(),
        github_server_tls: spec.github_server_tls.clone(),
        vault_config: spec.vault_config.clone(),
        ephemeral_runner_config_secret_metadata: shared("ephemeralRunnerConfigSecretMetadata"),
        template: Arc::clone(&spec.template),
        ..ErSpec::default()
    };
    let generate_name = name.is_none().then(|| format_smolstr!("{}-", meta.name));
    let metadata = Meta {
        generate_name,
        labels,
        annotations,
        owner_references: [OwnerRef::controller(Kind::AutoscalingRunnerSet, meta)].into(),
        ..Meta::named(meta.namespace.clone(), name.unwrap_or_default())
    };
    let spec = ErsSpec {
        ephemeral_runner_spec: Arc::new(runner),
        ephemeral_runner_metadata: shared("ephemeralRunnerMetadata"),
        ..ErsSpec::default()
    };
    Ok(EphemeralRunnerSet { metadata, spec, ..EphemeralRunnerSet::default() })
}

/// The derived name that nobody has: set name and five characters of the hash, as long as a generated one; counted up while
/// an earlier set of that name is still going away.
pub(super) fn free_name(ars: &AutoscalingRunnerSet, taken: &[Object], identity: &Identity, settings: &Settings) -> Str {
    let mut hash = hashes::Fnv::default().bytes(spec_hash(ars, settings).as_bytes());
    if let Some(uid) = identity.sound() {
        hash = hash.bytes(&uid.0.to_le_bytes());
    }
    let text = hash.text();
    let base = format_smolstr!("{}-{}", ars.metadata.name, text.get(..5).unwrap_or(&text));
    let is_taken = |name: &Str| taken.iter().any(|o| o.meta().name == *name);
    let names = (2..).map(|n| format_smolstr!("{base}-{n}"));
    std::iter::once(base.clone()).chain(names).find(|n| !is_taken(n)).unwrap_or(base)
}

/// The listener of a set, bound to one runner set by name. A set that must not offer jobs listens with no capacity.
///
/// # Errors
/// The text of Q-METADATA-NILMAP-PANIC.
pub(super) fn listener(
    key: Key,
    ars: &AutoscalingRunnerSet,
    latest: &EphemeralRunnerSet,
    offers_jobs: bool,
    settings: &Settings,
) -> Result<AutoscalingListener, Str> {
    let behaviour = &*settings.behaviour;
    let spec = &ars.spec;
    let mut labels = labels::for_set(&ars.metadata, "runner-scale-set-listener", settings);
    let mut annotations = Map::new();
    write_hash(&mut labels, &mut annotations, hashes::spec(spec, behaviour).listener(), behaviour);
    if behaviour.ars_values_hash == ValuesHash::Compared
        && let Some(hash) = ars.metadata.annotation(names::VALUES_HASH)
    {
        annotations.insert(names::VALUES_HASH.into(), hash.clone());
    }
    let overlay = labels::overlay(&spec.overlays, "autoscalingListener", behaviour);
    let (labels, annotations): (Labels, Labels) = labels::over(overlay, labels, annotations, behaviour)?;
    let spec = Arc::new(listener_spec(ars, latest, offers_jobs, settings));
    let metadata = Meta { labels, annotations, ..Meta::named(key.namespace, key.name) };
    Ok(AutoscalingListener { metadata, spec, ..AutoscalingListener::default() })
}

fn listener_spec(
    ars: &AutoscalingRunnerSet,
    latest: &EphemeralRunnerSet,
    offers_jobs: bool,
    settings: &Settings,
) -> AlSpec {
    let spec = &ars.spec;
    let limit = |n: i32| if offers_jobs { n } else { 0 };
    AlSpec {
        github_config_url: spec.github_config_url.clone(),
        github_config_secret: spec.github_config_secret.clone(),
        runner_scale_set_id: scale_set_id(ars),
        autoscaling_runner_set_namespace: ars.metadata.namespace.clone(),
        autoscaling_runner_set_name: ars.metadata.name.clone(),
        ephemeral_runner_set_name: latest.metadata.name.clone(),
        max_runners: limit(spec.max()),
        min_runners: limit(spec.min()),
        image: settings.image.clone(),
        image_pull_secrets: settings.image_pull_secrets.clone(),
        proxy: spec.proxy.clone(),
        github_server_tls: spec.github_server_tls.clone(),
        vault_config: spec.vault_config.clone(),
        metrics: spec.listener_metrics.clone(),
        template: spec.listener_template.clone(),
        overlays: labels::listener_overlays(spec, &settings.behaviour),
    }
}

/// Step 13: whether a listener may stay. Releases compare two hashes, and so keep a listener whose image, scale set or runner
/// set is another one (Q-LISTENER-IMAGE-STALE, Q-LISTENER-DEAD-ERS).
///
/// # Errors
/// As [`listener`].
pub(super) fn listener_fits(
    have: &AutoscalingListener,
    ars: &AutoscalingRunnerSet,
    latest: &EphemeralRunnerSet,
    offers_jobs: bool,
    settings: &Settings,
) -> Result<bool, Str> {
    let behaviour = &*settings.behaviour;
    let checked = behaviour.ars_listener_binding == ListenerBinding::Checked;
    if checked && labels::overlay(&ars.spec.overlays, "autoscalingListener", behaviour).is_none() {
        // What `listener` would make, without making it: every pass of every set asks.
        let compared = behaviour.ars_values_hash == ValuesHash::Compared;
        let values = ars.metadata.annotation(names::VALUES_HASH).filter(|_| compared);
        let hash = hashes::spec(&ars.spec, behaviour).listener();
        return Ok(have.metadata.annotation(names::VALUES_HASH) == values
            && read_hash(&have.metadata, settings) == Some(&hash)
            && have.metadata.label(labels::VERSION).cloned() == labels::version_of_set(&ars.metadata, settings)
            && *have.spec == listener_spec(ars, latest, offers_jobs, settings));
    }
    if checked {
        let want = listener(have.metadata.key(), ars, latest, offers_jobs, settings)?;
        let same = |key: &str| have.metadata.annotation(key) == want.metadata.annotation(key);
        let version = |l: &AutoscalingListener| l.metadata.label(labels::VERSION).cloned();
        return Ok(have.spec == want.spec
            && same(names::VALUES_HASH)
            && read_hash(&have.metadata, settings) == read_hash(&want.metadata, settings)
            && version(have) == version(&want));
    }
    let values = |meta: &Meta| meta.annotation(names::VALUES_HASH).cloned();
    let values_fit =
        behaviour.ars_values_hash == ValuesHash::Ignored || values(&have.metadata) == values(&ars.metadata);
    let hash = hashes::spec(&ars.spec, behaviour).listener();
    Ok(values_fit && read_hash(&have.metadata, settings) == Some(&hash))
}
