//! The world at time zero: GitHub, clusters, controllers, scale sets, and what exists already. Never changes during a run.
//!
//! The same types serve scenario files (members may be left out) and plans (all members are written).

use std::collections::BTreeMap;

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::words;
use super::values::*;

/// A struct of settings: strict, with a default for every member; the defaults are the macro's right-hand sides.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty = $default:expr),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$fdoc])* pub $field: $type),* }
        impl Default for $name {
            fn default() -> $name { $name { $($field: $default),* } }
        }
    )*};
}

settings! {
    /// The world at time zero.
    WorldSpec {
        /// GitHub and its Actions service.
        github: GithubSpec = GithubSpec::default(),
        /// Kubernetes clusters.
        clusters: Vec<ClusterSpec> = Vec::new(),
        /// Links between components.
        network: NetworkSpec = NetworkSpec::default(),
        /// What exists at time zero besides what helm installs.
        existing: ExistingSpec = ExistingSpec::default(),
    }
    /// GitHub and its Actions service (actions-service.md §5.3).
    GithubSpec {
        /// How jobs reach a scale set.
        mode: Personality = Personality::Push,
        /// Organisations, enterprises or repositories that scale sets belong to.
        orgs: Vec<OrgSpec> = vec![OrgSpec::default()],
        /// How long an empty poll is held.
        poll_hold: Dur = Dur::secs(50),
        /// From an event to its delivery on an open poll.
        delivery_latency: Delay = Delay::fixed(Dur::millis(500)),
        /// From a session's beginning to the assignment of waiting jobs.
        assign_latency: Delay = Delay::fixed(Dur::millis(600)),
        /// From a runner's connection to JobStarted (readiness to assignment).
        start_latency: Delay = Delay::fixed(Dur::secs(2)),
        /// Life of a message session without requests.
        session_ttl: Dur = Dur::secs(90),
        /// Whether a scale set's sessions end with it.
        session_ends_with_scale_set: bool = true,
        /// Life of message-queue tokens.
        queue_token_ttl: Dur = Dur::secs(3600),
        /// Life of admin tokens.
        admin_token_ttl: Dur = Dur::secs(1020),
        /// Life of registration tokens.
        registration_token_ttl: Dur = Dur::secs(3600),
        /// How long an assigned job waits for a runner.
        pickup_timeout: Dur = Dur::secs(300),
        /// How often a job is assigned.
        pickup_tries: u32 = 3,
        /// From a runner's last sign to the end of its job.
        dead_runner_after: Dur = Dur::secs(570),
        /// Life of a job's lease without renewal.
        job_lease: Dur = Dur::secs(600),
        /// When the registration of an ephemeral runner that never connects is removed.
        offline_cleanup: Dur = Dur::secs(86_400),
        /// How long a job may wait in the queue.
        queue_limit: Dur = Dur::secs(86_400),
        /// Whether assignments respect the capacity that polls state (`push`).
        capacity_gate: bool = true,
        /// Answer to the removal of a runner that does not exist: 204 or 404.
        remove_unknown_runner: u16 = 204,
        /// Answer to an acquire request without ids (`null`): 400 or 200.
        acquire_null: u16 = 400,
        /// Oldest runner version that may connect; empty accepts all.
        minimum_runner_version: Str = Str::default(),
        /// Time of the service itself for each request.
        latency: Delay = Delay::fixed(Dur::millis(20)),
    }
    /// An organisation, enterprise or repository.
    OrgSpec {
        /// Name.
        name: Str = Str::new_static("acme"),
        /// githubConfigUrl; empty: `https://github.com/NAME`.
        url: Str = Str::default(),
        /// Runner groups besides `default`.
        groups: Vec<Str> = Vec::new(),
        /// Credentials; the first is the one that secrets hold at time zero.
        credentials: Vec<CredentialSpec> = vec![CredentialSpec::default()],
        /// Requests per time that the App or token may make.
        rate_budget: Option<Rate> = None,
        /// Whether rate_budget belongs to each App or to the organisation.
        rate_key: super::fault::RateKey = super::fault::RateKey::App,
    }
    /// A credential.
    CredentialSpec {
        /// Name in this file.
        name: Str = Str::new_static("token"),
        /// What it is.
        kind: CredentialKind = CredentialKind::Pat,
        /// Whether the service knows it.
        valid: bool = true,
    }
    /// A Kubernetes cluster.
    ClusterSpec {
        /// Name.
        name: Str = Str::new_static("prod"),
        /// Version of the API server, `MAJOR.MINOR`; `1.29+` is what some vendors report.
        kubernetes: Str = Str::new_static("1.34"),
        /// Number of nodes at time zero: n1, n2, …
        nodes: u32 = 3,
        /// What a node has.
        node: NodeSpec = NodeSpec::default(),
        /// Most nodes that an autoscaler makes; 0: no autoscaler.
        nodes_max: u32 = 0,
        /// How long the autoscaler takes for a node.
        add_node_after: Delay = Delay::fixed(Dur::secs(120)),
        /// When the object of a lost node is removed by a cloud controller; absent: never.
        node_object_removed_after: Option<Dur> = None,
        /// How long pods tolerate an unreachable node.
        unreachable_toleration: Dur = Dur::secs(300),
        /// Kubelets and scheduler.
        kubelet: KubeletSpec = KubeletSpec::default(),
        /// The API server.
        api: ApiSpec = ApiSpec::default(),
        /// Namespaces with settings of their own.
        namespaces: Vec<NamespaceSpec> = Vec::new(),
        /// Release of the custom resource definitions; absent: that of the first controller.
        crds: Option<ReleaseRef> = None,
        /// Controllers.
        controllers: Vec<ControllerSpec> = vec![ControllerSpec::default()],
        /// Scale sets.
        scale_sets: Vec<ScaleSetSpec> = Vec::new(),
        /// A helper container that an admission webhook adds to every runner pod; empty: none.
        injected_sidecar: Str = Str::default(),
        /// Whether an admission webhook strips the restart policy of init containers.
        strips_init_restart_policy: bool = false,
    }
    /// What a node has.
    NodeSpec {
        /// Most pods.
        pods: u32 = 110,
        /// Processors.
        cpu: Cpu = Cpu(16_000),
        /// Memory.
        memory: Bytes = Bytes(64 << 30),
    }
    /// Kubelets and scheduler: the stages of a pod's life.
    KubeletSpec {
        /// From creation to binding.
        schedule: Delay = Delay::fixed(Dur::millis(100)),
        /// From binding to the start of the first container.
        create: Delay = Delay::fixed(Dur::millis(400)),
        /// Pull of an image that the node does not have.
        image_pull: Delay = Delay::fixed(Dur::ZERO),
        /// Start of each further container.
        container_start: Delay = Delay::fixed(Dur::millis(100)),
        /// How long an ordinary init container runs.
        init_run: Delay = Delay::fixed(Dur::millis(300)),
        /// From the end of the containers to the removal of the pod.
        teardown: Delay = Delay::fixed(Dur::millis(300)),
        /// From the deletion of a pod to SIGTERM.
        sigterm: Delay = Delay::fixed(Dur::millis(100)),
        /// From the end of a container to its status.
        status_latency: Delay = Delay::fixed(Dur::millis(50)),
        /// Start of the docker daemon to its socket.
        dind_ready: Delay = Delay::fixed(Dur::secs(2)),
        /// Start of the runner process to its connection.
        runner_start: Delay = Delay::fixed(Dur::secs(1)),
        /// Start of the listener process to its first request.
        listener_start: Delay = Delay::fixed(Dur::millis(300)),
        /// Start of the controller process to its first reconcile.
        controller_start: Delay = Delay::fixed(Dur::millis(500)),
    }
    /// The API server.
    ApiSpec {
        /// Time for a read.
        read: Delay = Delay::fixed(Dur::millis(2)),
        /// Time for a write.
        write: Delay = Delay::fixed(Dur::millis(5)),
        /// From a write to the watch events. Mostly shorter than the way of the write's own reply, in one case of five longer:
        /// 0.14.2 made a second runner set before it saw the first in 15 of 67 recorded installations, and bound its listener to
        /// the survivor in all of them (`arc-controllers.md` Q-DUP-ERS).
        watch: Delay = Delay { body: Between { from: Dur::millis(1), to: Dur::millis(6) }, tail: None },
        /// Feature gate ContainerRestartRules.
        container_restart_rules: bool = false,
        /// How long a watch lives before the server closes it.
        watch_timeout: Delay = Delay { body: Between { from: Dur::secs(300), to: Dur::secs(600) }, tail: None },
        /// From the deletion of an owner to that of its dependents.
        garbage_collection: Delay = Delay::fixed(Dur::millis(200)),
        /// How long a Terminating ServiceAccount still authenticates.
        terminating_identity: Dur = Dur::secs(60),
    }
    /// A namespace with settings of its own.
    NamespaceSpec {
        /// Name.
        name: Str = Str::new_static("arc-runners"),
        /// Quota by resource (`pods`, `requests.cpu`, …).
        quota: BTreeMap<Str, Str> = BTreeMap::new(),
        /// Pod Security level: `privileged`, `baseline` or `restricted`; empty: none.
        pod_security: Str = Str::default(),
    }
    /// An installation of the controller chart.
    ControllerSpec {
        /// Helm release name.
        name: Str = Str::new_static("arc"),
        /// Namespace.
        namespace: Str = Str::new_static("arc-systems"),
        /// Which ARC.
        release: ReleaseRef = ReleaseRef::Run,
        /// Whether it is installed at time zero.
        installed: bool = true,
        /// Replicas; from two on a lease decides.
        replicas: u32 = 1,
        /// EphemeralRunner workers (`--runner-max-concurrent-reconciles`); absent: as the release has it.
        runner_workers: Option<u32> = None,
        /// Client-side requests per second; absent: as the release has it.
        qps: Option<u32> = None,
        /// Client-side burst; absent: as the release has it.
        burst: Option<u32> = None,
        /// `flags.updateStrategy`.
        update_strategy: Strategy = Strategy::Immediate,
        /// `flags.watchSingleNamespace`; empty: all namespaces.
        watch_namespace: Str = Str::default(),
        /// Metrics are on.
        metrics: bool = false,
        /// Node that it runs on; empty: any.
        node: Str = Str::default(),
        /// `flags.excludeLabelPropagationPrefixes`.
        excluded_label_prefixes: Vec<Str> = Vec::new(),
        /// Helm values, merged over all others.
        values: Option<Value> = None,
        /// Switches of the behaviour that differ from the release's (experiments).
        switches: BTreeMap<Str, Str> = BTreeMap::new(),
    }
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
    /// Links between components.
    NetworkSpec {
        /// Inside a cluster, one way.
        cluster: Delay = Delay::fixed(Dur::millis(1)),
        /// To GitHub, one way.
        github: Delay = Delay::fixed(Dur::millis(20)),
    }
    /// What exists at time zero besides what helm installs.
    ExistingSpec {
        /// Sessions that somebody holds.
        sessions: Vec<ExistingSession> = Vec::new(),
        /// Runners left from before, with or without registration.
        runners: Vec<ExistingRunners> = Vec::new(),
        /// Jobs waiting at GitHub.
        backlog: Vec<Backlog> = Vec::new(),
        /// Kubernetes objects, as JSON.
        objects: Vec<ExistingObject> = Vec::new(),
    }
    /// A session that somebody holds.
    ExistingSession {
        /// Scale set; its registration exists as well.
        scale_set: SetRef = SetRef { cluster: None, name: Str::new_static("linux") },
        /// Owner.
        owner: Str = Str::new_static("ghost"),
        /// How long it lives.
        ttl: Dur = Dur::secs(90),
    }
    /// Runners left from before.
    ExistingRunners {
        /// Scale set.
        scale_set: SetRef = SetRef { cluster: None, name: Str::new_static("linux") },
        /// How many.
        count: u32 = 1,
        /// How long each still has a job; 0: idle.
        busy_for: Dur = Dur::ZERO,
        /// Whether the service knows them.
        registered: bool = true,
        /// Whether their pods exist.
        pods: bool = true,
        /// Failed pods recorded in status.failures.
        failures: u32 = 0,
    }
    /// Jobs waiting at GitHub.
    Backlog {
        /// Scale set.
        scale_set: SetRef = SetRef { cluster: None, name: Str::new_static("linux") },
        /// How many.
        count: u32 = 1,
        /// The jobs.
        job: super::JobSpec = super::JobSpec::default(),
    }
    /// A Kubernetes object.
    ExistingObject {
        /// Cluster; empty: the first.
        cluster: Str = Str::default(),
        /// Kubernetes JSON with apiVersion and kind.
        object: Value = Value::Null,
    }
}

words! {
    /// How jobs reach a scale set.
    Personality {
        /// The service assigns jobs (github.com).
        Push = "push",
        /// The service offers jobs and listeners acquire them (Enterprise Server, github.com before).
        AcquireRequired = "acquire_required",
    }
}
words! {
    /// What a credential is.
    CredentialKind { Pat = "pat", App = "app" }
}
words! {
    /// `flags.updateStrategy`.
    Strategy { Immediate = "immediate", Eventual = "eventual" }
}
words! {
    /// `containerMode.type`.
    ContainerMode {
        None = "none", Dind = "dind", Kubernetes = "kubernetes", KubernetesNovolume = "kubernetes-novolume",
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

impl OrgSpec {
    /// Its URL.
    pub fn config_url(&self) -> Str {
        if self.url.is_empty() {
            arc_api::format_smolstr!("https://github.com/{}", self.name)
        } else {
            self.url.clone()
        }
    }
}

impl ScaleSetSpec {
    /// Its name at the service.
    pub fn service_name(&self) -> &Str {
        if self.runner_scale_set_name.is_empty() { &self.name } else { &self.runner_scale_set_name }
    }
}

impl ClusterSpec {
    /// The API server's minor version: `1.30` gives 30; 0 if the text is none.
    pub fn minor(&self) -> u32 {
        let minor = self.kubernetes.split('.').nth(1).unwrap_or("");
        minor.trim_end_matches('+').parse().unwrap_or(0)
    }
}

impl WorldSpec {
    /// The scale set meant by a reference, with its cluster; the first one if the cluster is not stated.
    pub fn scale_set(&self, set: &SetRef) -> Option<(&ClusterSpec, &ScaleSetSpec)> {
        self.clusters
            .iter()
            .flat_map(|c| c.scale_sets.iter().map(move |s| (c, s)))
            .find(|(c, s)| set.matches(&c.name, &s.name))
    }
    /// The organisation of a scale set.
    pub fn org(&self, set: &ScaleSetSpec) -> Option<&OrgSpec> {
        match set.org.as_str() {
            "" => self.github.orgs.first(),
            name => self.github.orgs.iter().find(|o| o.name == name),
        }
    }
}
