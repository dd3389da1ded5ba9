//! The releases of ARC's scale-set mode. Never decides anything: what a release does is its [`Behaviour`](crate::Behaviour).

use std::fmt;
use std::str::FromStr;

macro_rules! releases {
    ($($name:ident = $text:literal, $date:literal;)*) => {
        /// A tag `gha-runner-scale-set-X.Y.Z`, or `next`: this project's corrected controller.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[allow(missing_docs)]
        pub enum Release { $($name),* }
        impl Release {
            /// All, oldest first.
            pub const ALL: &'static [Release] = &[$(Release::$name),*];
            /// `0.9.1`, or `next`.
            pub const fn as_str(self) -> &'static str { match self { $(Release::$name => $text),* } }
            /// Date of the tag's commit; empty for `next`.
            pub const fn date(self) -> &'static str { match self { $(Release::$name => $date),* } }
        }
        impl FromStr for Release {
            type Err = UnknownRelease;
            fn from_str(text: &str) -> Result<Release, UnknownRelease> {
                match text { $($text => Ok(Release::$name),)* _ => Err(UnknownRelease(text.to_owned())) }
            }
        }
    };
}

releases! {
    V0_7_0 = "0.7.0", "2023-11-01";
    V0_8_0 = "0.8.0", "2023-12-20";
    V0_8_1 = "0.8.1", "2023-12-21";
    V0_8_2 = "0.8.2", "2024-01-26";
    V0_8_3 = "0.8.3", "2024-02-28";
    V0_9_0 = "0.9.0", "2024-03-27";
    V0_9_1 = "0.9.1", "2024-04-17";
    V0_9_2 = "0.9.2", "2024-05-20";
    V0_9_3 = "0.9.3", "2024-06-25";
    V0_10_0 = "0.10.0", "2024-12-16";
    V0_10_1 = "0.10.1", "2024-12-18";
    V0_11_0 = "0.11.0", "2025-03-25";
    V0_12_0 = "0.12.0", "2025-06-13";
    V0_12_1 = "0.12.1", "2025-06-27";
    V0_13_0 = "0.13.0", "2025-10-16";
    V0_13_1 = "0.13.1", "2025-12-23";
    V0_14_0 = "0.14.0", "2026-03-19";
    V0_14_1 = "0.14.1", "2026-04-14";
    V0_14_2 = "0.14.2", "2026-05-22";
    Next = "next", "";
}

/// No such release.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnknownRelease(pub String);

impl fmt::Display for UnknownRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown release `{}`", self.0)
    }
}

impl std::error::Error for UnknownRelease {}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Release {
    /// The releases that were tagged, oldest first.
    pub fn tagged() -> &'static [Release] {
        &Release::ALL[..Release::ALL.len() - 1]
    }
    /// `MAJOR.MINOR.PATCH` as numbers; `next` is newer than all.
    pub fn numbers(self) -> (u32, u32, u32) {
        let mut parts = self.as_str().split('.').map(|p| p.parse().unwrap_or(u32::MAX));
        let mut part = || parts.next().unwrap_or(u32::MAX);
        (part(), part(), part())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_listed_in_order_and_read_back() {
        assert!(Release::ALL.windows(2).all(|w| w[0].numbers() < w[1].numbers()));
        assert!(Release::ALL.iter().all(|r| r.as_str().parse() == Ok(*r)));
        assert_eq!("0.9.9".parse::<Release>(), Err(UnknownRelease("0.9.9".into())));
    }
}
