//! The end of a listener process: what SIGTERM aborts, how a session is deleted, the exit.
//!
//! **Never**: ends a process that a release would let live. Source: actions-service.md §4.1, O11, O12, G11, S11; recorded:
//! c_graceful, c_token.

use arc_api::service::Op;
use arc_api::{Duration, Str, Time};

use super::message::Work;
use super::session::Doing;
use super::{Listener, Output, Phase, texts};
use crate::behaviour::{ListenerClose, ListenerDrain};

/// How long `next` takes for what it has begun after SIGTERM, before it deletes its session.
const LEAVE_WITHIN: Duration = Duration::from_secs(15);
/// How long a session's deletion may take where it is limited.
const CLOSE_WITHIN: Duration = Duration::from_secs(30);

impl Listener {
    /// SIGTERM: aborts what the release aborts; what is left is looked at when it ends.
    pub(super) fn terminate(&mut self, now: Time) {
        if std::mem::replace(&mut self.cancelled, true) {
            return;
        }
        if self.retries() {
            // Whatever was begun may take a while; a poll and a wait may not.
            self.leave_by = now.after(LEAVE_WITHIN);
            match self.phase {
                Phase::Polling => self.abort(now),
                Phase::Sleeping { .. } => self.close(0, "terminated".into(), now),
                Phase::Starting | Phase::Working | Phase::Closing | Phase::Exited => {}
            }
            return;
        }
        let finishes = self.setup.behaviour.listener_drain == ListenerDrain::Finished && self.work.handles_message();
        match self.phase {
            Phase::Starting | Phase::Polling => self.abort(now),
            Phase::Working if !finishes => self.abort(now),
            Phase::Working | Phase::Sleeping { .. } | Phase::Closing | Phase::Exited => {}
        }
    }
    /// Gives up what is under way; the failure of it does the rest.
    fn abort(&mut self, now: Time) {
        if let Some((id, _)) = self.call {
            self.client.cancel(id, now);
        } else if let Some(write) = self.writer.abort() {
            self.out.push_back(Output::AbortKube { write });
            self.close(1, texts::cancelled_patch(), now);
        }
    }
    /// The grace period is running out for `next`, or a session's deletion has had its time.
    pub(super) fn stop_waiting(&mut self, now: Time) {
        match self.phase {
            Phase::Closing => {
                if let Some((id, _)) = self.call {
                    self.client.cancel(id, now);
                }
            }
            Phase::Exited => {}
            Phase::Starting | Phase::Polling | Phase::Working | Phase::Sleeping { .. } => {
                if let Some((id, _)) = self.call.take() {
                    self.client.cancel(id, now);
                }
                self.close(0, "terminated".into(), now);
            }
        }
    }
    /// Ends the process for an error of a call; which texts depends on the release.
    pub(super) fn fail(&mut self, what: texts::Failure<'_>, now: Time) {
        let text = texts::render(self.setup.behaviour.listener_texts, &what);
        self.close(1, text, now);
    }
    /// Ends the process as a Go panic does: at once where the session's deletion is not deferred yet.
    pub(super) fn panic(&mut self, deferred: bool, now: Time) {
        let text = Str::new_static("panic: runtime error: invalid memory address or nil pointer dereference");
        if deferred { self.close(2, text, now) } else { self.exit(2, text) }
    }
    /// Deletes the session as far as the release does, then exits.
    pub(super) fn close(&mut self, code: i32, text: Str, now: Time) {
        self.last_words = Some((code, text));
        self.work = Work::default();
        let limit = match self.setup.behaviour.listener_close {
            ListenerClose::Never => None,
            ListenerClose::Yes | ListenerClose::Within30s => Some(now.after(CLOSE_WITHIN)),
            ListenerClose::Unbounded => Some(Time::NEVER),
        };
        match (&self.session, limit) {
            (Some(session), Some(limit)) => {
                let op = Op::DeleteSession { id: self.setup.config.runner_scale_set_id, session: session.id };
                self.phase = Phase::Closing;
                self.leave_by = limit;
                self.submit(Doing::Close, op, now);
            }
            (None, _) | (_, None) => self.leave(),
        }
    }
    pub(super) fn leave(&mut self) {
        let (code, text) = self.last_words.take().unwrap_or((1, Str::default()));
        self.exit(code, text);
    }
    fn exit(&mut self, code: i32, text: Str) {
        self.phase = Phase::Exited;
        self.session = None;
        self.call = None;
        self.out.push_back(Output::Exit { code, text });
    }
}
