//! A secret from a file or from standard input: never from the command line, where every process can read it.

use super::CliError;
use secrecy::SecretString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most bytes in a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where the secret is.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct Source {
    /// Read the secret from this file (a newline at its end is not part of it)
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Read the secret from standard input
    #[arg(long)]
    secret_stdin: bool,
}

impl Source {
    /// Whether any was named.
    pub(super) fn is_given(&self) -> bool {
        self.secret_stdin || self.secret_file.is_some()
    }

    /// The secret, if a source was named.
    pub(super) fn read(&self) -> Result<Option<SecretString>, CliError> {
        match &self.secret_file {
            Some(path) => {
                let file = std::fs::File::open(path);
                file.and_then(text).map_err(|error| unreadable(path, &error)).and_then(secret).map(Some)
            }
            None if self.secret_stdin => {
                let text = text(std::io::stdin().lock());
                text.map_err(|error| unreadable(Path::new("standard input"), &error))
                    .and_then(secret)
                    .map(Some)
            }
            None => Ok(None),
        }
    }
}

fn text(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn secret(text: String) -> Result<SecretString, CliError> {
    let trimmed = text.trim_end_matches(['\r', '\n']);
    if trimmed.is_empty() {
        return Err(CliError::refused("the secret is empty: nothing was changed"));
    }
    if trimmed.len() as u64 > SECRET_BYTES_MAX {
        return Err(CliError::refused(format!(
            "the secret is longer than {SECRET_BYTES_MAX} bytes: is it the right file?"
        )));
    }
    Ok(trimmed.into())
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::cannot_start(format!("cannot read the secret from {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn only_the_newline_at_the_end_goes() {
        assert_eq!(secret(" a b \r\n".to_owned()).unwrap().expose_secret(), " a b ");
        assert!(secret("\n".to_owned()).is_err());
        assert!(secret("x".repeat(SECRET_BYTES_MAX as usize + 1)).is_err());
    }
}
