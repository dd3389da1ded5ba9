//! Identifiers. All of them come from counters of the world they belong to, never from entropy.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(&self.0, f) }
        }
    )*};
}

ids! {
    /// A runner scale set at the service; 0 is none.
    ScaleSetId(i64);
    /// A runner registration at the service; 0 is none.
    RunnerId(i64);
    /// A message of a scale set's queue.
    MessageId(i64);
    /// A job as the acquire protocol names it (`runnerRequestId`); 0 in the broker personality.
    RequestId(i64);
    /// A runner group; 1 is `Default`.
    GroupId(i64);
    /// An opaque bearer token; 0 is none. Rendered as `<token>` everywhere.
    Token(u64);
}

macro_rules! guids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
        pub struct $name(pub u64);
        impl $name {
            /// Its text, for comparisons without a formatter.
            pub fn letters(&self) -> [u8; 36] {
                let mut text = *b"00000000-0000-4000-8000-000000000000";
                let digit = |n: u64| b"0123456789abcdef"[(n & 15) as usize];
                for at in 0..12 {
                    text[35 - at] = digit(self.0 >> (4 * at));
                }
                for at in 0..4 {
                    text[7 - at] = digit(self.0 >> (48 + 4 * at));
                }
                text
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(std::str::from_utf8(&self.letters()).map_err(|_| fmt::Error)?)
            }
        }
        impl std::str::FromStr for $name {
            type Err = ();
            fn from_str(text: &str) -> Result<Self, ()> {
                let (head, tail) = (text.get(..8).ok_or(())?, text.get(24..).ok_or(())?);
                let number = |t| u64::from_str_radix(t, 16).map_err(|_| ());
                Ok($name(number(head)? << 48 | number(tail)? & 0xffff_ffff_ffff))
            }
        }
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> { s.collect_str(self) }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(|()| serde::de::Error::custom(format!("`{text}` is not an identifier of this world")))
            }
        }
    )*};
}

guids! {
    /// The identity of one API object, never re-used; 0 is none. Rendered as a GUID.
    Uid;
    /// A message session of a listener; 0 is none.
    SessionId;
    /// A job (`jobId`); 0 is none.
    JobId;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guids_have_the_8_4_4_4_12_form_and_round_trip() {
        let uid = Uid(0x0007_0000_0000_002a);
        assert_eq!(uid.to_string(), "00000007-0000-4000-8000-00000000002a");
        assert_eq!(uid.to_string().parse(), Ok(uid));
    }
}
