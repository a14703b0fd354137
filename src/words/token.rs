//! Tokens from a login or an OAuth 2.0 grant, and why a provider may give none.

use super::{End, UnixMs};
use secrecy::SecretString;

/// A stored token. `Debug` never prints a secret.
#[derive(Debug, Clone)]
pub struct Token {
    /// The access token that calls carry.
    pub access: SecretString,
    /// The refresh token, if the provider issues one.
    pub refresh: Option<SecretString>,
    /// Grows with each token of a connection.
    pub generation: i64,
    /// When to renew it; none: only once it is refused.
    pub renew_at: Option<UnixMs>,
    /// When it stops being used; none: unknown.
    pub expires_at: Option<UnixMs>,
}

impl Token {
    /// The first token of a connection, requested at `asked_at`.
    pub fn first(granted: &Granted, asked_at: UnixMs) -> Self {
        Self::after(granted, asked_at, 0, None)
    }

    /// The token that follows `generation`. Only some providers rotate the refresh token; with others the previous one,
    /// `refresh`, stays valid.
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

    /// Whether it is time to renew it.
    pub fn is_due(&self, now: UnixMs) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }

    /// Whether calls may still carry it.
    pub fn is_good(&self, now: UnixMs) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

/// A token as issued by the provider.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The access token that calls carry.
    pub access: SecretString,
    /// A new refresh token; none: the previous one, if any, stays valid.
    pub refresh: Option<SecretString>,
    /// Lifetime, ms; none: unknown.
    pub lifetime_ms: Option<i64>,
}

impl Granted {
    /// Time from the request until renewal, and until it stops being used, ms. Renewal is due when a fifth of the
    /// lifetime is left, at most five minutes. Use stops a little early, since the provider's clock differs from ours.
    pub fn spans_ms(&self) -> Option<(i64, i64)> {
        let lifetime = self.lifetime_ms?.max(0);
        Some((lifetime - (lifetime / 5).min(300_000), lifetime - (lifetime / 20).min(5_000)))
    }
}

/// Why a provider issued no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoToken {
    /// Refused for these credentials: the owner must authorize again.
    Refused {
        /// The provider's reason.
        reason: String,
    },
    /// A later request may succeed.
    Later {
        /// What happened.
        reason: String,
        /// The wait that the provider asked for, ms.
        wait_ms: Option<i64>,
        /// How the request ended, as quotas count it.
        end: End,
    },
}

impl NoToken {
    /// [`Self::Later`] without a wait.
    pub fn later(reason: impl Into<String>, end: End) -> Self {
        Self::Later { reason: reason.into(), wait_ms: None, end }
    }

    /// How the request ended, as quotas count it.
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
    fn token_is_renewed_before_it_expires() {
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
