//! Virtual time: microseconds since the scenario began, and its rendering as wall-clock text. Never reads a clock.

use std::fmt;

pub use std::time::Duration;

/// Unix seconds of `Time(0)`: 2030-01-01T00:00:00Z, the same in every world.
pub const EPOCH_UNIX_SECONDS: i64 = 1_893_456_000;

/// A point in virtual time, in microseconds since the scenario's beginning.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(pub u64);

impl Time {
    /// The beginning of every scenario.
    pub const ZERO: Time = Time(0);
    /// Later than every event: "no wake-up is due".
    pub const NEVER: Time = Time(u64::MAX);

    /// `t` whole seconds after the beginning.
    pub const fn from_secs(t: u64) -> Time {
        Time(t * 1_000_000)
    }
    /// `t` milliseconds after the beginning.
    pub const fn from_millis(t: u64) -> Time {
        Time(t * 1_000)
    }
    /// This time plus `d`; saturates at [`Time::NEVER`].
    pub const fn after(self, d: Duration) -> Time {
        let micros = d.as_micros();
        Time(self.0.saturating_add(if micros > u64::MAX as u128 { u64::MAX } else { micros as u64 }))
    }
    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
    /// The whole second this lies in: Kubernetes timestamps have one-second resolution (arc-controllers.md K13).
    pub const fn truncated(self) -> Time {
        Time(self.0 - self.0 % 1_000_000)
    }
    /// Whole seconds since the beginning.
    pub const fn secs(self) -> u64 {
        self.0 / 1_000_000
    }
    /// The wall-clock text an API object carries, e.g. `2030-01-01T00:00:05Z`.
    pub fn to_rfc3339(self) -> String {
        match jiff::Timestamp::from_second(EPOCH_UNIX_SECONDS + self.secs() as i64) {
            Ok(t) => t.to_string(),
            Err(_) => "9999-12-31T23:59:59Z".to_owned(),
        }
    }
    /// Reads wall-clock text; times before the epoch become [`Time::ZERO`].
    pub fn parse_rfc3339(text: &str) -> Option<Time> {
        let stamp: jiff::Timestamp = text.parse().ok()?;
        let micros = stamp.as_microsecond() - EPOCH_UNIX_SECONDS * 1_000_000;
        Some(Time(micros.max(0) as u64))
    }
}

/// `t+MM:SS.mmm`, or `t+H:MM:SS.mmm` from one hour on, or `never`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Time::NEVER {
            return f.write_str("never");
        }
        let (s, ms) = (self.secs(), self.0 / 1_000 % 1_000);
        match s / 3600 {
            0 => write!(f, "t+{:02}:{:02}.{ms:03}", s / 60, s % 60),
            h => write!(f, "t+{h}:{:02}:{:02}.{ms:03}", s / 60 % 60, s % 60),
        }
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.to_rfc3339())
    }
}

impl<'de> serde::Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Time, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        Time::parse_rfc3339(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_clock_text_round_trips_at_second_resolution() {
        let t = Time::from_millis(3_723_456);
        assert_eq!(t.to_rfc3339(), "2030-01-01T01:02:03Z");
        assert_eq!(Time::parse_rfc3339("2030-01-01T01:02:03Z"), Some(t.truncated()));
        assert_eq!(t.to_string(), "t+1:02:03.456");
        assert_eq!(Time::NEVER.after(Duration::from_secs(1)), Time::NEVER);
        assert_eq!(Time::ZERO.after(Duration::MAX), Time::NEVER, "an endless wait never comes due");
    }
}
