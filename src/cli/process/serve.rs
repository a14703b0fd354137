//! `paceline serve`: runs the chosen roles until stopped.

use crate::cli::context::Context;
use crate::cli::stop::{reload_on_signal, stop_on_signal};
use crate::cli::{CliError, Global};
use crate::serve::{Role, ServeError, serve_and_reload};
use tokio::net::TcpListener;

/// Runs Paceline until it is stopped: then calls in flight are completed, and those not yet sent are handed back.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Roles of this process; any number of processes may have each
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["api", "fetch", "keep"])]
    roles: Vec<Role>,
}

const EXAMPLES: &str = "\
Examples:
  paceline serve
  paceline serve --config /etc/paceline.toml
  paceline serve --roles api                    # the HTTP API only
  PACELINE__HTTP__LISTEN=0.0.0.0:8077 paceline serve --roles fetch,keep

At least one process needs the role keep. SIGHUP re-reads the definitions in providers.dir: one that is refused is \
logged, and the one before stays. SIGTERM or Ctrl-C stops the process gracefully, a second one at once. \
A task that panics is restarted; if it keeps panicking, the process stops with exit code 1, so that its supervisor \
can start it again.";

pub(crate) async fn run(global: &Global, args: Args) -> Result<(), CliError> {
    let settings = crate::cli::context::load(global)?;
    // Bind first: if the port is taken, no private servers need to be started and stopped.
    let listener = match args.roles.contains(&Role::Api) {
        true => Some(listen(&settings.http.listen).await?),
        false => None,
    };
    let (stop, reload) = (stop_on_signal(), reload_on_signal());
    let context = Context::open(global).await?;
    if listener.is_some()
        && let Err(error) = context.app.reads.check().await
    {
        context.release().await?;
        return Err(CliError::cannot_start(error));
    }
    announce(&context, listener.as_ref())?;
    let served = serve_and_reload(context.app.clone(), &args.roles, listener, stop, &reload).await;
    let closed = context.release().await;
    match served {
        Ok(()) => closed,
        Err(error @ (ServeError::Definition(_) | ServeError::Socket(_))) => {
            Err(CliError::cannot_start(error))
        }
        Err(error @ ServeError::GaveUp(_)) => Err(CliError::refused(error)),
    }
}

async fn listen(address: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(address).await.map_err(|error| {
        CliError::cannot_start(format!(
            "cannot listen on {address}: {error}; set another address with http.listen"
        ))
    })
}

/// Prints the address of the API.
fn announce(context: &Context, listener: Option<&TcpListener>) -> Result<(), CliError> {
    let Some(address) = listener.and_then(|l| l.local_addr().ok()) else { return Ok(()) };
    let text = match context.output.json {
        true => serde_json::json!({ "ready": true, "url": format!("http://{address}") }).to_string(),
        false => format!("paceline listens on http://{address}"),
    };
    context.output.line(&text)
}
