//! Office files: archives of XML -> [`Text`](super::Text).
//!
//! Enters: the bytes of a .docx, .odt or .xlsx file, in a worker. Leaves: headings, lists, tables, footnotes and
//! pages as the file itself marks them. It must never follow a link out of the archive or compute a formula.

mod cells;
pub mod docx;
mod flow;
mod numbers;
pub mod odt;
mod package;
mod word_styles;
pub mod xlsx;

#[cfg(test)]
mod tests;
