//! Building a service client in a reconcile pass: the live reads it costs, in order, and the key that comes out.
//!
//! **Never** calls the service and never caches: upstream reads the secret anew for every client it asks for, also when its
//! pool already has the client. Source: arc-controllers.md §2.6; recorded: a_basic (a GET of the GitHub secret before E14/E17).
//! Differs: credentials from a vault are read from the secret as well.

use std::sync::Arc;

use arc_api::core::{ConfigMap, Secret};
use arc_api::crd::{ArsSpec, ErSpec, Proxy};
use arc_api::kube::KubeRequest;
use arc_api::meta::Key;
use arc_api::{Kind, Object, Str};

use crate::call::{ClientKey, Reply};
use crate::credentials::client_key;

/// The reads of one client: the GitHub secret, then the secrets of its proxies, then the ConfigMap with its root CA.
#[derive(Clone, Debug)]
pub(crate) struct ClientBuild {
    url: Str,
    namespace: Str,
    github_secret: Str,
    others: Vec<(Kind, Str)>,
    done: usize,
    secret: Option<Arc<Secret>>,
}

impl ClientBuild {
    /// The client for the objects of `spec`, whose secrets lie in `namespace`.
    pub(crate) fn of(spec: &ErSpec, namespace: &Str) -> ClientBuild {
        let access = (&spec.github_config_url, &spec.github_config_secret);
        ClientBuild::new(access, spec.proxy.as_deref(), spec.github_server_tls.as_deref(), namespace)
    }
    /// The client of a scale set itself.
    pub(crate) fn for_set(spec: &ArsSpec, namespace: &Str) -> ClientBuild {
        let access = (&spec.github_config_url, &spec.github_config_secret);
        ClientBuild::new(access, spec.proxy.as_deref(), spec.github_server_tls.as_deref(), namespace)
    }
    fn new(
        (url, secret): (&Str, &Str),
        proxy: Option<&Proxy>,
        tls: Option<&serde_json::Value>,
        namespace: &Str,
    ) -> ClientBuild {
        let mut others = Vec::new();
        if let Some(proxy) = proxy {
            others.extend(proxy_secrets(proxy).map(|name| (Kind::Secret, name.clone())));
        }
        if let Some(name) = tls.and_then(root_ca) {
            others.push((Kind::ConfigMap, name));
        }
        ClientBuild {
            url: url.clone(),
            namespace: namespace.clone(),
            github_secret: secret.clone(),
            others,
            done: 0,
            secret: None,
        }
    }
    /// The read that is due; `None` when all are done.
    pub(crate) fn request(&self) -> Option<KubeRequest> {
        let (kind, name) = match self.done {
            0 => (Kind::Secret, &self.github_secret),
            n => self.others.get(n - 1).map(|(kind, name)| (*kind, name))?,
        };
        Some(KubeRequest::Get { kind, key: Key::new(self.namespace.clone(), name.clone()) })
    }
    /// Takes the answer to [`ClientBuild::request`].
    pub(crate) fn answer(&mut self, reply: Reply) -> Result<(), Str> {
        let object = reply.into_object().map_err(|e| e.text())?;
        if self.done == 0 {
            self.secret = object.as_ref().and_then(Object::get::<Secret>).cloned();
        } else if let Some(Object::ConfigMap(map)) = &object {
            require_data(map)?;
        }
        self.done += 1;
        Ok(())
    }
    /// The client, once all reads are done.
    pub(crate) fn key(&self) -> Result<Arc<ClientKey>, Str> {
        match &self.secret {
            Some(secret) => client_key(&self.url, secret),
            None => Err("the GitHub secret was not read".into()),
        }
    }
}

/// Names of the secrets that hold the credentials of `proxy`'s servers.
pub(crate) fn proxy_secrets(proxy: &Proxy) -> impl Iterator<Item = &Str> {
    let servers = [&proxy.http, &proxy.https];
    servers.into_iter().flatten().map(|s| &s.credential_secret_ref).filter(|name| !name.is_empty())
}

fn root_ca(tls: &serde_json::Value) -> Option<Str> {
    tls["certificateFrom"]["configMapKeyRef"]["name"].as_str().map(Str::from)
}

fn require_data(map: &ConfigMap) -> Result<(), Str> {
    if map.data.is_empty() { Err("key not found in ConfigMap of the root CA".into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::Meta;
    use arc_api::crd::ProxyServer;
    use arc_api::kube::{KubeOk, Reason, Status};
    use arc_api::meta::labels;

    fn secret(name: &str) -> Reply {
        let data = labels([("github_token", "pat")]);
        Reply::kube(Ok(KubeOk::Object(Secret { metadata: Meta::named("ns", name), data, ..Secret::default() }.into())))
    }

    #[test]
    fn a_client_behind_a_proxy_costs_a_read_of_each_secret() {
        let server = ProxyServer { url: "http://proxy".into(), credential_secret_ref: "proxy-user".into() };
        let proxy = Proxy { https: Some(server), ..Proxy::default() };
        let spec = ErSpec { github_config_secret: "gh".into(), proxy: Some(Arc::new(proxy)), ..ErSpec::default() };
        let mut build = ClientBuild::of(&spec, &"ns".into());
        for name in ["gh", "proxy-user"] {
            assert_eq!(build.request().and_then(|r| r.key()), Some(Key::new("ns", name)));
            build.answer(secret(name)).expect("good");
        }
        assert_eq!(build.request(), None);
        assert!(build.key().is_ok());
    }

    #[test]
    fn a_missing_secret_ends_the_build_with_the_servers_text() {
        let mut build = ClientBuild::of(&ErSpec::default(), &"ns".into());
        let gone = Arc::new(Status::new(Reason::NotFound, "secrets \"gh\" not found"));
        assert_eq!(build.answer(Reply::kube(Err(gone))), Err("secrets \"gh\" not found".into()));
    }
}
