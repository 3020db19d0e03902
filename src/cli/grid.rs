//! Tables of text: columns as wide as their widest cell.

use crate::model::printable;

/// Rows of cells, the first of them the names of the columns.
#[derive(Debug, Default)]
pub(super) struct Grid {
    rows: Vec<Vec<String>>,
    /// Columns that stand on the right, such as numbers.
    right: &'static [usize],
}

impl Grid {
    pub(super) fn new(header: &[&str], right: &'static [usize]) -> Grid {
        Grid { rows: vec![header.iter().map(|&name| name.to_owned()).collect()], right }
    }

    /// One more row. What strangers wrote is made safe to be shown.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| printable(cell).into_owned()).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() <= 1
    }

    /// With a line end after each row.
    pub(super) fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                match self.right.contains(&column) {
                    true => line.push_str(&format!("{cell:>width$}   ")),
                    false => line.push_str(&format!("{cell:<width$}   ")),
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut grid = Grid::new(&["COHORT", "N"], &[1]);
        assert!(grid.is_empty());
        grid.row(["everyone".into(), "1,234".into()]);
        grid.row(["b\u{1b}[2J".into(), "7".into()]);
        let expected = ["COHORT           N", "everyone     1,234", "b\\u{1b}[2J       7", ""].join("\n");
        assert_eq!(grid.text(), expected);
    }
}
