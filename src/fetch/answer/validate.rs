//! Validators: taken from a response, and sent with the next request to fetch changes only. Pure.

use crate::fetch::Call;
use crate::provider::Resource;
use crate::words::{UnixMs, Validator};
use reqwest::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::{Request, Url};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// A change token to ask for changes since.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChangeToken {
    pub(crate) value: Value,
    /// When all records were last requested.
    whole_at: UnixMs,
}

/// Hash of a request and of the programs that read its response: a validator is only valid for the same ones. `url` is
/// set if the validator covers the whole response; its credentials are left out.
pub(crate) fn request_hash(resource: &Resource, url: Option<(&Url, &[&str])>) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(resource.path.get_ref());
    add(resource.records.get_ref());
    add(resource.each.as_ref().map_or("", |each| each.get_ref()));
    add(resource.id.as_ref().map_or("", |id| id.get_ref()));
    add(&format!("{:?}", resource.value));
    for (name, text) in resource.query.iter().chain(&resource.form) {
        add(name);
        add(text);
    }
    add(resource.json.as_ref().map_or("", |json| json.get_ref()));
    add(resource.since.as_ref().map_or("", |since| since.get_ref()));
    if let Some((_, probe)) = resource.probe.as_ref().and_then(|probe| probe.named_call()) {
        add(&request_hash(probe.get_ref(), None));
    }
    if let Some((url, credentials)) = url {
        add(&url.origin().ascii_serialization());
        add(url.path());
        for (name, value) in url.query_pairs().filter(|(name, _)| !credentials.contains(&name.as_ref())) {
            add(&name);
            add(&value);
        }
    }
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// The validator that all devices of a call share, if they do.
fn common_validator(call: &Call) -> Option<&Validator> {
    let first = call.targets.first()?.validator.as_ref()?;
    let same =
        |v: &Validator| (&v.of, &v.etag, &v.last_modified) == (&first.of, &first.etag, &first.last_modified);
    call.targets.iter().all(|target| target.validator.as_ref().is_some_and(same)).then_some(first)
}

/// Whether the request to this URL had a validator's headers.
pub(crate) fn is_conditional(resource: &Resource, call: &Call, url: &Url, credentials: &[&str]) -> bool {
    let own = || request_hash(resource, Some((url, credentials)));
    resource.conditional && common_validator(call).is_some_and(|known| known.of == own())
}

/// The headers of a conditional request, to which the cloud may respond 304 (RFC 9110, 13.1).
pub(crate) fn conditional_headers(
    resource: &Resource,
    call: &Call,
    request: &Request,
    credentials: &[&str],
) -> Vec<(HeaderName, HeaderValue)> {
    let own = || request_hash(resource, Some((request.url(), credentials)));
    let Some(known) = common_validator(call).filter(|known| resource.conditional && known.of == own()) else {
        return Vec::new();
    };
    let [etag, last] = [&known.etag, &known.last_modified].map(|value| value.as_deref()?.parse().ok());
    [etag.map(|etag| (IF_NONE_MATCH, etag)), last.map(|last| (IF_MODIFIED_SINCE, last))]
        .into_iter()
        .flatten()
        .collect()
}

/// The change token for a call: the smallest of the devices' numbers; of texts, which have no order, only one that all
/// devices share. None requests all records, as also happens every `whole_every`.
pub(crate) fn change_token(resource: &Resource, call: &Call, now: UnixMs) -> Option<ChangeToken> {
    resource.since.as_ref()?;
    let own = request_hash(resource, None);
    let mut found: Option<ChangeToken> = None;
    for target in &call.targets {
        let known = target.validator.as_ref().filter(|known| known.of == own)?;
        let (value, whole_at) = (known.since.clone()?, known.whole_at?);
        found = Some(match found {
            None => ChangeToken { value, whole_at },
            Some(before) => {
                let value = match (before.value.as_f64(), value.as_f64()) {
                    (Some(a), Some(b)) => {
                        if a <= b {
                            before.value
                        } else {
                            value
                        }
                    }
                    _ if before.value == value => value,
                    _ => return None,
                };
                ChangeToken { value, whole_at: before.whole_at.min(whole_at) }
            }
        });
    }
    found.filter(|token| now.since_ms(token.whole_at) < resource.whole_every_ms())
}

/// The validator of a response. `sent` is the change token that its request contained.
pub(crate) fn from_response(
    resource: &Resource,
    (url, headers): (&Url, &HeaderMap),
    credentials: &[&str],
    token: Option<Value>,
    sent: Option<&ChangeToken>,
    now: UnixMs,
) -> Option<Validator> {
    if resource.conditional {
        let text =
            |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let (etag, last_modified) = (text(ETAG), text(LAST_MODIFIED));
        if etag.is_none() && last_modified.is_none() {
            return None;
        }
        let of = request_hash(resource, Some((url, credentials)));
        return Some(Validator { of, etag, last_modified, ..Validator::default() });
    }
    let token =
        token.filter(|token| token.is_number() || token.as_str().is_some_and(|text| !text.is_empty()))?;
    let whole_at = Some(sent.map_or(now, |sent| sent.whole_at));
    Some(Validator { of: request_hash(resource, None), since: Some(token), whole_at, ..Validator::default() })
}

/// The validator of a device's revision.
pub(crate) fn of_revision(resource: &Resource, revision: String) -> Validator {
    Validator { of: request_hash(resource, None), revision: Some(revision), ..Validator::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Target;
    use crate::provider::Provider;
    use crate::words::{Connection, ConnectionId, ConnectionState, DeviceId, JobId, Secrets, TenantId};
    use serde_json::json;
    use std::collections::BTreeMap;

    fn provider(records: &str) -> Provider {
        let text = format!(
            "title = \"T\"\n[http]\nbase_url = \"https://example.com\"\n[resource.state]\nunit = \"batch\"\n\
             batch_max = 9\ninterval_min = \"10s\"\ninterval_default = \"1m\"\npath = \"/\"\nrecords = \"{records}\"\n\
             since = \".at\"\nquery = {{ after = \"{{{{ since }}}}\" }}\nwhole_every = \"1h\"\n"
        );
        Provider::parse("t".parse().unwrap(), "t.toml", &text).unwrap()
    }

    fn call(tokens: &[Option<Validator>]) -> Call {
        let target = |(n, validator): (i64, &Option<Validator>)| Target {
            job: JobId(n),
            device: DeviceId(n),
            external_id: n.to_string(),
            group: String::new(),
            validator: validator.clone(),
        };
        let connection = Connection {
            id: ConnectionId(1),
            tenant: TenantId(1),
            provider: "t".parse().unwrap(),
            params: BTreeMap::new(),
            bootstrap: BTreeMap::new(),
            bootstrap_of: None,
            devices: 0,
            secrets_version: 1,
            state: ConnectionState::Active,
            secrets: Secrets::default(),
            token: None,
        };
        let targets = (1..).zip(tokens).map(target).collect();
        Call { connection: connection.into(), resource: "state".parse().unwrap(), targets }
    }

    #[test]
    fn change_token_is_shared_by_all_devices_and_expires() {
        let (provider, other) = (provider("."), provider(".[]"));
        let resource = provider.resource("state").unwrap();
        let url: Url = "https://example.com/".parse().unwrap();
        let validator = |token: Value, at: i64| {
            let response = (&url, &HeaderMap::new());
            from_response(resource, response, &[], Some(token), None, UnixMs(at))
        };
        let token_for = |tokens: &[Option<Validator>], now| {
            change_token(resource, &call(tokens), UnixMs(now)).map(|token| token.value)
        };
        let hour = 3_600_000;
        assert_eq!(
            token_for(&[validator(json!(7), 0), validator(json!(5), 9), validator(json!(6.5), 9)], 10),
            Some(json!(5))
        );
        assert_eq!(token_for(&[validator(json!("a"), 0), validator(json!("a"), 9)], 10), Some(json!("a")));
        assert_eq!(token_for(&[validator(json!("a"), 0), validator(json!("b"), 9)], 10), None);
        assert_eq!(token_for(&[validator(json!(7), 0), None], 10), None);
        assert_eq!(token_for(&[validator(json!(7), 0), validator(json!(7), 9)], hour - 1), Some(json!(7)));
        assert_eq!(token_for(&[validator(json!(7), 0), validator(json!(7), 9)], hour), None);
        assert_eq!(validator(json!(null), 0), None);
        // The age counts from the last request for all records, not from the last use of the token.
        let known = change_token(resource, &call(&[validator(json!(7), 3)]), UnixMs(10)).unwrap();
        let next =
            from_response(resource, (&url, &HeaderMap::new()), &[], Some(json!(9)), Some(&known), UnixMs(10))
                .unwrap();
        assert_eq!((next.since, next.whole_at), (Some(json!(9)), Some(UnixMs(3))));
        // A validator is not valid for another program.
        assert_eq!(
            change_token(other.resource("state").unwrap(), &call(&[validator(json!(7), 0)]), UnixMs(10)),
            None
        );
    }

    #[test]
    fn conditional_headers_depend_on_the_request_without_credentials() {
        let text = "title = \"T\"\n[http]\nbase_url = \"https://example.com\"\n[resource.state]\n\
             interval_min = \"10s\"\ninterval_default = \"1m\"\npath = \"/\"\nrecords = \".\"\nconditional = true\n";
        let provider = Provider::parse("t".parse().unwrap(), "t.toml", text).unwrap();
        let resource = provider.resource("state").unwrap();
        let headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("W/\"1\""))]);
        let request = |url: &str| Request::new(reqwest::Method::GET, url.parse().unwrap());
        let first = request("https://example.com/a?key=k1&ids=1,2");
        let known = from_response(resource, (first.url(), &headers), &["key"], None, None, UnixMs(0));
        let again = |url, known| conditional_headers(resource, &call(known), &request(url), &["key"]);
        let two = [known.clone(), known.clone()];
        let sent = again("https://example.com/a?key=k2&ids=1,2", &two);
        assert_eq!(sent, [(IF_NONE_MATCH, HeaderValue::from_static("W/\"1\""))]);
        assert_eq!(again("https://example.com/a?key=k1&ids=1,3", &two), []);
        assert_eq!(again("https://example.com/a?key=k1&ids=1,2", &[known.clone(), None]), []);
        assert_eq!(
            from_response(resource, (first.url(), &HeaderMap::new()), &[], None, None, UnixMs(0)),
            None
        );
    }
}
