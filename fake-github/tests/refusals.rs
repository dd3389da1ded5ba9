//! Every refusal with status, class and text, and the calls that meet it.

mod common;

use arc_api::service::*;
use arc_api::*;
use common::*;
use fake_github::{Personality, Profile, SessionFault};

const BAD_TOKEN: &str = "The access token is invalid or has expired.";

#[test]
fn session_conflict_has_the_text_of_its_back_end_and_meets_the_same_owner_too() {
    let mut broker = World::of(Personality::Broker);
    let set = broker.create("linux");
    broker.listen(set);
    let reply = broker.admin(Op::CreateSession { id: set, owner: "listener".into() });
    let text = "The actions runner scaleset linux already has an active session.";
    check_refused(reply, 409, Exception::SessionConflict, text);

    let mut pipelines = World::of(Personality::AcquireRequired);
    let set = pipelines.create("linux");
    pipelines.listen(set);
    let reply = pipelines.admin(Op::CreateSession { id: set, owner: "other".into() });
    let text = "The runner scale set linux already has an active session for owner listener.";
    check_refused(reply, 409, Exception::SessionConflict, text);
}

#[test]
fn dead_sessions_are_404_at_the_broker_and_400_otherwise() {
    for (personality, status, exception) in [
        (Personality::Broker, 404, Exception::RunnerAdmin),
        (Personality::AcquireRequired, 400, Exception::SessionExpired),
    ] {
        let mut w = World::of(personality);
        let set = w.create("linux");
        let held = w.listen(set);
        w.github.evict_session(set, w.now);
        let text = match personality {
            Personality::Broker => format!("Session ID {} was not found in redis.", held.session),
            Personality::AcquireRequired => format!("The session identifier {} is not valid.", held.session),
        };
        let reply = w.admin(Op::RefreshSession { id: set, session: held.session });
        check_refused(reply, status, exception, &text);
        let reply = w.admin(Op::DeleteSession { id: set, session: held.session });
        check_refused(reply, status, exception, &text);
        let reply = w.poll_through(held, 0, 5);
        check_refused(reply, 401, Exception::InvalidToken, BAD_TOKEN);
    }
}

#[test]
fn a_queue_token_dies_with_its_session_although_a_new_one_is_open() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let old = w.listen(set);
    w.admin(Op::DeleteSession { id: set, session: old.session }).expect("204");
    let new = w.listen(set);
    check_refused(w.poll_through(old, 0, 5), 401, Exception::InvalidToken, BAD_TOKEN);
    check_refused(w.delete_message(old, MessageId(1)), 401, Exception::InvalidToken, BAD_TOKEN);
    assert_eq!(w.poll_through(new, 0, 5), Ok(ServiceOk::Nothing));
}

#[test]
fn everything_about_a_scale_set_that_is_gone_is_404_and_its_queue_401() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let held = w.listen(set);
    assert_eq!(w.admin(Op::DeleteScaleSet(set)), Ok(ServiceOk::Done));
    let text = "No runner scale set found with identifier 1.";
    for op in [
        Op::GetScaleSetById(set),
        Op::UpdateScaleSet { id: set, group: None, name: Some("x".into()) },
        Op::DeleteScaleSet(set),
        Op::CreateSession { id: set, owner: "l".into() },
        Op::RefreshSession { id: set, session: held.session },
        Op::DeleteSession { id: set, session: held.session },
        Op::GetAcquirableJobs(set),
        Op::GenerateJitConfig { id: set, name: "r".into(), work_folder: "".into() },
    ] {
        check_refused(w.admin(op), 404, Exception::ScaleSetNotFound, text);
    }
    check_refused(w.poll_through(held, 0, 1), 401, Exception::InvalidToken, BAD_TOKEN);
    check_refused(w.delete_message(held, MessageId(1)), 401, Exception::InvalidToken, BAD_TOKEN);
    check_refused(w.acquire(held, &[1001]), 401, Exception::InvalidToken, BAD_TOKEN);
    w.github.tune(None, |profile| profile.missing_scale_set_status = 204);
    assert_eq!(w.admin(Op::DeleteScaleSet(set)), Ok(ServiceOk::Done), "a knob, since GitHub's answer is unknown");
}

#[test]
fn scale_set_names_are_unique_in_their_group_whatever_their_case() {
    let mut w = World::new(Profile { groups: vec![("gpu".into(), GroupId(7))], ..Profile::default() });
    w.create("linux");
    let create = |group, name: &str| Op::CreateScaleSet { group: GroupId(group), name: name.into(), labels: vec![] };
    let text = "A runner scale set named Linux exists in this runner group.";
    check_refused(w.admin(create(1, "Linux")), 409, Exception::ScaleSetExists, text);
    assert!(w.admin(create(7, "linux")).is_ok());
    check_refused(w.admin(create(8, "linux")), 404, Exception::None, "Not Found");
    let clash = w.admin(Op::UpdateScaleSet { id: ScaleSetId(2), group: Some(GroupId(1)), name: None });
    check_refused(clash, 409, Exception::ScaleSetExists, "A runner scale set named linux exists in this runner group.");
    assert_eq!(w.admin(Op::GetRunnerGroup { name: "GPU".into() }), Ok(ServiceOk::Group(GroupId(7))));
    assert_eq!(w.admin(Op::GetRunnerGroup { name: "none".into() }), Ok(ServiceOk::Group(GroupId(0))));
}

#[test]
fn runner_names_are_unique_in_the_tenant_whatever_their_case() {
    let mut w = World::of(Personality::Broker);
    let (a, b) = (w.create("a"), w.create("b"));
    let (id, _) = w.register(a, "Runner-1");
    let reply = w.admin(Op::GenerateJitConfig { id: b, name: "runner-1".into(), work_folder: "".into() });
    check_refused(reply, 409, Exception::AgentExists, "A runner exists with the name runner-1.");
    let Ok(ServiceOk::Runner(Some(info))) = w.admin(Op::GetRunnerByName("RUNNER-1".into())) else { panic!() };
    assert_eq!((info.id, info.scale_set), (id, a));
    assert_eq!(w.admin(Op::RemoveRunner(id)), Ok(ServiceOk::Done));
    assert_eq!(w.admin(Op::GetRunnerByName("runner-1".into())), Ok(ServiceOk::Runner(None)));
    check_refused(w.admin(Op::GetRunner(id)), 404, Exception::AgentNotFound, "No runner found with identifier 1.");
    let (again, _) = w.register(b, "runner-1");
    assert!(again > id, "ids are never used again");
}

#[test]
fn removing_what_does_not_exist_succeeds_and_a_busy_runner_is_refused() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    assert_eq!(w.admin(Op::RemoveRunner(RunnerId(0))), Ok(ServiceOk::Done));
    assert_eq!(w.admin(Op::RemoveRunner(RunnerId(99))), Ok(ServiceOk::Done));
    w.github.tune(None, |profile| profile.unknown_runner_status = 404);
    check_refused(
        w.admin(Op::RemoveRunner(RunnerId(99))),
        404,
        Exception::AgentNotFound,
        "No runner found with identifier 99.",
    );
    let held = w.listen(set);
    w.job("linux");
    let _parked = w.poll(held, 0, 1);
    let (id, jit) = w.register(set, "r1");
    let token = w.connect(jit);
    let fake_github::Outcome::Parked(_) = w.runner(token, Op::RunnerPoll) else { panic!("not ready yet") };
    w.wait(2.0);
    let text = "The runner r1 is still running a job (request 0).";
    check_refused(w.admin(Op::RemoveRunner(id)), 400, Exception::JobStillRunning, text);
}

#[test]
fn a_runner_is_told_what_is_wrong_with_its_registration() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let (id, jit) = w.register(set, "r1");
    let token = w.connect(jit);
    let conflict = "A session for this runner already exists.";
    check_refused(w.try_connect(jit), 409, Exception::RunnerSessionConflict, conflict);
    w.admin(Op::RemoveRunner(id)).expect("idle");
    let gone = "The runner registration was not found.";
    check_refused(w.runner_poll(token), 404, Exception::RunnerNotFound, gone);
    let deleted = "The runner registration has been deleted from the server.";
    check_refused(w.try_connect(jit), 401, Exception::InvalidClient, deleted);
    check_refused(w.try_connect(Token(9_999)), 401, Exception::InvalidClient, deleted);
    let no_job = "The job message was not found.";
    let renew = w.call(Auth::Runner(token), Op::RunnerRenew);
    check_refused(renew, 404, Exception::JobNotFound, no_job);
}

#[test]
fn the_broker_has_no_acquire_and_null_is_a_bad_list() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let held = w.listen(set);
    check_refused(w.acquire(held, &[1001]), 404, Exception::None, "404 page not found");
    assert_eq!(w.admin(Op::GetAcquirableJobs(set)), Ok(ServiceOk::Acquirable(vec![])));

    let mut w = World::of(Personality::AcquireRequired);
    let set = w.create("linux");
    let held = w.listen(set);
    let null = |w: &mut World| w.call(Auth::Queue(held.queue), Op::AcquireJobs { id: set, requests: None });
    check_refused(null(&mut w), 400, Exception::None, "Value cannot be null.");
    w.github.tune(None, |profile| profile.null_acquire_status = 200);
    assert_eq!(null(&mut w), Ok(ServiceOk::Acquired(vec![])));
    assert_eq!(w.acquire(held, &[1, 7, -5, i64::MAX]), Ok(ServiceOk::Acquired(vec![])), "ids of nobody");
}

#[test]
fn a_message_deleted_again_is_204_or_404_by_knob() {
    let mut w = World::of(Personality::Broker);
    let set = w.create("linux");
    let held = w.listen(set);
    assert_eq!(w.delete_message(held, MessageId(5)), Ok(ServiceOk::Done));
    w.github.tune(None, |profile| profile.deleted_message_status = 404);
    check_refused(w.delete_message(held, MessageId(5)), 404, Exception::None, "The message does not exist.");
}

#[test]
fn a_ghost_session_obeys_nobody_and_blocks_everybody_until_its_time() {
    let mut w = World::of(Personality::AcquireRequired);
    let set = w.create("linux");
    let held = w.listen(set);
    let fault = SessionFault { ttl: Some(Duration::from_secs(1200)), survives_deletion: true };
    w.github.set_session_fault(set, fault, w.now);
    assert_eq!(w.admin(Op::DeleteSession { id: set, session: held.session }), Ok(ServiceOk::Done));
    check_refused(w.poll_through(held, 0, 1), 401, Exception::InvalidToken, BAD_TOKEN);
    let refresh = w.admin(Op::RefreshSession { id: set, session: held.session });
    assert_eq!(refresh.map_err(|error| error.exception).err(), Some(Exception::SessionExpired));
    w.wait(1199.0);
    assert_eq!(w.try_listen(set, "next").map_err(|error| error.status).err(), Some(409));
    w.wait(1.0);
    assert!(w.try_listen(set, "next").is_ok());
}
