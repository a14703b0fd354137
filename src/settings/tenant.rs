//! What a tenant may have and ask for.

use crate::words::Interval;
use serde::Deserialize;

section!(
    /// `[tenant]`
    Tenant {
        /// Connections that a tenant may have before it can add no more itself.
        connections_max: u32,
        /// Devices that a tenant may have before lists of devices add no more.
        devices_max: u32,
    }
);
section!(
    /// `[refresh]`
    Refresh {
        /// So many of a tenant at one provider …
        tenant_amount: u32,
        /// … in this time.
        tenant_window: Interval,
        /// How far apart those of a job are.
        job_every: Interval,
        /// The share of the app's quotas for all of them.
        app_share: f64,
    }
);
section!(
    /// `[webhooks]`
    Webhooks {
        /// So many a tenant may have.
        tenant_max: u32,
        /// So many changes are posted together.
        batch: u32,
        /// One that failed for so long is disabled.
        disable_after: Interval,
        /// Whether they may be in private networks.
        private_networks: bool,
    }
);
