//! What a process needs to call a provider, built once: jq programs and templates are compiled once, and all calls
//! share one HTTP connection pool.

use super::App;
use crate::fetch::{Fetcher, Pusher, Reach};
use crate::provider::{LoadError, Provider};
use crate::take::Taker;
use crate::words::{ConnectionId, ProviderName};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The client of one provider.
pub struct ProviderClient {
    /// Whose calls.
    pub provider: Arc<Provider>,
    /// Makes calls, as far as the operator lets them go and with what the operator was given.
    pub fetcher: Arc<Fetcher>,
    /// Grants and settles calls.
    pub taker: Taker,
    /// Connections whose bootstrap values this process is asking for.
    pub lookups: Arc<Mutex<HashSet<ConnectionId>>>,
}

/// The clients of a process, by provider.
pub(super) type Clients = Arc<Mutex<HashMap<ProviderName, Arc<ProviderClient>>>>;

impl App {
    /// The provider's client: the same for every caller while the definition is the same.
    pub fn client(&self, provider: &Arc<Provider>) -> Result<Arc<ProviderClient>, LoadError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let built = clients.get(&provider.name).filter(|built| Arc::ptr_eq(&built.provider, provider));
        let client = match built {
            Some(built) => built.clone(),
            None => {
                let client = Arc::new(self.build_client(provider)?);
                clients.insert(provider.name.clone(), client.clone());
                client
            }
        };
        // A client that was idle tells a calendar's window boundaries by an old instant.
        client.taker.observe_time(self.clock.now());
        Ok(client)
    }

    /// The client that posts to webhooks: built when it is first needed.
    pub fn pusher(&self) -> Result<&Pusher, String> {
        match self.pusher.get() {
            Some(built) => Ok(built),
            None => {
                let built = Pusher::new(self.push_reach())?;
                Ok(self.pusher.get_or_init(|| built))
            }
        }
    }

    /// Where webhooks may be.
    pub fn push_reach(&self) -> Reach {
        if self.settings.webhooks.private_networks { Reach::Private } else { Reach::Public }
    }

    fn build_client(&self, provider: &Arc<Provider>) -> Result<ProviderClient, LoadError> {
        let reach = Reach::of(&self.settings.providers.private_networks, &provider.name);
        let operator = self.settings.provider.of(&provider.name);
        let token_timeout = Duration::from_millis(self.settings.token.timeout.as_ms());
        let fetcher = Fetcher::new(provider.clone(), reach, operator)?.with_token_timeout(token_timeout);
        Ok(ProviderClient {
            provider: provider.clone(),
            fetcher: Arc::new(fetcher),
            taker: Taker::new(self.redis.clone(), provider, &self.taker_settings()),
            lookups: Arc::default(),
        })
    }
}
