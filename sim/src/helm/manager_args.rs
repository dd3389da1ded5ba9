//! What a manager process was told, read back from its pod: release, image and flags. Never reads values or a Deployment.
//!
//! Source: arc-controllers.md §2.1; recorded: `process-start` lines of all recordings.

use std::sync::Arc;

use arc_api::Str;
use arc_api::pod::{Container, Pod};
use controller_core::reconcile::{Settings, UpdateStrategy};
use controller_core::{Behaviour, Release};

use super::controller_chart::MANAGER;

/// The arguments and environment of one manager process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManagerArgs {
    /// Which program the image holds.
    pub release: Release,
    /// The image, which its listeners run as well.
    pub image: Str,
    /// The controller's namespace.
    pub namespace: Str,
    /// The ServiceAccount it runs as.
    pub service_account: Str,
    /// `--update-strategy`; anything but `eventual` is immediate.
    pub update_strategy: UpdateStrategy,
    /// `--runner-max-concurrent-reconciles`; `None`: the release's own number.
    pub runner_workers: Option<u32>,
    /// `--k8s-client-rate-limiter-qps`.
    pub qps: u32,
    /// `--k8s-client-rate-limiter-burst`.
    pub burst: u32,
    /// `--auto-scaler-image-pull-secrets`.
    pub image_pull_secrets: Vec<Str>,
    /// `--exclude-label-propagation-prefix`.
    pub excluded_label_prefixes: Vec<Str>,
    /// `--watch-single-namespace`.
    pub watch_namespace: Option<Str>,
    /// `--leader-election-id`, if leader election is on.
    pub leader_election: Option<Str>,
    /// Whether listeners serve metrics.
    pub metrics: bool,
    /// `--log-level`.
    pub log_level: Str,
    /// `--workqueue-rate-limiter`, if given.
    pub rate_limiter: Option<Str>,
}

/// The pod is not one of a manager, or it cannot start. The text is for the log of the container that exits at once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotAManager(pub Str);

impl std::fmt::Display for NotAManager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotAManager {}

impl ManagerArgs {
    /// Reads the container `manager` of a pod.
    ///
    /// The release is that of the image's tag, else of the pod's version label.
    ///
    /// # Errors
    /// When there is no such container, no known release, or a flag the release's program does not have.
    pub fn from_pod(pod: &Pod) -> Result<ManagerArgs, NotAManager> {
        let Some(container) = pod.spec.container(MANAGER) else {
            return Err(NotAManager("no container `manager`".into()));
        };
        let tag = container.image.rsplit_once(':').map_or("", |(_, tag)| tag);
        let label = pod.metadata.label("app.kubernetes.io/version").map_or("", |v| v);
        let Some(release) = tag.parse().ok().or_else(|| label.parse().ok()) else {
            return Err(NotAManager(format!("image `{}` is of no known release", container.image).into()));
        };
        let mut args = ManagerArgs::new(release, pod, container);
        container.args.iter().try_for_each(|arg| args.read(arg))?;
        Ok(args)
    }

    fn new(release: Release, pod: &Pod, container: &Container) -> ManagerArgs {
        ManagerArgs {
            release,
            image: container.env_value("CONTROLLER_MANAGER_CONTAINER_IMAGE").unwrap_or(&container.image).clone(),
            namespace: pod.metadata.namespace.clone(),
            service_account: pod.spec.service_account_name.clone(),
            update_strategy: UpdateStrategy::Immediate,
            runner_workers: None,
            qps: 20,
            burst: 30,
            image_pull_secrets: Vec::new(),
            excluded_label_prefixes: Vec::new(),
            watch_namespace: None,
            leader_election: None,
            metrics: true,
            log_level: "debug".into(),
            rate_limiter: None,
        }
    }

    fn read(&mut self, arg: &str) -> Result<(), NotAManager> {
        let (flag, value) =
            arg.trim_start_matches('-').split_once('=').unwrap_or((arg.trim_start_matches('-'), "true"));
        let unknown = || NotAManager(format!("flag provided but not defined: -{flag}").into());
        let number =
            || value.parse().map_err(|_| NotAManager(format!("invalid value \"{value}\" for flag -{flag}").into()));
        let since = match flag {
            "exclude-label-propagation-prefix" => Release::V0_9_3,
            "runner-max-concurrent-reconciles" | "k8s-client-rate-limiter-qps" | "k8s-client-rate-limiter-burst" => {
                Release::V0_10_0
            }
            "workqueue-rate-limiter" | "health-probe-bind-address" | "pprof-addr" => Release::V0_14_2,
            _ => Release::V0_7_0,
        };
        if self.release < since {
            return Err(unknown());
        }
        match flag {
            "update-strategy" if value == "eventual" => self.update_strategy = UpdateStrategy::Eventual,
            "update-strategy" => self.update_strategy = UpdateStrategy::Immediate,
            "runner-max-concurrent-reconciles" => self.runner_workers = Some(number()?),
            "k8s-client-rate-limiter-qps" => self.qps = number()?,
            "k8s-client-rate-limiter-burst" => self.burst = number()?,
            "auto-scaler-image-pull-secrets" => {
                self.image_pull_secrets.extend(value.split(',').filter(|s| !s.is_empty()).map(Str::from));
            }
            "exclude-label-propagation-prefix" => self.excluded_label_prefixes.push(value.into()),
            "watch-single-namespace" => self.watch_namespace = Some(value.into()).filter(|v: &Str| !v.is_empty()),
            "enable-leader-election" if value == "true" => {
                self.leader_election.get_or_insert_with(Str::default);
            }
            "leader-election-id" => {
                if let Some(id) = &mut self.leader_election {
                    *id = value.into();
                }
            }
            "listener-metrics-addr" => self.metrics = value != "0",
            "log-level" => self.log_level = value.into(),
            "workqueue-rate-limiter" => self.rate_limiter = Some(value.into()),
            "auto-scaling-runner-set-only"
            | "enable-leader-election"
            | "log-format"
            | "listener-metrics-endpoint"
            | "metrics-addr"
            | "pprof-addr"
            | "health-probe-bind-address"
            | "sync-period" => {}
            _ => return Err(unknown()),
        }
        Ok(())
    }

    /// Settings of the reconcilers, with the behaviour of the release or one that was changed for an experiment.
    pub fn settings(&self, behaviour: Arc<Behaviour>) -> Settings {
        Settings {
            behaviour,
            version: self.release.as_str().into(),
            namespace: self.namespace.clone(),
            image: self.image.clone(),
            update_strategy: self.update_strategy,
            image_pull_secrets: self.image_pull_secrets.clone(),
            excluded_label_prefixes: self.excluded_label_prefixes.clone(),
            metrics: self.metrics,
        }
    }
}
