//! Injected failures, and how often they occur.

use std::time::Duration;

use super::rng::Key;

/// Shares of admitted requests that fail, each `0.0..=1.0` and together at most 1. None by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failures {
    /// Answered with HTTP 500.
    pub error_share: f64,
    /// The connection is closed without a response.
    pub drop_share: f64,
    /// No response for `hang`, then the connection is closed.
    pub hang_share: f64,
    /// Answered with a body that is truncated or no JSON.
    pub garbage_share: f64,
    /// How long a hanging request hangs.
    pub hang: Duration,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            error_share: 0.0,
            drop_share: 0.0,
            hang_share: 0.0,
            garbage_share: 0.0,
            hang: Duration::from_secs(60),
        }
    }
}

/// How an admitted request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Normal,
    Error,
    Drop,
    Hang,
    Garbage,
}

impl Failures {
    pub(super) fn decide(&self, draw: Key) -> Reply {
        let mut rest = draw.unit();
        for (share, reply) in self.shares() {
            if rest < share {
                return reply;
            }
            rest -= share;
        }
        Reply::Normal
    }

    pub(super) fn are_valid(&self) -> bool {
        let total: f64 = self.shares().iter().map(|(share, _)| share).sum();
        self.shares().iter().all(|(share, _)| (0.0..=1.0).contains(share)) && total <= 1.0
    }

    fn shares(&self) -> [(f64, Reply); 4] {
        [
            (self.error_share, Reply::Error),
            (self.drop_share, Reply::Drop),
            (self.hang_share, Reply::Hang),
            (self.garbage_share, Reply::Garbage),
        ]
    }
}

/// An unreadable body: a truncated response, a gateway's error page, or random bytes.
pub(super) fn garbage(real: &[u8], draw: Key) -> Vec<u8> {
    match draw.below(3) {
        0 => real[..draw.with(1).below(real.len().max(1))].to_vec(),
        1 => b"<html><head><title>502 Bad Gateway</title></head><body>upstream failed</body></html>".to_vec(),
        _ => (0..64).map(|n| draw.with(n).bits() as u8).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_occur_in_their_shares() {
        let failures =
            Failures { error_share: 0.1, drop_share: 0.05, garbage_share: 0.2, ..Failures::default() };
        let replies: Vec<Reply> = (0..10_000).map(|n| failures.decide(Key::new(1).with(n))).collect();
        let count = |reply| replies.iter().filter(|it| **it == reply).count();
        assert!((900..1_100).contains(&count(Reply::Error)));
        assert!((400..600).contains(&count(Reply::Drop)));
        assert!((1_850..2_150).contains(&count(Reply::Garbage)));
        assert_eq!(count(Reply::Hang), 0);
    }

    #[test]
    fn nothing_fails_by_default() {
        assert!((0..1_000).all(|n| Failures::default().decide(Key::new(n)) == Reply::Normal));
    }

    #[test]
    fn garbage_is_never_valid_json() {
        let real = br#"{"devices":[]}"#;
        assert!(
            (0..1_000)
                .all(|n| serde_json::from_slice::<serde_json::Value>(&garbage(real, Key::new(n))).is_err())
        );
    }
}
