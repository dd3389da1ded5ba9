//! Checks the meaning of a scenario: names that must exist, times that must fit, faults that could never fire.
//!
//! Never stops at the first problem, and never runs anything: what only a run can tell (a trigger that does not happen) is
//! the judge's business.

/// A path into the file.
macro_rules! path {
    ($($seg:expr),* $(,)?) => { [$(crate::scenario::source::Seg::from($seg)),*] };
}

mod entries;
mod expect;
mod faults;
mod operators;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;

use arc_api::Str;
use serde_json::Value;

use super::diagnostic::{Problem, suggestion};
use super::file::Scenario;
use super::source::{Node, Seg};
use crate::plan::world::{ClusterSpec, ScaleSetSpec};
use crate::plan::{Dur, Fault, SetRef};

/// All problems of meaning of a scenario whose entries have ids.
pub fn check(scenario: &Scenario, raw: &Value, root: &Node) -> Vec<Problem> {
    let mut check = Check { root, base: Vec::new(), body: scenario, problems: Vec::new() };
    check.head();
    check.world();
    check.entries(0..scenario.workload.len(), 0..scenario.faults.len(), 0..scenario.operators.len());
    check.marks();
    check.expectations(&scenario.expect);
    check.recorded();
    check.settle();
    let mut problems = check.problems;
    let said: Vec<String> = problems.iter().map(|p| p.said.clone()).collect();
    for index in 0..scenario.variants.len() {
        problems.extend(variant(scenario, raw, root, index).into_iter().filter(|p| !said.contains(&p.said)));
    }
    problems
}

fn variant(scenario: &Scenario, raw: &Value, root: &Node, index: usize) -> Vec<Problem> {
    let base = path!["variants", index].to_vec();
    let Some(body) = super::variant_body(scenario, raw, index) else {
        let at = root.place(&base);
        return vec![
            Problem::new(at, "a variant that cannot be laid over its scenario")
                .hint("change settings by key, lists by name"),
        ];
    };
    let v = &scenario.variants[index];
    let mut check = Check { root, base, body: &body, problems: Vec::new() };
    check.variant_head(scenario, index);
    check.world();
    let own = |all: usize, own: usize| all.saturating_sub(own)..all;
    check.entries(
        own(body.workload.len(), v.workload.len()),
        own(body.faults.len(), v.faults.len()),
        own(body.operators.len(), v.operators.len()),
    );
    if let Some(expect) = &v.expect {
        check.expectations(expect);
    }
    check.settle();
    check.problems
}

/// One scenario, or one variant laid over it.
struct Check<'c> {
    root: &'c Node,
    /// Where in the file its own text stands: nothing, or the variant.
    base: Vec<Seg>,
    body: &'c Scenario,
    problems: Vec<Problem>,
}

impl<'c> Check<'c> {
    fn full(&self, path: &[Seg]) -> Vec<Seg> {
        self.base.iter().chain(path).cloned().collect()
    }
    fn place(&self, path: &[Seg]) -> Range<usize> {
        self.root.place(&self.full(path))
    }
    /// Adds a problem at a value.
    fn at(&mut self, path: &[Seg], said: impl Into<String>, label: impl Into<String>, hint: impl Into<String>) {
        let place = self.place(path);
        self.problems.push(Problem::new(place, said).label(label).hint(hint));
    }
    /// Adds a problem at a key.
    fn at_key(&mut self, path: &[Seg], said: impl Into<String>, label: impl Into<String>, hint: impl Into<String>) {
        let place = self.root.key_place(&self.full(path));
        self.problems.push(Problem::new(place, said).label(label).hint(hint));
    }
    /// A name must be one of some names.
    fn known<'n>(&mut self, path: &[Seg], what: &str, name: &str, names: impl IntoIterator<Item = &'n str>) -> bool {
        let names: Vec<&str> = names.into_iter().collect();
        if names.contains(&name) {
            return true;
        }
        self.at(
            path,
            format!("unknown {what} `{name}`"),
            format!("not one of the {} here", plural(what)),
            suggestion(name, &format!("{} here", plural(what)), names),
        );
        false
    }
    fn sets(&self) -> impl Iterator<Item = (&'c ClusterSpec, &'c ScaleSetSpec)> + use<'c> {
        self.body.clusters.iter().flat_map(|c| c.scale_sets.iter().map(move |s| (c, s)))
    }
    /// A reference must name exactly one scale set.
    fn set(&mut self, path: &[Seg], set: &SetRef) -> Option<&'c ScaleSetSpec> {
        let mut found: Vec<_> = self.sets().filter(|(c, s)| set.matches(&c.name, &s.name)).collect();
        // Two of the same name in one cluster are a problem of their own.
        found.dedup_by(|a, b| (&a.0.name, &a.1.name) == (&b.0.name, &b.1.name));
        match found.as_slice() {
            [(_, set)] => Some(set),
            [] => {
                let mut names: Vec<String> = self.sets().map(|(_, s)| s.name.to_string()).collect();
                if set.cluster.is_some() {
                    names = self.sets().map(|(c, s)| format!("{}/{}", c.name, s.name)).collect();
                }
                let hint = suggestion(&set.to_string(), "scale sets here", names.iter().map(String::as_str));
                self.at(path, format!("unknown scale set `{set}`"), "not one of the scale sets here", hint);
                None
            }
            several => {
                let names: Vec<String> = several.iter().map(|(c, s)| format!("`{}/{}`", c.name, s.name)).collect();
                let said = format!("`{set}` names {} scale sets", several.len());
                self.at(path, said, "ambiguous", format!("write {}", names.join(" or ")));
                None
            }
        }
    }
    fn head(&mut self) {
        let name = self.body.name.clone();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
            self.at(
                &path!["name"],
                format!("`{name}` is not a scenario's name"),
                "small letters, digits and dashes",
                "write a kebab-case name such as listener-session-conflict",
            );
        }
        if self.body.why.trim().is_empty() {
            self.at(
                &path!["why"],
                "a scenario without reason",
                "empty",
                "say in one sentence what goes wrong in the world",
            );
        }
    }
    fn variant_head(&mut self, scenario: &Scenario, index: usize) {
        let v = &scenario.variants[index];
        if scenario.variants[..index].iter().any(|other| other.name == v.name) {
            self.at(
                &path!["name"],
                format!("variant `{}` defined twice", v.name),
                "used before",
                "give each variant a name of its own",
            );
        }
        if v.name.is_empty() {
            self.at(&path!["name"], "a variant without name", "empty", "name it after what it changes");
        }
        let mut same = scenario.clone();
        super::compile::name_entries(&mut same);
        same.variants.clear();
        let ids = ids(scenario);
        let known = v.without.iter().all(|id| ids.contains_key(id));
        if known && same == *self.body && v.release.is_none() && v.expect.is_none() {
            self.at(
                &[],
                format!("variant `{}` changes nothing", v.name),
                "no difference to the scenario",
                "change a setting, add an entry, or leave one out with `without`",
            );
        }
        for (i, id) in v.without.iter().enumerate() {
            self.known(&path!["without", i], "entry", id, ids.keys().map(|id| id.as_str()));
        }
        for (i, metric) in v.compare.iter().enumerate() {
            self.known(&path!["compare", i], "metric", metric, super::vocabulary::METRICS.iter().map(|m| m.id));
        }
    }
    /// A bound that is shorter than a wait which is in order would call healthy worlds broken.
    fn settle(&mut self) {
        if !self.root.has(&self.full(&path!["settle"])) && !self.base.is_empty() {
            return;
        }
        let github = &self.body.github;
        let mut longest = (Dur::secs(80), "the longest back-off of a failed runner");
        for (wait, name) in [
            (github.session_ttl, "the life of a message session"),
            (github.poll_hold, "an empty poll"),
            (
                self.body
                    .clusters
                    .iter()
                    .map(|c| c.add_node_after.longest())
                    .filter(|_| self.body.clusters.iter().any(|c| c.nodes_max > 0))
                    .max()
                    .unwrap_or_default(),
                "a new node",
            ),
        ] {
            if wait > longest.0 {
                longest = (wait, name);
            }
        }
        for entry in &self.body.faults {
            if let Fault::GhSession(f) = &entry.what
                && let Some(ttl) = f.ttl
                && ttl > longest.0
                && entry.head.at.unwrap_or_default().0 + ttl.0 > self.body.run_for.0
            {
                longest = (ttl, "the life of a ghost session");
            }
        }
        let settle = self.body.settle;
        if settle < longest.0 {
            let label = format!("shorter than {}", longest.0);
            let hint = format!("settle must outlast {} ({}); write at least that", longest.1, longest.0);
            self.at(&path!["settle"], format!("a settle of {settle} is too short"), label, hint);
        }
    }
}

/// `switches`, `entries`, `scale sets`.
fn plural(word: &str) -> String {
    match (word.strip_suffix('y'), word.ends_with("ch")) {
        (Some(stem), _) if !stem.ends_with('a') => format!("{stem}ies"),
        (_, true) => format!("{word}es"),
        _ => format!("{word}s"),
    }
}

/// Every id of a scenario and the list it belongs to.
fn ids(scenario: &Scenario) -> BTreeMap<Str, &'static str> {
    let workload = scenario.workload.iter().filter_map(|w| Some((w.id.clone()?, "workload")));
    let faults = scenario.faults.iter().filter_map(|e| Some((e.head.id.clone()?, "faults")));
    let operators = scenario.operators.iter().filter_map(|e| Some((e.head.id.clone()?, "operators")));
    let marks = scenario.marks.iter().filter_map(|e| Some((e.head.id.clone()?, "marks")));
    workload.chain(faults).chain(operators).chain(marks).collect()
}
