//! Checks the parameters of operator actions. Never carries one out.

use super::Check;
use crate::plan::operator::{ChartRef, Operator, SetChange};
use crate::plan::{ReleaseRef, SetRef};
use crate::scenario::source::Seg;

/// Settings that `unset` can name.
const UNSETTABLE: [&str; 6] = ["min_runners", "max_runners", "service_account", "template", "container_mode", "image"];

impl Check<'_> {
    pub(super) fn operator(&mut self, operator: &Operator, at: &[Seg]) {
        let at: Vec<Seg> = [at, &path![operator.id()]].concat();
        let here = |key: &str| [&at[..], &path![key]].concat();
        match operator {
            Operator::Install(p) => {
                self.chart(&p.chart, &here("chart"));
                self.change(&p.set, &p.chart, &here("set"));
            }
            Operator::Upgrade(p) => {
                self.chart(&p.chart, &here("chart"));
                self.change(&p.set, &p.chart, &here("set"));
                if p.version == Some(ReleaseRef::Previous) {
                    self.at(
                        &here("version"),
                        "an upgrade to the release before",
                        "goes back",
                        "state the release, or use `run`",
                    );
                }
            }
            Operator::Uninstall(p) => self.chart(&p.chart, &here("chart")),
            Operator::Patch(p) => {
                self.set(&here("scale_set"), &p.scale_set);
                let chart = ChartRef { controller: None, scale_set: Some(p.scale_set.clone()) };
                self.change(&p.set, &chart, &here("set"));
                if p.set.is_empty() {
                    self.at(&here("set"), "a patch that changes nothing", "empty", "state what changes");
                }
            }
            Operator::Delete(p) => {
                self.kind(&here("kind"), &p.kind.0);
                self.optional_set(&here("scale_set"), p.scale_set.as_ref());
            }
            Operator::Edit(p) => {
                self.kind(&here("kind"), &p.kind.0);
                self.optional_set(&here("scale_set"), p.scale_set.as_ref());
            }
            Operator::Create(p) => {
                self.kind(&here("object"), p.object["kind"].as_str().unwrap_or(""));
                self.optional_set(&here("named_after_runner_of"), p.named_after_runner_of.as_ref());
            }
            Operator::CancelJobs(_) => {}
            Operator::ForceFinalize(p) => self.kind(&here("kind"), &p.kind.0),
            Operator::StatusReset(p) => self.kind(&here("kind"), &p.kind.0),
            Operator::DeletePod(p) => self.optional_set(&here("scale_set"), p.scale_set.as_ref()),
            Operator::DrainNode(p) => self.node_target(&here("node"), &p.node),
            Operator::RotateSecret(p) => {
                self.set(&here("scale_set"), &p.scale_set);
                self.credential(&here("credential"), &p.credential);
            }
            Operator::DeleteSecret(p) => {
                self.set(&here("scale_set"), &p.scale_set);
                if let Some(credential) = &p.credential {
                    self.credential(&here("credential"), credential);
                }
            }
            Operator::RecreateIdentity(p) => {
                self.set(&here("scale_set"), &p.scale_set);
            }
            Operator::ScaleController(p) => {
                if let Some(name) = &p.controller {
                    self.controller_name(&here("controller"), name);
                }
                if p.replicas.is_none() && !p.restart && !p.leader_change {
                    self.at(
                        &at,
                        "a controller that is not scaled",
                        "states nothing",
                        "add replicas, restart or leader_change",
                    );
                }
            }
            Operator::DeleteNamespace(p) => {
                let controllers =
                    self.body.clusters.iter().flat_map(|c| c.controllers.iter().map(|c| c.namespace.as_str()));
                let sets = self.sets().map(|(_, s)| s.namespace.as_str());
                let stated = self.body.clusters.iter().flat_map(|c| c.namespaces.iter().map(|n| n.name.as_str()));
                let mut names: Vec<&str> = controllers.chain(sets).chain(stated).collect();
                names.sort_unstable();
                names.dedup();
                self.known(&here("namespace"), "namespace", &p.namespace, names);
            }
        }
    }
    fn optional_set(&mut self, at: &[Seg], set: Option<&SetRef>) {
        if let Some(set) = set {
            self.set(at, set);
        }
    }
    fn controller_name(&mut self, at: &[Seg], name: &str) {
        let names: Vec<&str> =
            self.body.clusters.iter().flat_map(|c| c.controllers.iter().map(|c| c.name.as_str())).collect();
        self.known(at, "controller", name, names);
    }
    fn credential(&mut self, at: &[Seg], name: &str) {
        let names: Vec<&str> =
            self.body.github.orgs.iter().flat_map(|o| o.credentials.iter().map(|c| c.name.as_str())).collect();
        self.known(at, "credential", name, names);
    }
    fn chart(&mut self, chart: &ChartRef, at: &[Seg]) {
        match (&chart.controller, &chart.scale_set) {
            (Some(name), None) => self.controller_name(&[at, &path!["controller"]].concat(), name),
            (None, Some(set)) => {
                self.set(&[at, &path!["scale_set"]].concat(), set);
            }
            _ => self.at(
                at,
                "a chart is exactly one of controller and scale_set",
                "which?",
                "write `{ scale_set: NAME }` or `{ controller: NAME }`",
            ),
        }
    }
    fn change(&mut self, change: &SetChange, chart: &ChartRef, at: &[Seg]) {
        let here = |key: &str| [at, &path![key]].concat();
        for (i, name) in change.unset.iter().enumerate() {
            self.known(&[at, &path!["unset", i]].concat(), "setting", name, UNSETTABLE);
        }
        if let (Some(min), Some(max)) = (change.min_runners, change.max_runners)
            && min > max
        {
            let said = format!("min_runners {min} is more than max_runners {max}");
            self.at(&here("min_runners"), said, "the chart refuses this", "lower min_runners, or raise max_runners");
        }
        if let Some(credential) = &change.credential {
            self.credential(&here("credential"), credential);
        }
        if let Some(group) = &change.runner_group
            && group != "default"
        {
            let groups =
                self.body.github.orgs.iter().flat_map(|o| o.groups.iter().map(|g| g.as_str())).chain(["default"]);
            let groups: Vec<&str> = groups.collect();
            self.known(&here("runner_group"), "runner group", group, groups);
        }
        let only_values = SetChange { values: change.values.clone(), ..SetChange::default() };
        if chart.controller.is_some() && *change != only_values {
            self.at(
                at,
                "settings of a scale set for a controller",
                "only `values` fits",
                "write `values: { … }` of the controller's chart",
            );
        }
    }
}
