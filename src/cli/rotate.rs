//! `paceline secret rotate`

use super::{CliError, Context};
use crate::authorise::{self, Resealed};
use serde::Serialize;
use std::fmt;

/// What to do with what is sealed.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Seal everything again under the current key
    #[command(after_help = "\
Examples:
  paceline secret rotate

To change the key: 1. Add the new one to secret.former_keys of every process. 2. Make the new one secret.key and put the
old one into secret.former_keys, everywhere. 3. Run this. 4. Take the old one out. At each step every process opens what
any other seals. Interrupted, it is run again and goes on with what is left.")]
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
            0 => f.write_str("Everything is sealed under the current key."),
            n => write!(f, "Sealed {n} again. Everything is sealed under the current key."),
        }
    }
}

/// Does it.
pub(super) async fn run(context: &Context, Command::Rotate: Command) -> Result<(), CliError> {
    let bar = indicatif::ProgressBar::new_spinner();
    bar.set_message("sealing again …");
    let resealed = authorise::reseal(&context.app, |done| bar.set_position(done)).await?;
    bar.finish_and_clear();
    if !resealed.unopenable.is_empty() {
        let ids: Vec<_> = resealed.unopenable.iter().map(ToString::to_string).collect();
        return Err(CliError::refused(format!(
            "{} sealed again; no key in secret.key and secret.former_keys opens what connections {} have: add the key \
             that sealed it, or give them new secrets by `paceline connection secret`",
            resealed.sealed,
            ids.join(", ")
        )));
    }
    if resealed.left > 0 {
        let left = resealed.left;
        return Err(CliError::refused(format!(
            "{left} changed while they were sealed again: run it once more"
        )));
    }
    context.output.answer(&Rotated { resealed })
}
