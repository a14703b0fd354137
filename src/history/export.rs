//! All that is kept of a tenant, as lines of JSON, a chunk at a time. Nothing is held open between two chunks, so that
//! a slow reader costs nobody anything.

use crate::app::App;
use crate::postgres::PostgresError;
use crate::preference::connections;
use crate::preference::inventory;
use crate::preference::jobs::defaults::{self, Whose};
use crate::record::export::{self, Series};
use crate::record::view;
use crate::words::{ConnectionId, DeviceId, TenantId};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};

/// Devices in a chunk.
const DEVICES: i64 = 100;
/// Series that are read at once.
const SERIES: usize = 16;
/// Rows of a series that are read at once.
const ROWS: i64 = 1_000;
/// Levels of roll-ups, longest stretches first.
const LEVELS: [i16; 3] = [3, 2, 1];

/// An export in progress.
pub struct Export {
    app: App,
    tenant: TenantId,
    at: Part,
    lines: u64,
}

enum Part {
    Connections,
    Devices { after: DeviceId },
    History { after: DeviceId, left: VecDeque<(What, Vec<Series>)> },
    End,
    Ended,
}

#[derive(Clone, Copy)]
enum What {
    Readings,
    Rollups(i16),
}

impl Export {
    /// Begins an export.
    pub fn new(app: App, tenant: TenantId) -> Self {
        Self { app, tenant, at: Part::Connections, lines: 0 }
    }

    /// The next chunk: whole lines, maybe none yet. None after the last, whose line is `{"kind":"end","lines":N}`.
    pub async fn next(&mut self) -> Result<Option<String>, PostgresError> {
        let mut lines = Lines::default();
        self.at = match std::mem::replace(&mut self.at, Part::Ended) {
            Part::Ended => return Ok(None),
            Part::Connections => {
                let at = self.app.clock.now();
                lines.push("export", json!({ "at": at.to_string() }));
                for row in connections::list(&self.app.pool, self.tenant).await? {
                    let whose = Whose { tenant: self.tenant, connection: ConnectionId(row.id) };
                    lines.push("connection", row);
                    for one in defaults::list(&self.app.pool, whose).await? {
                        lines.push("preference", one);
                    }
                }
                Part::Devices { after: DeviceId(0) }
            }
            Part::Devices { after } => self.devices(after, &mut lines).await?,
            Part::History { after, left } => self.history(after, left, &mut lines).await?,
            Part::End => {
                lines.push("end", json!({ "lines": self.lines }));
                Part::Ended
            }
        };
        self.lines += lines.count;
        Ok(Some(lines.text))
    }

    async fn devices(&self, after: DeviceId, lines: &mut Lines) -> Result<Part, PostgresError> {
        let pool = &self.app.pool;
        let page = inventory::page(pool, self.tenant, None, after, DEVICES).await?;
        let Some(last) = page.last().map(|row| row.device) else { return Ok(Part::End) };
        let ids: Vec<_> = page.iter().map(|row| row.device).collect();
        let mut views = view::devices(pool, Some(self.tenant), &ids).await?;
        let mut series = Vec::new();
        for row in page {
            let latest = views.remove(&row.device).map(|view| view.latest).unwrap_or_default();
            let latest: HashMap<_, _> =
                latest.into_iter().map(|(resource, (_, latest))| (resource, latest)).collect();
            let of =
                |resource: &String| Series { device: row.device, resource: resource.clone(), before: None };
            series.extend(row.jobs.keys().map(of));
            let mut line = serde_json::to_value(&row).unwrap_or_default();
            line["latest"] = serde_json::to_value(latest).unwrap_or_default();
            lines.push("device", line);
        }
        let parts = [What::Readings].into_iter().chain(LEVELS.map(What::Rollups));
        let left =
            parts.flat_map(|what| series.chunks(SERIES).map(move |some| (what, some.to_vec()))).collect();
        Ok(Part::History { after: last, left })
    }

    async fn history(
        &self,
        after: DeviceId,
        mut left: VecDeque<(What, Vec<Series>)>,
        lines: &mut Lines,
    ) -> Result<Part, PostgresError> {
        let Some((what, series)) = left.pop_front() else { return Ok(Part::Devices { after }) };
        // Each series' number of rows, and its oldest.
        let mut found: HashMap<(i64, String), (i64, chrono::DateTime<chrono::Utc>)> = HashMap::new();
        let mut note = |device: i64, resource: &str, at| {
            let (rows, oldest) = found.entry((device, resource.to_owned())).or_insert((0, at));
            *rows += 1;
            *oldest = at.min(*oldest);
        };
        let pool = &self.app.pool;
        match what {
            What::Readings => {
                for row in export::readings(pool, self.tenant, &series, ROWS).await? {
                    note(row.device, &row.resource, row.at);
                    lines.push("reading", row);
                }
            }
            What::Rollups(level) => {
                for row in export::rollups(pool, self.tenant, &series, level, ROWS).await? {
                    note(row.device, &row.resource, row.at);
                    lines.push("rollup", row);
                }
            }
        }
        let more: Vec<_> = series
            .into_iter()
            .filter_map(|one| match found.get(&(one.device.0, one.resource.clone())) {
                Some((rows, oldest)) if *rows >= ROWS => Some(Series { before: Some(*oldest), ..one }),
                _ => None,
            })
            .collect();
        if !more.is_empty() {
            left.push_front((what, more));
        }
        Ok(Part::History { after, left })
    }
}

#[derive(Default)]
struct Lines {
    text: String,
    count: u64,
}

impl Lines {
    /// Adds a line: the value's fields, behind what it is.
    fn push(&mut self, kind: &str, value: impl Serialize) {
        // Values of these types have no keys that JSON lacks.
        let Ok(Value::Object(mut fields)) = serde_json::to_value(value) else { return };
        fields.insert("kind".to_owned(), kind.into());
        self.text += &Value::Object(fields).to_string();
        self.text.push('\n');
        self.count += 1;
    }
}
