//! Keeps connections able to call: their owners allow them, their tokens are renewed before they expire and once a call
//! that carries one is refused, and what the cloud will not renew is handed back to the owner.

mod add;
mod known;
mod owner;
mod renew;
mod reseal;
mod reserve;

use crate::app::App;
use crate::fetch::{Fetcher, Reach};
use crate::provider::{LoadError, Provider};
use std::sync::Arc;

pub use add::{Added, add, renew_secrets};
pub use known::{Asking, BootstrapState};
pub use owner::{
    AuthoriseError, CALLBACK, Callback, StartedAuthorization, begin, device_code, finish, finish_device,
    is_same,
};
pub use renew::{Authoriser, Ready};
pub use reseal::{Resealed, reseal};

/// What makes the calls of a provider, as far as its operator lets them go and with what its operator was given.
pub fn fetcher(app: &App, provider: &Arc<Provider>) -> Result<Arc<Fetcher>, LoadError> {
    let reach = Reach::of(&app.settings.providers.private_networks, &provider.name);
    let operator = app.settings.provider.of(&provider.name);
    Fetcher::new(provider.clone(), reach, operator).map(Arc::new)
}
