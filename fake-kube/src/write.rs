//! Create, update and the small verbs that write: what the server fills in, what it keeps, and when a write removes.
//!
//! Source: kubernetes-api.md §2.1–§2.4, §3.2, §3.3; rest/{create,update}.go and registry/generic/registry/store.go of
//! kubernetes/apiserver. Patches become updates in [`crate::patch`].

use std::sync::Arc;

use arc_api::kube::{DeleteOptions, Identity, KubeOk, KubeReply, Reason, Sub};
use arc_api::meta::Key;
use arc_api::pod::{PodCondition, PodConditionType};
use arc_api::{Kind, Meta, Object, Str, Time, format_smolstr};

use crate::api::ApiServer;
use crate::namespaces;
use crate::parts::{equal, keep_other_part, spec_differs};
use crate::prune;
use crate::status::{self, Problems, refuse};
use crate::validation;

/// The type of a Secret that states none.
const OPAQUE: Str = Str::new_static("Opaque");
/// 1.20 prints the missing version as `0x0`, 1.36 as `0`; where it changed in between is a guess.
const ZERO_IS_DECIMAL_SINCE: u32 = 26;
/// The longest base of a generated name (63 − 5).
const GENERATED_BASE_MAX: usize = 58;

impl ApiServer {
    /// Whether objects of this kind count their changes in `metadata.generation`.
    ///
    /// Source: kubernetes-api.md §2.1 `generation`.
    pub(crate) fn has_generation(&self, kind: Kind) -> bool {
        match kind {
            Kind::Deployment | Kind::CustomResourceDefinition | Kind::AdmissionPolicy | Kind::PriorityClass => true,
            Kind::Pod => self.settings.pod_generation(),
            kind => kind.is_custom(),
        }
    }

    pub(crate) fn create(&mut self, who: &Identity, submitted: &Object, now: Time) -> KubeReply {
        let kind = submitted.kind();
        let meta = submitted.meta();
        if meta.resource_version != 0 {
            return refuse(Reason::Unknown, "resourceVersion should not be set on objects to be created");
        }
        if self.served.is_terminating(kind) {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(status::forbidden(kind, &meta.name, why));
        }
        if meta.name.is_empty() && meta.generate_name.as_ref().is_none_or(|base| base.is_empty()) {
            let mut problems = Problems::default();
            problems.add("metadata.name", "Required value: name or generateName is required");
            return Err(problems.status(&kind.qualified(), ""));
        }
        let mut object = submitted.clone();
        self.fill_in(&mut object, now);
        self.admit(&mut object)?;
        self.check_escalation(who, &object)?;
        if object.meta().name.is_empty() {
            self.generate_name(&mut object)?;
        }
        if let Some(schema) = self.served.schema(kind) {
            prune::unknown_members(&mut object, schema);
        }
        validation::new_object(&object, &self.settings)?;
        self.admit_valid(&object, now)?;
        // The name is looked at last: a charge for a name that is taken stays until the quota controller's next pass.
        if let Some(taken) = self.store.get(kind, &object.key()) {
            return Err(status::already_exists(kind, &taken.meta().name, taken.meta().is_deleting()));
        }
        object.meta_mut().uid = self.store.next_uid();
        Ok(KubeOk::Object(self.insert(object, now)))
    }

    /// What the server decides itself, whatever was submitted.
    fn fill_in(&self, object: &mut Object, now: Time) {
        let generation = i64::from(self.has_generation(object.kind()));
        let meta = object.meta_mut();
        meta.deletion_timestamp = None;
        meta.deletion_grace_period_seconds = None;
        meta.generation = generation;
        meta.creation_timestamp = now.truncated();
        without_duplicate_owners(meta);
        keep_other_part(object, None, Sub::Main);
        namespaces::prepare(object);
        if let Object::Secret(secret) = object
            && secret.type_.is_empty()
        {
            Arc::make_mut(secret).type_ = OPAQUE;
        }
    }

    /// Draws a free name: eight tries from 1.31 on, one before.
    fn generate_name(&mut self, object: &mut Object) -> Result<(), status::Refusal> {
        let kind = object.kind();
        let base = object.meta().generate_name.clone().unwrap_or_default();
        let mut cut = base.len().min(GENERATED_BASE_MAX);
        while !base.is_char_boundary(cut) {
            cut -= 1;
        }
        for _ in 0..self.settings.name_tries() {
            let suffix = self.store.next_suffix(self.settings.seed);
            let suffix = std::str::from_utf8(&suffix).unwrap_or_default();
            object.meta_mut().name = format_smolstr!("{}{suffix}", &base[..cut]);
            if self.store.get(kind, &object.key()).is_none() {
                return Ok(());
            }
        }
        Err(status::no_unique_name(kind, &object.meta().name))
    }

    pub(crate) fn update(&mut self, who: &Identity, submitted: &Object, sub: Sub, now: Time) -> KubeReply {
        let kind = submitted.kind();
        let key = submitted.key();
        let Some(old) = self.store.get(kind, &key).cloned() else {
            if kind == Kind::Lease && sub == Sub::Main {
                let mut fresh = submitted.clone();
                fresh.meta_mut().resource_version = 0;
                return self.create(who, &fresh, now);
            }
            return Err(status::not_found(kind, &key.name));
        };
        let version = submitted.meta().resource_version;
        if version == 0 && (kind.is_custom() || kind == Kind::Lease) {
            let mut problems = Problems::default();
            let zero = if self.settings.minor < ZERO_IS_DECIMAL_SINCE { "0x0" } else { "0" };
            let text = format_smolstr!("Invalid value: {zero}: must be specified for an update");
            problems.add("metadata.resourceVersion", text);
            return Err(problems.status(&kind.resource(), &key.name));
        }
        if version != 0 && version != old.meta().resource_version {
            return Err(status::conflict(kind, &key.name));
        }
        let uid = submitted.meta().uid;
        if uid.0 != 0 && uid != old.meta().uid {
            return refuse(
                Reason::Conflict,
                format_smolstr!(
                    "Operation cannot be fulfilled on {} \"{}\": StorageError: invalid object, Code: 4, AdditionalErrorMsg: \
                     Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                    kind.resource(),
                    key.name,
                    old.meta().uid
                ),
            );
        }
        self.write(who, &old, submitted.clone(), sub, now)
    }

    /// Stores `new` in place of `old`, as PUT and JSON patches do in the end.
    pub(crate) fn write(&mut self, who: &Identity, old: &Object, mut new: Object, sub: Sub, now: Time) -> KubeReply {
        if let Some(asked) = new.meta().deletion_timestamp
            && !old.meta().is_deleting()
        {
            let mut problems = Problems::default();
            let text = asked.to_rfc3339().replace('T', " ").replace('Z', " +0000 UTC");
            problems.add("metadata.deletionTimestamp", format_smolstr!("Invalid value: {text}: field is immutable"));
            return Err(problems.status(&old.kind().qualified(), &old.meta().name));
        }
        keep_other_part(&mut new, Some(old), sub);
        keep_system_fields(&mut new, old);
        if new.meta().owner_references.len() > 1 {
            without_duplicate_owners(new.meta_mut());
        }
        let changed_spec = sub == Sub::Main && spec_differs(old, &new);
        self.store_change(who, old, new, changed_spec, now)
    }

    /// Stores a change, or removes the object if the change let go of the last thing that held it. A change that comes to
    /// nothing writes nothing (§2.2 item 4).
    pub(crate) fn store_change(
        &mut self,
        who: &Identity,
        old: &Object,
        mut new: Object,
        changed_spec: bool,
        now: Time,
    ) -> KubeReply {
        let kind = old.kind();
        if let Some(schema) = self.served.schema(kind) {
            if changed_spec {
                prune::misplaced_members(&mut new);
            }
            prune::unknown_members(&mut new, schema);
            prune::check_failures(Some(old), &new, schema)?;
        }
        if equal(old, &new) {
            return Ok(KubeOk::Object(old.clone()));
        }
        validation::change(old, &new, &self.settings)?;
        if !only_for_the_collector(old, &new) {
            self.check_escalation(who, &new)?;
        }
        if changed_spec && self.has_generation(kind) && spec_differs(old, &new) {
            new.meta_mut().generation += 1;
        }
        let meta = new.meta();
        if meta.is_deleting()
            && meta.finalizers.is_empty()
            && meta.deletion_grace_period_seconds.unwrap_or(0) == 0
            && !namespaces::is_held(&new)
        {
            // Watchers see DELETED with the last stored state; the answer is the object as submitted, with its old version.
            self.remove(kind, &old.key(), now);
            return Ok(KubeOk::Object(new));
        }
        Ok(KubeOk::Object(self.replace(new, now)))
    }

    /// POST `pods/binding`.
    pub(crate) fn bind(&mut self, key: &Key, node: &Str, now: Time) -> KubeReply {
        let Some(Object::Pod(pod)) = self.store.get(Kind::Pod, key) else {
            return Err(status::not_found(Kind::Pod, &key.name));
        };
        let name = &key.name;
        let why = match &pod.node_name {
            _ if pod.metadata.is_deleting() => {
                format_smolstr!("pod {name} is being deleted, cannot be assigned to a host")
            }
            Some(node) => format_smolstr!("pod {name} is already assigned to node \"{node}\""),
            None => {
                let mut pod = pod.clone();
                let bound = Arc::make_mut(&mut pod);
                bound.node_name = Some(node.clone());
                let scheduled = PodCondition {
                    type_: PodConditionType::PodScheduled,
                    status: true,
                    reason: Str::default(),
                    message: Str::default(),
                    last_transition_time: now.truncated(),
                };
                match bound.status.conditions.iter_mut().find(|c| c.type_ == PodConditionType::PodScheduled) {
                    Some(condition) => *condition = scheduled,
                    None => bound.status.conditions.push(scheduled),
                }
                self.replace(Object::Pod(pod), now);
                return Ok(KubeOk::Done);
            }
        };
        let message = format_smolstr!("Operation cannot be fulfilled on pods/binding \"{name}\": {why}");
        refuse(Reason::Conflict, message)
    }

    /// POST `pods/eviction`: a graceful DELETE. Disruption budgets are not modelled.
    pub(crate) fn evict(&mut self, key: &Key, now: Time) -> KubeReply {
        self.delete(Kind::Pod, key, &DeleteOptions::default(), now).map(|_| KubeOk::Done)
    }
}

/// What a client cannot change by writing.
pub(crate) fn keep_system_fields(new: &mut Object, old: &Object) {
    let kept = old.meta();
    let now = new.meta();
    if now.uid == kept.uid
        && now.resource_version == kept.resource_version
        && now.generation == kept.generation
        && now.creation_timestamp == kept.creation_timestamp
        && now.deletion_timestamp == kept.deletion_timestamp
        && now.deletion_grace_period_seconds == kept.deletion_grace_period_seconds
    {
        return;
    }
    let meta = new.meta_mut();
    meta.uid = kept.uid;
    meta.resource_version = kept.resource_version;
    meta.generation = kept.generation;
    meta.creation_timestamp = kept.creation_timestamp;
    meta.deletion_timestamp = kept.deletion_timestamp;
    meta.deletion_grace_period_seconds = kept.deletion_grace_period_seconds;
}

/// Equal owner references are one.
fn without_duplicate_owners(meta: &mut Meta) {
    let list = &meta.owner_references;
    if list.iter().enumerate().any(|(i, owner)| list[..i].contains(owner)) {
        let kept = list.iter().enumerate().filter(|(i, owner)| !list[..*i].contains(owner));
        meta.owner_references = kept.map(|(_, owner)| owner.clone()).collect();
    }
}

/// Whether a change of a role or binding is only what its deletion needs: nobody is asked what he may grant for that.
fn only_for_the_collector(old: &Object, new: &Object) -> bool {
    let mut same = new.clone();
    match same.kind() {
        Kind::Role | Kind::ClusterRole | Kind::RoleBinding | Kind::ClusterRoleBinding => {
            let meta = same.meta_mut();
            meta.finalizers = old.meta().finalizers.clone();
            meta.owner_references = old.meta().owner_references.clone();
            equal(old, &same)
        }
        _ => true,
    }
}
