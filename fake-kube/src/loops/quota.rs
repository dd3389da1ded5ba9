//! The quota controller: `status.used` of ResourceQuotas follows what exists, late. Admission charges ahead; this gives
//! back.
//!
//! Source: kubernetes-api.md §4.4, §6.4. Differs: no full recomputation every 5 min, since every change causes one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::ResourceQuota;
use arc_api::kube::{Identity, KubeRequest, Sub, WatchEvent, WatchType};
use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Object, Str, Time, format_smolstr};

use super::timers::Timers;
use crate::ApiServer;
use crate::admission::quota::usage;
use crate::quantity::Quantity;

/// The quota controller of a cluster.
#[derive(Clone, Debug)]
pub struct Quotas {
    delay: Duration,
    timers: Arc<Timers<Str>>,
    /// How many quotas a namespace has: a namespace without costs nothing.
    quotas: Arc<BTreeMap<Str, usize>>,
}

impl Quotas {
    /// Acts `delay` after a change.
    pub fn new(delay: Duration) -> Quotas {
        Quotas { delay, timers: Arc::default(), quotas: Arc::default() }
    }
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    /// Something changed.
    pub fn notice(&mut self, event: &WatchEvent, now: Time) {
        let namespace = &event.object.meta().namespace;
        match (&event.object, event.type_) {
            (Object::ResourceQuota(_), WatchType::Added) => {
                *Arc::make_mut(&mut self.quotas).entry(namespace.clone()).or_default() += 1;
            }
            (Object::ResourceQuota(_), WatchType::Deleted) => {
                let quotas = Arc::make_mut(&mut self.quotas);
                if let Some(count) = quotas.get_mut(namespace) {
                    *count -= 1;
                    if *count == 0 {
                        quotas.remove(namespace);
                    }
                }
                return;
            }
            (Object::ResourceQuota(quota), WatchType::Modified) if quota.hard.keys().eq(quota.used.keys()) => return,
            (Object::ResourceQuota(_), WatchType::Modified) => {}
            _ if !self.quotas.contains_key(namespace) => return,
            (_, WatchType::Deleted) => {}
            (Object::Pod(pod), WatchType::Modified) if pod.status.phase.is_terminal() => {}
            _ => return,
        }
        Arc::make_mut(&mut self.timers).hasten(namespace.clone(), now.after(self.delay));
    }
    /// Recomputes the quotas of one namespace; false if none is due.
    pub fn run_one(&mut self, api: &mut ApiServer, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(namespace) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        let quotas: Vec<Arc<ResourceQuota>> = api
            .in_namespace(Kind::ResourceQuota, &namespace)
            .filter_map(|o| o.get::<ResourceQuota>())
            .cloned()
            .collect();
        for quota in quotas {
            let used = recompute(api, &quota, &namespace);
            if used != *quota.used {
                let next = ResourceQuota { used: Arc::new(used), ..(*quota).clone() };
                let who = Identity::System("resourcequota-controller");
                let _ = api.handle(&who, &KubeRequest::Update(next.into(), Sub::Status), now);
            }
        }
        true
    }
}

/// What the namespace takes of each limited resource. Terminal pods do not count, nor do pods past their grace (§4.4).
fn recompute(api: &ApiServer, quota: &ResourceQuota, namespace: &str) -> BTreeMap<Str, Str> {
    let mut sums: BTreeMap<Str, Quantity> = quota.hard.keys().map(|k| (k.clone(), Quantity::default())).collect();
    for kind in Kind::ALL.iter().copied().filter(|k| k.is_namespaced()) {
        for object in api.in_namespace(kind, namespace) {
            if object.get::<Pod>().is_some_and(|p| p.status.phase.is_terminal()) {
                continue;
            }
            for (resource, sum) in &mut sums {
                if let Some(amount) = usage(object, resource) {
                    *sum = sum.plus(amount);
                }
            }
        }
    }
    sums.into_iter().map(|(resource, sum)| (resource, format_smolstr!("{sum}"))).collect()
}
