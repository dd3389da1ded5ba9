//! Every fault of the service: that it does what it says, that it ends, and that it is seen to have fired.

mod common;

use arc_api::service::*;
use arc_api::*;
use common::*;
use fake_github::*;

fn fired(w: &mut World, rule: RuleId) -> usize {
    w.events().iter().filter(|event| **event == ServiceEvent::FaultFired { rule }).count()
}

#[test]
fn a_stranger_holds_the_session_until_its_time_and_eviction_frees_it() {
    let mut w = World::of(Personality::AcquireRequired);
    let set = w.create("linux");
    let held = w.listen(set);
    let Outcome::Parked(poll) = w.poll(held, 0, 5) else { panic!() };
    w.github.hold_session(set, "cluster-2-listener", Time::from_secs(600), w.now);
    assert!(matches!(w.answered(poll), Some(Err(error)) if error.status == 401));
    let text = "The runner scale set linux already has an active session for owner cluster-2-listener.";
    let reply = w.admin(Op::CreateSession { id: set, owner: "l".into() });
    check_refused(reply, 409, Exception::SessionConflict, text);
    w.wait(599.9);
    assert!(w.try_listen(set, "l").is_err());
    w.wait(0.1);
    w.listen(set);
    w.github.set_session_fault(set, SessionFault { ttl: Some(Duration::MAX), ..SessionFault::default() }, w.now);
    w.wait(86_400.0);
    assert!(w.try_listen(set, "l").is_err(), "for ever, by knob");
    w.github.set_session_fault(set, SessionFault::default(), w.now);
    w.wait(0.0);
    w.listen(set);
    w.github.evict_session(set, w.now);
    w.listen(set);
    w.github.expire_session(set, w.now);
    let ends: Vec<SessionEnd> = w
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ServiceEvent::SessionEnded { why, .. } => Some(why),
            _ => None,
        })
        .collect();
    use SessionEnd::{Evicted, Expired};
    assert_eq!(ends, [Evicted, Expired, Expired, Evicted, Expired]);
}

/// Runs one job under a fault of one event type and tells which messages came when.
fn stream(fault: EventFault) -> Vec<(u64, Vec<&'static str>)> {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let rule = w.github.fault_events(fault);
    let held = w.listen(set);
    let Outcome::Parked(mut ticket) = w.poll(held, 0, 5) else { panic!() };
    w.job("linux");
    let (_, token) = w.start_runner(set, "r1");
    w.wait(0.0);
    let mut seen = Vec::new();
    let mut is_over = false;
    while w.now < Time::from_secs(200) {
        if let Some(reply) = w.answered(ticket) {
            let mut last = 0;
            if let Ok(ServiceOk::Message(message)) = reply {
                seen.push((w.now.secs(), kinds(&message)));
                w.delete_message(held, message.id).expect("204");
                last = message.id.0;
            }
            match w.poll(held, last, 5) {
                Outcome::Parked(next) => ticket = next,
                Outcome::Reply(reply) => panic!("{reply:?}"),
            }
        }
        if !is_over && w.now >= Time::from_secs(10) {
            is_over = true;
            w.call(Auth::Runner(token), Op::RunnerComplete(JobResult::Succeeded)).expect("its job");
        }
        w.wait(0.5);
    }
    assert_eq!(fired(&mut w, rule), 1);
    assert!(w.github.remove_rule(rule) && !w.github.remove_rule(rule));
    seen
}

#[test]
fn the_message_stream_can_be_delayed_dropped_doubled_reordered_and_repeated() {
    let fault = |mode, by| EventFault {
        scope: Scope::scale_set("Linux"),
        kind: EventType::from_name("JobStarted"),
        mode,
        by: Duration::from_secs(by),
        firing: Firing::default(),
    };
    let (a, s, c) = ("JobAssigned", "JobStarted", "JobCompleted");
    assert_eq!(stream(fault(EventMode::Delay, 30)), [(1, vec![a]), (10, vec![c]), (32, vec![s])]);
    assert_eq!(stream(fault(EventMode::Drop, 0)), [(1, vec![a]), (10, vec![c])]);
    assert_eq!(stream(fault(EventMode::Duplicate, 0)), [(1, vec![a]), (2, vec![s, s]), (10, vec![c])]);
    assert_eq!(stream(fault(EventMode::Reorder, 0)), [(1, vec![a]), (10, vec![c, s])]);
    assert_eq!(stream(fault(EventMode::Redeliver, 20)), [(1, vec![a]), (2, vec![s]), (10, vec![c]), (22, vec![s])]);
}

#[test]
fn counters_lie_only_where_and_as_long_as_they_are_told_to() {
    let mut w = World::of(Personality::Broker);
    let (set, other) = (w.create("linux"), w.create("other"));
    let zero = w.github.fault_statistics(Scope::scale_set("linux"), StatField::Assigned, StatMode::Zero);
    let held = w.listen(set);
    w.job("linux");
    let message = w.message(held, 0);
    assert_eq!((kinds(&message), message.statistics.total_assigned_jobs), (vec!["JobAssigned"], 0), "R21");
    w.github.remove_rule(zero);
    let freeze = w.github.fault_statistics(Scope::id(set), StatField::All, StatMode::Freeze);
    w.job("linux");
    let message = w.message(held, message.id.0);
    assert_eq!(message.statistics.total_assigned_jobs, 1, "as it was");
    w.github.remove_rule(freeze);
    w.github.fault_statistics(
        Scope::id(set),
        StatField::from_name("total_assigned").expect("known"),
        StatMode::Add(15),
    );
    let info = |w: &mut World, id| match w.admin(Op::GetScaleSetById(id)) {
        Ok(ServiceOk::ScaleSet(Some(info))) => info.statistics.total_assigned_jobs,
        other => panic!("{other:?}"),
    };
    assert_eq!((info(&mut w, set), info(&mut w, other)), (17, 0));
    assert_eq!(w.stats(set).total_assigned_jobs, 2, "the truth is untouched");
    w.admin(Op::DeleteScaleSet(set)).expect("204");
    let set = w.create("linux");
    assert_eq!(info(&mut w, set), 0, "it was bound to the old registration");
    w.github.add_phantom_jobs(set, 3);
    assert_eq!(w.stats(set).total_assigned_jobs, 3);
    let held = w.listen(set);
    assert_eq!(w.poll_through(held, 0, 3), Ok(ServiceOk::Nothing), "phantoms take room");
    w.github.add_phantom_jobs(set, -3);
    assert!(matches!(w.poll_through(held, 0, 3), Ok(ServiceOk::Message(_))));
    assert_eq!(w.github.audit(), Ok(()));
}

#[test]
fn reads_can_show_the_past() {
    let mut w = World::of(Personality::Broker);
    let lag = Duration::from_secs(10);
    w.github.set_stale_views(StaleViews { runners: lag, busy: lag, scale_sets: lag });
    let set = w.create("linux");
    let by_name = Op::GetScaleSet { group: GroupId(1), name: "linux".into() };
    assert_eq!(w.admin(by_name.clone()), Ok(ServiceOk::ScaleSet(None)), "not there yet");
    w.wait(10.0);
    assert!(matches!(w.admin(by_name.clone()), Ok(ServiceOk::ScaleSet(Some(_)))));
    let (id, _) = w.register(set, "r1");
    w.admin(Op::RemoveRunner(id)).expect("204");
    assert!(matches!(w.admin(Op::GetRunner(id)), Ok(ServiceOk::Runner(Some(_)))), "still there");
    assert!(matches!(w.admin(Op::GetRunnerByName("R1".into())), Ok(ServiceOk::Runner(Some(_)))));
    w.wait(10.0);
    assert!(w.admin(Op::GetRunner(id)).is_err());
    let held = w.listen(set);
    let job = w.job("linux");
    let Outcome::Parked(_) = w.poll(held, 0, 5) else { panic!() };
    let (id, token) = w.start_runner(set, "r2");
    w.admin(Op::RemoveRunner(id)).expect("the busy flag is late");
    assert_eq!(w.stats(set).total_registered_runners, 0);
    assert!(w.github.runner(id).is_some_and(|runner| !runner.is_registered && runner.is_busy()));
    assert_eq!((w.stats(set).total_busy_runners, w.github.audit()), (0, Ok(())));
    w.call(Auth::Runner(token), Op::RunnerRenew).expect("jobs have tokens of their own");
    let gone = "The runner registration was not found.";
    check_refused(w.runner_poll(token), 404, Exception::RunnerNotFound, gone);
    w.call(Auth::Runner(token), Op::RunnerComplete(JobResult::Failed)).expect("its job");
    assert_eq!(w.github.job(job).map(|job| job.state), Some(JobState::Completed(JobResult::Failed)));
    w.admin(Op::DeleteScaleSet(set)).expect("204");
    assert!(matches!(w.admin(by_name), Ok(ServiceOk::ScaleSet(Some(_)))) && w.admin(Op::GetScaleSetById(set)).is_ok());
    assert_eq!((w.github.runner(id).is_none(), w.github.audit()), (true, Ok(())));
}

#[test]
fn jobs_can_be_wronged() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let held = w.listen(set);
    let idle = |w: &mut World, name: &str| {
        let (id, jit) = w.register(set, name);
        (id, w.connect(jit))
    };
    // The message is gone before its runner arrives.
    let job = w.job("linux");
    assert!(!w.github.fault_job(job, JobFault::LeaseLost, w.now), "not running");
    let Outcome::Parked(_) = w.poll(held, 0, 99) else { panic!() };
    assert!(w.github.fault_job(job, JobFault::MessageNotFound, w.now));
    let (_, token) = idle(&mut w, "r1");
    check_refused(w.runner_poll(token), 404, Exception::JobNotFound, "The job message was not found.");
    // So it is for every cancelled job while messages linger.
    w.github.set_cancelled_messages_linger(set, true);
    let job = w.job("linux");
    let Outcome::Parked(_) = w.poll(held, i64::MAX, 99) else { panic!() };
    w.github.cancel_job(job, w.now);
    check_refused(w.runner_poll(token), 404, Exception::JobNotFound, "The job message was not found.");
    // Handed out in vain: the runner goes on as an idle one.
    let (job, next) = (w.job("linux"), w.job("linux"));
    let Outcome::Parked(_) = w.poll(held, i64::MAX, 99) else { panic!() };
    w.github.fault_job(job, JobFault::AcquireConflict, w.now);
    assert_eq!(w.runner_poll(token), Ok(ServiceOk::Nothing), "R19");
    assert!(w.github.job(job).is_some_and(Job::is_over));
    // It gets the next one, and loses its lease.
    let Ok(ServiceOk::Job(order)) = w.runner_poll(token) else { panic!() };
    assert_eq!(order.id, next);
    w.github.fault_job(next, JobFault::LeaseLost, w.now);
    let lost = w.call(Auth::Runner(token), Op::RunnerRenew);
    check_refused(lost, 404, Exception::JobNotFound, "The job message was not found.");
    // Reported as over while it runs.
    let long = w.job("linux");
    let Outcome::Parked(_) = w.poll(held, i64::MAX, 99) else { panic!() };
    let (id, token) = w.start_runner(set, "r2");
    w.github.fault_job(long, JobFault::PrematureCompleted, w.now);
    assert_eq!((w.stats(set).total_busy_runners, w.stats(set).total_idle_runners), (0, 1));
    assert_eq!(w.call(Auth::Runner(token), Op::RunnerRenew), Ok(ServiceOk::Done), "its lease is good");
    let other = w.job("linux");
    let Outcome::Parked(_) = w.poll(held, i64::MAX, 99) else { panic!() };
    let Outcome::Parked(_) = w.runner(token, Op::RunnerPoll) else { panic!("it has had its one job") };
    w.wait(5.0);
    assert_eq!(w.github.job(other).map(|job| job.state), Some(JobState::Assigned));
    w.github.cancel_job(other, w.now);
    w.events();
    assert_eq!(w.call(Auth::Runner(token), Op::RunnerComplete(JobResult::Succeeded)), Ok(ServiceOk::Done));
    let late = ServiceEvent::JobEndedLate { job: long, runner: id, result: JobResult::Succeeded };
    assert!(w.events().contains(&late));
    assert_eq!((w.stats(set), w.github.audit()), (Statistics::default(), Ok(())));
}

#[test]
fn registrations_can_be_lost_loudly_or_silently() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let held = w.listen(set);
    let mut parked = Vec::new();
    for name in ["loud", "silent"] {
        let (id, jit) = w.register(set, name);
        let token = w.connect(jit);
        let Outcome::Parked(ticket) = w.runner(token, Op::RunnerPoll) else { panic!() };
        parked.push((id, jit, token, ticket));
    }
    w.wait(5.0);
    let (loud, silent) = (parked[0], parked[1]);
    w.github.lose_registration(loud.0, true, w.now);
    w.github.lose_registration(silent.0, false, w.now);
    assert_eq!(w.stats(set), Statistics::default());
    assert!(matches!(w.answered(loud.3), Some(Err(error)) if error.exception == Exception::RunnerNotFound));
    w.job("linux");
    let Outcome::Parked(_) = w.poll(held, 0, 5) else { panic!() };
    assert_eq!(w.await_ticket(silent.3), Ok(ServiceOk::Nothing), "it listens for nothing");
    assert_eq!(w.runner_poll(silent.2), Ok(ServiceOk::Nothing), "and goes on to");
    assert_eq!(w.stats(set).total_running_jobs, 0);
    assert_eq!(w.try_connect(silent.1).map_err(|error| error.exception).err(), Some(Exception::InvalidClient));
    w.register(set, "silent");
    w.wait(200.0);
    assert!(w.github.runner(silent.0).is_none(), "forgotten once it hangs up");
    assert_eq!(w.github.audit(), Ok(()));
}

#[test]
fn a_runners_session_can_be_held_and_forgotten() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let (id, jit) = w.register(set, "r1");
    w.github.hold_runner_session(id, Time::from_secs(60));
    assert_eq!(w.try_connect(jit).map_err(|error| error.status).err(), Some(409));
    w.wait(60.0);
    let token = w.connect(jit);
    let Outcome::Parked(ticket) = w.runner(token, Op::RunnerPoll) else { panic!() };
    w.github.evict_runner_session(id, w.now);
    assert_eq!(w.answered(ticket), Some(Ok(ServiceOk::Nothing)), "nobody waits for ever");
    w.connect(jit);
    let conflict = "A session for this runner already exists.";
    check_refused(w.runner_poll(token), 409, Exception::RunnerSessionConflict, conflict);
}

#[test]
fn answers_can_be_refused_or_spoiled_by_count_and_scope() {
    let mut w = World::of(Personality::Broker);
    let (set, other) = (w.create("linux"), w.create("other"));
    let rule = |ops: &str, firing, answer| AnswerRule {
        ops: OpSet::named([ops]).expect("known"),
        scope: Scope::scale_set("linux"),
        firing,
        answer,
    };
    let error = refusal(500, Exception::None, "boom");
    let firing = Firing { skip: 1, every: 2, count: 2, ..Firing::default() };
    let five_hundred = w.github.fault_answers(rule("generate_jit", firing, AnswerFault::Refuse(error)));
    let statuses: Vec<u16> = (0..7)
        .map(|i| {
            let op = Op::GenerateJitConfig { id: set, name: format_smolstr!("r{i}"), work_folder: "".into() };
            w.admin(op).map_or_else(|error| error.status, |_| 200)
        })
        .collect();
    assert_eq!(statuses, [200, 500, 200, 500, 200, 200, 200]);
    assert_eq!(w.stats(set).total_registered_runners, 5, "a refused call does nothing");
    assert_eq!(fired(&mut w, five_hundred), 2);
    w.register(other, "o1");
    let create = refusal(503, Exception::None, "later");
    w.github.fault_answers(rule("create_scaleset", Firing::once(), AnswerFault::Refuse(create)));
    let op = |name: &str| Op::CreateScaleSet { group: GroupId(1), name: name.into(), labels: vec![] };
    assert!(w.admin(op("third")).is_ok() && w.admin(op("linux")).is_err_and(|e| e.status == 503), "scoped by name");

    let spoil =
        |w: &mut World, op: &str, mode| w.github.fault_answers(rule(op, Firing::once(), AnswerFault::Spoil(mode)));
    spoil(&mut w, "create_session", Malformed::NoStatistics);
    let Ok(ServiceOk::Session(session)) = w.admin(Op::CreateSession { id: set, owner: "l".into() }) else { panic!() };
    assert_eq!(session.statistics, None);
    let held = Held { set, session: session.id, queue: session.queue_token };
    let empty = spoil(&mut w, "get_message", Malformed::Empty);
    assert_eq!(w.poll_through(held, 0, 5), Ok(ServiceOk::Malformed(Malformed::Empty)), "instead of the 202");
    assert_eq!(fired(&mut w, empty), 1);
    spoil(&mut w, "get_message", Malformed::Truncated);
    assert_eq!(w.poll_through(held, 0, 5), Ok(ServiceOk::Nothing), "there is nothing to truncate");
    w.job("linux");
    assert_eq!(w.poll_through(held, 0, 5), Ok(ServiceOk::Malformed(Malformed::Truncated)));
    assert_eq!(kinds(&w.message(held, 0)), ["JobAssigned"], "it was not consumed");
}

#[test]
fn a_scale_set_can_vanish() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let held = w.listen(set);
    let Outcome::Parked(ticket) = w.poll(held, 0, 5) else { panic!() };
    let job = w.job("linux");
    w.github.lose_scale_set(set, w.now);
    assert!(matches!(w.answered(ticket), Some(Err(error)) if error.status == 401));
    assert_eq!(w.github.job(job).map(|job| job.state), Some(JobState::Queued));
    let deleted = ServiceEvent::ScaleSetDeleted { scale_set: set, name: "linux".into(), why: ScaleSetEnd::Lost };
    assert!(w.events().contains(&deleted));
    assert!(w.try_listen(set, "l").is_err_and(|error| error.exception == Exception::ScaleSetNotFound));
}
