//! Reading what Microsoft sends (marketplace contract 7.1, 7.2, 7.4): the one lenient place. Nothing in it is promised, so
//! names are read in any letter case, and what is missing or of another kind is blank.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::lead::Person;

/// Characters of a name and the like, and of a description, that a lead has; the arrival keeps everything.
pub const LONGEST_NAME: usize = 256;
pub const LONGEST_DESCRIPTION: usize = 32_000;
/// Where the person stands: as an object, or as the text of one.
const PEOPLE: [&str; 2] = ["userdetails", "customerinfo"];
/// The codes that may stand behind the source (contract 7.4).
const CODES: [&str; 5] = ["INS", "PLT", "DNC", "Create", "StartTestDrive"];

/// Why something is no lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    NotJson,
    NotAnObject,
    NoPerson,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reading {
    pub person: Person,
    pub offer: String,
    pub offer_title: String,
    pub source: String,
    pub action: String,
    pub description: String,
}

pub fn read(body: &[u8]) -> Result<Reading, Reason> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let value: Value = serde_json::from_slice(body).map_err(|_| Reason::NotJson)?;
    let Value::Object(fields) = value else { return Err(Reason::NotAnObject) };
    let fields = Fields::of(fields);
    let person = PEOPLE.iter().find_map(|name| fields.object(name)).unwrap_or_else(|| fields.clone()).person();
    if person.identity().is_none() {
        return Err(Reason::NoPerson);
    }
    let (source, code, from_source) = source(&fields.text(&["leadsource"], LONGEST_NAME));
    let action = fields.text(&["actioncode"], LONGEST_NAME);
    let product = offer(&fields.text(&["productid", "offerid"], LONGEST_NAME));
    Ok(Reading {
        person,
        offer: if product.is_empty() { from_source } else { product },
        offer_title: fields.text(&["offertitle", "offerdisplayname"], LONGEST_NAME),
        source,
        action: if action.is_empty() { code } else { action },
        description: cut(&fields.raw(&["description"]), LONGEST_DESCRIPTION, true),
    })
}

/// Fields by their names in lower case.
#[derive(Clone)]
struct Fields(Map<String, Value>);

impl Fields {
    fn of(fields: Map<String, Value>) -> Self {
        Self(fields.into_iter().map(|(name, value)| (name.trim().to_lowercase(), value)).collect())
    }

    fn object(&self, name: &str) -> Option<Self> {
        match self.0.get(name)? {
            Value::Object(fields) => Some(Self::of(fields.clone())),
            Value::String(text) => match serde_json::from_str(text) {
                Ok(Value::Object(fields)) => Some(Self::of(fields)),
                _ => None,
            },
            _ => None,
        }
    }

    /// The first of these fields that says something.
    fn raw(&self, names: &[&str]) -> String {
        let texts = names.iter().filter_map(|name| match self.0.get(*name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(yes) => Some(yes.to_string()),
            _ => None,
        });
        texts.into_iter().find(|text| !text.trim().is_empty()).unwrap_or_default()
    }

    fn text(&self, names: &[&str], longest: usize) -> String {
        cut(&self.raw(names), longest, false)
    }

    fn person(&self) -> Person {
        let text = |names: &[&str]| self.text(names, LONGEST_NAME);
        Person {
            first_name: text(&["firstname"]),
            last_name: text(&["lastname"]),
            email: text(&["email", "emailaddress"]),
            phone: text(&["phone", "phonenumber"]),
            country: text(&["country"]),
            company: text(&["company", "companyname"]),
            title: text(&["title", "jobtitle"]),
        }
    }
}

/// A text without what does not print, and no longer than it may be.
fn cut(text: &str, longest: usize, lines: bool) -> String {
    let plain = |c: char| if c.is_control() && !(lines && matches!(c, '\n' | '\t')) { ' ' } else { c };
    let text: String = text.trim().chars().map(plain).take(longest).collect();
    text.trim().to_owned()
}

/// Source, action and offer of `Source-Action | publisher.offer`, or the source alone.
fn source(text: &str) -> (String, String, String) {
    let (left, product) = text.split_once('|').map_or((text, ""), |(left, right)| (left.trim(), right.trim()));
    let known = |code: &str| CODES.iter().any(|known| known.eq_ignore_ascii_case(code));
    let (source, code) = match left.rsplit_once('-') {
        Some((source, code)) if !product.is_empty() || known(code.trim()) => (source.trim(), code.trim()),
        _ => (left, ""),
    };
    (source.to_owned(), code.to_owned(), offer(product))
}

/// The offer of `publisher.offer`, or of an offer alone.
fn offer(product: &str) -> String {
    product.split_once('.').map_or(product, |(_, offer)| offer).trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reading(value: Value) -> Reading {
        read(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn microsofts_own_example_is_read() {
        let read = reading(json!({
            "UserDetails": { "FirstName": "Some", "LastName": "One", "Email": "someone@contoso.com", "Phone": "16175555555",
                             "Country": "USA", "Company": "Contoso", "Title": "Esquire" },
            "LeadSource": "AzureMarketplace", "ActionCode": "INS", "OfferTitle": "Test Microsoft", "Description": " " }));
        assert_eq!((read.person.name().as_str(), read.person.title.as_str()), ("Some One", "Esquire"));
        assert_eq!((read.source.as_str(), read.action.as_str()), ("AzureMarketplace", "INS"));
        assert_eq!((read.offer_title.as_str(), read.description.as_str()), ("Test Microsoft", ""));
    }

    #[test]
    fn letter_case_kind_and_absence_do_not_matter() {
        let read = reading(
            json!({ "userDetails": { "EMAIL": " a@b.c ", "phone": 49123, "firstName": null, "lastname": ["x"] },
            "leadSource": "AppSource (SPZA)-PLT | contoso.media-genie", "description": 5 }),
        );
        assert_eq!((read.person.email.as_str(), read.person.phone.as_str()), ("a@b.c", "49123"));
        assert_eq!((read.person.first_name.as_str(), read.person.last_name.as_str()), ("", ""));
        assert_eq!((read.source.as_str(), read.action.as_str()), ("AppSource (SPZA)", "PLT"));
        assert_eq!((read.offer.as_str(), read.description.as_str()), ("media-genie", "5"));
    }

    #[test]
    fn a_row_of_the_table_has_its_person_as_a_text() {
        let read =
            reading(json!({ "PartitionKey": "p", "RowKey": "r", "ProductId": "Contoso.Media", "ActionCode": "Create",
            "CustomerInfo": "{\"FirstName\":\"王\",\"LastName\":\"芳 🎉\",\"Email\":\"wang@example.cn\"}" }));
        assert_eq!((read.person.name().as_str(), read.offer.as_str()), ("王 芳 🎉", "media"));
    }

    #[test]
    fn a_source_is_split_only_where_it_is_combined() {
        for (text, expected) in [
            ("AzureMarketplace", ("AzureMarketplace", "", "")),
            ("AzureMarketplace-DNC|contoso.media", ("AzureMarketplace", "DNC", "media")),
            ("AzurePortal-Create", ("AzurePortal", "Create", "")),
            ("Some-Where", ("Some-Where", "", "")),
            ("", ("", "", "")),
        ] {
            let (a, b, c) = source(text);
            assert_eq!((a.as_str(), b.as_str(), c.as_str()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_lead_says_why() {
        for (body, reason) in [
            (&b"rubbish"[..], Reason::NotJson),
            (b"\xff\xfe\x00", Reason::NotJson),
            (b"", Reason::NotJson),
            (b"[1]", Reason::NotAnObject),
            (b"\"x\"", Reason::NotAnObject),
            (b"{}", Reason::NoPerson),
            (br#"{"UserDetails":{"Country":"US"},"Title":"x"}"#, Reason::NoPerson),
            (br#"{"UserDetails":"rubbish"}"#, Reason::NoPerson),
        ] {
            assert_eq!(read(body), Err(reason), "{}", String::from_utf8_lossy(body));
        }
        assert_eq!(read("[".repeat(100_000).as_bytes()), Err(Reason::NotJson));
    }

    #[test]
    fn long_texts_are_cut_and_what_does_not_print_is_blank() {
        let read = reading(
            json!({ "UserDetails": { "Email": "a@b.c", "Company": "界".repeat(1000), "LastName": "a\u{0}\nb" },
            "Description": format!("<script>alert(1)</script>\n{}", "x".repeat(100_000)) }),
        );
        assert_eq!(read.person.company.chars().count(), LONGEST_NAME);
        assert_eq!(read.person.last_name, "a  b");
        assert_eq!(read.description.chars().count(), LONGEST_DESCRIPTION);
        assert!(read.description.starts_with("<script>alert(1)</script>\nx"), "it is data, and stays as it is");
    }
}
