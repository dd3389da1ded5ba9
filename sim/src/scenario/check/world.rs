//! Checks the world at time zero. Never looks at what happens in it.

use arc_api::Str;
use controller_core::Behaviour;

use super::Check;
use crate::plan::world::{ClusterSpec, ContainerMode, ControllerSpec, ExistingRunners, ScaleSetSpec, SecretKind};
use crate::plan::{Dur, ReleaseRef};
use crate::scenario::source::Seg;

impl Check<'_> {
    /// Places inside the world are addressed by name, so that they are found in a variant's changes as well.
    pub(super) fn world(&mut self) {
        let orgs: Vec<Str> = self.body.github.orgs.iter().map(|o| o.name.clone()).collect();
        self.unique(&path!["github", "orgs"], "organisation", &orgs);
        for org in &self.body.github.orgs {
            let at = path!["github", "orgs", Seg::Named(org.name.to_string())];
            let names: Vec<Str> = org.credentials.iter().map(|c| c.name.clone()).collect();
            self.unique(&with(&at, "credentials"), "credential", &names);
        }
        if !self.body.github.orgs.is_empty() && orgs.iter().any(|o| o.is_empty()) {
            self.at(&path!["github", "orgs"], "an organisation without name", "empty name", "name it");
        }
        if self.body.github.orgs.is_empty() {
            self.at(
                &path!["github", "orgs"],
                "no organisation",
                "empty list",
                "leave the key out for one organisation `acme`",
            );
        }
        let clusters: Vec<Str> = self.body.clusters.iter().map(|c| c.name.clone()).collect();
        self.unique(&path!["clusters"], "cluster", &clusters);
        for cluster in &self.body.clusters {
            self.cluster(cluster);
        }
        let existing = &self.body.existing;
        for (i, session) in existing.sessions.iter().enumerate() {
            self.set(&path!["existing", "sessions", i, "scale_set"], &session.scale_set);
        }
        for (i, runners) in existing.runners.iter().enumerate() {
            let at = path!["existing", "runners", i];
            self.set(&with(&at, "scale_set"), &runners.scale_set);
            self.old_runners(&at, runners);
        }
        for (i, backlog) in existing.backlog.iter().enumerate() {
            self.set(&path!["existing", "backlog", i, "scale_set"], &backlog.scale_set);
        }
        for (i, object) in existing.objects.iter().enumerate() {
            let at = path!["existing", "objects", i];
            if !object.cluster.is_empty() {
                self.known(&with(&at, "cluster"), "cluster", &object.cluster, clusters.iter().map(|c| c.as_str()));
            }
            let kind = object.object.get("kind").and_then(|k| k.as_str()).unwrap_or("");
            let kinds = arc_api::Kind::ALL.iter().map(|k| k.as_str());
            self.known(&[&with(&at, "object")[..], &path!["kind"]].concat(), "kind", kind, kinds);
        }
    }
    /// Runners from before are made by what is installed, and only one that is connected has a job.
    fn old_runners(&mut self, at: &[Seg], runners: &ExistingRunners) {
        let clusters = self.body.clusters.iter();
        let home = clusters.flat_map(|c| c.scale_sets.iter().map(move |s| (c, s)));
        let home = home.into_iter().find(|(c, s)| runners.scale_set.matches(&c.name, &s.name));
        let missing = home.and_then(|(c, s)| match (s.installed, c.controllers.iter().any(|m| m.installed)) {
            (false, _) => Some("scale set"),
            (_, false) => Some("controller"),
            (true, true) => None,
        });
        if let Some(missing) = missing {
            self.at(
                &with(at, "scale_set"),
                format!("runners from before time zero, and no {missing} that made them"),
                "nothing made them",
                format!("leave the {missing} installed at time zero"),
            );
        }
        if runners.busy_for > Dur::ZERO && !(runners.registered && runners.pods) {
            let gone = if runners.pods { "registered" } else { "pods" };
            self.at(
                &with(at, "busy_for"),
                "a runner that the service does not know, or that has no pod, goes on with no job",
                format!("contradicts `{gone}: false`"),
                "make two entries: runners at work, and runners that were lost",
            );
        }
    }
    fn unique(&mut self, at: &[Seg], what: &str, names: &[Str]) {
        for (i, name) in names.iter().enumerate() {
            if names[..i].contains(name) {
                let at: Vec<Seg> = [at, &path![i, "name"]].concat();
                self.at(
                    &at,
                    format!("{what} `{name}` defined twice"),
                    "used before",
                    format!("give each {what} a name of its own"),
                );
            }
        }
    }
    fn cluster(&mut self, cluster: &ClusterSpec) {
        let at = path!["clusters", Seg::Named(cluster.name.to_string())];
        if cluster.name.is_empty() || cluster.name.contains('/') {
            self.at(
                &with(&at, "name"),
                format!("`{}` is not a cluster's name", cluster.name),
                "no slash, not empty",
                "write a plain word",
            );
        }
        let numbers = cluster
            .kubernetes
            .split_once('.')
            .map(|(major, minor)| (major, minor.trim_end_matches('+').parse::<u32>()));
        match numbers {
            Some(("1", Ok(24..=36))) => {}
            _ => {
                let said = format!("`{}` is not a version of Kubernetes that is modelled", cluster.kubernetes);
                self.at(&with(&at, "kubernetes"), said, "1.24 to 1.36", "write major and minor only, e.g. \"1.30\"");
            }
        }
        if cluster.nodes == 0 && cluster.nodes_max == 0 {
            self.at(
                &with(&at, "nodes"),
                "a cluster without nodes",
                "no node can ever come",
                "give it a node, or an autoscaler with nodes_max",
            );
        }
        if cluster.nodes_max != 0 && cluster.nodes_max < cluster.nodes {
            let said = format!("nodes_max {} is less than nodes {}", cluster.nodes_max, cluster.nodes);
            self.at(
                &with(&at, "nodes_max"),
                said,
                "the autoscaler's limit",
                "raise nodes_max, or leave it out for no autoscaler",
            );
        }
        let names: Vec<Str> = cluster.controllers.iter().map(|c| c.name.clone()).collect();
        self.unique(&with(&at, "controllers"), "controller", &names);
        let names: Vec<Str> = cluster.scale_sets.iter().map(|s| s.name.clone()).collect();
        self.unique(&with(&at, "scale_sets"), "scale set", &names);
        for namespace in &cluster.namespaces {
            if !matches!(namespace.pod_security.as_str(), "" | "privileged" | "baseline" | "restricted") {
                let at =
                    [&at[..], &path!["namespaces", Seg::Named(namespace.name.to_string()), "pod_security"]].concat();
                self.known(
                    &at,
                    "Pod Security level",
                    &namespace.pod_security,
                    ["privileged", "baseline", "restricted"],
                );
            }
        }
        for controller in &cluster.controllers {
            self.controller(
                cluster,
                controller,
                &[&at[..], &path!["controllers", Seg::Named(controller.name.to_string())]].concat(),
            );
        }
        for set in &cluster.scale_sets {
            self.scale_set(set, &[&at[..], &path!["scale_sets", Seg::Named(set.name.to_string())]].concat());
        }
    }
    fn controller(&mut self, cluster: &ClusterSpec, controller: &ControllerSpec, at: &[Seg]) {
        if !controller.node.is_empty() {
            self.node(&with(at, "node"), cluster, &controller.node);
        }
        if controller.replicas == 0 && controller.installed {
            self.at(
                &with(at, "replicas"),
                "a controller without replicas",
                "0",
                "leave it out with `installed: false`, or scale it down with an operator action",
            );
        }
        for (name, value) in &controller.switches {
            let here = [at, &path!["switches", name.as_str()]].concat();
            let names = Behaviour::SWITCHES.iter().map(|s| s.name);
            if self.known(&here, "switch", name, names)
                && let Some(switch) = Behaviour::SWITCHES.iter().find(|s| s.name == name.as_str())
            {
                self.known(&here, "value", value, switch.values.iter().map(|(v, _)| *v));
            }
        }
    }
    /// A node's name: n1 to the most nodes that the cluster can have.
    pub(super) fn node(&mut self, at: &[Seg], cluster: &ClusterSpec, node: &str) {
        let most = cluster.nodes.max(cluster.nodes_max);
        let number = node.strip_prefix('n').and_then(|n| n.parse::<u32>().ok());
        if !number.is_some_and(|n| (1..=most).contains(&n)) {
            self.at(
                at,
                format!("unknown node `{node}`"),
                format!("not a node of cluster `{}`", cluster.name),
                format!("nodes here: n1 to n{most}"),
            );
        }
    }
    fn scale_set(&mut self, set: &ScaleSetSpec, at: &[Seg]) {
        if set.name.is_empty() || set.name.contains(['/', '*', ' ']) {
            self.at(
                &with(at, "name"),
                format!("`{}` is not a scale set's name", set.name),
                "no slash, star or space",
                "write a name that helm accepts",
            );
        }
        if let (Some(min), Some(max)) = (set.min_runners, set.max_runners)
            && min > max
        {
            let said = format!("min_runners {min} is more than max_runners {max}");
            self.at(
                &with(at, "min_runners"),
                said,
                "the chart refuses this",
                format!("lower min_runners to {max}, or raise max_runners"),
            );
        }
        let orgs = &self.body.github.orgs;
        let org = if set.org.is_empty() { orgs.first() } else { orgs.iter().find(|o| o.name == set.org) };
        match org {
            None => {
                self.known(&with(at, "org"), "organisation", &set.org, orgs.iter().map(|o| o.name.as_str()));
            }
            Some(org) => {
                if set.runner_group != "default" && !org.groups.contains(&set.runner_group) {
                    let groups = org.groups.iter().map(Str::as_str).chain(["default"]);
                    self.known(&with(at, "runner_group"), "runner group", &set.runner_group, groups);
                }
                if !set.secret.credential.is_empty() {
                    let here = [at, &path!["secret", "credential"]].concat();
                    self.known(
                        &here,
                        "credential",
                        &set.secret.credential,
                        org.credentials.iter().map(|c| c.name.as_str()),
                    );
                }
            }
        }
        if let ReleaseRef::Exact(release) = set.chart
            && set.container_mode == ContainerMode::KubernetesNovolume
            && release < controller_core::Release::V0_13_0
        {
            self.at(
                &with(at, "container_mode"),
                format!("chart {release} has no mode kubernetes-novolume"),
                "from 0.13.0 on",
                "use another mode, or a newer chart",
            );
        }
        if set.secret.kind == SecretKind::External && set.secret.name.is_empty() {
            self.at(&with(at, "secret"), "an external secret without name", "no name", "add `name: …`");
        }
        if set.dind != Default::default()
            && set.container_mode != ContainerMode::Dind
            && set.dind.layout == crate::plan::world::DindLayout::Chart
        {
            self.at_key(
                &with(at, "dind"),
                "dind settings without dind",
                format!("container_mode is {}", set.container_mode),
                "write `container_mode: dind`, or remove `dind`",
            );
        }
        for (key, template) in [("template", &set.template), ("listener_template", &set.listener_template)] {
            if let Some(template) = template
                && let Err(error) = serde_json::from_value::<arc_api::pod::PodTemplate>(template.clone())
            {
                self.at(
                    &with(at, key),
                    format!("not a pod template: {error}"),
                    format!("value of `{key}`"),
                    "write `metadata:` and `spec:` as in a pod",
                );
            }
        }
    }
}

fn with(at: &[Seg], key: &str) -> Vec<Seg> {
    [at, &path![key]].concat()
}
