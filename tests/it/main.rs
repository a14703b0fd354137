//! Tests against real servers, in one binary: it links once.

mod local;
