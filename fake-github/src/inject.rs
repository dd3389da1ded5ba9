//! Messages that somebody put into a scale set's log: about jobs and runners that nobody knows, or such as nobody can read.
//! Never invents one by itself.

use std::sync::Arc;

use arc_api::service::{JobEvent, JobEventKind, JobInfo, JobResult, Malformed, Message, ServiceOk, ServiceReply};
use arc_api::{JobId, MessageId, RequestId, RunnerId, ScaleSetId, Time};

use crate::event::EventType;
use crate::state::GitHub;

/// What a message that was put into a log says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Injected {
    /// An event about a job and a runner that nobody knows.
    Event(EventType),
    /// No events at all.
    EmptyArray,
    /// One event of a type that nobody knows.
    UnknownEvent,
    /// A body that is not what its envelope says: [`Malformed::Truncated`], or an envelope of an unknown type.
    Unreadable(Malformed),
}

/// Number of the runner and request that nobody knows (c_msg_crash).
const GHOST: i64 = 4711;

impl GitHub {
    /// Puts a message into a scale set's log; an open poll is answered with it at once.
    pub fn inject_message(&mut self, id: ScaleSetId, what: Injected, now: Time) -> Option<MessageId> {
        self.advance(now);
        let statistics = self.set(id).map(|set| self.statistics(set))?;
        let job = Arc::new(JobInfo {
            id: JobId(u64::MAX),
            request: RequestId(GHOST),
            display_name: "ghost".into(),
            repository: "my-org/app".into(),
            workflow_ref: "my-org/app/.github/workflows/ci.yml@refs/heads/main".into(),
            workflow_run: GHOST,
        });
        let (runner, runner_name) = (RunnerId(GHOST), "ghost-runner".into());
        let kind = match what {
            Injected::Event(EventType::Available) => Some(JobEventKind::Available),
            Injected::Event(EventType::Assigned) => Some(JobEventKind::Assigned),
            Injected::Event(EventType::Started) => Some(JobEventKind::Started { runner, runner_name }),
            Injected::Event(EventType::Completed) => {
                Some(JobEventKind::Completed { runner, runner_name, result: JobResult::Succeeded })
            }
            Injected::UnknownEvent => Some(JobEventKind::Unknown),
            Injected::EmptyArray | Injected::Unreadable(_) => None,
        };
        let events = kind.map(|kind| JobEvent { kind, job }).into_iter().collect();
        let set = self.set_mut(id)?;
        let number = set.next_message;
        set.next_message = MessageId(number.0 + 1);
        set.messages.push_back(Arc::new(Message { id: number, events, statistics }));
        if let Injected::Unreadable(why) = what {
            set.unreadable.push((number, why));
        }
        self.pump(id, now);
        Some(number)
    }

    /// Takes a message out of a log by hand. Says whether it was still there.
    pub fn remove_message(&mut self, id: ScaleSetId, message: MessageId, now: Time) -> bool {
        self.advance(now);
        let Some(set) = self.set_mut(id) else { return false };
        let before = set.messages.len();
        set.messages.retain(|kept| kept.id != message);
        set.unreadable.retain(|(kept, _)| *kept != message);
        set.messages.len() < before
    }

    /// An answer with a message that nobody can read.
    pub(crate) fn unreadable(&self, id: ScaleSetId, reply: ServiceReply) -> ServiceReply {
        let Ok(ServiceOk::Message(message)) = &reply else { return reply };
        let why = self.set(id).and_then(|set| set.unreadable.iter().find(|(kept, _)| *kept == message.id).copied());
        match why {
            Some((id, why)) => Ok(ServiceOk::Poison { id, why }),
            None => reply,
        }
    }
}
