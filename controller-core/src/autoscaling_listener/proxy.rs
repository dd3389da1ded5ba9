//! The listener's proxy secret and the root CA of a private server. Both are read or made once and never refreshed.
//!
//! Source: arc-controllers.md §2.6, §6.1 steps 10 and 11.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_api::core::{ConfigMap, Secret};
use arc_api::crd::{Proxy, ProxyServer};
use arc_api::kube::KubeRequest;
use arc_api::{Kind, Labels, Resource, Str, format_smolstr};

use super::{AlPass, Step};
use crate::behaviour::*;
use crate::names;
use crate::reconcile::{Decision, Observed};

impl AlPass {
    pub(super) fn make_proxy(&mut self, o: &Observed<'_>) -> Decision {
        if self.listener().spec.proxy.is_none() {
            return self.watch_over_config(o);
        }
        let key = self.beside_us(names::listener_proxy(&self.key.name));
        self.get(Step::AfterProxySecretRead, Kind::Secret, key)
    }

    pub(super) fn after_proxy_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_kube() {
            Ok(_) => self.watch_over_config(o),
            Err(e) if e.is_not_found() => self.read_next_proxy_credentials(),
            Err(e) => self.fail(o, ("Unable to get listener proxy secret", "ApiServer"), e.text()),
        }
    }

    fn proxy(&self) -> Arc<Proxy> {
        self.listener().spec.proxy.clone().unwrap_or_default()
    }

    /// Reads the next proxy's user and password, or makes the secret when all are known.
    fn read_next_proxy_credentials(&mut self) -> Decision {
        let proxy = self.proxy();
        let servers = [&proxy.http, &proxy.https];
        let unknown = |name: &Str| !name.is_empty() && !self.proxy_users.iter().any(|(known, _)| known == name);
        let next = servers.into_iter().flatten().map(|s| &s.credential_secret_ref).find(|name| unknown(name));
        match next {
            Some(name) => {
                let key = self.beside_runners(name.clone());
                self.proxy_users.push((name.clone(), Str::default()));
                self.get(Step::AfterProxyCredentialsRead, Kind::Secret, key)
            }
            None => self.create_proxy_secret(&proxy),
        }
    }

    pub(super) fn after_proxy_credentials_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_object() {
            Ok(object) => {
                let secret = object.as_ref().and_then(Secret::unwrap).cloned().unwrap_or_default();
                let value = |key| secret.data.get(key).cloned().unwrap_or_default();
                if let Some((_, user)) = self.proxy_users.last_mut() {
                    *user = format_smolstr!("{}:{}", value("username"), value("password"));
                }
                self.read_next_proxy_credentials()
            }
            Err(e) => self.fail(o, ("Failed to read proxy credentials", "Credentials"), e.text()),
        }
    }

    fn create_proxy_secret(&mut self, proxy: &Proxy) -> Decision {
        let url = |server: &ProxyServer| {
            let user = self.proxy_users.iter().find(|(n, _)| *n == server.credential_secret_ref).map(|(_, u)| u);
            match (user.filter(|u| !u.is_empty()), server.url.split_once("://")) {
                (Some(user), Some((scheme, rest))) => format_smolstr!("{scheme}://{user}@{rest}"),
                _ => server.url.clone(),
            }
        };
        let mut data: BTreeMap<Str, Str> = BTreeMap::new();
        for (key, server) in [("http_proxy", &proxy.http), ("https_proxy", &proxy.https)] {
            if let Some(server) = server {
                data.insert(key.into(), url(server));
            }
        }
        data.insert("no_proxy".into(), proxy.no_proxy.join(",").into());
        let metadata = self.owned(names::listener_proxy(&self.key.name), Labels::default(), Labels::default());
        let secret = Secret { metadata, data: Arc::new(data), ..Secret::default() };
        self.kube(Step::AfterProxySecretCreated, KubeRequest::Create(secret.into()))
    }

    // ---- root CA

    /// Name and key of the ConfigMap that holds the root CA, if one is named.
    fn certificate_ref(&self) -> Option<(Str, Str)> {
        let tls = self.listener().spec.github_server_tls.clone()?;
        let from = &tls["certificateFrom"]["configMapKeyRef"];
        let text = |member: &str| from[member].as_str().map(Str::from);
        Some((text("name")?, text("key")?))
    }

    /// Reads the root CA before the config is built.
    pub(super) fn read_certificate(&mut self) -> Option<Decision> {
        let (name, _) = self.certificate_ref()?;
        let key = self.beside_runners(name);
        Some(self.get(Step::AfterCertificateRead, Kind::ConfigMap, key))
    }

    pub(super) fn after_certificate_read(&mut self, o: &mut Observed<'_>) -> Decision {
        const FAILED: super::Failure = ("Failed to read the server's certificate", "Certificate");
        let key = self.certificate_ref().map(|(_, key)| key).unwrap_or_default();
        match o.take_reply().into_object() {
            Ok(object) => match object.as_ref().and_then(ConfigMap::unwrap).and_then(|m| m.data.get(&key)) {
                Some(pem) => {
                    self.certificate = pem.clone();
                    self.read_config()
                }
                None => self.fail(o, FAILED, format_smolstr!("key {key:?} is not found in the ConfigMap")),
            },
            Err(e) => self.fail(o, FAILED, e.text()),
        }
    }

    /// Whether this release looks at the config secret in every pass, or only when it is about to make a pod.
    pub(super) fn watches_config(o: &Observed<'_>) -> bool {
        matches!(o.settings.behaviour.al_config_refresh, ConfigRefresh::OnDrift | ConfigRefresh::OnDataDrift)
    }
}
