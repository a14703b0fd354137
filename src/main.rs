//! The one binary: parse, hand to `cli`.
fn main() {}
