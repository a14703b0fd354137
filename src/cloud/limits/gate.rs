//! Checks all limits of a request at once: it is counted in all of them, or in none.

use super::limit::{Limit, Scope};
use super::sliding_log::SlidingLog;

/// The limit with the fewest requests left, after a request was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tightest {
    pub(crate) limit: Limit,
    pub(crate) remaining: u32,
    pub(crate) reset_us: i64,
}

/// Index of the limit that refused, and how long until it would admit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) limit: usize,
    pub(crate) wait_us: i64,
}

/// Every limit with its logs: one for the app, or one per account.
#[derive(Debug)]
pub(crate) struct Gate {
    limits: Vec<(Limit, Vec<SlidingLog>)>,
}

/// How much of a limit was used, over all its logs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    pub(crate) limit: Limit,
    /// The most requests in any window of any log.
    pub(crate) peak: usize,
    /// In the window that ends now: of all logs together, and of the fullest.
    pub(crate) used_share: f64,
    pub(crate) busiest_share: f64,
}

impl Gate {
    pub(crate) fn new(limits: &[Limit], accounts: u32) -> Self {
        let logs = |limit: &Limit| match limit.scope {
            Scope::App => 1,
            Scope::Account => accounts,
        };
        let log = |limit: &Limit| SlidingLog::new(limit.amount, limit.window_us());
        Self {
            limits: limits
                .iter()
                .map(|limit| (*limit, (0..logs(limit)).map(|_| log(limit)).collect()))
                .collect(),
        }
    }

    /// Counts the request in every limit, or refuses it and counts it in none. Of several full limits the one with the
    /// longest wait is returned, so that a client that waits that long is admitted. `Ok(None)` if no limit is set.
    pub(crate) fn admit(&mut self, account: u32, now_us: i64) -> Result<Option<Tightest>, Refusal> {
        let refusal =
            self.logs_of(account).enumerate().map(|(limit, (_, log))| (log.wait_us(now_us), limit)).max();
        match refusal {
            Some((wait_us, limit)) if wait_us > 0 => return Err(Refusal { limit, wait_us }),
            _ => self.logs_of(account).for_each(|(_, log)| log.record(now_us)),
        }
        let limits = self.logs_of(account).map(|(limit, log)| Tightest {
            limit: *limit,
            remaining: log.remaining(now_us) as u32,
            reset_us: log.reset_us(now_us),
        });
        Ok(limits.min_by_key(|limit| limit.remaining))
    }

    pub(crate) fn usages(&mut self, now_us: i64) -> Vec<Usage> {
        self.limits.iter_mut().map(|(limit, logs)| usage(*limit, logs, now_us)).collect()
    }

    fn logs_of(&mut self, account: u32) -> impl Iterator<Item = (&Limit, &mut SlidingLog)> {
        self.limits.iter_mut().map(move |(limit, logs)| match limit.scope {
            Scope::App => (&*limit, &mut logs[0]),
            Scope::Account => (&*limit, &mut logs[account as usize]),
        })
    }
}

fn usage(limit: Limit, logs: &mut [SlidingLog], now_us: i64) -> Usage {
    let (mut used, mut busiest) = (0, 0);
    for log in logs.iter_mut() {
        let of_log = log.used(now_us);
        used += of_log;
        busiest = busiest.max(of_log);
    }
    let amount = f64::from(limit.amount);
    Usage {
        limit,
        peak: logs.iter().map(SlidingLog::peak).max().unwrap_or(0),
        used_share: used as f64 / (amount * logs.len().max(1) as f64),
        busiest_share: busiest as f64 / amount,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn request_refused_by_one_limit_is_not_counted_in_others() {
        let mut gate = Gate::new(&[Limit::account(1, 10_000), Limit::app(2, 1_000)], 2);
        assert!(gate.admit(0, 0).is_ok());
        assert_eq!(gate.admit(0, 0), Err(Refusal { limit: 0, wait_us: 10 * S }));
        assert!(gate.admit(1, 0).is_ok(), "the refused request is not counted in the app's limit");
        let peaks: Vec<usize> = gate.usages(0).iter().map(|usage| usage.peak).collect();
        assert_eq!(peaks, [1, 2]);
    }

    #[test]
    fn longest_wait_is_returned() {
        let mut gate = Gate::new(&[Limit::account(2, 1_000), Limit::account(2, 60_000)], 1);
        assert!(gate.admit(0, 0).is_ok());
        assert!(gate.admit(0, 0).is_ok());
        assert_eq!(gate.admit(0, S / 2), Err(Refusal { limit: 1, wait_us: 59 * S + S / 2 }));
    }

    #[test]
    fn account_limit_counts_each_account_separately() {
        let mut gate = Gate::new(&[Limit::account(1, 1_000)], 2);
        assert!(gate.admit(0, 0).is_ok());
        assert!(gate.admit(1, 0).is_ok());
        assert!(gate.admit(1, 0).is_err());
    }

    #[test]
    fn limit_with_fewest_left_is_returned() {
        let mut gate = Gate::new(&[Limit::account(50, 10_000), Limit::account(3, 60_000)], 1);
        let tightest = Tightest { limit: Limit::account(3, 60_000), remaining: 2, reset_us: 60 * S };
        assert_eq!(gate.admit(0, 0), Ok(Some(tightest)));
        assert_eq!(Gate::new(&[], 1).admit(0, 0), Ok(None));
    }

    #[test]
    fn shares_are_of_the_window_that_ends_now() {
        let mut gate = Gate::new(&[Limit::account(4, 1_000)], 2);
        (0..2).for_each(|_| assert!(gate.admit(0, 0).is_ok()));
        let usage = gate.usages(S / 2)[0];
        assert_eq!((usage.used_share, usage.busiest_share, usage.peak), (0.25, 0.5, 2));
        let later = gate.usages(S)[0];
        assert_eq!((later.used_share, later.busiest_share, later.peak), (0.0, 0.0, 2));
    }
}
