//! Restricts where calls may go: to the definition's hosts, over https, on the public internet. Private networks and
//! plain http are allowed only for providers that the operator lists in `providers.private_networks`.
//!
//! A host name is checked by the addresses that it resolves to when connecting, so that a later DNS response cannot
//! redirect the call; an IP address in the URL is checked before the request.

use super::address_class::{AddressClass, address_class};
use crate::provider::{Definition, Provider, host_matches};
use crate::settings::Names;
use crate::words::ProviderName;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

/// How far a provider's calls may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The public internet, over https.
    Public,
    /// Also private networks and this machine, and plain http.
    Private,
}

impl Reach {
    /// What the operator allows for this provider.
    pub fn of(private_networks: &Names, provider: &ProviderName) -> Self {
        if private_networks.contains(provider.as_str()) { Self::Private } else { Self::Public }
    }

    pub(super) fn allows(self, address: IpAddr) -> bool {
        match address_class(address) {
            AddressClass::Public => true,
            AddressClass::Private => self == Self::Private,
            AddressClass::Never => false,
        }
    }
}

/// Why a call is not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("{host} is in a private network, where the operator has not allowed calls of {provider}")]
    Private { host: String, provider: ProviderName },
    #[error(
        "{host} is an address that no device cloud can have: correct base_url or the connection's params"
    )]
    Never { host: String },
    #[error(
        "{host} is not a host of {provider}, whose definition allows {hosts}: correct the connection's params"
    )]
    Host { host: String, provider: ProviderName, hosts: String },
    #[error(
        "{host} would be called without TLS, which the operator has not allowed for {provider}: use https"
    )]
    Plain { host: String, provider: ProviderName },
}

/// Checks the target of each of a provider's calls.
#[derive(Debug, Clone)]
pub(crate) struct EgressGuard {
    provider: ProviderName,
    reach: Reach,
    /// Exact names, or `*.` and a domain; empty allows any.
    hosts: Vec<String>,
}

impl EgressGuard {
    pub(crate) fn new(provider: &ProviderName, definition: &Definition, reach: Reach) -> Self {
        Self { provider: provider.clone(), reach, hosts: hosts(definition) }
    }

    /// Checks host and scheme of a URL. The addresses of a name are checked when it is resolved.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Refusal> {
        let host = url.host_str().unwrap_or_default().to_owned();
        if !self.hosts.is_empty() && !self.hosts.iter().any(|pattern| host_matches(&host, pattern)) {
            let hosts = self.hosts.join(", ");
            return Err(Refusal::Host { host, provider: self.provider.clone(), hosts });
        }
        // IPv6 is in brackets.
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            self.check_addresses(&host, &[address])?;
        }
        if url.scheme() != "https" && self.reach == Reach::Public {
            return Err(Refusal::Plain { host, provider: self.provider.clone() });
        }
        Ok(())
    }

    /// An error if none of the addresses may be called.
    fn check_addresses(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Refusal> {
        if addresses.is_empty() || addresses.iter().any(|address| self.reach.allows(*address)) {
            return Ok(());
        }
        let host = host.to_owned();
        match addresses.iter().any(|address| address_class(*address) == AddressClass::Private) {
            true => Err(Refusal::Private { host, provider: self.provider.clone() }),
            false => Err(Refusal::Never { host }),
        }
    }
}

impl Resolve for EgressGuard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.clone();
        Box::pin(async move {
            // The client fills in the URL's port.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
            guard.check_addresses(name.as_str(), &addresses)?;
            let allowed = found.into_iter().filter(move |at| guard.reach.allows(at.ip()));
            Ok(Box::new(allowed) as Addrs)
        })
    }
}

/// The URLs of a definition that no call may go to, each with its span in the file. What a connection's params decide
/// is not known yet. Private networks pass: the operator may still allow them.
pub(crate) fn unreachable_urls(provider: &Provider, reach: Reach) -> Vec<(Range<usize>, String)> {
    let definition = &provider.definition;
    let mut wrong = Vec::new();
    for url in definition.auth.get_ref().token_urls().chain([&definition.http.base_url]) {
        let (text, is_plain) = (url.get_ref(), url.get_ref().starts_with("http://"));
        let Some(host) = literal_host(text) else {
            let mut named = definition.http.hosts.iter().map(|host| host.get_ref().trim_start_matches("*."));
            let public = named.find(|host| !is_private(host));
            if let Some(host) = public.filter(|_| is_plain && reach == Reach::Public) {
                let refusal = Refusal::Plain { host: host.to_owned(), provider: provider.name.clone() };
                wrong.push((url.span(), refusal.to_string()));
            }
            continue;
        };
        let reach = if is_private(&host) { Reach::Private } else { reach };
        let scheme = if is_plain { "http" } else { "https" };
        if let Ok(target) = Url::parse(&format!("{scheme}://{host}/"))
            && let Err(refusal) = EgressGuard::new(&provider.name, definition, reach).check(&target)
        {
            wrong.push((url.span(), refusal.to_string()));
        }
    }
    wrong
}

/// Whether a host is in a private network: by its address, or by a name that the internet does not know.
pub(super) fn is_private(host: &str) -> bool {
    if let Ok(address) = host.trim_matches(['[', ']']).parse() {
        return address_class(address) == AddressClass::Private;
    }
    let suffixes = ["local", "localhost", "lan", "internal", "home.arpa"];
    let is_below = |suffix: &&str| host.strip_suffix(*suffix).is_some_and(|rest| rest.ends_with('.'));
    !host.contains('.') || suffixes.iter().any(is_below)
}

/// The hosts of a definition: `http.hosts`, or the base URL's host if it contains no param; and the hosts of its token
/// URLs.
fn hosts(definition: &Definition) -> Vec<String> {
    let http = &definition.http;
    let mut hosts: Vec<_> = http.hosts.iter().map(|host| host.get_ref().to_ascii_lowercase()).collect();
    if hosts.is_empty() {
        hosts.extend(literal_host(http.base_url.get_ref()));
    }
    if !hosts.is_empty() {
        hosts.extend(definition.auth.get_ref().token_urls().filter_map(|url| literal_host(url.get_ref())));
    }
    hosts
}

/// The host of a URL template; none if it contains a param.
fn literal_host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    if authority.contains("{{") || authority.contains("{%") {
        return None;
    }
    // Normalised as in the request's URL.
    Url::parse(&format!("https://{authority}")).ok()?.host_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(http: &str, reach: Reach) -> EgressGuard {
        let text = format!(
            "title = \"T\"\n[http]\n{http}\n[resource.state]\ninterval_min = \"10s\"\n\
             interval_default = \"1m\"\npath = \"/devices\"\nrecords = \".\"\n"
        );
        let provider = Provider::parse("lamps".parse().unwrap(), "lamps.toml", &text).unwrap();
        EgressGuard::new(&provider.name, &provider.definition, reach)
    }

    fn refusal_text(guard: &EgressGuard, url: &str) -> String {
        guard.check(&Url::parse(url).unwrap()).err().map_or_else(String::new, |refusal| refusal.to_string())
    }

    #[test]
    fn hosts_outside_the_definition_are_refused() {
        let fixed = guard("base_url = \"https://api.example.com:8443/v1\"", Reach::Public);
        assert_eq!(refusal_text(&fixed, "https://api.example.com:8443/v1/devices"), "");
        for url in ["https://api.example.com.evil.net/", "https://evil.net/", "https://1.1.1.1/"] {
            assert!(
                refusal_text(&fixed, url)
                    .contains("is not a host of lamps, whose definition allows api.example.com")
            );
        }
        let some = guard(
            "base_url = \"https://{{ params.host }}\"\nhosts = [\"*.lamps.cloud\", \"lamps.io\"]",
            Reach::Public,
        );
        for url in ["https://eu.lamps.cloud/", "https://a.b.LAMPS.cloud/", "https://lamps.io/"] {
            assert_eq!(refusal_text(&some, url), "", "{url}");
        }
        for url in ["https://lamps.cloud/", "https://evillamps.cloud/", "https://eu.lamps.cloud@evil.net/"] {
            assert!(refusal_text(&some, url).contains("is not a host of lamps"), "{url}");
        }
    }

    #[test]
    fn private_addresses_and_plain_http_need_private_reach() {
        let public = guard("base_url = \"{{ params.base_url }}\"", Reach::Public);
        let private = guard("base_url = \"{{ params.base_url }}\"", Reach::Private);
        for url in
            ["https://127.0.0.1/", "https://[::1]/", "https://0x7f.1/", "https://[::ffff:10.0.0.1]:8443/"]
        {
            assert!(refusal_text(&public, url).contains("has not allowed calls of lamps"), "{url}");
            assert_eq!(refusal_text(&private, url), "", "{url}");
        }
        for url in ["https://169.254.169.254/latest", "http://0.0.0.0/", "http://[fe80::1]/"] {
            for guard in [&public, &private] {
                assert!(
                    refusal_text(guard, url).contains("no device cloud"),
                    "{url}: {}",
                    refusal_text(guard, url)
                );
            }
        }
        assert!(refusal_text(&public, "http://example.com/").contains("without TLS"));
        assert_eq!(refusal_text(&private, "http://boat.local:3000/"), "");
        assert_eq!(refusal_text(&public, "https://example.com/"), "");
    }

    #[tokio::test]
    async fn host_name_is_checked_by_its_addresses() {
        let resolve = async |reach: Reach| {
            let guard = guard("base_url = \"{{ params.base_url }}\"", reach);
            let found = guard.resolve("localhost".parse().unwrap()).await;
            found.map(|addresses| addresses.count()).map_err(|error| error.to_string())
        };
        assert!(resolve(Reach::Public).await.unwrap_err().contains("localhost is in a private network"));
        assert!(resolve(Reach::Private).await.unwrap() > 0);
    }
}
