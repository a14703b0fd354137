//! Finds the sealing key: in the settings, in a file, or, for a private database, in a file created here.

use super::CliError;
use crate::seal::Sealer;
use crate::settings::Settings;
use secrecy::{ExposeSecret, SecretString};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// File name of the generated key, under `local.dir`.
const KEY_FILE: &str = "secret.key";

/// Returns the key to use. None is generated for a configured database: that key would be lost with the directory of
/// this machine.
pub(super) fn find(settings: &Settings, database_is_private: bool) -> Result<SecretString, CliError> {
    let secret = &settings.secret;
    if !secret.key.expose_secret().is_empty() {
        return Ok(secret.key.clone());
    }
    if !secret.key_file.as_os_str().is_empty() {
        return read(&secret.key_file).map_err(|e| unusable(&secret.key_file, &e, "check secret.key_file"));
    }
    if !database_is_private {
        return Err(CliError::cannot_start(
            "no sealing key is configured: generate one with `openssl rand -base64 32`, keep it as safe as a password, \
             and set PACELINE__SECRET__KEY to it, or secret.key_file to a file that contains it",
        ));
    }
    let path = settings.local.dir.join(KEY_FILE);
    let advice = "check local.dir, or set PACELINE__SECRET__KEY";
    match read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = Sealer::generate_key().map_err(CliError::cannot_start)?;
            create_key_file(&path, &key).and_then(|()| read(&path)).map_err(|e| unusable(&path, &e, advice))
        }
        read => read.map_err(|e| unusable(&path, &e, advice)),
    }
}

fn read(path: &Path) -> io::Result<SecretString> {
    Ok(fs::read_to_string(path)?.trim().into())
}

/// Writes the whole key or nothing. If another process was faster, its key stays.
fn create_key_file(path: &Path, key: &SecretString) -> io::Result<()> {
    let draft = path.with_extension(format!("key.{}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| writeln!(file, "{}", key.expose_secret()).and_then(|()| file.sync_all()))
        .and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        });
    let removed = fs::remove_file(&draft);
    written.and(removed)
}

fn unusable(path: &Path, error: &io::Error, advice: &str) -> CliError {
    CliError::cannot_start(format!("cannot use the sealing key in {}: {error}; {advice}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn key_is_generated_once_and_readable_by_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::load(None).unwrap();
        settings.local.dir = dir.path().to_owned();
        let first = find(&settings, true).unwrap();
        assert_eq!(find(&settings, true).unwrap().expose_secret(), first.expose_secret());
        assert!(Sealer::new(&first).is_ok());
        let path = dir.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        create_key_file(&path, &"another".into()).unwrap();
        assert_eq!(read(&path).unwrap().expose_secret(), first.expose_secret());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn no_key_is_generated_for_a_configured_database() {
        let refusal = find(&Settings::load(None).unwrap(), false).unwrap_err();
        assert!(refusal.message().contains("openssl rand"));
        assert_eq!(refusal.exit_code(), 2);
    }
}
