//! Take and settle: the script that decides who is called when, and the one that ends calls.

mod grant;
mod reserve;
mod settle;
mod spec;
mod taker;

pub use grant::{Bound, Grant, GrantedJob, Taken};
pub use reserve::{Reservation, ReserveOutcome, ReserveRequest};
pub use settle::{FailureKind, Settled, Settlement, Verdict};
pub use taker::{Taker, TakerSettings};
