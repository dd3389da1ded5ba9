//! A listener process: the pure machine of `controller-core`, somebody else's, or a process that dies of its configuration at once.

use std::sync::Arc;

use arc_api::meta::Key;
use arc_api::{Str, Time};
use controller_core::Behaviour;
use controller_core::client::AttemptId;
use controller_core::listener::{Input as ListenerInput, Listener, Output as ListenerOutput, Setup, WriteId};
use controller_core::listener_config::ListenerConfig;
use controller_core::own::DynListener;
use controller_core::reconcile::Level;

use super::Tag;
use crate::own::OwnMachines;
use crate::process::{Input, Output};

/// Numbers of API writes start here, so that they never meet those of HTTP attempts.
const WRITES: u64 = 1 << 32;

#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a process lives in a box of its own, and nearly all of them are ours")]
enum AnyListener {
    Ours(Listener),
    Own(Box<dyn DynListener>),
}

impl AnyListener {
    fn handle(&mut self, input: ListenerInput, now: Time) {
        match self {
            AnyListener::Ours(l) => l.handle(input, now),
            AnyListener::Own(l) => l.handle(input, now),
        }
    }
    fn poll(&mut self) -> ListenerOutput {
        match self {
            AnyListener::Ours(l) => l.poll(),
            AnyListener::Own(l) => l.poll(),
        }
    }
}

/// What runs in a listener container.
#[derive(Clone, Debug)]
pub(crate) struct ListenerProcess {
    setup: Result<Arc<Setup>, Str>,
    starts_at: Time,
    machine: Option<AnyListener>,
    own: Arc<OwnMachines>,
}

impl ListenerProcess {
    pub(crate) fn new(
        config: Result<ListenerConfig, Str>,
        behaviour: Arc<Behaviour>,
        owner: Str,
        listener: Key,
        jitter: u64,
        starts_at: Time,
        own: Arc<OwnMachines>,
    ) -> ListenerProcess {
        let setup = config.map(|config| Arc::new(Setup { config, behaviour, owner, listener, jitter }));
        ListenerProcess { setup, starts_at, machine: None, own }
    }

    pub(crate) fn handle(&mut self, input: Input, now: Time, out: &mut Vec<Output>) {
        let Some(machine) = &mut self.machine else {
            match (&self.setup, input) {
                (_, Input::Term) => out.push(Output::Exit(143, Str::default())),
                (Err(text), _) => out.push(Output::Exit(1, text.clone())),
                (Ok(setup), _) if self.starts_at <= now => {
                    let mut machine = match self.own.listener() {
                        Some(own) => AnyListener::Own(own.start(setup.clone(), now)),
                        None => AnyListener::Ours(Listener::new(setup.clone(), now)),
                    };
                    drain(&mut machine, now, out);
                    self.machine = Some(machine);
                }
                (Ok(_), _) => out.push(Output::WakeAt(self.starts_at)),
            }
            return;
        };
        match input {
            Input::Service(Tag::Own(id), reply) => machine.handle(ListenerInput::Http(AttemptId(id), reply), now),
            Input::Kube(Tag::Own(id), reply) => machine.handle(ListenerInput::Kube(WriteId(id - WRITES), reply), now),
            Input::Wake => machine.handle(ListenerInput::Wake, now),
            Input::Term => machine.handle(ListenerInput::Terminate, now),
            Input::Start | Input::Service(..) | Input::Kube(..) | Input::Watch(..) | Input::WatchClosed(_) => return,
        }
        drain(machine, now, out);
    }
}

fn drain(machine: &mut AnyListener, now: Time, out: &mut Vec<Output>) {
    loop {
        out.push(match machine.poll() {
            ListenerOutput::Send { attempt, request } => Output::Service { tag: Tag::Own(attempt.0), request },
            ListenerOutput::Abort { attempt } => Output::Abort(Tag::Own(attempt.0)),
            ListenerOutput::Kube { write, request } => {
                Output::Kube { tag: Tag::Own(WRITES + write.0), request, at: now }
            }
            ListenerOutput::AbortKube { write } => Output::Abort(Tag::Own(WRITES + write.0)),
            ListenerOutput::Log(line) => {
                let level = match line.level {
                    Level::Info => "INFO",
                    Level::Error => "ERROR",
                };
                Output::Log(level, arc_api::format_smolstr!("{} {}", line.message, line.detail))
            }
            ListenerOutput::Exit { code, text } => {
                out.push(Output::Exit(code, text));
                return;
            }
            ListenerOutput::WaitUntil { at, .. } => {
                if at != Time::NEVER {
                    out.push(Output::WakeAt(at));
                }
                return;
            }
        });
    }
}
