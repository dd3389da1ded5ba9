//! `scenarios/QUIRKS.md` says of every quirk that harms users what shows it and what shows that the corrected controller is free of it.
//! Here it is held to that: files, switches and expectations are there, and say what the rows say.
#![allow(clippy::expect_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arc_sim::scenario::{Bound, Expect, Loaded, load};
use controller_core::Release;
use controller_core::behaviour::Behaviour;

fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
}

/// The rows under a heading, cell by cell.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(scenarios().join("QUIRKS.md")).expect("the list of quirks");
    let (_, section) = text.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let row = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    section.lines().filter(|line| line.starts_with("| Q-")).map(row).collect()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// A scenario by its path in the table, and the variant that is meant.
fn shown(path: &str) -> (Loaded, Option<String>) {
    let mut parts = path.splitn(3, '/');
    let (folder, name, variant) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next());
    let file = scenarios().join(folder).join(format!("{name}.yaml"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("there is no {path}"));
    let loaded = load(&file.display().to_string(), &text).expect("scenarios of the repository are right");
    (loaded, variant.map(str::to_owned))
}

fn expectation<'l>(loaded: &'l Loaded, variant: Option<&str>, release: Release) -> Option<&'l Expect> {
    match variant {
        None => loaded.expect(release),
        Some(name) => loaded.scenario.variants.iter().find(|v| v.name == name)?.expectation(release),
    }
}

fn broken(expect: &Expect) -> BTreeSet<String> {
    expect.violates.iter().map(ToString::to_string).collect()
}

/// Bounds of one metric that nothing fits both.
fn parted(a: &Expect, b: &Expect) -> bool {
    a.metrics.iter().any(|(name, one)| {
        let other = b.metrics.iter().find(|(n, _)| *n == name).map(|(_, bound)| bound);
        let above = |a: &Bound, b: &Bound| a.least.zip(b.most).is_some_and(|(least, most)| least > most);
        other.is_some_and(|other| above(one, other) || above(other, one))
    })
}

#[test]
fn every_row_is_shown_both_ways() {
    let rows = rows("Both ways");
    assert!(rows.len() > 50, "{}", rows.len());
    for row in rows {
        let [quirks, _, _, switch, by] = row.as_slice() else { panic!("five cells: {row:?}") };
        assert!(!quoted(by).is_empty(), "{quirks} is shown by nothing");
        for path in quoted(by) {
            let (loaded, variant) = shown(path);
            let of = |release| expectation(&loaded, variant.as_deref(), release);
            let next = of(Release::Next).unwrap_or_else(|| panic!("{path} expects nothing of next"));
            assert!(next.holds.is_some() && next.violates.is_empty(), "{path} does not hold on next");
            let tags = Release::ALL.iter().filter(|r| **r != Release::Next);
            let shows = tags.filter_map(|r| of(*r)).any(|e| !broken(e).is_empty() || parted(e, next));
            assert!(shows, "{path} shows {quirks} on no release");
        }
        for named in quoted(switch) {
            let (name, value) = named.split_once(": ").expect("a switch and its value");
            assert_eq!(Behaviour::of(Release::Next).get(name), Some(value), "{quirks}: next has another {name}");
            let other = |r: &Release| Behaviour::of(*r).get(name) != Some(value);
            assert!(Release::ALL.iter().any(other), "{quirks}: {name} is {value} everywhere");
        }
    }
}

#[test]
fn what_no_controller_can_avoid_is_less_on_next() {
    for row in rows("No controller can") {
        let [quirks, _, _, _, by] = row.as_slice() else { panic!("five cells: {row:?}") };
        for path in quoted(by) {
            let (loaded, variant) = shown(path);
            let of = |release| expectation(&loaded, variant.as_deref(), release);
            let next = broken(of(Release::Next).expect("something is expected of next"));
            assert!(!next.is_empty(), "{path} holds on next: {quirks} belongs elsewhere");
            let last = broken(of(Release::V0_14_2).expect("something is expected of 0.14.2"));
            assert!(next.is_subset(&last) && next != last, "{path}: {quirks} is no less on next");
        }
    }
}

#[test]
fn every_scenario_of_a_quirk_stands_in_a_row_of_that_quirk() {
    let rows: Vec<Vec<String>> = rows("Both ways").into_iter().chain(rows("No controller can")).collect();
    let mut seen = BTreeSet::new();
    for row in &rows {
        for quirk in row[0].split(", ") {
            assert!(seen.insert(quirk.to_owned()), "{quirk} has two rows");
        }
    }
    let folder = std::fs::read_dir(scenarios().join("quirks")).expect("scenarios of quirks");
    for file in folder.map(|entry| entry.expect("a file").path()) {
        let name = format!("quirks/{}", file.file_stem().expect("a name").to_string_lossy());
        let (loaded, _) = shown(&name);
        let mine: Vec<&Vec<String>> =
            rows.iter().filter(|row| row.last().is_some_and(|by| quoted(by).contains(&name.as_str()))).collect();
        assert!(!mine.is_empty(), "{name} stands in no row");
        for row in mine {
            let tagged = row[0].split(", ").any(|quirk| loaded.scenario.tags.iter().any(|tag| *tag == quirk));
            assert!(tagged, "{name} is not tagged with any of {}", row[0]);
        }
    }
}
