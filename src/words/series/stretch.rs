//! Consecutive readings as one: a single reading, or all of a stretch of time.

use super::tally::Tally;
use crate::words::UnixMs;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Consecutive readings of a series. It tells of the time from the first to the last of them; for how long that one
/// stands, only the next stretch tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// When the first reading was fetched.
    pub first_at: UnixMs,
    /// Since when nothing had been known then; none: what stood before stood until then.
    pub gap_since: Option<UnixMs>,
    /// When the last reading was fetched.
    pub last_at: UnixMs,
    /// Whether the device was online as of the last reading. If not, its values do not stand.
    pub online: bool,
    /// Readings.
    pub readings: u64,
    /// For how long values were known, ms.
    pub known_ms: i64,
    /// For how long the device was offline, ms.
    pub offline_ms: i64,
    /// What was read while online, by name.
    pub values: BTreeMap<String, Tally>,
}

impl Stretch {
    /// A single reading.
    pub fn of(at: UnixMs, gap_since: Option<UnixMs>, online: bool, values: Map<String, Value>) -> Self {
        let read = values.into_iter().filter(|(_, value)| online && !value.is_null());
        Self {
            first_at: at,
            gap_since,
            last_at: at,
            online,
            readings: 1,
            known_ms: 0,
            offline_ms: 0,
            values: read.map(|(name, value)| (name, Tally::read(value))).collect(),
        }
    }

    /// Until when the last reading of this one is known to stand, if that one is the next.
    pub fn stands_until(&self, next: &Self) -> UnixMs {
        let end = next.gap_since.unwrap_or(next.first_at);
        end.min(next.first_at).max(self.last_at)
    }

    /// Joins the next one to this one.
    pub fn join(&mut self, next: Self) {
        let stood_ms = self.stands_until(&next).since_ms(self.last_at);
        if self.online {
            self.known_ms += stood_ms;
            self.values.values_mut().filter(|tally| tally.stands).for_each(|tally| tally.stand(stood_ms));
        } else {
            self.offline_ms += stood_ms;
        }
        self.values.values_mut().for_each(|tally| tally.stands = false);
        for (name, tally) in next.values {
            match self.values.get_mut(&name) {
                Some(before) => before.add(tally),
                None => drop(self.values.insert(name, tally)),
            }
        }
        self.last_at = next.last_at;
        self.online = next.online;
        self.readings += next.readings;
        self.known_ms += next.known_ms;
        self.offline_ms += next.offline_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reading(at: i64, gap_since: Option<i64>, online: bool, values: Value) -> Stretch {
        let Value::Object(values) = values else { panic!("values are an object") };
        Stretch::of(UnixMs(at), gap_since.map(UnixMs), online, values)
    }

    /// Every kind of reading: changes, a gap, offline, a value that is missing for a while, a text, a bool.
    fn readings() -> Vec<Stretch> {
        vec![
            reading(0, None, true, json!({"t": 20.5, "on": true})),
            reading(1_000, None, true, json!({"t": 22, "mode": "heat", "on": false})),
            reading(5_000, Some(2_000), true, json!({"t": -3.25, "on": true})),
            reading(6_000, None, false, json!({"t": -3.25, "on": true})),
            reading(9_000, None, true, json!({"on": true})),
            reading(9_500, Some(3_000), true, json!({"t": 1e200})),
            reading(11_000, None, true, json!({"t": 7})),
        ]
    }

    fn joined(stretches: &[Stretch]) -> Stretch {
        let mut all = stretches.iter().cloned();
        let mut first = all.next().unwrap();
        all.for_each(|next| first.join(next));
        first
    }

    #[test]
    fn what_is_joined_by_parts_is_what_is_joined_at_once() {
        let all = readings();
        let once = joined(&all);
        for cut in 1..all.len() {
            for other in cut..all.len() {
                let parts: Vec<_> = [&all[..cut], &all[cut..other], &all[other..]]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .map(joined)
                    .collect();
                assert_eq!(joined(&parts), once, "{cut} {other}");
                let stored = serde_json::to_string(&parts[0].values).unwrap();
                let back: BTreeMap<String, Tally> = serde_json::from_str(&stored).unwrap();
                assert_eq!(back, parts[0].values);
            }
        }
    }

    #[test]
    fn sums_are_those_computed_by_hand() {
        let all = joined(&readings());
        let t = &all.values["t"];
        // 20.5 for 1 s, 22 for 1 s until the gap, -3.25 for 1 s until offline; 1e200 is no number.
        assert_eq!((t.weighted, t.weighed_ms), (20_500.0 + 22_000.0 - 3_250.0, 3_000));
        assert_eq!(
            (t.min, t.max, t.readings, t.numbers, &t.last),
            (Some(-3.25), Some(22.0), 5, 4, &json!(7))
        );
        assert_eq!(t.avg(), Some((20.5 + 22.0 - 3.25 + 7.0) / 4.0));
        let on = &all.values["on"];
        // True for 1 s, false for 1 s, true for 1 s; at 9 s true for no time, as nothing was known from then.
        assert_eq!((on.time_avg(), on.stands), (Some(2.0 / 3.0), false));
        assert_eq!((all.values["mode"].last.clone(), all.values["mode"].time_avg()), (json!("heat"), None));
        assert_eq!((all.known_ms, all.offline_ms), (1_000 + 1_000 + 1_000 + 1_500, 3_000));
    }
}
