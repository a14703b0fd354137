//! Contradictions in a well-formed definition.

use super::quota_check::check_quota;
use super::resource_check::check_resource;
use crate::provider::auth::{TOKEN, check_name};
use crate::provider::call::{BOOTSTRAP, DISCOVERY};
use crate::provider::definition::Definition;
use crate::provider::http_text::{check_header, check_host};
use std::collections::HashSet;
use std::ops::Range;

/// Every contradiction, with its span in the file.
pub(crate) fn check(definition: &Definition) -> Vec<(Range<usize>, String)> {
    let mut wrong = Vec::new();
    let mut names = HashSet::new();
    for quota in &definition.quotas {
        let declared = quota.get_ref();
        if !names.insert(&declared.name) {
            wrong.push((
                quota.span(),
                format!("quota {:?} is declared twice: give each a name of its own", declared.name),
            ));
        }
        wrong.extend(check_quota(declared, definition).into_iter().map(|message| (quota.span(), message)));
    }
    for (name, value) in &definition.http.headers {
        wrong.extend(check_header(name.get_ref(), value).map(|message| (name.span(), message)));
    }
    for host in &definition.http.hosts {
        wrong.extend(check_host(host.get_ref()).map(|message| (host.span(), message)));
    }
    wrong.extend(check_account(definition));
    if definition.http.in_flight == 0 {
        wrong.push((
            definition.http.base_url.span(),
            "http.in_flight is 0, which allows no call: set at least 1".to_owned(),
        ));
    }
    if definition.http.body_bytes_max == 0 {
        wrong.push((
            definition.http.base_url.span(),
            "http.body_bytes_max is 0, so that every response is too large: raise it, or leave it out"
                .to_owned(),
        ));
    }
    for (name, _) in definition.http.headers.iter().filter(|(_, value)| value.contains("{{")) {
        let message = "http.headers are sent as they stand, not as templates: for a key, use [[auth.key]]";
        wrong.push((name.span(), message.to_owned()));
    }
    if definition.resources.is_empty() {
        wrong.push((
            0..0,
            "no [resource.<name>] is declared, so there is nothing to fetch: add one".to_owned(),
        ));
    }
    for (name, call) in definition.calls() {
        let what = match name {
            name if *name == *DISCOVERY => "discovery".to_owned(),
            name if *name == *BOOTSTRAP => "bootstrap".to_owned(),
            name => format!("resource {name}"),
        };
        let found = check_resource(call.get_ref());
        wrong.extend(found.into_iter().map(|m| (call.span(), format!("{what}: {m}"))));
    }
    for (name, what) in [
        (&*DISCOVERY, "the table [discovery]"),
        (&*BOOTSTRAP, "the table [bootstrap]"),
        (&*TOKEN, "token requests"),
    ] {
        if let Some((found, _)) = definition.resources.iter().find(|(known, _)| known.get_ref() == name) {
            wrong.push((
                found.span(),
                format!("a resource cannot be named {name}: that name belongs to {what}"),
            ));
        }
    }
    let login = definition.auth.get_ref().login.iter().map(|login| &login.get_ref().url);
    let mut urls = login.chain([&definition.http.base_url]);
    if let Some(url) =
        urls.find(|url| url.get_ref().contains("bootstrap") && definition.http.hosts.is_empty())
    {
        let message = "http.hosts must name the hosts that calls may go to: a response must not choose \
                       where credentials are sent";
        wrong.push((url.span(), message.to_owned()));
    }
    for limit in &definition.rate_limits {
        let found = limit.get_ref().check(&definition.quotas);
        wrong.extend(found.into_iter().map(|message| (limit.span(), message)));
    }
    for rule in &definition.rules {
        wrong.extend(rule.get_ref().check().into_iter().map(|message| (rule.span(), message)));
    }
    wrong
}

/// Contradictions in credentials, secrets and params.
fn check_account(definition: &Definition) -> Vec<(Range<usize>, String)> {
    let auth = definition.auth.get_ref();
    let place = |span: Range<usize>| if span.is_empty() { definition.auth.span() } else { span };
    let mut wrong: Vec<_> = auth.check().into_iter().map(|(span, message)| (place(span), message)).collect();
    let used = auth.secrets();
    for (name, about) in &definition.secrets {
        if !used.contains(name.as_str()) {
            wrong.push((
                about.span(),
                format!("secret.{name} is described, but auth uses no secret of this name"),
            ));
        }
    }
    for (name, param) in &definition.params {
        wrong.extend(check_name(name).map(|message| (param.span(), message.replace("a secret", "a param"))));
        wrong.extend(param.get_ref().check(name).map(|message| (param.span(), message)));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use crate::provider::parse;

    const GOOD: &str = r#"title = "Good"
[http]
base_url = "https://api.example.com"
in_flight = 1
[resource.state]
unit = "batch"
batch_max = 2
interval_min = "10s"
interval_default = "1m"
cost = 1
cost_per_device = 2147483647
path = "/devices"
records = "."
"#;

    const PAGED: &str = "cost_per_device = 2147483647\npath = \"/devices\"\nrecords = \".\"";

    #[test]
    fn definitions_that_could_never_call_or_count_are_refused() {
        assert!(parse("good.toml", GOOD).is_ok());
        for (from, to, says) in [
            ("in_flight = 1", "in_flight = 0", "http.in_flight"),
            ("in_flight = 1", "body_bytes_max = 0", "http.body_bytes_max is 0"),
            ("in_flight = 1", "headers = { X-Key = \"{{ params.key }}\" }", "not as templates"),
            ("batch_max = 2\n", "", "without batch_max: set it"),
            ("batch_max = 2\n", "batch_max = 0\n", "batch_max is 0"),
            (
                "records = \".\"",
                "records = \".\"\n[[rule]]\nstatus = [4290]\noutcome = \"gone\"",
                "4290 is no HTTP status",
            ),
            (
                "records = \".\"",
                "records = \".\"\n[[rule]]\nstatus = []\noutcome = \"gone\"",
                "matches no response",
            ),
            ("cost = 1\n", "cost = 2\n", "cost_per_device"),
            ("in_flight = 1", "headers = { \"X Key\" = \"a\" }", "\"X Key\" is not a header name"),
            ("in_flight = 1", "hosts = [\"*example.com\"]", "is not a host"),
            ("in_flight = 1", "hosts = [\"https://example.com\"]", "is not a host"),
            ("in_flight = 1", "hosts = [\"\"]", "is not a host"),
            ("[resource.state]", "[resource.discovery]", "cannot be named discovery"),
            ("[resource.state]", "[resource.bootstrap]", "cannot be named bootstrap"),
            ("https://api.example.com", "https://{{ bootstrap.host }}", "http.hosts must name"),
            ("https://api.example.com", "https://{{ bootstrap['host'] }}", "http.hosts must name"),
            (
                "[resource.state]",
                "[auth]\nkind = \"bearer\"\n[auth.login]\nurl = \"https://{{ bootstrap.h }}/\"\ntoken = \".t\"\n\
                     [resource.state]",
                "http.hosts must name",
            ),
            (
                "records = \".\"",
                "records = \".\"\n[[rule]]\nstatus = [421]\noutcome = \"fresh\"\nlearn = { host = \".h\" }",
                "nothing to correct",
            ),
            (
                "[resource.state]",
                "[discovery]\npath = \"x\"\ndevices = \".\"\n[resource.state]",
                "discovery: path must",
            ),
            (
                "[resource.state]",
                "[discovery]\npath = \"/\"\ndevices = \".\"\njson = \"{}\"\n[resource.state]",
                "set method = \"POST\"",
            ),
            (
                "[resource.state]",
                "[[quota]]\nname = \"q\"\nscope = \"app\"\namount = 9\nwindow = \"1m\"\nresources = [\"discovery\"]\n\
                     [resource.state]",
                "resource `discovery`, which is not declared",
            ),
            (
                PAGED,
                "pages.max = 2\npages.by = \"link\"\npath = \"/\"\nrecords = \".\"\n[[quota]]\nname = \"q\"\n\
                     scope = \"app\"\namount = 9\nwindow = \"1m\"\nburst = 2\nerrors_cost = false",
                "errors_cost",
            ),
            (
                PAGED,
                "pages.max = 2\npages.by = \"link\"\npages.within = \"5m\"\npath = \"/\"\nrecords = \".\"\n\
                     [[quota]]\nname = \"q\"\nscope = \"app\"\nkind = \"aligned\"\namount = 9\nwindow = \"minute\"",
                "pages.within",
            ),
            ("in_flight = 1", "headers = { \"X-Key\" = \"a\\nb\" }", "the value of header X-Key"),
            ("path = \"/devices\"", "path = \"devices\"", "begin with /"),
            (
                "records = \".\"",
                "records = \".\"\n[[rule]]\nheader = { \"X:\" = \"a\" }\noutcome = \"gone\"",
                "\"X:\" is not a header name",
            ),
            (
                "records = \".\"",
                "records = \".\"\n[[rule]]\nstatus = [403]\noutcome = \"throttled\"\n\
                 wait = { header = \"\" }",
                "\"\" is not a header name",
            ),
            (
                "cost_per_device = 2147483647",
                "conditional = true\nprobe = { path = \"/\", revisions = \".\" }",
                "keep one",
            ),
            ("cost = 1\n", "conditional = true\nmethod = \"POST\"\n", "single GET"),
            ("cost = 1\n", "whole_every = \"1h\"\n", "applies to since only"),
            ("cost = 1\n", "since = \".at\"\n", "since is not used"),
            (
                "cost_per_device = 2147483647",
                "probe = { path = \"x\", revisions = \".\" }",
                "probe: path must begin",
            ),
            ("cost = 1\n", "probe = { path = \"/\", revisions = \".\", cost = 9 }\n", "would cost more"),
            (
                "unit = \"batch\"\nbatch_max = 2\ninterval_min",
                "probe = { path = \"/\", revisions = \".\" }\ninterval_min",
                "saves no call",
            ),
            ("batch_max = 2", "batch_max = 3", "cost_per_device"),
            ("records = \".\"", "records = \".\"\njson = \"{}\"", "method = \"POST\""),
            (
                "records = \".\"",
                "records = \".\"\njson = \"{}\"\nform = { a = \"b\" }\nmethod = \"POST\"",
                "one body",
            ),
            ("records = \".\"", "records = \".\"\n[[rule]]\noutcome = \"gone\"", "to match on"),
            (
                "cost_per_device = 2147483647",
                "pages = { by = \"number\", max = 3, more = \".m\" }",
                "nothing selects the page",
            ),
            (
                "cost_per_device = 2147483647",
                "pages = { by = \"number\", param = \"p\", max = 3, next = \".m\", total = \".n\" }",
                "next does not apply",
            ),
            (
                "cost_per_device = 2147483647",
                "pages = { by = \"cursor\", param = \"p\", max = 3 }",
                "needs next",
            ),
            (
                "unit = \"batch\"\nbatch_max = 2",
                "pages = { by = \"link\", max = 3 }",
                "one device has no pages",
            ),
            (
                "records = \".\"",
                "records = \".\"\n[[rate_limit]]\nquota = \"day\"\nremaining = \"X-Left\"",
                "no quota is called \"day\"",
            ),
            (
                "records = \".\"",
                "records = \".\"\n[[rule]]\nstatus = [404]\noutcome = \"gone\"\nwait = {}",
                "throttled",
            ),
            (
                "records = \".\"",
                "records = \".\"\n[[rule]]\nstatus = [403]\noutcome = \"throttled\"\nwait = { unit = \"ms\" }",
                "wait.unit",
            ),
            (
                "records = \".\"",
                "records = \".\"\n[[rule]]\nstatus = [403]\noutcome = \"throttled\"\n\
                 wait = { floor = \"1m\", cap = \"1s\" }",
                "wait.floor 1m is above",
            ),
        ] {
            let errors = parse("c.toml", &GOOD.replace(from, to)).expect_err(to);
            assert!(errors.len() == 1 && errors[0].message.contains(says), "{to}: {}", errors[0]);
        }
    }
}
