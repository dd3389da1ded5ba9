//! The `arc-sim` command: hands the command line to [`arc_sim::cli`] and the exit code to the shell. Nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    arc_sim::cli::main(&arc_sim::report::engine::run).into()
}
