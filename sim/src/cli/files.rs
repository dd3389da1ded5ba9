//! Finds and reads scenario files. Never runs them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Io;
use crate::exit::Exit;
use crate::report::ReportEvent;
use crate::scenario::{Loaded, Problem, Rejected, load as load_scenario};

/// What was found.
pub(super) struct Found {
    /// Sound scenarios, in the order of the paths, names within directories.
    pub(super) loaded: Vec<Loaded>,
    /// Events about the files that are not sound.
    pub(super) problems: Vec<ReportEvent>,
    /// Number of files that are not sound.
    pub(super) rejected: usize,
    /// Whether all files are sound.
    pub(super) exit: Exit,
}

/// Reads all scenarios; tells what is wrong with those that are not sound.
pub(super) fn load(paths: &[PathBuf], io: &mut Io<'_>) -> Found {
    let mut found = Found { loaded: Vec::new(), problems: Vec::new(), rejected: 0, exit: Exit::Fine };
    let mut files = Vec::new();
    for path in paths {
        if let Err(said) = walk(path, true, &mut files) {
            io.say(&format!("error: {said}\n"));
            found.exit = Exit::Rejected;
        }
    }
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for path in files {
        let shown = path.display().to_string();
        let rejected = match std::fs::read_to_string(&path) {
            Err(error) => {
                io.say(&format!("error: {shown}: {error}\n"));
                found.exit = Exit::Rejected;
                found.rejected += 1;
                continue;
            }
            Ok(text) => load_scenario(&shown, &text).and_then(|loaded| {
                let name = loaded.scenario.name.to_string();
                match names.insert(name.clone(), shown.clone()) {
                    None => Ok(loaded),
                    Some(before) => {
                        let at = text.find(&name).unwrap_or(0);
                        let problem = Problem::new(at..at + name.len(), format!("scenario `{name}` defined twice"))
                            .label(format!("also in {before}"))
                            .hint("give each scenario a name of its own");
                        Err(Rejected::new(&shown, &text, vec![problem]))
                    }
                }
            }),
        };
        match rejected {
            Ok(loaded) => found.loaded.push(loaded),
            Err(rejected) => {
                io.say(&rejected.render(io.style.colour));
                found.problems.extend(events(&rejected));
                found.rejected += 1;
                found.exit = Exit::Rejected;
            }
        }
    }
    if found.exit == Exit::Fine && found.loaded.is_empty() {
        io.say("error: no scenario file found\n\nhint: scenario files end in .yaml\n");
        found.exit = Exit::Rejected;
    }
    found
}

/// Writes a file, with the directories that it needs.
pub(super) fn write(path: &Path, text: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)
}

/// Whether a file is a plan and no scenario: only plans state the version of their format, at their top.
pub(super) fn is_plan(text: &str) -> bool {
    text.lines().any(|line| line.starts_with("schema:"))
}

/// The problems of a file as events.
pub(super) fn events(rejected: &Rejected) -> impl Iterator<Item = ReportEvent> + '_ {
    rejected.problems.iter().map(|p| {
        let (line, column) = rejected.position(p);
        let (said, label, hint) = (p.said.clone(), p.label.clone(), p.hint.clone());
        ReportEvent::Problem { file: rejected.file.clone(), line, column, said, label, hint }
    })
}

fn walk(path: &Path, stated: bool, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let shown = path.display();
    let meta = std::fs::metadata(path).map_err(|error| format!("{shown}: {error}"))?;
    if meta.is_file() {
        let yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if stated || yaml {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    let mut inside: Vec<PathBuf> = std::fs::read_dir(path)
        .map_err(|error| format!("{shown}: {error}"))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|inside| {
            inside.file_name().is_some_and(|name| name != "bad" && !name.to_string_lossy().starts_with('.'))
        })
        .collect();
    inside.sort();
    inside.iter().try_for_each(|inside| walk(inside, false, files))
}
