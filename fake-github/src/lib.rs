//! The GitHub side of the world.
