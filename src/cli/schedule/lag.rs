//! `paceline lag`

use crate::cli::{CliError, Context, table};
use crate::watch::{self, LagReport, ProviderLag};
use crate::words::Incident;
use serde::Serialize;
use std::fmt;

/// It takes no arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline lag
  paceline lag --json

A job is fresh while its reading is not older than its interval plus a grace period (`fresh` in the settings). p50 \
and p99 are of the lag, the time from when a job was due until its call was sent, over the last five minutes. \
Jobs that are not fresh are counted by cause; `paceline why` explains those of a device.")]
pub struct Args {}

#[derive(Serialize)]
#[serde(transparent)]
struct Report(LagReport);

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let used: Vec<_> =
            self.0.providers.iter().filter(|(_, lag)| lag.jobs.active + lag.jobs.probing > 0).collect();
        if used.is_empty() {
            return f.write_str("No jobs yet: `paceline device add` creates some.");
        }
        let mut table = table::new(&[
            "provider", "jobs", "fresh", "never", "failing", "probing", "due", "waiting", "blocked",
        ]);
        for (name, lag) in &used {
            let jobs = &lag.jobs;
            let figures = [jobs.active, jobs.fresh, jobs.never, jobs.failing, jobs.probing];
            let figures = figures.map(|figure| figure.to_string());
            let waiting = lag.schedule.as_ref().map_or([const { String::new() }; 3], |schedule| {
                [schedule.due, schedule.lanes_waiting, schedule.lanes_blocked]
                    .map(|figure| figure.to_string())
            });
            table.add_row(std::iter::once((*name).clone()).chain(figures).chain(waiting));
        }
        write!(f, "{table}")?;
        used.iter().try_for_each(|(name, lag)| write!(f, "\n{}", summary(name, lag)))?;
        match self.0.replica_lag_ms {
            Some(ms) => {
                write!(f, "\nJobs were counted at the replica, {} behind at most.", duration(ms as f64))
            }
            None => Ok(()),
        }
    }
}

/// `meadow: 300 jobs, 299 fresh (99.7 %), worst 1.2 s late; p50 3 ms, p99 20 ms.`
fn summary(name: &str, lag: &ProviderLag) -> String {
    let jobs = &lag.jobs;
    let share = match jobs.fresh == jobs.active {
        true => 100.0,
        false => ((jobs.fresh_share * 1000.0).round() / 10.0).min(99.9),
    };
    let worst = match jobs.worst_late_ms {
        0 => "none late".to_owned(),
        late => format!("worst {} late", duration(late as f64)),
    };
    let recent = lag.recent.as_ref().and_then(|recent| Some((recent.lag_p50_ms?, recent.lag_p99_ms?)));
    let sent = match recent {
        Some((p50, p99)) => format!("p50 {}, p99 {}", duration(p50), duration(p99)),
        None if lag.unreachable.is_some() => "it stands still".to_owned(),
        None => "nothing sent in the last five minutes".to_owned(),
    };
    let mut text =
        format!("{name}: {} jobs, {} fresh ({share} %), {worst}; {sent}.", jobs.active, jobs.fresh);
    if !jobs.not_fresh.is_empty() {
        let causes: Vec<_> = jobs.not_fresh.iter().map(|(cause, jobs)| format!("{jobs} {cause}")).collect();
        text = format!("{text}\n  not fresh: {}", causes.join(", "));
    }
    let handed_back = lag.recent.as_ref().map(|recent| &recent.handed_back).filter(|back| !back.is_empty());
    if let Some(handed_back) = handed_back {
        let reasons: Vec<_> =
            handed_back.iter().map(|(reason, calls)| format!("{calls} ({reason})")).collect();
        text = format!("{text}\n  granted and handed back unsent: {}", reasons.join(", "));
    }
    if let Some(error) = &lag.unreachable {
        text = format!("{text}\n  its schedule cannot be reached: {error}");
    }
    if let Some(incident) = &lag.incident {
        let Incident { outcome, since, failing, called, next_probe } = incident;
        let probed = match next_probe {
            Some(at) => format!("a few calls probe it, the next at {at}"),
            None => "calls are not held back".to_owned(),
        };
        text = format!(
            "{text}\n  incident since {since}: {failing} of {called} connections fail ({outcome}); {probed}"
        );
    }
    text
}

/// In a unit that keeps the number short.
fn duration(ms: f64) -> String {
    match ms {
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 120_000.0 => format!("{:.1} s", ms / 1_000.0),
        ms if ms < 7_200_000.0 => format!("{:.0} min", ms / 60_000.0),
        ms => format!("{:.0} h", ms / 3_600_000.0),
    }
}

/// Prints the report of the whole deployment.
pub(crate) async fn run(context: &Context, _args: Args) -> Result<(), CliError> {
    let app = &context.app;
    let providers: Vec<_> = app.registry.iter().map(|provider| provider.name.clone()).collect();
    let incidents = app.incidents.read_all(&providers).await;
    let report = watch::report(&app.sources(), None, &providers, incidents, app.clock.now()).await?;
    context.output.answer(&Report(report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::watch::{JobCounts, Recent};

    #[test]
    fn summary_has_fresh_share_worst_lateness_and_percentiles() {
        let jobs = JobCounts {
            active: 300,
            fresh: 299,
            fresh_share: 299.0 / 300.0,
            worst_late_ms: 1_200,
            ..JobCounts::default()
        };
        let recent = Recent { lag_p50_ms: Some(3.0), lag_p99_ms: Some(20.2), ..Recent::default() };
        let lag = ProviderLag { jobs, recent: Some(recent), ..ProviderLag::default() };
        assert_eq!(
            summary("meadow", &lag),
            "meadow: 300 jobs, 299 fresh (99.7 %), worst 1.2 s late; p50 3 ms, p99 20 ms."
        );
        assert!(summary("meadow", &ProviderLag::default()).contains("nothing sent"));
        let handed_back = [("its instant was missed".to_owned(), 2)].into();
        let recent = Some(Recent { handed_back, ..Recent::default() });
        let text = summary("meadow", &ProviderLag { recent, ..ProviderLag::default() });
        assert!(text.ends_with("\n  granted and handed back unsent: 2 (its instant was missed)"), "{text}");
        let unreachable = Some("Redis could not count the schedule: refused".to_owned());
        let text = summary("meadow", &ProviderLag { unreachable, ..ProviderLag::default() });
        assert!(text.contains("stands still.\n  its schedule cannot be reached: Redis could not"), "{text}");
    }
}
