//! `arc-sim timeline`: runs one plan with its whole history and writes it as one HTML page. Never decides what the page says.

use std::path::{Path, PathBuf};

use controller_core::Release;

use super::run::directory_of;
use super::{Io, files};
use crate::exit::Exit;
use crate::plan::Plan;
use crate::report::{self, Verdict, timeline};
use crate::scenario::diagnostic::suggestion;
use crate::scenario::file::{Expect, Holds};
use crate::scenario::{Rejected, load, load_plan};
use crate::world;

/// Arguments of `arc-sim timeline`.
#[derive(clap::Args, Debug)]
pub(super) struct TimelineArgs {
    /// A scenario file, or a plan that was written before
    file: PathBuf,
    /// Release; default: the scenario's own. A plan states its release
    #[arg(long, value_name = "RELEASE", value_parser = super::release)]
    arc: Option<Release>,
    /// A variant of the scenario in place of the scenario itself
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
    /// Seed; default: the scenario's, or 0
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the page is written; default: out/<scenario>.<release>.<seed>/timeline.html
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
}

/// What is run and what is known of it.
struct Subject {
    plan: Plan,
    expect: Option<Expect>,
    story: timeline::Story,
}

pub(super) fn timeline(args: &TimelineArgs, io: &mut Io<'_>) -> Exit {
    let mut subject = match subject(args, io) {
        Ok(subject) => subject,
        Err(said) => {
            io.say(&said);
            return Exit::Rejected;
        }
    };
    let plan = &subject.plan;
    let made = world::run(plan, &world::RunOptions { trace: true, ..world::RunOptions::default() });
    let told = report::engine::tell(plan, &report::RunOptions { trace: false, tail: 0 }, &made);
    let judged = report::judge(subject.expect.as_ref(), plan, &told);
    subject.story.verdict = match judged.verdict {
        Verdict::Pass if judged.reproduced.is_empty() => "pass: all hold".into(),
        Verdict::Pass => "pass: the failure was reproduced".into(),
        Verdict::Fail => "fail".into(),
        Verdict::Inconclusive => "inconclusive".into(),
        Verdict::Measured => "measured, nothing was expected".into(),
    };
    subject.story.reasons = judged.reasons.iter().map(ToString::to_string).collect();
    let default = directory_of(Path::new("out"), plan).join("timeline.html");
    let path = args.out.clone().unwrap_or(default);
    match files::write(&path, &timeline::page(plan, &made, &subject.story)) {
        Ok(()) => {
            io.print(&format!("{}\n", path.display()));
            Exit::Fine
        }
        Err(error) => {
            io.say(&format!("error: {}: {error}\n", path.display()));
            Exit::Rejected
        }
    }
}

/// Runs a plan that is known to fail and writes its page.
pub(super) fn of_finding(plan: &Plan, story: &timeline::Story, path: &Path) -> std::io::Result<()> {
    let made = world::run(plan, &world::RunOptions { trace: true, ..world::RunOptions::default() });
    files::write(path, &timeline::page(plan, &made, story))
}

/// The plan of a file, whichever of the two it is; says what is wrong with it.
pub(super) fn plan_of(file: &Path, arc: Option<Release>, seed: Option<u64>, io: &mut Io<'_>) -> Result<Plan, Exit> {
    let args = TimelineArgs { file: file.to_owned(), arc, variant: None, seed, out: None };
    subject(&args, io).map(|s| s.plan).map_err(|said| {
        io.say(&said);
        Exit::Rejected
    })
}

/// Reads the file, whichever of the two it is.
fn subject(args: &TimelineArgs, io: &Io<'_>) -> Result<Subject, String> {
    let shown = args.file.display().to_string();
    let text = std::fs::read_to_string(&args.file).map_err(|error| format!("error: {shown}: {error}\n"))?;
    let rejected = |rejected: Rejected| rejected.render(io.style.colour);
    if files::is_plan(&text) {
        if args.arc.is_some() || args.variant.is_some() || args.seed.is_some() {
            return Err(format!(
                "error: {shown} is a plan: it states its release, variant and seed\n\nhint: leave --arc, --variant and --seed away, or name the scenario\n"
            ));
        }
        let plan = load_plan(&shown, &text).map_err(rejected)?;
        let expect = Some(Expect { holds: Some(Holds::All), ..Expect::default() });
        let story = timeline::Story { replay: format!("arc-sim replay {shown}"), ..timeline::Story::default() };
        return Ok(Subject { plan, expect, story });
    }
    let loaded = load(&shown, &text).map_err(rejected)?;
    let release = args.arc.unwrap_or(loaded.release());
    let seed = args.seed.unwrap_or(loaded.seed());
    let variant = match &args.variant {
        None => None,
        Some(name) => {
            let found = loaded.scenario.variants.iter().find(|v| v.name == *name);
            Some(found.ok_or_else(|| {
                let names = loaded.scenario.variants.iter().map(|v| v.name.as_str());
                format!("error: {shown} has no variant `{name}`\n\nhint: {}\n", suggestion(name, "variants", names))
            })?)
        }
    };
    let plan = loaded.plan(args.variant.as_deref(), release, seed);
    let plan = plan.ok_or_else(|| format!("error: {shown}: no plan can be made of this variant\n"))?;
    let expect = match variant {
        Some(variant) => variant.expectation(release).cloned(),
        None => loaded.expect(release).cloned(),
    };
    let why = variant.map(|v| v.why.clone()).filter(|why| !why.is_empty()).unwrap_or(loaded.scenario.why.clone());
    let replay = match &args.variant {
        Some(name) => format!("arc-sim timeline {shown} --arc {release} --variant {name} --seed {seed}"),
        None => format!("arc-sim run {shown} --arc {release} --seed {seed}"),
    };
    let upstream = loaded.scenario.upstream.clone();
    Ok(Subject { plan, expect, story: timeline::Story { why, upstream, replay, ..timeline::Story::default() } })
}
