//! Which field of a lead goes where: for each field of the other system a template over the lead's fields. Pure.

use serde_json::{Map, Value};

use crate::leads::model::lead::Lead;

/// What a template may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    FirstName,
    LastName,
    Email,
    Phone,
    Country,
    Company,
    Title,
    Offer,
    OfferTitle,
    Source,
    Action,
    Description,
    First,
    Last,
    Arrivals,
    DoNotContact,
}

const FIELDS: &[(&str, Field)] = &[
    ("id", Field::Id),
    ("first_name", Field::FirstName),
    ("last_name", Field::LastName),
    ("email", Field::Email),
    ("phone", Field::Phone),
    ("country", Field::Country),
    ("company", Field::Company),
    ("title", Field::Title),
    ("offer", Field::Offer),
    ("offer_title", Field::OfferTitle),
    ("source", Field::Source),
    ("action", Field::Action),
    ("description", Field::Description),
    ("first", Field::First),
    ("last", Field::Last),
    ("arrivals", Field::Arrivals),
    ("do_not_contact", Field::DoNotContact),
];

impl Field {
    /// The offer's title may be unknown; its id says nearly as much.
    fn text(self, lead: &Lead) -> String {
        let person = &lead.person;
        let text = match self {
            Self::Id => lead.id.as_str(),
            Self::FirstName => &person.first_name,
            Self::LastName => &person.last_name,
            Self::Email => &person.email,
            Self::Phone => &person.phone,
            Self::Country => &person.country,
            Self::Company => &person.company,
            Self::Title => &person.title,
            Self::Offer => &lead.offer,
            Self::OfferTitle if lead.offer_title.trim().is_empty() => &lead.offer,
            Self::OfferTitle => &lead.offer_title,
            Self::Source => &lead.source,
            Self::Action => &lead.action,
            Self::Description => &lead.description,
            Self::First => return lead.first.to_string(),
            Self::Last => return lead.last.to_string(),
            Self::Arrivals => return lead.arrivals.to_string(),
            Self::DoNotContact => {
                if lead.do_not_contact {
                    "yes"
                } else {
                    "no"
                }
            }
        };
        text.trim().to_owned()
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Template {
    /// The same for every lead, such as the number of an option.
    Constant(Value),
    /// One field and nothing else: it keeps its kind.
    Alone(Field),
    Pieces(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Text(String),
    Field(Field),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("`{{{0}}}` is no field of a lead; there are: {known}", known = FIELDS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))]
    Unknown(String),
    #[error("a brace is open or closed without the other; write {{{{ or }}}} for the character itself")]
    Brace,
    #[error("expected a template, a number, true, false, or null to leave the field out")]
    Kind,
}

impl Template {
    fn read(value: &Value) -> Result<Self, TemplateError> {
        match value {
            Value::String(text) => Self::parse(text),
            Value::Number(_) | Value::Bool(_) => Ok(Self::Constant(value.clone())),
            _ => Err(TemplateError::Kind),
        }
    }

    fn parse(text: &str) -> Result<Self, TemplateError> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = rest.split_once('}').filter(|_| brace == "{").ok_or(TemplateError::Brace)?;
            let found = FIELDS.iter().find(|(known, _)| *known == name.trim());
            let (_, field) = found.ok_or_else(|| TemplateError::Unknown(name.to_owned()))?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Field(*field));
            rest = after;
        }
        plain.push_str(rest);
        Ok(match pieces.as_slice() {
            [] => Self::Constant(Value::String(plain)),
            [Piece::Field(field)] if plain.is_empty() => Self::Alone(*field),
            _ => {
                if !plain.is_empty() {
                    pieces.push(Piece::Text(plain));
                }
                Self::Pieces(pieces)
            }
        })
    }

    /// None: the lead has nothing to say here.
    fn fill(&self, lead: &Lead) -> Option<Value> {
        let text = match self {
            Self::Constant(value) => return Some(value.clone()).filter(|value| value.as_str() != Some("")),
            Self::Alone(Field::DoNotContact) => return Some(lead.do_not_contact.into()),
            Self::Alone(Field::Arrivals) => return Some(lead.arrivals.into()),
            Self::Alone(field) => field.text(lead),
            Self::Pieces(pieces) => {
                let blank = |piece: &Piece| matches!(piece, Piece::Field(field) if field.text(lead).is_empty());
                let fields = pieces.iter().filter(|piece| matches!(piece, Piece::Field(_))).count();
                if pieces.iter().filter(|piece| blank(piece)).count() == fields {
                    return None;
                }
                let filled = pieces.iter().map(|piece| match piece {
                    Piece::Text(text) => text.clone(),
                    Piece::Field(field) => field.text(lead),
                });
                filled.collect::<String>().trim().to_owned()
            }
        };
        Some(text).filter(|text| !text.is_empty()).map(Value::String)
    }
}

/// Fields of the other system in the order in which people see them.
#[derive(Debug, Clone, Default)]
pub struct Mapping(Vec<(String, Template)>);

impl Mapping {
    /// A default with what the file says otherwise; the errors by the field that they are in.
    pub fn read(default: &[(&str, &str)], changes: &Map<String, Value>) -> Result<Self, Vec<(String, TemplateError)>> {
        let mut list: Vec<(String, Template)> = Vec::new();
        let mut errors = Vec::new();
        let kept = default.iter().filter(|(name, _)| !changes.contains_key(*name));
        for (name, template) in kept {
            match Template::parse(template) {
                Ok(template) => list.push(((*name).to_owned(), template)),
                Err(error) => errors.push(((*name).to_owned(), error)),
            }
        }
        for (name, template) in changes.iter().filter(|(_, template)| !template.is_null()) {
            match Template::read(template) {
                Ok(template) => {
                    // In the place of the default that it replaces.
                    let before = default.iter().take_while(|(known, _)| known != name);
                    let before = before.filter(|(known, _)| list.iter().any(|(name, _)| name == known)).count();
                    let known = default.iter().any(|(known, _)| known == name);
                    list.insert(if known { before } else { list.len() }, (name.clone(), template));
                }
                Err(error) => errors.push((name.clone(), error)),
            }
        }
        if errors.is_empty() { Ok(Self(list)) } else { Err(errors) }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// All that the lead has to say, in order.
    pub fn filled(&self, lead: &Lead) -> Vec<(&str, Value)> {
        self.0.iter().filter_map(|(name, template)| Some((name.as_str(), template.fill(lead)?))).collect()
    }

    /// The same for people to read: see [`tidy`].
    pub fn shown(&self, lead: &Lead) -> Vec<(&str, String)> {
        let filled = self.filled(&tidy(lead)).into_iter();
        let text = |value| match value {
            Value::String(text) => text,
            Value::Bool(yes) => if yes { "yes" } else { "no" }.to_owned(),
            other => other.to_string(),
        };
        filled.map(|(name, value)| (name, text(value))).collect()
    }

    /// The same for a record that people work on: that somebody may be contacted is not said, because they may have
    /// written down the contrary meanwhile.
    pub fn record(&self, lead: &Lead) -> Map<String, Value> {
        let lead = &tidy(lead);
        let says_no = |template: &Template| *template == Template::Alone(Field::DoNotContact) && !lead.do_not_contact;
        let said = self.0.iter().filter(|(_, template)| !says_no(template));
        said.filter_map(|(name, template)| Some((name.clone(), template.fill(lead)?))).collect()
    }
}

/// So much of a text as fits. Other systems count as UTF-16 does, in which rare characters are two.
pub fn cut(text: &str, most: usize) -> &str {
    let mut units = 0;
    for (at, character) in text.char_indices() {
        units += character.len_utf16();
        if units > most {
            return text[..at].trim_end();
        }
    }
    text
}

/// Cuts texts to what the other system takes. An e-mail address that is too long, or none at all, is left out: half of it
/// would be another one, and systems that check it would refuse the whole lead for it.
pub fn fit(record: &mut Map<String, Value>, limits: &[(&str, usize)], address: &str) {
    for (name, most) in limits {
        let Some(Value::String(text)) = record.get_mut(*name) else { continue };
        if *name == address {
            if text.encode_utf16().count() > *most || text.parse::<lettre::Address>().is_err() {
                record.remove(*name);
            }
        } else {
            *text = cut(text, *most).to_owned();
        }
    }
}

/// One line without control characters: for subjects, titles and labels.
pub fn line(text: &str) -> String {
    let plain: String =
        text.chars().map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The lead in characters that print: of the description with its lines, all else in one. Fields of other systems hold one
/// line, and some refuse what does not print.
fn tidy(lead: &Lead) -> Lead {
    let mut tidy = lead.clone();
    let person = &mut tidy.person;
    for text in [
        &mut person.first_name,
        &mut person.last_name,
        &mut person.email,
        &mut person.phone,
        &mut person.country,
        &mut person.company,
        &mut person.title,
        &mut tidy.offer,
        &mut tidy.offer_title,
        &mut tidy.source,
        &mut tidy.action,
    ] {
        *text = line(text);
    }
    let lines = lead.description.replace("\r\n", "\n").replace('\r', "\n");
    tidy.description = lines.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    tidy
}

#[cfg(test)]
pub(super) fn sample() -> Lead {
    use jiff::Timestamp;

    use crate::foundation::ids::LeadId;
    use crate::leads::model::lead::{Person, Status};

    let at: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
    Lead {
        id: LeadId::named(at, "sample"),
        person: Person {
            first_name: "Ada".into(),
            last_name: "Lovelace".into(),
            email: "ada@contoso.example".into(),
            ..Person::default()
        },
        offer: "offer1".into(),
        offer_title: "Speech".into(),
        source: "AzureMarketplace".into(),
        action: "INS".into(),
        description: String::new(),
        first: at,
        last: at,
        arrivals: 2,
        do_not_contact: false,
        test: false,
        status: Status::New,
        owner: None,
        revision: 3,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DEFAULT: &[(&str, &str)] =
        &[("subject", "{offer_title}: {action}"), ("name", "{first_name}"), ("phone", "{phone}")];

    fn filled(changes: Value, lead: &Lead) -> Value {
        let mapping = Mapping::read(DEFAULT, changes.as_object().unwrap()).unwrap();
        json!(mapping.filled(lead))
    }

    #[test]
    fn defaults_are_changed_removed_and_added_to_and_keep_their_order() {
        let lead = sample();
        assert_eq!(filled(json!({}), &lead), json!([["subject", "Speech: INS"], ["name", "Ada"]]));
        assert_eq!(
            filled(json!({"name": "{last_name}, {first_name}", "code": 8, "a": "constant", "subject": null}), &lead),
            json!([["name", "Lovelace, Ada"], ["a", "constant"], ["code", 8]])
        );
        assert_eq!(filled(json!({"subject": "{id}", "name": null}), &lead), json!([["subject", lead.id.as_str()]]));
    }

    #[test]
    fn blank_fields_are_left_out_and_a_field_alone_keeps_its_kind() {
        let mut lead = sample();
        (lead.offer, lead.offer_title, lead.action) = (String::new(), " ".into(), String::new());
        let kinds =
            json!({"dnc": "{do_not_contact}", "n": "{arrivals}", "said": "DNC {do_not_contact}", "braces": "{{x}}"});
        let all = [["name", "Ada"]];
        let mut all = json!(all);
        for more in [json!(["braces", "{x}"]), json!(["dnc", false]), json!(["n", 2]), json!(["said", "DNC no"])] {
            all.as_array_mut().unwrap().push(more);
        }
        assert_eq!(filled(kinds, &lead), all);
    }

    #[test]
    fn a_record_never_says_that_somebody_may_be_contacted() {
        let changes = json!({"dnc": "{do_not_contact}", "fixed": false});
        let mapping = Mapping::read(&[], changes.as_object().unwrap()).unwrap();
        let mut lead = sample();
        assert_eq!(Value::Object(mapping.record(&lead)), json!({"fixed": false}));
        lead.do_not_contact = true;
        assert_eq!(Value::Object(mapping.record(&lead)), json!({"fixed": false, "dnc": true}));
    }

    #[test]
    fn wrong_templates_are_named_all_at_once() {
        let changes = json!({"a": "{colour}", "b": "{open", "c": "closed}", "d": [1], "e": "{email}"});
        let errors = Mapping::read(DEFAULT, changes.as_object().unwrap()).unwrap_err();
        let said: Vec<String> = errors.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        assert_eq!(said.len(), 4, "{said:?}");
        assert!(said[0].contains("`{colour}` is no field of a lead; there are: id, first_name"), "{said:?}");
    }

    #[test]
    fn texts_are_cut_between_characters_and_addresses_not_at_all() {
        assert_eq!(cut("ab😀", 3), "ab");
        assert_eq!(cut("日本語", 2), "日本");
        for (mail, most) in [("a@b.example", 5), ("ada at contoso", 50), ("a@b.example\r\nBcc: x", 50)] {
            let mut record = json!({"name": "abcdef", "mail": mail}).as_object().unwrap().clone();
            fit(&mut record, &[("name", 3), ("mail", most)], "mail");
            assert_eq!(Value::Object(record), json!({"name": "abc"}));
        }
        assert_eq!(line("a\r\nBcc: x\u{2028}y\t z"), "a Bcc: x y z");
    }
}
