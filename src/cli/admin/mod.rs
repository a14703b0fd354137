//! Commands for operators: API keys, tenants, the check of the schedule, rotation of the sealing key.

pub(super) mod check;
pub(super) mod key;
pub(super) mod rotate;
pub(super) mod tenant;
