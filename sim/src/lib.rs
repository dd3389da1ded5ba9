//! The simulated world.

pub mod helm;
pub mod plan;
pub mod rand;
pub mod scenario;
