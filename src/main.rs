//! The binary: parses the arguments, calls `cli` and exits with its code.

use clap::Parser;
use paceline::cli::{self, Cli};
use std::process::ExitCode;
use tokio::runtime::Builder;

fn main() -> ExitCode {
    let runtime = match Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::print_cannot_start(&error),
    };
    let code = runtime.block_on(async {
        match Cli::try_parse() {
            Ok(cli) => cli::run(cli).await,
            Err(error) => cli::print_parse_error(&error, std::env::args_os()),
        }
    });
    // A look-up of a name that hangs on a thread of its own must not keep the process.
    runtime.shutdown_background();
    code
}
