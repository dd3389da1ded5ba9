//! How long lanes are in which state: lives of processes and objects, phases, jobs, sessions, faults. Never guesses an end.

use std::collections::BTreeMap;

use arc_api::kube::WatchType;
use arc_api::{Kind, Object, Str, Time, format_smolstr};
use fake_github::ServiceEvent;
use serde_json::Value;

use super::lanes::LaneId;

/// How a state looks. The page gives each a colour and a pattern, and writes the state's name on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tone {
    Exists = 0,
    Waits = 1,
    Runs = 2,
    Works = 3,
    Done = 4,
    Bad = 5,
    Leaves = 6,
}

/// A state from a time to a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Bar {
    pub(super) lane: LaneId,
    pub(super) from: Time,
    pub(super) to: Time,
    pub(super) state: Str,
    pub(super) tone: Tone,
}

/// All bars of a page. A lane may have several at a time, told apart by a number (the process, the session).
#[derive(Default)]
pub(super) struct Bars {
    open: BTreeMap<(LaneId, u64), (Time, Str, Tone)>,
    done: Vec<Bar>,
}

impl Bars {
    /// A state begins; the one before it ends. An equal state goes on.
    pub(super) fn begin(&mut self, lane: LaneId, which: u64, at: Time, state: Str, tone: Tone) {
        if let Some((_, was, is)) = self.open.get(&(lane, which))
            && (was, *is) == (&state, tone)
        {
            return;
        }
        self.end(lane, which, at);
        self.open.insert((lane, which), (at, state, tone));
    }
    /// A state ends.
    pub(super) fn end(&mut self, lane: LaneId, which: u64, at: Time) {
        if let Some((from, state, tone)) = self.open.remove(&(lane, which))
            && from < at
        {
            self.done.push(Bar { lane, from, to: at, state, tone });
        }
    }
    /// All bars; what is still open lasts until the run's end.
    pub(super) fn finish(mut self, end: Time) -> Vec<Bar> {
        let open: Vec<_> = self.open.keys().copied().collect();
        for (lane, which) in open {
            self.end(lane, which, end);
        }
        self.done.sort_by_key(|b| (b.lane, b.from));
        self.done
    }
    /// What a commit does to the life of its object.
    pub(super) fn commit(&mut self, lane: LaneId, at: Time, verb: WatchType, object: &Object, json: &Value) {
        if verb == WatchType::Deleted {
            return self.end(lane, 0, at);
        }
        let (state, tone) = state(object, json);
        self.begin(lane, 0, at, state, tone);
    }
    /// What a service event does to a job.
    pub(super) fn job(&mut self, lane: LaneId, at: Time, event: &ServiceEvent) {
        use ServiceEvent as E;
        let (state, tone) = match event {
            E::JobQueued { .. } => ("queued", Tone::Waits),
            E::JobReturned { .. } => ("back in the queue", Tone::Waits),
            E::JobAvailable { .. } => ("offered", Tone::Waits),
            E::JobAcquired { .. } => ("acquired", Tone::Waits),
            E::JobAssigned { .. } => ("assigned", Tone::Waits),
            E::JobStarted { .. } => ("running", Tone::Works),
            E::JobCompleted { .. } => return self.end(lane, 0, at),
            _ => return,
        };
        self.begin(lane, 0, at, state.into(), tone);
    }
    /// What a service event does to a registration.
    pub(super) fn registration(&mut self, lane: LaneId, at: Time, event: &ServiceEvent) {
        use ServiceEvent as E;
        let (state, tone) = match event {
            E::RunnerRegistered { .. } => ("registered", Tone::Waits),
            E::RunnerOnline { .. } => ("online", Tone::Runs),
            E::RunnerOffline { .. } => ("offline", Tone::Exists),
            E::RunnerBusy { .. } => ("busy", Tone::Works),
            E::RunnerRemoved { .. } => return self.end(lane, 0, at),
            _ => return,
        };
        self.begin(lane, 0, at, state.into(), tone);
    }
}

/// The state that an object shows.
fn state(object: &Object, json: &Value) -> (Str, Tone) {
    let number = |path: &str| json.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let phase = json.pointer("/status/phase").and_then(Value::as_str).unwrap_or("");
    let (state, tone) = match object.kind() {
        Kind::EphemeralRunnerSet => {
            let (want, have) = (number("/spec/replicas"), number("/status/currentReplicas"));
            (format_smolstr!("wants {want}, has {have}"), if want == have { Tone::Exists } else { Tone::Waits })
        }
        Kind::AutoscalingRunnerSet => (format_smolstr!("{} runners", number("/status/currentRunners")), Tone::Exists),
        Kind::EphemeralRunner | Kind::Pod => {
            let tone = match phase {
                "Running" => Tone::Runs,
                "Failed" => Tone::Bad,
                "Succeeded" | "Finished" => Tone::Done,
                _ => Tone::Waits,
            };
            let reason = json.pointer("/status/reason").and_then(Value::as_str).unwrap_or("");
            let shown = match (phase, reason) {
                ("", _) => "new".into(),
                (phase, "") => phase.into(),
                (phase, reason) => format_smolstr!("{phase} {reason}"),
            };
            (shown, tone)
        }
        _ => (Str::default(), Tone::Exists),
    };
    match object.meta().is_deleting() {
        true if state.is_empty() => ("deleting".into(), Tone::Leaves),
        true => (format_smolstr!("{state}, deleting"), Tone::Leaves),
        false => (state, tone),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lasts_until_another_begins_or_the_run_ends() {
        let mut bars = Bars::default();
        for (at, state) in [(1, "Pending"), (2, "Pending"), (5, "Running")] {
            bars.begin(7, 0, Time(at), state.into(), Tone::Runs);
        }
        bars.begin(7, 1, Time(6), "session".into(), Tone::Exists);
        bars.end(7, 1, Time(6));
        bars.end(3, 0, Time(6));
        let told: Vec<_> =
            bars.finish(Time(9)).into_iter().map(|b| (b.lane, b.from.0, b.to.0, b.state.to_string())).collect();
        assert_eq!(told, [(7, 1, 5, "Pending".to_owned()), (7, 5, 9, "Running".to_owned())]);
    }
}
