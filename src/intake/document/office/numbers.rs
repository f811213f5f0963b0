//! Numbers of lists, counted as a word processor does.

use super::super::markdown::Marker;
use std::collections::HashMap;

/// How one level of a list is marked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Level {
    pub ordered: bool,
    pub start: u64,
    /// What stands before a heading: `%1.%2` with the numbers of the levels.
    pub pattern: Option<String>,
}

/// Where each list stands: by list, one number a level.
#[derive(Default)]
pub struct Counters {
    lists: HashMap<String, Vec<u64>>,
}

/// Levels that formats know.
pub const LEVELS: usize = 10;

impl Counters {
    /// The next number of a level; deeper levels begin anew.
    pub fn next(&mut self, list: &str, depth: usize, start: u64) -> u64 {
        let depth = depth.min(LEVELS - 1);
        let levels = self.lists.entry(list.to_owned()).or_default();
        levels.truncate(depth + 1);
        let counted = levels.len() > depth;
        levels.resize(depth + 1, start);
        match levels.last_mut() {
            Some(number) if counted => {
                *number = number.saturating_add(1);
                *number
            }
            Some(number) => {
                *number = start;
                start
            }
            None => start,
        }
    }

    pub fn restart(&mut self, list: &str) {
        self.lists.remove(list);
    }

    pub fn marker(&mut self, list: &str, depth: usize, level: Option<&Level>) -> Marker {
        match level {
            Some(level) if level.ordered => Marker::Number(self.next(list, depth, level.start)),
            _ => Marker::Bullet,
        }
    }

    /// The number that a numbered heading shows: `2.1`.
    pub fn shown(&mut self, list: &str, depth: usize, level: &Level) -> Option<String> {
        if !level.ordered {
            return None;
        }
        self.next(list, depth, level.start);
        let numbers = self.lists.get(list)?;
        let mut shown = level.pattern.clone()?;
        for (index, number) in numbers.iter().enumerate() {
            shown = shown.replace(&format!("%{}", index + 1), &number.to_string());
        }
        Some(shown.trim().to_owned()).filter(|shown| !shown.is_empty() && !shown.contains('%'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deeper_levels_begin_anew() {
        let mut counters = Counters::default();
        let counted: Vec<u64> =
            [0, 1, 1, 0, 1, 3, 3].iter().map(|depth| counters.next("a", *depth, 1)).collect();
        assert_eq!(counted, [1, 1, 2, 2, 1, 1, 2]);
        assert_eq!(counters.next("b", 0, 5), 5);
        counters.restart("a");
        assert_eq!(counters.next("a", 0, 1), 1);
    }

    #[test]
    fn a_heading_shows_the_numbers_of_its_levels() {
        let mut counters = Counters::default();
        let level = |pattern: &str| Level { ordered: true, start: 1, pattern: Some(pattern.to_owned()) };
        assert_eq!(counters.shown("h", 0, &level("%1.")), Some("1.".to_owned()));
        assert_eq!(counters.shown("h", 1, &level("%1.%2")), Some("1.1".to_owned()));
        assert_eq!(counters.shown("h", 1, &level("%1.%2")), Some("1.2".to_owned()));
        assert_eq!(counters.shown("h", 0, &level("")), None);
    }
}
