//! Cursors: where the next page of a list begins, as a text that clients only pass on.

use crate::http::error::ApiError;
use crate::read::{Filter, Position, Sort};
use crate::words::{DeviceId, TenantId};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A cursor holds nothing secret and gives no rights: it is only a position in the tenant's own list.
#[derive(Serialize, Deserialize)]
struct Cursor {
    /// Which list it belongs to.
    list: u64,
    id: i64,
    name: String,
}

/// Identifies a tenant's list: a cursor into another one would skip devices without a word.
pub(super) fn list_of(tenant: TenantId, filter: &Filter, sort: Sort) -> u64 {
    let hash = Sha256::digest(format!("{} {sort:?} {filter:?}", tenant.0));
    hash.iter().take(6).fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// The cursor of a position.
pub(super) fn write(list: u64, position: Position) -> String {
    let cursor = Cursor { list, id: position.id.0, name: position.name };
    // A struct of numbers and text always serialises.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
}

/// The position of a cursor of this list.
pub(super) fn read(list: u64, text: &str) -> Result<Position, ApiError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = bytes.and_then(|bytes| serde_json::from_slice::<Cursor>(&bytes).ok());
    let cursor = cursor.filter(|cursor| !cursor.name.contains('\0')).ok_or_else(|| {
        let text =
            "`after` is no cursor; pass on the `next` of the page before, or leave it out to start again";
        ApiError::BadQuery(text.to_owned())
    })?;
    if cursor.list != list {
        let text = "`after` belongs to a list with other filters, in another order or of another tenant; repeat the \
                    parameters of the first page, or leave `after` out to start again";
        return Err(ApiError::BadQuery(text.to_owned()));
    }
    Ok(Position { id: DeviceId(cursor.id), name: cursor.name })
}
