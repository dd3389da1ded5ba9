//! A hand for tests: one tenant, its admin token, and short words for the calls. Asserts nothing by itself.
#![allow(dead_code)]

use std::sync::Arc;

use arc_api::service::*;
use arc_api::*;
use fake_github::{GitHub, JobSpec, Outcome, Personality, Profile, ServiceEvent, Settings, Ticket};

pub const ORG: &str = "my-org";
pub const URL: &str = "https://github.com/my-org";

pub struct World {
    pub github: GitHub,
    pub now: Time,
    pub admin: Token,
    /// Answers nobody has asked for yet.
    pub mailbox: std::collections::BTreeMap<Ticket, ServiceReply>,
}

/// What a listener holds after E7.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub set: ScaleSetId,
    pub session: SessionId,
    pub queue: Token,
}

impl World {
    pub fn new(profile: Profile) -> World {
        let mut github = GitHub::new(Settings { profile, ..Settings::default() });
        github.tune(None, |profile| profile.admin_ttl = Duration::MAX);
        let admin = github.issue_admin_token(ORG, Time::ZERO);
        World { github, now: Time::ZERO, admin, mailbox: Default::default() }
    }
    pub fn of(personality: Personality) -> World {
        World::new(Profile { personality, ..Profile::default() })
    }
    pub fn wait(&mut self, seconds: f64) {
        self.now = Time(self.now.0 + (seconds * 1e6) as u64);
        self.github.advance(self.now);
    }
    #[track_caller]
    pub fn call(&mut self, auth: Auth, op: Op) -> ServiceReply {
        match self.github.handle(&ServiceRequest { auth, op }, self.now) {
            Outcome::Reply(reply) => reply,
            Outcome::Parked(ticket) => panic!("parked: {ticket:?}"),
        }
    }
    #[track_caller]
    pub fn admin(&mut self, op: Op) -> ServiceReply {
        self.call(Auth::Admin(self.admin), op)
    }
    #[track_caller]
    pub fn create(&mut self, name: &str) -> ScaleSetId {
        let op = Op::CreateScaleSet { group: GroupId(1), name: name.into(), labels: vec![name.into()] };
        match self.admin(op) {
            Ok(ServiceOk::ScaleSet(Some(info))) => info.id,
            other => panic!("{other:?}"),
        }
    }
    pub fn try_listen(&mut self, set: ScaleSetId, owner: &str) -> Result<Held, Arc<ServiceError>> {
        match self.admin(Op::CreateSession { id: set, owner: owner.into() })? {
            ServiceOk::Session(session) => Ok(Held { set, session: session.id, queue: session.queue_token }),
            other => panic!("{other:?}"),
        }
    }
    #[track_caller]
    pub fn listen(&mut self, set: ScaleSetId) -> Held {
        self.try_listen(set, "listener").expect("no session is open")
    }
    pub fn poll(&mut self, held: Held, last: i64, capacity: i32) -> Outcome {
        let op = Op::GetMessage { id: held.set, last: MessageId(last), capacity: Some(capacity) };
        self.github.handle(&ServiceRequest { auth: Auth::Queue(held.queue), op }, self.now)
    }
    /// Polls and waits until the poll is answered.
    #[track_caller]
    pub fn poll_through(&mut self, held: Held, last: i64, capacity: i32) -> ServiceReply {
        match self.poll(held, last, capacity) {
            Outcome::Reply(reply) => reply,
            Outcome::Parked(ticket) => self.await_ticket(ticket),
        }
    }
    /// Runs the world until a parked call is answered.
    #[track_caller]
    pub fn await_ticket(&mut self, ticket: Ticket) -> ServiceReply {
        loop {
            if let Some(reply) = self.answered(ticket) {
                return reply;
            }
            let next = self.github.next_deadline();
            assert_ne!(next, Time::NEVER, "{ticket:?} is never answered");
            self.now = next;
            self.github.advance(next);
        }
    }
    /// The answer of a parked call, if it is there; other answers stay.
    pub fn answered(&mut self, ticket: Ticket) -> Option<ServiceReply> {
        while let Some((t, reply)) = self.github.pop_ready() {
            assert!(self.mailbox.insert(t, reply).is_none(), "answered twice: {t:?}");
        }
        self.mailbox.remove(&ticket)
    }
    #[track_caller]
    pub fn message(&mut self, held: Held, last: i64) -> Arc<Message> {
        match self.poll_through(held, last, i32::MAX) {
            Ok(ServiceOk::Message(message)) => message,
            other => panic!("no message: {other:?}"),
        }
    }
    pub fn delete_message(&mut self, held: Held, id: MessageId) -> ServiceReply {
        self.call(Auth::Queue(held.queue), Op::DeleteMessage { id: held.set, message: id })
    }
    pub fn acquire(&mut self, held: Held, ids: &[i64]) -> ServiceReply {
        let requests = Some(ids.iter().map(|id| RequestId(*id)).collect());
        self.call(Auth::Queue(held.queue), Op::AcquireJobs { id: held.set, requests })
    }
    pub fn job(&mut self, name: &str) -> JobId {
        self.github.queue_job(JobSpec::new(ORG, name, Duration::from_secs(60)), self.now)
    }
    #[track_caller]
    pub fn register(&mut self, set: ScaleSetId, name: &str) -> (RunnerId, Token) {
        match self.admin(Op::GenerateJitConfig { id: set, name: name.into(), work_folder: "".into() }) {
            Ok(ServiceOk::Jit { runner, jit }) => (runner.id, jit),
            other => panic!("{other:?}"),
        }
    }
    pub fn try_connect(&mut self, jit: Token) -> ServiceReply {
        self.call(Auth::Runner(jit), Op::RunnerConnect { jit, version: "2.336.0".into() })
    }
    #[track_caller]
    pub fn connect(&mut self, jit: Token) -> Token {
        match self.try_connect(jit) {
            Ok(ServiceOk::Connected { token, .. }) => token,
            other => panic!("{other:?}"),
        }
    }
    pub fn runner(&mut self, token: Token, op: Op) -> Outcome {
        self.github.handle(&ServiceRequest { auth: Auth::Runner(token), op }, self.now)
    }
    #[track_caller]
    pub fn runner_poll(&mut self, token: Token) -> ServiceReply {
        match self.runner(token, Op::RunnerPoll) {
            Outcome::Reply(reply) => reply,
            Outcome::Parked(ticket) => self.await_ticket(ticket),
        }
    }
    /// Registers a runner, connects it and lets it take a job.
    #[track_caller]
    pub fn start_runner(&mut self, set: ScaleSetId, name: &str) -> (RunnerId, Token) {
        let (id, jit) = self.register(set, name);
        let token = self.connect(jit);
        assert!(matches!(self.runner_poll(token), Ok(ServiceOk::Job(_))));
        (id, token)
    }
    pub fn events(&mut self) -> Vec<ServiceEvent> {
        std::iter::from_fn(|| self.github.pop_event()).collect()
    }
    pub fn stats(&self, set: ScaleSetId) -> Statistics {
        self.github.scale_set(set).expect("exists").true_statistics()
    }
}

/// `JobAssigned`, … in order.
pub fn kinds(message: &Message) -> Vec<&'static str> {
    let name = |event: &JobEvent| match event.kind {
        JobEventKind::Available => "JobAvailable",
        JobEventKind::Assigned => "JobAssigned",
        JobEventKind::Started { .. } => "JobStarted",
        JobEventKind::Completed { .. } => "JobCompleted",
        JobEventKind::Unknown => "?",
    };
    message.events.iter().map(name).collect()
}

#[track_caller]
pub fn check_refused(reply: ServiceReply, status: u16, exception: Exception, text: &str) {
    match reply {
        Err(error) => {
            assert_eq!((error.status, error.exception, error.message.as_str()), (status, exception, text));
        }
        other => panic!("not refused: {other:?}"),
    }
}
