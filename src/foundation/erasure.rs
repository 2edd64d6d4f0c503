//! A person taken out of what is written: their strings become one pseudonym, and everything else stays as it is.

use regex::{Regex, RegexBuilder};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::hex::hex;
use super::rng::Random;

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
    strings: Vec<Wanted>,
    /// Object ids in Entra; a name that stands beside one is this person's.
    ids: Vec<String>,
}

/// A string of the person's, and what takes its place.
#[derive(Debug, Clone)]
struct Wanted {
    found: Regex,
    by: String,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Part of a longer address it is somebody else's.
    Email,
    Id,
    /// Anybody can be called like a word of ours, so in such words it is not looked for.
    Name,
}

/// Fields that hold what people typed, even where it is one word.
const TYPED: [&str; 9] = ["name", "text", "note", "reason", "description", "by", "created_by", "company", "owner"];

/// Whether a value looks like one of ours or Microsoft's: a word of an enumeration, an id, a time, a plan.
fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':'))
}

/// Whether a found address goes on to the left or to the right.
fn is_part_of_another(text: &str, found: &std::ops::Range<usize>) -> bool {
    let (before, after) = (&text[..found.start], &text[found.end..]);
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'+' | b'-' | b'\'');
    // In texts that are cut or escaped, these stand before an address and are no part of it.
    let escape = before.len() >= 2 && matches!(&before.as_bytes()[before.len() - 2..], b"\\n" | b"\\r" | b"\\t");
    let hexadecimal = |mark: &str, digits: usize| {
        before.len() >= mark.len() + digits
            && before.is_char_boundary(before.len() - mark.len() - digits)
            && before[before.len() - mark.len() - digits..]
                .strip_prefix(mark)
                .is_some_and(|tail| tail.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let quote = before.ends_with('\'');
    let escaped = escape || quote || hexadecimal("\\u", 4) || hexadecimal("%", 2);
    let left = !escaped && before.bytes().next_back().is_some_and(name);
    let mut rest = after.bytes();
    let right = match rest.next() {
        Some(b'-') => rest.next().is_some_and(|b| b.is_ascii_alphanumeric()),
        Some(b'.') => rest.next().is_some_and(|b| b.is_ascii_alphanumeric()),
        Some(b) => b.is_ascii_alphanumeric(),
        None => false,
    };
    left || right
}

impl Erasure {
    /// What a new pseudonym is made of.
    pub fn token(random: &dyn Random) -> String {
        let mut bytes = [0; 6];
        random.fill(&mut bytes);
        hex(&bytes)
    }

    /// `token`: what the pseudonym is made of; chosen at random, so that nobody can find out whose it is.
    pub fn new(token: &str, email: &str) -> Self {
        let pseudonym = format!("{NOBODY}-{token}{DOMAIN}");
        let mut erasure = Self { pseudonym: pseudonym.clone(), strings: Vec::new(), ids: Vec::new() };
        erasure.replace(email, &pseudonym, Kind::Email);
        erasure
    }

    fn replace(&mut self, text: &str, by: &str, kind: Kind) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        // An escaped text is always a pattern; were it ever too large, it is no string of a person's.
        if let Ok(found) = RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build() {
            self.strings.push(Wanted { found, by: by.to_owned(), kind });
        }
    }

    /// An object id in Entra, wherever it stands, with the name beside it.
    #[must_use]
    pub fn object_id(mut self, id: Uuid) -> Self {
        let digest = Sha256::digest(format!("{}{id}", self.pseudonym));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let id = id.hyphenated().to_string();
        self.replace(&id, &uuid::Builder::from_custom_bytes(bytes).into_uuid().to_string(), Kind::Id);
        self.ids.push(id);
        self
    }

    /// A phone number, or anything else that is this person's and nobody else's.
    #[must_use]
    pub fn string(mut self, text: &str) -> Self {
        if text.trim().chars().count() >= SHORTEST_NAME {
            self.replace(text, NOBODY, Kind::Name);
        }
        self
    }

    /// A text without the person; None when nothing was to be taken out.
    pub fn text(&self, text: &str) -> Option<String> {
        self.clean(text, true)
    }

    fn clean(&self, text: &str, names: bool) -> Option<String> {
        let mut clean = None::<String>;
        for Wanted { found, by, kind } in self.strings.iter().filter(|wanted| names || wanted.kind != Kind::Name) {
            let old = clean.as_deref().unwrap_or(text);
            let (mut new, mut end) = (String::new(), 0);
            for hit in found.find_iter(old).map(|hit| hit.range()) {
                if *kind == Kind::Email && is_part_of_another(old, &hit) {
                    continue;
                }
                new.push_str(&old[end..hit.start]);
                new.push_str(by);
                end = hit.end;
            }
            if end > 0 {
                new.push_str(&old[end..]);
                clean = Some(new);
            }
        }
        clean
    }

    /// JSON text without the person, also where JSON stands as text in it; None when nothing was to be taken out.
    pub fn json(&self, text: &str) -> Option<String> {
        let mut value: Value = serde_json::from_str(text).ok()?;
        self.value(&mut value, false).then(|| value.to_string())
    }

    /// `true`: something was taken out.
    fn value(&self, value: &mut Value, typed: bool) -> bool {
        match value {
            Value::String(text) => {
                let nested = text.starts_with(['{', '[']).then(|| self.json(text)).flatten();
                match nested.or_else(|| self.clean(text, typed || !is_word(text))) {
                    Some(clean) => {
                        *text = clean;
                        true
                    }
                    None => false,
                }
            }
            Value::Array(items) => items.iter_mut().fold(false, |changed, item| self.value(item, typed) | changed),
            Value::Object(fields) => {
                let theirs = fields.values().any(|field| {
                    field.as_str().is_some_and(|text| self.ids.iter().any(|id| id.eq_ignore_ascii_case(text)))
                });
                // A fact that was edited is told as text, whatever it was.
                let edited = fields.contains_key("field");
                let mut changed = false;
                for (key, field) in fields.iter_mut() {
                    if theirs && key == "name" && field.as_str().is_some_and(|name| name != NOBODY) {
                        *field = NOBODY.into();
                        changed = true;
                    }
                    changed |= self.value(field, edited || TYPED.contains(&key.as_str()));
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

    #[test]
    fn an_address_in_a_longer_one_is_somebody_elses() {
        let erasure = Erasure::new("ab12", "ann@contoso.com");
        for other in [
            "joann@contoso.com",
            "ann@contoso.com.au",
            "x.ann@contoso.com",
            "ann@contoso.com-x.org",
            "ann@contoso.company",
        ] {
            assert_eq!(erasure.text(other), None, "{other}");
        }
        for hers in [
            "<ann@contoso.com>",
            "live.com#ann@contoso.com.",
            "cut\\nann@contoso.com",
            "'ann@contoso.com'",
            "\\u003cann@contoso.com",
            "%20ann@contoso.com",
            "安ann@contoso.com, ann@contoso.com-",
        ] {
            assert!(!erasure.text(hers).unwrap().contains("contoso"), "{hers}");
        }
    }

    #[test]
    fn a_name_like_a_word_of_ours_leaves_our_words_alone() {
        let row = serde_json::json!({
            "actor": { "is": "customer", "object_id": ID, "name": "Customer" }, "kind": "status_changed",
            "to": "Unsubscribed", "plan_id": "metered", "name": "Metered", "note": "the metered customer asked",
        });
        let mut erasure = Erasure::new("ab12", "ann@contoso.com").object_id(ID);
        for name in ["Customer", "status", "unsubscribed", "Metered"] {
            erasure = erasure.string(name);
        }
        let clean: Value = serde_json::from_str(&erasure.json(&row.to_string()).unwrap()).unwrap();
        assert_eq!((&clean["actor"]["is"], &clean["kind"]), (&row["actor"]["is"], &row["kind"]));
        assert_eq!((&clean["to"], &clean["plan_id"]), (&row["to"], &row["plan_id"]));
        assert_eq!((&clean["actor"]["name"], &clean["name"]), (&NOBODY.into(), &NOBODY.into()));
        assert_eq!(clean["note"], "the erased erased asked");
    }
}
