//! The small values of a plan: durations, delays, ratios, rates, quantities, names. Never decides what they mean.
//!
//! Each is one scalar in YAML, reads back exactly what it writes, and names its grammar in the published schema (`format`),
//! which is also what the scenario reader checks a scalar against ([`check_format`]).

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use arc_api::{Duration, Time};
use rand::Rng;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use super::names::{Actor, ApiStatus, Glob, ReleaseRef, Role, SetRef, Wait};
pub use super::quantity::{Bytes, Cpu};

/// What a scalar is not, e.g. `a duration such as 20s, 1m30s or 250ms`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotA(pub &'static str);

impl fmt::Display for NotA {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for NotA {}

struct Scalar;

impl de::Visitor<'_> for Scalar {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar")
    }
    fn visit_str<E>(self, v: &str) -> Result<String, E> {
        Ok(v.to_owned())
    }
    fn visit_u64<E>(self, v: u64) -> Result<String, E> {
        Ok(v.to_string())
    }
    fn visit_i64<E>(self, v: i64) -> Result<String, E> {
        Ok(v.to_string())
    }
}

macro_rules! scalars {
    ($($name:ident = $format:literal, $grammar:literal;)*) => {
        $(
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
            }
            impl<'de> Deserialize<'de> for $name {
                fn deserialize<D: Deserializer<'de>>(d: D) -> Result<$name, D::Error> {
                    let text = d.deserialize_any(Scalar)?;
                    text.parse().map_err(|NotA(what)| de::Error::custom(format!("`{text}` is not {what}")))
                }
            }
            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> { stringify!($name).into() }
                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "type": ["string", "integer"], "format": $format, "description": $grammar })
                }
            }
        )*
        /// Checks a scalar against the grammar that the schema names by `format`; unknown formats accept everything.
        ///
        /// # Errors
        /// What the text is not.
        pub fn check_format(format: &str, text: &str) -> Result<(), NotA> {
            match format {
                $($format => text.parse::<$name>().map(|_| ()),)*
                "bound" => text
                    .parse::<crate::scenario::file::Bound>()
                    .map(|_| ())
                    .map_err(|()| NotA("a bound such as 0, 3..8, 1.. or ..5")),
                _ => Ok(()),
            }
        }
    };
}

scalars! {
    Dur = "duration", "A length of time: `20s`, `1m30s`, `250ms`, `2h`, `1d`, `0s`.";
    Offset = "offset", "A signed length of time: `+6m`, `-15m`.";
    Delay = "delay", "A length of time, fixed (`3s`), uniform (`1s..3s`), or with a tail (`3s, 121s..180s at 1/100`).";
    Ratio = "ratio", "A share: `1/20` or `5 %`, never more than one.";
    Rate = "rate", "So many in a time: `30 per 1m`.";
    Cpu = "cpu", "Processor share: `4`, `500m`.";
    Bytes = "bytes", "Memory or storage: `16Gi`, `512Mi`.";
    Glob = "glob", "A name; `*` stands for any text.";
    Actor = "actor", "A component: `controller`, `listener/linux`, `runner/*`, `kubelet/n1`, `kube_api`, `github`, `proxy`.";
    SetRef = "scale-set", "A scale set by name, or as `cluster/name`.";
    ReleaseRef = "release", "A release (`0.9.1`, `next`), `run` (the release of the run) or `previous` (the tag before it).";
    ApiStatus = "api-status", "An HTTP status of the API server (`500`, `503`, `429`, `410`, `404`), or `timeout`, `conflict`, `already_exists`.";
    Wait = "wait", "`chart` (what the chart says), `unset`, or a duration.";
}

/// A length of virtual time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Dur(pub Duration);

impl Dur {
    /// Nothing.
    pub const ZERO: Dur = Dur(Duration::ZERO);
    /// Whole seconds.
    pub const fn secs(s: u64) -> Dur {
        Dur(Duration::from_secs(s))
    }
    /// Milliseconds.
    pub const fn millis(ms: u64) -> Dur {
        Dur(Duration::from_millis(ms))
    }
    /// Microseconds.
    pub const fn micros(us: u64) -> Dur {
        Dur(Duration::from_micros(us))
    }
    /// In microseconds, the world's unit.
    pub const fn as_micros(self) -> u64 {
        self.0.as_micros() as u64
    }
    /// As a point in time since the scenario's beginning.
    pub const fn from_start(self) -> Time {
        Time::ZERO.after(self.0)
    }
}

const UNITS: [(&str, u64); 6] =
    [("d", 86_400_000_000), ("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1_000), ("us", 1)];

impl fmt::Display for Dur {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.as_micros();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in UNITS {
            if left >= size {
                write!(f, "{}{unit}", left / size)?;
                left %= size;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Dur {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Dur {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Dur, NotA> {
        const WHAT: NotA = NotA("a duration such as 20s, 1m30s or 250ms");
        let mut rest = text.trim();
        let (mut total, mut seen) = (0u64, 0);
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(WHAT)?;
            let number: u64 = rest[..digits].parse().map_err(|_| WHAT)?;
            rest = &rest[digits..];
            let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (index, size) = UNITS
                .iter()
                .enumerate()
                .find_map(|(i, (unit, size))| (*unit == &rest[..end]).then_some((i + 1, *size)))
                .ok_or(WHAT)?;
            if index <= seen {
                return Err(WHAT);
            }
            seen = index;
            total = number.checked_mul(size).and_then(|n| total.checked_add(n)).ok_or(WHAT)?;
            rest = &rest[end..];
        }
        if seen == 0 { Err(WHAT) } else { Ok(Dur(Duration::from_micros(total))) }
    }
}

/// A signed length of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Offset {
    /// Whether it lies in the past.
    pub negative: bool,
    /// How much.
    pub by: Dur,
}

impl Offset {
    /// In microseconds.
    pub const fn micros(self) -> i64 {
        let us = self.by.as_micros() as i64;
        if self.negative { -us } else { us }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.negative { '-' } else { '+' }, self.by)
    }
}

impl FromStr for Offset {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Offset, NotA> {
        const WHAT: NotA = NotA("an offset such as +6m or -15m");
        let text = text.trim();
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        Ok(Offset { negative, by: rest.parse().map_err(|_| WHAT)? })
    }
}

/// A share, exact: never a float, so that draws are the same everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ratio {
    /// Numerator, at most `den`.
    pub num: u32,
    /// Denominator, not 0.
    pub den: u32,
}

impl Ratio {
    /// Always.
    pub const ONE: Ratio = Ratio { num: 1, den: 1 };
    /// Never.
    pub const ZERO: Ratio = Ratio { num: 0, den: 1 };
    /// [`Ratio::ZERO`], for what a file may leave out.
    pub(crate) const fn never() -> Ratio {
        Ratio::ZERO
    }
    /// Whether it happens this time. Always draws exactly once, so that changing a ratio shifts no later draw.
    pub fn hits(self, rng: &mut impl Rng) -> bool {
        below(rng, u64::from(self.den)) < u64::from(self.num)
    }
    /// Whether it is [`Ratio::ONE`].
    pub const fn is_one(&self) -> bool {
        self.num == self.den
    }
}

impl Default for Ratio {
    fn default() -> Ratio {
        Ratio::ONE
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.num, self.den)
    }
}

impl FromStr for Ratio {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Ratio, NotA> {
        const WHAT: NotA = NotA("a share such as 1/20 or 5 %, at most one");
        let text = text.trim();
        let (num, den) = if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.trim();
            let (whole, fraction) = percent.split_once('.').unwrap_or((percent, ""));
            if fraction.len() > 4 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
                return Err(WHAT);
            }
            let scale = 10u32.pow(fraction.len() as u32);
            let digits: u32 = format!("{whole}{fraction}").parse().map_err(|_| WHAT)?;
            (digits, 100 * scale)
        } else {
            let (num, den) = text.split_once('/').ok_or(WHAT)?;
            (num.trim().parse().map_err(|_| WHAT)?, den.trim().parse().map_err(|_| WHAT)?)
        };
        if den == 0 || num > den { Err(WHAT) } else { Ok(Ratio { num, den }) }
    }
}

/// A number less than `n`, from exactly one draw; the bias of at most `n / 2^64` is of no consequence here.
pub fn below(rng: &mut impl Rng, n: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}

/// So many in a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Rate {
    /// How many.
    pub count: u32,
    /// In what time.
    pub per: Dur,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} per {}", self.count, self.per)
    }
}

impl FromStr for Rate {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Rate, NotA> {
        const WHAT: NotA = NotA("a rate such as 30 per 1m");
        let (count, per) = text.split_once("per").ok_or(WHAT)?;
        let (count, per) = (count.trim().parse().map_err(|_| WHAT)?, per.parse().map_err(|_| WHAT)?);
        if per == Dur::ZERO { Err(WHAT) } else { Ok(Rate { count, per }) }
    }
}

/// A range of times, both ends included; one time if they are equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Between {
    /// Shortest.
    pub from: Dur,
    /// Longest.
    pub to: Dur,
}

impl Between {
    fn sample(self, rng: &mut impl Rng) -> Dur {
        let (from, to) = (self.from.as_micros(), self.to.as_micros());
        Dur::micros(from + below(rng, (to - from).saturating_add(1)))
    }
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}..{}", self.from, self.to) }
    }
}

/// A delay: drawn from the body, or, for a share of the draws, from the tail.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Delay {
    /// The usual.
    pub body: Between,
    /// The unusual and its share.
    pub tail: Option<(Ratio, Between)>,
}

impl Delay {
    /// Always the same.
    pub const fn fixed(d: Dur) -> Delay {
        Delay { body: Between { from: d, to: d }, tail: None }
    }
    /// One draw. Takes exactly two numbers from the stream whatever it is, so that editing it shifts no later draw.
    pub fn sample(&self, rng: &mut impl Rng) -> Dur {
        let (share, tail) = self.tail.unwrap_or((Ratio::ZERO, self.body));
        let in_tail = share.hits(rng);
        if in_tail { tail.sample(rng) } else { self.body.sample(rng) }
    }
    /// The longest that can be drawn.
    pub fn longest(&self) -> Dur {
        self.tail.map_or(self.body.to, |(_, tail)| tail.to.max(self.body.to))
    }
}

impl From<Dur> for Delay {
    fn from(d: Dur) -> Delay {
        Delay::fixed(d)
    }
}

impl fmt::Display for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tail {
            None => self.body.fmt(f),
            Some((share, tail)) => write!(f, "{}, {tail} at {share}", self.body),
        }
    }
}

impl FromStr for Delay {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Delay, NotA> {
        const WHAT: NotA = NotA("a delay such as 3s, 1s..3s, or 3s, 121s..180s at 1/100");
        let between = |text: &str| {
            let (from, to) = text.split_once("..").unwrap_or((text, text));
            let (from, to): (Dur, Dur) = (from.parse().map_err(|_| WHAT)?, to.parse().map_err(|_| WHAT)?);
            if from > to { Err(WHAT) } else { Ok(Between { from, to }) }
        };
        let Some((body, tail)) = text.split_once(',') else { return Ok(Delay { body: between(text)?, tail: None }) };
        let (tail, share) = tail.split_once(" at ").ok_or(WHAT)?;
        Ok(Delay { body: between(body)?, tail: Some((share.parse().map_err(|_| WHAT)?, between(tail)?)) })
    }
}
