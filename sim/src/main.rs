//! The `arc-sim` command.
fn main() {}
