//! Secrets from files or from standard input: never from the command line, where every process can read them.

use super::CliError;
use crate::provider::Provider;
use crate::words::Secrets;
use secrecy::SecretString;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

/// The most bytes in a secret.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// Where the secrets are.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// Read a secret from this file (a newline at its end is not part of it); by name where there are several
    #[arg(long, value_name = "[NAME=]FILE")]
    secret_file: Vec<String>,
    /// Read the secret from standard input; where there are several, a line NAME=VALUE each
    #[arg(long)]
    secret_stdin: bool,
}

impl Source {
    /// The secrets, by the names that the provider's definition gives them.
    pub(super) fn read(&self, provider: &Provider) -> Result<Secrets, CliError> {
        let names = provider.definition.auth.get_ref().secrets();
        let mut secrets = Vec::new();
        for named in &self.secret_file {
            let (name, path) = named_file(named, &names, provider)?;
            let file = std::fs::File::open(path);
            let text = file.and_then(text).map_err(|error| unreadable(path, &error))?;
            secrets.push((name, secret(&text)?));
        }
        if self.secret_stdin {
            let text = text(std::io::stdin().lock());
            let text = text.map_err(|error| unreadable(Path::new("standard input"), &error))?;
            secrets.extend(lines(&text, &names, provider)?);
        }
        let mut seen = BTreeSet::new();
        if let Some((twice, _)) = secrets.iter().find(|(name, _)| !seen.insert(name.clone())) {
            return Err(CliError::refused(format!("the secret {twice} is given twice: nothing was changed")));
        }
        Ok(secrets.into_iter().collect())
    }
}

/// `api_key=key.txt`; or just the file, where the provider takes one secret.
fn named_file<'a>(
    text: &'a str,
    names: &BTreeSet<&str>,
    provider: &Provider,
) -> Result<(String, &'a Path), CliError> {
    let named = text.split_once('=').filter(|(name, _)| names.contains(name));
    match named {
        Some((name, path)) => Ok((name.to_owned(), Path::new(path))),
        None => Ok((only(names, provider)?, Path::new(text))),
    }
}

/// All of it, where the provider takes one secret; else a line each.
fn lines(
    text: &str,
    names: &BTreeSet<&str>,
    provider: &Provider,
) -> Result<Vec<(String, SecretString)>, CliError> {
    if names.len() < 2 {
        return Ok(vec![(only(names, provider)?, secret(text)?)]);
    }
    let line = |line: &str| match line.split_once('=').filter(|(name, _)| names.contains(name)) {
        Some((name, value)) => Ok((name.to_owned(), secret(value)?)),
        None => only(names, provider).map(|name| (name, SecretString::default())),
    };
    text.lines().filter(|text| !text.trim().is_empty()).map(line).collect()
}

/// The name of the only secret. Where there is none, the usual one: whoever checks it says what is taken.
fn only(names: &BTreeSet<&str>, provider: &Provider) -> Result<String, CliError> {
    let all: Vec<&str> = names.iter().copied().collect();
    match all.as_slice() {
        [] => Ok(Secrets::ONLY.to_owned()),
        [one] => Ok((*one).to_owned()),
        several => Err(CliError::refused(format!(
            "provider {} takes several secrets ({}): name each, as in --secret-file {}=FILE or a line {}=VALUE",
            provider.name,
            several.join(", "),
            several[0],
            several[0]
        ))),
    }
}

fn text(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    from.take(SECRET_BYTES_MAX + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn secret(text: &str) -> Result<SecretString, CliError> {
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
    use crate::provider::Registry;
    use secrecy::ExposeSecret;

    #[test]
    fn only_the_newline_at_the_end_goes() {
        assert_eq!(secret(" a b \r\n").unwrap().expose_secret(), " a b ");
        assert!(secret("\n").is_err());
        assert!(secret(&"x".repeat(SECRET_BYTES_MAX as usize + 1)).is_err());
    }

    #[test]
    fn where_there_are_several_each_is_named() {
        let registry = Registry::load(None).unwrap();
        let provider = registry.find("meadow").unwrap();
        let one = BTreeSet::from(["secret"]);
        assert_eq!(
            named_file("a=b.txt", &one, provider).unwrap(),
            ("secret".to_owned(), Path::new("a=b.txt"))
        );
        let (name, path) = named_file("secret=b.txt", &one, provider).unwrap();
        assert_eq!((name.as_str(), path), ("secret", Path::new("b.txt")));
        assert_eq!(lines("a=b\n", &one, provider).unwrap()[0].1.expose_secret(), "a=b");
        let two = BTreeSet::from(["password", "username"]);
        let told = lines("username=me\npassword=a=b\r\n", &two, provider).unwrap();
        let told: Vec<_> =
            told.iter().map(|(name, secret)| (name.as_str(), secret.expose_secret())).collect();
        assert_eq!(told, [("username", "me"), ("password", "a=b")]);
        for wrong in [lines("me\n", &two, provider).err(), named_file("key.txt", &two, provider).err()] {
            let wrong = wrong.unwrap().sentence();
            assert!(wrong.contains("(password, username)") && !wrong.contains("me\n"), "{wrong}");
        }
    }
}
