//! Every file of `scenarios/bad` is rejected, in words that people can act on; no text makes the reader panic.

use std::path::{Path, PathBuf};

use arc_sim::scenario::{load, load_plan};
use proptest::prelude::*;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn files(directory: &str) -> Vec<PathBuf> {
    let inside = std::fs::read_dir(root().join(directory))
        .map_or(Vec::new(), |d| d.filter_map(|e| Some(e.ok()?.path())).collect());
    let mut files: Vec<PathBuf> = inside.into_iter().filter(|p| p.extension().is_some_and(|e| e == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn every_bad_file_is_rejected_with_place_caret_and_hint() {
    let files = files("scenarios/bad");
    assert!(files.len() >= 30, "{} files", files.len());
    for path in files {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let Err(rejected) = load(&format!("{stem}.yaml"), &text) else { panic!("{stem} is accepted") };
        for problem in &rejected.problems {
            assert!(problem.hint.is_some(), "{stem}: `{}` has no hint", problem.said);
            assert!(problem.said.chars().next().is_some_and(|c| !c.is_uppercase()), "{stem}: {}", problem.said);
            assert!(!problem.said.ends_with('.'), "{stem}: {}", problem.said);
        }
        let starts: Vec<usize> = rejected.problems.iter().map(|p| p.at.start).collect();
        assert!(starts.is_sorted(), "{stem}: not in file order");
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            insta::assert_snapshot!(format!("diag__{stem}"), rejected.render(false));
        });
    }
}

#[test]
fn all_problems_of_a_file_are_reported_at_once() {
    let text = std::fs::read_to_string(root().join("scenarios/bad/everything-at-once.yaml")).unwrap();
    assert_eq!(load("x.yaml", &text).unwrap_err().problems.len(), 6);
}

/// What the mutations start from: every sound file of the repository that is at hand.
fn seeds() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for directory in ["scenarios/field", "scenarios/healthy", "scenarios/bad", "sim/tests/scenarios"] {
        all.extend(files(directory).iter().filter_map(|p| std::fs::read_to_string(p).ok()));
    }
    all
}

fn read(text: &str) {
    for result in [load("m.yaml", text).map(drop), load_plan("m.yaml", text).map(drop)] {
        if let Err(rejected) = result {
            assert!(!rejected.problems.is_empty());
            let plain = rejected.render(false);
            assert!(plain.starts_with("error: "), "{plain}");
            let _ = rejected.render(true);
            for problem in &rejected.problems {
                let (line, column) = rejected.position(problem);
                assert!(line >= 1 && column >= 1);
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Mutation {
    Delete(usize, usize),
    Insert(usize, &'static str),
    Repeat(usize, usize),
    Swap(usize, usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let pieces = proptest::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        "- ",
        "\n",
        "\n  ",
        "\t",
        "'",
        "\"",
        "&a ",
        "*a",
        "<<: *a",
        "!!x ",
        "#",
        "---\n",
        "|\n",
        "~",
        "null",
        "0",
        "-1",
        "99999999999999999999",
        "1e9",
        "1/0",
        "5 %",
        "ä",
        "走",
        "\u{0}",
        "\r\n",
        "at: 1m",
        "next",
        "all",
        "*",
        "/",
        "..",
    ]);
    prop_oneof![
        (any::<usize>(), 1..40usize).prop_map(|(at, n)| Mutation::Delete(at, n)),
        (any::<usize>(), pieces).prop_map(|(at, text)| Mutation::Insert(at, text)),
        (any::<usize>(), 1..60usize).prop_map(|(at, n)| Mutation::Repeat(at, n)),
        (any::<usize>(), any::<usize>()).prop_map(|(a, b)| Mutation::Swap(a, b)),
    ]
}

fn mutate(text: &str, mutation: &Mutation) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let len = chars.len().max(1);
    match *mutation {
        Mutation::Delete(at, n) => drop(chars.drain((at % len).min(chars.len())..(at % len + n).min(chars.len()))),
        Mutation::Insert(at, piece) => {
            drop(chars.splice((at % len).min(chars.len())..(at % len).min(chars.len()), piece.chars()))
        }
        Mutation::Repeat(at, n) => {
            let from = (at % len).min(chars.len());
            let piece: Vec<char> = chars[from..(from + n).min(chars.len())].to_vec();
            drop(chars.splice(from..from, piece));
        }
        Mutation::Swap(a, b) if chars.len() > 1 => chars.swap(a % len, b % len),
        Mutation::Swap(..) => {}
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutation_of_a_file_makes_the_reader_panic(seed in any::<usize>(), mutations in prop::collection::vec(mutation(), 1..6)) {
        let seeds = seeds();
        let mut text = seeds[seed % seeds.len()].clone();
        for m in &mutations {
            text = mutate(&text, m);
        }
        read(&text);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
        read(&text);
    }
}
