//! Side effects as values: what a machine asks the world to do, and what came back.

use std::sync::Arc;

use arc_api::kube::{KubeOk, KubeReply, KubeRequest, Status};
use arc_api::service::{Credentials, Op, ServiceError, ServiceOk};
use arc_api::{Object, Resource, Str};

/// One side effect.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    /// A request to the API server.
    Kube(KubeRequest),
    /// An operation of the service, through the client of these credentials.
    Service(ServiceCall),
}

/// A service operation before authentication and retries: the client ([`crate::client`]) adds tokens and attempts.
#[derive(Clone, PartialEq, Debug)]
pub struct ServiceCall {
    /// Which client.
    pub client: Arc<ClientKey>,
    /// What.
    pub op: Op,
}

/// What distinguishes one service client from another in a process (actions-service.md §1.8).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ClientKey {
    /// `githubConfigUrl`.
    pub url: Str,
    /// Namespace of the secret.
    pub namespace: Str,
    /// What the secret holds.
    pub credentials: Arc<Credentials>,
}

/// What came back.
#[derive(Clone, PartialEq, Debug)]
pub enum Reply {
    /// From the API server.
    Kube(Result<KubeOk, CallError>),
    /// From the service, after the client's own retries.
    Service(Result<ServiceOk, CallError>),
}

/// Why a call failed.
#[derive(Clone, PartialEq, Debug)]
pub enum CallError {
    /// The API server refused.
    Api(Arc<Status>),
    /// The service refused.
    Service(Arc<ServiceError>),
    /// Nothing came back: refused, reset, timed out or black-holed. The request may have been carried out.
    Transport(Transport),
}

/// How the network failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Transport {
    /// Connection refused: surely not carried out.
    Refused,
    /// Connection lost before the reply.
    Reset,
    /// The client's own limit ran out.
    Timeout,
    /// The caller gave up (shutdown).
    Cancelled,
}

impl CallError {
    /// 404 of the API server.
    pub fn is_not_found(&self) -> bool {
        matches!(self, CallError::Api(s) if s.is_not_found())
    }
    /// 409 AlreadyExists.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, CallError::Api(s) if s.is_already_exists())
    }
    /// The API server's refusal.
    pub fn status(&self) -> Option<&Status> {
        match self {
            CallError::Api(s) => Some(s),
            CallError::Service(_) | CallError::Transport(_) => None,
        }
    }
    /// The service's refusal.
    pub fn service(&self) -> Option<&ServiceError> {
        match self {
            CallError::Service(e) => Some(e),
            CallError::Api(_) | CallError::Transport(_) => None,
        }
    }
    /// The text a Go client would print, for logs and statuses.
    pub fn text(&self) -> Str {
        match self {
            CallError::Api(s) => s.message.clone(),
            CallError::Service(e) if e.exception.as_str().is_empty() => e.message.clone(),
            CallError::Service(e) => arc_api::format_smolstr!("{}: {}", e.exception.as_str(), e.message),
            CallError::Transport(Transport::Refused) => "connect: connection refused".into(),
            CallError::Transport(Transport::Reset) => "connection reset by peer".into(),
            CallError::Transport(Transport::Timeout) => "context deadline exceeded".into(),
            CallError::Transport(Transport::Cancelled) => "context canceled".into(),
        }
    }
}

impl Reply {
    /// A reply of the API server.
    pub fn kube(reply: KubeReply) -> Reply {
        Reply::Kube(reply.map_err(CallError::Api))
    }
    /// The API server's part; a machine that gets the other kind has been wired wrongly.
    ///
    /// # Panics
    /// On a service reply: a bug of the harness.
    pub fn into_kube(self) -> Result<KubeOk, CallError> {
        match self {
            Reply::Kube(r) => r,
            Reply::Service(_) => panic!("a service reply for an API call"),
        }
    }
    /// The service's part.
    ///
    /// # Panics
    /// On an API reply: a bug of the harness.
    pub fn into_service(self) -> Result<ServiceOk, CallError> {
        match self {
            Reply::Service(r) => r,
            Reply::Kube(_) => panic!("an API reply for a service call"),
        }
    }
    /// The object of a good API answer.
    pub fn into_object(self) -> Result<Option<Object>, CallError> {
        self.into_kube().map(|ok| ok.object().cloned())
    }
    /// The objects that a list found.
    pub fn into_list(self) -> Result<Vec<Object>, CallError> {
        self.into_kube().map(|ok| match ok {
            KubeOk::List { items, .. } => items,
            _ => Vec::new(),
        })
    }
    /// What a read of one object found: `None` if there is none (404), or none of this kind.
    pub fn into_found<T: Resource>(self) -> Result<Option<Arc<T>>, CallError> {
        match self.into_object() {
            Ok(object) => Ok(object.as_ref().and_then(Object::get::<T>).cloned()),
            Err(e) if e.is_not_found() => Ok(None),
            Err(e) => Err(e),
        }
    }
}
