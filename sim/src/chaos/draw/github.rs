//! Draws faults of GitHub and its Actions service. Never decides when.

use super::super::draws::Draws;
use super::Shape;
use crate::plan::fault::*;
use crate::plan::{Dur, Fault, Rate, Ratio};

/// Operations that fail one by one.
const OPS: [GhOp; 22] = [
    GhOp::GetMessage,
    GhOp::GenerateJit,
    GhOp::CreateSession,
    GhOp::DeleteMessage,
    GhOp::RefreshSession,
    GhOp::GetRunner,
    GhOp::GetRunnerByName,
    GhOp::RemoveRunner,
    GhOp::GetScaleset,
    GhOp::GetScalesetById,
    GhOp::CreateScaleset,
    GhOp::UpdateScaleset,
    GhOp::DeleteScaleset,
    GhOp::RegistrationToken,
    GhOp::RunnerRegistration,
    GhOp::RunnerConnect,
    GhOp::RunnerPoll,
    GhOp::RunnerRenew,
    GhOp::RunnerComplete,
    GhOp::DeleteSession,
    GhOp::GetRunnerGroup,
    GhOp::All,
];

fn op(d: &mut Draws, shape: &Shape<'_>) -> GhOp {
    let acquires = d.one(&[GhOp::AcquireJobs, GhOp::AcquirableJobs]);
    let (own, usual) = (d.one_in(6), d.one(&OPS));
    if own && shape.acquires { acquires } else { usual }
}

fn scope(d: &mut Draws, shape: &Shape<'_>) -> Scope {
    let (narrow, set) = (d.one_in(4), shape.some_set(d));
    if narrow { Scope { scale_set: set, ..Scope::default() } } else { Scope::default() }
}

pub(super) fn draw(id: &str, d: &mut Draws, shape: &Shape<'_>) -> Option<Fault> {
    Some(match id {
        "gh_error" => Fault::GhError(GhError {
            op: op(d, shape),
            status: d.one(&[500, 503, 429, 401, 403, 502, 404, 409, 400]),
            exception: None,
            body: None,
            retry_after: d.one(&[None, None, Some(Dur::secs(5)), Some(Dur::secs(60))]),
            applied: d.one_in(3),
            probability: d.share(),
            count: Some(d.count(30)),
            scope: scope(d, shape),
        }),
        "gh_malformed" => Fault::GhMalformed(GhMalformed {
            op: op(d, shape),
            mode: d.one(&[MalformedMode::Empty200, MalformedMode::Truncated]),
            field: None,
            applied: !d.one_in(3),
            rate: None,
            probability: d.share(),
            count: Some(d.count(10)),
            scope: scope(d, shape),
        }),
        "gh_hang" => {
            let (late, ever) = (d.varying(200, 150_000), d.one_in(3));
            Fault::GhHang(GhHang {
                op: op(d, shape),
                duration: (!ever).then_some(late),
                applied: d.one_in(2),
                probability: d.share(),
                count: Some(d.count(10)),
                scope: scope(d, shape),
            })
        }
        "gh_rate_limit" => Fault::GhRateLimit(GhRateLimit {
            ops: vec![d.one(&[GhOp::All, GhOp::GenerateJit, GhOp::RegistrationToken, GhOp::RemoveRunner])],
            budget: Rate { count: d.between(2, 30), per: Dur::secs(60) },
            key: d.one(&[RateKey::App, RateKey::Org, RateKey::Ip]),
            answer: d.one(&[429, 403]),
            retry_after: d.one(&[None, Some(Dur::secs(10)), Some(Dur::secs(45))]),
            scope: Scope::default(),
        }),
        "gh_session" => Fault::GhSession(GhSession {
            mode: d.one(&[SessionMode::Evict, SessionMode::Foreign, SessionMode::Ghost]),
            ttl: Some(d.secs(30, 150)),
            of: if d.one_in(4) { SessionOf::Runner } else { SessionOf::Listener },
            scope: scope(d, shape),
        }),
        "gh_token_expiry" => {
            let how = d.below(3);
            let token = d.one(&[TokenKind::MessageQueue, TokenKind::Admin, TokenKind::Registration]);
            let (life, point) = (d.secs(20, 120), d.one(&[TokenPoint::Poll, TokenPoint::Ack, TokenPoint::Refresh]));
            Fault::GhTokenExpiry(GhTokenExpiry {
                token: if how == 1 { TokenKind::MessageQueue } else { token },
                life: (how == 0).then_some(life),
                falls_on: (how == 1).then_some(point),
                revoke: how == 2,
                count: Some(d.count(4)),
                scope: Scope::default(),
            })
        }
        "gh_message" => {
            let mode = d.one(&[
                MessageMode::Drop,
                MessageMode::Delay,
                MessageMode::Duplicate,
                MessageMode::Reorder,
                MessageMode::Redeliver,
                MessageMode::Inject,
            ]);
            let (late, odd) =
                (d.delay(1, 90), d.one(&[None, Some(InjectedBody::EmptyArray), Some(InjectedBody::UnknownEventType)]));
            Fault::GhMessage(GhMessage {
                type_: d.one(&[
                    MessageType::JobAssigned,
                    MessageType::JobStarted,
                    MessageType::JobCompleted,
                    MessageType::JobAvailable,
                    MessageType::Any,
                ]),
                mode,
                by: (mode == MessageMode::Delay).then_some(late),
                body: odd.filter(|_| mode == MessageMode::Inject),
                probability: d.share(),
                count: Some(d.count(6)),
                scope: scope(d, shape),
            })
        }
        "gh_stats" => {
            let mode = d.one(&[StatsMode::Zero, StatsMode::Freeze, StatsMode::Add]);
            let more = d.between(1, 3) as i32;
            Fault::GhStats(GhStats {
                field: d.one(&[
                    StatsField::TotalAssigned,
                    StatsField::All,
                    StatsField::TotalRunning,
                    StatsField::TotalBusy,
                ]),
                mode,
                add: (mode == StatsMode::Add).then_some(more),
                until_reregistered: false,
                scope: scope(d, shape),
            })
        }
        "gh_stale_view" => Fault::GhStaleView(GhStaleView {
            op: d.one(&[StaleOp::GetRunner, StaleOp::GetRunnerByName, StaleOp::RemoveRunner, StaleOp::GetScaleset]),
            lag: d.delay(1, 30),
            probability: d.share(),
            count: Some(d.count(10)),
            scope: scope(d, shape),
        }),
        "gh_job_state" => {
            let stays = d.one_in(2);
            let code = d.one(&[0, 1, 2]);
            Fault::GhJobState(GhJobState {
                mode: d.one(&[
                    JobStateMode::MessageNotFound,
                    JobStateMode::PrematureCompleted,
                    JobStateMode::LeaseLost,
                ]),
                runner_effect: if stays { RunnerEffect::StaysUp } else { RunnerEffect::Exits(code) },
                after: Some(d.delay(0, 20)),
                probability: d.share(),
                count: Some(d.count(4)),
                scope: scope(d, shape),
            })
        }
        "gh_registration_loss" => {
            let (stays, share) = (d.one_in(2), d.between(1, 4));
            Fault::GhRegistrationLoss(GhRegistrationLoss {
                fraction: Some(Ratio { num: 1, den: share }),
                names: Vec::new(),
                runner_effect: if stays { RunnerEffect::StaysUp } else { RunnerEffect::Exits(1) },
                scope: scope(d, shape),
            })
        }
        "gh_scaleset_loss" => Fault::GhScalesetLoss(GhScalesetLoss {
            scale_set: shape.set(d),
            cause: d.one(&[LossCause::Admin, LossCause::Inactivity, LossCause::Incident]),
        }),
        "gh_version_reject" => {
            Fault::GhVersionReject(GhVersionReject { versions: Vec::new(), exit_code: 7, scope: Scope::default() })
        }
        "gh_settings" => Fault::GhSettings(GhSettings {
            poll_hold: Some(d.secs(2, 50)),
            session_ttl: None,
            admin_token_ttl: d.one(&[None, Some(Dur::secs(90))]),
            pickup_timeout: None,
            pickup_tries: None,
        }),
        "credential" => Fault::Credential(CredentialFault {
            mode: d.one(&[CredentialMode::Revoked, CredentialMode::Expired, CredentialMode::WrongScope]),
            credential: None,
            org: None,
        }),
        _ => return None,
    })
}
