//! `paceline device list`

use crate::cli::{CliError, Context, table};
use crate::postgres::Read;
use crate::preference::inventory::{self, DeviceRow, JobRow};
use crate::preference::{connections, tenants};
use crate::words::DeviceId;

/// Devices held in memory at a time.
const PAGE_SIZE: i64 = 1000;

/// A replica this far behind is mentioned.
const LAG_NOTED_MS: u64 = 1000;

/// Which devices to list.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline device list --tenant acme
  paceline device list --tenant acme --connection main --json")]
pub struct Args {
    /// Tenant whose devices to list
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// List only devices of this connection: its label or number
    #[arg(long, value_name = "LABEL")]
    connection: Option<String>,
}

/// Prints the devices page by page.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let pool = &context.app.pool;
    let tenant = tenants::find(pool, &args.tenant).await?;
    let connection = match &args.connection {
        Some(label) => Some(connections::find(pool, tenant, label).await?.id),
        None => None,
    };
    let (mut last, mut lag_ms) = (DeviceId(0), 0);
    loop {
        let page = |pool| async move { inventory::page(&pool, tenant, connection, last, PAGE_SIZE).await };
        let Read { answer: page, replica_lag_ms } = context.app.reads.ask(page).await?;
        lag_ms = lag_ms.max(replica_lag_ms.unwrap_or(0));
        let is_first = last == DeviceId(0);
        let is_last = (page.len() as i64) < PAGE_SIZE;
        last = page.last().map_or(last, |row| row.device);
        let text = match context.output.json {
            true => json(&page, is_first, is_last)?,
            false if page.is_empty() && is_first => {
                "No devices yet: `paceline device add` adds one.".to_owned()
            }
            false => text(&page),
        };
        let is_open = context.output.part(&text)?;
        if is_last || !is_open {
            break;
        }
    }
    if lag_ms >= LAG_NOTED_MS {
        context.output.note(&format!("read at a replica that was up to {lag_ms} ms behind"));
    }
    Ok(())
}

/// One page as part of the document `{"devices":[…]}`.
fn json(page: &[DeviceRow], is_first: bool, is_last: bool) -> Result<String, CliError> {
    let rows =
        page.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>().map_err(CliError::refused)?;
    let begin = if is_first { "{\"devices\":[" } else { "" };
    let between = if is_first || page.is_empty() { "" } else { "," };
    let end = if is_last { "]}" } else { "" };
    Ok(format!("{begin}{between}{}{end}", rows.join(",\n")))
}

fn text(page: &[DeviceRow]) -> String {
    let mut table = table::new(&["device", "external id", "name", "group", "connection", "jobs"]);
    for row in page {
        let jobs: Vec<_> =
            row.jobs.iter().map(|(resource, job)| format!("{resource} {}", job_text(job))).collect();
        let number = row.device.to_string();
        let mut name = row.name.clone();
        if row.missing_since.is_some() {
            name += " (missing at the provider)";
        }
        table.add_row([&number, &row.external_id, &name, &row.group, &row.connection, &jobs.join(", ")]);
    }
    table.to_string()
}

/// `30s high`, with the state if it is not `active`.
fn job_text(job: &JobRow) -> String {
    let interval = job.interval.map_or(String::new(), |interval| interval.to_string());
    let priority = job.priority.map_or("", |priority| priority.as_str());
    match job.state.as_str() {
        "active" => format!("{interval} {priority}"),
        state => format!("{interval} {priority} ({state})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_join_to_one_json_document() {
        let row = |device| DeviceRow {
            device: DeviceId(device),
            external_id: "a".to_owned(),
            name: String::new(),
            group: String::new(),
            model: String::new(),
            missing_since: None,
            connection: "main".to_owned(),
            provider: "meadow".to_owned(),
            jobs: Default::default(),
        };
        for pages in [vec![vec![row(1), row(2)], vec![row(3)]], vec![vec![row(1)], vec![]], vec![vec![]]] {
            let last = pages.len() - 1;
            let whole: String =
                pages.iter().enumerate().map(|(n, page)| json(page, n == 0, n == last).unwrap()).collect();
            let read: serde_json::Value = serde_json::from_str(&whole).unwrap();
            assert_eq!(read["devices"].as_array().unwrap().len(), pages.concat().len(), "{whole}");
        }
    }
}
