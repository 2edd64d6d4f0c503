//! A query over our own rows: conditions, groups, order and limit. The dataset and the time span are not looked at: who
//! calls chooses the rows.

use std::cmp::Reverse;

use super::super::datasets::Kind;
use super::ast::Query;
use super::fault::Fault;
use super::filter::{Filter, Value, place};
use super::hold::{Groups, Held, Sort, TooMuch};

/// What was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// As the dataset spells them.
    pub columns: Vec<String>,
    pub rows: Vec<Vec<String>>,
    /// Cells of metrics that had no number in them. They are in no sum.
    pub not_summed: u64,
}

#[derive(Debug)]
pub struct Run {
    filter: Filter,
    selected: Vec<Selected>,
    /// Places in the answer, and whether small comes first.
    order: Vec<(usize, bool)>,
    limit: Option<usize>,
    distinct: bool,
    grouped: bool,
    held: Held,
    groups: Groups,
}

#[derive(Debug)]
struct Selected {
    name: String,
    kind: Kind,
    /// Place in the rows that are read.
    place: usize,
    metric: bool,
}

impl Run {
    /// For rows with these `columns`. `metrics` are the names of those that are summed.
    pub fn compile(query: &Query, columns: &[(String, Kind)], metrics: &[String]) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let mut selected: Vec<Selected> = Vec::new();
        for name in &query.columns {
            match place(name, columns) {
                Ok(place) => selected.extend(columns.get(place).map(|(spelled, kind)| Selected {
                    name: spelled.clone(),
                    kind: *kind,
                    place,
                    metric: metrics.iter().any(|metric| metric.eq_ignore_ascii_case(spelled)),
                })),
                Err(fault) => faults.push(fault),
            }
        }
        let filter = Filter::compile(&query.conditions, columns).map_err(|more| faults.extend(more)).ok();
        let mut order = Vec::new();
        for key in &query.order {
            let column = &key.column.value;
            match selected.iter().position(|selected| selected.name.eq_ignore_ascii_case(column)) {
                Some(place) => order.push((place, key.ascending)),
                None => faults.push(super::check::not_selected(&key.column)),
            }
        }
        let Some(filter) = filter.filter(|_| faults.is_empty()) else {
            faults.sort_by_key(|fault| fault.at.start);
            return Err(faults);
        };
        Ok(Self {
            filter,
            grouped: selected.iter().any(|selected| selected.metric),
            selected,
            order,
            limit: query.limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            distinct: query.distinct,
            held: Held::default(),
            groups: Groups::default(),
        })
    }

    /// No further row can change the answer.
    pub fn is_complete(&self) -> bool {
        !self.grouped && self.order.is_empty() && self.limit.is_some_and(|limit| self.held.len() >= limit)
    }

    /// Takes a row of canonical cells.
    pub fn push(&mut self, cells: &[&str]) -> Result<(), TooMuch> {
        if self.is_complete() || !self.filter.admits(cells) {
            return Ok(());
        }
        let cell = |selected: &Selected| cells.get(selected.place).copied().unwrap_or_default();
        if self.grouped {
            let pick = |metric| self.selected.iter().filter(move |selected| selected.metric == metric).map(cell);
            return self.groups.add(&pick(false).collect::<Vec<_>>(), &pick(true).collect::<Vec<_>>());
        }
        let picked: Vec<&str> = self.selected.iter().map(cell).collect();
        let sort = sort_keys(&self.order, &self.selected, &picked);
        self.held.add(sort, &picked, self.distinct, self.limit)
    }

    pub fn finish(mut self) -> Result<Table, TooMuch> {
        for group in self.groups.take() {
            let (mut cells, mut sums) = (group.cells.into_iter(), group.sums.into_iter());
            let row: Vec<String> = self
                .selected
                .iter()
                .map(|selected| match selected.metric {
                    // As `value::canonical` writes it.
                    true => sums.next().flatten().map(|sum| sum.normalize().to_string()),
                    false => cells.next(),
                })
                .map(Option::unwrap_or_default)
                .collect();
            let picked: Vec<&str> = row.iter().map(String::as_str).collect();
            let sort = sort_keys(&self.order, &self.selected, &picked);
            self.held.add(sort, &picked, false, self.limit)?;
        }
        Ok(Table {
            columns: self.selected.into_iter().map(|selected| selected.name).collect(),
            rows: self.held.in_order().collect(),
            not_summed: self.groups.not_summed,
        })
    }
}

fn sort_keys(order: &[(usize, bool)], selected: &[Selected], cells: &[&str]) -> Vec<Sort> {
    let value = |place: usize| {
        let kind = selected.get(place).map_or(Kind::Text, |selected| selected.kind);
        Value::of(kind, cells.get(place).copied().unwrap_or_default())
    };
    let sort = |(place, ascending): &(usize, bool)| match ascending {
        true => Sort::Up(value(*place)),
        false => Sort::Down(Reverse(value(*place))),
    };
    order.iter().map(sort).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::hold::{MOST_BYTES, MOST_ROWS};
    use super::super::parse::query;
    use super::*;

    fn start(text: &str) -> Run {
        let columns = [("Day", Kind::Date), ("Plan", Kind::Text), ("Seats", Kind::Integer), ("Charge", Kind::Decimal)];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind));
        Run::compile(&query(text).unwrap(), &columns, &["charge".to_owned()]).unwrap()
    }

    const ROWS: [[&str; 4]; 5] = [
        ["2026-02-01", "gold", "9", "0.1"],
        ["2026-02-01", "silver", "10", "0.2"],
        ["2026-02-02", "gold", "", "100.05"],
        ["2026-02-02", "gold", "9", ""],
        ["2026-02-03", "Gold", "30", "****"],
    ];

    fn table(text: &str) -> Table {
        let mut run = start(text);
        ROWS.iter().for_each(|row| run.push(row).unwrap());
        run.finish().unwrap()
    }

    fn rows(text: &str) -> Vec<String> {
        table(text).rows.into_iter().map(|row| row.join(" ")).collect()
    }

    #[test]
    fn without_a_metric_the_rows_are_answered_as_they_stand() {
        assert_eq!(rows("SELECT plan, Seats FROM x WHERE Seats > 9"), ["silver 10", "Gold 30"]);
        assert_eq!(table("SELECT plan FROM x").columns, ["Plan"]);
    }

    #[test]
    fn a_metric_is_summed_over_the_other_columns() {
        let answer = table("SELECT Plan, Charge FROM x ORDER BY Charge ASC");
        let expected = [["Gold", ""], ["silver", "0.2"], ["gold", "100.15"]];
        assert_eq!(answer.rows, expected);
        assert_eq!(answer.not_summed, 1, "a masked cell is in no sum, and that is said");
        assert_eq!(rows("SELECT Charge FROM x WHERE Plan = 'GOLD'"), ["100.15"]);
        assert_eq!(rows("SELECT Charge FROM x WHERE Plan = 'lead'"), [""; 0]);
    }

    #[test]
    fn the_order_is_descending_unless_it_says_otherwise_and_nothing_is_least() {
        assert_eq!(rows("SELECT Seats FROM x ORDER BY Seats"), ["30", "10", "9", "9", ""]);
        assert_eq!(rows("SELECT Seats, Day FROM x ORDER BY Seats ASC, Day LIMIT 2"), [" 2026-02-02", "9 2026-02-02"]);
        assert_eq!(rows("SELECT Plan, Charge FROM x ORDER BY Charge LIMIT 1"), ["gold 100.15"]);
    }

    #[test]
    fn distinct_answers_each_combination_once() {
        assert_eq!(rows("SELECT DISTINCT Plan FROM x"), ["gold", "silver", "Gold"]);
        assert_eq!(
            rows("SELECT DISTINCT Plan, Seats FROM x ORDER BY Seats LIMIT 3"),
            ["Gold 30", "silver 10", "gold 9"]
        );
    }

    #[test]
    fn a_limit_without_order_is_complete_early() {
        let mut run = start("SELECT Plan FROM x LIMIT 2");
        run.push(&ROWS[0]).unwrap();
        assert!(!run.is_complete());
        run.push(&ROWS[1]).unwrap();
        assert!(run.is_complete());
    }

    #[test]
    fn with_a_limit_any_number_of_rows_goes_through() {
        let mut run = start("SELECT DISTINCT Seats FROM x ORDER BY Seats LIMIT 3");
        for number in 0..MOST_ROWS + 10 {
            run.push(&["", "", &number.to_string(), ""]).unwrap();
        }
        assert_eq!(run.held.len(), 3);
        let last = MOST_ROWS + 9;
        let expected = [last, last - 1, last - 2].map(|number| vec![number.to_string()]);
        assert_eq!(run.finish().unwrap().rows, expected);
    }

    #[test]
    fn without_a_limit_too_many_rows_or_groups_are_refused() {
        for text in ["SELECT Seats FROM x", "SELECT Seats, Charge FROM x LIMIT 5"] {
            let mut run = start(text);
            let pushed = (0..=MOST_ROWS).try_for_each(|number| run.push(&["", "", &number.to_string(), "1"]));
            assert_eq!(pushed, Err(TooMuch::Rows), "{text}");
        }
        let mut run = start("SELECT Plan FROM x");
        let long = "x".repeat(MOST_BYTES / 4);
        assert_eq!((0..4).try_for_each(|_| run.push(&["", &long, "", ""])), Err(TooMuch::Bytes));
    }

    #[test]
    fn a_sum_that_can_not_be_exact_is_refused() {
        let mut run = start("SELECT Charge FROM x");
        run.push(&["", "", "", "10000000000000000000"]).unwrap();
        assert_eq!(run.push(&["", "", "", "0.00000000000000000001"]), Err(TooMuch::Digits));
    }

    #[test]
    fn all_faults_are_said_at_once() {
        let text = "SELECT Plam FROM x WHERE Seats = 'many' ORDER BY Day";
        let columns = [("Plan", Kind::Text), ("Seats", Kind::Integer)].map(|(name, kind)| (name.to_owned(), kind));
        let faults = Run::compile(&query(text).unwrap(), &columns, &[]).unwrap_err();
        let words: Vec<_> = faults.iter().map(|fault| &text[fault.at.clone()]).collect();
        assert_eq!(words, ["Plam", "'many'", "Day"]);
    }

    proptest! {
        #[test]
        fn the_held_rows_are_the_first_of_all_in_order(
            seats in prop::collection::vec(0_u8..20, 0..60), limit in 1_usize..30, ascending in any::<bool>(), distinct in any::<bool>(),
        ) {
            let word = |yes: bool, word: &'static str| if yes { word } else { "" };
            let text = format!(
                "SELECT {} Seats FROM x ORDER BY Seats {} LIMIT {limit}", word(distinct, "DISTINCT"), word(ascending, "ASC")
            );
            let mut run = start(&text);
            for seat in &seats {
                run.push(&["", "", &seat.to_string(), ""]).unwrap();
                prop_assert!(run.held.len() <= limit);
            }
            let mut expected = seats;
            expected.sort_unstable();
            if distinct {
                expected.dedup();
            }
            if !ascending {
                expected.reverse();
            }
            expected.truncate(limit);
            let found: Vec<u8> = run.finish().unwrap().rows.iter().map(|row| row[0].parse().unwrap()).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
