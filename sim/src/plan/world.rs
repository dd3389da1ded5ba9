//! The world at time zero: GitHub, clusters, controllers, scale sets, and what exists already. Never changes during a run.
//!
//! The same types serve scenario files (members may be left out) and plans (all members are written).

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

mod existing;
mod sets;

use std::collections::BTreeMap;

use arc_api::Str;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fault::words;
use super::values::*;
pub use existing::*;
pub use sets::*;

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
        /// Answer to a runner registration without a body, as retries of old releases send it: 422, or 200.
        empty_registration: u16 = 422,
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
        /// The same where the kubelet stopped the container itself; absent: as `status_latency`.
        status_after_stop: Option<Delay> = None,
        /// Start of the docker daemon to its socket.
        dind_ready: Delay = Delay::fixed(Dur::secs(2)),
        /// From SIGTERM to the end of the docker daemon.
        dind_exit: Dur = Dur::ZERO,
        /// Start of the runner process to its connection.
        runner_start: Delay = Delay::fixed(Dur::secs(1)),
        /// From the report of a job's end, or the decision to leave, to the end of the runner process.
        runner_exit: Delay = Delay::fixed(Dur::millis(200)),
        /// Whether volume claims are provisioned and waited for; a laboratory without storage starts pods all the same.
        claims: bool = true,
        /// Between two tries of a container whose configuration is incomplete.
        sync: Dur = Dur::secs(10),
        /// Between two tries of a runner to connect.
        runner_retry: Dur = Dur::secs(30),
        /// From SIGTERM to the report that the job of a busy runner failed.
        runner_shutdown: Dur = Dur::secs(2),
        /// From the loss of its registration to the end of an idle runner's process; absent: as `runner_exit`.
        runner_lost: Option<Dur> = None,
        /// From the refusal of its connection, or SIGTERM without a job, to the end of the runner process; absent: as `runner_exit`.
        runner_refused: Option<Dur> = None,
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
        /// From the definition of a custom kind to the garbage collector's first look at its objects, drawn once; absent: its next
        /// round, every 30 s.
        new_kinds_collected: Option<Delay> = None,
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
    /// Links between components.
    NetworkSpec {
        /// Inside a cluster, one way.
        cluster: Delay = Delay::fixed(Dur::millis(1)),
        /// To GitHub, one way.
        github: Delay = Delay::fixed(Dur::millis(20)),
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

impl ClusterSpec {
    /// The API server's minor version: `1.30` gives 30; 0 if the text is none.
    pub fn minor(&self) -> u32 {
        let minor = self.kubernetes.split('.').nth(1).unwrap_or("");
        minor.trim_end_matches('+').parse().unwrap_or(0)
    }
    /// Visits every release that it names: of definitions, controllers and charts.
    pub fn releases_mut(&mut self, mut visit: impl FnMut(&mut ReleaseRef)) {
        self.crds.iter_mut().for_each(&mut visit);
        self.controllers.iter_mut().for_each(|c| visit(&mut c.release));
        self.scale_sets.iter_mut().for_each(|s| visit(&mut s.chart));
    }
}

impl WorldSpec {
    /// Visits every release that it names.
    pub fn releases_mut(&mut self, mut visit: impl FnMut(&mut ReleaseRef)) {
        self.clusters.iter_mut().for_each(|c| c.releases_mut(&mut visit));
    }
    /// All scale sets, with references that state their clusters.
    pub fn set_refs(&self) -> impl Iterator<Item = (SetRef, &ScaleSetSpec)> {
        let of = |c: &ClusterSpec, s: &ScaleSetSpec| SetRef { cluster: Some(c.name.clone()), name: s.name.clone() };
        self.clusters.iter().flat_map(move |c| c.scale_sets.iter().map(move |s| (of(c, s), s)))
    }
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
