//! A person taken out of what is written: their strings become one pseudonym, and everything else stays as it is.

use regex::{Regex, RegexBuilder};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

/// Where pseudonyms seem to get mail; the domain is reserved and reaches nobody.
const DOMAIN: &str = "@erased.invalid";
/// What stands for a name.
const NOBODY: &str = "erased";
/// Shorter names stand in too many other words.
const SHORTEST_NAME: usize = 5;

/// Whether an e-mail address is a pseudonym.
pub fn is_pseudonym(email: &str) -> bool {
    email.ends_with(DOMAIN)
}

/// What belongs to a person, and what takes its place.
#[derive(Debug, Clone)]
pub struct Erasure {
    /// As an e-mail address.
    pub pseudonym: String,
    strings: Vec<(Regex, String)>,
    /// Object ids in Entra; a name that stands beside one is this person's.
    ids: Vec<String>,
}

impl Erasure {
    /// `token`: what the pseudonym is made of; chosen at random, so that nobody can find out whose it is.
    pub fn new(token: &str, email: &str) -> Self {
        let pseudonym = format!("{NOBODY}-{token}{DOMAIN}");
        let mut erasure = Self { pseudonym: pseudonym.clone(), strings: Vec::new(), ids: Vec::new() };
        erasure.replace(email, &pseudonym);
        erasure
    }

    fn replace(&mut self, text: &str, by: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        // An escaped text is always a pattern; were it ever too large, it is no string of a person's.
        if let Ok(found) = RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build() {
            self.strings.push((found, by.to_owned()));
        }
    }

    /// An object id in Entra, wherever it stands, with the name beside it.
    #[must_use]
    pub fn object_id(mut self, id: Uuid) -> Self {
        let digest = Sha256::digest(format!("{}{id}", self.pseudonym));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let id = id.hyphenated().to_string();
        self.replace(&id, &uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string());
        self.ids.push(id);
        self
    }

    /// A phone number, or anything else that is this person's and nobody else's.
    #[must_use]
    pub fn string(mut self, text: &str) -> Self {
        if text.trim().chars().count() >= SHORTEST_NAME {
            self.replace(text, NOBODY);
        }
        self
    }

    /// A text without the person; None when nothing was to be taken out.
    pub fn text(&self, text: &str) -> Option<String> {
        let mut clean = std::borrow::Cow::Borrowed(text);
        for (found, by) in &self.strings {
            if found.is_match(&clean) {
                clean = found.replace_all(&clean, regex::NoExpand(by)).into_owned().into();
            }
        }
        match clean {
            std::borrow::Cow::Borrowed(_) => None,
            std::borrow::Cow::Owned(clean) => Some(clean),
        }
    }

    /// JSON text without the person, also where JSON stands as text in it; None when nothing was to be taken out.
    pub fn json(&self, text: &str) -> Option<String> {
        let mut value: Value = serde_json::from_str(text).ok()?;
        self.value(&mut value).then(|| value.to_string())
    }

    /// `true`: something was taken out.
    fn value(&self, value: &mut Value) -> bool {
        match value {
            Value::String(text) => {
                let nested = text.starts_with(['{', '[']).then(|| self.json(text)).flatten();
                match nested.or_else(|| self.text(text)) {
                    Some(clean) => {
                        *text = clean;
                        true
                    }
                    None => false,
                }
            }
            Value::Array(items) => items.iter_mut().fold(false, |changed, item| self.value(item) | changed),
            Value::Object(fields) => {
                let theirs = fields.values().any(|field| {
                    field.as_str().is_some_and(|text| self.ids.iter().any(|id| id.eq_ignore_ascii_case(text)))
                });
                let mut changed = false;
                for (key, field) in fields.iter_mut() {
                    if theirs && key == "name" && field.as_str().is_some_and(|name| name != NOBODY) {
                        *field = NOBODY.into();
                        changed = true;
                    }
                    changed |= self.value(field);
                }
                changed
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn erasure() -> Erasure {
        Erasure::new("ab12", "Ann.Lee+x@Contoso.com").object_id(ID).string("Ann Lee").string("Li").string("")
    }

    #[test]
    fn strings_of_the_person_go_in_any_case_and_others_stay() {
        let erasure = erasure();
        assert_eq!(
            erasure.text("mail ANN.LEE+X@contoso.com or ann lee, annXlee").as_deref(),
            Some("mail erased-ab12@erased.invalid or erased, annXlee")
        );
        assert_eq!(erasure.text("Li is too short to be told from Lisbon"), None);
    }

    #[test]
    fn json_in_json_is_found_and_the_name_beside_the_id_goes() {
        let inner = serde_json::json!({ "emailId": "ann.lee+x@contoso.com", "quantity": 5 }).to_string();
        let body = serde_json::json!({
            "actor": { "object_id": ID, "name": "安", "tenant_id": "t" }, "other": { "object_id": "x", "name": "Bob" },
            "body": inner, "list": ["Ann Lee", 1, null],
        });
        let clean = erasure().json(&body.to_string()).unwrap();
        assert!(!clean.to_lowercase().contains("ann") && !clean.contains('安') && clean.contains("Bob"), "{clean}");
        let clean: Value = serde_json::from_str(&clean).unwrap();
        assert!(Uuid::try_parse(clean["actor"]["object_id"].as_str().unwrap()).is_ok_and(|id| id != ID));
        assert_eq!(erasure().json(&clean.to_string()), None, "once is enough");
        assert!(clean["body"].as_str().unwrap().contains("\"quantity\":5"));
    }
}
