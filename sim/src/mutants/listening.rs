//! The listener program with one thing bent, and the operators that bend it. Never a switch of a release.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_api::kube::{Body, KubeOk, KubeRequest, Patch};
use arc_api::service::{Exception, Op, ServiceOk, ServiceRequest};
use arc_api::{MessageId, Time};
use controller_core::call::CallError;
use controller_core::client::AttemptId;
use controller_core::listener::{Input, Listener, Output, Setup};
use controller_core::own::{DynListener, ListenerProgram};

/// What becomes of something that the listener does.
pub(super) enum Fate {
    /// It is done, perhaps changed.
    Do(Output),
    /// It is not done; this comes back.
    Pretend(Input),
}

/// What becomes of an answer.
pub(super) enum Answer {
    /// The listener gets it, perhaps changed.
    Take(Input),
    /// The request is made once more.
    Again,
    /// The process ends.
    Exit,
    /// This is asked first, and the listener gets the answer of its own request when that is done.
    First(Op, Input),
}

/// What is bent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bend {
    pub(super) setup: fn(&mut Setup),
    pub(super) output: fn(Output) -> Fate,
    pub(super) answer: fn(&ServiceRequest, Input) -> Answer,
    pub(super) patch: fn(&mut Patch),
    pub(super) written: fn(Input) -> Input,
}

impl Bend {
    pub(super) const NONE: Bend = Bend {
        setup: |_| {},
        output: Fate::Do,
        answer: |_, input| Answer::Take(input),
        patch: |_| {},
        written: |input| input,
    };
}

impl ListenerProgram for Bend {
    fn start(&self, setup: Arc<Setup>, now: Time) -> Box<dyn DynListener> {
        let mut setup = setup;
        (self.setup)(Arc::make_mut(&mut setup));
        Box::new(Bent {
            inner: Listener::new(setup, now),
            bend: *self,
            asked: Vec::new(),
            pretended: VecDeque::new(),
            out: VecDeque::new(),
            waiting: None,
            now,
        })
    }
}

/// Names of requests that the listener itself did not make start here; its own never come so far.
const EXTRA: u64 = 1 << 30;

#[derive(Clone, Debug)]
struct Bent {
    inner: Listener,
    bend: Bend,
    /// Requests under way.
    asked: Vec<(AttemptId, ServiceRequest)>,
    /// What comes back of what was not done.
    pretended: VecDeque<Input>,
    out: VecDeque<Output>,
    /// An answer that waits until something else is done.
    waiting: Option<(AttemptId, Input)>,
    now: Time,
}

impl DynListener for Bent {
    fn handle(&mut self, input: Input, now: Time) {
        self.now = now;
        let Input::Http(attempt, _) = &input else { return self.inner.handle((self.bend.written)(input), now) };
        let attempt = *attempt;
        if let Some((_, held)) = self.waiting.take_if(|(first, _)| *first == attempt) {
            return self.inner.handle(held, now);
        }
        let Some(at) = self.asked.iter().position(|(a, _)| *a == attempt) else {
            return self.inner.handle(input, now);
        };
        let (_, request) = self.asked.remove(at);
        match (self.bend.answer)(&request, input) {
            Answer::Take(input) => self.inner.handle(input, now),
            Answer::Again => {
                self.asked.push((attempt, request.clone()));
                self.out.push_back(Output::Send { attempt, request });
                self.inner.handle(Input::Wake, now);
            }
            Answer::Exit => {
                self.out.push_back(Output::Exit { code: 1, text: "gives up".into() });
                self.inner.handle(Input::Wake, now);
            }
            Answer::First(op, input) => {
                let first = AttemptId(EXTRA + attempt.0);
                self.waiting = Some((first, input));
                let request = ServiceRequest { auth: request.auth, op };
                self.out.push_back(Output::Send { attempt: first, request });
                self.inner.handle(Input::Wake, now);
            }
        }
    }

    fn poll(&mut self) -> Output {
        if let Some(output) = self.out.pop_front() {
            return output;
        }
        loop {
            let mut output = self.inner.poll();
            if let Output::WaitUntil { .. } = output {
                match self.pretended.pop_front() {
                    Some(input) => {
                        self.inner.handle(input, self.now);
                        continue;
                    }
                    None => return output,
                }
            }
            if let Output::Kube { request: KubeRequest::Patch { patch, .. }, .. } = &mut output {
                (self.bend.patch)(Arc::make_mut(patch));
            }
            match (self.bend.output)(output) {
                Fate::Pretend(input) => self.pretended.push_back(input),
                Fate::Do(output) => {
                    match &output {
                        Output::Send { attempt, request } => self.asked.push((*attempt, request.clone())),
                        Output::Abort { attempt } => self.asked.retain(|(a, _)| a != attempt),
                        _ => {}
                    }
                    return output;
                }
            }
        }
    }

    fn clone_box(&self) -> Box<dyn DynListener> {
        Box::new(self.clone())
    }
}

/// Does not send this operation; the service is believed to have done it.
fn unsent(output: Output, op: &str, answer: ServiceOk) -> Fate {
    match output {
        Output::Send { attempt, request } if request.op.name() == op => Fate::Pretend(Input::Http(attempt, Ok(answer))),
        other => Fate::Do(other),
    }
}
/// Does not make patches that `wanted` picks; they are believed to be made.
fn unpatched(output: Output, wanted: fn(&Body) -> bool) -> Fate {
    match output {
        Output::Kube { write, request: KubeRequest::Patch { patch, .. } } if wanted(&patch.body) => {
            Fate::Pretend(Input::Kube(write, Ok(KubeOk::Done)))
        }
        other => Fate::Do(other),
    }
}
fn status(input: &Input) -> u16 {
    match input {
        Input::Http(_, Err(CallError::Service(e))) => e.status,
        _ => 0,
    }
}
fn is_conflict(input: &Input) -> bool {
    matches!(input, Input::Http(_, Err(CallError::Service(e))) if e.exception == Exception::SessionConflict)
}
fn to_zero(body: &Body) -> bool {
    matches!(body, Body::ErsSpec { replicas: Some(0), .. })
}

/// An operator by its id.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    pub(super) bend: Bend,
}

macro_rules! rows {
    ($($id:literal $what:literal { $($part:ident: $bend:expr),* })*) => {
        vec![$(Row { id: $id, what: $what, bend: Bend { $($part: $bend,)* ..Bend::NONE } }),*]
    };
}

/// All operators on the listener.
pub(super) fn rows() -> Vec<Row> {
    rows! {
        "li-never-acknowledges" "Messages are never deleted." {
            output: |o| unsent(o, "delete_message", ServiceOk::Done)
        }
        "li-acknowledges-first" "A message is deleted before anything is done about it." {
            output: |o| unsent(o, "delete_message", ServiceOk::Done),
            answer: |request, input| match (&request.op, &input) {
                (Op::GetMessage { id, .. }, Input::Http(_, Ok(ServiceOk::Message(message)))) => {
                    Answer::First(Op::DeleteMessage { id: *id, message: message.id }, input)
                }
                _ => Answer::Take(input),
            }
        }
        "li-empty-poll-ignored" "A poll that brings nothing is followed by the next one, and by nothing else." {
            answer: |request, input| match (&request.op, &input) {
                (Op::GetMessage { .. }, Input::Http(_, Ok(ServiceOk::Nothing))) => Answer::Again,
                _ => Answer::Take(input),
            }
        }
        "li-cursor-lost" "Every poll begins at the oldest message." {
            output: |o| match o {
                Output::Send { attempt, mut request } => {
                    if let Op::GetMessage { last, .. } = &mut request.op { *last = MessageId(0) }
                    Fate::Do(Output::Send { attempt, request })
                }
                other => Fate::Do(other),
            }
        }
        "li-exits-on-401" "The process ends when its token has run out." {
            answer: |_, input| if status(&input) == 401 { Answer::Exit } else { Answer::Take(input) }
        }
        "li-exits-on-500" "The process ends when the service fails." {
            answer: |_, input| if status(&input) >= 500 { Answer::Exit } else { Answer::Take(input) }
        }
        "li-exits-on-transport-error" "The process ends when a connection does." {
            answer: |_, input| match &input {
                Input::Http(_, Err(CallError::Transport(_))) => Answer::Exit,
                _ => Answer::Take(input),
            }
        }
        "li-hammers-a-conflict" "A session that is refused is asked for again at once." {
            answer: |_, input| if is_conflict(&input) { Answer::Again } else { Answer::Take(input) }
        }
        "li-exits-on-conflict" "The process ends when its session is refused." {
            answer: |_, input| if is_conflict(&input) { Answer::Exit } else { Answer::Take(input) }
        }
        "li-session-not-closed" "The session is not deleted at the end." {
            output: |o| unsent(o, "delete_session", ServiceOk::Done)
        }
        "li-acquires-nothing" "Offers are not taken up." {
            output: |o| unsent(o, "acquire_jobs", ServiceOk::Acquired(Vec::new()))
        }
        "li-believes-it-acquired" "Offers are taken up without asking the service." {
            output: |o| match o {
                Output::Send { attempt, request: ServiceRequest { op: Op::AcquireJobs { requests, .. }, .. } } => {
                    Fate::Pretend(Input::Http(attempt, Ok(ServiceOk::Acquired(requests.unwrap_or_default()))))
                }
                other => Fate::Do(other),
            }
        }
        "li-offers-not-sought" "Offers that were missed are not asked for." {
            output: |o| unsent(o, "acquirable_jobs", ServiceOk::Acquirable(Vec::new()))
        }
        "li-target-not-written" "The target is not written." {
            output: |o| unpatched(o, |b| matches!(b, Body::ErsSpec { .. }))
        }
        "li-zero-not-written" "A target of zero is not written." { output: |o| unpatched(o, to_zero) }
        "li-target-one-short" "The target is one too low." {
            patch: |p| if let Body::ErsSpec { replicas: Some(n), .. } = &mut p.body { *n = (*n - 1).max(0) }
        }
        "li-target-one-more" "The target is one too high." {
            patch: |p| if let Body::ErsSpec { replicas: Some(n), .. } = &mut p.body { *n += 1 }
        }
        "li-patch-id-never-zero" "An empty poll does not force a comparison in both directions." {
            patch: |p| if let Body::ErsSpec { patch_id: Some(id), .. } = &mut p.body { *id = (*id).max(1) }
        }
        "li-patch-id-always-zero" "Every target forces a comparison in both directions." {
            patch: |p| if let Body::ErsSpec { patch_id: Some(id), .. } = &mut p.body { *id = 0 }
        }
        "li-patch-id-stands-still" "The patch id is not counted." {
            patch: |p| if let Body::ErsSpec { patch_id: Some(id), .. } = &mut p.body { *id = (*id).min(1) }
        }
        "li-job-not-written" "What a runner works on is not written to its status." {
            output: |o| unpatched(o, |b| matches!(b, Body::ErStatus(s) if s.job.is_some()))
        }
        "li-conditions-not-written" "What keeps the listener from listening is not written to its status." {
            output: |o| unpatched(o, |b| matches!(b, Body::AlStatus(_)))
        }
        "li-patch-error-swallowed" "A write that failed is taken for done." {
            written: |input| match input {
                Input::Kube(write, Err(_)) => Input::Kube(write, Ok(KubeOk::Done)),
                other => other,
            }
        }
        "li-max-off-by-one" "The limit is one too high." {
            setup: |s| s.config.max_runners = s.config.max_runners.saturating_add(1)
        }
        "li-max-ignored" "There is no limit." { setup: |s| s.config.max_runners = i32::MAX }
        "li-min-ignored" "No idle runners are kept." { setup: |s| s.config.min_runners = 0 }
        "li-capacity-too-high" "The service is told a capacity that is one too high." {
            output: |o| match o {
                Output::Send { attempt, mut request } => {
                    if let Op::GetMessage { capacity: Some(n), .. } = &mut request.op { *n = n.saturating_add(1) }
                    Fate::Do(Output::Send { attempt, request })
                }
                other => Fate::Do(other),
            }
        }
        "li-capacity-zero" "The service is told that there is no capacity." {
            output: |o| match o {
                Output::Send { attempt, mut request } => {
                    if let Op::GetMessage { capacity: Some(n), .. } = &mut request.op { *n = 0 }
                    Fate::Do(Output::Send { attempt, request })
                }
                other => Fate::Do(other),
            }
        }
    }
}
