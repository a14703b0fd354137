//! Re-reads the definitions while the process runs.

use super::App;
use crate::fetch::{Fetcher, Reach};
use crate::provider::{LoadError, Provider, Registry, Source, sources};
use std::sync::Arc;

impl App {
    /// The registry with what the operator's directory has now; none if nothing that can be used is new.
    ///
    /// A definition that is refused is logged, and the one before it stays, as does one whose file is gone. One whose
    /// text is the same stays, too, with all that was built from it.
    pub fn re_read_definitions(&self) -> Option<Registry> {
        let found = match sources(self.settings.providers.dir()) {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "definitions not re-read; those before stay");
                return None;
            }
        };
        let is_gone = |one: &&Arc<Provider>| found.iter().all(|source| source.name != one.name);
        for provider in self.registry.iter().filter(is_gone) {
            let file = &provider.file;
            tracing::warn!(provider = %provider.name, file, "definition is gone; it stays until a restart");
        }
        let is_new = |source: &Source| {
            self.registry.get(source.name.as_str()).is_none_or(|before| before.text != source.text)
        };
        let mut replaced = Vec::new();
        for source in found.into_iter().filter(is_new) {
            let (name, file) = (source.name.clone(), source.file.clone());
            let reach = Reach::of(&self.settings.providers.private_networks, &name);
            match compiled(source, reach) {
                Ok(provider) => {
                    tracing::info!(provider = %name, file, "definition re-read");
                    replaced.push(provider);
                }
                Err(error) => {
                    tracing::error!(provider = %name, file, %error, "definition refused; the one before stays");
                }
            }
        }
        let replaced = Registry::default().with(replaced).with_hosts(self.settings.providers.hosts.iter());
        (replaced.iter().next().is_some()).then(|| self.registry.with(replaced.iter().cloned()))
    }
}

/// A definition of which every program and template compiles.
fn compiled(source: Source, reach: Reach) -> Result<Arc<Provider>, LoadError> {
    let provider = Arc::new(Provider::parse(source.name, &source.file, &source.text)?);
    Fetcher::check(provider.clone(), reach)?;
    Ok(provider)
}
