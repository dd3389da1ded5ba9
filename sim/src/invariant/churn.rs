//! Runners that are made and removed for nothing: demand that is answered by removing who could serve it, waits that are skipped,
//! successes without a job. Called by the world; decides nothing about it.

use std::sync::Arc;

use arc_api::crd::{EphemeralRunner, EphemeralRunnerSet, ErPhase};
use arc_api::pod::{Pod, PodPhase};
use arc_api::service::{JobEvent, JobEventKind};
use arc_api::{Duration, RunnerId, Str, Time, format_smolstr};

use super::Invariants;
use super::bounds::Check;
use super::ledger::{JobState, Ledger, RunnerSetState, SiteKey};
use super::observe::SLOW_PASS;
use crate::trace::EventId;

/// A pod that is made sooner after its predecessor's failure has not been waited for: the shortest wait of any release is 5 s.
const SOON: Duration = Duration::from_secs(2);

/// Runners that are removed within this time are removed by one decision.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Removals of wanted runners within this time are the rule, not a crossing of messages.
const OFTEN: Duration = Duration::from_secs(600);

/// How long after its beginning a rollout may have two managers at work that elect nobody.
const OVERLAP: Duration = Duration::from_secs(300);

impl Invariants {
    /// A message reached a listener.
    pub(crate) fn told(&mut self, events: &[JobEvent], now: Time) {
        for event in events {
            if let Some(job) = self.ledger.jobs.get_mut(&event.job.id) {
                job.told.get_or_insert(now);
                if matches!(event.kind, JobEventKind::Started { .. }) {
                    job.named.get_or_insert(now);
                }
            }
        }
    }

    /// A registration was removed by a controller: does a job wait that its runner could have taken?
    pub(super) fn check_removal(&mut self, id: RunnerId, name: &Str, now: Time, cause: EventId) {
        self.looked("demand-bounded");
        let hindered = self.ledger.is_hindered(now);
        let ledger = &mut self.ledger;
        let Some(runner) = ledger.by_name.get(name).and_then(|place| ledger.runners.get_mut(place)) else { return };
        let home = runner.runner_set.as_ref().and_then(|home| ledger.runner_sets.get(home));
        // What was asked before a message came, the message can not have changed.
        let asked_at = home.map_or(Time::ZERO, |s| s.asked_at);
        let goes = |s: &RunnerSetState| s.object.metadata.is_deleting();
        // A pass that a fault slows down removes what was surplus when it began.
        let slow = hindered && now.since(asked_at) <= SLOW_PASS;
        let surplus = slow || home.is_some_and(|s| goes(s) || s.pending + s.running > s.object.spec.replicas);
        let site = runner.runner_set.as_ref().map(|(site, _)| *site);
        let overlap = site.and_then(|site| ledger.overlaps.get(&site)).is_some_and(|at| now.since(*at) <= OVERLAP);
        if !surplus && !overlap && runner.object.as_ref().is_some_and(|er| !er.metadata.is_deleting()) {
            runner.robbed = Some(id);
        }
        let Some(er) = &runner.object else { return };
        // Only a runner that is removed for the number's sake: not one that ended, failed, or is deleted by somebody.
        let ended = |p: &Arc<Pod>| p.status.phase.is_terminal() || p.metadata.is_deleting();
        if er.metadata.is_deleting()
            || er.status.runner_id != id
            || er.status.phase.is_done()
            || er.status.failures.as_ref().is_some_and(|f| !f.is_empty())
            || runner.pod.as_ref().is_none_or(ended)
        {
            return;
        }
        let Some(key) = runner.live_in.clone() else { return };
        // Counters tell of assigned jobs as well, at every answer; of offers only a message does.
        let counted = |j: &JobState| j.assigned && now.since(j.queued) >= AT_ONCE;
        let waits = |j: &JobState| {
            (j.told.is_some_and(|at| at <= asked_at) || counted(j)) && j.started.is_none() && j.ended.is_none()
        };
        let known = ledger.jobs.values().filter(|j| j.set.as_ref() == Some(&key) && waits(j)).count() as i32;
        let set = ledger.set(&key);
        // A set that an eventual update drains has no listener.
        let settled = set.ars.as_ref().is_some_and(|a| !a.metadata.is_deleting())
            && set.runner_sets.len() == 1
            && !set.listeners.is_empty();
        let lowered = set.lowered_at.is_some_and(|at| now.since(at) < OFTEN);
        let wanted = (known + set.running.max(set.busy)).min(set.max);
        if !settled || lowered || set.live > wanted || known == 0 {
            return;
        }
        if set.removed_wanted.back().is_some_and(|at| now.since(*at) < AT_ONCE) {
            return;
        }
        // One such removal may have crossed with the job's arrival.
        if Ledger::window(&mut set.removed_wanted, now, OFTEN) >= 2 {
            let said = format_smolstr!("removed {name} while {known} jobs wait, again");
            let about = format_smolstr!("AutoscalingRunnerSet {}", key.1);
            self.report("demand-bounded", "runner-set", now, cause, &about, said);
        }
    }

    /// A runner's phase is written: success needs a job.
    pub(super) fn check_success(&mut self, place: &SiteKey, er: &Arc<EphemeralRunner>, now: Time) {
        if er.status.phase != ErPhase::Succeeded {
            return;
        }
        self.looked("result-has-proof");
        let Some(runner) = self.ledger.runners.get_mut(place) else { return };
        let robbed = runner.robbed == Some(er.status.runner_id) && !runner.late_secret;
        if robbed && !runner.took_job && !er.metadata.is_deleting() && !std::mem::replace(&mut runner.told, true) {
            let about = format_smolstr!("EphemeralRunner {}", place.1);
            self.report(
                "result-has-proof",
                "runner",
                now,
                0,
                &about,
                "is Succeeded, never had a job, and its registration was removed by its own controller".into(),
            );
        }
    }

    /// A runner's pod ends or another one is made.
    pub(super) fn check_wait(&mut self, place: &SiteKey, pod: &Arc<Pod>, added: bool, now: Time) {
        let Some(runner) = self.ledger.runners.get_mut(place) else { return };
        if !added {
            // The end of the runner's process is the failure; a sidecar, or a kubelet that is not heard, may hold back the phase.
            let runner_ended = || {
                let code = pod.status.container("runner").and_then(|cs| cs.state.exit_code());
                code.is_some_and(|code| code != 0)
            };
            if (pod.status.phase == PodPhase::Failed || runner_ended()) && !pod.metadata.is_deleting() {
                runner.failed_at.get_or_insert(now);
            }
            return;
        }
        let by_controller = std::mem::take(&mut runner.pod_removed);
        let Some(failed) = runner.failed_at.take() else { return };
        // Who drains a node deletes pods that failed as well: the next one stands for the drained one.
        if !by_controller {
            return;
        }
        self.looked("back-off-kept");
        if now.since(failed) < SOON {
            let about = format_smolstr!("EphemeralRunner {}", place.1);
            let said = format_smolstr!("got another pod {} ms after its pod had failed", now.since(failed).as_millis());
            self.report("back-off-kept", "runner", now, 0, &about, said);
        }
    }

    /// A controller deletes a pod.
    pub(crate) fn pod_removed(&mut self, place: SiteKey) {
        match self.ledger.runners.get_mut(&place) {
            Some(runner) => runner.pod_removed = true,
            None => drop(self.ledger.pods_removed.insert(place)),
        }
    }

    /// A runner set is asked for more runners than it has: it makes one soon.
    pub(super) fn check_asked(&mut self, place: &SiteKey, set: &Arc<EphemeralRunnerSet>, gone: bool, now: Time) {
        let check = Check::Applied(set.metadata.uid);
        let Some(known) = self.ledger.runner_sets.get(place).filter(|_| !gone && !set.metadata.is_deleting()) else {
            return self.bounds.clear(&check);
        };
        let (before, there) = (known.object.spec.replicas, known.pending + known.running + known.failed);
        let refused = there > 0 && known.usable == 0;
        let wanted = set.spec.replicas;
        if wanted == before {
            return;
        }
        self.looked("spec-takes-effect");
        let about = || format_smolstr!("EphemeralRunnerSet {}", place.1);
        // A template that the server refuses is tried with one runner, and a condition says so.
        if wanted > before && wanted > there && !refused {
            let said = format_smolstr!("was asked for {wanted} runners, has {there} and makes none");
            self.bounds.restart(check, now, about, || said);
        } else if wanted <= there {
            self.bounds.clear(&check);
        }
    }
}
