//! The phase of a pod as a function of its containers' statuses. Never looks at time or at the API.
//!
//! Source: kubernetes-api.md §5.2; `getPhase` of pkg/kubelet/kubelet_pods.go.

use arc_api::pod::{ContainerState, ContainerStatus, PodPhase};

use super::container::Restart;
use super::effects::ContainerKind;

/// One container as the phase function sees it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What it is.
    pub kind: ContainerKind,
    /// Whether it is started again.
    pub restart: Restart,
    /// Its status; `None` if the kubelet has none.
    pub status: Option<&'a ContainerStatus>,
}

impl View<'_> {
    fn exit_code(&self) -> Option<i32> {
        let status = self.status?;
        match &status.state {
            ContainerState::Terminated(end) => Some(end.exit_code),
            ContainerState::Waiting { .. } => status.last_terminated.as_ref().map(|end| end.exit_code),
            ContainerState::Running { .. } => None,
        }
    }
}

/// The phase of a pod with these init containers and main containers. `ended` says that nothing of the pod runs or will
/// run any more (it is being deleted or evicted, and everything has stopped).
///
/// Guarantees: a result of Succeeded or Failed comes only when no main container runs or will run again.
pub fn phase(init: &[View<'_>], main: &[View<'_>], ended: bool) -> PodPhase {
    let failed_for_good = init.iter().any(|c| {
        c.kind == ContainerKind::Init && c.restart == Restart::Never && c.exit_code().is_some_and(|code| code != 0)
    });
    // Sidecars need no rule of their own: before the main containers began those are waiting, and later a sidecar that
    // crashes brings nothing back (§5.2 item 1).
    let init_pending = init.iter().any(|c| {
        let status = c.status.map(|s| &s.state);
        c.kind == ContainerKind::Init && !matches!(status, Some(ContainerState::Terminated(end)) if end.exit_code == 0)
    });
    let (mut running, mut stopped, mut succeeded, mut waiting, mut unknown, mut restarting) = (0, 0, 0, 0, 0, false);
    for c in main {
        match (c.status.map(|s| &s.state), c.exit_code()) {
            (None, _) => unknown += 1,
            (Some(ContainerState::Running { .. }), _) => running += 1,
            (_, Some(code)) => {
                stopped += 1;
                succeeded += usize::from(code == 0);
                restarting |= c.restart.after(code);
            }
            (_, None) => waiting += 1,
        }
    }
    if ended {
        let all_well = stopped == main.len() && succeeded == stopped && stopped > 0;
        return if all_well { PodPhase::Succeeded } else { PodPhase::Failed };
    }
    if failed_for_good {
        return PodPhase::Failed;
    }
    if init_pending || waiting > 0 {
        return PodPhase::Pending;
    }
    match (running, stopped, unknown) {
        (1.., _, 0) => PodPhase::Running,
        (0, 1.., 0) if restarting => PodPhase::Running,
        (0, 1.., 0) if succeeded == stopped => PodPhase::Succeeded,
        (0, 1.., 0) => PodPhase::Failed,
        _ => PodPhase::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arc_api::Time;
    use arc_api::pod::Terminated;

    fn status(state: &str) -> Option<ContainerStatus> {
        let ended = |code| Terminated { exit_code: code, ..Default::default() };
        let mut s = ContainerStatus::default();
        match state {
            "-" => return None,
            "waiting" => {}
            "running" => {
                s.state = ContainerState::Running { started_at: Time::ZERO };
                s.started = true;
            }
            "starting" => s.state = ContainerState::Running { started_at: Time::ZERO },
            code => match code.strip_prefix("backoff:") {
                Some(code) => s.last_terminated = Some(ended(code.parse().expect("a code"))),
                None => s.state = ContainerState::Terminated(ended(code.parse().expect("a code"))),
            },
        }
        Some(s)
    }
    /// `kind:state` entries of init containers, then states of main containers.
    #[track_caller]
    fn check(policy: &str, init: &[(&str, &str)], main: &[&str], expect: PodPhase) {
        let restart = Restart::from_text(policy);
        let init: Vec<_> = init.iter().map(|(k, s)| (*k, status(s))).collect();
        let main: Vec<_> = main.iter().map(|s| status(s)).collect();
        let init_views: Vec<View<'_>> = init
            .iter()
            .map(|(k, s)| match *k {
                "sidecar" => View { kind: ContainerKind::Sidecar, restart: Restart::Always, status: s.as_ref() },
                _ => View {
                    kind: ContainerKind::Init,
                    restart: if restart == Restart::Always { Restart::OnFailure } else { restart },
                    status: s.as_ref(),
                },
            })
            .collect();
        let main_views: Vec<View<'_>> =
            main.iter().map(|s| View { kind: ContainerKind::Main, restart, status: s.as_ref() }).collect();
        assert_eq!(phase(&init_views, &main_views, false), expect);
    }

    #[test]
    fn the_rules_in_order() {
        use PodPhase::*;
        check("Never", &[("init", "1")], &["waiting"], Failed);
        check("OnFailure", &[("init", "1")], &["waiting"], Pending);
        check("Never", &[("init", "running")], &["waiting"], Pending);
        check("Never", &[("sidecar", "starting")], &["waiting"], Pending);
        check("Never", &[("sidecar", "running")], &["running"], Running);
        check("Never", &[("sidecar", "137")], &["running"], Running);
        check("Never", &[], &["running", "waiting"], Pending);
        check("Never", &[], &["0", "running"], Running);
        check("Never", &[], &["0", "0"], Succeeded);
        check("Never", &[], &["0", "1"], Failed);
        check("OnFailure", &[], &["0", "1"], Running);
        check("OnFailure", &[], &["0", "0"], Succeeded);
        check("Always", &[], &["0", "0"], Running);
        check("Always", &[], &["backoff:1"], Running);
        check("Never", &[], &["-"], Pending);
        check("Never", &[], &["running", "-"], Pending);
    }

    #[test]
    fn a_pod_that_is_stopped_succeeds_only_if_every_main_container_did() {
        let (zero, waiting) = (status("0"), status("waiting"));
        let view = |s| View { kind: ContainerKind::Main, restart: Restart::Always, status: s };
        assert_eq!(phase(&[], &[view(zero.as_ref())], true), PodPhase::Succeeded);
        assert_eq!(phase(&[], &[view(waiting.as_ref())], true), PodPhase::Failed);
        assert_eq!(phase(&[], &[view(zero.as_ref()), view(waiting.as_ref())], true), PodPhase::Failed);
    }
}
