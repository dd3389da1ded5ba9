//! What an AutoscalingRunnerSet reports: counters, phase and (corrected controller) conditions. Never changes a spec.
//!
//! Source: arc-controllers.md §3.1 step 17, Q-STATUS-STALE, Q-STATUS-ZEROED; members of patches as recorded in a_basic: those
//! that change, and only those.

use std::sync::Arc;

use arc_api::crd::*;
use arc_api::kube::ArsStatusPatch;
use arc_api::{Str, format_smolstr};

use super::{ArsPass, Step, version};
use crate::behaviour::*;
use crate::reconcile::{Decision, Observed};

/// A call this set needs keeps failing.
pub(super) const BLOCKED: &str = "Blocked";
/// Label and build differ by more than a patch.
pub(super) const VERSION_SKEW: &str = "VersionSkew";
/// The runners' ServiceAccount or its rights are missing or about to go.
pub(super) const IDENTITY_BROKEN: &str = "IdentityBroken";
/// The service denied the scale set once; one more denial leads to a new registration.
pub(super) const SCALE_SET_MISSING: &str = "ScaleSetMissing";

/// `conditions` with `one` in place of its namesake, by type.
pub(crate) fn with(conditions: &Conditions, one: Condition) -> Conditions {
    let mut list: Vec<Condition> = conditions.iter().filter(|c| c.type_ != one.type_).cloned().collect();
    list.push(one);
    list.sort_by(|a, b| a.type_.cmp(&b.type_));
    list.into()
}

/// The members that bring a status to `phase` and the counters of a runner set (none: zero).
pub(super) fn counters(now: &ArsStatus, phase: ArsPhase, of: Option<&ErsStatus>) -> ArsStatusPatch {
    let member = |old: i32, pick: fn(&ErsStatus) -> i32| {
        let new = of.map_or(0, pick);
        (new != old).then_some(new)
    };
    ArsStatusPatch {
        current_runners: member(now.current_runners, |s| s.current_replicas),
        phase: (now.phase != phase).then_some(phase),
        pending: member(now.pending_ephemeral_runners, |s| s.pending_ephemeral_runners),
        running: member(now.running_ephemeral_runners, |s| s.running_ephemeral_runners),
        failed: member(now.failed_ephemeral_runners, |s| s.failed_ephemeral_runners),
        conditions: None,
    }
}

impl ArsPass {
    /// Step 17, the end of a pass that found nothing else to do.
    pub(super) fn write_status(&mut self, o: &mut Observed<'_>) -> Decision {
        let Some(latest) = self.latest.clone() else { return self.settle() };
        let now = &self.ars().status;
        let rule = o.settings.behaviour.ars_status;
        let phase = if rule == ArsStatusRule::OnTotal { now.phase } else { ArsPhase::Running };
        let mut patch = counters(now, phase, Some(&latest.status));
        let due = match rule {
            ArsStatusRule::OnTotal => patch.current_runners.is_some(),
            ArsStatusRule::OnTotalOrPhase => patch.current_runners.is_some() || patch.phase.is_some(),
            ArsStatusRule::OnAnyChange => {
                let conditions = self.conditions(o, &latest);
                patch.conditions = (conditions != now.conditions).then_some(conditions);
                !patch.is_empty()
            }
        };
        if due { self.patch_status(Step::AfterStatus, patch) } else { self.settle() }
    }

    /// Everything that is wrong with this set, its runners and its listener, by type.
    fn conditions(&self, o: &Observed<'_>, latest: &EphemeralRunnerSet) -> Conditions {
        if o.settings.behaviour.conditions == ConditionsRule::None {
            return Conditions::default();
        }
        let mut list: Conditions = Arc::clone(&latest.status.conditions);
        for one in self.listener.iter().flat_map(|l| l.status.conditions.iter()) {
            list = with(&list, one.clone());
        }
        let mut add = |type_: &'static str, reason: &'static str, message: Str| {
            list = with(&list, Condition::new(type_, true, reason, message));
        };
        if version::is_skewed(self.ars(), o.settings) {
            let (label, build) = (version::label_of(self.ars()), &o.settings.version);
            add(VERSION_SKEW, "OtherVersion", format_smolstr!("the set says {label}, the controller is {build}"));
        }
        if let Some(at) = self.missed_at() {
            add(SCALE_SET_MISSING, "NotFound", format_smolstr!("unknown to the service since {}", at.to_rfc3339()));
        }
        if let Some((reason, message)) = self.identity.trouble() {
            add(IDENTITY_BROKEN, reason, message);
        }
        list
    }
}
