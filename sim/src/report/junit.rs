//! Cases as JUnit XML, as CI systems read it (the format of Ant's junitreport, with the `file` that GitLab and others add).
//! Times are seconds of virtual time. Never reads a clock, so that equal runs make equal files.

use std::fmt::Write as _;

use super::cases::Case;

/// The document of all cases: one suite for each class, in the order of their first cases.
pub fn xml(cases: &[Case]) -> String {
    let mut classes: Vec<&str> = Vec::new();
    for case in cases {
        if !classes.contains(&case.classname.as_str()) {
            classes.push(&case.classname);
        }
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"arc-sim\" {}>", counts(cases.iter()));
    for class in classes {
        let of_class = || cases.iter().filter(|c| c.classname == class);
        let _ = writeln!(out, "  <testsuite name=\"{}\" {}>", attribute(class), counts(of_class()));
        for case in of_class() {
            write_case(&mut out, case);
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

fn counts<'c>(cases: impl Iterator<Item = &'c Case>) -> String {
    let (mut tests, mut failures, mut errors, mut time) = (0, 0, 0, 0);
    for case in cases {
        tests += 1;
        time += case.virtual_us;
        let is_error = case.failures.iter().any(|f| f.is_error);
        errors += usize::from(is_error);
        failures += usize::from(!is_error && !case.failures.is_empty());
    }
    format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{}\"", seconds(time))
}

fn write_case(out: &mut String, case: &Case) {
    let file = case.file.as_ref().map_or_else(String::new, |f| format!(" file=\"{}\"", attribute(f)));
    let _ = write!(
        out,
        "    <testcase name=\"{}\" classname=\"{}\"{file} time=\"{}\"",
        attribute(&case.name),
        attribute(&case.classname),
        seconds(case.virtual_us)
    );
    if case.failures.is_empty() {
        out.push_str("/>\n");
        return;
    }
    out.push_str(">\n");
    for failure in &case.failures {
        let tag = if failure.is_error { "error" } else { "failure" };
        let _ = writeln!(
            out,
            "      <{tag} type=\"{}\" message=\"{}\">{}</{tag}>",
            attribute(&failure.kind),
            attribute(&failure.message),
            text(&failure.body)
        );
    }
    out.push_str("    </testcase>\n");
}

fn seconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000_000, us / 1000 % 1000)
}

/// Text within an element. What XML 1.0 cannot hold at all (most control characters) becomes U+FFFD.
fn text(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\t' | '\n' => out.push(c),
            // A literal carriage return would be read as a line feed.
            '\r' => out.push_str("&#13;"),
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Text within double quotes, whose line ends would be read as spaces.
fn attribute(raw: &str) -> String {
    text(raw).replace('"', "&quot;").replace('\n', "&#10;").replace('\t', "&#9;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_tells_all_cases() {
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!("junit", xml(&crate::report::cases::samples()));
        });
    }

    #[test]
    fn nothing_is_a_document_too() {
        let empty = xml(&[]);
        assert!(empty.contains("tests=\"0\" failures=\"0\" errors=\"0\" time=\"0.000\""), "{empty}");
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        assert_eq!(text("a\u{0}\u{1b}\u{b}\r\n<&>"), "a\u{fffd}\u{fffd}\u{fffd}&#13;\n&lt;&amp;&gt;");
        assert_eq!(attribute("\"\n\t'"), "&quot;&#10;&#9;'");
    }
}
