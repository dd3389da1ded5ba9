//! What a node must do, and what it is told back: the vocabulary between kubelet and engine. Values only.

use std::sync::Arc;

use arc_api::pod::{Pod, Terminated};
use arc_api::{Str, Time, Uid};

/// What a container is to its pod.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ContainerKind {
    /// An ordinary init container: the next one waits until it has ended with 0.
    Init,
    /// A native sidecar: an init container with `restartPolicy: Always` on a server that knows it.
    Sidecar,
    /// One of `spec.containers`.
    Main,
}

/// A signal to all processes of a container.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Signal {
    /// SIGTERM.
    Term,
    /// SIGKILL. Also sent to a container whose start is under way: it must not start any more.
    Kill,
}

/// Which hook.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HookKind {
    /// After the start; the container counts as started when it is done.
    PostStart,
    /// Before SIGTERM.
    PreStop,
}

/// Something a node does. The engine owns all process models and all durations.
#[derive(Clone, PartialEq, Debug)]
pub enum NodeEffect {
    /// Attach and mount volumes, make the sandbox. Answer: `volumes_ready`, or `volumes_failed` and later `volumes_ready`.
    PrepareVolumes {
        /// Where.
        node: Str,
        /// For whom.
        pod: Arc<Pod>,
    },
    /// Pull, create and start. Answer: `container_started` or `start_failed`.
    StartContainer {
        /// Where.
        node: Str,
        /// The pod, as the kubelet knows it.
        pod: Arc<Pod>,
        /// Which container.
        container: Str,
        /// What it is to the pod.
        kind: ContainerKind,
        /// 0 for the first start, then one more for each restart.
        attempt: u32,
    },
    /// Run an exec hook. Answer: `hook_done`. A preStop hook that is late is cut off by the grace period.
    Hook {
        /// Pod.
        pod: Uid,
        /// Container.
        container: Str,
        /// Which.
        kind: HookKind,
        /// When a preStop hook is cut off; [`Time::NEVER`] for postStart.
        until: Time,
    },
    /// Send a signal. Answer, when the process is gone: `container_exited`.
    Signal {
        /// Pod.
        pod: Uid,
        /// Container.
        container: Str,
        /// Which.
        signal: Signal,
    },
    /// Nothing of this pod runs any more (or the node lost it): drop its process models, pending starts and hooks.
    Forget {
        /// Pod.
        pod: Uid,
    },
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exit {
    /// 0–255.
    pub code: i32,
    /// `Completed`, `Error`, `OOMKilled`, …; empty lets the code decide.
    pub reason: Str,
    /// Sentence; usually empty.
    pub message: Str,
}

impl Exit {
    /// An end by exit code alone: `Completed` for 0, else `Error`.
    pub fn code(code: i32) -> Exit {
        Exit { code, reason: Str::default(), message: Str::default() }
    }
    /// The kernel's out-of-memory killer (kubernetes-api.md §5.3).
    pub fn oom() -> Exit {
        Exit { code: 137, reason: Str::new_static("OOMKilled"), message: Str::default() }
    }
    /// The kubelet lost the container (§5.3).
    pub fn status_unknown() -> Exit {
        Exit {
            code: 137,
            reason: Str::new_static("ContainerStatusUnknown"),
            message: Str::new_static("The container could not be located when the pod was terminated"),
        }
    }
    pub(crate) fn terminated(self, now: Time) -> Terminated {
        let reason = match (self.reason.is_empty(), self.code) {
            (false, _) => self.reason,
            (true, 0) => Str::new_static("Completed"),
            (true, _) => Str::new_static("Error"),
        };
        Terminated { exit_code: self.code, reason, message: self.message, finished_at: now.truncated() }
    }
}

/// Why a container did not start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StartFailure {
    /// The image could not be pulled: `ErrImagePull`, then `ImagePullBackOff`; tried again for ever.
    ImagePull,
    /// `CreateContainerConfigError`; tried again at every sync.
    ConfigError(Str),
    /// The runtime refused the command: terminated with `StartError` (128) or `ContainerCannotRun` (126, 127).
    StartError(i32, Str),
}
