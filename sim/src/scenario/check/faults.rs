//! Checks the parameters of faults: what a mode needs, what exists, and whether it could ever fire. Never carries one out.

use super::Check;
use crate::plan::fault::*;
use crate::plan::world::{ContainerMode, DindLayout};
use crate::plan::{Fault, Ratio, Role, SetRef};
use crate::scenario::entry::Entry;
use crate::scenario::source::Seg;

impl Check<'_> {
    pub(super) fn fault(&mut self, entry: &Entry<Fault>, at: &[Seg]) {
        let id = entry.what.id();
        let at: Vec<Seg> = [at, &path![id]].concat();
        let here = |key: &str| [&at[..], &path![key]].concat();
        let scoped = |key: &str| [&at[..], &path!["scope", key]].concat();
        let mut set = None;
        entry.what.clone().scale_sets_mut(|s| set = Some(s.clone()));
        if let Some(set) = &set {
            let place =
                if self.root.has(&self.full(&here("scale_set"))) { here("scale_set") } else { scoped("scale_set") };
            self.set(&place, set);
        }
        if let Some(scope) = scope(&entry.what) {
            if let Some(org) = &scope.org {
                self.known(&scoped("org"), "organisation", org, self.body.github.orgs.iter().map(|o| o.name.as_str()));
            }
            if let Some(actor) = &scope.actor {
                self.actor(&scoped("actor"), actor);
            }
        }
        let (probability, count) = odds(&entry.what);
        if probability.num == 0 {
            self.at(
                &here("probability"),
                format!("`{id}` can never fire"),
                "probability 0",
                "raise it, or remove the fault",
            );
        }
        if count == Some(0) {
            let key = if matches!(entry.what, Fault::ContainerExit(_)) { "times" } else { "count" };
            self.at(&here(key), format!("`{id}` can never fire"), "0 times", "raise it, or remove the fault");
        }
        self.fault_parameters(&entry.what, &at, set.as_ref());
    }
    fn fault_parameters(&mut self, fault: &Fault, at: &[Seg], set: Option<&SetRef>) {
        let here = |key: &str| [at, &path![key]].concat();
        let needs = |check: &mut Self, mode: &str, key: &str, has: bool| {
            if !has {
                let said = format!("`{mode}` needs `{key}`");
                check.at(&here("mode"), said, format!("`{key}` is missing"), format!("add `{key}: …`"));
            }
        };
        match fault {
            Fault::GhError(f) => self.never_called(f.op.as_str(), &here("op")),
            Fault::GhHang(f) => self.never_called(f.op.as_str(), &here("op")),
            Fault::GhMalformed(f) => {
                self.never_called(f.op.as_str(), &here("op"));
                needs(self, "missing_field", "field", f.mode != MalformedMode::MissingField || f.field.is_some());
            }
            Fault::GhRateLimit(f) => {
                if f.answer != 429 && f.answer != 403 {
                    self.at(
                        &here("answer"),
                        format!("{} is not a rate limit's answer", f.answer),
                        "429 or 403",
                        "write 429 or 403",
                    );
                }
            }
            Fault::GhSession(f) => needs(self, "ghost", "ttl", f.mode != SessionMode::Ghost || f.ttl.is_some()),
            Fault::GhTokenExpiry(f) => {
                if f.token == TokenKind::Runner && !f.revoke {
                    self.not_carried_out(&here("token"), "runner");
                }
                let stated = [f.life.is_some(), f.falls_on.is_some(), f.revoke];
                if stated.iter().filter(|s| **s).count() != 1 {
                    self.at(
                        at,
                        "a token's end is stated by exactly one of life, falls_on, revoke",
                        "which?",
                        "keep one of them",
                    );
                }
            }
            Fault::GhMessage(f) if f.body.is_some() && f.mode != MessageMode::Inject => self.at_key(
                &here("body"),
                "`body` belongs to `mode: inject`",
                "events of the service have bodies of their own",
                "write `mode: inject`, or use gh_malformed",
            ),
            Fault::GhMessage(f) => needs(self, "delay", "by", f.mode != MessageMode::Delay || f.by.is_some()),
            Fault::GhStats(f) => needs(self, "add", "add", f.mode != StatsMode::Add || f.add.is_some()),
            Fault::GhRegistrationLoss(f) => {
                if f.fraction.is_some() != f.names.is_empty() {
                    self.at(
                        at,
                        "registrations are lost by exactly one of fraction and names",
                        "which?",
                        "keep one of them",
                    );
                }
            }
            Fault::Credential(f) => {
                if let Some(org) = &f.org {
                    self.known(
                        &here("org"),
                        "organisation",
                        org,
                        self.body.github.orgs.iter().map(|o| o.name.as_str()),
                    );
                }
                if let Some(name) = &f.credential {
                    let all = self.body.github.orgs.iter().flat_map(|o| o.credentials.iter().map(|c| c.name.as_str()));
                    self.known(&here("credential"), "credential", name, all);
                }
            }
            Fault::NetCut(f) => {
                self.actor(&here("from"), &f.from);
                if !matches!(f.to.role, Role::Github | Role::KubeApi | Role::Proxy) {
                    let said = format!("nobody asks `{}`, so this can never fire", f.to);
                    self.at(&here("to"), said, "does not answer requests", "cut the link to github, kube_api or proxy");
                }
                needs(self, "delay", "by", f.mode != NetMode::Delay || f.by.is_some());
                if f.to.role == Role::Proxy && self.sets().all(|(_, s)| s.proxy.is_none()) {
                    self.at(
                        &here("to"),
                        "no scale set has a proxy, so this can never fire",
                        "nobody asks it",
                        "give a scale set `proxy: { … }`",
                    );
                }
            }
            Fault::ClockSkew(f) => self.actor(&here("target"), &f.target),
            Fault::ApiError(f) => {
                self.kind(&here("kind"), &f.kind.0);
                if let Some(actor) = &f.actor {
                    self.actor(&here("actor"), actor);
                }
            }
            Fault::ApiReject(f) => {
                self.kind(&here("kind"), &f.kind.0);
                if let Some(actor) = &f.actor {
                    self.actor(&here("actor"), actor);
                }
            }
            Fault::CacheLag(f) => {
                self.kind(&here("kind"), &f.kind.0);
                self.actor(&here("actor"), &f.actor);
                if f.by.is_none() && !f.relist {
                    self.at(
                        at,
                        "a cache that neither lags nor lists again",
                        "states no `by` and no `relist`",
                        "add `by: 200ms` or `relist: true`",
                    );
                }
            }
            Fault::NodeFault(f) => self.node_target(&here("target"), &f.target),
            Fault::InitFail(f) => needs(self, "exit", "code", f.mode != InitMode::Exit || f.code.is_some()),
            Fault::SidecarFault(f) => {
                needs(self, "ready_delay", "delay", f.mode != SidecarMode::ReadyDelay || f.delay.is_some());
                match f.target {
                    SidecarTarget::Dind => self.some_set(&here("target"), set, "container_mode: dind", |s| {
                        s.container_mode == ContainerMode::Dind
                            || s.dind.layout != DindLayout::Chart
                            || s.template.is_some()
                            || s.values.is_some()
                    }),
                    SidecarTarget::Injected => {
                        if self.body.clusters.iter().all(|c| c.injected_sidecar.is_empty()) {
                            self.at(
                                &here("target"),
                                "no cluster injects a sidecar, so this can never fire",
                                "nothing to fail",
                                "give a cluster `injected_sidecar: …`",
                            );
                        }
                    }
                }
            }
            Fault::VolumeFault(f) if f.mode == VolumeMode::Full => self.not_carried_out(&here("mode"), "full"),
            Fault::VolumeFault(_) => self.some_set(at, set, "container_mode: kubernetes", |s| {
                s.container_mode != ContainerMode::None && s.container_mode != ContainerMode::Dind
                    || s.template.is_some()
                    || s.values.is_some()
            }),
            Fault::ExecCut(_) => self.some_set(at, set, "container_mode: kubernetes", |s| {
                s.container_mode.has_hooks() || s.values.is_some()
            }),
            Fault::PodReject(f) if f.target == PodTarget::Workflow => self.workflow_pods(&here("target"), set),
            Fault::PodDelay(f) if f.target == PodTarget::Workflow => self.workflow_pods(&here("target"), set),
            Fault::ContainerExit(f) if f.target == ContainerTarget::Workflow => {
                self.workflow_pods(&here("target"), set)
            }
            Fault::ContainerExit(f) if f.phase.is_some() && f.target != ContainerTarget::Runner => {
                let said = format!("a {} has no phase `{}`", f.target, f.phase.map_or("", ExitPhase::as_str));
                self.at(&here("phase"), said, "phases belong to runners", "use `after` instead");
            }
            Fault::ActorCrash(f) => self.process(&here("target"), f.target.role, &f.target),
            Fault::ActorSlow(f) => {
                self.process(&here("target"), f.target.role, &f.target);
                let slow = ActorSlow { target: f.target.clone(), ..ActorSlow::nothing() };
                if *f == slow {
                    self.at(
                        at,
                        "a component that is not slow",
                        "states no way of being slow",
                        "add workers, kube_latency, github_latency, qps, burst, pause or order_seed",
                    );
                }
            }
            Fault::RollOverlap(_) => {
                let rolls = self.body.operators.iter().any(|e| {
                    use crate::plan::Operator;
                    match &e.what {
                        Operator::Upgrade(p) => p.chart.controller.is_some(),
                        Operator::ScaleController(p) => p.restart,
                        Operator::Install(p) => p.or_upgrade,
                        _ => false,
                    }
                });
                if !rolls {
                    self.at_key(
                        at,
                        "no controller is rolled, so this can never fire",
                        "no upgrade or restart of a controller",
                        "add an operator action such as `upgrade: { chart: { controller: arc } }`",
                    );
                }
            }
            Fault::PodReject(_)
            | Fault::PodDelay(_)
            | Fault::ContainerExit(_)
            | Fault::GhStaleView(_)
            | Fault::GhJobState(_)
            | Fault::GhSettings(_)
            | Fault::GhScalesetLoss(_)
            | Fault::GhVersionReject(_)
            | Fault::ApiOutage(_) => {}
        }
    }
    fn process(&mut self, at: &[Seg], role: Role, actor: &crate::plan::Actor) {
        if matches!(role, Role::Github | Role::KubeApi | Role::Proxy | Role::Operator) {
            let hint =
                if role == Role::KubeApi { "use `api_outage`" } else { "use `gh_error`, `gh_hang` or `net_cut`" };
            self.at(at, format!("`{actor}` is not a process of this world"), "cannot be killed or slowed", hint);
        }
        self.actor(at, actor);
    }
    fn not_carried_out(&mut self, at: &[Seg], word: &str) {
        let said = format!("`{word}` is a known fault that the simulator cannot carry out");
        self.at(at, said, "would never fire", "use another mode, or leave the fault out");
    }
    fn workflow_pods(&mut self, at: &[Seg], set: Option<&SetRef>) {
        self.some_set(at, set, "container_mode: kubernetes", |s| s.container_mode.has_hooks() || s.values.is_some());
    }
    /// A fault that needs a scale set of some kind can never fire without one.
    fn some_set(
        &mut self,
        at: &[Seg],
        only: Option<&SetRef>,
        kind: &str,
        fits: impl Fn(&crate::plan::world::ScaleSetSpec) -> bool,
    ) {
        let meant = |(c, s): &(&crate::plan::world::ClusterSpec, &crate::plan::world::ScaleSetSpec)| {
            only.is_none_or(|set| set.matches(&c.name, &s.name))
        };
        if !self.sets().filter(meant).any(|(_, s)| fits(s)) {
            self.at(
                at,
                "no scale set here has what this fault needs, so it can never fire",
                format!("needs `{kind}`"),
                format!("write `{kind}` for a scale set"),
            );
        }
    }
    pub(super) fn node_target(&mut self, at: &[Seg], target: &str) {
        if target.contains('/') {
            match target.parse() {
                Ok(actor) => self.actor(at, &actor),
                Err(not) => self.at(
                    at,
                    format!("`{target}` is not {not}"),
                    "which node?",
                    "write a node such as n2, or a component such as listener/linux",
                ),
            }
        } else if let Some(cluster) = self.body.clusters.iter().max_by_key(|c| c.nodes.max(c.nodes_max)) {
            self.node(at, cluster, target);
        }
    }
}

impl ActorSlow {
    fn nothing() -> ActorSlow {
        ActorSlow {
            target: crate::plan::Actor::all(Role::Controller),
            workers: Default::default(),
            kube_latency: None,
            github_latency: None,
            qps: None,
            burst: None,
            pause: None,
            order_seed: None,
        }
    }
}

fn scope(fault: &Fault) -> Option<&Scope> {
    Some(match fault {
        Fault::GhError(f) => &f.scope,
        Fault::GhMalformed(f) => &f.scope,
        Fault::GhHang(f) => &f.scope,
        Fault::GhRateLimit(f) => &f.scope,
        Fault::GhSession(f) => &f.scope,
        Fault::GhTokenExpiry(f) => &f.scope,
        Fault::GhMessage(f) => &f.scope,
        Fault::GhStats(f) => &f.scope,
        Fault::GhStaleView(f) => &f.scope,
        Fault::GhJobState(f) => &f.scope,
        Fault::GhRegistrationLoss(f) => &f.scope,
        Fault::GhVersionReject(f) => &f.scope,
        _ => return None,
    })
}

/// How likely, and at most how often.
fn odds(fault: &Fault) -> (Ratio, Option<u32>) {
    match fault {
        Fault::GhError(f) => (f.probability, f.count),
        Fault::GhMalformed(f) => (f.probability, f.count),
        Fault::GhHang(f) => (f.probability, f.count),
        Fault::GhTokenExpiry(f) => (Ratio::ONE, f.count),
        Fault::GhMessage(f) => (f.probability, f.count),
        Fault::GhStaleView(f) => (f.probability, f.count),
        Fault::GhJobState(f) => (f.probability, f.count),
        Fault::GhRegistrationLoss(f) => (f.fraction.unwrap_or_default(), None),
        Fault::NetCut(f) => (f.probability, f.count),
        Fault::ApiError(f) => (f.probability, f.count),
        Fault::ApiReject(f) => (f.probability, f.count),
        Fault::CacheLag(f) => (f.probability, None),
        Fault::PodReject(f) => (f.probability, f.count),
        Fault::PodDelay(f) => (f.probability, f.count),
        Fault::InitFail(f) => (f.probability, f.count),
        Fault::ContainerExit(f) => (f.probability, f.times),
        Fault::SidecarFault(f) => (f.probability, f.count),
        Fault::VolumeFault(f) => (f.probability, None),
        Fault::ExecCut(f) => (Ratio::ONE, f.count),
        _ => (Ratio::ONE, None),
    }
}
