//! What holds for every query and every text, and for those in the documents.

use proptest::prelude::*;

use super::super::datasets::{Column, DATASETS, Dataset};
use super::super::offered::Offered;
use super::ast::{At, Comparison, Condition, Literal, Name, OrderKey, Query, Scalar, Test};
use super::check::check;
use super::lex::is_reserved;
use super::parse::{conditions, query};
use super::span::Span;

fn at<T>(value: T) -> At<T> {
    At { value, at: 0..0 }
}

fn name() -> impl Strategy<Value = Name> {
    "[A-Za-z][A-Za-z0-9_]{0,12}".prop_filter("reserved", |text| !is_reserved(text)).prop_map(at)
}

fn literal() -> impl Strategy<Value = Scalar> {
    prop_oneof!["-?[0-9]{1,9}(\\.[0-9]{1,5})?".prop_map(Literal::Number), "[^'\\p{Cc}]{0,12}".prop_map(Literal::Text)]
        .prop_map(at)
}

fn a_condition() -> impl Strategy<Value = Condition> {
    let comparisons = prop::sample::select(vec![
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::Greater,
        Comparison::Less,
        Comparison::AtLeast,
        Comparison::AtMost,
        Comparison::Like,
        Comparison::NotLike,
    ]);
    let test = prop_oneof![
        (comparisons, literal()).prop_map(|(comparison, value)| Test::Compare(comparison, value)),
        (any::<bool>(), prop::collection::vec(literal(), 1..4))
            .prop_map(|(negated, values)| Test::In { negated, values }),
    ];
    (name(), test).prop_map(|(column, test)| Condition { column, test })
}

prop_compose! {
    fn a_query()(
        distinct in any::<bool>(),
        columns in prop::collection::vec(name(), 1..5),
        dataset in "[A-Za-z][A-Za-z0-9]{0,12}".prop_filter("reserved", |text| !is_reserved(text)).prop_map(at),
        conditions in prop::collection::vec(a_condition(), 0..4),
        order in prop::collection::vec((name(), any::<bool>()), 0..3),
        limit in prop::option::of(1..=u64::MAX),
        span in prop::option::of(prop::sample::select(Span::ALL.to_vec())),
    ) -> Query {
        let order = order.into_iter().map(|(column, ascending)| OrderKey { column, ascending }).collect();
        Query { distinct, columns, dataset, conditions, order, limit, span: span.map(at), end: 0 }
    }
}

/// Without its places.
fn bare(mut query: Query) -> Query {
    let names = query.columns.iter_mut().chain(query.order.iter_mut().map(|key| &mut key.column));
    for name in names.chain([&mut query.dataset]) {
        name.at = 0..0;
    }
    for condition in &mut query.conditions {
        condition.column.at = 0..0;
        match &mut condition.test {
            Test::Compare(_, scalar) => scalar.at = 0..0,
            Test::In { values, .. } => values.iter_mut().for_each(|scalar| scalar.at = 0..0),
        }
    }
    if let Some(span) = &mut query.span {
        span.at = 0..0;
    }
    query.end = 0;
    query
}

proptest! {
    #[test]
    fn what_is_written_out_is_read_as_the_same(written in a_query()) {
        let text = written.to_string();
        prop_assert!(!text.contains('\n'));
        match query(&text) {
            Ok(read) => prop_assert_eq!(bare(read), written),
            Err(fault) => prop_assert!(false, "{}", fault.render(&text)),
        }
    }

    /// Whatever the list says, also of a dataset that is known.
    #[test]
    fn whatever_is_read_can_be_checked(
        written in a_query(), dataset in "(ISVOrder|ISVUsage|x)", offers in prop::collection::vec(".{0,12}", 0..4),
    ) {
        let text = Query { dataset: at(dataset.clone()), ..written }.to_string();
        let read = query(&text).unwrap();
        let offer = Offered { dataset, columns: offers.clone(), metrics: offers.clone(), spans: offers };
        for fault in check(&read, &[offer]).into_iter().chain(check(&read, &[])) {
            prop_assert!(text.get(fault.at.clone()).is_some());
        }
    }

    #[test]
    fn no_bytes_are_too_strange(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = query(&text).map_err(|fault| fault.render(&text));
        let _ = conditions(&text).map_err(|fault| fault.render(&text));
    }

    #[test]
    fn no_heap_of_its_words_is_too_strange(words in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "DISTINCT", "FROM", "WHERE", "AND", "OR", "ORDER", "BY", "LIMIT", "TIMESPAN", "LIKE", "NOT", "IN",
        "a", "SUM", "(", ")", "CC", ",", "'", "'x'", "\u{2019}", "\"", "1", "-", "=", "<", "*", ";", "\n", "é",
    ]), 0..30), blanks in any::<bool>()) {
        let text = words.join(if blanks { " " } else { "" });
        for fault in [query(&text).err(), conditions(&text).err()].into_iter().flatten() {
            prop_assert!(fault.at.end <= text.len() && text.get(fault.at.clone()).is_some());
            prop_assert!(!fault.message.is_empty() && fault.message != "This is not expected.");
            let _ = fault.render(&text);
        }
    }
}

const DOCUMENT: &str = include_str!("../../../../docs/ANALYTICS-QUERIES.md");

fn blocks(language: &str) -> impl Iterator<Item = &'static str> {
    let begin = format!("```{language}\n");
    let bodies = DOCUMENT.split("\n```\n").filter_map(move |part| Some(part.split_once(&begin)?.1));
    bodies.collect::<Vec<_>>().into_iter()
}

/// Everything that the documents name.
fn all_offered() -> Vec<Offered> {
    let offer = |dataset: &Dataset| {
        let names = |metric| {
            let of = move |column: &&Column| column.metric == metric;
            dataset.columns.iter().filter(of).map(|column| column.name.to_owned()).collect()
        };
        let spans =
            ["LAST_MONTH", "LAST_3_MONTHS", "LAST_6_MONTHS", "LAST_1_YEAR", "LIFETIME"].map(str::to_owned).to_vec();
        Offered { dataset: dataset.name.to_owned(), columns: names(false), metrics: names(true), spans }
    };
    DATASETS.iter().map(offer).collect()
}

#[test]
fn the_documented_queries_are_right_and_there_is_one_for_each_dataset() {
    let mut datasets = Vec::new();
    for text in blocks("sql") {
        let read = query(text).unwrap_or_else(|fault| panic!("{}", fault.render(text)));
        let faults: Vec<_> = check(&read, &all_offered()).iter().map(|fault| fault.render(text)).collect();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
        datasets.push(read.dataset.value);
    }
    assert_eq!(datasets, DATASETS.iter().map(|dataset| dataset.name.to_owned()).collect::<Vec<_>>());
}

#[test]
fn the_documented_faults_are_what_is_shown() {
    let block = blocks("text").next().unwrap();
    let text = block.lines().next().unwrap();
    let shown = check(&query(text).unwrap(), &all_offered()).iter().map(|fault| fault.render(text)).collect::<Vec<_>>();
    assert_eq!(format!("{text}\n\n{}", shown.join("\n\n")), block);
}

#[test]
fn queries_are_read_as_microsofts_documents_write_them() {
    for (text, plain) in [
        (
            "SELECT AssetId,Quantity , Currency from ISVOrder WHERE OrderStatus='Active' and IsTrial = ’False’",
            "SELECT AssetId, Quantity, Currency FROM ISVOrder WHERE OrderStatus = 'Active' AND IsTrial = 'False'",
        ),
        (
            "SELECT UsageDate, RawUsage FROM ISVUsage WHERE OfferType NOT IN (‘Azure Applications’, ‘SaaS’) TIMESPAN LAST_1_YEAR",
            "SELECT UsageDate, RawUsage FROM ISVUsage WHERE OfferType NOT IN ('Azure Applications', 'SaaS') TIMESPAN LAST_1_YEAR",
        ),
    ] {
        assert_eq!(query(text).unwrap_or_else(|fault| panic!("{}", fault.render(text))).to_string(), plain);
    }
}
