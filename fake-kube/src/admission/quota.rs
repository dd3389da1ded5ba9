//! ResourceQuota: a creation that would exceed a limit is refused, one that fits is charged at once.
//!
//! `exceeded quota` and `failed quota` decide between retry and permanent failure in ARC (kubernetes-api.md §1.2, pitfall 10).
//! Giving back is the quota controller's, as is filling `used` in the first place: a resource without a `used` entry has an
//! unknown status and refuses.
//!
//! Source: kubernetes-api.md §4.4; plugin/resourcequota of kubernetes/apiserver; golden quota.
//! Differs: scopes are not modelled, and `status.hard` is `spec.hard`, so a raised limit acts at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::ResourceQuota;
use arc_api::pod::{Container, PodSpec, Resources};
use arc_api::{Kind, Object, Str, Time, format_smolstr};

use crate::api::ApiServer;
use crate::quantity::Quantity;
use crate::status::{self, Refusal};

/// From this minor version on the refusal names the containers that lack a request.
const NAMES_CONTAINERS_SINCE: u32 = 25;

/// Kinds that can be limited by their plain name.
const COUNTED_BY_NAME: [Kind; 4] = [Kind::Secret, Kind::ConfigMap, Kind::PersistentVolumeClaim, Kind::ResourceQuota];

/// `requests.cpu` as (requests, `cpu`); bare names are requests.
fn amount_of(resource: &str) -> (bool, &str) {
    match resource.split_once('.') {
        Some(("requests", name)) => (true, name),
        Some(("limits", name)) => (false, name),
        _ => (true, resource),
    }
}

fn in_list(resources: &Resources, requests: bool, name: &str) -> Quantity {
    let list = if requests { &resources.requests } else { &resources.limits };
    list.get(name).and_then(|text| Quantity::parse(text)).unwrap_or_default()
}

/// What a pod needs of a resource: the larger of its start-up and its run. Native sidecars started before an init container
/// run beside it.
pub(crate) fn effective(spec: &PodSpec, requests: bool, name: &str) -> Quantity {
    let (mut start, mut sidecars) = (Quantity::default(), Quantity::default());
    for container in &spec.init_containers {
        let own = in_list(&container.resources, requests, name);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars = sidecars.plus(own);
            start = start.max(sidecars);
        } else {
            start = start.max(sidecars.plus(own));
        }
    }
    let main =
        spec.containers.iter().fold(Quantity::default(), |sum, c| sum.plus(in_list(&c.resources, requests, name)));
    main.plus(sidecars).max(start)
}

/// What creating `object` takes of a quota's resource; `None` if the resource does not count it.
pub(crate) fn usage(object: &Object, resource: &str) -> Option<Quantity> {
    let kind = object.kind();
    let one = Quantity::whole(1);
    if let Some(counted) = resource.strip_prefix("count/") {
        return (counted == kind.resource()).then_some(one);
    }
    if let Object::Pod(pod) = object {
        if resource == "pods" {
            return Some(one);
        }
        let (requests, name) = amount_of(resource);
        let compute = matches!(name, "cpu" | "memory" | "ephemeral-storage");
        return compute.then(|| effective(&pod.spec, requests, name));
    }
    (COUNTED_BY_NAME.contains(&kind) && resource == kind.plural()).then_some(one)
}

/// The containers that state nothing for a limited resource, by resource.
fn unstated<'a>(object: &'a Object, quota: &'a ResourceQuota) -> BTreeMap<&'a str, Vec<&'a str>> {
    let Object::Pod(pod) = object else { return BTreeMap::new() };
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for resource in quota.hard.keys() {
        let (requests, name) = amount_of(resource);
        if !matches!(name, "cpu" | "memory") {
            continue;
        }
        let lacks = |c: &&Container| {
            let list = if requests { &c.resources.requests } else { &c.resources.limits };
            !list.contains_key(name)
        };
        let names: Vec<&str> = pod
            .spec
            .containers
            .iter()
            .chain(&pod.spec.init_containers)
            .filter(lacks)
            .map(|c| c.name.as_str())
            .collect();
        if !names.is_empty() {
            missing.insert(resource, names);
        }
    }
    missing
}

impl ApiServer {
    pub(super) fn charge_quotas(&mut self, object: &Object, now: Time) -> Result<(), Refusal> {
        let meta = object.meta();
        if meta.namespace.is_empty() || self.store.len(Kind::ResourceQuota) == 0 {
            return Ok(());
        }
        let quotas: Vec<Arc<ResourceQuota>> = self
            .store
            .in_namespace(Kind::ResourceQuota, &meta.namespace)
            .filter_map(|o| o.get::<ResourceQuota>().cloned())
            .filter(|q| q.hard.keys().any(|resource| usage(object, resource).is_some()))
            .collect();
        for quota in &quotas {
            self.check_stated(object, quota)?;
        }
        for quota in &quotas {
            check_room(object, quota)?;
        }
        for quota in quotas {
            self.charge(object, &quota, now);
        }
        Ok(())
    }

    fn check_stated(&self, object: &Object, quota: &ResourceQuota) -> Result<(), Refusal> {
        let name = &quota.metadata.name;
        let missing = unstated(object, quota);
        if !missing.is_empty() {
            let list: String = if self.settings.minor >= NAMES_CONTAINERS_SINCE {
                let each = |(resource, containers): (&&str, &Vec<&str>)| {
                    let mut sorted = containers.clone();
                    sorted.sort_unstable();
                    format!("{resource} for: {}", sorted.join(","))
                };
                missing.iter().map(each).collect::<Vec<_>>().join("; ")
            } else {
                missing.keys().copied().collect::<Vec<_>>().join(",")
            };
            return refuse(object, &format_smolstr!("failed quota: {name}: must specify {list}"));
        }
        let unknown: Vec<&str> = quota
            .hard
            .keys()
            .filter(|resource| usage(object, resource).is_some() && !quota.used.contains_key(*resource))
            .map(Str::as_str)
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        refuse(object, &format_smolstr!("status unknown for quota: {name}, resources: {}", unknown.join(",")))
    }

    fn charge(&mut self, object: &Object, quota: &ResourceQuota, now: Time) {
        let mut used = (*quota.used).clone();
        for resource in quota.hard.keys() {
            let Some(amount) = usage(object, resource).filter(|a| *a != Quantity::default()) else { continue };
            let before = quantity(&used, resource);
            used.insert(resource.clone(), format_smolstr!("{}", before.plus(amount)));
        }
        if used != *quota.used {
            let charged = ResourceQuota { used: Arc::new(used), ..quota.clone() };
            self.replace(Object::from(charged), now);
        }
    }
}

fn refuse(object: &Object, why: &str) -> Result<(), Refusal> {
    Err(status::forbidden(object.kind(), &object.meta().name, why))
}

fn quantity(map: &BTreeMap<Str, Str>, resource: &str) -> Quantity {
    map.get(resource).and_then(|text| Quantity::parse(text)).unwrap_or_default()
}

/// Only the exceeded resources are named, sorted, in canonical form.
fn check_room(object: &Object, quota: &ResourceQuota) -> Result<(), Refusal> {
    let mut exceeded: Vec<(&str, [Quantity; 3])> = Vec::new();
    for (resource, limit) in quota.hard.iter() {
        let Some(asked) = usage(object, resource).filter(|a| *a != Quantity::default()) else { continue };
        let used = quantity(&quota.used, resource);
        let limit = Quantity::parse(limit).unwrap_or_default();
        if used.plus(asked) > limit {
            exceeded.push((resource, [asked, used, limit]));
        }
    }
    if exceeded.is_empty() {
        return Ok(());
    }
    let list = |which: usize| -> String {
        exceeded.iter().map(|(resource, q)| format!("{resource}={}", q[which])).collect::<Vec<_>>().join(",")
    };
    let why = format_smolstr!(
        "exceeded quota: {}, requested: {}, used: {}, limited: {}",
        quota.metadata.name,
        list(0),
        list(1),
        list(2)
    );
    refuse(object, &why)
}
