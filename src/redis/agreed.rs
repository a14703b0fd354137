//! Constants that Rust and the scripts share, each defined once: scripts find it in the table `Const`.

/// 2^32 / the golden ratio: multiples of it, modulo 2^32, fall as far apart as they can (Knuth, TAOCP vol. 3, 6.4).
pub const GOLDEN: u32 = 0x9E37_79B9;

/// So many job ids, from a multiple on, are spread over [`BUCKET_HASHES`] by where they fall in the interval.
pub const BUCKET_BLOCK: i64 = 131_072;

/// See [`BUCKET_BLOCK`].
pub const BUCKET_HASHES: i64 = 2_048;

/// Jobs that can share a call lie in one hash if their ids differ in so many last digits only.
pub const BUCKET_DIGITS: u32 = 2;

/// A call's place in its lease, as a digit.
pub const LEASE_DIGITS: &str = "0123456789abcdefghijklmnopqrstuv";

/// How many calls share a lease: few, because Redis looks through one item by item.
pub const LEASE_WIDTH: i64 = LEASE_DIGITS.len() as i64;

/// Changes with what keys mean: a schedule that was built with another is built again from Postgres.
pub const LAYOUT: u32 = 2;

/// The statement that defines them for a script.
pub(super) fn preamble() -> String {
    format!(
        "local Const = {{ golden = {GOLDEN}, bucket_block = {BUCKET_BLOCK}, bucket_hashes = {BUCKET_HASHES}, \
         bucket_digits = {BUCKET_DIGITS}, lease_digits = '{LEASE_DIGITS}', lease_width = {LEASE_WIDTH}, \
         layout = '{LAYOUT}' }}\n"
    )
}
