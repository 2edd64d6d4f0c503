//! A chart and the table beside it, which are one thing: the script draws what the table says.

use jiff::ToSpan as _;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Serialize;

use crate::analytics::model::subjects::{Pivot, Step, months};

/// Series that can be told apart in one chart.
const MOST_SERIES: usize = 7;
/// Lines of a table that is not about time.
const MOST_LINES: usize = 25;

/// How it is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bars beside each other.
    Bars,
    /// Bars on each other: the columns are parts of one whole.
    Stacked,
    Lines,
    /// A chart for each column: what can not share an axis.
    Apart,
    /// Bars from left to right, one for each line.
    Across,
    /// A table only.
    None,
}

/// How a column's numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    Number,
    Money,
    Percent,
    Seconds,
    Text,
}

#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// A text of the catalogue; else `text` as Microsoft has it.
    pub key: Option<&'static str>,
    pub text: String,
    pub format: Format,
    pub charted: bool,
    /// Under the column, where adding up means something.
    pub sum: Option<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Line {
    pub key: Option<&'static str>,
    pub text: String,
    pub cells: Vec<Option<String>>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub key: &'static str,
    /// What one of several figures of a sort is about, such as a unit.
    pub what: String,
    pub id: String,
    pub kind: Kind,
    /// What the lines are: a text of the catalogue.
    pub line: &'static str,
    pub columns: Vec<Column>,
    pub lines: Vec<Line>,
    /// Lines that are not shown.
    pub more: usize,
}

/// Texts that stand for themselves in the catalogue.
pub const KEYS: &[&str] = &[
    "new",
    "renewed",
    "changed",
    "cancelled",
    "subscriptions",
    "seats",
    "active",
    "acquired",
    "lost",
    "billed",
    "earned",
    "successful",
    "failed",
    "median",
    "slow",
    "PageVisits",
    "GetItNow",
    "ContactMe",
    "TestDrive",
    "FreeTrial",
];

impl Column {
    /// Of a pivot: a word of ours, or one of Microsoft's.
    fn of(name: &str, format: Format) -> Self {
        let key = KEYS.iter().copied().find(|key| *key == name).or(name.is_empty().then_some("untold"));
        Self { key, text: name.to_owned(), format, charted: true, sum: None }
    }

    pub fn keyed(key: &'static str, format: Format) -> Self {
        Self { key: Some(key), text: String::new(), format, charted: true, sum: None }
    }

    #[must_use]
    pub fn uncharted(mut self) -> Self {
        self.charted = false;
        self
    }
}

impl Line {
    pub fn of(text: &str, cells: Vec<Option<String>>) -> Self {
        Self { key: text.is_empty().then_some("untold"), text: text.to_owned(), cells }
    }
}

/// Days or months from one to the other.
pub fn periods(from: Date, to: Date, step: Step) -> Vec<String> {
    match step {
        Step::Month => months(from, to).map(|(month, _)| month).collect(),
        Step::Day => std::iter::successors(Some(from), |day| day.checked_add(1.day()).ok())
            .take_while(|day| *day <= to)
            .map(|day| day.to_string())
            .collect(),
    }
}

pub fn shown(number: Decimal) -> String {
    number.normalize().to_string()
}

impl Figure {
    pub fn new(key: &'static str, kind: Kind, line: &'static str) -> Self {
        let (what, id) = (String::new(), key.to_owned());
        Self { key, what, id, kind, line, columns: Vec::new(), lines: Vec::new(), more: 0 }
    }

    /// One of several of a sort.
    #[must_use]
    pub fn about(mut self, what: &str, number: usize) -> Self {
        self.what = what.to_owned();
        self.id = format!("{}-{number}", self.key);
        self
    }

    /// Sums in time: a line for each period, also where nothing was. Columns of the same sort beyond the greatest are
    /// added up, if that is allowed.
    #[must_use]
    pub fn in_time(mut self, pivot: &Pivot, periods: &[String], format: Format, columns: Option<&[&str]>) -> Self {
        let mut names =
            columns.map_or_else(|| pivot.columns(), |names| names.iter().map(|name| (*name).into()).collect());
        let rest = match self.kind {
            Kind::Stacked if names.len() > MOST_SERIES + 1 => names.split_off(MOST_SERIES),
            _ => Vec::new(),
        };
        let sum = |names: &[String], line: &str| {
            let cells = names.iter().filter_map(|name| pivot.get(line, name));
            cells.fold(Decimal::ZERO, |sum, cell| sum.checked_add(cell).unwrap_or(Decimal::MAX))
        };
        let groups: Vec<Vec<String>> =
            names.iter().map(|name| vec![name.clone()]).chain((!rest.is_empty()).then_some(rest)).collect();
        for group in &groups {
            let mut column = match group.as_slice() {
                [name] => Column::of(name, format),
                _ => Column::keyed("others", format),
            };
            let all = periods.iter().map(|period| sum(group, period));
            column.sum =
                Some(shown(all.fold(Decimal::ZERO, |sum, cell| sum.checked_add(cell).unwrap_or(Decimal::MAX))));
            self.columns.push(column);
        }
        self.lines = periods
            .iter()
            .map(|period| Line::of(period, groups.iter().map(|group| Some(shown(sum(group, period)))).collect()))
            .collect();
        self
    }

    /// Sums of things, the greatest of the first column on top.
    #[must_use]
    pub fn of_things(mut self, pivot: &Pivot, columns: &[&str]) -> Self {
        self.columns = columns.iter().map(|name| Column::of(name, Format::Number)).collect();
        for (column, name) in self.columns.iter_mut().zip(columns) {
            column.sum = Some(shown(pivot.column_sum(name)));
        }
        let mut lines = pivot.lines_by(columns.first().copied().unwrap_or_default());
        self.more = lines.len().saturating_sub(MOST_LINES);
        lines.truncate(MOST_LINES);
        let cells = |line: &str| {
            columns.iter().map(|column| Some(shown(pivot.get(line, column).unwrap_or_default()))).collect::<Vec<_>>()
        };
        self.lines = lines.iter().map(|line| Line::of(line, cells(line))).collect();
        self
    }

    /// A column of our own, reckoned from the lines' own.
    #[must_use]
    pub fn with(mut self, column: Column, cell: impl Fn(&Line) -> Option<String>) -> Self {
        for line in &mut self.lines {
            let cell = cell(line);
            line.cells.push(cell);
        }
        self.columns.push(column);
        self
    }

    /// Adding up states of different times means nothing.
    #[must_use]
    pub fn without_sums(mut self) -> Self {
        self.columns.iter_mut().for_each(|column| column.sum = None);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_greatest_is_added_up_and_nothing_is_left_out() {
        let mut pivot = Pivot::default();
        for place in 0..20 {
            pivot.add("2026-02", &format!("d{place}"), Decimal::from(place));
        }
        let periods = ["2026-01".to_owned(), "2026-02".to_owned()];
        let figure = Figure::new("metered", Kind::Stacked, "month").in_time(&pivot, &periods, Format::Number, None);
        assert_eq!(figure.columns.len(), MOST_SERIES + 1);
        assert_eq!(figure.columns[MOST_SERIES].key, Some("others"));
        let sum: u32 = figure.lines[1].cells.iter().flatten().map(|cell| cell.parse::<u32>().unwrap()).sum();
        assert_eq!(sum, (0..20).sum::<u32>());
        assert!(figure.lines[0].cells.iter().all(|cell| cell.as_deref() == Some("0")));
    }

    #[test]
    fn days_go_from_one_to_the_other() {
        let days = periods(Date::constant(2026, 2, 27), Date::constant(2026, 3, 1), Step::Day);
        assert_eq!(days, ["2026-02-27", "2026-02-28", "2026-03-01"]);
    }
}
