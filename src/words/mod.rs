//! Shared vocabulary types: ids, intervals, priorities, jobs, readings, outcomes. No I/O, clock or random numbers.

pub mod connection;
pub mod id;
pub mod interval;
pub mod job;
pub mod listed_device;
pub mod outcome;
pub mod priority;
pub mod reading;
pub mod role;
pub mod secrets;
pub mod series;
pub mod signing_secrets;
pub mod text;
pub mod time;
pub mod token;
pub mod validator;

pub use connection::{Connection, ConnectionState, QuotaInputs};
pub use id::{CallId, ConnectionId, DeviceId, JobId, TenantId, WebhookId};
pub use interval::{Interval, IntervalError, Timetable, TimetableError, Window, duration_ms, duration_text};
pub use job::{Job, JobOrigin, JobState, lane};
pub use listed_device::ListedDevice;
pub use outcome::{End, Hold, Incident, Outcome, Refusal, Scope};
pub use priority::Priority;
pub use reading::{Latest, Record};
pub use role::Role;
pub use secrets::Secrets;
pub use signing_secrets::SigningSecrets;
pub use text::name::{NameError, ProviderName, ResourceName};
pub use text::{Label, TextError};
pub use time::UnixMs;
pub use token::{Granted, NoToken, Token};
pub use validator::Validator;
