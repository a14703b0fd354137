//! Tables of text output.

use comfy_table::{ContentArrangement, Table, presets};

/// An empty table with these column headers. It has no frame, so that `cut` and `grep` work on it.
pub(super) fn new(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headers.iter().copied());
    table
}
