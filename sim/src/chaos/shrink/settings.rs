//! Gives the settings of a failing plan's world their defaults, as many at once as will go. Knows no setting by name but those
//! that hold a world together: names and releases.

use serde_json::Value;

use super::Shrinker;
use crate::plan::world::{ClusterSpec, ControllerSpec, ScaleSetSpec};
use crate::plan::{Plan, WorldSpec};

impl Shrinker<'_> {
    pub(super) fn settings(&mut self) {
        let usual = usual(&self.best.world);
        if self.attempt(|p| p.world = usual.clone()) {
            return;
        }
        let Ok(usual) = serde_json::to_value(&usual) else { return };
        // Whole parts first, then what is left of them.
        for depth in 1..=8 {
            let Ok(now) = serde_json::to_value(&self.best.world) else { return };
            let mut paths = Vec::new();
            differing(&now, &usual, depth, String::new(), &mut paths);
            for path in paths {
                let Some(default) = usual.pointer(&path).cloned() else { continue };
                let Ok(mut world) = serde_json::to_value(&self.best.world) else { return };
                if let Some(place) = world.pointer_mut(&path) {
                    *place = default;
                }
                if let Ok(world) = serde_json::from_value::<WorldSpec>(world) {
                    self.attempt(|p| p.world = world);
                }
            }
        }
        self.existing();
        // The least numbers of runners that do.
        for least in 1..3 {
            self.attempt(|p| sets(p).for_each(|s| s.max_runners = s.max_runners.map(|max| max.min(least))));
            self.attempt(|p| sets(p).for_each(|s| s.min_runners = s.min_runners.map(|min| min.min(least))));
        }
    }

    /// What was there before: entries go, those that stay get fewer and plainer.
    fn existing(&mut self) {
        use crate::plan::world::ExistingRunners;
        for n in (0..self.best.world.existing.sessions.len()).rev() {
            self.attempt(|p| drop(p.world.existing.sessions.remove(n)));
        }
        for n in (0..self.best.world.existing.backlog.len()).rev() {
            if !self.attempt(|p| drop(p.world.existing.backlog.remove(n))) {
                self.attempt(|p| p.world.existing.backlog[n].count = 1);
            }
        }
        for n in (0..self.best.world.existing.runners.len()).rev() {
            if self.attempt(|p| drop(p.world.existing.runners.remove(n))) {
                continue;
            }
            self.attempt(|p| p.world.existing.runners[n].count = 1);
            self.attempt(|p| {
                let left = &mut p.world.existing.runners[n];
                *left = ExistingRunners { scale_set: left.scale_set.clone(), count: left.count, ..Default::default() };
            });
            self.attempt(|p| p.world.existing.runners[n].failures = 0);
        }
    }
}

fn sets(plan: &mut Plan) -> impl Iterator<Item = &mut ScaleSetSpec> {
    plan.world.clusters.iter_mut().flat_map(|c| &mut c.scale_sets)
}

/// The same clusters, controllers and scale sets with nothing said of them.
fn usual(world: &WorldSpec) -> WorldSpec {
    let clusters = world.clusters.iter().map(|c| ClusterSpec {
        name: c.name.clone(),
        crds: c.crds,
        controllers: (c.controllers.iter())
            .map(|m| ControllerSpec { name: m.name.clone(), release: m.release, ..ControllerSpec::default() })
            .collect(),
        scale_sets: (c.scale_sets.iter())
            .map(|s| ScaleSetSpec { name: s.name.clone(), chart: s.chart, ..ScaleSetSpec::default() })
            .collect(),
        ..ClusterSpec::default()
    });
    WorldSpec { clusters: clusters.collect(), ..WorldSpec::default() }
}

/// Places where two trees of the same form differ, at most `depth` deep.
fn differing(now: &Value, usual: &Value, depth: usize, path: String, out: &mut Vec<String>) {
    if now == usual {
        return;
    }
    match (now, usual) {
        (Value::Object(a), Value::Object(b)) if depth > 0 => {
            for (key, value) in a {
                if let Some(other) = b.get(key) {
                    differing(value, other, depth - 1, format!("{path}/{key}"), out);
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if depth > 0 && a.len() == b.len() => {
            for (n, (value, other)) in a.iter().zip(b).enumerate() {
                differing(value, other, depth - 1, format!("{path}/{n}"), out);
            }
        }
        _ => out.push(path),
    }
}
