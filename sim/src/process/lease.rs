//! Leader election of a manager with replicas: client-go's rules over a Lease. A pure machine.
//!
//! Source: kubernetes-api.md §8 (lease 15 s, renew deadline 10 s, retry 2 s, not released on stop). Differs: the acquire retry
//! has no jitter of its own; the world's latencies provide it.

use std::sync::Arc;

use arc_api::core::Lease;
use arc_api::kube::{KubeOk, KubeRequest, Sub};
use arc_api::meta::Key;
use arc_api::{Duration, Kind, Meta, Object, Str, Time};
use controller_core::call::CallError;

const LEASE: Duration = Duration::from_secs(15);
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);

/// What the election wants.
#[derive(Clone, PartialEq, Debug)]
pub enum ElectionOutput {
    /// One API call.
    Call(KubeRequest),
    /// The lead was lost: the process ends.
    Lost,
}

/// One candidate. Its identity is its own: client-go adds a new uuid to the host's name at each start.
#[derive(Clone, Debug)]
pub struct Election {
    key: Key,
    identity: Str,
    leads: bool,
    /// The record as last observed, and when it last changed by the local clock.
    seen: Option<(Arc<Lease>, Time)>,
    renewed: Time,
    next: Time,
    busy: bool,
    due: Option<ElectionOutput>,
}

impl Election {
    /// A candidate that has not started.
    pub fn new(namespace: Str, identity: Str) -> Election {
        Election {
            key: Key::new(namespace, "actions-runner-controller"),
            identity,
            leads: false,
            seen: None,
            renewed: Time::ZERO,
            next: Time::NEVER,
            busy: false,
            due: None,
        }
    }
    /// Whether this process may reconcile.
    pub fn leads(&self) -> bool {
        self.leads
    }
    /// When it wants to be woken.
    pub fn next_wake(&self) -> Time {
        self.next
    }
    /// Takes what it wants done.
    pub fn poll(&mut self) -> Option<ElectionOutput> {
        self.due.take()
    }
    /// Begins.
    pub fn start(&mut self, now: Time) {
        self.look(now);
    }
    fn look(&mut self, now: Time) {
        self.busy = true;
        self.next = now.after(RETRY);
        self.due = Some(ElectionOutput::Call(KubeRequest::Get { kind: Kind::Lease, key: self.key.clone() }));
    }
    fn record(&self, now: Time, transitions: i32, base: Option<&Lease>) -> Lease {
        let metadata =
            base.map_or_else(|| Meta::named(self.key.namespace.clone(), self.key.name.clone()), |l| l.metadata.clone());
        Lease {
            metadata,
            holder_identity: self.identity.clone(),
            lease_duration_seconds: LEASE.as_secs() as i32,
            renew_time: Some(now),
            lease_transitions: transitions,
        }
    }
    /// A timer.
    pub fn on_wake(&mut self, now: Time) {
        if self.next > now {
            return;
        }
        if self.leads && now.since(self.renewed) >= RENEW_DEADLINE {
            self.leads = false;
            self.next = Time::NEVER;
            self.due = Some(ElectionOutput::Lost);
            return;
        }
        if self.busy {
            // The last call is still out: its reply decides; look at the clock again later.
            self.next = now.after(RETRY);
            return;
        }
        match (self.leads, &self.seen) {
            (true, Some((lease, _))) => {
                let record = self.record(now, lease.lease_transitions, Some(lease));
                self.busy = true;
                self.next = now.after(RETRY);
                self.due = Some(ElectionOutput::Call(KubeRequest::Update(Object::from(record), Sub::Main)));
            }
            _ => self.look(now),
        }
    }
    /// The reply to its last call.
    pub fn on_reply(&mut self, reply: Result<KubeOk, CallError>, now: Time) {
        self.busy = false;
        match reply {
            Ok(ok) => {
                let Some(lease) = ok.object().and_then(|o| o.get::<Lease>()).cloned() else { return };
                let changed = self.seen.as_ref().is_none_or(|(l, _)| {
                    (&l.holder_identity, l.renew_time) != (&lease.holder_identity, lease.renew_time)
                });
                let since = match &self.seen {
                    Some((_, since)) if !changed => *since,
                    _ => now,
                };
                if lease.holder_identity == self.identity {
                    self.leads = true;
                    self.renewed = now;
                } else if now.since(since) >= LEASE && !changed {
                    let record = self.record(now, lease.lease_transitions + 1, Some(&lease));
                    self.busy = true;
                    self.due = Some(ElectionOutput::Call(KubeRequest::Update(Object::from(record), Sub::Main)));
                }
                self.seen = Some((lease, since));
            }
            Err(e) if e.is_not_found() => {
                let record = self.record(now, 0, None);
                self.busy = true;
                self.due = Some(ElectionOutput::Call(KubeRequest::Create(Object::from(record))));
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two candidates over one stored lease; the first dies at `death`.
    fn handover(death: u64) -> Option<u64> {
        let mut stored: Option<Arc<Lease>> = None;
        let mut both = [Election::new("ns".into(), "a".into()), Election::new("ns".into(), "b".into())];
        for (n, e) in both.iter_mut().enumerate() {
            e.start(Time::from_secs(n as u64));
        }
        for ms in 0..120_000 {
            let now = Time::from_millis(ms);
            for (n, e) in both.iter_mut().enumerate() {
                if n == 0 && ms >= death * 1000 {
                    continue;
                }
                e.on_wake(now);
                while let Some(ElectionOutput::Call(request)) = e.poll() {
                    let reply = match request {
                        KubeRequest::Get { .. } => match &stored {
                            Some(l) => Ok(KubeOk::Object(l.clone().into())),
                            None => Err(CallError::Api(Arc::new(arc_api::kube::Status::not_found(Kind::Lease, "l")))),
                        },
                        KubeRequest::Create(o) | KubeRequest::Update(o, _) => {
                            stored = o.get::<Lease>().cloned();
                            Ok(KubeOk::Object(o))
                        }
                        other => panic!("{other:?}"),
                    };
                    e.on_reply(reply, now);
                }
            }
            assert!(!(both[0].leads() && both[1].leads() && ms < death * 1000), "two leaders at {now}");
            if ms > death * 1000 && both[1].leads() {
                return Some(ms / 1000 - death);
            }
        }
        None
    }

    #[test]
    fn a_standby_takes_over_fifteen_to_eighteen_seconds_after_a_crash() {
        let seconds = handover(31).expect("somebody leads in the end");
        assert!((15..=19).contains(&seconds), "{seconds}");
    }
}
