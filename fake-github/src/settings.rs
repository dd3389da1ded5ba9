//! How the service behaves where GitHub's own behaviour differs by product, changed over time, or is not known.
//!
//! Values only, and every one of them says where its default comes from. Nothing here decides.

use std::collections::BTreeMap;

use arc_api::{Duration, GroupId, Str};

/// Which of GitHub's two back ends a tenant sees (actions-service.md §2.8).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Personality {
    /// github.com: the service assigns jobs itself when a poll shows room for them.
    #[default]
    Broker,
    /// GitHub Enterprise Server: jobs are offered and have to be acquired (`acquire_required`, "pipelines").
    AcquireRequired,
}

/// What becomes of a job that no runner fetched in the last of its attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Unfetched {
    /// It ends as cancelled (actions-service.md §5.1).
    #[default]
    Cancel,
    /// It goes back to the queue for ever, until the queue limit.
    Wait,
}

/// The knobs of one tenant. [`Profile::default`] is github.com as measured in 2026.
#[derive(Clone, PartialEq, Debug)]
pub struct Profile {
    /// Back end.
    pub personality: Personality,
    /// How long an empty listener poll is held: 50 s (§2.5, MEAS).
    pub poll_hold: Duration,
    /// How long an empty runner poll is held: 50 s (§6.3). `Duration::MAX` parks it until there is something to say.
    pub runner_poll_hold: Duration,
    /// How long a session lives after its last activity: 90 s (§2.4, MEAS). `Duration::MAX` is for ever.
    pub session_ttl: Duration,
    /// Life of an admin token: 17 min (§1.4, MEAS).
    pub admin_ttl: Duration,
    /// Life of a `messageQueueAccessToken`: 60 min (§5.3, seen 50–65).
    pub queue_ttl: Duration,
    /// Life of a registration token: 1 h (§1.2).
    pub registration_ttl: Duration,
    /// Life of an installation token: 1 h (§1.2).
    pub installation_ttl: Duration,
    /// How long a fresh registration token is still refused at step C: 0 (§1.3: they are eventually consistent).
    pub registration_lag: Duration,
    /// From an event to its delivery on an open poll: 0.5 s (§5.3, MEAS 0.2–1 s).
    pub delivery_latency: Duration,
    /// From acquire to `JobAssigned`: 0.2 s (recorded: c_session_conflict; the split is INF, U8).
    pub assign_latency: Duration,
    /// From a runner's connection to the first job it can get: 1.5 s (§5.3: `JobStarted` arrives 2 s after online).
    pub pickup_latency: Duration,
    /// From a runner taking a job to the `JobStarted` event, before delivery latency: 0.
    pub started_latency: Duration,
    /// How long an assigned job waits for a runner: 300 s (§5.2, ISS).
    pub pickup_timeout: Duration,
    /// How often a job is assigned before [`Profile::unfetched`] applies: 3 (§5.2).
    pub pickup_attempts: u8,
    /// What comes after the last attempt.
    pub unfetched: Unfetched,
    /// Silence after which a busy runner counts as lost: 570 s after the last renewal (§5.2, MEAS).
    pub dead_runner_after: Duration,
    /// How long a cancelled running job may take to report its end: 5 min (INF; §6.5 item 7 bounds the worker).
    pub cancel_timeout: Duration,
    /// How long a job may wait for a scale set or an acquire: 24 h (§5.2, DOC).
    pub queue_limit: Duration,
    /// How long a registration may be offline: 24 h (§5.2, DOC).
    pub offline_cleanup: Duration,
    /// How long a runner's session survives a process that died without closing it: 90 s (INF from §6.4: agents give
    /// up after about 210 s of conflicts).
    pub runner_session_ttl: Duration,
    /// Whether the capacity header limits what a scale set gets. `None`: yes for the broker, no otherwise (§2.5).
    pub capacity_gate: Option<bool>,
    /// What a poll without the header means: true is unlimited (0.9.0 and older never send it), false is 0.
    pub absent_capacity_is_unlimited: bool,
    /// Whether offers nobody acquired are sent again to a new session (U9; 0.14.2 depends on it).
    pub reoffer: bool,
    /// Events in one message at most: 50 (§3.4, DOC).
    pub batch_max: usize,
    /// Status of removing a runner that does not exist: 204 (U1), or 404.
    pub unknown_runner_status: u16,
    /// Status of deleting a message again: 204 (U2), or 404.
    pub deleted_message_status: u16,
    /// Status of deleting a scale set that does not exist: 404 (U25), or 204.
    pub missing_scale_set_status: u16,
    /// Status of creating a scale set that exists: 409 (U7), or 400.
    pub duplicate_scale_set_status: u16,
    /// Status of step C without a body: 0 accepts it, else the refusal: 422 (Q-REG-RETRY-EMPTY-BODY, U24).
    pub empty_registration_status: u16,
    /// Status of acquiring the literal `null`: 400, or 200 with an empty list (§2.6).
    pub null_acquire_status: u16,
    /// Status of refreshing or deleting a dead session. `None`: 404 at the broker, 400 otherwise (U3).
    pub dead_session_status: Option<u16>,
    /// Whether a job cancelled while nobody had it yet is reported to the scale sets it was offered to (U14).
    pub report_waiting_cancel: bool,
    /// Whether a redelivered message keeps the counters of its first delivery (§3.3: normally they are fresh).
    pub stale_replay_statistics: bool,
    /// Further runner groups; `Default` is always 1.
    pub groups: Vec<(Str, GroupId)>,
}

impl Default for Profile {
    fn default() -> Profile {
        Profile {
            personality: Personality::Broker,
            poll_hold: Duration::from_secs(50),
            runner_poll_hold: Duration::from_secs(50),
            session_ttl: Duration::from_secs(90),
            admin_ttl: Duration::from_secs(17 * 60),
            queue_ttl: Duration::from_secs(60 * 60),
            registration_ttl: Duration::from_secs(60 * 60),
            installation_ttl: Duration::from_secs(60 * 60),
            registration_lag: Duration::ZERO,
            delivery_latency: Duration::from_millis(500),
            assign_latency: Duration::from_millis(200),
            pickup_latency: Duration::from_millis(1500),
            started_latency: Duration::ZERO,
            pickup_timeout: Duration::from_secs(300),
            pickup_attempts: 3,
            unfetched: Unfetched::Cancel,
            dead_runner_after: Duration::from_secs(570),
            cancel_timeout: Duration::from_secs(300),
            queue_limit: Duration::from_secs(24 * 3600),
            offline_cleanup: Duration::from_secs(24 * 3600),
            runner_session_ttl: Duration::from_secs(90),
            capacity_gate: None,
            absent_capacity_is_unlimited: true,
            reoffer: true,
            batch_max: 50,
            unknown_runner_status: 204,
            deleted_message_status: 204,
            missing_scale_set_status: 404,
            duplicate_scale_set_status: 409,
            empty_registration_status: 422,
            null_acquire_status: 400,
            dead_session_status: None,
            report_waiting_cancel: false,
            stale_replay_statistics: false,
            groups: Vec::new(),
        }
    }
}

impl Profile {
    /// GitHub Enterprise Server: the same constants, jobs have to be acquired.
    pub fn acquire_required() -> Profile {
        Profile { personality: Personality::AcquireRequired, ..Profile::default() }
    }
    /// Whether the capacity header limits assignments (broker) or offers.
    pub fn is_gated(&self) -> bool {
        self.capacity_gate.unwrap_or(self.personality == Personality::Broker)
    }
    pub(crate) fn dead_session_status(&self) -> u16 {
        self.dead_session_status.unwrap_or(match self.personality {
            Personality::Broker => 404,
            Personality::AcquireRequired => 400,
        })
    }
}

/// Settings of a whole service.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Settings {
    /// What tenants have unless stated otherwise.
    pub profile: Profile,
    /// Tenants that differ, by path: `my-org`, `my-org/app`, `enterprises/big`.
    pub tenants: BTreeMap<Str, Profile>,
    /// Whether credentials the world did not mention are refused. By default only those declared bad are.
    pub strict_credentials: bool,
}
