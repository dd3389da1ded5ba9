//! What is wrong with a file: place, sentence, caret, one hint. Never decides whether something is wrong.

use std::fmt::Write as _;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// One problem of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Where: bytes of the text.
    pub at: Range<usize>,
    /// What, as a lowercase fragment.
    pub said: String,
    /// What the caret says.
    pub label: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// A problem without label and hint.
    pub fn new(at: Range<usize>, said: impl Into<String>) -> Problem {
        Problem { at, said: said.into(), label: String::new(), hint: None }
    }
    /// What the caret says.
    pub fn label(mut self, label: impl Into<String>) -> Problem {
        self.label = label.into();
        self
    }
    /// What to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

/// A file with its problems.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejected {
    /// Name as given.
    pub file: String,
    /// Text.
    pub text: String,
    /// Problems in file order; never empty.
    pub problems: Vec<Problem>,
}

impl Rejected {
    /// Puts the problems in file order, each once.
    pub fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Rejected {
        problems.sort_by(|a, b| (a.at.start, a.at.end, &a.said).cmp(&(b.at.start, b.at.end, &b.said)));
        problems.dedup();
        Rejected { file: file.to_owned(), text: text.to_owned(), problems }
    }
    /// `file:line:col` of a problem, both counted from one in characters.
    pub fn position(&self, problem: &Problem) -> (usize, usize) {
        let before = &self.text[..boundary(&self.text, problem.at.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
    }
    /// The text for people.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for problem in &self.problems {
            let (from, to) = (boundary(&self.text, problem.at.start), boundary(&self.text, problem.at.end));
            let span = from..first_line(&self.text, from, to);
            let annotation = AnnotationKind::Primary.span(span);
            let annotation =
                if problem.label.is_empty() { annotation } else { annotation.label(problem.label.as_str()) };
            let snippet = Snippet::source(self.text.as_str()).path(self.file.as_str()).annotation(annotation);
            let group = Group::with_title(Level::ERROR.primary_title(problem.said.as_str())).element(snippet);
            out.push_str(&renderer.render(&[group]));
            match &problem.hint {
                Some(hint) => writeln!(out, "\n\nhint: {hint}\n"),
                None => writeln!(out, "\n"),
            }
            .unwrap_or(());
        }
        out
    }
}

/// A caret marks one line: a range over several is cut at the first line's end.
fn first_line(text: &str, from: usize, to: usize) -> usize {
    let line = &text[from..to.max(from)];
    from + line.find(['\n', '\r']).unwrap_or(line.len())
}

/// The nearest character boundary at or before a byte.
fn boundary(text: &str, byte: usize) -> usize {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}

/// The nearest of some names, if it is near enough to be what was meant.
pub fn nearest<'n>(name: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let limit = (name.chars().count().max(3) / 3).max(1) + 1;
    names
        .into_iter()
        .map(|candidate| (distance(&name.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `did you mean x? keys here: a, b, c`, with whatever part of it helps.
pub fn suggestion<'n>(name: &str, what: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let mut hint = nearest(name, names.iter().copied()).map_or_else(String::new, |n| format!("did you mean `{n}`? "));
    if names.is_empty() {
        write!(hint, "there are no {what}").unwrap_or(());
    } else if names.len() <= 12 || hint.is_empty() {
        write!(hint, "{what}: {}", names.join(", ")).unwrap_or(());
    }
    hint.trim_end().to_owned()
}

/// Edit distance with transpositions of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = (0..=a.len()).map(|i| (i..=i + b.len()).collect()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(rows[i][j - 1] + 1).min(rows[i - 1][j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        assert_eq!(nearest("listner", ["controller", "listener"]), Some("listener"));
        assert_eq!(nearest("fautls", ["faults", "why"]), Some("faults"));
        assert_eq!(nearest("xyz", ["faults", "why"]), None);
        assert_eq!(nearest("a", ["b"]), None);
    }
}
