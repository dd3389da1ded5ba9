//! How true the simulator is: over all recordings beside the recorded scenarios, objects compared, equal, differing as accepted,
//! unequal. Measured, never written by hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use controller_core::Release;

use super::matching::pairs;
use super::recording::{self, Recording};
use super::report::role_name;
use super::steer::{self, Best, Search};
use crate::scenario::{self, Loaded};

/// One recording's result.
pub struct Row {
    /// The scenario's file, without ending.
    pub scenario: String,
    /// The recording.
    pub recording: Recording,
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
                rows.push(Row { scenario: name.clone(), recording, best, loaded: loaded.clone() });
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
    let mut out = String::from(
        "| scenario | releases | objects | equal | accepted | unequal | left at the end | as recorded |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut line = |name: &str, rows: &[&Row]| {
        let sum = |f: &dyn Fn(&Row) -> usize| rows.iter().map(|r| f(r)).sum::<usize>();
        let objects = sum(&|r| r.best.score.objects);
        let equal = sum(&|r| r.best.score.equal());
        let accepted = sum(&|r| r.best.score.accepted);
        let unequal = sum(&|r| r.best.score.unequal);
        let left = sum(&|r| r.best.left.items);
        let as_recorded = sum(&|r| r.best.left.equal);
        let releases = rows.len();
        out.push_str(&format!(
            "| {name} | {releases} | {objects} | {equal} | {accepted} | {unequal} | {left} | {as_recorded} |\n"
        ));
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

/// Why objects differ: every reason that scenarios give with the number of objects and the recordings, accepted ones and open ones,
/// then the objects of which nothing is said.
pub fn reasons(rows: &[Row]) -> String {
    let mut told: BTreeMap<(&str, &str), BTreeMap<String, usize>> = BTreeMap::new();
    let mut unknown: Vec<String> = Vec::new();
    for row in rows {
        let release = row.best.release;
        let Some(recorded) = &row.loaded.scenario.recorded else { continue };
        let accepted = recorded.accepted(release).map(|a| ("accepted", a, a.at_most));
        let open = recorded.open(release).map(|a| ("open", a, a.at_most));
        let mut given: Vec<_> = accepted.chain(open).collect();
        let of = format!("{} {release}", row.scenario);
        for pair in pairs(&row.best.recorded, &row.best.simulated).iter().filter(|p| p.difference().is_some()) {
            let name = role_name(pair.id);
            match given.iter_mut().find(|(_, a, left)| *left > 0 && a.object.matches(&name)) {
                Some((kind, a, left)) => {
                    *left -= 1;
                    *told.entry((*kind, a.reason.as_str())).or_default().entry(of.clone()).or_default() += 1;
                }
                None => unknown.push(format!("{of}: {name}")),
            }
        }
    }
    let mut out = String::new();
    for ((kind, reason), recordings) in told {
        let objects: usize = recordings.values().sum();
        let of: Vec<String> = recordings.into_iter().map(|(of, n)| format!("{of} ({n})")).collect();
        out.push_str(&format!("{kind:<9}{objects:>4}  {reason}\n               {}\n", of.join(", ")));
    }
    if !unknown.is_empty() {
        out.push_str(&format!("no reason {:>3}\n", unknown.len()));
        unknown.iter().for_each(|line| out.push_str(&format!("               {line}\n")));
    }
    out
}
