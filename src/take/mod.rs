//! Take and settle: the script that decides who is called when, and the one that ends calls.

mod settle;
mod taker;

pub use settle::{Kind, Settlement, Verdict};
pub use taker::{Grant, GrantedJob, Taken, Taker, TakerSettings};
