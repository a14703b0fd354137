//! What a bench found, for programs and for people.

use comfy_table::{ContentArrangement, Table, presets};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

/// One figure beside its yardstick.
pub struct Figure {
    bench: &'static str,
    /// Of what: `lanes`, `batch`.
    of: Vec<(&'static str, Value)>,
    value: f64,
    yardstick: f64,
    unit: &'static str,
    /// What else was seen: `refused`, `p50_ms`.
    beside: Vec<(&'static str, Value)>,
    aim: Option<(&'static str, bool)>,
    peers: &'static str,
}

impl Figure {
    pub fn new(bench: &'static str, value: f64, yardstick: f64, unit: &'static str) -> Self {
        Self { bench, of: Vec::new(), value, yardstick, unit, beside: Vec::new(), aim: None, peers: "" }
    }

    /// Says of what it is; shown before the value.
    pub fn of(mut self, name: &'static str, what: impl Into<Value>) -> Self {
        self.of.push((name, what.into()));
        self
    }

    /// Adds what else was seen; shown after the unit.
    pub fn beside(mut self, name: &'static str, seen: impl Into<Value>) -> Self {
        self.beside.push((name, seen.into()));
        self
    }

    /// What it should be, and whether it is.
    pub fn aim(mut self, aim: &'static str, met: bool) -> Self {
        self.aim = Some((aim, met));
        self
    }

    /// What others were measured to do.
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

/// The keys in the order in which people read them.
impl Serialize for Figure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("bench", self.bench)?;
        for (name, what) in &self.of {
            map.serialize_entry(name, what)?;
        }
        map.serialize_entry("value", &rounded(self.value))?;
        map.serialize_entry("yardstick", &rounded(self.yardstick))?;
        map.serialize_entry("ratio", &rounded(self.ratio()))?;
        map.serialize_entry("unit", self.unit)?;
        for (name, seen) in &self.beside {
            map.serialize_entry(name, seen)?;
        }
        map.end()
    }
}

/// To four digits: more would only be noise.
pub fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10_f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// All of them, for people.
pub fn table(figures: &[Figure]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["bench", "of", "value", "yardstick", "ratio", "unit", "beside", "aim", "peers"]);
    for figure in figures {
        let aim = match figure.aim {
            Some((aim, true)) => aim.to_owned(),
            Some((aim, false)) => format!("{aim}: missed"),
            None => String::new(),
        };
        table.add_row([
            figure.bench.to_owned(),
            pairs(&figure.of),
            rounded(figure.value).to_string(),
            rounded(figure.yardstick).to_string(),
            rounded(figure.ratio()).to_string(),
            figure.unit.to_owned(),
            pairs(&figure.beside),
            aim,
            figure.peers.to_owned(),
        ]);
    }
    table
}

fn pairs(pairs: &[(&'static str, Value)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}
