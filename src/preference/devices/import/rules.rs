//! Checks a row and converts it to a device with jobs.

use super::{Row, RowJob, Wanted};
use crate::preference::devices::NewDevice;
use crate::provider::Provider;
use crate::words::{Interval, Priority, ResourceName, text};

/// The device of a row, or the reason to refuse the row. `id_prefix` is put before an id that lacks it.
pub fn check(provider: &Provider, id_prefix: &str, row: Row) -> Result<Wanted, String> {
    let given = |column, text| text::name(column, text).map(str::to_owned).map_err(|error| error.to_string());
    let mut external_id = given("external_id", &row.external_id)?;
    let (name, group) = (given("name", &row.name)?, given("group", &row.group)?);
    if external_id.is_empty() {
        return Err("external_id: it is empty; write the provider's id of the device".to_owned());
    }
    let jobs = row.jobs.iter().map(|job| check_job(provider, job)).collect::<Result<Vec<_>, _>>()?;
    let by_default = if jobs.is_empty() { provider.default_jobs() } else { Vec::new() };
    if jobs.is_empty() && by_default.is_empty() {
        return Err(format!("resource: name one of {}", provider.resource_list()));
    }
    if !external_id.starts_with(id_prefix) {
        external_id.insert_str(0, id_prefix);
    }
    Ok(Wanted { device: NewDevice { external_id, name, group, jobs }, by_default })
}

fn check_job(provider: &Provider, job: &RowJob) -> Result<(ResourceName, Interval, Priority), String> {
    let asked = match &job.resource {
        Some(name) => name.clone(),
        None => only_resource_of(provider)?.to_string(),
    };
    let (name, resource) = provider.find_resource(&asked).map_err(|error| format!("resource: {error}"))?;
    let interval = match &job.interval {
        Some(text) => Interval::parse_within(text, resource.interval_min)
            .map_err(|error| format!("interval: {error} (resource {name})"))?,
        None => resource.interval_default,
    };
    let priority = match &job.priority {
        Some(text) => text.parse().map_err(|error| format!("priority: {error}"))?,
        None => Priority::default(),
    };
    Ok((name.clone(), interval, priority))
}

/// The resource of a row that names none.
fn only_resource_of(provider: &Provider) -> Result<ResourceName, String> {
    let unclear = || {
        format!("resource: name the one that interval and priority are for, of {}", provider.resource_list())
    };
    match provider.default_jobs().as_slice() {
        [(name, ..)] => Ok(name.clone()),
        _ => Err(unclear()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Registry;

    fn refusal(change: impl FnOnce(&mut Row)) -> String {
        let registry = Registry::load(None).unwrap();
        let job = RowJob { resource: Some("energy".to_owned()), ..RowJob::default() };
        let mut row = Row { external_id: "a".to_owned(), jobs: vec![job], ..Row::default() };
        change(&mut row);
        check(registry.get("meadow").unwrap(), "", row).unwrap_err()
    }

    #[test]
    fn refusal_begins_with_the_column() {
        assert!(refusal(|row| row.external_id.clear()).starts_with("external_id: "));
        assert!(refusal(|row| row.name = "x".repeat(256)).starts_with("name: it has 256 characters"));
        assert!(
            refusal(|row| row.group = "a\0".to_owned())
                .starts_with("group: it contains the control or invisible character")
        );
        assert!(
            refusal(|row| row.jobs[0].resource = Some("power".to_owned()))
                .contains("use one of energy, state")
        );
        let short = refusal(|row| row.jobs[0].interval = Some("1s".to_owned()));
        assert!(short.starts_with("interval: ") && short.contains("use 10s to 31days"), "{short}");
        assert!(refusal(|row| row.jobs[0].priority = Some("urgent".to_owned())).starts_with("priority: "));
    }

    #[test]
    fn absent_fields_take_the_providers_default() {
        let registry = Registry::load(None).unwrap();
        let meadow = registry.get("meadow").unwrap();
        let row = Row { external_id: "a".to_owned(), ..Row::default() };
        let wanted = check(meadow, "", row.clone()).unwrap();
        assert_eq!((wanted.device.jobs.len(), wanted.by_default.len()), (0, 1));
        let job = RowJob { interval: Some("30s".to_owned()), ..RowJob::default() };
        let wanted = check(meadow, "", Row { jobs: vec![job], ..row }).unwrap();
        assert_eq!(wanted.device.jobs[0].0.as_str(), "state");
    }
}
