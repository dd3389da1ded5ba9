//! Names of generated objects, annotation keys and finalizers. Never touches an object.
//!
//! Source: arc-controllers.md §8.1, §8.4; the listener names were checked against a_basic of every release.

use arc_api::crd::{ArsSpec, AutoscalingRunnerSet};
use arc_api::meta::Key;
use arc_api::{SmolStrBuilder, Str, format_smolstr};

use crate::behaviour::{Behaviour, ListenerIdentityName, ListenerName, ValuesHash};
use crate::hashes::{Fnv, hash8};

/// Finalizer of an AutoscalingRunnerSet.
pub const ARS_FINALIZER: &str = "autoscalingrunnerset.actions.github.com/finalizer";
/// Finalizer of an AutoscalingListener.
pub const AL_FINALIZER: &str = "autoscalinglistener.actions.github.com/finalizer";
/// What the chart puts on objects that the controller still needs during an uninstall.
pub const PROTECTION: &str = "actions.github.com/cleanup-protection";

/// Annotation with the id of the scale set at the service.
pub const SCALE_SET_ID: &str = "runner-scale-set-id";
/// Annotation with the name of the scale set's runner group.
pub const GROUP_NAME: &str = "actions.github.com/runner-group-name";
/// Annotation with the hash of the chart's values (0.9.0 on).
pub const VALUES_HASH: &str = "actions.github.com/values-hash";
/// Annotation with the hash of spec and labels (0.14.0 on).
pub const CHANGE_HASH: &str = "actions.github.com/change-hash";
/// Annotation with the time at which the service denied the scale set first (`next`).
pub const SCALE_SET_MISSED: &str = "actions.github.com/runner-scale-set-missed-at";
/// Annotation with the identity of the ServiceAccount that the runners of a set were made under (`next`).
pub const IDENTITY: &str = "actions.github.com/runner-identity";

/// Key of the spec hash: a label up to 0.8.3, an annotation since.
pub fn spec_hash_key(behaviour: &Behaviour) -> &'static str {
    if hashes_are_labels(behaviour) { "runner-spec-hash" } else { "actions.github.com/runner-spec-hash" }
}

/// Key of the annotation with the scale set's name (#3098).
pub fn scale_set_name_key(behaviour: &Behaviour) -> &'static str {
    if hashes_are_labels(behaviour) { "runner-scale-set-name" } else { "actions.github.com/runner-scale-set-name" }
}

/// Whether spec hashes are labels and the other keys have their old form (0.8.3 and older).
pub fn hashes_are_labels(behaviour: &Behaviour) -> bool {
    behaviour.ars_values_hash == ValuesHash::Ignored
}

/// `<ars>-<hash8(ns)>-listener`.
fn by_namespace(ars: &str, namespace: &str) -> Str {
    listener_of(ars, Fnv::default().bytes(namespace.as_bytes()))
}

/// The same for any hash; without formatting, every pass of every set asks for its listener's name.
fn listener_of(ars: &str, hash: Fnv) -> Str {
    let mut name = SmolStrBuilder::new();
    name.push_str(ars);
    name.push('-');
    hash.push8(&mut name);
    name.push_str("-listener");
    name.finish()
}

/// Name of a set's AutoscalingListener, and of its pod.
pub fn listener(ars: &Key, spec: &ArsSpec, behaviour: &Behaviour) -> Str {
    match behaviour.al_name {
        ListenerName::Namespace => by_namespace(&ars.name, &ars.namespace),
        ListenerName::NamespaceGroupUrl => {
            let parts = [&*ars.namespace, "@", &spec.runner_group, "@", &spec.github_config_url];
            listener_of(&ars.name, parts.iter().fold(Fnv::default(), |hash, part| hash.bytes(part.as_bytes())))
        }
    }
}

/// Name of the listener's ServiceAccount, Role and RoleBinding.
pub fn listener_identity(listener: &Str, ars: &Key, behaviour: &Behaviour) -> Str {
    match behaviour.al_identity_name {
        ListenerIdentityName::SetAndNamespace => by_namespace(&ars.name, &ars.namespace),
        ListenerIdentityName::AsListener => listener.clone(),
    }
}

/// Name of the mirrored GitHub secret (0.11.0 and older).
pub fn listener_mirror(ars: &Key) -> Str {
    by_namespace(&ars.name, &ars.namespace)
}

/// Name of the listener's config secret.
pub fn listener_config(listener: &str) -> Str {
    format_smolstr!("{listener}-config")
}

/// Name of the Role and RoleBinding, in the controller namespace, that let a listener write its own status (`next`).
pub fn listener_status_rights(listener: &str) -> Str {
    format_smolstr!("{listener}-status")
}

/// Name of the listener's proxy secret. Up to 0.13.0 it is made from the namespace, as the listener's own name is.
pub fn listener_proxy(listener: &str) -> Str {
    format_smolstr!("{listener}-proxy")
}

/// Name of an EphemeralRunnerSet's proxy secret.
pub fn runner_proxy(runner_set: &Key) -> Str {
    format_smolstr!("{}-{}-runner-proxy", runner_set.name, hash8(&runner_set.namespace))
}

/// Name of the scale set at the service.
pub fn scale_set(ars: &AutoscalingRunnerSet) -> &Str {
    if ars.spec.runner_scale_set_name.is_empty() { &ars.metadata.name } else { &ars.spec.runner_scale_set_name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Release;

    #[test]
    fn listener_names_are_the_recorded_ones_in_every_release() {
        let ars = Key::new("arc-runners", "demo");
        let spec = ArsSpec { github_config_url: "http://127.0.0.1:9090/my-org".into(), ..ArsSpec::default() };
        for release in Release::tagged() {
            let b = Behaviour::of(*release);
            let want = if *release < Release::V0_13_1 { "demo-754b578d-listener" } else { "demo-65b9b494-listener" };
            let name = listener(&ars, &spec, &b);
            assert_eq!(name, want, "{release}");
            assert_eq!(listener_identity(&name, &ars, &b), want, "{release}");
        }
    }

    #[test]
    fn a_group_changes_the_name_from_0_13_1_on() {
        // a_update2/0.14.2, phase 7: `demo-renamed-65b9b494-listener` becomes `demo-renamed-ff8b6d95-listener`.
        let ars = Key::new("arc-runners", "demo-renamed");
        let url: Str = "http://127.0.0.1:9090/my-org".into();
        let spec = ArsSpec { github_config_url: url, runner_group: "grp2".into(), ..ArsSpec::default() };
        assert_eq!(listener(&ars, &spec, &Behaviour::of(Release::V0_14_2)), "demo-renamed-ff8b6d95-listener");
        assert_eq!(listener(&ars, &spec, &Behaviour::of(Release::V0_13_0)), "demo-renamed-754b578d-listener");
    }
}
