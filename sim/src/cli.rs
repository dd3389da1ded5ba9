//! The command line. Configuration lives in scenario files; flags choose what is done and how loudly. Never decides verdicts.
//!
//! Data goes to standard output, talk to standard error.

mod chaos;
mod ci;
mod conform;
mod explain;
mod fidelity;
mod files;
mod hunts;
mod list;
mod mutants;
mod progress;
mod run;
mod settings;
mod timeline;
mod work;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Parser, Subcommand, ValueEnum};
use controller_core::Release;

pub use ci::Ci;

use crate::exit::Exit;
use crate::plan::Plan;
use crate::report::text::Style;
use crate::report::{RunOptions, RunReport};

/// What runs a plan.
pub type Engine<'e> = &'e (dyn Fn(&Plan, &RunOptions) -> RunReport + Sync);

/// Field failures of GitHub's Actions Runner Controller, simulated: one seed, one history.
#[derive(Parser, Debug)]
#[command(name = "arc-sim", version, term_width = 110, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Whether text is coloured; `auto` also respects NO_COLOR.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "WHEN")]
    color: When,
    /// How progress of long work is shown on standard error.
    #[arg(long, global = true, value_enum, default_value_t, value_name = "HOW")]
    progress: Progress,
}

const EXIT_CODES: &str = "\
Exit codes, the worst wins in this order:
 130  stopped by Ctrl-C; a campaign tells what it found by then
  70  a bug of ours: a panic, reported with its plan
   4  two runs of one plan diverged
   2  bad usage, or a bad file
   1  an invariant was violated, or an expected violation did not occur
   3  inconclusive: a budget ended without a verdict
   0  everything met its expectation";

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum When {
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum)]
enum Progress {
    /// A bar on a terminal, else a line every ten seconds.
    #[default]
    Auto,
    /// A bar.
    Bar,
    /// A line every ten seconds.
    Plain,
    /// Nothing.
    None,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run scenarios and hold what comes of them against what they expect
    Run(RunArgs),
    /// Read scenario files and report everything that is wrong with them
    Check {
        /// Files, or directories to search (their `bad` directories are left out)
        #[arg(required = true)]
        paths: Vec<PathBuf>,
    },
    /// List scenarios, and the words that scenario files are made of
    List {
        /// What: scenarios, faults, workloads, operators, settings, invariants, marks, metrics, releases or switches; or files and directories of
        /// scenarios; default: everything
        what: Vec<PathBuf>,
    },
    /// Say what a fault, workload, operator action, invariant, metric, switch, quirk or release is
    Explain {
        /// Its name
        id: String,
    },
    /// Run a plan that was written before
    Replay {
        /// The plan's file
        plan: PathBuf,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
        /// Print every event
        #[arg(long)]
        trace: bool,
        /// Run twice and compare
        #[arg(long)]
        twice: bool,
    },
    /// Search for failures nobody wrote down: worlds, jobs, operators and faults at random, what is found made small
    Chaos(chaos::ChaosArgs),
    /// Make a failing plan, or a scenario's run, as small as it goes, and say which switches cure it
    Shrink {
        /// A plan, or a scenario file
        file: PathBuf,
        /// Release of the scenario's run
        #[arg(long, value_name = "RELEASE", value_parser = release)]
        arc: Option<Release>,
        /// Seed of the scenario's run
        #[arg(long, value_name = "N")]
        seed: Option<u64>,
        /// Keep this failure, as INVARIANT or INVARIANT/COMPONENT; default: the first
        #[arg(long, value_name = "CLASS")]
        class: Option<String>,
        /// Most executions
        #[arg(long, value_name = "N", default_value_t = 2000)]
        budget: u32,
        /// Where the small scenario is written; default: standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the manifest of a Kubernetes Indexed Job that runs a campaign in shards
    Manifest(chaos::ManifestArgs),
    /// Join the results of the shards of a campaign into one report
    Merge(chaos::MergeArgs),
    /// Measure how long chaos takes to find the known bugs of ARC's releases again
    Hunts {
        /// Only these, by name; default: all
        only: Vec<String>,
        /// How wild the worlds are: pr, nightly, release, or a file
        #[arg(long, value_name = "PROFILE", default_value = "nightly")]
        profile: String,
        /// Most seeds for each
        #[arg(long, value_name = "N", default_value_t = 10_000)]
        budget: u64,
        /// Where the small scenarios are written
        #[arg(long, value_name = "DIR", default_value = "out/hunts")]
        out: PathBuf,
    },
    /// Hold the simulator against recordings of the real ARC, object by object
    Conform(conform::ConformArgs),
    /// Say how much of all recordings the simulator does as the real ARC did
    Fidelity {
        /// Directory of recorded scenarios, with their recordings
        #[arg(default_value = "scenarios/recorded")]
        dir: PathBuf,
        /// How many schedules are tried at most for each recording
        #[arg(long, value_name = "N", default_value_t = 16)]
        schedules: u64,
        /// Give every switch of every recorded release its other values: which recordings notice
        #[arg(long, conflicts_with = "json")]
        sabotage: bool,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Run a scenario or a plan and write its history as one HTML page
    Timeline(timeline::TimelineArgs),
    /// Put deliberate faults into the corrected controller and see how long each stays unnoticed
    Mutants(mutants::MutantsArgs),
    /// Print the JSON Schema of scenario files
    Schema {
        /// Of the lines that `run --json` and `replay --json` print
        #[arg(long, conflicts_with = "chaos")]
        report: bool,
        /// Of the lines that `chaos --json` and `merge --json` print
        #[arg(long)]
        chaos: bool,
    },
}

#[derive(clap::Args, Debug)]
struct RunArgs {
    /// Files, or directories to search (their `bad` directories are left out)
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Only these releases; default: those that the scenario expects something of
    #[arg(long, value_name = "RELEASE", value_delimiter = ',', value_parser = release)]
    arc: Vec<Release>,
    /// Seed; default: the scenario's, or 0
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Print every event
    #[arg(long)]
    trace: bool,
    /// Run variants (the default)
    #[arg(long, overrides_with = "no_variants")]
    variants: bool,
    /// Run no variants
    #[arg(long, overrides_with = "variants")]
    no_variants: bool,
    /// Run every plan twice and compare
    #[arg(long)]
    twice: bool,
    /// Where plans of failing runs are written
    #[arg(long, value_name = "DIR", default_value = "out")]
    out: PathBuf,
    /// Where the runs are written as JUnit XML
    #[arg(long, value_name = "PATH")]
    junit: Option<PathBuf>,
    /// Runs at the same time; default: one per processor
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

fn release(text: &str) -> Result<Release, String> {
    text.parse().map_err(|_| {
        let names = Release::ALL.iter().map(|r| r.as_str());
        format!("no such release; {}", crate::scenario::diagnostic::suggestion(text, "releases", names))
    })
}

/// Where a command's data and talk go.
struct Io<'i> {
    out: &'i mut dyn Write,
    err: &'i mut dyn Write,
    style: Style,
    progress: Progress,
    ci: Ci,
    /// Asks to be told of Ctrl-C, where the process is ours.
    interrupts: fn() -> Arc<AtomicBool>,
}

impl<'i> Io<'i> {
    fn new(out: &'i mut dyn Write, err: &'i mut dyn Write, ci: Ci) -> Io<'i> {
        Io { out, err, style: Style::default(), progress: Progress::default(), ci, interrupts: Arc::default }
    }
    /// Prints data. A reader that has gone away is no error of ours.
    fn print(&mut self, text: &str) {
        self.out.write_all(text.as_bytes()).unwrap_or(());
    }
    /// Talks.
    fn say(&mut self, text: &str) {
        self.err.write_all(text.as_bytes()).unwrap_or(());
    }
}

/// Runs the command line of this process.
pub fn main(engine: Engine<'_>) -> Exit {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let terminal = out.is_terminal();
    let io = Io { interrupts: work::interrupts, ..Io::new(&mut out, &mut err, Ci::of_this_process()) };
    let exit = command(std::env::args_os(), engine, terminal, io);
    out.flush().unwrap_or(());
    exit
}

/// Runs a command line outside of any CI system. `terminal` says whether `out` is one.
pub fn main_with(
    args: impl IntoIterator<Item = OsString>,
    engine: Engine<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    terminal: bool,
) -> Exit {
    main_in(&Ci::default(), args, engine, out, err, terminal)
}

/// Runs a command line where `ci` says.
pub fn main_in(
    ci: &Ci,
    args: impl IntoIterator<Item = OsString>,
    engine: Engine<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
    terminal: bool,
) -> Exit {
    command(args, engine, terminal, Io::new(out, err, ci.clone()))
}

fn command(args: impl IntoIterator<Item = OsString>, engine: Engine<'_>, terminal: bool, mut io: Io<'_>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let text = error.render().to_string();
            return if error.use_stderr() {
                io.say(&text);
                Exit::Rejected
            } else {
                io.print(&text);
                Exit::Fine
            };
        }
    };
    let colour = match cli.color {
        When::Always => true,
        When::Never => false,
        When::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
    };
    (io.style, io.progress) = (Style { colour }, cli.progress);
    match cli.command {
        Command::Run(args) => run::run(&args, engine, &mut io),
        Command::Replay { plan, json, trace, twice } => run::replay(&plan, json, trace, twice, engine, &mut io),
        Command::Check { paths } => check(&paths, &mut io),
        Command::List { what } => list::list(&what, &mut io),
        Command::Chaos(args) => chaos::chaos(&args, &mut io),
        Command::Shrink { file, arc, seed, class, budget, out } => {
            let what =
                chaos::ShrinkArgs { file: &file, arc, seed, class: class.as_deref(), budget, out: out.as_deref() };
            chaos::shrink(&what, &mut io)
        }
        Command::Manifest(args) => chaos::manifest(&args, &mut io),
        Command::Merge(args) => chaos::merge(&args, &mut io),
        Command::Hunts { only, profile, budget, out } => match chaos::profile(&profile, &mut io) {
            Ok(profile) => hunts::hunts(&only, &profile, budget, &out, &mut io),
            Err(exit) => exit,
        },
        Command::Conform(args) => conform::conform(&args, &mut io),
        Command::Fidelity { dir, schedules, sabotage, json } => {
            fidelity::fidelity(&dir, schedules, json, sabotage, &mut io)
        }
        Command::Timeline(args) => timeline::timeline(&args, &mut io),
        Command::Mutants(args) => mutants::mutants(&args, &mut io),
        Command::Explain { id } => explain::explain(&id, &mut io),
        Command::Schema { report, chaos } => {
            io.print(&match (report, chaos) {
                (true, _) => crate::report::event::schema(),
                (_, true) => crate::chaos::lines::schema(),
                (false, false) => schema(),
            });
            Exit::Fine
        }
    }
}

fn check(paths: &[PathBuf], io: &mut Io<'_>) -> Exit {
    let found = files::load(paths, io);
    if found.exit == Exit::Fine {
        io.print(&format!("{} scenarios are sound\n", found.loaded.len()));
    }
    found.exit
}

/// The published schema as it stands in `sim/schema/scenario.schema.json`.
pub fn schema() -> String {
    let mut schema = crate::scenario::SCENARIO_SCHEMA.clone();
    schema["title"] = "arc-sim scenario".into();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
