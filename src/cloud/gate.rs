//! All limits of one request at once: counted in every one of them, or in none.

use super::limit::{Limit, Scope};
use super::sliding_log::SlidingLog;

/// Where an admitted request stands with the limit that is nearest its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) limit: Limit,
    pub(super) remaining: u32,
    pub(super) reset_us: i64,
}

/// Which limit refused, by its place in the list, and how long until it would not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) limit: usize,
    pub(super) wait_us: i64,
}

/// Every limit with its logs: one for the app, or one per account.
#[derive(Debug)]
pub(super) struct Gate {
    limits: Vec<(Limit, Vec<SlidingLog>)>,
}

/// What a limit has seen, over all its logs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Use {
    pub(super) limit: Limit,
    /// The most in any window of any log.
    pub(super) peak: usize,
    /// Of the window that ends now: over all logs together, and of the fullest.
    pub(super) used_share: f64,
    pub(super) busiest_share: f64,
}

impl Gate {
    pub(super) fn new(limits: &[Limit], accounts: u32) -> Self {
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

    /// Counts the request in every limit, or refuses it and counts it nowhere. Of several full limits the one
    /// with the longest wait speaks, so that whoever waits as told is admitted. `None` stands for "no limit
    /// is set".
    pub(super) fn ask(&mut self, account: u32, now_us: i64) -> Result<Option<Standing>, Refusal> {
        let refusal =
            self.logs_of(account).enumerate().map(|(limit, (_, log))| (log.wait_us(now_us), limit)).max();
        match refusal {
            Some((wait_us, limit)) if wait_us > 0 => return Err(Refusal { limit, wait_us }),
            _ => self.logs_of(account).for_each(|(_, log)| log.record(now_us)),
        }
        let standings = self.logs_of(account).map(|(limit, log)| Standing {
            limit: *limit,
            remaining: log.remaining(now_us) as u32,
            reset_us: log.reset_us(now_us),
        });
        Ok(standings.min_by_key(|standing| standing.remaining))
    }

    pub(super) fn uses(&mut self, now_us: i64) -> Vec<Use> {
        self.limits.iter_mut().map(|(limit, logs)| use_of(*limit, logs, now_us)).collect()
    }

    fn logs_of(&mut self, account: u32) -> impl Iterator<Item = (&Limit, &mut SlidingLog)> {
        self.limits.iter_mut().map(move |(limit, logs)| match limit.scope {
            Scope::App => (&*limit, &mut logs[0]),
            Scope::Account => (&*limit, &mut logs[account as usize]),
        })
    }
}

fn use_of(limit: Limit, logs: &mut [SlidingLog], now_us: i64) -> Use {
    let (mut used, mut busiest) = (0, 0);
    for log in logs.iter_mut() {
        let of_log = log.used(now_us);
        used += of_log;
        busiest = busiest.max(of_log);
    }
    let amount = f64::from(limit.amount);
    Use {
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
    fn a_request_one_limit_refuses_leaves_no_trace_in_the_others() {
        let mut gate = Gate::new(&[Limit::account(1, 10_000), Limit::app(2, 1_000)], 2);
        assert!(gate.ask(0, 0).is_ok());
        assert_eq!(gate.ask(0, 0), Err(Refusal { limit: 0, wait_us: 10 * S }));
        assert!(gate.ask(1, 0).is_ok(), "the refused one took no place of the app's two");
        let peaks: Vec<usize> = gate.uses(0).iter().map(|used| used.peak).collect();
        assert_eq!(peaks, [1, 2]);
    }

    #[test]
    fn the_longest_wait_speaks() {
        let mut gate = Gate::new(&[Limit::account(2, 1_000), Limit::account(2, 60_000)], 1);
        assert!(gate.ask(0, 0).is_ok());
        assert!(gate.ask(0, 0).is_ok());
        assert_eq!(gate.ask(0, S / 2), Err(Refusal { limit: 1, wait_us: 59 * S + S / 2 }));
    }

    #[test]
    fn accounts_do_not_share_their_own_limit() {
        let mut gate = Gate::new(&[Limit::account(1, 1_000)], 2);
        assert!(gate.ask(0, 0).is_ok());
        assert!(gate.ask(1, 0).is_ok());
        assert!(gate.ask(1, 0).is_err());
    }

    #[test]
    fn the_standing_is_of_the_limit_nearest_its_end() {
        let mut gate = Gate::new(&[Limit::account(50, 10_000), Limit::account(3, 60_000)], 1);
        let standing = Standing { limit: Limit::account(3, 60_000), remaining: 2, reset_us: 60 * S };
        assert_eq!(gate.ask(0, 0), Ok(Some(standing)));
        assert_eq!(Gate::new(&[], 1).ask(0, 0), Ok(None));
    }

    #[test]
    fn shares_are_of_the_window_that_ends_now() {
        let mut gate = Gate::new(&[Limit::account(4, 1_000)], 2);
        (0..2).for_each(|_| assert!(gate.ask(0, 0).is_ok()));
        let used = gate.uses(S / 2)[0];
        assert_eq!((used.used_share, used.busiest_share, used.peak), (0.25, 0.5, 2));
        let later = gate.uses(S)[0];
        assert_eq!((later.used_share, later.busiest_share, later.peak), (0.0, 0.0, 2));
    }
}
