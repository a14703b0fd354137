//! The values of readings: one vocabulary for all providers, units, and what a definition declares about its own.

mod declared;
mod quantity;
mod vocabulary;

pub use declared::{Constant, DeclaredValue, Names};
pub use quantity::{Conversion, Quantity};
pub use vocabulary::{Kind, Term, VOCABULARY, find, quantity_of_suffix};
