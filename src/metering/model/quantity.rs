//! Exact quantities. Everything that is counted is an integer number of millionths, so that sums never round; money is
//! a decimal made from them at the very end.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Millionths in one unit; Microsoft's quantities are read and written with at most six decimal places.
pub const MICRO: i128 = 1_000_000;
/// No record may be larger than this many units: far above real usage, far below an overflow.
pub const LARGEST_UNITS: i128 = 1_000_000_000_000;

/// An amount of something, in millionths of its unit. Stored and shown as decimal text (`12.5`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(pub i128);

impl Quantity {
    pub const ZERO: Self = Self(0);

    pub fn units(units: i128) -> Self {
        Self(units * MICRO)
    }

    pub fn is_zero(self) -> bool {
        self.0 == 0
    }

    pub fn is_positive(self) -> bool {
        self.0 > 0
    }

    #[must_use]
    pub fn at_least_zero(self) -> Self {
        Self(self.0.max(0))
    }

    /// What of it can be sent: Microsoft computes with doubles, which hold 15 digits exactly. The rest waits.
    #[must_use]
    pub fn sendable(self) -> Self {
        let mut step = 1;
        while self.0 / step >= 1_000_000_000_000_000 {
            step *= 10;
        }
        Self(self.0 / step * step)
    }

    pub fn decimal(self) -> Decimal {
        // Totals beyond a decimal's 28 digits can not come about from records below the limit.
        Decimal::try_from_i128_with_scale(self.0, 6).unwrap_or(Decimal::MAX)
    }

    /// A number that a service wrote in JSON; None when it is no number of ours.
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        match value {
            serde_json::Value::Number(number) => number.to_string().parse().ok(),
            serde_json::Value::String(text) => text.parse().ok(),
            _ => None,
        }
    }
}

/// Why a text is no quantity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("is not a decimal number such as 12 or 0.25")]
    NotANumber,
    #[error("has more than six decimal places")]
    TooFine,
    #[error("is larger than {LARGEST_UNITS}")]
    TooLarge,
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let text = text.trim();
        let plain =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
        if text.is_empty() || !plain(text) {
            return Err(QuantityError::NotANumber);
        }
        // Digits before the point beyond what any limit allows; the decimal type has fewer than 30.
        let whole = text.trim_start_matches(['-', '+', '0']).bytes().take_while(u8::is_ascii_digit).count();
        if whole > 13 {
            return Err(QuantityError::TooLarge);
        }
        let decimal = if text.contains(['e', 'E']) {
            Decimal::from_scientific(text).map_err(|_| QuantityError::NotANumber)?
        } else {
            Decimal::from_str_exact(text).map_err(|error| match error {
                rust_decimal::Error::Underflow => QuantityError::TooFine,
                rust_decimal::Error::ExceedsMaximumPossibleValue
                | rust_decimal::Error::LessThanMinimumPossibleValue => QuantityError::TooLarge,
                _ => QuantityError::NotANumber,
            })?
        }
        .normalize();
        if decimal.scale() > 6 {
            return Err(QuantityError::TooFine);
        }
        let power = 10_i128.pow(6 - decimal.scale());
        let micro = decimal.mantissa().checked_mul(power).ok_or(QuantityError::TooLarge)?;
        if micro.abs() > LARGEST_UNITS * MICRO {
            return Err(QuantityError::TooLarge);
        }
        Ok(Self(micro))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0.unsigned_abs() / 1_000_000, self.0.unsigned_abs() % 1_000_000);
        let sign = if self.0 < 0 { "-" } else { "" };
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let fraction = format!("{rest:06}");
        write!(f, "{sign}{whole}.{}", fraction.trim_end_matches('0'))
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    /// What we stored ourselves: totals may be larger than any record.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        stored(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no quantity")))
    }
}

fn stored(text: &str) -> Option<Quantity> {
    let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i128 = whole.parse().ok()?;
    let fraction: i128 = if fraction.is_empty() { 0 } else { format!("{fraction:0<6}").parse().ok()? };
    let micro = whole.checked_mul(MICRO)?.checked_add(fraction)?;
    Some(Quantity(if negative { -micro } else { micro }))
}

impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Neg for Quantity {
    type Output = Self;
    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_exactly_or_refused_with_the_reason() {
        for (text, read) in [
            ("12", Ok(12_000_000)),
            ("0.1", Ok(100_000)),
            ("-3.000001", Ok(-3_000_001)),
            ("1e3", Ok(1_000_000_000)),
            ("5.0", Ok(5_000_000)),
            ("1000000000000", Ok(1_000_000_000_000_000_000)),
            ("1000000000001", Err(QuantityError::TooLarge)),
            ("123456789012345678901234567890", Err(QuantityError::TooLarge)),
            ("0.0000001", Err(QuantityError::TooFine)),
            ("0.1000000000000000000000000000000001", Err(QuantityError::TooFine)),
            ("NaN", Err(QuantityError::NotANumber)),
            ("Infinity", Err(QuantityError::NotANumber)),
            ("1,5", Err(QuantityError::NotANumber)),
            ("", Err(QuantityError::NotANumber)),
            ("1_000", Err(QuantityError::NotANumber)),
        ] {
            assert_eq!(text.parse::<Quantity>().map(|quantity| quantity.0), read, "{text}");
        }
    }

    #[test]
    fn what_is_stored_reads_back_also_above_the_limit_of_a_record() {
        for micro in [0, 1, -1, 1_500_000, -2_000_001, LARGEST_UNITS * MICRO * 1_000] {
            let text = serde_json::to_string(&Quantity(micro)).unwrap();
            assert_eq!(serde_json::from_str::<Quantity>(&text).unwrap(), Quantity(micro), "{text}");
        }
        assert_eq!(Quantity(-2_000_001).to_string(), "-2.000001");
    }
}
