//! `paceline device import`

use crate::cli::{CliError, Context};
use crate::preference::import::{Format, Import, RowError, Tally};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, IsTerminal, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// More refused rows are counted, not told.
const TOLD_MAX: usize = 100;

/// What to import.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Whose devices
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Under which connection: its label or number
    #[arg(long, value_name = "LABEL")]
    connection: String,
    /// The file; standard input if left out
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// csv or ndjson; guessed from the file's ending or its first character if left out
    #[arg(long, value_name = "WORD")]
    format: Option<Format>,
    /// Add nothing if any row is refused
    #[arg(long)]
    all_or_nothing: bool,
}

const EXAMPLES: &str = r#"Examples:
  paceline device import --tenant acme --connection main --file devices.csv
  paceline device import --tenant acme --connection main --format ndjson --all-or-nothing

CSV has a header; every column but external_id may be left out, and a device may have a row per resource:
  external_id,name,group,resource,interval,priority
  th-7c9e6679,Kitchen,,state,30s,high

NDJSON has an object a line; everything but external_id may be left out:
  {"external_id":"th-7c9e6679","name":"Kitchen","group":"","jobs":{"state":{"interval":"30s","priority":"high"}}}

A device of which no job is named gets those that the provider's file declares by default; one that is known
already keeps its own. The same resource of a device twice is an error, as are two groups of a device. Rows are
numbered by their line in the file. Rows that are refused leave the others alone, and make the exit code 1."#;

#[derive(Serialize)]
struct Summary {
    #[serde(flatten)]
    tally: Tally,
    /// The first of them.
    errors: Vec<RowError>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { read, added, refused, devices } = self.tally;
        let devices = if added == 0 { 0 } else { devices };
        write!(f, "Rows: {read} read, {added} added, {refused} refused. Devices: {devices}.")
    }
}

/// Imports, and says what came of it.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let (account, provider) = super::account(context, &args.tenant, &args.connection).await?;
    let pool = &context.app.pool;
    let format = args.format.or_else(|| args.file.as_deref().and_then(Format::of));
    let told = Told::new(&args.file, context.output.json);
    let show = |tally: &Tally| told.bar.set_message(format!("{} rows", tally.read));
    let tally = match args.all_or_nothing {
        false => {
            let source = open(&args.file)?;
            Import::new(told.reads(source), format, &provider, told.hears())?.add(pool, &account, show).await
        }
        true => {
            let mut file = seekable(&args.file)?;
            let checked = Import::new(told.reads(&file), format, &provider, told.hears())?.check()?;
            if checked.refused > 0 {
                Ok(checked)
            } else {
                file.rewind().map_err(|error| unreadable(&args.file, &error))?;
                told.bar.reset();
                Import::new(told.reads(file), format, &provider, told.hears())?
                    .add_all(pool, &account, show)
                    .await
            }
        }
    };
    told.bar.finish_and_clear();
    if tally.as_ref().map_or(true, |tally| tally.added > 0) {
        context.tell_schedule().await;
    }
    let summary = Summary { tally: tally?, errors: told.errors() };
    context.output.answer(&summary)?;
    let Tally { read, refused, .. } = summary.tally;
    match refused {
        0 => Ok(()),
        _ => Err(CliError::refused(format!(
            "{refused} of {read} rows were refused: correct them and import again"
        ))),
    }
}

fn open(file: &Option<PathBuf>) -> Result<Box<dyn Read + Send>, CliError> {
    match file {
        Some(path) => Ok(Box::new(File::open(path).map_err(|error| unreadable(file, &error))?)),
        None => Ok(Box::new(io::stdin())),
    }
}

/// A file that can be read twice. What cannot (standard input, a pipe) is kept in one that has no name.
fn seekable(file: &Option<PathBuf>) -> Result<File, CliError> {
    let opened = match file {
        None => keep(io::stdin().lock()),
        Some(path) => File::open(path).and_then(|opened| match opened.metadata()?.is_file() {
            true => Ok(opened),
            false => keep(opened),
        }),
    };
    opened.map_err(|error| unreadable(file, &error))
}

fn keep(mut source: impl Read) -> io::Result<File> {
    let mut kept = nameless()?;
    io::copy(&mut source, &mut kept)?;
    kept.rewind()?;
    Ok(kept)
}

/// Goes with this process, whatever ends it.
fn nameless() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("paceline-import-{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn unreadable(file: &Option<PathBuf>, error: &io::Error) -> CliError {
    let name = file.as_deref().unwrap_or(Path::new("standard input"));
    CliError::cannot_start(format!("cannot read {}: {error}", name.display()))
}

/// What people see while it runs: a bar on a terminal, and each refused row.
struct Told {
    bar: ProgressBar,
    errors: Arc<Mutex<Vec<RowError>>>,
    json: bool,
}

impl Told {
    fn new(file: &Option<PathBuf>, json: bool) -> Self {
        let length = file.as_deref().and_then(|path| std::fs::metadata(path).ok()).map(|meta| meta.len());
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(length, target);
        let shape =
            if length.is_some() { "{bar:40} {bytes}/{total_bytes} {msg}" } else { "{spinner} {bytes} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(shape) {
            bar.set_style(style);
        }
        Self { bar, errors: Arc::default(), json }
    }

    fn reads<R: Read>(&self, source: R) -> BufReader<impl Read> {
        BufReader::with_capacity(64 << 10, self.bar.wrap_read(source))
    }

    /// Tells people at once; programs find it in the answer.
    fn hears(&self) -> impl FnMut(RowError) + Send + 'static {
        let (bar, errors, json) = (self.bar.clone(), self.errors.clone(), self.json);
        move |error| {
            let Ok(mut errors) = errors.lock() else { return };
            if errors.len() == TOLD_MAX {
                return;
            }
            if !json {
                bar.suspend(|| eprintln!("{error}"));
            }
            errors.push(error);
            if errors.len() == TOLD_MAX && !json {
                bar.suspend(|| eprintln!("… further refused rows are counted, not listed"));
            }
        }
    }

    fn errors(&self) -> Vec<RowError> {
        self.errors.lock().map(|mut errors| std::mem::take(&mut *errors)).unwrap_or_default()
    }
}
