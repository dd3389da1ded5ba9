//! Processes: inputs to machines, their outputs carried out, their ends.

use arc_api::kube::Identity;
use arc_api::{Str, Time};

use super::{Event, Machine, ProcId, Process, Scheduled, Tag, World};
use crate::plan::Ratio;
use crate::process::runner::{RunnerInput, RunnerOutput};
use crate::process::{Input, Output};
use crate::trace::{Actor, Digest, What};

impl World {
    pub(crate) fn note(&mut self, actor: Actor, digest: Digest, what: impl FnOnce() -> What) {
        self.cause = self.trace.record(self.now, self.cause, actor, digest, what);
    }

    /// Adds a process and lets it begin.
    pub(crate) fn spawn(&mut self, process: Process) -> ProcId {
        let id = ProcId(self.procs.len() as u32);
        let actor = process.actor;
        let (role, pod, container) = (process.role, process.pod_name.clone(), process.container.clone());
        self.procs.push(Some(process.into()));
        let digest = Digest::of(5).with(u64::from(id.0));
        self.note(actor, digest, || What::ProcessStart { role, pod, container });
        self.input(id, Input::Start);
        id
    }

    /// One input for a process, and everything that follows at once.
    pub(crate) fn input(&mut self, id: ProcId, input: Input) {
        let Some(mut taken) = self.procs.get_mut(id.0 as usize).and_then(Option::take) else { return };
        let mut out = std::mem::take(&mut self.scratch);
        let docker = self.docker_ready_for(&taken);
        let process = &mut *taken;
        process.cause = self.cause;
        let mut wishes = Vec::new();
        match &mut process.machine {
            Machine::Manager(m) => m.handle(input, self.now, &mut out),
            Machine::Listener(l) => l.handle(input, self.now, &mut out),
            Machine::Runner(r) => drive_runner(r, input, docker, self.now, &mut out),
            Machine::Operator(c) => {
                let (site, now) = (process.site, self.now);
                wishes = self.step_command(site, c, input, now, &mut out);
            }
            Machine::Dind(d) => match input {
                Input::Start => out.push(Output::WakeAt(d.ready_at)),
                Input::Wake if !d.ready && d.ready_at <= self.now => {
                    d.ready = true;
                    out.push(Output::Log("INFO", "API listen on docker.sock".into()));
                }
                Input::Term if d.stop.is_zero() => out.push(Output::Exit(0, Str::default())),
                Input::Term => {
                    let at = self.now.after(d.stop);
                    d.ends_at = Some(at);
                    out.push(Output::WakeAt(at));
                }
                Input::Wake if d.ends_at.is_some_and(|at| at <= self.now) => {
                    out.push(Output::Exit(0, Str::default()));
                }
                _ => {}
            },
            Machine::Plain { ends_at, code } => match input {
                Input::Start => out.push(Output::WakeAt(*ends_at)),
                Input::Wake if *ends_at <= self.now => out.push(Output::Exit(*code, Str::default())),
                Input::Term => out.push(Output::Exit(143, Str::default())),
                _ => {}
            },
        }
        let became_ready = matches!(&process.machine, Machine::Dind(d) if d.ready) && !out.is_empty();
        let (actor, site, pod, container) = (process.actor, process.site, process.pod, process.container.clone());
        self.procs[id.0 as usize] = Some(taken);
        for wish in wishes {
            self.wish(site, wish);
        }
        if became_ready && let Some(pod) = pod {
            self.sites[site.0 as usize].cluster.set_healthy(pod, &container, true, self.now);
            self.notice(site);
        }
        for output in out.drain(..) {
            self.output(id, actor, output);
        }
        self.scratch = out;
        self.watch_pace(id);
    }

    fn output(&mut self, id: ProcId, actor: Actor, output: Output) {
        match output {
            Output::Kube { tag, request, at } => self.send_kube(id, tag, request, at),
            Output::Service { tag, request } => self.send_service(id, tag, request),
            Output::Abort(tag) => self.abort(id, tag),
            Output::WakeAt(at) => {
                let Some(process) = self.procs.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else { return };
                let event = Scheduled { event: Event::Wake(id), cause: self.cause };
                process.wake.set(at.max(self.now), event, &mut self.queue);
            }
            Output::OpenWatch(kind, cursor) => self.open_watch(id, kind, cursor),
            Output::Log(level, line) => {
                let digest = Digest::of(6).text(&line);
                let saved = self.cause;
                let said = line.clone();
                self.note(actor, digest, || What::Log { level, line });
                self.observe_log(id, level, &said);
                self.cause = saved;
            }
            Output::Step(kind, step) => self.on_step(id, kind, step),
            Output::JobBegan(job) => self.observe_job_began(id, job),
            Output::JobEnded(job, result, why) => self.observe_job_ended(id, job, result, why),
            Output::Exit(code, text) => self.exit(id, code, text),
        }
    }

    /// Carries out what a process wants that was driven from outside.
    pub(crate) fn outputs(&mut self, id: ProcId, out: Vec<Output>) {
        let actor = self.proc(id).map(|p| p.actor).unwrap_or_default();
        for output in out {
            self.output(id, actor, output);
        }
    }

    /// A time the process asked for has come.
    pub(crate) fn wake(&mut self, id: ProcId) {
        let now = self.now;
        let Some(process) = self.procs.get_mut(id.0 as usize).and_then(Option::as_deref_mut) else { return };
        if !process.wake.rings(now, &mut self.queue) {
            return;
        }
        if process.paused_until > now {
            let event = Scheduled { event: Event::Wake(id), cause: self.cause };
            return process.wake.set(process.paused_until, event, &mut self.queue);
        }
        if self.cause == 0 {
            self.cause = self.proc(id).map_or(0, |p| p.cause);
        }
        self.input(id, Input::Wake);
    }

    /// A process ends: by itself, by a signal, by a crash. What it had in flight may still arrive; replies die.
    pub(crate) fn exit(&mut self, id: ProcId, code: i32, text: Str) {
        // A kill may or may not lose the write in flight (kubernetes-api.md §3.1, 504 in the audit log).
        let applied = if code == 137 { Ratio { num: 1, den: 2 } } else { Ratio::ONE };
        self.end(id, code, text, applied);
    }

    /// The same, and how likely a request that is on its way is carried out.
    pub(crate) fn end(&mut self, id: ProcId, code: i32, text: Str, applied: Ratio) {
        let Some(process) = self.procs.get_mut(id.0 as usize).and_then(Option::take) else { return };
        self.note(process.actor, Digest::of(7).with(code as u64), || What::ProcessExit { code, text: text.clone() });
        for call in self.calls.of(id) {
            self.graves.insert(id, (process.who.clone(), process.actor));
            if self.calls.get_mut(call).is_some_and(|c| c.orphaned) {
                continue;
            }
            let on_its_way = self.calls.get_mut(call).is_some_and(|c| c.reply.is_none());
            if on_its_way && !applied.is_one() && !self.dice.crash.hits(applied) {
                self.calls.remove(call);
            } else {
                self.abandon(call);
            }
        }
        for w in &mut self.watchers {
            if w.proc == id {
                w.open = false;
            }
        }
        self.observe_exit(id, &process, code, &text);
        if let Machine::Operator(c) = &process.machine {
            self.command_over(c, code, &text);
        }
        if let Some(pod) = process.pod {
            self.containers.remove(&(process.site, pod, process.container.clone()));
            if matches!(&process.machine, Machine::Dind(d) if d.ready) {
                self.docker_gone(process.site, pod);
            }
            if process.role == crate::plan::Role::Runner {
                self.sidecar_follows(process.site, pod, &process.scale_set);
            }
            if process.container == "job" {
                self.workflow_gone(process.site, &process.pod_name);
            }
            self.container_ended(&process, code, &text);
        }
    }

    /// SIGKILL: no last words.
    pub(crate) fn kill(&mut self, id: ProcId, why: &str) {
        self.exit(id, 137, why.into());
    }

    /// The identity of a process that is gone and whose request still arrives.
    pub(crate) fn graveyard_identity(&self, id: ProcId) -> Option<(Identity, Actor)> {
        self.graves.get(&id).cloned()
    }

    /// A manager that goes round over one key is a finding.
    fn watch_pace(&mut self, id: ProcId) {
        let is_hot = |p: &Process| matches!(&p.machine, Machine::Manager(m) if m.is_hot());
        if !self.proc(id).is_some_and(is_hot) {
            return;
        }
        let hot = self.proc_mut(id).and_then(|p| match &mut p.machine {
            Machine::Manager(manager) => manager.take_hot(),
            _ => None,
        });
        let Some((kind, key, times)) = hot else { return };
        let said = arc_api::format_smolstr!("was reconciled {times} times within a minute");
        let (now, cause, about) = (self.now, self.cause, arc_api::format_smolstr!("{kind} {key}"));
        self.violation("restarts-are-bounded", "controller", now, cause, &about, said);
    }

    fn on_step(&mut self, id: ProcId, kind: arc_api::Kind, step: &'static str) {
        if step == crate::process::runner::EXEC_BEGINS {
            self.exec_began(id);
        }
        if !self.faults.has_step_triggers() {
            return;
        }
        let Some(process) = self.proc(id) else { return };
        let (role, label) = (process.role, process.label.clone());
        for action in self.faults.on_step(role, &label, kind, step, "", self.now) {
            self.trigger(action, Some(id));
        }
    }
}

fn drive_runner(
    runner: &mut crate::process::runner::Runner,
    input: Input,
    docker: bool,
    now: Time,
    out: &mut Vec<Output>,
) {
    let input = match input {
        Input::Start => RunnerInput::Start { docker },
        Input::Wake => RunnerInput::Wake { docker },
        Input::Service(Tag::Runner(slot), reply) => RunnerInput::Service(slot, reply),
        Input::Kube(Tag::Own(id), reply) => RunnerInput::Kube(id as u32, reply),
        Input::Term => RunnerInput::Term,
        Input::Kube(..) | Input::Service(..) | Input::Watch(..) | Input::WatchClosed(_) => return,
    };
    runner.handle(input, now);
    convert(runner.take_outputs(), now, out);
}

/// A runner's outputs as a process's.
pub(crate) fn convert(outputs: Vec<RunnerOutput>, now: Time, out: &mut Vec<Output>) {
    for o in outputs {
        out.push(match o {
            RunnerOutput::Service(slot, request) => Output::Service { tag: Tag::Runner(slot), request },
            RunnerOutput::Kube(id, request) => Output::Kube { tag: Tag::Own(u64::from(id)), request, at: now },
            RunnerOutput::WakeAt(at) => Output::WakeAt(at),
            RunnerOutput::ExecBegins => Output::Step(arc_api::Kind::Pod, crate::process::runner::EXEC_BEGINS),
            RunnerOutput::Cancel(slot) => Output::Abort(Tag::Runner(slot)),
            RunnerOutput::JobBegan(job) => Output::JobBegan(job),
            RunnerOutput::JobEnded(job, result, why) => Output::JobEnded(job, result, why),
            RunnerOutput::Exit(code, text) => Output::Exit(code, text),
        });
    }
}
