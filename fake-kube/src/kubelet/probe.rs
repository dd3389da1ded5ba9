//! Startup, readiness and liveness probes of one container, against what the engine says they would see.
//!
//! A probe whose next answer can change nothing has no timer: a healthy world is silent. Never kills: it says that
//! somebody must.

use arc_api::pod::{Container, Probe};
use arc_api::{Duration, Time};

/// What the failed probes ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeVerdict {
    /// Nothing.
    None,
    /// The container must be killed: startup or liveness failed often enough.
    Kill(ProbeKind),
}

/// Which probe.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProbeKind {
    /// `startupProbe`.
    Startup,
    /// `readinessProbe`.
    Readiness,
    /// `livenessProbe`.
    Liveness,
}

/// One running probe.
///
/// Source: kubernetes-api.md §5.4; pkg/kubelet/prober/worker.go. `Differs:` no jitter before the first probe.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Running {
    kind: ProbeKind,
    next: Time,
    period: Duration,
    timeout: Duration,
    failure_threshold: u32,
    success_threshold: u32,
    in_a_row: u32,
    last_ok: bool,
    /// What the thresholds made of the answers.
    passed: bool,
}

impl Running {
    fn begin(kind: ProbeKind, probe: &Probe, since: Time) -> Running {
        let secs = |v: Option<i64>, or: u64| Duration::from_secs(v.map_or(or, |v| v.max(0) as u64));
        let count = |v: Option<i64>, or: u32| v.map_or(or, |v| v.clamp(1, 1_000_000) as u32);
        Running {
            kind,
            next: since.after(secs(probe.initial_delay_seconds, 0)),
            period: secs(probe.period_seconds, 10).max(Duration::from_secs(1)),
            timeout: secs(probe.timeout_seconds, 1).max(Duration::from_secs(1)),
            failure_threshold: count(probe.failure_threshold, 3),
            success_threshold: count(probe.success_threshold, 1),
            in_a_row: 0,
            last_ok: false,
            // Source: prober/worker.go: readiness begins failed, liveness passed, startup unknown (not passed).
            passed: kind == ProbeKind::Liveness,
        }
    }
    /// Whether the next answer can change anything.
    fn matters(&self, ok: bool) -> bool {
        match self.kind {
            ProbeKind::Startup => true,
            ProbeKind::Readiness => self.passed != ok || self.last_ok != ok,
            ProbeKind::Liveness => !ok || self.in_a_row > 0 && !self.last_ok,
        }
    }
    fn answer(&mut self, ok: bool) -> ProbeVerdict {
        self.in_a_row = if self.last_ok == ok { self.in_a_row.saturating_add(1) } else { 1 };
        self.last_ok = ok;
        if ok && self.in_a_row >= self.success_threshold {
            self.passed = true;
        } else if !ok && self.in_a_row >= self.failure_threshold {
            self.passed = false;
            if self.kind != ProbeKind::Readiness {
                return ProbeVerdict::Kill(self.kind);
            }
        }
        ProbeVerdict::None
    }
}

/// The probes of a container.
#[derive(Clone, PartialEq, Debug)]
pub struct Probes {
    startup: Option<Running>,
    readiness: Option<Running>,
    liveness: Option<Running>,
    healthy: bool,
    latency: Duration,
    halted: bool,
}

impl Default for Probes {
    fn default() -> Probes {
        Probes { startup: None, readiness: None, liveness: None, healthy: true, latency: Duration::ZERO, halted: false }
    }
}

impl Probes {
    /// The container runs since `since`: probing begins. Liveness and readiness wait until startup has passed.
    pub fn begin(&mut self, container: &Container, since: Time) {
        let begin = |kind, probe: &Option<Probe>| probe.as_ref().map(|p| Running::begin(kind, p, since));
        self.startup = begin(ProbeKind::Startup, &container.startup_probe);
        self.readiness = begin(ProbeKind::Readiness, &container.readiness_probe);
        self.liveness = begin(ProbeKind::Liveness, &container.liveness_probe);
        self.halted = false;
        self.skip_to(since);
    }
    /// The container does not run, or is being stopped: nobody probes. What was found out stays: a container that is killed
    /// because it never started does not count as started while it dies.
    pub fn halt(&mut self) {
        self.halted = true;
    }
    /// What the probes would see from now on.
    pub fn set(&mut self, healthy: bool, latency: Duration, now: Time) {
        (self.healthy, self.latency) = (healthy, latency);
        self.skip_to(now);
    }
    /// What they see now.
    pub fn seen(&self) -> (bool, Duration) {
        (self.healthy, self.latency)
    }
    /// The startup probe passed, or there is none.
    pub fn is_started(&self) -> bool {
        self.startup.as_ref().is_none_or(|p| p.passed)
    }
    /// The readiness probe passed, or there is none.
    pub fn is_ready(&self) -> bool {
        self.readiness.as_ref().is_none_or(|p| p.passed)
    }
    fn ok(&self, probe: &Running) -> bool {
        self.healthy && self.latency <= probe.timeout
    }
    fn due(&self, probe: &Running) -> Time {
        if probe.matters(self.ok(probe)) { probe.next.after(self.latency.min(probe.timeout)) } else { Time::NEVER }
    }
    /// Moves every probe that was silent to its first turn at or after `now`.
    fn skip_to(&mut self, now: Time) {
        for probe in [&mut self.startup, &mut self.readiness, &mut self.liveness].into_iter().flatten() {
            if probe.next < now {
                let missed = now.since(probe.next).as_micros().div_ceil(probe.period.as_micros()) as u64;
                probe.next = Time(probe.next.0 + missed * probe.period.as_micros() as u64);
            }
        }
    }
    /// When the next answer that matters comes.
    pub fn deadline(&self) -> Time {
        if self.halted {
            return Time::NEVER;
        }
        if let Some(startup) = &self.startup
            && !startup.passed
        {
            return self.due(startup);
        }
        let due = |p: &Option<Running>| p.as_ref().map_or(Time::NEVER, |p| self.due(p));
        due(&self.readiness).min(due(&self.liveness))
    }
    /// Takes the answers that are due. The first kill wins.
    pub fn answer(&mut self, now: Time) -> ProbeVerdict {
        if self.halted {
            return ProbeVerdict::None;
        }
        let starting = !self.is_started();
        let mut verdict = ProbeVerdict::None;
        let mut step = |this: &mut Probes, which: fn(&mut Probes) -> &mut Option<Running>| {
            let Some(mut probe) = *which(this) else { return };
            if this.due(&probe) > now {
                return;
            }
            let answer = probe.answer(this.ok(&probe));
            probe.next = probe.next.after(probe.period);
            *which(this) = Some(probe);
            if verdict == ProbeVerdict::None {
                verdict = answer;
            }
        };
        if starting {
            step(self, |p| &mut p.startup);
            if self.is_started() {
                self.skip_to(now);
            }
        } else {
            step(self, |p| &mut p.readiness);
            step(self, |p| &mut p.liveness);
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(startup: Option<(i64, i64)>, readiness: bool, liveness: bool) -> Container {
        let probe = || Some(Probe { period_seconds: Some(5), ..Probe::default() });
        Container {
            startup_probe: startup.map(|(period, threshold)| Probe {
                period_seconds: Some(period),
                failure_threshold: Some(threshold),
                ..Probe::default()
            }),
            readiness_probe: readiness.then(probe).flatten(),
            liveness_probe: liveness.then(probe).flatten(),
            ..Container::default()
        }
    }
    /// Runs the probes until nothing is due before `end`; gives the time of a kill.
    fn run(probes: &mut Probes, end: Time) -> Option<Time> {
        while probes.deadline() <= end {
            let now = probes.deadline();
            if probes.answer(now) != ProbeVerdict::None {
                return Some(now);
            }
        }
        None
    }

    #[test]
    fn dind_has_115_seconds_before_the_24th_failure() {
        let mut probes = Probes::default();
        probes.set(false, Duration::ZERO, Time::ZERO);
        probes.begin(&container(Some((5, 24)), false, false), Time::ZERO);
        assert_eq!(run(&mut probes, Time::from_secs(1000)), Some(Time::from_secs(115)));
    }

    #[test]
    fn a_probe_slower_than_its_timeout_fails_at_the_timeout() {
        let mut probes = Probes::default();
        probes.set(true, Duration::from_secs(3), Time::ZERO);
        probes.begin(&container(Some((10, 1)), false, false), Time::ZERO);
        assert_eq!(run(&mut probes, Time::from_secs(1000)), Some(Time::from_secs(1)));
    }

    #[test]
    fn a_healthy_container_is_probed_by_nobody() {
        let mut probes = Probes::default();
        probes.begin(&container(Some((5, 24)), true, true), Time::ZERO);
        assert_eq!(run(&mut probes, Time::from_secs(1_000_000)), None);
        assert!(probes.is_ready());
        assert_eq!(probes.deadline(), Time::NEVER);
        // It turns bad at 12 s: readiness and liveness look at 15, 20 and 25 s.
        probes.set(false, Duration::ZERO, Time::from_secs(12));
        assert_eq!(run(&mut probes, Time::from_secs(1000)), Some(Time::from_secs(25)));
        assert!(!probes.is_ready());
    }

    #[test]
    fn readiness_recovers_at_its_next_turn() {
        let mut probes = Probes::default();
        probes.begin(&container(None, true, false), Time::ZERO);
        run(&mut probes, Time::from_secs(1));
        probes.set(false, Duration::ZERO, Time::from_secs(1));
        run(&mut probes, Time::from_secs(60));
        assert!(!probes.is_ready());
        assert_eq!(probes.deadline(), Time::NEVER);
        probes.set(true, Duration::ZERO, Time::from_secs(61));
        assert_eq!(probes.deadline(), Time::from_secs(65));
    }
}
