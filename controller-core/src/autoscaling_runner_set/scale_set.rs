//! The registration at the service: creation or reuse, change of group and name, and (corrected controller) whether it still
//! exists. Never deletes it; [`super::cleanup`] does.
//!
//! Source: arc-controllers.md §3.5, §3.6; recorded in a_basic, a_update2, b_github_create. The GitHub secret is read live
//! before every use of the service. Loss of the scale set: field-bugs.md, scale-set-vanishes-on-service.

use arc_api::crd::AutoscalingListener;
use arc_api::kube::{KubeRequest, Patch};
use arc_api::meta::Key;
use arc_api::service::{Op, ScaleSetInfo, ServiceOk};
use arc_api::{Duration, GroupId, Kind, Str, Time, format_smolstr};

use super::{ArsPass, Purpose, Step};
use crate::behaviour::*;
use crate::call::{Call, CallError, ServiceCall};
use crate::client_build::ClientBuild;
use crate::reconcile::{Decision, Observed};
use crate::{labels, names};

/// How long a first denial waits for the second: longer than the client's own retries of one call (15 s).
pub(super) const CONFIRM_AFTER: Duration = Duration::from_secs(20);
/// Listener pods that must have ended in a row before the scale set itself is doubted.
const DOUBT_AFTER_RESTARTS: i32 = 2;
/// How long after such an end it is doubted: one question per end, not one per pass.
const DOUBT_FOR: Duration = Duration::from_secs(10);

impl ArsPass {
    /// Step 7: the registration as the annotations tell it.
    pub(super) fn register(&mut self, o: &mut Observed<'_>) -> Decision {
        if self.is_outdated(o) {
            return self.runner_sets(o);
        }
        if let Some(question) = self.doubts_rights(o) {
            return question;
        }
        let ars = self.ars();
        let behaviour = &o.settings.behaviour;
        let differs = |key: &str, wanted: &Str| match ars.metadata.annotation(key) {
            None => true,
            Some(is) => !wanted.is_empty() && !is.eq_ignore_ascii_case(wanted),
        };
        if self.scale_set_id().is_none() {
            return self.with_client(Purpose::Create);
        }
        if differs(names::GROUP_NAME, &ars.spec.runner_group) {
            return self.with_client(Purpose::UpdateGroup);
        }
        if differs(names::scale_set_name_key(behaviour), &ars.spec.runner_scale_set_name) {
            if ars.spec.runner_scale_set_name.is_empty() && behaviour.gone_objects == GoneObjects::Error {
                // Nothing is written, so every pass ends here.
                return self.settle();
            }
            return self.with_client(Purpose::UpdateName);
        }
        if behaviour.ars_secret_get == ArsSecretGet::EveryPass {
            return self.read_secret(Step::AfterSecretRead);
        }
        if self.doubts_scale_set(o) {
            self.checked = true;
            return self.with_client(Purpose::Check);
        }
        self.runner_sets(o)
    }

    /// Whether the service should be asked if the scale set still exists: just after its listener ended again, or when a first
    /// denial has become old enough to be confirmed.
    fn doubts_scale_set(&mut self, o: &Observed<'_>) -> bool {
        if self.checked || o.settings.behaviour.ars_scale_set_check == ScaleSetCheck::Never {
            return false;
        }
        if let Some(at) = self.missed_at() {
            let due = at.after(CONFIRM_AFTER);
            // The denial's own write wakes the set at once; only time confirms it.
            self.again = (o.now < due).then(|| due.since(o.now));
            return o.now >= due;
        }
        let listener = o.caches.get::<AutoscalingListener>(&self.listener_key(o));
        listener.is_some_and(|l| {
            let ended_now = l.status.last_restart.is_some_and(|at| o.now.since(at) < DOUBT_FOR);
            let same = Some(l.spec.runner_scale_set_id) == self.scale_set_id();
            l.status.restarts >= DOUBT_AFTER_RESTARTS && ended_now && same && !l.metadata.is_deleting()
        })
    }

    /// When the service denied the scale set for the first time.
    pub(super) fn missed_at(&self) -> Option<Time> {
        self.ars().metadata.annotation(names::SCALE_SET_MISSED).and_then(|t| Time::parse_rfc3339(t))
    }

    fn read_secret(&mut self, step: Step) -> Decision {
        let key = Key::new(self.key.namespace.clone(), self.ars().spec.github_config_secret.clone());
        self.kube(step, KubeRequest::Get { kind: Kind::Secret, key })
    }

    /// Makes the client for `purpose`: what it needs is read every time.
    pub(super) fn with_client(&mut self, purpose: Purpose) -> Decision {
        self.purpose = purpose;
        let build = ClientBuild::for_set(&self.ars().spec, &self.key.namespace);
        let first = build.request();
        self.building = Some(build);
        match first {
            Some(read) => self.kube(Step::AfterServiceSecretRead, read),
            None => panic!("a client without a secret"),
        }
    }

    pub(super) fn service(&mut self, step: Step, op: Op) -> Decision {
        let Some(client) = self.client.clone() else { panic!("a service call before its client was made") };
        self.step = step;
        Decision::Call(Call::Service(ServiceCall { client, op }))
    }

    pub(super) fn after_service_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        let Some(mut build) = self.building.take() else { panic!("a client that nobody makes") };
        let read = build.answer(o.take_reply());
        if let (Ok(()), Some(next)) = (&read, build.request()) {
            self.building = Some(build);
            return self.kube(Step::AfterServiceSecretRead, next);
        }
        match read.and_then(|()| build.key()) {
            Ok(client) => self.client = Some(client),
            Err(why) if matches!(self.purpose, Purpose::Find | Purpose::Delete) => {
                o.error("Failed to initialize Actions service client", why.clone());
                return self.fail_cleaning(o, why);
            }
            Err(_) if self.purpose == Purpose::Check => return self.runner_sets(o),
            Err(why) => {
                return self.fail(o, ("Failed to initialize Actions service client", "Credentials"), why);
            }
        }
        let id = self.scale_set_id().unwrap_or_default();
        match self.purpose {
            Purpose::Create | Purpose::UpdateGroup if !self.ars().spec.runner_group.is_empty() => {
                let name = self.ars().spec.runner_group.clone();
                self.service(Step::AfterGroupFound, Op::GetRunnerGroup { name })
            }
            Purpose::Create | Purpose::UpdateGroup => self.with_group(GroupId(1)),
            Purpose::Find => match self.ars().metadata.annotation(names::GROUP_NAME).cloned() {
                Some(name) => self.service(Step::AfterGroupFound, Op::GetRunnerGroup { name }),
                None => self.with_group(GroupId(1)),
            },
            Purpose::UpdateName => {
                let name = Some(names::scale_set(self.ars()).clone());
                self.service(Step::AfterScaleSetUpdated, Op::UpdateScaleSet { id, group: None, name })
            }
            Purpose::Check => self.service(Step::AfterScaleSetChecked, Op::GetScaleSetById(id)),
            Purpose::Delete => self.service(Step::AfterScaleSetDeleted, Op::DeleteScaleSet(id)),
        }
    }

    pub(super) fn after_group_found(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_service() {
            Ok(ServiceOk::Group(group)) => self.with_group(group),
            Ok(other) => self.unexpected(o, &other),
            Err(e) if self.purpose == Purpose::Find => self.fail_cleaning(o, e.text()),
            Err(e) => self.fail(o, ("Failed to get runner group by name", "Registration"), e.text()),
        }
    }

    fn with_group(&mut self, group: GroupId) -> Decision {
        self.group = group;
        if self.purpose == Purpose::UpdateGroup {
            let id = self.scale_set_id().unwrap_or_default();
            return self.service(Step::AfterScaleSetUpdated, Op::UpdateScaleSet { id, group: Some(group), name: None });
        }
        let name = names::scale_set(self.ars()).clone();
        self.service(Step::AfterScaleSetLookedUp, Op::GetScaleSet { group, name })
    }

    pub(super) fn after_scale_set_looked_up(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_service() {
            // Whoever's it is, it is taken over, labels and settings as they are (Q-REUSE-FOREIGN-SCALESET).
            Ok(ServiceOk::ScaleSet(Some(found))) => self.annotate(o, &found),
            Ok(ServiceOk::ScaleSet(None)) if self.purpose == Purpose::Find => self.cleaned(o),
            Ok(ServiceOk::ScaleSet(None)) => match o.settings.behaviour.ars_stale_object {
                ArsStaleObject::Read if !self.is_announced(o) => self.announce(o),
                _ => self.create_scale_set(o),
            },
            Ok(other) => self.unexpected(o, &other),
            Err(e) if self.purpose == Purpose::Find => self.fail_cleaning(o, e.text()),
            Err(e) => self.fail(o, ("Failed to get runner scale set from Actions service", "Registration"), e.text()),
        }
    }

    /// Whether a pass said that it would make the scale set: one without an id may exist, and goes with the set.
    pub(super) fn is_announced(&self, o: &Observed<'_>) -> bool {
        let behaviour = &o.settings.behaviour;
        behaviour.ars_stale_object == ArsStaleObject::Read
            && self.ars().metadata.annotation(names::scale_set_name_key(behaviour)).is_some()
    }

    /// What will be made is noted first: who ends between the creation and its id leaves something to look for.
    fn announce(&mut self, o: &Observed<'_>) -> Decision {
        let (ars, group) = (self.ars(), names::GROUP_NAME);
        let mut annotations =
            vec![(names::scale_set_name_key(&o.settings.behaviour).into(), Some(names::scale_set(ars).clone()))];
        if !ars.spec.runner_group.is_empty() {
            annotations.push((group.into(), Some(ars.spec.runner_group.clone())));
        }
        self.patch(Step::AfterScaleSetAnnounced, Patch { annotations, ..Patch::default() })
    }

    pub(super) fn after_scale_set_announced(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.take_patched(o) {
            Ok(()) if self.ars().metadata.is_deleting() => self.settle(),
            Ok(()) => self.create_scale_set(o),
            Err(e) if e.is_not_found() => self.settle(),
            Err(e) => self.fail(o, ("Failed to update autoscaling runner set with annotations", "ApiServer"), e.text()),
        }
    }

    fn create_scale_set(&mut self, o: &Observed<'_>) -> Decision {
        let name = names::scale_set(self.ars()).clone();
        let op = Op::CreateScaleSet { group: self.group, labels: self.scale_set_labels(&name, o), name };
        self.service(Step::AfterScaleSetCreated, op)
    }

    /// The scale set's labels: its name, then (0.14.0 on) the user's, each once.
    fn scale_set_labels(&self, name: &Str, o: &Observed<'_>) -> Vec<Str> {
        let mut list = vec![name.clone()];
        if o.settings.behaviour.overlays != Overlays::None {
            for label in &self.ars().spec.runner_scale_set_labels {
                if !list.contains(label) {
                    list.push(label.clone());
                }
            }
        }
        list
    }

    pub(super) fn after_scale_set_created(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_service() {
            Ok(ServiceOk::ScaleSet(Some(made))) => {
                self.made = Some(made.id);
                self.annotate(o, &made)
            }
            Ok(other) => self.unexpected(o, &other),
            Err(e) => self.fail(o, ("Failed to create a new runner scale set", "Registration"), e.text()),
        }
    }

    /// Step 5 of §3.5. If this write is lost the next pass finds the scale set and takes it.
    fn annotate(&mut self, o: &Observed<'_>, info: &ScaleSetInfo) -> Decision {
        let behaviour = &o.settings.behaviour;
        let id = format_smolstr!("{}", info.id);
        let meta = &self.ars().metadata;
        let wanted = [
            (names::GROUP_NAME, info.group_name.clone()),
            (names::scale_set_name_key(behaviour), info.name.clone()),
            (names::SCALE_SET_ID, id),
        ];
        let changed = |(key, value): (&'static str, Str), now: Option<&Str>| {
            (now != Some(&value)).then(|| (Str::from(key), Some(value)))
        };
        let annotations = wanted.into_iter().filter_map(|w| changed(w.clone(), meta.annotation(w.0))).collect();
        let url = labels::of_url(&self.ars().spec.github_config_url, behaviour);
        let labels = url.into_iter().filter_map(|w| changed(w.clone(), meta.label(w.0))).collect();
        self.patch(Step::AfterScaleSetAnnotated, Patch { annotations, labels, ..Patch::default() })
    }

    pub(super) fn after_scale_set_annotated(&mut self, o: &mut Observed<'_>) -> Decision {
        match self.take_patched(o) {
            Ok(()) => self.settle(),
            // The set was deleted meanwhile, by a manager that could not know what was being made.
            Err(e) if e.is_not_found() && o.settings.behaviour.ars_stale_object == ArsStaleObject::Read => {
                match self.made {
                    Some(id) => self.service(Step::AfterUnwantedScaleSetDeleted, Op::DeleteScaleSet(id)),
                    None => self.settle(),
                }
            }
            Err(e) => self.fail(o, ("Failed to update autoscaling runner set with annotations", "ApiServer"), e.text()),
        }
    }

    pub(super) fn after_scale_set_updated(&mut self, o: &mut Observed<'_>) -> Decision {
        let info = match o.take_reply().into_service() {
            Ok(ServiceOk::ScaleSet(Some(info))) => info,
            Ok(other) => return self.unexpected(o, &other),
            // Also when the scale set is gone: it is never registered anew while the id is there.
            Err(e) => return self.after_update_refused(o, &e),
        };
        let mut annotations = vec![];
        let key = names::scale_set_name_key(&o.settings.behaviour);
        let mut set = |key: &'static str, value: &Str| {
            if self.ars().metadata.annotation(key) != Some(value) {
                annotations.push((Str::from(key), Some(value.clone())));
            }
        };
        if self.purpose == Purpose::UpdateGroup {
            set(names::GROUP_NAME, &info.group_name);
        }
        if self.purpose == Purpose::UpdateName || !names::hashes_are_labels(&o.settings.behaviour) {
            set(key, &info.name);
        }
        self.patch(Step::AfterScaleSetAnnotated, Patch { annotations, ..Patch::default() })
    }

    fn after_update_refused(&mut self, o: &mut Observed<'_>, e: &CallError) -> Decision {
        if is_missing(e) && o.settings.behaviour.ars_scale_set_check == ScaleSetCheck::WhenListenerFails {
            return self.scale_set_missed(o);
        }
        self.fail(o, ("Failed to update runner scale set", "Registration"), e.text())
    }

    pub(super) fn after_scale_set_checked(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_service() {
            Err(e) if is_missing(&e) => self.scale_set_missed(o),
            Ok(ServiceOk::ScaleSet(None)) => self.scale_set_missed(o),
            Ok(_) if self.missed_at().is_some() => {
                let annotations = vec![(names::SCALE_SET_MISSED.into(), None)];
                self.patch(Step::AfterScaleSetForgotten, Patch { annotations, ..Patch::default() })
            }
            // Another failure proves nothing: the pass goes on as if it had not asked.
            _ => self.runner_sets(o),
        }
    }

    /// The first denial is only noted, an outage may have caused it; the second one makes the set forget its id.
    fn scale_set_missed(&mut self, o: &Observed<'_>) -> Decision {
        let annotations = if self.missed_at().is_some() {
            let name = names::scale_set_name_key(&o.settings.behaviour);
            [names::SCALE_SET_ID, names::SCALE_SET_MISSED, name].map(|key| (key.into(), None)).to_vec()
        } else {
            vec![(names::SCALE_SET_MISSED.into(), Some(o.now.to_rfc3339().into()))]
        };
        self.patch(Step::AfterScaleSetForgotten, Patch { annotations, ..Patch::default() })
    }

    fn unexpected(&mut self, o: &mut Observed<'_>, answer: &ServiceOk) -> Decision {
        let why = format_smolstr!("the service answered {answer:?}");
        self.fail(o, ("Failed to understand the Actions service", "Registration"), why)
    }
}

/// 404: the service does not know the scale set, or somebody on the way says so.
pub(super) fn is_missing(e: &CallError) -> bool {
    e.service().is_some_and(|e| e.status == 404)
}
