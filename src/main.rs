//! The `mediagenie` executable.

use std::process::ExitCode;

fn main() -> ExitCode {
    mediagenie::cli::run()
}
