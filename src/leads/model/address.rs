//! The address at which the leads of an offer arrive. Its key is all that protects it (marketplace contract 7.1).

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::foundation::secret::{Secret, same_secret};

/// So long is a key taken after its successor was made: the offer has to be edited and published meanwhile.
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Keys of one address that are taken at the same time.
pub const MOST_KEYS: usize = 2;
pub const LONGEST_OFFER: usize = 50;
pub const LONGEST_TITLE: usize = 200;

/// The last part of the address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AddressKey {
    #[serde(serialize_with = "written", deserialize_with = "read")]
    pub key: Secret,
    pub created: Timestamp,
    /// None: until there is another one.
    pub ends: Option<Timestamp>,
}

// Staff must be able to copy the address again, so its row keeps the key itself; it stands nowhere else.
fn written<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

impl AddressKey {
    fn is_taken(&self, now: Timestamp) -> bool {
        self.ends.is_none_or(|ends| ends > now)
    }
}

/// The row of an address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Address {
    /// The offer's id at Microsoft.
    pub offer: String,
    pub title: String,
    pub created: Timestamp,
    /// The newest last.
    pub keys: Vec<AddressKey>,
}

impl Address {
    pub fn new(offer: &str, title: &str, key: Secret, now: Timestamp) -> Self {
        let keys = vec![AddressKey { key, created: now, ends: None }];
        Self { offer: offer.to_owned(), title: title.to_owned(), created: now, keys }
    }

    /// The keys that are taken now, the newest last.
    pub fn taken(&self, now: Timestamp) -> impl Iterator<Item = &AddressKey> {
        self.keys.iter().filter(move |key| key.is_taken(now))
    }

    /// Whether somebody who knows this key may bring leads. Looks at every key, whatever the first one says.
    pub fn admits(&self, key: &str, now: Timestamp) -> bool {
        self.taken(now).fold(false, |found, taken| same_secret(taken.key.expose(), key) | found)
    }

    /// Makes `key` the one to be used; the one before is taken for a while longer, and older ones end now. Gives the keys
    /// that are over.
    pub fn rotate(&mut self, key: Secret, now: Timestamp) -> Vec<AddressKey> {
        for old in &mut self.keys {
            old.ends = Some(old.ends.unwrap_or(now + OVERLAP));
        }
        self.keys.push(AddressKey { key, created: now, ends: None });
        let surplus = self.taken(now).count().saturating_sub(MOST_KEYS);
        for old in self.keys.iter_mut().filter(|key| key.is_taken(now)).take(surplus) {
            old.ends = Some(now);
        }
        self.keys.extract_if(.., |key| !key.is_taken(now)).collect()
    }
}

/// Somebody who knew the key of an offer's address: the value that stands for it in a handler's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadAddress {
    pub offer: String,
    pub title: String,
}

/// Whether a text can be an offer's id, as Partner Center makes them.
pub fn is_offer(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= LONGEST_OFFER && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_two_keys_at_most_and_the_old_one_for_a_week() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let mut address = Address::new("media", "Media", Secret::new("one"), now);
        assert!(address.admits("one", now) && !address.admits("two", now) && !address.admits("", now));
        assert!(address.rotate(Secret::new("two"), now).is_empty());
        assert!(address.admits("one", now) && address.admits("two", now));
        assert!(!address.admits("one", now + OVERLAP) && address.admits("two", now + OVERLAP));
        let over = address.rotate(Secret::new("three"), now);
        assert_eq!(over.iter().map(|key| key.key.expose()).collect::<Vec<_>>(), ["one"]);
        assert!(!address.admits("one", now) && address.admits("two", now) && address.admits("three", now));
        assert!(!format!("{address:?}").contains("three"));
    }

    #[test]
    fn offer_ids_are_plain() {
        assert!(is_offer("media-genie_2.0") && !is_offer("") && !is_offer("Media") && !is_offer("a/b"));
        assert!(!is_offer(&"x".repeat(51)));
    }
}
