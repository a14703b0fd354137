//! `paceline check`: whether the schedule and the truth agree.

use super::context::Context;
use super::{CliError, table};
use crate::keep::{self, CheckReport};
use std::fmt;

/// Compares Postgres and Redis: every scheduled job is in exactly one of due, ready, leased, and nobody else is.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Make Redis follow Postgres where they differ
    #[arg(long)]
    repair: bool,
}

const EXAMPLES: &str = "\
Examples:
  paceline check
  paceline check --repair
  paceline check --json | jq .problems

It may run beside any number of workers. Exit code 0: nothing is wrong (any more).";

struct Answer(CheckReport);

impl serde::Serialize for Answer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CheckReport { jobs, scheduled, problems, repaired, .. } = &self.0;
        if !problems.is_empty() {
            let mut rows = table::with(&["provider", "job", "problem"]);
            for problem in problems {
                let job = problem.job.map_or(String::new(), |id| id.to_string());
                rows.add_row([problem.provider.clone(), job, problem.what.clone()]);
            }
            writeln!(f, "{rows}")?;
        }
        write!(f, "{jobs} jobs, {scheduled} scheduled: {} problems, {repaired} repaired", problems.len())
    }
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let report = keep::check(&context.app, args.repair).await.map_err(CliError::refused)?;
    let (clean, repair) = (report.clean, args.repair);
    context.output.answer(&Answer(report))?;
    match (clean, repair) {
        (true, _) => Ok(()),
        (false, true) => Err(CliError::refused("not all of it could be repaired")),
        (false, false) => {
            Err(CliError::refused("the schedule differs from Postgres: --repair makes it follow"))
        }
    }
}
