//! The simulated world of GitHub's Actions Runner Controller: engine, processes, faults, invariants, scenarios.

pub mod cli;
pub mod conform;
pub mod engine;
pub mod exit;
pub mod fault;
pub mod helm;
pub mod invariant;
pub mod metrics;
pub mod network;
pub mod outcome;
pub mod own;
pub mod plan;
pub mod process;
pub mod rand;
pub mod report;
pub mod scenario;
mod shared;
pub mod trace;
pub mod world;
