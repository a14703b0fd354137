//! Pages of a call: one that was mapped, one that ended the call, and the result of all.

use super::answer::EndedEarly;
use super::answer::elements::Mapping;
use crate::words::{DeviceId, End, Hold, Validator};
use jaq_json::Val;
use serde_json::Value;
use std::collections::BTreeMap;

/// A page that was mapped.
pub(super) struct MappedPage<T> {
    /// The whole page, if the next one is found from it.
    pub(super) json: Option<Val>,
    pub(super) found: Vec<T>,
    /// The page's change token.
    pub(super) change_token: Option<Value>,
    pub(super) end: End,
}

/// The result of all pages of a call.
pub(super) struct PagedResult<T> {
    pub(super) found: Vec<T>,
    /// How the call ended; an error if it ended before the last page.
    pub(super) ended: Result<End, EndedEarly>,
    pub(super) holds: Vec<(Hold, Option<DeviceId>)>,
    /// Bootstrap values that a response corrects.
    pub(super) bootstrap_values: BTreeMap<String, String>,
    /// The validator of the first page.
    pub(super) validator: Option<Validator>,
    /// Whether the request asked for changes only.
    pub(super) is_part: bool,
}

/// A page that ended the call: how, the hold that it asks for, and the bootstrap values that it corrects.
pub(super) struct FailedPage {
    pub(super) ended: EndedEarly,
    pub(super) hold: Option<Hold>,
    pub(super) bootstrap_values: BTreeMap<String, String>,
}

/// Maps a page's JSON.
pub(super) type Reader<T> = fn(&Mapping, &Val) -> Result<Vec<T>, String>;
