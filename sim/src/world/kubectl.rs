//! What people do with any object by hand, and with jobs at GitHub: `create`, `edit`, `cancel_jobs`. Never decides when.

use std::sync::Arc;

use arc_api::kube::{Body, KubeRequest, Patch, Sub};
use arc_api::{Kind, Object, Str};

use super::build::fill_meta;
use super::operators::{Task, patch};
use super::{SiteId, World};
use crate::plan::operator::{CancelJobs, CreateObject, EditObject};

impl World {
    /// `kubectl create`.
    pub(super) fn create_tasks(&self, site: SiteId, wanted: &CreateObject) -> Vec<Task> {
        let mut json = wanted.object.clone();
        let kind = json["kind"].as_str().and_then(|k| Kind::ALL.iter().find(|x| x.as_str() == k)).copied();
        if let Some(set) = &wanted.named_after_runner_of {
            let runners = self.site(site).cluster.api().iter(Kind::EphemeralRunner);
            let newest = runners
                .filter(|o| self.belongs(site, o, set) && !o.meta().is_deleting())
                .max_by_key(|o| (o.meta().creation_timestamp, o.meta().uid));
            let Some(runner) = newest else { return Vec::new() };
            json["metadata"]["name"] = runner.meta().name.as_str().into();
            json["metadata"]["namespace"] = runner.meta().namespace.as_str().into();
        }
        let object = kind.and_then(|k| arc_api::json::from_json(k, &fill_meta(&json)).ok());
        object.map(|o| Task::Call(KubeRequest::Create(o))).into_iter().collect()
    }

    /// `kubectl patch`.
    pub(super) fn edit_tasks(&self, site: SiteId, wanted: &EditObject) -> Vec<Task> {
        let api = self.site(site).cluster.api();
        let meant = |o: &&Object| {
            wanted.name.matches(&o.meta().name)
                && wanted.namespace.matches(&o.meta().namespace)
                && wanted.scale_set.as_ref().is_none_or(|s| self.belongs(site, o, s))
        };
        let found = World::kinds(&wanted.kind).flat_map(|k| api.iter(k)).filter(meant);
        let body = Arc::new(wanted.patch.clone());
        found.map(|o| patch(o, Sub::Main, Patch::body(Body::Json(body.clone())))).collect()
    }

    /// Cancels jobs at the service.
    pub(super) fn cancel_by_hand(&mut self, wanted: &CancelJobs) {
        let named = self.job_ids.iter().filter(|(_, name): &(_, &Str)| wanted.job.matches(name));
        let meant: Vec<_> = named.map(|(id, _)| *id).collect();
        for id in meant {
            if wanted.force {
                self.github.force_cancel_job(id, self.now);
            } else {
                self.github.cancel_job(id, self.now);
            }
        }
        self.notice_github();
    }
}
