//! Paceline keeps the data of devices that live in metered third-party clouds fresh, without ever breaking a limit.
//!
//! The map, in the order a sync travels; each room says in its own words what it does:
//!
//! - [`preference`]: what owners asked, in Postgres, and the outbox that carries it on
//! - [`schedule`]: who is due when, in Redis
//! - [`token`]: what logins and grants have brought, renewed by one process at a time
//! - [`authorise`]: keeps connections able to call, from the owner's word to the next token
//! - [`take`]: who is called now, and who holds the call
//! - [`pace`]: quota arithmetic, and the last line inside one process
//! - [`fetch`]: the call, its outcome, its mapping
//! - [`record`]: readings and failures into Postgres
//! - [`cache`]: the latest reading, for readers
//! - [`read`]: what readers are shown, from the cache or else from the record
//! - [`forecast`]: how often every job will run, and what keeps it from more
//! - [`explain`]: why a job has not run yet, in a sentence
//! - [`keep`]: housekeeping: the outbox, a lost schedule, the history
//! - [`adhoc`]: what a user asks for outside the schedule: an ad-hoc call, and "refresh now"
//! - [`discovery`]: lists a connection's devices, on request and when due
//! - [`trial`]: one ad-hoc call that stores nothing, for whoever writes a definition
//! - [`http`]: the API
pub mod adhoc;
pub mod app;
pub mod authorise;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod demo;
pub mod discovery;
pub mod explain;
pub mod fetch;
pub mod forecast;
pub mod http;
pub mod journey;
pub mod keep;
pub mod local;
pub mod pace;
pub mod postgres;
pub mod preference;
pub mod provider;
pub mod read;
pub mod record;
pub mod redis;
pub mod retry;
pub mod schedule;
pub mod seal;
pub mod serve;
pub mod settings;
pub mod take;
pub mod telemetry;
pub mod token;
pub mod trial;
pub mod watch;
pub mod words;
