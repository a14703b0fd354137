//! Tables of text output.

use crate::words::text;
use comfy_table::{ContentArrangement, presets};
use std::fmt::{self, Display};

/// A table. Its cells are one line each, and what they hold neither moves the cursor nor hides anything.
pub(super) struct Table(comfy_table::Table);

/// An empty table with these column headers. It has no frame, so that `cut` and `grep` work on it.
pub(super) fn new(headers: &[&str]) -> Table {
    let mut table = comfy_table::Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(headers.iter().copied());
    Table(table)
}

impl Table {
    /// Adds a row of cells.
    pub(super) fn add_row(&mut self, cells: impl IntoIterator<Item = impl Display>) {
        let cell = |cell: String| text::for_terminal(&cell).replace('\n', " ");
        self.0.add_row(cells.into_iter().map(|text| cell(text.to_string())));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn cells_are_one_visible_line() {
        let mut table = super::new(&["name"]);
        table.add_row(["a\x1b[2J\nb\u{202e}c"]);
        assert_eq!(table.to_string().lines().last().unwrap().trim(), "a\u{fffd}[2J b\u{fffd}c");
    }
}
