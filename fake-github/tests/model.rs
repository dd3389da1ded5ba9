//! Random clients against a naive reference: a ledger that believes nothing but the events and the answers.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use arc_api::service::*;
use arc_api::*;
use common::*;
use fake_github::*;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

#[derive(Clone, Debug)]
enum Step {
    Queue { set: u8 },
    QueueForBoth,
    Cancel { nth: u8 },
    Create { set: u8 },
    Delete { set: u8 },
    Listen { set: u8 },
    Refresh { set: u8 },
    Close { set: u8 },
    Poll { set: u8, capacity: u8, from_zero: bool },
    HangUp { set: u8 },
    Acknowledge { set: u8 },
    Register { set: u8, name: u8 },
    Connect { nth: u8 },
    Ask { nth: u8 },
    Renew { nth: u8 },
    Finish { nth: u8, failed: bool },
    Leave { nth: u8 },
    Drop { nth: u8 },
    Remove { nth: u8 },
    Wait { millis: u32 },
}

fn step() -> impl Strategy<Value = Step> {
    let (set, nth) = (0..2u8, 0..12u8);
    prop_oneof![
        4 => set.clone().prop_map(|set| Step::Queue { set }),
        1 => Just(Step::QueueForBoth),
        1 => nth.clone().prop_map(|nth| Step::Cancel { nth }),
        1 => set.clone().prop_map(|set| Step::Create { set }),
        1 => prop::bool::weighted(0.3).prop_flat_map(|rare| (0..2u8).prop_map(move |set| match rare {
            true => Step::Delete { set },
            false => Step::Listen { set },
        })),
        3 => set.clone().prop_map(|set| Step::Listen { set }),
        1 => set.clone().prop_map(|set| Step::Refresh { set }),
        1 => set.clone().prop_map(|set| Step::Close { set }),
        8 => (set.clone(), 0..6u8, prop::bool::weighted(0.2))
            .prop_map(|(set, capacity, from_zero)| Step::Poll { set, capacity, from_zero }),
        1 => set.clone().prop_map(|set| Step::HangUp { set }),
        4 => set.clone().prop_map(|set| Step::Acknowledge { set }),
        4 => (set, 0..6u8).prop_map(|(set, name)| Step::Register { set, name }),
        5 => nth.clone().prop_map(|nth| Step::Connect { nth }),
        6 => nth.clone().prop_map(|nth| Step::Ask { nth }),
        2 => nth.clone().prop_map(|nth| Step::Renew { nth }),
        4 => (nth.clone(), any::<bool>()).prop_map(|(nth, failed)| Step::Finish { nth, failed }),
        1 => nth.clone().prop_map(|nth| Step::Leave { nth }),
        1 => nth.clone().prop_map(|nth| Step::Drop { nth }),
        2 => nth.prop_map(|nth| Step::Remove { nth }),
        8 => prop_oneof![0..2_000u32, 0..60_000u32, 0..700_000u32].prop_map(|millis| Step::Wait { millis }),
    ]
}

/// What the events say of a job.
#[derive(Clone, Copy, PartialEq, Debug)]
enum At {
    Waiting,
    Acquired(ScaleSetId),
    Assigned(ScaleSetId),
    Running(ScaleSetId, RunnerId),
    Over,
}

#[derive(Default)]
struct Ledger {
    jobs: BTreeMap<JobId, At>,
    offers: BTreeSet<(ScaleSetId, JobId)>,
    runners: BTreeMap<RunnerId, (ScaleSetId, bool)>,
    served: BTreeMap<RunnerId, JobId>,
    sessions: BTreeMap<ScaleSetId, SessionId>,
    sets: BTreeSet<ScaleSetId>,
}

impl Ledger {
    fn move_job(&mut self, job: JobId, is_legal: impl Fn(At) -> bool, to: At) {
        let from = self.jobs.insert(job, to).expect("queued before");
        assert!(is_legal(from), "job {job} went from {from:?} to {to:?}");
        if from == At::Waiting || to == At::Waiting {
            self.offers.retain(|(_, offered)| *offered != job);
        }
    }

    fn note(&mut self, event: &ServiceEvent) {
        match event {
            ServiceEvent::JobQueued { job } => assert_eq!(self.jobs.insert(*job, At::Waiting), None),
            ServiceEvent::JobAvailable { job, scale_set } => {
                assert_eq!(self.jobs.get(job), Some(&At::Waiting));
                assert!(self.offers.insert((*scale_set, *job)), "offered twice");
            }
            ServiceEvent::JobAcquired { job, scale_set } => {
                assert!(self.offers.contains(&(*scale_set, *job)), "acquired without an offer");
                self.move_job(*job, |from| from == At::Waiting, At::Acquired(*scale_set));
            }
            ServiceEvent::JobAssigned { job, scale_set, .. } => {
                let is_legal = |from| from == At::Waiting || from == At::Acquired(*scale_set);
                self.move_job(*job, is_legal, At::Assigned(*scale_set));
            }
            ServiceEvent::JobStarted { job, scale_set, runner } => {
                assert_eq!(self.served.insert(*runner, *job), None, "a registration serves one job");
                assert_eq!(self.runners.get(runner), Some(&(*scale_set, true)), "registered and online");
                self.move_job(*job, |from| from == At::Assigned(*scale_set), At::Running(*scale_set, *runner));
            }
            ServiceEvent::JobCompleted { job, runner, .. } => {
                let is_legal = |from| match from {
                    At::Over => false,
                    At::Running(_, has) => has == *runner,
                    _ => runner.0 == 0,
                };
                self.move_job(*job, is_legal, At::Over);
            }
            ServiceEvent::JobReturned { job, .. } => {
                let is_legal = |from| matches!(from, At::Acquired(_) | At::Assigned(_));
                self.move_job(*job, is_legal, At::Waiting);
            }
            ServiceEvent::SessionCreated { scale_set, session, .. } => {
                assert_eq!(self.sessions.insert(*scale_set, *session), None, "one session per scale set");
            }
            ServiceEvent::SessionEnded { scale_set, session, .. } => {
                assert_eq!(self.sessions.remove(scale_set), Some(*session));
            }
            ServiceEvent::RunnerRegistered { runner, scale_set, .. } => {
                assert_eq!(self.runners.insert(*runner, (*scale_set, false)), None);
            }
            ServiceEvent::RunnerOnline { runner, .. } => self.runners.get_mut(runner).expect("registered").1 = true,
            ServiceEvent::RunnerOffline { runner, .. } => {
                if let Some(entry) = self.runners.get_mut(runner) {
                    entry.1 = false;
                }
            }
            ServiceEvent::RunnerRemoved { runner, .. } => drop(self.runners.remove(runner).expect("registered")),
            ServiceEvent::ScaleSetCreated { scale_set, .. } => drop(self.sets.insert(*scale_set)),
            ServiceEvent::ScaleSetDeleted { scale_set, .. } => {
                self.sets.remove(scale_set);
                self.offers.retain(|(set, _)| set != scale_set);
            }
            _ => {}
        }
    }

    fn statistics(&self, set: ScaleSetId) -> Statistics {
        let count = |is: &dyn Fn(&At) -> bool| self.jobs.values().filter(|at| is(at)).count() as i32;
        let running = count(&|at| matches!(at, At::Running(of, _) if *of == set));
        let is_busy = |id: &RunnerId| self.jobs.values().any(|at| matches!(at, At::Running(_, r) if r == id));
        let mine: Vec<_> = self.runners.iter().filter(|(_, (of, _))| *of == set).collect();
        let busy = mine.iter().filter(|(id, _)| is_busy(id)).count() as i32;
        Statistics {
            total_available_jobs: self.offers.iter().filter(|(of, _)| *of == set).count() as i32,
            total_acquired_jobs: count(&|at| *at == At::Acquired(set)),
            total_assigned_jobs: count(&|at| *at == At::Assigned(set)) + running,
            total_running_jobs: running,
            total_registered_runners: mine.len() as i32,
            total_busy_runners: busy,
            total_idle_runners: mine.iter().filter(|(id, (_, online))| *online && !is_busy(id)).count() as i32,
        }
    }
}

/// A listener as careless as the steps make it.
#[derive(Clone, Copy)]
struct Listener {
    held: Held,
    last: i64,
    poll: Option<Ticket>,
}

struct Agent {
    id: RunnerId,
    jit: Token,
    token: Option<Token>,
    poll: Option<Ticket>,
}

struct Run {
    w: World,
    ledger: Ledger,
    names: [&'static str; 2],
    sets: [Option<ScaleSetId>; 2],
    listeners: [Option<Listener>; 2],
    agents: Vec<Agent>,
    /// Per scale set: undeleted messages by id, and the highest id ever seen.
    undeleted: BTreeMap<ScaleSetId, BTreeMap<MessageId, Vec<JobEvent>>>,
    highest: BTreeMap<ScaleSetId, MessageId>,
    log: Vec<ServiceEvent>,
    answered: BTreeSet<Ticket>,
    parked: BTreeSet<Ticket>,
}

impl Run {
    fn new(personality: Personality) -> Run {
        let w = World::of(personality);
        Run {
            w,
            ledger: Ledger::default(),
            names: ["linux", "gpu"],
            sets: [None; 2],
            listeners: [None; 2],
            agents: Vec::new(),
            undeleted: BTreeMap::new(),
            highest: BTreeMap::new(),
            log: Vec::new(),
            answered: BTreeSet::new(),
            parked: BTreeSet::new(),
        }
    }

    fn ask(&mut self, auth: Auth, op: Op) -> Option<ServiceReply> {
        match self.w.github.handle(&ServiceRequest { auth, op }, self.w.now) {
            Outcome::Reply(reply) => Some(reply),
            Outcome::Parked(ticket) => {
                assert!(self.parked.insert(ticket) && self.w.github.is_parked(ticket));
                None
            }
        }
    }

    fn admin(&mut self, op: Op) -> ServiceReply {
        self.ask(Auth::Admin(self.w.admin), op).expect("admin calls do not park")
    }

    fn create(&mut self, at: usize) {
        let labels = vec![self.names[at].into(), "any".into()];
        let reply = self.admin(Op::CreateScaleSet { group: GroupId(1), name: self.names[at].into(), labels });
        match (reply, self.sets[at]) {
            (Ok(ServiceOk::ScaleSet(Some(info))), None) => self.sets[at] = Some(info.id),
            (Err(error), Some(_)) => assert_eq!(error.exception, Exception::ScaleSetExists),
            (reply, set) => panic!("{reply:?} with {set:?}"),
        }
    }

    fn on_message(&mut self, at: usize, message: &Message) {
        let listener = self.listeners[at].as_mut().expect("somebody polled");
        let set = listener.held.set;
        assert!(message.id.0 > listener.last, "the cursor goes forward only");
        listener.last = message.id.0;
        assert!(!message.events.is_empty() && message.events.len() <= 50);
        let kept = self.undeleted.entry(set).or_default();
        if let Some(before) = kept.get(&message.id) {
            assert_eq!(before, &message.events, "a message keeps its body");
        } else {
            let highest = self.highest.entry(set).or_default();
            assert!(message.id > *highest, "new ids increase: {} after {highest}", message.id);
            *highest = message.id;
            kept.insert(message.id, message.events.clone());
        }
    }

    fn on_poll(&mut self, at: usize, reply: ServiceReply) {
        match reply {
            Ok(ServiceOk::Message(message)) => self.on_message(at, &message),
            Ok(ServiceOk::Nothing) => {}
            Err(error) => {
                assert_eq!(error.status, 401);
                self.listeners[at] = None;
            }
            other => panic!("{other:?}"),
        }
    }

    fn nth(&mut self, nth: u8) -> Option<usize> {
        (!self.agents.is_empty()).then(|| usize::from(nth) % self.agents.len())
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Queue { set } => drop(self.w.job(self.names[usize::from(set)])),
            Step::QueueForBoth => drop(self.w.job("any")),
            Step::Cancel { nth } => {
                let open: Vec<JobId> = self.w.github.open_jobs().map(|job| job.id).collect();
                if !open.is_empty() {
                    self.w.github.cancel_job(open[usize::from(nth) % open.len()], self.w.now);
                }
            }
            Step::Create { set } => self.create(usize::from(set)),
            Step::Delete { set } => {
                if let Some(id) = self.sets[usize::from(set)].take() {
                    assert_eq!(self.admin(Op::DeleteScaleSet(id)), Ok(ServiceOk::Done));
                }
            }
            Step::Listen { set } => self.listen(usize::from(set)),
            Step::Refresh { set } => {
                let at = usize::from(set);
                if let Some(Listener { held, .. }) = self.listeners[at] {
                    let reply = self.admin(Op::RefreshSession { id: held.set, session: held.session });
                    match (reply, &mut self.listeners[at]) {
                        (Ok(ServiceOk::Session(session)), Some(listener)) => listener.held.queue = session.queue_token,
                        (_, listener) => *listener = None,
                    }
                }
            }
            Step::Close { set } => {
                if let Some(Listener { held, .. }) = self.listeners[usize::from(set)].take() {
                    let _ = self.admin(Op::DeleteSession { id: held.set, session: held.session });
                }
            }
            Step::Poll { set, capacity, from_zero } => self.poll(usize::from(set), i32::from(capacity), from_zero),
            Step::HangUp { set } => {
                if let Some(ticket) = self.listeners[usize::from(set)].as_mut().and_then(|l| l.poll.take()) {
                    self.w.github.cancel(ticket, self.w.now);
                    self.parked.remove(&ticket);
                }
            }
            Step::Acknowledge { set } => self.acknowledge(usize::from(set)),
            Step::Register { set, name } => {
                let Some(id) = self.sets[usize::from(set)] else { return };
                let name = format_smolstr!("r{name}");
                let is_taken = self.w.github.runner_named(ORG, &name).is_some();
                match self.admin(Op::GenerateJitConfig { id, name, work_folder: "".into() }) {
                    Ok(ServiceOk::Jit { runner, jit }) if !is_taken => {
                        self.agents.push(Agent { id: runner.id, jit, token: None, poll: None });
                    }
                    Err(error) if is_taken => assert_eq!(error.exception, Exception::AgentExists),
                    other => panic!("{other:?}, taken: {is_taken}"),
                }
            }
            Step::Connect { nth } => {
                let Some(at) = self.nth(nth) else { return };
                let op = Op::RunnerConnect { jit: self.agents[at].jit, version: "2".into() };
                if let Some(Ok(ServiceOk::Connected { token, .. })) = self.ask(Auth::Runner(self.agents[at].jit), op) {
                    self.agents[at].token = Some(token);
                }
            }
            Step::Ask { nth } => self.runner_call(nth, Op::RunnerPoll),
            Step::Renew { nth } => self.runner_call(nth, Op::RunnerRenew),
            Step::Finish { nth, failed } => {
                let result = if failed { JobResult::Failed } else { JobResult::Succeeded };
                self.runner_call(nth, Op::RunnerComplete(result));
            }
            Step::Leave { nth } => self.runner_call(nth, Op::RunnerDisconnect),
            Step::Drop { nth } => {
                let Some(at) = self.nth(nth) else { return };
                if let Some(ticket) = self.agents[at].poll.take() {
                    self.w.github.cancel(ticket, self.w.now);
                    self.parked.remove(&ticket);
                }
            }
            Step::Remove { nth } => {
                let Some(at) = self.nth(nth) else { return };
                let id = self.agents[at].id;
                let is_busy = self.w.github.runner(id).is_some_and(Runner::is_busy);
                let reply = self.admin(Op::RemoveRunner(id));
                assert_eq!(reply.map_err(|error| error.exception).err(), is_busy.then_some(Exception::JobStillRunning));
            }
            Step::Wait { millis } => {
                let until = self.w.now.after(Duration::from_millis(u64::from(millis)));
                // Sometimes by deadlines, sometimes in one leap: it must not matter.
                while millis % 2 == 0 && self.w.github.next_deadline() <= until {
                    let next = self.w.github.next_deadline();
                    assert!(next >= self.w.now, "{next} lies in the past of {}", self.w.now);
                    self.w.now = next;
                    self.w.github.advance(next);
                    assert!(self.w.github.next_deadline() > next, "nothing happened at {next}");
                }
                self.w.now = until;
                self.w.github.advance(until);
            }
        }
    }

    fn listen(&mut self, at: usize) {
        let Some(set) = self.sets[at] else { return };
        let is_held = self.w.github.session(set).is_some();
        match self.w.try_listen(set, "l") {
            Ok(held) => {
                assert!(!is_held, "a second session");
                self.listeners[at] = Some(Listener { held, last: 0, poll: None });
            }
            Err(error) => assert_eq!((error.exception, is_held), (Exception::SessionConflict, true)),
        }
    }

    fn poll(&mut self, at: usize, capacity: i32, from_zero: bool) {
        let Some(listener) = self.listeners[at].as_mut().filter(|listener| listener.poll.is_none()) else { return };
        if from_zero {
            listener.last = 0;
        }
        let Listener { held, last, .. } = *listener;
        let oldest = self.undeleted.get(&held.set).and_then(|kept| kept.keys().find(|id| id.0 > last)).copied();
        let op = Op::GetMessage { id: held.set, last: MessageId(last), capacity: Some(capacity) };
        match self.ask(Auth::Queue(held.queue), op) {
            Some(reply) => {
                if let (Some(oldest), Ok(ServiceOk::Message(message))) = (oldest, &reply) {
                    assert_eq!(message.id, oldest, "the oldest undeleted message comes first");
                }
                self.on_poll(at, reply);
            }
            None => {
                assert_eq!(oldest, None, "an undeleted message does not wait");
                let ticket = *self.parked.last().expect("just parked");
                let ticket = self.parked.iter().copied().find(|t| t.scale_set() == Some(held.set)).unwrap_or(ticket);
                if let Some(listener) = &mut self.listeners[at] {
                    listener.poll = Some(ticket);
                }
            }
        }
    }

    fn acknowledge(&mut self, at: usize) {
        let Some(Listener { held, last, .. }) = self.listeners[at] else { return };
        let Some(events) = self.undeleted.get(&held.set).and_then(|kept| kept.get(&MessageId(last))).cloned() else {
            return;
        };
        let is_offer = |event: &&JobEvent| event.kind == JobEventKind::Available;
        let offers: Vec<RequestId> = events.iter().filter(is_offer).map(|event| event.job.request).collect();
        if !offers.is_empty() {
            let op = Op::AcquireJobs { id: held.set, requests: Some(offers.clone()) };
            if let Some(Ok(ServiceOk::Acquired(got))) = self.ask(Auth::Queue(held.queue), op) {
                assert!(got.iter().all(|id| offers.contains(id)), "a subset");
            }
        }
        let op = Op::DeleteMessage { id: held.set, message: MessageId(last) };
        if self.ask(Auth::Queue(held.queue), op) == Some(Ok(ServiceOk::Done)) {
            self.undeleted.entry(held.set).or_default().remove(&MessageId(last));
        }
    }

    fn runner_call(&mut self, nth: u8, op: Op) {
        let Some(at) = self.nth(nth) else { return };
        let Agent { id, token: Some(token), poll, .. } = self.agents[at] else { return };
        if op == Op::RunnerPoll && poll.is_some() {
            return;
        }
        match self.ask(Auth::Runner(token), op) {
            Some(Err(error)) => assert!(matches!(error.status, 404 | 409), "{error:?}"),
            Some(Ok(_)) => {}
            None => {
                let ticket = self.parked.iter().copied().rfind(|t| t.runner() == Some(id)).expect("just parked");
                self.agents[at].poll = Some(ticket);
            }
        }
    }

    /// Looks at everything after a step.
    fn look(&mut self) {
        while let Some((ticket, reply)) = self.w.github.pop_ready() {
            assert!(self.parked.remove(&ticket), "{ticket:?} was not parked");
            assert!(self.answered.insert(ticket), "{ticket:?} answered twice");
            assert!(!self.w.github.is_parked(ticket));
            for at in 0..2 {
                if self.listeners[at].is_some_and(|listener| listener.poll == Some(ticket)) {
                    if let Some(listener) = &mut self.listeners[at] {
                        listener.poll = None;
                    }
                    self.on_poll(at, reply.clone());
                }
            }
            for agent in &mut self.agents {
                if agent.poll == Some(ticket) {
                    agent.poll = None;
                }
            }
        }
        while let Some(event) = self.w.github.pop_event() {
            self.ledger.note(&event);
            self.log.push(event);
        }
        for set in self.w.github.scale_sets() {
            assert_eq!(set.true_statistics(), self.ledger.statistics(set.id), "scale set {}", set.name);
        }
        assert_eq!(self.w.github.audit(), Ok(()));
        assert!(self.w.github.next_deadline() > self.w.now || self.w.github.next_deadline() == Time::NEVER);
        for ticket in &self.parked {
            assert!(self.w.github.is_parked(*ticket), "{ticket:?} was forgotten");
        }
        for (set, session) in self.w.github.sessions() {
            assert_eq!(self.ledger.sessions.get(&set), Some(&session.id));
        }
        let is_over = |job: &Job| self.ledger.jobs.get(&job.id) == Some(&At::Over);
        assert!(self.w.github.jobs().all(|job| job.is_over() == is_over(job) && job.starts <= 1));
    }

    /// Lets well-behaved clients finish everything.
    fn heal(&mut self) {
        for at in 0..2 {
            if self.sets[at].is_none() {
                self.create(at);
            }
        }
        // A cursor that passed an offer by never sees it again; a new session does (§3.4).
        (0..2).for_each(|set| self.take(&Step::HangUp { set }));
        (0..2).for_each(|set| self.take(&Step::Close { set }));
        for round in 0..400 {
            self.look();
            if self.w.github.open_jobs().next().is_none() {
                return;
            }
            for at in 0..2 {
                if self.listeners[at].is_none() {
                    self.listen(at);
                }
                self.acknowledge(at);
                self.poll(at, i32::MAX, false);
                self.look();
                self.acknowledge(at);
                let id = self.sets[at].expect("made above");
                if self.w.stats(id).total_assigned_jobs > self.w.stats(id).total_registered_runners {
                    let name = format_smolstr!("heal-{at}-{round}");
                    let (id, jit) = self.w.register(id, &name);
                    let token = self.w.connect(jit);
                    self.agents.push(Agent { id, jit, token: Some(token), poll: None });
                }
            }
            for nth in 0..self.agents.len() {
                let Agent { id, jit, token, poll } = self.agents[nth];
                let Some(runner) = self.w.github.runner(id) else { continue };
                let (is_busy, is_online) = (runner.is_busy(), runner.is_online());
                if !is_online && let Ok(ServiceOk::Connected { token, .. }) = self.w.try_connect(jit) {
                    self.agents[nth].token = Some(token);
                }
                let Some(token) = self.agents[nth].token.or(token) else { continue };
                let op = if is_busy { Op::RunnerComplete(JobResult::Succeeded) } else { Op::RunnerPoll };
                if is_busy || poll.is_none() {
                    if let Some(reply) = self.ask(Auth::Runner(token), op) {
                        drop(reply);
                    } else {
                        self.agents[nth].poll = self.parked.iter().copied().rfind(|t| t.runner() == Some(id));
                    }
                }
                self.look();
            }
            self.take(&Step::Wait { millis: 5_000 });
        }
        let stuck = self.w.github.open_jobs().map(|job| (job.id, job.state, job.attempts));
        panic!("jobs are stuck: {:?}", stuck.collect::<Vec<_>>());
    }
}

fn personality() -> impl Strategy<Value = Personality> {
    prop_oneof![Just(Personality::Broker), Just(Personality::AcquireRequired)]
}

fn config() -> ProptestConfig {
    let kept = FileFailurePersistence::Direct("tests/model.proptest-regressions");
    ProptestConfig { cases: 400, failure_persistence: Some(Box::new(kept)), ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn prop_the_service_agrees_with_the_ledger_and_no_job_is_lost(
        personality in personality(),
        steps in prop::collection::vec(step(), 1..120),
    ) {
        let mut run = Run::new(personality);
        run.create(0);
        for step in &steps {
            run.take(step);
            run.look();
        }
        run.heal();
        run.look();
        prop_assert!(run.ledger.jobs.values().all(|at| *at == At::Over));
    }

    #[test]
    fn prop_the_same_calls_give_the_same_history_and_forks_do_not_touch_each_other(
        personality in personality(),
        before in prop::collection::vec(step(), 1..40),
        after in prop::collection::vec(step(), 1..40),
    ) {
        let play = |steps: &[Step]| {
            let mut run = Run::new(personality);
            run.create(0);
            for step in steps {
                run.take(step);
                run.look();
            }
            run
        };
        let (mut one, two) = (play(&before), play(&before));
        prop_assert_eq!(&one.log, &two.log);
        let seen = format!("{:?}", one.w.github);
        let fork = one.w.github.clone();
        let trunk = std::mem::replace(&mut one.w.github, fork);
        for step in &after {
            one.take(step);
            one.look();
        }
        prop_assert_eq!(format!("{trunk:?}"), seen, "the trunk did not see what its fork did");
        let both: Vec<Step> = before.iter().chain(&after).cloned().collect();
        let straight = play(&both);
        prop_assert_eq!(&one.log, &straight.log);
        prop_assert_eq!(format!("{:?}", one.w.github), format!("{:?}", straight.w.github));
    }
}
