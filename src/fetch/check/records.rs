//! Keys of what programs yield.

use super::Place;
use crate::fetch::jq::{Keys, objects};
use crate::provider::Unit;

/// What a program must yield.
pub(super) struct Yields {
    program: &'static str,
    keys: &'static [&'static str],
    needed: &'static [&'static str],
    /// Why `id` is needed, and what to do.
    id: &'static str,
}

pub(super) fn yields(place: Place<'_>) -> Option<Yields> {
    let record = ["id", "values", "observed_at", "online"].as_slice();
    let of_several = "one response is of several devices, and nothing says which a record is of: let records yield id, \
                      or declare `id`, jq that reads it from an element";
    match place {
        Place::Resource(_, of) => {
            let has_id = of.id.is_some() || of.unit == Unit::Device;
            let needed = match (has_id, of.offline_after) {
                (true, None) => ["values"].as_slice(),
                (true, Some(_)) => &["values", "observed_at"],
                (false, None) => &["values", "id"],
                (false, Some(_)) => &["values", "id", "observed_at"],
            };
            Some(Yields { program: "records", keys: record, needed, id: of_several })
        }
        Place::Probe(..) => Some(Yields {
            program: "revisions",
            keys: &["id", "revision", "online"],
            needed: &["id"],
            id: "revisions must yield the id of each device",
        }),
        Place::Discovery => Some(Yields {
            program: "devices",
            keys: &["id", "name", "group", "model", "resources"],
            needed: &["id"],
            id: "devices must yield the id of each device",
        }),
        Place::Bootstrap | Place::BaseUrl | Place::IdScope => None,
    }
}

impl Yields {
    /// What is wrong with all that a program yields, or with a key of some.
    pub(super) fn wrong(&self, code: &str) -> Option<String> {
        let shapes = objects(code).filter(|shapes| !shapes.is_empty())?;
        let unknown = |keys: &Keys| keys.iter().find(|key| !self.keys.contains(&key.as_str())).cloned();
        if let Some(unknown) = shapes.iter().find_map(unknown) {
            let (program, known) = (self.program, self.keys.join(", "));
            return Some(format!("{program} yields the key {unknown:?}, which is refused: use {known}"));
        }
        let missing = |key: &&&str| shapes.iter().all(|keys| !keys.contains(**key));
        self.needed.iter().find(missing).map(|key| match *key {
            "id" => self.id.to_owned(),
            "observed_at" => "records yields no observed_at, which offline_after counts from".to_owned(),
            key => format!("{} yields no {key}: each record needs {key}, an object", self.program),
        })
    }
}
