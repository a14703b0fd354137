//! Logins of Postgres that read one tenant's views: what they see, and what they must not.

use crate::support::TestApp;
use paceline::preference::{sql_readers, tenants};
use paceline::words::TenantId;
use secrecy::ExposeSecret;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection};
use std::str::FromStr;

/// A device of the tenant with a reading, its latest value and a roll-up; all say who it is.
async fn fill(t: &TestApp, tenant: TenantId, device: i64, word: &str) {
    let sql = format!(
        "WITH c AS (INSERT INTO connections (tenant_id, provider, label, params, secret_sealed)
                    VALUES ({tenant}, 'meadow', '{word}', '{{\"key\": \"param of {word}\"}}', 'sealed {word}')
                    RETURNING connection_id)
         INSERT INTO devices (tenant_id, device_id, connection_id, external_id, name) OVERRIDING SYSTEM VALUE
         SELECT {tenant}, {device}, connection_id, '{word}', '{word}' FROM c;
         INSERT INTO latest (tenant_id, device_id, resource, job_id, fetched_at, changed_at, online, \"values\",
                             content_hash, fence)
         VALUES ({tenant}, {device}, 'state', 1, now(), now(), true, '{{\"t\": 20.5, \"who\": \"{word}\"}}', '', 0);
         INSERT INTO readings (tenant_id, device_id, resource, fetched_at, online, \"values\")
         VALUES ({tenant}, {device}, 'state', now(), true, '{{\"t\": 20.5, \"on\": true, \"who\": \"{word}\"}}');
         SELECT ensure_rollups('2026-03-10');
         INSERT INTO rollups VALUES ({tenant}, {device}, 'state', 2, '2026-03-10Z', '2026-03-10Z', NULL, '2026-03-10Z',
             true, 3, 0, 0, '{{\"t\": [3, 2, 41.0, 20.0, 21.0, 62.0, 3, \"{word}\", true]}}')"
    );
    t.app.pool.execute(AssertSqlSafe(sql)).await.unwrap();
}

/// What a login sees; roles are the server's, so names are unique to the test's database.
struct Reader {
    name: String,
    connection: PgConnection,
}

impl Reader {
    async fn new(t: &TestApp, tenant: TenantId, who: &str) -> Self {
        let options = PgConnectOptions::from_str(t.database_url.expose_secret()).unwrap();
        let name = format!("{who}_{}", options.get_database().unwrap());
        let password = sql_readers::create(&t.app.pool, tenant, &name).await.unwrap();
        let options = options.username(&name).password(password.expose_secret());
        Self { name, connection: options.connect().await.unwrap() }
    }

    async fn texts(&mut self, sql: &str) -> Vec<String> {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::query_scalar(sql).fetch_all(&mut self.connection).await.unwrap()
    }

    async fn refusal(&mut self, sql: &str) -> String {
        let sql = AssertSqlSafe(sql.to_owned());
        self.connection.execute(sql).await.expect_err("it must be refused").to_string()
    }
}

#[tokio::test]
async fn login_sees_the_views_of_its_tenant_and_nothing_else() {
    let t = TestApp::with(&[]).await;
    let other = tenants::ensure(&t.app.pool, "other").await.unwrap();
    fill(&t, t.tenant, 901, "ours").await;
    fill(&t, other, 902, "theirs").await;
    let mut reader = Reader::new(&t, t.tenant, "ours").await;
    let mut stranger = Reader::new(&t, other, "theirs").await;
    for (reader, word) in [(&mut reader, "ours"), (&mut stranger, "theirs")] {
        assert_eq!(reader.texts("SELECT device FROM dashboard.devices").await, [word]);
        assert_eq!(reader.texts("SELECT text FROM latest WHERE value = 'who'").await, [word]);
        assert_eq!(reader.texts("SELECT text FROM readings WHERE value = 'who'").await, [word]);
        assert_eq!(reader.texts("SELECT last FROM rollups").await, [word]);
    }
    let numbers =
        "SELECT concat_ws(' ', level, readings, avg, min, max, round(time_avg::numeric, 3)) FROM rollups";
    assert_eq!(reader.texts(numbers).await, ["1h 3 20.5 20 21 20.667"]);
    let number = "SELECT number::text FROM readings WHERE value <> 'who' ORDER BY value";
    assert_eq!(reader.texts(number).await, ["1", "20.5"]);

    for sql in [
        "SELECT * FROM public.readings",
        "SELECT * FROM public.connections",
        "SELECT * FROM public.api_keys",
        "SELECT * FROM public.tokens",
        "SELECT * FROM public.sql_readers",
        "SELECT * FROM public.sealing_canary",
        "SELECT * FROM public.rollups_1h_202603",
        "SELECT pg_read_file('postmaster.pid')",
        "INSERT INTO dashboard.devices (device_id) VALUES (1)",
        "DELETE FROM public.readings",
        "SET ROLE paceline",
    ] {
        let refusal = reader.refusal(sql).await;
        assert!(refusal.contains("denied") || refusal.contains("cannot"), "{sql}: {refusal}");
        reader.connection.execute("SET default_transaction_read_only = off").await.unwrap();
        let refusal = reader.refusal(sql).await;
        assert!(refusal.contains("denied") || refusal.contains("cannot"), "{sql}: {refusal}");
    }
    // A condition that tells what it is shown is shown nothing of others.
    reader
        .connection
        .execute(
            "CREATE FUNCTION pg_temp.tell(word text) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
             BEGIN IF word = 'theirs' THEN RAISE 'saw %', word; END IF; RETURN true; END $$",
        )
        .await
        .unwrap();
    for (view, column) in
        [("devices", "device"), ("latest", "text"), ("readings", "text"), ("rollups", "last")]
    {
        let sql = format!("SELECT {column} FROM {view} WHERE pg_temp.tell({column})");
        assert!(!reader.texts(&sql).await.is_empty(), "{view}");
    }

    let again = sql_readers::create(&t.app.pool, other, &reader.name).await.unwrap_err().to_string();
    assert!(again.contains("another name"), "{again}");
    let foreign = sql_readers::drop(&t.app.pool, other, &reader.name).await.unwrap_err().to_string();
    assert!(foreign.contains("sql-reader list"), "{foreign}");
    sql_readers::drop(&t.app.pool, t.tenant, &reader.name).await.unwrap();
    assert!(sql_readers::list(&t.app.pool, t.tenant).await.unwrap().is_empty());
    sql_readers::drop(&t.app.pool, other, &stranger.name).await.unwrap();
    let unseen = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM dashboard.readings");
    assert_eq!(unseen.fetch_one(&t.app.pool).await.unwrap(), 0, "not even its owner is a tenant");
}

#[tokio::test]
async fn name_that_is_no_plain_name_is_refused() {
    let t = TestApp::with(&[]).await;
    for name in
        ["", "pg_read_all_data", "a b", "a\"; DROP TABLE tenants; --", "A", "1a", "a-b", &"a".repeat(64)]
    {
        let refused = sql_readers::create(&t.app.pool, t.tenant, name).await.unwrap_err().to_string();
        assert!(refused.contains("lower-case"), "{name}: {refused}");
    }
    // A row without its role, of another tenant, is not taken over.
    sqlx::query("INSERT INTO sql_readers VALUES ('left_over_from_before', $1)")
        .bind(tenants::ensure(&t.app.pool, "other").await.unwrap().0)
        .execute(&t.app.pool)
        .await
        .unwrap();
    let taken = sql_readers::create(&t.app.pool, t.tenant, "left_over_from_before").await.unwrap_err();
    assert!(taken.to_string().contains("another name"), "{taken}");
}
