//! What `redis.url` names: one server, nodes of a cluster, or Sentinels that know which server is the primary.

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisConnectionInfo, RedisResult, TlsMode};
use std::time::Duration;

const SENTINEL: &str = "+sentinel";
const SENTINEL_PORT: u16 = 26379;

/// Where Redis is. `Debug` of what it holds would show passwords.
pub(super) enum Address {
    /// `redis://[user:password@]host[:port][/db]`; `rediss://` for TLS. It may turn out to be a node of a cluster.
    One(ConnectionInfo),
    /// Several hosts, separated by commas: nodes of a cluster, which name all others.
    Nodes(Vec<ConnectionInfo>),
    /// `redis+sentinel://[user:password@]host[:port][,…]/name[/db]`.
    Sentinels(Sentinels),
}

/// Sentinels, and what they are asked for.
pub(super) struct Sentinels {
    /// Each of them.
    pub nodes: Vec<ConnectionInfo>,
    /// What they call the primary.
    pub name: String,
    /// How to log in at the primary.
    pub primary: RedisConnectionInfo,
    /// Of connections to the primary.
    pub tls: Option<TlsMode>,
}

/// A URL in parts. The driver reads URLs of one host only.
struct Parts<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    hosts: Vec<&'a str>,
    /// With its slash, or empty.
    path: &'a str,
    /// With its question mark, or empty.
    query: &'a str,
}

impl<'a> Parts<'a> {
    fn of(url: &'a str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        // Passwords may hold any character but those of the end of a host.
        let (user, rest) = rest.rsplit_once('@').map_or((None, rest), |(user, rest)| (Some(user), rest));
        let (rest, query) = rest.split_at(rest.find('?').unwrap_or(rest.len()));
        let (hosts, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let hosts = hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
        Some(Self { scheme, user, hosts, path, query })
    }

    /// The login, with its `@`.
    fn login(&self) -> String {
        self.user.map_or(String::new(), |user| format!("{user}@"))
    }
}

impl Address {
    pub fn parse(url: &str) -> RedisResult<Self> {
        let parts = Parts::of(url).filter(|parts| !parts.hosts.is_empty());
        match parts {
            Some(parts) if parts.scheme.ends_with(SENTINEL) => sentinels(&parts).map(Self::Sentinels),
            Some(parts) if parts.hosts.len() > 1 => {
                let Parts { scheme, path, query, .. } = parts;
                let login = parts.login();
                let node = |host: &&str| info(&format!("{scheme}://{login}{host}{path}{query}"));
                Ok(Self::Nodes(parts.hosts.iter().map(node).collect::<Result<_, _>>()?))
            }
            _ => info(url).map(Self::One),
        }
    }
}

fn sentinels(parts: &Parts<'_>) -> RedisResult<Sentinels> {
    let refused = |what: &'static str| redis::RedisError::from((ErrorKind::InvalidClientConfig, what));
    let scheme = parts.scheme.trim_end_matches(SENTINEL);
    let path = parts.path.trim_start_matches('/');
    let (name, db) = path.split_once('/').unwrap_or((path, ""));
    if name.is_empty() {
        return Err(refused("the primary's name is missing: redis+sentinel://host:26379,…/name"));
    }
    let query: Vec<_> = form_urlencoded::parse(parts.query.trim_start_matches('?').as_bytes()).collect();
    let own = |key: &str| query.iter().find(|(name, _)| name == key).map(|(_, value)| value.to_string());
    if query.iter().any(|(key, _)| !matches!(&**key, "sentinel_user" | "sentinel_password")) {
        return Err(refused("after `?`, only sentinel_user and sentinel_password are known"));
    }
    let node = |host: &&str| {
        let port = if has_port(host) { String::new() } else { format!(":{SENTINEL_PORT}") };
        let info = info(&format!("{scheme}://{host}{port}"))?;
        let mut login = info.redis_settings().clone();
        if let Some(user) = own("sentinel_user") {
            login = login.set_username(user);
        }
        if let Some(password) = own("sentinel_password") {
            login = login.set_password(password);
        }
        Ok(info.set_redis_settings(login))
    };
    let nodes = parts.hosts.iter().map(node).collect::<RedisResult<_>>()?;
    let primary = info(&format!("{scheme}://{}primary/{db}", parts.login()))?;
    let tls = (scheme == "rediss").then_some(TlsMode::Secure);
    Ok(Sentinels { nodes, name: name.to_owned(), primary: primary.redis_settings().clone(), tls })
}

/// An IPv6 address in brackets has colons of its own.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}

fn info(url: &str) -> RedisResult<ConnectionInfo> {
    Ok(url.into_connection_info()?.set_tcp_settings(tcp_settings()))
}

/// Small commands are sent at once. The kernel gives up a connection whose peer acknowledges nothing.
pub(super) fn tcp_settings() -> TcpSettings {
    let keepalive =
        TcpKeepalive::new().with_time(Duration::from_secs(10)).with_interval(Duration::from_secs(3));
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(Duration::from_secs(10));
    settings
}

/// The part of a URL that may be shown.
pub(super) fn shown(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    rest.split('?').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::ConnectionAddr;

    fn tcp(info: &ConnectionInfo) -> (String, u16) {
        match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                (host.clone(), *port)
            }
            _ => panic!("not by TCP"),
        }
    }

    fn login(info: &RedisConnectionInfo) -> (Option<&str>, Option<&str>, i64) {
        (info.username(), info.password(), info.db())
    }

    #[test]
    fn the_shown_address_has_no_password() {
        assert_eq!(shown("redis://user:p@ss@h:1/0"), "h:1/0");
        assert_eq!(shown("redis://h:1"), "h:1");
        assert_eq!(shown("redis+sentinel://a:1,b/m?sentinel_password=x"), "a:1,b/m");
    }

    #[test]
    fn several_hosts_are_nodes_with_the_same_login() {
        let Ok(Address::Nodes(nodes)) = Address::parse("redis://u:p,w@a, b:7001,[::1]:7002/0") else {
            panic!("not nodes")
        };
        let found: Vec<_> = nodes.iter().map(tcp).collect();
        assert_eq!(found, [("a".into(), 6379), ("b".into(), 7001), ("::1".into(), 7002)]);
        assert!(nodes.iter().all(|node| login(node.redis_settings()) == (Some("u"), Some("p,w"), 0)));
    }

    #[test]
    fn one_host_is_one_server() {
        assert!(matches!(Address::parse("redis://h:1/2"), Ok(Address::One(_))));
        assert!(matches!(Address::parse("rediss://h"), Ok(Address::One(_))));
        assert!(Address::parse("http://h").is_err());
        assert!(Address::parse("redis://a,b:port").is_err());
    }

    #[test]
    fn sentinels_have_their_own_port_and_login() {
        let url = "redis+sentinel://:pw@s1,s2:5/main/3?sentinel_password=s%40e";
        let Ok(Address::Sentinels(found)) = Address::parse(url) else { panic!("not Sentinels") };
        assert_eq!(found.nodes.iter().map(tcp).collect::<Vec<_>>(), [("s1".into(), 26379), ("s2".into(), 5)]);
        assert!(found.nodes.iter().all(|node| login(node.redis_settings()) == (None, Some("s@e"), 0)));
        assert_eq!((found.name.as_str(), login(&found.primary)), ("main", (None, Some("pw"), 3)));
        assert!(found.tls.is_none());
    }

    #[test]
    fn sentinels_without_a_name_or_with_an_unknown_option_are_refused() {
        for (url, reason) in [
            ("redis+sentinel://s1", "name is missing"),
            ("redis+sentinel://s1/", "name is missing"),
            ("redis+sentinel://s1/main?password=x", "sentinel_password"),
        ] {
            let error = Address::parse(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
