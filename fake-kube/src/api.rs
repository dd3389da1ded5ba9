//! The API server as a pure machine: a request in, an answer out, the store changed in between.
//!
//! Order of work: authentication → authorization → admission → validation → store (kubernetes-api.md §3.2). Nothing here
//! waits, draws or formats text on the path of success; HTTP, content types and long polls belong to the face.

use std::sync::Arc;

use arc_api::kube::{Identity, KubeOk, KubeReply, KubeRequest, WatchEvent};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Kind, Object, Resource, Time, Uid};

pub use crate::delete::PendingDelete;
pub use crate::settings::ApiSettings;
use crate::status::{self, Refusal};
use crate::store::Store;
use crate::{crds::Served, parts, rbac::Grants, tokens};

/// One cluster's API server with its store. Cloning is cheap: everything large is shared until it is written.
#[derive(Clone, Debug)]
pub struct ApiServer {
    pub(crate) settings: Arc<ApiSettings>,
    pub(crate) store: Store,
    pub(crate) served: Served,
    pub(crate) grants: Grants,
}

impl ApiServer {
    /// An empty server: no namespaces, no custom kinds ([`crate::crds::arc_crds`] makes them), no roles.
    pub fn new(settings: ApiSettings) -> ApiServer {
        ApiServer {
            store: Store::new(&settings),
            settings: Arc::new(settings),
            served: Served::default(),
            grants: Grants::default(),
        }
    }

    /// Answers one request. A refused request changes nothing.
    pub fn handle(&mut self, who: &Identity, request: &KubeRequest, now: Time) -> KubeReply {
        tokens::authenticate(&self.store, who, now)?;
        self.authorize(who, request)?;
        if let Some(kind) = request.kind()
            && !self.served.is_served(kind)
        {
            return Err(status::not_served());
        }
        if request.subresource() == Some("status") && request.kind().is_some_and(|k| !parts::has_status(k)) {
            return Err(status::not_served());
        }
        match request {
            KubeRequest::Get { kind, key } => match self.store.get(*kind, key) {
                Some(object) => Ok(KubeOk::Object(object.clone())),
                None => Err(status::not_found(*kind, &key.name)),
            },
            KubeRequest::List { kind, namespace, labels } => {
                let wanted = |o: &&Object| labels.iter().all(|(k, v)| o.meta().labels.get(k) == Some(v));
                let items = match namespace {
                    Some(namespace) => self.store.in_namespace(*kind, namespace).filter(wanted).cloned().collect(),
                    None => self.store.iter(*kind).filter(wanted).cloned().collect(),
                };
                Ok(KubeOk::List { items, resource_version: self.store.version() })
            }
            KubeRequest::Create(object) => self.create(who, object, now),
            KubeRequest::Update(object, sub) => self.update(who, object, *sub, now),
            KubeRequest::Patch { kind, key, sub, patch } => self.patch(who, *kind, key, *sub, patch, now),
            KubeRequest::Delete { kind, key, options } => self.delete(*kind, key, options, now),
            KubeRequest::Bind { key, node } => self.bind(key, node, now),
            KubeRequest::Evict { key } => self.evict(key, now),
            KubeRequest::CreateToken { key } => tokens::issue(&self.store, key),
            KubeRequest::ReviewAccess(access) => Ok(KubeOk::Allowed(self.allows(who, access))),
            KubeRequest::Exec { key, .. } => match self.store.get(Kind::Pod, key) {
                Some(_) => Ok(KubeOk::Done),
                None => Err(status::not_found(Kind::Pod, &key.name)),
            },
        }
    }

    /// Whether `who` may watch; the events are read with [`ApiServer::events_after`].
    ///
    /// # Errors
    /// 401, 403, or 404 of a kind that is not served.
    pub fn watch(&mut self, who: &Identity, kind: Kind, namespace: Option<&str>, now: Time) -> Result<(), Refusal> {
        tokens::authenticate(&self.store, who, now)?;
        self.authorize_watch(who, kind, namespace)?;
        if self.served.is_served(kind) { Ok(()) } else { Err(status::not_served()) }
    }

    /// Settings of this server.
    pub fn settings(&self) -> &ApiSettings {
        &self.settings
    }
    /// An object as stored.
    pub fn get(&self, kind: Kind, key: &Key) -> Option<&Object> {
        self.store.get(kind, key)
    }
    /// An object as stored, typed.
    pub fn typed<T: Resource>(&self, key: &Key) -> Option<&Arc<T>> {
        self.store.typed(key)
    }
    /// All objects of a kind, ordered by key.
    pub fn iter(&self, kind: Kind) -> impl Iterator<Item = &Object> {
        self.store.iter(kind)
    }
    /// The objects of a kind in one namespace, ordered by name.
    pub fn in_namespace<'a>(&'a self, kind: Kind, namespace: &'a str) -> impl Iterator<Item = &'a Object> + 'a {
        self.store.in_namespace(kind, namespace)
    }
    /// Number of objects of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.store.len(kind)
    }
    /// The object with this identity.
    pub fn by_uid(&self, uid: Uid) -> Option<&Object> {
        self.store.by_uid(uid)
    }
    /// The objects that name `owner` in their owner references.
    pub fn dependents(&self, owner: Uid) -> impl Iterator<Item = &Object> {
        self.store.dependents(owner)
    }
    /// The pods bound to a node, ordered by key.
    pub fn pods_on<'a>(&'a self, node: &'a str) -> impl Iterator<Item = &'a Arc<Pod>> + 'a {
        self.store.pods_on(node)
    }
    /// The version of the last commit, of any kind.
    pub fn resource_version(&self) -> u64 {
        self.store.version()
    }
    /// Every commit after `position`, all kinds, in order. A position is a resource version: each commit takes one.
    /// What [`ApiServer::trim_log`] let go is missing.
    pub fn log_since(&self, position: u64) -> impl Iterator<Item = &WatchEvent> {
        self.store.log_since(position)
    }
    /// Lets go of commits at or before `position`: every reader has seen them.
    pub fn trim_log(&mut self, position: u64) {
        self.store.trim_log(position);
    }
    /// Number of commits the log holds.
    pub fn log_len(&self) -> usize {
        self.store.log_len()
    }
    /// The changes of a kind after `version`, for a watch.
    ///
    /// # Errors
    /// 410 Expired when some of them are forgotten.
    pub fn events_after(&self, kind: Kind, version: u64) -> Result<impl Iterator<Item = &WatchEvent>, Refusal> {
        self.store.history(kind).after(version).map_err(|floor| status::too_old(version, floor))
    }
    /// The oldest version a watch of `kind` can start from.
    pub fn history_floor(&self, kind: Kind) -> u64 {
        self.store.history(kind).floor()
    }
    /// Forgets the watch history of a kind up to now, as compaction does.
    pub fn compact(&mut self, kind: Kind) {
        let version = self.store.version();
        self.store.compact(kind, version);
    }
    /// Forgets all watch histories, as a restart does: every earlier version is too old.
    pub fn restart(&mut self) {
        for kind in Kind::ALL {
            self.compact(*kind);
        }
    }

    pub(crate) fn insert(&mut self, object: Object, now: Time) -> Object {
        let kind = object.kind();
        let stored = self.store.insert(object, now, &self.settings);
        self.on_commit(kind);
        stored
    }
    pub(crate) fn replace(&mut self, object: Object, now: Time) -> Object {
        let kind = object.kind();
        let stored = self.store.replace(object, now, &self.settings);
        self.on_commit(kind);
        stored
    }
    pub(crate) fn remove(&mut self, kind: Kind, key: &Key, now: Time) -> Option<Object> {
        let last = self.store.remove(kind, key, now, &self.settings);
        self.on_commit(kind);
        last
    }
    fn on_commit(&mut self, kind: Kind) {
        match kind {
            Kind::Role | Kind::ClusterRole | Kind::RoleBinding | Kind::ClusterRoleBinding => self.grants.forget(),
            Kind::CustomResourceDefinition => self.served = Served::of(&self.store),
            _ => {}
        }
    }
}
