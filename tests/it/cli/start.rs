//! Reasons why a command cannot start: each gives exit code 2 and one line.

use super::Binary;
use crate::private_redis::{PrivateRedis, free_port};
use crate::support::server;
use paceline::local::{self, Durability};
use secrecy::ExposeSecret;
use std::os::unix::fs::PermissionsExt;

#[tokio::test]
async fn bad_settings_are_refused() {
    let binary = Binary::new().await;
    let typo = binary.file("typo.toml", "[take]\nhorizn = \"1s\"\n");
    binary.run(&format!("lag --config {typo}")).refused(2, &["settings: ", "horizn", "config/default.toml"]);
    binary.run("lag --config nowhere.toml").refused(2, &["nowhere.toml"]);
    let binary = binary.set("PACELINE__SECRET__KEY", "short");
    binary.run("lag").refused(2, &["32 bytes in base64", "openssl rand"]);
    let binary = binary.set("PACELINE__SECRET__KEY", "").set("PACELINE__SECRET__KEY_FILE", "/nowhere/key");
    binary.run("lag").refused(2, &["/nowhere/key", "secret.key_file"]);
    let binary = binary.set("PACELINE__SECRET__KEY_FILE", "");
    binary.run("lag").refused(2, &["no sealing key", "openssl rand", "PACELINE__SECRET__KEY"]);
}

#[tokio::test]
async fn unreachable_servers_are_named_without_their_password() {
    let binary = Binary::new().await.set("PACELINE__REDIS__URL", "redis://:hunter2@127.0.0.1:1");
    let run = binary.run("lag");
    run.refused(2, &["cannot reach Redis at 127.0.0.1:1", "redis.url"]);
    assert!(!run.err.contains("hunter2"), "{run:?}");
    let binary = binary
        .set("PACELINE__REDIS__URL", &server("PACELINE_TEST_REDIS_URL"))
        .set("PACELINE__DATABASE__URL", "postgres://paceline:hunter2@127.0.0.1:1/paceline");
    for command in ["lag", "migrate"] {
        let run = binary.run(command);
        run.refused(2, &["cannot reach Postgres at 127.0.0.1:1/paceline", "database.url"]);
        assert!(!run.err.contains("hunter2"), "{run:?}");
    }
    let json = binary.run("lag --json");
    assert!(serde_json::from_str::<serde_json::Value>(&json.err).expect("JSON")["error"].is_string());
    let binary = binary.set("PACELINE__DATABASE__URL", "localhost/paceline");
    binary.run("lag").refused(2, &["database.url", "postgres://user:password@host"]);
}

#[tokio::test]
async fn replica_that_refuses_the_login_or_follows_nobody_is_refused() {
    let database = server("PACELINE_TEST_DATABASE_URL");
    let (_, at) = database.rsplit_once('@').unwrap();
    let stranger = format!("postgres://nobody-known:hunter2@{at}");
    let binary = Binary::new().await.set("PACELINE__HTTP__LISTEN", "127.0.0.1:0");
    let binary = binary.set("PACELINE__DATABASE__READ_URL", &stranger);
    let run = binary.run("serve --roles api");
    run.refused(2, &["cannot reach Postgres at 127.0.0.1:", "nobody-known", "database.read_url"]);
    assert!(!run.err.contains("hunter2"), "{run:?}");
    // A short command reads at the primary instead, and says so.
    let run = binary.run("lag");
    assert!(
        run.code == Some(0) && run.err.contains("read from the primary") && run.err.contains("nobody-known"),
        "{run:?}"
    );
    let binary = binary.set("PACELINE__DATABASE__READ_URL", &database);
    binary.run("serve --roles api").refused(2, &["(database.read_url): it follows no other"]);
    let binary = binary.set("PACELINE__DATABASE__READ_URL", "localhost/x");
    binary.run("lag").refused(2, &["database.read_url is not a Postgres URL"]);
}

#[tokio::test]
async fn redis_that_may_evict_or_is_a_replica_is_refused() {
    let server = PrivateRedis::start().await;
    // As on managed servers: INFO is allowed, CONFIG is not.
    server.say("ACL SETUSER managed on >hunter2 ~* &* +@all -config").await;
    let url = server.url.replace("redis://", "redis://managed:hunter2@");
    let binary = Binary::new().await.set("PACELINE__REDIS__URL", &url);
    binary.run("lag").ok();
    server.say("CONFIG SET maxmemory-policy volatile-lru").await;
    for command in ["lag", "serve --roles fetch"] {
        let run = binary.run(command);
        let sentence =
            ["cannot use the Redis at 127.0.0.1:", "volatile-lru", "limits are broken", "policy noeviction"];
        run.refused(2, &sentence);
        assert!(!run.err.contains("hunter2"), "{run:?}");
        assert_eq!(run.err.lines().count(), 1, "{run:?}");
    }
    server.say("CONFIG SET maxmemory-policy noeviction").await;
    server.say("REPLICAOF 127.0.0.1 1").await;
    binary.run("lag").refused(2, &["it is a replica", "redis.url to the primary"]);
}

#[tokio::test]
async fn redis_behind_tls_is_used_if_its_certificate_is_trusted() {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name).display().to_string());
    std::fs::write(&cert, own.cert.pem()).unwrap();
    std::fs::write(&key, own.signing_key.serialize_pem()).unwrap();
    let port = free_port().to_string();
    let files = ["--tls-cert-file", &cert, "--tls-key-file", &key, "--tls-ca-cert-file", &cert];
    let tls = ["--tls-port", &port, "--tls-auth-clients", "no"];
    let _server = PrivateRedis::with(&[tls.as_slice(), &files].concat()).await;
    let binary = Binary::new().await.set("PACELINE__REDIS__URL", &format!("rediss://localhost:{port}/"));
    binary.run("lag").refused(2, &["cannot reach Redis at localhost:", "certificate", "redis.url"]);
    binary.set("SSL_CERT_FILE", &cert).run("lag").ok();
}

#[tokio::test]
async fn redis_urls_that_cannot_work_are_refused() {
    let binary = Binary::new().await.set("PACELINE__REDIS__URL", "redis+sentinel://:hunter2@127.0.0.1:1");
    let run = binary.run("lag");
    run.refused(2, &["the primary's name is missing", "redis.url"]);
    assert!(!run.err.contains("hunter2"), "{run:?}");
    let binary = binary.set("PACELINE__REDIS__URL", "redis+sentinel://:hunter2@127.0.0.1:1/main");
    let run = binary.run("lag");
    run.refused(2, &["cannot reach Redis at 127.0.0.1:1/main", "redis.url"]);
    assert!(!run.err.contains("hunter2"), "{run:?}");
    // Two servers that are no cluster.
    let (one, other) = (PrivateRedis::start().await, PrivateRedis::start().await);
    let url = format!("redis://127.0.0.1:{},127.0.0.1:{}", one.port, other.port);
    binary.set("PACELINE__REDIS__URL", &url).run("lag").refused(2, &["cannot reach Redis at", "luster"]);
}

#[tokio::test]
async fn postgres_that_takes_no_writes_is_refused() {
    let binary = Binary::new().await;
    let pool = &binary.app.as_ref().expect("an app").app.pool;
    binary.run("lag").ok();
    let database: String = sqlx::query_scalar("SELECT current_database()").fetch_one(pool).await.unwrap();
    let read_only = format!("ALTER DATABASE {database} SET default_transaction_read_only = on");
    sqlx::query(sqlx::AssertSqlSafe(read_only)).execute(pool).await.unwrap();
    for command in ["lag", "migrate", "serve --roles fetch"] {
        let run = binary.run(command);
        run.refused(
            2,
            &["cannot use the Postgres at ", &database, "read only", "default_transaction_read_only"],
        );
        assert_eq!(run.err.lines().count(), 1, "{run:?}");
    }
}

#[tokio::test]
async fn bad_provider_definition_is_named_with_its_line() {
    let binary = Binary::new().await;
    let text = "title = \"Acme\"\n[http]\nbase_uri = \"https://x\"\n[resource.state]\npath = \"/\"\nrecords = \".\"\n\
                interval_min = \"10s\"\ninterval_default = \"1m\"\n";
    let file = binary.file("providers/acme.toml", text);
    let dir = binary.dir.path().join("providers").display().to_string();
    let binary = binary.set("PACELINE__PROVIDERS__DIR", &dir);
    binary.run("lag").refused(2, &[&format!("{file}:3: "), "did you mean `base_url`?"]);
    let binary = binary.set("PACELINE__PROVIDERS__DIR", "/nowhere");
    binary.run("lag").refused(2, &["/nowhere", "providers.dir"]);
}

/// The test Postgres accepts any password, so this test uses private servers, which do not.
#[tokio::test]
async fn unmigrated_database_and_wrong_password_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let servers = local::start(dir.path(), Durability::Scratch).await.unwrap();
    let url = servers.database_url.expose_secret();
    let (before, host) = url.rsplit_once('@').unwrap();
    let (user, password) = before.rsplit_once(':').unwrap();
    let binary = Binary::bare()
        .set("PACELINE__DATABASE__URL", url)
        .set("PACELINE__REDIS__URL", servers.redis_url.expose_secret())
        .set("PACELINE__SECRET__KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=");
    binary.run("lag").refused(2, &["lacks", "paceline migrate"]);
    assert!(binary.run("migrate").ok().out.contains("up to date"));
    assert_eq!(binary.json("migrate")["migrated"], true);
    binary.run("lag").ok();

    let binary = binary.set("PACELINE__DATABASE__URL", &format!("{user}:wr0ng@{host}"));
    let run = binary.run("lag");
    run.refused(2, &["cannot reach Postgres", "password authentication failed"]);
    assert!(!run.err.contains("wr0ng") && !run.err.contains(password), "{run:?}");
    servers.stop().await.unwrap();
}

#[test]
fn private_servers_and_a_key_are_created_if_nothing_is_configured() {
    let binary = Binary::bare();
    let created = binary.json("key create --tenant acme --role user");
    assert_eq!(binary.json("key list --tenant acme")["keys"][0]["id"], created["id"]);
    let key = binary.dir.path().join(".paceline/secret.key");
    assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);

    binary.run("key list --tenant nobody").refused(1, &["no tenant"]);
    for place in [".paceline", ".paceline/elsewhere"] {
        let pid = binary.dir.path().join(place).join("postgres/data/postmaster.pid");
        assert!(!pid.exists(), "the servers stop after an error too");
    }
}
