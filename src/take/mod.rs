//! Take and settle: the script that decides who is called when, and the one that ends calls.

mod grant;
mod leave;
mod settle;
mod spec;
mod taker;

pub use grant::{Bound, Grant, GrantedJob, Taken};
pub use leave::{Leave, Waited, Wish};
pub use settle::{Kind, Settled, Settlement, Verdict};
pub use taker::{Taker, TakerSettings};
