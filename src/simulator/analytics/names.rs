//! Names, countries and channels of customers who do not exist, some of them hard to write into a file.

pub struct Country {
    pub name: &'static str,
    pub code: &'static str,
    pub currency: &'static str,
    pub culture: &'static str,
    pub city: &'static str,
}

const fn country(
    name: &'static str,
    code: &'static str,
    currency: &'static str,
    culture: &'static str,
    city: &'static str,
) -> Country {
    Country { name, code, currency, culture, city }
}

pub const COUNTRIES: &[Country] = &[
    country("Germany", "DE", "EUR", "de-DE", "Köln"),
    country("United States", "US", "USD", "en-US", "Redmond"),
    country("United Kingdom", "GB", "GBP", "en-GB", "Leeds"),
    country("Japan", "JP", "JPY", "ja-JP", "大阪"),
    country("Switzerland", "CH", "CHF", "de-CH", "Zürich"),
    country("India", "IN", "INR", "en-IN", "Pune"),
    country("France", "FR", "EUR", "fr-FR", "Lyon"),
];

/// `AzureLicenseType`.
pub const CHANNELS: &[&str] =
    &["Pay as You Go", "Enterprise", "Enterprise through Reseller", "Cloud Solution Provider", "GTM"];

const COMPANIES: &[&str] =
    &["Contoso", "Fabrikam", "Müller & Söhne", "O'Brien, Clark", "\"Blue Yonder\" Airlines", "日本 Trey", "Woodgrove"];
const FORMS: &[&str] = &["GmbH", "Inc.", "Ltd.", "K.K.", "AG", "Pvt. Ltd.", "S.A."];
const FIRST: &[&str] = &["Ada", "Zoë", "José", "Li", "Anna", "Tom", "Priya"];
const LAST: &[&str] = &["Berg", "O'Neil", "Sørensen", "Tanaka", "Rao", "Meyer", "Smith"];

pub struct Name {
    pub company: String,
    pub first: &'static str,
    pub last: &'static str,
    pub country: &'static Country,
}

pub fn of(place: u64, number: u64) -> Name {
    let at = |shift: u32| usize::try_from((number >> shift) % 7).unwrap_or_default();
    let country = at(0);
    Name {
        company: format!("{} {place} {}", COMPANIES[at(8)], FORMS[country]),
        first: FIRST[at(16)],
        last: LAST[at(24)],
        country: &COUNTRIES[country],
    }
}
