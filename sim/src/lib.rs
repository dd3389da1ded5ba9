//! The simulated world of GitHub's Actions Runner Controller: engine, processes, faults, invariants, scenarios.
//!
//! What it is: a scenario (or a plan) and a seed make one history, in virtual time, in which ARC's controllers and listeners, an
//! API server with its nodes, and GitHub's Actions service are pure machines; invariants are checked at every event. What it never
//! does: read a clock, open a connection, or give two histories for one seed.
//!
//! # A property suite in your `cargo test`
//!
//! Add the crate to your `dev-dependencies`; a test is a [`Simulation`], a run, and what must have come of it:
//!
//! ```
//! use arc_sim::{Release, Simulation, SimulationError};
//!
//! const OUTAGE: &str = r#"
//! name: api-server-restart
//! why: The API server refuses connections for a minute while jobs arrive.
//! release: next
//! clusters: [{ name: prod, nodes: 2, scale_sets: [{ name: linux, min_runners: 1, max_runners: 4 }] }]
//! workload: [{ pattern: trickle, scale_set: linux, at: 30s, every: 20s, times: 6, duration: 15s }]
//! faults: [{ at: 1m, for: 1m, api_outage: { mode: down } }]
//! run_for: 5m
//! expect: { next: { holds: all } }
//! "#;
//!
//! # fn main() -> Result<(), SimulationError> {
//! let outage = Simulation::parse("api-server-restart.yaml", OUTAGE)?;
//! for seed in 0..8 {
//!     outage.clone().release(Release::Next).seed(seed).run().assert_holds();
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A failed assertion prints the violation, the events that led to it, and what makes the run again.
//!
//! # Your own controller
//!
//! A reconciler is a type that implements [`Pass`](controller_core::reconcile::Pass): one step, one call. It takes ARC's place with
//! [`Simulation::with_reconciler`]; everything else of the world stays. Here is one that does nothing, which is noticed:
//!
//! ```
//! use arc_sim::arc_api::{Kind, meta::Key};
//! use arc_sim::controller_core::reconcile::{Decision, Observed, Outcome, Pass};
//! use arc_sim::{Controller, Simulation, SimulationError};
//!
//! #[derive(Clone, Debug)]
//! struct Idle;
//!
//! impl Pass for Idle {
//!     const KIND: Kind = Kind::EphemeralRunnerSet;
//!     fn step(&mut self, _: &mut Observed<'_>) -> Decision {
//!         Decision::End(Outcome::Settled)
//!     }
//!     fn at(&self) -> &'static str {
//!         "start"
//!     }
//! }
//!
//! # fn main() -> Result<(), SimulationError> {
//! # let text = "name: one-job\nwhy: A job comes.\nrelease: next\nclusters: [{ name: prod, nodes: 2, scale_sets: \
//! #     [{ name: linux, max_runners: 4 }] }]\nworkload: [{ pattern: burst, scale_set: linux, at: 1m, count: 1 }]\n\
//! #     run_for: 10m\nexpect: { next: { holds: all } }\n";
//! let world = Simulation::parse("one-job.yaml", text)?;
//! world.run().assert_holds();
//! let idle = world.with_reconciler(Controller::EphemeralRunnerSet, |_: Key| Idle);
//! idle.run().assert_violates("job-gets-runner");
//! # Ok(())
//! # }
//! ```
//!
//! `sim/tests/own_controller.rs` of this repository has a whole one. The same goes for the listener
//! ([`Simulation::with_listener`]).
//!
//! # Reading order
//!
//! [`scenario`] and [`plan`] (what is asked for) → [`world`], [`engine`], [`process`], [`fault`] (what happens) → [`invariant`],
//! [`metrics`] (what is seen) → [`report`], [`cli`] (what is told); [`simulation`] and [`own`] are the way in for other crates;
//! [`conform`] holds all of it against recordings of the real thing.

pub mod chaos;
pub mod cli;
pub mod conform;
pub mod engine;
pub mod exit;
pub mod fault;
pub mod helm;
pub mod invariant;
pub mod marks;
pub mod metrics;
pub mod mutants;
pub mod network;
pub mod outcome;
pub mod own;
mod parallel;
pub mod plan;
pub mod process;
pub mod rand;
pub mod report;
pub mod scenario;
mod shared;
pub mod simulation;
#[cfg(feature = "proptest")]
pub mod strategy;
pub mod trace;
pub mod world;

pub use arc_api;
pub use controller_core;
pub use controller_core::Release;
pub use own::Controller;
pub use simulation::{Report, Simulation, SimulationError};
