//! How true the simulator is: over all recordings beside the recorded scenarios, objects compared, equal, differing as accepted,
//! unequal. Measured, never written by hand.

use std::path::{Path, PathBuf};

use controller_core::Release;

use super::recording;
use super::steer::{self, Best, Search};
use crate::scenario::{self, Loaded};

/// One recording's result.
pub struct Row {
    /// The scenario's file, without ending.
    pub scenario: String,
    /// What was found.
    pub best: Best,
    /// The scenario, for reports.
    pub loaded: Loaded,
}

/// Compares all recordings `DIR/SCENARIO/RELEASE.jsonl` that have a scenario `DIR/SCENARIO.yaml`.
///
/// # Errors
/// What cannot be read, for people.
pub fn measure(dir: &Path, search: Search) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for file in listed(dir, "yaml")? {
        let text = read(&file)?;
        let loaded = scenario::load(&file.display().to_string(), &text).map_err(|r| r.render(false))?;
        let name = stem(&file);
        let recordings = dir.join(&name);
        if !recordings.is_dir() {
            continue;
        }
        let mut found: Vec<(Release, PathBuf)> = Vec::new();
        for path in listed(&recordings, "jsonl")? {
            let release = stem(&path).parse().map_err(|_| format!("{}: not named after a release", path.display()))?;
            found.push((release, path));
        }
        found.sort();
        for (release, path) in found {
            let text = read(&path)?;
            let recording = recording::read(&path.display().to_string(), &text).map_err(|r| r.render(false))?;
            // A schedule that a scenario names is what a long search found; nobody has to search again.
            let named = loaded.scenario.recorded.as_ref().and_then(|r| r.schedule(release));
            let search = if named.is_some() { Search { schedules: 1, ..search } } else { search };
            if let Some(best) = steer::search(&loaded, release, &recording, search) {
                rows.push(Row { scenario: name.clone(), best, loaded: loaded.clone() });
            }
        }
    }
    Ok(rows)
}

fn listed(dir: &Path, ending: &str) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == ending));
    paths.sort();
    Ok(paths)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The table of the README: a line per scenario, and the sum.
pub fn table(rows: &[Row]) -> String {
    let mut out =
        String::from("| scenario | releases | objects | equal | accepted | unequal |\n|---|---|---|---|---|---|\n");
    let mut line = |name: &str, rows: &[&Row]| {
        let sum = |f: &dyn Fn(&Row) -> usize| rows.iter().map(|r| f(r)).sum::<usize>();
        let objects = sum(&|r| r.best.score.objects);
        let equal = sum(&|r| r.best.score.equal());
        let accepted = sum(&|r| r.best.score.accepted);
        let unequal = sum(&|r| r.best.score.unequal);
        out.push_str(&format!("| {name} | {} | {objects} | {equal} | {accepted} | {unequal} |\n", rows.len()));
    };
    let mut scenarios: Vec<&str> = rows.iter().map(|r| r.scenario.as_str()).collect();
    scenarios.dedup();
    for scenario in scenarios {
        let own: Vec<&Row> = rows.iter().filter(|r| r.scenario == scenario).collect();
        line(&format!("`{scenario}`"), &own);
    }
    line("all", &rows.iter().collect::<Vec<_>>());
    out
}
