//! What a login or a grant brings, and why it may not.

use super::{End, UnixMs};
use secrecy::SecretString;

/// A token as it is kept. What prints it prints no secret.
#[derive(Debug, Clone)]
pub struct Token {
    /// What calls carry.
    pub access: SecretString,
    /// What brings the next one, if the provider gives such.
    pub refresh: Option<SecretString>,
    /// Grows with each token of a connection.
    pub generation: i64,
    /// From here on it is renewed; none: only once it is refused.
    pub renew_at: Option<UnixMs>,
    /// From here on it is not used; none: that is not told.
    pub expires_at: Option<UnixMs>,
}

impl Token {
    /// The first one of a grant that was asked for at this instant.
    pub fn first(granted: &Granted, asked_at: UnixMs) -> Self {
        Self::after(granted, asked_at, 0, None)
    }

    /// The one after that of this generation. Only some providers give a new refresh token each time: at others the one
    /// before goes on.
    pub fn after(
        granted: &Granted,
        asked_at: UnixMs,
        generation: i64,
        refresh: Option<&SecretString>,
    ) -> Self {
        let spans = granted.spans_ms();
        Self {
            access: granted.access.clone(),
            refresh: granted.refresh.as_ref().or(refresh).cloned(),
            generation: generation + 1,
            renew_at: spans.map(|(renew, _)| asked_at.plus_ms(renew)),
            expires_at: spans.map(|(_, expire)| asked_at.plus_ms(expire)),
        }
    }

    /// Whether it is time for the next one.
    pub fn is_due(&self, now: UnixMs) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }

    /// Whether calls may carry it.
    pub fn is_good(&self, now: UnixMs) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

/// A token as a provider gave it.
#[derive(Debug, Clone)]
pub struct Granted {
    /// What calls carry.
    pub access: SecretString,
    /// What brings the next one; none: the one before still does, if there was one.
    pub refresh: Option<SecretString>,
    /// How long it lives, ms; none: that is not told.
    pub lifetime_ms: Option<i64>,
}

impl Granted {
    /// From its being asked for to when it is renewed, and to when it is not used any more, ms. Renewed when a fifth of
    /// its life is left, at most five minutes; and given up a little early, since the provider's clock is not ours.
    pub fn spans_ms(&self) -> Option<(i64, i64)> {
        let life = self.lifetime_ms?.max(0);
        Some((life - (life / 5).min(300_000), life - (life / 20).min(5_000)))
    }
}

/// Why a provider gave no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// It will give none for what it was asked with: the owner must authorise again.
    Refused {
        /// What it said.
        reason: String,
    },
    /// It may give one later.
    Later {
        /// What happened.
        reason: String,
        /// How long it asks to be left alone, ms.
        wait_ms: Option<i64>,
        /// How the request ended, as far as quotas are concerned.
        end: End,
    },
}

impl NoToken {
    /// Later, nobody knows when.
    pub fn later(reason: impl Into<String>, end: End) -> Self {
        Self::Later { reason: reason.into(), wait_ms: None, end }
    }

    /// How the request ended, as far as quotas are concerned.
    pub fn end(&self) -> End {
        match self {
            Self::Refused { .. } => End::Error,
            Self::Later { end, .. } => *end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_renewed_while_it_still_works() {
        let spans = |lifetime_ms| Granted { access: "a".into(), refresh: None, lifetime_ms }.spans_ms();
        assert_eq!(spans(Some(10_000)), Some((8_000, 9_500)));
        assert_eq!(spans(Some(3 * 3_600_000)), Some((10_500_000, 10_795_000)));
        assert_eq!(spans(Some(-5)), Some((0, 0)));
        assert_eq!(spans(None), None);
        let (renew_at, expires_at) = (Some(UnixMs(8)), Some(UnixMs(9)));
        let token = Token { access: "a".into(), refresh: None, generation: 1, renew_at, expires_at };
        assert!(!token.is_due(UnixMs(7)) && token.is_due(UnixMs(8)));
        assert!(token.is_good(UnixMs(8)) && !token.is_good(UnixMs(9)));
    }
}
