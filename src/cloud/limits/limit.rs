//! A limit and its text form: `account:50/10s`.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Which requests a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Those of each account separately.
    Account,
    /// Those of all accounts together.
    App,
}

/// At most `amount` requests in any window of `window_ms`. Its text form is `scope:amount/window`, where the window is
/// a whole number of `ms`, `s`, `m` or `h`. Clients see it as the limit's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Which requests are counted together.
    pub scope: Scope,
    /// Requests admitted in any window; at least 1.
    pub amount: u32,
    /// Length of the window in milliseconds; at least 1.
    pub window_ms: u64,
}

impl Limit {
    /// A limit on each account.
    pub const fn account(amount: u32, window_ms: u64) -> Self {
        Self { scope: Scope::Account, amount, window_ms }
    }

    /// A limit on all accounts together.
    pub const fn app(amount: u32, window_ms: u64) -> Self {
        Self { scope: Scope::App, amount, window_ms }
    }

    /// Whether it admits any request and its window can be measured.
    pub(crate) fn is_valid(&self) -> bool {
        self.amount > 0 && (1..=WINDOW_MS_MAX).contains(&self.window_ms)
    }

    pub(crate) fn window_us(&self) -> i64 {
        self.window_ms as i64 * 1_000
    }
}

/// Longest first, so that `Display` finds the shortest text.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A year: a longer window in microseconds might overflow.
const WINDOW_MS_MAX: u64 = 366 * 24 * 3_600_000;

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = match self.scope {
            Scope::Account => "account",
            Scope::App => "app",
        };
        let (unit, unit_ms) =
            UNITS.into_iter().find(|(_, ms)| self.window_ms.is_multiple_of(*ms)).unwrap_or(UNITS[3]);
        write!(f, "{scope}:{}/{}{unit}", self.amount, self.window_ms / unit_ms)
    }
}

/// A text that is not a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not a limit: write scope:amount/window, such as account:50/10s or app:40/1s \
     (scope account or app, window in ms, s, m or h)"
)]
pub struct BadLimit(String);

impl FromStr for Limit {
    type Err = BadLimit;

    fn from_str(text: &str) -> Result<Self, BadLimit> {
        parse(text).ok_or_else(|| BadLimit(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<Limit> {
    let (scope, rest) = text.split_once(':')?;
    let (amount, window) = rest.split_once('/')?;
    let scope = match scope {
        "account" => Scope::Account,
        "app" => Scope::App,
        _ => return None,
    };
    let (count, unit) = window.split_at(window.find(|c: char| !c.is_ascii_digit())?);
    let (_, unit_ms) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let window_ms = count.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    let limit = Limit { scope, amount: amount.parse().ok()?, window_ms };
    limit.is_valid().then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for text in ["account:50/10s", "account:6000/1h", "app:40/1s", "app:1/250ms", "account:3/90m"] {
            assert_eq!(text.parse::<Limit>().map(|limit| limit.to_string()), Ok(text.to_owned()));
        }
        assert_eq!("account:1/3600s".parse(), Ok(Limit::account(1, 3_600_000)));
    }

    #[test]
    fn bad_limit_is_refused_with_an_example() {
        for text in [
            "",
            "50/10s",
            "user:1/1s",
            "app:0/1s",
            "app:1/0s",
            "app:1/1d",
            "app:1/10",
            "app:1/99999999999999h",
        ] {
            let refused = text.parse::<Limit>().unwrap_err().to_string();
            assert!(refused.contains("account:50/10s"), "{refused}");
        }
    }
}
