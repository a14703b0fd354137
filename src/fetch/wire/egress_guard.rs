//! Where calls may go: to the definition's hosts, by https, on the open internet. Into private networks only for
//! providers that the operator named (`providers.private_networks`), and those may do without TLS.
//!
//! A name is judged by what it resolves to at the moment of connecting, so that no later answer of a DNS server leads
//! elsewhere; an address that stands in the URL itself is judged before.

use super::address_class::{AddressClass, address_class};
use crate::provider::Definition;
use crate::settings::Names;
use crate::words::ProviderName;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};

/// How far a provider's calls may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The open internet, by https.
    Public,
    /// Private networks and this machine, too, and by http.
    Private,
}

impl Reach {
    /// What the operator allows this provider.
    pub fn of(private_networks: &Names, provider: &ProviderName) -> Self {
        if private_networks.contains(provider.as_str()) { Self::Private } else { Self::Public }
    }

    fn allows(self, address: IpAddr) -> bool {
        match address_class(address) {
            AddressClass::Public => true,
            AddressClass::Private => self == Self::Private,
            AddressClass::Never => false,
        }
    }
}

/// Why a call is not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "{host} is in a private network: if that is meant, name {provider} in the setting \
         providers.private_networks"
    )]
    Private { host: String, provider: ProviderName },
    #[error("{host} leads where no device cloud can be: correct base_url or the connection's params")]
    Never { host: String },
    #[error("{host} is no host of {provider}, whose file names {hosts}: correct the connection's params")]
    Host { host: String, provider: ProviderName, hosts: String },
    #[error(
        "{host} would be called without TLS: use https, or name {provider} in the setting \
         providers.private_networks"
    )]
    Plain { host: String, provider: ProviderName },
}

/// Keeps a provider's calls where they may go.
#[derive(Debug, Clone)]
pub(crate) struct EgressGuard {
    provider: ProviderName,
    reach: Reach,
    /// Exact, or `*.` and what follows; none: any.
    hosts: Vec<String>,
}

impl EgressGuard {
    pub(crate) fn new(provider: &ProviderName, definition: &Definition, reach: Reach) -> Self {
        Self { provider: provider.clone(), reach, hosts: hosts(definition) }
    }

    /// Judges all that a URL tells by itself. What a name resolves to is judged when it is.
    pub(crate) fn check(&self, url: &Url) -> Result<(), Refusal> {
        let host = url.host_str().unwrap_or_default().to_owned();
        if !self.hosts.is_empty() && !self.hosts.iter().any(|pattern| fits(&host, pattern)) {
            let hosts = self.hosts.join(", ");
            return Err(Refusal::Host { host, provider: self.provider.clone(), hosts });
        }
        // In brackets where it is IPv6.
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            self.judge(&host, &[address])?;
        }
        if url.scheme() != "https" && self.reach == Reach::Public {
            return Err(Refusal::Plain { host, provider: self.provider.clone() });
        }
        Ok(())
    }

    /// An error if none of the addresses may be called.
    fn judge(&self, host: &str, addresses: &[IpAddr]) -> Result<(), Refusal> {
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
            // The port is the URL's: it is put in afterwards.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let addresses: Vec<IpAddr> = found.iter().map(SocketAddr::ip).collect();
            guard.judge(name.as_str(), &addresses)?;
            let allowed = found.into_iter().filter(move |at| guard.reach.allows(at.ip()));
            Ok(Box::new(allowed) as Addrs)
        })
    }
}

/// The hosts that a definition names: `http.hosts`, or that of its base URL where no param has a part in it; and
/// those where it asks for tokens.
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

/// The host of a URL's template, where no param has a part in it.
fn literal_host(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or(rest);
    if authority.contains("{{") || authority.contains("{%") {
        return None;
    }
    // As the request's own URL will tell it.
    Url::parse(&format!("https://{authority}")).ok()?.host_str().map(str::to_owned)
}

fn fits(host: &str, pattern: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|own| own.len() > 1 && own.ends_with('.')),
        None => host == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Provider;

    fn guard(http: &str, reach: Reach) -> EgressGuard {
        let text = format!(
            "title = \"T\"\n[http]\n{http}\n[resource.state]\ninterval_min = \"10s\"\n\
             interval_default = \"1m\"\npath = \"/devices\"\nrecords = \".\"\n"
        );
        let provider = Provider::parse("lamps".parse().unwrap(), "lamps.toml", &text).unwrap();
        EgressGuard::new(&provider.name, &provider.definition, reach)
    }

    fn said(guard: &EgressGuard, url: &str) -> String {
        guard.check(&Url::parse(url).unwrap()).err().map_or_else(String::new, |refusal| refusal.to_string())
    }

    #[test]
    fn calls_go_to_the_definitions_hosts_alone() {
        let fixed = guard("base_url = \"https://api.example.com:8443/v1\"", Reach::Public);
        assert_eq!(said(&fixed, "https://api.example.com:8443/v1/devices"), "");
        for url in ["https://api.example.com.evil.net/", "https://evil.net/", "https://1.1.1.1/"] {
            assert!(said(&fixed, url).contains("is no host of lamps, whose file names api.example.com"));
        }
        let some = guard(
            "base_url = \"https://{{ params.host }}\"\nhosts = [\"*.lamps.cloud\", \"lamps.io\"]",
            Reach::Public,
        );
        for url in ["https://eu.lamps.cloud/", "https://a.b.LAMPS.cloud/", "https://lamps.io/"] {
            assert_eq!(said(&some, url), "", "{url}");
        }
        for url in ["https://lamps.cloud/", "https://evillamps.cloud/", "https://eu.lamps.cloud@evil.net/"] {
            assert!(said(&some, url).contains("is no host of lamps"), "{url}");
        }
    }

    #[test]
    fn private_addresses_and_plain_http_are_for_those_who_were_named() {
        let public = guard("base_url = \"{{ params.base_url }}\"", Reach::Public);
        let private = guard("base_url = \"{{ params.base_url }}\"", Reach::Private);
        for url in
            ["https://127.0.0.1/", "https://[::1]/", "https://0x7f.1/", "https://[::ffff:10.0.0.1]:8443/"]
        {
            assert!(said(&public, url).contains("name lamps in the setting"), "{url}");
            assert_eq!(said(&private, url), "", "{url}");
        }
        for url in ["https://169.254.169.254/latest", "http://0.0.0.0/", "http://[fe80::1]/"] {
            for guard in [&public, &private] {
                assert!(said(guard, url).contains("no device cloud"), "{url}: {}", said(guard, url));
            }
        }
        assert!(said(&public, "http://example.com/").contains("without TLS"));
        assert_eq!(said(&private, "http://boat.local:3000/"), "");
        assert_eq!(said(&public, "https://example.com/"), "");
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_resolves_to() {
        let resolve = async |reach: Reach| {
            let guard = guard("base_url = \"{{ params.base_url }}\"", reach);
            let found = guard.resolve("localhost".parse().unwrap()).await;
            found.map(|addresses| addresses.count()).map_err(|error| error.to_string())
        };
        assert!(resolve(Reach::Public).await.unwrap_err().contains("localhost is in a private network"));
        assert!(resolve(Reach::Private).await.unwrap() > 0);
    }
}
