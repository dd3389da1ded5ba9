//! A service and an API server small enough to be read at a glance, and a loop that runs a listener against them.
//!
//! **Never**: imitates more of GitHub than these tests need; the real imitation is the `fake-github` crate.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use arc_api::kube::{KubeOk, Reason};
use arc_api::service::*;
use arc_api::{JobId, MessageId, RequestId, RunnerId, ScaleSetId, SessionId, Str, Time};

use super::*;
use crate::behaviour::Behaviour;
use crate::{Release, listener_config::ListenerConfig};

pub(super) const HOLD: u64 = 50;
pub(super) const LATENCY: Duration = Duration::from_micros(1);

/// What happens to one attempt.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// Refused with this status.
    Status(u16),
    /// Carried out, reply lost.
    Drop,
    /// Never answered, not carried out.
    Hole,
    /// Carried out, answered after so many seconds.
    Slow(u64),
    /// Answered so, not carried out.
    Answer(ServiceOk),
    /// The scale set is gone.
    Gone,
}

#[derive(Clone, Debug)]
pub(super) enum Event {
    Http(AttemptId, Result<ServiceOk, CallError>),
    Kube(WriteId, Result<KubeOk, CallError>),
    Terminate,
    Say(Message),
    Faults(&'static str, u32, Fault),
    EndSession,
}

pub(super) struct Rig {
    pub(super) listener: Listener,
    pub(super) now: Time,
    events: BTreeMap<(Time, u64), Event>,
    seq: u64,
    faults: BTreeMap<&'static str, VecDeque<(u32, Fault)>>,
    /// Status of the next patches: of sets, of runners.
    pub(super) kube_faults: BTreeMap<&'static str, VecDeque<Option<Reason>>>,
    pub(super) held: Option<(SessionId, Time)>,
    pub(super) queue: BTreeMap<i64, Message>,
    pub(super) statistics: Option<Statistics>,
    pub(super) offers: Vec<JobEvent>,
    /// Requests that somebody else took.
    pub(super) taken: Vec<i64>,
    pub(super) admin_life: u64,
    pub(super) parked: Option<(AttemptId, MessageId)>,
    pub(super) counter: u64,
    record: Vec<(Time, String)>,
    pub(super) exited: Option<(i32, Str)>,
}

pub(super) fn statistics(available: i32, assigned: i32) -> Statistics {
    Statistics { total_available_jobs: available, total_assigned_jobs: assigned, ..Statistics::default() }
}
pub(super) fn event(kind: JobEventKind, request: i64) -> JobEvent {
    let job = JobInfo {
        id: JobId(request as u64),
        request: RequestId(request),
        display_name: "build".into(),
        repository: "my-org/app".into(),
        workflow_ref: "ci.yml@main".into(),
        workflow_run: 9,
    };
    JobEvent { kind, job: Arc::new(job) }
}
pub(super) fn offer(request: i64) -> JobEvent {
    event(JobEventKind::Available, request)
}
pub(super) fn assigned(request: i64) -> JobEvent {
    event(JobEventKind::Assigned, request)
}
pub(super) fn started(request: i64) -> JobEvent {
    event(JobEventKind::Started { runner: RunnerId(5), runner_name: format!("r{request}").into() }, request)
}
pub(super) fn completed(request: i64) -> JobEvent {
    let result = JobResult::Succeeded;
    event(JobEventKind::Completed { runner: RunnerId(5), runner_name: "r".into(), result }, request)
}
pub(super) fn message(id: i64, events: &[JobEvent], statistics: Statistics) -> Message {
    Message { id: MessageId(id), events: events.to_vec(), statistics }
}
pub(super) fn setup(behaviour: Behaviour, min: i32, max: i32) -> Arc<Setup> {
    Arc::new(Setup {
        config: ListenerConfig {
            configure_url: "https://ghes/my-org".into(),
            credentials: Credentials::Pat("pat".into()),
            runner_scale_set_id: ScaleSetId(41),
            runner_scale_set_name: "demo".into(),
            ephemeral_runner_set_namespace: "arc-runners".into(),
            ephemeral_runner_set_name: "demo-abcde".into(),
            max_runners: max,
            min_runners: min,
            server_root_ca: Str::default(),
            metrics: None,
        },
        behaviour: Arc::new(behaviour),
        owner: "demo-listener".into(),
        listener: Key::new("arc-systems", "demo-listener"),
        jitter: 7,
    })
}

impl Rig {
    pub(super) fn new(release: Release, min: i32, max: i32) -> Rig {
        Rig::with(Behaviour::of(release), min, max)
    }
    pub(super) fn with(behaviour: Behaviour, min: i32, max: i32) -> Rig {
        Rig {
            listener: Listener::new(setup(behaviour, min, max), Time::ZERO),
            now: Time::ZERO,
            events: BTreeMap::new(),
            seq: 0,
            faults: BTreeMap::new(),
            kube_faults: BTreeMap::new(),
            held: None,
            queue: BTreeMap::new(),
            statistics: Some(Statistics::default()),
            offers: Vec::new(),
            taken: Vec::new(),
            admin_life: 1_000_000,
            parked: None,
            counter: 0,
            record: Vec::new(),
            exited: None,
        }
    }
    /// The next `times` attempts of an operation fail so.
    pub(super) fn fault(&mut self, code: &'static str, times: u32, fault: Fault) -> &mut Rig {
        self.faults.entry(code).or_default().push_back((times, fault));
        self
    }
    pub(super) fn fault_at(&mut self, at: u64, code: &'static str, times: u32, fault: Fault) -> &mut Rig {
        self.at(Time::from_secs(at), Event::Faults(code, times, fault));
        self
    }
    pub(super) fn say(&mut self, at: u64, id: i64, events: &[JobEvent], statistics: Statistics) -> &mut Rig {
        self.at(Time::from_secs(at), Event::Say(message(id, events, statistics)));
        self
    }
    pub(super) fn terminate(&mut self, at: u64) -> &mut Rig {
        self.at(Time::from_secs(at), Event::Terminate);
        self
    }
    /// Another session is held until then.
    pub(super) fn ghost(&mut self, until: u64) -> &mut Rig {
        self.held = Some((SessionId(999), Time::from_secs(until)));
        self
    }
    pub(super) fn end_session(&mut self, at: u64) -> &mut Rig {
        self.at(Time::from_secs(at), Event::EndSession);
        self
    }
    pub(super) fn at(&mut self, at: Time, event: Event) {
        self.seq += 1;
        self.events.insert((at, self.seq), event);
    }
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.record.push((self.now, text.into()));
    }
    /// Everything noted, without times and polls.
    pub(super) fn calls(&self) -> String {
        let all = self.record.iter().map(|(_, t)| t.as_str());
        all.filter(|t| !t.starts_with("E10") && *t != "202" && !matches!(*t, "B" | "C")).collect::<Vec<_>>().join(" ")
    }
    /// Everything noted that begins with one of these, with times in whole seconds.
    pub(super) fn timed(&self, prefixes: &[&str]) -> String {
        let wanted = |t: &str| prefixes.iter().any(|p| t.starts_with(p));
        let all = self.record.iter().filter(|(_, t)| wanted(t));
        all.map(|(at, t)| format!("{}:{t}", at.secs())).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn run(&mut self, until: u64) -> &mut Rig {
        let until = Time::from_secs(until);
        loop {
            let wake = self.drain();
            if self.exited.is_some() {
                return self;
            }
            assert!(wake > self.now, "a wake-up that is not in the future: {wake} at {}", self.now);
            let next = self.events.first_key_value().map_or(Time::NEVER, |((at, _), _)| *at);
            if wake.min(next) > until {
                self.now = until;
                return self;
            }
            self.now = wake.min(next);
            if wake < next {
                self.listener.handle(Input::Wake, self.now);
                continue;
            }
            let ((..), event) = self.events.pop_first().expect("looked at");
            match event {
                Event::Http(attempt, reply) => {
                    if self.parked.is_some_and(|(a, _)| a == attempt) {
                        self.parked = None;
                        self.note("202");
                    }
                    self.listener.handle(Input::Http(attempt, reply), self.now);
                }
                Event::Kube(write, reply) => self.listener.handle(Input::Kube(write, reply), self.now),
                Event::Terminate => {
                    self.note("TERM");
                    self.listener.handle(Input::Terminate, self.now);
                }
                Event::Say(message) => {
                    self.statistics = Some(message.statistics);
                    self.queue.insert(message.id.0, message);
                    self.answer_parked();
                    self.listener.handle(Input::Wake, self.now);
                }
                Event::Faults(code, times, fault) => {
                    self.fault(code, times, fault);
                    self.listener.handle(Input::Wake, self.now);
                }
                Event::EndSession => {
                    self.held = None;
                    if let Some((attempt, _)) = self.parked.take() {
                        self.answer(attempt, Err(refusal(401)));
                    }
                    self.listener.handle(Input::Wake, self.now);
                }
            }
        }
    }

    fn drain(&mut self) -> Time {
        loop {
            match self.listener.poll() {
                Output::WaitUntil { at, .. } => return at,
                Output::Send { attempt, request } => self.receive(attempt, request),
                Output::Abort { attempt } => {
                    self.events.retain(|_, e| !matches!(e, Event::Http(a, _) if *a == attempt));
                    self.parked = self.parked.filter(|(a, _)| *a != attempt);
                    self.note("abort");
                }
                Output::AbortKube { write } => {
                    self.events.retain(|_, e| !matches!(e, Event::Kube(w, _) if *w == write));
                    self.note("abort-patch");
                }
                Output::Kube { write, request } => self.patch(write, request),
                Output::Log(_) => {}
                Output::Exit { code, text } => {
                    self.note(format!("exit{code}"));
                    self.exited = Some((code, text));
                }
            }
        }
    }
    pub(super) fn answer(&mut self, attempt: AttemptId, reply: Result<ServiceOk, CallError>) {
        self.at(self.now.after(LATENCY), Event::Http(attempt, reply));
    }
    fn answer_parked(&mut self) {
        if let Some((attempt, last)) = self.parked
            && let Some(message) = self.queue.values().find(|m| m.id > last).cloned()
        {
            self.parked = None;
            self.events.retain(|_, e| !matches!(e, Event::Http(a, _) if *a == attempt));
            self.answer(attempt, Ok(ServiceOk::Message(Arc::new(message))));
        }
    }
    pub(super) fn take_fault(&mut self, code: &str) -> Option<Fault> {
        let list = self.faults.get_mut(code)?;
        let (times, fault) = list.front_mut()?;
        let fault = fault.clone();
        *times -= 1;
        if *times == 0 {
            list.pop_front();
        }
        Some(fault)
    }
}

pub(super) fn refusal(status: u16) -> CallError {
    CallError::Service(Arc::new(ServiceError::new(status, Exception::None, "no")))
}
