//! The container hook: what `kubernetes` mode's runner does with its own service account to run a job in a workflow pod.
//! A pure machine; the runner passes on its calls and their replies.
//!
//! Source: actions-service.md §7 (hooks 0.7.0 and 0.8.1). Differs: exec streams carry no output; registry secrets, services and
//! batch Jobs of container actions are not modelled; the permission reviews are asked one after another, not in parallel.

use std::sync::Arc;

use arc_api::kube::{Access, DeleteOptions, KubeOk, KubeRequest};
use arc_api::meta::{Key, labels};
use arc_api::pod::{Container, Pod, PodPhase, PodSpec};
use arc_api::{Duration, Meta, Object, Resource, Str, Time};
use controller_core::call::CallError;

/// Which hook is installed and for whom.
#[derive(Clone, PartialEq, Debug)]
pub struct HookEnv {
    /// `ACTIONS_RUNNER_POD_NAME`.
    pub pod: Str,
    /// Namespace.
    pub namespace: Str,
    /// `k8s-novolume` (hooks 0.8): no node pinning, no shared claim.
    pub novolume: bool,
    /// Node of the runner pod, to which hooks 0.7 pin the workflow pod.
    pub node: Option<Str>,
}

/// One API call, numbered.
#[derive(Clone, PartialEq, Debug)]
pub struct HookCall(pub u32, pub KubeRequest);

/// What a reply led to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Progress {
    /// Further calls.
    pub calls: Vec<HookCall>,
    /// The workflow pod runs: the job's steps begin.
    pub ready: bool,
    /// Clean-up is over.
    pub cleaned: bool,
    /// The step failed, with the class of its error text.
    pub failed: Option<&'static str>,
}

#[derive(Clone, PartialEq, Debug)]
enum Stage {
    Reviews { next: usize },
    Prune,
    Create,
    Wait { since: Time, tries: u32, at: Option<Time> },
    Steps,
    Clean { left: u32 },
    Over,
}

/// The hook of one job.
#[derive(Clone, PartialEq, Debug)]
pub struct Hook {
    env: HookEnv,
    stage: Stage,
    calls: u32,
    created: bool,
}

/// The hook's budget for the workflow pod (`ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS`).
const PREPARE_TIMEOUT: Duration = Duration::from_secs(600);

/// The rights asked for before every command (§7.3): resource, verbs.
const REVIEWS: &[(&str, &[&str])] = &[
    ("pods", &["get", "list", "create", "delete"]),
    ("pods/exec", &["get", "create"]),
    ("pods/log", &["get", "list", "watch"]),
    ("secrets", &["create", "delete", "get", "list"]),
];

impl Hook {
    /// A hook that has not begun.
    pub fn new(env: HookEnv) -> Hook {
        Hook { env, stage: Stage::Reviews { next: 0 }, calls: 0, created: false }
    }
    /// The first calls.
    pub fn start(&mut self) -> Vec<HookCall> {
        vec![self.review(0)]
    }
    /// Whether pods may be left that a clean-up has to delete.
    pub fn needs_cleanup(&self) -> bool {
        self.created && self.stage != Stage::Over
    }
    /// Whether the job's steps run over an exec stream now.
    pub fn is_in_steps(&self) -> bool {
        self.stage == Stage::Steps
    }
    /// When it wants to look again.
    pub fn wake_at(&self) -> Option<Time> {
        match self.stage {
            Stage::Wait { at, .. } => at,
            _ => None,
        }
    }
    fn call(&mut self, request: KubeRequest) -> HookCall {
        self.calls += 1;
        HookCall(self.calls, request)
    }
    fn workflow_pod(&self) -> Key {
        let base: String = self.env.pod.chars().take(54).collect();
        Key::new(self.env.namespace.clone(), format!("{base}-workflow"))
    }
    fn review(&mut self, index: usize) -> HookCall {
        let (resource, verb) =
            REVIEWS.iter().flat_map(|(r, vs)| vs.iter().map(move |v| (*r, *v))).nth(index).unwrap_or(("pods", "get"));
        self.call(KubeRequest::ReviewAccess(Access {
            verb: verb.into(),
            group: Str::default(),
            resource: resource.into(),
            namespace: self.env.namespace.clone(),
            name: None,
        }))
    }
    fn list(&mut self) -> HookCall {
        let labels = vec![("runner-pod".into(), self.env.pod.clone())];
        self.call(KubeRequest::List { kind: Pod::KIND, namespace: Some(self.env.namespace.clone()), labels })
    }
    fn get(&mut self) -> HookCall {
        let key = self.workflow_pod();
        self.call(KubeRequest::Get { kind: Pod::KIND, key })
    }
    fn create(&mut self) -> HookCall {
        let key = self.workflow_pod();
        let spec = PodSpec {
            containers: vec![Container { name: "job".into(), image: "job".into(), ..Container::default() }],
            restart_policy: "Never".into(),
            node_name: if self.env.novolume { None } else { self.env.node.clone() },
            ..PodSpec::default()
        };
        let metadata =
            Meta { labels: labels([("runner-pod", self.env.pod.as_str())]), ..Meta::named(key.namespace, key.name) };
        self.call(KubeRequest::Create(Object::from(Pod { metadata, spec: Arc::new(spec), ..Pod::default() })))
    }
    fn delete(&mut self, key: Key) -> HookCall {
        let options = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
        self.call(KubeRequest::Delete { kind: Pod::KIND, key, options })
    }

    /// A timer.
    pub fn on_wake(&mut self, now: Time) -> Vec<HookCall> {
        match self.stage {
            Stage::Wait { since, tries, at: Some(at) } if at <= now => {
                self.stage = Stage::Wait { since, tries, at: None };
                vec![self.get()]
            }
            _ => Vec::new(),
        }
    }

    /// The clean-up command: list and delete by label (§7.8).
    pub fn clean_up(&mut self) -> Vec<HookCall> {
        self.stage = Stage::Clean { left: u32::MAX };
        vec![self.list()]
    }

    /// The reply to call `id`.
    pub fn on_reply(&mut self, id: u32, reply: Result<KubeOk, CallError>, now: Time) -> Progress {
        let mut p = Progress::default();
        if id == 0 || id > self.calls {
            return p;
        }
        match self.stage.clone() {
            Stage::Reviews { next } => match reply {
                Ok(KubeOk::Allowed(true)) => {
                    let total: usize = REVIEWS.iter().map(|(_, v)| v.len()).sum();
                    if next + 1 < total {
                        self.stage = Stage::Reviews { next: next + 1 };
                        p.calls.push(self.review(next + 1));
                    } else {
                        self.stage = Stage::Prune;
                        p.calls.push(self.list());
                    }
                }
                Ok(_) => p.failed = self.fail("hook-permissions"),
                // The review's own failure is thrown unwrapped: `HttpError: HTTP request failed` (Q-HOOK-HTTPERROR).
                Err(e) => p.failed = self.fail(refused(&e, "hook-http-error")),
            },
            Stage::Prune => match reply {
                Ok(KubeOk::List { items, .. }) => {
                    for key in items.iter().map(Object::key) {
                        let call = self.delete(key);
                        p.calls.push(call);
                    }
                    self.stage = Stage::Create;
                    p.calls.push(self.create());
                }
                Ok(_) => {}
                Err(e) => p.failed = self.fail(refused(&e, "hook-http-error")),
            },
            Stage::Create => match reply {
                Ok(KubeOk::Object(_)) => {
                    self.created = true;
                    self.stage = Stage::Wait { since: now, tries: 0, at: Some(now.after(Duration::from_secs(1))) };
                }
                Ok(_) => {}
                Err(e) => p.failed = self.fail(refused(&e, "hook-create-failed")),
            },
            Stage::Wait { since, tries, .. } => {
                let phase = match &reply {
                    Ok(ok) => ok.object().and_then(|o| o.get::<Pod>()).map(|p| p.status.phase),
                    Err(_) => None,
                };
                match phase {
                    Some(PodPhase::Running) => {
                        self.stage = Stage::Steps;
                        p.ready = true;
                    }
                    Some(PodPhase::Pending) if now.since(since) <= PREPARE_TIMEOUT => {
                        let wait = Duration::from_secs(1 << (tries + 1).min(5)).min(Duration::from_secs(20));
                        self.stage = Stage::Wait { since, tries: tries + 1, at: Some(now.after(wait)) };
                    }
                    // Every error of the wait, its own time-out included, is reported as the last phase seen (Q-HOOK-PHASE-MASK);
                    // what was only not reached, or taken away by somebody, is told apart here.
                    _ => {
                        p.failed = self.fail(match &reply {
                            Err(e) if e.is_not_found() => "hook-pod-gone",
                            Err(e) => refused(e, "hook-pod-unhealthy"),
                            Ok(ok) if ok.object().is_some_and(|o| o.meta().is_deleting()) => "hook-pod-gone",
                            Ok(_) => "hook-pod-unhealthy",
                        });
                    }
                }
            }
            Stage::Clean { left } => match reply {
                Ok(KubeOk::List { items, .. }) => {
                    let keys: Vec<_> = items.iter().map(Object::key).collect();
                    self.stage = Stage::Clean { left: keys.len() as u32 };
                    for key in keys.iter().cloned() {
                        let call = self.delete(key);
                        p.calls.push(call);
                    }
                    if keys.is_empty() {
                        self.stage = Stage::Over;
                        p.cleaned = true;
                    }
                }
                // A 404 or a refusal: the rest is the controller's business (Q-HOOK-PRUNE-404).
                _ => {
                    if left <= 1 || left == u32::MAX {
                        self.stage = Stage::Over;
                        p.cleaned = true;
                    } else {
                        self.stage = Stage::Clean { left: left - 1 };
                    }
                }
            },
            Stage::Steps | Stage::Over => {}
        }
        p
    }

    fn fail(&mut self, why: &'static str) -> Option<&'static str> {
        if !self.created {
            self.stage = Stage::Over;
        }
        Some(why)
    }
}

/// The job's log says the same of all, but only a refusal is about the hook's permissions. A name that is taken is so because
/// the network delivered the hook's own request twice: what was there before had been pruned.
fn refused(error: &CallError, why: &'static str) -> &'static str {
    match error {
        CallError::Api(status) if status.code < 500 && !matches!(status.code, 409 | 429) => why,
        _ => "hook-unreachable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::kube::{Reason, Status};

    fn env() -> HookEnv {
        HookEnv { pod: "r".into(), namespace: "n".into(), novolume: true, node: None }
    }

    fn pod(phase: PodPhase) -> Result<KubeOk, CallError> {
        let mut pod = Pod::default();
        pod.status.phase = phase;
        Ok(KubeOk::Object(pod.into()))
    }

    fn drive(hook: &mut Hook, mut answer: impl FnMut(&KubeRequest) -> Result<KubeOk, CallError>) -> (u32, Progress) {
        let (mut calls, mut now, mut made) = (hook.start(), Time(0), 0);
        loop {
            let Some(HookCall(id, request)) = calls.pop() else {
                now = hook.wake_at().expect("the hook waits for something");
                calls = hook.on_wake(now);
                continue;
            };
            made += 1;
            let p = hook.on_reply(id, answer(&request), now);
            if p.ready || p.failed.is_some() {
                return (made, p);
            }
            calls.extend(p.calls);
        }
    }

    #[test]
    fn a_job_starts_after_thirteen_reviews_and_a_running_workflow_pod() {
        let mut gets = 0;
        let (calls, p) = drive(&mut Hook::new(env()), |r| match r {
            KubeRequest::ReviewAccess(_) => Ok(KubeOk::Allowed(true)),
            KubeRequest::List { .. } => Ok(KubeOk::List { items: vec![], resource_version: 1 }),
            KubeRequest::Get { .. } => {
                gets += 1;
                pod(if gets < 3 { PodPhase::Pending } else { PodPhase::Running })
            }
            _ => pod(PodPhase::Pending),
        });
        assert!(p.ready);
        assert_eq!(calls, 13 + 1 + 1 + 3);
    }

    #[test]
    fn a_dead_token_fails_with_the_bare_http_error_at_the_first_review() {
        let refused = || CallError::Api(Arc::new(Status::new(Reason::Unauthorized, "Unauthorized")));
        let (calls, p) = drive(&mut Hook::new(env()), |_| Err(refused()));
        assert_eq!((calls, p.failed), (1, Some("hook-http-error")));
    }

    #[test]
    fn a_creation_that_arrives_twice_is_not_about_permissions() {
        let status = |reason| Err(CallError::Api(Arc::new(Status::new(reason, "workflow"))));
        for (reason, why) in [(Reason::AlreadyExists, "hook-unreachable"), (Reason::Forbidden, "hook-create-failed")] {
            let (_, p) = drive(&mut Hook::new(env()), |r| match r {
                KubeRequest::ReviewAccess(_) => Ok(KubeOk::Allowed(true)),
                KubeRequest::List { .. } => Ok(KubeOk::List { items: vec![], resource_version: 1 }),
                _ => status(reason),
            });
            assert_eq!(p.failed, Some(why));
        }
    }

    #[test]
    fn a_pod_that_stays_pending_fails_after_ten_minutes() {
        let (_, p) = drive(&mut Hook::new(env()), |r| match r {
            KubeRequest::ReviewAccess(_) => Ok(KubeOk::Allowed(true)),
            KubeRequest::List { .. } => Ok(KubeOk::List { items: vec![], resource_version: 1 }),
            _ => pod(PodPhase::Pending),
        });
        assert_eq!(p.failed, Some("hook-pod-unhealthy"));
    }
}
