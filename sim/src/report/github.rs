//! Cases as GitHub Actions shows them: workflow commands that annotate files, and a step summary in Markdown. Never reads the
//! environment and writes nothing: whoever calls decides whether this is a run of GitHub Actions and where its summary is.

use std::fmt::Write as _;

use super::cases::{Case, Failure};

/// Annotations that are shown: GitHub takes ten errors a step.
const ANNOTATIONS: usize = 10;
/// Rows of the summary's table.
const ROWS: usize = 200;
/// Cases whose failures are told in full.
const TOLD: usize = 20;
/// Longest summary, in bytes: GitHub drops a step's whole summary beyond 1 MiB.
const SUMMARY_MAX: usize = 512 * 1024;

/// One `::error` command for each case that is no success, and for each place in a file that is wrong; ten at most, of which the
/// last then counts the rest.
pub fn annotations(cases: &[Case]) -> String {
    let mut all: Vec<(&Case, &[Failure])> = Vec::new();
    for case in cases.iter().filter(|c| !c.failures.is_empty()) {
        match case.failures.iter().any(|f| f.place.is_some()) {
            true => all.extend(case.failures.chunks(1).map(|one| (case, one))),
            false => all.push((case, &case.failures)),
        }
    }
    let shown = if all.len() > ANNOTATIONS { ANNOTATIONS - 1 } else { all.len() };
    let mut out = String::new();
    for (case, failures) in &all[..shown] {
        let mut properties = Vec::new();
        if let Some(file) = &case.file {
            properties.push(format!("file={}", property(file)));
        }
        if let Some((line, column)) = failures.iter().find_map(|f| f.place) {
            properties.push(format!("line={line},col={column}"));
        }
        properties.push(format!("title={}", property(&format!("{} {}", case.classname, case.name))));
        let told = failures.iter().map(|f| match f.body.as_str() {
            "" => f.message.clone(),
            body => format!("{}\n{body}", f.message),
        });
        let _ = writeln!(out, "::error {}::{}", properties.join(","), data(&told.collect::<Vec<_>>().join("\n")));
    }
    if shown < all.len() {
        let rest = all.len() - shown;
        let _ = writeln!(out, "::error title=arc-sim::{rest} more did not succeed; the step's summary names them");
    }
    out
}

/// What a workflow command says.
fn data(raw: &str) -> String {
    raw.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property of a workflow command.
fn property(raw: &str) -> String {
    data(raw).replace(':', "%3A").replace(',', "%2C")
}

/// The step summary: a table with what failed first, and what failed in full.
pub fn summary(cases: &[Case]) -> String {
    let (failed, fine): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|c| !c.failures.is_empty());
    let mut out = format!("### arc-sim: {} failed, {} passed\n\n", failed.len(), fine.len());
    if cases.is_empty() {
        return out;
    }
    out.push_str("| | what | run | virtual time | why |\n|---|---|---|---:|---|\n");
    for case in failed.iter().chain(&fine).take(ROWS) {
        let why = case.failures.iter().map(|f| cell(&f.message)).collect::<Vec<_>>().join("<br>");
        let sign = if case.failures.is_empty() { "✅ pass" } else { "❌ fail" };
        let (class, name) = (cell(&case.classname), cell(&case.name));
        let _ = writeln!(out, "| {sign} | {class} | {name} | {} s | {why} |", case.virtual_us / 1_000_000);
    }
    if cases.len() > ROWS {
        let _ = writeln!(out, "\n… and {} more.", cases.len() - ROWS);
    }
    for case in failed.into_iter().filter(|c| c.failures.iter().any(|f| !f.body.is_empty())).take(TOLD) {
        let mut told = String::new();
        for failure in &case.failures {
            let _ = writeln!(told, "{}: {}\n{}", failure.kind, failure.message, failure.body);
        }
        told.retain(|c| c == '\n' || !c.is_control());
        let fence = fence(&told);
        let part = format!(
            "\n<details><summary>{} {}</summary>\n\n{fence}text\n{}\n{fence}\n</details>\n",
            cell(&case.classname),
            cell(&case.name),
            told.trim_end()
        );
        if out.len() + part.len() > SUMMARY_MAX {
            break;
        }
        out.push_str(&part);
    }
    out
}

/// A fence that no line of the text can close.
fn fence(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(longest.max(2) + 1)
}

/// Text in a table's cell, or in an HTML element within Markdown: nothing of it is markup.
fn cell(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\n' => out.push(' '),
            c if c.is_control() => {}
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '#' => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::cases::samples;

    #[test]
    fn a_summary_tells_failures_first() {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!("github_summary", summary(&samples()));
        });
    }

    #[test]
    fn annotations_name_file_and_title_and_are_one_line_each() {
        let text = annotations(&samples());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert_eq!(
            lines[0],
            "::error file=bad.yaml,line=3,col=1,title=files bad.yaml::unknown key `relase`%0Ano such key%0Adid you mean `release`?"
        );
        let said = "::error file=scenarios/a%2Cb%3Ac.yaml,title=session-conflict 0.9.1 seed 7::listener-is-polling violated: 100%25 of <polls> & \"sessions\", lost:%0D%0A";
        assert!(lines[1].starts_with(said), "{}", lines[1]);
    }

    #[test]
    fn github_takes_ten_annotations_and_one_of_them_counts_the_rest() {
        let failed = Case { failures: vec![Failure::default()], ..Case::default() };
        let count = |n: usize| annotations(&vec![failed.clone(); n]).lines().count();
        assert_eq!((count(0), count(10), count(11), count(99)), (0, 10, 10, 10));
        let text = annotations(&vec![failed; 99]);
        assert!(text.ends_with("::90 more did not succeed; the step's summary names them\n"), "{text}");
    }

    #[test]
    fn a_summary_has_an_end() {
        let body = "x".repeat(100_000);
        let failed = Case { failures: vec![Failure { body, ..Failure::default() }], ..Case::default() };
        let text = summary(&vec![failed; 1000]);
        assert!(text.len() < SUMMARY_MAX, "{}", text.len());
        assert!(text.contains("… and 800 more."));
        assert_eq!(text.matches("<details>").count(), text.matches("</details>").count());
    }

    #[test]
    fn no_text_closes_its_fence() {
        assert_eq!(fence("a `b` c"), "```");
        assert_eq!(fence("a ```` c"), "`````");
    }
}
