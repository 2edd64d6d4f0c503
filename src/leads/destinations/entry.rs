//! One destination as the file has it, read field by field; everything wrong is kept with its place.

use serde_json::{Map, Value};

use super::mapping::Mapping;
use crate::foundation::outbound::base_address;
use crate::foundation::secret::Secret;

pub(super) struct Entry<'a> {
    /// Such as `destinations[2]`.
    place: String,
    fields: Map<String, Value>,
    keys: &'a [(String, Secret)],
    /// What this kind of destination may have.
    asked: Vec<&'static str>,
    errors: &'a mut Vec<String>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(
        place: String,
        fields: Map<String, Value>,
        keys: &'a [(String, Secret)],
        errors: &'a mut Vec<String>,
    ) -> Self {
        Self { place, fields, keys, asked: Vec::new(), errors }
    }

    pub(super) fn wrong(&mut self, field: &str, message: impl std::fmt::Display) {
        self.errors.push(format!("{}.{field}: {message}", self.place));
    }

    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.asked.push(field);
        self.fields.remove(field).filter(|value| !value.is_null())
    }

    /// None: not there, or not a text; the latter is an error.
    pub(super) fn optional(&mut self, field: &'static str) -> Option<String> {
        match self.take(field)? {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => {
                self.wrong(field, "expected a text");
                None
            }
        }
    }

    pub(super) fn text(&mut self, field: &'static str, expected: &str) -> String {
        let known = self.errors.len();
        let text = self.optional(field);
        if text.is_none() && self.errors.len() == known {
            self.wrong(field, format_args!("is missing; expected {expected}"));
        }
        text.unwrap_or_default()
    }

    /// A word that becomes a part of addresses.
    pub(super) fn word(&mut self, field: &'static str, text: String) -> String {
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            self.wrong(field, "has characters other than letters, digits, `-`, `_` and `.`");
        }
        text
    }

    pub(super) fn number(&mut self, field: &'static str) -> Option<u16> {
        let value = self.take(field)?;
        let number = value.as_u64().and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
        if number.is_none() {
            self.wrong(field, "expected a port number");
        }
        number
    }

    pub(super) fn list(&mut self, field: &'static str) -> Vec<String> {
        let Some(value) = self.take(field) else { return Vec::new() };
        let texts = value
            .as_array()
            .map(|list| list.iter().map(|item| item.as_str().map(|text| text.trim().to_owned())).collect());
        match texts {
            Some(Some(texts)) => texts,
            _ => {
                self.wrong(field, "expected a list of texts");
                Vec::new()
            }
        }
    }

    /// An address that calls begin with: https, or http on loopback.
    pub(super) fn address(&mut self, field: &'static str, default: Option<&str>) -> String {
        let text = match (self.fields.get(field).is_some_and(|value| !value.is_null()), default) {
            (false, Some(default)) => {
                self.asked.push(field);
                default.to_owned()
            }
            _ => self.text(field, "an address such as https://host"),
        };
        match base_address(&text) {
            Ok(address) => return address,
            Err(_) if text.is_empty() => {}
            Err(error) => self.wrong(field, error),
        }
        text
    }

    /// The secret that `key` names. The message never repeats one.
    pub(super) fn key(&mut self) -> Secret {
        let name = self.text("key", "a name of LEAD_KEYS");
        self.named_key(&name)
    }

    pub(super) fn named_key(&mut self, name: &str) -> Secret {
        let found = self.keys.iter().find(|(known, _)| known == name).map(|(_, secret)| secret.clone());
        if found.is_none() && !name.is_empty() {
            // What is no name may be the key itself, written into the wrong place.
            let plain = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
            let name = if plain { name } else { "…" };
            self.wrong("key", format_args!("LEAD_KEYS has no key `{name}`"));
        }
        found.unwrap_or_default()
    }

    pub(super) fn mapping(&mut self, default: &[(&str, &str)]) -> Mapping {
        let changes = match self.take("mapping") {
            None => Map::new(),
            Some(Value::Object(changes)) => changes,
            Some(_) => {
                self.wrong("mapping", "expected an object of fields and templates");
                return Mapping::default();
            }
        };
        match Mapping::read(default, &changes) {
            Ok(mapping) => mapping,
            Err(errors) => {
                for (field, error) in errors {
                    self.wrong(&format!("mapping.{field}"), error);
                }
                Mapping::default()
            }
        }
    }

    /// What nobody asked for is a mistake.
    pub(super) fn finish(mut self) {
        for field in std::mem::take(&mut self.fields).keys() {
            let known = self.asked.join(", ");
            self.wrong(field, format_args!("is not known here; there are: {known}"));
        }
    }
}
