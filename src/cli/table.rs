//! Tables for people.

use comfy_table::{ContentArrangement, Table, presets};

/// An empty table with these column heads: no frames, so that it can be cut and grepped.
pub(super) fn with(heads: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(heads.iter().copied());
    table
}
