//! `arc-sim chaos` and `merge`: campaigns of drawn worlds, their findings and their tables. Never decides what a failure is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use controller_core::Release;

use super::work::{quietly, unheard, workers};
use super::{Io, ci, files, timeline};
use crate::chaos::campaign::Campaign;
use crate::chaos::finding::{self, Failing, Finding};
use crate::chaos::manifest::{Indexed, indexed_job};
use crate::chaos::profile::{BUILT_IN, Profile};
use crate::chaos::results::{Header, Results, ResultsError, Shard, Sums, read_header, read_seeds};
use crate::chaos::seed::Class;
use crate::chaos::{Seen, draw, examine, report};
use crate::exit::Exit;
use crate::plan::Dur;

#[derive(clap::Args, Debug)]
pub(super) struct ChaosArgs {
    /// Which ARC
    #[arg(long, value_name = "RELEASE", value_parser = super::release, default_value = "next")]
    arc: Release,
    /// How many seeds, from 0 on; default: as the profile says
    #[arg(long, value_name = "N", conflicts_with = "duration")]
    seeds: Option<u64>,
    /// How long, in real time, e.g. 30m, in place of a number of seeds
    #[arg(long = "for", value_name = "DURATION")]
    duration: Option<Dur>,
    /// Only the seeds that leave I when divided by N (from 0 on), e.g. 0/8
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Worlds, then classes of failures to shrink, at the same time; default: one per processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// How wild the worlds are: pr, nightly, release, or a file
    #[arg(long, value_name = "PROFILE", default_value = "pr")]
    profile: String,
    /// Where results and findings are written
    #[arg(long, value_name = "DIR", default_value = "out/chaos")]
    out: PathBuf,
    /// Go on with the results in --out
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    told: ToldArgs,
}

/// How the findings of a campaign are told.
#[derive(clap::Args, Debug)]
struct ToldArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Do not shrink what is found
    #[arg(long)]
    no_shrink: bool,
    /// Where the classes of failures are written as JUnit XML
    #[arg(long, value_name = "PATH")]
    junit: Option<PathBuf>,
}

#[derive(clap::Args, Debug)]
pub(super) struct MergeArgs {
    /// Directories of results (--out of each shard)
    #[arg(required = true)]
    dirs: Vec<PathBuf>,
    /// Where findings are written
    #[arg(long, value_name = "DIR", default_value = "out/chaos")]
    out: PathBuf,
    /// Classes of failures shrunk at the same time; default: one per processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    #[command(flatten)]
    told: ToldArgs,
}

#[derive(clap::Args, Debug)]
pub(super) struct ManifestArgs {
    /// Shards, and so pods
    #[arg(long, value_name = "N")]
    shards: u64,
    /// Pods at a time; default: all
    #[arg(long, value_name = "N")]
    parallelism: Option<u64>,
    /// Image with arc-sim as its entry point
    #[arg(long, value_name = "IMAGE", default_value = "arc-sim:latest")]
    image: String,
    /// A claim that many pods can write to at once
    #[arg(long, value_name = "NAME", default_value = "arc-sim-results")]
    claim: String,
    /// Which ARC
    #[arg(long, value_name = "RELEASE", value_parser = super::release, default_value = "next")]
    arc: Release,
    /// Seeds of all shards together; default: as the profile says
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// How wild the worlds are: pr, nightly or release
    #[arg(long, value_name = "PROFILE", default_value = "nightly")]
    profile: String,
}

pub(super) fn manifest(args: &ManifestArgs, io: &mut Io<'_>) -> Exit {
    let profile = match profile(&args.profile, io) {
        Ok(profile) => profile,
        Err(exit) => return exit,
    };
    if args.shards == 0 {
        io.say("error: a campaign of 0 shards\n\nhint: state at least one\n");
        return Exit::Rejected;
    }
    let job = Indexed {
        image: args.image.clone(),
        shards: args.shards,
        parallelism: args.parallelism.unwrap_or(args.shards),
        claim: args.claim.clone(),
    };
    io.print(&indexed_job(
        &job,
        &Header::new(&profile, args.arc, Some(args.seeds.unwrap_or(profile.seeds)), Shard::WHOLE),
    ));
    Exit::Fine
}

/// What is shrunk and how.
pub(super) struct ShrinkArgs<'a> {
    pub(super) file: &'a Path,
    pub(super) arc: Option<Release>,
    pub(super) seed: Option<u64>,
    pub(super) class: Option<&'a str>,
    pub(super) budget: u32,
    pub(super) out: Option<&'a Path>,
}

pub(super) fn shrink(args: &ShrinkArgs<'_>, io: &mut Io<'_>) -> Exit {
    let plan = match timeline::plan_of(args.file, args.arc, args.seed, io) {
        Ok(plan) => plan,
        Err(exit) => return exit,
    };
    let seen = examine(&plan, None);
    let meant = |c: &&Class| args.class.is_none_or(|text| text == c.invariant.as_str() || text == c.to_string());
    let Some(class) = seen.classes.keys().filter(meant).min_by_key(|c| (seen.classes[*c], (*c).clone())) else {
        let all: Vec<String> = seen.classes.keys().map(ToString::to_string).collect();
        let fails = if all.is_empty() { "nothing".to_owned() } else { all.join(", ") };
        io.say(&format!("error: no such failure in {}: it fails {fails}\n", args.file.display()));
        return Exit::Rejected;
    };
    let Some(finding) = finding::find(&plan, class, args.budget) else { return Exit::Diverged };
    io.say(&format!(
        "{class}: {} -> {} actions in {} executions{}\n",
        finding.actions.0,
        finding.actions.1,
        finding.tries,
        if finding.minimal { "" } else { " (the budget ended)" }
    ));
    let text = match report::scenario_file(&finding, &finding.name(), &format!("shrunk from {}", args.file.display())) {
        Ok(text) => text,
        Err(why) => {
            io.say(&format!("error: {why}\n"));
            return Exit::Rejected;
        }
    };
    match args.out {
        None => io.print(&text),
        Some(path) => {
            if let Err(error) = files::write(path, &text) {
                io.say(&format!("error: {}: {error}\n", path.display()));
                return Exit::Rejected;
            }
        }
    }
    Exit::Fine
}

pub(super) fn chaos(args: &ChaosArgs, io: &mut Io<'_>) -> Exit {
    let profile = match profile(&args.profile, io) {
        Ok(profile) => profile,
        Err(exit) => return exit,
    };
    let seeds = match (args.seeds, args.duration) {
        (Some(n), _) => Some(n),
        (None, Some(_)) => None,
        (None, None) => Some(profile.seeds),
    };
    let shard = args.shard.unwrap_or(Shard::WHOLE);
    let stop = (io.interrupts)();
    let header = Header::new(&profile, args.arc, seeds, shard);
    let (mut results, seen) = match Results::open(&args.out, &header, args.resume) {
        Ok(opened) => opened,
        Err(error) => return refused(&error, io),
    };
    let mut sums = Sums::default();
    let mut done = BTreeSet::new();
    for (seed, one) in &seen {
        sums.add(*seed, one);
        done.insert(*seed);
    }
    let campaign = Campaign { release: args.arc, profile: &profile, shard, seeds, jobs: workers(args.jobs) };
    let meter = super::progress::Watch::new(io.progress, campaign.len(), sums.seeds, args.duration);
    let mut broken = None;
    let mut sink = |seed: u64, one: Seen| {
        sums.add(seed, &one);
        if let Err(error) = results.add(seed, &one) {
            broken = Some(error);
        }
        meter.tell(&sums);
        broken.is_none() && !meter.is_over() && !stop.load(Ordering::Relaxed)
    };
    quietly(unheard, || campaign.run(&done, &mut sink));
    meter.end();
    if let Some(error) = broken {
        return refused(&error, io);
    }
    // Who is told to stop when nothing is left to do has done it.
    let shrink = !args.told.no_shrink && !sums.classes.is_empty();
    if !shrink && campaign.len().is_some_and(|all| sums.seeds >= all) {
        stop.store(false, Ordering::Relaxed);
    }
    let told = Told { how: &args.told, shrink, jobs: workers(args.jobs), stop: &stop };
    let exit = conclude(&header, &profile, &sums, &args.out, told, io);
    if exit == Exit::Interrupted {
        let how_far = match campaign.len() {
            None => format!("{} seeds", sums.seeds),
            Some(all) if sums.seeds < all => format!("{} of {all} seeds", sums.seeds),
            Some(all) => format!("all {all} seeds, while what was found was made small"),
        };
        io.say(&format!("stopped after {how_far}; go on with --resume\n"));
    }
    exit
}

/// How the end is told.
#[derive(Clone, Copy)]
struct Told<'t> {
    how: &'t ToldArgs,
    shrink: bool,
    /// Classes that are shrunk at a time.
    jobs: usize,
    /// Somebody wants it to end.
    stop: &'t AtomicBool,
}

/// Findings, tables and the verdict of a campaign that is over.
fn conclude(header: &Header, profile: &Profile, sums: &Sums, out: &Path, told: Told<'_>, io: &mut Io<'_>) -> Exit {
    let Some(release) = header.release() else { return Exit::Rejected };
    let mut findings: Vec<Finding> = Vec::new();
    let stopped = || told.stop.load(Ordering::Relaxed);
    if told.shrink && !sums.classes.is_empty() && !stopped() {
        let failing: Vec<Failing> =
            sums.classes.iter().map(|(c, s)| (c.clone(), s.fastest.iter().map(|(_, seed)| *seed).collect())).collect();
        io.say(&format!("shrinking what was found: {} classes\n", failing.len()));
        let meter = super::progress::Meter::new(io.progress, failing.len(), "classes");
        let draw = |seed| draw(seed, profile, release);
        findings = quietly(unheard, || {
            finding::distinct(&failing, &draw, profile.shrink, told.jobs, &|| !stopped(), &mut || meter.done(None))
        });
        meter.end();
    }
    for finding in &findings {
        let file = finding.file(out);
        let origin = format!("chaos, profile {}", profile.name);
        let written = quietly(unheard, || report::scenario_file(finding, &finding.name(), &origin))
            .map_err(std::io::Error::other)
            .and_then(|text| files::write(&file, &text));
        // A plan that makes the program panic has no history to show.
        let page = file.with_extension("html");
        let shown = match finding.class.invariant.as_str() {
            "panic" => Ok(()),
            _ => timeline::of_finding(&finding.plan, &report::story(finding, &file), &page),
        };
        for (path, result) in [(&file, written), (&page, shown)] {
            if let Err(error) = result {
                io.say(&format!("warning: {}: {error}\n", path.display()));
            }
        }
    }
    let stopped = stopped();
    // Of a campaign that was stopped nobody demands that it has been everywhere.
    let demands_coverage = profile.demands_coverage && !stopped;
    let profile = &Profile { demands_coverage, ..profile.clone() };
    let text = if told.how.json {
        report::json(header, sums, &findings, out, stopped)
    } else {
        report::text(header, profile, sums, &findings, out)
    };
    io.print(&text);
    let exit = ci::publish(&report::cases(header, profile, sums, &findings, out), told.how.junit.as_deref(), io);
    if stopped { Exit::Interrupted } else { report::verdict(profile, release, sums).and(exit) }
}

/// Joins the results of shards into one report.
pub(super) fn merge(args: &MergeArgs, io: &mut Io<'_>) -> Exit {
    let mut sums = Sums::default();
    let mut known = BTreeSet::new();
    let mut whole: Option<(Header, PathBuf)> = None;
    let mut profile_of: Option<Profile> = None;
    for dir in &args.dirs {
        let read = read_header(dir).and_then(|header| Ok((header, read_seeds(&dir.join("seeds.jsonl"))?.0)));
        let (header, seen) = match read {
            Ok(read) => read,
            Err(error) => return refused(&error, io),
        };
        let mut of = header.clone();
        of.shard = Shard::WHOLE;
        match &whole {
            Some((first, place)) if *first != of => {
                let said = format!("results of another campaign than those in {}", place.display());
                return refused(&ResultsError::Other { path: dir.clone(), said }, io);
            }
            Some(_) => {}
            None => {
                let named = header.profile.as_str();
                profile_of = Profile::named(named).filter(|p| p.digest() == header.digest);
                whole = Some((of, dir.clone()));
            }
        }
        for (seed, one) in seen {
            if !known.insert(seed) {
                let said = format!("seed {seed} stands in the results of two shards");
                return refused(&ResultsError::Other { path: dir.clone(), said }, io);
            }
            sums.add(seed, &one);
        }
    }
    let Some((header, _)) = whole else { return Exit::Rejected };
    let missing = header.seeds.map_or(0, |n| n - known.iter().filter(|s| **s < n).count() as u64);
    if missing > 0 {
        io.say(&format!("warning: {missing} of {} seeds are in none of these results\n", header.seeds.unwrap_or(0)));
    }
    let shrinks = profile_of.is_some() && !args.told.no_shrink;
    let profile = profile_of.or_else(|| Profile::named("nightly"));
    let Some(profile) = profile else { return Exit::Rejected };
    let told = Told { how: &args.told, shrink: shrinks, jobs: workers(args.jobs), stop: &AtomicBool::new(false) };
    let exit = conclude(&header, &profile, &sums, &args.out, told, io);
    if missing > 0 { exit.and(Exit::Inconclusive) } else { exit }
}

fn refused(error: &ResultsError, io: &mut Io<'_>) -> Exit {
    io.say(&format!("error: {error}\n"));
    Exit::Rejected
}

/// The profile of a name or path; says what is wrong with it.
pub(super) fn profile(name: &str, io: &mut Io<'_>) -> Result<Profile, Exit> {
    if let Some((file, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) {
        return Profile::read(file, text).map_err(|rejected| {
            io.say(&rejected.render(io.style.colour));
            Exit::Bug
        });
    }
    let text = match std::fs::read_to_string(name) {
        Ok(text) => text,
        Err(error) => {
            let names = BUILT_IN.iter().map(|(known, _)| *known);
            let hint = crate::scenario::diagnostic::suggestion(name, "profiles", names);
            io.say(&format!("error: no profile `{name}`: {error}\n\nhint: {hint}, or the path of a file\n"));
            return Err(Exit::Rejected);
        }
    };
    Profile::read(name, &text).map_err(|rejected| {
        io.say(&rejected.render(io.style.colour));
        Exit::Rejected
    })
}
