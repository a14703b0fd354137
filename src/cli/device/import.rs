//! `paceline device import`

use super::Account;
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

/// Refused rows beyond this are counted, not listed.
const ERRORS_LISTED_MAX: usize = 100;

/// What to import.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Tenant that owns the devices
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Connection of the devices: its label or number
    #[arg(long, value_name = "LABEL")]
    connection: String,
    /// File to read [default: standard input]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// csv or ndjson [default: by the file's extension or its first character]
    #[arg(long, value_name = "WORD")]
    format: Option<Format>,
    /// Add nothing if a row is refused
    #[arg(long)]
    all_or_nothing: bool,
}

const EXAMPLES: &str = concat!(
    r#"Examples:
  paceline device import --tenant acme --connection main --file devices.csv
  paceline device import --tenant acme --connection main --format ndjson --all-or-nothing

CSV with a header; only the column external_id is required. A device may have one row per resource:
  external_id,name,group,resource,interval,priority
  th-7c9e6679,Kitchen,,state,30s,high

NDJSON, one object per line with external_id, name, group and jobs; only external_id is required:
  {"external_id":"th-7c9e6679","name":"Hall","jobs":{"state":{"interval":"30s","priority":"high"}}}

"#,
    "\
A new device without jobs gets the definition's default jobs; a known device keeps its own. A row is refused if it \
repeats a resource of a device or gives the device another group. Rows are numbered by their line in the file.

The first 100 refused rows are listed on stderr, or with --json in `errors`; the other rows are added unless \
--all-or-nothing is given. Exit code 0 if no row was refused, 1 otherwise."
);

#[derive(Serialize)]
struct Summary {
    #[serde(flatten)]
    tally: Tally,
    /// The refused rows, at most [`ERRORS_LISTED_MAX`].
    errors: Vec<RowError>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { read, added, refused, devices } = self.tally;
        let devices = if added == 0 { 0 } else { devices };
        write!(f, "Rows: {read} read, {added} added, {refused} refused. Devices: {devices}.")
    }
}

/// Imports the rows, and prints the tally.
pub(super) async fn run(context: &Context, args: Args) -> Result<(), CliError> {
    let Account { account, provider, id_prefix } =
        super::find_account(context, &args.tenant, &args.connection).await?;
    let pool = &context.app.pool;
    let format = args.format.or_else(|| args.file.as_deref().and_then(Format::of));
    let progress = Progress::new(&args.file, context.output.json);
    let show = |tally: &Tally| progress.bar.set_message(format!("{} rows", tally.read));
    let tally = match args.all_or_nothing {
        false => {
            let source = open(&args.file)?;
            Import::new(progress.wrap(source), format, &provider, &id_prefix, progress.on_error())?
                .add(pool, &account, show)
                .await
        }
        true => {
            let mut file = open_seekable(&args.file)?;
            let checked =
                Import::new(progress.wrap(&file), format, &provider, &id_prefix, progress.on_error())?
                    .check()?;
            if checked.refused > 0 {
                Ok(checked)
            } else {
                file.rewind().map_err(|error| unreadable(&args.file, &error))?;
                progress.bar.reset();
                Import::new(progress.wrap(file), format, &provider, &id_prefix, progress.on_error())?
                    .add_all(pool, &account, show)
                    .await
            }
        }
    };
    progress.bar.finish_and_clear();
    if tally.as_ref().map_or(true, |tally| tally.added > 0) {
        context.update_schedule().await;
    }
    let summary = Summary { tally: tally?, errors: progress.errors() };
    context.output.answer(&summary)?;
    let Tally { read, refused, .. } = summary.tally;
    match refused {
        0 => Ok(()),
        _ => Err(CliError::refused(format!(
            "{refused} of {read} rows were refused: correct them and import them again"
        ))),
    }
}

fn open(file: &Option<PathBuf>) -> Result<Box<dyn Read + Send>, CliError> {
    match file {
        Some(path) => Ok(Box::new(File::open(path).map_err(|error| unreadable(file, &error))?)),
        None => Ok(Box::new(io::stdin())),
    }
}

/// A file that can be read twice. Standard input and pipes are copied to an unnamed temporary file.
fn open_seekable(file: &Option<PathBuf>) -> Result<File, CliError> {
    let opened = match file {
        None => copy(io::stdin().lock()),
        Some(path) => File::open(path).and_then(|opened| match opened.metadata()?.is_file() {
            true => Ok(opened),
            false => copy(opened),
        }),
    };
    opened.map_err(|error| unreadable(file, &error))
}

fn copy(mut source: impl Read) -> io::Result<File> {
    let mut copy = unnamed_file()?;
    io::copy(&mut source, &mut copy)?;
    copy.rewind()?;
    Ok(copy)
}

/// A temporary file that disappears when this process ends, even if it is killed.
fn unnamed_file() -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("paceline-import-{}", std::process::id()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn unreadable(file: &Option<PathBuf>, error: &io::Error) -> CliError {
    let name = file.as_deref().unwrap_or(Path::new("standard input"));
    CliError::cannot_start(format!("cannot read {}: {error}", name.display()))
}

/// Progress on stderr: a bar on a terminal, and each refused row.
struct Progress {
    bar: ProgressBar,
    errors: Arc<Mutex<Vec<RowError>>>,
    json: bool,
}

impl Progress {
    fn new(file: &Option<PathBuf>, json: bool) -> Self {
        let length = file.as_deref().and_then(|path| std::fs::metadata(path).ok()).map(|meta| meta.len());
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(length, target);
        let template =
            if length.is_some() { "{bar:40} {bytes}/{total_bytes} {msg}" } else { "{spinner} {bytes} {msg}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self { bar, errors: Arc::default(), json }
    }

    fn wrap<R: Read>(&self, source: R) -> BufReader<impl Read> {
        BufReader::with_capacity(64 << 10, self.bar.wrap_read(source))
    }

    /// Prints refused rows at once; with `--json` they are part of the result.
    fn on_error(&self) -> impl FnMut(RowError) + Send + 'static {
        let (bar, errors, json) = (self.bar.clone(), self.errors.clone(), self.json);
        move |error| {
            let Ok(mut errors) = errors.lock() else { return };
            if errors.len() == ERRORS_LISTED_MAX {
                return;
            }
            if !json {
                bar.suspend(|| eprintln!("{error}"));
            }
            errors.push(error);
            if errors.len() == ERRORS_LISTED_MAX && !json {
                bar.suspend(|| eprintln!("… further refused rows are counted, not listed"));
            }
        }
    }

    fn errors(&self) -> Vec<RowError> {
        self.errors.lock().map(|mut errors| std::mem::take(&mut *errors)).unwrap_or_default()
    }
}
