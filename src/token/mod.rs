//! Tokens that logins and grants bring: kept sealed, renewed by one process at a time, and written before they are
//! used. Never asks a cloud itself.

mod store;

pub use store::{Begun, Renewal, TokenError, begin, expire, fail, keep};
