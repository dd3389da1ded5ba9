//! `arc-sim list`: scenarios, and the words that scenario files are made of. Never runs anything.

use std::fmt::Write as _;
use std::path::PathBuf;

use controller_core::{Behaviour, Release};

use super::settings::{Setting, settings};
use super::{Io, files};
use crate::exit::Exit;
use crate::marks::Mark;
use crate::plan::{Fault, Operator};
use crate::report::text::Ink;
use crate::scenario::file::Pattern;
use crate::scenario::shape::schema_of;
use crate::scenario::vocabulary::{INVARIANTS, METRICS};

/// What can be asked for; a file or directory asks for the scenarios in it.
const SECTIONS: [&str; 10] = [
    "scenarios",
    "faults",
    "workloads",
    "operators",
    "settings",
    "invariants",
    "marks",
    "metrics",
    "releases",
    "switches",
];

pub(super) fn list(what: &[PathBuf], io: &mut Io<'_>) -> Exit {
    let is_word = |path: &PathBuf| path.to_str().is_some_and(|p| SECTIONS.contains(&p));
    let (words_asked, mut paths): (Vec<PathBuf>, Vec<PathBuf>) = what.iter().cloned().partition(is_word);
    if let Some(neither) = paths.iter().find(|p| !p.exists()) {
        io.say(&format!("error: `{}` is no file and none of {}\n", neither.display(), SECTIONS.join(", ")));
        return Exit::Rejected;
    }
    let by_default = PathBuf::from("scenarios");
    let wanted = |section: &str| what.is_empty() || words_asked.iter().any(|w| w.as_os_str() == section);
    if paths.is_empty() && wanted("scenarios") && by_default.exists() {
        paths.push(by_default);
    }
    let mut exit = Exit::Fine;
    let style = io.style;
    let mut out = String::new();
    let mut section = |title: &str, rows: Vec<(String, String)>| {
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        writeln!(out, "{title} ({})", rows.len()).unwrap_or(());
        for (name, about) in rows {
            let padded = format!("{name:<width$}");
            writeln!(out, "  {}  {about}", style.paint(Ink::Name, &padded)).unwrap_or(());
        }
        out.push('\n');
    };
    if !paths.is_empty() {
        let found = files::load(&paths, io);
        exit = found.exit;
        let about = |l: &crate::scenario::Loaded| format!("{} — {}", l.release(), l.scenario.why);
        section("scenarios", found.loaded.iter().map(|l| (l.scenario.name.to_string(), about(l))).collect());
    }
    let first = |doc: &str| doc.trim().lines().next().unwrap_or("").trim().to_owned();
    for name in SECTIONS.into_iter().filter(|s| wanted(s)) {
        match name {
            "faults" => section(name, words(&schema_of::<Fault>(), Fault::IDS)),
            "workloads" => {
                let patterns: Vec<&str> = Pattern::ALL.iter().map(|p| p.as_str()).collect();
                section(name, words(&schema_of::<Pattern>(), &patterns));
            }
            "operators" => section(name, words(&schema_of::<Operator>(), Operator::IDS)),
            "settings" => {
                let about = |s: &Setting| match &s.default {
                    Some(default) => format!("{} [{default}]", sentence(&s.doc)),
                    None => sentence(&s.doc),
                };
                section(name, settings().iter().map(|s| (s.path.clone(), about(s))).collect());
            }
            "invariants" => {
                section(name, INVARIANTS.iter().map(|i| (i.id.to_owned(), i.promise.to_owned())).collect());
            }
            "marks" => {
                section(name, Mark::ALL.iter().map(|m| (m.id().to_owned(), m.doc().trim().to_owned())).collect());
            }
            "metrics" => section(name, METRICS.iter().map(|m| (m.id.to_owned(), m.doc.to_owned())).collect()),
            "releases" => section(name, Release::ALL.iter().map(|r| (r.as_str().to_owned(), date(*r))).collect()),
            "switches" => {
                section(name, Behaviour::SWITCHES.iter().map(|s| (s.name.to_owned(), first(s.doc))).collect());
            }
            _ => {}
        }
    }
    io.print(out.trim_end());
    io.print("\n");
    exit
}

/// The first sentence.
fn sentence(doc: &str) -> String {
    doc.split_inclusive(". ").next().unwrap_or(doc).trim().to_owned()
}

/// The date of a release in words.
pub(super) fn date(release: Release) -> String {
    if release.date().is_empty() { "this project's corrected controller".to_owned() } else { release.date().to_owned() }
}

/// Names of an enum's variants with the first sentence of their documentation, taken from its schema.
pub(super) fn words(schema: &serde_json::Value, names: &[&str]) -> Vec<(String, String)> {
    let branches = schema["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
    let named =
        |branch: &serde_json::Value, name: &str| branch["const"] == name || branch["properties"].get(name).is_some();
    let doc =
        |name: &str| branches.iter().find(|b| named(b, name)).and_then(|b| b["description"].as_str()).unwrap_or("");
    names.iter().map(|name| ((*name).to_owned(), doc(name).lines().next().unwrap_or("").to_owned())).collect()
}
