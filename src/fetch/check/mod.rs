//! What `paceline provider check` refuses beyond what loading does: requests and records that compile, and of which the
//! definition's text tells that they can only fail, or reach the wrong device. Not a condition of running: a definition
//! of which one resource cannot work still serves the others.

mod records;
mod variables;

use super::Fetcher;
use super::wire::{Reach, ScriptedResponses, unreachable_urls};
use crate::provider::{BOOTSTRAP, DISCOVERY, Definition, LoadError, Provider, Resource};
use crate::words::{ResourceName, Secrets};
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use variables::wrong_variable;

impl Fetcher {
    /// Checks that everything in the definition compiles, and that nothing in it can only fail. `reach`: what the
    /// operator allows.
    pub fn check(provider: Arc<Provider>, reach: Reach) -> Result<(), LoadError> {
        let fetcher = Self::scripted(provider.clone(), ScriptedResponses::default(), Secrets::default())?;
        let mut wrong = unreachable_urls(&provider, reach);
        wrong.extend(fetcher.wrong_variables());
        for (place, call) in places(&provider.definition) {
            let records = &call.get_ref().records;
            let message = records::yields(place).and_then(|yields| yields.wrong(records.get_ref()));
            wrong.extend(message.map(|message| (records.span(), format!("{}{message}", place.shown()))));
        }
        wrong.sort_by_key(|(span, _)| span.start);
        if wrong.is_empty() { Ok(()) } else { Err(provider.refused(wrong)) }
    }

    /// Variables that templates use and do not have, each with its span in the file.
    fn wrong_variables(&self) -> Vec<(Range<usize>, String)> {
        let (definition, requests) = (&self.provider.definition, &self.preparer.requests);
        let mut wrong = Vec::new();
        let mut say = |place: Place<'_>, span: Range<usize>, key: &str, variables: Vec<String>| {
            let found = variables.iter().filter_map(|variable| wrong_variable(definition, place, variable));
            wrong.extend(found.map(|message| (span.clone(), format!("{}{key}: {message}", place.shown()))));
        };
        let base_url = &definition.http.base_url;
        say(Place::BaseUrl, base_url.span(), "base_url", requests.definition_variables("base_url"));
        if let Some(scope) = &definition.id_scope {
            say(Place::IdScope, scope.span(), "id_scope", requests.definition_variables("id_scope"));
        }
        for (place, call) in places(definition) {
            let Some(name) = place.name() else { continue };
            for (key, span, variables) in requests.variables(name, call) {
                say(place, span, &key, variables);
            }
        }
        wrong
    }
}

/// Where a template or a program is.
#[derive(Clone, Copy)]
enum Place<'a> {
    BaseUrl,
    IdScope,
    Resource(&'a ResourceName, &'a Resource),
    /// The probe of this resource.
    Probe(&'a ResourceName, &'a Resource),
    Discovery,
    Bootstrap,
}

/// Every request of a definition.
fn places(definition: &Definition) -> impl Iterator<Item = (Place<'_>, &Spanned<Resource>)> {
    let resources = definition.resources.iter().flat_map(|(name, call)| {
        let (name, resource) = (name.get_ref(), call.get_ref());
        let probe = resource.probe.as_ref().and_then(|probe| probe.named_call());
        let probe = probe.map(|(_, call)| (Place::Probe(name, resource), call));
        [(Place::Resource(name, resource), call)].into_iter().chain(probe)
    });
    let discovery = definition.discovery.iter().map(|discovery| (Place::Discovery, discovery.call()));
    let bootstrap = definition.bootstrap.iter().map(|bootstrap| (Place::Bootstrap, bootstrap.call()));
    resources.chain(discovery).chain(bootstrap)
}

impl<'a> Place<'a> {
    /// The request's name among the definition's requests.
    fn name(self) -> Option<&'a ResourceName> {
        match self {
            Self::BaseUrl | Self::IdScope => None,
            Self::Resource(name, _) => Some(name),
            Self::Probe(_, resource) => resource.probe.as_ref()?.named_call().map(|(name, _)| name),
            Self::Discovery => Some(&DISCOVERY),
            Self::Bootstrap => Some(&BOOTSTRAP),
        }
    }

    /// How messages begin.
    fn shown(self) -> String {
        match self {
            Self::BaseUrl => "http.".to_owned(),
            Self::IdScope => String::new(),
            Self::Resource(name, _) => format!("resource {name}: "),
            Self::Probe(name, _) => format!("resource {name}: probe: "),
            Self::Discovery => "discovery: ".to_owned(),
            Self::Bootstrap => "bootstrap: ".to_owned(),
        }
    }

    /// The resource of whose devices a request is.
    fn resource(self) -> Option<&'a Resource> {
        match self {
            Self::Resource(_, resource) | Self::Probe(_, resource) => Some(resource),
            Self::BaseUrl | Self::IdScope | Self::Discovery | Self::Bootstrap => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"title = "Good"
[http]
base_url = "https://api.example.com"
[param.home]
about = "the home"
[resource.state]
unit = "batch"
batch_max = 20
interval_min = "10s"
interval_default = "1m"
path = "/homes/{{ params.home }}/devices"
query = { ids = "{{ devices | map(attribute='external_id') | join(',') }}" }
records = ".[] | {id, values: {on}}"
"#;

    fn errors(text: &str, reach: Reach) -> Vec<String> {
        let provider = Provider::parse("lamps".parse().unwrap(), "lamps.toml", text).unwrap();
        match Fetcher::check(Arc::new(provider), reach) {
            Ok(()) => Vec::new(),
            Err(LoadError::Refused(errors)) => errors.iter().map(ToString::to_string).collect(),
            Err(other) => panic!("{other}"),
        }
    }

    #[track_caller]
    fn refused(from: &str, to: &str, says: &str) {
        let errors = errors(&GOOD.replace(from, to), Reach::Public);
        assert!(errors.len() == 1 && errors[0].contains(says), "{to}: {errors:#?}");
    }

    #[track_caller]
    fn accepted(from: &str, to: &str) {
        assert_eq!(errors(&GOOD.replace(from, to), Reach::Public), [""; 0], "{to}");
    }

    const IDS: &str = "{{ devices | map(attribute='external_id') | join(',') }}";
    const BATCH: &str = "unit = \"batch\"\nbatch_max = 20";

    #[test]
    fn definition_that_works_is_accepted() {
        accepted("", "");
        accepted(IDS, "{% for one in devices %}{{ one.external_id }}{{ loop.last }}{% endfor %}");
        accepted("{{ params.home }}", "{{ request.uuid }}{{ range(3) }}");
    }

    #[test]
    fn first_device_in_a_request_for_several_is_refused() {
        refused(
            IDS,
            "{{ device.external_id }}",
            "lamps.toml:6: resource state: query.ids: with unit = \"batch\" device",
        );
        refused(
            "{{ params.home }}",
            "{{ device['external_id'] }}",
            "lamps.toml:11: resource state: path: with unit",
        );
        let with = |unit: &str, variable: &str| {
            errors(&GOOD.replace(BATCH, &format!("unit = \"{unit}\"")).replace(IDS, variable), Reach::Public)
        };
        for (unit, variable) in [
            ("group", "{{ device.external_id }}"),
            ("connection", "{{ device.external_id }}"),
            ("connection", "{{ device.group }}"),
        ] {
            let errors = with(unit, variable);
            assert!(
                errors.len() == 1 && errors[0].contains("is only the first device"),
                "{unit}: {errors:#?}"
            );
        }
        assert_eq!(with("group", "{{ device.group }}"), [""; 0]);
        assert_eq!(with("device", "{{ device.external_id }}"), [""; 0]);
    }

    #[test]
    fn variables_that_a_template_does_not_have_are_refused() {
        for (variable, says) in [
            ("devcies", "there is no devcies: templates see"),
            ("devices and request.id", "there is no request.id: use request.uuid"),
            ("params.hom", "there is no param hom: declare [param.hom]"),
            ("bootstrap.account", "declare [bootstrap]"),
            ("since", "declare `since`"),
            ("page", "declare `pages`"),
            ("secrets.secret", "credentials travel as [auth] says"),
        ] {
            refused(IDS, &format!("{{{{ {variable} }}}}"), says);
        }
        let discovery = "[discovery]\npath = \"/{{ device.group }}\"\ndevices = \".\"\n[resource.state]";
        refused(
            "[resource.state]",
            discovery,
            "discovery: path: there is no device: this request is for the whole",
        );
        refused(
            "https://api.example.com",
            "https://api.example.com/{{ device.group }}",
            "http.base_url: there is no device",
        );
    }

    #[test]
    fn records_of_several_devices_without_an_id_are_refused() {
        let records = ".[] | {id, values: {on}}";
        for unit in [BATCH, "unit = \"group\"", "unit = \"connection\""] {
            let text = GOOD
                .replace(BATCH, unit)
                .replace(records, "{values: {on}}")
                .replace("records", "each = \".[]\"\nrecords");
            let found = errors(&text, Reach::Public);
            assert!(
                found.len() == 1 && found[0].contains("resource state: one response is of several"),
                "{found:#?}"
            );
            assert_eq!(errors(&text.replace("records", "id = \".id\"\nrecords"), Reach::Public), [""; 0]);
        }
        refused(records, ".[] | select(.on) | {values: {on}}", "or declare `id`");
        // Whether these have ids, the response says.
        accepted(records, ".[]");
        accepted(records, "if type == \\\"array\\\" then .[] | {id, values} else {values} end");
    }

    #[test]
    fn records_with_other_keys_are_refused() {
        let records = "{id, values: {on}}";
        refused(
            records,
            "{id, value: {on}}",
            "records yields the key \"value\", which is refused: use id, values",
        );
        refused(records, "{id, online}", "records yields no values");
        // Also where it is known which device a record is of.
        for of in ["", "id = \".id\"\n"] {
            refused(
                "records =",
                &format!("{of}offline_after = \"1h\"\nrecords ="),
                "records yields no observed_at, which offline_after counts from",
            );
        }
        let discovery =
            |devices: &str| format!("[discovery]\npath = \"/\"\ndevices = \"{devices}\"\n[resource.state]");
        refused(
            "[resource.state]",
            &discovery(".[] | {id, label}"),
            "discovery: devices yields the key \"label\"",
        );
        refused("[resource.state]", &discovery(".[] | {name}"), "discovery: devices must yield the id");
        let probe =
            "[resource.state.probe]\npath = \"/\"\nrevisions = \".[] | {revision}\"\n[resource.state]";
        refused("[resource.state]", probe, "resource state: probe: revisions must yield the id");
    }

    #[test]
    fn hosts_that_no_call_may_go_to_are_refused() {
        let url = "https://api.example.com";
        refused(
            url,
            "http://api.example.com/v1",
            "without TLS, which the operator has not allowed for lamps: use https",
        );
        refused(url, "https://169.254.169.254", "an address that no device cloud can have");
        refused(
            &format!("{url}\""),
            &format!("{url}\"\nhosts = [\"*.lamps.cloud\"]"),
            "is not a host of lamps",
        );
        refused(
            &format!("{url}\""),
            "http://{{ params.home }}\"\nhosts = [\"*.lamps.cloud\"]",
            "without TLS",
        );
        for inner in [
            "http://127.0.0.1:1880",
            "http://[::1]",
            "http://10.0.0.5",
            "http://node-red.local",
            "http://hub",
            "http://{{ params.home }}",
            "{{ params.home }}",
        ] {
            accepted(url, inner);
        }
        let login = "[auth]\nkind = \"bearer\"\n[auth.login]\nurl = \"http://id.example.com/\"\n\
                     token = \".t\"\n[resource.state]";
        refused("[resource.state]", login, "id.example.com would be called without TLS");
        let plain = GOOD.replace(url, "http://api.example.com");
        assert_eq!(errors(&plain, Reach::Private), [""; 0], "the operator allows it");
    }
}
