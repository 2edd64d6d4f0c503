//! What a later package says that the one before it did not. Law: what the earlier package came to and its corrections are
//! what the later one comes to.

use std::collections::{BTreeMap, BTreeSet};

use rust_decimal::Decimal;

use super::files::{File, Line};
use super::journal::{Account, Journal, Sum, postings};

/// One account's part in the change of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    pub file: File,
    /// `added`, `removed` or `changed`.
    pub what: &'static str,
    pub key: String,
    /// Empty: the line changed, and its money did not.
    pub account: Account,
    pub before: Sum,
    pub after: Sum,
}

impl Correction {
    pub fn delta(&self) -> Sum {
        Sum {
            quantity: (self.after.quantity - self.before.quantity).normalize(),
            amount: (self.after.amount - self.before.amount).normalize(),
        }
    }

    pub fn line(&self) -> Line {
        let Account { account, plan, term, currency } = self.account.clone();
        let delta = self.delta();
        let mut line = vec![self.file.name().to_owned(), self.what.to_owned(), self.key.clone()];
        line.extend([account, plan, term, currency]);
        let numbers = [
            self.before.quantity,
            self.after.quantity,
            delta.quantity,
            self.before.amount,
            self.after.amount,
            delta.amount,
        ];
        line.extend(numbers.iter().map(|number: &Decimal| number.normalize().to_string()));
        line
    }
}

/// What has changed between lines of one file that are compared together. Both sides may come in any order.
pub fn corrections(file: File, before: Vec<Line>, after: Vec<Line>) -> Vec<Correction> {
    let (mut before, mut after) = (named(file, before), named(file, after));
    // Most lines are as they were.
    before.retain(|key, line| after.get(key) != Some(&*line) || after.remove(key).is_none());
    let keys: BTreeSet<String> = before.keys().chain(after.keys()).cloned().collect();
    let mut found = Vec::new();
    for key in keys {
        let (old, new) = (before.get(&key), after.get(&key));
        let what = match (old, new) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        };
        let sums = |line: Option<&Line>| {
            let mut journal = Journal::default();
            line.iter().flat_map(|line| postings(file, line)).for_each(|(account, sum)| journal.add(account, sum));
            journal.0
        };
        let (old, new) = (sums(old), sums(new));
        let accounts: BTreeSet<&Account> = old.keys().chain(new.keys()).collect();
        let from = found.len();
        for account in accounts {
            let of = |sums: &BTreeMap<Account, Sum>| sums.get(account).copied().unwrap_or_default();
            let (before, after) = (of(&old), of(&new));
            if before != after {
                found.push(Correction { file, what, key: key.clone(), account: account.clone(), before, after });
            }
        }
        if found.len() == from {
            let (account, before, after) = (Account::default(), Sum::default(), Sum::default());
            found.push(Correction { file, what, key, account, before, after });
        }
    }
    found
}

/// By name; lines of one name by their place among each other when they are sorted.
fn named(file: File, mut lines: Vec<Line>) -> BTreeMap<String, Line> {
    let places = file.key_places();
    lines.sort();
    let mut found = BTreeMap::new();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for line in lines {
        let parts: Vec<&str> = places.iter().filter_map(|at| line.get(*at)).map(String::as_str).collect();
        let name = parts.join("|");
        let count = counts.entry(name.clone()).or_default();
        *count += 1;
        found.insert(if *count == 1 { name } else { format!("{name}|{count}") }, line);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(resource: u8, hour: u8, state: &str, quantity: i64, plan: &str) -> Line {
        let accepted = if state == "accepted" { quantity.to_string() } else { String::new() };
        let cells = [
            &format!("r{resource}"),
            &format!("2026-03-01T{hour:02}"),
            plan,
            "minutes",
            &quantity.to_string(),
            state,
            &accepted,
            "",
            "0.02",
            "USD",
            &(Decimal::from(quantity) * Decimal::new(2, 2)).to_string(),
            "",
        ];
        cells.map(str::to_owned).to_vec()
    }

    fn sums(lines: &[Line]) -> Journal {
        let mut journal = Journal::default();
        lines.iter().for_each(|line| journal.enter(File::UsageEvents, line));
        journal
    }

    fn lines() -> impl Strategy<Value = Vec<Line>> {
        let state = prop::sample::select(vec!["accepted", "pending", "lost", "carried"]);
        let one = (0_u8..3, 0_u8..4, state, 1_i64..50, prop::sample::select(vec!["a", "b"]));
        prop::collection::vec(one, 0..20).prop_map(|list| {
            list.into_iter()
                .map(|(resource, hour, state, quantity, plan)| event(resource, hour, state, quantity, plan))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_was_and_its_corrections_are_what_is(before in lines(), after in lines()) {
            let mut sum = sums(&before);
            for one in corrections(File::UsageEvents, before.clone(), after.clone()) {
                sum.add(one.account.clone(), one.delta());
            }
            prop_assert_eq!(sum, sums(&after));
            prop_assert!(corrections(File::UsageEvents, after.clone(), after).is_empty());
        }
    }

    #[test]
    fn a_change_says_what_was_and_what_is() {
        let before = vec![event(1, 1, "pending", 5, "a"), event(1, 2, "accepted", 5, "a")];
        let after = vec![event(1, 1, "accepted", 5, "a"), event(1, 2, "accepted", 5, "a"), event(2, 1, "lost", 3, "a")];
        let told: Vec<String> = corrections(File::UsageEvents, before, after)
            .iter()
            .map(|one| format!("{} {} {} {}", one.what, one.key, one.account.account, one.delta().amount))
            .collect();
        assert_eq!(
            told,
            [
                "changed r1|2026-03-01T01|minutes usage_accepted 0.1",
                "changed r1|2026-03-01T01|minutes usage_waiting -0.1",
                "added r2|2026-03-01T01|minutes usage_lost 0.06",
            ]
        );
    }
}
