//! Puts a call's credentials into its request, and lists the texts to redact afterwards.

use super::error::RequestError;
use super::redact::secret_forms;
use crate::fetch::Call;
use crate::provider::{Auth, AuthKind, BASIC, Provider};
use crate::words::{Connection, Outcome, ProviderName, Secrets, Token};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

/// All credentials that one call can use.
pub(crate) struct Credentials<'a> {
    provider: &'a ProviderName,
    auth: &'a Auth,
    /// The connection's secrets.
    connection: &'a Secrets,
    token: Option<&'a Token>,
    operator: &'a Secrets,
}

impl<'a> Credentials<'a> {
    pub(crate) fn of(provider: &'a Provider, call: &'a Call, operator: &'a Secrets) -> Self {
        let (name, auth) = (&provider.name, provider.definition.auth.get_ref());
        let Connection { secrets: connection, token, .. } = &*call.connection;
        Self { provider: name, auth, connection, token: token.as_ref(), operator }
    }

    /// Names and values of the query parameters.
    pub(crate) fn query(&self) -> Result<Vec<(&'a str, &'a str)>, RequestError> {
        let mut all = Vec::new();
        if let (AuthKind::Query, Some(name)) = (self.auth.kind, &self.auth.name) {
            all.push((name.as_str(), self.main_secret()?));
        }
        for key in self.auth.keys.iter().map(toml::Spanned::get_ref) {
            if let Some(name) = &key.query {
                all.push((name.as_str(), self.key_secret(key.secret.as_deref(), key.operator.as_deref())?));
            }
        }
        Ok(all)
    }

    /// Adds the headers, marked as sensitive so that logs do not show them.
    pub(crate) fn add_headers(&self, headers: &mut HeaderMap) -> Result<(), Outcome> {
        let broken =
            |error: RequestError| Outcome::Broken { reason: error.to_string(), excerpt: String::new() };
        let main = match (self.auth.kind, &self.auth.name) {
            (AuthKind::Bearer, _) => {
                let secret = self.main_secret().map_err(broken)?;
                Some((AUTHORIZATION, format!("Bearer {secret}")))
            }
            (AuthKind::Basic, _) => {
                Some((AUTHORIZATION, format!("Basic {}", self.basic_credentials().map_err(broken)?)))
            }
            (AuthKind::Header, Some(name)) => {
                Some((parse_header_name(name)?, self.main_secret().map_err(broken)?.to_owned()))
            }
            _ => None,
        };
        main.into_iter().try_for_each(|(name, text)| insert_sensitive(headers, name, &text))?;
        for key in self.auth.keys.iter().map(toml::Spanned::get_ref) {
            if let Some(name) = &key.header {
                let text = self.key_secret(key.secret.as_deref(), key.operator.as_deref()).map_err(broken)?;
                insert_sensitive(headers, parse_header_name(name)?, text)?;
            }
        }
        Ok(())
    }

    /// Every form in which a response may repeat a secret, the longest first.
    pub(crate) fn secret_forms(&self) -> Vec<String> {
        let token = self.token.iter().flat_map(|token| [Some(&token.access), token.refresh.as_ref()]);
        let all = self
            .connection
            .iter()
            .chain(self.operator.iter())
            .map(|(_, secret)| secret)
            .chain(token.flatten());
        let mut forms: Vec<_> = all.flat_map(|secret| secret_forms(secret.expose_secret())).collect();
        if self.auth.kind == AuthKind::Basic {
            forms.extend(self.basic_credentials().ok());
        }
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        forms
    }

    /// User name and password, encoded as in RFC 7617.
    fn basic_credentials(&self) -> Result<String, RequestError> {
        let pair = match &self.auth.secret {
            Some(name) => format!("{}:", self.connection_secret(name)?),
            None => format!("{}:{}", self.connection_secret(BASIC[0])?, self.connection_secret(BASIC[1])?),
        };
        Ok(STANDARD.encode(pair))
    }

    /// The token if the provider issues tokens, else the main secret.
    fn main_secret(&self) -> Result<&'a str, RequestError> {
        match self.auth.has_tokens() {
            true => self.token.map(|token| token.access.expose_secret()).ok_or(RequestError::NoToken),
            false => self.connection_secret(self.auth.main()),
        }
    }

    fn key_secret(&self, secret: Option<&str>, operator: Option<&str>) -> Result<&'a str, RequestError> {
        match (secret, operator) {
            (Some(name), _) => self.connection_secret(name),
            (None, Some(name)) => self.operator_secret(name),
            (None, None) => Ok(""),
        }
    }

    fn connection_secret(&self, name: &str) -> Result<&'a str, RequestError> {
        let missing = || RequestError::NoSecret { name: name.to_owned() };
        self.connection.get(name).map(SecretString::expose_secret).ok_or_else(missing)
    }

    fn operator_secret(&self, name: &str) -> Result<&'a str, RequestError> {
        let missing =
            || RequestError::NoOperatorSecret { provider: self.provider.clone(), name: name.to_owned() };
        self.operator.get(name).map(SecretString::expose_secret).ok_or_else(missing)
    }
}

fn parse_header_name(name: &str) -> Result<HeaderName, Outcome> {
    name.parse().map_err(|error| Outcome::Broken {
        reason: format!("auth names the header {name:?}, which is not a valid header name: {error}"),
        excerpt: String::new(),
    })
}

fn insert_sensitive(headers: &mut HeaderMap, name: HeaderName, text: &str) -> Result<(), Outcome> {
    let mut value = HeaderValue::from_str(text).map_err(|_| Outcome::Unauthorized {
        reason: format!(
            "a secret is not a valid value for the header {name}: set it without line breaks or control characters"
        ),
    })?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Target;
    use crate::words::{ConnectionId, ConnectionState, DeviceId, JobId, TenantId};
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn secrets_of(all: &[(&str, &str)]) -> Secrets {
        all.iter().map(|(name, secret)| ((*name).to_owned(), (*secret).into())).collect()
    }

    /// The query and the headers of a call with these secrets; asserts that redaction removes every secret.
    fn query_and_headers(auth: &str, own: &Secrets, operator: &Secrets) -> Result<(String, String), String> {
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
            state: ConnectionState::Active,
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
        credentials.add_headers(&mut headers).map_err(|outcome| outcome.detail())?;
        assert!(headers.values().all(HeaderValue::is_sensitive));
        let header =
            |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
        let headers: Vec<_> = headers.iter().map(header).collect();
        let mut shown = [query.join(" "), headers.join(" ")].join(" ");
        super::super::redact::redact_text(&mut shown, &credentials.secret_forms());
        for (_, secret) in own.iter().chain(operator.iter()) {
            assert!(!shown.contains(secret.expose_secret()), "{shown}");
        }
        assert!(!shown.contains("bWU6"), "{shown}");
        Ok((query.join("&"), headers.join("\n")))
    }

    #[test]
    fn keys_are_sent_in_headers_and_query_beside_the_main_secret() {
        let auth = "[auth]\nkind = \"bearer\"\n[[auth.key]]\nheader = \"X-Key\"\noperator = \"app_key\"\n\
                    [[auth.key]]\nquery = \"k\"\nsecret = \"second\"\n[[auth.key]]\nquery = \"a\"\nsecret = \"third\"";
        let own = secrets_of(&[("secret", "s3cret"), ("second", "s4cret"), ("third", "s5cret")]);
        let operator = secrets_of(&[("app_key", "s6cret")]);
        let sent = query_and_headers(auth, &own, &operator).unwrap();
        assert_eq!(sent.0, "k=s4cret&a=s5cret");
        assert_eq!(sent.1, "authorization: Bearer s3cret\nx-key: s6cret");
        let missing = query_and_headers(auth, &own, &Secrets::default()).unwrap_err();
        assert!(missing.contains("has not set app_key, which provider lamps"), "{missing}");
        let missing = query_and_headers(auth, &secrets_of(&[("secret", "s3cret")]), &operator).unwrap_err();
        assert!(missing.contains("no secret \"second\""), "{missing}");
        let line_break =
            query_and_headers("[auth]\nkind = \"bearer\"", &Secrets::only("s3\ncret"), &operator)
                .unwrap_err();
        assert!(line_break.contains("not a valid value for the header"), "{line_break}");
    }

    #[test]
    fn basic_auth_sends_name_and_password_or_a_key_alone() {
        let own = secrets_of(&[("username", "me"), ("password", "pass:word")]);
        let sent = query_and_headers("[auth]\nkind = \"basic\"", &own, &Secrets::default()).unwrap();
        assert_eq!(sent.1, format!("authorization: Basic {}", STANDARD.encode("me:pass:word")));
        let own = secrets_of(&[("key", "s3cret")]);
        let sent = query_and_headers("[auth]\nkind = \"basic\"\nsecret = \"key\"", &own, &Secrets::default())
            .unwrap();
        assert_eq!(sent.1, format!("authorization: Basic {}", STANDARD.encode("s3cret:")));
    }
}
