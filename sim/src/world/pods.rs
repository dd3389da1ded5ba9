//! What nodes have to do: volumes, container starts, hooks, signals. Draws how long each takes and makes the processes.

use std::sync::Arc;

use arc_api::core::Secret;
use arc_api::kube::Identity;
use arc_api::meta::Key;
use arc_api::pod::{Container, Pod};
use arc_api::{Kind, Str, Time, Token, Uid, format_smolstr};
use controller_core::listener_config::ListenerConfig;
use fake_kube::kubelet::{ContainerKind, Exit, HookKind, NodeEffect, Signal, StartFailure};

use super::{Dind, Event, Machine, ProcId, Process, SiteId, World};
use crate::engine::Alarm;
use crate::plan::Role;
use crate::process::hook::HookEnv;
use crate::process::manager::Manager;
use crate::process::runner::{Runner, RunnerEnv};
use crate::trace::{Digest, What};

/// Work on a node that takes time.
#[derive(Clone, Debug)]
pub(crate) enum NodeJob {
    /// Volumes of a pod.
    Volumes { site: SiteId, pod: Uid },
    /// The start of a container.
    Start { site: SiteId, node: Str, pod: Arc<Pod>, container: Str, kind: ContainerKind, attempt: u32 },
    /// The end of a container whose process is gone: the kubelet notices.
    Ended { site: SiteId, pod: Uid, container: Str, exit: Exit },
    /// A signal on its way.
    Signal { site: SiteId, pod: Uid, container: Str, signal: Signal },
    /// A hook that runs.
    Hook { site: SiteId, pod: Uid, container: Str, waits_for: Option<Str> },
    /// A container whose start fails.
    FailStart { site: SiteId, pod: Uid, container: Str, failure: StartFailure },
}

impl World {
    fn node_job(&mut self, at: Time, job: NodeJob) {
        let slot = match self.pending.iter().position(Option::is_none) {
            Some(slot) => {
                self.pending[slot] = Some(job);
                slot
            }
            None => {
                self.pending.push(Some(job));
                self.pending.len() - 1
            }
        };
        self.schedule(at, Event::NodeWork { pending: slot as u32 });
    }

    /// Containers start whose starts a fault held until its end.
    pub(super) fn starts_come(&mut self, action: u32) {
        let (freed, kept) =
            std::mem::take(&mut self.held_starts).into_iter().partition::<Vec<_>, _>(|(a, ..)| *a == action);
        self.held_starts = kept;
        for (_, at, job) in freed {
            self.node_job(at.max(self.now), job);
        }
    }

    /// A kubelet wants something done.
    pub(crate) fn on_node_effect(&mut self, site: SiteId, effect: NodeEffect) {
        match effect {
            NodeEffect::PrepareVolumes { pod, .. } => {
                let wait = self.volume_delay(site, &pod);
                // None: the fault's end frees them.
                if let Some(wait) = wait {
                    let at = self.now.after(wait);
                    self.node_job(at, NodeJob::Volumes { site, pod: pod.metadata.uid });
                }
            }
            NodeEffect::StartContainer { node, pod, container, kind, attempt } => {
                let first = attempt == 0
                    && (pod.spec.init_containers.first().or(pod.spec.containers.first()))
                        .is_some_and(|c| c.name == container);
                let latency = if first { self.latency.container_create } else { self.latency.container_start };
                let mut at = self.dice.node.arrival(self.now, latency);
                if first {
                    at = self.dice.node.arrival(at, self.latency.image_pull);
                }
                let held = match self.start_delay(site, &pod) {
                    Ok(wait) => {
                        at = at.max(self.now.after(wait));
                        None
                    }
                    Err(action) => Some(action),
                };
                at = at.max(self.not_before(site, pod.metadata.uid, &container));
                if let Some((failure, wait)) = self.start_failure(site, &pod, &container, kind) {
                    let at = at.after(wait);
                    return self.node_job(at, NodeJob::FailStart { site, pod: pod.metadata.uid, container, failure });
                }
                let job = NodeJob::Start { site, node, pod, container, kind, attempt };
                match held {
                    Some(action) => self.held_starts.push((action, at, job)),
                    None => self.node_job(at, job),
                }
            }
            NodeEffect::Hook { pod, container, kind, .. } => {
                // A preStop hook that waits for the worker ends with the runner's job; any other is short.
                let waits_for = (kind == HookKind::PreStop).then(|| self.hook_target(site, pod)).flatten();
                let at = self.now.after(arc_api::Duration::from_millis(100));
                self.node_job(at, NodeJob::Hook { site, pod, container, waits_for });
            }
            NodeEffect::Signal { pod, container, signal } => {
                let delay = self.signal_delay(site, pod, &container, signal);
                if delay.is_zero() {
                    self.signal(site, pod, &container, signal);
                } else {
                    let at = self.now.after(delay);
                    self.node_job(at, NodeJob::Signal { site, pod, container, signal });
                }
            }
            NodeEffect::Forget { pod } => {
                for job in &mut self.pending {
                    let of = match job {
                        Some(NodeJob::Start { pod: p, .. }) => Some(p.metadata.uid),
                        Some(
                            NodeJob::Volumes { pod, .. }
                            | NodeJob::Ended { pod, .. }
                            | NodeJob::Signal { pod, .. }
                            | NodeJob::Hook { pod, .. }
                            | NodeJob::FailStart { pod, .. },
                        ) => Some(*pod),
                        None => None,
                    };
                    if of == Some(pod) {
                        // The slot stays taken until its event comes, so that the event does not meet another job.
                        *job =
                            Some(NodeJob::Ended { site, pod: Uid(0), container: Str::default(), exit: Exit::code(0) });
                    }
                }
                let doomed: Vec<ProcId> = self
                    .containers
                    .iter()
                    .filter(|((s, p, _), _)| *s == site && *p == pod)
                    .map(|(_, id)| *id)
                    .collect();
                for id in doomed {
                    self.kill(id, "its node lost it");
                }
            }
        }
    }

    /// Work on a node is done.
    pub(crate) fn node_work(&mut self, slot: u32) {
        let Some(job) = self.pending.get_mut(slot as usize).and_then(Option::take) else { return };
        let now = self.now;
        let site = match job {
            NodeJob::Volumes { site, pod } => {
                self.site_mut(site).cluster.volumes_ready(pod, now);
                site
            }
            NodeJob::Ended { pod: Uid(0), .. } => return,
            NodeJob::Ended { site, pod, container, exit } => {
                self.site_mut(site).cluster.container_exited(pod, &container, exit, now);
                site
            }
            NodeJob::FailStart { site, pod, container, failure } => {
                self.site_mut(site).cluster.start_failed(pod, &container, failure, now);
                site
            }
            NodeJob::Signal { site, pod, container, signal } => return self.signal(site, pod, &container, signal),
            NodeJob::Hook { site, pod, container, waits_for } => {
                let still = waits_for.as_ref().is_some_and(|c| self.is_working(site, pod, c));
                if still {
                    let at = now.after(arc_api::Duration::from_secs(1));
                    return self.node_job(at, NodeJob::Hook { site, pod, container, waits_for });
                }
                self.site_mut(site).cluster.hook_done(pod, &container, now);
                site
            }
            NodeJob::Start { site, node, pod, container, kind, attempt } => {
                self.start(site, node, &pod, &container, kind, attempt);
                site
            }
        };
        self.notice(site);
    }

    pub(crate) fn is_working(&self, site: SiteId, pod: Uid, container: &Str) -> bool {
        let id = self.containers.get(&(site, pod, container.clone()));
        id.and_then(|id| self.proc(*id)).is_some_and(|p| matches!(&p.machine, Machine::Runner(r) if r.job().is_some()))
    }

    fn hook_target(&self, site: SiteId, pod: Uid) -> Option<Str> {
        let object = self.site(site).cluster.api().by_uid(pod)?;
        let pod = object.get::<Pod>()?;
        pod.spec.container("runner").map(|c| c.name.clone())
    }

    fn start(&mut self, site: SiteId, node: Str, pod: &Arc<Pod>, container: &Str, kind: ContainerKind, attempt: u32) {
        let uid = pod.metadata.uid;
        let spec = pod.spec.containers.iter().chain(&pod.spec.init_containers).find(|c| c.name == *container);
        let Some(spec) = spec else { return };
        let (machine, role) = match self.machine(site, pod, spec, kind) {
            Ok(found) => found,
            Err(message) => {
                let failure = StartFailure::ConfigError(message);
                return self.sites[site.0 as usize].cluster.start_failed(uid, container, failure, self.now);
            }
        };
        let account = match pod.spec.service_account_name.as_str() {
            "" => Str::new_static("default"),
            name => name.into(),
        };
        let account = Key::new(pod.metadata.namespace.clone(), account);
        let account_uid =
            self.site(site).cluster.api().get(Kind::ServiceAccount, &account).map_or(Uid(0), |a| a.meta().uid);
        let name = format_smolstr!("{}/{}", role.as_str(), self.role_label(role, pod));
        let label = self.role_label(role, pod);
        let set = pod.metadata.label("actions.github.com/scale-set-name").cloned().unwrap_or_default();
        let namespace = pod.metadata.label("actions.github.com/scale-set-namespace").cloned().unwrap_or_default();
        let actor = self.trace.actor(name, site.0);
        self.sites[site.0 as usize].cluster.container_started(uid, container, self.now);
        if let Machine::Dind(daemon) = &machine {
            self.sites[site.0 as usize].cluster.set_healthy(uid, container, daemon.ready, self.now);
        }
        let saved = self.cause;
        let id = self.spawn(Process {
            machine,
            actor,
            role,
            label,
            scale_set: set.clone(),
            set_key: Key::new(namespace, set),
            site,
            pod: Some(uid),
            pod_name: pod.metadata.name.clone(),
            container: container.clone(),
            node,
            who: Identity::ServiceAccount { account, uid: account_uid },
            wake: Alarm::default(),
            paused_until: Time::ZERO,
            cause: saved,
            terminating: false,
        });
        if self.proc(id).is_some() {
            self.containers.insert((site, uid, container.clone()), id);
        }
        self.observe_start(id, pod, attempt);
        self.plan_container_end(id, pod, container);
        self.slow_newcomer(id);
    }

    fn role_label(&self, role: Role, pod: &Pod) -> Str {
        match role {
            Role::Listener => {
                pod.metadata.label("actions.github.com/scale-set-name").unwrap_or(&pod.metadata.name).clone()
            }
            Role::Controller => pod.metadata.label("app.kubernetes.io/instance").unwrap_or(&pod.metadata.name).clone(),
            _ => pod.metadata.name.clone(),
        }
    }

    /// The process model of a container.
    fn machine(
        &mut self,
        site: SiteId,
        pod: &Arc<Pod>,
        spec: &Container,
        kind: ContainerKind,
    ) -> Result<(Machine, Role), Str> {
        let never = Machine::Plain { ends_at: Time::NEVER, code: 0 };
        match (spec.name.as_str(), kind) {
            ("manager", ContainerKind::Main) => {
                let config = self.manager_config(site, pod)?;
                Ok((Machine::Manager(Box::new(Manager::new(config))), Role::Controller))
            }
            ("listener" | "autoscaler", ContainerKind::Main) => {
                let listener = self.listener(site, pod)?;
                Ok((Machine::Listener(Box::new(listener)), Role::Listener))
            }
            ("runner", ContainerKind::Main) => {
                let env = self.runner_env(site, pod, spec)?;
                Ok((Machine::Runner(Box::new(Runner::new(env))), Role::Runner))
            }
            ("dind", _) => {
                let wait = self.docker_delay(site, pod);
                let stop = self.spec_of(site).kubelet.dind_exit.0;
                let host = spec.args.iter().find_map(|a| a.strip_prefix("--host="));
                let socket = host.map(|h| Str::from(h.trim_start_matches("unix://")));
                let ready_at = self.now.after(wait);
                let daemon = Dind { ready_at, ready: wait.is_zero(), socket, stop, ends_at: None };
                Ok((Machine::Dind(daemon), Role::Dind))
            }
            ("job", ContainerKind::Main) => Ok((never, Role::Workflow)),
            (_, ContainerKind::Init) => {
                let (ends_at, code) = match self.init_end(site, pod, &spec.name) {
                    Some(end) => end,
                    None => (self.dice.node.arrival(self.now, self.latency.init_run), 0),
                };
                Ok((Machine::Plain { ends_at, code }, Role::Workflow))
            }
            _ => Ok((never, Role::Workflow)),
        }
    }

    fn runner_env(&mut self, site: SiteId, pod: &Arc<Pod>, spec: &Container) -> Result<RunnerEnv, Str> {
        let value = |name: &str| spec.env_value(name).cloned();
        let jit = spec
            .env
            .iter()
            .find(|e| e.name == "ACTIONS_RUNNER_INPUT_JITCONFIG")
            .and_then(|e| e.value_from.as_ref())
            .and_then(|v| v.secret_key_ref.as_ref());
        let jit = match jit {
            Some(reference) => {
                let key = Key::new(pod.metadata.namespace.clone(), reference.name.clone());
                let secret = self.site(site).cluster.api().typed::<Secret>(&key);
                let secret = secret.ok_or_else(|| format_smolstr!("secret \"{}\" not found", reference.name))?;
                let text = secret
                    .data
                    .get(&reference.key)
                    .ok_or_else(|| format_smolstr!("couldn't find key {} in Secret {key}", reference.key))?;
                Token(text.parse().unwrap_or(0))
            }
            None => Token(0),
        };
        let boot = self.dice.boot.delay(self.latency.runner_boot);
        let exit = self.dice.boot.delay(self.latency.runner_exit);
        let settings = self.runner_set(site, pod);
        let scripted = settings.is_some_and(|s| s.hooks.scripted);
        let hooks =
            value("ACTIONS_RUNNER_CONTAINER_HOOKS").filter(|v| !v.is_empty() && !scripted).map(|path| HookEnv {
                pod: pod.metadata.name.clone(),
                namespace: pod.metadata.namespace.clone(),
                novolume: path.contains("novolume"),
                node: pod.node_name.clone(),
            });
        let kubelet = &self.spec_of(site).kubelet;
        let socket = value("DOCKER_HOST").map(|h| Str::from(h.trim_start_matches("unix://")));
        Ok(RunnerEnv {
            jit,
            wait_for_docker: value("RUNNER_WAIT_FOR_DOCKER_IN_SECONDS").and_then(|v| v.parse().ok()).unwrap_or(0),
            docker_socket: socket,
            hooks,
            require_container: !scripted && value("ACTIONS_RUNNER_REQUIRE_JOB_CONTAINER").is_some_and(|v| v == "true"),
            deprecated_exit_code: value("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE").is_some(),
            version: settings.map_or("2.328.0".into(), |s| s.runner_version.clone()),
            boot,
            exit,
            lost: kubelet.runner_lost.map_or(exit, |d| d.0),
            refused: kubelet.runner_refused.map_or(exit, |d| d.0),
            retry: kubelet.runner_retry.0,
            shutdown: kubelet.runner_shutdown.0,
        })
    }

    fn listener(&mut self, site: SiteId, pod: &Arc<Pod>) -> Result<super::listener::ListenerProcess, Str> {
        let volume = pod.spec.volumes.iter().find_map(|v| v.secret.as_ref()).map(|s| s.secret_name.clone());
        let name = volume.unwrap_or_else(|| format_smolstr!("{}-config", pod.metadata.name));
        let key = Key::new(pod.metadata.namespace.clone(), name);
        let secret = self.site(site).cluster.api().typed::<Secret>(&key).cloned();
        let secret = secret.ok_or_else(|| format_smolstr!("secret \"{}\" not found", key.name))?;
        let text = secret.data.get("config.json").cloned().unwrap_or_default();
        let behaviour = self.listener_behaviour(site, pod);
        let config = ListenerConfig::from_json(&text, behaviour.al_config_format);
        let owner = pod.metadata.name.clone();
        let jitter = self.dice.boot.bits();
        let boot = self.dice.boot.delay(self.latency.boot);
        let place = pod.metadata.key();
        let starts_at = self.now.after(boot);
        let own = self.own.clone();
        Ok(super::listener::ListenerProcess::new(config, behaviour, owner, place, jitter, starts_at, own))
    }

    /// Whether the daemon that a process's container talks to answers at the place it looks. The processes are asked, not the
    /// API: they outlive an object that is deleted by force.
    pub(crate) fn docker_ready_for(&self, process: &Process) -> bool {
        let Machine::Runner(runner) = &process.machine else { return true };
        let Some(pod) = process.pod else { return false };
        let Some(id) = self.containers.get(&(process.site, pod, Str::new_static("dind"))) else { return false };
        let Some(Machine::Dind(daemon)) = self.proc(*id).map(|p| &p.machine) else { return false };
        let meets = match (runner.docker_socket(), &daemon.socket) {
            (Some(looks), Some(listens)) => looks == listens,
            (None, _) | (_, None) => true,
        };
        daemon.ready && meets
    }

    /// The daemon of a pod, which had answered, is gone: its runner loses it.
    pub(crate) fn docker_gone(&mut self, site: SiteId, pod: Uid) {
        let Some(id) = self.containers.get(&(site, pod, Str::new_static("runner"))).copied() else { return };
        let now = self.now;
        let mut out = Vec::new();
        if let Some(Machine::Runner(r)) = self.proc_mut(id).map(|p| &mut p.machine) {
            r.handle(crate::process::runner::RunnerInput::DockerLost, now);
            super::processes::convert(r.take_outputs(), now, &mut out);
        }
        self.outputs(id, out);
    }

    fn signal(&mut self, site: SiteId, pod: Uid, container: &str, signal: Signal) {
        let Some(id) = self.containers.get(&(site, pod, container.into())).copied() else {
            // Nothing runs (any more, or yet): the kubelet hears of the end at once.
            let exit = Exit::code(match signal {
                Signal::Term => 143,
                Signal::Kill => 137,
            });
            self.sites[site.0 as usize].cluster.container_exited(pod, container, exit, self.now);
            return self.notice(site);
        };
        let actor = self.proc(id).map(|p| p.actor).unwrap_or_default();
        match signal {
            Signal::Term => {
                self.terminate(id);
            }
            Signal::Kill => {
                self.note(actor, Digest::of(8).with(9), || What::Signal("SIGKILL"));
                self.kill(id, "");
            }
        }
    }

    /// SIGTERM.
    pub(crate) fn terminate(&mut self, id: ProcId) {
        let actor = self.proc(id).map(|p| p.actor).unwrap_or_default();
        self.note(actor, Digest::of(8).with(15), || What::Signal("SIGTERM"));
        if let Some(p) = self.proc_mut(id) {
            p.terminating = true;
        }
        self.input(id, crate::process::Input::Term);
    }

    /// A container's process is gone: the kubelet notices after its teardown.
    pub(crate) fn container_ended(&mut self, process: &Process, code: i32, reason: &Str) {
        let Some(pod) = process.pod else { return };
        let usual = if process.terminating { self.latency.status_after_stop } else { self.latency.status };
        let at = self.dice.node.arrival(self.now, usual);
        let exit = if reason == "OOMKilled" { Exit::oom() } else { Exit::code(code) };
        self.node_job(at, NodeJob::Ended { site: process.site, pod, container: process.container.clone(), exit });
    }
}
