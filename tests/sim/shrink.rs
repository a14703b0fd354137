//! From a failing run to the smallest that fails alike.

use crate::limits::Limits;
use crate::world::{Run, Setup, run};

/// The most runs that are tried, so that a failure is reported within a minute.
const TRIES: usize = 150;

/// What a failure is called: runs that fail otherwise are other failures.
fn kind(run: &Run) -> Option<String> {
    let first = run.wrong.first()?;
    Some(first.split(':').next().unwrap_or_default().to_owned())
}

/// Runs these limits. A failure is shrunk, and returned with its last events and the file to keep it in.
pub async fn check(limits: &Limits) -> Result<Run, String> {
    let first = run(limits, Setup::default()).await;
    let Some(failure) = kind(&first) else { return Ok(first) };
    let (least, run) = shrink(limits.clone(), first, &failure).await;
    Err(format!(
        "seed {} fails: {}\nthe smallest run that fails so, for fixtures/seeds/<name>.toml:\n\n{}\n{}\n{}\n{}",
        limits.seed,
        run.wrong.join("\n  "),
        least.toml(),
        run.text,
        run.log.join("\n"),
        "run it with SIM_FILE=fixtures/seeds/<name>.toml",
    ))
}

async fn shrink(mut least: Limits, mut found: Run, failure: &str) -> (Limits, Run) {
    let mut tries = TRIES;
    'again: loop {
        for smaller in least.smaller() {
            if tries == 0 {
                return (least, found);
            }
            tries -= 1;
            let tried = run(&smaller, Setup::default()).await;
            if kind(&tried).as_deref() == Some(failure) {
                (least, found) = (smaller, tried);
                continue 'again;
            }
        }
        return (least, found);
    }
}
