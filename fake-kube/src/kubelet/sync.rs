//! What a kubelet does whenever it looks at a pod: volumes, then init containers and sidecars in order, then main
//! containers, and what is being stopped. Idempotent: a second look at the same moment does nothing.
//!
//! Source: kubernetes-api.md §5.1, §5.4; computePodActions and computeInitContainerActions of pkg/kubelet/kuberuntime.

use arc_api::{Duration, Time};

use super::container::{Container, Run};
use super::effects::{ContainerKind, NodeEffect};
use super::needs;
use super::stop::{self, Cause};
use super::worker::{Context, PodWorker, Stage, block_on_config, is_config_blocked, spec_at};

impl PodWorker {
    /// Does everything that can be done now.
    pub(super) fn sync(&mut self, cx: &mut Context<'_>) {
        self.synced_at = cx.now;
        if let Stage::Volumes { since, asked: false, .. } = self.stage {
            match needs::missing_volume(&self.pod.spec, &self.pod.metadata.namespace, cx.lookup) {
                Some(message) => {
                    if since == cx.now {
                        cx.notes.push(("FailedMount", message));
                    }
                    self.stage = Stage::Volumes { since, asked: false, retry_at: Time::NEVER };
                }
                None => {
                    self.stage = Stage::Volumes { since, asked: true, retry_at: Time::NEVER };
                    cx.effects.push(NodeEffect::PrepareVolumes { node: self.node.clone(), pod: self.pod.clone() });
                }
            }
        }
        if self.stage == Stage::Alive {
            self.run_containers(cx);
        }
        let uid = self.uid();
        let died = stop::advance(&mut self.containers, uid, cx.now, cx.effects);
        if let Stage::Stopping(cause) = self.stage
            && !self.containers.iter().any(Container::is_alive)
        {
            let delete = cause == Cause::Deleted;
            let delete_at = if delete { cx.now.after(cx.settings.teardown) } else { Time::NEVER };
            self.stage = Stage::Stopped { cause, delete_at };
            cx.effects.push(NodeEffect::Forget { pod: uid });
        } else if died && self.stage == Stage::Alive {
            // A container that was taken for dead may have to start again.
            self.run_containers(cx);
        }
    }

    fn run_containers(&mut self, cx: &mut Context<'_>) {
        let mut passed = 0;
        // Also behind a sidecar that is down: the pod has failed whatever comes back (computeInitContainerActions).
        let init = &self.containers[..self.inits];
        if init.iter().any(|c| c.kind == ContainerKind::Init && !c.passed && c.is_over()) {
            self.begin_stop(Cause::Completed, self.grace(), cx);
            return;
        }
        for i in 0..self.inits {
            let c = &self.containers[i];
            // Once the pod is initialized only sidecars are kept up; ordinary init containers are history.
            if c.wants_start() && !(self.initialized && c.kind == ContainerKind::Init) {
                self.start(i, cx);
            }
            let c = &self.containers[i];
            let through = match c.kind {
                ContainerKind::Sidecar => c.is_started() || self.initialized,
                _ => c.passed,
            };
            if through {
                passed += 1;
            } else {
                break;
            }
        }
        self.initialized |= passed == self.inits;
        if self.initialized {
            for i in self.inits..self.containers.len() {
                if self.containers[i].wants_start() {
                    self.start(i, cx);
                }
                // A postStart hook holds back the containers after it: the kubelet starts them one by one.
                let c = &self.containers[i];
                let has_hook =
                    self.spec_of(i).and_then(|c| c.lifecycle.as_ref()).is_some_and(|l| l.post_start.is_some());
                if has_hook && matches!(c.run, Run::Starting { .. } | Run::Hooking { .. }) {
                    break;
                }
            }
        }
        if self.containers[self.inits..].iter().all(Container::is_over) {
            self.begin_stop(Cause::Completed, self.grace(), cx);
        }
    }

    /// Starts a container if its time has come.
    fn start(&mut self, i: usize, cx: &mut Context<'_>) {
        let c = &self.containers[i];
        if c.retry_at > cx.now || c.stopping.is_some() {
            return;
        }
        let Some(spec) = spec_at(&self.pod, self.inits, i) else { return };
        if let Some(message) = needs::missing_env(spec, &self.pod.metadata.namespace, cx.lookup) {
            if !is_config_blocked(&self.containers[i]) {
                cx.notes.push(("Failed", arc_api::format_smolstr!("Error: {message}")));
            }
            // Nothing to look at until one of the objects changes: see `poke`.
            block_on_config(&mut self.containers[i], message, Time::NEVER);
            return;
        }
        let attempt = self.containers[i].begin_start();
        cx.effects.push(NodeEffect::StartContainer {
            node: self.node.clone(),
            pod: self.pod.clone(),
            container: self.containers[i].name.clone(),
            kind: self.containers[i].kind,
            attempt,
        });
    }
}

/// The first mount try at or after `now`: 0.5 s after the first, then doubling up to 2 min 2 s.
///
/// Source: pkg/util/goroutinemap/exponentialbackoff (500 ms, factor 2, 2 min 2 s).
pub(super) fn mount_try(since: Time, now: Time) -> Time {
    let (mut at, mut wait) = (since, Duration::from_millis(500));
    while at < now || at == since {
        at = at.after(wait);
        wait = (wait * 2).min(Duration::from_secs(122));
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_tried_at_doubling_distances() {
        let tries: Vec<u64> =
            [0, 400, 600, 1_600, 4_000].map(|ms| mount_try(Time::ZERO, Time::from_millis(ms)).0 / 1000).into();
        assert_eq!(tries, [500, 500, 1_500, 3_500, 7_500]);
    }
}
