//! The corrected listener: no exit but SIGTERM's, no lost message, no leaked session, no target against an open offer.

use arc_api::MessageId;
use arc_api::kube::Reason;
use arc_api::service::{Malformed, ServiceOk, Statistics};

use super::rig::*;
use crate::Release;

fn rig(min: i32, max: i32) -> Rig {
    Rig::new(Release::Next, min, max)
}
fn poison() -> Fault {
    Fault::Answer(ServiceOk::Poison { id: MessageId(7), why: Malformed::Truncated })
}

#[test]
fn one_job_is_acquired_scaled_for_and_recorded_before_its_messages_are_deleted() {
    let mut rig = rig(0, 5);
    rig.say(10, 1, &[offer(1)], statistics(1, 0));
    rig.say(20, 2, &[assigned(1)], statistics(0, 1));
    rig.say(30, 3, &[started(1)], statistics(0, 1));
    rig.say(40, 4, &[completed(1)], statistics(0, 0)).run(100);
    let want = "E7 set=0/1 E12(1) set=1/2 E11(1) set=1/3 E11(2) run+id set=1/4 E11(3) set=0/5 end E11(4) set=0/0";
    assert_eq!(rig.calls(), want);
}

#[test]
fn a_session_conflict_is_waited_for_and_reported_with_its_owner() {
    let mut rig = rig(0, 5);
    rig.ghost(90).run(200);
    let e7 = rig.timed(&["E7"]);
    assert_eq!(e7, "0:E7!409 1:E7!409 3:E7!409 7:E7!409 15:E7!409 31:E7!409 61:E7!409 91:E7");
    assert_eq!(rig.timed(&["al"]), "0:al[SessionConflict] 91:al[]");
    assert!(rig.exited.is_none());
}

#[test]
fn sigterm_ends_a_wait_at_once() {
    let mut rig = rig(0, 5);
    rig.ghost(900).terminate(40).run(100);
    assert_eq!(rig.timed(&["exit"]), "40:exit0");
}

#[test]
fn a_failing_or_unusable_poll_is_retried_in_the_process() {
    let mut rig = rig(0, 5);
    rig.fault("E10", 5, Fault::Status(500)).fault("E10", 2, Fault::Answer(ServiceOk::Malformed(Malformed::Empty)));
    rig.say(70, 1, &[assigned(1)], statistics(0, 1)).run(100);
    let want = "0:E10(0,5)!500 1:E10(0,5)!500 3:E10(0,5)!500 7:E10(0,5)!500 15:E10(0,5)!500 16:E10(0,5)!odd 18:E10(0,5)!odd 22:E10(0,5)";
    assert!(rig.timed(&["E10"]).starts_with(want), "{}", rig.timed(&["E10"]));
    assert!(rig.calls().contains("set=1/") && rig.exited.is_none());
}

#[test]
fn a_forgotten_session_is_replaced_in_the_process_and_nothing_is_handled_twice() {
    let mut rig = rig(0, 5);
    rig.say(10, 1, &[started(1)], statistics(0, 1)).end_session(20);
    rig.say(30, 2, &[completed(1)], statistics(0, 0)).run(60);
    assert!(rig.calls().contains("E11(1) E8!404 E9!404 al[ServiceUnreachable] E7"), "{}", rig.calls());
    assert_eq!(rig.calls().matches("run").count(), 1);
    assert_eq!(rig.timed(&["E7"]), "0:E7 20:E7");
    assert!(rig.exited.is_none());
}

#[test]
fn a_scale_set_that_is_denied_three_times_is_left_to_the_controller() {
    let mut rig = rig(0, 5);
    rig.fault("E7", 9, Fault::Gone).run(60);
    assert_eq!(rig.timed(&["E7", "exit"]), "0:E7!gone 1:E7!gone 3:E7!gone 3:exit1");
}

#[test]
fn sessions_that_are_lost_again_and_again_are_spaced_out() {
    let mut rig = rig(0, 5);
    rig.fault("E10", 1000, Fault::Status(404)).run(120);
    assert!(rig.calls().matches("E7").count() < 12, "{}", rig.timed(&["E7"]));
}

#[test]
fn a_poison_message_is_deleted_after_five_readings_and_its_counters_are_asked_for() {
    let mut rig = rig(0, 5);
    rig.fault("E10", 5, poison()).run(20);
    let polls = "0:E10(0,5)!odd 1:E10(0,5)!odd 3:E10(0,5)!odd 7:E10(0,5)!odd 15:E10(0,5)!odd";
    assert_eq!(rig.timed(&["E10", "E11", "E8"]), format!("{polls} 15:E11(7) 15:E8 15:E10(7,5)"));
    assert!(rig.calls().contains("al[PoisonMessage]"), "{}", rig.calls());
}

#[test]
fn a_refused_patch_is_retried_while_polling_goes_on_and_the_message_stays_until_it_is_taken() {
    let mut rig = rig(0, 5);
    let refused = Some(Reason::ServiceUnavailable);
    rig.kube_fault("set", &[None, refused, refused, refused, refused]);
    rig.say(10, 1, &[assigned(1)], statistics(0, 1)).say(20, 2, &[assigned(2)], statistics(0, 2)).run(100);
    let calls = rig.timed(&["set", "E11"]);
    assert!(calls.starts_with("0:set=0/1 10:set=1/2!503 11:set=1/2!503 13:set=1/2!503"), "{calls}");
    assert!(calls.contains("25:set=2/3") || calls.contains("set=2/3 "), "{calls}");
    assert!(calls.find("E11(1)") > calls.find("set=2/3"), "{calls}");
    assert!(rig.queue.is_empty() && rig.exited.is_none());
}

#[test]
fn a_silent_api_server_is_given_thirty_seconds_a_try() {
    let mut rig = rig(0, 5);
    rig.kube_fault("set", &[None, Some(Reason::Timeout)]).say(10, 1, &[assigned(1)], statistics(0, 1)).run(120);
    assert_eq!(
        rig.timed(&["set", "abort-patch"]).split(" 65:").next(),
        Some("0:set=0/1 10:set=1/2!hole 40:abort-patch 41:set=1/2")
    );
}

#[test]
fn the_session_is_released_within_thirty_seconds_of_sigterm() {
    let mut quiet = rig(0, 5);
    quiet.terminate(20).run(100);
    assert_eq!(quiet.timed(&["TERM", "E9", "exit"]), "20:TERM 20:E9 20:exit0");
    let mut dead = rig(0, 5);
    dead.fault("E9", 9, Fault::Hole).terminate(20).run(100);
    assert_eq!(dead.timed(&["exit"]), "50:exit0");
    let mut creating = rig(0, 5);
    creating.fault("E7", 1, Fault::Slow(4)).terminate(1).run(100);
    assert_eq!(creating.timed(&["E9", "exit"]), "4:E9 4:exit0", "a session that is being made is not leaked");
    let mut handling = rig(0, 5);
    handling.say(10, 1, &[offer(1)], statistics(1, 0)).fault("E12", 1, Fault::Slow(3)).terminate(11).run(100);
    assert!(handling.calls().ends_with("E12(1) TERM set=1/2 E11(1) E9 exit0"), "{}", handling.calls());
    let mut hung = rig(0, 5);
    hung.say(10, 1, &[offer(1)], statistics(1, 0)).fault("E12", 9, Fault::Hole).terminate(11).run(100);
    assert_eq!(hung.timed(&["E9", "exit"]), "26:E9 26:exit0");
}

#[test]
fn only_what_the_maximum_allows_is_acquired_and_the_rest_when_room_appears() {
    let mut rig = rig(0, 1);
    rig.say(10, 1, &[offer(1), offer(2)], statistics(2, 0)).say(20, 2, &[assigned(1)], statistics(1, 1));
    rig.say(30, 3, &[completed(1)], statistics(1, 0)).run(40);
    assert_eq!(rig.timed(&["E12"]), "10:E12(1) 30:E12(2)");
    let mut none = Rig::new(Release::Next, 0, 0);
    none.say(10, 1, &[offer(1)], statistics(1, 0)).run(40);
    assert!(!none.calls().contains("E12"));
}

#[test]
fn a_failed_acquire_is_tried_again_and_offers_of_others_are_dropped() {
    let mut rig = rig(0, 5);
    rig.taken = vec![2];
    rig.say(10, 1, &[offer(1), offer(2)], statistics(2, 0)).fault("E12", 1, Fault::Status(400)).run(40);
    assert_eq!(rig.timed(&["E12", "E11", "set"]), "0:set=0/1 10:E12(1,2)!400 11:E12(1,2) 11:set=1/2 11:E11(1)");
}

#[test]
fn when_offers_turn_out_to_be_gone_the_open_ones_are_asked_for_at_once() {
    let mut rig = rig(0, 1);
    rig.taken = vec![1, 2, 3];
    rig.offers = vec![offer(4)];
    rig.say(10, 1, &[offer(1), offer(2), offer(3), offer(4)], statistics(1, 0)).run(40);
    assert_eq!(rig.timed(&["E12", "E13", "set"]), "0:set=0/1 10:E12(1) 10:E13 10:E12(4) 10:set=1/2");
}

#[test]
fn offers_that_a_predecessor_left_are_asked_for() {
    let mut rig = rig(0, 5);
    rig.statistics = Some(statistics(1, 0));
    rig.offers = vec![offer(9)];
    rig.run(20);
    assert_eq!(rig.calls(), "E7 E13 E12(9) set=1/1");
}

#[test]
fn an_assignment_counts_although_the_statistics_deny_it() {
    let mut rig = rig(0, 5);
    rig.say(10, 1, &[assigned(1)], Statistics::default()).run(70);
    assert_eq!(rig.timed(&["set"]), "0:set=0/1 10:set=1/2 60:set=1/0", "kept by empty polls");
}

#[test]
fn old_statistics_are_asked_for_anew_while_somebody_may_be_waiting() {
    let mut rig = rig(0, 5);
    rig.say(10, 1, &[started(1)], statistics(0, 1)).run(11);
    // The end of the job is never told; the service has forgotten it.
    rig.statistics = Some(Statistics::default());
    rig.run(1500);
    assert!(rig.calls().contains("E8"), "{}", rig.calls());
    assert!(rig.calls().ends_with("set=0/0"), "{}", rig.calls());
}

#[test]
fn a_lost_reply_of_a_delete_or_a_redelivery_changes_nothing() {
    let mut rig = rig(0, 5);
    rig.say(10, 1, &[offer(1)], statistics(1, 0)).fault("E11", 1, Fault::Drop).run(60);
    assert_eq!(rig.calls().matches("E12").count(), 1);
    let mut kept = Rig::new(Release::Next, 0, 5);
    kept.say(10, 1, &[offer(1)], statistics(1, 0)).fault("E11", 1, Fault::Status(400)).run(120);
    assert_eq!(kept.timed(&["E12", "E11"]), "10:E12(1) 10:E11(1)!400 60:E11(1)");
}

#[test]
fn next_exits_for_sigterm_only() {
    for code in ["B", "C", "E7", "E8", "E10", "E11", "E12", "E13"] {
        for fault in [
            Fault::Status(400),
            Fault::Status(401),
            Fault::Status(403),
            Fault::Status(404),
            Fault::Status(500),
            Fault::Drop,
            Fault::Hole,
        ] {
            let mut rig = rig(0, 5);
            rig.admin_life = 120;
            rig.statistics = Some(statistics(1, 0));
            rig.offers = vec![offer(9)];
            rig.fault(code, 7, fault.clone());
            rig.say(200, 1, &[offer(1), started(4)], statistics(1, 1)).end_session(400);
            rig.say(3000, 2, &[assigned(1)], statistics(0, 3)).run(4000);
            assert!(rig.exited.is_none(), "{code} {fault:?}: {}", rig.calls());
            assert!(rig.listener.is_polling(), "{code} {fault:?}: not polling: {}", rig.calls());
            assert!(rig.calls().contains("set=3/"), "{code} {fault:?}: {}", rig.calls());
            // A 404 says that the message is gone; that it lied is harmless, since messages are handled once.
            let lied = code == "E11" && matches!(fault, Fault::Status(404));
            assert!(lied || rig.queue.is_empty(), "{code} {fault:?}: a message is left");
            rig.terminate(5000).run(5100);
            assert_eq!(rig.exited.as_ref().map(|e| e.0), Some(0), "{code} {fault:?}");
            assert!(rig.held.is_none(), "{code} {fault:?}: a session is leaked");
        }
    }
}
