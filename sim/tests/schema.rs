//! The published schema says what the reader reads, and the vocabulary of the catalogue can be written down.

use std::collections::BTreeSet;
use std::path::Path;

use arc_sim::plan::{Fault, Operator, Plan};
use arc_sim::scenario::file::Pattern;
use arc_sim::scenario::{Loaded, load, load_plan};
use controller_core::Release;

fn loaded(name: &str) -> Loaded {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios").join(name);
    let text = std::fs::read_to_string(&path).unwrap();
    load(name, &text).unwrap_or_else(|rejected| panic!("{}", rejected.render(false)))
}

#[test]
fn the_committed_schema_is_the_readers() {
    let committed = include_str!("../schema/scenario.schema.json");
    assert!(
        committed == arc_sim::cli::schema(),
        "run: cargo run -p arc-sim -- schema > sim/schema/scenario.schema.json"
    );
}

#[test]
fn every_word_of_the_catalogue_can_be_written() {
    let (faults, actions) = (loaded("every-fault.yaml"), loaded("every-action.yaml"));
    let written: BTreeSet<&str> = faults.scenario.faults.iter().map(|e| e.what.id()).collect();
    assert_eq!(written, Fault::IDS.iter().copied().collect());
    let written: BTreeSet<&str> = actions.scenario.operators.iter().map(|e| e.what.id()).collect();
    assert_eq!(written, Operator::IDS.iter().copied().collect());
    let written: BTreeSet<&str> = actions.scenario.workload.iter().map(|w| w.pattern.as_str()).collect();
    assert_eq!(written, Pattern::ALL.iter().map(|p| p.as_str()).collect());
    assert_eq!((Fault::IDS.len(), Operator::IDS.len(), Pattern::ALL.len()), (32, 17, 10));
}

/// The catalogue's tables are the measure: what they name exists here under the same name.
#[test]
fn plans_read_back_exactly_as_they_were_written() {
    for name in ["every-fault.yaml", "every-action.yaml"] {
        let loaded = loaded(name);
        let variants = loaded.scenario.variants.iter().map(|v| Some(v.name.as_str()));
        for variant in variants.chain([None]) {
            for release in [Release::V0_9_1, Release::Next] {
                let plan: Plan = loaded.plan(variant, release, 7).unwrap();
                let text = plan.to_yaml();
                let again = load_plan("plan.yaml", &text).unwrap_or_else(|r| panic!("{}", r.render(false)));
                assert!(again == plan, "{name} {variant:?} {release} differs after reading");
                assert_eq!(again.to_yaml(), text);
            }
        }
    }
}

#[test]
fn scenarios_read_back_exactly_as_they_were_written() {
    for name in ["every-fault.yaml", "every-action.yaml"] {
        let mut scenario = loaded(name).scenario;
        // Variants hold only what they change, which the typed form cannot tell from what is default.
        scenario.variants.clear();
        let text = scenario.to_yaml();
        let again = load(name, &text).unwrap_or_else(|r| panic!("{}\n{text}", r.render(false)));
        assert!(again.scenario == scenario, "{name} differs after reading");
    }
}

#[test]
fn same_seed_same_plan_and_another_seed_other_draws() {
    let loaded = loaded("every-action.yaml");
    let plan = |seed| loaded.plan(None, Release::Next, seed).unwrap();
    assert!(plan(1) == plan(1));
    assert!(plan(1).actions != plan(2).actions);
}

#[test]
fn editing_one_entry_changes_no_other_draw() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios/every-action.yaml");
    let text = std::fs::read_to_string(path).unwrap();
    let edited = text
        .replace("cancel_after: 5s..40s", "cancel_after: 5s..41s")
        .replace("every: 7s, times: 500", "every: 8s, times: 499");
    assert_ne!(text, edited);
    let jobs = |text: &str, id: &str| {
        let plan = load("a.yaml", text).unwrap().plan(None, Release::Next, 3).unwrap();
        plan.actions.into_iter().filter(|a| a.id.starts_with(id)).collect::<Vec<_>>()
    };
    for id in ["w1.", "w2.", "w3.", "w4.", "w7.", "w9.", "w10.", "o", "m"] {
        assert!(jobs(&text, id) == jobs(&edited, id), "{id}");
    }
    assert!(jobs(&text, "w6.") != jobs(&edited, "w6."));
}

#[test]
fn an_idle_gap_has_no_jobs() {
    let plan = loaded("every-action.yaml").plan(None, Release::Next, 0).unwrap();
    let west = plan.actions.iter().filter(|a| a.id.starts_with("w3."));
    let times: Vec<u64> = west.filter_map(|a| Some(a.when.at()?.0.as_secs())).collect();
    assert!(times.iter().all(|t| !(600..1800).contains(t)));
    assert_eq!(times.len(), 200 - 60);
}
