//! The secret with proxy settings that the pods of a set read. Made once, never updated.
//!
//! Source: arc-controllers.md §4.1 step 5, §2.6.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::Secret;
use arc_api::crd::{EphemeralRunnerSet, Proxy, ProxyServer};
use arc_api::kube::KubeRequest;
use arc_api::meta::Key;
use arc_api::{Kind, Labels, Meta, Object, OwnerRef, Resource, Str, format_smolstr};

use super::{ErsPass, Step, fail};
use crate::client_build::proxy_secrets;
use crate::names;
use crate::reconcile::{Decision, Observed};

/// Credentials read so far, by secret.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    names: Vec<Str>,
    read: BTreeMap<Str, Arc<Secret>>,
}

impl ErsPass {
    fn proxy_key(&self) -> Key {
        Key::new(self.key.namespace.clone(), names::runner_proxy(&self.key))
    }

    pub(super) fn read_proxy_secret(&mut self) -> Decision {
        let key = self.proxy_key();
        self.call(Step::AfterProxySecretRead, KubeRequest::Get { kind: Kind::Secret, key })
    }

    pub(super) fn after_proxy_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => self.compare(o),
            Err(e) if e.is_not_found() => {
                let proxy = self.set().spec.ephemeral_runner_spec.proxy.clone().unwrap_or_default();
                let mut names: Vec<Str> = proxy_secrets(&proxy).cloned().collect();
                names.reverse();
                self.proxy = Some(Box::new(Progress { names, ..Progress::default() }));
                self.next_credentials(&proxy)
            }
            Err(e) => fail(o, "Failed to get ephemeral runner set proxy secret", &e),
        }
    }

    fn next_credentials(&mut self, proxy: &Proxy) -> Decision {
        if let Some(name) = self.proxy.as_ref().and_then(|p| p.names.last()) {
            let key = Key::new(self.key.namespace.clone(), name.clone());
            return self.call(Step::AfterProxyCredentialsRead, KubeRequest::Get { kind: Kind::Secret, key });
        }
        let set = self.set();
        let metadata = Meta {
            labels: arc_api::meta::labels(
                ["actions.github.com/scale-set-name", "actions.github.com/scale-set-namespace"]
                    .into_iter()
                    .filter_map(|k| set.metadata.label(k).map(|v| (k, v.as_str()))),
            ),
            owner_references: [OwnerRef::controller(EphemeralRunnerSet::KIND, &set.metadata)].into(),
            ..Meta::named(self.key.namespace.clone(), self.proxy_key().name)
        };
        let data = Labels::new(proxy_data(proxy, self.proxy.as_deref()));
        let secret = Secret { metadata, data, ..Secret::default() };
        self.call(Step::AfterProxySecretCreated, KubeRequest::Create(secret.into()))
    }

    pub(super) fn after_proxy_credentials_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let object = match o.take_reply().into_object() {
            Ok(object) => object,
            Err(e) => return fail(o, "Failed to create ephemeral runner set proxy secret", &e),
        };
        if let Some(progress) = &mut self.proxy
            && let (Some(name), Some(secret)) = (progress.names.pop(), object.as_ref().and_then(Object::get::<Secret>))
        {
            progress.read.insert(name, secret.clone());
        }
        let proxy = self.set().spec.ephemeral_runner_spec.proxy.clone().unwrap_or_default();
        self.next_credentials(&proxy)
    }

    pub(super) fn after_proxy_secret_created(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => self.compare(o),
            Err(e) => fail(o, "Failed to create ephemeral runner set proxy secret", &e),
        }
    }
}

/// `http_proxy`, `https_proxy` and `no_proxy`, as far as configured, with credentials inside the URLs.
fn proxy_data(proxy: &Proxy, progress: Option<&Progress>) -> BTreeMap<Str, Str> {
    let url = |server: &ProxyServer| with_credentials(server, progress);
    let mut data = BTreeMap::new();
    data.extend(proxy.http.as_ref().map(|s| ("http_proxy".into(), url(s))));
    data.extend(proxy.https.as_ref().map(|s| ("https_proxy".into(), url(s))));
    if !proxy.no_proxy.is_empty() {
        data.insert("no_proxy".into(), proxy.no_proxy.join(",").into());
    }
    data
}

fn with_credentials(server: &ProxyServer, progress: Option<&Progress>) -> Str {
    let secret = progress.and_then(|p| p.read.get(&server.credential_secret_ref));
    let value = |key: &str| secret.and_then(|s| s.data.get(key)).cloned().unwrap_or_default();
    match (secret, server.url.split_once("://")) {
        (Some(_), Some((scheme, rest))) => {
            format_smolstr!("{scheme}://{}:{}@{rest}", value("username"), value("password"))
        }
        _ => server.url.clone(),
    }
}
