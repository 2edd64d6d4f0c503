//! What one day lacks and another has too much of: the same thing, posted elsewhere.

use std::collections::BTreeMap;

use jiff::civil::Date;
use rust_decimal::Decimal;

/// More days than this are not tried in all combinations.
const MOST_COMBINED: usize = 10;

/// From → to, day by day; each day stands once on its side, or all of one side's days go with one day of the other.
pub type Moves = Vec<(Date, Date)>;

/// Pairs days that lack (negative) with days that have too much of exactly as much, and takes both out of `deltas`.
pub fn moved(deltas: &mut BTreeMap<Date, Decimal>, tolerance: Decimal) -> Moves {
    let mut moves = Moves::new();
    deltas.retain(|_, delta| delta.abs() > tolerance);
    let lacking: Vec<Date> = of_sign(deltas, true);
    // One for one, the nearest first, and rather later than earlier.
    for from in lacking {
        let Some(lack) = deltas.get(&from).copied() else { continue };
        let fits = deltas.iter().filter(|(_, delta)| (lack + **delta).abs() <= tolerance);
        let nearest = fits.map(|(day, _)| *day).min_by_key(|day| (distance(from, *day), *day < from));
        if let Some(to) = nearest {
            deltas.remove(&from);
            deltas.remove(&to);
            moves.push((from, to));
        }
    }
    // Several that came to stand under one day, and one that came to stand under several.
    for lacking in [true, false] {
        for one in of_sign(deltas, !lacking) {
            let Some(sum) = deltas.get(&one).copied() else { continue };
            let Some(many) = combined(deltas, lacking, sum, tolerance) else { continue };
            deltas.remove(&one);
            for day in many {
                deltas.remove(&day);
                moves.push(if lacking { (day, one) } else { (one, day) });
            }
        }
    }
    moves
}

fn of_sign(deltas: &BTreeMap<Date, Decimal>, negative: bool) -> Vec<Date> {
    deltas.iter().filter(|(_, delta)| delta.is_sign_negative() == negative).map(|(day, _)| *day).collect()
}

fn distance(one: Date, other: Date) -> i64 {
    one.duration_until(other).as_hours().abs()
}

/// Two days or more of one sign that make up `sum` with the other sign.
fn combined(deltas: &BTreeMap<Date, Decimal>, negative: bool, sum: Decimal, tolerance: Decimal) -> Option<Vec<Date>> {
    let days = of_sign(deltas, negative);
    if days.len() > MOST_COMBINED {
        return None;
    }
    (1_u32..1 << days.len()).filter(|choice| choice.count_ones() > 1).find_map(|choice| {
        let chosen = || days.iter().enumerate().filter(move |(at, _)| choice & (1 << at) != 0).map(|(_, day)| *day);
        let total: Decimal = chosen().filter_map(|day| deltas.get(&day)).sum();
        ((total + sum).abs() <= tolerance).then(|| chosen().collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deltas(list: &[(i8, i64)]) -> BTreeMap<Date, Decimal> {
        list.iter().map(|(day, delta)| (Date::constant(2026, 3, *day), Decimal::from(*delta))).collect()
    }

    fn days(moves: &[(Date, Date)]) -> Vec<(i8, i8)> {
        moves.iter().map(|(from, to)| (from.day(), to.day())).collect()
    }

    #[test]
    fn what_lacks_here_and_stands_there_is_one_thing() {
        let mut one = deltas(&[(1, -5), (2, 5), (9, 7)]);
        assert_eq!(days(&moved(&mut one, Decimal::ZERO)), [(1, 2)]);
        assert_eq!(one, deltas(&[(9, 7)]));
        let mut nearest = deltas(&[(5, -5), (4, 5), (6, 5)]);
        assert_eq!(days(&moved(&mut nearest, Decimal::ZERO)), [(5, 6)]);
        let mut together = deltas(&[(1, -5), (2, -6), (3, 11), (8, -2)]);
        assert_eq!(days(&moved(&mut together, Decimal::ZERO)), [(1, 3), (2, 3)]);
        let mut apart = deltas(&[(1, -11), (2, 6), (3, 5)]);
        assert_eq!(days(&moved(&mut apart, Decimal::ZERO)), [(1, 2), (1, 3)]);
        let mut nothing = deltas(&[(1, -4), (2, 5)]);
        assert!(moved(&mut nothing, Decimal::ZERO).is_empty() && nothing.len() == 2);
    }
}
