//! One plan has one history: twice in a process, in two processes, and whatever else the plan holds. And the check itself is
//! checked: a planted leak is found, and found where it began.
#![allow(clippy::disallowed_types, clippy::disallowed_methods, clippy::expect_used)]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::process::Command;
use std::time::SystemTime;

use arc_api::{Duration, Time};
use arc_sim::chaos::{Profile, draw};
use arc_sim::outcome::RunReport;
use arc_sim::plan::fault::{GhError, GhOp, Scope};
use arc_sim::plan::{Action, Dur, Fault, Plan, PlannedAction, Ratio, When};
use arc_sim::trace::{Trace, first_divergence};
use arc_sim::world::{Leak, RunOptions, run, run_leaking};
use controller_core::Release;

const WITH_TRACE: RunOptions = RunOptions { trace: true, stop_at_violation: false, stop_on: None };

/// How many worlds: `ARC_SIM_SEEDS`, or a few.
fn seeds(few: u64) -> u64 {
    std::env::var("ARC_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}

fn quick(plan: &Plan) -> RunReport {
    run(plan, &RunOptions::default())
}

/// A world as chaos draws it.
fn drawn(number: u64) -> Plan {
    draw(number, &Profile::named("nightly").expect("built in"), Release::Next)
}

/// What two runs of one plan must have in common, all of it.
fn same(number: u64, a: &RunReport, b: &RunReport) {
    if let Some((x, y)) = first_divergence(&a.trace, &b.trace) {
        let line = |t: &Trace, e: Option<&_>| e.map_or("nothing more".to_owned(), |e| t.line(e));
        panic!("world {number} diverges:\n  {}\n  {}", line(&a.trace, x), line(&b.trace, y));
    }
    assert_eq!(a.fingerprint, b.fingerprint, "world {number}");
    // The fingerprint is made of digests; the text is the whole event.
    for (x, y) in a.trace.events().iter().zip(b.trace.events()) {
        assert_eq!(a.trace.line(x), b.trace.line(y), "world {number}: a difference that the fingerprint does not see");
        assert_eq!(x.cause, y.cause, "world {number} #{}", x.id);
    }
    let facts = |r: &RunReport| {
        let said: Vec<_> = r.violations.iter().map(|v| format!("{v:?}")).collect();
        (
            r.ending,
            r.events,
            r.ended_at,
            r.figures.clone(),
            r.error_lines.clone(),
            r.hits.clone(),
            r.pending.clone(),
            said,
        )
    };
    assert_eq!(facts(a), facts(b), "world {number}");
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    for number in 0..seeds(60) {
        let (a, b) = (drawn(number), drawn(number));
        assert_eq!(a, b);
        assert_eq!(a.to_yaml(), b.to_yaml());
    }
}

#[test]
fn a_plan_that_was_written_down_gives_the_same_run() {
    for number in 0..seeds(15) {
        let plan = drawn(number);
        let text = plan.to_yaml();
        let again = arc_sim::scenario::load_plan("p.yaml", &text).unwrap_or_else(|e| panic!("{}", e.render(false)));
        assert_eq!(plan, again, "{text}");
        assert_eq!(quick(&plan).fingerprint, quick(&again).fingerprint, "world {number}");
    }
}

#[test]
fn the_same_plan_gives_the_same_run_in_one_process() {
    let mut prints = BTreeMap::new();
    for number in 0..seeds(60) {
        let plan = drawn(number);
        let (a, b) = (run(&plan, &WITH_TRACE), run(&plan, &WITH_TRACE));
        same(number, &a, &b);
        let fast = quick(&plan);
        assert_eq!(fast.fingerprint, a.fingerprint, "world {number}: keeping the trace changes the run");
        assert_eq!(fast.events, a.events);
        prints.insert(a.fingerprint, number);
    }
    assert_eq!(prints.len() as u64, seeds(60), "different worlds have different histories");
}

#[test]
fn the_seed_matters() {
    let plan = drawn(3);
    let other = Plan { seed: plan.seed + 1, ..plan.clone() };
    assert_ne!(quick(&plan).fingerprint, quick(&other).fingerprint);
}

/// Prints the fingerprints of `ARC_SIM_RANGE` for the process that asked.
#[test]
fn print_fingerprints() {
    let range = std::env::var("ARC_SIM_RANGE").unwrap_or_else(|_| "0..3".into());
    let (from, to) = range.split_once("..").expect("from..to");
    for number in from.parse::<u64>().expect("from")..to.parse().expect("to") {
        println!("fingerprint {number} {:016x}", quick(&drawn(number)).fingerprint);
    }
}

fn another_process(binary: &std::path::Path, to: u64) -> BTreeMap<u64, String> {
    let out = Command::new(binary)
        .args(["--exact", "print_fingerprints", "--nocapture", "--test-threads=1"])
        .env("ARC_SIM_RANGE", format!("0..{to}"))
        // Another environment is another chance to leak.
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Pacific/Kiritimati")
        .output()
        .expect("the test binary runs");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{text}{}", String::from_utf8_lossy(&out.stderr));
    let lines = text.lines().filter_map(|l| l.split_once("fingerprint ")).filter_map(|(_, rest)| rest.split_once(' '));
    lines.map(|(n, print)| (n.parse().expect("a number"), print.to_owned())).collect()
}

/// `ARC_SIM_OTHER_BINARY` names this test's binary of another build profile to be compared as well.
#[test]
fn the_same_plan_gives_the_same_run_in_two_processes() {
    let most = seeds(40);
    let here: BTreeMap<u64, String> =
        (0..most).map(|n| (n, format!("{:016x}", quick(&drawn(n)).fingerprint))).collect();
    let binary = std::env::current_exe().expect("this binary has a path");
    let there = another_process(&binary, most);
    assert_eq!(here, there);
    if let Ok(other) = std::env::var("ARC_SIM_OTHER_BINARY") {
        assert_eq!(here, another_process(other.as_ref(), most), "{other}");
        println!("{most} fingerprints are those of {other}");
    }
}

/// What happened, without the ordinals that an additional event shifts.
fn story(report: &RunReport, without: &str) -> Vec<String> {
    let events = report.trace.events().iter();
    let lines = events.map(|e| format!("{} {} {}", e.at, report.trace.name(e.actor), e.what));
    lines.filter(|l| !l.contains(without)).collect()
}

fn told_alike(number: u64, a: &[String], b: &[String]) {
    let at = a.iter().zip(b).position(|(x, y)| x != y);
    assert_eq!(at.map(|n| (&a[n], &b[n])), None, "world {number}");
    assert_eq!(a.len(), b.len(), "world {number}");
}

#[test]
fn an_additional_action_shifts_no_other() {
    for number in 0..seeds(20) {
        let plan = drawn(number);
        let mut more = plan.clone();
        more.actions.insert(
            0,
            PlannedAction {
                id: "extra".into(),
                when: When::At(Dur::secs(100)),
                lasts: None,
                ends_with: None,
                cluster: None,
                what: Action::Mark("extra".into()),
            },
        );
        let (a, b) = (run(&plan, &WITH_TRACE), run(&more, &WITH_TRACE));
        assert_ne!(a.fingerprint, b.fingerprint, "the mark is in the history");
        let (a, b) = (story(&a, "extra"), story(&b, "extra"));
        told_alike(number, &a, &b);
    }
}

#[test]
fn a_fault_of_nobody_shifts_nothing() {
    // A fault that meets no call draws from its own stream only.
    for number in 0..seeds(10) {
        let plan = drawn(number);
        let mut more = plan.clone();
        more.actions.push(PlannedAction {
            id: "nobody".into(),
            when: When::At(Dur::secs(1)),
            lasts: Some(Dur(plan.run_for.0.saturating_sub(Dur::secs(1).0))),
            ends_with: None,
            cluster: None,
            what: Action::Fault(Fault::GhError(GhError {
                op: GhOp::DeleteScaleset,
                status: 500,
                exception: None,
                body: None,
                retry_after: None,
                applied: false,
                probability: Ratio::default(),
                count: None,
                scope: Scope { actor: Some("runner".parse().expect("an actor")), ..Scope::default() },
            })),
        });
        let (a, b) = (run(&plan, &WITH_TRACE), run(&more, &WITH_TRACE));
        let (a, b) = (story(&a, "nobody"), story(&b, "nobody"));
        let until = format!("{}", Time::ZERO.after(plan.run_for.0));
        // From its end on the world is calm later than it was, and promises are looked at later.
        let early =
            |lines: Vec<String>| lines.into_iter().filter(|l| *l < until && !l.contains("FAIL")).collect::<Vec<_>>();
        told_alike(number, &early(a), &early(b));
    }
}

thread_local! {
    static ORDER: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    static LEAKED: Cell<Option<Time>> = const { Cell::new(None) };
}

const LEAK_FROM: Time = Time::from_secs(61);

/// Watchers in the order of a hash map's iteration.
fn hash_order(place: usize, len: usize, now: Time) -> usize {
    if now < LEAK_FROM {
        return place;
    }
    ORDER.with_borrow_mut(|order| {
        if place == 0 {
            let map: HashMap<usize, ()> = (0..len).map(|w| (w, ())).collect();
            *order = map.into_keys().collect();
            if LEAKED.get().is_none() && order.iter().enumerate().any(|(n, w)| n != *w) {
                LEAKED.set(Some(now));
            }
        }
        order.get(place).copied().unwrap_or(place)
    })
}

/// One request takes as long as the wall clock says.
fn wall_clock(now: Time) -> Duration {
    if now < LEAK_FROM || LEAKED.get().is_some() {
        return Duration::ZERO;
    }
    LEAKED.set(Some(now));
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    Duration::from_micros(1 + u64::from(clock.subsec_nanos()) / 100 % 5_000)
}

const BUSY: &str = r#"
name: busy
why: something happens all the time
release: next
clusters:
  - { name: prod, controllers: [{ name: arc, replicas: 2 }], scale_sets: [{ name: a, min_runners: 1, max_runners: 4 }, { name: b, min_runners: 0, max_runners: 4 }] }
workload:
  - { pattern: trickle, scale_set: a, every: 7s, duration: 11s, until: 4m }
  - { pattern: trickle, scale_set: b, every: 11s, duration: 5s, until: 4m }
run_for: 5m
expect: { next: { holds: all } }
"#;

/// A leak is found in every one of several runs, its place is the first event that it could change, and nothing before differs.
fn is_found(leak: Leak, within: Duration) {
    let loaded = arc_sim::scenario::load("busy.yaml", BUSY).unwrap_or_else(|e| panic!("{}", e.render(false)));
    let plan = loaded.plan(None, Release::Next, 1).expect("no variants");
    let clean = run(&plan, &WITH_TRACE);
    for _ in 0..5 {
        LEAKED.set(None);
        let leaky = run_leaking(&plan, &WITH_TRACE, leak);
        let leaked = LEAKED.get().expect("the leak did nothing");
        assert_ne!(clean.fingerprint, leaky.fingerprint);
        let (a, b) = first_divergence(&clean.trace, &leaky.trace).expect("the fingerprints differ");
        let (a, b) = (a.expect("it is longer"), b.expect("it is longer"));
        assert_eq!(a.id, b.id);
        let before = a.id as usize - 1;
        assert_eq!(clean.trace.events()[..before], leaky.trace.events()[..before], "they differ before that");
        assert_ne!((a.at, a.actor, &a.what), (b.at, b.actor, &b.what), "the first event that differs does not differ");
        let at = a.at.min(b.at);
        assert!(at >= leaked && at.since(leaked) <= within, "leaked at {leaked}, found at {at}");
        println!("leak at {leaked}\n  {}\n  {}", clean.trace.line(a), leaky.trace.line(b));
    }
}

#[test]
fn a_planted_hash_map_iteration_is_found_where_it_began() {
    is_found(Leak { watcher: Some(hash_order), ..Leak::default() }, Duration::from_secs(10));
}

#[test]
fn a_planted_wall_clock_read_is_found_where_it_began() {
    is_found(Leak { latency: Some(wall_clock), ..Leak::default() }, Duration::from_secs(1));
}
