//! `paceline provider check`

use crate::cli::{CliError, Global, Output, context};
use crate::fetch::{Fetcher, Ran, run_cases};
use crate::provider::{DefinitionError, Fixtures, LoadError, Provider, Source, sources};
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Which definitions.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline provider check
  paceline provider check providers/mycloud.toml
  paceline provider check --json | jq '.providers[] | select(.ok | not)'

Every error is told with its file, its line and the key that was meant. Cases of mycloud.toml are looked for in
mycloud/cases.toml beside it: what is asked, what the cloud answers, and what it must come to. Nothing is called, and
neither Postgres nor Redis is needed. Exit code 0: nothing is wrong.")]
pub struct Args {
    /// Definitions; all that there are when none is named
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Answer {
    ok: bool,
    providers: Vec<Checked>,
}

#[derive(Serialize)]
struct Checked {
    name: String,
    file: String,
    ok: bool,
    /// What is wrong with the definition, or with its file of cases.
    errors: Vec<DefinitionError>,
    /// None: it has none.
    cases: Option<Vec<Ran>>,
    /// Where they would be.
    #[serde(skip)]
    place: Option<PathBuf>,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.providers.iter().map(|p| p.name.len()).max().unwrap_or_default();
        for checked in &self.providers {
            let word = if checked.ok { "ok" } else { "failed" };
            writeln!(f, "{:width$}  {word:6}  {}", checked.name, checked.cases_in_words())?;
            for error in &checked.errors {
                writeln!(f, "  {error}")?;
            }
            for case in checked.cases.iter().flatten().filter(|case| !case.ok) {
                writeln!(f, "  {}:{}: case {:?}", case.file, case.line, case.name)?;
                for difference in &case.differences {
                    writeln!(f, "    {}", difference.what)?;
                    writeln!(f, "      expected  {}", difference.expected)?;
                    writeln!(f, "      got       {}", difference.got)?;
                }
            }
        }
        let failed = self.providers.iter().filter(|p| !p.ok).count();
        write!(f, "{} definitions checked, {failed} failed", self.providers.len())
    }
}

impl Checked {
    fn cases_in_words(&self) -> String {
        match (&self.cases, &self.place) {
            (Some(cases), _) => {
                let good = cases.iter().filter(|case| case.ok).count();
                format!("{good} of {} cases", cases.len())
            }
            (None, Some(place)) => format!("no cases: put them into {}", place.display()),
            (None, None) => "its cases were not run".to_owned(),
        }
    }
}

pub(super) async fn run(global: &Global, args: Args) -> Result<(), CliError> {
    let settings = context::load_brief(global)?;
    let found = match args.files.is_empty() {
        true => sources(settings.providers.dir()),
        false => args.files.iter().map(|path| Source::read(path)).collect(),
    }
    .map_err(CliError::cannot_start)?;
    let mut providers = Vec::with_capacity(found.len());
    for source in found {
        providers.push(check(source).await);
    }
    let ok = providers.iter().all(|checked| checked.ok);
    Output { json: global.json }.answer(&Answer { ok, providers })?;
    match ok {
        true => Ok(()),
        false => Err(CliError::refused("not every definition is as it should be")),
    }
}

async fn check(source: Source) -> Checked {
    let Source { name, file, text } = source;
    let mut checked = Checked {
        name: name.to_string(),
        file: file.clone(),
        ok: false,
        errors: Vec::new(),
        cases: None,
        place: None,
    };
    let compiled = Provider::parse(name, &file, &text).and_then(|provider| {
        let provider = Arc::new(provider);
        Fetcher::check(provider.clone()).map(|()| provider)
    });
    let provider = match compiled {
        Ok(provider) => provider,
        Err(LoadError::Refused(errors)) => return Checked { errors, ..checked },
        Err(other) => {
            checked.errors.push(DefinitionError { file, line: 1, message: other.to_string() });
            return checked;
        }
    };
    match run_cases(&provider).await {
        Ok(Some(cases)) => checked.cases = Some(cases),
        Ok(None) => checked.place = Some(Fixtures::place(&provider)),
        Err(errors) => checked.errors = errors,
    }
    checked.ok = checked.errors.is_empty() && checked.cases.iter().flatten().all(|case| case.ok);
    checked
}
