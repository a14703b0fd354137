//! `paceline webhook list | enable`

use crate::cli::{CliError, Context, table};
use crate::preference::tenants;
use crate::preference::webhooks::{self, TenantWebhook};
use crate::webhook::{self, WebhookChange};
use crate::words::WebhookId;
use serde::Serialize;
use std::fmt;

/// What to do with webhooks.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List webhooks, and how deliveries go
    #[command(after_help = "\
Examples:
  paceline webhook list
  paceline webhook list --tenant acme --json")]
    List {
        /// List only webhooks of this tenant
        #[arg(long, value_name = "NAME")]
        tenant: Option<String>,
    },
    /// Enable a webhook again, and try at once
    #[command(after_help = "\
Examples:
  paceline webhook enable --tenant acme 5
  paceline webhook enable --tenant acme 5 --json")]
    Enable {
        /// Tenant whose webhook it is
        #[arg(long, value_name = "NAME")]
        tenant: String,
        /// Number of the webhook
        id: i64,
    },
}

#[derive(Serialize)]
struct WebhookList {
    webhooks: Vec<TenantWebhook>,
}

impl fmt::Display for WebhookList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.webhooks.is_empty() {
            return f.write_str("No webhooks: tenants add them with POST /v1/webhooks.");
        }
        let mut table = table::new(&["id", "tenant", "label", "state", "since", "reason"]);
        for row in &self.webhooks {
            let [since, reason] = [&row.since, &row.reason].map(|text| text.as_deref().unwrap_or_default());
            table.add_row([&row.id.to_string(), &row.tenant, &row.label, row.state, since, reason]);
        }
        table.fmt(f)
    }
}

#[derive(Serialize)]
struct Enabled {
    id: i64,
}

impl fmt::Display for Enabled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Webhook {} is enabled; what waits for it is delivered now.", self.id)
    }
}

/// Runs the subcommand.
pub(super) async fn run(context: &Context, command: Command) -> Result<(), CliError> {
    let app = &context.app;
    match command {
        Command::List { tenant } => {
            let tenant = match tenant {
                Some(name) => Some(tenants::find(&app.pool, &name).await?),
                None => None,
            };
            context.output.answer(&WebhookList { webhooks: webhooks::of_tenants(&app.pool, tenant).await? })
        }
        Command::Enable { tenant, id } => {
            let tenant = tenants::find(&app.pool, &tenant).await?;
            let enable = WebhookChange { enabled: Some(true), ..WebhookChange::default() };
            webhook::change(app, tenant, WebhookId(id), enable).await?;
            context.output.answer(&Enabled { id })
        }
    }
}
