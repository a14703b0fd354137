//! Reads secrets from files or standard input: never from arguments, which every process can read.

use crate::cli::CliError;
use crate::provider::Provider;
use crate::words::{Secrets, text};
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// Longer input is not read: it is the wrong file.
const SECRET_BYTES_MAX: u64 = text::VALUE_BYTES_MAX as u64;

/// Where to read the secrets from.
#[derive(Debug, clap::Args)]
pub struct SecretArgs {
    /// Read a secret from this file, without its final newline; NAME= is needed if the provider takes several
    #[arg(long, value_name = "[NAME=]FILE")]
    secret_file: Vec<String>,
    /// Read the secret from standard input; if the provider takes several, one NAME=VALUE per line
    #[arg(long)]
    secret_stdin: bool,
}

impl SecretArgs {
    /// Reads the secrets, by the names that the provider's definition gives them.
    pub(in crate::cli) fn read(&self, provider: &Provider) -> Result<Secrets, CliError> {
        let names = provider.definition.auth.get_ref().secrets();
        let mut secrets = Vec::new();
        for argument in &self.secret_file {
            let (name, path) = parse_file_argument(argument, &names, provider)?;
            let file = std::fs::File::open(path);
            let text = file.and_then(read_text).map_err(|error| unreadable(path, &error))?;
            secrets.push((name, parse_secret(&text)?));
        }
        if self.secret_stdin {
            let text = read_text(std::io::stdin().lock());
            let text = text.map_err(|error| unreadable(Path::new("standard input"), &error))?;
            secrets.extend(parse_stdin(&text, &names, provider)?);
        }
        let mut seen = BTreeSet::new();
        if let Some((twice, _)) = secrets.iter().find(|(name, _)| !seen.insert(name.clone())) {
            return Err(CliError::refused(format!("the secret {twice} is given twice; nothing was changed")));
        }
        Ok(secrets.into_iter().collect())
    }
}

/// `api_key=key.txt`; or just the file, if the provider takes one secret.
fn parse_file_argument<'a>(
    text: &'a str,
    names: &BTreeSet<&str>,
    provider: &Provider,
) -> Result<(String, &'a Path), CliError> {
    let named = text.split_once('=').filter(|(name, _)| names.contains(name));
    match named {
        Some((name, path)) => Ok((name.to_owned(), Path::new(path))),
        None => Ok((only_name(names, provider)?, Path::new(text))),
    }
}

/// The whole text, if the provider takes one secret; otherwise one secret per line.
fn parse_stdin(
    text: &str,
    names: &BTreeSet<&str>,
    provider: &Provider,
) -> Result<Vec<(String, SecretString)>, CliError> {
    if names.len() < 2 {
        return Ok(vec![(only_name(names, provider)?, parse_secret(text)?)]);
    }
    let line = |line: &str| match line.split_once('=').filter(|(name, _)| names.contains(name)) {
        Some((name, value)) => Ok((name.to_owned(), parse_secret(value)?)),
        None => only_name(names, provider).map(|name| (name, SecretString::default())),
    };
    text.lines().filter(|text| !text.trim().is_empty()).map(line).collect()
}

/// The name of the only secret. If the provider takes none, the usual name: the later check refuses it and says why.
fn only_name(names: &BTreeSet<&str>, provider: &Provider) -> Result<String, CliError> {
    let all: Vec<&str> = names.iter().copied().collect();
    match all.as_slice() {
        [] => Ok(Secrets::ONLY.to_owned()),
        [one] => Ok((*one).to_owned()),
        several => Err(CliError::refused(format!(
            "provider {} takes several secrets ({}): name each, with --secret-file {}=FILE or a line {}=VALUE",
            provider.name,
            several.join(", "),
            several[0],
            several[0]
        ))),
    }
}

fn read_text(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn parse_secret(text: &str) -> Result<SecretString, CliError> {
    let trimmed = text.trim_end_matches(['\r', '\n']);
    if trimmed.is_empty() {
        return Err(CliError::refused("the secret is empty; nothing was changed"));
    }
    if trimmed.len() as u64 > SECRET_BYTES_MAX {
        return Err(CliError::refused(format!(
            "the secret is longer than {SECRET_BYTES_MAX} bytes: check that it is the right file"
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
    use crate::provider::Registry;
    use secrecy::ExposeSecret;

    #[test]
    fn only_the_final_newline_is_removed() {
        assert_eq!(parse_secret(" a b \r\n").unwrap().expose_secret(), " a b ");
        assert!(parse_secret("\n").is_err());
        assert!(parse_secret(&"x".repeat(SECRET_BYTES_MAX as usize + 1)).is_err());
    }

    #[test]
    fn secrets_are_named_if_there_are_several() {
        let registry = Registry::load(None).unwrap();
        let provider = registry.find("meadow").unwrap();
        let one = BTreeSet::from(["secret"]);
        assert_eq!(
            parse_file_argument("a=b.txt", &one, provider).unwrap(),
            ("secret".to_owned(), Path::new("a=b.txt"))
        );
        let (name, path) = parse_file_argument("secret=b.txt", &one, provider).unwrap();
        assert_eq!((name.as_str(), path), ("secret", Path::new("b.txt")));
        assert_eq!(parse_stdin("a=b\n", &one, provider).unwrap()[0].1.expose_secret(), "a=b");
        let two = BTreeSet::from(["password", "username"]);
        let secrets = parse_stdin("username=me\npassword=a=b\r\n", &two, provider).unwrap();
        let secrets: Vec<_> =
            secrets.iter().map(|(name, secret)| (name.as_str(), secret.expose_secret())).collect();
        assert_eq!(secrets, [("username", "me"), ("password", "a=b")]);
        for wrong in
            [parse_stdin("me\n", &two, provider).err(), parse_file_argument("key.txt", &two, provider).err()]
        {
            let wrong = wrong.unwrap().message();
            assert!(wrong.contains("(password, username)") && !wrong.contains("me\n"), "{wrong}");
        }
    }
}
