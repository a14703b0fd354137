//! Every shipped definition against what its cloud answers: `fixtures/providers/<name>/cases.toml` says what is asked,
//! what comes back and what it must come to.

mod stage;
mod stored;
mod turned;
mod whole;

use futures::{StreamExt, stream};
use paceline::fetch::run_cases;
use paceline::keep;
use paceline::provider::Registry;
use stage::Staged;
use std::collections::BTreeSet;

#[tokio::test]
async fn every_case_of_every_cloud_comes_to_what_it_says() {
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
async fn every_case_of_every_cloud_goes_the_whole_way() {
    // So many servers that dropping them, which waits inside, would use up what a task may do in one go.
    tokio::task::unconstrained(async {
        let (t, staged) = stage::all().await;
        let run = async |one: &Staged| {
            let differences = whole::run(&t.app, one).await;
            (!differences.is_empty()).then(|| format!("{}: {differences:#?}", one.name()))
        };
        let failed: Vec<_> = stream::iter(&staged).map(run).buffer_unordered(8).collect().await;
        let failed: Vec<_> = failed.into_iter().flatten().collect();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        assert!(staged.len() > 100, "{}", staged.len());
        assert_eq!(whole::leaks(&t.app).await, Vec::<String>::new());
        let report = keep::check(&t.app, false).await.unwrap();
        assert!(report.clean, "{report:?}");
    })
    .await;
}
