//! Which customer somebody may work for: rules over mail addresses and names, each with how sure it is.

use serde::Serialize;

use super::domains::telling;
use super::lead::Person;
use crate::foundation::ids::{SubscriptionId, TenantId};

/// What is known of a customer.
#[derive(Debug, Clone, Default)]
pub struct Customer {
    pub subscription: Option<SubscriptionId>,
    /// Who uses it, or else who bought it.
    pub tenant: Option<TenantId>,
    pub name: String,
    pub emails: Vec<String>,
}

/// Why somebody may belong to a customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The very person that bought or uses it.
    SameAddress,
    SameDomain,
    /// One domain lies below the other.
    RelatedDomain,
    SameName,
    /// The company's name is that of the customer's domain.
    NameOfDomain,
}

impl Why {
    pub fn confidence(self) -> u8 {
        match self {
            Self::SameAddress => 100,
            Self::SameDomain => 90,
            Self::RelatedDomain => 70,
            Self::SameName => 60,
            Self::NameOfDomain => 50,
        }
    }
}

/// Forms of companies that say nothing of which one it is.
const FORMS: [&str; 20] = [
    "inc",
    "llc",
    "ltd",
    "limited",
    "corp",
    "corporation",
    "co",
    "company",
    "gmbh",
    "ag",
    "kg",
    "sa",
    "sas",
    "sarl",
    "srl",
    "spa",
    "bv",
    "nv",
    "plc",
    "pty",
];
const CHINESE_FORMS: [&str; 3] = ["股份有限公司", "有限公司", "公司"];
/// Shorter names are anybody's.
const SHORTEST_NAME: usize = 2;

/// The best reason, if there is one.
pub fn matches(person: &Person, customer: &Customer) -> Option<Why> {
    let email = person.email.trim().to_lowercase();
    if !email.is_empty() && customer.emails.iter().any(|known| known.trim().to_lowercase() == email) {
        return Some(Why::SameAddress);
    }
    let theirs: Vec<String> = customer.emails.iter().filter_map(|email| telling(email)).collect();
    if let Some(domain) = telling(&email) {
        if theirs.contains(&domain) {
            return Some(Why::SameDomain);
        }
        let below = |low: &str, high: &str| low.ends_with(&format!(".{high}"));
        if theirs.iter().any(|known| below(known, &domain) || below(&domain, known)) {
            return Some(Why::RelatedDomain);
        }
    }
    let name = plain(&person.company);
    if name.chars().count() < SHORTEST_NAME {
        return None;
    }
    if name == plain(&customer.name) {
        return Some(Why::SameName);
    }
    let labels = theirs.iter().filter_map(|domain| domain.split('.').rev().skip(1).find(|label| label.len() > 3));
    labels.map(plain).any(|label| label == name).then_some(Why::NameOfDomain)
}

/// A company's name without its form, blanks and signs.
fn plain(name: &str) -> String {
    let name = name.to_lowercase();
    let bare = CHINESE_FORMS.iter().find_map(|form| name.trim().strip_suffix(form)).unwrap_or(&name);
    let words = bare.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty() && !FORMS.contains(word));
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(email: &str, company: &str) -> Person {
        Person { email: email.into(), company: company.into(), ..Person::default() }
    }

    #[test]
    fn the_surest_reason_counts() {
        let customer = Customer {
            name: "Fabrikam Media".into(),
            emails: vec!["clara@contoso.com".into(), "max@gmail.com".into()],
            ..Customer::default()
        };
        for (email, company, why) in [
            ("Clara@Contoso.com", "", Some(Why::SameAddress)),
            ("max@gmail.com", "", Some(Why::SameAddress)),
            ("bob@contoso.com", "Fabrikam Media", Some(Why::SameDomain)),
            ("bob@eu.contoso.com", "", Some(Why::RelatedDomain)),
            ("bob@gmail.com", "", None),
            ("bob@evilcontoso.com", "", None),
            ("bob@gmail.com", "fabrikam-media, Inc.", Some(Why::SameName)),
            ("bob@gmail.com", "Contoso GmbH", Some(Why::NameOfDomain)),
            ("", "Inc", None),
            ("", "", None),
        ] {
            assert_eq!(matches(&person(email, company), &customer), why, "{email} {company}");
        }
        let chinese = Customer { name: "示例科技".into(), ..Customer::default() };
        assert_eq!(matches(&person("a@qq.com", "示例科技有限公司"), &chinese), Some(Why::SameName));
        assert!(Why::SameDomain.confidence() > Why::SameName.confidence());
    }
}
