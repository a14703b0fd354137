//! What answers told of the state they were in, and how the next request uses it. Pure.

use crate::fetch::Call;
use crate::provider::Resource;
use crate::words::{UnixMs, Validator};
use reqwest::header::{
    ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use reqwest::{Request, Url};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// What only what is new since is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Since {
    /// The change token.
    pub(crate) token: Value,
    /// When all was last asked for.
    whole_at: UnixMs,
}

/// What was asked and how the answer is read, as a hash: a validator is of no use to another question. `url`: only
/// where the answer as a whole is what it vouches for; without the credentials in it.
pub(crate) fn question(resource: &Resource, url: Option<(&Url, &[&str])>) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(resource.path.get_ref());
    add(resource.records.get_ref());
    for (name, text) in resource.query.iter().chain(&resource.form) {
        add(name);
        add(text);
    }
    add(resource.json.as_ref().map_or("", |json| json.get_ref()));
    add(resource.since.as_ref().map_or("", |since| since.get_ref()));
    if let Some((_, probe)) = resource.probe.as_ref().and_then(|probe| probe.named_call()) {
        add(&question(probe.get_ref(), None));
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

/// What all devices of a call have in common; none if one of them has none.
fn common(call: &Call) -> Option<&Validator> {
    let first = call.targets.first()?.validator.as_ref()?;
    let same =
        |v: &Validator| (&v.of, &v.etag, &v.last_modified) == (&first.of, &first.etag, &first.last_modified);
    call.targets.iter().all(|target| target.validator.as_ref().is_some_and(same)).then_some(first)
}

/// The headers by which 304 may stand for the answer (RFC 9110, 13.1).
pub(crate) fn conditions(
    resource: &Resource,
    call: &Call,
    request: &Request,
    credentials: &[&str],
) -> Vec<(HeaderName, HeaderValue)> {
    let own = || question(resource, Some((request.url(), credentials)));
    let Some(known) = common(call).filter(|known| resource.conditional && known.of == own()) else {
        return Vec::new();
    };
    let [etag, last] = [&known.etag, &known.last_modified].map(|told| told.as_deref()?.parse().ok());
    [etag.map(|etag| (IF_NONE_MATCH, etag)), last.map(|last| (IF_MODIFIED_SINCE, last))]
        .into_iter()
        .flatten()
        .collect()
}

/// The change token that all devices of a call have seen: of numbers the least; of texts, which have no order, only one
/// that is the same for all. None: all is asked for, as it is from time to time whatever is known.
pub(crate) fn since(resource: &Resource, call: &Call, now: UnixMs) -> Option<Since> {
    resource.since.as_ref()?;
    let own = question(resource, None);
    let mut found: Option<Since> = None;
    for target in &call.targets {
        let known = target.validator.as_ref().filter(|known| known.of == own)?;
        let (token, whole_at) = (known.since.clone()?, known.whole_at?);
        found = Some(match found {
            None => Since { token, whole_at },
            Some(before) => {
                let token = match (before.token.as_f64(), token.as_f64()) {
                    (Some(a), Some(b)) => {
                        if a <= b {
                            before.token
                        } else {
                            token
                        }
                    }
                    _ if before.token == token => token,
                    _ => return None,
                };
                Since { token, whole_at: before.whole_at.min(whole_at) }
            }
        });
    }
    found.filter(|since| now.since_ms(since.whole_at) < resource.whole_every_ms())
}

/// What an answer tells by which the next call asks only for what is new. `asked`: it was itself asked so.
pub(crate) fn told(
    resource: &Resource,
    (url, headers): (&Url, &HeaderMap),
    credentials: &[&str],
    token: Option<Value>,
    asked: Option<&Since>,
    now: UnixMs,
) -> Option<Validator> {
    if resource.conditional {
        let text =
            |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let (etag, last_modified) = (text(ETAG), text(LAST_MODIFIED));
        if etag.is_none() && last_modified.is_none() {
            return None;
        }
        let of = question(resource, Some((url, credentials)));
        return Some(Validator { of, etag, last_modified, ..Validator::default() });
    }
    let token =
        token.filter(|token| token.is_number() || token.as_str().is_some_and(|text| !text.is_empty()))?;
    let whole_at = Some(asked.map_or(now, |asked| asked.whole_at));
    Some(Validator { of: question(resource, None), since: Some(token), whole_at, ..Validator::default() })
}

/// That a device has this revision.
pub(crate) fn revised(resource: &Resource, revision: String) -> Validator {
    Validator { of: question(resource, None), revision: Some(revision), ..Validator::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Target;
    use crate::provider::Provider;
    use crate::words::{Connection, ConnectionId, DeviceId, JobId, Secrets, TenantId};
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
            secrets: Secrets::default(),
            token: None,
        };
        let targets = (1..).zip(tokens).map(target).collect();
        Call { connection: connection.into(), resource: "state".parse().unwrap(), targets }
    }

    #[test]
    fn what_all_have_seen_is_asked_since_and_all_of_it_now_and_then() {
        let (provider, other) = (provider("."), provider(".[]"));
        let resource = provider.resource("state").unwrap();
        let url: Url = "https://example.com/".parse().unwrap();
        let seen = |token: Value, at: i64| {
            let answered = (&url, &HeaderMap::new());
            told(resource, answered, &[], Some(token), None, UnixMs(at))
        };
        let asked =
            |tokens: &[Option<Validator>], now| since(resource, &call(tokens), UnixMs(now)).map(|s| s.token);
        let hour = 3_600_000;
        assert_eq!(asked(&[seen(json!(7), 0), seen(json!(5), 9), seen(json!(6.5), 9)], 10), Some(json!(5)));
        assert_eq!(asked(&[seen(json!("a"), 0), seen(json!("a"), 9)], 10), Some(json!("a")));
        assert_eq!(asked(&[seen(json!("a"), 0), seen(json!("b"), 9)], 10), None);
        assert_eq!(asked(&[seen(json!(7), 0), None], 10), None);
        assert_eq!(asked(&[seen(json!(7), 0), seen(json!(7), 9)], hour - 1), Some(json!(7)));
        assert_eq!(asked(&[seen(json!(7), 0), seen(json!(7), 9)], hour), None);
        assert_eq!(seen(json!(null), 0), None);
        // It goes on from when all was asked for, not from the last time that it was used.
        let known = since(resource, &call(&[seen(json!(7), 3)]), UnixMs(10)).unwrap();
        let next =
            told(resource, (&url, &HeaderMap::new()), &[], Some(json!(9)), Some(&known), UnixMs(10)).unwrap();
        assert_eq!((next.since, next.whole_at), (Some(json!(9)), Some(UnixMs(3))));
        // Another program reads something else in what was told.
        assert_eq!(since(other.resource("state").unwrap(), &call(&[seen(json!(7), 0)]), UnixMs(10)), None);
    }

    #[test]
    fn conditions_are_of_one_request_and_not_of_its_credentials() {
        let text = "title = \"T\"\n[http]\nbase_url = \"https://example.com\"\n[resource.state]\n\
             interval_min = \"10s\"\ninterval_default = \"1m\"\npath = \"/\"\nrecords = \".\"\nconditional = true\n";
        let provider = Provider::parse("t".parse().unwrap(), "t.toml", text).unwrap();
        let resource = provider.resource("state").unwrap();
        let headers = HeaderMap::from_iter([(ETAG, HeaderValue::from_static("W/\"1\""))]);
        let asked = |url: &str| Request::new(reqwest::Method::GET, url.parse().unwrap());
        let first = asked("https://example.com/a?key=k1&ids=1,2");
        let known = told(resource, (first.url(), &headers), &["key"], None, None, UnixMs(0));
        let again = |url, known| conditions(resource, &call(known), &asked(url), &["key"]);
        let two = [known.clone(), known.clone()];
        let sent = again("https://example.com/a?key=k2&ids=1,2", &two);
        assert_eq!(sent, [(IF_NONE_MATCH, HeaderValue::from_static("W/\"1\""))]);
        assert_eq!(again("https://example.com/a?key=k1&ids=1,3", &two), []);
        assert_eq!(again("https://example.com/a?key=k1&ids=1,2", &[known.clone(), None]), []);
        assert_eq!(told(resource, (first.url(), &HeaderMap::new()), &[], None, None, UnixMs(0)), None);
    }
}
