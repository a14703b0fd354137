//! Paceline keeps the data of devices that live in metered third-party clouds fresh, without ever breaking a limit.
//!
//! The modules, in the order a sync travels:
//!
//! - [`preference`]: what users asked for, in Postgres, and the outbox that passes changes to the schedule
//! - [`schedule`]: when each job is due, in Redis
//! - [`token`]: tokens from logins and OAuth 2.0, each renewed by one process at a time
//! - [`authorise`]: keeps connections able to call, from the owner's authorization to the next token
//! - [`take`]: grants calls under all quotas, and leases their jobs
//! - [`pace`]: quota arithmetic, and a rate limiter inside each process
//! - [`fetch`]: makes a call, judges and maps its response
//! - [`incident`]: separates failures of a provider from failures of its connections
//! - [`record`]: writes readings and failures to Postgres
//! - [`cache`]: the latest reading, for readers
//! - [`read`]: answers reads from the cache, or else from Postgres
//! - [`history`]: answers what was, from readings and roll-ups
//! - [`live`]: tells readers what changed, as it comes
//! - [`forecast`]: the effective interval of every job, and the quota that limits it
//! - [`explain`]: why a job has not run yet, in one sentence
//! - [`keep`]: housekeeping: the outbox, a lost schedule, the history
//! - [`change`]: changes what users ask for, and tells what they get
//! - [`adhoc`]: what a user asks for outside the schedule: an ad-hoc call
//! - [`refresh`]: "refresh now": puts scheduled jobs first, and tells how that ends
//! - [`discovery`]: lists a connection's devices, on request and when due
//! - [`trial`]: one ad-hoc call that stores nothing, for whoever writes a definition
//! - [`webhook`]: posts changes to the addresses that tenants ask for
//! - [`http`]: the HTTP API
pub mod adhoc;
pub mod app;
pub mod authorise;
pub mod cache;
pub mod change;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod demo;
pub mod discovery;
pub mod explain;
pub mod fetch;
pub mod forecast;
pub mod history;
pub mod http;
pub mod incident;
pub mod journey;
pub mod keep;
pub mod live;
pub mod local;
pub mod pace;
pub mod postgres;
pub mod preference;
pub mod provider;
pub mod read;
pub mod record;
pub mod redis;
pub mod refresh;
pub mod retry;
pub mod schedule;
pub mod seal;
pub mod serve;
pub mod settings;
pub mod supervise;
pub mod take;
pub mod telemetry;
pub mod token;
pub mod trial;
pub mod watch;
pub mod webhook;
pub mod words;
