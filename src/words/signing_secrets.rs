//! The secrets that sign what a webhook is sent.

use super::UnixMs;
use secrecy::SecretString;

/// A webhook's secret, and those that it replaced a short while ago. `Debug` never prints a secret.
#[derive(Debug, Clone)]
pub struct SigningSecrets {
    /// Signs from now on.
    pub current: SecretString,
    /// Still sign, each until an instant, so that a receiver can change to the new one meanwhile.
    pub former: Vec<(SecretString, UnixMs)>,
}

impl SigningSecrets {
    /// More are not kept: each is a signature in a header.
    const FORMER_MAX: usize = 3;

    /// Only this one.
    pub fn only(secret: SecretString) -> Self {
        Self { current: secret, former: Vec::new() }
    }

    /// `next` signs from now on; the current one until an instant, too.
    pub fn rotated(self, next: SecretString, now: UnixMs, until: UnixMs) -> Self {
        let mut former = vec![(self.current, until)];
        former.extend(self.former.into_iter().filter(|(_, until)| *until > now));
        former.truncate(Self::FORMER_MAX);
        Self { current: next, former }
    }

    /// Those that sign now, the current one first.
    pub fn valid(&self, now: UnixMs) -> impl Iterator<Item = &SecretString> {
        let former = self.former.iter().filter(move |(_, until)| *until > now);
        std::iter::once(&self.current).chain(former.map(|(secret, _)| secret))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn former_secrets_sign_until_they_expire_and_the_oldest_are_dropped() {
        let mut secrets = SigningSecrets::only("0".into());
        for n in 1..=5 {
            secrets = secrets.rotated(n.to_string().into(), UnixMs(n), UnixMs(n + 100));
        }
        let valid = |now| secrets.valid(UnixMs(now)).map(ExposeSecret::expose_secret).collect::<String>();
        assert_eq!(valid(5), "5432");
        assert_eq!(valid(104), "54");
        assert_eq!(valid(105), "5");
        let later = secrets.rotated("6".into(), UnixMs(1_000), UnixMs(2_000));
        assert_eq!(later.former.len(), 1, "expired ones are forgotten");
        assert!(!format!("{later:?}").contains('6'));
    }
}
