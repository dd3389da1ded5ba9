//! The scaler against the vectors of actions-service.md §4.13 and against what releases were recorded to send.

use std::sync::Arc;

use arc_api::service::{JobEventKind, JobInfo, JobResult};
use arc_api::{JobId, RequestId, RunnerId};

use super::*;
use crate::{Behaviour, Release};

fn statistics(assigned: i32) -> Statistics {
    Statistics { total_assigned_jobs: assigned, ..Statistics::default() }
}

fn events(started: usize, completed: usize) -> Vec<JobEvent> {
    let job = |n: usize| {
        Arc::new(JobInfo {
            id: JobId(n as u64 + 1),
            request: RequestId(0),
            display_name: "build".into(),
            repository: "my-org/app".into(),
            workflow_ref: "ci.yml@main".into(),
            workflow_run: 1,
        })
    };
    let runner_name = arc_api::Str::from("r");
    let runner = RunnerId(1);
    let s = (0..started)
        .map(|n| JobEvent { kind: JobEventKind::Started { runner, runner_name: runner_name.clone() }, job: job(n) });
    let result = JobResult::Succeeded;
    let c = (0..completed).map(|n| JobEvent {
        kind: JobEventKind::Completed { runner, runner_name: runner_name.clone(), result },
        job: job(n),
    });
    s.chain(c).collect()
}

/// `s1` is a session with 1 assigned, `m2`, `m2s1`, `m2c1` messages with started or completed jobs, `-` an empty poll.
fn step(scaler: &mut Scaler, text: &str, now: Time) -> String {
    let number = |c: char| text.split(c).nth(1).map_or(0, |t| leading(t) as usize);
    let target = match text.chars().next() {
        Some('s') => {
            let statistics = statistics(leading(&text[1..]));
            scaler.observe(Some(&statistics), &[], now);
            scaler.desired(Seen::Session(&statistics))
        }
        Some('m') => {
            let events = events(number('s'), number('c'));
            let statistics = statistics(leading(&text[1..]));
            scaler.observe(Some(&statistics), &events, now);
            scaler.desired(Seen::Message(&statistics, &events))
        }
        _ => scaler.desired(Seen::Nothing),
    };
    match target {
        None => "-".into(),
        Some(Target { replicas, patch_id: None }) => replicas.to_string(),
        Some(Target { replicas, patch_id: Some(id) }) => format!("{replicas}/{id}"),
    }
}

fn leading(text: &str) -> i32 {
    text.split(|c: char| !c.is_ascii_digit()).next().and_then(|t| t.parse().ok()).unwrap_or(0)
}

#[track_caller]
fn check(rule: ScalerRule, min: i32, max: i32, inputs: &str, want: &str) {
    let mut scaler = Scaler::new(rule, min, max, Time::ZERO);
    let got: Vec<String> = inputs.split(' ').map(|i| step(&mut scaler, i, Time::ZERO)).collect();
    assert_eq!(got.join(" "), want, "{rule:?}, min {min}, max {max}: {inputs}");
}

#[track_caller]
fn check_release(release: Release, min: i32, max: i32, inputs: &str, want: &str) {
    check(Behaviour::of(release).scaler, min, max, inputs, want);
}

#[test]
fn vector_a_of_every_rule() {
    let inputs = "s0 m3 - m3s3 m2c1 - m0c2 - -";
    check(ScalerRule::Floor, 0, 5, inputs, "0 3 - - 2 - 0 - -");
    check(ScalerRule::EveryMessage, 0, 5, inputs, "0 3 - 3 2 - 0 - -");
    check(ScalerRule::OnChange, 0, 5, inputs, "0/0 3/1 - - 2/2 - 0/3 - -");
    check(ScalerRule::EmptyResets, 0, 5, inputs, "0/0 3/1 0/0 3/1 2/2 0/0 0/1 0/0 0/0");
    check(ScalerRule::EmptyKeeps, 0, 5, inputs, "0/0 3/1 3/2 3/3 2/4 2/5 0/6 0/0 0/0");
    check(ScalerRule::Statistics, 0, 5, inputs, "0/0 3/1 3/2 3/3 2/4 2/5 0/6 0/0 0/0");
}

#[test]
fn vector_b_of_every_rule() {
    let inputs = "s1 m1s1 m5 - m0 - m0c5 -";
    check(ScalerRule::Floor, 2, 4, inputs, "2 - 4 - 2 - - -");
    check(ScalerRule::EveryMessage, 2, 4, inputs, "3 3 4 - 2 - 2 -");
    check(ScalerRule::OnChange, 2, 4, inputs, "3/0 - 4/1 - 2/2 - 2/3 -");
    check(ScalerRule::EmptyResets, 2, 4, inputs, "3/0 3/1 4/2 2/0 2/0 2/0 2/1 2/0");
    check(ScalerRule::EmptyKeeps, 2, 4, inputs, "3/0 3/1 4/2 4/3 4/4 4/5 2/6 2/0");
    check(ScalerRule::Statistics, 2, 4, inputs, "3/0 3/1 4/2 4/3 2/4 2/0 2/6 2/0");
}

#[test]
fn ids_wrap_from_the_largest_to_one_in_0_14() {
    let mut scaler = Scaler::new(ScalerRule::Statistics, 0, 5, Time::ZERO);
    scaler.seq = i64::from(i32::MAX) - 1;
    let ids: Vec<String> = ["m1", "m2", "m3"].iter().map(|i| step(&mut scaler, i, Time::ZERO)).collect();
    assert_eq!(ids, ["1/2147483647", "2/1", "3/2"]);
}

#[test]
fn unlimited_maximum_does_not_overflow() {
    for switch in Behaviour::SWITCHES.iter().filter(|s| s.name == "scaler") {
        for (value, _) in switch.values {
            let mut b = Behaviour::of(Release::V0_14_2);
            b.set("scaler", value).expect("a listed value");
            let mut scaler = Scaler::new(b.scaler, 2, i32::MAX, Time::ZERO);
            assert!(step(&mut scaler, "m2147483647", Time::ZERO).starts_with("2147483647"), "{value}");
        }
    }
}

/// Recorded: a_basic (min 0, max 3; session, offers, assigned, started, completed, empty poll).
#[test]
fn three_jobs_give_the_recorded_patches_in_every_release() {
    let inputs = "s0 m0 m3 m3s3 m0c3 -";
    for release in Release::tagged() {
        let want = match release {
            Release::V0_7_0 => "0 - 3 - 0 -",
            r if *r < Release::V0_9_0 => "0 0 3 3 0 -",
            Release::V0_9_0 => "0/0 - 3/1 - 0/2 -",
            Release::V0_9_1 => "0/0 0/0 3/1 3/2 0/3 0/0",
            _ => "0/0 0/0 3/2 3/3 0/4 0/0",
        };
        check_release(*release, 0, 3, inputs, want);
    }
}

/// Recorded: a_minmax (min 2, max 4), phases 1 to 3 and the burst of phase 4.
#[test]
fn warm_runners_and_a_burst_give_the_recorded_patches() {
    let inputs = "s0 - - m0 m1 m1s1";
    check_release(Release::V0_9_1, 2, 4, inputs, "2/0 2/0 2/0 2/0 3/1 3/2");
    let inputs = "s0 - - m0 m1s1 m0c1 - m6 m6s2 m4c2 m4s2 m0c4 -";
    let kept = "2/0 2/0 2/0 2/0 3/4 2/5 2/0 4/7 4/8 4/9 4/10 2/11 2/0";
    for release in [Release::V0_9_3, Release::V0_11_0, Release::V0_12_1, Release::V0_13_0, Release::V0_14_2] {
        check_release(release, 2, 4, inputs, kept);
    }
    check_release(Release::V0_9_1, 2, 4, inputs, "2/0 2/0 2/0 2/0 3/1 2/2 2/0 4/1 4/2 4/3 4/4 2/5 2/0");
    check_release(Release::V0_9_0, 2, 4, inputs, "2/0 - - - 3/1 2/2 - 4/3 - 4/4 - 2/5 -");
    check_release(Release::V0_8_3, 2, 4, inputs, "2 - - 2 3 2 - 4 4 4 4 2 -");
}

/// R5, R6: without a completion the target is stuck; one completion frees it. 0.14 follows the statistics.
#[test]
fn a_target_without_completions_is_sticky_up_to_0_13() {
    check_release(Release::V0_13_1, 0, 5, "s0 m3 m0 - - -", "0/0 3/1 3/2 3/3 3/4 3/5");
    check_release(Release::V0_13_1, 0, 5, "s0 m3 m0c1 -", "0/0 3/1 0/2 0/0");
    check_release(Release::V0_14_2, 0, 5, "s0 m3 m0 -", "0/0 3/1 0/2 0/0");
}

/// R7, R8.
#[test]
fn empty_polls_repeat_the_target_with_new_ids_and_force_only_at_min_in_0_14() {
    check_release(Release::V0_14_2, 0, 5, "s3 - - -", "3/0 3/1 3/2 3/3");
    check_release(Release::V0_14_2, 0, 5, "s0 - - -", "0/0 0/0 0/0 0/0");
}

/// R4.
#[test]
fn the_first_empty_poll_of_0_9_1_forces_the_runners_of_assigned_jobs_away() {
    check_release(Release::V0_9_1, 0, 5, "s0 m3 - - -", "0/0 3/1 0/0 0/0 0/0");
}

#[test]
fn next_never_forces_with_its_first_patch_nor_with_an_event() {
    let born = Time::from_secs(1000);
    let mut scaler = Scaler::new(ScalerRule::DemandAware, 1, 5, born);
    let got: Vec<String> =
        ["s0", "-", "m1", "-", "m0c1", "-", "-", "-"].iter().map(|i| step(&mut scaler, i, born)).collect();
    // The poll after the assignment may force as well: whatever is above the target then is surplus.
    assert_eq!(got, ["1/1001", "1/0", "2/1003", "2/0", "1/1005", "1/0", "1/1007", "1/0"]);
    let mut later = Scaler::new(ScalerRule::DemandAware, 1, 5, Time::from_secs(2000));
    assert_eq!(step(&mut later, "s0", born), "1/2001", "ids of a successor are new");
}

#[test]
fn next_does_not_force_while_an_offer_is_open() {
    let mut scaler = Scaler::new(ScalerRule::DemandAware, 0, 5, Time::ZERO);
    let _ = step(&mut scaler, "s0", Time::ZERO);
    let mut offer = events(1, 0).remove(0);
    offer.kind = JobEventKind::Available;
    Arc::make_mut(&mut offer.job).request = RequestId(7);
    let offers = [offer];
    scaler.observe(Some(&statistics(0)), &offers, Time::ZERO);
    let target = scaler.desired(Seen::Message(&statistics(0), &offers));
    assert!(target.is_some_and(|t| t.patch_id != Some(0)));
    assert_ne!(step(&mut scaler, "-", Time::ZERO), "0/0", "the offer is not taken yet");
    let requests = scaler.demand().expect("next").affordable_offers(5);
    scaler.demand_mut().expect("next").on_acquired(&requests, &requests, Time::ZERO);
    assert!(step(&mut scaler, "-", Time::ZERO).starts_with("1/"), "an acquired job wants a runner");
}
