//! `arc-sim explain ID`: what a word of scenario files, reports or releases means and where it comes from.

use std::fmt::Write as _;

use controller_core::{Behaviour, Release};
use serde_json::Value;

use super::Io;
use super::list::{date, words};
use super::settings::{self, Setting};
use crate::exit::Exit;
use crate::invariant::Sort;
use crate::plan::{Fault, Operator};
use crate::report::text::{Ink, Style};
use crate::scenario::diagnostic::suggestion;
use crate::scenario::file::Pattern;
use crate::scenario::shape::schema_of;
use crate::scenario::vocabulary::{INVARIANTS, METRICS, invariant, metric};

pub(super) fn explain(id: &str, io: &mut Io<'_>) -> Exit {
    match text(id, io.style) {
        Some(text) => {
            io.print(&text);
            Exit::Fine
        }
        None => {
            let patterns = Pattern::ALL.iter().map(|p| p.as_str());
            let names = Fault::IDS.iter().copied().chain(patterns).chain(Operator::IDS.iter().copied());
            let names = names.chain(INVARIANTS.iter().map(|i| i.id)).chain(METRICS.iter().map(|m| m.id));
            let names =
                names.chain(Release::ALL.iter().map(|r| r.as_str())).chain(Behaviour::SWITCHES.iter().map(|s| s.name));
            let settings = settings::settings();
            let names = names.chain(settings.iter().filter_map(|s| s.path.rsplit('.').next()));
            let near = crate::scenario::diagnostic::nearest(id, names.clone());
            let hint =
                near.map_or_else(|| "`arc-sim list` names everything".to_owned(), |_| suggestion(id, "names", names));
            io.say(&format!("error: nothing is called `{id}`\n\nhint: {hint}\n"));
            Exit::Rejected
        }
    }
}

/// The explanation of a name, all meanings one after another.
fn text(id: &str, style: Style) -> Option<String> {
    let mut out = String::new();
    if let Some(info) = invariant(id) {
        head(&mut out, style, info.id, "invariant");
        if let Some(entry) = crate::invariant::entry(info.id) {
            let kind = match entry.sort {
                Sort::Always => "always: at every event",
                Sort::Settles => {
                    "settles: within a bound, counted from when faults and operators last touched the world"
                }
                Sort::AtTheEnd => "at the end of the run",
            };
            let rows = [
                ("checked", kind),
                ("relied on by", entry.for_whom),
                ("tolerates", entry.tolerates),
                ("source", entry.source),
                ("catalogue", info.catalogue),
            ];
            writeln!(out, "{}\n", entry.promise).ok()?;
            for (name, text) in rows {
                writeln!(out, "  {name:<12}  {text}").ok()?;
            }
        }
    }
    if let Some(info) = metric(id) {
        head(&mut out, style, info.id, "metric");
        let better = match info.less_is_better {
            Some(true) => "less",
            Some(false) => "more",
            None => "neither",
        };
        writeln!(out, "{}\n\n  better  {better}", sentence(info.doc)).ok()?;
    }
    if Fault::IDS.contains(&id) {
        head(&mut out, style, id, "fault");
        parameters(&mut out, &schema_of::<Fault>(), id)?;
        out.push_str("\n  source  field-bugs.md §1, fault types\n");
    }
    if Operator::IDS.contains(&id) {
        head(&mut out, style, id, "operator action");
        parameters(&mut out, &schema_of::<Operator>(), id)?;
        out.push_str("\n  source  field-bugs.md §1, operator actions\n");
    }
    if Pattern::ALL.iter().any(|p| p.as_str() == id) {
        head(&mut out, style, id, "workload pattern");
        let doc = words(&schema_of::<Pattern>(), &[id]);
        writeln!(out, "{}\n\n  source  field-bugs.md §1, workload patterns", doc.first()?.1).ok()?;
    }
    if let Some(switch) = Behaviour::SWITCHES.iter().find(|s| s.name == id) {
        head(&mut out, style, id, "switch");
        writeln!(out, "{}\n", joined(switch.doc)).ok()?;
        for (value, doc) in switch.values {
            let has: Vec<&str> =
                Release::ALL.iter().filter(|r| Behaviour::of(**r).get(id) == Some(value)).map(|r| r.as_str()).collect();
            let span = match has.as_slice() {
                [] => "no release".to_owned(),
                [one] => (*one).to_owned(),
                several => format!("{} … {}", several[0], several[several.len() - 1]),
            };
            writeln!(out, "  {:<24} {}\n  {:<24} {span}", style.paint(Ink::Name, value), joined(doc), "").ok()?;
        }
    }
    for setting in settings::named(id) {
        setting_text(&mut out, style, &setting)?;
    }
    if let Ok(release) = id.parse::<Release>() {
        release_text(&mut out, style, release)?;
    }
    if id.len() > 3 && id.starts_with("Q-") {
        let mentions = |doc: &str| doc.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).any(|word| word == id);
        for switch in Behaviour::SWITCHES {
            let here = mentions(switch.doc) || switch.values.iter().any(|(_, doc)| mentions(doc));
            if here {
                head(&mut out, style, id, "quirk");
                writeln!(out, "{}\n\n  switch  {} (`arc-sim explain {}`)\n  source  arc-controllers.md §11, actions-service.md §8", joined(switch.doc), switch.name, switch.name).ok()?;
            }
        }
    }
    (!out.is_empty()).then_some(out)
}

/// A setting, or a group with its parts.
fn setting_text(out: &mut String, style: Style, setting: &Setting) -> Option<()> {
    let inside = format!("{}.", setting.path);
    let is_part = |s: &Setting| s.path.strip_prefix(&inside).is_some_and(|rest| !rest.contains('.'));
    let parts: Vec<Setting> = settings::settings().into_iter().filter(is_part).collect();
    head(out, style, &setting.path, if parts.is_empty() { "setting" } else { "settings" });
    writeln!(out, "{}\n", setting.doc).ok()?;
    if !setting.form.is_empty() {
        writeln!(out, "  written  {}", setting.form).ok()?;
    }
    if let Some(default) = &setting.default {
        writeln!(out, "  default  {default}").ok()?;
    }
    let name = |s: &Setting| s.path[inside.len()..].to_owned();
    let width = parts.iter().map(|s| name(s).len()).max().unwrap_or(0);
    for part in &parts {
        let default = part.default.as_ref().map_or(String::new(), |d| format!(" [{d}]"));
        writeln!(out, "  {}  {}{default}", style.paint(Ink::Name, &format!("{:<width$}", name(part))), part.doc)
            .ok()?;
    }
    Some(())
}

fn head(out: &mut String, style: Style, name: &str, what: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    writeln!(out, "{} ({what})", style.paint(Ink::Name, name)).unwrap_or(());
}

/// Parameters of a word, from its schema.
fn parameters(out: &mut String, schema: &Value, id: &str) -> Option<()> {
    let branch = schema["oneOf"].as_array()?.iter().find(|b| b["properties"].get(id).is_some())?;
    writeln!(out, "{}", branch["description"].as_str().unwrap_or("")).ok()?;
    let resolve = |s: &Value| s["$ref"].as_str().and_then(|r| schema["$defs"].get(r.rsplit('/').next()?)).cloned();
    let inner = resolve(&branch["properties"][id])?;
    let required: Vec<&str> =
        inner["required"].as_array().map_or(Vec::new(), |r| r.iter().filter_map(Value::as_str).collect());
    let properties = inner["properties"].as_object()?;
    let width = properties.keys().map(String::len).max().unwrap_or(0);
    out.push('\n');
    for (name, property) in properties {
        let doc = property["description"].as_str().unwrap_or("").lines().next().unwrap_or("");
        let needed = if required.contains(&name.as_str()) { "" } else { " (optional)" };
        writeln!(out, "  {name:<width$}  {doc}{needed}").ok()?;
        let options = property["anyOf"].as_array().and_then(|a| a.first()).unwrap_or(property);
        if let Some(target) = resolve(options) {
            let branches = target["oneOf"].as_array().map_or(&[][..], Vec::as_slice);
            let consts = branches.iter().filter_map(|b| b["const"].as_str()).collect::<Vec<_>>();
            let listed = target["enum"].as_array().map_or(Vec::new(), |e| e.iter().filter_map(Value::as_str).collect());
            let all: Vec<&str> = branches
                .iter()
                .flat_map(|b| b["enum"].as_array().into_iter().flatten().filter_map(Value::as_str))
                .chain(consts)
                .chain(listed)
                .collect();
            if !all.is_empty() {
                writeln!(out, "  {:<width$}  one of: {}", "", all.join(", ")).ok()?;
            }
        }
    }
    Some(())
}

fn release_text(out: &mut String, style: Style, release: Release) -> Option<()> {
    head(out, style, release.as_str(), "release");
    match release {
        Release::Next => out.push_str(
            "This project's corrected controller: what each failure of the catalogue calls `correct controller`.\n",
        ),
        _ => writeln!(
            out,
            "The tag gha-runner-scale-set-{release} of actions/actions-runner-controller, {}.",
            date(release)
        )
        .ok()?,
    }
    let before = Release::ALL.iter().rev().copied().find(|r| *r < release);
    match before {
        Some(before) => writeln!(out, "\n  what differs from {before}:").ok()?,
        None => out.push_str("\n  the oldest that is modelled; how it behaves:\n"),
    }
    let (old, new) = (before.map(Behaviour::of), Behaviour::of(release));
    let mut none = true;
    for switch in Behaviour::SWITCHES {
        let (was, is) = (old.as_ref().and_then(|b| b.get(switch.name)), new.get(switch.name)?);
        if was != Some(is) {
            none = false;
            let was = was.map_or_else(String::new, |was| format!("{was} → "));
            writeln!(out, "  {:<24} {was}{is}", switch.name).ok()?;
        }
    }
    if none {
        out.push_str("  nothing that is modelled\n");
    }
    Some(())
}

fn joined(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn sentence(fragment: &str) -> String {
    let mut chars = fragment.chars();
    let first = chars.next().map_or_else(String::new, |c| c.to_uppercase().collect());
    format!("{first}{}.", chars.as_str())
}
