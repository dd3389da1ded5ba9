//! Faults of the Actions service: what begins and ends there with an action of the plan. Meets no call.

use std::sync::Arc;

use arc_api::{Duration, Str, format_smolstr};

use super::pod_faults::pod_scope;
use super::{SiteId, World};
use crate::plan::fault::Fault;

impl World {
    /// A rule at the service met something.
    pub(crate) fn rule_fired(&mut self, rule: fake_github::RuleId) {
        let action = self.rules.iter().find(|(_, r)| r.service.contains(&rule)).map(|(a, _)| *a);
        if let Some(action) = action {
            self.faults.hit(action);
        }
    }

    pub(super) fn tenant_of(&self, org: Option<&Str>) -> Option<Str> {
        let org = self.plan.world.github.orgs.iter().find(|o| org.is_some_and(|n| *n == o.name))?;
        Some(fake_github::tenant_path(&org.config_url()))
    }

    pub(super) fn service_scope(&self, scope: &crate::plan::fault::Scope) -> fake_github::Scope {
        fake_github::Scope {
            tenant: self.tenant_of(scope.org.as_ref()),
            scale_set: scope.scale_set.as_ref().map(|s| {
                self.plan.world.scale_set(s).map_or_else(|| s.name.clone(), |(_, spec)| spec.service_name().clone())
            }),
            id: None,
        }
    }

    pub(super) fn sets_in(&self, scope: &fake_github::Scope) -> Vec<arc_api::ScaleSetId> {
        let named = |name: &Str| scope.scale_set.as_ref().is_none_or(|s| s.eq_ignore_ascii_case(name));
        self.github.scale_sets().filter(|s| named(&s.name)).map(|s| s.id).collect()
    }

    pub(super) fn begin_service_fault(&mut self, action: u32, fault: &Fault) {
        use crate::plan::fault::{MessageMode, MessageType, PodDelayMode, SessionMode, SessionOf, StatsMode};
        let now = self.now;
        match fault {
            Fault::GhSession(f) if f.of == SessionOf::Listener => {
                let scope = self.service_scope(&f.scope);
                for id in self.sets_in(&scope) {
                    self.faults.hit(action);
                    match f.mode {
                        SessionMode::Ghost => {
                            let fault = fake_github::SessionFault { ttl: f.ttl.map(|d| d.0), survives_deletion: true };
                            self.github.set_session_fault(id, fault, now);
                        }
                        SessionMode::Foreign => {
                            let lasts = self.plan.actions[action as usize].lasts;
                            let until = lasts.map_or(self.plan.run_for.from_start(), |d| now.after(d.0));
                            self.github.evict_session(id, now);
                            self.github.hold_session(id, "somebody-else", until, now);
                        }
                        SessionMode::Evict => self.github.evict_session(id, now),
                    }
                }
            }
            Fault::GhStats(f) => {
                let scope = self.service_scope(&f.scope);
                self.faults.hit(action);
                let mode = match f.mode {
                    StatsMode::Zero => fake_github::StatMode::Zero,
                    StatsMode::Freeze => fake_github::StatMode::Freeze,
                    StatsMode::Add => fake_github::StatMode::Add(f.add.unwrap_or(0)),
                };
                for field in stat_fields(f.field) {
                    let rule = self.github.fault_statistics(scope.clone(), field, mode);
                    self.rules.entry(action).or_default().service.push(rule);
                }
            }
            Fault::GhMessage(f) if f.mode == MessageMode::Inject => self.inject(action, f),
            Fault::GhSettings(f) => {
                self.faults.hit(action);
                self.tune(f, false);
            }
            Fault::GhMessage(f) => {
                let kind = match f.type_ {
                    MessageType::JobAvailable => Some(fake_github::EventType::Available),
                    MessageType::JobAssigned => Some(fake_github::EventType::Assigned),
                    MessageType::JobStarted => Some(fake_github::EventType::Started),
                    MessageType::JobCompleted => Some(fake_github::EventType::Completed),
                    MessageType::Any => None,
                };
                let mode = match f.mode {
                    MessageMode::Delay => fake_github::EventMode::Delay,
                    MessageMode::Drop => fake_github::EventMode::Drop,
                    MessageMode::Duplicate | MessageMode::Inject => fake_github::EventMode::Duplicate,
                    MessageMode::Reorder => fake_github::EventMode::Reorder,
                    MessageMode::Redeliver => fake_github::EventMode::Redeliver,
                };
                let by = f.by.as_ref().map_or(Duration::from_secs(1), |d| self.faults.draw(action, d));
                // The service counts instead of drawing: a share of 1/n is every n-th event, from a drawn one on.
                let every = (f.probability.den / f.probability.num.max(1)).max(1);
                let skip = (0..every - 1).take_while(|_| !self.faults.draws(action, f.probability)).count() as u32;
                let firing = fake_github::Firing { count: f.count.unwrap_or(u32::MAX), every, skip, seen: 0 };
                let scope = self.service_scope(&f.scope);
                let rule = self.github.fault_events(fake_github::EventFault { scope, kind, mode, by, firing });
                self.rules.entry(action).or_default().service.push(rule);
            }
            Fault::GhRegistrationLoss(f) => {
                let meant: Vec<(arc_api::RunnerId, Str, arc_api::ScaleSetId)> = self
                    .github
                    .runners()
                    .filter(|r| r.is_registered)
                    .map(|r| (r.id, r.name.clone(), r.scale_set))
                    .collect();
                for (id, name, set) in meant {
                    if self.covers(&f.scope, set) {
                        self.lose_runner(action, f, id, &name);
                    }
                }
            }
            Fault::GhScalesetLoss(f) => {
                let scope = self.service_scope(&crate::plan::fault::Scope {
                    scale_set: Some(f.scale_set.clone()),
                    ..Default::default()
                });
                for id in self.sets_in(&scope) {
                    self.faults.hit(action);
                    self.github.lose_scale_set(id, now);
                }
            }
            Fault::GhVersionReject(f) => {
                let set = |c: &crate::plan::world::ClusterSpec, s: &crate::plan::world::ScaleSetSpec| {
                    f.scope.scale_set.as_ref().is_none_or(|r| r.matches(&c.name, &s.name))
                };
                let mut versions: Vec<Str> = self
                    .specs
                    .iter()
                    .flat_map(|c| c.scale_sets.iter().filter(|s| set(c, s)).map(|s| s.runner_version.clone()))
                    .filter(|v| f.versions.is_empty() || f.versions.iter().any(|g| g.matches(v)))
                    .chain(f.versions.iter().filter(|v| v.is_exact()).map(|v| v.0.clone()))
                    .collect();
                versions.sort();
                versions.dedup();
                for version in versions {
                    let rule = self.github.reject_version(fake_github::VersionRule::Exactly(version));
                    self.rules.entry(action).or_default().service.push(rule);
                }
            }
            Fault::GhTokenExpiry(f) if f.revoke => {
                let kind = super::reactions::token_kind(f.token);
                let tenant = self.tenant_of(f.scope.org.as_ref());
                if self.github.revoke_tokens(tenant.as_deref(), kind, now) > 0 {
                    self.faults.hit(action);
                }
            }
            Fault::GhTokenExpiry(f) if f.falls_on.is_some() => self.arm_expiry(action),
            Fault::GhTokenExpiry(f) => self.set_token_life(f, f.life.map(|d| d.0)),
            Fault::GhSession(f) => self.begin_runner_session(action, f),
            Fault::Credential(f) => self.set_credentials(action, f, true),
            Fault::PodReject(f) => {
                let reason = super::reactions::reject_reason(f.reason);
                for n in 0..self.sites.len() {
                    if !self.faults.concerns(action, &self.sites[n].name) {
                        continue;
                    }
                    let rule = fake_kube::kubelet::AdmissionRule {
                        scope: pod_scope(f.target, f.scale_set.as_ref()),
                        reason: reason.into(),
                        message: format_smolstr!(
                            "Pod was rejected: Node didn't have enough resource: {}",
                            &reason[5..]
                        ),
                        chance: (f.probability.num, f.probability.den),
                        times: f.count,
                    };
                    let id = self.sites[n].cluster.reject_pods(rule);
                    self.rules.entry(action).or_default().cluster.push((SiteId(n as u8), id));
                }
            }
            Fault::PodDelay(f) if f.mode == PodDelayMode::Unschedulable => {
                for n in 0..self.sites.len() {
                    let site = SiteId(n as u8);
                    if !self.faults.concerns(action, &self.sites[n].name) {
                        continue;
                    }
                    let pods: Vec<_> = self.sites[n].cluster.api().iter(arc_api::Kind::Pod).cloned().collect();
                    for pod in pods.iter().filter_map(|o| o.get::<arc_api::pod::Pod>()) {
                        if pod.node_name.is_none() && self.pod_is(site, pod, f.target, f.scale_set.as_ref()) {
                            self.hold_pod(action, f, site, pod);
                        }
                    }
                }
            }
            _ => {}
        }
        self.notice_github();
    }

    pub(super) fn end_service_fault(&mut self, action: u32, fault: &Fault) {
        let now = self.now;
        if let Fault::Credential(f) = fault {
            self.set_credentials(action, f, false);
        }
        if let Fault::GhTokenExpiry(f) = fault
            && f.life.is_some()
        {
            self.set_token_life(f, None);
        }
        if let Fault::GhSession(f) = fault
            && f.of == crate::plan::fault::SessionOf::Listener
        {
            let scope = self.service_scope(&f.scope);
            for id in self.sets_in(&scope) {
                self.github.set_session_fault(id, fake_github::SessionFault::default(), now);
            }
        }
        if let Fault::GhSettings(f) = fault {
            self.tune(f, true);
        }
        let rules = self.rules.remove(&action).unwrap_or_default();
        for (set, message) in rules.messages {
            self.github.remove_message(set, message, now);
        }
        for rule in rules.service {
            self.github.remove_rule(rule);
        }
        for (site, id) in rules.cluster {
            self.sites[site.0 as usize].cluster.end_fault(id, now);
            self.notice(site);
        }
        self.notice_github();
    }

    /// Messages that nobody of the service wrote.
    fn inject(&mut self, action: u32, f: &crate::plan::fault::GhMessage) {
        use crate::plan::fault::{InjectedBody, MessageType};
        use arc_api::service::Malformed;
        use fake_github::{EventType, Injected};
        let what = match (f.body, f.type_) {
            (Some(InjectedBody::EmptyArray), _) => Injected::EmptyArray,
            (Some(InjectedBody::UnknownEventType), _) => Injected::UnknownEvent,
            (Some(InjectedBody::UnknownMessageType), _) => Injected::Unreadable(Malformed::UnknownType),
            (Some(InjectedBody::Truncated), _) => Injected::Unreadable(Malformed::Truncated),
            (None, MessageType::JobAvailable) => Injected::Event(EventType::Available),
            (None, MessageType::JobAssigned) => Injected::Event(EventType::Assigned),
            (None, MessageType::JobStarted | MessageType::Any) => Injected::Event(EventType::Started),
            (None, MessageType::JobCompleted) => Injected::Event(EventType::Completed),
        };
        let scope = self.service_scope(&f.scope);
        for id in self.sets_in(&scope) {
            if let Some(message) = self.github.inject_message(id, what, self.now) {
                self.faults.hit(action);
                self.rules.entry(action).or_default().messages.push((id, message));
            }
        }
    }

    /// The service's options are those of a fault, or those of the world again.
    fn tune(&mut self, f: &crate::plan::fault::GhSettings, back: bool) {
        let usual = self.plan.world.github.clone();
        self.github.tune(None, |p| {
            let length = |stated: Option<crate::plan::Dur>, usual: crate::plan::Dur, to: &mut Duration| {
                if let Some(new) = stated {
                    *to = if back { usual.0 } else { new.0 };
                }
            };
            length(f.poll_hold, usual.poll_hold, &mut p.poll_hold);
            length(f.session_ttl, usual.session_ttl, &mut p.session_ttl);
            length(f.admin_token_ttl, usual.admin_token_ttl, &mut p.admin_ttl);
            length(f.pickup_timeout, usual.pickup_timeout, &mut p.pickup_timeout);
            if let Some(tries) = f.pickup_tries {
                p.pickup_attempts = if back { usual.pickup_tries } else { tries }.min(255) as u8;
            }
        });
    }

    /// Tokens of a kind live so long from now on; `None`: as the world says.
    fn set_token_life(&mut self, f: &crate::plan::fault::GhTokenExpiry, life: Option<Duration>) {
        use crate::plan::fault::TokenKind;
        let usual = self.plan.world.github.clone();
        let tenant = self.tenant_of(f.scope.org.as_ref());
        self.github.tune(tenant.as_deref(), |p| match f.token {
            TokenKind::MessageQueue => p.queue_ttl = life.unwrap_or(usual.queue_token_ttl.0),
            TokenKind::Admin => p.admin_ttl = life.unwrap_or(usual.admin_token_ttl.0),
            TokenKind::Registration => p.registration_ttl = life.unwrap_or(usual.registration_token_ttl.0),
            TokenKind::Runner => {}
        });
    }

    /// Runners' own sessions: forgotten, or taken so that the next process of the registration meets a conflict.
    fn begin_runner_session(&mut self, action: u32, f: &crate::plan::fault::GhSession) {
        use crate::plan::fault::SessionMode;
        let lasts = self.plan.actions[action as usize].lasts;
        let until = match f.mode {
            SessionMode::Ghost => self.now.after(f.ttl.map_or(Duration::ZERO, |d| d.0)),
            _ => lasts.map_or(self.plan.run_for.from_start(), |d| self.now.after(d.0)),
        };
        let all: Vec<_> = self.github.runners().map(|r| (r.id, r.name.clone(), r.scale_set, r.is_online())).collect();
        for (id, name, set, online) in all {
            if !self.covers(&f.scope, set) || !f.scope.runner.as_ref().is_none_or(|g| g.matches(&name)) {
                continue;
            }
            match f.mode {
                SessionMode::Evict if !online => continue,
                SessionMode::Evict => self.github.evict_runner_session(id, self.now),
                SessionMode::Ghost | SessionMode::Foreign => self.github.hold_runner_session(id, until),
            }
            self.faults.hit(action);
        }
    }

    pub(super) fn set_credentials(&mut self, action: u32, f: &crate::plan::fault::CredentialFault, begins: bool) {
        use crate::plan::fault::CredentialMode;
        let plan = self.plan.clone();
        for org in &plan.world.github.orgs {
            if f.org.as_ref().is_some_and(|n| *n != org.name) {
                continue;
            }
            let Some(credential) = super::values::credential(org, f.credential.as_deref().unwrap_or("")) else {
                continue;
            };
            let data = super::values::secret_data(org, credential).into_iter().collect();
            let secret = arc_api::core::Secret { data: Arc::new(data), ..Default::default() };
            let Ok(c) = controller_core::credentials::credentials(&secret) else { continue };
            let state = match (begins, f.mode) {
                (false, _) => fake_github::CredentialState::Valid,
                (true, CredentialMode::Revoked) => fake_github::CredentialState::Revoked,
                (true, CredentialMode::Expired) => fake_github::CredentialState::Expired,
                (true, CredentialMode::NeverExisted) => fake_github::CredentialState::NeverExisted,
                (true, CredentialMode::WrongScope) => fake_github::CredentialState::WrongScope,
            };
            self.faults.hit(action);
            let path = fake_github::tenant_path(&org.config_url());
            self.github.set_credential(Some(&path), &Arc::new(c), state);
        }
    }
}

fn stat_fields(field: crate::plan::fault::StatsField) -> Vec<fake_github::StatField> {
    use crate::plan::fault::StatsField as P;
    use fake_github::StatField as S;
    let all = [
        (P::TotalAvailable, S::Available),
        (P::TotalAcquired, S::Acquired),
        (P::TotalAssigned, S::Assigned),
        (P::TotalRunning, S::Running),
        (P::TotalRegistered, S::Registered),
        (P::TotalBusy, S::Busy),
        (P::TotalIdle, S::Idle),
    ];
    all.into_iter().filter(|(p, _)| field == P::All || field == *p).map(|(_, s)| s).collect()
}
