//! What the listener may do: its mirrored secret (0.11.0 and older), ServiceAccount, Role and RoleBinding. Never grants more
//! than patching one runner set, the runners' status and (corrected controller) the listener's own status.
//!
//! Source: arc-controllers.md §6.1 steps 6–9, §6.4, Q-MIRROR-HASH, Q-ROLE-RULES-NOT-REPAIRED; order and labels of a_basic.

use std::sync::Arc;

use arc_api::core::{PolicyRule, Role, RoleBinding, RoleRef, Secret, ServiceAccount, Subject};
use arc_api::kube::{KubeRequest, Sub};
use arc_api::{Kind, Labels, Meta, OwnerRef, Str, format_smolstr};

use super::{AlPass, Step};
use crate::behaviour::*;
use crate::labels::{self, Map};
use crate::reconcile::{Decision, Observed};
use crate::triggers::{LISTENER_NAME, LISTENER_NAMESPACE};
use crate::{hashes, names};

const RULES_HASH: &str = "role-policy-rules-hash";
const DATA_HASH: &str = "secret-data-hash";

impl AlPass {
    /// Labels of everything that serves this listener.
    fn serving_labels(&self, o: &Observed<'_>) -> Map {
        let set = self.set();
        labels::for_listener(&self.listener().metadata, (&set.namespace, &set.name), o.settings)
    }

    /// Labels by which a Role or RoleBinding in another namespace wakes this listener.
    fn traced_labels(&self, o: &Observed<'_>) -> Map {
        let mut map = self.serving_labels(o);
        map.insert(LISTENER_NAME.into(), self.key.name.clone());
        map.insert(LISTENER_NAMESPACE.into(), self.key.namespace.clone());
        map
    }

    /// The user's overlay under the generated labels.
    fn overlaid(&self, member: &str, map: Map, o: &Observed<'_>) -> (Labels, Labels) {
        let behaviour = &o.settings.behaviour;
        let overlay = labels::overlay(&self.listener().spec.overlays, member, behaviour);
        // Without generated annotations there is no nil map to write to.
        labels::over(overlay, map, Map::new(), behaviour).unwrap_or_default()
    }

    /// Metadata of an object that is deleted with the listener.
    pub(super) fn owned(&self, name: Str, labels: Labels, annotations: Labels) -> Meta {
        let owner = OwnerRef::controller(Kind::AutoscalingListener, &self.listener().metadata);
        let owner_references = [owner].into();
        Meta { labels, annotations, owner_references, ..Meta::named(self.key.namespace.clone(), name) }
    }

    pub(super) fn identity_name(&self, o: &Observed<'_>) -> Str {
        names::listener_identity(&self.key.name, &self.set(), &o.settings.behaviour)
    }

    // ---- mirrored secret

    pub(super) fn after_mirror_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let Some(source) = self.secret.clone() else { return Self::settle(o) };
        let found = match o.take_reply().into_found::<Secret>() {
            Ok(found) => found,
            Err(e) => return self.fail(o, ("Unable to get listener secret mirror", "ApiServer"), e.text()),
        };
        let mut labels = self.serving_labels(o);
        let compared = hashes::of_value(&source.data);
        match found {
            None => {
                // Hashed as another type than when it is compared: exactly one superfluous update (recorded: a_basic/0.9.1).
                labels.insert(DATA_HASH.into(), hashes::of_text(&format_smolstr!("created {compared}")));
                let name = names::listener_mirror(&self.set());
                let mirror = Secret {
                    metadata: self.owned(name, Arc::new(labels), Labels::default()),
                    type_: source.type_.clone(),
                    data: Arc::clone(&source.data),
                    ..Secret::default()
                };
                self.kube(Step::AfterMirrorCreated, KubeRequest::Create(mirror.into()))
            }
            Some(mirror) if mirror.metadata.label(DATA_HASH) != Some(&compared) => {
                let mut mirror = (*mirror).clone();
                mirror.data = Arc::clone(&source.data);
                Arc::make_mut(&mut mirror.metadata.labels).insert(DATA_HASH.into(), compared);
                self.kube(Step::AfterMirrorUpdated, KubeRequest::Update(mirror.into(), Sub::Main))
            }
            Some(_) => self.make_identity(o),
        }
    }

    // ---- ServiceAccount, Role, RoleBinding

    /// The first of the three that is missing or wrong.
    pub(super) fn make_identity(&mut self, o: &Observed<'_>) -> Decision {
        let name = self.identity_name(o);
        if o.caches.get::<ServiceAccount>(&self.beside_us(name.clone())).is_none() {
            let (labels, annotations) = self.overlaid("serviceAccountMetadata", self.serving_labels(o), o);
            let account =
                ServiceAccount { metadata: self.owned(name, labels, annotations), ..ServiceAccount::default() };
            return self.kube(Step::AfterAccountCreated, KubeRequest::Create(account.into()));
        }
        let rules = self.rules();
        let hash = hashes::of_value(&rules);
        let Some(role) = o.caches.get::<Role>(&self.beside_runners(name.clone())) else {
            let mut map = self.traced_labels(o);
            map.insert(RULES_HASH.into(), hash);
            let (labels, annotations) = self.overlaid("roleMetadata", map, o);
            let role = Role { metadata: self.beside_runners_meta(name, labels, annotations), rules };
            return self.kube(Step::AfterRoleCreated, KubeRequest::Create(role.into()));
        };
        let right = match o.settings.behaviour.al_role_rules {
            RoleRules::HashLabel => role.metadata.label(RULES_HASH) == Some(&hash),
            RoleRules::Compared => role.rules == rules,
        };
        if !right {
            let mut role = (**role).clone();
            role.rules = rules;
            Arc::make_mut(&mut role.metadata.labels).insert(RULES_HASH.into(), hash);
            return self.kube(Step::AfterRoleUpdated, KubeRequest::Update(role.into(), Sub::Main));
        }
        // Written once: what it refers to is not compared any more.
        if o.caches.get::<RoleBinding>(&self.beside_runners(name.clone())).is_none() {
            return self.make_role_binding(name, o);
        }
        if o.settings.behaviour.conditions == ConditionsRule::Reported {
            return self.make_status_rights(o);
        }
        self.make_proxy(o)
    }

    /// The corrected listener says what is wrong on its own AutoscalingListener, which lives in this namespace.
    fn make_status_rights(&mut self, o: &Observed<'_>) -> Decision {
        let name = names::listener_status_rights(&self.key.name);
        let key = self.beside_us(name.clone());
        let status = PolicyRule::new(&["patch"], "actions.github.com", &["autoscalinglisteners/status"]);
        let rules: Arc<[PolicyRule]> = [PolicyRule { resource_names: vec![self.key.name.clone()], ..status }].into();
        match o.caches.get::<Role>(&key) {
            Some(role) if role.rules == rules => {}
            Some(role) => {
                let mut role = (**role).clone();
                role.rules = rules;
                return self.kube(Step::AfterRoleUpdated, KubeRequest::Update(role.into(), Sub::Main));
            }
            None => {
                let labels = Arc::new(self.traced_labels(o));
                let role = Role { metadata: self.owned(name, labels, Labels::default()), rules };
                return self.kube(Step::AfterRoleCreated, KubeRequest::Create(role.into()));
            }
        }
        if o.caches.get::<RoleBinding>(&key).is_none() {
            let role_ref = RoleRef { kind: "Role".into(), name: name.clone() };
            let subjects = vec![self.subject(self.identity_name(o))];
            let metadata = self.owned(name, Arc::new(self.traced_labels(o)), Labels::default());
            let binding = RoleBinding { metadata, role_ref, subjects };
            return self.kube(Step::AfterRoleBindingCreated, KubeRequest::Create(binding.into()));
        }
        self.make_proxy(o)
    }

    fn subject(&self, name: Str) -> Subject {
        Subject { kind: "ServiceAccount".into(), name, namespace: self.key.namespace.clone() }
    }

    fn make_role_binding(&mut self, name: Str, o: &Observed<'_>) -> Decision {
        let role_ref = RoleRef { kind: "Role".into(), name: name.clone() };
        let subjects = vec![self.subject(name.clone())];
        let mut map = self.traced_labels(o);
        map.insert("role-binding-role-ref-hash".into(), hashes::of_value(&role_ref));
        map.insert("role-binding-subject-hash".into(), hashes::of_value(&subjects));
        let (labels, annotations) = self.overlaid("roleBindingMetadata", map, o);
        let binding = RoleBinding { metadata: self.beside_runners_meta(name, labels, annotations), role_ref, subjects };
        self.kube(Step::AfterRoleBindingCreated, KubeRequest::Create(binding.into()))
    }

    /// Metadata in the runner namespace, where an owner from this one cannot be named.
    fn beside_runners_meta(&self, name: Str, labels: Labels, annotations: Labels) -> Meta {
        let key = self.beside_runners(name);
        Meta { labels, annotations, ..Meta::named(key.namespace, key.name) }
    }

    /// What the listener may do: patch the runner set it was bound to, and the runners.
    fn rules(&self) -> Arc<[PolicyRule]> {
        const GROUP: &str = "actions.github.com";
        let set = self.listener().spec.ephemeral_runner_set_name.clone();
        [
            PolicyRule { resource_names: vec![set], ..PolicyRule::new(&["patch"], GROUP, &["ephemeralrunnersets"]) },
            PolicyRule::new(&["patch"], GROUP, &["ephemeralrunners", "ephemeralrunners/status"]),
        ]
        .into()
    }
}
