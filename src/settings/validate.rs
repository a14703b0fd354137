//! What settings must be besides being of the right type.

use super::{Settings, SettingsError};

impl Settings {
    pub(super) fn validate(self) -> Result<Self, SettingsError> {
        let rank = &self.rank;
        let bases = [rank.realtime, rank.high, rank.normal, rank.low, rank.background];
        if !(rank.k > 0.0 && rank.k <= 10.0) {
            return Err(SettingsError(format!("rank.k is {}; it must be above 0 and at most 10", rank.k)));
        }
        if !bases.iter().all(|b| b.is_finite() && *b > 0.0) || !bases.is_sorted() {
            return Err(SettingsError(
                "the bases of rank must be above 0 and must not decrease from realtime to background".into(),
            ));
        }
        if !(0.0..=10.0).contains(&self.fresh.grace_share) {
            return Err(SettingsError(format!(
                "fresh.grace_share is {}; it must be from 0 to 10",
                self.fresh.grace_share
            )));
        }
        if !(0.0..=0.5).contains(&self.take.ride_share) {
            return Err(SettingsError(format!(
                "take.ride_share is {}; it must be from 0 to 0.5",
                self.take.ride_share
            )));
        }
        if self.hold.first > self.hold.cap {
            let (first, cap) = (self.hold.first, self.hold.cap);
            return Err(SettingsError(format!("hold.first is {first}; it must be at most hold.cap, {cap}")));
        }
        if self.database.connections_max < 4 {
            return Err(SettingsError(format!(
                "database.connections_max is {}; it must be at least 4, since locks and listeners keep some",
                self.database.connections_max
            )));
        }
        if self.cache.ttl.as_ms() < 1000 {
            return Err(SettingsError(format!("cache.ttl is {}; it must be at least 1s", self.cache.ttl)));
        }
        let refresh = &self.refresh;
        if refresh.tenant_amount == 0 || refresh.tenant_window.as_ms() == 0 {
            return Err(SettingsError(
                "refresh.tenant_amount and refresh.tenant_window must be above 0".into(),
            ));
        }
        if !(refresh.app_share > 0.0 && refresh.app_share <= 1.0) {
            return Err(SettingsError(format!(
                "refresh.app_share is {}; it must be above 0 and at most 1",
                refresh.app_share
            )));
        }
        if self.webhooks.batch == 0 || self.webhooks.batch > 1000 {
            let batch = self.webhooks.batch;
            return Err(SettingsError(format!("webhooks.batch is {batch}; it must be from 1 to 1000")));
        }
        if self.http.header_timeout.as_ms() == 0 || self.http.idle_timeout.as_ms() == 0 {
            return Err(SettingsError("http.header_timeout and http.idle_timeout must be above 0".into()));
        }
        if self.http.key_window.as_ms() == 0 {
            return Err(SettingsError(
                "http.key_window must be above 0; http.key_requests = 0 sets no limit".into(),
            ));
        }
        Ok(self)
    }
}
