//! What a custom resource loses on its way into the store: members that the installed CustomResourceDefinition does not know.
//!
//! An older definition drops newer members without a word, so a controller writes them again and again and reads back nothing
//! (patchID: recorded d_chain-from-0.8.3/0.9.0; phase: recorded d_chain-from-0.13.1/0.14.2).
//!
//! Source: arc-controllers.md §1 (since when each member exists), §12 K21. Never touches metadata.

use std::sync::Arc;

use arc_api::crd::FailureMark;
use arc_api::{Object, Str, format_smolstr};

use crate::crds::SchemaVersion;
use crate::pod_defaults;
use crate::status::{Problems, Refusal};

const PATCH_ID: SchemaVersion = (0, 9, 0);
const LISTENER_METRICS: SchemaVersion = (0, 11, 0);
const VAULT: SchemaVersion = (0, 12, 0);
const FAILURE_TIMES: SchemaVersion = (0, 12, 0);
const JOB_ID: SchemaVersion = (0, 13, 0);
const NO_JIT_CONFIG: SchemaVersion = (0, 13, 0);
const PHASES_AND_OVERLAYS: SchemaVersion = (0, 14, 0);

/// Only the corrected controller's definitions know conditions and listener restarts.
const fn is_corrected(schema: SchemaVersion) -> bool {
    schema.0 == u32::MAX
}

/// Whether `spec.patchID` is a required member.
pub(crate) fn requires_patch_id(schema: SchemaVersion) -> bool {
    schema >= PATCH_ID
}

/// Members that stand where no schema has them, inside the probes of a pod template.
pub(crate) fn misplaced_members(object: &mut Object) {
    let template = match object {
        Object::AutoscalingRunnerSet(o) => &o.spec.template,
        Object::EphemeralRunnerSet(o) => &o.spec.ephemeral_runner_spec.template,
        Object::EphemeralRunner(o) => &o.spec.template,
        _ => return,
    };
    let mut spec = template.spec.clone();
    pod_defaults::prune_spec(&mut spec);
    if Arc::ptr_eq(&spec, &template.spec) {
        return;
    }
    let template = match object {
        Object::AutoscalingRunnerSet(o) => &mut Arc::make_mut(&mut Arc::make_mut(o).spec).template,
        Object::EphemeralRunnerSet(o) => &mut Arc::make_mut(&mut Arc::make_mut(o).spec.ephemeral_runner_spec).template,
        Object::EphemeralRunner(o) => &mut Arc::make_mut(&mut Arc::make_mut(o).spec).template,
        _ => return,
    };
    Arc::make_mut(template).spec = spec;
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Empties `$member` of `$of` if it is not empty: an object that has nothing to lose stays shared.
macro_rules! drop_member {
    ($of:expr, $($member:ident).+) => {
        if !is_default(&$of.$($member).+) {
            Arc::make_mut($of).$($member).+ = Default::default();
        }
    };
}

/// As `drop_member!`, inside the shared spec.
macro_rules! drop_from_spec {
    ($of:expr, $member:ident) => {
        if !is_default(&$of.spec.$member) {
            Arc::make_mut(&mut Arc::make_mut($of).spec).$member = Default::default();
        }
    };
}

/// Drops the members that a definition of release `schema` does not know.
pub(crate) fn unknown_members(object: &mut Object, schema: SchemaVersion) {
    if is_corrected(schema) {
        return;
    }
    match object {
        Object::AutoscalingRunnerSet(o) => {
            drop_member!(o, status.conditions);
            if schema < PHASES_AND_OVERLAYS {
                drop_member!(o, status.phase);
                drop_from_spec!(o, overlays);
                drop_from_spec!(o, runner_scale_set_labels);
            }
            if schema < VAULT {
                drop_from_spec!(o, vault_config);
            }
            if schema < LISTENER_METRICS {
                drop_from_spec!(o, listener_metrics);
            }
        }
        Object::AutoscalingListener(o) => {
            drop_member!(o, status);
            if schema < PHASES_AND_OVERLAYS {
                drop_from_spec!(o, overlays);
            }
            if schema < VAULT {
                drop_from_spec!(o, vault_config);
            }
            if schema < LISTENER_METRICS {
                drop_from_spec!(o, metrics);
            }
        }
        Object::EphemeralRunnerSet(o) => {
            drop_member!(o, status.conditions);
            if schema < PATCH_ID {
                drop_member!(o, spec.patch_id);
            }
            if schema < PHASES_AND_OVERLAYS {
                drop_member!(o, status.phase);
                drop_member!(o, spec.ephemeral_runner_metadata);
            }
        }
        Object::EphemeralRunner(o) => {
            drop_member!(o, status.conditions);
            drop_member!(o, status.ended_generation);
            drop_member!(o, status.rejections);
            drop_member!(o, status.last_rejection);
            if schema >= NO_JIT_CONFIG {
                drop_member!(o, status.runner_jit_config);
            }
            if o.status.job.as_ref().is_some_and(|j| !j.job_runner_id.is_none())
                && let Some(job) = &mut Arc::make_mut(o).status.job
            {
                Arc::make_mut(job).job_runner_id = arc_api::RunnerId(0);
            }
            if schema < JOB_ID && o.status.job.as_ref().is_some_and(|j| j.job_id.is_some()) {
                let status = &mut Arc::make_mut(o).status;
                if let Some(job) = &mut status.job {
                    Arc::make_mut(job).job_id = None;
                }
            }
            if schema < PHASES_AND_OVERLAYS {
                drop_from_spec!(o, ephemeral_runner_config_secret_metadata);
            }
            if schema < VAULT {
                drop_from_spec!(o, vault_config);
            }
        }
        _ => {}
    }
}

/// 422 if `status.failures` gained a value of the type the definition does not have: a flag up to 0.11.0, a time from 0.12.0.
pub(crate) fn check_failures(old: Option<&Object>, new: &Object, schema: SchemaVersion) -> Result<(), Refusal> {
    let Object::EphemeralRunner(runner) = new else { return Ok(()) };
    let Some(failures) = &runner.status.failures else { return Ok(()) };
    let before = match old {
        Some(Object::EphemeralRunner(old)) => old.status.failures.as_ref(),
        _ => None,
    };
    if before.is_some_and(|b| Arc::ptr_eq(b, failures)) {
        return Ok(());
    }
    let times = schema >= FAILURE_TIMES;
    let mut problems = Problems::default();
    for (uid, mark) in failures.iter() {
        let (is, should) = match mark {
            FailureMark::Happened(_) if times => ("boolean", "string"),
            FailureMark::At(_) if !times => ("string", "boolean"),
            FailureMark::Happened(_) | FailureMark::At(_) => continue,
        };
        // What was there before may stay as it is.
        if before.and_then(|b| b.get(uid)) == Some(mark) {
            continue;
        }
        let field = format_smolstr!("status.failures.{uid}");
        let text: Str = format_smolstr!("Invalid value: \"{is}\": {field} in body must be of type {should}: \"{is}\"");
        problems.add(field, text);
    }
    problems.check(new.kind(), &new.meta().name)
}
