//! `arc-sim conform`: runs a scenario at the release of recordings and compares. Never decides what is equal.

use std::path::{Path, PathBuf};

use controller_core::Release;

use super::{Io, files};
use crate::conform::{audit, blame, compact, recording, report, steer};
use crate::exit::Exit;

/// Arguments of `arc-sim conform`.
#[derive(clap::Args, Debug)]
pub(super) struct ConformArgs {
    /// The scenario that was recorded
    scenario: PathBuf,
    /// Recordings of it, named after their release: `0.9.3.jsonl`; or audit logs of a cluster
    #[arg(required = true)]
    recordings: Vec<PathBuf>,
    /// The release, where the name of the recording does not say it
    #[arg(long, value_name = "RELEASE")]
    arc: Option<Release>,
    /// For an audit log: the calls of the service and the processes, in the form of recordings with RFC 3339 times
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// How many schedules are tried at most for each recording
    #[arg(long, alias = "seeds", value_name = "N", default_value_t = 64)]
    schedules: u64,
    /// How many branches are tried at most where no schedule explains everything: the world is forked wherever the recording is
    /// quiet, and what follows is drawn anew until it goes as the recording does
    #[arg(long, value_name = "N", default_value_t = 0)]
    branches: u32,
    /// The first seed that is tried
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Tell of objects that are equal, too
    #[arg(long)]
    all: bool,
    /// Print whole histories, both sides, of what has this in its name
    #[arg(long, value_name = "NAME")]
    show: Option<String>,
    /// Where histories differ, try every switch of the release's behaviour: which of them touch the difference
    #[arg(long)]
    switches: bool,
    /// Compare nothing, print the recordings in their compact form
    #[arg(long, conflicts_with_all = ["all", "json"])]
    compact: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) fn conform(args: &ConformArgs, io: &mut Io<'_>) -> Exit {
    let found = files::load(std::slice::from_ref(&args.scenario), io);
    let [loaded] = &found.loaded[..] else {
        if found.exit == Exit::Fine {
            io.say("error: one scenario is compared at a time\n\nhint: name its file, not a directory\n");
        }
        return found.exit.and(Exit::Rejected);
    };
    let mut exit = Exit::Fine;
    for path in &args.recordings {
        exit = exit.and(one(args, loaded, path, io));
    }
    exit
}

fn one(args: &ConformArgs, loaded: &crate::scenario::Loaded, path: &Path, io: &mut Io<'_>) -> Exit {
    let shown = path.display().to_string();
    let Some(release) = args.arc.or_else(|| release_of(path)) else {
        io.say(&format!("error: {shown}: no release in the name of this file\n\nhint: recordings are called after their release, as 0.9.3.jsonl; or say --arc RELEASE\n"));
        return Exit::Rejected;
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            io.say(&format!("error: {shown}: {error}\n"));
            return Exit::Rejected;
        }
    };
    if args.compact {
        return match compact::compact(&shown, &text) {
            Ok(text) => {
                io.print(&text);
                Exit::Fine
            }
            Err(rejected) => {
                io.say(&rejected.render(io.style.colour));
                Exit::Rejected
            }
        };
    }
    let journal = match &args.journal {
        None => None,
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => Some((path.display().to_string(), text)),
            Err(error) => {
                io.say(&format!("error: {}: {error}\n", path.display()));
                return Exit::Rejected;
            }
        },
    };
    let read = match audit::is_audit(&text) {
        true => audit::read(&shown, &text, journal.as_ref().map(|(file, text)| (file.as_str(), text.as_str()))),
        false => recording::read(&shown, &text),
    };
    let recording = match read {
        Ok(recording) => recording,
        Err(rejected) => {
            io.say(&rejected.render(io.style.colour));
            return Exit::Rejected;
        }
    };
    let search = steer::Search { first: args.seed, schedules: args.schedules.max(1), branches: args.branches };
    let Some(best) = steer::search(loaded, release, &recording, search) else { return Exit::Bug };
    if args.json {
        io.print(&format!("{}\n", report::json(&best, &shown)));
    } else {
        io.print(&report::text(&best, args.all, args.show.as_deref()));
        if args.switches && best.score.unequal > 0 {
            io.print(&report::touches(&blame::switches(loaded, &recording, &best)));
        }
    }
    if best.score.unequal == 0 { Exit::Fine } else { Exit::Failed }
}

/// The release that a recording is of: `0.9.3.jsonl`.
fn release_of(path: &Path) -> Option<Release> {
    path.file_name()?.to_str()?.strip_suffix(".jsonl")?.parse().ok()
}
