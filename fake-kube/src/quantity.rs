//! Resource quantities (`500m`, `2Gi`): read, compared, added and written as the API server writes them.
//!
//! Source: apimachinery pkg/api/resource/quantity.go; golden quota, pod-validation. Never rounds: the unit is a nanounit.

use std::cmp::Ordering;
use std::fmt;

/// How a quantity was written, which is how a sum of it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Form {
    /// `m`, `k`, `M`, …
    #[default]
    Decimal,
    /// `Ki`, `Mi`, …
    Binary,
}

/// An amount of cpu, memory or objects.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nano: i128,
    form: Form,
}

const NANO: i128 = 1_000_000_000;
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    /// A whole number.
    pub const fn whole(n: i64) -> Quantity {
        Quantity { nano: n as i128 * NANO, form: Form::Decimal }
    }
    /// Reads a quantity; `None` if it is not one.
    pub fn parse(text: &str) -> Option<Quantity> {
        let split = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
        let (number, suffix) = text.split_at(split);
        let (scale_two, scale_ten, form) = if let Some((_, bits)) = BINARY.iter().find(|(name, _)| *name == suffix) {
            (*bits, 0, Form::Binary)
        } else if let Some((_, ten)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
            (0, *ten, Form::Decimal)
        } else {
            (0, suffix.strip_prefix(['e', 'E'])?.parse::<i32>().ok()?, Form::Decimal)
        };
        let (negative, digits) = match number.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, number.strip_prefix('+').unwrap_or(number)),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if whole.is_empty() && fraction.is_empty() || !(-9..=18).contains(&scale_ten) {
            return None;
        }
        let mut value: i128 = 0;
        for c in whole.bytes().chain(fraction.bytes().take(9)) {
            value = value.checked_mul(10)?.checked_add(i128::from(c.checked_sub(b'0').filter(|d| *d < 10)?))?;
        }
        // value is scaled by ten to the number of fraction digits that were read.
        let scale = 9 + scale_ten - fraction.len().min(9) as i32;
        let mut nano = value.checked_mul(1 << scale_two)?;
        nano = match scale {
            up if up >= 0 => nano.checked_mul(10i128.checked_pow(up as u32)?)?,
            down => {
                let by = 10i128.checked_pow(down.unsigned_abs())?;
                // Finer than a nanounit is rounded up, as the real parser does.
                nano.div_euclid(by) + i128::from(nano.rem_euclid(by) != 0)
            }
        };
        Some(Quantity { nano: if negative { -nano } else { nano }, form })
    }
    /// The sum, written like the first operand (like the second if the first is zero).
    #[must_use]
    pub fn plus(self, other: Quantity) -> Quantity {
        let form = if self.nano == 0 { other.form } else { self.form };
        Quantity { nano: self.nano + other.nano, form }
    }
    /// The difference.
    #[must_use]
    pub fn minus(self, other: Quantity) -> Quantity {
        let form = if self.nano == 0 { other.form } else { self.form };
        Quantity { nano: self.nano - other.nano, form }
    }
    /// The larger one.
    #[must_use]
    pub fn max(self, other: Quantity) -> Quantity {
        if other > self { other } else { self }
    }
    /// In thousandths, rounded up.
    pub const fn millis(self) -> i64 {
        let (whole, rest) = (self.nano.div_euclid(1_000_000), self.nano.rem_euclid(1_000_000));
        (whole + (rest != 0) as i128) as i64
    }
    /// In whole units, rounded up.
    pub const fn value(self) -> i64 {
        let (whole, rest) = (self.nano.div_euclid(NANO), self.nano.rem_euclid(NANO));
        (whole + (rest != 0) as i128) as i64
    }
    /// Below zero.
    pub const fn is_negative(self) -> bool {
        self.nano < 0
    }
    /// No fraction.
    pub const fn is_whole(self) -> bool {
        self.nano % NANO == 0
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nano == other.nano
    }
}
impl Eq for Quantity {}
impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

/// The canonical form: no fraction, the largest suffix that needs none.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        if self.form == Form::Binary && self.is_whole() && self.nano.abs() >= 1024 * NANO {
            let value = self.nano / NANO;
            let (name, bits) = BINARY.iter().rev().find(|(_, bits)| value % (1 << bits) == 0).unwrap_or(&("", 0));
            return write!(f, "{}{name}", value >> bits);
        }
        let fits = |ten: i32| self.nano % 10i128.pow((ten + 9) as u32) == 0;
        let (name, ten) = DECIMAL.iter().rev().find(|(_, ten)| fits(*ten)).unwrap_or(&("n", -9));
        write!(f, "{}{name}", self.nano / 10i128.pow((ten + 9) as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_written_canonically() {
        for (text, canonical) in [
            ("1500m", "1500m"),
            ("2000m", "2"),
            ("0.5", "500m"),
            ("1Gi", "1Gi"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("100Ki", "100Ki"),
            ("1000", "1k"),
            ("1e3", "1k"),
            ("0", "0"),
            ("-1", "-1"),
            ("2147483648", "2147483648"),
        ] {
            assert_eq!(Quantity::parse(text).map(|q| q.to_string()).as_deref(), Some(canonical), "{text}");
        }
        for bad in ["", "abc", "1x", ".", "1Kii", "1.2.3"] {
            assert_eq!(Quantity::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn sums_and_comparisons_are_exact() {
        let q = |t| Quantity::parse(t).expect("quantity");
        assert_eq!(q("0").plus(q("2Gi")).to_string(), "2Gi");
        assert_eq!(q("200m").plus(q("500m")).to_string(), "700m");
        assert!(q("1Gi") > q("1G") && q("1") == q("1000m"));
        assert_eq!(
            (q("1500m").millis(), q("1500m").value(), q("2Gi").minus(q("1Gi")).to_string()),
            (1500, 2, "1Gi".into())
        );
    }
}
