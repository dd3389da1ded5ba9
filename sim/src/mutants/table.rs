//! The table of mutants for people: how many worlds and how much work it took until which invariant noticed. Never hunts.

use std::fmt::Write as _;
use std::time::Duration;

use super::{Hunted, Mutant};

/// As Markdown: those that were noticed, then those that were not, with the reason, and a line that sums up.
pub fn table(rows: &[(&Mutant, &Hunted, Duration)], budget: u64, profile: &str) -> String {
    let mut out = String::new();
    let killed: Vec<_> = rows.iter().filter_map(|(m, h, took)| Some((m, h, took, h.killed.as_ref()?))).collect();
    let _ = writeln!(out, "| mutant | what is wrong with it | worlds | CPU | noticed by |\n|---|---|--:|--:|---|");
    for (mutant, hunted, took, kill) in &killed {
        let took = seconds(**took);
        // What is no fault was noticed because events fell otherwise: such a world says something about `next`, not about it.
        let chance = if mutant.unseen.is_some() { ", by chance" } else { "" };
        let noticed = format!("{}{chance}", kill.invariant);
        let _ = writeln!(out, "| {} | {} | {} | {took} | {noticed} |", mutant.id, mutant.what, hunted.seeds);
    }
    let survived: Vec<_> = rows.iter().filter(|(_, h, _)| h.killed.is_none()).collect();
    if !survived.is_empty() {
        let _ = writeln!(out, "\n| survivor | what is wrong with it | worlds changed | why |\n|---|---|--:|---|");
    }
    for (mutant, hunted, _) in &survived {
        let why = mutant.unseen.unwrap_or("not explained yet");
        let _ = writeln!(out, "| {} | {} | {} of {} | {why} |", mutant.id, mutant.what, hunted.different, hunted.seeds);
    }
    let mut worlds: Vec<u64> = killed.iter().map(|(_, h, ..)| h.seeds).collect();
    worlds.sort_unstable();
    let median = worlds.get(worlds.len() / 2).copied().unwrap_or(0);
    let _ = writeln!(
        out,
        "\n{} mutants, {} noticed (median: world {median}), {} not; at most {budget} worlds each, profile {profile}",
        rows.len(),
        killed.len(),
        survived.len()
    );
    out
}

fn seconds(took: Duration) -> String {
    let s = took.as_secs_f64();
    if s < 0.01 { "<0.01 s".to_owned() } else { format!("{s:.2} s") }
}
