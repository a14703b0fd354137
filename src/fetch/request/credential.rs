//! How a call's credentials travel, and how they are kept out of what is told.

use super::error::RequestError;
use super::redact::forms_of;
use crate::fetch::Call;
use crate::provider::{Auth, AuthKind, BASIC, Provider};
use crate::words::{Connection, Outcome, ProviderName, Secrets, Token};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

/// All that one call may say of who it is.
pub(crate) struct Credentials<'a> {
    provider: &'a ProviderName,
    auth: &'a Auth,
    /// The connection's own.
    own: &'a Secrets,
    token: Option<&'a Token>,
    operator: &'a Secrets,
}

impl<'a> Credentials<'a> {
    pub(crate) fn of(provider: &'a Provider, call: &'a Call, operator: &'a Secrets) -> Self {
        let (name, auth) = (&provider.name, provider.definition.auth.get_ref());
        let Connection { secrets: own, token, .. } = &*call.connection;
        Self { provider: name, auth, own, token: token.as_ref(), operator }
    }

    /// What stands in the query, by name.
    pub(crate) fn query(&self) -> Result<Vec<(&'a str, &'a str)>, RequestError> {
        let mut all = Vec::new();
        if let (AuthKind::Query, Some(name)) = (self.auth.kind, &self.auth.name) {
            all.push((name.as_str(), self.main()?));
        }
        for key in self.auth.keys.iter().map(toml::Spanned::get_ref) {
            if let Some(name) = &key.query {
                all.push((name.as_str(), self.key(key.secret.as_deref(), key.operator.as_deref())?));
            }
        }
        Ok(all)
    }

    /// Puts what stands in headers there, marked as what no log may show.
    pub(crate) fn sign_in(&self, headers: &mut HeaderMap) -> Result<(), Outcome> {
        let broken =
            |error: RequestError| Outcome::Broken { reason: error.to_string(), excerpt: String::new() };
        let main = match (self.auth.kind, &self.auth.name) {
            (AuthKind::Bearer, _) => {
                let secret = self.main().map_err(broken)?;
                Some((AUTHORIZATION, format!("Bearer {secret}")))
            }
            (AuthKind::Basic, _) => Some((AUTHORIZATION, format!("Basic {}", self.basic().map_err(broken)?))),
            (AuthKind::Header, Some(name)) => Some((header(name)?, self.main().map_err(broken)?.to_owned())),
            _ => None,
        };
        main.into_iter().try_for_each(|(name, text)| set(headers, name, &text))?;
        for key in self.auth.keys.iter().map(toml::Spanned::get_ref) {
            if let Some(name) = &key.header {
                let text = self.key(key.secret.as_deref(), key.operator.as_deref()).map_err(broken)?;
                set(headers, header(name)?, text)?;
            }
        }
        Ok(())
    }

    /// Every form in which an answer may say one of them back, the longest first.
    pub(crate) fn forms(&self) -> Vec<String> {
        let token = self.token.iter().flat_map(|token| [Some(&token.access), token.refresh.as_ref()]);
        let all =
            self.own.iter().chain(self.operator.iter()).map(|(_, secret)| secret).chain(token.flatten());
        let mut forms: Vec<_> = all.flat_map(|secret| forms_of(secret.expose_secret())).collect();
        if self.auth.kind == AuthKind::Basic {
            forms.extend(self.basic().ok());
        }
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        forms
    }

    /// Name and password as RFC 7617 has them.
    fn basic(&self) -> Result<String, RequestError> {
        let pair = match &self.auth.secret {
            Some(name) => format!("{}:", self.secret(name)?),
            None => format!("{}:{}", self.secret(BASIC[0])?, self.secret(BASIC[1])?),
        };
        Ok(STANDARD.encode(pair))
    }

    /// The token, where the provider gives such; else the main secret.
    fn main(&self) -> Result<&'a str, RequestError> {
        match self.auth.has_tokens() {
            true => self.token.map(|token| token.access.expose_secret()).ok_or(RequestError::NoToken),
            false => self.secret(self.auth.main()),
        }
    }

    fn key(&self, secret: Option<&str>, operator: Option<&str>) -> Result<&'a str, RequestError> {
        match (secret, operator) {
            (Some(name), _) => self.secret(name),
            (None, Some(name)) => self.operators(name),
            (None, None) => Ok(""),
        }
    }

    fn secret(&self, name: &str) -> Result<&'a str, RequestError> {
        let missing = || RequestError::NoSecret { name: name.to_owned() };
        self.own.get(name).map(SecretString::expose_secret).ok_or_else(missing)
    }

    fn operators(&self, name: &str) -> Result<&'a str, RequestError> {
        let missing =
            || RequestError::NoOperatorSecret { provider: self.provider.clone(), name: name.to_owned() };
        self.operator.get(name).map(SecretString::expose_secret).ok_or_else(missing)
    }
}

fn header(name: &str) -> Result<HeaderName, Outcome> {
    name.parse().map_err(|error| Outcome::Broken {
        reason: format!("auth names {name:?}, which is no header: {error}"),
        excerpt: String::new(),
    })
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) -> Result<(), Outcome> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Outcome::Unauthorized {
        reason: format!("a secret of the connection cannot stand in the header {name}"),
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Target;
    use crate::words::{ConnectionId, DeviceId, JobId, TenantId};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn named(all: &[(&str, &str)]) -> Secrets {
        all.iter().map(|(name, secret)| ((*name).to_owned(), (*secret).into())).collect()
    }

    /// What is asked with these secrets: the query, the headers, and whether all in it is hidden in what is told.
    fn asked(auth: &str, own: &Secrets, operator: &Secrets) -> Result<(String, String), String> {
        let text = format!(
            "title = \"T\"\n[http]\nbase_url = \"https://example.com\"\n{auth}\n[resource.state]\n\
             interval_min = \"10s\"\ninterval_default = \"1m\"\npath = \"/\"\nrecords = \".\"\n"
        );
        let provider = Provider::parse("lamps".parse().unwrap(), "lamps.toml", &text).unwrap();
        let connection = Connection {
            id: ConnectionId(1),
            tenant: TenantId(1),
            provider: provider.name.clone(),
            params: BTreeMap::new(),
            bootstrap: Default::default(),
            bootstrap_of: None,
            devices: 0,
            secrets_version: 1,
            secrets: own.clone(),
            token: None,
        };
        let (job, device) = (JobId(1), DeviceId(1));
        let target =
            Target { job, device, external_id: "d".to_owned(), group: String::new(), validator: None };
        let resource = "state".parse().unwrap();
        let call = Call { connection: Arc::new(connection), resource, targets: vec![target] };
        let credentials = Credentials::of(&provider, &call, operator);
        let query = credentials.query().map_err(|error| error.to_string())?;
        let query: Vec<_> = query.into_iter().map(|(name, secret)| format!("{name}={secret}")).collect();
        let mut headers = HeaderMap::new();
        credentials.sign_in(&mut headers).map_err(|outcome| outcome.detail())?;
        assert!(headers.values().all(HeaderValue::is_sensitive));
        let header =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        let headers: Vec<_> = headers.iter().map(header).collect();
        let mut told = [query.join(" "), headers.join(" ")].join(" ");
        super::super::redact::hide_in(&mut told, &credentials.forms());
        for (_, secret) in own.iter().chain(operator.iter()) {
            assert!(!told.contains(secret.expose_secret()), "{told}");
        }
        assert!(!told.contains("bWU6"), "{told}");
        Ok((query.join("&"), headers.join("\n")))
    }

    #[test]
    fn keys_travel_in_headers_and_the_query_beside_the_main_one() {
        let auth = "[auth]\nkind = \"bearer\"\n[[auth.key]]\nheader = \"X-Key\"\noperator = \"app_key\"\n\
                    [[auth.key]]\nquery = \"k\"\nsecret = \"second\"\n[[auth.key]]\nquery = \"a\"\nsecret = \"third\"";
        let own = named(&[("secret", "s3cret"), ("second", "s4cret"), ("third", "s5cret")]);
        let operator = named(&[("app_key", "s6cret")]);
        let sent = asked(auth, &own, &operator).unwrap();
        assert_eq!(sent.0, "k=s4cret&a=s5cret");
        assert_eq!(sent.1, "authorization: Bearer s3cret\nx-key: s6cret");
        let missing = asked(auth, &own, &Secrets::default()).unwrap_err();
        assert!(missing.contains("provider.lamps.app_key"), "{missing}");
        let missing = asked(auth, &named(&[("secret", "s3cret")]), &operator).unwrap_err();
        assert!(missing.contains("lacks the secret \"second\""), "{missing}");
        let line_break =
            asked("[auth]\nkind = \"bearer\"", &Secrets::only("s3\ncret"), &operator).unwrap_err();
        assert!(line_break.contains("cannot stand in the header"), "{line_break}");
    }

    #[test]
    fn basic_is_name_and_password_or_a_key_alone() {
        let own = named(&[("username", "me"), ("password", "pass:word")]);
        let sent = asked("[auth]\nkind = \"basic\"", &own, &Secrets::default()).unwrap();
        assert_eq!(sent.1, format!("authorization: Basic {}", STANDARD.encode("me:pass:word")));
        let own = named(&[("key", "s3cret")]);
        let sent = asked("[auth]\nkind = \"basic\"\nsecret = \"key\"", &own, &Secrets::default()).unwrap();
        assert_eq!(sent.1, format!("authorization: Basic {}", STANDARD.encode("s3cret:")));
    }
}
