//! Tests against real servers, in one binary: it links once.

mod cli;
mod cloud;
mod local;
mod support;
