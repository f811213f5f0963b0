//! Lines of several cells below one another become the rows of a table.

use super::lines::Line;

/// Rows as they come, until a line comes that is none.
#[derive(Default)]
pub struct Rows {
    rows: Vec<Row>,
}

struct Row {
    base: f64,
    size: f64,
    cells: Vec<Part>,
    pages: usize,
}

struct Part {
    text: String,
    from: f64,
    to: f64,
}

/// A line this far below a row, in sizes, may be the second line of one of its cells.
const NEXT_LINE: f64 = 1.45;

impl Rows {
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    pub fn push(&mut self, line: &Line, pages: usize) {
        let part = |cell: &super::lines::Cell| Part { text: cell.text.clone(), from: cell.from, to: cell.to };
        let cells = line.cells.iter().map(part).collect();
        self.rows.push(Row { base: line.base, size: line.size, cells, pages });
    }

    /// Takes a line of one cell as the next line of a cell above it, if it stands where such a line does.
    pub fn take_wrapped(&mut self, line: &Line) -> bool {
        let [cell] = &line.cells[..] else { return false };
        let Some(row) = self.rows.last_mut() else { return false };
        let below = line.base - row.base;
        if below <= 0.0 || below > NEXT_LINE * row.size.max(line.size) {
            return false;
        }
        let count = row.cells.len();
        let next = row.cells.iter().skip(1).map(|part| part.from).collect::<Vec<_>>();
        let above = row.cells.iter_mut().enumerate().find(|(index, part)| {
            let aligned = (part.from - cell.from).abs() <= row.size;
            let room = next.get(*index).is_none_or(|next| cell.to < *next);
            // Below the first cell text may just go on: it has to keep to the cell's width.
            aligned && room && count > 1
        });
        match above {
            Some((_, part)) => {
                part.text.push(' ');
                part.text.push_str(&cell.text);
                part.to = part.to.max(cell.to);
                row.base = line.base;
                true
            }
            None => false,
        }
    }

    /// The rows with each cell in its column; nothing is left here. A single row is no table.
    pub fn finish(&mut self) -> Vec<(Vec<String>, usize)> {
        let rows = std::mem::take(&mut self.rows);
        let columns = columns(&rows);
        rows.into_iter()
            .map(|row| {
                let mut cells = vec![String::new(); columns.len()];
                let mut from = 0;
                for part in row.cells {
                    let place = column(&columns, &part).max(from).min(cells.len().saturating_sub(1));
                    if let Some(cell) = cells.get_mut(place) {
                        if !cell.is_empty() {
                            cell.push(' ');
                        }
                        cell.push_str(&part.text);
                    }
                    from = place;
                }
                (cells, row.pages)
            })
            .collect()
    }
}

/// Where the columns are: as in the rows that have the most cells, for a heading may stand above several.
fn columns(rows: &[Row]) -> Vec<(f64, f64)> {
    let most = rows.iter().map(|row| row.cells.len()).max().unwrap_or(0);
    let mut columns: Vec<(f64, f64)> = vec![(f64::MAX, f64::MIN); most];
    for row in rows.iter().filter(|row| row.cells.len() == most) {
        for (column, part) in columns.iter_mut().zip(&row.cells) {
            *column = (column.0.min(part.from), column.1.max(part.to));
        }
    }
    columns
}

/// The column that a cell shares most with, or else the nearest.
fn column(columns: &[(f64, f64)], part: &Part) -> usize {
    let near = |(from, to): &(f64, f64)| {
        let shared = to.min(part.to) - from.max(part.from);
        // Alignment at either edge decides between columns that are shared equally little.
        let edges = (from - part.from).abs().min((to - part.to).abs());
        if shared > 0.0 { shared } else { -edges }
    };
    let scored = columns.iter().map(near).enumerate();
    scored.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(index, _)| index)
}
