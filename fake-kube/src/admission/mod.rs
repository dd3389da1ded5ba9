//! Admission: what is added to a new object, and which creations are refused although they are well-formed.
//!
//! Order (kubernetes-api.md §3.2): NamespaceLifecycle, ServiceAccount, Priority and default tolerations; then validation; then
//! PodSecurity, ValidatingAdmissionPolicy, and ResourceQuota last, because it charges.
//! Differs: LimitRanger and webhooks are not modelled; an admission policy that names a kind stands for any webhook.

mod pod_security;
mod policy;
pub(crate) mod quota;
mod service_account;

use arc_api::core::{Namespace, PriorityClass};
use arc_api::kube::{Reason, Status};
use arc_api::meta::Key;
use arc_api::{Kind, Object, Str, Time, format_smolstr};

use std::sync::Arc;

use crate::api::ApiServer;
use crate::pod_defaults;
use crate::status::{self, Refusal};

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];
/// Priority classes that exist without being stored.
const BUILT_IN_CLASSES: [&str; 2] = ["system-node-critical", "system-cluster-critical"];

impl ApiServer {
    /// Refuses a creation by where it goes, and fills in what admission fills in.
    pub(crate) fn admit(&mut self, object: &mut Object) -> Result<(), Refusal> {
        self.check_namespace(object)?;
        match object {
            Object::Pod(_) => {
                self.add_service_account(object)?;
                pod_defaults::prepare(object, &self.settings);
                self.check_priority_class(object)
            }
            Object::AutoscalingRunnerSet(_) | Object::EphemeralRunnerSet(_) | Object::EphemeralRunner(_) => {
                crate::prune::misplaced_members(object);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Refuses a creation that is valid; charges quotas.
    pub(crate) fn admit_valid(&mut self, object: &Object, now: Time) -> Result<(), Refusal> {
        if let Object::Pod(pod) = object {
            self.check_pod_security(pod)?;
        }
        self.check_policies(object)?;
        self.charge_quotas(object, now)
    }

    /// Source: plugin/namespace/lifecycle of kubernetes/apiserver; golden namespace.
    fn check_namespace(&self, object: &Object) -> Result<(), Refusal> {
        let kind = object.kind();
        if !kind.is_namespaced() {
            return Ok(());
        }
        let meta = object.meta();
        let name = &meta.namespace;
        let Some(namespace) = self.store.typed::<Namespace>(&Key::new("", name.clone())) else {
            return Err(status::not_found(Kind::Namespace, name));
        };
        if !namespace.metadata.is_deleting() {
            return Ok(());
        }
        let why = format_smolstr!("unable to create new content in namespace {name} because it is being terminated");
        let message = status::forbidden_text(kind, &meta.name, &why);
        let cause = (Str::new_static("metadata.namespace"), format_smolstr!("namespace {name} is being terminated"));
        Err(Arc::new(Status { causes: vec![cause], ..Status::new(Reason::Forbidden, message) }))
    }

    /// Refuses the deletion of the namespaces a cluster cannot be without.
    pub(crate) fn check_immortal(&self, kind: Kind, name: &str) -> Result<(), Refusal> {
        if kind == Kind::Namespace && IMMORTAL.contains(&name) {
            return Err(status::forbidden(kind, name, "this namespace may not be deleted"));
        }
        Ok(())
    }

    fn check_priority_class(&self, object: &Object) -> Result<(), Refusal> {
        let Object::Pod(pod) = object else { return Ok(()) };
        let class = &pod.spec.priority_class_name;
        if class.is_empty()
            || BUILT_IN_CLASSES.contains(&class.as_str())
            || self.store.typed::<PriorityClass>(&Key::new("", class.clone())).is_some()
        {
            return Ok(());
        }
        let why = format_smolstr!("no PriorityClass with name {class} was found");
        Err(status::forbidden(Kind::Pod, &pod.metadata.name, &why))
    }
}
