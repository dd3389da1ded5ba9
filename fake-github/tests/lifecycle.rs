//! What becomes of jobs and registrations when nobody interferes, and when runners die: the scripts of
//! actions-service.md §9 that concern the service, and §5.2 line by line.

mod common;

use arc_api::service::*;
use arc_api::*;
use common::*;
use fake_github::*;

fn broker() -> (World, ScaleSetId) {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    (w, set)
}

fn pipelines() -> (World, ScaleSetId) {
    let mut w = World::of(Personality::AcquireRequired);
    let set = w.create("linux");
    (w, set)
}

/// Offers, acquires and assigns whatever waits, and empties the queue.
fn drain(w: &mut World, held: Held) -> i64 {
    let mut last = 0;
    while let Ok(ServiceOk::Message(message)) = w.poll_through(held, last, i32::MAX) {
        let is_offer = |event: &&JobEvent| event.kind == JobEventKind::Available;
        let offers: Vec<i64> = message.events.iter().filter(is_offer).map(|event| event.job.request.0).collect();
        if !offers.is_empty() {
            w.acquire(held, &offers).expect("token is fresh");
        }
        w.delete_message(held, message.id).expect("token is fresh");
        last = message.id.0;
    }
    last
}

#[test]
fn two_scale_sets_with_the_same_label_never_both_get_a_job() {
    let mut w = World::of(Personality::AcquireRequired);
    let make = |w: &mut World, name: &str| {
        let labels = vec![name.into(), "gpu".into()];
        let op = Op::CreateScaleSet { group: GroupId(1), name: name.into(), labels };
        let Ok(ServiceOk::ScaleSet(Some(info))) = w.admin(op) else { panic!() };
        info.id
    };
    let (a, b) = (make(&mut w, "a"), make(&mut w, "b"));
    let (la, lb) = (w.listen(a), w.listen(b));
    let (one, two) = (w.job("gpu"), w.job("GPU"));
    assert_eq!(w.acquire(lb, &[1001]), Ok(ServiceOk::Acquired(vec![RequestId(1001)])));
    let both = vec![RequestId(1002)];
    assert_eq!(w.acquire(la, &[1001, 1002]), Ok(ServiceOk::Acquired(both)), "the other's is missing (U10)");
    w.wait(1.0);
    assert_eq!(w.github.job(one).map(|job| (job.scale_set, job.state)), Some((b, JobState::Assigned)));
    assert_eq!(w.github.job(two).map(|job| job.scale_set), Some(a));
    assert_eq!(w.github.audit(), Ok(()));
}

#[test]
fn r20_a_job_nobody_fetches_is_returned_after_300_seconds_and_ends_with_the_third() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    let job = w.job("linux");
    let mut seen = Vec::new();
    let mut last = 0;
    for _ in 0..25 {
        if let Ok(ServiceOk::Message(message)) = w.poll_through(held, last, 5) {
            for (kind, event) in kinds(&message).into_iter().zip(&message.events) {
                if let JobEventKind::Completed { runner, runner_name, result } = &event.kind {
                    assert_eq!((*runner, runner_name.as_str(), *result), (RunnerId(0), "", JobResult::Canceled));
                }
                seen.push((w.now.secs(), kind));
            }
            last = message.id.0;
        }
    }
    let expected = [
        (0, "JobAssigned"),
        (300, "JobCompleted"),
        (300, "JobAssigned"),
        (600, "JobCompleted"),
        (600, "JobAssigned"),
        (900, "JobCompleted"),
    ];
    assert_eq!(seen, expected);
    let job = w.github.job(job).expect("kept");
    assert_eq!(
        (job.attempts, job.state, job.end),
        (3, JobState::Completed(JobResult::Canceled), Some(JobEnd::Unfetched))
    );

    w.github.tune(None, |profile| profile.unfetched = Unfetched::Wait);
    let job = w.job("linux");
    for _ in 0..40 {
        if let Ok(ServiceOk::Message(message)) = w.poll_through(held, last, 5) {
            last = message.id.0;
        }
    }
    assert!(w.github.job(job).is_some_and(|job| !job.is_over() && job.attempts > 3), "or it waits, by knob");
}

#[test]
fn r16_r17_a_busy_runner_is_protected_until_the_service_misses_its_renewals_for_570_seconds() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    let job = w.job("linux");
    let Outcome::Parked(_) = w.poll(held, 0, 5) else { panic!() };
    let (id, token) = w.start_runner(set, "r1");
    w.wait(60.0);
    w.call(Auth::Runner(token), Op::RunnerRenew).expect("its job");
    w.wait(569.0);
    assert_eq!(w.admin(Op::RemoveRunner(id)).map_err(|error| error.status).err(), Some(400));
    assert!(!w.github.runner(id).expect("busy").is_online(), "its session is long gone");
    w.wait(1.5);
    assert_eq!(w.admin(Op::RemoveRunner(id)), Ok(ServiceOk::Done));
    let job = w.github.job(job).expect("kept");
    assert_eq!(
        (job.state, job.end, job.runner),
        (JobState::Completed(JobResult::Failed), Some(JobEnd::RunnerLost), id)
    );
    assert_eq!(w.github.audit(), Ok(()));
}

#[test]
fn r18_a_lost_answer_of_e14_is_repaired_by_name_and_removal() {
    let (mut w, set) = broker();
    w.register(set, "r1");
    let again = w.admin(Op::GenerateJitConfig { id: set, name: "r1".into(), work_folder: "".into() });
    assert_eq!(again.map_err(|error| error.exception).err(), Some(Exception::AgentExists));
    let Ok(ServiceOk::Runner(Some(info))) = w.admin(Op::GetRunnerByName("r1".into())) else { panic!() };
    assert_eq!(w.admin(Op::RemoveRunner(info.id)), Ok(ServiceOk::Done));
    w.register(set, "r1");
    assert_eq!(w.stats(set).total_registered_runners, 1);
}

#[test]
fn r24_a_stopped_idle_runner_can_come_back_and_a_killed_one_meets_its_own_session() {
    let (mut w, set) = broker();
    let (id, jit) = w.register(set, "r1");
    let token = w.connect(jit);
    assert_eq!(w.stats(set).total_idle_runners, 1);
    w.call(Auth::Runner(token), Op::RunnerDisconnect).expect("204");
    assert_eq!((w.stats(set).total_idle_runners, w.stats(set).total_registered_runners), (0, 1));
    let token = w.connect(jit);
    let Outcome::Parked(ticket) = w.runner(token, Op::RunnerPoll) else { panic!() };
    w.github.cancel(ticket, w.now);
    assert_eq!(w.try_connect(jit).map_err(|error| error.status).err(), Some(409), "killed without a word");
    w.wait(91.0);
    w.connect(jit);
    assert_eq!(w.github.runner(id).map(|runner| runner.connects), Some(3));
}

#[test]
fn a_used_registration_never_gets_a_second_job() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    let first = w.job("linux");
    let Outcome::Parked(_) = w.poll(held, 0, 9) else { panic!() };
    let (id, jit) = w.register(set, "r1");
    let token = w.connect(jit);
    assert!(matches!(w.runner_poll(token), Ok(ServiceOk::Job(_))));
    // The process dies; its successor presents the same JIT configuration once the session is gone.
    w.wait(100.0);
    let token = w.connect(jit);
    let second = w.job("linux");
    let Outcome::Parked(_) = w.runner(token, Op::RunnerPoll) else { panic!("there is nothing for it") };
    w.wait(10.0);
    assert_eq!(w.github.job(second).map(|job| job.runner), Some(RunnerId(0)));
    assert_eq!(w.github.runner(id).and_then(|runner| runner.job), Some(first), "the service still believes in it");
    assert_eq!(w.github.audit(), Ok(()));
}

#[test]
fn cancellation_ends_a_job_in_every_state() {
    let (mut w, set) = pipelines();
    let queued = w.job("nobody");
    w.github.cancel_job(queued, w.now);
    let available = w.job("linux");
    w.github.cancel_job(available, w.now);
    let held = w.listen(set);
    let acquired = w.job("linux");
    w.acquire(held, &[1003]).expect("offered");
    w.github.cancel_job(acquired, w.now);
    let assigned = w.job("linux");
    w.acquire(held, &[1004]).expect("offered");
    w.wait(0.2);
    assert_eq!(w.stats(set).total_assigned_jobs, 1);
    w.github.cancel_job(assigned, w.now);
    for job in [queued, available, acquired, assigned] {
        let job = w.github.job(job).expect("kept");
        assert_eq!((job.state, job.end), (JobState::Completed(JobResult::Canceled), Some(JobEnd::Cancelled)));
    }
    assert_eq!(w.stats(set), Statistics::default());
    let running = w.job("linux");
    w.acquire(held, &[1005]).expect("offered");
    let (_, token) = w.start_runner(set, "r1");
    let Outcome::Parked(busy_poll) = w.runner(token, Op::RunnerPoll) else { panic!() };
    w.github.cancel_job(running, w.now);
    assert_eq!(w.answered(busy_poll), Some(Ok(ServiceOk::CancelJob(running))));
    assert_eq!(w.call(Auth::Runner(token), Op::RunnerRenew), Ok(ServiceOk::CancelJob(running)), "told again");
    assert!(!w.github.job(running).expect("kept").is_over(), "until its runner reports");
    w.call(Auth::Runner(token), Op::RunnerComplete(JobResult::Canceled)).expect("its job");
    assert_eq!(w.github.job(running).map(|job| job.state), Some(JobState::Completed(JobResult::Canceled)));
    let deaf = w.job("linux");
    w.acquire(held, &[1006]).expect("offered");
    let (_, deaf_token) = w.start_runner(set, "r2");
    let (cancelled, until) = (w.now, w.now.after(Duration::from_secs(300)));
    w.github.cancel_job(deaf, cancelled);
    w.wait(200.0);
    let token = deaf_token;
    assert_eq!(w.call(Auth::Runner(token), Op::RunnerRenew), Ok(ServiceOk::CancelJob(deaf)), "renewing buys no time");
    assert_eq!(w.github.job(deaf).map(|job| job.deadline), Some(until));
    w.wait(100.0);
    assert_eq!(w.github.job(deaf).and_then(|job| job.end), Some(JobEnd::CancelTimeout));
    assert_eq!((w.stats(set), w.github.audit()), (Statistics::default(), Ok(())));
}

#[test]
fn a_cancelled_assigned_job_is_reported_without_a_runner() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    let job = w.job("linux");
    let first = w.message(held, 0);
    w.github.cancel_job(job, w.now);
    let message = w.message(held, first.id.0);
    let kind = JobEventKind::Completed { runner: RunnerId(0), runner_name: "".into(), result: JobResult::Canceled };
    assert_eq!(message.events[0].kind, kind);
    assert_eq!(message.statistics.total_assigned_jobs, 0);
}

#[test]
fn a_job_nobody_serves_waits_for_its_scale_set_and_not_longer_than_a_day() {
    let mut w = World::of(Personality::Broker);
    let early = w.job("linux");
    w.wait(3600.0);
    let set = w.create("linux");
    assert_eq!(w.stats(set), Statistics::default());
    let held = w.listen(set);
    assert_eq!(kinds(&w.message(held, 0)), ["JobAssigned"]);
    assert_eq!(w.github.job(early).map(|job| job.scale_set), Some(set));
    let late = w.job("windows");
    w.github.advance(w.now.after(Duration::from_secs(24 * 3600)));
    assert_eq!(w.github.job(late).and_then(|job| job.end), Some(JobEnd::QueueLimit));
}

#[test]
fn a_returned_job_has_a_day_from_its_queueing_not_from_its_return() {
    let (mut w, set) = broker();
    w.github.tune(None, |profile| profile.unfetched = Unfetched::Wait);
    let job = w.job("linux");
    w.wait(23.0 * 3600.0);
    let held = w.listen(set);
    w.message(held, 0);
    w.wait(301.0);
    assert_eq!(w.github.job(job).map(|job| (job.state, job.attempts)), Some((JobState::Queued, 1)));
    w.wait(3600.0);
    assert_eq!(w.github.job(job).and_then(|job| job.end), Some(JobEnd::QueueLimit));
}

#[test]
fn a_scale_set_made_again_gets_the_jobs_of_the_one_that_was_deleted() {
    for personality in [Personality::Broker, Personality::AcquireRequired] {
        let mut w = World::of(personality);
        let set = w.create("linux");
        let held = w.listen(set);
        let (running, waiting) = (w.job("linux"), w.job("linux"));
        let Outcome::Parked(poll) = w.poll(held, 0, 5) else { panic!() };
        if personality == Personality::AcquireRequired {
            w.acquire(held, &[1001, 1002]).expect("offered");
        }
        let offered = w.job("linux");
        let (busy, token) = w.start_runner(set, "busy");
        let (idle, _) = w.register(set, "idle");
        w.admin(Op::DeleteScaleSet(set)).expect("204");
        assert!(w.answered(poll).is_some_and(|reply| reply != Ok(ServiceOk::Nothing)), "its poll ended");
        assert_eq!(w.github.job(waiting).map(|job| job.state), Some(JobState::Queued));
        assert_eq!(w.github.job(offered).map(|job| job.state), Some(JobState::Queued), "nobody is offered it any more");
        assert!(w.github.runner(idle).is_none() && w.github.runner(busy).is_some());
        w.call(Auth::Runner(token), Op::RunnerComplete(JobResult::Succeeded)).expect("jobs outlive their scale set");
        assert_eq!(w.github.job(running).map(|job| job.state), Some(JobState::Completed(JobResult::Succeeded)));
        let again = w.create("linux");
        assert!(again > set);
        let held = w.listen(again);
        drain(&mut w, held);
        assert_eq!(w.github.job(waiting).map(|job| (job.scale_set, job.state)), Some((again, JobState::Assigned)));
        assert_eq!(w.github.audit(), Ok(()));
    }
}

#[test]
fn renaming_a_scale_set_moves_its_label_and_the_jobs_that_ask_for_it() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    w.admin(Op::UpdateScaleSet { id: set, group: None, name: Some("new".into()) }).expect("200");
    assert!(w.github.is_session_open(held.session), "the session goes on (recorded: a_update)");
    w.job("linux");
    assert_eq!(w.poll_through(held, 0, 5), Ok(ServiceOk::Nothing));
    w.job("new");
    assert_eq!(w.message(held, 0).events.len(), 1);
}

#[test]
fn an_idle_runner_gets_a_new_job_at_once_and_the_oldest_goes_first() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    let Outcome::Parked(poll) = w.poll(held, 0, 5) else { panic!() };
    let tokens: Vec<Token> = ["r1", "r2"].map(|name| w.register(set, name).1).map(|jit| w.connect(jit)).to_vec();
    let tickets: Vec<Ticket> = tokens
        .iter()
        .map(|token| match w.runner(*token, Op::RunnerPoll) {
            Outcome::Parked(ticket) => ticket,
            other => panic!("{other:?}"),
        })
        .collect();
    w.wait(5.0);
    let job = w.job("linux");
    let Some(Ok(ServiceOk::Job(order))) = w.answered(tickets[0]) else { panic!("the older registration is asked") };
    assert_eq!(order.id, job);
    w.wait(0.5);
    let Some(Ok(ServiceOk::Message(message))) = w.answered(poll) else { panic!() };
    assert_eq!(kinds(&message), ["JobAssigned", "JobStarted"], "both in one batch (§5.2)");
    assert_eq!(w.stats(set).total_idle_runners, 1);
}

#[test]
fn a_registration_nobody_connects_is_cleaned_up_after_a_day() {
    let (mut w, set) = broker();
    let (id, _) = w.register(set, "r1");
    w.wait(86_399.0);
    assert!(w.github.runner(id).is_some());
    w.wait(1.0);
    assert!(w.github.runner(id).is_none());
    assert_eq!((w.stats(set), w.github.runner_named(ORG, "r1").is_none()), (Statistics::default(), true));
}
