//! What CI systems get: a JUnit file, annotations and a step summary where GitHub Actions runs, and a stream that keeps its schema.

use std::path::{Path, PathBuf};

use arc_api::Time;
use arc_sim::cli::{Ci, main_in};
use arc_sim::exit::Exit;
use arc_sim::plan::Plan;
use arc_sim::report::{RunOptions, RunReport, Violation};
use serde_json::Value;

const SCENARIO: &str = r#"
name: no-listener
why: Something fails on old releases.
release: 0.9.1
clusters: [{ scale_sets: [{ name: linux }] }]
workload: [{ pattern: single, scale_set: linux }]
run_for: 1h
expect: { 0.9.1: { holds: all }, next: { holds: all } }
variants: [{ name: longer, run_for: 2h, compare: [jobs_failed] }]
"#;

fn engine(plan: &Plan, options: &RunOptions) -> RunReport {
    let violation = Violation {
        invariant: "listener-is-polling".into(),
        component: "listener".into(),
        at: Time::from_secs(60),
        said: "no <poll>".into(),
        about: vec!["linux".into()],
        cause: Vec::new(),
    };
    RunReport {
        violations: if plan.release().as_str() == "next" { Vec::new() } else { vec![violation] },
        metrics: [("jobs_failed", 1.5)].into(),
        ended_at: Time::from_secs(90),
        trace: options.trace.then(Vec::new),
        ..RunReport::default()
    }
}

fn directory(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("a.yaml"), SCENARIO).unwrap();
    path
}

fn arc_sim(ci: &Ci, args: &[&str]) -> (Exit, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once(&"arc-sim").chain(args).map(Into::into);
    let exit = main_in(ci, args, &engine, &mut out, &mut err, false);
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn a_junit_file_tells_all_runs() {
    let dir = directory("junit");
    let (file, junit, out) = (dir.join("a.yaml"), dir.join("new/junit.xml"), dir.join("out"));
    let args = ["run", file.to_str().unwrap(), "--junit", junit.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let (exit, _, err) = arc_sim(&Ci::default(), &args);
    assert_eq!(exit, Exit::Failed);
    assert!(!err.contains("::error"), "{err}");
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert!(xml.contains(r#"<testsuites name="arc-sim" tests="3" failures="1" errors="0" time="270.000">"#), "{xml}");
    assert!(xml.contains(r#"<testsuite name="no-listener + longer" tests="1" failures="0""#), "{xml}");
    assert!(
        xml.contains(r#"<failure type="listener-is-polling" message="listener-is-polling violated: no &lt;poll&gt;">"#)
    );
    assert!(xml.contains("replay: arc-sim replay"), "{xml}");

    let nowhere = dir.join("a.yaml/junit.xml");
    let (exit, _, err) = arc_sim(
        &Ci::default(),
        &["run", file.to_str().unwrap(), "--arc", "next", "--junit", nowhere.to_str().unwrap()],
    );
    assert!(exit == Exit::Rejected && err.contains("junit.xml: "), "{err}");
}

#[test]
fn github_actions_gets_annotations_and_a_summary_and_data_stays_data() {
    let dir = directory("github");
    let (file, out, summary) = (dir.join("a.yaml"), dir.join("out"), dir.join("summary.md"));
    std::fs::write(&summary, "before\n").unwrap();
    let ci = Ci { github: true, summary: Some(summary.clone()) };
    let args = ["run", file.to_str().unwrap(), "--json", "--no-variants", "--out", out.to_str().unwrap()];
    let (exit, data, talk) = arc_sim(&ci, &args);
    assert_eq!(exit, Exit::Failed);
    assert!(data.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{data}");
    let commands: Vec<&str> = talk.lines().filter(|l| l.starts_with("::")).collect();
    let title = format!("::error file={},title=no-listener 0.9.1 seed 0::", file.display());
    assert!(commands.len() == 1 && commands[0].starts_with(&title), "{talk}");
    let text = std::fs::read_to_string(&summary).unwrap();
    assert!(text.starts_with("before\n### arc-sim: 1 failed, 1 passed\n"), "{text}");

    let bad = dir.join("bad.yaml");
    std::fs::write(&bad, "name: b\nwhy: x\nrelase: 0.9.1\n").unwrap();
    let (exit, _, talk) = arc_sim(&ci, &["run", bad.to_str().unwrap()]);
    assert_eq!(exit, Exit::Rejected);
    let place = format!("::error file={},line=3,col=1,title=files {}::unknown key", bad.display(), bad.display());
    assert!(talk.contains(&place), "{talk}");
    // A summary that cannot be written fails nothing.
    let ci = Ci { github: true, summary: Some(dir.join("a.yaml/summary.md")) };
    let (exit, _, talk) = arc_sim(&ci, &["run", file.to_str().unwrap(), "--arc", "next", "--no-variants"]);
    assert!(exit == Exit::Fine && talk.contains("warning: "), "{talk}");
}

#[test]
fn the_committed_report_schema_is_that_of_the_types() {
    let committed = include_str!("../schema/report.schema.json");
    let (exit, schema, _) = arc_sim(&Ci::default(), &["schema", "--report"]);
    assert_eq!(exit, Exit::Fine);
    assert!(committed == schema, "run: cargo run -p arc-sim -- schema --report > sim/schema/report.schema.json");
}

/// Every member of a line, by its type, as the schema names them.
fn members(schema: &Value) -> std::collections::BTreeMap<String, (Vec<String>, Vec<String>)> {
    let names = |v: &Value| v.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let branches = schema["oneOf"].as_array().expect("one branch for each type");
    let of = |b: &Value| {
        let all = b["properties"].as_object().expect("members").keys().cloned().collect();
        (b["properties"]["type"]["const"].as_str().expect("a type").to_owned(), (all, names(&b["required"])))
    };
    branches.iter().map(of).collect()
}

#[test]
fn what_is_printed_is_what_the_schema_says() {
    let dir = directory("schema");
    let (file, out) = (dir.join("a.yaml"), dir.join("out"));
    let (_, data, _) =
        arc_sim(&Ci::default(), &["run", file.to_str().unwrap(), "--json", "--out", out.to_str().unwrap()]);
    let (_, schema, _) = arc_sim(&Ci::default(), &["schema", "--report"]);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let types = ["diverged", "mitigation", "panic", "problem", "replay", "run", "summary", "trace", "violation"];
    conforms(&data, &schema, &types);
}

/// Every line is of one of these types, which are the schema's, and has the members that it names. Gives the lines.
fn conforms(data: &str, schema: &Value, types: &[&str]) -> Vec<Value> {
    assert_eq!(schema["properties"]["v"]["const"], arc_sim::report::event::VERSION);
    let members = members(schema);
    assert_eq!(members.keys().map(String::as_str).collect::<Vec<_>>(), types);
    let lines: Vec<Value> = data.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &lines {
        let (all, required) = &members[line["type"].as_str().unwrap()];
        let there = line.as_object().unwrap();
        assert!(required.iter().all(|name| there.contains_key(name)), "{line} lacks one of {required:?}");
        assert!(there.keys().all(|name| name == "v" || all.contains(name)), "{line} has more than {all:?}");
        assert_eq!(line["v"], arc_sim::report::event::VERSION);
    }
    lines
}

#[test]
fn the_committed_schema_of_campaigns_is_that_of_the_types() {
    let committed = include_str!("../schema/chaos.schema.json");
    let (exit, schema, _) = arc_sim(&Ci::default(), &["schema", "--chaos"]);
    assert_eq!(exit, Exit::Fine);
    assert!(committed == schema, "run: cargo run -p arc-sim -- schema --chaos > sim/schema/chaos.schema.json");
}

/// A real campaign with its findings, and the same of its results merged.
#[test]
fn the_lines_of_a_campaign_are_what_its_schema_says() {
    let dir = directory("campaign-lines");
    let (results, merged, junit) = (dir.join("out"), dir.join("merged"), dir.join("merged.xml"));
    let chaos = ["chaos", "--arc", "0.9.1", "--seeds", "3", "--json", "--progress", "none", "--out"];
    let (exit, data, talk) = arc_sim(&Ci::default(), &[&chaos[..], &[results.to_str().unwrap()]].concat());
    assert_eq!(exit, Exit::Failed, "{talk}");
    let (_, schema, _) = arc_sim(&Ci::default(), &["schema", "--chaos"]);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let lines = conforms(&data, &schema, &["campaign", "class", "finding"]);
    let of = |kind: &str| lines.iter().filter(|l| l["type"] == kind).collect::<Vec<_>>();
    assert_eq!((&lines[0]["type"], &lines[0]["seeds"]), (&"campaign".into(), &3.into()));
    assert!(!of("class").is_empty() && !of("finding").is_empty(), "{data}");
    let keys = |v: &Value| v.as_object().into_iter().flatten().map(|(k, _)| k.clone()).collect::<Vec<_>>();
    let same = |v: &Value, name: &str| assert_eq!(keys(v), keys(&schema["$defs"][name]["properties"]), "{v}");
    of("class").into_iter().for_each(|class| same(&class["fastest"], "Fastest"));
    of("finding").into_iter().flat_map(|f| f["causes"].as_array().unwrap()).for_each(|cause| same(cause, "Cause"));
    assert!(of("finding").iter().all(|f| Path::new(f["file"].as_str().unwrap()).is_file()), "{data}");

    let merge = ["merge", results.to_str().unwrap(), "--json", "--out", merged.to_str().unwrap()];
    let (exit, again, _) = arc_sim(&Ci::default(), &[&merge[..], &["--junit", junit.to_str().unwrap()]].concat());
    assert_eq!(exit, Exit::Failed);
    assert_eq!(again.replace(merged.to_str().unwrap(), results.to_str().unwrap()), data);
    let xml = std::fs::read_to_string(&junit).unwrap();
    assert_eq!(xml.matches("<failure type=").count(), of("class").len(), "{xml}");
}

#[test]
fn a_campaign_is_a_case_for_each_class_of_failures() {
    let dir = directory("campaign");
    let (junit, summary, out) = (dir.join("junit.xml"), dir.join("summary.md"), dir.join("out"));
    let ci = Ci { github: true, summary: Some(summary.clone()) };
    let campaign = ["chaos", "--arc", "0.9.1", "--seeds", "12", "--no-shrink", "--progress", "none"];
    let paths = ["--out", out.to_str().unwrap(), "--junit", junit.to_str().unwrap()];
    let (exit, _, talk) = arc_sim(&ci, &[&campaign[..], &paths[..]].concat());
    assert_eq!(exit, Exit::Failed, "{talk}");
    let xml = std::fs::read_to_string(&junit).unwrap();
    let classes = xml.matches("<failure type=").count();
    assert!(classes > 0, "{xml}");
    assert!(xml.contains(r#"<testcase name="12 seeds" classname="chaos pr on 0.9.1""#), "{xml}");
    assert_eq!(talk.matches("::error title=chaos pr on 0.9.1 ").count(), classes.min(10), "{talk}");
    assert!(
        std::fs::read_to_string(&summary).unwrap().starts_with(&format!("### arc-sim: {classes} failed, 1 passed\n"))
    );
}
