//! Tests against real servers, in one binary: it links once.

mod api;
mod cloud;
mod journey;
mod local;
mod support;
mod take;
mod wire;
