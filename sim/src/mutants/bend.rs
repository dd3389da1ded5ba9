//! A pass of the corrected controller with one thing bent: calls that are changed, not made, made late or twice, replies that are
//! taken for others, ends that are forgotten. Never bends anything by itself: what is bent is a [`Bend`].

use std::sync::Arc;

use arc_api::kube::{Body, ErStatusPatch, KubeOk, KubeRequest, Patch, Reason, Status, Sub};
use arc_api::meta::Key;
use arc_api::service::ServiceOk;
use arc_api::{Kind, Object, Resource};
use controller_core::autoscaling_listener::AlPass;
use controller_core::autoscaling_runner_set::ArsPass;
use controller_core::caches::{Caches, WATCHED};
use controller_core::call::{Call, CallError, Reply};
use controller_core::ephemeral_runner::ErPass;
use controller_core::ephemeral_runner_set::ErsPass;
use controller_core::own::{DynPass, Reconciler};
use controller_core::reconcile::{Decision, Observed, Outcome, Settings};

use crate::own::Controller;

/// What becomes of a call that the pass wants to make.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    /// It is made, perhaps changed.
    Send(Call),
    /// It is not made; the pass gets this reply.
    Pretend(Reply),
    /// The pass gets this reply, and the call is made after the next one, or at the end.
    Late(Call, Reply),
}

/// What becomes of a reply.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// The pass gets it, perhaps changed.
    Take(Reply),
    /// The call is made once more.
    Again,
}

/// What is bent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bend {
    pub(super) call: fn(Call, &Caches) -> Fate,
    pub(super) reply: fn(&Call, Reply) -> Answer,
    pub(super) end: fn(Outcome) -> Outcome,
}

impl Bend {
    /// Nothing.
    pub(super) const NONE: Bend = Bend { call: |call, _| Fate::Send(call), reply: |_, r| Answer::Take(r), end: |o| o };
}

/// Makes bent passes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bent {
    pub(super) controller: Controller,
    pub(super) bend: Bend,
}

impl Reconciler for Bent {
    fn begin(&self, key: Key, _: &Settings) -> Box<dyn DynPass> {
        let inner: Box<dyn DynPass> = match self.controller {
            Controller::AutoscalingRunnerSet => Box::new(ArsPass::new(key)),
            Controller::AutoscalingListener => Box::new(AlPass::new(key)),
            Controller::EphemeralRunnerSet => Box::new(ErsPass::new(key)),
            Controller::EphemeralRunner => Box::new(ErPass::new(key)),
        };
        Box::new(BentPass { inner, bend: self.bend, last: None, repeated: false, late: None, then: None })
    }
}

/// What follows the reply to a call that was made late.
#[derive(Clone, Debug)]
enum Then {
    Resume(Reply),
    End(Outcome),
}

#[derive(Clone, Debug)]
struct BentPass {
    inner: Box<dyn DynPass>,
    bend: Bend,
    last: Option<Call>,
    repeated: bool,
    late: Option<Call>,
    then: Option<Then>,
}

impl DynPass for BentPass {
    fn step(&mut self, o: &mut Observed<'_>) -> Decision {
        match (self.then.take(), self.last.take()) {
            (Some(Then::End(outcome)), _) => return Decision::End(outcome),
            (Some(Then::Resume(reply)), _) => o.reply = Some(reply),
            (None, Some(call)) => {
                match (self.bend.reply)(&call, o.take_reply()) {
                    Answer::Again if !self.repeated => {
                        self.repeated = true;
                        self.last = Some(call.clone());
                        return Decision::Call(call);
                    }
                    Answer::Again => o.reply = Some(Reply::Kube(Err(server_error()))),
                    Answer::Take(reply) => o.reply = Some(reply),
                }
                if let Some(late) = self.late.take() {
                    self.then = o.reply.take().map(Then::Resume);
                    return Decision::Call(late);
                }
            }
            (None, None) => {}
        }
        loop {
            let decision = self.inner.step(o);
            let call = match decision {
                Decision::Call(call) => call,
                Decision::End(outcome) => return self.end((self.bend.end)(outcome)),
            };
            match (self.bend.call)(call, o.caches) {
                Fate::Send(call) => {
                    self.last = Some(call.clone());
                    self.repeated = false;
                    return Decision::Call(call);
                }
                Fate::Pretend(reply) => o.reply = Some(reply),
                Fate::Late(call, reply) => {
                    self.late = Some(call);
                    o.reply = Some(reply);
                }
            }
        }
    }
    fn at(&self) -> &'static str {
        self.inner.at()
    }
    fn clone_box(&self) -> Box<dyn DynPass> {
        Box::new(self.clone())
    }
}

impl BentPass {
    fn end(&mut self, outcome: Outcome) -> Decision {
        match self.late.take() {
            Some(late) => {
                self.then = Some(Then::End(outcome));
                Decision::Call(late)
            }
            None => Decision::End(outcome),
        }
    }
}

/// The reply that a pass gets for a call that was not made, if all had gone well.
pub(super) fn believed(call: &Call, caches: &Caches) -> Reply {
    let Call::Kube(request) = call else { return Reply::Service(Ok(ServiceOk::Done)) };
    Reply::Kube(Ok(match request {
        KubeRequest::Create(object) | KubeRequest::Update(object, _) => KubeOk::Object(object.clone()),
        KubeRequest::Patch { kind, key, .. } => cached(caches, *kind, key).map_or(KubeOk::Done, KubeOk::Object),
        KubeRequest::List { .. } => KubeOk::List { items: Vec::new(), resource_version: 0 },
        KubeRequest::Get { kind, key } => return not_found(*kind, key),
        _ => KubeOk::Done,
    }))
}

/// What the process believes of an object.
pub(super) fn cached(caches: &Caches, kind: Kind, key: &Key) -> Option<Object> {
    WATCHED.contains(&kind).then(|| caches.of(kind).get(key).cloned())?
}

/// 404.
pub(super) fn not_found(kind: Kind, key: &Key) -> Reply {
    Reply::Kube(Err(CallError::Api(Arc::new(Status::not_found(kind, &key.name)))))
}

/// 500.
pub(super) fn server_error() -> CallError {
    CallError::Api(Arc::new(Status::new(Reason::InternalError, "an internal error")))
}

/// Does not make the call if `hit`.
pub(super) fn drop_if(hit: bool, call: Call, caches: &Caches) -> Fate {
    if hit { Fate::Pretend(believed(&call, caches)) } else { Fate::Send(call) }
}

/// Makes the call too late if `hit`.
pub(super) fn late_if(hit: bool, call: Call, caches: &Caches) -> Fate {
    if hit {
        let reply = believed(&call, caches);
        Fate::Late(call, reply)
    } else {
        Fate::Send(call)
    }
}

pub(super) fn creates(call: &Call, kind: Kind) -> bool {
    matches!(call, Call::Kube(KubeRequest::Create(o)) if o.kind() == kind)
}
pub(super) fn deletes(call: &Call, kind: Kind) -> bool {
    matches!(call, Call::Kube(KubeRequest::Delete { kind: k, .. }) if *k == kind)
}
pub(super) fn reads(call: &Call, kind: Kind) -> bool {
    matches!(call, Call::Kube(KubeRequest::Get { kind: k, .. }) if *k == kind)
}
pub(super) fn lists(call: &Call, kind: Kind) -> bool {
    matches!(call, Call::Kube(KubeRequest::List { kind: k, .. }) if *k == kind)
}
pub(super) fn writes_status(call: &Call, kind: Kind) -> bool {
    matches!(call, Call::Kube(KubeRequest::Patch { kind: k, sub: Sub::Status, .. }) if *k == kind)
}
/// A service operation, by its name in scenario files.
pub(super) fn asks(call: &Call, op: &str) -> bool {
    matches!(call, Call::Service(c) if c.op.name() == op)
}
/// A patch that takes finalizers away.
pub(super) fn unprotects(call: &Call, kind: Kind, caches: &Caches) -> bool {
    finalizers(call, kind, caches).is_some_and(|(now, then)| then < now)
}
/// A patch that adds finalizers.
pub(super) fn protects(call: &Call, kind: Kind, caches: &Caches) -> bool {
    finalizers(call, kind, caches).is_some_and(|(now, then)| then > now)
}
/// How many finalizers an object has, and how many a patch leaves it.
fn finalizers(call: &Call, kind: Kind, caches: &Caches) -> Option<(usize, usize)> {
    let Call::Kube(KubeRequest::Patch { kind: k, key, patch, .. }) = call else { return None };
    let then = patch.finalizers.as_ref().filter(|_| *k == kind)?.len();
    Some((cached(caches, kind, key).map_or(usize::from(then == 0), |o| o.meta().finalizers.len()), then))
}

/// Changes what is created, if it is of this type.
pub(super) fn made<T: Resource>(call: Call, change: fn(&mut T)) -> Fate {
    match call {
        Call::Kube(KubeRequest::Create(object)) => {
            let object = match object.get::<T>() {
                Some(typed) => {
                    let mut typed = (**typed).clone();
                    change(&mut typed);
                    typed.into_object()
                }
                None => object,
            };
            Fate::Send(Call::Kube(KubeRequest::Create(object)))
        }
        other => Fate::Send(other),
    }
}

/// Changes the body of a patch.
pub(super) fn patched(call: Call, change: fn(&mut Patch)) -> Fate {
    match call {
        Call::Kube(KubeRequest::Patch { kind, key, sub, mut patch }) => {
            change(Arc::make_mut(&mut patch));
            Fate::Send(Call::Kube(KubeRequest::Patch { kind, key, sub, patch }))
        }
        other => Fate::Send(other),
    }
}

/// Changes the status that is written of a runner.
pub(super) fn runner_status(patch: &mut Patch, change: fn(&mut ErStatusPatch)) {
    if let Body::ErStatus(status) = &mut patch.body {
        change(status);
    }
}

/// Takes another reply if this one is an error that `wanted` picks.
pub(super) fn instead(call: &Call, reply: Reply, wanted: fn(&CallError) -> bool) -> Answer {
    let hit = match &reply {
        Reply::Kube(Err(e)) | Reply::Service(Err(e)) => wanted(e),
        Reply::Kube(Ok(_)) | Reply::Service(Ok(_)) => false,
    };
    Answer::Take(if hit { believed(call, &Caches::default()) } else { reply })
}

/// Takes these errors for an error of the server.
pub(super) fn alarmed(reply: Reply, wanted: fn(&CallError) -> bool) -> Answer {
    Answer::Take(match reply {
        Reply::Kube(Err(e)) if wanted(&e) => Reply::Kube(Err(server_error())),
        Reply::Service(Err(e)) if wanted(&e) => Reply::Service(Err(server_error())),
        other => other,
    })
}
