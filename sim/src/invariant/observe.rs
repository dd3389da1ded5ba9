//! How each thing that happens changes the ledger and the clocks. Called by the world; decides nothing about it.

use std::sync::Arc;

use arc_api::core::ServiceAccount;
use arc_api::crd::*;
use arc_api::kube::{WatchEvent, WatchType};
use arc_api::meta::Key;
use arc_api::pod::{ContainerState, ContainerStatus, Pod, PodPhase};
use arc_api::{Duration, Kind, Object, RunnerId, Str, Time, Uid, format_smolstr};
use controller_core::autoscaling_listener::NOT_STARTING;
use controller_core::ephemeral_runner::POD_REJECTED;

use super::bounds::Check;
use super::ledger::{Class, Ledger, RunnerSetState, SetKey, SiteKey};
use super::{Invariants, Violation};
use crate::trace::EventId;
use crate::world::SiteId;

/// How long a pass may take.
const PASS: Duration = Duration::from_secs(5);
/// How long a pass may take that makes several runners and whose calls a fault slows down.
pub(super) const SLOW_PASS: Duration = Duration::from_secs(60);

/// Kinds whose deletion must finish.
const DELETABLE: &[Kind] = &[
    Kind::AutoscalingRunnerSet,
    Kind::AutoscalingListener,
    Kind::EphemeralRunnerSet,
    Kind::EphemeralRunner,
    Kind::ServiceAccount,
    Kind::Role,
    Kind::RoleBinding,
    Kind::Secret,
];

impl Invariants {
    /// An observer found a broken promise; the world tells it with its cause ([`Invariants::take_reports`]).
    pub(crate) fn report(
        &mut self,
        id: &'static str,
        component: &'static str,
        at: Time,
        cause: EventId,
        about: &Str,
        said: Str,
    ) {
        self.reports.push(Violation { invariant: id, component, at, said, about: vec![about.clone()], cause });
    }

    /// Helm (or a person) now wants the set, with these limits, or does not want it any more.
    pub(crate) fn intend(&mut self, set: SetKey, wanted: Option<(i32, i32)>, now: Time) {
        let state = self.ledger.set(&set);
        match wanted {
            Some((min, max)) => {
                let news = !state.wanted;
                state.wanted = true;
                // The limits that ARC can know of are the object's: Helm's merge patch of a custom resource leaves alone what
                // somebody else changed and the chart's text has not.
                let (min, max) = state.ars.as_ref().map_or((min, max), |_| (state.min, state.max));
                state.limit(min, max, now);
                if news {
                    self.looked("listener-is-polling");
                    let about = set.1.name.clone();
                    self.bounds.restart(
                        Check::Polling(set.clone()),
                        now,
                        || about,
                        || "no poll since it was installed".into(),
                    );
                }
            }
            None => {
                state.wanted = false;
                state.unwanted_at = Some(now);
                state.asked.extend(state.ars.as_ref().map(|a| a.metadata.uid));
                for check in [Check::Polling(set.clone()), Check::MinRunners(set.clone()), Check::Surplus(set.clone())]
                {
                    self.bounds.clear(&check);
                }
            }
        }
        self.weigh(&set, now);
    }

    /// One committed change of a cluster.
    pub(crate) fn on_commit(&mut self, site: SiteId, event: &WatchEvent, now: Time) {
        let meta = event.object.meta();
        let gone = event.type_ == WatchType::Deleted;
        if DELETABLE.contains(&event.object.kind()) && (meta.is_deleting() || gone) {
            let deleting = meta.is_deleting() && !gone;
            if deleting {
                self.looked("deletion-finishes");
            }
            let about = || format_smolstr!("{} {}", event.object.kind(), meta.key());
            self.bounds.set(Check::Deleting(meta.uid), deleting, now, about, || "is still there".into());
        }
        match &event.object {
            Object::AutoscalingRunnerSet(o) => self.on_ars(site, o, gone, now),
            Object::AutoscalingListener(o) => self.on_listener(site, o, gone, now),
            Object::EphemeralRunnerSet(o) => self.on_runner_set(site, o, gone, now),
            Object::EphemeralRunner(o) => self.on_runner(site, o, gone, now),
            Object::Pod(o) => self.on_pod(site, o, event.type_, now),
            Object::ServiceAccount(o) => self.on_account(site, o, gone, now),
            Object::Role(_) | Object::RoleBinding(_) if gone => self.identity_gone(site, &meta.namespace, now),
            _ => {}
        }
    }

    fn on_ars(&mut self, site: SiteId, ars: &Arc<AutoscalingRunnerSet>, gone: bool, now: Time) {
        let set: SetKey = (site, ars.metadata.key());
        let id = ars.metadata.annotation("runner-scale-set-id").and_then(|t| t.parse().ok()).map(arc_api::ScaleSetId);
        if let Some(id) = id {
            self.ledger.scale_sets.insert(id, set.clone());
        }
        let state = self.ledger.set(&set);
        state.existed = true;
        if state.ars.as_ref().is_some_and(|before| before.metadata.generation != ars.metadata.generation) {
            // The user asked for another listener: no restart of the one before.
            state.listener_starts.clear();
        }
        state.ars = (!gone).then(|| ars.clone());
        if !gone && !ars.metadata.is_deleting() {
            state.limit(ars.spec.min(), ars.spec.max(), now);
        }
        self.check_reported(&set, now);
        self.weigh(&set, now);
    }

    /// What the user's object says is what its one live runner set says.
    fn check_reported(&mut self, set: &SetKey, now: Time) {
        let Some(s) = self.ledger.sets.get(set) else { return };
        let ars = s.ars.as_ref().filter(|a| !a.metadata.is_deleting());
        let mut live = s.runner_sets.iter();
        let only = live.next().filter(|_| live.next().is_none());
        let counted = only
            .and_then(|name| self.ledger.runner_sets.get(&(set.0, Key::new(set.1.namespace.clone(), name.clone()))))
            .map(|s| s.object.status.current_replicas);
        let (says, counted) = match (ars, counted) {
            (Some(ars), Some(counted)) => (ars.status.current_runners, counted),
            // Nothing to compare with, or two to choose from: one-runner-set's business.
            (None, _) | (_, None) => return self.bounds.clear(&Check::Reported(set.clone())),
        };
        self.looked("counters-true");
        let about = || format_smolstr!("AutoscalingRunnerSet {}", set.1);
        self.bounds.set(Check::Reported(set.clone()), says != counted, now, about, || {
            format_smolstr!("says {says} runners, its EphemeralRunnerSet {counted}")
        });
    }

    fn on_listener(&mut self, site: SiteId, al: &Arc<AutoscalingListener>, gone: bool, now: Time) {
        let key = al.metadata.key();
        let set: SetKey = (
            site,
            Key::new(al.spec.autoscaling_runner_set_namespace.clone(), al.spec.autoscaling_runner_set_name.clone()),
        );
        let live = !gone && !al.metadata.is_deleting();
        let state = self.ledger.set(&set);
        if live && state.listens_to != al.spec.runner_scale_set_id {
            // What kept the old one from listening says nothing about the new one.
            state.listens_to = al.spec.runner_scale_set_id;
            state.listener_starts.clear();
        }
        state.listener_max = if live { al.spec.max_runners } else { 0 };
        if live {
            state.listeners.insert(key.clone())
        } else {
            state.listeners.remove(&key)
        };
        let place = (site, key.clone());
        if gone {
            // One without a finalizer goes at once, and is never seen deleting.
            self.bounds.clear(&Check::Reference(al.metadata.uid));
            self.ledger.listeners.remove(&place)
        } else {
            self.ledger.listeners.insert(place.clone(), al.clone())
        };
        self.check_listener_reference(&place, now);
        self.weigh(&set, now);
    }

    fn check_listener_reference(&mut self, place: &SiteKey, now: Time) {
        let Some(al) = self.ledger.listeners.get(place).cloned() else { return };
        let target = (
            place.0,
            Key::new(al.spec.autoscaling_runner_set_namespace.clone(), al.spec.ephemeral_runner_set_name.clone()),
        );
        let sound = self.ledger.runner_sets.get(&target).is_some_and(|e| !e.object.metadata.is_deleting());
        let bad = !al.metadata.is_deleting() && !sound;
        self.looked("references-resolve");
        let about = || format_smolstr!("AutoscalingListener {}", place.1);
        self.bounds.set(Check::Reference(al.metadata.uid), bad, now, about, || {
            format_smolstr!("is bound to EphemeralRunnerSet {}, which is gone or going", target.1.name)
        });
    }

    fn on_runner_set(&mut self, site: SiteId, ers: &Arc<EphemeralRunnerSet>, gone: bool, now: Time) {
        let place: SiteKey = (site, ers.metadata.key());
        let set = ers.metadata.controller().map(|o| (site, Key::new(ers.metadata.namespace.clone(), o.name.clone())));
        let was_deleting = self.ledger.runner_sets.get(&place).is_some_and(|s| s.object.metadata.is_deleting());
        self.check_asked(&place, ers, gone, now);
        if gone {
            self.ledger.runner_sets.remove(&place);
        } else {
            let state = self.ledger.runner_sets.entry(place.clone()).or_insert_with(|| RunnerSetState {
                object: ers.clone(),
                set: set.clone(),
                pending: 0,
                running: 0,
                failed: 0,
                usable: 0,
                asked_at: now,
                work: Default::default(),
            });
            let written = state.object.metadata.generation != ers.metadata.generation;
            if written && ers.spec.replicas <= state.object.spec.replicas {
                state.asked_at = now;
            }
            state.object = ers.clone();
        }
        if gone {
            self.bounds.clear(&Check::Counters(ers.metadata.uid));
        }
        if let Some(set) = set {
            let live = !gone && !ers.metadata.is_deleting();
            let state = self.ledger.set(&set);
            let name = ers.metadata.name.clone();
            if live {
                state.runner_sets.insert(name)
            } else {
                state.runner_sets.remove(&name)
            };
            if !was_deleting && !live {
                let runners: Vec<SiteKey> = self
                    .ledger
                    .runners
                    .iter()
                    .filter(|(_, r)| r.runner_set.as_ref() == Some(&place))
                    .map(|(k, _)| k.clone())
                    .collect();
                for key in runners {
                    self.count(&key, now);
                }
            }
            let listeners: Vec<SiteKey> =
                self.ledger.sets.get(&set).into_iter().flat_map(|s| &s.listeners).map(|k| (site, k.clone())).collect();
            for listener in listeners {
                self.check_listener_reference(&listener, now);
            }
            self.check_reported(&set, now);
            self.weigh(&set, now);
        }
        self.check_counters(&place, now);
    }

    fn check_counters(&mut self, place: &SiteKey, now: Time) {
        let Some(s) = self.ledger.runner_sets.get(place) else { return };
        let (o, status) = (&s.object, &s.object.status);
        let bad = !o.metadata.is_deleting()
            && (status.pending_ephemeral_runners != s.pending || status.running_ephemeral_runners != s.running);
        let (p, r) = (s.pending, s.running);
        let (pending, running) = (status.pending_ephemeral_runners, status.running_ephemeral_runners);
        let (uid, about) = (o.metadata.uid, || format_smolstr!("EphemeralRunnerSet {}", place.1));
        self.looked("counters-true");
        self.bounds.set(Check::Counters(uid), bad, now, about, || {
            format_smolstr!("status says pending {pending} running {running}, there are {p} and {r}")
        });
    }

    fn on_runner(&mut self, site: SiteId, er: &Arc<EphemeralRunner>, gone: bool, now: Time) {
        let place: SiteKey = (site, er.metadata.key());
        if !self.ledger.echoes.is_empty() {
            self.ledger.heard(&er.metadata.name, er.status.runner_id);
        }
        let runner = self.ledger.runners.entry(place.clone()).or_default();
        let was_there = runner.object.is_some();
        let registered = runner.registrations.len();
        runner.object = (!gone).then(|| er.clone());
        if gone {
            self.bounds.clear(&Check::RunnerServes(er.metadata.uid));
        }
        let finished = !gone && er.status.phase == ErPhase::Succeeded && !er.metadata.is_deleting();
        let about = || format_smolstr!("EphemeralRunner {}", place.1);
        self.bounds.set(Check::Finished(er.metadata.uid), finished, now, about, || "has Succeeded and stays".into());
        if runner.runner_set.is_none() {
            runner.runner_set =
                er.metadata.controller().map(|o| (site, Key::new(er.metadata.namespace.clone(), o.name.clone())));
            self.ledger.by_name.insert(er.metadata.name.clone(), place.clone());
        }
        self.looked("surplus-disappears");
        self.count(&place, now);
        self.check_success(&place, er, now);
        if was_there && !gone && registered <= 1 {
            // Nothing that matters to its registrations has changed.
            self.looked("one-registration-per-runner");
        } else {
            self.check_registrations(&place, now);
        }
        if gone {
            self.drop_if_empty(&place);
        }
    }

    pub(super) fn drop_if_empty(&mut self, place: &SiteKey) {
        if self
            .ledger
            .runners
            .get(place)
            .is_some_and(|r| r.object.is_none() && r.pod.is_none() && r.registrations.is_empty())
        {
            self.ledger.runners.remove(place);
            self.ledger.by_name.remove(&place.1.name);
        }
    }

    /// Counts a runner anew in its runner set and set.
    fn count(&mut self, place: &SiteKey, now: Time) {
        let Some(runner) = self.ledger.runners.get(place) else { return };
        let class = runner.object.as_ref().filter(|o| !o.metadata.is_deleting()).and_then(|o| match o.status.phase {
            // The corrected controller keeps a runner whose pod is refused, and reports it among those that cannot serve.
            _ if o.status.conditions.iter().any(|c| c.status && c.type_ == POD_REJECTED) => Some(Class::Failed),
            ErPhase::Running => Some(Class::Running),
            ErPhase::Failed => Some(Class::Failed),
            ErPhase::Empty | ErPhase::Pending => Some(Class::Pending),
            ErPhase::Succeeded | ErPhase::Outdated => None,
        });
        let usable = runner.pod.as_ref().is_some_and(|p| !p.status.phase.is_terminal());
        let counted = class.map(|c| (c, usable && c != Class::Failed));
        let before = runner.counted;
        let ledger = &self.ledger;
        let alive_home = runner.runner_set.as_ref().and_then(|h| ledger.runner_sets.get(h));
        let live = class.is_some() && class != Some(Class::Failed);
        let live_in = alive_home.filter(|s| live && !s.object.metadata.is_deleting()).and_then(|s| s.set.as_ref());
        let uid = runner.object.as_ref().map_or(Uid(0), |o| o.metadata.uid);
        let deleted_uid = runner.object.is_none();
        if before != counted || runner.live_in.as_ref() != live_in {
            let (was_live_in, live_in) = (runner.live_in.clone(), live_in.cloned());
            self.recount(place, counted, was_live_in, live_in, now);
        }
        if !deleted_uid {
            let bad = counted.is_some_and(|(_, usable)| !usable);
            let about = || format_smolstr!("EphemeralRunner {}", place.1);
            self.looked("reported-runners-can-serve");
            self.bounds.set(Check::RunnerServes(uid), bad, now, about, || {
                "is counted as capacity and has no pod that can serve".into()
            });
        }
    }

    /// A runner is counted otherwise than before.
    fn recount(
        &mut self,
        place: &SiteKey,
        counted: Option<(Class, bool)>,
        was_live_in: Option<SetKey>,
        live_in: Option<SetKey>,
        now: Time,
    ) {
        let Some(runner) = self.ledger.runners.get_mut(place) else { return };
        let (before, home) = (runner.counted, runner.runner_set.clone());
        let born = runner.object.as_ref().map_or(now, |o| o.metadata.creation_timestamp);
        runner.counted = counted;
        runner.live_in.clone_from(&live_in);
        if let Some(s) = home.as_ref().and_then(|h| self.ledger.runner_sets.get_mut(h)) {
            for (change, by) in [(before, -1), (counted, 1)] {
                let Some((class, usable)) = change else { continue };
                match class {
                    Class::Pending => s.pending += by,
                    Class::Running => s.running += by,
                    Class::Failed => s.failed += by,
                }
                s.usable += if usable { by } else { 0 };
            }
            if before.is_none() && counted.is_some() {
                // One was made: it is at work.
                let uid = s.object.metadata.uid;
                self.bounds.clear(&Check::Applied(uid));
            }
        }
        if was_live_in != live_in {
            for (set, by) in [(&was_live_in, -1), (&live_in, 1)] {
                if let Some(set) = set {
                    let state = self.ledger.set(set);
                    state.live += by;
                    // One whose pod was refused when the limit was lowered.
                    if by > 0 && state.lowered_at.is_some_and(|at| born < at) {
                        state.leftover = state.leftover.max(state.live);
                    }
                    self.weigh(set, now);
                }
            }
        }
        if let Some(home) = &home
            && before.map(|b| b.0) != counted.map(|c| c.0)
        {
            self.check_counters(home, now);
        }
    }

    /// An image that cannot be had is pulled again after up to five minutes, and nobody can hurry the kubelet.
    /// A listener whose pod somebody else than a controller took away is none that ended.
    fn on_listener_pod(&mut self, site: SiteId, pod: &Pod, gone: bool, now: Time) {
        let taken = gone && !self.ledger.pods_removed.remove(&(site, pod.metadata.key()));
        let Some(owner) = pod.metadata.controller().filter(|o| o.kind == Kind::AutoscalingListener) else { return };
        let place = (site, Key::new(pod.metadata.namespace.clone(), owner.name.clone()));
        let Some(al) = self.ledger.listeners.get(&place).cloned() else { return };
        let set =
            Key::new(al.spec.autoscaling_runner_set_namespace.clone(), al.spec.autoscaling_runner_set_name.clone());
        let starves = !gone && pod.status.container_statuses.iter().any(waits_for_image);
        let state = self.ledger.set(&(site, set));
        state.starve(starves, says_not_starting(&al), now);
        if taken {
            state.listener_starts.pop_back();
        }
    }

    fn on_pod(&mut self, site: SiteId, pod: &Arc<Pod>, type_: WatchType, now: Time) {
        let gone = type_ == WatchType::Deleted;
        let owned = pod.metadata.controller().is_some_and(|o| o.kind == Kind::EphemeralRunner);
        let stuck = !gone && pod.status.phase == PodPhase::Pending && !pod.metadata.is_deleting();
        let about = || format_smolstr!("Pod {}", pod.metadata.key());
        if owned || !stuck {
            self.bounds.set(Check::Visible(pod.metadata.uid), stuck && owned, now, about, || "does not start".into());
        }
        if !owned {
            return self.on_listener_pod(site, pod, gone, now);
        }
        if gone || pod.status.phase.is_terminal() || pod.metadata.is_deleting() {
            self.bounds.clear(&Check::Reference(pod.metadata.uid));
        }
        let place: SiteKey = (site, pod.metadata.key());
        let runner = self.ledger.runners.entry(place.clone()).or_default();
        runner.pod = (!gone).then(|| pod.clone());
        if !gone {
            self.check_wait(&place, pod, type_ == WatchType::Added, now);
        }
        let runner = self.ledger.runners.entry(place.clone()).or_default();
        if type_ == WatchType::Added {
            let made = Ledger::window(&mut runner.pods_made, now, Duration::from_secs(600));
            self.looked("restarts-are-bounded");
            if made > 10 {
                self.report(
                    "restarts-are-bounded",
                    "runner",
                    now,
                    0,
                    &about(),
                    format_smolstr!("{made} pods in ten minutes"),
                );
            }
        }
        self.count(&place, now);
        if gone {
            self.drop_if_empty(&place);
        }
    }

    /// From now on the tokens or rights of runners that are there are worth nothing.
    fn identity_gone(&mut self, site: SiteId, namespace: &Str, now: Time) {
        self.ledger.identity_gone.insert((site, namespace.clone()), now);
    }

    fn on_account(&mut self, site: SiteId, account: &Arc<ServiceAccount>, gone: bool, now: Time) {
        if gone {
            self.identity_gone(site, &account.metadata.namespace, now);
        }
        let broken = gone || account.metadata.is_deleting();
        let name = &account.metadata.name;
        let users: Vec<(Uid, Str, bool)> = self
            .ledger
            .runners
            .iter()
            .filter(|((s, k), _)| *s == site && k.namespace == account.metadata.namespace)
            .filter_map(|(_, r)| r.pod.as_ref())
            .filter(|p| p.spec.service_account_name == *name)
            .map(|p| {
                (
                    p.metadata.uid,
                    format_smolstr!("Pod {}", p.metadata.key()),
                    p.status.phase.is_terminal() || p.metadata.is_deleting(),
                )
            })
            .collect();
        for (uid, about, over) in users {
            self.bounds.set(
                Check::Reference(uid),
                broken && !over,
                now,
                || about,
                || format_smolstr!("runs under ServiceAccount {name}, which is gone or going"),
            );
        }
    }

    /// A pod's account as it is when the pod is seen: for pods made under a dying one.
    pub(crate) fn on_pod_identity(&mut self, pod: &Pod, broken: bool, now: Time) {
        self.looked("references-resolve");
        let over = pod.status.phase.is_terminal() || pod.metadata.is_deleting();
        let about = || format_smolstr!("Pod {}", pod.metadata.key());
        self.bounds.set(Check::Reference(pod.metadata.uid), broken && !over, now, about, || {
            format_smolstr!("runs under ServiceAccount {}, which is gone or going", pod.spec.service_account_name)
        });
    }

    /// Weighs a set as a whole: limits, minimum, surplus, duplicates.
    pub(super) fn weigh(&mut self, set: &SetKey, now: Time) {
        let hindered = self.ledger.is_hindered(now);
        let Some(s) = self.ledger.sets.get_mut(set) else { return };
        s.settle(now, if hindered { SLOW_PASS } else { PASS });
        let most = s.most();
        let deleting = s.ars.as_ref().is_none_or(|a| a.metadata.is_deleting());
        let about = || format_smolstr!("AutoscalingRunnerSet {}", set.1);
        let (live, min, max, idle, busy, waiting) = (s.live, s.min, s.max, s.idle, s.busy, s.waiting);
        let (runner_sets, listeners) = (s.runner_sets.len(), s.listeners.len());
        let (wanted, running) = (s.wanted, s.running);
        // A place is taken until the service gives its job up, whatever became of the runner that took it; who waits for a place
        // takes the next runner that is idle.
        let due = min.min(max.saturating_sub(busy.max(running)).saturating_sub(waiting)).max(0);
        // A job whose runner died is asked for until the service gives it up: nobody else can know.
        let lost = (running - busy).max(0);
        let bad = [
            live > most && !deleting,
            wanted && idle < due,
            wanted && !deleting && idle > min + waiting + lost,
            !deleting && (runner_sets > 1 || listeners > 1),
        ];
        let were = std::mem::replace(&mut s.bad, bad);
        self.looked("max-runners-respected");
        self.looked("min-runners-kept");
        self.looked("one-runner-set");
        self.looked("surplus-disappears");
        if bad == [false; 4] && were == [false; 4] {
            // Nearly always: no clock runs and none begins.
            return;
        }
        self.bounds.set(Check::OverMax(set.clone()), bad[0], now, about, || {
            format_smolstr!("{live} runners, maxRunners {max}")
        });
        self.bounds.set(Check::MinRunners(set.clone()), bad[1], now, about, || {
            format_smolstr!("{idle} idle runners, minRunners {min}")
        });
        self.bounds.set(Check::Surplus(set.clone()), bad[2], now, about, || {
            format_smolstr!("{idle} idle runners, minRunners {min}, {waiting} jobs waiting")
        });
        self.bounds.set(Check::Duplicate(set.clone()), bad[3], now, about, || {
            format_smolstr!("{runner_sets} live EphemeralRunnerSets and {listeners} AutoscalingListeners")
        });
    }

    pub(super) fn check_registrations(&mut self, place: &SiteKey, now: Time) {
        let Some(r) = self.ledger.runners.get(place) else { return };
        let heard = |id: &&RunnerId| !self.ledger.unheard.contains(id);
        let (orphan, ids): (bool, Vec<RunnerId>) =
            (r.object.is_none(), r.registrations.iter().filter(heard).copied().collect());
        let newest = ids.last().copied();
        self.looked("one-registration-per-runner");
        for id in ids {
            let bad = orphan || Some(id) != newest;
            let about = || format_smolstr!("runner {}", place.1.name);
            self.bounds.set(Check::Registration(id.0), bad, now, about, || {
                if orphan { "is registered and has no EphemeralRunner".into() } else { "is registered twice".into() }
            });
        }
    }
}

fn waits_for_image(c: &ContainerStatus) -> bool {
    matches!(&c.state, ContainerState::Waiting { reason, .. } if reason == "ErrImagePull" || reason == "ImagePullBackOff")
}

/// Whether a listener says that its pod does not start.
pub(crate) fn says_not_starting(al: &AutoscalingListener) -> bool {
    al.status.conditions.iter().any(|c| c.status && c.type_ == NOT_STARTING)
}
