//! Calls in flight: what was sent, by whom, and what came back. A call's slot is re-used; its generation is not.

use std::sync::Arc;

use arc_api::kube::KubeRequest;
use arc_api::service::ServiceRequest;
use arc_api::{Str, Time};
use controller_core::call::Reply;

use super::{ProcId, SiteId};
use crate::trace::{EventId, TripId};

/// A call in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CallId {
    slot: u32,
    generation: u32,
}

/// What a process asked for, so that it knows which part of it gets the reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Tag {
    /// A manager's worker.
    Worker(u16),
    /// An HTTP attempt of one of a manager's service clients.
    Attempt {
        /// Client.
        client: u16,
        /// Its number for the attempt.
        attempt: u64,
    },
    /// The LIST that opens a manager's watch, by slot of the kind.
    List(u8),
    /// A manager's leader election.
    Lease,
    /// One of a runner's conversations.
    Runner(crate::process::runner::Slot),
    /// A process with one machine: its own number for the call.
    Own(u64),
}

/// The two roads. A request is looked at in many places and never changed on its way: shared.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Body {
    /// To an API server.
    Kube(SiteId, Arc<KubeRequest>),
    /// To the service.
    Service(Arc<ServiceRequest>),
}

/// One call.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    pub(crate) proc: ProcId,
    pub(crate) tag: Tag,
    pub(crate) body: Body,
    pub(crate) reply: Option<Reply>,
    pub(crate) cause: EventId,
    /// The caller died or gave up: the request may still be carried out, nobody hears the reply.
    pub(crate) orphaned: bool,
    /// The reply will not come back, for this reason.
    pub(crate) lose_reply: Option<&'static str>,
    pub(crate) sent: Time,
    /// Its trip in the trace.
    pub(crate) trip: TripId,
    /// A fault has held it up on arrival: it is not met twice.
    pub(crate) held: bool,
    /// A DELETE that has read its object and not written yet.
    pub(crate) deleting: Option<Box<fake_kube::PendingDelete>>,
}

/// All calls in flight.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls {
    slots: Vec<(u32, Option<InFlight>)>,
    free: Vec<u32>,
    live: u32,
}

impl Calls {
    pub(crate) fn insert(&mut self, call: InFlight) -> CallId {
        self.live += 1;
        match self.free.pop() {
            Some(slot) => {
                let entry = &mut self.slots[slot as usize];
                entry.1 = Some(call);
                CallId { slot, generation: entry.0 }
            }
            None => {
                self.slots.push((0, Some(call)));
                CallId { slot: self.slots.len() as u32 - 1, generation: 0 }
            }
        }
    }
    pub(crate) fn get_mut(&mut self, id: CallId) -> Option<&mut InFlight> {
        let (generation, call) = self.slots.get_mut(id.slot as usize)?;
        if *generation == id.generation { call.as_mut() } else { None }
    }
    pub(crate) fn get(&self, id: CallId) -> Option<&InFlight> {
        let (generation, call) = self.slots.get(id.slot as usize)?;
        if *generation == id.generation { call.as_ref() } else { None }
    }
    pub(crate) fn iter(&self) -> impl Iterator<Item = &InFlight> {
        self.slots.iter().filter_map(|(_, call)| call.as_ref())
    }
    pub(crate) fn remove(&mut self, id: CallId) -> Option<InFlight> {
        let (generation, call) = self.slots.get_mut(id.slot as usize)?;
        if *generation != id.generation {
            return None;
        }
        let call = call.take()?;
        *generation += 1;
        self.free.push(id.slot);
        self.live -= 1;
        Some(call)
    }
    /// Calls of one process.
    pub(crate) fn of(&self, proc: ProcId) -> Vec<CallId> {
        self.ids().filter(|(_, c)| c.proc == proc).map(|(id, _)| id).collect()
    }
    /// The call a process made under `tag`.
    pub(crate) fn find(&self, proc: ProcId, tag: Tag) -> Option<CallId> {
        self.ids().find(|(_, c)| c.proc == proc && c.tag == tag && !c.orphaned).map(|(id, _)| id)
    }
    fn ids(&self) -> impl Iterator<Item = (CallId, &InFlight)> {
        self.slots.iter().enumerate().filter_map(|(slot, (generation, call))| {
            Some((CallId { slot: slot as u32, generation: *generation }, call.as_ref()?))
        })
    }
}

/// A few words on a call, for traces.
pub(crate) fn describe(body: &Body) -> Str {
    match body {
        Body::Kube(_, request) => {
            let plural = request.kind().map_or("accessreviews", arc_api::Kind::plural);
            let name = request.key().map(|k| k.name).unwrap_or_default();
            arc_api::format_smolstr!("{} {plural} {name}", request.verb())
        }
        Body::Service(request) => request.op.code().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::service::{Auth, Op};

    fn call(proc: u32) -> InFlight {
        InFlight {
            proc: ProcId(proc),
            tag: Tag::Own(1),
            body: Body::Service(Arc::new(ServiceRequest { auth: Auth::Admin(arc_api::Token(1)), op: Op::RunnerPoll })),
            reply: None,
            cause: 0,
            orphaned: false,
            lose_reply: None,
            sent: Time(0),
            trip: 0,
            held: false,
            deleting: None,
        }
    }

    #[test]
    fn a_reused_slot_is_another_call() {
        let mut calls = Calls::default();
        let first = calls.insert(call(1));
        assert!(calls.remove(first).is_some());
        let second = calls.insert(call(2));
        assert!(calls.get_mut(first).is_none());
        assert!(calls.get_mut(second).is_some());
        assert_eq!((calls.live as usize, calls.of(ProcId(2))), (1, vec![second]));
    }
}
