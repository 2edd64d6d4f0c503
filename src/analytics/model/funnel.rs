//! From a visit to a purchase, by offer. The steps are counted by different people in different ways, so each number says
//! whose it is: clicks are not people, and Microsoft asks for them not to be set against leads (analytics contract 9.4).

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Serialize;

/// What an offer came to in a month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Steps {
    /// ISVMarketplaceInsights: clicks.
    pub page_visits: Decimal,
    pub get_it_now: Decimal,
    pub contact_me: Decimal,
    pub test_drive: Decimal,
    pub free_trial: Decimal,
    /// Leads that reached us, without tests and repeats.
    pub leads: u64,
    /// Orders that began as a trial (ISVOrder).
    pub trials: u64,
    /// Orders that began (ISVOrder), trials among them.
    pub purchases: u64,
    /// Subscriptions that we saw for the first time.
    pub subscriptions: u64,
}

/// What a number is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counted {
    pub step: &'static str,
    pub from: &'static str,
    pub what: &'static str,
}

const fn counted(step: &'static str, from: &'static str, what: &'static str) -> Counted {
    Counted { step, from, what }
}

pub const COUNTED: [Counted; 9] = [
    counted("page_visits", "ISVMarketplaceInsights", "views of the offer's page; clicks, not people"),
    counted("get_it_now", "ISVMarketplaceInsights", "clicks; can not be reconciled with leads or orders"),
    counted("contact_me", "ISVMarketplaceInsights", "clicks; can not be reconciled with leads"),
    counted("test_drive", "ISVMarketplaceInsights", "clicks; can not be reconciled with leads"),
    counted("free_trial", "ISVMarketplaceInsights", "clicks; can not be reconciled with trials"),
    counted("leads", "leads", "leads that reached us, without tests, duplicates and those who must not be contacted"),
    counted("trials", "ISVOrder", "orders of the month that began as a trial"),
    counted("purchases", "ISVOrder", "orders of the month with the action Purchase, trials among them"),
    counted("subscriptions", "subscriptions", "SaaS subscriptions that we first saw in the month, without tests"),
];

/// Steps by offer. Clicks and leads may know an offer by its title only, orders know both.
#[derive(Debug, Default)]
pub struct Funnel {
    steps: BTreeMap<String, Steps>,
    /// Title in lower case → id.
    ids: BTreeMap<String, String>,
    titles: BTreeMap<String, String>,
}

/// One line of the funnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    pub offer: String,
    pub title: String,
    #[serde(flatten)]
    pub steps: Steps,
}

impl Funnel {
    /// An offer has this title.
    pub fn learn(&mut self, id: &str, title: &str) {
        if !id.is_empty() && !title.is_empty() {
            self.ids.insert(title.to_lowercase(), id.to_lowercase());
            self.titles.entry(id.to_lowercase()).or_insert_with(|| title.to_owned());
        }
    }

    /// The steps of an offer that is named by its id, by its title or by both.
    pub fn of(&mut self, id: &str, title: &str) -> &mut Steps {
        self.learn(id, title);
        let name = if id.is_empty() { title.to_lowercase() } else { id.to_lowercase() };
        if id.is_empty() {
            self.titles.entry(name.clone()).or_insert_with(|| title.to_owned());
        }
        self.steps.entry(name).or_default()
    }

    /// Offers in the order of their names; what was known by a title only goes to the id that was learned.
    pub fn lines(self) -> Vec<Line> {
        let mut joined: BTreeMap<String, Steps> = BTreeMap::new();
        for (name, steps) in self.steps {
            let offer = self.ids.get(&name).cloned().unwrap_or(name);
            let known = joined.entry(offer).or_default();
            known.page_visits += steps.page_visits;
            known.get_it_now += steps.get_it_now;
            known.contact_me += steps.contact_me;
            known.test_drive += steps.test_drive;
            known.free_trial += steps.free_trial;
            known.leads += steps.leads;
            known.trials += steps.trials;
            known.purchases += steps.purchases;
            known.subscriptions += steps.subscriptions;
        }
        let line = |(offer, steps): (String, Steps)| {
            let title = self.titles.get(&offer).cloned().unwrap_or_default();
            Line { offer, title, steps }
        };
        joined.into_iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_by_its_title_goes_to_the_offer_of_that_title() {
        let mut funnel = Funnel::default();
        funnel.of("", "Contoso Insights").page_visits += Decimal::TEN;
        funnel.of("", "Other").page_visits += Decimal::ONE;
        funnel.of("insights", "").leads += 2;
        funnel.of("Insights", "contoso insights").purchases += 1;
        let lines = funnel.lines();
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].offer.as_str(), lines[0].steps.page_visits), ("insights", Decimal::TEN));
        assert_eq!((lines[0].steps.leads, lines[0].steps.purchases), (2, 1));
        assert_eq!(lines[1].title, "Other");
    }

    #[test]
    fn every_number_says_what_it_is() {
        let steps = serde_json::to_value(Steps::default()).unwrap();
        let mut told: Vec<&str> = COUNTED.iter().map(|counted| counted.step).collect();
        let mut shown: Vec<&str> = steps.as_object().unwrap().keys().map(String::as_str).collect();
        told.sort_unstable();
        shown.sort_unstable();
        assert_eq!(told, shown);
    }
}
