//! What a CI system wants of a command: a JUnit file, annotations, a step summary. Never decides what failed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::{Io, files};
use crate::exit::Exit;
use crate::report::cases::Case;
use crate::report::{github, junit};

/// What the environment says about the machine that runs this.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ci {
    /// GitHub Actions runs this: `GITHUB_ACTIONS` is `true`.
    pub github: bool,
    /// Where the step's summary is written: `GITHUB_STEP_SUMMARY`.
    pub summary: Option<PathBuf>,
}

impl Ci {
    /// As this process's environment says.
    pub fn of_this_process() -> Ci {
        let value = |name| std::env::var_os(name).filter(|v| !v.is_empty());
        let github = value("GITHUB_ACTIONS").is_some_and(|v| v == "true");
        Ci { github, summary: value("GITHUB_STEP_SUMMARY").filter(|_| github).map(PathBuf::from) }
    }
}

/// Writes the JUnit file, if one is wanted, and within GitHub Actions the annotations and the summary. Annotations go to standard
/// error, where the runner reads commands as well: standard output is for data.
pub(super) fn publish(cases: &[Case], junit: Option<&Path>, io: &mut Io<'_>) -> Exit {
    let mut exit = Exit::Fine;
    if let Some(path) = junit
        && let Err(error) = files::write(path, &junit::xml(cases))
    {
        io.say(&format!("error: {}: {error}\n", path.display()));
        exit = Exit::Rejected;
    }
    if io.ci.github {
        io.say(&github::annotations(cases));
    }
    if let Some(path) = io.ci.summary.clone() {
        let file = OpenOptions::new().append(true).create(true).open(&path);
        if let Err(error) = file.and_then(|mut file| file.write_all(github::summary(cases).as_bytes())) {
            io.say(&format!("warning: {}: {error}\n", path.display()));
        }
    }
    exit
}
