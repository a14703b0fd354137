//! Connections: accounts at providers, with sealed secrets.

use crate::postgres::{Pool, PostgresError};
use crate::preference::tenants::room;
use crate::seal::{SealError, Sealer};
use crate::words::text::excerpt;
use crate::words::{
    Connection, ConnectionId, ConnectionState, Label, ProviderName, Secrets, TenantId, TextError, Token,
    UnixMs,
};
use std::collections::BTreeMap;

/// A connection to be added.
#[derive(Debug)]
pub struct NewConnection {
    /// The tenant.
    pub tenant: TenantId,
    /// The provider.
    pub provider: ProviderName,
    /// Its label.
    pub label: Label,
    /// The params that the provider's templates use.
    pub params: BTreeMap<String, String>,
    /// The secrets that the provider needs.
    pub secrets: Secrets,
}

/// A connection and its provider.
#[derive(Debug, Clone)]
pub struct ConnectionRef {
    /// The id.
    pub id: ConnectionId,
    /// The provider's name.
    pub provider: String,
}

/// A connection in a list, without its secrets.
#[derive(Debug, Clone, serde::Serialize, utoipa::ToSchema)]
pub struct ConnectionRow {
    /// Its number.
    pub id: i64,
    /// Its label.
    pub label: String,
    /// The provider's name.
    pub provider: String,
    /// Its plan; none if the provider's default applies.
    pub plan: Option<String>,
    /// `active`; `needs_reauth` (the provider refuses its credential, or its owner must authorize it); `paused`, by a
    /// person; or `closed`: its secrets are deleted, and its devices and their history are kept.
    #[schema(example = "active")]
    pub state: String,
    /// Why it is in that state, if known.
    pub reason: Option<String>,
    /// The number of its devices.
    pub devices: i64,
    /// When its devices were last listed.
    pub discovery_at: Option<chrono::DateTime<chrono::Utc>>,
    /// Why listing its devices failed; none if it succeeded.
    pub discovery_error: Option<String>,
}

/// An error of adding, finding or opening a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The tenant has a connection of this label at the provider.
    #[error("{provider} already has a connection labelled {:?} for this tenant: choose another label", .label.as_str())]
    Taken {
        /// The provider.
        provider: String,
        /// The label.
        label: Label,
    },
    /// The tenant has as many connections as it may have.
    #[error(
        "you have {max} connections, as many as a tenant may have: remove one that you do not need, or ask the \
         operator for more"
    )]
    TooMany {
        /// The limit.
        max: u32,
    },
    /// It has no secrets any more.
    #[error(
        "connection {0} is closed and has no secrets any more: `paceline connection secret` gives it new ones"
    )]
    Closed(ConnectionId),
    /// It has other secrets now, or was closed or removed.
    #[error("connection {0} was changed or closed while its owner authorized it: authorize it again")]
    Changed(ConnectionId),
    /// No connection has this label, or several have.
    #[error("no single connection is labelled {:?} for this tenant", excerpt(.0))]
    Unknown(String),
    /// It cannot be a label.
    #[error(transparent)]
    Label(#[from] TextError),
    /// Sealing or opening failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The database.
    #[error(transparent)]
    Postgres(#[from] PostgresError),
}

/// Stores a connection with its secrets in one transaction, however many the tenant has.
pub async fn add(pool: &Pool, sealer: &Sealer, new: NewConnection) -> Result<ConnectionId, ConnectionError> {
    add_within(pool, sealer, new, None).await
}

/// [`add`], unless the tenant has so many connections already.
pub async fn add_within(
    pool: &Pool,
    sealer: &Sealer,
    new: NewConnection,
    max: Option<u32>,
) -> Result<ConnectionId, ConnectionError> {
    let failed = || PostgresError::on("add the connection");
    let mut tx = pool.begin().await.map_err(failed())?;
    if let Some(max) = max {
        room::hold(&mut tx, new.tenant).await?;
        if room::connections(&mut tx, new.tenant).await? >= u64::from(max) {
            return Err(ConnectionError::TooMany { max });
        }
    }
    let params = serde_json::json!(new.params);
    let id = sqlx::query_scalar!(
        "INSERT INTO connections (tenant_id, provider, label, params) VALUES ($1, $2, $3, $4)
         ON CONFLICT (tenant_id, provider, label) DO NOTHING RETURNING connection_id",
        new.tenant.0,
        new.provider.as_str(),
        new.label.as_str(),
        params
    )
    .fetch_optional(&mut tx)
    .await
    .map_err(failed())?;
    let Some(id) = id.map(ConnectionId) else {
        return Err(ConnectionError::Taken { provider: new.provider.to_string(), label: new.label });
    };
    if !new.secrets.is_empty() {
        // Sealed second, because the seal is bound to the id.
        let sealed = sealer.seal_secrets(id, &new.secrets)?;
        sqlx::query!(
            "UPDATE connections SET secret_sealed = $3 WHERE tenant_id = $1 AND connection_id = $2",
            new.tenant.0,
            id.0,
            sealed
        )
        .execute(&mut tx)
        .await
        .map_err(failed())?;
    }
    tx.commit().await.map_err(failed())?;
    Ok(id)
}

/// The connection of this label or number.
pub async fn find(pool: &Pool, tenant: TenantId, label: &str) -> Result<ConnectionRef, ConnectionError> {
    let rows = sqlx::query!(
        "SELECT connection_id, provider FROM connections
         WHERE tenant_id = $1 AND (label = $2 OR connection_id::text = $2)",
        tenant.0,
        label
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("find the connection"))?;
    match rows.as_slice() {
        [row] => Ok(ConnectionRef { id: ConnectionId(row.connection_id), provider: row.provider.clone() }),
        _ => Err(ConnectionError::Unknown(label.to_owned())),
    }
}

/// The connection of this number.
pub async fn by_number(pool: &Pool, tenant: TenantId, id: i64) -> Result<ConnectionRef, ConnectionError> {
    let provider = sqlx::query_scalar!(
        "SELECT provider FROM connections WHERE tenant_id = $1 AND connection_id = $2",
        tenant.0,
        id
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("find the connection"))?;
    let found = provider.map(|provider| ConnectionRef { id: ConnectionId(id), provider });
    found.ok_or_else(|| ConnectionError::Unknown(id.to_string()))
}

/// Those of these connections that exist.
pub async fn existing(pool: &Pool, ids: &[i64]) -> Result<Vec<i64>, PostgresError> {
    sqlx::query_scalar!(
        "-- All tenants: the check finds connections of any.
                         SELECT connection_id FROM connections WHERE connection_id = ANY($1)",
        ids
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("find the connections"))
}

/// Whose a connection is, and what its owner calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionName {
    /// The connection.
    pub id: ConnectionId,
    /// Its tenant.
    pub tenant: String,
    /// Its label.
    pub label: String,
}

/// The names of these connections, of all tenants.
pub async fn names(pool: &Pool, ids: &[i64]) -> Result<Vec<ConnectionName>, PostgresError> {
    let rows = sqlx::query!(
        "-- All tenants: the operator's list of holds.
         SELECT c.connection_id, t.name, c.label FROM connections c JOIN tenants t USING (tenant_id)
         WHERE c.connection_id = ANY($1)",
        ids
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the connections' names"))?;
    let name = |(id, tenant, label)| ConnectionName { id: ConnectionId(id), tenant, label };
    Ok(rows.into_iter().map(|row| name((row.connection_id, row.name, row.label))).collect())
}

/// A tenant's connections, ordered by label.
pub async fn list(pool: &Pool, tenant: TenantId) -> Result<Vec<ConnectionRow>, PostgresError> {
    rows(pool, tenant, None).await
}

/// The connection of this number.
pub async fn one(pool: &Pool, tenant: TenantId, id: i64) -> Result<ConnectionRow, ConnectionError> {
    let found = rows(pool, tenant, Some(id)).await?.pop();
    found.ok_or_else(|| ConnectionError::Unknown(id.to_string()))
}

async fn rows(pool: &Pool, tenant: TenantId, only: Option<i64>) -> Result<Vec<ConnectionRow>, PostgresError> {
    sqlx::query_as!(
        ConnectionRow,
        r#"SELECT connection_id AS id, label, provider, params->>'plan' AS plan, state, state_reason AS reason,
                  (SELECT count(*) FROM devices d
                   WHERE d.tenant_id = c.tenant_id AND d.connection_id = c.connection_id) AS "devices!",
                  discovery_at, discovery_error
           FROM connections c WHERE tenant_id = $1 AND ($2::bigint IS NULL OR connection_id = $2)
           ORDER BY label, provider"#,
        tenant.0,
        only
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("list the connections"))
}

/// Opens these connections, whatever their state. `counted`: with the number of their devices.
pub async fn open(
    pool: &Pool,
    sealer: &Sealer,
    ids: &[i64],
    counted: bool,
) -> Result<Vec<Connection>, PostgresError> {
    let rows = sqlx::query_as!(
        Sealed,
        r#"-- All tenants: calls that are granted together are of any.
           SELECT c.tenant_id AS "tenant_id!", c.connection_id AS "connection_id!", c.provider AS "provider!",
                  c.params AS "params!", c.bootstrap AS "bootstrap!", c.bootstrap_of,
                  c.secrets_version AS "secrets_version!", c.secret_sealed, c.state AS "state!",
                  CASE WHEN $2 THEN (SELECT count(*) FROM devices d WHERE d.tenant_id = c.tenant_id
                                     AND d.connection_id = c.connection_id) ELSE 0 END AS "devices!",
                  t.sealed AS "token?", t.generation AS "generation?", t.renew_at, t.expires_at
           FROM connections c LEFT JOIN tokens t USING (tenant_id, connection_id)
           WHERE c.connection_id = ANY($1)"#,
        ids,
        counted
    )
    .fetch_all(pool)
    .await
    .map_err(PostgresError::on("read the connections"))?;
    let open = |row: Sealed| {
        let id = row.connection_id;
        let opened = row.open(sealer);
        opened.inspect_err(|error| tracing::error!(connection = id, %error, "connection left out")).ok()
    };
    Ok(rows.into_iter().filter_map(open).collect())
}

/// Opens one connection, in any state.
pub async fn open_any(
    pool: &Pool,
    sealer: &Sealer,
    tenant: TenantId,
    id: ConnectionId,
) -> Result<Connection, ConnectionError> {
    let row = sqlx::query_as!(
        Sealed,
        r#"-- All tenants: calls that are granted together are of any.
           SELECT c.tenant_id AS "tenant_id!", c.connection_id AS "connection_id!", c.provider AS "provider!",
                  c.params AS "params!", c.bootstrap AS "bootstrap!", c.bootstrap_of,
                  c.secrets_version AS "secrets_version!", c.secret_sealed, c.state AS "state!",
                  0::bigint AS "devices!",
                  t.sealed AS "token?", t.generation AS "generation?", t.renew_at, t.expires_at
           FROM connections c LEFT JOIN tokens t USING (tenant_id, connection_id)
           WHERE c.tenant_id = $1 AND c.connection_id = $2"#,
        tenant.0,
        id.0
    )
    .fetch_optional(pool)
    .await
    .map_err(PostgresError::on("read the connection"))?;
    Ok(row.ok_or_else(|| ConnectionError::Unknown(id.to_string()))?.open(sealer)?)
}

/// A stored connection.
struct Sealed {
    tenant_id: i64,
    connection_id: i64,
    provider: String,
    params: serde_json::Value,
    bootstrap: serde_json::Value,
    bootstrap_of: Option<String>,
    secrets_version: i64,
    secret_sealed: Option<Vec<u8>>,
    state: String,
    devices: i64,
    token: Option<Vec<u8>>,
    generation: Option<i64>,
    renew_at: Option<chrono::DateTime<chrono::Utc>>,
    expires_at: Option<chrono::DateTime<chrono::Utc>>,
}

impl Sealed {
    fn open(self, sealer: &Sealer) -> Result<Connection, SealError> {
        let id = ConnectionId(self.connection_id);
        let secrets = self.secret_sealed.map(|sealed| sealer.open_secrets(id, &sealed)).transpose()?;
        let kept = self.token.as_deref().map(|sealed| sealer.open_token(id, sealed)).transpose()?;
        let token = kept.map(|(access, refresh)| Token {
            access,
            refresh,
            generation: self.generation.unwrap_or(0),
            renew_at: self.renew_at.map(UnixMs::from),
            expires_at: self.expires_at.map(UnixMs::from),
        });
        Ok(Connection {
            id,
            tenant: TenantId(self.tenant_id),
            // Checked before it was stored.
            provider: self.provider.parse().map_err(|_| SealError::Unopenable(id))?,
            params: serde_json::from_value(self.params).unwrap_or_default(),
            bootstrap: serde_json::from_value(self.bootstrap).unwrap_or_default(),
            bootstrap_of: self.bootstrap_of,
            devices: u32::try_from(self.devices).unwrap_or(u32::MAX),
            secrets_version: self.secrets_version,
            state: ConnectionState::from_name(&self.state).unwrap_or(ConnectionState::Closed),
            secrets: secrets.unwrap_or_default(),
            token,
        })
    }
}
