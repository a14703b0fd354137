//! Device import: lines are read one by one, checked, merged by device, and added in batches.
//!
//! Only a batch and a few words per device are in memory, so that files of any length can be imported.

mod csv;
mod lines;
mod merge;
mod ndjson;
mod row;
mod rows;
mod rules;

pub use row::{Row, RowJob};
pub use rows::Format;
pub use rules::check;

use super::batch::{self, NewDevice, Origin, TenantConnection};
use crate::postgres::{Pool, PostgresError, Transaction};
use crate::preference::jobs::defaults::{self, Whose};
use crate::preference::tenants;
use crate::provider::Provider;
use crate::words::{Interval, Priority, ResourceName};
use merge::Merge;
use rows::Rows;
use std::io::{self, BufRead};

/// The most devices in one batch.
const BATCH: usize = 1000;

/// A device from a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The device with the jobs that the file names.
    pub device: NewDevice,
    /// Default jobs that the file does not name; an existing device keeps its own.
    pub by_default: Vec<(ResourceName, Interval, Priority)>,
}

/// A refused row.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, utoipa::ToSchema, thiserror::Error)]
#[error("row {row}: {error}")]
pub struct RowError {
    /// The line number, from 1.
    pub row: u64,
    /// The reason.
    pub error: String,
}

/// The progress of an import.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Tally {
    /// Rows read, header and blank lines not counted.
    pub read: u64,
    /// Rows that were added.
    pub added: u64,
    /// Rows that were refused.
    pub refused: u64,
    /// Distinct devices in the rows that were not refused.
    pub devices: u64,
}

/// An error that ends an import early.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be read.
    #[error("cannot read past row {row}: {source}")]
    Unreadable {
        /// The last row that was read.
        row: u64,
        /// The cause.
        source: io::Error,
    },
    /// The header is invalid.
    #[error("row {row}: {error}")]
    Header {
        /// Its line number.
        row: u64,
        /// The reason.
        error: String,
    },
    /// The tenant has no room for more devices.
    #[error(
        "stopped at row {row} with {added} rows added: you may have {max} devices; remove some that you do not need, \
         or ask the operator for more"
    )]
    Full {
        /// The last row that was read.
        row: u64,
        /// The number of rows that were added.
        added: u64,
        /// The limit.
        max: u32,
    },
    /// The database.
    #[error("stopped at row {row} with {added} rows added: {source}; importing the file again does no harm")]
    Stopped {
        /// The last row that was read.
        row: u64,
        /// The number of rows that were added.
        added: u64,
        /// The cause.
        source: PostgresError,
    },
}

/// An import in progress.
pub struct Import<'a, R> {
    rows: Rows<R>,
    provider: &'a Provider,
    id_prefix: &'a str,
    merge: Merge,
    refused: Box<dyn FnMut(RowError) + Send + 'a>,
    devices_max: Option<u32>,
    tally: Tally,
}

impl<'a, R: BufRead> Import<'a, R> {
    /// Starts an import and reads a CSV's header. `id_prefix` stands before the provider's own ids, and is completed
    /// where it is missing. `refused` is called for every refused row.
    pub fn new(
        source: R,
        format: Option<Format>,
        provider: &'a Provider,
        id_prefix: &'a str,
        refused: impl FnMut(RowError) + Send + 'a,
    ) -> Result<Self, ImportError> {
        Ok(Self {
            rows: Rows::begin(source, format)?,
            provider,
            id_prefix,
            merge: Merge::new(provider),
            refused: Box::new(refused),
            devices_max: None,
            tally: Tally::default(),
        })
    }

    /// Has the import stop before the tenant has more devices than this.
    #[must_use]
    pub fn within(self, devices_max: u32) -> Self {
        Self { devices_max: Some(devices_max), ..self }
    }

    /// Reads the whole file and adds nothing.
    pub fn check(mut self) -> Result<Tally, ImportError> {
        while self.batch()?.is_some() {}
        Ok(self.tally)
    }

    /// Adds all valid rows, a batch at a time; `progress` is called after each batch.
    pub async fn add(
        mut self,
        pool: &Pool,
        account: &TenantConnection,
        mut progress: impl FnMut(&Tally),
    ) -> Result<Tally, ImportError> {
        while let Some(batch) = self.batch()? {
            let failed = || PostgresError::on("add the devices");
            let mut tx = pool.begin().await.map_err(|e| self.stopped(failed()(e)))?;
            let adding =
                add_batch(&mut tx, account, batch.wanted, (self.provider, self.id_prefix), self.devices_max);
            adding.await.map_err(|why| self.stopped(why))?;
            tx.commit().await.map_err(|e| self.stopped(failed()(e)))?;
            self.tally.added += batch.rows;
            progress(&self.tally);
        }
        Ok(self.tally)
    }

    /// Adds all rows in one transaction, or none if one is refused.
    pub async fn add_all(
        mut self,
        pool: &Pool,
        account: &TenantConnection,
        mut progress: impl FnMut(&Tally),
    ) -> Result<Tally, ImportError> {
        let failed = || PostgresError::on("add the devices");
        let mut tx = pool.begin().await.map_err(|e| self.stopped(failed()(e)))?;
        let mut rows = 0;
        while let Some(batch) = self.batch()? {
            let adding =
                add_batch(&mut tx, account, batch.wanted, (self.provider, self.id_prefix), self.devices_max);
            adding.await.map_err(|why| self.stopped(why))?;
            rows += batch.rows;
            progress(&self.tally);
        }
        if self.tally.refused == 0 {
            tx.commit().await.map_err(|e| self.stopped(failed()(e)))?;
            self.tally.added = rows;
        }
        Ok(self.tally)
    }

    /// The next batch; none at the end of the file.
    fn batch(&mut self) -> Result<Option<merge::Batch>, ImportError> {
        while self.merge.len() < BATCH {
            let Some((row, read)) = self.rows.next()? else { break };
            self.tally.read += 1;
            let merged = read
                .and_then(|read| check(self.provider, self.id_prefix, read))
                .and_then(|wanted| self.merge.put(row, wanted));
            if let Err(error) = merged {
                self.tally.refused += 1;
                (self.refused)(RowError { row, error });
            }
        }
        self.tally.devices = self.merge.devices();
        Ok(self.merge.take())
    }

    fn stopped(&self, why: impl Into<NotAdded>) -> ImportError {
        let (row, added) = (self.rows.row(), self.tally.added);
        match why.into() {
            NotAdded::Full { max } => ImportError::Full { row, added, max },
            NotAdded::Postgres(source) => ImportError::Stopped { row, added, source },
        }
    }
}

/// Why a batch was not added.
enum NotAdded {
    Full { max: u32 },
    Postgres(PostgresError),
}

impl From<PostgresError> for NotAdded {
    fn from(error: PostgresError) -> Self {
        Self::Postgres(error)
    }
}

/// Adds a batch, unless the tenant would have more devices than it may.
async fn add_batch(
    tx: &mut Transaction,
    account: &TenantConnection,
    wanted: Vec<Wanted>,
    (provider, id_prefix): (&Provider, &str),
    devices_max: Option<u32>,
) -> Result<(), NotAdded> {
    let whose = Whose { tenant: account.tenant, connection: account.connection };
    defaults::hold(tx, whose).await?;
    add_in(tx, account, wanted, (provider, id_prefix)).await?;
    match devices_max {
        Some(max) if tenants::room::devices(tx, account.tenant).await? > u64::from(max) => {
            Err(NotAdded::Full { max })
        }
        _ => Ok(()),
    }
}

/// Adds devices in one transaction. Those that are stored by the provider's own ids get `id_prefix` before them.
pub async fn add(
    pool: &Pool,
    account: &TenantConnection,
    wanted: Vec<Wanted>,
    (provider, id_prefix): (&Provider, &str),
) -> Result<Vec<i64>, PostgresError> {
    let failed = || PostgresError::on("add the devices");
    let mut tx = pool.begin().await.map_err(failed())?;
    let ids = add_in(&mut tx, account, wanted, (provider, id_prefix)).await?;
    tx.commit().await.map_err(failed())?;
    Ok(ids)
}

async fn add_in(
    tx: &mut Transaction,
    account: &TenantConnection,
    wanted: Vec<Wanted>,
    (provider, id_prefix): (&Provider, &str),
) -> Result<Vec<i64>, PostgresError> {
    let own_id = |w: &Wanted| w.device.external_id.strip_prefix(id_prefix).map(str::to_owned);
    if !id_prefix.is_empty() {
        batch::complete_ids(tx, account, id_prefix, &wanted.iter().filter_map(own_id).collect::<Vec<_>>())
            .await?;
    }
    let unnamed = wanted.iter().filter(|w| !w.by_default.is_empty());
    let external: Vec<String> = unnamed.map(|w| w.device.external_id.clone()).collect();
    let existing = match external.is_empty() {
        true => Default::default(),
        false => batch::jobs_of(tx, account, &external).await?,
    };
    let complete = |Wanted { mut device, by_default }: Wanted| {
        let is_new =
            |resource: &ResourceName| !existing.contains(&(device.external_id.clone(), resource.to_string()));
        let missing: Vec<_> = by_default.into_iter().filter(|(resource, ..)| is_new(resource)).collect();
        device.jobs.extend(missing);
        device
    };
    let by_default: Vec<(String, String)> = wanted
        .iter()
        .flat_map(|one| one.by_default.iter().map(|(resource, ..)| (&one.device.external_id, resource)))
        .map(|(id, resource)| (id.clone(), resource.to_string()))
        .filter(|job| !existing.contains(job))
        .collect();
    let devices: Vec<_> = wanted.into_iter().map(complete).collect();
    let ids = batch::add_in(tx, account, &devices, Origin::Owner).await?;
    let ids: Vec<i64> = ids.into_iter().map(|id| id.0).collect();
    let fallback = |resource: &str| Some(provider.resource(resource)?.interval_default);
    batch::follow_defaults(tx, account, &by_default, &ids, &fallback).await?;
    Ok(ids)
}
