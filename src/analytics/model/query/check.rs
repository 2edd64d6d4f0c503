//! A query against Microsoft's live list of datasets and against what is known of the columns, before anything is sent.

use std::collections::HashSet;

use super::super::datasets::Dataset;
use super::super::offered::Offered;
use super::ast::{Comparison, Condition, Name, Query, Test};
use super::fault::{Fault, nearest};
use super::filter::literal;
use super::lex::is_reserved;
use super::span::Span;

/// Everything that is wrong, in the order of the text.
pub fn check(query: &Query, offered: &[Offered]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let offer = offered.iter().find(|offer| offer.dataset.eq_ignore_ascii_case(&query.dataset.value));
    let known = Dataset::find(&query.dataset.value);
    if offer.is_none() {
        faults.push(no_dataset(&query.dataset, known, offered));
    }
    let twice =
        |name: &Name, what| Fault::new(name.at.clone(), format!("`{name}` {what} twice.")).remedy("Leave one out.");
    let (mut selected, mut ordered) = (HashSet::new(), HashSet::new());
    for name in &query.columns {
        if !selected.insert(name.value.to_ascii_lowercase()) {
            faults.push(twice(name, "is selected"));
        }
    }
    for name in query.order.iter().map(|key| &key.column) {
        let lower = name.value.to_ascii_lowercase();
        if !selected.contains(&lower) {
            faults.push(not_selected(name));
        } else if !ordered.insert(lower) {
            faults.push(twice(name, "orders"));
        }
    }
    if let Some(offer) = offer {
        let conditions = query.conditions.iter().map(|condition| &condition.column);
        faults.extend(query.columns.iter().chain(conditions).filter_map(|name| column(name, offer, known)));
    }
    if let Some(dataset) = known {
        query.conditions.iter().for_each(|condition| values(condition, dataset, &mut faults));
    }
    faults.extend(span(query, offer));
    faults.sort_by_key(|fault| (fault.at.start, fault.at.end));
    faults
}

pub(super) fn not_selected(name: &Name) -> Fault {
    Fault::new(name.at.clone(), format!("`{name}` orders, but is not selected."))
        .remedy(format!("Add {name} to SELECT."))
}

fn no_dataset(name: &Name, known: Option<&Dataset>, offered: &[Offered]) -> Fault {
    let fault = Fault::new(name.at.clone(), format!("Microsoft offers no dataset `{name}`."));
    let names = || offered.iter().map(|offer| offer.dataset.as_str());
    // A short name such as `usage`.
    let meant = known.and_then(|known| names().find(|name| name.eq_ignore_ascii_case(known.name)));
    match meant.or_else(|| nearest(&name.value, names())) {
        Some(near) => fault.remedy(format!("Did you mean {near}?")),
        None if offered.is_empty() => fault.remedy("The list of datasets is empty: it has not been fetched yet."),
        None => fault.remedy(format!("There are {}.", names().collect::<Vec<_>>().join(", "))),
    }
}

fn column(name: &Name, offer: &Offered, known: Option<&Dataset>) -> Option<Fault> {
    let personal = |name: &str| known.and_then(|dataset| dataset.column(name)).is_some_and(|column| column.personal);
    if personal(&name.value) {
        let fault = Fault::new(name.at.clone(), format!("`{name}` names a person. It is never asked for."));
        return Some(fault.remedy("Use CustomerId or CustomerCompanyName. Persons are kept with purchases and leads."));
    }
    let names = || offer.columns.iter().chain(&offer.metrics).map(String::as_str);
    if names().any(|offered| offered.eq_ignore_ascii_case(&name.value)) {
        return None;
    }
    let fault = Fault::new(name.at.clone(), format!("{} has no column `{name}`.", offer.dataset));
    // Not a name that would be refused in its turn.
    let possible = |name: &&str| {
        !personal(name) && !is_reserved(name) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    Some(match nearest(&name.value, names().filter(possible)) {
        Some(near) => fault.remedy(format!("Did you mean {near}?")),
        None => fault,
    })
}

/// Microsoft answers a value that a column can not have with an empty file (analytics contract 10).
fn values(condition: &Condition, dataset: &Dataset, faults: &mut Vec<Fault>) {
    let Some(column) = dataset.column(&condition.column.value) else {
        return;
    };
    let equal = match &condition.test {
        Test::In { .. } => true,
        Test::Compare(comparison, _) => matches!(comparison, Comparison::Equal | Comparison::NotEqual),
    };
    let pattern = condition.test.is_pattern();
    for scalar in condition.test.scalars() {
        let text = scalar.value.text();
        // A pattern need not be a value; without `%` it is compared like one.
        if pattern && text.contains('%') {
            continue;
        }
        if let Err(fault) = literal(column.kind, scalar) {
            faults.push(fault);
            continue;
        }
        let Some(words) = dataset.words(column.name).filter(|_| equal || pattern) else {
            continue;
        };
        if words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
            continue;
        }
        let message = format!("{} never has {}: the answer would be empty.", column.name, scalar.value);
        let fault = Fault::new(scalar.at.clone(), message);
        let list = || words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(", ");
        faults.push(match nearest(text, words.iter().copied()) {
            Some(near) => fault.remedy(format!("Did you mean '{near}'?")),
            None => fault.remedy(format!("It has {}.", list())),
        });
    }
}

fn span(query: &Query, offer: Option<&Offered>) -> Option<Fault> {
    let names = offer.map_or_else(Vec::new, |offer| offer.spans.iter().map(String::as_str).collect());
    let list = |names: &[&str]| format!("There are {}.", names.join(", "));
    let Some(span) = &query.span else {
        let fault = Fault::new(query.end..query.end, "The time span is missing.");
        let names = if names.is_empty() { Span::ALL.map(Span::name).to_vec() } else { names };
        return Some(fault.remedy(format!("End with TIMESPAN and its name. {}", list(&names))));
    };
    // An empty list says nothing.
    if names.is_empty() || names.iter().any(|name| name.eq_ignore_ascii_case(span.value.name())) {
        return None;
    }
    let message = format!("Microsoft does not offer {} for {}.", span.value, query.dataset);
    Some(Fault::new(span.at.clone(), message).remedy(list(&names)))
}

#[cfg(test)]
mod tests {
    use super::super::parse::query;
    use super::*;

    fn offer(dataset: &str, columns: &str, metrics: &str, spans: &str) -> Offered {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Offered { dataset: dataset.to_owned(), columns: words(columns), metrics: words(metrics), spans: words(spans) }
    }

    fn offered() -> [Offered; 2] {
        let usage =
            "UsageDate OfferName OfferType SKUBillingType PlanId CoreSize IsPrivateOffer CustomerName NewColumn";
        let spans = "LAST_MONTH LAST_3_MONTHS LIFETIME";
        [
            offer("ISVUsage", usage, "NormalizedUsage EstimatedExtendedChargeCC", spans),
            offer("ISVOfferRetention", "FirstUsageDate Offset", "RevenueGenerated(USD)", ""),
        ]
    }

    /// The words and what is said of them.
    fn faults(text: &str) -> Vec<(String, String)> {
        let said = |fault: Fault| format!("{} {}", fault.message, fault.remedy.unwrap_or_default());
        let found = check(&query(text).unwrap(), &offered());
        found.into_iter().map(|fault| (text[fault.at.clone()].to_owned(), said(fault))).collect()
    }

    #[test]
    fn what_microsoft_offers_is_fine() {
        let text = "SELECT usagedate, PlanId, NewColumn, NormalizedUsage FROM isvusage WHERE SKUBillingType = 'paid' \
                    AND UsageDate >= '2026-02-01' AND CoreSize IN (1, '2') AND IsPrivateOffer = 'No' AND PlanId = 5 \
                    AND NewColumn > 1 AND SKUBillingType LIKE 'p%' AND UsageDate LIKE '2026-%' AND NormalizedUsage > 0.5 \
                    ORDER BY NormalizedUsage TIMESPAN LAST_3_MONTHS";
        assert_eq!(faults(text), []);
        assert_eq!(
            faults("SELECT Offset FROM ISVOfferRetention TIMESPAN LAST_7_DAYS"),
            [],
            "an empty list says nothing"
        );
    }

    #[test]
    fn everything_that_is_wrong_is_said_in_the_order_of_the_text() {
        let text = "SELECT UsageDat, OfferName, offername, CustomerName FROM ISVUsage WHERE SKUBillingType = 'Payed' \
                    AND CoreSize = 'four' AND UsageDate > 'soon' AND OfferNme = 'a' ORDER BY PlanId, OfferName, OfferName \
                    TIMESPAN LAST_6_MONTHS";
        let found = faults(text);
        let expected = [
            ("UsageDat", "Did you mean UsageDate?"),
            ("offername", "selected twice"),
            ("CustomerName", "names a person"),
            ("'Payed'", "It has 'Free', 'Paid'."),
            ("'four'", "not a whole number"),
            ("'soon'", "not a date"),
            ("OfferNme", "Did you mean OfferName?"),
            ("PlanId", "not selected"),
            ("OfferName", "orders twice"),
            ("LAST_6_MONTHS", "There are LAST_MONTH, LAST_3_MONTHS, LIFETIME."),
        ];
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for ((word, said), (at, part)) in found.iter().zip(expected) {
            assert!(word == at && said.contains(part), "{word}: {said}");
        }
    }

    #[test]
    fn a_missing_time_span_is_wrong() {
        let found = faults("SELECT PlanId FROM ISVUsage ");
        assert_eq!(found.len(), 1);
        assert!(found[0].1.contains("There are LAST_MONTH, LAST_3_MONTHS, LIFETIME."), "{found:?}");
    }

    #[test]
    fn an_unknown_dataset_is_answered_with_the_one_that_was_meant() {
        for (name, near) in [("usage", "ISVUsage"), ("ISVUsag", "ISVUsage"), ("offerretention", "ISVOfferRetention")] {
            let found = faults(&format!("SELECT a FROM {name} TIMESPAN LIFETIME"));
            assert!(found[0].0 == name && found[0].1.contains(&format!("Did you mean {near}?")), "{found:?}");
        }
        let found = faults("SELECT a FROM Weather TIMESPAN LIFETIME");
        assert!(found[0].1.contains("There are ISVUsage, ISVOfferRetention."));
    }

    #[test]
    fn no_name_is_proposed_that_the_parser_rejects() {
        let found = faults("SELECT RevenueGeneratedUSD FROM ISVOfferRetention TIMESPAN LIFETIME");
        assert!(!found[0].1.contains("Did you mean"), "{found:?}");
    }

    #[test]
    fn a_word_that_a_column_never_has_is_wrong_but_part_of_one_is_a_pattern() {
        let order = |condition: &str| {
            let text = format!("SELECT OrderStatus FROM ISVOrder WHERE {condition} TIMESPAN LIFETIME");
            check(&query(&text).unwrap(), &[offer("ISVOrder", "OrderStatus", "", "")]).len()
        };
        assert_eq!(order("OrderStatus IN ('active', 'CANCELLED')"), 0);
        assert_eq!(order("OrderStatus LIKE 'Cancel%'"), 0);
        assert_eq!(order("OrderStatus LIKE 'Cancel'"), 1);
        assert_eq!(order("OrderStatus NOT IN ('Active', 'Gone', 'Away')"), 2);
    }
}
