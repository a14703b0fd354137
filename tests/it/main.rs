//! Tests against real servers, in one binary: it links once.

mod cloud;
mod journey;
mod local;
mod support;
