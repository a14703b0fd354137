//! The one binary: parse, hand to `cli`, end with its exit code.

use clap::Parser;
use paceline::cli::{self, Cli};
use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => cli::run(cli).await,
        Err(error) => cli::misread(&error, std::env::args_os()),
    }
}
