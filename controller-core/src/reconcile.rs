//! The contract between a reconcile pass and the process that runs it.
//!
//! A pass is made for one key, stepped until it ends, and thrown away; what survives is in the API objects and in the work
//! queue. Between two steps anything may happen to the world.

use std::sync::Arc;

use arc_api::{Duration, Kind, Str, Time};

use crate::behaviour::Behaviour;
use crate::caches::Caches;
use crate::call::{Call, CallError, Reply};

/// What a pass saw at the server and its cache does not show yet is looked at again after this time (corrected controller).
pub(crate) const CACHE_LAG: Duration = Duration::from_secs(2);

/// What a manager process is configured with; the same for all its passes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How its release behaves.
    pub behaviour: Arc<Behaviour>,
    /// Build version, e.g. `0.9.1`: what the version gate compares and what names the image.
    pub version: Str,
    /// Namespace of the manager and of all listeners.
    pub namespace: Str,
    /// The controller's own image, which listeners run as well.
    pub image: Str,
    /// `--update-strategy`.
    pub update_strategy: UpdateStrategy,
    /// `--auto-scaler-image-pull-secrets`.
    pub image_pull_secrets: Vec<Str>,
    /// `--exclude-label-propagation-prefix`.
    pub excluded_label_prefixes: Vec<Str>,
    /// Whether metrics are on (Q-BADURL-NO-SCALING).
    pub metrics: bool,
}

/// `--update-strategy`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum UpdateStrategy {
    /// The new set starts beside the old one.
    #[default]
    Immediate,
    /// The old one drains first.
    Eventual,
}

/// What a pass can see during one step.
pub struct Observed<'a> {
    /// The process's settings.
    pub settings: &'a Settings,
    /// Its informer caches, as they are now: they may have moved since the last step.
    pub caches: &'a Caches,
    /// Virtual time.
    pub now: Time,
    /// The reply to this pass's last call; `None` on the first step.
    pub reply: Option<Reply>,
    /// Where the pass writes its log lines.
    pub log: &'a mut Vec<LogLine>,
}

impl Observed<'_> {
    /// Takes the reply to the last call.
    ///
    /// # Panics
    /// If there is none: the pass was stepped without a reply, a bug of the harness.
    pub fn take_reply(&mut self) -> Reply {
        match self.reply.take() {
            Some(reply) => reply,
            None => panic!("a pass was resumed without the reply to its call"),
        }
    }
    /// Writes an ERROR line.
    pub fn error(&mut self, message: &'static str, error: impl Into<Str>) {
        self.log.push(LogLine { level: Level::Error, message, detail: error.into() });
    }
    /// Writes an INFO line.
    pub fn info(&mut self, message: &'static str) {
        self.log.push(LogLine { level: Level::Info, message, detail: Str::default() });
    }
}

/// A line of the manager's log, upstream's wording.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogLine {
    /// Level.
    pub level: Level,
    /// Message.
    pub message: &'static str,
    /// The error, if any.
    pub detail: Str,
}

/// Log level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum Level {
    Info,
    Error,
}

/// The answer of one step.
#[derive(Clone, PartialEq, Debug)]
pub enum Decision {
    /// Exactly one side effect; step again with its reply.
    Call(Call),
    /// The pass is over.
    End(Outcome),
}

/// How a pass ends (arc-controllers.md §0).
#[derive(Clone, PartialEq, Debug)]
pub enum Outcome {
    /// Nothing more until a watch event: the key's failures are forgotten.
    Settled,
    /// Rate-limited requeue without an error; the key's failure count grows.
    Requeue,
    /// Looked at again after this time; the key's failures are forgotten. Zero means no requeue at all.
    After(Duration),
    /// Rate-limited requeue and an ERROR line `Reconciler error`.
    Error(Str),
}

impl Outcome {
    /// An error from a failed call.
    pub fn failed(error: &CallError) -> Outcome {
        Outcome::Error(error.text())
    }
}

/// A reconcile pass over one key: a pure machine.
pub trait Pass: Clone {
    /// The kind it reconciles.
    const KIND: Kind;
    /// Decides what comes next. Same pass, same observation: same decision.
    fn step(&mut self, observed: &mut Observed<'_>) -> Decision;
    /// The name of the step it will resume at, for traces and crash points.
    fn at(&self) -> &'static str;
}

/// Declares the steps of a pass: where it resumes, named for what has just happened, with the name that traces and crash
/// points use.
macro_rules! steps {
    ($($step:ident = $name:literal,)*) => {
        /// Where a pass resumes: named for what has just happened.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        enum Step { $($step),* }
        impl Step {
            /// The name in traces and crash points.
            const fn name(self) -> &'static str { match self { $(Step::$step => $name),* } }
        }
    };
}
pub(crate) use steps;
