//! Stretches cut into steps of equal length, with the times at which nothing was known.

use super::level::floor;
use super::stretch::Stretch;
use super::tally::Tally;
use crate::words::UnixMs;
use serde_json::Value;
use std::collections::BTreeMap;

/// A time from an instant to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Its beginning.
    pub from: UnixMs,
    /// Its end, which is not of it.
    pub to: UnixMs,
}

/// What is known of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// When the step begins.
    pub at: UnixMs,
    /// Readings in it.
    pub readings: u64,
    /// For how long values were known, ms.
    pub known_ms: i64,
    /// For how long the device was offline, ms.
    pub offline_ms: i64,
    /// What was read or stood, by name.
    pub values: BTreeMap<String, Tally>,
}

/// What is known of the time after the last reading of a series.
#[derive(Debug, Clone, Copy)]
pub enum Known {
    /// What stands was last confirmed then.
    Until(UnixMs),
    /// There is a later reading; until then what stands is known, or until nothing was.
    Next(UnixMs),
}

/// Takes the stretches of a series in order, and makes steps of them.
#[derive(Debug)]
pub struct Steps {
    all: Span,
    step_ms: i64,
    points: Vec<Point>,
    gaps: Vec<Span>,
    offline: Vec<Span>,
    /// What stood at the end of the last stretch.
    standing: Option<Standing>,
}

#[derive(Debug)]
struct Standing {
    at: UnixMs,
    online: bool,
    values: Vec<(String, Value)>,
}

impl Steps {
    /// All steps of a span of whole ones.
    pub fn new(all: Span, step_ms: i64) -> Self {
        let starts = (0..all.ms() / step_ms).map(|n| all.from.plus_ms(n * step_ms));
        let point = |at| Point { at, readings: 0, known_ms: 0, offline_ms: 0, values: BTreeMap::new() };
        Self {
            all,
            step_ms,
            points: starts.map(point).collect(),
            gaps: Vec::new(),
            offline: Vec::new(),
            standing: None,
        }
    }

    /// Takes the next stretch. Of one that ends before the first step, only what stands at its end counts; one that
    /// does not must lie in one step.
    pub fn take(&mut self, next: Stretch) {
        match self.standing.take() {
            Some(standing) => {
                let end = next.gap_since.unwrap_or(next.first_at).min(next.first_at).max(standing.at);
                self.stand(&standing, end);
                self.gap(end, next.first_at);
            }
            None => self.gap(self.all.from, next.first_at),
        }
        if next.offline_ms == next.last_at.since_ms(next.first_at) {
            self.offline(next.first_at, next.last_at);
        }
        let values = next.values.iter().filter(|(_, tally)| tally.stands);
        self.standing = Some(Standing {
            at: next.last_at,
            online: next.online,
            values: values.map(|(name, tally)| (name.clone(), tally.last.clone())).collect(),
        });
        let Some(point) = self.point_mut(next.first_at) else { return };
        point.readings += next.readings;
        point.known_ms += next.known_ms;
        point.offline_ms += next.offline_ms;
        for (name, tally) in next.values {
            match point.values.get_mut(&name) {
                Some(before) => before.add(tally),
                None => drop(point.values.insert(name, tally)),
            }
        }
    }

    /// Ends the series. Nothing after `now` is a gap.
    pub fn end(mut self, known: Option<Known>, now: UnixMs) -> (Vec<Point>, Vec<Span>, Vec<Span>) {
        let known_until = match known {
            Some(Known::Until(at) | Known::Next(at)) => at.min(now),
            None => self.all.from,
        };
        let mut end = self.all.from;
        if let Some(standing) = self.standing.take() {
            end = known_until.max(standing.at);
            self.stand(&standing, end);
        }
        self.gap(end, now);
        for spans in [&mut self.gaps, &mut self.offline] {
            spans.retain(|span| span.ms() >= self.step_ms);
        }
        (self.points, self.gaps, self.offline)
    }

    fn point_mut(&mut self, at: UnixMs) -> Option<&mut Point> {
        let index = at.since_ms(self.all.from).div_euclid(self.step_ms);
        self.points.get_mut(usize::try_from(index).ok()?)
    }

    /// What stands does so until `end`: it counts in every step that it reaches into.
    fn stand(&mut self, standing: &Standing, end: UnixMs) {
        let (from, to) = (standing.at.max(self.all.from), end.min(self.all.to));
        if to <= from {
            return;
        }
        if !standing.online {
            self.offline(from, to);
        }
        let mut at = from;
        while at < to {
            let until = floor(at, self.step_ms).plus_ms(self.step_ms).min(to);
            let ms = until.since_ms(at);
            let Some(point) = self.point_mut(at) else { return };
            at = until;
            if !standing.online {
                point.offline_ms += ms;
                continue;
            }
            point.known_ms += ms;
            for (name, value) in &standing.values {
                let stood = || Tally::stood(value.clone());
                point.values.entry(name.clone()).or_insert_with(stood).stand(ms);
            }
        }
    }

    fn gap(&mut self, from: UnixMs, to: UnixMs) {
        extend(&mut self.gaps, self.all.of(from, to), self.step_ms);
    }

    fn offline(&mut self, from: UnixMs, to: UnixMs) {
        extend(&mut self.offline, self.all.of(from, to), self.step_ms);
    }
}

impl Span {
    /// The steps that `from` and `to` and all between lie in.
    pub fn of_steps(from: UnixMs, to: UnixMs, step_ms: i64) -> Self {
        Self { from: floor(from, step_ms), to: floor(to.plus_ms(step_ms - 1), step_ms) }
    }

    fn ms(self) -> i64 {
        self.to.since_ms(self.from)
    }

    /// The part of it that lies between these.
    fn of(self, from: UnixMs, to: UnixMs) -> Self {
        Self { from: from.max(self.from), to: to.min(self.to) }
    }
}

/// Adds a span, or makes the last one longer. One shorter than a step is told by the step's times: there may be many.
fn extend(spans: &mut Vec<Span>, span: Span, step_ms: i64) {
    if span.ms() <= 0 {
        return;
    }
    match spans.last_mut() {
        Some(last) if last.to == span.from => last.to = span.to,
        Some(last) if last.ms() < step_ms => *last = span,
        _ => spans.push(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reading(at: i64, gap_since: Option<i64>, online: bool, t: f64) -> Stretch {
        let values = [("t".to_owned(), json!(t))].into_iter().collect();
        Stretch::of(UnixMs(at), gap_since.map(UnixMs), online, values)
    }

    fn span(from: i64, to: i64) -> Span {
        Span { from: UnixMs(from), to: UnixMs(to) }
    }

    #[test]
    fn value_stands_until_the_next_reading_and_no_longer_than_it_was_known() {
        let all = Span::of_steps(UnixMs(1_000), UnixMs(9_500), 1_000);
        assert_eq!(all, span(1_000, 10_000));
        let mut steps = Steps::new(all, 1_000);
        steps.take(reading(0, None, true, 10.0));
        steps.take(reading(1_250, None, true, 20.0));
        steps.take(reading(5_500, Some(3_500), false, 20.0));
        steps.take(reading(7_000, None, true, 4.0));
        let (points, gaps, offline) = steps.end(Some(Known::Until(UnixMs(8_250))), UnixMs(9_500));
        assert_eq!((gaps, offline), (vec![span(3_500, 5_500), span(8_250, 9_500)], vec![span(5_500, 7_000)]));
        let of = |n: usize| points[n].values.get("t").map(|t| (t.min, t.max, t.readings, t.time_avg()));
        // 10 for a quarter of the step, 20 for the rest of it.
        assert_eq!(of(0), Some((Some(10.0), Some(20.0), 1, Some(17.5))));
        assert_eq!(of(1), Some((Some(20.0), Some(20.0), 0, Some(20.0))));
        let times: Vec<_> = points.iter().map(|point| (point.known_ms, point.offline_ms)).collect();
        let known = [1_000, 1_000, 500, 0, 0, 0, 1_000, 250, 0];
        let offline = [0, 0, 0, 0, 500, 1_000, 0, 0, 0];
        assert_eq!(times, known.into_iter().zip(offline).collect::<Vec<_>>());
        assert!(points[3].values.is_empty() && points[5].values.is_empty() && points[8].values.is_empty());
    }

    #[test]
    fn steps_of_rolled_up_stretches_are_those_of_their_readings() {
        let all: Vec<_> = (0..200)
            .map(|n: i64| {
                let gap = (n % 13 == 4).then_some(n * 700 - 350);
                reading(n * 700, gap, n % 11 != 3, ((n * 37) % 23) as f64)
            })
            .collect();
        let ends = || Some(Known::Until(UnixMs(141_000)));
        let steps = || Steps::new(span(20_000, 140_000), 20_000);
        let mut raw = steps();
        all.iter().cloned().for_each(|reading| raw.take(reading));
        let mut rolled = steps();
        for bucket in 0..40 {
            let within = all.iter().filter(|one| one.first_at.0.div_euclid(5_000) == bucket);
            let joined = within.cloned().reduce(|mut all, next| {
                all.join(next);
                all
            });
            joined.into_iter().for_each(|stretch| rolled.take(stretch));
        }
        let now = UnixMs(200_000);
        assert_eq!(raw.end(ends(), now).0, rolled.end(ends(), now).0);
    }

    #[test]
    fn nothing_is_known_without_a_reading_and_nothing_is_missing_in_the_future() {
        let (points, gaps, _) = Steps::new(span(0, 5_000), 1_000).end(None, UnixMs(3_000));
        assert!(points.iter().all(|point| point.values.is_empty() && point.known_ms == 0));
        assert_eq!(gaps, [span(0, 3_000)]);
    }
}
