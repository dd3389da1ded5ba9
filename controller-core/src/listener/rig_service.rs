//! The service and the API server of [`super::rig`]: one scale set, one session, one queue.
//!
//! **Never**: counts jobs; tests say what the statistics are.

use std::collections::VecDeque;
use std::sync::Arc;

use arc_api::kube::{Body, KubeOk, Reason, Status};
use arc_api::service::*;
use arc_api::{ScaleSetId, SessionId, Token};

use super::rig::*;
use super::*;
use crate::call::Transport;

impl Rig {
    pub(super) fn receive(&mut self, attempt: AttemptId, request: ServiceRequest) {
        let code = match request.op.code() {
            "registration-token" => "B",
            "runner-registration" => "C",
            code => code,
        };
        let detail = match &request.op {
            Op::AcquireJobs { requests: None, .. } => "(null)".to_owned(),
            Op::AcquireJobs { requests: Some(ids), .. } => {
                format!("({})", ids.iter().map(|r| r.to_string()).collect::<Vec<_>>().join(","))
            }
            Op::DeleteMessage { message, .. } => format!("({message})"),
            Op::GetMessage { last, capacity, .. } => match capacity {
                None => format!("({last})"),
                Some(c) => format!("({last},{c})"),
            },
            _ => String::new(),
        };
        let fault = self.take_fault(code);
        let mark = match &fault {
            None | Some(Fault::Slow(_)) => String::new(),
            Some(Fault::Status(s)) => format!("!{s}"),
            Some(Fault::Drop) => "!drop".to_owned(),
            Some(Fault::Hole) => "!hole".to_owned(),
            Some(Fault::Answer(_)) => "!odd".to_owned(),
            Some(Fault::Gone) => "!gone".to_owned(),
        };
        match fault {
            Some(Fault::Status(status)) => {
                self.note(format!("{code}{detail}{mark}"));
                self.answer(attempt, Err(refusal(status)));
            }
            Some(Fault::Hole) => self.note(format!("{code}{detail}{mark}")),
            Some(Fault::Gone) => {
                self.note(format!("{code}{detail}{mark}"));
                let e = ServiceError::new(404, Exception::ScaleSetNotFound, "No runner scale set found.");
                self.answer(attempt, Err(CallError::Service(Arc::new(e))));
            }
            Some(Fault::Answer(ok)) => {
                self.note(format!("{code}{detail}{mark}"));
                self.answer(attempt, Ok(ok));
            }
            fault => {
                let reply = self.serve(attempt, &request.op);
                let status = match &reply {
                    Some(Err(CallError::Service(e))) => format!("!{}", e.status),
                    _ => String::new(),
                };
                self.note(format!("{code}{detail}{mark}{status}"));
                let Some(reply) = reply else { return };
                match fault {
                    Some(Fault::Drop) => self.answer(attempt, Err(CallError::Transport(Transport::Reset))),
                    Some(Fault::Slow(s)) => {
                        self.at(self.now.after(Duration::from_secs(s)), Event::Http(attempt, reply))
                    }
                    _ => self.answer(attempt, reply),
                }
            }
        }
    }
    /// `None`: the poll is parked.
    fn serve(&mut self, attempt: AttemptId, op: &Op) -> Option<Result<ServiceOk, CallError>> {
        self.counter += 1;
        let token = Token(self.counter);
        let session = |rig: &Rig, id| {
            ServiceOk::Session(Arc::new(Session {
                id,
                owner: "demo-listener".into(),
                scale_set: ScaleSetId(41),
                queue_token: token,
                statistics: rig.statistics,
            }))
        };
        Some(match op {
            Op::RegistrationToken { .. } => Ok(ServiceOk::Token(token)),
            Op::RunnerRegistration { .. } => {
                Ok(ServiceOk::Admin { token, expires: self.now.after(Duration::from_secs(self.admin_life)) })
            }
            Op::CreateSession { .. } => match self.held {
                Some((_, until)) if until > self.now => {
                    let text = "The runner scale set demo already has an active session for owner other-listener.";
                    let e = ServiceError::new(409, Exception::SessionConflict, text);
                    Err(CallError::Service(Arc::new(e)))
                }
                _ => {
                    let id = SessionId(self.counter);
                    self.held = Some((id, Time::NEVER));
                    Ok(session(self, id))
                }
            },
            Op::RefreshSession { session: id, .. } => match self.held {
                Some((held, _)) if held == *id => Ok(session(self, held)),
                _ => Err(refusal(404)),
            },
            Op::DeleteSession { session, .. } => match self.held {
                Some((held, _)) if held == *session => {
                    self.held = None;
                    Ok(ServiceOk::Done)
                }
                _ => Err(refusal(404)),
            },
            Op::GetMessage { last, .. } => {
                if let Some(message) = self.queue.values().find(|m| m.id > *last).cloned() {
                    return Some(Ok(ServiceOk::Message(Arc::new(message))));
                }
                self.parked = Some((attempt, *last));
                self.at(self.now.after(Duration::from_secs(HOLD)), Event::Http(attempt, Ok(ServiceOk::Nothing)));
                return None;
            }
            Op::DeleteMessage { message, .. } => {
                self.queue.remove(&message.0);
                Ok(ServiceOk::Done)
            }
            Op::AcquireJobs { requests, .. } => {
                let ids = requests.iter().flatten().copied();
                Ok(ServiceOk::Acquired(ids.filter(|r| !self.taken.contains(&r.0)).collect()))
            }
            Op::GetAcquirableJobs(_) => Ok(ServiceOk::Acquirable(self.offers.clone())),
            other => panic!("a listener does not send {other:?}"),
        })
    }

    pub(super) fn patch(&mut self, write: WriteId, request: KubeRequest) {
        let KubeRequest::Patch { patch, .. } = request else { panic!("a listener only patches: {request:?}") };
        let (what, text) = match &patch.body {
            Body::ErsSpec { replicas: Some(r), patch_id: None } => ("set", format!("set={r}")),
            Body::ErsSpec { replicas: Some(r), patch_id: Some(id) } => ("set", format!("set={r}/{id}")),
            Body::ErStatus(p) if p.job.is_none() => ("end", "end".to_owned()),
            Body::ErStatus(p) => {
                let with_id = p.job.as_ref().is_some_and(|j| j.job_id.is_some());
                ("run", if with_id { "run+id".to_owned() } else { "run".to_owned() })
            }
            Body::AlStatus(p) => {
                let all = p.conditions.iter().flat_map(|c| c.iter());
                let list: Vec<String> =
                    all.map(|c| format!("{}{}", if c.status { "" } else { "!" }, c.type_)).collect();
                ("al", format!("al[{}]", list.join("+")))
            }
            other => panic!("a listener does not patch {other:?}"),
        };
        let fault = self.kube_faults.get_mut(what).and_then(VecDeque::pop_front).flatten();
        match fault {
            None => {
                self.note(text);
                self.at(self.now.after(LATENCY), Event::Kube(write, Ok(KubeOk::Done)));
            }
            Some(Reason::Timeout) => self.note(format!("{text}!hole")),
            Some(reason) => {
                self.note(format!("{text}!{}", reason.code()));
                let error = CallError::Api(Arc::new(Status::new(reason, "refused")));
                self.at(self.now.after(LATENCY), Event::Kube(write, Err(error)));
            }
        }
    }
    pub(super) fn kube_fault(&mut self, what: &'static str, faults: &[Option<Reason>]) -> &mut Rig {
        self.kube_faults.entry(what).or_default().extend(faults.iter().copied());
        self
    }
}
