//! Tests against real servers, in one binary: it links once.

mod api;
mod cli;
mod cloud;
mod crash;
mod echo;
mod explain;
mod history;
mod journey;
mod local;
mod outage;
mod providers;
mod quotas;
mod sharing;
mod support;
mod take;
mod wire;
