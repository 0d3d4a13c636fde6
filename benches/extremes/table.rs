//! What was measured: one row a part and way.

use std::fmt::Write as _;

/// Rows of results.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

#[derive(Debug)]
struct Row {
    part: &'static str,
    way: String,
    value: String,
    note: String,
}

impl Table {
    /// Adds a row, and says so.
    pub(crate) fn add(&mut self, part: &'static str, way: &str, value: String, note: String) {
        eprintln!("{part}: {way}: {value} {note}");
        self.0.push(Row { part, way: way.to_owned(), value, note });
    }

    /// As markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("| part | way | result | |\n|---|---|--:|---|\n");
        for Row { part, way, value, note } in &self.0 {
            // A String takes everything.
            let _ = writeln!(text, "| {part} | {way} | {value} | {note} |");
        }
        text
    }
}

/// The middle value, or the upper one of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A value's share of another, for the note.
pub(crate) fn ratio(value: f64, of: f64, to: &str) -> String {
    format!("{:.2} x {to}", value / of)
}
