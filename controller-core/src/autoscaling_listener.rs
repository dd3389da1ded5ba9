//! The AutoscalingListener reconciler: one pass over one listener. It makes the identity, the configuration and the pod of the
//! process that listens for jobs, replaces the pod when it ends, and removes all of them again.
//!
//! **Never**: talks to the service; changes its own spec (a change means another AutoscalingListener). Waits inside a pass.
//!
//! Guarantees: one call per step; the pod is only ever replaced through "deleted, then its DELETE event, then created".
//! Source: arc-controllers.md §6 (autoscalinglistener_controller.go, 0.7.0–0.14.2), recorded in a_basic, a_delete, a_update2,
//! c_session_conflict, c_token, d_uninstall. The corrected controller follows field-bugs.md, *Correct controller*.
//! Differs: a vault is not asked, the named Secret is read in its place; listener metrics of the manager are not kept.

mod config;
mod deletion;
mod health;
mod identity;
mod pod;
mod proxy;

#[cfg(test)]
mod tests;

pub use health::NOT_STARTING;

use std::sync::Arc;

use arc_api::core::Secret;
use arc_api::crd::*;
use arc_api::kube::{DeleteOptions, KubeRequest, Patch, Sub};
use arc_api::meta::Key;
use arc_api::{Duration, Kind, Resource, Str, format_smolstr};

use crate::behaviour::*;
use crate::call::{Call, CallError};
use crate::credentials::credentials;
use crate::names;
use crate::reconcile::{CACHE_LAG, Decision, Observed, Outcome, Pass, steps};

/// Nobody tells this controller about Secrets: the corrected one looks by itself this often (rotated-secret-not-propagated).
const LOOK_AGAIN: Duration = Duration::from_secs(5 * 60);

/// From a pod's creation to a look whether it is there: longer than broken watches take to return.
const LOOK_SOON: Duration = Duration::from_secs(40);

steps! {
    Start = "start",
    AfterFinalizerAdded = "after-finalizer-added",
    AfterSetRead = "after-set-read",
    AfterOrphanDeleted = "after-orphan-deleted",
    AfterSecretRead = "after-secret-read",
    AfterMirrorRead = "after-mirror-read",
    AfterMirrorCreated = "after-mirror-created",
    AfterMirrorUpdated = "after-mirror-updated",
    AfterAccountCreated = "after-account-created",
    AfterRoleCreated = "after-role-created",
    AfterRoleUpdated = "after-role-updated",
    AfterRoleBindingCreated = "after-role-binding-created",
    AfterProxySecretRead = "after-proxy-secret-read",
    AfterProxyCredentialsRead = "after-proxy-credentials-read",
    AfterProxySecretCreated = "after-proxy-secret-created",
    AfterCertificateRead = "after-certificate-read",
    AfterConfigRead = "after-config-read",
    AfterConfigCreated = "after-config-created",
    AfterConfigUpdated = "after-config-updated",
    AfterPodConfigRead = "after-pod-config-read",
    AfterPodCreated = "after-pod-created",
    AfterStalePodDeleted = "after-stale-pod-deleted",
    AfterLiveListenerRead = "after-live-listener-read",
    AfterHealthWritten = "after-health-written",
    AfterEndCounted = "after-end-counted",
    AfterEndedPodDeleted = "after-ended-pod-deleted",
    AfterEndedConfigRead = "after-ended-config-read",
    AfterEndedConfigDeleted = "after-ended-config-deleted",
    AfterFailureReported = "after-failure-reported",
    AfterPartDeleted = "after-part-deleted",
    AfterPartRead = "after-part-read",
    AfterFinalizerRemoved = "after-finalizer-removed",
}

/// What an error text is logged under, and the reason of the condition that reports it.
type Failure = (&'static str, &'static str);

/// One pass over one AutoscalingListener.
#[derive(Clone, Debug)]
pub struct AlPass {
    key: Key,
    step: Step,
    listener: Option<Arc<AutoscalingListener>>,
    /// The GitHub secret, read live.
    secret: Option<Arc<Secret>>,
    /// The root CA, read live.
    certificate: Str,
    /// User info of the proxies whose credentials have been read, by their secret.
    proxy_users: Vec<(Str, Str)>,
    /// The config secret was created or changed in this pass.
    config_changed: bool,
    /// The pod whose end is to be counted.
    ended: Option<Arc<arc_api::pod::Pod>>,
    /// Position in the order of deletion, and whether anything was still there.
    part: usize,
    remains: bool,
    verdict: Option<Outcome>,
}

impl AlPass {
    /// A pass over the listener `key`.
    pub fn new(key: Key) -> AlPass {
        AlPass {
            key,
            step: Step::Start,
            listener: None,
            secret: None,
            certificate: Str::default(),
            proxy_users: Vec::new(),
            config_changed: false,
            ended: None,
            part: 0,
            remains: false,
            verdict: None,
        }
    }

    fn listener(&self) -> &Arc<AutoscalingListener> {
        match &self.listener {
            Some(listener) => listener,
            None => panic!("the pass was resumed before it began"),
        }
    }

    /// The set this listener belongs to.
    fn set(&self) -> Key {
        let spec = &self.listener().spec;
        Key::new(spec.autoscaling_runner_set_namespace.clone(), spec.autoscaling_runner_set_name.clone())
    }

    /// A key in the runner namespace.
    fn beside_runners(&self, name: Str) -> Key {
        Key::new(self.listener().spec.autoscaling_runner_set_namespace.clone(), name)
    }

    /// A key in the controller namespace.
    fn beside_us(&self, name: Str) -> Key {
        Key::new(self.key.namespace.clone(), name)
    }

    fn kube(&mut self, step: Step, request: KubeRequest) -> Decision {
        self.step = step;
        Decision::Call(Call::Kube(request))
    }

    fn get(&mut self, step: Step, kind: Kind, key: Key) -> Decision {
        self.kube(step, KubeRequest::Get { kind, key })
    }

    fn delete(&mut self, step: Step, kind: Kind, key: Key) -> Decision {
        self.kube(step, KubeRequest::Delete { kind, key, options: DeleteOptions::default() })
    }

    fn patch(&mut self, step: Step, sub: Sub, patch: Patch) -> Decision {
        let (kind, key) = (Kind::AutoscalingListener, self.key.clone());
        self.kube(step, KubeRequest::Patch { kind, key, sub, patch: Arc::new(patch) })
    }

    fn is_corrected(o: &Observed<'_>) -> bool {
        o.settings.behaviour.gone_objects == GoneObjects::Fine
    }

    /// Ends a pass that waits for an event; the corrected controller has a clock as well.
    fn settle(o: &Observed<'_>) -> Decision {
        let looks = o.settings.behaviour.al_config_refresh == ConfigRefresh::OnDataDrift;
        Decision::End(if looks { Outcome::After(LOOK_AGAIN) } else { Outcome::Settled })
    }

    /// A pod may go before a watch that broke is back: then no event ever tells that it was there.
    fn look_soon(o: &Observed<'_>) -> Decision {
        match Self::is_corrected(o) {
            true => Decision::End(Outcome::After(LOOK_SOON)),
            false => Self::settle(o),
        }
    }

    /// An answer that only has to be good, after which the pass is over.
    fn ends(&mut self, o: &mut Observed<'_>, failure: Failure, then: fn(&Observed<'_>) -> Decision) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => then(o),
            // Made by a pass whose result the cache does not show yet.
            Err(e) if e.is_already_exists() && Self::is_corrected(o) => Decision::End(Outcome::After(CACHE_LAG)),
            Err(e) => self.fail(o, failure, e.text()),
        }
    }

    /// As [`AlPass::ends`], for a DELETE in releases for which 404 is an error.
    fn take_deleted(o: &mut Observed<'_>) -> Result<(), CallError> {
        match o.take_reply().into_kube() {
            Err(e) if e.is_not_found() && Self::is_corrected(o) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Ends the pass with an error; the corrected controller says so on the listener first.
    fn fail(&mut self, o: &mut Observed<'_>, (message, reason): Failure, error: Str) -> Decision {
        o.error(message, error.clone());
        if o.settings.behaviour.conditions == ConditionsRule::None {
            return Decision::End(Outcome::Error(error));
        }
        if self.listener().status.conditions.iter().any(|c| c.type_ == health::BLOCKED && c.reason == reason) {
            return Decision::End(Outcome::After(Duration::from_secs(10)));
        }
        self.verdict = Some(Outcome::Error(error.clone()));
        self.report(Step::AfterFailureReported, health::BLOCKED, reason, error)
    }

    // ---- the main pass, §6.1

    fn start(&mut self, o: &mut Observed<'_>) -> Decision {
        let Some(listener) = o.caches.get::<AutoscalingListener>(&self.key) else {
            return Decision::End(Outcome::Settled);
        };
        self.listener = Some(Arc::clone(listener));
        let meta = &listener.metadata;
        if meta.is_deleting() {
            if !meta.has_finalizer(names::AL_FINALIZER) {
                return Decision::End(Outcome::Settled);
            }
            return self.remove_parts(o);
        }
        if !meta.has_finalizer(names::AL_FINALIZER) {
            o.info("Adding finalizer");
            let patch = Patch::finalizers(meta.finalizers_with(names::AL_FINALIZER));
            return self.patch(Step::AfterFinalizerAdded, Sub::Main, patch);
        }
        if o.caches.get::<AutoscalingRunnerSet>(&self.set()).is_some() {
            return self.read_secret(o);
        }
        match o.settings.behaviour.al_set_gone {
            SetGone::Error => {
                let name = &listener.spec.autoscaling_runner_set_name;
                let why = format_smolstr!("AutoscalingRunnerSet.actions.github.com \"{name}\" not found");
                o.error("Failed to find AutoscalingRunnerSet.", why.clone());
                Decision::End(Outcome::Error(why))
            }
            // The cache may not show a new set yet: the server is asked before anything is deleted.
            SetGone::Delete => self.get(Step::AfterSetRead, Kind::AutoscalingRunnerSet, self.set()),
        }
    }

    fn after_finalizer_added(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => Decision::End(Outcome::Settled),
            Err(e) if e.is_not_found() && Self::is_corrected(o) => Decision::End(Outcome::Settled),
            Err(e) => {
                o.error("Failed to update autoscaling listener with finalizer added", e.text());
                Decision::End(Outcome::failed(&e))
            }
        }
    }

    fn after_set_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_object() {
            Ok(_) => self.read_secret(o),
            Err(e) if e.is_not_found() => {
                o.info("Deleting the AutoscalingListener of a set that is gone");
                self.delete(Step::AfterOrphanDeleted, Kind::AutoscalingListener, self.key.clone())
            }
            Err(e) => Decision::End(Outcome::failed(&e)),
        }
    }

    fn read_secret(&mut self, o: &Observed<'_>) -> Decision {
        let spec = &self.listener().spec;
        let foreign = spec.image != o.settings.image || self.key.namespace != o.settings.namespace;
        if o.settings.behaviour.ars_listener_binding == ListenerBinding::Checked && foreign {
            // Another controller's listener: its set replaces it, and its image may read another config (Q-CONFIG-FORMAT-ORPHAN).
            return Self::settle(o);
        }
        let key = self.beside_runners(spec.github_config_secret.clone());
        self.get(Step::AfterSecretRead, Kind::Secret, key)
    }

    fn after_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        const CREDENTIALS: Failure = ("Failed to find GitHub config secret.", "Credentials");
        let mirrored = o.settings.behaviour.al_mirror_secret == MirrorSecret::Yes;
        let secret = match o.take_reply().into_object() {
            Ok(object) => object.as_ref().and_then(Secret::unwrap).cloned(),
            Err(e) => return self.fail(o, CREDENTIALS, e.text()),
        };
        // Without a mirror the keys are judged here, so a pass stops at a secret with wrong ones (recorded: c_token/0.14.2);
        // with one they are not (recorded: c_token/0.9.3).
        if let (false, Some(Err(why))) = (mirrored, secret.as_deref().map(credentials)) {
            return self.fail(o, CREDENTIALS, why);
        }
        self.secret = secret;
        if mirrored {
            let key = self.beside_us(names::listener_mirror(&self.set()));
            return self.get(Step::AfterMirrorRead, Kind::Secret, key);
        }
        self.make_identity(o)
    }

    fn resume(&mut self, o: &mut Observed<'_>) -> Decision {
        let requeue: fn(&Observed<'_>) -> Decision = |_| Decision::End(Outcome::Requeue);
        match self.step {
            Step::Start => self.start(o),
            Step::AfterFinalizerAdded => self.after_finalizer_added(o),
            Step::AfterSetRead => self.after_set_read(o),
            Step::AfterOrphanDeleted => match Self::take_deleted(o) {
                Ok(()) => Decision::End(Outcome::Settled),
                Err(e) => Decision::End(Outcome::failed(&e)),
            },
            Step::AfterSecretRead => self.after_secret_read(o),
            Step::AfterMirrorRead => self.after_mirror_read(o),
            Step::AfterMirrorCreated => self.ends(o, ("Failed to create a listener secret", "ApiServer"), requeue),
            Step::AfterMirrorUpdated => self.ends(o, ("Failed to update listener secret", "ApiServer"), requeue),
            // The account's own event brings the next pass.
            Step::AfterAccountCreated => {
                self.ends(o, ("Failed to create listener service account", "ApiServer"), Self::settle)
            }
            Step::AfterRoleCreated => self.ends(o, ("Failed to create listener role", "ApiServer"), requeue),
            Step::AfterRoleUpdated => self.ends(o, ("Failed to update listener role", "ApiServer"), requeue),
            Step::AfterRoleBindingCreated => {
                self.ends(o, ("Failed to create listener role binding", "ApiServer"), requeue)
            }
            Step::AfterProxySecretRead => self.after_proxy_secret_read(o),
            Step::AfterProxyCredentialsRead => self.after_proxy_credentials_read(o),
            Step::AfterProxySecretCreated => self.ends(o, ("Failed to create proxy secret", "ApiServer"), requeue),
            Step::AfterCertificateRead => self.after_certificate_read(o),
            Step::AfterConfigRead => self.after_config_read(o),
            Step::AfterConfigCreated => self.after_config_created(o),
            Step::AfterConfigUpdated => self.after_config_updated(o),
            Step::AfterPodConfigRead => self.after_pod_config_read(o),
            Step::AfterPodCreated => self.ends(o, ("Failed to create listener pod", "PodRejected"), Self::look_soon),
            Step::AfterStalePodDeleted => self.after_stale_pod_deleted(o),
            Step::AfterLiveListenerRead => self.after_live_listener_read(o),
            Step::AfterHealthWritten => self.ends(o, ("Failed to write listener status", "ApiServer"), Self::settle),
            Step::AfterEndCounted => self.after_end_counted(o),
            Step::AfterEndedPodDeleted => self.after_ended_pod_deleted(o),
            Step::AfterEndedConfigRead => self.after_ended_config_read(o),
            Step::AfterEndedConfigDeleted => match Self::take_deleted(o) {
                Ok(()) => Self::settle(o),
                Err(e) => self.fail(o, ("Failed to delete listener config secret", "ApiServer"), e.text()),
            },
            Step::AfterFailureReported => {
                let _ = o.take_reply();
                Decision::End(self.verdict.take().unwrap_or(Outcome::Requeue))
            }
            Step::AfterPartDeleted => self.after_part_deleted(o),
            Step::AfterPartRead => self.after_part_read(o),
            Step::AfterFinalizerRemoved => match o.take_reply().into_kube() {
                Err(e) if !e.is_not_found() => {
                    self.fail(o, ("Failed to remove finalizer from autoscaling listener", "ApiServer"), e.text())
                }
                _ => Decision::End(Outcome::Settled),
            },
        }
    }
}

impl Pass for AlPass {
    const KIND: Kind = Kind::AutoscalingListener;

    fn step(&mut self, observed: &mut Observed<'_>) -> Decision {
        self.resume(observed)
    }

    fn at(&self) -> &'static str {
        self.step.name()
    }
}
