//! The pod of a runner: the template with the runner's identity and its registration. Never decides whether it is made.
//!
//! Source: arc-controllers.md §5.3; recorded: a_basic (order of the environment), b_kube_mode.
//! Differs: the value of `pod-template-hash`, which nobody ever compares (arc-controllers.md §1.7).

use std::sync::Arc;

use arc_api::crd::{EphemeralRunner, ErSpec};
use arc_api::meta::Labels;
use arc_api::pod::{EnvSource, EnvVar, KeyRef, Pod, PodSpec};
use arc_api::{Meta, OwnerRef, Resource, Str, format_smolstr};

use super::RUNNER_CONTAINER;
use super::jit::JIT_TOKEN;
use crate::behaviour::DeprecatedCode;
use crate::reconcile::Settings;

/// Builds the pod of `runner`.
pub(super) fn pod(runner: &EphemeralRunner, settings: &Settings) -> Pod {
    let template = &runner.spec.template;
    let own = [("actions-ephemeral-runner".into(), "True".into()), ("pod-template-hash".into(), pod_hash(runner))];
    let metadata = Meta {
        labels: overlaid(&runner.metadata.labels, &template.metadata.labels, own),
        annotations: overlaid(&runner.metadata.annotations, &template.metadata.annotations, []),
        owner_references: [OwnerRef::controller(EphemeralRunner::KIND, &runner.metadata)].into(),
        ..Meta::named(runner.metadata.namespace.clone(), runner.metadata.name.clone())
    };
    Pod { metadata, spec: Arc::new(spec(runner, settings)), ..Pod::default() }
}

fn overlaid<const N: usize>(base: &Labels, over: &Labels, last: [(Str, Str); N]) -> Labels {
    if over.is_empty() && N == 0 {
        return base.clone();
    }
    let mut map = (**base).clone();
    map.extend(over.iter().map(|(k, v)| (k.clone(), v.clone())));
    map.extend(last);
    Arc::new(map)
}

fn spec(runner: &EphemeralRunner, settings: &Settings) -> PodSpec {
    let mut spec = (*runner.spec.template.spec).clone();
    for container in spec.containers.iter_mut().filter(|c| c.name == RUNNER_CONTAINER) {
        container.env.push(from_secret("ACTIONS_RUNNER_INPUT_JITCONFIG", &runner.metadata.name, JIT_TOKEN));
        let agent = format_smolstr!("actions-runner-controller/{}", settings.version);
        container.env.push(EnvVar::value("GITHUB_ACTIONS_RUNNER_EXTRA_USER_AGENT", agent));
        if settings.behaviour.er_deprecated_code == DeprecatedCode::Asked {
            container.env.push(EnvVar::value("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE", "1"));
        }
        container.env.extend(proxy_env(&runner.spec));
    }
    spec
}

/// Variables for the members that are configured, from the proxy secret of the set.
fn proxy_env(spec: &ErSpec) -> impl Iterator<Item = EnvVar> {
    let proxy = spec.proxy.as_deref();
    let secret = spec.proxy_secret_ref.clone();
    let members = [
        ("http_proxy", proxy.is_some_and(|p| p.http.is_some())),
        ("https_proxy", proxy.is_some_and(|p| p.https.is_some())),
        ("no_proxy", proxy.is_some_and(|p| !p.no_proxy.is_empty())),
    ];
    members.into_iter().filter(|(_, configured)| *configured).map(move |(name, _)| from_secret(name, &secret, name))
}

fn from_secret(variable: &str, secret: &Str, key: &str) -> EnvVar {
    let key = KeyRef { name: secret.clone(), key: key.into(), optional: false };
    let source = EnvSource { secret_key_ref: Some(key), ..EnvSource::default() };
    EnvVar { name: variable.into(), value: None, value_from: Some(source) }
}

fn pod_hash(runner: &EphemeralRunner) -> Str {
    crate::hashes::of_text(&runner.metadata.name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Release;
    use crate::test_world::{runner, settings};
    use arc_api::crd::{Proxy, ProxyServer};

    fn env(runner: &EphemeralRunner, release: Release) -> Vec<Str> {
        let pod = pod(runner, &settings(release));
        pod.spec.container(RUNNER_CONTAINER).expect("runner").env.iter().map(|e| e.name.clone()).collect()
    }

    #[test]
    fn the_runner_container_gets_its_registration_and_user_agent() {
        let names = ["ACTIONS_RUNNER_INPUT_JITCONFIG", "GITHUB_ACTIONS_RUNNER_EXTRA_USER_AGENT"];
        assert_eq!(env(&runner("r"), Release::V0_13_1), names);
        let seven = ["ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE"];
        assert_eq!(env(&runner("r"), Release::V0_14_0)[2..], seven);
    }

    #[test]
    fn only_configured_proxy_members_become_variables() {
        let mut r = runner("r");
        let spec = Arc::make_mut(&mut r.spec);
        let server = ProxyServer { url: "http://p".into(), ..ProxyServer::default() };
        spec.proxy = Some(Arc::new(Proxy { https: Some(server), no_proxy: vec!["x".into()], ..Proxy::default() }));
        spec.proxy_secret_ref = "proxy".into();
        assert_eq!(env(&r, Release::V0_12_1)[2..], ["https_proxy", "no_proxy"]);
    }

    #[test]
    fn template_metadata_wins_over_the_runners_and_loses_to_fixed_labels() {
        let mut r = runner("r");
        r.metadata.labels = arc_api::meta::labels([("a", "runner"), ("b", "runner")]);
        let spec = Arc::make_mut(&mut r.spec);
        let template = Arc::make_mut(&mut spec.template);
        template.metadata.labels = arc_api::meta::labels([("a", "template"), ("actions-ephemeral-runner", "no")]);
        let pod = pod(&r, &settings(Release::V0_14_2));
        let value = |k: &str| pod.metadata.label(k).cloned().unwrap_or_default();
        assert_eq!([value("a"), value("b"), value("actions-ephemeral-runner")], ["template", "runner", "True"]);
        assert_eq!(pod.metadata.controller().map(|c| c.uid), Some(r.metadata.uid));
    }
}
