//! Which releases an expectation is about. Never judges a run.

use controller_core::Release;

/// What a key of `expect` means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Releases {
    /// These.
    Listed(Vec<Release>),
    /// Those that no other key names.
    Others,
}

/// Reads a key of `expect`: `0.9.1`, `0.9.0..=0.11.0`, `..=0.11.0`, `0.12.0..`, `next`, `tagged`, `all`, `others`.
///
/// # Errors
/// What is wrong, and the word that is.
pub fn read(text: &str) -> Result<Releases, (String, &str)> {
    let one = |word: &'_ str| word.parse::<Release>().map_err(|_| format!("unknown release `{word}`"));
    let text = text.trim();
    let listed = match text {
        "others" => return Ok(Releases::Others),
        "all" => Release::ALL.to_vec(),
        "tagged" => Release::tagged().to_vec(),
        _ => match text.split_once("..") {
            None => vec![one(text).map_err(|e| (e, text))?],
            Some((from, to)) => {
                let (first, last) = (Release::ALL[0], Release::tagged()[Release::tagged().len() - 1]);
                let from = if from.is_empty() { first } else { one(from).map_err(|e| (e, from))? };
                let to = match to.strip_prefix('=') {
                    Some(to) => one(to).map_err(|e| (e, to))?,
                    None if to.is_empty() => last,
                    None => return Err(("a range of releases needs `..=`".to_owned(), text)),
                };
                if from > to {
                    return Err((format!("the range `{text}` is empty"), text));
                }
                Release::ALL.iter().copied().filter(|r| (from..=to).contains(r)).collect()
            }
        },
    };
    Ok(Releases::Listed(listed))
}

/// The value that belongs to a release, if any.
pub fn lookup<'e, E>(entries: impl IntoIterator<Item = (&'e str, E)>, release: Release) -> Option<E> {
    let mut others = None;
    for (key, value) in entries {
        match read(key) {
            Ok(Releases::Listed(listed)) if listed.contains(&release) => return Some(value),
            Ok(Releases::Others) => others = Some(value),
            Ok(Releases::Listed(_)) | Err(_) => {}
        }
    }
    others
}

/// All releases that are named, oldest first; `others` names those that are left of the tagged ones and `next`.
pub fn named<'e>(keys: impl IntoIterator<Item = &'e str>) -> Vec<Release> {
    let keys: Vec<&str> = keys.into_iter().collect();
    Release::ALL.iter().copied().filter(|r| lookup(keys.iter().map(|k| (*k, ())), *r).is_some()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_name_releases_and_others_the_rest() {
        assert_eq!(read("0.9.1"), Ok(Releases::Listed(vec![Release::V0_9_1])));
        assert_eq!(named(["0.9.0..=0.9.3"]).len(), 4);
        assert_eq!(named(["0.14.1.."]), [Release::V0_14_1, Release::V0_14_2]);
        assert_eq!(named(["..=0.8.0"]), [Release::V0_7_0, Release::V0_8_0]);
        assert_eq!(named(["0.9.1", "others"]).len(), Release::ALL.len());
        assert_eq!(lookup([("others", 1), ("0.9.1", 2)], Release::V0_9_1), Some(2));
        assert_eq!(lookup([("others", 1), ("0.9.1", 2)], Release::Next), Some(1));
        assert!(read("0.9.3..=0.9.0").is_err() && read("0.9.0..0.9.3").is_err() && read("0.9.9").is_err());
    }
}
