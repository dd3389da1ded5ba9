//! What ARC decides: the four reconcilers, the listener and the scaler as pure machines, parameterised by release.
//!
//! **Never**: reads a clock, draws, blocks, does I/O, knows how a call is executed or that faults exist. Time is an
//! argument, side effects are values, replies are arguments.
//!
//! The contract: a reconcile *pass* ([`reconcile::Pass`]) is stepped; each step sees the informer caches (which may lag) and
//! the reply to its last call, and answers with exactly one [`call::Call`] or the pass's [`reconcile::Outcome`]. So every gap
//! between two calls is a place where a world can crash the process, lose the reply or show an older cache. The listener is
//! a long-lived machine: one input, then outputs until it says what it waits for.
//!
//! Reading order: [`release`], [`behaviour`] (what differs between releases) → [`call`], [`caches`], [`reconcile`] (the
//! contract) → the reconcilers → [`client`] → [`scaler`], [`demand`], [`listener`] → [`workqueue`], [`throttle`] (what a manager
//! process is made of besides) → [`own`] (machines of somebody else's making in the places of these).

pub mod autoscaling_listener;
pub mod autoscaling_runner_set;
pub mod behaviour;
pub mod caches;
pub mod call;
pub mod client;
mod client_build;
pub mod credentials;
pub mod demand;
pub mod ephemeral_runner;
pub mod ephemeral_runner_set;
pub mod hashes;
pub mod labels;
pub mod listener;
pub mod listener_config;
pub mod names;
pub mod own;
mod pod_start;
pub mod reconcile;
pub mod release;
pub mod scaler;
pub mod throttle;
pub mod triggers;
pub mod workqueue;

#[cfg(test)]
mod runner_switch_tests;
#[cfg(test)]
mod set_world;
#[cfg(test)]
mod test_world;

pub use behaviour::Behaviour;
pub use release::Release;
