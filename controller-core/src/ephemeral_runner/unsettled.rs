//! What a pass of the corrected controller does that registered a runner and could not write it down.
//!
//! The call that failed may have been carried out, and another manager (a roll without a lease) may have taken the runner down
//! meanwhile or keep a registration of its own in the secret. Then nobody but this pass knows of the registration: it looks
//! what became of the secret and of the runner before it ends. **Never** removes a registration that the secret of a live
//! runner names.

use arc_api::core::Secret;
use arc_api::crd::EphemeralRunner;
use arc_api::kube::KubeRequest;
use arc_api::service::Op;
use arc_api::{Kind, RunnerId};

use super::{ErPass, Purpose, Step};
use crate::behaviour::UsedJit;
use crate::call::{CallError, Reply};
use crate::reconcile::{Decision, Observed, Outcome};

/// How often one look is repeated while nothing comes back.
const LOOKS: u8 = 5;

/// A registration of which it is not known who will use it.
#[derive(Clone, Debug)]
pub(super) struct Unsettled {
    id: RunnerId,
    /// Why it could not be written down: how the pass ends if there is nothing to remove.
    error: CallError,
    looks: u8,
}

impl ErPass {
    /// Whether this pass made a registration that it may be the only one to know.
    pub(super) fn may_lose_registration(&self, o: &Observed<'_>) -> bool {
        o.settings.behaviour.er_used_jit == UsedJit::Replaced && self.made.is_some()
    }

    /// Finds out who will use the registration that could not be written down because of `error`.
    pub(super) fn settle_registration(&mut self, error: CallError) -> Decision {
        let id = self.made.unwrap_or_default();
        self.unsettled = Some(Box::new(Unsettled { id, error, looks: 0 }));
        self.look(Step::AfterUnsettledSecretRead)
    }

    fn look(&mut self, step: Step) -> Decision {
        match step {
            Step::AfterUnsettledSecretRead => self.read_secret(step),
            _ => self.call(step, KubeRequest::Get { kind: Kind::EphemeralRunner, key: self.key.clone() }),
        }
    }

    /// The secret says which registration a pod will present; without one, only a live runner can still come by its own.
    pub(super) fn after_unsettled_secret_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_found::<Secret>() {
            Ok(Some(secret)) => {
                self.secret = Some(secret);
                match self.unsettled_id() {
                    Some(id) if self.secret_runner_id() != Some(id) => self.give_back(o),
                    _ => self.look(Step::AfterUnsettledRunnerRead),
                }
            }
            Ok(None) => self.look(Step::AfterUnsettledRunnerRead),
            Err(_) => self.look_again(Step::AfterUnsettledSecretRead),
        }
    }

    /// A live runner's next pass finds the registration, by its secret or its name; one that is gone or goes has no use for it.
    pub(super) fn after_unsettled_runner_read(&mut self, o: &mut Observed<'_>) -> Decision {
        match o.take_reply().into_found::<EphemeralRunner>() {
            Ok(Some(runner)) if runner.metadata.uid == self.uid() && !runner.metadata.is_deleting() => {
                self.unsettled_end()
            }
            Ok(_) => self.give_back(o),
            Err(_) => self.look_again(Step::AfterUnsettledRunnerRead),
        }
    }

    pub(super) fn after_unsettled_removed(&mut self, o: &mut Observed<'_>, reply: Reply) -> Decision {
        if let Err(e) = reply.into_service() {
            o.error("Failed to remove the runner from the service", e.text());
        }
        self.unsettled_end()
    }

    fn look_again(&mut self, step: Step) -> Decision {
        match &mut self.unsettled {
            Some(unsettled) if unsettled.looks + 1 < LOOKS => {
                unsettled.looks += 1;
                self.look(step)
            }
            _ => self.unsettled_end(),
        }
    }

    fn unsettled_id(&self) -> Option<RunnerId> {
        self.unsettled.as_ref().map(|u| u.id)
    }

    fn give_back(&mut self, o: &mut Observed<'_>) -> Decision {
        o.info("Removing the registration that nobody will use");
        let id = self.unsettled_id().unwrap_or_default();
        self.service_with(Purpose::RemoveUnsettled, Op::RemoveRunner(id))
    }

    /// The pass ends as it would have ended without the look.
    fn unsettled_end(&self) -> Decision {
        Decision::End(self.unsettled.as_ref().map_or(Outcome::Settled, |u| Outcome::failed(&u.error)))
    }
}
