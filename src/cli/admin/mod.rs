//! Commands for operators: API keys, logins of Postgres, tenants, the check of the schedule, rotation of the sealing
//! key.

pub(super) mod check;
pub(super) mod key;
pub(super) mod rotate;
pub(super) mod sql_reader;
pub(super) mod tenant;
