//! The look of all tables: a rule under the header, columns two blanks apart, no boxes, so that they read well
//! and cut well.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

/// Makes an empty table; `width` is what it may take, `None` for as much as it needs. Where it is narrow the last
/// column gives way: names and numbers are never broken.
pub fn table(columns: &[(&str, Side)], width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(columns.iter().map(|(name, _)| *name));
    let style = table.style_mut();
    style.header_separator.fill = Some('─');
    style.header_separator.junction = Some(' ');
    style.header_lines.junction = Some(' ');
    style.content_lines.junction = Some(' ');
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for (i, (_, side)) in columns.iter().enumerate() {
        if let Some(column) = table.column_mut(i) {
            column.set_padding((0, 1));
            if i + 1 < columns.len() {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
            column.set_cell_alignment(match side {
                Side::Left => CellAlignment::Left,
                Side::Right => CellAlignment::Right,
            });
        }
    }
    table
}
