//! Recorded histories of one runner (a_basic), call by call.

use super::*;

#[test]
fn recorded_history_of_a_runner_0_8_3() {
    let mut w = World::new(Release::V0_8_3);
    ordinary_life(&mut w);
    let born =
        [ONLY_F2, F2_F1, "get secrets gh", "E14 200", JIT_STATUS, "get secrets 404", "create secrets", "get secrets"];
    let end = ["get secrets gh", "E15 404", SUCCEEDED, ONLY_F1, "delete pods", "get secrets", "delete secrets"];
    let gone = ["get secrets 404", "list secrets", NONE];
    check_trace(&mut w, &[&born[..], &["create pods"], &STARTING, &end, &gone].concat());
}

#[test]
fn recorded_history_of_a_runner_0_9_1() {
    let mut w = World::new(Release::V0_9_1);
    ordinary_life(&mut w);
    let born =
        [ONLY_F2, F2_F1, "get secrets gh", "E14 200", JIT_STATUS, "get secrets 404", "create secrets", "get secrets"];
    let end =
        ["get secrets gh", "E15 404", SUCCEEDED, "delete pods", "get secrets", "delete secrets", "get secrets 404"];
    let gone = [ONLY_F1, "get secrets 404", "list secrets", NONE];
    check_trace(&mut w, &[&born[..], &["create pods"], &STARTING, &end, &gone].concat());
}

#[test]
fn recorded_history_of_a_runner_0_12_1() {
    let mut w = World::new(Release::V0_12_1);
    ordinary_life(&mut w);
    let born =
        [ONLY_F1, F1_F2, "get secrets gh", "E14 200", JIT_STATUS, "get secrets 404", "create secrets", "get secrets"];
    let end = [SUCCEEDED, "delete pods", "get secrets", "delete secrets", "get secrets 404"];
    let gone = ["get secrets gh", "E17 200", ONLY_F1, "get secrets 404", NONE];
    check_trace(&mut w, &[&born[..], &["create pods"], &STARTING, &end, &gone].concat());
}

#[test]
fn recorded_history_of_a_runner_0_14_2() {
    let mut w = World::new(Release::V0_14_2);
    ordinary_life(&mut w);
    let born = [F1_F2, "get secrets 404", "get secrets gh", "E14 200", "create secrets", ID_STATUS, "create pods"];
    let end = ["delete ephemeralrunners", "get secrets gh", "E17 200", ONLY_F1, "delete pods", "get secrets"];
    check_trace(&mut w, &[&born[..], &STARTING, &end, &["delete secrets", NONE]].concat());
}

#[test]
fn a_trailing_pass_on_a_stale_copy_reads_the_secret_and_ignores_the_404() {
    let mut w = up(Release::V0_14_2);
    delete(&mut w, "r");
    let stale = w.clone();
    settle(&mut w, "r");
    w.caches = stale.caches.clone();
    w.caches.of_mut(Kind::Pod).remove(&Key::new(NS, "r"));
    let mut last = (*stale.runner("r")).clone();
    last.metadata.finalizers = [FINALIZER.into()].into();
    w.caches.of_mut(Kind::EphemeralRunner).insert(last.into());
    w.take_trace();
    assert_eq!(w.run("r"), Outcome::Settled);
    check_trace(&mut w, &["get secrets 404", r#"patch ephemeralrunners 404 {"metadata":{"finalizers":null}}"#]);
}
