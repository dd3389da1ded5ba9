//! The identity that the runner template names: its ServiceAccount and the chart's Role and RoleBinding. Only the corrected
//! controller looks at it. Never takes rights away from a live set, never touches an account the user brought.
//!
//! The decision: a set in container-hook mode whose account is missing, Terminating or without its rights offers no jobs (its
//! listener announces no capacity) and says so in the condition `IdentityBroken`; an account that the chart made, whether
//! the set still names it or an upgrade has taken it out of the release, is let go
//! and made anew ten seconds after its deletion, well inside the 60 s for which an API server still accepts its tokens; and
//! runners made under an account that has been replaced are replaced with their set, by the ordinary update: busy ones finish.
//! Source: field-bugs.md, seed-kube-mode-hook-forbidden (recorded: b_kube_mode, b_sa_token).

use arc_api::core::{RoleBinding, ServiceAccount};
use arc_api::crd::{AutoscalingRunnerSet, EphemeralRunnerSet};
use arc_api::kube::{KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::{Duration, Kind, Meta, Object, OwnerRef, Resource, Str, Uid, format_smolstr};
use std::sync::Arc;

use super::protection::{KUBE_MODE_ACCOUNT, KUBE_MODE_ROLE, KUBE_MODE_ROLE_BINDING, NO_PERMISSION_ACCOUNT};
use super::{ArsPass, Step, strays};
use crate::behaviour::IdentityCheck;
use crate::names;
use crate::reconcile::{CACHE_LAG, Decision, Observed, Outcome};

/// How long a Terminating account is left alone: an uninstall marks it a moment before it marks the set.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a broken identity is looked at again: no event tells that [`PATIENCE`] is over.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// Set in the runner container by the modes that run jobs in pods of their own.
const HOOKS: &str = "ACTIONS_RUNNER_CONTAINER_HOOKS";

/// What is known about the runners' identity.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) enum Identity {
    /// Nobody looks, or the template names no account.
    #[default]
    Unchecked,
    /// It is there.
    Sound(Uid),
    /// It is not, or not for long.
    Broken {
        reason: &'static str,
        message: Str,
        /// Jobs need it: the modes with container hooks.
        needed: bool,
        repair: Repair,
    },
}

/// What can be done about a broken identity.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Repair {
    /// Nothing: it is the user's.
    None,
    /// Take the protection off the Terminating account and make it anew.
    Release(Arc<ServiceAccount>),
    /// Make it anew: it is gone.
    Make(Str),
}

impl Identity {
    /// The identity of a sound account.
    pub(super) fn sound(&self) -> Option<Uid> {
        match self {
            Identity::Sound(uid) => Some(*uid),
            Identity::Unchecked | Identity::Broken { .. } => None,
        }
    }
    /// Whether runners of this set can run jobs.
    pub(super) fn offers_jobs(&self) -> bool {
        !matches!(self, Identity::Broken { needed: true, .. })
    }
    /// Reason and message of the condition.
    pub(super) fn trouble(&self) -> Option<(&'static str, Str)> {
        match self {
            Identity::Broken { reason, message, .. } => Some((reason, message.clone())),
            Identity::Unchecked | Identity::Sound(_) => None,
        }
    }
    /// Whether the runners of a set were made under an account that has been replaced.
    pub(super) fn is_replaced_since(&self, set: &Meta) -> bool {
        match (self.sound(), set.annotation(names::IDENTITY)) {
            (Some(now), Some(then)) => then.as_bytes() != now.letters(),
            _ => false,
        }
    }
}

/// Whether a set's runners live on this account, role or binding, as far as [`inspect`] looks at it.
pub(crate) fn names_identity(ars: &AutoscalingRunnerSet, object: &Object) -> bool {
    let meta = object.meta();
    let named = |annotation| ars.metadata.annotation(annotation) == Some(&meta.name);
    ars.metadata.namespace == meta.namespace
        && match object.kind() {
            Kind::ServiceAccount => ars.spec.template.spec.service_account_name == meta.name,
            Kind::Role => named(KUBE_MODE_ROLE),
            Kind::RoleBinding => named(KUBE_MODE_ROLE_BINDING),
            _ => false,
        }
}

/// Looks at the identity of a set's runners.
pub(super) fn inspect(ars: &AutoscalingRunnerSet, latest: Option<&EphemeralRunnerSet>, o: &Observed<'_>) -> Identity {
    let pod = &ars.spec.template.spec;
    if o.settings.behaviour.ars_identity == IdentityCheck::Ignored || pod.service_account_name.is_empty() {
        return Identity::Unchecked;
    }
    let name = pod.service_account_name.clone();
    let named = |annotation: &str| ars.metadata.annotation(annotation);
    let is_named = [KUBE_MODE_ACCOUNT, NO_PERMISSION_ACCOUNT].iter().any(|a| named(a) == Some(&name));
    let needed = pod.container("runner").is_some_and(|c| c.has_env(HOOKS));
    let broken = |reason, message, repair| Identity::Broken { reason, message, needed, repair };
    let key = Key::new(ars.metadata.namespace.clone(), name.clone());
    let Some(account) = o.caches.get::<ServiceAccount>(&key) else {
        // The chart's binding outlives its account: the template names what an upgrade has taken out of the release.
        let bound = || {
            let bindings = o.caches.of(Kind::RoleBinding).iter().filter_map(|b| b.get::<RoleBinding>());
            bindings.into_iter().any(|b| strays::binds(b, &name) && strays::is_of_release(ars, &b.metadata))
        };
        let by_chart = is_named || bound();
        // Only an account that runners once had is made anew: at an installation the chart may simply be slower than we are.
        let had = latest.is_some_and(|l| l.metadata.annotation(names::IDENTITY).is_some());
        let repair = if by_chart && had { Repair::Make(name.clone()) } else { Repair::None };
        return broken("AccountMissing", format_smolstr!("ServiceAccount {name} does not exist"), repair);
    };
    if let Some(at) = account.metadata.deletion_timestamp {
        let by_chart = is_named || strays::is_of_release(ars, &account.metadata);
        let only_ours = account.metadata.finalizers.iter().all(|f| f == names::PROTECTION);
        let ripe = o.now >= at.after(PATIENCE);
        let repair = if by_chart && only_ours && ripe { Repair::Release(Arc::clone(account)) } else { Repair::None };
        let why =
            format_smolstr!("ServiceAccount {name} is being deleted; its tokens end 60 s after the deletion began");
        return broken("AccountTerminating", why, repair);
    }
    for (kind, annotation, reason) in
        [(Kind::Role, KUBE_MODE_ROLE, "RoleMissing"), (Kind::RoleBinding, KUBE_MODE_ROLE_BINDING, "RoleBindingMissing")]
    {
        if let Some(name) = named(annotation).filter(|n| !n.is_empty())
            && o.caches.of(kind).get(&Key::new(ars.metadata.namespace.clone(), name.clone())).is_none()
        {
            return broken(reason, format_smolstr!("{kind} {name} does not exist"), Repair::None);
        }
    }
    Identity::Sound(account.metadata.uid)
}

impl ArsPass {
    /// The next call that mends the identity or writes down which one the runners have; `None` when there is nothing to do.
    pub(super) fn repair_identity(&mut self) -> Option<Decision> {
        match self.identity.clone() {
            Identity::Unchecked => None,
            Identity::Sound(uid) => {
                let set = self.latest.clone().filter(|l| l.metadata.annotation(names::IDENTITY).is_none())?;
                let annotations = vec![(names::IDENTITY.into(), Some(format_smolstr!("{uid}")))];
                let patch = Patch { annotations, ..Patch::default() };
                let (step, kind) = (Step::AfterIdentityRecorded, Kind::EphemeralRunnerSet);
                Some(self.patch_object(step, kind, set.metadata.key(), Sub::Main, patch))
            }
            Identity::Broken { repair, .. } => {
                self.again = Some(LOOK_AGAIN);
                let read = || KubeRequest::Get { kind: Kind::AutoscalingRunnerSet, key: self.key.clone() };
                match repair {
                    Repair::None => None,
                    Repair::Release(_) | Repair::Make(_) => Some(self.kube(Step::AfterLiveOwnerRead, read())),
                }
            }
        }
    }

    /// An account goes with the set that its user takes away, which a late cache does not show: made anew, it would outlive it.
    pub(super) fn after_live_owner_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let live = match o.take_reply().into_found::<AutoscalingRunnerSet>() {
            Ok(found) => found.filter(|l| l.metadata.uid == self.ars().metadata.uid && !l.metadata.is_deleting()),
            Err(e) => return self.fail(o, ("Failed to mend the runners' ServiceAccount", "Identity"), e.text()),
        };
        match self.identity.clone() {
            Identity::Broken { repair: Repair::Release(account), .. } if live.is_some() => {
                let patch = Patch::finalizers(account.metadata.finalizers_without(names::PROTECTION));
                let (step, kind) = (Step::AfterIdentityReleased, Kind::ServiceAccount);
                self.patch_object(step, kind, account.metadata.key(), Sub::Main, patch)
            }
            Identity::Broken { repair: Repair::Make(name), .. } if live.is_some() => self.make_account(name, None, o),
            _ => Decision::End(Outcome::After(CACHE_LAG)),
        }
    }

    pub(super) fn after_identity_released(&mut self, o: &mut Observed<'_>) -> Decision {
        let name = self.ars().spec.template.spec.service_account_name.clone();
        match o.take_reply().into_object() {
            Ok(object) => {
                let old = object.as_ref().and_then(ServiceAccount::unwrap).cloned();
                self.make_account(name, old.as_deref(), o)
            }
            Err(e) if e.is_not_found() => self.make_account(name, None, o),
            Err(e) => self.fail(o, ("Failed to let go of the runners' ServiceAccount", "Identity"), e.text()),
        }
    }

    /// The chart's account as it was, or with the set's own Helm marks; owned by the set, so that it goes with it.
    fn make_account(&mut self, name: Str, old: Option<&ServiceAccount>, _o: &Observed<'_>) -> Decision {
        let ars = &self.ars().metadata;
        let like = old.map_or(ars, |a| &a.metadata);
        // Protected only if the set names it: then the clean-up of the set takes the protection off again. Else it goes with its owner.
        let is_named = [KUBE_MODE_ACCOUNT, NO_PERMISSION_ACCOUNT].iter().any(|a| ars.annotation(a) == Some(&name));
        let finalizers: &[Str] = if is_named { &[Str::new_static(names::PROTECTION)] } else { &[] };
        let metadata = Meta {
            labels: Arc::clone(&like.labels),
            annotations: Arc::new(
                like.annotations
                    .iter()
                    .filter(|(k, _)| k.starts_with("meta.helm.sh/"))
                    .map(|(k, v)| (k.clone(), v.clone()))
                    .collect(),
            ),
            finalizers: finalizers.into(),
            owner_references: [OwnerRef {
                controller: false,
                block_owner_deletion: false,
                ..OwnerRef::controller(Kind::AutoscalingRunnerSet, ars)
            }]
            .into(),
            ..Meta::named(ars.namespace.clone(), name)
        };
        let image_pull_secrets = old.map(|a| a.image_pull_secrets.clone()).unwrap_or_default();
        let account = ServiceAccount { metadata, image_pull_secrets };
        self.kube(Step::AfterIdentityMade, KubeRequest::Create(account.into()))
    }
}
