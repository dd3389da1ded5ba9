//! The simulated world.

pub mod plan;
pub mod rand;
