//! Renders the URL and the body of a call from the definition's templates.

use super::credential::Credentials;
use super::error::RequestError;
use super::template::{Kind, Templates};
use crate::fetch::answer::Page;
use crate::fetch::answer::validate::ChangeToken;
use crate::fetch::{Call, Target};
use crate::provider::{Provider, Resource};
use crate::words::{ResourceName, UnixMs};
use minijinja::{Value, context};
use reqwest::Url;
use std::collections::BTreeMap;
use std::ops::Range;
use toml::Spanned;

/// A provider's request templates, compiled.
pub(crate) struct Requests(Templates);

/// The body of a POST.
pub(crate) enum Body {
    Json(String),
    Form(String),
}

impl Body {
    /// The text, and its media type.
    pub(crate) fn parts(self) -> (String, &'static str) {
        match self {
            Self::Json(text) => (text, "application/json"),
            Self::Form(text) => (text, "application/x-www-form-urlencoded"),
        }
    }
}

impl Requests {
    /// Compiles every template. Errors have their position in the file.
    pub(crate) fn compile(provider: &Provider) -> Result<Self, Vec<(Range<usize>, String)>> {
        let (mut templates, mut errors) = (Templates::new(), Vec::new());
        let mut add = |kind, name: String, text: &str, span: Range<usize>| {
            templates.add((kind, name), text, span, &mut errors);
        };
        let base = &provider.definition.http.base_url;
        add(Kind::Plain, "base_url".into(), base.get_ref(), base.span());
        if let Some(scope) = &provider.definition.id_scope {
            add(Kind::Plain, "id_scope".into(), scope.get_ref(), scope.span());
        }
        for (name, resource) in provider.definition.calls() {
            let (span, resource) = (resource.span(), resource.get_ref());
            add(Kind::Path, path_name(name), resource.path.get_ref(), resource.path.span());
            for (key, text) in &resource.query {
                add(Kind::Plain, query_name(name, key), text, span.clone());
            }
            for (key, text) in &resource.form {
                add(Kind::Plain, form_name(name, key), text, span.clone());
            }
            if let Some(text) = &resource.json {
                add(Kind::Json, json_name(name), text.get_ref(), text.span());
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self(templates))
    }

    /// The variables of a template of the whole definition: `base_url` or `id_scope`.
    pub(crate) fn definition_variables(&self, key: &str) -> Vec<String> {
        self.0.variables(Kind::Plain, key)
    }

    /// What the ids of an account's devices are unique within.
    pub(crate) fn id_scope(&self, values: &Value) -> Result<String, RequestError> {
        self.0.render(Kind::Plain, "id_scope", values)
    }

    /// The variables of each template of a request, with its key and its span in the file.
    pub(crate) fn variables(
        &self,
        name: &ResourceName,
        call: &Spanned<Resource>,
    ) -> Vec<(String, Range<usize>, Vec<String>)> {
        let resource = call.get_ref();
        let of = |kind, name: String| self.0.variables(kind, &name);
        let path = ("path".to_owned(), resource.path.span(), of(Kind::Path, path_name(name)));
        let query = resource
            .query
            .keys()
            .map(|key| (format!("query.{key}"), call.span(), of(Kind::Plain, query_name(name, key))));
        let form = resource
            .form
            .keys()
            .map(|key| (format!("form.{key}"), call.span(), of(Kind::Plain, form_name(name, key))));
        let json = resource
            .json
            .iter()
            .map(|text| ("json".to_owned(), text.span(), of(Kind::Json, json_name(name))));
        [path].into_iter().chain(query).chain(form).chain(json).collect()
    }

    /// The base URL, without a trailing slash.
    pub(crate) fn base_url(&self, values: &Value) -> Result<String, RequestError> {
        let text = self.0.render(Kind::Plain, "base_url", values)?.trim_end_matches('/').to_owned();
        // A path appended after any of these would not be part of the URL's path.
        if text.contains(['?', '#', '@']) {
            let reason = "base_url must not contain a user, a query or a fragment".to_owned();
            let url = text.rsplit('@').next().and_then(|rest| rest.split(['?', '#']).next());
            return Err(RequestError::Url { url: url.unwrap_or_default().to_owned(), reason });
        }
        Ok(text)
    }

    /// The URL of a call, including credentials that are sent in the query.
    pub(crate) fn url(
        &self,
        resource: &Resource,
        call: &Call,
        credentials: &Credentials<'_>,
        values: &Value,
    ) -> Result<Url, RequestError> {
        let mut text = self.base_url(values)?;
        text.push_str(&self.0.render(Kind::Path, &path_name(&call.resource), values)?);
        let mut url = parse_url(&text)?;
        let mut query = BTreeMap::new();
        for key in resource.query.keys() {
            let text = self.0.render(Kind::Plain, &query_name(&call.resource, key), values)?;
            // An empty parameter is left out.
            if !text.is_empty() {
                query.insert(key.clone(), text);
            }
        }
        for (name, secret) in credentials.query()? {
            query.insert(name.to_owned(), secret.to_owned());
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(&query);
        }
        Ok(url)
    }

    /// The body, if the call has one.
    pub(crate) fn body(
        &self,
        resource: &Resource,
        call: &Call,
        values: &Value,
    ) -> Result<Option<Body>, RequestError> {
        if resource.json.is_some() {
            let text = self.0.render(Kind::Json, &json_name(&call.resource), values)?;
            serde_json::from_str::<serde::de::IgnoredAny>(&text)
                .map_err(|error| RequestError::InvalidJson { resource: call.resource.clone(), error })?;
            return Ok(Some(Body::Json(text)));
        }
        let mut form = form_urlencoded::Serializer::new(String::new());
        for key in resource.form.keys() {
            let text = self.0.render(Kind::Plain, &form_name(&call.resource, key), values)?;
            if !text.is_empty() {
                form.append_pair(key, &text);
            }
        }
        Ok((!resource.form.is_empty()).then(|| Body::Form(form.finish())))
    }
}

/// Parses a URL; http and https with a host only.
pub(crate) fn parse_url(text: &str) -> Result<Url, RequestError> {
    let unusable = |reason: String| RequestError::Url { url: text.to_owned(), reason };
    let url = Url::parse(text).map_err(|error| unusable(error.to_string()))?;
    match matches!(url.scheme(), "http" | "https") && url.host().is_some() {
        true => Ok(url),
        false => Err(unusable("it needs http or https and a host".to_owned())),
    }
}

fn path_name(resource: &ResourceName) -> String {
    format!("{resource} path")
}

fn query_name(resource: &ResourceName, key: &str) -> String {
    format!("{resource} query {key}")
}

fn form_name(resource: &ResourceName, key: &str) -> String {
    format!("{resource} form {key}")
}

fn json_name(resource: &ResourceName) -> String {
    format!("{resource} json")
}

/// The variables of a call's templates. `random` must be new for each request.
pub(crate) fn values(
    provider: &Provider,
    call: &Call,
    now: UnixMs,
    random: [u8; 16],
    page: &Page,
    since: Option<&ChangeToken>,
) -> Value {
    let device = |t: &Target| context! { external_id => &t.external_id, group => &t.group };
    let devices: Vec<Value> = call.targets.iter().map(device).collect();
    let uuid = uuid::Builder::from_random_bytes(random).into_uuid().to_string();
    let plain = |value: &serde_json::Value| match (value.as_str(), value.as_i64()) {
        (Some(text), _) => Value::from(text),
        (None, Some(whole)) => Value::from(whole),
        (None, None) => Value::from(value.as_f64()),
    };
    context! {
        params => provider.with_defaults(call.connection.params.clone()),
        bootstrap => &call.connection.bootstrap,
        device => devices.first(),
        devices => devices,
        page => page.value.as_ref().map_or_else(|| Value::from(()), plain),
        since => since.map_or_else(|| Value::from(""), |since| plain(&since.value)),
        request => context! { uuid => uuid, epoch_ms => now.0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(resource: &str) -> (Provider, Requests, Call) {
        let text = format!(
            r#"title = "T"
[http]
base_url = "https://api.example.com"
[resource.state]
interval_min = "10s"
interval_default = "1m"
method = "POST"
path = "/devices"
records = "."
{resource}"#
        );
        let provider = Provider::parse("t".parse().unwrap(), "t.toml", &text).unwrap();
        let requests = Requests::compile(&provider).unwrap();
        let connection = crate::words::Connection {
            id: crate::words::ConnectionId(1),
            tenant: crate::words::TenantId(1),
            provider: provider.name.clone(),
            params: BTreeMap::new(),
            bootstrap: BTreeMap::new(),
            bootstrap_of: None,
            devices: 0,
            secrets_version: 1,
            state: crate::words::ConnectionState::Active,
            secrets: crate::words::Secrets::default(),
            token: None,
        };
        let external_id = "a\"b & c/ü".to_owned();
        let (job, device) = (crate::words::JobId(1), crate::words::DeviceId(1));
        let target = Target { job, device, external_id, group: String::new(), validator: None };
        let call =
            Call { connection: connection.into(), resource: "state".parse().unwrap(), targets: vec![target] };
        (provider, requests, call)
    }

    fn body_of(resource: &str) -> Result<(String, &'static str), RequestError> {
        let (provider, requests, call) = requests(resource);
        let values = values(&provider, &call, UnixMs(1_767_225_600_000), [7; 16], &Page::default(), None);
        let found = requests.body(provider.resource("state").unwrap(), &call, &values);
        found.map(|body| body.expect("a body").parts())
    }

    #[test]
    fn values_are_escaped_for_json_and_for_forms() {
        let json =
            body_of("json = '{\"id\": {{ device.external_id }}, \"at\": {{ request.epoch_ms }}}'").unwrap();
        assert_eq!(json, (r#"{"id": "a\"b & c/ü", "at": 1767225600000}"#.to_owned(), "application/json"));
        let form = body_of("form = { action = \"get\", id = \"{{ device.external_id }}\" }").unwrap();
        let encoded = "action=get&id=a%22b+%26+c%2F%C3%BC";
        assert_eq!(form, (encoded.to_owned(), "application/x-www-form-urlencoded"));
        let quoted = body_of("json = '{\"id\": \"{{ device.external_id }}\"}'").unwrap_err().to_string();
        assert!(quoted.contains("resource state") && quoted.contains("without quotes"), "{quoted}");
    }
}
