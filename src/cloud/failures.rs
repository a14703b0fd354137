//! What goes wrong on purpose, and how often.

use std::time::Duration;

use super::chance::Key;

/// Shares of admitted requests that end badly, each `0.0..=1.0` and together at most 1. None by default.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failures {
    /// Answered with a 500.
    pub error_share: f64,
    /// Connection closed without an answer.
    pub drop_share: f64,
    /// No answer for `hang`, then the connection is closed.
    pub hang_share: f64,
    /// Answered as ever, but with a body that is cut short or is no JSON at all.
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

/// How one admitted request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answer,
    Error,
    Drop,
    Hang,
    Garbage,
}

impl Failures {
    pub(super) fn fate(&self, draw: Key) -> Fate {
        let mut left = draw.unit();
        for (share, fate) in self.shares() {
            if left < share {
                return fate;
            }
            left -= share;
        }
        Fate::Answer
    }

    pub(super) fn are_shares(&self) -> bool {
        let total: f64 = self.shares().iter().map(|(share, _)| share).sum();
        self.shares().iter().all(|(share, _)| (0.0..=1.0).contains(share)) && total <= 1.0
    }

    fn shares(&self) -> [(f64, Fate); 4] {
        [
            (self.error_share, Fate::Error),
            (self.drop_share, Fate::Drop),
            (self.hang_share, Fate::Hang),
            (self.garbage_share, Fate::Garbage),
        ]
    }
}

/// A body that is not what it says: a real one cut short, a gateway's page, or noise.
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
    fn fates_come_in_their_shares() {
        let failures =
            Failures { error_share: 0.1, drop_share: 0.05, garbage_share: 0.2, ..Failures::default() };
        let fates: Vec<Fate> = (0..10_000).map(|n| failures.fate(Key::new(1).with(n))).collect();
        let count = |fate| fates.iter().filter(|it| **it == fate).count();
        assert!((900..1_100).contains(&count(Fate::Error)));
        assert!((400..600).contains(&count(Fate::Drop)));
        assert!((1_850..2_150).contains(&count(Fate::Garbage)));
        assert_eq!(count(Fate::Hang), 0);
    }

    #[test]
    fn nothing_fails_unless_asked() {
        assert!((0..1_000).all(|n| Failures::default().fate(Key::new(n)) == Fate::Answer));
    }

    #[test]
    fn garbage_is_never_the_real_body() {
        let real = br#"{"devices":[]}"#;
        assert!(
            (0..1_000)
                .all(|n| serde_json::from_slice::<serde_json::Value>(&garbage(real, Key::new(n))).is_err())
        );
    }
}
