//! Draws faults of networks, clocks, the Kubernetes API and caches. Never decides when.

use super::super::draws::Draws;
use super::Shape;
use crate::plan::fault::*;
use crate::plan::{Actor, ApiStatus, Fault, Glob, Offset, Role};

const KINDS: [&str; 12] = [
    "ephemeralrunners",
    "ephemeralrunners/status",
    "ephemeralrunnersets",
    "ephemeralrunnersets/status",
    "pods",
    "secrets",
    "autoscalinglisteners",
    "autoscalingrunnersets",
    "autoscalingrunnersets/status",
    "rolebindings",
    "serviceaccounts",
    "*",
];

fn glob(text: &str) -> Glob {
    Glob(text.into())
}

fn api_status(d: &mut Draws) -> ApiStatus {
    let text = d.one(&["500", "503", "429", "504", "timeout", "conflict", "already_exists", "404", "410"]);
    text.parse().unwrap_or(ApiStatus::Timeout)
}

pub(super) fn draw(id: &str, d: &mut Draws, shape: &Shape<'_>) -> Option<Fault> {
    Some(match id {
        "net_cut" => {
            let mode = d.one(&[
                NetMode::Refused,
                NetMode::Reset,
                NetMode::Blackhole,
                NetMode::BlackholeEstablished,
                NetMode::LoseRequest,
                NetMode::LoseReply,
                NetMode::LoseReply,
                NetMode::Duplicate,
                NetMode::Delay,
            ]);
            let late = d.varying(100, 60_000);
            let (limited, count) = (d.one_in(3), d.count(8));
            Fault::NetCut(NetCut {
                from: Actor::all(d.one(&[Role::Controller, Role::Controller, Role::Listener, Role::Runner])),
                to: Actor::all(d.one(&[Role::KubeApi, Role::Github])),
                mode,
                call: None,
                by: (mode == NetMode::Delay).then_some(late),
                probability: d.share(),
                count: limited.then_some(count),
            })
        }
        "clock_skew" => Fault::ClockSkew(ClockSkew {
            target: Actor::all(d.one(&[Role::Controller, Role::Listener, Role::Runner])),
            offset: Offset { negative: d.one_in(2), by: d.secs(1, 1_200) },
            drift_per_hour: None,
        }),
        "api_error" => Fault::ApiError(ApiError {
            actor: Some(Actor::all(d.one(&[Role::Controller, Role::Controller, Role::Listener]))),
            verb: glob(d.one(&["create", "patch", "delete", "get", "update", "list", "watch", "*"])),
            kind: glob(d.one(&KINDS)),
            name: Glob::default(),
            status: api_status(d),
            applied: d.one_in(3),
            probability: d.share(),
            count: Some(d.count(20)),
        }),
        "api_reject" => Fault::ApiReject(ApiReject {
            kind: glob(d.one(&["pods", "ephemeralrunners", "secrets", "autoscalinglisteners", "ephemeralrunnersets"])),
            verb: glob(d.one(&["create", "create", "create", "patch"])),
            class: d.one(&[
                RejectClass::ForbiddenQuota,
                RejectClass::ForbiddenWebhook,
                RejectClass::Invalid,
                RejectClass::ForbiddenRbac,
                RejectClass::Unauthorized,
            ]),
            message: None,
            actor: Some(Actor::all(Role::Controller)),
            name: Glob::default(),
            scale_set: None,
            namespace: Glob::default(),
            probability: d.share(),
            count: Some(d.count(8)),
        }),
        "api_outage" => Fault::ApiOutage(ApiOutage {
            mode: d.one(&[OutageMode::Frozen, OutageMode::Down]),
            watches_return: d.varying(1, 15_000),
        }),
        "cache_lag" => {
            let (relist, by) = (d.one_in(4), d.varying(50, 20_000));
            let kinds = [
                "EphemeralRunner",
                "Pod",
                "EphemeralRunnerSet",
                "AutoscalingListener",
                "AutoscalingRunnerSet",
                "Secret",
                "*",
            ];
            Fault::CacheLag(CacheLag {
                actor: Actor::all(Role::Controller),
                kind: glob(d.one(&kinds)),
                by: (!relist).then_some(by),
                relist,
                probability: d.share(),
            })
        }
        "actor_crash" => {
            let mut roles = vec![Role::Controller, Role::Controller, Role::Listener, Role::Runner];
            roles.extend(shape.has_dind().then_some(Role::Dind));
            let (late, back) = (d.one_in(3), d.secs(1, 60));
            Fault::ActorCrash(ActorCrash {
                target: Actor::all(d.one(&roles)),
                signal: if d.one_in(4) { EndSignal::Term } else { EndSignal::Kill },
                restart_after: late.then_some(back),
                in_flight_applied: d.share(),
                pod: d.one_in(4),
                leader: false,
            })
        }
        "actor_slow" => {
            let target = d.one(&[Role::Controller, Role::Controller, Role::Listener, Role::Runner]);
            let (how, pause, slow) = (d.below(4), d.delay(1, 60), d.varying(100, 4_000));
            let (qps, order) = (d.between(1, 8), d.bits() & 0xffff);
            let manager = target == Role::Controller;
            Fault::ActorSlow(ActorSlow {
                target: Actor::all(target),
                workers: Default::default(),
                kube_latency: (how == 1).then_some(slow),
                github_latency: (how == 2).then_some(slow),
                qps: (how == 3 && manager).then_some(qps),
                burst: (how == 3 && manager).then_some(qps),
                pause: (how == 0 || (how == 3 && !manager)).then_some(pause),
                order_seed: (how == 3 && manager).then_some(order),
            })
        }
        _ => return None,
    })
}
