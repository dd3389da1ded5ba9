//! Does a comparison see a release's behaviour at all? Every switch of every recorded release is given each of its other values,
//! and its recordings are compared again: one of them has to fail. Never changes what is compared.

use std::collections::{BTreeMap, BTreeSet};

use arc_api::Str;
use controller_core::{Behaviour, Release};

use super::fidelity::Row;
use super::matching::pairs;
use super::steer::{run, score};

/// What became of one switch of one release.
#[derive(Clone, PartialEq, Debug)]
pub struct Sabotage {
    /// Release.
    pub release: Release,
    /// Switch.
    pub switch: &'static str,
    /// The release's value.
    pub has: &'static str,
    /// The value it was given.
    pub with: &'static str,
    /// The first scenario whose recording of the release failed; none: nobody noticed.
    pub seen_by: Option<Str>,
    /// Whether any world went another way: if none did, no recording leads there.
    pub reached: bool,
}

/// Turns every switch of every release that the rows have, one value at a time, under the schedules that explain most.
pub fn sabotage(rows: &[Row]) -> Vec<Sabotage> {
    let mut releases: Vec<Release> = rows.iter().map(|r| r.best.release).collect();
    releases.sort();
    releases.dedup();
    let mut out = Vec::new();
    // A recording that noticed one switch often notices others of the same controller: it is asked first.
    let mut good: BTreeMap<&'static str, Str> = BTreeMap::new();
    for release in releases {
        let behaviour = Behaviour::of(release);
        for switch in Behaviour::SWITCHES {
            let Some(has) = behaviour.get(switch.name) else { continue };
            for (with, _) in switch.values.iter().filter(|(value, _)| *value != has) {
                let mut own: Vec<&Row> = rows.iter().filter(|r| r.best.release == release).collect();
                let first = good.get(switch.name);
                own.sort_by_key(|r| Some(&r.scenario) != first.map(|s| s.as_str().to_owned()).as_ref());
                let (mut seen_by, mut reached) = (None, false);
                for row in own {
                    match turned(row, switch.name, with) {
                        Turned::Same => {}
                        Turned::Unseen => reached = true,
                        Turned::Seen => {
                            reached = true;
                            seen_by = Some(Str::from(row.scenario.as_str()));
                            good.insert(switch.name, row.scenario.as_str().into());
                            break;
                        }
                    }
                }
                out.push(Sabotage { release, switch: switch.name, has, with, seen_by, reached });
            }
        }
    }
    out
}

enum Turned {
    /// The same histories.
    Same,
    /// Others, and no more objects differ from the recording.
    Unseen,
    /// More objects differ.
    Seen,
}

fn turned(row: &Row, switch: &'static str, with: &'static str) -> Turned {
    let (best, loaded) = (&row.best, &row.loaded);
    let Some(mut plan) = best.schedule.plan(loaded, best.release) else { return Turned::Same };
    plan.switch(switch, with);
    let (simulated, _) = run(plan, &best.schedule, &row.recording);
    let now = score(&pairs(&best.recorded, &simulated), loaded, best.release);
    if now.unequal > best.score.unequal {
        Turned::Seen
    } else if simulated.of == best.simulated.of {
        Turned::Same
    } else {
        Turned::Unseen
    }
}

/// What would have to be recorded to see a switch that no recording of any release notices.
const NEEDED: &[(&str, &str)] = &[
    ("al_replace", "a listener pod that is evicted, or Failed without a terminated container"),
    ("al_role_rules", "the listener's Role edited by hand, its hash label left alone"),
    ("ars_scale_set_check", "a scale set removed at the service under a running listener"),
    ("er_foreign_name", "two scale sets whose runners get one name"),
    ("er_pod_failed", "a runner pod that is Failed before its container ran: evicted, or refused by the kubelet"),
    ("er_stuck_pod", "a node that dies under a runner"),
    ("er_work_folder", "a template with a work folder of its own"),
    ("http_timeout", "a connection to the service that dies without a word for more than five minutes"),
    ("label_edges", "an organisation whose name ends in `-` or `.`"),
    ("listener_no_statistics", "a session or a message without statistics"),
    ("listener_texts", "logs, which recordings do not have"),
    ("overlays", "a chart with metadata overlays"),
    ("spec_generation", "the digits of hashes, of which only the change is compared"),
];

/// For people, as Markdown: a line per switch with the recordings that notice it, then what nobody notices, and what would have to
/// be recorded to notice it. `recorded` are the recordings that there are.
pub fn report(found: &[Sabotage], recorded: &[(&str, Release)]) -> String {
    let tagged =
        |switch: &str, value: &str| Release::tagged().iter().any(|r| Behaviour::of(*r).get(switch) == Some(value));
    let mut out = String::new();
    let switches: BTreeSet<&str> = found.iter().map(|s| s.switch).collect();
    let (mut whole, mut partly, mut nowhere) = (0, 0, 0);
    for switch in switches {
        let of: Vec<&Sabotage> = found.iter().filter(|s| s.switch == switch).collect();
        let scenarios: BTreeSet<&str> = of.iter().filter_map(|s| s.seen_by.as_deref()).collect();
        let missed: Vec<&&Sabotage> = of.iter().filter(|s| s.seen_by.is_none()).collect();
        match (missed.len(), scenarios.is_empty()) {
            (0, _) => whole += 1,
            (_, false) => partly += 1,
            (_, true) => nowhere += 1,
        }
        out.push_str(&format!("* `{switch}`: {} of {} noticed", of.len() - missed.len(), of.len()));
        if !scenarios.is_empty() {
            out.push_str(&format!(" by {}", scenarios.iter().copied().collect::<Vec<_>>().join(", ")));
        }
        out.push('\n');
        let mut told: BTreeMap<(&str, &str, String), Vec<String>> = BTreeMap::new();
        for s in missed {
            let lacking = |name: &&&str| !recorded.iter().any(|(n, r)| n == *name && *r == s.release);
            let lacking: Vec<&str> = scenarios.iter().filter(lacking).copied().collect();
            let why = if !tagged(switch, s.with) {
                "only the corrected controller has this value".into()
            } else if let Some((_, needed)) = NEEDED.iter().find(|(name, _)| *name == switch) {
                format!("needs {needed}")
            } else if !lacking.is_empty() {
                format!("needs a recording of {} there", lacking.join(", or "))
            } else if s.reached {
                "the worlds go another way, and no object differs more: needs the moment in which it matters".into()
            } else {
                "no recording leads there".into()
            };
            told.entry((s.has, s.with, why)).or_default().push(s.release.to_string());
        }
        for ((has, with, why), releases) in told {
            out.push_str(&format!("  * {has} → {with} on {}: {why}\n", releases.join(", ")));
        }
    }
    let (noticed, all) = (found.iter().filter(|s| s.seen_by.is_some()).count(), found.len());
    let real: Vec<&Sabotage> = found.iter().filter(|s| tagged(s.switch, s.with)).collect();
    out.push_str(&format!(
        "\n{whole} switches are noticed on every release, {partly} on some, {nowhere} on none; {noticed} of {all} changes noticed,\n\
         {} of the {} to a value that some tagged release has.\n",
        real.iter().filter(|s| s.seen_by.is_some()).count(),
        real.len()
    ));
    out
}
