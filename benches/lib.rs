//! The fixed reference worlds (DESIGN §11) that every performance figure is measured on.
//!
//! Never change one to make a figure better: figures of different commits are compared.

use std::fmt::Write;

use arc_sim::plan::Plan;
use arc_sim::scenario;

/// Root of the random streams of every reference world.
pub const SEED: u64 = 1;

/// A reference world and its plan.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Its name in reports.
    pub name: &'static str,
    /// What is run.
    pub plan: Plan,
}

/// All reference worlds: W0 to W3, and thirty idle days.
///
/// # Panics
/// If one of them is not a sound scenario any more.
pub fn all() -> Vec<Reference> {
    let fixed = [
        ("W0", include_str!("worlds/w0.yaml")),
        ("W1", include_str!("worlds/w1.yaml")),
        ("W2", include_str!("worlds/w2.yaml")),
        ("idle", include_str!("worlds/idle.yaml")),
    ];
    let mut worlds: Vec<_> = fixed.into_iter().map(|(name, text)| reference(name, text)).collect();
    worlds.push(reference("W3", &w3()));
    worlds
}

/// The middle of the time in which things happen.
pub fn half_way(plan: &Plan) -> arc_api::Time {
    arc_api::Time(plan.run_for.as_micros() / 2)
}

fn reference(name: &'static str, text: &str) -> Reference {
    let plan = scenario::load(name, text)
        .map(|loaded| loaded.plan(None, loaded.release(), SEED))
        .unwrap_or_else(|rejected| panic!("reference world {name}: {rejected:?}"));
    Reference { name, plan: plan.unwrap_or_else(|| panic!("reference world {name} has no plan")) }
}

/// Fifty scale sets of up to twenty runners each, with a job for every runner. With the client limits of the chart (20 calls a
/// second) a thousand runners take five minutes, and every promise about time is broken: that is another experiment.
fn w3() -> String {
    let mut text = String::from(
        "name: w3\nwhy: 'reference world W3: fifty scale sets, a thousand runners'\nrelease: next\nclusters:\n  - name: prod\n    \
         kubernetes: \"1.34\"\n    nodes: 20\n    controllers: [{ qps: 500, burst: 1000, runner_workers: 20 }]\n    scale_sets:\n",
    );
    for n in 0..50 {
        let _ = writeln!(text, "      - {{ name: set-{n:02}, min_runners: 2, max_runners: 20 }}");
    }
    text.push_str("workload:\n");
    for n in 0..50 {
        let _ = writeln!(
            text,
            "  - {{ pattern: burst, scale_set: set-{n:02}, at: {}s, count: 20, duration: 2m }}",
            120 + n % 10
        );
    }
    text.push_str("run_for: 10m\nsettle: 10m\nexpect:\n  next: { holds: all }\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reference_world_is_a_sound_scenario() {
        let names: Vec<_> = all().iter().map(|w| w.name).collect();
        assert_eq!(names, ["W0", "W1", "W2", "idle", "W3"]);
    }
}
