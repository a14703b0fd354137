//! `paceline device list`

use crate::cli::{CliError, Context, table};
use crate::preference::inventory::{self, DeviceRow, JobRow};
use crate::preference::{connections, tenants};
use crate::words::DeviceId;

/// How many devices are in memory at a time.
const PAGE: i64 = 1000;

/// Which devices.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline device list --tenant acme
  paceline device list --tenant acme --connection main --json")]
pub struct Args {
    /// Whose devices
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Only those of this connection: its label or number
    #[arg(long, value_name = "LABEL")]
    connection: Option<String>,
}

/// Prints them a page at a time.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let pool = &context.app.pool;
    let tenant = tenants::find(pool, &args.tenant).await?;
    let connection = match &args.connection {
        Some(label) => Some(connections::find(pool, tenant, label).await?.id),
        None => None,
    };
    let mut last = DeviceId(0);
    loop {
        let page = inventory::page(pool, tenant, connection, last, PAGE).await?;
        let is_first = last == DeviceId(0);
        let is_last = (page.len() as i64) < PAGE;
        last = page.last().map_or(last, |row| row.device);
        let text = match context.output.json {
            true => json(&page, is_first, is_last)?,
            false if page.is_empty() && is_first => {
                "No devices yet: `paceline device add` makes one.".to_owned()
            }
            false => text(&page),
        };
        let is_read = context.output.part(&text)?;
        if is_last || !is_read {
            return Ok(());
        }
    }
}

/// A page's part of one document: `{"devices":[…]}`.
fn json(page: &[DeviceRow], is_first: bool, is_last: bool) -> Result<String, CliError> {
    let rows =
        page.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>().map_err(CliError::refused)?;
    let begin = if is_first { "{\"devices\":[" } else { "" };
    let between = if is_first || page.is_empty() { "" } else { "," };
    let end = if is_last { "]}" } else { "" };
    Ok(format!("{begin}{between}{}{end}", rows.join(",\n")))
}

fn text(page: &[DeviceRow]) -> String {
    let mut table = table::with(&["device", "external id", "name", "group", "connection", "jobs"]);
    for row in page {
        let jobs: Vec<_> =
            row.jobs.iter().map(|(resource, job)| format!("{resource} {}", words(job))).collect();
        let number = row.device.to_string();
        let mut name = row.name.clone();
        if row.missing_since.is_some() {
            name += " (missing from the cloud's list)";
        }
        table.add_row([&number, &row.external_id, &name, &row.group, &row.connection, &jobs.join(", ")]);
    }
    table.to_string()
}

/// `30s high`, and the state where it is not the usual one.
fn words(job: &JobRow) -> String {
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
    fn pages_join_to_one_document() {
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
