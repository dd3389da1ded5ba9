//! DELETE, and the bookkeeping of objects that wait for finalizers or grace.
//!
//! Source: kubernetes-api.md §2.4, §3.4, §5.5; store.go and rest/delete.go of kubernetes/apiserver. Never deletes dependents:
//! that is the garbage collector's.

use std::sync::Arc;

use arc_api::kube::{DeleteOptions, Identity, KubeOk, KubeReply, KubeRequest, Propagation};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Duration, Kind, Object, Str, Time};

use crate::api::ApiServer;
use crate::crds::CLEANUP_FINALIZER;
use crate::namespaces;
use crate::status::{self, Refusal};
use crate::tokens;

/// The garbage collector's finalizer of a foreground deletion.
pub const FOREGROUND: &str = "foregroundDeletion";
/// The garbage collector's finalizer of a deletion that orphans.
pub const ORPHAN: &str = "orphan";

/// A DELETE between its read and its storage transaction.
///
/// The real server decides between "mark" and "remove now" on the object as first read; a finalizer that another client adds
/// before the transaction does not stop a removal (§2.4 item 7; recorded: d_seed_overlap-from-0.9.0/0.9.1).
#[derive(Clone, PartialEq, Debug)]
pub struct PendingDelete {
    kind: Kind,
    key: Key,
    options: DeleteOptions,
    remove_now: bool,
}

impl PendingDelete {
    /// Whether the object was free to go when it was read.
    pub const fn removes_now(&self) -> bool {
        self.remove_now
    }
}

/// What a DELETE does to an object.
enum Effect {
    /// Nothing: a deletion is under way.
    Nothing,
    /// Mark it, and keep it.
    Mark(Object),
    /// Mark it with grace 0, then remove it: watchers see MODIFIED, then DELETED.
    MarkAndRemove(Object),
    /// Remove it.
    Remove,
}

impl ApiServer {
    /// DELETE in one piece.
    pub(crate) fn delete(&mut self, kind: Kind, key: &Key, options: &DeleteOptions, now: Time) -> KubeReply {
        let Some(object) = self.store.get(kind, key) else { return Err(status::not_found(kind, &key.name)) };
        check_preconditions(object, options)?;
        self.check_immortal(kind, &key.name)?;
        match effect(object, options, now) {
            Effect::Nothing => Ok(KubeOk::Object(object.clone())),
            Effect::Mark(marked) => Ok(KubeOk::Object(self.replace(marked, now))),
            Effect::MarkAndRemove(marked) => {
                self.replace(marked, now);
                self.removed(kind, key, now)
            }
            Effect::Remove => self.removed(kind, key, now),
        }
    }

    fn removed(&mut self, kind: Kind, key: &Key, now: Time) -> KubeReply {
        self.remove(kind, key, now).map(KubeOk::Deleted).ok_or_else(|| status::not_found(kind, &key.name))
    }

    /// The first half of a DELETE: authentication to the decision. [`ApiServer::commit_delete`] is the second; other
    /// requests may come in between.
    ///
    /// # Errors
    /// As the DELETE would be refused.
    pub fn begin_delete(
        &mut self,
        who: &Identity,
        kind: Kind,
        key: &Key,
        options: &DeleteOptions,
        now: Time,
    ) -> Result<PendingDelete, Refusal> {
        tokens::authenticate(&self.store, who, now)?;
        self.authorize(who, &KubeRequest::Delete { kind, key: key.clone(), options: options.clone() })?;
        if !self.served.is_served(kind) {
            return Err(status::not_served());
        }
        let object = self.store.get(kind, key).ok_or_else(|| status::not_found(kind, &key.name))?;
        check_preconditions(object, options)?;
        self.check_immortal(kind, &key.name)?;
        let remove_now = matches!(effect(object, options, now), Effect::Remove);
        Ok(PendingDelete { kind, key: key.clone(), options: options.clone(), remove_now })
    }

    /// The second half of a DELETE. A removal that was decided does not look at finalizers again; a mark is decided anew on
    /// the object as it is now.
    pub fn commit_delete(&mut self, pending: &PendingDelete, now: Time) -> KubeReply {
        let PendingDelete { kind, key, options, remove_now } = pending;
        if !remove_now {
            return self.delete(*kind, key, options, now);
        }
        let object = self.store.get(*kind, key).ok_or_else(|| status::not_found(*kind, &key.name))?;
        check_preconditions(object, options)?;
        self.removed(*kind, key, now)
    }
}

fn check_preconditions(object: &Object, options: &DeleteOptions) -> Result<(), Refusal> {
    let meta = object.meta();
    if let Some(uid) = options.uid
        && uid != meta.uid
    {
        return Err(status::uid_precondition(object.kind(), &meta.name, uid, meta.uid));
    }
    if let Some(version) = options.resource_version
        && version != meta.resource_version
    {
        return Err(status::version_precondition(object.kind(), &meta.name, version, meta.resource_version));
    }
    Ok(())
}

/// The grace of a pod's deletion in seconds.
fn pod_grace(pod: &Pod, options: &DeleteOptions) -> i64 {
    if pod.node_name.is_none() || pod.status.phase.is_terminal() {
        return 0;
    }
    match options.grace_period_seconds.unwrap_or_else(|| pod.spec.termination_grace_period_seconds.unwrap_or(30)) {
        // Differs from 1.20, which stores a negative grace as it was sent.
        negative if negative < 0 => 1,
        grace => grace,
    }
}

/// The finalizers that a deletion leaves on an object: the propagation policy exchanges the garbage collector's.
///
/// Differs: Background is what a request without a policy means, and leaves a foreground or orphan finalizer that is already
/// there; the real server lets an explicit Background take it away.
fn finalizers_for(object: &Object, propagation: Propagation) -> Option<Arc<[Str]>> {
    let meta = object.meta();
    let (add, drop) = match propagation {
        Propagation::Background => return None,
        Propagation::Foreground => (FOREGROUND, ORPHAN),
        Propagation::Orphan => (ORPHAN, FOREGROUND),
    };
    if meta.has_finalizer(add) && !meta.has_finalizer(drop) {
        return None;
    }
    let kept = meta.finalizers.iter().filter(|f| *f != drop && *f != add).cloned();
    Some(kept.chain([Str::new_static(add)]).collect())
}

fn mark(object: &mut Object, grace: i64, now: Time) {
    let meta = object.meta_mut();
    if meta.deletion_timestamp.is_none() && meta.generation > 0 {
        meta.generation += 1;
    }
    meta.deletion_timestamp = Some(now.after(Duration::from_secs(grace.max(0) as u64)).truncated());
    meta.deletion_grace_period_seconds = Some(grace);
}

fn effect(object: &Object, options: &DeleteOptions, now: Time) -> Effect {
    let meta = object.meta();
    let new_finalizers = finalizers_for(object, options.propagation);
    let mut next = object.clone();
    if let Some(list) = &new_finalizers {
        next.meta_mut().finalizers = list.clone();
    }
    if object.kind() == Kind::CustomResourceDefinition && !meta.is_deleting() && !meta.has_finalizer(CLEANUP_FINALIZER)
    {
        let list = next.meta().finalizers_with(CLEANUP_FINALIZER);
        next.meta_mut().finalizers = list;
    }
    let held = !next.meta().finalizers.is_empty() || namespaces::is_held(&next);
    if let Some(since) = meta.deletion_timestamp {
        let pending = meta.deletion_grace_period_seconds.unwrap_or(0);
        if pending > 0 {
            return match options.grace_period_seconds {
                Some(shorter) if shorter < pending => {
                    let began = Time(since.0.saturating_sub(pending as u64 * 1_000_000));
                    let meta = next.meta_mut();
                    meta.deletion_timestamp = Some(began.after(Duration::from_secs(shorter.max(0) as u64)));
                    meta.deletion_grace_period_seconds = Some(shorter);
                    if shorter > 0 || held { Effect::Mark(next) } else { Effect::MarkAndRemove(next) }
                }
                _ => Effect::Nothing,
            };
        }
        return match (held, new_finalizers) {
            (false, _) => Effect::Remove,
            (true, Some(_)) => Effect::Mark(next),
            (true, None) => Effect::Nothing,
        };
    }
    if let Object::Pod(pod) = object {
        let grace = pod_grace(pod, options);
        mark(&mut next, grace, now);
        return if grace > 0 || held { Effect::Mark(next) } else { Effect::MarkAndRemove(next) };
    }
    if !held {
        return Effect::Remove;
    }
    mark(&mut next, 0, now);
    namespaces::mark_terminating(&mut next);
    Effect::Mark(next)
}
