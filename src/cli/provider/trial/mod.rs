//! `paceline provider try`

mod call;
mod list;
mod login;

use crate::cli::connection::SecretArgs;
use crate::cli::{CliError, Context};
use crate::fetch::{Exchange, Trace};
use crate::preference::{connections, tenants};
use crate::provider::{Provider, Quota, QuotaKind};
use crate::words::{ConnectionId, DeviceId, Hold, Interval, QuotaInputs, ResourceName, Scope, TenantId};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The call to make.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline provider try govee --tenant acme --connection main
  paceline provider try govee --tenant acme --connection main --device H7143/52:8B:00:00:00:00:00:01
  paceline provider try tuya --tenant acme --connection main --device bf01 --device bf02
  paceline provider try govee --tenant acme --connection main --discovery
  paceline provider try node-red --tenant acme --connection main --login
  paceline provider try node-red --tenant acme --connection main --login \\
      --secret-file username=user.txt --secret-file password=new.txt
  paceline provider try meadow --tenant acme --connection main --resource energy --json \\
      | jq '.exchanges[].request'

Makes one real call, ahead of waiting jobs: for devices; with --discovery, for the list of the connection's devices; \
with --login, for a token. The quotas grant and count it like any other call, and a refusal by the provider holds \
other calls back likewise. Readings and lists are shown, not stored. Secrets are shown as ***. A token requested with \
the connection's own secrets is stored like any renewed one, since it may have ended the previous one; with other \
secrets (--secret-file, --secret-stdin) nothing is stored. Exit code 0 if each outcome is fresh, unchanged, \
device_offline or no_data, the list is listed, or the token granted; 1 otherwise.")]
pub struct Args {
    /// Name of the provider
    provider: String,
    /// Tenant that owns the connection
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Label or number of the connection
    #[arg(long, value_name = "LABEL")]
    connection: String,
    /// Device to fetch, by number or external id; several for one call of a batch, a group or a connection
    /// [default: the connection's first]
    #[arg(long, value_name = "ID")]
    device: Vec<String>,
    /// Resource to fetch; optional if the provider has only one
    #[arg(long, value_name = "NAME")]
    resource: Option<String>,
    /// List the connection's devices instead
    #[arg(long, conflicts_with_all = ["device", "resource", "login"])]
    discovery: bool,
    /// Request a token instead
    #[arg(long, conflicts_with_all = ["device", "resource"])]
    login: bool,
    #[command(flatten)]
    secret: SecretArgs,
    /// How long to wait until the quotas grant the call
    #[arg(long, value_name = "TIME", default_value = "10s")]
    wait: Interval,
}

/// What every trial needs.
struct Wanted {
    provider: Arc<Provider>,
    tenant: TenantId,
    connection: ConnectionId,
    timeout: Duration,
}

#[derive(Serialize)]
struct HoldView {
    scope: Scope,
    until: String,
    reason: String,
}

impl fmt::Display for HoldView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hold: {} until {}: {}", self.scope.as_str(), self.until, self.reason)
    }
}

fn holds(found: &[(Hold, Option<DeviceId>)]) -> Vec<HoldView> {
    let view = |(hold, _): &(Hold, Option<DeviceId>)| HoldView {
        scope: hold.scope,
        until: hold.until.to_string(),
        reason: hold.reason.clone(),
    };
    found.iter().map(view).collect()
}

/// The quotas that count a call, such as `day (10000 in 1day, connection)`.
fn quotas(provider: &Provider, resource: &ResourceName, inputs: &QuotaInputs) -> Vec<String> {
    let quotas = provider.quotas().filter(|quota| quota.counts(resource));
    quotas.map(|quota| quota_text(quota, quota.amount_for(inputs))).collect()
}

fn quota_text(quota: &Quota, amount: u32) -> String {
    let amount = match (quota.kind, quota.window) {
        (QuotaKind::Concurrent, _) | (_, None) => format!("{amount} at once"),
        (QuotaKind::Errors, Some(window)) => format!("{amount} errors in a row in {window}"),
        (QuotaKind::Adaptive, Some(window)) => format!("up to {amount} in {window}"),
        (_, Some(window)) => format!("{amount} in {window}"),
    };
    format!("{} ({amount}, {})", quota.name, quota.scope.as_str())
}

/// The HTTP exchanges of a trial, and the definition's file if rules judge the responses.
struct Exchanges<'a>(&'a Trace, Option<&'a str>);

impl fmt::Display for Exchanges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(trace, file) = self;
        if trace.exchanges.is_empty() {
            writeln!(f, "No request was made.")?;
        }
        for Exchange { request, response, rule } in &trace.exchanges {
            writeln!(f, "{} {}", request.method, request.url)?;
            write_message(f, &request.headers, &request.body)?;
            let Some(response) = response else {
                writeln!(f, "\nNo response.\n")?;
                continue;
            };
            writeln!(f, "\nHTTP {}, {} bytes", response.status, response.body_bytes)?;
            write_message(f, &response.headers, &response.body)?;
            match (rule, file) {
                (Some(line), Some(file)) => writeln!(f, "\nJudged by the rule at {file}:{line}.\n")?,
                (_, Some(_)) => writeln!(f, "\nJudged by its status: no rule matches.\n")?,
                (_, None) => writeln!(f)?,
            }
        }
        Ok(())
    }
}

fn write_message(f: &mut fmt::Formatter<'_>, headers: &[(String, String)], body: &str) -> fmt::Result {
    headers.iter().try_for_each(|(name, value)| writeln!(f, "  {name}: {value}"))?;
    body.lines().try_for_each(|line| writeln!(f, "  | {line}"))
}

pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let app = &context.app;
    let provider = app.registry.find(&args.provider)?;
    let secrets = args.secret.read(provider)?;
    let has_secrets = secrets.iter().next().is_some();
    if has_secrets && !args.login {
        return Err(CliError::refused(
            "secrets are tried by --login; calls for devices and lists use the connection's own",
        ));
    }
    let tenant = tenants::find(&app.pool, &args.tenant).await?;
    let connection = connections::find(&app.pool, tenant, &args.connection).await?;
    if connection.provider != provider.name.as_str() {
        let (label, own) = (&args.connection, &connection.provider);
        return Err(CliError::refused(format!(
            "connection {label:?} is at provider {own}, not {}",
            provider.name
        )));
    }
    let wanted = Wanted {
        provider: provider.clone(),
        tenant,
        connection: connection.id,
        timeout: Duration::from_millis(args.wait.as_ms()),
    };
    if has_secrets {
        provider.check_secrets(&secrets)?;
    }
    match (args.discovery, args.login) {
        (true, _) => list::run(context, wanted).await,
        (_, true) => login::run(context, wanted, secrets).await,
        _ => call::run(context, wanted, args.device, args.resource.as_deref()).await,
    }
}
