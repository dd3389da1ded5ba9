//! The rows of a timeline and their groups: who and what has a history of its own. Never looks at a world, only at names.

use std::collections::BTreeMap;

use arc_api::meta::Key;
use arc_api::{Kind, Str, format_smolstr};
use serde::Serialize;

/// A group of lanes, in the order of the page.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Group {
    Findings,
    Faults,
    Operators,
    Service,
    Jobs,
    Registrations,
    Managers,
    Listeners,
    Runners,
    Others,
    ApiServer,
    RunnerSets,
    ListenerObjects,
    EphemeralSets,
    EphemeralRunners,
    RunnerPods,
    Pods,
    Secrets,
    Furniture,
}

impl Group {
    const fn title(self) -> &'static str {
        match self {
            Group::Findings => "Violations",
            Group::Faults => "Faults",
            Group::Operators => "Operators",
            Group::Service => "GitHub",
            Group::Jobs => "Jobs",
            Group::Registrations => "Registered runners",
            Group::Managers => "Controllers",
            Group::Listeners => "Listeners",
            Group::Runners => "Runners",
            Group::Others => "Other processes",
            Group::ApiServer => "API server",
            Group::RunnerSets => "AutoscalingRunnerSet",
            Group::ListenerObjects => "AutoscalingListener",
            Group::EphemeralSets => "EphemeralRunnerSet",
            Group::EphemeralRunners => "EphemeralRunner",
            Group::RunnerPods => "Runner pods",
            Group::Pods => "Other pods",
            Group::Secrets => "Secrets",
            Group::Furniture => "Other objects",
        }
    }
    /// Whether each cluster has a group of its own.
    fn is_of_a_cluster(self) -> bool {
        self >= Group::Managers
    }
    /// Whether the group is closed when the page opens.
    fn is_closed(self) -> bool {
        matches!(self, Group::Secrets | Group::Furniture)
    }
}

/// Ordinal of a lane, in the order of its first event.
pub(super) type LaneId = u32;

/// A lane as the page gets it.
#[derive(Serialize)]
pub(super) struct Lane {
    group: u32,
    name: Str,
    about: Str,
}

/// A group as the page gets it.
#[derive(Serialize)]
pub(super) struct Heading {
    name: String,
    closed: bool,
}

struct Row {
    place: (u8, Group),
    name: Str,
    /// What it is in full.
    about: Str,
}

/// All lanes of a page.
pub(super) struct Lanes {
    clusters: Vec<Str>,
    rows: Vec<Row>,
    known: BTreeMap<(u8, Group, Str), LaneId>,
    /// Lanes by what violations say that they are about.
    names: BTreeMap<Str, LaneId>,
}

impl Lanes {
    pub(super) fn new(clusters: Vec<Str>) -> Lanes {
        Lanes { clusters, rows: Vec::new(), known: BTreeMap::new(), names: BTreeMap::new() }
    }
    /// The lane of that name, a new one if there is none. Clusters count only where groups belong to one.
    pub(super) fn lane(&mut self, site: u8, group: Group, name: &str, about: impl FnOnce() -> Str) -> LaneId {
        let site = if group.is_of_a_cluster() { site } else { 0 };
        let key = (site, group, Str::from(name));
        if let Some(lane) = self.known.get(&key) {
            return *lane;
        }
        let lane = self.rows.len() as LaneId;
        self.rows.push(Row { place: (site, group), name: name.into(), about: about() });
        self.known.insert(key, lane);
        self.names.entry(name.into()).or_insert(lane);
        lane
    }
    /// The lane of an object.
    pub(super) fn object(&mut self, site: u8, kind: Kind, key: &Key, runs_jobs: bool) -> LaneId {
        let group = match kind {
            Kind::AutoscalingRunnerSet => Group::RunnerSets,
            Kind::AutoscalingListener => Group::ListenerObjects,
            Kind::EphemeralRunnerSet => Group::EphemeralSets,
            Kind::EphemeralRunner => Group::EphemeralRunners,
            Kind::Pod if runs_jobs => Group::RunnerPods,
            Kind::Pod => Group::Pods,
            Kind::Secret => Group::Secrets,
            _ => Group::Furniture,
        };
        let name = match group {
            Group::Furniture => format_smolstr!("{kind} {key}"),
            Group::RunnerPods | Group::EphemeralRunners => key.name.clone(),
            _ => format_smolstr!("{key}"),
        };
        let lane = self.lane(site, group, &name, || format_smolstr!("{kind} {key}"));
        if kind == Kind::AutoscalingRunnerSet {
            self.names.entry(key.name.clone()).or_insert(lane);
        }
        for alias in [format_smolstr!("{kind} {key}"), format_smolstr!("{kind} {}", key.name)] {
            self.names.entry(alias).or_insert(lane);
        }
        lane
    }
    /// Another name under which violations may speak of a lane.
    pub(super) fn alias(&mut self, name: Str, lane: LaneId) {
        self.names.entry(name).or_insert(lane);
    }
    /// The lane that a violation is about.
    pub(super) fn named(&self, about: &str) -> Option<LaneId> {
        self.names.get(about).copied()
    }
    /// Groups in order, lanes in order, and where each lane has gone.
    pub(super) fn finish(self) -> (Vec<Heading>, Vec<Lane>, Vec<u32>) {
        let several = self.clusters.len() > 1;
        let mut order: Vec<usize> = (0..self.rows.len()).collect();
        // What belongs to no cluster comes first; rows of a group stay in the order in which they began.
        order.sort_by_key(|row| {
            let (site, group) = self.rows[*row].place;
            (group.is_of_a_cluster(), site, group, *row)
        });
        let mut groups: Vec<Heading> = Vec::new();
        let mut lanes = Vec::with_capacity(order.len());
        let mut went = vec![0; order.len()];
        let mut last = None;
        for row in order {
            let Row { place, name, about } = &self.rows[row];
            let (site, group) = *place;
            if last != Some(*place) {
                last = Some(*place);
                let cluster = self.clusters.get(site as usize).filter(|_| several && group.is_of_a_cluster());
                let name = match cluster {
                    Some(cluster) => format!("{} · {cluster}", group.title()),
                    None => group.title().to_owned(),
                };
                groups.push(Heading { name, closed: group.is_closed() });
            }
            went[row] = lanes.len() as u32;
            lanes.push(Lane { group: groups.len() as u32 - 1, name: name.clone(), about: about.clone() });
        }
        (groups, lanes, went)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_grouped_and_keep_their_order() {
        let mut lanes = Lanes::new(vec!["east".into(), "west".into()]);
        let key = Key::new("arc", "demo");
        let set = lanes.object(1, Kind::AutoscalingRunnerSet, &key, false);
        let fault = lanes.lane(1, Group::Faults, "kill", Str::default);
        let manager = lanes.lane(0, Group::Managers, "controller/arc", Str::default);
        assert_eq!(lanes.object(1, Kind::AutoscalingRunnerSet, &key, true), set);
        assert_eq!(lanes.lane(0, Group::Faults, "kill", Str::default), fault);
        assert_eq!(lanes.named("AutoscalingRunnerSet arc/demo"), Some(set));
        assert_eq!(lanes.named("nobody"), None);
        let (groups, rows, went) = lanes.finish();
        let names: Vec<_> = groups.iter().map(|g| g.name.as_str()).collect();
        assert_eq!(names, ["Faults", "Controllers · east", "AutoscalingRunnerSet · west"]);
        let at = |lane: LaneId| went[lane as usize];
        assert_eq!((at(fault), at(manager), at(set)), (0, 1, 2));
        assert_eq!(rows[2].about, "AutoscalingRunnerSet arc/demo");
    }
}
