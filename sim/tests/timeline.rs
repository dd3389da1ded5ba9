//! `arc-sim timeline` as people meet it: a page for a scenario and for a plan, and what is wrong with everything else.

use std::path::{Path, PathBuf};

use arc_sim::cli::main_with;
use arc_sim::exit::Exit;

const SCENARIO: &str = r#"
name: one-job
why: A job runs.
release: 0.9.3
clusters: [{ scale_sets: [{ name: linux, max_runners: 1 }] }]
workload: [{ id: job, pattern: single, scale_set: linux }]
run_for: 2m
expect: { next: { holds: all } }
variants: [{ name: no-job, why: Nothing to do., without: [job] }]
"#;

fn arc_sim(args: &[&str]) -> (Exit, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = ["arc-sim", "timeline"].iter().chain(args).map(Into::into);
    let engine = |_: &arc_sim::plan::Plan, _: &arc_sim::report::RunOptions| unreachable!("the world itself is run");
    let exit = main_with(args, &engine, &mut out, &mut err, false);
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("one-job.yaml"), SCENARIO).unwrap();
    path
}

#[test]
fn a_scenario_a_variant_and_a_plan_become_pages() {
    let dir = directory("timeline");
    let (scenario, page) = (dir.join("one-job.yaml"), dir.join("new/page.html"));
    let (scenario, page) = (scenario.to_str().unwrap(), page.to_str().unwrap());
    let (exit, out, err) = arc_sim(&[scenario, "--arc", "0.10.1", "--seed", "7", "--out", page]);
    assert_eq!((exit, out.trim(), err.as_str()), (Exit::Fine, page, ""));
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.starts_with("<!doctype html>") && html.contains("<title>one-job 0.10.1 seed 7</title>"));
    assert!(html.contains(&format!("arc-sim run {scenario} --arc 0.10.1 --seed 7")));

    assert_eq!(arc_sim(&[scenario, "--variant", "no-job", "--out", page]).0, Exit::Fine);
    let html = std::fs::read_to_string(page).unwrap();
    assert!(html.contains("<title>one-job + no-job 0.9.3 seed 0</title>") && html.contains("Nothing to do."));

    let plan = arc_sim::scenario::load("one-job.yaml", SCENARIO).unwrap();
    let plan = plan.plan(None, controller_core::Release::Next, 5).unwrap().to_yaml();
    let file = dir.join("plan.yaml");
    std::fs::write(&file, plan).unwrap();
    assert_eq!(arc_sim(&[file.to_str().unwrap(), "--out", page]).0, Exit::Fine);
    assert!(std::fs::read_to_string(page).unwrap().contains("<title>one-job next seed 5</title>"));
}

#[test]
fn what_cannot_be_shown_is_an_error_that_says_why() {
    let dir = directory("timeline-errors");
    let scenario = dir.join("one-job.yaml");
    let scenario = scenario.to_str().unwrap();
    let bad = dir.join("bad.yaml");
    std::fs::write(&bad, SCENARIO.replace("release:", "relase:")).unwrap();
    let plan = dir.join("plan.yaml");
    std::fs::write(&plan, "schema: 1\n").unwrap();
    let (bad, plan) = (bad.to_str().unwrap(), plan.to_str().unwrap());
    let page = dir.join("page.html");
    let page = page.to_str().unwrap();
    for (args, said) in [
        (&["/nowhere/x.yaml"][..], "/nowhere/x.yaml: No such file"),
        (&[bad, "--out", page], "relase"),
        (&[scenario, "--variant", "nojob", "--out", page], "did you mean `no-job`?"),
        (&[scenario, "--arc", "0.9.9", "--out", page], "no such release"),
        (&[plan, "--arc", "0.9.3", "--out", page], "is a plan: it states its release"),
        (&[plan, "--out", page], "plan.yaml:1:1"),
        (&[scenario, "--out", scenario, "--seed", "x"], "invalid value 'x'"),
        (&[scenario, "--out", &format!("{scenario}/below.html")], "below.html"),
    ] {
        let (exit, out, err) = arc_sim(args);
        assert_eq!((exit, out.as_str()), (Exit::Rejected, ""), "{args:?}");
        assert!(err.contains(said), "{args:?}: {err}");
    }
    assert!(!Path::new(page).exists());
}
