//! `paceline provider check`

use crate::cli::{CliError, Global, Output, context};
use crate::fetch::{CaseResult, Fetcher, Reach, run_cases};
use crate::provider::{self, DefinitionError, Fixtures, LoadError, Provider, Source};
use crate::settings::Names;
use serde::Serialize;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Which definitions to check.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  paceline provider check
  paceline provider check providers/mycloud.toml
  paceline provider check --json | jq '.providers[] | select(.ok | not)'

Reports every error with its file and line, and suggests the key for a misspelt one; also what loads and can only \
fail, such as plain http to the internet, or records of several devices without an id. The cases of mycloud.toml are \
in mycloud/cases.toml beside it: a request, the provider's response and the outcome expected. No provider is \
called; Postgres and Redis are not needed. Exit code 0 if every definition is valid and every case passes, 1 \
otherwise.")]
pub struct Args {
    /// Definition files [default: all shipped ones and those in providers.dir]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    providers: Vec<ProviderReport>,
}

#[derive(Serialize)]
struct ProviderReport {
    name: String,
    file: String,
    ok: bool,
    /// Errors in the definition or in its cases file.
    errors: Vec<DefinitionError>,
    /// `None` if it has no cases, or the definition has errors.
    cases: Option<Vec<CaseResult>>,
    /// Where its cases file is expected, if it has none.
    #[serde(skip)]
    cases_path: Option<PathBuf>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.providers.iter().map(|p| p.name.len()).max().unwrap_or_default();
        for checked in &self.providers {
            let word = if checked.ok { "ok" } else { "failed" };
            writeln!(f, "{:width$}  {word:6}  {}", checked.name, checked.cases_text())?;
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

impl ProviderReport {
    fn cases_text(&self) -> String {
        match (&self.cases, &self.cases_path) {
            (Some(cases), _) => {
                let passed = cases.iter().filter(|case| case.ok).count();
                format!("{passed} of {} cases", cases.len())
            }
            (None, Some(path)) => format!("no cases: put them into {}", path.display()),
            (None, None) => "cases not run".to_owned(),
        }
    }
}

pub(super) async fn run(global: &Global, args: Args) -> Result<(), CliError> {
    let settings = context::load_for_short_command(global)?;
    let sources = match args.files.is_empty() {
        true => provider::sources(settings.providers.dir()),
        false => args.files.iter().map(|path| Source::read(path)).collect(),
    }
    .map_err(CliError::cannot_start)?;
    let mut providers = Vec::with_capacity(sources.len());
    for source in sources {
        providers.push(check(source, &settings.providers.private_networks).await);
    }
    let ok = providers.iter().all(|checked| checked.ok);
    Output { json: global.json }.answer(&Report { ok, providers })?;
    match ok {
        true => Ok(()),
        false => Err(CliError::refused("some definitions have errors or failing cases")),
    }
}

async fn check(source: Source, private_networks: &Names) -> ProviderReport {
    let Source { name, file, text } = source;
    let mut checked = ProviderReport {
        name: name.to_string(),
        file: file.clone(),
        ok: false,
        errors: Vec::new(),
        cases: None,
        cases_path: None,
    };
    let compiled = Provider::parse(name, &file, &text).and_then(|provider| {
        let provider = Arc::new(provider);
        let reach = Reach::of(private_networks, &provider.name);
        Fetcher::check(provider.clone(), reach).map(|()| provider)
    });
    let provider = match compiled {
        Ok(provider) => provider,
        Err(LoadError::Refused(errors)) => return ProviderReport { errors, ..checked },
        Err(other) => {
            checked.errors.push(DefinitionError { file, line: 1, message: other.to_string() });
            return checked;
        }
    };
    match run_cases(&provider).await {
        Ok(Some(cases)) => checked.cases = Some(cases),
        Ok(None) => checked.cases_path = Some(Fixtures::place(&provider)),
        Err(errors) => checked.errors = errors,
    }
    checked.ok = checked.errors.is_empty() && checked.cases.iter().flatten().all(|case| case.ok);
    checked
}
