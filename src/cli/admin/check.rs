//! `paceline check`: compares the schedule in Redis with Postgres.

use crate::cli::context::Context;
use crate::cli::{CliError, table};
use crate::keep::{self, CheckReport};
use std::fmt;

/// Checks that every job scheduled in Postgres, and no other, is in exactly one of due, ready and leased in Redis.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Correct Redis where it differs from Postgres
    #[arg(long)]
    repair: bool,
}

const EXAMPLES: &str = "\
Examples:
  paceline check
  paceline check --repair
  paceline check --json | jq .problems

Safe to run while workers run. Exit code 0 if there is no problem, or all were repaired; 1 otherwise.";

struct Report(CheckReport);

impl serde::Serialize for Report {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CheckReport { jobs, scheduled, problems, repaired, .. } = &self.0;
        if !problems.is_empty() {
            let mut rows = table::new(&["provider", "job", "problem"]);
            for problem in problems {
                let job = problem.job.map_or(String::new(), |id| id.to_string());
                rows.add_row([problem.provider.clone(), job, problem.what.clone()]);
            }
            writeln!(f, "{rows}")?;
        }
        write!(f, "{jobs} jobs, {scheduled} scheduled: {} problems, {repaired} repaired", problems.len())
    }
}

pub(crate) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let report = keep::check(&context.app, args.repair).await.map_err(CliError::refused)?;
    let (clean, repair) = (report.clean, args.repair);
    context.output.answer(&Report(report))?;
    match (clean, repair) {
        (true, _) => Ok(()),
        (false, true) => Err(CliError::refused("some problems could not be repaired")),
        (false, false) => Err(CliError::refused("the schedule differs from Postgres: --repair corrects it")),
    }
}
