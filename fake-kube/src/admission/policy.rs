//! ValidatingAdmissionPolicy: an administrator's rule that refuses creations.
//!
//! Source: kubernetes-api.md §4.2. The status reason decides what clients do, not the text: a policy without a reason answers
//! 422 although its text says `is forbidden` (recorded: b_admission).

use std::sync::Arc;

use arc_api::kube::{Reason, Status};
use arc_api::{Kind, Object, format_smolstr};

use crate::api::ApiServer;
use crate::status::{Refusal, forbidden_text};

impl ApiServer {
    pub(super) fn check_policies(&self, object: &Object) -> Result<(), Refusal> {
        for stored in self.store.iter(Kind::AdmissionPolicy) {
            let Object::AdmissionPolicy(policy) = stored else { continue };
            let meta = object.meta();
            let matches = policy.resource == Some(object.kind())
                && policy.match_labels.iter().all(|(k, v)| meta.labels.get(k) == Some(v));
            if !matches {
                continue;
            }
            let name = &policy.metadata.name;
            let why = format_smolstr!(
                "ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {}",
                policy.message
            );
            let reason = if policy.reason == "Forbidden" { Reason::Forbidden } else { Reason::Invalid };
            return Err(Arc::new(Status::new(reason, forbidden_text(object.kind(), &meta.name, &why))));
        }
        Ok(())
    }
}
