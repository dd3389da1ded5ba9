//! How a listener of each release ends: SIGTERM in every state, and what becomes of the session.

use arc_api::kube::Reason;

use super::rig::*;
use super::tests::{GENERATIONS, check};
use crate::Release::*;

/// R30. Recorded: c_graceful, A, B and E.
#[test]
fn sigterm_cuts_an_idle_poll_and_closes_the_session_at_once() {
    for release in GENERATIONS {
        let start = if *release < V0_9_0 { "E7 set=0" } else { "E7 set=0/0" };
        let close = if matches!(*release, V0_8_0) { "exit1" } else { "E9 exit1" };
        let rig = check(
            *release,
            |r| {
                r.terminate(20);
            },
            60,
            &format!("{start} TERM abort {close}"),
        );
        assert_eq!(rig.timed(&["exit"]), "20:exit1", "{release}");
    }
}

#[test]
fn sigterm_lets_a_message_in_hand_be_finished_from_0_8_2_on() {
    let script = |r: &mut Rig| {
        r.say(10, 1, &[offer(1001)], statistics(1, 0)).fault("E11", 1, Fault::Slow(3)).terminate(11);
    };
    let rig = check(V0_12_1, script, 60, "E7 set=0/0 E12(1001) E11(1) TERM set=0/0 E9 exit1");
    assert_eq!(rig.timed(&["TERM", "exit"]), "11:TERM 13:exit1");
    check(V0_14_2, script, 60, "E7 set=0/0 E11(1) TERM E12(1001) set=0/0 E9 exit1");
    check(V0_8_2, script, 60, "E7 set=0 E12(1001) E11(1) TERM set=0 E9 exit1");
    check(V0_8_1, script, 60, "E7 set=0 E12(1001) E11(1) TERM abort exit1");
    check(V0_7_0, script, 60, "E7 set=0 E12(1001) E11(1) TERM abort E9 exit1");
}

/// Recorded: c_graceful E/0.12.1, 0.14.2 (the patch hangs across SIGTERM); 0.7.0 aborts it.
#[test]
fn a_patch_that_the_api_server_does_not_answer_outlives_sigterm() {
    let script = |r: &mut Rig| {
        r.kube_fault("set", &[None, Some(Reason::Timeout)]).say(10, 1, &[assigned(1)], statistics(0, 1)).terminate(12);
    };
    for release in [V0_8_3, V0_12_1, V0_14_2] {
        let mut rig = Rig::new(release, 0, 5);
        script(&mut rig);
        rig.run(4000);
        assert!(rig.exited.is_none() && rig.calls().ends_with("!hole TERM"), "{release}: {}", rig.calls());
    }
    check(V0_7_0, script, 60, "E7 set=0 set=1!hole TERM abort-patch E9 exit1");
    let initial = |r: &mut Rig| {
        r.kube_fault("set", &[Some(Reason::Timeout)]).terminate(2);
    };
    check(V0_14_2, initial, 60, "E7 set=0/0!hole TERM abort-patch E9 exit1");
}

/// Recorded: c_graceful, C, D and F.
#[test]
fn the_end_of_a_session_takes_as_long_as_the_release_lets_it() {
    for (release, end) in [(V0_7_0, Some(50)), (V0_8_3, Some(50)), (V0_12_1, Some(50)), (V0_14_2, None)] {
        let mut rig = Rig::new(release, 0, 5);
        rig.fault("E9", 9, Fault::Hole).terminate(20).run(200);
        assert_eq!(rig.exited.is_some(), end.is_some(), "{release}");
        if let Some(end) = end {
            assert_eq!(rig.timed(&["exit"]), format!("{end}:exit1"), "{release}");
        }
        let mut rig = Rig::new(release, 0, 5);
        rig.fault("E9", 9, Fault::Status(500)).terminate(20).run(200);
        assert_eq!(
            rig.timed(&["E9", "exit"]),
            "20:E9!500 21:E9!500 23:E9!500 27:E9!500 35:E9!500 35:exit1",
            "{release}"
        );
    }
}

/// R28. Recorded: c_token/0.9.3, 0.12.1.
#[test]
fn a_stop_needs_a_token_once_the_first_one_is_old() {
    for release in [V0_9_3, V0_12_1, V0_14_2] {
        let mut rig = Rig::new(release, 0, 5);
        rig.admin_life = 100;
        rig.fault_at(60, "B", 1, Fault::Status(401)).terminate(70).run(200);
        assert_eq!(rig.timed(&["B", "E9", "exit"]), "0:B 70:B!401 70:exit1", "{release}");
        assert!(rig.held.is_some(), "the session is leaked");
        let mut rig = Rig::new(release, 0, 5);
        rig.admin_life = 100;
        rig.terminate(70).run(200);
        assert_eq!(rig.timed(&["B", "C", "E9", "exit"]), "0:B 0:C 70:B 70:C 70:E9 70:exit1", "{release}");
    }
}
