//! Keeps connections able to call: owners authorise them, tokens are renewed before they expire and after a call that
//! carried one was refused, and a connection whose token the provider will not renew waits for its owner.

mod add;
mod bootstrap;
mod owner;
mod renew;
mod reseal;
mod reserve;

pub use add::{Added, add, renew_secrets};
pub use bootstrap::{BootstrapState, Lookup};
pub use owner::{
    AuthoriseError, AwaitedAuthorization, CALLBACK, Callback, START, StartedAuthorization, awaited, begin,
    device_code, finish, finish_device, is_same, named,
};
pub use renew::{Authoriser, Ready};
pub use reseal::{Resealed, reseal};
