//! `arc-sim list`: scenarios, and the words that scenario files are made of. Never runs anything.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use controller_core::{Behaviour, Release};

use super::{Io, files};
use crate::exit::Exit;
use crate::plan::{Fault, Operator};
use crate::report::text::Ink;
use crate::scenario::file::Pattern;
use crate::scenario::shape::schema_of;
use crate::scenario::vocabulary::{INVARIANTS, METRICS};

pub(super) fn list(paths: &[PathBuf], io: &mut Io<'_>) -> Exit {
    let default = [PathBuf::from("scenarios")];
    let paths = if paths.is_empty() { &default[..] } else { paths };
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
    if paths != default || Path::new("scenarios").exists() {
        let found = files::load(paths, io);
        exit = found.exit;
        let about = |l: &crate::scenario::Loaded| format!("{} — {}", l.release(), l.scenario.why);
        section("scenarios", found.loaded.iter().map(|l| (l.scenario.name.to_string(), about(l))).collect());
    }
    section("faults", words(&schema_of::<Fault>(), Fault::IDS));
    let patterns: Vec<&str> = Pattern::ALL.iter().map(|p| p.as_str()).collect();
    section("workloads", words(&schema_of::<Pattern>(), &patterns));
    section("operator actions", words(&schema_of::<Operator>(), Operator::IDS));
    section("invariants", INVARIANTS.iter().map(|i| (i.id.to_owned(), i.promise.to_owned())).collect());
    section("metrics", METRICS.iter().map(|m| (m.id.to_owned(), m.doc.to_owned())).collect());
    section("releases", Release::ALL.iter().map(|r| (r.as_str().to_owned(), date(*r))).collect());
    let first = |doc: &str| doc.trim().lines().next().unwrap_or("").trim().to_owned();
    section("switches", Behaviour::SWITCHES.iter().map(|s| (s.name.to_owned(), first(s.doc))).collect());
    io.print(out.trim_end());
    io.print("\n");
    exit
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
