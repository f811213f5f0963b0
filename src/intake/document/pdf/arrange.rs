//! The order in which the cells of a page are read: line by line, and column by column where text runs in two.

use super::lines::{Cell, Line, most_common, same};

/// Columns of text: that many lines on either side, each about so long, and most of them filling their side.
const LEAST_LINES: usize = 6;
const LEAST_LETTERS: usize = 18;
const FULL: f64 = 0.6;
/// Where the gap between two columns is looked for, in shares of the width of the text, and in how many steps.
const BETWEEN: (f64, f64) = (0.3, 0.7);
const STEPS: usize = 40;
/// Cells whose base lines differ less than this share of their size are of one line.
const SAME_LINE: f64 = 0.4;

pub fn in_order(cells: Vec<Cell>) -> Vec<Line> {
    let Some(gap) = gap(&cells) else { return lines(cells) };
    let mut ordered = Vec::new();
    let mut left = Vec::new();
    let mut right = Vec::new();
    let mut all = cells;
    all.sort_by(|a, b| a.base.total_cmp(&b.base));
    for cell in all {
        // What stands across both columns ends them, and others begin below.
        if cell.from < gap && cell.to > gap {
            ordered.extend(lines(std::mem::take(&mut left)));
            ordered.extend(lines(std::mem::take(&mut right)));
            ordered.extend(lines(vec![cell]));
        } else if cell.to <= gap {
            left.push(cell);
        } else {
            right.push(cell);
        }
    }
    let behind = behind(&mut left, &right);
    ordered.extend(lines(left));
    ordered.extend(lines(right));
    ordered.extend(lines(behind));
    ordered
}

/// Takes away what stands on the left below both columns, and apart from the left one: text that follows them.
fn behind(left: &mut Vec<Cell>, right: &[Cell]) -> Vec<Cell> {
    let end = right.iter().map(|cell| cell.base).fold(f64::MIN, f64::max);
    let pairs = || left.windows(2).enumerate();
    let first = pairs().find(|(_, pair)| match pair {
        [above, below] => {
            let apart = below.base - above.base > 1.6 * above.size || !same(above.size, below.size);
            below.base > end + 0.9 * below.size && apart
        }
        _ => false,
    });
    match first.map(|(index, _)| index + 1) {
        Some(index) if !right.is_empty() => left.split_off(index),
        _ => Vec::new(),
    }
}

/// Where two columns of running text part; `None` where there are none. Cells of a table are short, or fill their
/// column by chance: they do not count.
fn gap(cells: &[Cell]) -> Option<f64> {
    let from = cells.iter().map(|cell| cell.from).fold(f64::MAX, f64::min);
    let to = cells.iter().map(|cell| cell.to).fold(f64::MIN, f64::max);
    let width = to - from;
    if cells.len() < 2 * LEAST_LINES || width <= 0.0 {
        return None;
    }
    let at = |step: usize| {
        let share = BETWEEN.0 + (BETWEEN.1 - BETWEEN.0) * step as f64 / STEPS as f64;
        from + share * width
    };
    let crossing = |x: f64| cells.iter().filter(|cell| cell.from < x && cell.to > x).count();
    let fewest = (0..=STEPS).map(|step| crossing(at(step))).min()?;
    let free: Vec<f64> = (0..=STEPS).map(at).filter(|x| crossing(*x) == fewest).collect();
    let gap = *free.get(free.len() / 2)?;
    let left: Vec<&Cell> = cells.iter().filter(|cell| cell.to <= gap).collect();
    let right: Vec<&Cell> = cells.iter().filter(|cell| cell.from >= gap).collect();
    (fewest * 4 <= left.len().min(right.len()) && is_text(&left) && is_text(&right)).then_some(gap)
}

fn is_text(cells: &[&Cell]) -> bool {
    let letters: usize = cells.iter().map(|cell| cell.letters()).sum();
    let from = cells.iter().map(|cell| cell.from).fold(f64::MAX, f64::min);
    let to = cells.iter().map(|cell| cell.to).fold(f64::MIN, f64::max);
    let full = cells.iter().filter(|cell| cell.to - cell.from >= FULL * (to - from)).count();
    cells.len() >= LEAST_LINES && letters >= LEAST_LETTERS * cells.len() && 10 * full >= 7 * cells.len()
}

/// Cells of about one base line are one line.
fn lines(mut cells: Vec<Cell>) -> Vec<Line> {
    cells.sort_by(|a, b| a.base.total_cmp(&b.base));
    let mut lines: Vec<Vec<Cell>> = Vec::new();
    for cell in cells {
        let joins = lines
            .last()
            .and_then(|line| line.first())
            .is_some_and(|first| (cell.base - first.base).abs() <= SAME_LINE * first.size.min(cell.size));
        match lines.last_mut().filter(|_| joins) {
            Some(line) => line.push(cell),
            None => lines.push(vec![cell]),
        }
    }
    lines.into_iter().filter_map(line).collect()
}

fn line(mut cells: Vec<Cell>) -> Option<Line> {
    cells.sort_by(|a, b| a.from.total_cmp(&b.from));
    let size = most_common(cells.iter().map(|cell| (cell.size, cell.letters())))?;
    let base = cells.iter().map(|cell| cell.base).fold(f64::MIN, f64::max);
    let bold = cells.iter().all(|cell| cell.bold);
    Some(Line { base, size, bold, cells, table: Vec::new() })
}
