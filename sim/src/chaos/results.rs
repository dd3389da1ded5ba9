//! What a campaign has seen, seed by seed: the file that makes it resumable, and the sums that shards are merged by.
//!
//! One line per seed, appended when the seed is done. Killed at any moment, a campaign loses at most the line it was writing;
//! that seed is run again. Sums do not depend on the order of seeds, so neither on jobs nor on shards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use arc_api::{Str, Time};
use controller_core::Release;
use serde::{Deserialize, Serialize};

use super::profile::Profile;
use super::seed::{Class, Seen};
use crate::marks::{Mark, Marks};
use crate::plan::Fault;

/// Version of both files.
pub const FORMAT: u32 = 1;

/// What a campaign is: results of different campaigns are never added up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub v: u32,
    /// Which ARC.
    pub release: Str,
    /// Name of the profile.
    pub profile: Str,
    /// [`super::Profile::digest`].
    pub digest: String,
    /// Seeds of the whole campaign, all shards together; absent: as many as fit in its time.
    pub seeds: Option<u64>,
    /// Which part of them.
    pub shard: Shard,
}

/// A part of the seeds: those that leave `index` when divided by `of`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// From 0 on.
    pub index: u64,
    /// How many parts there are.
    pub of: u64,
}

impl Header {
    /// Of a campaign that is begun now.
    pub fn new(profile: &Profile, release: Release, seeds: Option<u64>, shard: Shard) -> Header {
        let (profile, digest) = (profile.name.clone(), profile.digest());
        Header { v: FORMAT, release: release.as_str().into(), profile, digest, seeds, shard }
    }
    /// Which ARC; none if this program does not know it.
    pub fn release(&self) -> Option<Release> {
        self.release.parse().ok()
    }
}

impl Shard {
    /// All seeds.
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };
    /// The seeds of the part, in order.
    pub fn seeds(self) -> impl Iterator<Item = u64> {
        (self.index..).step_by(usize::try_from(self.of.max(1)).unwrap_or(usize::MAX))
    }
}

impl std::str::FromStr for Shard {
    type Err = String;
    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        match parts {
            Some((index, of)) if index < of => Ok(Shard { index, of }),
            Some((index, of)) => {
                Err(format!("shard {index} of {of}: shards are numbered from 0 to {}", of.saturating_sub(1)))
            }
            None => Err("write INDEX/COUNT, for example 0/8".to_owned()),
        }
    }
}

/// Why results could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// A file.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line that no campaign wrote.
    #[error("{}:{line}: not a line of a campaign's results", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
    },
    /// Results of something else.
    #[error("{}: {said}", path.display())]
    Other {
        /// Which file.
        path: PathBuf,
        /// What does not fit.
        said: String,
    },
}

/// Results on disk.
#[derive(Debug)]
pub struct Results {
    path: PathBuf,
    file: File,
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> ResultsError + '_ {
    move |error| ResultsError::File { path: path.to_owned(), error }
}

impl Results {
    /// Opens the results in a directory: begins them, or, to resume, goes on after what is there. Gives what has been seen.
    ///
    /// # Errors
    /// If they cannot be written, if there are results already and `resume` is false, or if they are another campaign's.
    pub fn open(dir: &Path, header: &Header, resume: bool) -> Result<(Results, Vec<(u64, Seen)>), ResultsError> {
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
        let (head, path) = (dir.join("campaign.json"), dir.join("seeds.jsonl"));
        let mut seen = Vec::new();
        if head.exists() {
            let other = |said: String| ResultsError::Other { path: head.clone(), said };
            if !resume {
                return Err(other(
                    "a campaign has left results here; add --resume to go on with it, or choose another --out".into(),
                ));
            }
            let known = read_header(dir)?;
            if known != *header {
                return Err(other(format!(
                    "these are results of another campaign ({} with profile {} ({}), {}, shard {}/{})",
                    known.release,
                    known.profile,
                    known.digest,
                    known.seeds.map_or("by time".to_owned(), |n| format!("{n} seeds")),
                    known.shard.index,
                    known.shard.of
                )));
            }
            let whole;
            (seen, whole) = read_seeds(&path)?;
            // The line that was being written when the campaign was killed.
            let file =
                OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(failed(&path))?;
            file.set_len(whole).map_err(failed(&path))?;
        } else {
            let text = serde_json::to_string_pretty(header).unwrap_or_default() + "\n";
            // The header appears whole or not at all.
            let part = dir.join("campaign.json.part");
            File::create(&path).map_err(failed(&path))?;
            std::fs::write(&part, text).map_err(failed(&part))?;
            std::fs::rename(&part, &head).map_err(failed(&head))?;
        }
        let file = OpenOptions::new().append(true).open(&path).map_err(failed(&path))?;
        Ok((Results { path, file }, seen))
    }
    /// Writes what was seen of a seed.
    ///
    /// # Errors
    /// If the file does not take it.
    pub fn add(&mut self, seed: u64, seen: &Seen) -> Result<(), ResultsError> {
        let mut line = encode(seed, seen);
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(failed(&self.path))
    }
}

/// The header of a directory of results.
///
/// # Errors
/// If there is none or it is not one.
pub fn read_header(dir: &Path) -> Result<Header, ResultsError> {
    let path = dir.join("campaign.json");
    let text = std::fs::read_to_string(&path).map_err(failed(&path))?;
    let header: Header = serde_json::from_str(&text)
        .map_err(|error| ResultsError::Other { path: path.clone(), said: format!("not a campaign: {error}") })?;
    if header.v != FORMAT {
        let said = format!("results of format {}, this program reads {FORMAT}", header.v);
        return Err(ResultsError::Other { path, said });
    }
    Ok(header)
}

/// What a file of results says, and how many bytes of it are whole lines. A seed that stands there twice counts once.
///
/// # Errors
/// A line in the middle that is none.
pub fn read_seeds(path: &Path) -> Result<(Vec<(u64, Seen)>, u64), ResultsError> {
    let text = std::fs::read(path).map_err(failed(path))?;
    let (mut seen, mut known, mut whole) = (Vec::new(), BTreeSet::new(), 0);
    for (n, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
        if line.last() != Some(&b'\n') {
            break;
        }
        let (seed, one) = std::str::from_utf8(line)
            .ok()
            .and_then(decode)
            .ok_or_else(|| ResultsError::Line { path: path.to_owned(), line: n + 1 })?;
        whole += line.len() as u64;
        if known.insert(seed) {
            seen.push((seed, one));
        }
    }
    Ok((seen, whole))
}

type Line = (u64, String, u64, u64, u64, u64, u64, u64, Vec<(String, u64)>);

fn encode(seed: u64, s: &Seen) -> String {
    let classes: Vec<_> = s.classes.iter().map(|(c, at)| (c.to_string(), at.0)).collect();
    let fingerprint = format!("{:016x}", s.fingerprint);
    let line: Line = (seed, fingerprint, s.events, s.ended_at.0, s.drawn, s.fired, s.looked, s.marks.0, classes);
    serde_json::to_string(&line).unwrap_or_default()
}

fn decode(line: &str) -> Option<(u64, Seen)> {
    let (seed, fingerprint, events, ended, drawn, fired, looked, marks, classes): Line =
        serde_json::from_str(line).ok()?;
    let classes = classes.iter().map(|(c, at)| Some((Class::read(c)?, Time(*at)))).collect::<Option<_>>()?;
    let fingerprint = u64::from_str_radix(&fingerprint, 16).ok()?;
    Some((
        seed,
        Seen { fingerprint, events, ended_at: Time(ended), classes, drawn, fired, looked, marks: Marks(marks) },
    ))
}

/// Seeds of a class that are kept to be shrunk.
const CANDIDATES: usize = 16;

/// What is known of a class.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClassSum {
    /// Seeds that failed so.
    pub count: u64,
    /// The first of them.
    pub first: u64,
    /// Those that fail fastest, in virtual time.
    pub fastest: Vec<(Time, u64)>,
}

/// Sums over seeds, in any order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sums {
    /// Seeds.
    pub seeds: u64,
    /// Seeds with a failure.
    pub failed: u64,
    /// Events.
    pub events: u64,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// One fingerprint for all.
    pub fingerprint: u64,
    /// Failures by class.
    pub classes: BTreeMap<Class, ClassSum>,
    /// For each family of faults: seeds that had it, seeds in which it changed something.
    pub families: BTreeMap<&'static str, (u64, u64)>,
    /// Promises that were looked at.
    pub looked: u64,
    /// Seeds that reached each mark.
    pub marks: BTreeMap<Mark, u64>,
}

impl Sums {
    /// Adds a seed.
    pub fn add(&mut self, seed: u64, seen: &Seen) {
        self.seeds += 1;
        self.failed += u64::from(!seen.classes.is_empty());
        self.events += seen.events;
        self.virtual_us += seen.ended_at.0;
        self.fingerprint ^= crate::rand::Streams::new(seed ^ seen.fingerprint.rotate_left(17)).family("seed").root();
        for (class, at) in &seen.classes {
            let sum = self.classes.entry(class.clone()).or_default();
            sum.first = if sum.count == 0 { seed } else { sum.first.min(seed) };
            sum.count += 1;
            let place = sum.fastest.partition_point(|known| *known < (*at, seed));
            sum.fastest.insert(place, (*at, seed));
            sum.fastest.truncate(CANDIDATES);
        }
        for (n, id) in Fault::IDS.iter().enumerate() {
            if seen.drawn >> n & 1 == 1 {
                let (had, hit) = self.families.entry(id).or_default();
                *had += 1;
                *hit += seen.fired >> n & 1;
            }
        }
        self.looked |= seen.looked;
        for mark in seen.marks.iter() {
            *self.marks.entry(mark).or_default() += 1;
        }
    }
}
