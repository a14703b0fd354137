//! Sliding quotas by the generic cell rate algorithm, whose state is one timestamp. Pure; `take/lua/quota/gcra.lua`
//! computes the same.

/// GCRA (ITU-T I.371, annex A, the virtual scheduling form), in milliseconds.
///
/// With burst b the emission interval is `T = W / (N − b + 1)`. A window of length W then holds at most the b calls
/// sent at once at its beginning and the `⌈W/T⌉ − 1 = N − b` that follow: N in total.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gcra {
    /// T, the time in which one unit of cost is regained.
    pub emission_ms: f64,
    /// b, in units of cost.
    pub burst: f64,
}

impl Gcra {
    /// The earliest instant, not before `now_ms`, at which `cost` may be spent.
    pub fn earliest_ms(&self, tat_ms: f64, cost: f64, now_ms: f64) -> f64 {
        now_ms.max(tat_ms + (cost - self.burst) * self.emission_ms)
    }

    /// The theoretical arrival time after spending `cost` at `at_ms`.
    pub fn spend(&self, tat_ms: f64, cost: f64, at_ms: f64) -> f64 {
        tat_ms.max(at_ms) + cost * self.emission_ms
    }

    /// The theoretical arrival time after T has changed. At `spent_ms`, the last instant at which T may have been
    /// shorter, the quota counts as fully spent. What a longer T spent up to `granted_ms`, the last instant of any
    /// grant, counts as at most the full quota. `take/lua/quota/gcra.lua` says why this keeps every window.
    pub fn changed(&self, tat_ms: f64, spent_ms: f64, granted_ms: f64) -> f64 {
        let full_ms = self.burst * self.emission_ms;
        tat_ms.max(spent_ms + full_ms).min(granted_ms + full_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gcra(amount: u32, burst: u32, window_ms: f64) -> Gcra {
        Gcra { emission_ms: window_ms / f64::from(amount - burst + 1), burst: burst.into() }
    }

    proptest! {
        /// Whatever is requested, no half-open window of length W holds more than N.
        #[test]
        fn no_window_exceeds_the_amount(
            amount in 1_u32..60,
            burst_share in 0.0_f64..1.0,
            window_ms in 100_u64..60_000,
            pauses in prop::collection::vec((0.0_f64..2.0, 1_u32..4), 1..200),
        ) {
            let burst = 1 + (burst_share * f64::from(amount - 1)) as u32;
            let gcra = gcra(amount, burst, window_ms as f64);
            let (mut tat, mut now, mut sent) = (0.0, 1e9, Vec::new());
            for (pause, cost) in pauses {
                now += pause * gcra.emission_ms;
                let cost = cost.min(burst);
                let at = gcra.earliest_ms(tat, cost.into(), now);
                tat = gcra.spend(tat, cost.into(), at);
                sent.push((at, cost));
                now = at;
            }
            for (first, (from, _)) in sent.iter().enumerate() {
                // Slightly shorter than W, since instants exactly W apart are in different half-open windows.
                let end = from + window_ms as f64 - 1e-3;
                let held: u32 = sent[first..].iter().take_while(|(at, _)| *at < end).map(|(_, cost)| cost).sum();
                prop_assert!(held <= amount, "{held} of {amount} in a window");
            }
        }
    }

    proptest! {
        /// However plans and numbers of devices change, no window holds more than the largest amount in force during
        /// it.
        #[test]
        fn no_window_exceeds_the_largest_amount_in_force_while_amounts_change(
            burst in 1_u32..6,
            window_ms in 100_u64..60_000,
            horizon in 0.0_f64..2.0,
            requests in prop::collection::vec(
                (0.0_f64..2.0, 1_u32..4, prop::option::weighted(0.1, 0_u32..60)),
                1..200,
            ),
        ) {
            let (mut amount, mut tat, mut now, mut spent) = (burst + 20, 0.0, 1e9, 0.0);
            let (mut sent, mut in_force) = (Vec::new(), vec![(0.0, amount)]);
            for (pause, cost, change) in requests {
                let ahead = horizon * gcra(amount, burst, window_ms as f64).emission_ms;
                now += pause * gcra(amount, burst, window_ms as f64).emission_ms;
                // A change comes at the last granted instant: no grant lies beyond it, so the horizon may change with
                // T.
                let granted = sent.last().map_or(now, |(at, _): &(f64, u32)| at.max(now));
                if let Some(more) = change {
                    let next = burst + more;
                    if next < amount {
                        spent = granted;
                    }
                    (amount, now) = (next, granted);
                    in_force.push((now, amount));
                }
                let gcra = gcra(amount, burst, window_ms as f64);
                tat = gcra.changed(tat, spent, granted.max(now + ahead));
                let cost = cost.min(burst);
                let at = gcra.earliest_ms(tat, cost.into(), now);
                if at > now + ahead {
                    continue;
                }
                tat = gcra.spend(tat, cost.into(), at);
                sent.push((at, cost));
            }
            for (first, (from, _)) in sent.iter().enumerate() {
                let end = from + window_ms as f64 - 1e-3;
                let held: u32 = sent[first..].iter().take_while(|(at, _)| *at < end).map(|(_, cost)| cost).sum();
                let last = in_force.iter().rposition(|(at, _)| at <= from).unwrap_or(0);
                let most = in_force[last..].iter().take_while(|(at, _)| *at < end).map(|(_, amount)| amount).max();
                prop_assert!(held <= *most.unwrap(), "{held} of {most:?} in a window");
            }
        }
    }

    #[test]
    fn steady_sender_uses_the_whole_quota_without_burst() {
        let gcra = gcra(50, 1, 10_000.0);
        let (mut tat, mut now, mut sent) = (0.0, 0.0, 0);
        while now < 100_000.0 {
            now = gcra.earliest_ms(tat, 1.0, now);
            tat = gcra.spend(tat, 1.0, now);
            sent += 1;
        }
        assert!((500..=501).contains(&sent), "{sent}");
    }
}
