//! What happened, as typed events with virtual time and cause, and the running hash that is a run's fingerprint.
//!
//! The hash is always on; the events are kept only when somebody wants to read them, so a run is first made fast and, if it
//! failed, made again with its whole history. Never formats in the loop.

mod trips;

use std::fmt;

use arc_api::kube::{KubeRequest, Reason, WatchType};
use arc_api::meta::Key;
use arc_api::service::Op;
use arc_api::{Kind, Object, Str, Time};
use fake_github::event::ServiceEvent;

use crate::plan::Role;
use crate::shared::Shared;

pub use trips::{Trip, TripId};

/// Ordinal of a trace event; 0 is "nothing before".
pub type EventId = u32;

/// Who did it: an index into the trace's table of names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Actor(pub u32);

/// One event.
#[derive(Clone, PartialEq, Debug)]
pub struct TraceEvent {
    /// Ordinal, from 1.
    pub id: EventId,
    /// When.
    pub at: Time,
    /// The event it follows from; 0 if it comes from the plan or the beginning.
    pub cause: EventId,
    /// Who.
    pub actor: Actor,
    /// What.
    pub what: What,
    /// The running hash after it.
    pub hash: u64,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// A request to the API server was carried out or refused there.
    Kube {
        /// `create`, `patch`, …
        verb: &'static str,
        /// Kind; `None` for access reviews.
        kind: Option<Kind>,
        /// Object.
        key: Key,
        /// `status`, `binding`, …
        sub: Option<&'static str>,
        /// The request as the client sent it; rendered only when somebody reads it.
        request: Box<KubeRequest>,
        /// Refusal with its text.
        refused: Option<(Reason, Str)>,
        /// Whether the store changed.
        changed: bool,
    },
    /// A request to the service was answered there.
    Service {
        /// `E7`, …
        op: &'static str,
        /// What it was about.
        about: Str,
        /// The operation itself.
        request: Box<Op>,
        /// HTTP status.
        status: u16,
        /// Answer or refusal in a few words.
        answer: Str,
    },
    /// Something happened inside the service.
    ServiceEvent(Box<ServiceEvent>),
    /// A process began.
    ProcessStart {
        /// Kind of component.
        role: Role,
        /// Its pod; empty for people and scripts.
        pod: Str,
        /// Its container.
        container: Str,
    },
    /// A process ended.
    ProcessExit {
        /// Code; 137 is a kill.
        code: i32,
        /// Its last words.
        text: Str,
    },
    /// A process got a signal.
    Signal(&'static str),
    /// A line of a log.
    Log {
        /// `INFO` or `ERROR`.
        level: &'static str,
        /// Line.
        line: Str,
    },
    /// A call that never reached the other side, or whose reply never came back.
    Lost {
        /// Which.
        call: Str,
        /// `request` or `reply`.
        part: &'static str,
        /// `refused`, `reset`, `black hole`, `caller died`.
        how: &'static str,
    },
    /// A fault of the plan began, hit or ended.
    Fault {
        /// Id in the plan.
        id: Str,
        /// What it did.
        did: Str,
    },
    /// An operator's action began or ended.
    Operator {
        /// Id in the plan.
        id: Str,
        /// Outcome.
        did: Str,
    },
    /// A cluster's store took a change over.
    Commit {
        /// Cluster, by its place in the plan.
        site: u8,
        /// What became of the object.
        verb: WatchType,
        /// The object as it is from now on, or was at last.
        object: Object,
    },
    /// An invariant was broken.
    Violation {
        /// Its id.
        invariant: &'static str,
        /// Sentence.
        said: Str,
    },
}

/// The history of one run.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: u64,
    last: EventId,
    keep: bool,
    events: Vec<TraceEvent>,
    trips: Vec<Trip>,
    names: Shared<Vec<(Str, u8)>>,
}

impl Trace {
    /// A trace; `keep` decides whether events can be read afterwards.
    pub fn new(keep: bool) -> Trace {
        let names = vec![("world".into(), 0)].into();
        Trace { hash: 0x5bd1_e995_9d1b_54a3, last: 0, keep, events: Vec::new(), trips: Vec::new(), names }
    }
    /// Gives an actor its name, and says in which cluster it lives, by the cluster's place in the plan.
    pub fn actor(&mut self, name: impl Into<Str>, site: u8) -> Actor {
        self.names.push((name.into(), site));
        Actor(self.names.len() as u32 - 1)
    }
    /// An actor's name.
    pub fn name(&self, actor: Actor) -> &str {
        self.names.get(actor.0 as usize).map_or("?", |(name, _)| name.as_str())
    }
    /// The cluster an actor lives in, by the cluster's place in the plan.
    pub fn site(&self, actor: Actor) -> u8 {
        self.names.get(actor.0 as usize).map_or(0, |(_, site)| *site)
    }
    /// Records an event: its digest always, the event itself only when the trace is kept.
    pub fn record(
        &mut self,
        at: Time,
        cause: EventId,
        actor: Actor,
        digest: Digest,
        what: impl FnOnce() -> What,
    ) -> EventId {
        self.last += 1;
        self.hash = mix(mix(self.hash, at.0 ^ (u64::from(actor.0) << 44)), digest.0);
        if self.keep {
            let event = TraceEvent { id: self.last, at, cause, actor, what: what(), hash: self.hash };
            self.events.push(event);
        }
        self.last
    }
    /// The fingerprint: equal plans have equal fingerprints, on every machine and build.
    pub fn fingerprint(&self) -> u64 {
        self.hash
    }
    /// Number of events so far.
    pub fn len(&self) -> u32 {
        self.last
    }
    /// Nothing happened yet.
    pub fn is_empty(&self) -> bool {
        self.last == 0
    }
    /// Whether events are kept.
    pub fn is_kept(&self) -> bool {
        self.keep
    }
    /// The events, if kept.
    pub fn events(&self) -> &[TraceEvent] {
        &self.events
    }
    /// An event by ordinal, if kept.
    pub fn event(&self, id: EventId) -> Option<&TraceEvent> {
        self.events.get((id as usize).checked_sub(1)?)
    }
    /// The chain of causes that ends in `id`, oldest first, at most `most` long.
    pub fn causes(&self, id: EventId, most: usize) -> Vec<&TraceEvent> {
        let mut chain: Vec<_> = std::iter::successors(self.event(id), |e| self.event(e.cause)).take(most).collect();
        chain.reverse();
        chain
    }
    /// One line for reading.
    pub fn line(&self, event: &TraceEvent) -> String {
        format!("{} #{:<6} {:<24} {}", event.at, event.id, self.name(event.actor), event.what)
    }
}

/// The first event in which two kept traces differ, by ordinal; `None` if one is the other.
pub fn first_divergence<'a>(a: &'a Trace, b: &'a Trace) -> Option<(Option<&'a TraceEvent>, Option<&'a TraceEvent>)> {
    if a.fingerprint() == b.fingerprint() && a.len() == b.len() {
        return None;
    }
    let at = a.events.iter().zip(&b.events).position(|(x, y)| x.hash != y.hash);
    let at = at.unwrap_or(a.events.len().min(b.events.len()));
    Some((a.events.get(at), b.events.get(at)))
}

/// A 64-bit digest of an event's content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Digest(u64);

impl Digest {
    /// The digest of an event of this sort.
    pub const fn of(sort: u8) -> Digest {
        Digest(0x9e37_79b9_7f4a_7c15 ^ sort as u64)
    }
    /// With a number.
    #[must_use]
    pub const fn with(self, n: u64) -> Digest {
        Digest(mix(self.0, n))
    }
    /// With a text.
    #[must_use]
    pub fn text(self, text: &str) -> Digest {
        let mut h = self.0;
        let mut chunks = text.as_bytes().chunks_exact(8);
        for c in &mut chunks {
            h = mix(h, u64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]]));
        }
        let tail = chunks.remainder().iter().fold(text.len() as u64, |t, b| t << 8 | u64::from(*b));
        Digest(mix(h, tail))
    }
    /// With an object's key.
    #[must_use]
    pub fn key(self, key: &Key) -> Digest {
        self.text(&key.namespace).text(&key.name)
    }
}

const fn mix(h: u64, x: u64) -> u64 {
    let m = (h ^ x) as u128 * 0xa076_1d64_78bd_642f_u128;
    (m as u64) ^ ((m >> 64) as u64) ^ h.rotate_left(23)
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Kube { verb, kind, key, sub, request, refused, changed } => {
                let plural = kind.map_or("accessreviews", Kind::plural);
                write!(f, "{verb:<6} {plural}")?;
                if let Some(sub) = sub {
                    write!(f, "/{sub}")?;
                }
                write!(f, " {key}")?;
                if let Some((reason, text)) = refused {
                    return write!(f, " {} {reason:?}: {text}", reason.code());
                }
                if let KubeRequest::Patch { patch, .. } = &**request {
                    write!(f, " {}", patch.to_json())?;
                }
                if matches!(*verb, "patch" | "update") && !changed {
                    f.write_str(" (no change)")?;
                }
                Ok(())
            }
            What::Service { op, about, status, answer, .. } => write!(f, "{op:<6} {about} -> {status} {answer}"),
            What::ServiceEvent(event) => write!(f, "{event:?}"),
            What::Commit { verb, object, .. } => commit(*verb, object, f),
            What::ProcessStart { .. } => f.write_str("starts"),
            What::ProcessExit { code, text } if text.is_empty() => write!(f, "exits {code}"),
            What::ProcessExit { code, text } => write!(f, "exits {code}: {text}"),
            What::Signal(signal) => write!(f, "gets {signal}"),
            What::Log { level, line } => write!(f, "{level} {line}"),
            What::Lost { call, part, how } => write!(f, "{part} of {call} lost: {how}"),
            What::Fault { id, did } => write!(f, "fault {id}: {did}"),
            What::Operator { id, did } => write!(f, "operator {id}: {did}"),
            What::Violation { invariant, said } => write!(f, "FAIL {invariant}: {said}"),
        }
    }
}

fn commit(verb: WatchType, object: &Object, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let verb = match verb {
        WatchType::Added => "ADDED",
        WatchType::Modified => "MODIFIED",
        WatchType::Deleted => "DELETED",
    };
    let meta = object.meta();
    write!(f, "{verb} {} {} rv {}", object.kind(), meta.key(), meta.resource_version)?;
    if meta.is_deleting() {
        f.write_str(" (deleting)")?;
    }
    if let Some(pod) = object.get::<arc_api::pod::Pod>() {
        write!(f, " {}", pod.status.phase.as_str())?;
        if !pod.status.reason.is_empty() {
            write!(f, " {}", pod.status.reason)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_does_not_depend_on_keeping_events() {
        let run = |keep| {
            let mut t = Trace::new(keep);
            let a = t.actor("manager", 0);
            let first = t.record(Time(1), 0, a, Digest::of(1).text("x"), || What::Signal("SIGHUP"));
            t.record(Time(2), first, a, Digest::of(2).with(7), || What::Signal("SIGTERM"));
            t
        };
        assert_eq!(run(true).fingerprint(), run(false).fingerprint());
        let kept = run(true);
        assert_eq!(kept.causes(2, 9).len(), 2);
        assert!(first_divergence(&kept, &run(true)).is_none());
    }

    #[test]
    fn divergence_is_located_at_its_first_event() {
        let run = |odd: u64| {
            let mut t = Trace::new(true);
            for n in 0..5 {
                t.record(Time(n), 0, Actor(0), Digest::of(1).with(if n == 3 { odd } else { n }), || {
                    What::Signal("SIGHUP")
                });
            }
            t
        };
        let (a, b) = (run(3), run(4));
        let (x, y) = first_divergence(&a, &b).expect("they differ");
        assert_eq!((x.map(|e| e.id), y.map(|e| e.id)), (Some(4), Some(4)));
    }
}
