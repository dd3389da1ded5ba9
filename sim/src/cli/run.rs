//! `arc-sim run` and `replay`: runs plans, judges and tells. Never decides what a world does.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use arc_api::Str;
use controller_core::Release;

use super::progress::Meter;
use super::work::{quietly, workers};
use super::{Engine, Io, RunArgs, ci, files};
use crate::exit::Exit;
use crate::parallel::each;
use crate::plan::Plan;
use crate::report::cases::Cases;
use crate::report::event::{ReportEvent, Row, RunName};
use crate::report::text::render;
use crate::report::{Judged, Reason, RunOptions, RunReport, Verdict, judge};
use crate::scenario::{Expect, Loaded, load_plan};

/// Metrics of the table if a scenario's variants name none.
const COMPARED: [&str; 6] =
    ["jobs_failed", "jobs_delayed", "wait_p95_ms", "session_refusals", "listener_starts", "runners_wasted"];

/// One run to make.
struct Task<'t> {
    loaded: &'t Loaded,
    plan: Plan,
    expect: Option<&'t Expect>,
}

fn name_of(plan: &Plan) -> RunName {
    let (scenario, variant) = (plan.scenario.clone(), plan.variant.clone());
    RunName { scenario, variant, release: plan.release.to_string().into(), seed: plan.seed }
}

/// Where what belongs to one plan is written.
pub(super) fn directory_of(out: &Path, plan: &Plan) -> PathBuf {
    let run = name_of(plan);
    let variant = run.variant.as_ref().map_or_else(String::new, |v| format!("+{v}"));
    out.join(format!("{}{variant}.{}.{}", run.scenario, run.release, run.seed))
}

/// What came of a task.
enum Outcome {
    Done(Box<RunReport>),
    Panicked(String),
    Diverged { number: u64, first: String, second: String },
}

pub(super) fn run(args: &RunArgs, engine: Engine<'_>, io: &mut Io<'_>) -> Exit {
    let found = files::load(&args.paths, io);
    let files = found.loaded.iter().map(|l| (l.scenario.name.clone(), l.file.clone()));
    let mut teller = Teller {
        io,
        json: args.json,
        trace: args.trace,
        out: &args.out,
        tally: Tally::default(),
        cases: Cases::new(files),
        junit: args.junit.as_deref(),
    };
    teller.tally.rejected = found.rejected;
    for event in &found.problems {
        teller.tell(event);
    }
    if found.exit != Exit::Fine {
        teller.tally.exit = found.exit;
        return teller.summary();
    }
    let tasks: Vec<Task<'_>> = found.loaded.iter().flat_map(|loaded| tasks(loaded, args)).collect();
    let options = RunOptions { trace: args.trace, ..RunOptions::default() };
    let outcomes = make(&tasks, engine, options, args, teller.io);
    let made = outcomes.len();
    let mut rows: Vec<(&Task<'_>, RunReport)> = Vec::new();
    for (i, (task, outcome)) in tasks.iter().zip(outcomes).enumerate() {
        if let Some(report) = teller.outcome(&task.plan, task.expect, outcome) {
            rows.push((task, report));
        }
        let last = tasks.get(i + 1).is_none_or(|next| !std::ptr::eq(next.loaded, task.loaded));
        if last {
            let rows = std::mem::take(&mut rows);
            if let Some(table) = mitigations(task.loaded, &rows) {
                teller.tell(&table);
            }
        }
    }
    if made < tasks.len() {
        teller.io.say(&format!("stopped after {made} of {} runs\n", tasks.len()));
        teller.tally.exit = Exit::Interrupted;
    }
    teller.summary()
}

pub(super) fn replay(path: &Path, json: bool, trace: bool, twice: bool, engine: Engine<'_>, io: &mut Io<'_>) -> Exit {
    let shown = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            io.say(&format!("error: {shown}: {error}\n"));
            return Exit::Rejected;
        }
    };
    let (out, cases) = (Path::new("out"), Cases::default());
    let mut teller = Teller { io, json, trace, out, tally: Tally::default(), cases, junit: None };
    let plan = match load_plan(&shown, &text) {
        Ok(plan) => plan,
        Err(rejected) => {
            let colour = teller.io.style.colour;
            teller.io.say(&rejected.render(colour));
            for event in files::events(&rejected) {
                teller.tell(&event);
            }
            teller.tally.rejected = 1;
            teller.tally.exit = Exit::Rejected;
            return teller.summary();
        }
    };
    let everything = Expect { holds: Some(crate::scenario::file::Holds::All), ..Expect::default() };
    let options = RunOptions { trace, ..RunOptions::default() };
    let outcome = told(&plan, Some(&everything), engine, options, twice);
    teller.outcome(&plan, Some(&everything), outcome);
    teller.summary()
}

/// All runs of a scenario: its releases, then its variants.
fn tasks<'t>(loaded: &'t Loaded, args: &RunArgs) -> Vec<Task<'t>> {
    let seed = args.seed.unwrap_or(loaded.seed());
    let mut out = Vec::new();
    let mut add = |variant: Option<&str>, release: Release, expect: Option<&'t Expect>| {
        if let Some(plan) = loaded.plan(variant, release, seed) {
            out.push(Task { loaded, plan, expect });
        }
    };
    let mut releases = if args.arc.is_empty() { loaded.releases() } else { args.arc.clone() };
    let variants = !args.no_variants && !loaded.scenario.variants.is_empty();
    // The table needs the scenario itself on the release that its variants are compared on.
    if variants && args.arc.is_empty() && !releases.contains(&loaded.release()) {
        releases.push(loaded.release());
    }
    releases.sort();
    releases.dedup();
    for release in &releases {
        add(None, *release, loaded.expect(*release));
    }
    for variant in loaded.scenario.variants.iter().filter(|_| variants) {
        for release in variant.releases(loaded.release()) {
            if args.arc.is_empty() || args.arc.contains(&release) {
                add(Some(&variant.name), release, variant.expectation(release));
            }
        }
    }
    out
}

/// Makes all runs, several at a time; what comes of them is in the order of the tasks. After a Ctrl-C: of the first so many.
fn make(tasks: &[Task<'_>], engine: Engine<'_>, options: RunOptions, args: &RunArgs, io: &Io<'_>) -> Vec<Outcome> {
    let meter = Meter::new(io.progress, tasks.len(), "runs");
    let stop = (io.interrupts)();
    let mut done: BTreeMap<usize, Outcome> = BTreeMap::new();
    let mut failed = 0;
    let make = |(index, task): (usize, &Task<'_>)| {
        let outcome = told(&task.plan, task.expect, engine, options, args.twice);
        let fine = matches!(&outcome, Outcome::Done(report)
            if judge(task.expect, &task.plan, report).verdict != Verdict::Fail);
        (index, outcome, fine)
    };
    let keep = |(index, outcome, fine): (usize, Outcome, bool)| {
        failed += usize::from(!fine);
        meter.done(Some(failed));
        done.insert(index, outcome);
        !stop.load(Ordering::Relaxed)
    };
    quietly(remember, || each(workers(args.jobs).min(tasks.len()), tasks.iter().enumerate(), make, keep));
    meter.end();
    done.into_values().collect()
}

thread_local! {
    static SAID: std::cell::RefCell<String> = const { std::cell::RefCell::new(String::new()) };
}

/// Keeps what a panic said, in place of printing it in the middle of a report.
fn remember(said: &str) {
    SAID.with_borrow_mut(|last| said.clone_into(last));
}

/// Makes a run; makes it again with its history if it is not what was expected, so that the report can say why.
fn told(plan: &Plan, expect: Option<&Expect>, engine: Engine<'_>, options: RunOptions, twice: bool) -> Outcome {
    match once(plan, engine, options, twice) {
        Outcome::Done(report)
            if !options.trace
                && report.tail.is_empty()
                && matches!(judge(expect, plan, &report).verdict, Verdict::Fail | Verdict::Inconclusive) =>
        {
            match once(plan, engine, RunOptions { trace: true, ..options }, false) {
                Outcome::Done(mut again) => {
                    again.trace = None;
                    Outcome::Done(again)
                }
                other => other,
            }
        }
        outcome => outcome,
    }
}

fn once(plan: &Plan, engine: Engine<'_>, options: RunOptions, twice: bool) -> Outcome {
    let run = |options: &RunOptions| catch_unwind(AssertUnwindSafe(|| engine(plan, options)));
    let panicked = |payload: Box<dyn std::any::Any + Send>| {
        let text = payload
            .downcast_ref::<&str>()
            .map(ToString::to_string)
            .or_else(|| payload.downcast_ref::<String>().cloned());
        let said = SAID.with_borrow_mut(std::mem::take);
        Outcome::Panicked(if said.is_empty() { text.unwrap_or_default() } else { said.replace('\n', " ") })
    };
    let first = match run(&options) {
        Ok(report) => report,
        Err(payload) => return panicked(payload),
    };
    if !twice {
        return Outcome::Done(Box::new(first));
    }
    match run(&options) {
        Err(payload) => panicked(payload),
        Ok(second) if second.fingerprint == first.fingerprint && second.events == first.events => {
            Outcome::Done(Box::new(first))
        }
        Ok(second) => {
            // The runs differ, so they are made again with every event kept, to find the first one that does.
            let full = RunOptions { trace: true, ..options };
            let traces = (run(&full), run(&full));
            let (a, b) = match traces {
                (Ok(a), Ok(b)) => (a.trace.unwrap_or_default(), b.trace.unwrap_or_default()),
                _ => Default::default(),
            };
            let differs = a.iter().zip(&b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
            let told = |lines: &[crate::report::EventLine], report: &RunReport| {
                lines.get(differs).map_or_else(
                    || format!("{} events, fingerprint {:016x}", report.events, report.fingerprint),
                    |e| format!("{} {} {}", e.at, e.kind, e.text),
                )
            };
            let number = a.get(differs).or(b.get(differs)).map_or(differs as u64, |e| e.number);
            Outcome::Diverged { number, first: told(&a, &first), second: told(&b, &second) }
        }
    }
}

/// The table of a scenario's variants; none if it has no variant that was run.
fn mitigations(loaded: &Loaded, rows: &[(&Task<'_>, RunReport)]) -> Option<ReportEvent> {
    let main = loaded.release();
    let compared = loaded.scenario.variants.iter().flat_map(|v| v.compare.iter().cloned());
    let mut columns: Vec<Str> = Vec::new();
    for column in compared {
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    if columns.is_empty() {
        columns = COMPARED.iter().map(|c| Str::from(*c)).collect();
    }
    let row = |(task, report): &(&Task<'_>, RunReport)| {
        let release = task.plan.release();
        let label = task
            .plan
            .variant
            .as_ref()
            .map(|v| if release == main { v.clone() } else { format!("{v} ({release})").into() });
        let shown = label.is_some() || release == main;
        let values = columns.iter().map(|c| report.metrics.get(c.as_str()).copied()).collect();
        shown.then_some(Row { variant: label, values })
    };
    let rows: Vec<Row> = rows.iter().filter_map(row).collect();
    let any = rows.iter().any(|r| r.variant.is_some());
    any.then(|| ReportEvent::Mitigation {
        scenario: loaded.scenario.name.clone(),
        release: main.as_str().into(),
        columns,
        rows,
    })
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    inconclusive: usize,
    measured: usize,
    rejected: usize,
    virtual_us: u64,
    exit: Exit,
}

struct Teller<'t, 'i> {
    io: &'t mut Io<'i>,
    json: bool,
    trace: bool,
    out: &'t Path,
    tally: Tally,
    cases: Cases,
    /// Where the cases are written.
    junit: Option<&'t Path>,
}

impl Teller<'_, '_> {
    fn tell(&mut self, event: &ReportEvent) {
        self.cases.take(event);
        let text = if self.json { event.to_json() + "\n" } else { render(event, self.io.style) };
        self.io.print(&text);
    }
    /// Tells what came of one run; gives the report back if there is one.
    fn outcome(&mut self, plan: &Plan, expect: Option<&Expect>, outcome: Outcome) -> Option<RunReport> {
        let run = name_of(plan);
        let mut report = match outcome {
            Outcome::Panicked(said) => {
                let plan = self.keep(plan);
                self.tally.exit = self.tally.exit.and(Exit::Bug);
                self.tally.failed += 1;
                self.tell(&ReportEvent::Panic { run, said, plan });
                return None;
            }
            Outcome::Diverged { number, first, second } => {
                let plan = self.keep(plan);
                self.tally.exit = self.tally.exit.and(Exit::Diverged);
                self.tally.failed += 1;
                self.tell(&ReportEvent::Diverged { run: run.clone(), number, first, second });
                self.tell(&ReportEvent::Replay { run, plan });
                return None;
            }
            Outcome::Done(report) => *report,
        };
        if self.trace {
            for event in report.trace.take().into_iter().flatten() {
                self.tell(&ReportEvent::Trace { run: run.clone(), event });
            }
        }
        let judged = judge(expect, plan, &report);
        self.tally.virtual_us += report.ended_at.0;
        let (count, exit) = match judged.verdict {
            Verdict::Pass => (&mut self.tally.passed, Exit::Fine),
            Verdict::Measured => (&mut self.tally.measured, Exit::Fine),
            Verdict::Fail => (&mut self.tally.failed, Exit::Failed),
            Verdict::Inconclusive => (&mut self.tally.inconclusive, Exit::Inconclusive),
        };
        *count += 1;
        self.tally.exit = self.tally.exit.and(exit);
        let mut violated: Vec<Str> = report.violations.iter().map(|v| v.invariant.clone()).collect();
        violated.sort();
        violated.dedup();
        self.tell(&ReportEvent::Run {
            run: run.clone(),
            verdict: judged.verdict,
            reproduced: judged.reproduced.clone(),
            reasons: judged.reasons.clone(),
            violated,
            pending: report.pending.clone(),
            metrics: report.metrics.clone(),
            events: report.events,
            fingerprint: format!("{:016x}", report.fingerprint),
            virtual_us: report.ended_at.0,
        });
        if matches!(judged.verdict, Verdict::Fail | Verdict::Inconclusive) {
            self.failure(plan, run, &judged, &report);
        } else if self.json {
            for violation in report.violations.iter().cloned() {
                self.tell(&ReportEvent::Violation { run: run.clone(), violation });
            }
        }
        Some(report)
    }
    /// Tells why a run failed: what was violated and by what, the last events, and how to see it again.
    fn failure(&mut self, plan: &Plan, run: RunName, judged: &Judged, report: &RunReport) {
        let unexpected = |id: &Str| {
            judged.reasons.iter().any(|r| matches!(r, Reason::Unexpected { invariant, .. } if invariant == id))
        };
        let mut told = BTreeMap::<Str, usize>::new();
        let json = self.json;
        for violation in report.violations.iter().filter(|v| json || unexpected(&v.invariant)).cloned() {
            let times = told.entry(violation.invariant.clone()).or_default();
            *times += 1;
            // The first of its kind is the one to read; whatever follows from it says the same again.
            if json || *times == 1 {
                self.tell(&ReportEvent::Violation { run: run.clone(), violation });
            }
        }
        for (invariant, times) in told.iter().filter(|(_, times)| !json && **times > 1) {
            self.tell(&ReportEvent::More { run: run.clone(), invariant: invariant.clone(), times: times - 1 });
        }
        if !self.trace && (json || told.is_empty()) {
            for event in report.tail.iter().cloned() {
                self.tell(&ReportEvent::Trace { run: run.clone(), event });
            }
        }
        let plan = self.keep(plan);
        self.tell(&ReportEvent::Replay { run, plan });
    }
    /// Writes a plan and gives its path, or says why it could not be written.
    fn keep(&mut self, plan: &Plan) -> String {
        let file = directory_of(self.out, plan).join("plan.yaml");
        if let Err(error) = files::write(&file, &plan.to_yaml()) {
            self.io.say(&format!("warning: {}: {error}\n", file.display()));
        }
        file.display().to_string()
    }
    fn summary(&mut self) -> Exit {
        let cases = std::mem::take(&mut self.cases).finish();
        self.tally.exit = self.tally.exit.and(ci::publish(&cases, self.junit, self.io));
        let Tally { passed, failed, inconclusive, measured, rejected, virtual_us, exit } = self.tally;
        self.tell(&ReportEvent::Summary {
            passed,
            failed,
            inconclusive,
            measured,
            rejected,
            virtual_us,
            exit: exit.code(),
        });
        exit
    }
}
