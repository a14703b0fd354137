//! Take and settle: the script that decides which calls are made when, and the one that ends calls. Holds, listed and
//! lifted.

mod distance;
mod grant;
mod holds;
mod reserve;
mod reserve_within;
mod room;
mod settings;
mod settle;
mod spec;
mod taker;

pub use distance::Distance;
pub use grant::{Bound, Grant, GrantedJob, Taken};
pub use holds::{ActiveHold, HoldHolder};
pub use reserve::{Reservation, ReserveRequest};
pub use reserve_within::ReserveOutcome;
pub use room::Room;
pub use settings::TakerSettings;
pub use settle::{FailureKind, Settled, Settlement, Verdict};
pub use taker::Taker;
