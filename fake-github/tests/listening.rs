//! What a listener is promised: its session, its messages, its long poll (actions-service.md §2.4, §2.5, §3.4, §9).

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

#[test]
fn r1_r3_a_killed_listeners_session_blocks_its_successor_for_90_seconds_of_silence() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    let Outcome::Parked(ticket) = w.poll(held, 0, 5) else { panic!() };
    w.wait(10.0);
    w.github.cancel(ticket, w.now);
    w.wait(89.9);
    assert_eq!(w.try_listen(set, "listener").map_err(|error| error.status).err(), Some(409));
    w.wait(0.2);
    assert!(w.try_listen(set, "listener").is_ok());
    assert!(!w.github.is_parked(ticket));
}

#[test]
fn a_poll_in_flight_keeps_the_session_and_every_e8_and_e11_extends_it() {
    let (mut w, set) = broker();
    w.github.tune(None, |profile| profile.poll_hold = Duration::from_secs(300));
    let held = w.listen(set);
    let Outcome::Parked(ticket) = w.poll(held, 0, 5) else { panic!() };
    w.wait(100.0);
    w.delete_message(held, MessageId(1)).expect("alive");
    w.wait(199.0);
    assert!(w.github.session(set).is_some_and(|session| session.is_polling()));
    assert_eq!(w.await_ticket(ticket), Ok(ServiceOk::Nothing));
    w.wait(80.0);
    w.admin(Op::RefreshSession { id: set, session: held.session }).expect("alive");
    w.wait(80.0);
    w.delete_message(held, MessageId(1)).expect("alive");
    w.wait(80.0);
    assert!(w.github.is_session_open(held.session));
    w.wait(11.0);
    assert!(!w.github.is_session_open(held.session));
    assert_eq!(w.github.next_deadline(), Time::NEVER, "an idle service has nothing to do");
}

#[test]
fn r11_u9_an_offer_acknowledged_but_not_acquired_is_made_again_to_the_next_session() {
    let (mut w, set) = pipelines();
    let held = w.listen(set);
    w.job("linux");
    let offer = w.message(held, 0);
    assert_eq!(kinds(&offer), ["JobAvailable"]);
    w.delete_message(held, offer.id).expect("204");
    assert_eq!(w.poll_through(held, 1, 5), Ok(ServiceOk::Nothing), "the same session hears nothing more of it");
    assert_eq!(w.stats(set).total_available_jobs, 1);
    w.admin(Op::DeleteSession { id: set, session: held.session }).expect("204");
    let held = w.listen(set);
    let again = w.message(held, 0);
    assert_eq!(kinds(&again), ["JobAvailable"]);
    assert!(again.id > offer.id);
    let Ok(ServiceOk::Acquirable(events)) = w.admin(Op::GetAcquirableJobs(set)) else { panic!() };
    assert_eq!(events.len(), 1, "E13 shows it meanwhile");
}

#[test]
fn r13_r26_an_undeleted_message_comes_back_to_every_later_session_with_id_and_body() {
    let (mut w, set) = pipelines();
    w.github.tune(None, |profile| profile.pickup_timeout = Duration::MAX);
    let held = w.listen(set);
    w.job("linux");
    let first = w.message(held, 0);
    assert_eq!(w.acquire(held, &[1001]), Ok(ServiceOk::Acquired(vec![RequestId(1001)])));
    for hours in [0.0, 13.0 * 3600.0] {
        w.wait(hours);
        let _ = w.admin(Op::DeleteSession { id: set, session: w.github.session(set).map_or(SessionId(0), |s| s.id) });
        let held = w.listen(set);
        let again = w.message(held, 0);
        assert_eq!((again.id, &again.events), (first.id, &first.events));
        assert_eq!(again.statistics.total_available_jobs, 0, "the counters are those of now");
        assert_eq!(w.acquire(held, &[1001]), Ok(ServiceOk::Acquired(vec![])), "it is not to be had twice");
    }
}

#[test]
fn a_later_cursor_does_not_prune_and_delete_prunes_exactly_one() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    w.job("linux");
    let one = w.message(held, 0);
    w.job("linux");
    let two = w.message(held, one.id.0);
    assert_eq!(w.message(held, 0).id, one.id, "from the beginning again");
    w.delete_message(held, one.id).expect("204");
    assert_eq!(w.message(held, 0).id, two.id);
    w.job("linux");
    assert_eq!(w.poll_through(held, i64::MAX, 5), Ok(ServiceOk::Nothing), "a cursor beyond the log sees nothing");
    assert_eq!(w.github.scale_set(set).expect("lives").undeleted_messages().count(), 1);
}

#[test]
fn events_coalesce_up_to_fifty_in_one_message() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    for _ in 0..120 {
        w.job("linux");
    }
    let mut sizes = Vec::new();
    let mut last = 0;
    for _ in 0..3 {
        let message = w.message(held, last);
        sizes.push(message.events.len());
        last = message.id.0;
        assert_eq!(message.statistics.total_assigned_jobs, 120);
    }
    assert_eq!(sizes, [50, 50, 20]);
}

#[test]
fn the_broker_never_assigns_beyond_the_capacity_of_the_poll() {
    let (mut w, set) = broker();
    for _ in 0..3 {
        w.job("linux");
    }
    let held = w.listen(set);
    assert_eq!(w.poll_through(held, 0, 0), Ok(ServiceOk::Nothing), "capacity 0 gets nothing although jobs wait");
    let Ok(ServiceOk::Message(one)) = w.poll_through(held, 0, 1) else { panic!() };
    assert_eq!(one.statistics.total_assigned_jobs, 1);
    let Ok(ServiceOk::Message(two)) = w.poll_through(held, one.id.0, 2) else { panic!() };
    assert_eq!((kinds(&two).len(), two.statistics.total_assigned_jobs), (1, 2));
    assert_eq!(w.poll_through(held, two.id.0, 1), Ok(ServiceOk::Nothing), "lowering takes nothing back (U19)");
    assert_eq!(w.stats(set).total_assigned_jobs, 2);
}

#[test]
fn without_acquire_required_gating_everything_is_offered_and_with_it_only_what_fits() {
    let mut w = World::of(Personality::AcquireRequired);
    let (a, b) = (w.create("a"), w.create("b"));
    let spec =
        |w: &World| JobSpec { labels: std::sync::Arc::new([]), ..JobSpec::new(ORG, "", w.now.since(Time::ZERO)) };
    for _ in 0..3 {
        w.github.queue_job(spec(&w), w.now);
    }
    assert_eq!((w.stats(a).total_available_jobs, w.stats(b).total_available_jobs), (3, 3));

    let mut w = World::new(Profile { capacity_gate: Some(true), ..Profile::acquire_required() });
    let (a, b) = (w.create("a"), w.create("b"));
    for _ in 0..3 {
        w.github.queue_job(spec(&w), w.now);
    }
    let (la, lb) = (w.listen(a), w.listen(b));
    assert_eq!(w.poll_through(la, 0, 0), Ok(ServiceOk::Nothing), "max 0 owns nothing (ARC#3446)");
    let Ok(ServiceOk::Message(offer)) = w.poll_through(lb, 0, 10) else { panic!() };
    assert_eq!((offer.events.len(), w.stats(a).total_available_jobs), (3, 0));
}

#[test]
fn news_that_arrive_as_a_poll_ends_are_still_delivered() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    let Outcome::Parked(poll) = w.poll(held, 0, 5) else { panic!() };
    w.wait(49.5);
    w.job("linux");
    w.wait(0.5);
    assert!(matches!(w.answered(poll), Some(Ok(ServiceOk::Message(_)))));
}

#[test]
fn jobs_assigned_while_no_listener_lives_are_in_the_next_sessions_counters() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    w.job("linux");
    w.message(held, 0);
    w.admin(Op::DeleteSession { id: set, session: held.session }).expect("204");
    w.wait(200.0);
    let Ok(ServiceOk::Session(session)) = w.admin(Op::CreateSession { id: set, owner: "next".into() }) else {
        panic!()
    };
    assert_eq!(session.statistics.expect("always").total_assigned_jobs, 1);
}

#[test]
fn thirty_idle_days_of_polls_leave_nothing_behind() {
    let (mut w, set) = broker();
    let held = w.listen(set);
    w.github.tune(None, |profile| profile.queue_ttl = Duration::MAX);
    let held = match w.admin(Op::RefreshSession { id: set, session: held.session }) {
        Ok(ServiceOk::Session(session)) => Held { queue: session.queue_token, ..held },
        other => panic!("{other:?}"),
    };
    let mut polls = 0;
    while w.now < Time::from_secs(30 * 86_400) {
        assert_eq!(w.poll_through(held, 0, 5), Ok(ServiceOk::Nothing));
        polls += 1;
    }
    assert_eq!(polls, 30 * 86_400 / 50);
    assert!(w.github.timers_pending() <= 1);
    let Outcome::Parked(_) = w.poll(held, 0, 5) else { panic!() };
    assert_eq!(w.github.quiet_until(), Time::NEVER, "an engine may skip whole cycles");
}
