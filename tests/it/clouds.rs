//! The cases of every shipped definition: `fixtures/providers/<name>/cases.toml` has the request expected, the response
//! and the outcome expected.

mod deployment;
mod journey;
mod redirected;
mod stored;

use deployment::DeployedCase;
use futures::{StreamExt, stream};
use paceline::fetch::run_cases;
use paceline::keep;
use paceline::provider::Registry;
use std::collections::BTreeSet;

#[tokio::test]
async fn every_case_passes() {
    for provider in Registry::load(None).unwrap().iter() {
        let name = &provider.name;
        let cases = run_cases(provider).await.unwrap_or_else(|errors| panic!("{name}: {errors:#?}"));
        let cases = cases.unwrap_or_else(|| panic!("{name} has no cases"));
        let failed: Vec<_> = cases.iter().filter(|case| !case.ok).collect();
        assert!(failed.is_empty(), "{name}: {failed:#?}");
        assert!(cases.len() > 3, "{name} has too few cases");
    }
}

#[test]
fn every_definition_in_the_folder_is_shipped() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers")).unwrap();
    let paths = folder
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "toml"));
    let names: BTreeSet<_> =
        paths.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let shipped: BTreeSet<_> =
        Registry::load(None).unwrap().iter().map(|provider| provider.name.to_string()).collect();
    assert_eq!(names, shipped);
}

#[tokio::test]
async fn every_case_passes_through_the_whole_journey() {
    // Dropping this many mock servers, each of which waits inside, exceeds tokio's cooperative budget of a task.
    tokio::task::unconstrained(async {
        let (t, cases) = deployment::deploy_all().await;
        let run = async |case: &DeployedCase| {
            let differences = journey::run(&t.app, case).await;
            (!differences.is_empty()).then(|| format!("{}: {differences:#?}", case.name()))
        };
        let failed: Vec<_> = stream::iter(&cases).map(run).buffer_unordered(8).collect().await;
        let failed: Vec<_> = failed.into_iter().flatten().collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert!(cases.len() > 100, "{}", cases.len());
        assert_eq!(journey::leaks(&t.app).await, Vec::<String>::new());
        let report = keep::check(&t.app, false).await.unwrap();
        assert!(report.clean, "{report:?}");
    })
    .await;
}
