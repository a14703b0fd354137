//! Keeps connections able to call: their owners allow them, their tokens are renewed before they expire and once a call
//! that carries one is refused, and what the cloud will not renew is handed back to the owner.

mod add;
mod known;
mod owner;
mod renew;
mod reseal;
mod reserve;

pub use add::{Added, add, renew_secrets};
pub use known::{Asking, BootstrapState};
pub use owner::{
    AuthoriseError, CALLBACK, Callback, StartedAuthorization, begin, device_code, finish, finish_device,
    is_same,
};
pub use renew::{Authoriser, Ready};
pub use reseal::{Resealed, reseal};
