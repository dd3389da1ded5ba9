//! What GitHub's Actions service does for runner scale sets, as a pure machine.
//!
//! It never reads a clock, draws, waits or does I/O: time comes in with every call, identifiers come from counters, long
//! polls park. It knows neither the controller nor the listener, only the wire types of `arc-api`. A clone is a fork: a
//! handful of reference counts, copied piece by piece when one side writes.
//!
//! Source: `actions-service.md` (tiers SRC, DOC, MEAS, ISS, REC, INF say how sure each rule is); what is a choice rather
//! than knowledge is a knob of [`Profile`].
//!
//! Reading order: [`settings`] → [`state`] (the machine and its loop) → [`api`] (routing) → [`auth`], [`scale_sets`],
//! [`session`], [`queue`], [`jobs`], [`assign`], [`runners`], [`runner_calls`] (one chapter of the service each) → [`stats`] → [`view`], [`event`] (what an
//! observer sees) → [`fault`], [`inject`], [`rules`], [`scope`] (how it can be made to misbehave).
//!
//! ```
//! use arc_api::service::{Auth, Op, ServiceOk, ServiceRequest};
//! use arc_api::{Duration, GroupId, Time};
//! use fake_github::{GitHub, JobSpec, Outcome, Settings};
//!
//! let mut github = GitHub::new(Settings::default());
//! let admin = Auth::Admin(github.issue_admin_token("my-org", Time::ZERO));
//! let op = Op::CreateScaleSet { group: GroupId(1), name: "linux".into(), labels: vec!["linux".into()] };
//! let Outcome::Reply(Ok(ServiceOk::ScaleSet(Some(set)))) =
//!     github.handle(&ServiceRequest { auth: admin, op }, Time::ZERO)
//! else { panic!("E3 answers 200") };
//! let job = github.queue_job(JobSpec::new("my-org", "linux", Duration::from_secs(60)), Time::from_secs(1));
//! assert_eq!(github.job(job).map(|job| job.attempts), Some(0), "the broker assigns when somebody polls");
//! assert_eq!(set.name, "linux");
//! ```

pub mod api;
pub mod assign;
pub mod auth;
mod error;
pub mod event;
pub mod fault;
pub mod inject;
pub mod jobs;
pub mod queue;
pub mod rules;
pub mod runner_calls;
pub mod runners;
pub mod scale_sets;
pub mod scope;
pub mod session;
pub mod settings;
pub mod state;
pub mod stats;
mod table;
mod timer;
pub mod view;

pub use auth::{CredentialState, tenant_path};
pub use event::{EventType, JobEnd, JobReturn, RunnerEnd, ScaleSetEnd, ServiceEvent, SessionEnd, TokenKind};
pub use fault::{EventFault, EventMode, ExpiryPoint, JobFault, StaleViews, StatMode, VersionRule, refusal};
pub use inject::Injected;
pub use jobs::{Job, JobSpec, JobState};
pub use rules::{AnswerFault, AnswerRule, LimitKey, OpSet, RateLimit};
pub use runners::Runner;
pub use scale_sets::ScaleSet;
pub use scope::{Firing, RuleId, Scope};
pub use session::{SessionFault, SessionState};
pub use settings::{Personality, Profile, Settings, Unfetched};
pub use state::{GitHub, Outcome, TenantIndex, Ticket};
pub use stats::StatField;
