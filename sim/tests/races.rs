//! Races that recordings show: each happens on the releases that have it, about as often as it did, and on no other.
//!
//! `ARC_SIM_SEEDS` says over how many seeds (default 60); `cargo test --release -p arc-sim --test races -- --nocapture` prints
//! the table.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::collections::BTreeMap;

use arc_api::kube::KubeRequest;
use arc_api::meta::Key;
use arc_api::{Kind, Time};
use arc_sim::outcome::RunReport;
use arc_sim::scenario::Loaded;
use arc_sim::trace::What;
use arc_sim::world::{RunOptions, run};
use controller_core::Release;

fn seeds() -> u64 {
    std::env::var("ARC_SIM_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60)
}

fn recorded(name: &str) -> Loaded {
    let path = format!("{}/../scenarios/recorded/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("a scenario");
    arc_sim::scenario::load(&path, &text).unwrap_or_else(|r| panic!("{}", r.render(false)))
}

/// In how many of `seeds` runs a race happened, several releases at a time.
fn frequencies(name: &str, releases: &[Release], seeds: u64, met: fn(&RunReport) -> bool) -> BTreeMap<Release, u64> {
    let loaded = recorded(name);
    let of = |release: Release| {
        let once = |seed| {
            let plan = loaded.plan(None, release, seed).expect("a plan");
            u64::from(met(&run(&plan, &RunOptions { trace: true, ..RunOptions::default() })))
        };
        (release, (1..=seeds).map(once).sum())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = releases.iter().map(|r| scope.spawn(|| of(*r))).collect();
        running.into_iter().map(|r| r.join().expect("a count")).collect()
    })
}

/// Successful writes of a kind, in order.
fn written(report: &RunReport, kind: Kind, verb: &str) -> Vec<(Time, Key)> {
    let events = report.trace.events().iter();
    events
        .filter_map(|e| match &e.what {
            What::Kube { verb: v, kind: Some(k), key, sub: None, refused: None, .. } if *v == verb && *k == kind => {
                Some((e.at, key.clone()))
            }
            _ => None,
        })
        .collect()
}

fn two_sets(report: &RunReport) -> bool {
    written(report, Kind::EphemeralRunnerSet, "create").len() > 1
}

/// A runner that was made from a list without its fellows, and taken away within a second.
fn surplus(report: &RunReport) -> bool {
    let deleted = written(report, Kind::EphemeralRunner, "delete");
    written(report, Kind::EphemeralRunner, "create").iter().any(|(made, key)| {
        deleted.iter().any(|(gone, k)| k == key && gone.since(*made) < arc_api::Duration::from_secs(1))
    })
}

/// A pod made again within three seconds after its runner counted a failure, where the wait is five at least.
fn bypassed(report: &RunReport) -> bool {
    let mut failed: BTreeMap<Key, Time> = BTreeMap::new();
    for event in report.trace.events() {
        let What::Kube { kind: Some(kind), key, request, refused: None, changed: true, .. } = &event.what else {
            continue;
        };
        let failures = match &**request {
            KubeRequest::Patch { patch, .. } if *kind == Kind::EphemeralRunner => {
                patch.to_json()["status"]["failures"].clone()
            }
            _ => serde_json::Value::Null,
        };
        if failures.as_object().is_some_and(|f| !f.is_empty()) {
            failed.insert(key.clone(), event.at);
        }
        let made = matches!(&**request, KubeRequest::Create(_)) && *kind == Kind::Pod;
        if made && failed.remove(key).is_some_and(|at| event.at.since(at) < arc_api::Duration::from_secs(3)) {
            return true;
        }
    }
    false
}

fn told(race: &str, seeds: u64, found: &BTreeMap<Release, u64>) {
    let all: Vec<String> = found.iter().map(|(r, n)| format!("{r} {n}")).collect();
    println!("{race}, of {seeds} worlds: {}", all.join(", "));
}

/// Q-DUP-ERS: 15 of 67 installs of 0.14.2 in the laboratory, 12.8 % of creations in the field (#4489), none of 331 before.
#[test]
fn two_sets_are_made_on_0_14_and_never_elsewhere() {
    let releases =
        [Release::V0_9_3, Release::V0_12_1, Release::V0_13_1, Release::V0_14_0, Release::V0_14_2, Release::Next];
    let found = frequencies("a_basic", &releases, seeds(), two_sets);
    told("two sets at creation", seeds(), &found);
    for (release, n) in found {
        let has = matches!(release, Release::V0_14_0 | Release::V0_14_2);
        let percent = n * 100 / seeds();
        assert!(if has { (5..50).contains(&percent) } else { n == 0 }, "{release}: {n} of {}", seeds());
    }
}

/// Q-STALE-EMPTY-LIST-DUP: all releases; the corrected controller counts what it made itself.
#[test]
fn runners_are_made_from_stale_lists_and_never_by_the_corrected_controller() {
    let releases = [Release::V0_9_1, Release::V0_11_0, Release::V0_12_1, Release::V0_14_2, Release::Next];
    let found = frequencies("a_minmax", &releases, seeds(), surplus);
    told("surplus runner from a stale list", seeds(), &found);
    assert_eq!(found[&Release::Next], 0);
    assert!(found.iter().filter(|(r, _)| **r != Release::Next).all(|(_, n)| *n > 0), "{found:?}");
}

/// Q-BACKOFF-BYPASS: from 0.12.0 on, where the pod's deletion may overtake the failure's status. Up to 0.11.0 nothing waits.
#[test]
fn back_offs_are_overtaken_and_never_those_of_the_corrected_controller() {
    let seeds = (seeds() / 4).max(5);
    let releases = [Release::V0_12_1, Release::V0_13_1, Release::V0_14_2, Release::Next];
    let found = frequencies("b_exit_codes", &releases, seeds, bypassed);
    told("back-off overtaken", seeds, &found);
    assert_eq!(found[&Release::Next], 0);
    assert!(found.iter().any(|(r, n)| *r != Release::Next && *n > 0), "{found:?}");
}
