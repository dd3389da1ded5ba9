//! Amounts of processor and memory, as Kubernetes writes them. Never compared with what a node has left.

use std::fmt;
use std::str::FromStr;

use super::values::NotA;

/// Thousandths of a processor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Cpu(pub u32);

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) { write!(f, "{}", self.0 / 1000) } else { write!(f, "{}m", self.0) }
    }
}

impl FromStr for Cpu {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Cpu, NotA> {
        const WHAT: NotA = NotA("a processor share such as 4 or 500m");
        let (digits, unit) = text.strip_suffix('m').map_or((text, 1000), |d| (d, 1));
        let n: u32 = digits.trim().parse().map_err(|_| WHAT)?;
        n.checked_mul(unit).map(Cpu).ok_or(WHAT)
    }
}

/// An amount of memory or storage.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Bytes(pub u64);

const BYTE_UNITS: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match BYTE_UNITS.iter().find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size)) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Bytes {
    type Err = NotA;
    fn from_str(text: &str) -> Result<Bytes, NotA> {
        const WHAT: NotA = NotA("an amount of memory such as 16Gi or 512Mi");
        let (digits, size) =
            BYTE_UNITS.iter().find_map(|(unit, size)| text.strip_suffix(unit).map(|d| (d, *size))).unwrap_or((text, 1));
        let n: u64 = digits.trim().parse().map_err(|_| WHAT)?;
        n.checked_mul(size).map(Bytes).ok_or(WHAT)
    }
}
