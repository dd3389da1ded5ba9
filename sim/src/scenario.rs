//! Scenario files: the only language in which worlds, failures and expectations are written down.
//!
//! Reading goes text → [`source`] (tree with places) → [`shape`] (checked against the schema, all problems) → [`file`](mod@file)
//! (typed) → [`check`] (meaning, all problems) → [`compile`] (plans). Nothing here runs a world.

pub mod check;
pub mod compile;
pub mod diagnostic;
pub mod entry;
pub mod file;
pub mod merge;
pub mod ranges;
pub mod recorded;
pub mod shape;
pub mod source;
pub mod vocabulary;
pub mod write;

use std::sync::LazyLock;

use controller_core::Release;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use diagnostic::{Problem, Rejected};
pub use file::{Bound, Expect, Scenario, Variant};

use crate::plan::{Plan, ReleaseRef, SCHEMA};
use source::Node;

/// The published schema of scenario files.
pub static SCENARIO_SCHEMA: LazyLock<Value> = LazyLock::new(shape::schema_of::<Scenario>);
static PLAN_SCHEMA: LazyLock<Value> = LazyLock::new(shape::schema_of::<Plan>);

/// A scenario that was read and found sound.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Name of the file as given.
    pub file: String,
    /// The scenario, every entry with an id.
    pub scenario: Scenario,
    /// What stands in the file, without defaults: what variants are laid over.
    raw: Value,
}

impl Loaded {
    /// The scenario itself, or one of its variants laid over it.
    pub fn body(&self, variant: Option<&str>) -> Option<Scenario> {
        match variant {
            None => Some(self.scenario.clone()),
            Some(name) => {
                let index = self.scenario.variants.iter().position(|v| v.name == name)?;
                variant_body(&self.scenario, &self.raw, index)
            }
        }
    }
    /// The plan of the scenario or of a variant.
    pub fn plan(&self, variant: Option<&str>, release: Release, seed: u64) -> Option<Plan> {
        Some(compile::compile(&self.body(variant)?, variant, release, seed))
    }
    /// Releases that `expect` names, oldest first.
    pub fn releases(&self) -> Vec<Release> {
        ranges::named(self.scenario.expect.keys().map(|k| k.as_str()))
    }
    /// The release of runs without other instructions.
    pub fn release(&self) -> Release {
        self.scenario.release.resolve(Release::Next)
    }
    /// What must come of a run of the scenario for a release.
    pub fn expect(&self, release: Release) -> Option<&Expect> {
        ranges::lookup(self.scenario.expect.iter().map(|(k, e)| (k.as_str(), e)), release)
    }
    /// The seed of runs that do not state one.
    pub fn seed(&self) -> u64 {
        self.scenario.seed.unwrap_or(0)
    }
}

impl Variant {
    /// What must come of a run of the variant for a release; nothing if it is measured only.
    pub fn expectation(&self, release: Release) -> Option<&Expect> {
        let expect = self.expect.as_ref()?;
        ranges::lookup(expect.iter().map(|(k, e)| (k.as_str(), e)), release)
    }
    /// Releases that it runs for.
    pub fn releases(&self, scenario: Release) -> Vec<Release> {
        match (&self.expect, self.release) {
            (Some(expect), _) => ranges::named(expect.keys().map(|k| k.as_str())),
            (None, Some(release)) => vec![release.resolve(scenario)],
            (None, None) => vec![scenario],
        }
    }
}

impl Scenario {
    /// As YAML, with every default written out.
    pub fn to_yaml(&self) -> String {
        // A scenario holds nothing that YAML cannot say, so this does not fail; the text would show it at once if it did.
        serde_saphyr::to_string(self).unwrap_or_else(|error| format!("# not written: {error}\n"))
    }
}

/// Lays a variant over its scenario.
fn variant_body(scenario: &Scenario, raw: &Value, index: usize) -> Option<Scenario> {
    let variant = scenario.variants.get(index)?;
    let mut over = raw.get("variants")?.get(index)?.clone();
    let mut merged = raw.clone();
    merge::state_names(&mut merged, true);
    merge::state_names(&mut over, false);
    for key in ["github", "clusters", "network", "run_for", "settle"] {
        if let Some(change) = over.get(key) {
            merge::overlay(merged.as_object_mut()?.entry(key).or_insert(Value::Null), change);
        }
    }
    if let Some(existing) = over.get("existing") {
        merged["existing"] = existing.clone();
    }
    merged.as_object_mut()?.remove("variants");
    let mut body: Scenario = serde_json::from_value(merged).ok()?;
    compile::name_entries(&mut body);
    body.workload.extend(variant.workload.iter().cloned());
    body.faults.extend(variant.faults.iter().cloned());
    body.operators.extend(variant.operators.iter().cloned());
    compile::name_entries(&mut body);
    let out = |id: &Option<arc_api::Str>| id.as_ref().is_some_and(|id| variant.without.contains(id));
    body.workload.retain(|w| !out(&w.id));
    body.faults.retain(|e| !out(&e.head.id));
    body.operators.retain(|e| !out(&e.head.id));
    body.marks.retain(|e| !out(&e.head.id));
    Some(body)
}

/// Reads a scenario file.
///
/// # Errors
/// Everything that is wrong with it, in file order.
pub fn load(file: &str, text: &str) -> Result<Loaded, Rejected> {
    let reject = |problems| Rejected::new(file, text, problems);
    let (root, raw, mut scenario) = typed::<Scenario>(file, text, &SCENARIO_SCHEMA)?;
    compile::name_entries(&mut scenario);
    let problems = check::check(&scenario, &raw, &root);
    if problems.is_empty() { Ok(Loaded { file: file.to_owned(), scenario, raw }) } else { Err(reject(problems)) }
}

/// Reads a plan.
///
/// # Errors
/// Everything that is wrong with it, in file order.
pub fn load_plan(file: &str, text: &str) -> Result<Plan, Rejected> {
    let (root, _, plan) = typed::<Plan>(file, text, &PLAN_SCHEMA)?;
    let mut problems = Vec::new();
    let mut refuse = |path: &[source::Seg], said: String, hint: &str| {
        problems.push(Problem::new(root.place(path), said).hint(hint));
    };
    if plan.schema != SCHEMA {
        let said = format!("a plan of format {}, this program reads {SCHEMA}", plan.schema);
        refuse(&["schema".into()], said, "make the plan anew from its scenario");
    }
    if !matches!(plan.release, ReleaseRef::Exact(_)) {
        refuse(&["release".into()], "a plan states its release".into(), "write a release such as 0.9.1 or next");
    }
    for (c, cluster) in plan.world.clusters.iter().enumerate() {
        let path = |list: &str, i: usize, key: &str| -> Vec<source::Seg> {
            vec!["world".into(), "clusters".into(), c.into(), list.into(), i.into(), key.into()]
        };
        for (i, controller) in cluster.controllers.iter().enumerate() {
            if !matches!(controller.release, ReleaseRef::Exact(_)) {
                refuse(
                    &path("controllers", i, "release"),
                    "a plan states its releases".into(),
                    "write a release such as 0.9.1",
                );
            }
        }
        for (i, set) in cluster.scale_sets.iter().enumerate() {
            if !matches!(set.chart, ReleaseRef::Exact(_)) {
                refuse(
                    &path("scale_sets", i, "chart"),
                    "a plan states its releases".into(),
                    "write a release such as 0.9.1",
                );
            }
        }
    }
    if problems.is_empty() { Ok(plan) } else { Err(Rejected::new(file, text, problems)) }
}

pub(crate) fn typed<T: DeserializeOwned>(file: &str, text: &str, schema: &Value) -> Result<(Node, Value, T), Rejected> {
    let reject = |problems| Rejected::new(file, text, problems);
    let root = source::parse(text).map_err(reject)?;
    let raw = shape::read(&root, schema).map_err(reject)?;
    let value = serde_json::from_value(raw.clone()).map_err(|error| {
        // The schema is made from the type, so what it accepts is read; whatever it cannot say ends here.
        reject(vec![Problem::new(root.span.clone(), format!("not readable: {error}"))])
    })?;
    Ok((root, raw, value))
}
