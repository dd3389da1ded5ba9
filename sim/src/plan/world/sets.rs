//! An installation of the scale-set chart: every setting that a field failure turned on. Never renders anything.

use std::collections::BTreeMap;

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::fault::words;
use super::super::values::*;

settings! {
    /// An installation of the scale-set chart.
    ScaleSetSpec {
        /// Helm release name, unique in its cluster.
        name: Str = Str::new_static("linux"),
        /// Whether it is installed at time zero.
        installed: bool = true,
        /// Chart version.
        chart: ReleaseRef = ReleaseRef::Run,
        /// Namespace.
        namespace: Str = Str::new_static("arc-runners"),
        /// runnerScaleSetName; empty: the name.
        runner_scale_set_name: Str = Str::default(),
        /// Labels that jobs ask for, besides the scale set's name.
        labels: Vec<Str> = Vec::new(),
        /// Organisation; empty: the first.
        org: Str = Str::default(),
        /// githubConfigUrl; empty: that of the organisation.
        url: Str = Str::default(),
        /// Runner group.
        runner_group: Str = Str::new_static("default"),
        /// minRunners.
        min_runners: Option<u32> = None,
        /// maxRunners.
        max_runners: Option<u32> = None,
        /// containerMode.type.
        container_mode: ContainerMode = ContainerMode::None,
        /// The runners' pod template (Kubernetes JSON), merged over what the chart makes: containers by name.
        template: Option<Value> = None,
        /// The listener's pod template.
        listener_template: Option<Value> = None,
        /// Runner image; empty: the chart's.
        image: Str = Str::default(),
        /// Version of the runner in that image.
        runner_version: Str = Str::new_static("2.328.0"),
        /// Own ServiceAccount of the runners; empty: the chart's.
        service_account: Str = Str::default(),
        /// The GitHub secret.
        secret: SecretSpec = SecretSpec::default(),
        /// Egress proxy.
        proxy: Option<ProxySpec> = None,
        /// The docker daemon (`container_mode: dind`).
        dind: DindSpec = DindSpec::default(),
        /// The container hooks (`container_mode: kubernetes`).
        hooks: HooksSpec = HooksSpec::default(),
        /// Requests of the runner container.
        resources: ResourceSpec = ResourceSpec::default(),
        /// Grace period of runner pods; absent: 30 s.
        grace: Option<Dur> = None,
        /// Labels of the AutoscalingRunnerSet.
        metadata_labels: BTreeMap<Str, Str> = BTreeMap::new(),
        /// Annotations of the AutoscalingRunnerSet.
        annotations: BTreeMap<Str, Str> = BTreeMap::new(),
        /// Helm values as the user has them, merged under all settings stated here.
        values: Option<Value> = None,
    }
    /// The GitHub secret of a scale set.
    SecretSpec {
        /// Who made it.
        kind: SecretKind = SecretKind::Chart,
        /// Name (`external`).
        name: Str = Str::new_static("github-secret"),
        /// Credential that it holds; empty: the organisation's first.
        credential: Str = Str::default(),
    }
    /// An egress proxy.
    ProxySpec {
        /// Address.
        url: Str = Str::new_static("http://proxy:3128"),
        /// Hosts that are reached directly.
        no_proxy: Vec<Str> = Vec::new(),
    }
    /// The docker daemon beside a runner.
    DindSpec {
        /// Who writes the pod: the chart, or a user who expanded it by hand as the chart of 0.11 has it.
        layout: DindLayout = DindLayout::Chart,
        /// The runner's DOCKER_HOST path; empty: the chart's.
        docker_host: Str = Str::default(),
        /// The daemon's `--host` path; empty: the chart's.
        socket_path: Str = Str::default(),
        /// RUNNER_WAIT_FOR_DOCKER_IN_SECONDS.
        wait: Wait = Wait::Chart,
        /// Whether both containers have a preStop hook that waits for the worker.
        pre_stop: bool = false,
    }
    /// The container hooks.
    HooksSpec {
        /// Version.
        version: Str = Str::new_static("0.7.0"),
        /// ACTIONS_RUNNER_USE_KUBE_SCHEDULER.
        use_scheduler: bool = false,
        /// ACTIONS_RUNNER_PREPARE_JOB_TIMEOUT_SECONDS.
        prepare_timeout: Dur = Dur::secs(600),
        /// The work volume.
        work_volume: WorkVolume = WorkVolume::ReadWriteOnce,
        /// Requests of the workflow pod.
        workflow_pod: ResourceSpec = ResourceSpec::default(),
        /// Whether the runner runs its jobs itself, whatever the hooks' variables say: a script, as in recordings.
        scripted: bool = false,
        /// Whether the exec stream sends heartbeats.
        heartbeat: bool = false,
    }
    /// What a container requests.
    ResourceSpec {
        /// Processors.
        cpu: Cpu = Cpu(0),
        /// Memory.
        memory: Bytes = Bytes(0),
    }
}

words! {
    /// `containerMode.type`.
    ContainerMode {
        None = "none", Dind = "dind", Kubernetes = "kubernetes", KubernetesNovolume = "kubernetes-novolume",
    }
}

impl ContainerMode {
    /// Whether the runner starts workflow pods by container hooks.
    pub const fn has_hooks(self) -> bool {
        matches!(self, ContainerMode::Kubernetes | ContainerMode::KubernetesNovolume)
    }
}

words! {
    /// Who made a secret.
    SecretKind {
        /// The chart, from a map in the values.
        Chart = "chart",
        /// A user; the values name it.
        External = "external",
    }
}

words! {
    /// Who wrote the dind pod.
    DindLayout {
        /// The chart.
        Chart = "chart",
        /// A template with two ordinary containers, whatever the chart would do.
        TwoContainers = "two_containers",
        /// A template with a native sidecar and a startup probe, whatever the chart would do.
        NativeSidecar = "native_sidecar",
    }
}

words! {
    /// Access mode of the work volume.
    WorkVolume { ReadWriteOnce = "ReadWriteOnce", ReadWriteMany = "ReadWriteMany" }
}

impl ScaleSetSpec {
    /// Its name at the service.
    pub fn service_name(&self) -> &Str {
        if self.runner_scale_set_name.is_empty() { &self.name } else { &self.runner_scale_set_name }
    }
}
