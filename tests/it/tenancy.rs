//! Statements keep to one tenant, or say that they do not: the unit by which data can be spread over servers.

use regex::Regex;
use std::fs;
use std::path::Path;

/// Tables whose rows belong to a tenant. Each key of theirs begins with it.
const TABLES: &str = "connections|devices|jobs|latest|readings|rollups|sync_events|tokens|authorisations|\
                      api_keys|sql_readers|removed_devices|webhooks";
/// How a statement says that it is about more than one tenant, and why.
const ALL_TENANTS: &str = "-- All tenants: ";

/// Every checked statement of the crate.
fn statements() -> Vec<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(".sqlx");
    let read = |file: fs::DirEntry| {
        let json: serde_json::Value = serde_json::from_slice(&fs::read(file.path()).unwrap()).unwrap();
        json["query"].as_str().unwrap().to_owned()
    };
    fs::read_dir(dir).unwrap().map(|file| read(file.unwrap())).collect()
}

/// What is wrong with a statement.
fn fault(sql: &str) -> Option<&'static str> {
    let finds = |pattern: &str| Regex::new(&pattern.replace("TABLES", TABLES)).unwrap().is_match(sql);
    if !finds(r"\b(FROM|JOIN|INTO|UPDATE)\s+(TABLES)\b") {
        return None;
    }
    let says_so = sql.contains(ALL_TENANTS);
    let optional = finds(r"::bigint IS NULL OR \w*\.?tenant_id = \$");
    // One tenant, or rows each of which comes with its tenant.
    let is_kept = finds(r"tenant_id = \$\d")
        || finds(r"AS \w+ \(tenant_id,")
        || finds(r"INTO \w+( AS \w+)? \(tenant_id,[^)]*\)\s*(VALUES \(|SELECT )\$1");
    if (!is_kept || optional) && !says_so {
        return Some("it names no tenant, and does not say `-- All tenants: why`");
    }
    if finds(r"JOIN (TABLES)( \w+)? USING \((resource|job_id|device_id|connection_id)") && !says_so {
        return Some("it joins rows of different tenants");
    }
    None
}

#[test]
fn statements_keep_to_one_tenant_or_say_that_they_do_not() {
    let statements = statements();
    assert!(statements.len() > 90, "{} statements", statements.len());
    let faults: Vec<_> =
        statements.iter().filter_map(|sql| Some(format!("{}: {sql}", fault(sql)?))).collect();
    assert!(faults.is_empty(), "{} statements:\n{}", faults.len(), faults.join("\n\n"));
}

#[test]
fn statement_without_tenant_is_found() {
    for sql in [
        "SELECT 1 FROM devices WHERE device_id = $1",
        "SELECT 1 FROM jobs j JOIN latest l USING (job_id) WHERE j.tenant_id = $1",
        "UPDATE connections SET state = 'active' WHERE connection_id = $1",
        "SELECT 1 FROM devices WHERE ($1::bigint IS NULL OR tenant_id = $1)",
    ] {
        assert!(fault(sql).is_some(), "{sql}");
        assert_eq!(fault(&format!("{ALL_TENANTS}a test.\n{sql}")), None);
    }
    assert_eq!(fault("SELECT 1 FROM devices WHERE tenant_id = $1 AND device_id = $2"), None);
    assert_eq!(fault("SELECT 1 FROM outbox WHERE job_id = $1"), None);
}
