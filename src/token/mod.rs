//! Tokens of logins and OAuth grants: stored sealed, renewed by one process at a time, and written before they are
//! used; and the authorisations that owners have been sent to. Never asks a provider itself.

mod canary;
mod pending;
mod reseal;
mod store;

pub use canary::{CanaryError, check_canary, reseal_canary};
pub use pending::{Pending, delete_expired, look_at, redeem, wait_for};
pub use reseal::{SealedValue, replace, sealed_by_other_keys};
pub use store::{Renewal, StartOutcome, TokenError, begin, expire, fail, give_up, keep, put_off};
