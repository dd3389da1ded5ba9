//! The listener of every release against a small service: the scripts R1–R30 that concern it, and recorded sequences.

use arc_api::MessageId;
use arc_api::kube::Reason;
use arc_api::service::{Malformed, ServiceOk};

use super::rig::*;
use crate::Release::{self, *};

/// One representative of each listener generation that differs.
pub(super) const GENERATIONS: &[Release] =
    &[V0_7_0, V0_8_0, V0_8_3, V0_9_0, V0_9_1, V0_9_3, V0_12_1, V0_13_1, V0_14_0, V0_14_2];

#[track_caller]
pub(super) fn check(release: Release, script: impl FnOnce(&mut Rig), until: u64, want: &str) -> Rig {
    let mut rig = Rig::new(release, 0, 5);
    script(&mut rig);
    rig.run(until);
    assert_eq!(rig.calls(), want, "{release}");
    rig
}

/// One job through offer, assignment, start and end; an empty poll at the end.
fn one_job(rig: &mut Rig) {
    rig.say(10, 1, &[offer(1001)], statistics(1, 0));
    rig.say(20, 2, &[assigned(1001)], statistics(0, 1));
    rig.say(30, 3, &[started(1001)], statistics(0, 1));
    rig.say(40, 4, &[completed(1001)], statistics(0, 0));
}

/// Recorded: a_basic, c_polls, c_msg_http (order), c_session_conflict_ab/0.7.0.
#[test]
fn one_job_is_handled_in_the_order_of_each_release() {
    let old = "E7 set=0 E12(1001) E11(1) set=1 E11(2) run E11(3) set=0 E11(4)";
    check(V0_7_0, one_job, 100, old);
    let plain = "E7 set=0 E12(1001) E11(1) set=0 E11(2) set=1 E11(3) run set=1 E11(4) set=0";
    check(V0_8_0, one_job, 100, plain);
    check(V0_8_3, one_job, 100, plain);
    check(V0_9_0, one_job, 100, "E7 set=0/0 E12(1001) E11(1) E11(2) set=1/1 E11(3) run E11(4) set=0/2");
    let resets = "E7 set=0/0 E12(1001) E11(1) set=0/0 E11(2) set=1/1 E11(3) run set=1/2 E11(4) set=0/3 set=0/0";
    check(V0_9_1, one_job, 100, resets);
    let kept = "E7 set=0/0 E12(1001) E11(1) set=0/0 E11(2) set=1/2 E11(3) run set=1/3 E11(4) set=0/4 set=0/0";
    check(V0_9_3, one_job, 100, kept);
    check(V0_12_1, one_job, 100, kept);
    check(V0_13_1, one_job, 100, &kept.replace("run", "run+id"));
    let never = "E7 set=0/0 E11(1) set=0/0 E11(2) set=1/2 E11(3) run+id set=1/3 E11(4) set=0/4 set=0/0";
    check(V0_14_0, one_job, 100, never);
    let after = "E7 set=0/0 E11(1) E12(1001) set=0/0 E11(2) set=1/2 E11(3) run+id set=1/3 E11(4) set=0/4 set=0/0";
    check(V0_14_2, one_job, 100, after);
}

#[test]
fn polls_carry_the_cursor_and_from_0_9_1_on_the_capacity() {
    for (release, want) in [(V0_9_0, "0:E10(0) 10:E10(1) 60:E10(1)"), (V0_9_1, "0:E10(0,5) 10:E10(1,5) 60:E10(1,5)")] {
        let mut rig = Rig::new(release, 0, 5);
        rig.say(10, 1, &[], statistics(0, 0)).run(70);
        assert_eq!(rig.timed(&["E10"]), want, "{release}");
    }
}

/// R1. Recorded: c_session_conflict.
#[test]
fn a_session_conflict_ends_the_process_after_one_call_from_0_8_on() {
    for release in GENERATIONS.iter().filter(|r| **r > V0_7_0) {
        let mut rig = check(
            *release,
            |r| {
                r.ghost(90);
            },
            200,
            "E7!409 exit1",
        );
        assert!(rig.exited.take().is_some_and(|(_, text)| text.contains("409")), "{release}");
    }
}

/// R2. Recorded: c_session_conflict_ab/0.7.0 (409 at 26 and 59 s, 200 at 92 s).
#[test]
fn a_session_conflict_is_slept_on_in_0_7_0_without_listening_to_sigterm() {
    let mut rig = Rig::new(V0_7_0, 0, 5);
    rig.ghost(60).terminate(200).run(1000);
    let calls = rig.timed(&["E7", "TERM", "exit"]);
    let times: Vec<u64> = calls.split(' ').filter_map(|c| c.split(':').next()?.parse().ok()).collect();
    assert!((30..=44).contains(&(times[1] - times[0])) && (30..=44).contains(&(times[2] - times[1])), "{calls}");
    assert!(calls.ends_with("TERM 200:exit1"), "{calls}");
    let mut rig = Rig::new(V0_7_0, 0, 5);
    rig.ghost(2000).terminate(5).run(1000);
    assert_eq!(rig.calls(), "E7!409 TERM exit1", "ten failures, the later ones without a call");
    let (code, text) = rig.exited.expect("gives up");
    assert_eq!((code, text.contains("10 retry limit")), (1, true));
}

/// Q-SESS-OLD-RETRYALL.
#[test]
fn every_refusal_of_a_session_is_retried_ten_times_in_0_7_0() {
    let mut rig = Rig::new(V0_7_0, 0, 5);
    rig.fault("E7", 100, Fault::Status(404)).run(1000);
    assert_eq!(rig.calls().matches("E7!404").count(), 10);
    assert!(rig.exited.is_some());
}

/// Q-SESS-SELF-CONFLICT. Seen with 0.8.3, 0.9.3, 0.13.1, 0.14.2.
#[test]
fn a_lost_reply_makes_the_listener_conflict_with_itself() {
    for release in [V0_8_3, V0_9_3, V0_13_1, V0_14_2] {
        let rig = check(
            release,
            |r| {
                r.ghost(0).fault("E7", 1, Fault::Drop);
            },
            10,
            "E7!drop E7!409 exit1",
        );
        assert_eq!(rig.timed(&["E7", "exit"]), "0:E7!drop 1:E7!409 1:exit1", "{release}");
        assert!(rig.held.is_some(), "the session has no owner");
    }
}

/// R11. Recorded with 400: c_msg_http/0.12.1, 0.14.2.
#[test]
fn a_failed_acquire_loses_the_offer_only_where_the_message_was_deleted_before() {
    let script = |r: &mut Rig| {
        r.say(10, 1, &[offer(1001)], statistics(1, 0)).fault("E12", 1, Fault::Status(400));
    };
    for release in [V0_8_3, V0_9_1, V0_12_1] {
        let mut rig = Rig::new(release, 0, 5);
        script(&mut rig);
        rig.run(100);
        assert!(rig.calls().ends_with("E12(1001)!400 E9 exit1"), "{release}: {}", rig.calls());
        assert!(rig.queue.contains_key(&1), "the message comes again");
    }
    let rig = check(V0_14_2, script, 100, "E7 set=0/0 E11(1) E12(1001)!400 E9 exit1");
    assert!(rig.queue.is_empty(), "the offer is gone");
}

/// R10, Q-NO-ACQUIRE. Recorded: a_basic/0.14.0.
#[test]
fn offers_are_ignored_in_0_14_0() {
    let script = |r: &mut Rig| {
        r.say(10, 1, &[offer(1001)], statistics(1, 0));
    };
    check(V0_14_0, script, 40, "E7 set=0/0 E11(1) set=0/0");
}

/// R12.
#[test]
fn an_acquire_after_a_refresh_sends_null_up_to_0_8_2() {
    for (release, body) in [(V0_7_0, "1001"), (V0_8_1, "null"), (V0_8_2, "null"), (V0_8_3, "1001"), (V0_14_2, "1001")] {
        let mut rig = Rig::new(release, 0, 5);
        rig.say(10, 1, &[offer(1001)], statistics(1, 0)).fault("E12", 1, Fault::Status(401)).run(40);
        assert!(rig.calls().contains(&format!("E12(1001)!401 E8 E12({body})")), "{release}: {}", rig.calls());
    }
}

/// R13. Recorded: c_msg_http, E3.
#[test]
fn a_401_at_the_delete_ends_the_process_from_0_8_0_to_0_9_1_only() {
    for release in GENERATIONS {
        let mut rig = Rig::new(*release, 0, 5);
        rig.say(10, 1, &[assigned(1)], statistics(0, 1)).fault("E11", 1, Fault::Status(401)).run(40);
        let exits = (V0_8_0..V0_9_2).contains(release);
        let want = if exits { "E11(1)!401" } else { "E11(1)!401 E8 E11(1)" };
        assert!(rig.calls().contains(want), "{release}: {}", rig.calls());
        assert_eq!(rig.exited.is_some(), exits, "{release}");
        assert_eq!(rig.calls().ends_with("E9 exit1"), exits && *release >= V0_8_2, "{release}");
    }
}

/// Recorded: c_msg_http, D1 to D4.
#[test]
fn a_refused_poll_is_refreshed_once() {
    for release in GENERATIONS {
        let start = if *release < V0_9_0 { "E7 set=0" } else { "E7 set=0/0" };
        let close = if matches!(*release, V0_8_0) { "exit1" } else { "E9 exit1" };
        check(
            *release,
            |r| {
                r.fault("E10", 1, Fault::Status(401));
            },
            20,
            &format!("{start} E8"),
        );
        check(
            *release,
            |r| {
                r.fault("E10", 2, Fault::Status(401));
            },
            20,
            &format!("{start} E8 {close}"),
        );
        for status in [400, 401, 404] {
            let script = |r: &mut Rig| {
                r.fault("E10", 1, Fault::Status(401)).fault("E8", 1, Fault::Status(status));
            };
            check(*release, script, 20, &format!("{start} E8!{status} {close}"));
        }
        let script = |r: &mut Rig| {
            r.fault("E10", 1, Fault::Status(401)).fault("E8", 1, Fault::Status(500));
        };
        check(*release, script, 20, &format!("{start} E8!500 E8"));
    }
}

/// R23.
#[test]
fn a_session_that_the_service_forgot_costs_a_restart() {
    let rig = check(
        V0_14_2,
        |r| {
            r.end_session(20);
        },
        100,
        "E7 set=0/0 E8!404 E9!404 exit1",
    );
    assert_eq!(rig.timed(&["exit"]), "20:exit1");
}

/// R22, Q-GET-200-EOF. Recorded: c_msg_http/0.8.3, 0.9.1, 0.12.1, 0.14.2.
#[test]
fn an_empty_200_ends_every_release() {
    for release in GENERATIONS {
        let mut rig = Rig::new(*release, 0, 5);
        rig.fault("E10", 1, Fault::Answer(ServiceOk::Malformed(Malformed::Empty))).run(20);
        let (code, text) = rig.exited.clone().expect("exits");
        assert_eq!((code, text.contains("EOF")), (1, true), "{release}");
        assert_eq!(rig.calls().contains("E9"), *release != V0_8_0, "{release}");
    }
}

fn poison(why: Malformed) -> Fault {
    Fault::Answer(ServiceOk::Poison { id: MessageId(7), why })
}

/// R26. Recorded: c_msg_crash, G3 and H.
#[test]
fn a_message_that_cannot_be_read_is_never_deleted() {
    for release in GENERATIONS {
        let mut rig = Rig::new(*release, 0, 5);
        rig.fault("E10", 1, poison(Malformed::Truncated)).run(20);
        assert!(rig.exited.is_some() && !rig.calls().contains("E11"), "{release}: {}", rig.calls());
        let mut rig = Rig::new(*release, 0, 5);
        rig.fault("E10", 1, poison(Malformed::UnknownType)).run(20);
        let skips = *release == V0_7_0;
        assert_eq!(rig.calls().contains("E11(7)"), skips, "{release}: {}", rig.calls());
        assert_eq!(rig.exited.is_some(), !skips, "{release}");
    }
}

/// Q-STATS-NIL.
#[test]
fn missing_statistics_end_or_panic_by_release() {
    for release in GENERATIONS {
        let mut rig = Rig::new(*release, 0, 5);
        rig.fault("E10", 1, poison(Malformed::NoStatistics)).run(20);
        let panics = *release >= V0_14_0;
        assert_eq!(rig.exited.clone().map(|e| e.0), Some(if panics { 2 } else { 1 }), "{release}");
        let mut rig = Rig::new(*release, 0, 5);
        rig.statistics = None;
        rig.run(20);
        let panics = *release < V0_8_2;
        assert_eq!(rig.exited.clone().map(|e| e.0), Some(if panics { 2 } else { 1 }), "{release}");
        assert_eq!(rig.held.is_some(), panics, "{release}: a panic during construction leaks the session");
    }
}

#[test]
fn a_message_without_events_ends_0_7_0() {
    for release in GENERATIONS {
        let mut rig = Rig::new(*release, 0, 5);
        rig.say(10, 1, &[], statistics(0, 0)).run(20);
        assert_eq!(rig.exited.is_some(), *release == V0_7_0, "{release}");
    }
}

/// R29, Q-OFFER-KILLS-IDLE. Recorded: c_token/0.14.2.
#[test]
fn an_offer_forces_the_idle_runners_away_before_its_assignment() {
    for release in [V0_9_1, V0_9_3, V0_13_1, V0_14_2] {
        let mut rig = Rig::new(release, 0, 5);
        rig.say(10, 1, &[offer(1)], statistics(1, 0)).say(11, 2, &[assigned(1)], statistics(0, 1)).run(30);
        assert!(rig.calls().contains("set=0/0 E11(2) set=1/"), "{release}: {}", rig.calls());
    }
}

/// R4, R5, R7 on the wire. Recorded: c_polls.
#[test]
fn an_empty_poll_patches_as_the_release_does() {
    let script = |r: &mut Rig| {
        r.say(10, 1, &[assigned(1)], statistics(0, 3));
    };
    check(V0_8_3, script, 170, "E7 set=0 E11(1) set=3");
    check(V0_9_0, script, 170, "E7 set=0/0 E11(1) set=3/1");
    check(V0_9_1, script, 170, "E7 set=0/0 E11(1) set=3/1 set=0/0 set=0/0 set=0/0");
    check(V0_12_1, script, 170, "E7 set=0/0 E11(1) set=3/1 set=3/2 set=3/3 set=3/4");
    check(V0_14_2, script, 170, "E7 set=0/0 E11(1) set=3/1 set=3/2 set=3/3 set=3/4");
}

/// Recorded: c_patch_failures; c_msg_crash F (unknown runner).
#[test]
fn a_refused_patch_ends_the_process_with_its_message_deleted() {
    for release in [V0_8_2, V0_9_3, V0_14_2] {
        let mut rig = Rig::new(release, 0, 5);
        rig.kube_fault("set", &[None, Some(Reason::Forbidden)]).say(10, 1, &[assigned(1)], statistics(0, 1)).run(30);
        assert!(rig.calls().ends_with("!403 E9 exit1"), "{release}: {}", rig.calls());
        assert!(rig.queue.is_empty(), "{release}");
    }
    let mut rig = Rig::new(V0_14_2, 0, 5);
    rig.kube_fault("set", &[Some(Reason::Forbidden)]).run(30);
    let text = rig.exited.expect("exits").1;
    let want = r#"handling initial message failed: could not patch ephemeral runner set , patch JSON: {"spec":{"patchID":0,"replicas":null}}, error: refused"#;
    assert_eq!(text, want);
}

#[test]
fn job_data_for_a_runner_that_is_gone_is_ignored_except_in_0_8_0() {
    for release in GENERATIONS {
        for (reason, exits) in [(Reason::NotFound, *release == V0_8_0), (Reason::Forbidden, *release > V0_7_0)] {
            let mut rig = Rig::new(*release, 0, 5);
            rig.kube_fault("run", &[Some(reason)]).say(10, 1, &[started(1), started(2)], statistics(0, 2)).run(30);
            assert_eq!(rig.exited.is_some(), exits, "{release} {reason:?}: {}", rig.calls());
            assert_eq!(rig.calls().matches("run").count(), if exits { 1 } else { 2 }, "{release} {reason:?}");
        }
    }
}

/// Recorded: c_session_conflict_ab/0.7.0, c_graceful/0.7.0 (E13 204, target 1).
#[test]
fn waiting_jobs_are_asked_for_at_the_start_up_to_0_8_1() {
    for (release, want) in
        [(V0_7_0, "E7 E13 E12(5,6) set=1"), (V0_8_1, "E7 E13 set=1"), (V0_8_2, "E7 set=1"), (V0_14_2, "E7 set=1/0")]
    {
        let script = |r: &mut Rig| {
            r.statistics = Some(statistics(2, 1));
            r.offers = vec![offer(5), offer(6)];
        };
        check(release, script, 20, want);
    }
    let script = |r: &mut Rig| {
        r.statistics = Some(statistics(2, 0));
        r.fault("E13", 1, Fault::Status(400));
    };
    let rig = check(V0_7_0, script, 20, "E7 E13!400 exit1");
    assert!(rig.held.is_some(), "Q-SESS-LEAK-SEED");
    check(V0_8_1, script, 20, "E7 E13!400 exit1");
}

/// Q-MAXRUNNERS0-ACQUIRES. Recorded: c_polls (six offers at max 4), c_jobs.
#[test]
fn every_offer_is_acquired_whatever_the_maximum_is() {
    let mut rig = Rig::new(V0_14_2, 0, 1);
    rig.say(10, 1, &[offer(1), offer(2), offer(3)], statistics(3, 0)).run(20);
    assert!(rig.calls().contains("E12(1,2,3)"));
}

/// Q-NO-HTTP-TIMEOUT, Q-POLL-BLACKHOLE-25M.
#[test]
fn a_dead_poll_is_noticed_after_five_minutes_and_never_in_0_7_0() {
    for (release, want) in [(V0_7_0, "0:E10(0)!hole"), (V0_8_3, "0:E10(0)!hole 300:abort 301:E10(0)")] {
        let mut rig = Rig::new(release, 0, 5);
        rig.fault("E10", 1, Fault::Hole).run(320);
        assert_eq!(rig.timed(&["E10", "abort"]), want, "{release}");
    }
    let mut rig = Rig::new(V0_14_2, 0, 5);
    rig.fault("E10", 9, Fault::Hole).run(3000);
    assert_eq!(rig.timed(&["exit"]), "1515:exit1");
}

/// R21, Q-STATS-ZERO.
#[test]
fn an_assignment_that_statistics_deny_scales_nothing() {
    for release in [V0_9_3, V0_14_2] {
        check(
            release,
            |r| {
                r.say(10, 1, &[assigned(1)], statistics(0, 0));
            },
            20,
            "E7 set=0/0 E11(1) set=0/0",
        );
    }
}

#[test]
fn exit_texts_are_those_of_the_generation() {
    for (release, want) in [
        (
            V0_8_3,
            "createSession failed: failed to create session: 409 - had issue communicating with Actions backend: The",
        ),
        (
            V0_9_1,
            "createSession failed: failed to create session: actions error: StatusCode 409, AcivityId \"\": RunnerScaleSet",
        ),
        (
            V0_12_1,
            "createSession failed: failed to create session: failed to do the session request: actions error: StatusCode",
        ),
        (
            V0_14_2,
            "failed to create actions message session client: failed to create message session: failed to do the session",
        ),
    ] {
        let mut rig = Rig::new(release, 0, 5);
        rig.ghost(90).run(10);
        let (_, text) = rig.exited.expect("exits");
        assert!(text.starts_with(want), "{release}: {text}");
    }
}

#[test]
fn a_listener_is_cheap_to_fork() {
    let mut rig = Rig::new(V0_14_2, 0, 5);
    rig.say(10, 1, &[assigned(1)], statistics(0, 1)).run(30);
    assert!(size_of::<super::Listener>() < 900, "{}", size_of::<super::Listener>());
    assert!(rig.listener.is_polling() && !rig.listener.has_exited());
    assert_eq!(rig.listener.session().map(|s| s.owner.as_str()), Some("demo-listener"));
}
