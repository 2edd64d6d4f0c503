//! Quantities of usage, exact: whole numbers of millionths, read from and written to the text of a JSON number.

use serde_json::{Number, Value};

/// One whole unit.
#[cfg(test)]
pub const ONE: i128 = 1_000_000;
const DIGITS: usize = 6;

/// Reads a JSON number by its text, so that 0.1 is a tenth. Nothing for what is finer than a millionth or too large.
pub fn read(number: &Number) -> Option<i128> {
    let text = number.to_string();
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (text.as_str(), 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    // The sign stays with the digits: "-0" and "5" are read as "-05".
    let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
    let shift = exponent.checked_add(i64::try_from(DIGITS).ok()?)?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let factor = 10_i128.checked_pow(u32::try_from(shift.unsigned_abs()).ok()?)?;
    if shift >= 0 {
        return digits.checked_mul(factor);
    }
    (digits % factor == 0).then_some(digits / factor)
}

/// The shortest decimal text, such as `0.3`.
pub fn text(quantity: i128) -> String {
    let sign = if quantity < 0 { "-" } else { "" };
    let digits = format!("{:07}", quantity.unsigned_abs());
    let (whole, fraction) = digits.split_at(digits.len() - DIGITS);
    let plain = format!("{sign}{whole}.{fraction}");
    plain.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// As a JSON number. What a double cannot hold loses its last digits here, as it does on the real wire.
pub fn json(quantity: i128) -> Value {
    serde_json::from_str(&text(quantity)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_and_written_exactly() {
        let read = |text: &str| super::read(&serde_json::from_str(text).unwrap());
        for (wire, millionths, shown) in [
            ("0.1", 100_000, "0.1"),
            ("5.0", 5 * ONE, "5"),
            ("120", 120 * ONE, "120"),
            ("1.5e3", 1_500 * ONE, "1500"),
            ("0.000001", 1, "0.000001"),
            ("-0.25", -250_000, "-0.25"),
            ("-5", -5 * ONE, "-5"),
            ("0", 0, "0"),
        ] {
            assert_eq!(read(wire), Some(millionths), "{wire}");
            assert_eq!(text(millionths), shown);
        }
        assert_eq!([read("1e-7"), read("0.30000000000000004"), read("1e300")], [None; 3]);
        assert_eq!(json(300_000).to_string(), "0.3");
    }
}
