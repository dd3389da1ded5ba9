//! Authorization: what Roles, ClusterRoles and their bindings let a ServiceAccount do. People, the control plane and kubelets
//! may do everything.
//!
//! [`rules`] reads roles and bindings as they are written and answers any question; [`compiled`] turns them into bit masks
//! once per account, so that the common request costs a look-up. Bindings and roles that are being deleted grant until they
//! are gone, because both read what is stored.
//!
//! Source: kubernetes-api.md §7 (recorded: Terminating roles grant); plugin/pkg/auth/authorizer/rbac of kubernetes/kubernetes.

mod compiled;
mod escalation;
mod rules;

pub(crate) use compiled::Grants;
use compiled::{Question, SubIndex, Verb};
use rules::Attributes;

use std::sync::Arc;

use arc_api::kube::{Access, Identity, KubeRequest, Reason, Status};
use arc_api::meta::Key;
use arc_api::{Kind, Str, format_smolstr};

use crate::api::ApiServer;
use crate::status::Refusal;

/// From this minor version on an exec stream needs the verb `create` as well as `get`.
const EXEC_NEEDS_CREATE: u32 = 35;

/// `system:serviceaccount:ns:name`.
pub fn user_name(account: &Key) -> Str {
    format_smolstr!("system:serviceaccount:{}:{}", account.namespace, account.name)
}

impl ApiServer {
    /// 403 unless the identity may make the request.
    pub(crate) fn authorize(&mut self, who: &Identity, request: &KubeRequest) -> Result<(), Refusal> {
        let Identity::ServiceAccount { account, .. } = who else { return Ok(()) };
        if !self.settings.rbac {
            return Ok(());
        }
        let (kind, namespace, name): (Kind, &str, &str) = match request {
            // Everybody who is authenticated may ask about himself.
            KubeRequest::ReviewAccess(_) => return Ok(()),
            KubeRequest::List { kind, namespace, .. } => (*kind, namespace.as_deref().unwrap_or(""), ""),
            // The name of a creation is in the body, which the authorizer does not see.
            KubeRequest::Create(object) => (object.kind(), &object.meta().namespace, ""),
            KubeRequest::Update(object, _) => (object.kind(), &object.meta().namespace, &object.meta().name),
            KubeRequest::Get { kind, key }
            | KubeRequest::Patch { kind, key, .. }
            | KubeRequest::Delete { kind, key, .. } => (*kind, &key.namespace, &key.name),
            KubeRequest::Bind { key, .. } | KubeRequest::Evict { key } | KubeRequest::Exec { key, .. } => {
                (Kind::Pod, &key.namespace, &key.name)
            }
            KubeRequest::CreateToken { key } => (Kind::ServiceAccount, &key.namespace, &key.name),
        };
        let verb = match request {
            KubeRequest::Get { .. } | KubeRequest::Exec { .. } => Verb::Get,
            KubeRequest::List { .. } => Verb::List,
            KubeRequest::Update(..) => Verb::Update,
            KubeRequest::Patch { .. } => Verb::Patch,
            KubeRequest::Delete { .. } => Verb::Delete,
            _ => Verb::Create,
        };
        let sub = SubIndex::of(request.subresource());
        let question = Question { verb, kind, sub, namespace, name };
        self.require(account, &question)?;
        if matches!(request, KubeRequest::Exec { .. }) && self.settings.minor >= EXEC_NEEDS_CREATE {
            self.require(account, &Question { verb: Verb::Create, ..question })?;
        }
        Ok(())
    }

    /// 403 unless the identity may watch the collection.
    pub(crate) fn authorize_watch(&mut self, who: &Identity, kind: Kind, ns: Option<&str>) -> Result<(), Refusal> {
        let Identity::ServiceAccount { account, .. } = who else { return Ok(()) };
        if !self.settings.rbac {
            return Ok(());
        }
        let sub = SubIndex::of(None);
        self.require(account, &Question { verb: Verb::Watch, kind, sub, namespace: ns.unwrap_or(""), name: "" })
    }

    fn require(&mut self, account: &Key, question: &Question<'_>) -> Result<(), Refusal> {
        if self.grants.of(account, &self.store).allows(question) {
            Ok(())
        } else {
            Err(self.refusal(account, question))
        }
    }

    /// Whether the identity may do what `access` asks about (SelfSubjectAccessReview).
    pub(crate) fn allows(&self, who: &Identity, access: &Access) -> bool {
        let Identity::ServiceAccount { account, .. } = who else { return true };
        if !self.settings.rbac {
            return true;
        }
        let (resource, sub) = access.resource.split_once('/').unwrap_or((&access.resource, ""));
        let attributes = Attributes {
            verb: &access.verb,
            group: &access.group,
            resource,
            sub,
            name: access.name.as_deref().unwrap_or(""),
        };
        rules::granted(&self.store, account, &access.namespace).any(|rule| rules::rule_allows(rule, &attributes))
    }

    /// The 403 as the real authorizer words it, with the bindings that name no role (§7.3).
    fn refusal(&self, account: &Key, question: &Question<'_>) -> Refusal {
        let Question { verb, kind, sub, namespace, name } = question;
        let quoted = if name.is_empty() { Str::default() } else { format_smolstr!(" \"{name}\"") };
        let sub = sub.name().map_or(Str::default(), |s| format_smolstr!("/{s}"));
        let place = match *namespace {
            "" => Str::new_static("at the cluster scope"),
            namespace => format_smolstr!("in the namespace \"{namespace}\""),
        };
        let missing = rules::missing_roles(&self.store, account, namespace);
        let dangling = match missing.as_slice() {
            [] => Str::default(),
            [one] => format_smolstr!(": RBAC: {one}"),
            many => format_smolstr!(": RBAC: [{}]", many.join(", ")),
        };
        let message = format_smolstr!(
            "{}{quoted} is forbidden: User \"{}\" cannot {} resource \"{}{sub}\" in API group \"{}\" {place}{dangling}",
            kind.resource(),
            user_name(account),
            verb.as_str(),
            kind.plural(),
            kind.group(),
        );
        Arc::new(Status::new(Reason::Forbidden, message))
    }
}
