//! `paceline secret rotate`

use crate::authorise::{self, Resealed};
use crate::cli::{CliError, Context};
use serde::Serialize;
use std::fmt;

/// What to do with sealed secrets.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Seal all stored secrets again with the current key
    #[command(after_help = "\
Examples:
  paceline secret rotate

To rotate the key:
  1. Add the new key to secret.former_keys of every process.
  2. In every process, set secret.key to the new key and move the old one to secret.former_keys.
  3. Run this command.
  4. Remove the old key from secret.former_keys.

At each step every process can open what any other has sealed. If the command is interrupted, run it again: it \
continues with what is left.")]
    Rotate,
}

#[derive(Serialize)]
struct Rotated {
    #[serde(flatten)]
    resealed: Resealed,
}

impl fmt::Display for Rotated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.resealed.sealed {
            0 => f.write_str("All secrets are sealed with the current key."),
            n => write!(f, "Sealed {n} again. All secrets are sealed with the current key."),
        }
    }
}

/// Seals everything again, with a progress bar.
pub(crate) async fn run(context: &Context, Command::Rotate: Command) -> Result<(), CliError> {
    let bar = indicatif::ProgressBar::new_spinner();
    bar.set_message("sealing …");
    let resealed = authorise::reseal(&context.app, |done| bar.set_position(done)).await?;
    bar.finish_and_clear();
    if !resealed.unopenable.is_empty() {
        let ids: Vec<_> = resealed.unopenable.iter().map(ToString::to_string).collect();
        return Err(CliError::refused(format!(
            "{} sealed again; no key in secret.key or secret.former_keys opens the secrets of connections {}: add \
             the key that sealed them, or replace the secrets with `paceline connection secret`",
            resealed.sealed,
            ids.join(", ")
        )));
    }
    if !resealed.unopenable_webhooks.is_empty() {
        let ids: Vec<_> = resealed.unopenable_webhooks.iter().map(ToString::to_string).collect();
        return Err(CliError::refused(format!(
            "{} sealed again; no key in secret.key or secret.former_keys opens the secrets of webhooks {}: add the key \
             that sealed them, or have their tenants rotate them with POST /v1/webhooks/ID/rotate",
            resealed.sealed,
            ids.join(", ")
        )));
    }
    if resealed.left > 0 {
        let left = resealed.left;
        return Err(CliError::refused(format!(
            "{left} changed while they were being sealed: run `paceline secret rotate` again"
        )));
    }
    context.output.answer(&Rotated { resealed })
}
