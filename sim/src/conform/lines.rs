//! Reads JSON line by line and gathers what cannot be read, each with its place. Never decides what a line means.

use serde_json::Value;

use crate::scenario::Problem;

/// Why a line is refused: column, what, hint.
pub type Refusal = (usize, String, &'static str);

/// After so many problems nobody reads on.
const MOST: usize = 10;

/// Gives every line that is not empty to `take`, with its number from 1; what it refuses comes back with its place.
pub fn each(text: &str, mut take: impl FnMut(&str, u32) -> Result<(), Refusal>) -> Vec<Problem> {
    let (mut offset, mut problems) = (0, Vec::new());
    for (number, line) in text.split_inclusive('\n').enumerate() {
        let at = offset;
        offset += line.len();
        let body = line.trim_end();
        if body.is_empty() {
            continue;
        }
        if let Err((column, said, hint)) = take(body, number as u32 + 1) {
            let from = at + column.min(body.len().saturating_sub(1));
            problems.push(Problem::new(from..at + body.len(), said).hint(hint));
            if problems.len() == MOST {
                break;
            }
        }
    }
    problems
}

/// A line as JSON.
///
/// # Errors
/// Where it stops being JSON.
pub fn json(text: &str) -> Result<Value, Refusal> {
    serde_json::from_str(text).map_err(|e| {
        let said = e.to_string();
        let said = said.split(" at line ").next().unwrap_or_default();
        (e.column().saturating_sub(1), format!("not JSON: {said}"), "is the file cut off?")
    })
}
