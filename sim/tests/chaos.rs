//! Campaigns: the same results for any number of jobs and shards, nothing lost by a kill, findings that replay, a canary that
//! must be found.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use arc_sim::chaos::campaign::Campaign;
use arc_sim::chaos::finding::{Failing, Odds, distinct, find};
use arc_sim::chaos::results::{Header, Results, Shard, Sums, read_seeds};
use arc_sim::chaos::{Class, Finding, Profile, Seen, draw, examine, report};
use arc_sim::scenario;
use controller_core::Release;

fn profile() -> Profile {
    Profile::named("pr").expect("built in")
}

fn seeds(default: u64) -> u64 {
    std::env::var("ARC_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

fn campaign(release: Release, profile: &Profile, shard: Shard, seeds: u64, jobs: usize) -> Sums {
    let campaign = Campaign { release, profile, shard, seeds: Some(seeds), jobs };
    let mut sums = Sums::default();
    campaign.run(&BTreeSet::new(), &mut |seed, seen| {
        sums.add(seed, &seen);
        true
    });
    sums
}

/// `ARC_SIM_SEEDS=10000` is what the contract names; the CLI is compared across builds by `.ci/run`.
#[test]
fn results_depend_neither_on_jobs_nor_on_shards() {
    let (profile, n) = (profile(), seeds(60));
    let alone = campaign(Release::Next, &profile, Shard::WHOLE, n, 1);
    assert_eq!(alone.seeds, n);
    assert_eq!(campaign(Release::Next, &profile, Shard::WHOLE, n, 2), alone);
    let mut joined = Sums::default();
    for index in 0..3 {
        let shard = Shard { index, of: 3 };
        let part = Campaign { release: Release::Next, profile: &profile, shard, seeds: Some(n), jobs: 2 };
        part.run(&BTreeSet::new(), &mut |seed, seen| {
            joined.add(seed, &seen);
            true
        });
    }
    assert_eq!(joined, alone);
}

/// Findings are made several at a time; they are those of one at a time, in the same order.
#[test]
fn findings_depend_not_on_jobs() {
    let profile = profile();
    let release = Release::V0_9_1;
    let sums = campaign(release, &profile, Shard::WHOLE, 12, 2);
    let failing: Vec<Failing> =
        sums.classes.iter().map(|(c, s)| (c.clone(), s.fastest.iter().take(1).map(|(_, s)| *s).collect())).collect();
    let find = |jobs| {
        let mut classes = 0;
        let draw = |seed| draw(seed, &profile, release);
        let found = distinct(&failing, &draw, profile.shrink, jobs, &|| true, &mut || classes += 1);
        assert_eq!(classes, failing.len());
        found
    };
    let alone = find(1);
    assert!(alone.len() > 2, "{} findings", alone.len());
    assert_eq!(find(3), alone);
    for finding in &alone {
        let Odds { fail, of } = finding.odds;
        assert!((1..=7).contains(&fail) && fail <= of && of <= 25, "{fail} of {of}");
        assert!(!finding.odds.are_low() || finding.causes.is_empty(), "luck is no cause: {:?}", finding.causes);
    }
    assert!(alone.iter().any(|f| !f.causes.is_empty()));
    assert!(distinct(&failing, &|seed| draw(seed, &profile, release), 10, 2, &|| false, &mut || ()).is_empty());
}

fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("chaos-{name}"));
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

fn scratch_made(name: &str) -> PathBuf {
    let dir = scratch(name);
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

fn arc_sim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_arc-sim")).args(args).output().expect("it starts")
}

/// Shards as processes, joined by `merge`, say what one process says.
#[test]
fn shards_in_processes_merge_into_the_unsharded_report() {
    let (whole, a, b) = (scratch("whole"), scratch("a"), scratch("b"));
    let run = |dir: &Path, more: &[&str]| {
        let dir = dir.display().to_string();
        let mut args = vec!["chaos", "--arc", "0.9.1", "--seeds", "20", "--no-shrink", "--out", &dir];
        args.extend(more);
        arc_sim(&args)
    };
    let one = run(&whole, &[]);
    run(&a, &["--shard", "0/2"]);
    run(&b, &["--shard", "1/2", "--jobs", "1"]);
    let merged = arc_sim(&["merge", "--no-shrink", &a.display().to_string(), &b.display().to_string()]);
    assert_eq!(String::from_utf8_lossy(&merged.stdout), String::from_utf8_lossy(&one.stdout));
    assert_eq!(merged.status.code(), Some(1), "0.9.1 has bugs that twenty seeds find");
    let missing = arc_sim(&["merge", "--no-shrink", &a.display().to_string()]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("10 of 20 seeds are in none"));
    let twice = arc_sim(&["merge", "--no-shrink", &a.display().to_string(), &a.display().to_string()]);
    assert!(String::from_utf8_lossy(&twice.stderr).contains("stands in the results of two shards"));
    assert_eq!(twice.status.code(), Some(2));
}

/// Killed at any moment and resumed: every seed once, and the report of a campaign that was never killed.
#[test]
fn a_killed_campaign_is_resumed_without_loss_and_without_repeating() {
    let (dir, calm) = (scratch("killed"), scratch("calm"));
    let args = |dir: &Path| {
        ["chaos", "--seeds", "150", "--jobs", "2", "--no-shrink", "--resume", "--progress", "none", "--out"]
            .iter()
            .map(ToString::to_string)
            .chain([dir.display().to_string()])
            .collect::<Vec<_>>()
    };
    let mut before = 0;
    for kill_after in [120, 40, 200, 90] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_arc-sim")).args(args(&dir)).spawn().expect("it starts");
        std::thread::sleep(std::time::Duration::from_millis(kill_after));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        if let Ok((seen, _)) = read_seeds(&dir.join("seeds.jsonl")) {
            assert!(seen.len() >= before, "what was finished stays finished");
            before = seen.len();
        }
    }
    let resumed = Command::new(env!("CARGO_BIN_EXE_arc-sim")).args(args(&dir)).output().expect("it starts");
    let undisturbed = Command::new(env!("CARGO_BIN_EXE_arc-sim")).args(args(&calm)).output().expect("it starts");
    assert_eq!(String::from_utf8_lossy(&resumed.stdout), String::from_utf8_lossy(&undisturbed.stdout));
    let text = std::fs::read_to_string(dir.join("seeds.jsonl")).expect("results");
    assert_eq!(text.lines().count(), 150, "a line per seed, none twice");
}

#[cfg(unix)]
mod interrupted {
    use std::io::{BufRead, BufReader, Read};
    use std::process::{Child, Stdio};
    use std::time::Duration;

    use super::*;

    fn begin(args: &[&str], dir: &Path) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_arc-sim"));
        command.args(["chaos", "--progress", "none", "--resume", "--out"]).arg(dir).args(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    }

    fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
        for _ in 0..10_000 {
            if is_so() {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("{what} within 50 s");
    }

    /// Ctrl-C.
    fn interrupt(child: &Child) {
        let sent = Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().expect("kill starts");
        assert!(sent.success());
    }

    /// The first Ctrl-C ends a campaign in good order: what was found is told, what was run is kept, and `--resume` does the rest.
    #[test]
    fn a_campaign_tells_what_it_found_and_goes_on_later() {
        let (dir, calm) = (scratch("interrupted"), scratch("undisturbed"));
        let args = ["--arc", "0.9.1", "--seeds", "200", "--jobs", "2", "--no-shrink"];
        let child = begin(&args, &dir);
        let results = dir.join("seeds.jsonl");
        wait_until("some seeds", || std::fs::read_to_string(&results).is_ok_and(|text| text.lines().count() > 8));
        interrupt(&child);
        let stopped = child.wait_with_output().expect("it ends");
        let seen = read_seeds(&results).expect("whole lines").0.len();
        assert!(seen < 200, "two hundred seeds take longer than that");
        let (data, talk) = (String::from_utf8_lossy(&stopped.stdout), String::from_utf8_lossy(&stopped.stderr));
        assert_eq!(stopped.status.code(), Some(130), "{talk}");
        assert!(data.starts_with(&format!("{seen} seeds of profile pr on 0.9.1")), "{data}");
        assert!(data.contains("fails first at"), "0.9.1 has bugs that eight seeds find: {data}");
        assert!(talk.ends_with(&format!("stopped after {seen} of 200 seeds; go on with --resume\n")), "{talk}");

        let resumed = begin(&args, &dir).wait_with_output().expect("it ends");
        let undisturbed = begin(&args, &calm).wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&resumed.stdout), String::from_utf8_lossy(&undisturbed.stdout));
        assert_eq!(resumed.status.code(), Some(1));
    }

    /// While findings are made small: those at hand are finished, the others are left for later.
    #[test]
    fn shrinking_stops_after_the_findings_at_hand() {
        let dir = scratch("interrupted-shrinking");
        let mut child = begin(&["--arc", "0.9.1", "--seeds", "20", "--jobs", "2", "--json"], &dir);
        let mut talk = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        talk.read_line(&mut line).expect("it talks");
        assert!(line.starts_with("shrinking what was found: "), "{line}");
        interrupt(&child);
        let stopped = child.wait_with_output().expect("it ends");
        talk.read_to_string(&mut line).expect("it talks");
        assert_eq!(stopped.status.code(), Some(130), "{line}");
        let last = "stopped after all 20 seeds, while what was found was made small; go on with --resume\n";
        assert!(line.ends_with(last), "{line}");
        let lines: Vec<serde_json::Value> = String::from_utf8_lossy(&stopped.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let of = |kind: &str| lines.iter().filter(|l| l["type"] == kind).count();
        assert_eq!((&lines[0]["stopped"], &lines[0]["seeds"]), (&true.into(), &20.into()));
        assert!(of("class") > 4 && of("finding") <= 2, "{lines:?}");
    }

    /// Whether a process hears of Ctrl-C by itself.
    #[cfg(target_os = "linux")]
    fn listens(child: &Child) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
        caught.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & 0b10 != 0)
    }

    /// Runs of scenarios end in good order as well: what was made is judged, the rest is not spoken of.
    #[test]
    #[cfg(target_os = "linux")]
    fn runs_of_scenarios_stop_with_what_they_have() {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/field");
        let mut command = Command::new(env!("CARGO_BIN_EXE_arc-sim"));
        command.args(["run", "--progress", "none", "--jobs", "2"]).arg(scenarios).current_dir(scratch_made("runs"));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        wait_until("a handler", || listens(&child));
        interrupt(&child);
        let stopped = child.wait_with_output().expect("it ends");
        let (data, talk) = (String::from_utf8_lossy(&stopped.stdout), String::from_utf8_lossy(&stopped.stderr));
        assert_eq!(stopped.status.code(), Some(130), "{talk}");
        let (made, of) = talk
            .lines()
            .find_map(|line| line.strip_prefix("stopped after ")?.strip_suffix(" runs")?.split_once(" of "))
            .expect("it says how far it came");
        let number = |text: &str| text.parse::<usize>().expect("a number");
        assert!(number(made) > 0 && number(made) < number(of), "{talk}");
        let told = data.lines().filter(|l| ["pass ", "FAIL ", "measured "].iter().any(|v| l.starts_with(v))).count();
        assert_eq!(told, number(made), "{data}");
    }

    /// A world that takes long is waited for, and by the second Ctrl-C no more.
    #[test]
    fn a_second_one_ends_it_at_once() {
        let dir = scratch("impatient");
        std::fs::create_dir_all(&dir).expect("a directory");
        let (endless, out) = (dir.join("endless.yaml"), dir.join("out"));
        let text = include_str!("../profiles/pr.yaml").replace("run_for: 6m", "run_for: 60d");
        std::fs::write(&endless, text.replace("events: 2000000", "events: 1000000000")).expect("written");
        let profile = endless.display().to_string();
        let mut child = begin(&["--seeds", "1", "--no-shrink", "--profile", &profile], &out);
        wait_until("a campaign", || out.join("campaign.json").exists());
        interrupt(&child);
        std::thread::sleep(Duration::from_millis(200));
        assert!(child.try_wait().expect("it is there").is_none(), "it finishes its world");
        interrupt(&child);
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.code(), Some(130));
        assert!(ended.stdout.is_empty(), "nothing is told any more");
    }
}

/// Whatever the last line of the results was cut to, resuming drops exactly that line.
#[test]
fn a_torn_line_is_dropped_and_a_foreign_one_refused() {
    let dir = scratch("torn");
    let header = Header::new(&profile(), Release::Next, Some(9), Shard::WHOLE);
    let (mut results, _) = Results::open(&dir, &header, false).expect("new");
    let seen = Seen { events: 3, ..Seen::default() };
    results.add(0, &seen).expect("written");
    results.add(1, &seen).expect("written");
    drop(results);
    let path = dir.join("seeds.jsonl");
    let whole = std::fs::read(&path).expect("results");
    let first = whole.iter().position(|b| *b == b'\n').expect("a line") + 1;
    for cut in first..whole.len() {
        std::fs::write(&path, &whole[..cut]).expect("written");
        let (mut results, known) = Results::open(&dir, &header, true).expect("resumed");
        assert_eq!(known, [(0, seen.clone())]);
        results.add(1, &seen).expect("written");
        assert_eq!(std::fs::read(&path).expect("results"), whole);
    }
    assert!(Results::open(&dir, &header, false).is_err(), "results are never overwritten");
    let other = Header { seeds: Some(10), ..header.clone() };
    let said = Results::open(&dir, &other, true).expect_err("another campaign").to_string();
    assert!(said.contains("another campaign"), "{said}");
    std::fs::write(&path, "[0,\"nonsense\"]\n").expect("written");
    let said = Results::open(&dir, &header, true).expect_err("no line of ours").to_string();
    assert!(said.contains("seeds.jsonl:1"), "{said}");
}

/// The canary: an ARC that deletes what its user owns must be caught, shrunk to what it takes, and come back as a scenario that
/// anybody can run: the pipeline reports.
#[test]
fn the_canary_is_found_small_and_replayable() {
    let profile = profile();
    let class = Class { invariant: "owned-by-user".into(), component: "set".into() };
    let plan = (0..40)
        .map(|seed| draw(seed, &profile, Release::V0_11_0))
        .find(|plan| examine(plan, None).classes.contains_key(&class))
        .expect("forty seeds are plenty");
    let finding = find(&plan, &class, profile.shrink).expect("it fails");
    assert!(finding.minimal, "{} tries", finding.tries);
    assert_eq!(finding.replays, 10);
    assert!(finding.plan.actions.len() <= 2, "{}", finding.plan.to_yaml());
    assert!(finding.causes.iter().any(|c| c.switch == "ars_version_gate"), "{:?}", finding.causes);
    assert!(finding.causes.len() < 4, "{:?}", finding.causes);
    // 1-minimal: nothing can be left out.
    for n in 0..finding.plan.actions.len() {
        let mut less = finding.plan.clone();
        less.actions.remove(n);
        assert!(!examine(&less, Some(&class)).classes.contains_key(&class), "action {n} is not needed");
    }
    let text = report::scenario_file(&finding, "canary", "the canary").expect("files can say it");
    let loaded = scenario::load("canary.yaml", &text).unwrap_or_else(|e| panic!("{}\n{text}", e.render(false)));
    let again = loaded.plan(None, Release::V0_11_0, loaded.seed()).expect("it has no variants");
    assert!(examine(&again, None).classes.contains_key(&class), "{text}");
    assert!(loaded.expect(Release::Next).is_some(), "the corrected controller does not do it\n{text}");
}

/// A world that makes the simulator panic, or that never ends, has no promise to name: its file demands that all hold.
#[test]
fn a_finding_without_a_broken_promise_is_a_file_as_well() {
    let plan = (0..40)
        .map(|seed| draw(seed, &profile(), Release::Next))
        .find(|plan| !plan.actions.is_empty() && examine(plan, None).classes.is_empty())
        .expect("the corrected controller keeps its promises");
    let class = Class::panic();
    let actions = (plan.actions.len(), plan.actions.len());
    let finding = Finding {
        class,
        seed: plan.seed,
        plan,
        actions,
        tries: 0,
        minimal: true,
        causes: Vec::new(),
        odds: Odds::default(),
        replays: 10,
    };
    let text = report::scenario_file(&finding, "panics", "a test").expect("files can say it");
    let loaded = scenario::load("panics.yaml", &text).unwrap_or_else(|e| panic!("{}\n{text}", e.render(false)));
    assert_eq!(loaded.scenario.name, "panics");
    assert!(loaded.expect(Release::Next).is_some_and(|e| e.holds.is_some()), "{text}");
}

/// Most fault families change something within a few hundred seeds: what never fires proves nothing.
#[test]
fn drawn_faults_fire() {
    let profile = Profile::named("nightly").expect("built in");
    let campaign =
        Campaign { release: Release::Next, profile: &profile, shard: Shard::WHOLE, seeds: Some(seeds(150)), jobs: 2 };
    let mut sums = Sums::default();
    campaign.run(&BTreeSet::new(), &mut |seed, seen| {
        sums.add(seed, &seen);
        true
    });
    let fired = sums.families.values().filter(|(_, fired)| *fired > 0).count();
    assert!(fired >= 26, "{:?}", sums.families);
    assert!(sums.marks.len() >= 25, "{:?}", sums.marks);
}
