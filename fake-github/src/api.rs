//! One door for all requests. Routes them, and nothing else.

use arc_api::Time;
use arc_api::service::{Op, ServiceRequest};

use crate::rules::{Intercepted, spoil};
use crate::state::{GitHub, Outcome};

impl GitHub {
    /// Takes one request at `now`.
    ///
    /// Guarantees: the effect of a refused request is nothing; two long polls park (E10, RunnerPoll), all else is
    /// answered at once; what other parked polls are owed because of it is in [`GitHub::pop_ready`] afterwards.
    pub fn handle(&mut self, request: &ServiceRequest, now: Time) -> Outcome {
        self.advance(now);
        let outcome = match self.intercept(request, now) {
            Intercepted::Refuse(error) => Outcome::Reply(Err(error)),
            Intercepted::Nothing => self.dispatch(request, now),
            Intercepted::Spoil(mode) => match self.dispatch(request, now) {
                Outcome::Reply(reply) => Outcome::Reply(spoil(reply, mode)),
                parked => parked,
            },
        };
        self.tidy();
        outcome
    }

    fn dispatch(&mut self, request: &ServiceRequest, now: Time) -> Outcome {
        let auth = &request.auth;
        Outcome::Reply(match &request.op {
            Op::AccessToken => self.access_token(auth, now),
            Op::RegistrationToken { url } => self.registration_token(auth, url, now),
            Op::RunnerRegistration { url, has_body } => self.runner_registration(auth, url, *has_body, now),
            Op::GetScaleSet { group, name } => self.get_scale_set(auth, *group, name, now),
            Op::GetScaleSetById(id) => self.get_scale_set_by_id(auth, *id, now),
            Op::CreateScaleSet { group, name, labels } => self.create_scale_set(auth, *group, name, labels, now),
            Op::UpdateScaleSet { id, group, name } => self.update_scale_set(auth, *id, *group, name.as_ref(), now),
            Op::DeleteScaleSet(id) => self.delete_scale_set(auth, *id, now),
            Op::GetRunnerGroup { name } => self.get_runner_group(auth, name, now),
            Op::CreateSession { id, owner } => self.create_session(auth, *id, owner, now),
            Op::RefreshSession { id, session } => self.refresh_session(auth, *id, *session, now),
            Op::DeleteSession { id, session } => self.delete_session(auth, *id, *session, now),
            Op::GetMessage { id, last, capacity } => return self.get_message(auth, *id, *last, *capacity, now),
            Op::DeleteMessage { id, message } => self.delete_message(auth, *id, *message, now),
            Op::AcquireJobs { id, requests } => self.acquire_jobs(auth, *id, requests.as_deref(), now),
            Op::GetAcquirableJobs(id) => self.acquirable_jobs(auth, *id, now),
            // The work folder only goes into the JIT payload, which is opaque here.
            Op::GenerateJitConfig { id, name, work_folder: _ } => self.generate_jit(auth, *id, name, now),
            Op::GetRunner(id) => self.get_runner(auth, *id, now),
            Op::GetRunnerByName(name) => self.get_runner_by_name(auth, name, now),
            Op::RemoveRunner(id) => self.remove_runner(auth, *id, now),
            Op::RunnerConnect { jit, version } => self.runner_connect(*jit, version, now),
            Op::RunnerPoll => return self.runner_poll(auth, now),
            Op::RunnerRenew => self.runner_renew(auth, now),
            Op::RunnerComplete(result) => self.runner_complete(auth, *result, now),
            Op::RunnerDisconnect => self.runner_disconnect(auth, now),
        })
    }
}
