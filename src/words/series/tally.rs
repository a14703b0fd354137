//! What is known of one value over a stretch of time.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Larger numbers are no measurements, and their sums would be infinite.
const NUMBER_MAX: f64 = 1e100;

/// One value over a stretch of time. In Postgres it is an array of its fields, in this order.
///
/// Numbers count as what they are, `false` as 0 and `true` as 1; of texts there is only the last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Tally {
    /// Readings of it.
    pub readings: u64,
    /// Those that are numbers.
    pub numbers: u64,
    /// Their sum.
    pub sum: f64,
    /// The least number that was read or stood.
    pub min: Option<f64>,
    /// The greatest.
    pub max: Option<f64>,
    /// The sum of each number times the ms for which it stood.
    pub weighted: f64,
    /// For how long a number stood, ms.
    pub weighed_ms: i64,
    /// The last that was read or stood.
    pub last: Value,
    /// Whether that stands at the end.
    pub stands: bool,
}

type Stored = (u64, u64, f64, Option<f64>, Option<f64>, f64, i64, Value, bool);

impl From<Stored> for Tally {
    fn from((readings, numbers, sum, min, max, weighted, weighed_ms, last, stands): Stored) -> Self {
        Self { readings, numbers, sum, min, max, weighted, weighed_ms, last, stands }
    }
}

impl From<Tally> for Stored {
    fn from(t: Tally) -> Self {
        (t.readings, t.numbers, t.sum, t.min, t.max, t.weighted, t.weighed_ms, t.last, t.stands)
    }
}

impl Tally {
    /// Of one reading.
    pub fn read(value: Value) -> Self {
        let number = number(&value);
        Self {
            readings: 1,
            numbers: number.is_some().into(),
            sum: number.unwrap_or(0.0),
            ..Self::stood(value)
        }
    }

    /// Of what stood already.
    pub fn stood(value: Value) -> Self {
        let number = number(&value);
        Self {
            readings: 0,
            numbers: 0,
            sum: 0.0,
            min: number,
            max: number,
            weighted: 0.0,
            weighed_ms: 0,
            last: value,
            stands: true,
        }
    }

    /// The last value stands for so long.
    pub fn stand(&mut self, ms: i64) {
        if let Some(number) = number(&self.last) {
            self.weighted += number * ms as f64;
            self.weighed_ms += ms;
        }
    }

    /// Adds what came later.
    pub fn add(&mut self, later: Self) {
        self.readings += later.readings;
        self.numbers += later.numbers;
        self.sum += later.sum;
        self.min = [self.min, later.min].into_iter().flatten().reduce(f64::min);
        self.max = [self.max, later.max].into_iter().flatten().reduce(f64::max);
        self.weighted += later.weighted;
        self.weighed_ms += later.weighed_ms;
        self.last = later.last;
        self.stands = later.stands;
    }

    /// The average of the numbers that were read.
    pub fn avg(&self) -> Option<f64> {
        (self.numbers > 0).then(|| self.sum / self.numbers as f64)
    }

    /// The average of the numbers that stood, each as long as it did.
    pub fn time_avg(&self) -> Option<f64> {
        (self.weighed_ms > 0).then(|| self.weighted / self.weighed_ms as f64)
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(is) => Some(f64::from(*is)),
        Value::Number(number) => number.as_f64().filter(|number| number.abs() <= NUMBER_MAX),
        _ => None,
    }
}
