//! The listener's config secret: built, found, and (from 0.14.2 on) compared. Never read by this controller for its meaning.
//!
//! Source: arc-controllers.md §6.1 steps 12–14, §6.4, Q-LISTENER-STALE-SECRET, Q-LISTENER-CONFIG-DRIFT-LOOP; calls of
//! a_basic/0.12.1 and a_basic/0.14.2.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::Secret;
use arc_api::kube::{KubeRequest, Sub};
use arc_api::pod::Pod;
use arc_api::{Kind, Str};

use super::{AlPass, Step};
use crate::behaviour::*;
use crate::credentials::credentials;
use crate::labels::{self, Map};
use crate::listener_config::{self, ListenerConfig};
use crate::names;
use crate::reconcile::{Decision, Observed, Outcome};

impl AlPass {
    /// Step 12 on: releases that watch over the config read it now, the others look at the pod first.
    pub(super) fn watch_over_config(&mut self, o: &Observed<'_>) -> Decision {
        if Self::watches_config(o) {
            return self.read_certificate().unwrap_or_else(|| self.read_config());
        }
        self.look_at_pod(o)
    }

    /// The pod is missing and its config is needed.
    pub(super) fn need_config(&mut self, o: &Observed<'_>) -> Decision {
        if Self::watches_config(o) {
            // Read once more, by the code that builds the pod (recorded: a_basic/0.14.2).
            let key = self.config_key();
            return self.get(Step::AfterPodConfigRead, Kind::Secret, key);
        }
        self.read_certificate().unwrap_or_else(|| self.read_config())
    }

    fn config_key(&self) -> arc_api::meta::Key {
        self.beside_us(names::listener_config(&self.key.name))
    }

    pub(super) fn read_config(&mut self) -> Decision {
        let key = self.config_key();
        self.get(Step::AfterConfigRead, Kind::Secret, key)
    }

    pub(super) fn after_config_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let have = match o.take_reply().into_found::<Secret>() {
            Ok(found) => found,
            Err(e) => return self.fail(o, ("Unable to get listener config secret", "ApiServer"), e.text()),
        };
        if have.is_some() && !Self::watches_config(o) {
            return self.build_pod(o);
        }
        let want = match self.config(o) {
            Ok(want) => want,
            Err(why) => return self.fail(o, ("Failed to build listener config secret", "Credentials"), why),
        };
        let Some(have) = have else {
            return self.kube(Step::AfterConfigCreated, KubeRequest::Create(want.into()));
        };
        let same_data = have.data.get(listener_config::KEY) == want.data.get(listener_config::KEY);
        let meta = &have.metadata;
        let same = match o.settings.behaviour.al_config_refresh {
            // Foreign labels make it differ for ever (Q-LISTENER-CONFIG-DRIFT-LOOP).
            ConfigRefresh::OnDrift => {
                same_data && meta.labels == want.metadata.labels && meta.annotations == want.metadata.annotations
            }
            _ => same_data,
        };
        if same || meta.is_deleting() {
            return self.look_at_pod(o);
        }
        let mut next = (*have).clone();
        next.data = want.data;
        if o.settings.behaviour.al_config_refresh == ConfigRefresh::OnDrift {
            next.metadata.labels = want.metadata.labels;
            next.metadata.annotations = want.metadata.annotations;
        }
        self.kube(Step::AfterConfigUpdated, KubeRequest::Update(next.into(), Sub::Main))
    }

    pub(super) fn after_config_created(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = o.take_reply().into_kube() {
            return self.fail(o, ("Failed to create listener config secret", "ApiServer"), e.text());
        }
        if !Self::watches_config(o) {
            return Decision::End(Outcome::Requeue);
        }
        self.config_changed = true;
        self.look_at_pod(o)
    }

    pub(super) fn after_config_updated(&mut self, o: &mut Observed<'_>) -> Decision {
        if let Err(e) = o.take_reply().into_kube() {
            return self.fail(o, ("Failed to update listener config secret", "ApiServer"), e.text());
        }
        self.config_changed = true;
        self.look_at_pod(o)
    }

    pub(super) fn after_pod_config_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => self.build_pod(o),
            Err(e) => self.fail(o, ("Unable to get listener config secret", "ApiServer"), e.text()),
        }
    }

    /// Step 14: a running pod has the old config.
    pub(super) fn after_stale_pod_deleted(&mut self, o: &mut Observed<'_>) -> Decision {
        match Self::take_deleted(o) {
            Ok(()) => Self::settle(o),
            // Its successor is there and the cache does not show it yet.
            Err(e) if e.status().is_some_and(|s| s.is_conflict()) && Self::is_corrected(o) => Self::settle(o),
            Err(e) => self.fail(o, ("Failed to delete listener pod", "ApiServer"), e.text()),
        }
    }

    /// Whether the pod has to go because its config changed in this pass.
    pub(super) fn has_stale_config(&self, pod: &Pod) -> bool {
        self.config_changed && !pod.metadata.is_deleting()
    }

    /// The config secret as it should be.
    fn config(&self, o: &Observed<'_>) -> Result<Secret, Str> {
        let behaviour = &o.settings.behaviour;
        let spec = &self.listener().spec;
        let source = self.secret.clone().unwrap_or_default();
        let config = ListenerConfig {
            configure_url: spec.github_config_url.clone(),
            credentials: match behaviour.al_mirror_secret {
                MirrorSecret::No => credentials(&source)?,
                // Taken as it is: wrong keys become an empty token, which the listener refuses (recorded: c_token/0.9.3).
                MirrorSecret::Yes => {
                    credentials(&source).unwrap_or_else(|_| arc_api::service::Credentials::Pat(Str::default()))
                }
            },
            runner_scale_set_id: spec.runner_scale_set_id,
            runner_scale_set_name: spec.autoscaling_runner_set_name.clone(),
            ephemeral_runner_set_namespace: spec.autoscaling_runner_set_namespace.clone(),
            ephemeral_runner_set_name: spec.ephemeral_runner_set_name.clone(),
            max_runners: spec.max_runners,
            min_runners: spec.min_runners,
            server_root_ca: self.certificate.clone(),
            metrics: spec.metrics.as_deref().cloned(),
        };
        let data = BTreeMap::from([(listener_config::KEY.into(), config.to_json(behaviour.al_config_format))]);
        let overlay = labels::overlay(&spec.overlays, "configSecretMetadata", behaviour);
        let (labels, annotations) = labels::over(overlay, Map::new(), Map::new(), behaviour)?;
        let metadata = self.owned(names::listener_config(&self.key.name), labels, annotations);
        Ok(Secret { metadata, type_: "Opaque".into(), data: Arc::new(data), ..Secret::default() })
    }
}
