//! What came of a campaign, told: the table of classes, the findings, what was never reached. Never runs a seed of its own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use arc_api::{Str, format_smolstr};
use controller_core::Release;

use super::finding::{Finding, Odds};
use super::lines::CampaignLine;
use super::profile::Profile;
use super::results::{Header, Sums};
use super::seed::{Seen, caught};
use super::settle;
use crate::exit::Exit;
use crate::invariant::{CATALOGUE, Violation, entry};
use crate::marks::Mark;
use crate::report::cases::{Case, Failure};
use crate::report::timeline::Story;
use crate::scenario::file::{Expect, Holds};
use crate::scenario::write::{self, Title};
use crate::world::{RunOptions, run};

/// Whether a campaign is a success: no finding, and, where the profile demands it, nothing that was never reached.
pub fn verdict(profile: &Profile, release: Release, sums: &Sums) -> Exit {
    if sums.classes.keys().any(|c| c.invariant == "panic") {
        return Exit::Bug;
    }
    let vacuous = profile.demands_coverage && !uncovered(profile, release, sums).is_empty();
    if sums.classes.is_empty() && !vacuous { Exit::Fine } else { Exit::Failed }
}

/// What a campaign should have reached and did not.
pub fn uncovered(profile: &Profile, release: Release, sums: &Sums) -> Vec<String> {
    let mut out = Vec::new();
    for (id, weight) in &profile.faults {
        let fired = sums.families.get(id.as_str()).map_or(0, |(_, fired)| *fired);
        if *weight > 0 && fired == 0 {
            out.push(format!("fault `{id}` never changed anything"));
        }
    }
    for mark in Mark::ALL {
        if mark.is_of(release) && !sums.marks.contains_key(mark) {
            out.push(format!("mark `{}`: {}", mark.id(), mark.doc().trim()));
        }
    }
    for (n, promise) in CATALOGUE.iter().enumerate() {
        if sums.looked >> n & 1 == 0 {
            out.push(format!("promise `{}` was never looked at", promise.id));
        }
    }
    out
}

/// For people.
pub fn text(header: &Header, profile: &Profile, sums: &Sums, findings: &[Finding], out: &Path) -> String {
    let mut t = String::new();
    let days = sums.virtual_us / 86_400_000_000;
    let _ = writeln!(
        t,
        "{} seeds of profile {} on {}: {} events, {days} virtual days, {} failed, fingerprint {:016x}",
        sums.seeds, header.profile, header.release, sums.events, sums.failed, sums.fingerprint
    );
    if !sums.classes.is_empty() {
        let _ = writeln!(t, "\n{:<46} {:>8} {:>12}  fails first at", "class", "seeds", "first seed");
        for (class, sum) in &sums.classes {
            let fastest = sum.fastest.first().map_or_else(String::new, |(at, seed)| format!("{at} (seed {seed})"));
            let _ = writeln!(t, "{:<46} {:>8} {:>12}  {fastest}", class.to_string(), sum.count, sum.first);
        }
    }
    for f in findings {
        let causes: Vec<String> = f.causes.iter().map(|c| format!("{}: {}", c.switch, c.has)).collect();
        let _ = writeln!(
            t,
            "\n{} from seed {}: {} -> {} actions in {} tries{}{}",
            f.class,
            f.seed,
            f.actions.0,
            f.actions.1,
            f.tries,
            if f.minimal { "" } else { " (budget ended)" },
            if f.replays == 10 { String::new() } else { format!(", replays {} of 10", f.replays) }
        );
        if !causes.is_empty() {
            let _ = writeln!(t, "  cured by another value of any of: {}", causes.join(", "));
        }
        if f.odds.are_low() {
            let _ = writeln!(t, "  comes with {} of {} seeds: no cause can be told from luck", f.odds.fail, f.odds.of);
        }
        let _ = writeln!(t, "  replay: arc-sim run {} --arc {}", f.file(out).display(), f.plan.release);
    }
    let missing = header.release().map_or_else(Vec::new, |release| uncovered(profile, release, sums));
    if profile.demands_coverage && !missing.is_empty() {
        let _ = writeln!(t, "\nnever reached:");
        for line in missing {
            let _ = writeln!(t, "  {line}");
        }
    }
    t
}

/// What the page of a finding says besides its history.
pub fn story(finding: &Finding, file: &Path) -> Story {
    let promise = entry(&finding.class.invariant).map_or("", |e| e.promise);
    let causes: Vec<String> = finding.causes.iter().map(|c| format!("{}: {}", c.switch, c.cured_by)).collect();
    let cured = match causes.is_empty() {
        true => String::new(),
        false => format!(" Cured by any of: {}.", causes.join(", ")),
    };
    Story {
        why: format_smolstr!("{} was broken in seed {}: {promise}{cured}", finding.class, finding.seed),
        verdict: "fail".into(),
        replay: format!("arc-sim run {} --arc {}", file.display(), finding.plan.release),
        first: finding.class.invariant.clone(),
        ..Story::default()
    }
}

/// For CI systems: a case for each class of failures; one that is fine if there is none.
pub fn cases(header: &Header, profile: &Profile, sums: &Sums, findings: &[Finding], out: &Path) -> Vec<Case> {
    let classname = format!("chaos {} on {}", header.profile, header.release);
    let mut failed: Vec<Case> = sums
        .classes
        .iter()
        .map(|(class, sum)| {
            let files: Vec<PathBuf> = findings.iter().filter(|f| f.class == *class).map(|f| f.file(out)).collect();
            let replay = files.iter().map(|f| format!("replay: arc-sim run {} --arc {}", f.display(), header.release));
            Case {
                name: class.to_string(),
                classname: classname.clone(),
                file: files.first().map(|f| f.display().to_string()),
                virtual_us: 0,
                failures: vec![Failure {
                    kind: class.invariant.to_string(),
                    message: format!("{} of {} seeds, the first is {}", sum.count, sums.seeds, sum.first),
                    body: replay.collect::<Vec<_>>().join("\n"),
                    place: None,
                    is_error: class.invariant == "panic",
                }],
            }
        })
        .collect();
    let release = header.release().filter(|_| profile.demands_coverage);
    let missing = release.map_or_else(Vec::new, |release| uncovered(profile, release, sums));
    let failures =
        missing.into_iter().map(|message| Failure { kind: "never-reached".into(), message, ..Failure::default() });
    let campaign = Case {
        name: format!("{} seeds", sums.seeds),
        classname,
        file: None,
        virtual_us: sums.virtual_us,
        failures: failures.collect(),
    };
    failed.push(campaign);
    failed
}

/// For programs: [`CampaignLine`]s; `stopped` if somebody stopped the campaign.
pub fn json(header: &Header, sums: &Sums, findings: &[Finding], out: &Path, stopped: bool) -> String {
    let mut lines = vec![CampaignLine::campaign(header, sums, stopped)];
    lines.extend(sums.classes.iter().map(|(class, sum)| CampaignLine::class(class, sum)));
    lines.extend(findings.iter().map(|f| CampaignLine::finding(f, out)));
    lines.iter().map(|l| l.to_json() + "\n").collect()
}

/// A finding as a scenario file of this name with its story on top; `origin` says where it comes from.
///
/// # Errors
/// What scenario files cannot say.
pub fn scenario_file(finding: &Finding, name: &str, origin: &str) -> Result<String, &'static str> {
    let (release, class) = (finding.plan.release(), &finding.class);
    let mut story = vec![
        format!("Origin: {origin}, seed {}, on {release}.", finding.seed),
        format!("Class {class}. Promise: {}", entry(&class.invariant).map_or("", |e| e.promise)),
        format!("Shrunk from {} to {} actions in {} executions.", finding.actions.0, finding.actions.1, finding.tries),
    ];
    let Odds { fail, of } = finding.odds;
    if of > 0 {
        let luck = if finding.odds.are_low() { ": too seldom to tell a cause from luck" } else { "" };
        story.push(format!("Comes with {fail} of {of} seeds{luck}."));
    }
    for cause in &finding.causes {
        story.push(format!("Does not happen with `{}: {}` in place of `{}`.", cause.switch, cause.cured_by, cause.has));
    }
    if class.invariant == "world-converges" {
        story.push(format!("Bound: {}.", settle::bound(&finding.plan)));
    }
    let mut why = Str::new_static("Found at random.");
    let (mut expect, mut violates) = (BTreeMap::new(), Vec::<Str>::new());
    match caught(|| run(&finding.plan, &RunOptions { trace: true, ..RunOptions::default() })) {
        Some(full) => {
            let is_it = |v: &&Violation| v.invariant == class.invariant && v.component == class.component;
            if let Some(v) = full.violations.iter().find(is_it) {
                why = format_smolstr!("{}: {}", v.about.join(", "), v.said);
                story.push(format!("How it comes about, up to {}:", v.at));
                let chain = full.trace.causes(v.cause, 12);
                story.extend(chain.into_iter().map(|e| {
                    let line = full.trace.line(e);
                    format!("  {}", line.chars().take(150).collect::<String>())
                }));
            }
            violates = full.violations.iter().map(|v| v.invariant.into()).collect();
        }
        // A bug of the simulator: there is no history to tell.
        None => why = "The simulator panics in this world.".into(),
    }
    violates.sort();
    violates.dedup();
    // A world that never ends, or that nobody can simulate, breaks no promise of its own.
    let holds = violates.is_empty().then_some(Holds::All);
    expect.insert(release.as_str().into(), Expect { violates, holds, ..Expect::default() });
    let next = finding.plan.for_release(Release::Next);
    if release != Release::Next
        && let Some(ran) = caught(|| run(&next, &RunOptions::default()))
        && Seen::of(&next, &ran).classes.is_empty()
    {
        let idle = next.actions.iter().zip(&ran.hits).filter(|(_, hits)| **hits == 0);
        let may_not_fire = idle.map(|(a, _)| a.id.clone()).collect();
        expect.insert("next".into(), Expect { holds: Some(Holds::All), may_not_fire, ..Expect::default() });
    }
    let title = Title { name: name.into(), why, tags: vec!["chaos".into()], expect };
    let scenario = write::scenario(&finding.plan, &title)?;
    Ok(write::text(&scenario, &story))
}
