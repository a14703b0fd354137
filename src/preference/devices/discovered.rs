//! Applies a provider's list of a connection's devices: new devices are added, absent ones are marked and kept.

use super::batch::{self, NewDevice, Origin, TenantConnection};
use super::discovery_claim::Claim;
use super::room;
use crate::postgres::{Pool, PostgresError, Transaction};
use crate::preference::jobs::defaults::Fallback;
use crate::preference::tenants;
use crate::words::{DeviceId, Interval, ListedDevice, Priority, ResourceName, UnixMs};
use serde::Serialize;
use std::collections::{HashMap, HashSet};

pub use super::device_list::{DeviceList, Known};

/// The changes that a list makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// New devices.
    pub new: Vec<ListedDevice>,
    /// External ids of devices that were missing and are listed again.
    pub found_again: Vec<String>,
    /// Devices that are missing for the first time.
    pub missing: Vec<String>,
    /// Devices whose name, group or model changed.
    pub changed: Vec<String>,
    /// Listed devices that were removed here: the list does not add them.
    pub removed: Vec<String>,
    /// Listed devices for which the tenant has no room.
    pub left_out: Vec<String>,
    /// The number of listed devices.
    pub listed: usize,
}

/// Compares stored and removed devices with a list. Pure.
pub fn compare(known: &[Known], removed: &HashSet<String>, listed: &[ListedDevice]) -> Changes {
    let by_id: HashMap<&str, &Known> = known.iter().map(|one| (one.external_id.as_str(), one)).collect();
    let mut changes = Changes { listed: listed.len(), ..Changes::default() };
    for found in listed {
        let id = found.external_id.clone();
        match by_id.get(id.as_str()) {
            None if removed.contains(&id) => changes.removed.push(id),
            None => changes.new.push(found.clone()),
            Some(known) if known.missing => changes.found_again.push(id),
            Some(known) if differs(known, found) => changes.changed.push(id),
            Some(_) => {}
        }
    }
    let there: HashSet<&str> = listed.iter().map(|one| one.external_id.as_str()).collect();
    let left_out =
        known.iter().filter(|one| one.older && !one.missing && !there.contains(one.external_id.as_str()));
    changes.missing = left_out.map(|one| one.external_id.clone()).collect();
    changes
}

/// Whether the list changes a device. Fields that the list lacks change nothing, and an owner's name stays.
fn differs(known: &Known, found: &ListedDevice) -> bool {
    let follows = known.name.is_empty() || known.name_origin == Some(Origin::Provider);
    (follows && !found.name.is_empty() && found.name != known.name)
        || (!found.group.is_empty() && found.group != known.group)
        || (!found.model.is_empty() && found.model != known.model)
}

impl Changes {
    /// Leaves out the new devices beyond so many.
    fn limit_new(&mut self, room: u64) {
        let kept = usize::try_from(room).unwrap_or(usize::MAX).min(self.new.len());
        self.left_out = self.new.drain(kept..).map(|one| one.external_id).collect();
    }
}

/// The jobs of a new device.
pub type Jobs<'a> = &'a (dyn Fn(&ListedDevice) -> Vec<(ResourceName, Interval, Priority)> + Sync);

/// Postgres's time, for `asked_at`: read before the list is requested.
pub async fn now(pool: &Pool) -> Result<UnixMs, PostgresError> {
    let now = sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(pool).await;
    now.map(UnixMs::from).map_err(PostgresError::on("read the time"))
}

/// The changes that a list would make.
pub async fn preview(
    pool: &Pool,
    account: &TenantConnection,
    list: DeviceList<'_>,
) -> Result<Changes, PostgresError> {
    let mut tx = pool.begin().await.map_err(PostgresError::on("compare the list of devices"))?;
    let removed = removed(&mut tx, account, list).await?;
    let mut known = known(&mut tx, account, list.asked_at).await?;
    list.complete_ids(&mut known);
    let mut changes = compare(&known, &removed, list.devices);
    changes.limit_new(room::left(&mut tx, account, list).await?);
    Ok(changes)
}

/// Applies a list in one transaction. Returns the changes, and the ids of the changed devices; none if a list that was
/// requested later has been applied already.
pub async fn apply(
    pool: &Pool,
    account: &TenantConnection,
    claim: Claim,
    list: DeviceList<'_>,
    jobs: Jobs<'_>,
    fallback: Fallback<'_>,
) -> Result<Option<(Changes, Vec<DeviceId>)>, PostgresError> {
    let failed = || PostgresError::on("store the list of devices");
    let mut tx = pool.begin().await.map_err(failed())?;
    // Locks the row, which serialises the lists of one connection.
    let latest = sqlx::query!(
        "UPDATE connections SET discovery_at = now(), discovery_error = NULL, discovery_kept = $3,
                discovery_failures = 0, discovery_retry_at = NULL
         WHERE tenant_id = $1 AND connection_id = $2 AND discovery_kept < $3",
        account.tenant.0,
        account.connection.0,
        claim.number
    )
    .execute(&mut tx)
    .await
    .map_err(failed())?;
    if latest.rows_affected() == 0 {
        return Ok(None);
    }
    let listed = list.devices;
    let completed = complete_ids(&mut tx, account, list).await?;
    note_origins(&mut tx, account, listed).await?;
    let removed = removed(&mut tx, account, list).await?;
    let mut changes = compare(&known(&mut tx, account, list.asked_at).await?, &removed, listed);
    if !changes.new.is_empty() {
        tenants::room::hold(&mut tx, account.tenant).await?;
        changes.limit_new(room::left(&mut tx, account, list).await?);
    }
    if !changes.left_out.is_empty() {
        room::note(&mut tx, account, list, changes.left_out.len()).await?;
    }
    let device = |listed: &ListedDevice| NewDevice {
        external_id: listed.external_id.clone(),
        name: listed.name.clone(),
        group: listed.group.clone(),
        jobs: jobs(listed),
    };
    let new: Vec<_> = changes.new.iter().map(device).collect();
    let added = batch::add_in(&mut tx, account, &new, Origin::Provider).await?;
    let mut touched = describe(&mut tx, account, &changes, listed).await?;
    let followers: Vec<i64> = touched.iter().chain(&added).map(|device| device.0).collect();
    batch::follow_defaults(&mut tx, account, &[], &followers, fallback).await?;
    let missing = sqlx::query_scalar!(
        "UPDATE devices SET missing_since = now()
         WHERE tenant_id = $1 AND connection_id = $2 AND external_id = ANY($3) RETURNING device_id",
        account.tenant.0,
        account.connection.0,
        &changes.missing
    )
    .fetch_all(&mut tx)
    .await
    .map_err(failed())?;
    tx.commit().await.map_err(failed())?;
    touched.extend(missing.into_iter().map(DeviceId).chain(completed));
    Ok(Some((changes, touched)))
}

/// Devices that were added by the provider's own ids get their whole ids. Returns them.
async fn complete_ids(
    tx: &mut Transaction,
    account: &TenantConnection,
    list: DeviceList<'_>,
) -> Result<Vec<DeviceId>, PostgresError> {
    if list.id_prefix.is_empty() {
        return Ok(Vec::new());
    }
    let completed = list.complete_ids(&mut known(tx, account, list.asked_at).await?);
    sqlx::query!(
        "UPDATE devices SET external_id = $4 || external_id
         WHERE tenant_id = $1 AND connection_id = $2 AND device_id = ANY($3)",
        account.tenant.0,
        account.connection.0,
        &completed.iter().map(|device| device.0).collect::<Vec<_>>(),
        list.id_prefix
    )
    .execute(tx)
    .await
    .map_err(PostgresError::on("store the list of devices"))?;
    Ok(completed)
}

/// Names of unknown origin that the list has, too, are the provider's.
async fn note_origins(
    tx: &mut Transaction,
    account: &TenantConnection,
    listed: &[ListedDevice],
) -> Result<(), PostgresError> {
    let (ids, names): (Vec<String>, Vec<String>) =
        listed.iter().map(|one| (one.external_id.clone(), one.name.clone())).unzip();
    sqlx::query!(
        "UPDATE devices d SET name_origin = 'provider'
         FROM UNNEST($3::text[], $4::text[]) AS t (external_id, name)
         WHERE d.tenant_id = $1 AND d.connection_id = $2 AND d.external_id = t.external_id
           AND d.name_origin IS NULL AND d.name <> '' AND d.name = t.name",
        account.tenant.0,
        account.connection.0,
        &ids,
        &names
    )
    .execute(tx)
    .await
    .map(drop)
    .map_err(PostgresError::on("store the list of devices"))
}

/// Updates devices from the list. The jobs of a device that moved to another group move too.
async fn describe(
    tx: &mut Transaction,
    account: &TenantConnection,
    changes: &Changes,
    listed: &[ListedDevice],
) -> Result<Vec<DeviceId>, PostgresError> {
    let new = changes.new.iter().map(|one| &one.external_id);
    let ids: HashSet<_> = new.chain(&changes.found_again).chain(&changes.changed).collect();
    let shown: Vec<_> = listed.iter().filter(|one| ids.contains(&one.external_id)).collect();
    let column =
        |of: fn(&ListedDevice) -> &String| shown.iter().map(|one| of(one).clone()).collect::<Vec<String>>();
    let rows = sqlx::query_scalar!(
        "WITH shown AS (
             SELECT * FROM UNNEST($3::text[], $4::text[], $5::text[], $6::text[]) AS t (external_id, name, grp, model)),
         described AS (
             UPDATE devices d SET
                 (name, name_origin) = (
                     SELECT CASE WHEN replaced THEN t.name ELSE d.name END,
                            CASE WHEN replaced THEN 'provider' ELSE d.name_origin END
                     FROM (VALUES (t.name <> '' AND (d.name = '' OR d.name_origin = 'provider'))) AS c (replaced)),
                 group_key = CASE WHEN t.grp = '' THEN d.group_key ELSE t.grp END,
                 model = CASE WHEN t.model = '' THEN d.model ELSE t.model END,
                 missing_since = NULL
             FROM shown t
             WHERE d.tenant_id = $1 AND d.connection_id = $2 AND d.external_id = t.external_id
             RETURNING d.tenant_id, d.device_id),
         -- A device that is listed again may be read again: a newer version makes the schedule forget its failures.
         again AS (
             UPDATE jobs j SET state = 'active', state_reason = NULL, state_at = now(), version = j.version + 1
             FROM devices d
             WHERE d.tenant_id = $1 AND d.connection_id = $2 AND d.external_id = ANY($7)
               AND j.tenant_id = d.tenant_id AND j.device_id = d.device_id AND j.state = 'probing'),
         noted AS (
             INSERT INTO outbox (provider, job_id)
             SELECT j.provider, j.job_id FROM described JOIN jobs j USING (tenant_id, device_id))
         SELECT device_id FROM described",
        account.tenant.0,
        account.connection.0,
        &column(|one| &one.external_id),
        &column(|one| &one.name),
        &column(|one| &one.group),
        &column(|one| &one.model),
        &changes.found_again
    )
    .fetch_all(tx)
    .await
    .map_err(PostgresError::on("store the list of devices"))?;
    Ok(rows.into_iter().map(DeviceId).collect())
}

async fn known(
    tx: &mut Transaction,
    account: &TenantConnection,
    asked_at: UnixMs,
) -> Result<Vec<Known>, PostgresError> {
    let rows = sqlx::query!(
        r#"SELECT device_id, external_id, name, name_origin, group_key, model, missing_since IS NOT NULL AS "missing!",
                  created_at < $3 AS "older!"
           FROM devices WHERE tenant_id = $1 AND connection_id = $2 ORDER BY device_id"#,
        account.tenant.0,
        account.connection.0,
        asked_at.to_datetime()
    )
    .fetch_all(tx)
    .await
    .map_err(PostgresError::on("read the connection's devices"))?;
    let known = rows.into_iter().map(|row| Known {
        device: DeviceId(row.device_id),
        external_id: row.external_id,
        name: row.name,
        name_origin: row.name_origin.as_deref().and_then(Origin::from_name),
        group: row.group_key,
        model: row.model,
        missing: row.missing,
        older: row.older,
    });
    Ok(known.collect())
}

/// External ids of the connection's removed devices.
async fn removed(
    tx: &mut Transaction,
    account: &TenantConnection,
    list: DeviceList<'_>,
) -> Result<HashSet<String>, PostgresError> {
    let ids = sqlx::query_scalar!(
        "SELECT external_id FROM removed_devices WHERE tenant_id = $1 AND connection_id = $2",
        account.tenant.0,
        account.connection.0
    )
    .fetch_all(tx)
    .await
    .map_err(PostgresError::on("read the connection's removed devices"))?;
    // A device may have been removed by the provider's own id.
    let by_own_id = list.by_own_id();
    let whole: Vec<_> =
        ids.iter().filter_map(|id| by_own_id.get(id.as_str())).map(ToString::to_string).collect();
    Ok(ids.into_iter().chain(whole).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str) -> Known {
        Known {
            device: DeviceId(1),
            external_id: id.to_owned(),
            name: "Mine".to_owned(),
            name_origin: Some(Origin::Owner),
            group: "home".to_owned(),
            model: "m1".to_owned(),
            missing: false,
            older: true,
        }
    }

    fn listed(id: &str, [name, group, model]: [&str; 3]) -> ListedDevice {
        let text = str::to_owned;
        ListedDevice {
            external_id: text(id),
            name: text(name),
            group: text(group),
            model: text(model),
            resources: None,
        }
    }

    fn ids(changes: &Changes) -> [Vec<&str>; 4] {
        [
            changes.new.iter().map(|one| one.external_id.as_str()).collect(),
            changes.found_again.iter().map(String::as_str).collect(),
            changes.missing.iter().map(String::as_str).collect(),
            changes.changed.iter().map(String::as_str).collect(),
        ]
    }

    fn compare_with(known: &[Known], listed: &[ListedDevice]) -> Changes {
        compare(known, &HashSet::from(["away".to_owned()]), listed)
    }

    #[test]
    fn list_is_compared_with_stored_devices() {
        let gone = Known { missing: true, ..known("gone") };
        let late = Known { older: false, ..known("late") };
        let before = [known("a"), known("b"), gone.clone(), late];
        let same = listed("a", ["Theirs", "home", ""]);
        let changes =
            compare_with(&before, &[same.clone(), listed("n", ["", "", ""]), listed("gone", ["", "", ""])]);
        assert_eq!(ids(&changes), [vec!["n"], vec!["gone"], vec!["b"], vec![]]);
        assert_eq!(changes.listed, 3);
        let removed = compare_with(&[], &[listed("away", ["", "", ""])]);
        assert_eq!((removed.new.len(), removed.removed), (0, vec!["away".to_owned()]));
        // A device that stays missing is reported once.
        assert_eq!(ids(&compare_with(&[gone], &[])), [vec![""; 0], vec![], vec![], vec![]]);
        // A name that its owner gave stays; what the list does not tell does, too.
        assert!(compare_with(&[known("a")], &[same]).changed.is_empty());
        for shown in [["", "office", ""], ["", "", "m2"]] {
            assert_eq!(compare_with(&[known("a")], &[listed("a", shown)]).changed, ["a"]);
        }
        let renamed = listed("a", ["Theirs", "", ""]);
        let unnamed = Known { name: String::new(), name_origin: None, ..known("a") };
        let theirs = Known { name_origin: Some(Origin::Provider), ..known("a") };
        let unknown = Known { name_origin: None, ..known("a") };
        for (before, changed) in [(unnamed, true), (theirs.clone(), true), (unknown, false)] {
            assert_eq!(
                compare_with(&[before], std::slice::from_ref(&renamed)).changed.len(),
                usize::from(changed)
            );
        }
        assert!(compare_with(&[theirs], &[listed("a", ["", "", ""])]).changed.is_empty());
    }
}
