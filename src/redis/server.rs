//! Which servers may hold the schedule: no limit is safe on one that loses keys.

use redis::InfoDict;

/// The oldest Redis whose scripting the scripts work with.
pub const REDIS_MIN: u32 = 7;
/// Likewise of Valkey, which also reports the Redis version that it is compatible with.
pub const VALKEY_MIN: u32 = 8;

/// Why a server must not hold the schedule: what is wrong, why it matters, what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsuitable {
    /// It may drop keys when memory runs short.
    #[error(
        "its maxmemory-policy is {policy}, so it may evict what was spent of a quota, and then limits are broken; set \
         maxmemory-policy noeviction there"
    )]
    Evicts {
        /// As INFO reports it.
        policy: String,
    },
    /// The scripts need a newer one.
    #[error(
        "it is {product} {version}, and the scripts need Redis {REDIS_MIN} or Valkey {VALKEY_MIN}; upgrade it, or set \
         redis.url to a newer server"
    )]
    TooOld {
        /// Redis or Valkey.
        product: &'static str,
        /// As INFO reports it.
        version: String,
    },
    /// It follows another server.
    #[error(
        "it is a replica, which takes no writes and may lag behind its primary, so nothing can be granted there; set \
         redis.url to the primary"
    )]
    Replica,
}

/// What is wrong with the server that reports this; `None` if it may hold the schedule.
pub(super) fn unsuitable(info: &InfoDict) -> Option<Unsuitable> {
    let field = |name: &str| info.get::<String>(name);
    let unknown = || "not in its INFO".to_owned();
    let valkey = field("valkey_version");
    let (product, min) = if valkey.is_some() { ("Valkey", VALKEY_MIN) } else { ("Redis", REDIS_MIN) };
    let version = valkey.or_else(|| field("redis_version"));
    let major = version.as_deref().and_then(|text| text.split('.').next()?.parse::<u32>().ok());
    if major.is_none_or(|major| major < min) {
        return Some(Unsuitable::TooOld { product, version: version.unwrap_or_else(unknown) });
    }
    if matches!(field("role").as_deref(), Some("slave" | "replica")) {
        return Some(Unsuitable::Replica);
    }
    match field("maxmemory_policy") {
        Some(policy) if policy == "noeviction" => None,
        policy => Some(Unsuitable::Evicts { policy: policy.unwrap_or_else(unknown) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(version: &str, role: &str, policy: &str) -> Option<Unsuitable> {
        let text = format!("# Server\r\n{version}\r\n# Replication\r\nrole:{role}\r\n{policy}\r\n");
        unsuitable(&InfoDict::new(&text))
    }

    const NOEVICTION: &str = "maxmemory_policy:noeviction";

    #[test]
    fn version_must_be_recent() {
        let too_old = |product, version: &str| Some(Unsuitable::TooOld { product, version: version.into() });
        assert_eq!(judged("redis_version:7.0.15", "master", NOEVICTION), None);
        assert_eq!(judged("redis_version:10.1.0", "master", NOEVICTION), None);
        assert_eq!(judged("redis_version:6.2.14", "master", NOEVICTION), too_old("Redis", "6.2.14"));
        assert_eq!(judged("", "master", NOEVICTION), too_old("Redis", "not in its INFO"));
        // Valkey reports 7.2.4 as its Redis version, whatever its own is.
        let valkey = |own: &str| format!("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:{own}");
        assert_eq!(judged(&valkey("8.1.1"), "master", NOEVICTION), None);
        assert_eq!(judged(&valkey("7.2.9"), "master", NOEVICTION), too_old("Valkey", "7.2.9"));
    }

    #[test]
    fn replica_is_unsuitable() {
        assert_eq!(judged("redis_version:7.2.4", "slave", NOEVICTION), Some(Unsuitable::Replica));
    }

    #[test]
    fn policy_must_be_known_to_evict_nothing() {
        let evicts = |policy: &str| Some(Unsuitable::Evicts { policy: policy.into() });
        for policy in ["allkeys-lru", "volatile-ttl"] {
            let line = format!("maxmemory_policy:{policy}");
            assert_eq!(judged("redis_version:7.2.4", "master", &line), evicts(policy));
        }
        assert_eq!(judged("redis_version:7.2.4", "master", ""), evicts("not in its INFO"));
    }
}
