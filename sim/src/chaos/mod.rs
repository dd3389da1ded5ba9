//! Chaos: worlds and faults at random, and what becomes of a failure once one is found.
//!
//! Reading order: [`profile`] (how wild) → [`draw`](mod@draw) (seed → plan) → [`settle`] (how long a world may take to come to
//! rest) → [`seed`] (one seed, run) → [`campaign`] (many) → [`shrink`] → [`finding`] (class, causes) → [`report`] (tables, scenario
//! files) and [`lines`]. Parallelism is by seed, never inside a world; nothing here decides what a fault or a promise is.

mod draws;

pub mod campaign;
pub mod draw;
pub mod finding;
pub mod hunts;
pub mod lines;
pub mod manifest;
pub mod profile;
pub mod report;
pub mod results;
pub mod seed;
pub mod settle;
pub mod shrink;

pub use draw::draw;
pub use finding::Finding;
pub use profile::Profile;
pub use seed::{Class, Seen, examine};
