//! The ServiceAccount controller: every active namespace has a `default` account. Never touches other accounts.
//!
//! Source: kubernetes-api.md §6.3 first item.

use std::sync::Arc;

use arc_api::core::{Namespace, ServiceAccount};
use arc_api::kube::{Identity, KubeRequest, WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::{Duration, Meta, Object, Str, Time};

use super::timers::Timers;
use crate::ApiServer;

const DEFAULT: Str = Str::new_static("default");

/// The ServiceAccount controller of a cluster.
#[derive(Clone, Debug)]
pub struct Accounts {
    delay: Duration,
    timers: Arc<Timers<Str>>,
}

impl Accounts {
    /// Acts `delay` after a change.
    pub fn new(delay: Duration) -> Accounts {
        Accounts { delay, timers: Arc::default() }
    }
    /// The earliest timer.
    pub fn next_deadline(&self) -> Time {
        self.timers.next()
    }
    /// Something changed.
    pub fn notice(&mut self, event: &WatchEvent, now: Time) {
        let meta = event.object.meta();
        let namespace = match (&event.object, event.type_) {
            (Object::Namespace(_), WatchType::Added) => &meta.name,
            (Object::ServiceAccount(_), WatchType::Deleted) if meta.name == DEFAULT => &meta.namespace,
            _ => return,
        };
        Arc::make_mut(&mut self.timers).hasten(namespace.clone(), now.after(self.delay));
    }
    /// Makes one account; false if nothing is due.
    pub fn run_one(&mut self, api: &mut ApiServer, now: Time) -> bool {
        if self.timers.next() > now {
            return false;
        }
        let Some(namespace) = Arc::make_mut(&mut self.timers).pop(now) else { return false };
        make_default(api, &namespace, now);
        true
    }
}

/// Creates the `default` account of an active namespace, if it is not there.
pub(crate) fn make_default(api: &mut ApiServer, namespace: &Str, now: Time) {
    let active = api.typed::<Namespace>(&Key::new("", namespace.clone())).is_some_and(|n| !n.metadata.is_deleting());
    if active {
        let account = ServiceAccount { metadata: Meta::named(namespace.clone(), DEFAULT), ..ServiceAccount::default() };
        let _ = api.handle(&Identity::System("service-account-controller"), &KubeRequest::Create(account.into()), now);
    }
}
