//! What stands in a cell of a report. Kept as text in one canonical form for each kind, so that two spellings of one value
//! are one value, and nothing is lost that could not be read.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::str::FromStr as _;

use jiff::civil::{Date, DateTime};
use rust_decimal::Decimal;

use super::datasets::Kind;

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Nothing was there.
    Null,
    /// It is canonical now.
    Fine,
    /// It is not of its kind and was kept as it stood.
    Odd,
}

/// Appends the canonical form of `text` to `out`: integers and decimals without needless zeros, `true` and `false`,
/// `2026-02-11`, `2026-02-11T09:14:55.1234567Z`. Text stays as it is.
pub fn canonical(kind: Kind, text: &str, out: &mut String) -> Read {
    if kind == Kind::Text {
        out.push_str(text);
        return if text.is_empty() { Read::Null } else { Read::Fine };
    }
    let bare = text.trim();
    if bare.is_empty() || bare.eq_ignore_ascii_case("null") {
        return Read::Null;
    }
    let from = out.len();
    let read = match kind {
        Kind::Text => None,
        Kind::Decimal if plain(bare, out) => Some(()),
        Kind::Integer | Kind::Decimal => number(bare).and_then(|number| {
            (kind == Kind::Decimal || number.is_integer()).then(|| {
                let _ = write!(out, "{}", number.normalize());
            })
        }),
        Kind::Boolean => boolean(bare).map(|value| out.push_str(if value { "true" } else { "false" })),
        Kind::Date => date(bare).map(|date| match bare.len() {
            10 => out.push_str(bare),
            _ => {
                let _ = write!(out, "{date}");
            }
        }),
        Kind::Timestamp => moment(bare).map(|moment| {
            let _ = write!(out, "{moment}Z");
        }),
    };
    match read {
        Some(()) => Read::Fine,
        None => {
            out.truncate(from);
            out.push_str(text);
            Read::Odd
        }
    }
}

/// The canonical form of a number without an exponent, made of its digits alone: a report has millions of them. `false`: it
/// is another kind of text, or has more digits than are exact everywhere.
fn plain(text: &str, out: &mut String) -> bool {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, rest) = digits.split_once('.').unwrap_or((digits, ""));
    let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let ends = digits.ends_with('.');
    if whole.is_empty() || ends || digits.len() > 26 || !numeric(whole) || !numeric(rest) {
        return false;
    }
    let (whole, rest) = (whole.trim_start_matches('0'), rest.trim_end_matches('0'));
    if whole.is_empty() && rest.is_empty() {
        out.push('0');
        return true;
    }
    out.push_str(sign);
    out.push_str(if whole.is_empty() { "0" } else { whole });
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    true
}

/// Also with an exponent, as doubles are written.
pub fn number(text: &str) -> Option<Decimal> {
    let text = text.strip_prefix('+').unwrap_or(text);
    Decimal::from_str_exact(text).ok().or_else(|| Decimal::from_scientific(text).ok())
}

/// Three spellings are in use (analytics contract 9).
pub fn boolean(text: &str) -> Option<bool> {
    const YES: [&str; 4] = ["1", "true", "yes", "y"];
    const NO: [&str; 4] = ["0", "false", "no", "n"];
    let is = |words: &[&str]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(&YES) { Some(true) } else { is(&NO).then_some(false) }
}

/// The day, also of a moment.
pub fn date(text: &str) -> Option<Date> {
    if text.len() == 10 {
        return Date::from_str(text).ok();
    }
    moment(text).map(DateTime::date)
}

/// UTC, with or without a zone, with a blank or a `T` (analytics contract 3 and 9).
pub fn moment(text: &str) -> Option<DateTime> {
    if text.len() == 10 {
        return Date::from_str(text).ok().map(|date| date.at(0, 0, 0, 0));
    }
    let local = text.strip_suffix(['Z', 'z']).unwrap_or(text);
    match DateTime::from_str(local) {
        // A date-time with an offset is read as if it had none; only the instant counts.
        Ok(_) if local.get(10..).is_some_and(|time| time.contains(['+', '-'])) => {
            let at = jiff::Timestamp::from_str(local).ok()?;
            Some(jiff::tz::TimeZone::UTC.to_datetime(at))
        }
        Ok(moment) => Some(moment),
        Err(_) => None,
    }
}

/// Two canonical values of a kind; nothing comes first. Values are compared without letter case, as Microsoft does (8.1).
pub fn compare(kind: Kind, one: &str, other: &str) -> Ordering {
    match (one.is_empty(), other.is_empty()) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Less,
        (false, true) => return Ordering::Greater,
        _ => {}
    }
    let numbers = match kind {
        Kind::Integer | Kind::Decimal => number(one).zip(number(other)),
        _ => None,
    };
    match numbers {
        Some((one, other)) => one.cmp(&other),
        None if kind == Kind::Timestamp => moment(one).cmp(&moment(other)).then_with(|| one.cmp(other)),
        None => {
            let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
            lower(one).cmp(&lower(other))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: Kind, text: &str) -> (Read, String) {
        let mut out = String::new();
        (canonical(kind, text, &mut out), out)
    }

    #[test]
    fn spellings_of_one_value_are_one_value() {
        for (kind, text, expected) in [
            (Kind::Decimal, "1225.00000", "1225"),
            (Kind::Decimal, "-0.04600", "-0.046"),
            (Kind::Decimal, "1E-05", "0.00001"),
            (Kind::Integer, "25.0", "25"),
            (Kind::Boolean, "1", "true"),
            (Kind::Boolean, "No", "false"),
            (Kind::Boolean, "True", "true"),
            (Kind::Date, "2026-02-03", "2026-02-03"),
            (Kind::Date, "2026-02-03 00:00:00.0000000", "2026-02-03"),
            (Kind::Timestamp, "2026-02-03 09:14:55.1234567", "2026-02-03T09:14:55.1234567Z"),
            (Kind::Timestamp, "2026-02-03T09:14:55Z", "2026-02-03T09:14:55Z"),
            (Kind::Timestamp, "2026-02-03T11:14:55+02:00", "2026-02-03T09:14:55Z"),
        ] {
            assert_eq!(read(kind, text), (Read::Fine, expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_short_way_of_numbers_ends_where_the_long_one_does() {
        for text in [
            "0",
            "-0.00",
            "007",
            "0.50",
            "-12.3400",
            "100",
            ".5",
            "5.",
            "1.2.3",
            "-",
            "+4",
            "1e3",
            "99999999999999999999999999.1",
        ] {
            let mut short = String::new();
            if plain(text, &mut short) {
                assert_eq!(Some(short), number(text).map(|number| number.normalize().to_string()), "{text}");
            }
        }
        assert!(plain("1225.00000", &mut String::new()));
    }

    #[test]
    fn what_is_not_of_its_kind_is_kept_as_it_stands() {
        assert_eq!(read(Kind::Decimal, "************"), (Read::Odd, "************".to_owned()));
        assert_eq!(read(Kind::Integer, "2.5"), (Read::Odd, "2.5".to_owned()));
        assert_eq!(read(Kind::Date, "soon"), (Read::Odd, "soon".to_owned()));
        assert_eq!(read(Kind::Boolean, ""), (Read::Null, String::new()));
    }

    #[test]
    fn numbers_are_compared_as_numbers_and_words_without_letter_case() {
        assert_eq!(compare(Kind::Decimal, "9", "10"), Ordering::Less);
        assert_eq!(compare(Kind::Text, "SaaS", "saas"), Ordering::Equal);
        assert_eq!(compare(Kind::Text, "", "a"), Ordering::Less);
    }
}
