//! Tests against real servers, in one binary: it links once.

mod api;
mod bad_answers;
mod cli;
mod cloud;
mod clouds;
mod crash;
mod echo;
mod explain;
mod faults;
mod format;
mod fuzz;
mod history;
mod journey;
mod local;
mod login;
mod middleman;
mod outage;
mod private_redis;
mod providers;
mod quotas;
mod raw;
mod sharing;
mod support;
mod take;
mod wire;
mod wrong_clock;
