//! Authorization: what Roles, ClusterRoles and their bindings let a ServiceAccount do.
use arc_api::Kind;
use arc_api::kube::{Access, Identity, KubeRequest};

use crate::api::ApiServer;
use crate::status::Refusal;

/// Grants per subject, compiled on first use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grants;

impl Grants {
    /// A role or binding changed.
    pub(crate) fn forget(&mut self) {}
}

impl ApiServer {
    pub(crate) fn authorize(&mut self, _who: &Identity, _request: &KubeRequest) -> Result<(), Refusal> {
        Ok(())
    }
    pub(crate) fn authorize_watch(&mut self, _who: &Identity, _kind: Kind, _ns: Option<&str>) -> Result<(), Refusal> {
        Ok(())
    }
    pub(crate) fn allows(&mut self, _who: &Identity, _access: &Access) -> bool {
        true
    }
}
