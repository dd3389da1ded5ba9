//! The command line as people meet it, with an engine whose reports are made by hand.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use arc_api::Time;
use arc_sim::cli::main_with;
use arc_sim::exit::Exit;
use arc_sim::plan::{Action, Plan};
use arc_sim::report::{EventLine, RunOptions, RunReport, Violation};

const GOOD: &str = r#"
name: session-conflict
why: A listener that dies without closing its session is locked out.
release: 0.9.1
clusters: [{ name: prod, scale_sets: [{ name: linux, max_runners: 10 }] }]
workload: [{ pattern: burst, scale_set: linux, count: 3 }]
faults: [{ id: kill, at: 5m, actor_crash: { target: listener/linux } }]
run_for: 1h
expect:
  0.9.0..=0.9.1: { violates: [listener-is-polling] }
  next: { holds: all, metrics: { jobs_failed: 0 } }
variants:
  - { name: no-crash, without: [kill], compare: [jobs_delayed, listener_starts] }
  - { name: wait, why: recommended, run_for: 2h, compare: [jobs_delayed] }
"#;

struct Output {
    exit: Exit,
    out: String,
    err: String,
}

fn directory(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    for (file, text) in files {
        let file = path.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }
    path
}

fn arc_sim(args: &[&str], engine: &(dyn Fn(&Plan, &RunOptions) -> RunReport + Sync)) -> Output {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = std::iter::once("arc-sim").chain(args.iter().copied()).map(Into::into);
    let exit = main_with(args, engine, &mut out, &mut err, false);
    Output { exit, out: String::from_utf8(out).unwrap(), err: String::from_utf8(err).unwrap() }
}

fn no_engine(_: &Plan, _: &RunOptions) -> RunReport {
    unreachable!("nothing is run")
}

/// A world in which everything happens, and in which 0.9.x loses its listener if it crashed.
fn by_hand(plan: &Plan, options: &RunOptions) -> RunReport {
    let crashed = plan.actions.iter().any(|a| matches!(a.what, Action::Fault(_)));
    let line = |number: u64, text: &str| EventLine {
        at: Time::from_secs(300 + number),
        number,
        kind: "process".into(),
        text: text.into(),
    };
    let broken = crashed && plan.release().as_str() != "next";
    let violation = Violation {
        invariant: "listener-is-polling".into(),
        component: "listener".into(),
        at: Time::from_secs(480),
        said: "no poll for 3m".into(),
        about: vec!["AutoscalingRunnerSet arc-runners/linux".into()],
        cause: vec![line(1, "listener/linux: exits 137"), line(2, "listener/linux: exits 1: 409")],
    };
    RunReport {
        violations: if broken { vec![violation] } else { Vec::new() },
        metrics: [
            ("jobs_queued", 3.0),
            ("jobs_failed", 0.0),
            ("jobs_delayed", if broken { 2.0 } else { 0.0 }),
            ("listener_starts", 1.5),
        ]
        .into(),
        events: 1_599,
        fingerprint: 0xdead_beef ^ plan.seed,
        fired: plan.actions.iter().map(|a| a.id.clone()).collect(),
        ended_at: Time::from_secs(4_200),
        tail: if options.trace {
            vec![line(3, "controller/arc: get pods"), line(4, "world: the end")]
        } else {
            Vec::new()
        },
        trace: options.trace.then(|| vec![line(1, "listener/linux: exits 137"), line(4, "world: the end")]),
        ..RunReport::default()
    }
}

/// What was printed, without the paths of this machine.
fn shown(output: &Output, directory: &Path) -> String {
    let text = format!("exit {}\n--- stdout\n{}--- stderr\n{}", output.exit.code(), output.out, output.err);
    text.replace(&directory.display().to_string(), "DIR")
}

macro_rules! snapshot {
    ($name:literal, $text:expr) => {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(concat!("cli__", $name), $text);
        })
    };
}

#[test]
fn help_names_every_command_and_exit_code() {
    let help = arc_sim(&["--help"], &no_engine);
    assert_eq!(help.exit, Exit::Fine);
    let run = arc_sim(&["run", "--help"], &no_engine);
    snapshot!("help", format!("{}\n=== run\n{}", help.out, run.out));
}

#[test]
fn bad_usage_is_rejected() {
    for args in [&["run"][..], &["fly"], &["run", "x.yaml", "--arc", "0.9.9"], &["run", "x.yaml", "--jbos", "2"], &[]] {
        let output = arc_sim(args, &no_engine);
        assert_eq!(output.exit, Exit::Rejected, "{args:?}");
        assert!(output.out.is_empty() && !output.err.is_empty(), "{args:?}");
    }
    let output = arc_sim(&["run", "x.yaml", "--arc", "0.9.9"], &no_engine);
    assert!(output.err.contains("did you mean `0.9.0`?"), "{}", output.err);
    assert_eq!(arc_sim(&["run", "/nowhere/x.yaml"], &no_engine).exit, Exit::Rejected);
}

#[test]
fn a_run_is_one_line_per_release_a_table_and_a_verdict() {
    let dir = directory("runs", &[("a.yaml", GOOD), ("bad/ignored.yaml", "nonsense: [")]);
    let output = arc_sim(&["run", dir.to_str().unwrap(), "--progress", "none"], &by_hand);
    assert_eq!(output.exit, Exit::Fine);
    snapshot!("run_passes", shown(&output, &dir));
}

#[test]
fn a_failing_run_shows_its_cause_and_how_to_see_it_again() {
    let dir = directory("fails", &[("a.yaml", &GOOD.replace("violates: [listener-is-polling]", "holds: all"))]);
    let out = dir.join("out");
    let args = [
        "run",
        dir.to_str().unwrap(),
        "--no-variants",
        "--arc",
        "0.9.1",
        "--seed",
        "7",
        "--out",
        out.to_str().unwrap(),
    ];
    let output = arc_sim(&args, &by_hand);
    assert_eq!(output.exit, Exit::Failed);
    snapshot!("run_fails", shown(&output, &dir));
    let plan = out.join("session-conflict.0.9.1.7/plan.yaml");
    let replayed = arc_sim(&["replay", plan.to_str().unwrap()], &by_hand);
    assert_eq!(replayed.exit, Exit::Failed);
    assert!(replayed.out.contains("listener-is-polling violated: no poll for 3m"), "{}", replayed.out);
    let _ = std::fs::remove_dir_all("out");
}

#[test]
fn an_expected_violation_that_does_not_happen_fails() {
    let dir = directory("missing", &[("a.yaml", GOOD)]);
    let engine = |plan: &Plan, options: &RunOptions| RunReport { violations: Vec::new(), ..by_hand(plan, options) };
    let out = dir.join("out");
    let args = ["run", dir.to_str().unwrap(), "--no-variants", "--arc", "0.9.1", "--out", out.to_str().unwrap()];
    let output = arc_sim(&args, &engine);
    assert_eq!(output.exit, Exit::Failed);
    assert!(output.out.contains("listener-is-polling was expected to be violated and held"), "{}", output.out);
}

#[test]
fn a_fault_that_never_fires_fails_the_run() {
    let dir = directory("vacuous", &[("a.yaml", GOOD)]);
    let engine = |plan: &Plan, options: &RunOptions| RunReport { fired: Default::default(), ..by_hand(plan, options) };
    let out = dir.join("out");
    let args = ["run", dir.to_str().unwrap(), "--no-variants", "--out", out.to_str().unwrap()];
    let output = arc_sim(&args, &engine);
    assert_eq!(output.exit, Exit::Failed);
    assert!(output.out.contains("`kill` never had an effect"), "{}", output.out);
}

#[test]
fn json_is_one_object_per_line_of_a_known_type() {
    let dir = directory("json", &[("a.yaml", GOOD)]);
    let args = ["run", dir.to_str().unwrap(), "--json", "--trace", "--arc", "next,0.9.1"];
    let output = arc_sim(&args, &by_hand);
    let mut types = std::collections::BTreeSet::new();
    for line in output.out.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(value["v"], 1);
        types.insert(value["type"].as_str().unwrap().to_owned());
    }
    let types: Vec<&str> = types.iter().map(String::as_str).collect();
    assert_eq!(types, ["mitigation", "run", "summary", "trace", "violation"]);
    snapshot!("json", shown(&output, &dir));
}

#[test]
fn one_bad_file_stops_everything_and_is_told_as_data_too() {
    let dir =
        directory("bad-file", &[("a.yaml", GOOD), ("b.yaml", "name: b\nwhy: x\nrelase: 0.9.1\n"), ("c.yaml", GOOD)]);
    let output = arc_sim(&["run", dir.to_str().unwrap(), "--json"], &no_engine);
    assert_eq!(output.exit, Exit::Rejected);
    snapshot!("bad_file", shown(&output, &dir));
    assert_eq!(arc_sim(&["check", dir.to_str().unwrap()], &no_engine).exit, Exit::Rejected);
    let sound = arc_sim(&["check", dir.join("a.yaml").to_str().unwrap()], &no_engine);
    assert_eq!((sound.exit, sound.out.as_str()), (Exit::Fine, "1 scenarios are sound\n"));
}

#[test]
fn a_panic_is_our_bug_and_leaves_its_plan() {
    let dir = directory("panics", &[("a.yaml", GOOD)]);
    let out = dir.join("out");
    let engine = |plan: &Plan, options: &RunOptions| match plan.release().as_str() {
        "next" => panic!("index out of bounds"),
        _ => by_hand(plan, options),
    };
    let output = arc_sim(&["run", dir.to_str().unwrap(), "--no-variants", "--out", out.to_str().unwrap()], &engine);
    assert_eq!(output.exit, Exit::Bug);
    assert!(output.out.contains("index out of bounds"), "{}", output.out);
    assert!(output.out.contains("pass     session-conflict 0.9.1"), "{}", output.out);
    assert!(out.join("session-conflict.next.0/plan.yaml").exists());
}

#[test]
fn runs_that_differ_are_located() {
    let dir = directory("diverges", &[("a.yaml", GOOD)]);
    let out = dir.join("out");
    let calls = AtomicU64::new(0);
    let engine = |plan: &Plan, options: &RunOptions| {
        let call = calls.fetch_add(1, Ordering::Relaxed);
        let mut report = by_hand(plan, options);
        report.fingerprint ^= call;
        if let Some(last) = report.trace.as_mut().and_then(|t| t.last_mut()) {
            last.text = arc_api::format_smolstr!("drawn {}", call % 2);
        }
        report
    };
    let args = [
        "run",
        dir.to_str().unwrap(),
        "--twice",
        "--jobs",
        "1",
        "--no-variants",
        "--arc",
        "next",
        "--out",
        out.to_str().unwrap(),
    ];
    let output = arc_sim(&args, &engine);
    assert_eq!(output.exit, Exit::Diverged);
    snapshot!("diverged", shown(&output, &dir));
}

#[test]
fn list_names_everything_that_files_are_made_of() {
    let dir = directory("list", &[("a.yaml", GOOD)]);
    let words = ["faults", "workloads", "operators", "invariants", "metrics", "releases", "switches"];
    let all: Vec<&str> = ["list", dir.to_str().unwrap()].into_iter().chain(words).collect();
    let output = arc_sim(&all, &no_engine);
    // Switches and metrics come and go with details; that they are listed is enough here.
    let text = shown(&output, &dir);
    let (words, rest) = text.split_once("metrics (").unwrap();
    assert!(controller_core::Behaviour::SWITCHES.iter().all(|s| rest.contains(s.name)));
    assert!(arc_sim::scenario::vocabulary::METRICS.iter().all(|m| rest.contains(m.id)));
    assert!(controller_core::Release::ALL.iter().all(|r| rest.contains(r.as_str())));
    snapshot!("list", words);
    let few = arc_sim(&["list", "invariants"], &no_engine);
    assert!(few.out.starts_with("invariants (") && !few.out.contains("faults ("), "{}", few.out);
    let wrong = arc_sim(&["list", "invariant"], &no_engine);
    assert_eq!((wrong.exit, wrong.out.as_str()), (Exit::Rejected, ""));
    assert!(wrong.err.contains("`invariant` is no file and none of scenarios, faults"), "{}", wrong.err);
}

#[test]
fn explain_says_what_a_word_means_and_where_it_comes_from() {
    let words = [
        "gh_session",
        "container_job",
        "uninstall",
        "job-gets-runner",
        "SAFE-JIT",
        "tenants-isolated",
        "jobs_delayed",
        "er_backoff",
        "0.12.1",
        "Q-ROLE-RULES-NOT-REPAIRED",
        "gh_sesion",
        "xyzzy",
    ];
    let text: String = words
        .iter()
        .map(|w| format!("$ explain {w}\n{}\n", shown(&arc_sim(&["explain", w], &no_engine), Path::new("DIR"))))
        .collect();
    snapshot!("explain", text);
}

#[test]
fn every_word_can_be_explained() {
    use arc_sim::scenario::vocabulary::{INVARIANTS, METRICS};
    let words = arc_sim::plan::Fault::IDS.iter().chain(arc_sim::plan::Operator::IDS).copied();
    let words = words.chain(arc_sim::scenario::file::Pattern::ALL.iter().map(|p| p.as_str()));
    let words = words.chain(INVARIANTS.iter().flat_map(|i| [i.id, i.catalogue])).chain(METRICS.iter().map(|m| m.id));
    let words = words.chain(controller_core::Release::ALL.iter().map(|r| r.as_str()));
    for word in words.chain(controller_core::Behaviour::SWITCHES.iter().map(|s| s.name)) {
        let output = arc_sim(&["explain", word], &no_engine);
        assert_eq!(output.exit, Exit::Fine, "{word}");
        assert!(output.out.lines().count() > 2, "{word}: {}", output.out);
    }
}

/// Whatever a file may state has a line in the list, with a sentence, and can be explained by its path or by its own name.
#[test]
fn every_setting_can_be_found() {
    let listed = arc_sim(&["list", "settings"], &no_engine).out;
    let paths: Vec<&str> = listed.lines().skip(1).filter_map(|l| l.split_whitespace().next()).collect();
    for known in
        ["run_for", "clusters.scale_sets.min_runners", "existing.runners.busy_for", "github.orgs.credentials.kind"]
    {
        assert!(paths.contains(&known), "{known}");
    }
    for (path, line) in paths.iter().zip(listed.lines().skip(1)) {
        assert!(line.split_whitespace().count() > 1, "{path} has no sentence");
        let own = path.rsplit('.').next().unwrap_or(path);
        for name in [*path, own] {
            let output = arc_sim(&["explain", name], &no_engine);
            assert_eq!(output.exit, Exit::Fine, "{name}");
            assert!(output.out.contains(path), "{name}: {}", output.out);
        }
    }
    let near = arc_sim(&["explain", "busy_fro"], &no_engine);
    assert!(near.err.contains("busy_for"), "{}", near.err);
}

#[test]
fn colour_is_asked_for_and_nothing_rests_on_it() {
    let dir = directory("colour", &[("a.yaml", GOOD)]);
    let args = ["run", dir.to_str().unwrap(), "--no-variants", "--color"];
    let plain = arc_sim(&[&args[..], &["never"]].concat(), &by_hand);
    let coloured = arc_sim(&[&args[..], &["always"]].concat(), &by_hand);
    assert!(!plain.out.contains('\u{1b}') && coloured.out.contains('\u{1b}'));
    let mut stripped = coloured.out.clone();
    for code in ["31", "32", "33", "36", "2", "0"] {
        stripped = stripped.replace(&format!("\u{1b}[{code}m"), "");
    }
    assert_eq!(stripped, plain.out);
}
