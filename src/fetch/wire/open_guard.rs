//! Restricts where posts to addresses of users may go: to any host of the public internet, over https. The operator may
//! allow private networks and plain http. Like the egress guard of providers, it checks what a name resolves to when
//! connecting.

use super::address_class::{AddressClass, address_class};
use super::egress_guard::{Reach, is_private};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, SocketAddr};

/// Why an address is not called.
#[derive(Debug, thiserror::Error)]
pub enum AddressRefusal {
    /// Not a URL with a host.
    #[error("the url must be an address as in https://example.com/paceline")]
    Unreadable,
    /// Without TLS.
    #[error("the url must begin with https://")]
    Plain,
    /// With a user name or password.
    #[error("the url must have no user name or password: check the signature of what you receive instead")]
    User,
    /// In a private network.
    #[error("{0} is in a private network; the url must be on the public internet")]
    Private(String),
    /// Where no server is.
    #[error("{0} is an address that no server on the internet can have")]
    Never(String),
}

/// Checks the target of each post.
#[derive(Debug, Clone)]
pub(crate) struct OpenGuard {
    reach: Reach,
}

impl OpenGuard {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach }
    }

    /// Checks a URL. The addresses of a name are checked when it is resolved.
    pub(crate) fn check(&self, url: &Url) -> Result<(), AddressRefusal> {
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(AddressRefusal::Unreadable)?;
        match url.scheme() {
            "https" => {}
            "http" if self.reach == Reach::Private => {}
            _ => return Err(AddressRefusal::Plain),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(AddressRefusal::User);
        }
        // IPv6 is in brackets.
        if let Ok(address) = host.trim_matches(['[', ']']).parse() {
            return self.check_addresses(host, &[address]);
        }
        match self.reach {
            Reach::Public if is_private(host.trim_end_matches('.')) => {
                Err(AddressRefusal::Private(host.to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// An error if none of the addresses may be called.
    fn check_addresses(&self, host: &str, addresses: &[IpAddr]) -> Result<(), AddressRefusal> {
        if addresses.is_empty() || addresses.iter().any(|address| self.reach.allows(*address)) {
            return Ok(());
        }
        match addresses.iter().any(|address| address_class(*address) == AddressClass::Private) {
            true => Err(AddressRefusal::Private(host.to_owned())),
            false => Err(AddressRefusal::Never(host.to_owned())),
        }
    }
}

impl Resolve for OpenGuard {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(reach: Reach, url: &str) -> String {
        let checked = OpenGuard::new(reach).check(&Url::parse(url).unwrap());
        checked.err().map_or_else(String::new, |refusal| refusal.to_string())
    }

    #[test]
    fn only_https_on_the_public_internet_is_called_unless_the_operator_allows_more() {
        for (url, says) in [
            ("https://example.com/hook?key=1", ""),
            ("https://1.1.1.1:8443/", ""),
            ("http://example.com/", "https://"),
            ("ftp://example.com/", "https://"),
            ("https://user@example.com/", "no user name"),
            ("https://:pass@example.com/", "no user name"),
            ("https://127.0.0.1/", "private network"),
            ("https://0x7f.1/", "private network"),
            ("https://[::1]/", "private network"),
            ("https://[::ffff:10.0.0.1]/", "private network"),
            ("https://localhost/", "private network"),
            ("https://api.internal./", "private network"),
            ("https://intranet/", "private network"),
            ("https://169.254.169.254/latest", "no server"),
            ("https://0.0.0.0/", "no server"),
        ] {
            let found = refusal(Reach::Public, url);
            assert!(if says.is_empty() { found.is_empty() } else { found.contains(says) }, "{url}: {found}");
        }
        for (url, says) in [
            ("http://127.0.0.1:9/", ""),
            ("http://intranet/", ""),
            ("http://user@intranet/", "no user name"),
            ("http://169.254.169.254/", "no server"),
        ] {
            let found = refusal(Reach::Private, url);
            assert!(if says.is_empty() { found.is_empty() } else { found.contains(says) }, "{url}: {found}");
        }
    }

    #[tokio::test]
    async fn host_name_is_checked_by_its_addresses() {
        let resolve = async |reach: Reach| {
            let found = OpenGuard::new(reach).resolve("localhost".parse().unwrap()).await;
            found.map(|addresses| addresses.count()).map_err(|error| error.to_string())
        };
        assert!(resolve(Reach::Public).await.unwrap_err().contains("localhost is in a private network"));
        assert!(resolve(Reach::Private).await.unwrap() > 0);
    }
}
