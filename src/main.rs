//! The `mediagenie` executable.

use std::process::ExitCode;

/// Many small values pass between a few threads here; the system's allocator, above all musl's, is slow at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    mediagenie::cli::run()
}
