//! Tests that need a wire.

mod cloud;
