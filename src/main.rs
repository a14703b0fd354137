//! The binary: parses the arguments, calls `cli` and exits with its code.

use clap::Parser;
use paceline::cli::{self, Cli};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli::run(cli).await,
        Err(error) => cli::print_parse_error(&error, std::env::args_os()),
    }
}
