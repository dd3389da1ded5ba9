//! What distinguishes one simulated cluster from another. Never holds state.

use std::sync::Arc;

use arc_api::core::{Node, Taint};
use arc_api::meta::labels;
use arc_api::{Duration, Meta, Str};

use super::claims::StorageSettings;
use super::deployments::DeploymentSettings;
use super::gc::GcSettings;
use super::namespaces::NamespaceSettings;
use super::nodes::NodeLifecycleSettings;
use super::scheduler::SchedulerSettings;
use crate::ApiSettings;
use crate::kubelet::worker::KubeletSettings;

/// One node of a cluster.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeSettings {
    /// Name.
    pub name: Str,
    /// How many pods it takes (110 is the kubelet's default).
    pub pods: u32,
    /// Cores, as a quantity; empty is unlimited.
    pub cpu: Str,
    /// Memory, as a quantity; empty is unlimited.
    pub memory: Str,
    /// Labels beside `kubernetes.io/hostname` and `kubernetes.io/os`.
    pub labels: Vec<(Str, Str)>,
    /// Taints.
    pub taints: Vec<Taint>,
}

impl NodeSettings {
    /// A Linux node without limits other than 110 pods.
    pub fn named(name: impl Into<Str>) -> NodeSettings {
        NodeSettings {
            name: name.into(),
            pods: 110,
            cpu: Str::default(),
            memory: Str::default(),
            labels: Vec::new(),
            taints: Vec::new(),
        }
    }
    /// The node as its kubelet registers it.
    pub fn object(&self) -> Node {
        let mut all = labels([("kubernetes.io/os", "linux"), ("kubernetes.io/hostname", self.name.as_str())]);
        Arc::make_mut(&mut all).extend(self.labels.iter().cloned());
        let stated = [("cpu", &self.cpu), ("memory", &self.memory)].into_iter().filter(|(_, q)| !q.is_empty());
        let pods = arc_api::format_smolstr!("{}", self.pods);
        let allocatable = stated.map(|(k, q)| (Str::from(k), q.clone())).chain([(Str::from("pods"), pods)]).collect();
        Node {
            metadata: Meta { labels: all, ..Meta::named("", self.name.clone()) },
            taints: self.taints.clone(),
            allocatable: Arc::new(allocatable),
            ready: Str::new_static("True"),
            ..Node::default()
        }
    }
}

/// Settings of a whole cluster. Every default is cited where its type is defined.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterSettings {
    /// The API server; its minor version is the cluster's, its seed the seed of every draw here.
    pub api: ApiSettings,
    /// Nodes at the beginning.
    pub nodes: Vec<NodeSettings>,
    /// Kubelets.
    pub kubelet: KubeletSettings,
    /// Scheduler.
    pub scheduler: SchedulerSettings,
    /// Garbage collector.
    pub gc: GcSettings,
    /// Namespace controller.
    pub namespaces: NamespaceSettings,
    /// From a new namespace, or the loss of its `default` ServiceAccount, to the account (§6.3: at once).
    pub account_delay: Duration,
    /// From a change to the quota's new usage (§6.4: ≤ 1 s after a change of the quota, seconds after a deletion).
    pub quota_delay: Duration,
    /// Deployment controller.
    pub deployments: DeploymentSettings,
    /// Node lifecycle, PodGC.
    pub node_lifecycle: NodeLifecycleSettings,
    /// Storage.
    pub storage: StorageSettings,
    /// Whether kubelets and the scheduler write Warning events.
    pub events: bool,
}

impl Default for ClusterSettings {
    fn default() -> ClusterSettings {
        ClusterSettings::version(34)
    }
}

impl ClusterSettings {
    /// Kubernetes 1.`minor` with one node.
    pub fn version(minor: u32) -> ClusterSettings {
        ClusterSettings {
            api: ApiSettings::version(minor),
            nodes: vec![NodeSettings::named("node-1")],
            kubelet: KubeletSettings::default(),
            scheduler: SchedulerSettings::default(),
            gc: GcSettings::default(),
            namespaces: NamespaceSettings::default(),
            account_delay: Duration::from_millis(50),
            quota_delay: Duration::from_secs(1),
            deployments: DeploymentSettings::default(),
            node_lifecycle: NodeLifecycleSettings::version(minor),
            storage: StorageSettings::default(),
            events: true,
        }
    }
    /// The same with this many nodes, `node-1` and on.
    #[must_use]
    pub fn with_nodes(mut self, count: u32) -> ClusterSettings {
        self.nodes = (1..=count).map(|n| NodeSettings::named(arc_api::format_smolstr!("node-{n}"))).collect();
        self
    }
}
