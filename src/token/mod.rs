//! Tokens that logins and grants bring: kept sealed, renewed by one process at a time, and written before they are
//! used; and owners who are on their way to allow a connection. Never asks a cloud itself.

mod pending;
mod reseal;
mod store;

pub use pending::{Pending, forget_late, redeem, wait_for};
pub use reseal::{Lying, others, replace};
pub use store::{Renewal, StartOutcome, TokenError, begin, expire, fail, give_up, keep, put_off};
