//! Races that recordings show: each happens on the releases that have it, about as often as it did, and on no other.
//!
//! `ARC_SIM_SEEDS` says over how many seeds (default 60); `cargo test --release -p arc-sim --test races -- --nocapture` prints
//! the table.
#![allow(clippy::disallowed_methods, clippy::expect_used)]

use std::collections::{BTreeMap, BTreeSet};

use arc_api::kube::KubeRequest;
use arc_api::meta::Key;
use arc_api::{Kind, Time};
use arc_sim::outcome::RunReport;
use arc_sim::plan::Dur;
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

/// In how many of `seeds` runs a race happened, several releases at a time. What comes after `until` is not run.
fn frequencies(
    name: &str,
    releases: &[Release],
    seeds: u64,
    until: Dur,
    met: fn(&RunReport) -> bool,
) -> BTreeMap<Release, u64> {
    let loaded = recorded(name);
    let of = |release: Release| {
        let once = |seed| {
            let mut plan = loaded.plan(None, release, seed).expect("a plan");
            (plan.run_for, plan.settle) = (plan.run_for.min(until), Dur::ZERO);
            plan.actions.retain(|a| a.when.at().is_none_or(|at| at < until));
            met(&run(&plan, &RunOptions { trace: true, ..RunOptions::default() }))
        };
        (release, (1..=seeds).filter(|seed| once(*seed)).count() as u64)
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

/// A runner that was made although its set had as many live ones as were asked for at any time in the last second: its list was
/// without its fellows.
fn surplus(report: &RunReport) -> bool {
    let mut asked: BTreeMap<String, Vec<(Time, u64)>> = BTreeMap::new();
    let mut live: BTreeSet<Key> = BTreeSet::new();
    for event in report.trace.events() {
        let What::Kube { verb, kind: Some(kind), key, request, refused: None, .. } = &event.what else { continue };
        let body = match &**request {
            KubeRequest::Patch { patch, .. } => patch.to_json(),
            _ => serde_json::Value::Null,
        };
        match kind {
            Kind::EphemeralRunnerSet if body["spec"].is_object() => {
                let asked = asked.entry(key.name.to_string()).or_default();
                asked.push((event.at, body["spec"]["replicas"].as_u64().unwrap_or(0)));
            }
            Kind::EphemeralRunner if *verb == "create" => {
                let Some((set, _)) = key.name.split_once("-runner-") else { continue };
                let asked = asked.get(set).map_or(&[][..], |v| v);
                // What held until a second ago, and what came since.
                let recent = asked.partition_point(|(at, _)| event.at.since(*at) > arc_api::Duration::from_secs(1));
                let most = asked[recent.saturating_sub(1)..].iter().map(|(_, n)| *n).max().unwrap_or(0);
                let have = live.iter().filter(|k| k.name.split_once("-runner-").is_some_and(|(s, _)| s == set)).count();
                if have as u64 >= most {
                    return true;
                }
                live.insert(key.clone());
            }
            Kind::EphemeralRunner if *verb == "delete" || body["status"]["phase"] == "Succeeded" => {
                live.remove(key);
            }
            _ => {}
        }
    }
    false
}

/// A pod made again within three seconds after its runner counted a failure, where the wait is five at least. Failures that are
/// counted without their time (up to 0.11.0) are waited for by nobody.
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
        if failures.as_object().is_some_and(|f| f.values().any(serde_json::Value::is_string)) {
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
    let found = frequencies("a_basic", Release::ALL, seeds(), Dur::secs(10), two_sets);
    told("two sets at creation", seeds(), &found);
    for (release, n) in found {
        let has = (Release::V0_14_0..=Release::V0_14_2).contains(&release);
        let percent = n * 100 / seeds();
        assert!(if has { (5..50).contains(&percent) } else { n == 0 }, "{release}: {n} of {}", seeds());
    }
}

/// Q-STALE-EMPTY-LIST-DUP: all releases; the corrected controller counts what it made itself.
#[test]
fn runners_are_made_from_stale_lists_and_never_by_the_corrected_controller() {
    let found = frequencies("a_minmax", Release::ALL, seeds(), Dur::secs(10), surplus);
    told("surplus runner from a stale list", seeds(), &found);
    assert!(found.iter().all(|(r, n)| (*r == Release::Next) == (*n == 0)), "{found:?}");
}

/// Q-BACKOFF-BYPASS: from 0.12.0 on, where the pod's deletion may overtake the failure's status. Up to 0.11.0 nothing waits.
#[test]
fn back_offs_are_overtaken_from_0_12_0_on_and_never_those_of_the_corrected_controller() {
    let seeds = (seeds() / 4).max(5);
    let found = frequencies("b_exit_codes", Release::ALL, seeds, Dur::secs(30), bypassed);
    told("back-off overtaken", seeds, &found);
    for (release, n) in &found {
        let has = (Release::V0_12_0..=Release::V0_14_2).contains(release);
        assert!(has || *n == 0, "{release}: {n} of {seeds}");
    }
    assert!(found.values().any(|n| *n > 0), "{found:?}");
}
