//! Results of benches, as JSON and as a table.

use comfy_table::{ContentArrangement, Table, presets};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// A measured value with its yardstick.
pub struct Figure {
    bench: &'static str,
    /// Parameters such as `lanes` or `batch`.
    params: Vec<(&'static str, Value)>,
    value: f64,
    yardstick: f64,
    unit: &'static str,
    /// Further measurements such as `refused` or `p50_ms`.
    extra: Vec<(&'static str, Value)>,
    aim: Option<(&'static str, bool)>,
    peers: &'static str,
}

impl Figure {
    pub fn new(bench: &'static str, value: f64, yardstick: f64, unit: &'static str) -> Self {
        Self { bench, params: Vec::new(), value, yardstick, unit, extra: Vec::new(), aim: None, peers: "" }
    }

    /// Adds a parameter, shown before the value.
    pub fn param(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.params.push((name, value.into()));
        self
    }

    /// Adds a further measurement, shown after the unit.
    pub fn extra(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.extra.push((name, value.into()));
        self
    }

    /// Sets the aim, and whether it is met.
    pub fn aim(mut self, aim: &'static str, met: bool) -> Self {
        self.aim = Some((aim, met));
        self
    }

    /// Sets what other systems reached.
    pub fn peers(mut self, peers: &'static str) -> Self {
        self.peers = peers;
        self
    }

    pub fn ratio(&self) -> f64 {
        self.value / self.yardstick
    }

    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Serializes the keys in reading order.
impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("bench", self.bench)?;
        for (name, value) in &self.params {
            map.serialize_entry(name, value)?;
        }
        map.serialize_entry("value", &rounded(self.value))?;
        map.serialize_entry("yardstick", &rounded(self.yardstick))?;
        map.serialize_entry("ratio", &rounded(self.ratio()))?;
        map.serialize_entry("unit", self.unit)?;
        for (name, value) in &self.extra {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Rounds to four digits; more would be noise.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// A table of all figures.
pub fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["bench", "parameters", "value", "yardstick", "ratio", "unit", "also", "aim", "peers"]);
    for figure in figures {
        let aim = match figure.aim {
            Some((aim, true)) => aim.to_owned(),
            Some((aim, false)) => format!("{aim}: missed"),
            None => String::new(),
        };
        table.add_row([
            figure.bench.to_owned(),
            pairs(&figure.params),
            rounded(figure.value).to_string(),
            rounded(figure.yardstick).to_string(),
            rounded(figure.ratio()).to_string(),
            figure.unit.to_owned(),
            pairs(&figure.extra),
            aim,
            figure.peers.to_owned(),
        ]);
    }
    table
}

fn pairs(pairs: &[(&'static str, Value)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}
