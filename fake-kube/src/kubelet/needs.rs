//! What a container or pod needs from the API before it can start: Secrets and ConfigMaps. Never waits.
//!
//! Source: kubernetes-api.md §5.3 (`CreateContainerConfigError`, missing volumes).

use std::sync::Arc;

use arc_api::core::{ConfigMap, Secret};
use arc_api::meta::Key;
use arc_api::pod::{Container, PodSpec};
use arc_api::{Str, format_smolstr};

/// Where Secrets and ConfigMaps are looked up.
pub trait Lookup {
    /// A Secret.
    fn secret(&self, key: &Key) -> Option<&Arc<Secret>>;
    /// A ConfigMap.
    fn config_map(&self, key: &Key) -> Option<&Arc<ConfigMap>>;
}

impl Lookup for crate::ApiServer {
    fn secret(&self, key: &Key) -> Option<&Arc<Secret>> {
        self.typed(key)
    }
    fn config_map(&self, key: &Key) -> Option<&Arc<ConfigMap>> {
        self.typed(key)
    }
}

/// What is missing in the container's environment.
pub fn missing_env(container: &Container, namespace: &str, lookup: &dyn Lookup) -> Option<Str> {
    for source in container.env.iter().filter_map(|e| e.value_from.as_ref()) {
        if let Some(wanted) = source.secret_key_ref.as_ref().filter(|r| !r.optional) {
            match lookup.secret(&Key::new(namespace, wanted.name.clone())) {
                None => return Some(format_smolstr!("secret \"{}\" not found", wanted.name)),
                Some(s) if !s.data.contains_key(&wanted.key) => {
                    return Some(format_smolstr!(
                        "couldn't find key {} in Secret {namespace}/{}",
                        wanted.key,
                        wanted.name
                    ));
                }
                Some(_) => {}
            }
        }
        if let Some(wanted) = source.config_map_key_ref.as_ref().filter(|r| !r.optional) {
            match lookup.config_map(&Key::new(namespace, wanted.name.clone())) {
                None => return Some(format_smolstr!("configmap \"{}\" not found", wanted.name)),
                Some(c) if !c.data.contains_key(&wanted.key) => {
                    let (key, name) = (&wanted.key, &wanted.name);
                    return Some(format_smolstr!("couldn't find key {key} in ConfigMap {namespace}/{name}"));
                }
                Some(_) => {}
            }
        }
    }
    for source in &container.env_from {
        if let Some(wanted) = &source.secret_ref
            && lookup.secret(&Key::new(namespace, wanted.name.clone())).is_none()
        {
            return Some(format_smolstr!("secret \"{}\" not found", wanted.name));
        }
        if let Some(wanted) = &source.config_map_ref
            && lookup.config_map(&Key::new(namespace, wanted.name.clone())).is_none()
        {
            return Some(format_smolstr!("configmap \"{}\" not found", wanted.name));
        }
    }
    None
}

/// Which Secret or ConfigMap volume cannot be mounted.
pub fn missing_volume(spec: &PodSpec, namespace: &str, lookup: &dyn Lookup) -> Option<Str> {
    for volume in &spec.volumes {
        let what = match (&volume.secret, &volume.config_map) {
            (Some(secret), _)
                if !secret.optional && lookup.secret(&Key::new(namespace, secret.secret_name.clone())).is_none() =>
            {
                format_smolstr!("secret \"{}\" not found", secret.secret_name)
            }
            (_, Some(map)) if lookup.config_map(&Key::new(namespace, map.name.clone())).is_none() => {
                format_smolstr!("configmap \"{}\" not found", map.name)
            }
            _ => continue,
        };
        return Some(format_smolstr!("MountVolume.SetUp failed for volume \"{}\" : {what}", volume.name));
    }
    None
}

/// Whether the pod names any Secret or ConfigMap whose absence could hold it.
pub fn names(spec: &PodSpec, object: &str) -> bool {
    let key = |name: &Str| name == object;
    spec.volumes.iter().any(|v| {
        v.secret.as_ref().is_some_and(|s| key(&s.secret_name)) || v.config_map.as_ref().is_some_and(|c| key(&c.name))
    }) || spec.init_containers.iter().chain(&spec.containers).any(|c| {
        c.env.iter().filter_map(|e| e.value_from.as_ref()).any(|s| {
            s.secret_key_ref.as_ref().is_some_and(|r| key(&r.name))
                || s.config_map_key_ref.as_ref().is_some_and(|r| key(&r.name))
        }) || c.env_from.iter().any(|s| {
            s.secret_ref.as_ref().is_some_and(|r| key(&r.name))
                || s.config_map_ref.as_ref().is_some_and(|r| key(&r.name))
        })
    })
}
