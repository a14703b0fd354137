//! Asks before something is deleted.

use super::CliError;
use std::io::{self, BufRead, IsTerminal, Write};

/// Asks at a terminal whether to do it; elsewhere `--yes` is needed. Anything but "y" or "yes" refuses.
pub(super) fn confirm(what: &str, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(CliError::refused(format!(
            "nothing was removed, since nobody can be asked: this would remove {what}; add --yes to do it"
        )));
    }
    let unreadable = |error| CliError::cannot_start(format!("cannot ask at the terminal: {error}"));
    let mut terminal = io::stderr().lock();
    write!(terminal, "Remove {what}? This cannot be undone. [y/N] ").map_err(unreadable)?;
    terminal.flush().map_err(unreadable)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(unreadable)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(CliError::refused("nothing was removed")),
    }
}
