//! The ServiceAccount plugin: a pod runs as an account that exists, with its token and its pull secrets.
//!
//! Source: kubernetes-api.md §4.1, §4.2; plugin/pkg/admission/serviceaccount of kubernetes/kubernetes. A terminating account is
//! accepted (recorded: b_sa_token/0.14.2).

use std::sync::{Arc, LazyLock};

use arc_api::core::ServiceAccount;
use arc_api::meta::Key;
use arc_api::pod::{Container, Volume, VolumeMount};
use arc_api::{Kind, Object, Str, format_smolstr};
use serde_json::{Map, Value, json};

use crate::api::ApiServer;
use crate::status::{self, Refusal};

const DEFAULT_ACCOUNT: Str = Str::new_static("default");
const TOKEN_PATH: Str = Str::new_static("/var/run/secrets/kubernetes.io/serviceaccount");
/// From this minor version on tokens come from a projected volume, not from a Secret.
const PROJECTED_SINCE: u32 = 22;

/// The source of a token volume: the same for every pod.
static TOKEN_SOURCE: LazyLock<Arc<Map<String, Value>>> = LazyLock::new(|| {
    let source = json!({ "defaultMode": 420, "sources": [
        { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
        { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
        { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } },
    ] });
    Arc::new([("projected".to_owned(), source)].into_iter().collect())
});

fn wants_token(automount: Option<bool>, account: &ServiceAccount) -> bool {
    let of_account = || {
        let rest = account.metadata.rest.as_ref()?;
        rest.get("automountServiceAccountToken")?.as_bool()
    };
    automount.or_else(of_account).unwrap_or(true)
}

impl ApiServer {
    pub(super) fn add_service_account(&mut self, object: &mut Object) -> Result<(), Refusal> {
        let Object::Pod(pod) = object else { return Ok(()) };
        let name = match pod.spec.service_account_name.as_str() {
            "" => DEFAULT_ACCOUNT,
            _ => pod.spec.service_account_name.clone(),
        };
        let namespace = pod.metadata.namespace.clone();
        let Some(account) = self.store.typed::<ServiceAccount>(&Key::new(namespace.clone(), name.clone())).cloned()
        else {
            let why = format_smolstr!(
                "error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found"
            );
            return Err(status::forbidden(Kind::Pod, &pod.metadata.name, &why));
        };
        let pod = Arc::make_mut(pod);
        let spec = Arc::make_mut(&mut pod.spec);
        spec.service_account_name = name;
        if spec.image_pull_secrets.is_empty() && !account.image_pull_secrets.is_empty() {
            spec.image_pull_secrets.clone_from(&account.image_pull_secrets);
        }
        if self.settings.minor < PROJECTED_SINCE || !wants_token(spec.automount_service_account_token, &account) {
            return Ok(());
        }
        let lacks = |c: &Container| c.volume_mounts.iter().all(|m| m.mount_path != TOKEN_PATH);
        if !spec.containers.iter().chain(&spec.init_containers).any(lacks) {
            return Ok(());
        }
        let suffix = self.store.next_suffix(self.settings.seed);
        let volume = format_smolstr!("kube-api-access-{}", std::str::from_utf8(&suffix).unwrap_or_default());
        for container in spec.containers.iter_mut().chain(&mut spec.init_containers).filter(|c| lacks(c)) {
            container.volume_mounts.push(VolumeMount {
                name: volume.clone(),
                mount_path: TOKEN_PATH,
                sub_path: Str::default(),
                read_only: true,
            });
        }
        spec.volumes.push(Volume { name: volume, rest: Some(TOKEN_SOURCE.clone()), ..Volume::default() });
        Ok(())
    }
}
