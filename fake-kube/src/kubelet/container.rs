//! One container as the kubelet sees it: its runtime state, restarts and back-off. Never decides about its siblings.

use arc_api::pod::{self, ContainerState, ContainerStatus, Terminated};
use arc_api::{Duration, Str, Time};

use super::effects::ContainerKind;
use super::probe::Probes;
use super::stop::Stopping;

/// The first delay of both back-offs.
///
/// Source: kubernetes-api.md §5.3 (`CrashLoopBackOff`, `ImagePullBackOff`: 10 s doubling to 300 s).
pub const BACKOFF_FIRST: Duration = Duration::from_secs(10);
/// The longest delay of both back-offs (§5.3).
pub const BACKOFF_MAX: Duration = Duration::from_secs(300);
/// A container that ran this long starts over with its crash back-off (§5.3).
pub const BACKOFF_RESET: Duration = Duration::from_secs(600);
/// How long after an exit the waiting reason replaces the terminated state.
///
/// Source: the pod lifecycle event generator looks once a second (pkg/kubelet/pleg/generic.go, relist period).
pub const RELIST: Duration = Duration::from_secs(1);

/// When a container starts again after it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Restart {
    /// Whatever the code.
    Always,
    /// After a code other than 0.
    OnFailure,
    /// Never.
    Never,
}

impl Restart {
    /// From the text of a spec; empty and unknown mean `Always`, as the server defaults it.
    pub fn from_text(text: &str) -> Restart {
        match text {
            "Never" => Restart::Never,
            "OnFailure" => Restart::OnFailure,
            _ => Restart::Always,
        }
    }
    /// Whether an end with `code` is followed by a start.
    pub const fn after(self, code: i32) -> bool {
        match self {
            Restart::Always => true,
            Restart::OnFailure => code != 0,
            Restart::Never => false,
        }
    }
}

/// The policy of one container: its own, where the server keeps one, else the pod's. An init container under `Always`
/// restarts on failure only.
///
/// Source: kubernetes-api.md §4.3 (a stored value is one the server's version accepted), §5.3 last paragraph.
pub fn restart_of(spec: &pod::PodSpec, container: &pod::Container, kind: ContainerKind) -> Restart {
    let stated = container.restart_policy.as_deref();
    match kind {
        ContainerKind::Sidecar => Restart::Always,
        ContainerKind::Main => Restart::from_text(stated.unwrap_or(&spec.restart_policy)),
        ContainerKind::Init => match Restart::from_text(stated.unwrap_or(&spec.restart_policy)) {
            Restart::Always => Restart::OnFailure,
            other => other,
        },
    }
}

/// What an entry of `initContainers` is on a server of this minor version.
///
/// Source: kubernetes-api.md §0.3, §4.3: native sidecars are on by default from 1.29.
pub fn init_kind(container: &pod::Container, minor: u32) -> ContainerKind {
    if minor >= 29 && container.restart_policy.as_deref() == Some("Always") {
        ContainerKind::Sidecar
    } else {
        ContainerKind::Init
    }
}

/// Runtime state.
#[derive(Clone, PartialEq, Debug)]
pub enum Run {
    /// Not started, or between two starts; a reason other than empty is shown instead of the usual one.
    Waiting {
        /// E.g. `CrashLoopBackOff`.
        reason: Str,
        /// Sentence.
        message: Str,
    },
    /// The engine was asked to start it.
    Starting {
        /// What stays visible until the answer.
        reason: Str,
        /// Its sentence.
        message: Str,
    },
    /// It runs and its postStart hook is not over.
    Hooking {
        /// Since.
        since: Time,
        /// End of a `sleep` hook; [`Time::NEVER`] for exec.
        until: Time,
    },
    /// It runs.
    Running {
        /// Since.
        since: Time,
    },
    /// It ended.
    Exited(Terminated),
}

/// One container.
#[derive(Clone, PartialEq, Debug)]
pub struct Container {
    pub(super) name: Str,
    pub(super) kind: ContainerKind,
    pub(super) restart: Restart,
    pub(super) run: Run,
    /// An ordinary init container that ended with 0 once is not run again.
    pub(super) passed: bool,
    pub(super) last: Option<Terminated>,
    pub(super) attempt: u32,
    pub(super) restarts: i32,
    /// The next start is not before this.
    pub(super) retry_at: Time,
    /// When the waiting reason of a back-off becomes visible.
    pub(super) show_backoff_at: Time,
    crash_backoff: Option<Duration>,
    pull_backoff: Option<Duration>,
    pub(super) probes: Probes,
    pub(super) stopping: Option<Stopping>,
}

impl Container {
    /// A container that has not started.
    pub fn new(spec: &pod::PodSpec, container: &pod::Container, kind: ContainerKind) -> Container {
        Container {
            name: container.name.clone(),
            kind,
            restart: restart_of(spec, container, kind),
            run: Run::Waiting { reason: Str::default(), message: Str::default() },
            passed: false,
            last: None,
            attempt: 0,
            restarts: 0,
            retry_at: Time::ZERO,
            show_backoff_at: Time::NEVER,
            crash_backoff: None,
            pull_backoff: None,
            probes: Probes::default(),
            stopping: None,
        }
    }
    /// Running, hook included.
    pub fn is_alive(&self) -> bool {
        matches!(self.run, Run::Running { .. } | Run::Hooking { .. })
    }
    /// Start-up is over: running, hook done, startup probe passed.
    pub fn is_started(&self) -> bool {
        matches!(self.run, Run::Running { .. }) && self.probes.is_started()
    }
    /// Counts as ready.
    pub fn is_ready(&self) -> bool {
        match &self.run {
            Run::Running { .. } => self.is_started() && self.probes.is_ready(),
            Run::Exited(t) => self.kind == ContainerKind::Init && t.exit_code == 0,
            _ => self.passed,
        }
    }
    /// Since when it runs.
    pub fn since(&self) -> Option<Time> {
        match self.run {
            Run::Running { since } | Run::Hooking { since, .. } => Some(since),
            _ => None,
        }
    }
    /// Ended, and it stays so.
    pub fn is_over(&self) -> bool {
        matches!(&self.run, Run::Exited(t) if !self.restart.after(t.exit_code))
    }
    /// Ended, for now or for good.
    pub(super) const fn ended_once(&self) -> bool {
        matches!(self.run, Run::Exited(_))
    }
    /// Whether a start is wanted as far as the container itself is concerned.
    pub fn wants_start(&self) -> bool {
        match &self.run {
            Run::Waiting { .. } => true,
            Run::Exited(t) => !self.passed && self.restart.after(t.exit_code),
            Run::Starting { .. } | Run::Hooking { .. } | Run::Running { .. } => false,
        }
    }

    /// Notes an end and sets when it may start again. The first restart is immediate, then 10 s doubling to 300 s.
    ///
    /// Source: kubernetes-api.md §5.3; `doBackOff` of pkg/kubelet/kuberuntime/kuberuntime_manager.go (the entry is made by
    /// the first restart, so that the second one is the first to wait).
    pub fn exited(&mut self, end: Terminated, now: Time) {
        let ran = self.since().map_or(Duration::ZERO, |since| now.since(since));
        if ran >= BACKOFF_RESET {
            self.crash_backoff = None;
        }
        self.passed |= self.kind == ContainerKind::Init && end.exit_code == 0;
        self.run = Run::Exited(end);
        self.stopping = None;
        self.probes.halt();
        let wait = self.crash_backoff.unwrap_or(Duration::ZERO);
        self.retry_at = now.after(wait);
        self.show_backoff_at = if wait > RELIST && self.wants_start() { now.after(RELIST) } else { Time::NEVER };
        self.crash_backoff = Some(self.crash_backoff.map_or(BACKOFF_FIRST, |d| (d * 2).min(BACKOFF_MAX)));
    }

    /// What a restart loses: the end becomes the last one.
    pub(super) fn begin_start(&mut self) -> u32 {
        let attempt = self.attempt;
        self.attempt += 1;
        self.retry_at = Time::ZERO;
        self.show_backoff_at = Time::NEVER;
        let (reason, message) = match std::mem::replace(&mut self.run, Run::Running { since: Time::ZERO }) {
            Run::Exited(end) => {
                self.last = Some(end);
                self.restarts += 1;
                (Str::default(), Str::default())
            }
            Run::Waiting { reason, message } if reason == "CrashLoopBackOff" => {
                self.restarts += 1;
                (reason, message)
            }
            Run::Waiting { reason, message } => (reason, message),
            _ => Default::default(),
        };
        self.run = Run::Starting { reason, message };
        attempt
    }

    /// The end gives way to `CrashLoopBackOff`.
    pub(super) fn show_backoff(&mut self, pod: &str, now: Time) {
        self.show_backoff_at = Time::NEVER;
        let Run::Exited(end) = &self.run else {
            if let Run::Waiting { reason, .. } = &mut self.run
                && reason == "ErrImagePull"
            {
                *reason = Str::new_static("ImagePullBackOff");
            }
            return;
        };
        let whole = self.retry_at.since(now) + RELIST;
        self.last = Some(end.clone());
        let message =
            arc_api::format_smolstr!("back-off {} restarting failed container={} pod={pod}", Backoff(whole), self.name);
        self.run = Run::Waiting { reason: Str::new_static("CrashLoopBackOff"), message };
    }

    /// The image could not be pulled. `Differs:` the real kubelet shows `ImagePullBackOff` at its next sync, 10 to 15 s
    /// later; here it is half of the delay.
    pub(super) fn pull_failed(&mut self, image: &str, now: Time) {
        let wait = self.pull_backoff.map_or(BACKOFF_FIRST, |d| (d * 2).min(BACKOFF_MAX));
        self.pull_backoff = Some(wait);
        self.attempt = self.attempt.saturating_sub(1);
        self.retry_at = now.after(wait);
        self.show_backoff_at = now.after(wait / 2);
        self.run = Run::Waiting {
            reason: Str::new_static("ErrImagePull"),
            message: arc_api::format_smolstr!("Back-off pulling image \"{image}\""),
        };
    }

    /// The container's entry in the pod's status; `idle` is the reason of a container that has not started.
    pub fn status(&self, idle: &Str) -> ContainerStatus {
        let waiting = |reason: &Str, message: &Str| ContainerState::Waiting {
            reason: if reason.is_empty() { idle.clone() } else { reason.clone() },
            message: message.clone(),
        };
        let state = match &self.run {
            Run::Waiting { reason, message } => waiting(reason, message),
            // A restart that is under way still shows the end before it.
            Run::Starting { reason, message } => match &self.last {
                Some(end) if reason.is_empty() => ContainerState::Terminated(end.clone()),
                _ => waiting(reason, message),
            },
            // The worker is busy with the hook: the status still shows the start.
            Run::Hooking { .. } => waiting(&Str::default(), &Str::default()),
            Run::Running { since } => ContainerState::Running { started_at: since.truncated() },
            Run::Exited(end) => ContainerState::Terminated(end.clone()),
        };
        let shown_as_ended = matches!((&self.run, &state), (Run::Starting { .. }, ContainerState::Terminated(_)));
        ContainerStatus {
            name: self.name.clone(),
            state,
            last_terminated: if shown_as_ended { None } else { self.last.clone() },
            ready: self.is_ready(),
            started: self.is_started(),
            restart_count: self.restarts - i32::from(shown_as_ended),
        }
    }
}

/// A duration as Go prints it: `10s`, `1m20s`, `5m0s`.
pub(super) struct Backoff(pub(super) Duration);

impl std::fmt::Display for Backoff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let s = self.0.as_secs();
        if s < 60 { write!(f, "{s}s") } else { write!(f, "{}m{}s", s / 60, s % 60) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn main_container(policy: &str) -> Container {
        let spec = pod::PodSpec { restart_policy: policy.into(), ..Default::default() };
        let c = pod::Container { name: "c".into(), ..Default::default() };
        Container::new(&spec, &c, ContainerKind::Main)
    }
    fn crash(c: &mut Container, at: Time, ran: Duration) -> Duration {
        c.begin_start();
        c.run = Run::Running { since: Time(at.0 - ran.as_micros() as u64) };
        c.exited(Terminated { exit_code: 1, ..Default::default() }, at);
        c.retry_at.since(at)
    }

    #[test]
    fn crash_backoff_is_0_10_20_to_300_and_starts_over_after_ten_minutes() {
        let mut c = main_container("Always");
        let t = Time::from_secs(10_000);
        let waits: Vec<u64> = (0..8).map(|_| crash(&mut c, t, Duration::from_secs(1)).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(crash(&mut c, t, BACKOFF_RESET).as_secs(), 0);
    }

    #[test]
    fn an_init_container_under_always_restarts_on_failure_only() {
        let spec = pod::PodSpec { restart_policy: "Always".into(), ..Default::default() };
        let c = pod::Container::default();
        assert_eq!(restart_of(&spec, &c, ContainerKind::Init), Restart::OnFailure);
        assert_eq!(restart_of(&spec, &c, ContainerKind::Main), Restart::Always);
    }

    #[test]
    fn a_sidecar_is_one_from_1_29_on() {
        let c = pod::Container { restart_policy: Some("Always".into()), ..Default::default() };
        assert_eq!(init_kind(&c, 28), ContainerKind::Init);
        assert_eq!(init_kind(&c, 29), ContainerKind::Sidecar);
    }

    #[test]
    fn go_durations() {
        let text = |s| Backoff(Duration::from_secs(s)).to_string();
        assert_eq!((text(10), text(80), text(300)), ("10s".into(), "1m20s".into(), "5m0s".into()));
    }
}
