//! Commands of whoever runs the service: keys, tenants, the check of the schedule.

pub(super) mod check;
pub(super) mod key;
pub(super) mod rotate;
pub(super) mod tenant;
