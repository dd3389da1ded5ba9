//! PATCH: typed patches member by member, and JSON merge patches at the edge.
//!
//! Source: kubernetes-api.md §3.5; RFC 7386. A typed patch costs a comparison per member and, if anything differs, one copy of
//! the object; no JSON. Never sees a conflict without a version in the patch (§3.3 item 6).

use std::sync::Arc;

use arc_api::crd::*;
use arc_api::kube::{
    AlStatusPatch, ArsStatusPatch, Body, ErStatusPatch, ErsStatusPatch, Identity, KubeOk, KubeReply, Patch, Reason, Sub,
};
use arc_api::meta::Key;
use arc_api::pod::Pod;
use arc_api::{Kind, Labels, Meta, Object, Str, Time, format_smolstr, json};

use crate::api::ApiServer;
use crate::prune;
use crate::status::{self, Problems, refuse};

impl ApiServer {
    pub(crate) fn patch(
        &mut self,
        who: &Identity,
        kind: Kind,
        key: &Key,
        sub: Sub,
        patch: &Patch,
        now: Time,
    ) -> KubeReply {
        let Some(old) = self.store.get(kind, key) else { return Err(status::not_found(kind, &key.name)) };
        if patch.resource_version.is_some_and(|v| v != old.meta().resource_version) {
            return Err(status::conflict(kind, &key.name));
        }
        if let Body::Json(value) = &patch.body {
            let old = old.clone();
            return self.patch_json(who, &old, sub, patch, value, now);
        }
        let changed_meta = if sub == Sub::Main || !kind.is_custom() { patched_meta(old.meta(), patch) } else { None };
        let changed = patched_body(old, sub, &patch.body);
        let spec_changed = sub == Sub::Main && changed.is_some();
        let mut new = match (changed, &changed_meta) {
            (None, None) => return Ok(KubeOk::Object(old.clone())),
            (Some(new), _) => new,
            (None, Some(_)) => old.clone(),
        };
        if let Some(meta) = changed_meta {
            *new.meta_mut() = meta;
        }
        let old = old.clone();
        self.store_change(who, &old, new, spec_changed, now)
    }

    /// A merge patch of the whole wire object; nothing that either side carries is lost.
    fn patch_json(
        &mut self,
        who: &Identity,
        old: &Object,
        sub: Sub,
        patch: &Patch,
        value: &serde_json::Value,
        now: Time,
    ) -> KubeReply {
        let kind = old.kind();
        let name = &old.meta().name;
        if !value.is_object() {
            return Err(not_applicable("the patch is not an object"));
        }
        let uid = value.get("metadata").and_then(|m| m.get("uid")).and_then(|u| u.as_str());
        if let Some(uid) = uid.filter(|u| !u.is_empty() && u.parse() != Ok(old.meta().uid)) {
            let mut problems = Problems::default();
            problems.add("metadata.uid", format_smolstr!("Invalid value: \"{uid}\": field is immutable"));
            return Err(problems.status(&kind.qualified(), name));
        }
        let mut wire = json::to_json(old);
        json::merge(&mut wire, value);
        let schema = self.served.schema(kind);
        if kind == Kind::EphemeralRunnerSet
            && schema.is_some_and(prune::requires_patch_id)
            && wire["spec"]["patchID"].is_null()
        {
            let mut problems = Problems::default();
            problems.add("spec.patchID", "Required value");
            return Err(problems.status(&kind.qualified(), name));
        }
        let typed = Patch { body: Body::None, ..patch.clone() };
        json::merge(&mut wire, &typed.to_json());
        let new = match json::from_json(kind, &wire) {
            Ok(new) => new,
            Err(why) if kind.is_custom() => {
                let mut problems = Problems::default();
                problems.add("patch", format_smolstr!("Invalid value: {why}"));
                return Err(problems.status(&kind.qualified(), name));
            }
            Err(why) => return Err(not_applicable(&why)),
        };
        let asked = new.meta();
        if asked.resource_version != old.meta().resource_version {
            return Err(status::conflict(kind, name));
        }
        if asked.name != old.meta().name || asked.namespace != old.meta().namespace {
            return refuse(
                Reason::BadRequest,
                format_smolstr!("the name of the object ({}) does not match the name on the URL ({name})", asked.name),
            );
        }
        self.write(who, old, new, sub, now)
    }
}

/// 422 of a patch whose result is no object of the kind.
fn not_applicable(why: &str) -> status::Refusal {
    let mut problems = Problems::default();
    problems.add("patch", format_smolstr!("Invalid value: {why}"));
    problems.status("", "")
}

fn patched_map(old: &Labels, entries: &[(Str, Option<Str>)]) -> Option<Labels> {
    let differs = |(k, v): &(Str, Option<Str>)| old.get(k) != v.as_ref();
    if !entries.iter().any(differs) {
        return None;
    }
    let mut map = (**old).clone();
    for (k, v) in entries {
        match v {
            Some(v) => map.insert(k.clone(), v.clone()),
            None => map.remove(k),
        };
    }
    Some(Arc::new(map))
}

fn patched_meta(old: &Meta, patch: &Patch) -> Option<Meta> {
    let finalizers = patch.finalizers.as_ref().filter(|list| ***list != *old.finalizers);
    let labels = patched_map(&old.labels, &patch.labels);
    let annotations = patched_map(&old.annotations, &patch.annotations);
    if finalizers.is_none() && labels.is_none() && annotations.is_none() {
        return None;
    }
    let mut meta = old.clone();
    if let Some(list) = finalizers {
        meta.finalizers = list.clone();
    }
    if let Some(map) = labels {
        meta.labels = map;
    }
    if let Some(map) = annotations {
        meta.annotations = map;
    }
    Some(meta)
}

/// The object with the body's members, or nothing if all of them are as they were. A body of another part or kind than the
/// request addresses is ignored, as the real server ignores a status sent to the object and the reverse.
fn patched_body(old: &Object, sub: Sub, body: &Body) -> Option<Object> {
    match (sub, old, body) {
        (Sub::Main, Object::EphemeralRunnerSet(o), Body::ErsSpec { replicas, patch_id }) => {
            let replicas = replicas.unwrap_or(o.spec.replicas);
            let patch_id = patch_id.unwrap_or(o.spec.patch_id);
            (replicas != o.spec.replicas || patch_id != o.spec.patch_id)
                .then(|| ers(o, ErsSpec { replicas, patch_id, ..o.spec.clone() }))
        }
        (Sub::Main, Object::EphemeralRunnerSet(o), Body::ErsRunnerSpec(spec)) => (*spec
            != o.spec.ephemeral_runner_spec)
            .then(|| ers(o, ErsSpec { ephemeral_runner_spec: spec.clone(), ..o.spec.clone() })),
        (Sub::Main, Object::AutoscalingRunnerSet(o), Body::ArsSpec(spec)) => (!Arc::ptr_eq(spec, &o.spec)).then(|| {
            let new =
                AutoscalingRunnerSet { metadata: o.metadata.clone(), spec: spec.clone(), status: o.status.clone() };
            Object::from(new)
        }),
        (Sub::Status, Object::AutoscalingRunnerSet(o), Body::ArsStatus(p)) => ars_status(&o.status, p).map(|status| {
            Object::from(AutoscalingRunnerSet { metadata: o.metadata.clone(), spec: o.spec.clone(), status })
        }),
        (Sub::Status, Object::EphemeralRunnerSet(o), Body::ErsStatus(p)) => ers_status(&o.status, p).map(|status| {
            Object::from(EphemeralRunnerSet { metadata: o.metadata.clone(), spec: o.spec.clone(), status })
        }),
        (Sub::Status, Object::EphemeralRunner(o), Body::ErStatus(p)) => er_status(&o.status, p)
            .map(|status| Object::from(EphemeralRunner { metadata: o.metadata.clone(), spec: o.spec.clone(), status })),
        (Sub::Status, Object::AutoscalingListener(o), Body::AlStatus(p)) => al_status(&o.status, p).map(|status| {
            Object::from(AutoscalingListener { metadata: o.metadata.clone(), spec: o.spec.clone(), status })
        }),
        (Sub::Status, Object::Pod(o), Body::PodStatus(status)) => (**status != o.status).then(|| {
            let new = Pod {
                metadata: o.metadata.clone(),
                spec: o.spec.clone(),
                node_name: o.node_name.clone(),
                status: (**status).clone(),
            };
            Object::from(new)
        }),
        _ => None,
    }
}

fn ers(o: &EphemeralRunnerSet, spec: ErsSpec) -> Object {
    Object::from(EphemeralRunnerSet { metadata: o.metadata.clone(), spec, status: o.status.clone() })
}

/// The old status with the patch's members, or nothing if they are all equal already.
macro_rules! merged {
    ($old:expr, $patch:expr, $($from:ident => $to:ident),+ $(,)?) => {{
        let differs = $($patch.$from.as_ref().is_some_and(|v| *v != $old.$to))||+;
        differs.then(|| {
            let mut new = $old.clone();
            $(if let Some(v) = &$patch.$from { new.$to.clone_from(v); })+
            new
        })
    }};
}

// The first write of a status makes `status: {}` of nothing, whatever is pruned of it or zero in it (recorded:
// d_seed_overlap-from-0.13.1/0.14.2 line 100, a `phase` that the old definitions do not know).

fn ars_status(old: &ArsStatus, p: &ArsStatusPatch) -> Option<ArsStatus> {
    let first = (!old.written).then(|| ArsStatus { written: true, ..old.clone() });
    let old = first.as_ref().unwrap_or(old);
    let merged = merged!(old, p,
        current_runners => current_runners,
        phase => phase,
        pending => pending_ephemeral_runners,
        running => running_ephemeral_runners,
        failed => failed_ephemeral_runners,
        conditions => conditions,
    );
    merged.or(first)
}

fn ers_status(old: &ErsStatus, p: &ErsStatusPatch) -> Option<ErsStatus> {
    let first = (!old.written).then(|| ErsStatus { written: true, ..old.clone() });
    let old = first.as_ref().unwrap_or(old);
    let merged = merged!(old, p,
        current_replicas => current_replicas,
        pending => pending_ephemeral_runners,
        running => running_ephemeral_runners,
        failed => failed_ephemeral_runners,
        phase => phase,
        conditions => conditions,
    );
    merged.or(first)
}

fn al_status(old: &AlStatus, p: &AlStatusPatch) -> Option<AlStatus> {
    let conditions = p.conditions.as_ref().is_some_and(|c| *c != old.conditions);
    let restarts = p.restarts.is_some_and(|r| r != old.restarts);
    let last = p.last_restart.is_some_and(|t| Some(t.truncated()) != old.last_restart);
    (conditions || restarts || last).then(|| AlStatus {
        conditions: p.conditions.clone().unwrap_or_else(|| old.conditions.clone()),
        restarts: p.restarts.unwrap_or(old.restarts),
        last_restart: p.last_restart.map(Time::truncated).or(old.last_restart),
    })
}

/// As `merged!`; failures are merged by pod, job members that are zero are not in the patch, times lose their fraction.
fn er_status(old: &ErStatus, p: &ErStatusPatch) -> Option<ErStatus> {
    let scalars = merged!(old, p,
        phase => phase,
        ready => ready,
        reason => reason,
        message => message,
        runner_id => runner_id,
        runner_name => runner_name,
        ended_generation => ended_generation,
        rejections => rejections,
        conditions => conditions,
    );
    let rejected = p.last_rejection.map(Time::truncated).filter(|t| Some(*t) != old.last_rejection);
    let token = p.runner_jit_config.filter(|t| Some(*t) != old.runner_jit_config);
    let mark = |m: &FailureMark| match *m {
        FailureMark::At(t) => FailureMark::At(t.truncated()),
        happened => happened,
    };
    let failures = p
        .failures
        .as_ref()
        .filter(|add| add.iter().any(|(uid, m)| old.failures.as_ref().and_then(|f| f.get(uid)) != Some(&mark(m))));
    let job = p.job.as_ref().and_then(|add| merged_job(old.job.as_deref(), add));
    if scalars.is_none() && token.is_none() && failures.is_none() && job.is_none() && rejected.is_none() {
        return None;
    }
    let mut new = scalars.unwrap_or_else(|| old.clone());
    new.last_rejection = rejected.or(old.last_rejection);
    if token.is_some() {
        new.runner_jit_config = token;
    }
    if let Some(add) = failures {
        let mut all = new.failures.as_deref().cloned().unwrap_or_default();
        all.extend(add.iter().map(|(uid, m)| (*uid, mark(m))));
        new.failures = Some(Arc::new(all));
    }
    if let Some(job) = job {
        new.job = Some(Arc::new(job));
    }
    Some(new)
}

fn merged_job(old: Option<&JobRef>, add: &JobRef) -> Option<JobRef> {
    let mut job = old.cloned().unwrap_or_default();
    if !add.job_request_id.is_none() {
        job.job_request_id = add.job_request_id;
    }
    if add.workflow_run_id != 0 {
        job.workflow_run_id = add.workflow_run_id;
    }
    if add.job_id.is_some() {
        job.job_id = add.job_id;
    }
    if !add.job_runner_id.is_none() {
        job.job_runner_id = add.job_runner_id;
    }
    let texts = [
        (&mut job.job_repository_name, &add.job_repository_name),
        (&mut job.job_workflow_ref, &add.job_workflow_ref),
        (&mut job.job_display_name, &add.job_display_name),
    ];
    for (to, from) in texts {
        if !from.is_empty() {
            to.clone_from(from);
        }
    }
    (old != Some(&job) && job != JobRef::default()).then_some(job)
}
