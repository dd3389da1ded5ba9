//! The listener pod: how it is built from the listener and the user's template. Never starts a process; kubelets do.
//!
//! Source: arc-controllers.md §6.2; the pod of a_basic in every release.

use std::sync::Arc;

use arc_api::kube::KubeRequest;
use arc_api::meta::Meta;
use arc_api::pod::*;
use arc_api::{Str, format_smolstr};

use super::{AlPass, Step};
use crate::behaviour::*;
use crate::names;
use crate::reconcile::{Decision, Observed};

/// Where the config is mounted.
const CONFIG_DIR: &str = "/etc/gha-listener";
const CONFIG_VOLUME: &str = "listener-config";

/// What the listener's container is called.
pub(super) fn container_name(behaviour: &Behaviour) -> &'static str {
    match behaviour.al_container {
        ListenerContainer::Autoscaler => "autoscaler",
        ListenerContainer::Listener => "listener",
    }
}

impl AlPass {
    pub(super) fn build_pod(&mut self, o: &Observed<'_>) -> Decision {
        let pod = self.pod(o);
        self.kube(Step::AfterPodCreated, KubeRequest::Create(pod.into()))
    }

    /// The pod of this listener.
    pub(super) fn pod(&self, o: &Observed<'_>) -> Pod {
        let (listener, behaviour) = (self.listener(), &o.settings.behaviour);
        let name = &self.key.name;
        let command = match behaviour.al_container {
            ListenerContainer::Autoscaler => "/github-runnerscaleset-listener",
            ListenerContainer::Listener => "/ghalistener",
        };
        let mut env = vec![EnvVar::value("LISTENER_CONFIG_PATH", format_smolstr!("{CONFIG_DIR}/config.json"))];
        if let Some(proxy) = &listener.spec.proxy {
            let secret = names::listener_proxy(name);
            let from = |key: &str| EnvVar { name: key.into(), value: None, value_from: Some(secret_key(&secret, key)) };
            env.extend(proxy.http.as_ref().map(|_| from("http_proxy")));
            env.extend(proxy.https.as_ref().map(|_| from("https_proxy")));
            env.extend((!proxy.no_proxy.is_empty()).then(|| from("no_proxy")));
        }
        let container = Container {
            name: container_name(behaviour).into(),
            image: listener.spec.image.clone(),
            command: vec![command.into()],
            env,
            volume_mounts: vec![VolumeMount {
                name: CONFIG_VOLUME.into(),
                mount_path: CONFIG_DIR.into(),
                read_only: true,
                ..VolumeMount::default()
            }],
            ..Container::default()
        };
        let secret = SecretVolume { secret_name: names::listener_config(name), optional: false };
        let linux = behaviour.al_node_selector == ListenerNodeSelector::Linux;
        let spec = PodSpec {
            containers: vec![container],
            volumes: vec![Volume { name: CONFIG_VOLUME.into(), secret: Some(secret), ..Volume::default() }],
            restart_policy: "Never".into(),
            service_account_name: names::listener_identity(name, &self.set(), behaviour),
            termination_grace_period_seconds: (behaviour.al_grace == ListenerGrace::Sixty).then_some(60),
            node_selector: linux.then(|| ("kubernetes.io/os".into(), "linux".into())).into_iter().collect(),
            image_pull_secrets: pull_secrets(&listener.spec.image_pull_secrets),
            ..PodSpec::default()
        };
        let metadata = self.owned(name.clone(), Arc::clone(&listener.metadata.labels), Default::default());
        let pod = Pod { metadata, spec: Arc::new(spec), ..Pod::default() };
        match &listener.spec.template {
            Some(template) => merged(pod, template),
            None => pod,
        }
    }
}

fn pull_secrets(names: &[Str]) -> Vec<LocalRef> {
    names.iter().map(|name| LocalRef { name: name.clone() }).collect()
}

fn secret_key(secret: &Str, key: &str) -> EnvSource {
    let secret = KeyRef { name: secret.clone(), key: key.into(), ..KeyRef::default() };
    EnvSource { secret_key_ref: Some(secret), ..EnvSource::default() }
}

/// Puts the user's template over the pod. Metadata only adds missing keys; the container `listener` is overlaid, others are
/// appended; most pod members are taken from the template even when it does not state them.
fn merged(mut pod: Pod, template: &PodTemplate) -> Pod {
    add_missing(&mut pod.metadata, template);
    let own = Arc::unwrap_or_clone(pod.spec);
    let theirs = &template.spec;
    let mut spec = PodSpec {
        // Taken over whole, stated or not: a template without a grace period takes the 60 s away.
        init_containers: theirs.init_containers.clone(),
        automount_service_account_token: theirs.automount_service_account_token,
        termination_grace_period_seconds: theirs.termination_grace_period_seconds,
        node_name: theirs.node_name.clone(),
        priority_class_name: theirs.priority_class_name.clone(),
        tolerations: theirs.tolerations.clone(),
        host_network: theirs.host_network,
        rest: theirs.rest.clone(),
        ..own
    };
    spec.volumes.extend(theirs.volumes.iter().cloned());
    if !theirs.restart_policy.is_empty() {
        spec.restart_policy = theirs.restart_policy.clone();
    }
    if !theirs.image_pull_secrets.is_empty() {
        spec.image_pull_secrets = theirs.image_pull_secrets.clone();
    }
    if !theirs.node_selector.is_empty() {
        spec.node_selector = theirs.node_selector.clone();
    }
    for container in &theirs.containers {
        if container.name == "listener" {
            overlay_listener(&mut spec.containers[0], container);
        } else {
            spec.containers.push(container.clone());
        }
    }
    pod.spec = Arc::new(spec);
    pod
}

fn add_missing(meta: &mut Meta, template: &PodTemplate) {
    for (ours, theirs) in
        [(&mut meta.labels, &template.metadata.labels), (&mut meta.annotations, &template.metadata.annotations)]
    {
        if !theirs.is_empty() {
            let map = Arc::make_mut(ours);
            for (key, value) in theirs.iter() {
                map.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
}

/// Name and image cannot be overridden away; lists are added to.
fn overlay_listener(ours: &mut Container, theirs: &Container) {
    if !theirs.image.is_empty() {
        ours.image = theirs.image.clone();
    }
    if !theirs.command.is_empty() {
        ours.command = theirs.command.clone();
    }
    if !theirs.working_dir.is_empty() {
        ours.working_dir = theirs.working_dir.clone();
    }
    ours.args = theirs.args.clone();
    ours.env.extend(theirs.env.iter().cloned());
    ours.env_from = theirs.env_from.clone();
    ours.volume_mounts.extend(theirs.volume_mounts.iter().cloned());
    ours.resources = theirs.resources.clone();
    ours.startup_probe = theirs.startup_probe.clone();
    ours.readiness_probe = theirs.readiness_probe.clone();
    ours.liveness_probe = theirs.liveness_probe.clone();
    ours.lifecycle = theirs.lifecycle.clone();
    ours.security_context = theirs.security_context.clone();
    ours.rest = theirs.rest.clone();
}
