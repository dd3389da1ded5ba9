//! A server with one namespace, the default ServiceAccount and ARC's definitions, and short ways to say requests.
#![allow(dead_code)]

use std::sync::Arc;

use arc_api::core::*;
use arc_api::crd::*;
use arc_api::kube::*;
use arc_api::meta::Key;
use arc_api::pod::*;
use arc_api::*;
pub use fake_kube::{ApiServer, ApiSettings};

/// The namespace of the tests.
pub const NS: &str = "ns";
/// The time of everything that does not care.
pub const T0: Time = Time::from_secs(100);

/// A server under test; requests are the administrator's unless a test says otherwise.
pub struct Fixture {
    /// The server.
    pub api: ApiServer,
}

/// A server of Kubernetes 1.`minor` with the newest definitions.
pub fn server(minor: u32) -> Fixture {
    Fixture::new(ApiSettings::version(minor))
}

impl Fixture {
    /// Nothing but a namespace.
    pub fn bare(settings: ApiSettings) -> Fixture {
        let mut fixture = Fixture { api: ApiServer::new(settings) };
        fixture.create(Namespace { metadata: Meta::named("", NS), ..Namespace::default() }, Time::ZERO);
        fixture.create(ServiceAccount { metadata: Meta::named(NS, "default"), ..Default::default() }, Time::ZERO);
        fixture
    }
    /// With ARC's definitions of a release.
    pub fn with_crds(settings: ApiSettings, release: &str) -> Fixture {
        let mut fixture = Fixture::bare(settings);
        for crd in fake_kube::crds::arc_crds(release) {
            fixture.create(crd, Time::ZERO);
        }
        fixture
    }
    /// With the newest definitions.
    pub fn new(settings: ApiSettings) -> Fixture {
        Fixture::with_crds(settings, "0.14.2")
    }
    /// The answer to the administrator.
    pub fn handle(&mut self, request: KubeRequest) -> KubeReply {
        self.api.handle(&Identity::Admin, &request, T0)
    }
    /// The answer, which must be good.
    #[track_caller]
    pub fn ok(&mut self, request: KubeRequest) -> KubeOk {
        match self.handle(request) {
            Ok(ok) => ok,
            Err(status) => panic!("refused: {}", status.message),
        }
    }
    /// The object of a good answer.
    #[track_caller]
    pub fn object(&mut self, request: KubeRequest) -> Object {
        self.ok(request).object().cloned().expect("an object")
    }
    /// The refusal.
    #[track_caller]
    pub fn refused(&mut self, request: KubeRequest) -> Arc<Status> {
        match self.handle(request) {
            Ok(ok) => panic!("accepted: {ok:?}"),
            Err(status) => status,
        }
    }
    /// Creates an object at a time.
    #[track_caller]
    pub fn create(&mut self, object: impl Into<Object>, now: Time) -> Object {
        match self.api.handle(&Identity::Admin, &KubeRequest::Create(object.into()), now) {
            Ok(ok) => ok.object().cloned().expect("an object"),
            Err(status) => panic!("refused: {}", status.message),
        }
    }
    /// Events of a kind since a version, as `ADDED name` lines.
    pub fn events(&self, kind: Kind, since: u64) -> Vec<String> {
        let line = |e: &WatchEvent| format!("{:?} {}", e.type_, e.object.meta().name);
        self.api.events_after(kind, since).map(|list| list.map(line).collect()).expect("history")
    }
    /// Whether an object is stored.
    pub fn has(&self, kind: Kind, name: &str) -> bool {
        self.api.get(kind, &Key::new(NS, name)).is_some()
    }
}

/// DELETE without options.
pub fn delete(kind: Kind, name: &str) -> KubeRequest {
    delete_with(kind, name, DeleteOptions::default())
}

/// DELETE.
pub fn delete_with(kind: Kind, name: &str, options: DeleteOptions) -> KubeRequest {
    KubeRequest::Delete { kind, key: Key::new(NS, name), options }
}

/// PATCH.
pub fn patch_of(kind: Kind, name: &str, sub: Sub, patch: Patch) -> KubeRequest {
    KubeRequest::Patch { kind, key: Key::new(NS, name), sub, patch: Arc::new(patch) }
}

/// GET.
pub fn get(kind: Kind, name: &str) -> KubeRequest {
    KubeRequest::Get { kind, key: Key::new(NS, name) }
}

/// A ConfigMap.
pub fn config_map(name: &str) -> ConfigMap {
    ConfigMap { metadata: Meta::named(NS, name), ..ConfigMap::default() }
}

/// An EphemeralRunnerSet of one runner.
pub fn runner_set(name: &str) -> EphemeralRunnerSet {
    let spec = ErsSpec { replicas: 1, ..ErsSpec::default() };
    EphemeralRunnerSet { metadata: Meta::named(NS, name), spec, ..EphemeralRunnerSet::default() }
}

/// An EphemeralRunner.
pub fn runner(name: &str) -> EphemeralRunner {
    EphemeralRunner { metadata: Meta::named(NS, name), ..EphemeralRunner::default() }
}

/// A container with an image.
pub fn container(name: &str) -> Container {
    Container { name: name.into(), image: "busybox:1".into(), ..Container::default() }
}

/// A pod with one container.
pub fn pod(name: &str) -> Pod {
    pod_with(name, |_| {})
}

/// A pod with one container, changed.
pub fn pod_with(name: &str, change: impl FnOnce(&mut PodSpec)) -> Pod {
    let mut spec = PodSpec { containers: vec![container("c")], ..PodSpec::default() };
    change(&mut spec);
    Pod { metadata: Meta::named(NS, name), spec: Arc::new(spec), ..Pod::default() }
}

/// A ServiceAccount's identity, as its token carries it.
pub fn identity(account: &Object) -> Identity {
    Identity::ServiceAccount { account: account.key(), uid: account.meta().uid }
}
