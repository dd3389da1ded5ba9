//! The simulator held against every recording beside a recorded scenario, and what readers of recordings are told.

use std::path::Path;

use arc_sim::conform::fidelity::{measure, table};
use arc_sim::conform::recording::read;
use arc_sim::conform::steer::Search;

/// Schedules that are tried beyond the one that a scenario names: enough for the races whose outcomes are common.
const SEARCH: Search = Search { first: 0, schedules: 24, branches: 0 };

#[test]
fn the_readme_says_how_well_every_recording_conforms() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rows = measure(&root.join("scenarios/recorded"), SEARCH).unwrap_or_else(|said| panic!("{said}"));
    let stale = rows.iter().filter(|row| {
        let accepts =
            row.loaded.scenario.recorded.as_ref().is_some_and(|r| r.accepted(row.best.release).next().is_some());
        accepts && row.best.score.accepted == 0
    });
    let unused: Vec<String> = stale.map(|r| format!("{} {}", r.scenario, r.best.release)).collect();
    assert!(unused.is_empty(), "accepted differences that do not occur: {unused:?}");
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let table = table(&rows);
    assert!(readme.contains(&table), "the table of the README is out of step; it is now:\n{table}");
}

fn rejected(text: &str) -> String {
    read("recording.jsonl", text).map(|_| "was read".to_owned()).unwrap_or_else(|r| r.render(false))
}

#[test]
fn a_line_that_is_cut_off_is_told_with_its_place() {
    let said = rejected("{\"t\":0.0,\"actor\":\"script\",\"mark\":\"phase: 1\"}\n{\"t\":0.1,\"actor\":\"mana");
    assert!(said.contains("recording.jsonl:2:") && said.contains("not JSON") && said.contains("cut off"), "{said}");
}

#[test]
fn foreign_lines_are_no_recording() {
    let said = rejected("{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\"}\n");
    assert!(said.contains("recording.jsonl:1:1") && said.contains("no `t` in this line"), "{said}");
    let said = rejected("{\"t\":1,\"actor\":\"manager\",\"verb\":\"patch\"}\n");
    assert!(said.contains("no `resource` in this line"), "{said}");
    let said = rejected("\n\n");
    assert!(said.contains("no line of a recording"), "{said}");
}
