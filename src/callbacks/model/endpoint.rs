//! An address that wants to be told, with its secrets and its health.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::event::{EventKind, Owner};
use crate::foundation::ids::{EndpointId, EventId};
use crate::foundation::secret::Secret;

/// Endpoints of one owner.
pub const MOST_ENDPOINTS: usize = 10;
/// Secrets of one endpoint: the newest, and those that still end.
pub const MOST_SECRETS: usize = 5;
/// So long does a secret sign on after its successor was made.
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// An endpoint that has failed for so long is given up.
pub const PATIENCE: SignedDuration = SignedDuration::from_hours(5 * 24);

/// A secret that signs, for ever or until its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Signing {
    #[serde(serialize_with = "written", deserialize_with = "read")]
    pub secret: Secret,
    pub until: Option<Timestamp>,
}

// A receiver can only check what we sign if we keep the secret itself; its row is the one place where it stands.
fn written<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}

/// Why an endpoint is told nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Somebody switched it off.
    Asked,
    /// It answered 410.
    Gone,
    /// Every try of five days failed.
    Failing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disabled {
    pub at: Timestamp,
    pub why: Reason,
}

/// Events that are delivered again, as far as that has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recovery {
    pub since: Timestamp,
    /// The last event that was looked at; from the newest back.
    pub after: Option<EventId>,
    pub due: Timestamp,
}

/// The row of an endpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Endpoint {
    pub id: EndpointId,
    pub owner: Owner,
    pub url: String,
    pub description: String,
    /// None: all that its owner may have.
    pub kinds: Option<Vec<EventKind>>,
    /// The newest last.
    pub secrets: Vec<Signing>,
    pub created: Timestamp,
    pub disabled: Option<Disabled>,
    /// The first failure since the last success.
    pub failing_since: Option<Timestamp>,
    pub recovery: Option<Recovery>,
}

impl Endpoint {
    /// Whether an event is for it. A test is for the endpoint that it names.
    pub fn wants(&self, kind: EventKind, subject: &str) -> bool {
        match (kind, &self.kinds) {
            (EventKind::Test, _) => subject == self.id.as_str(),
            (_, None) => true,
            (_, Some(kinds)) => kinds.contains(&kind),
        }
    }

    /// The secrets that sign now.
    pub fn signing(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        self.secrets.iter().filter(move |held| held.until.is_none_or(|until| until > now)).map(|held| &held.secret)
    }

    /// Puts a new secret in place; the others sign for another day. `false`: there are too many already.
    pub fn rotate(&mut self, secret: Secret, now: Timestamp) -> bool {
        self.secrets.retain(|held| held.until.is_none_or(|until| until > now));
        if self.secrets.len() >= MOST_SECRETS {
            return false;
        }
        for held in &mut self.secrets {
            held.until = held.until.or(Some(now + OVERLAP));
        }
        self.secrets.push(Signing { secret, until: None });
        true
    }

    /// Takes down what a try told of its health. `true`: something is different now.
    pub fn tell(&mut self, health: Health, now: Timestamp) -> bool {
        let before = (self.disabled, self.failing_since);
        match health {
            Health::Fine => self.failing_since = None,
            Health::Failed => {
                let since = *self.failing_since.get_or_insert(now);
                if now.duration_since(since) >= PATIENCE {
                    self.disabled.get_or_insert(Disabled { at: now, why: Reason::Failing });
                }
            }
            Health::Gone => {
                self.failing_since.get_or_insert(now);
                self.disabled.get_or_insert(Disabled { at: now, why: Reason::Gone });
            }
        }
        before != (self.disabled, self.failing_since)
    }
}

/// What a try told of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    Fine,
    Failed,
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::callbacks::model::signature::secret;

    fn endpoint() -> Endpoint {
        Endpoint {
            id: "ep_00000000000000000000000000000001".parse().unwrap(),
            owner: Owner::Publisher,
            url: "https://example.com".into(),
            description: String::new(),
            kinds: None,
            secrets: vec![Signing { secret: secret(&[0; 32]), until: None }],
            created: Timestamp::UNIX_EPOCH,
            disabled: None,
            failing_since: None,
            recovery: None,
        }
    }

    #[test]
    fn a_rotated_secret_signs_for_a_day_and_there_are_never_too_many() {
        let (mut endpoint, now) = (endpoint(), Timestamp::UNIX_EPOCH);
        for number in 1..5 {
            assert!(endpoint.rotate(secret(&[number; 32]), now));
        }
        assert!(!endpoint.rotate(secret(&[9; 32]), now));
        assert_eq!(endpoint.signing(now).count(), 5);
        let later = now + OVERLAP;
        assert_eq!(endpoint.signing(later).map(Secret::expose).collect::<Vec<_>>(), [secret(&[4; 32]).expose()]);
        assert!(endpoint.rotate(secret(&[9; 32]), later));
        assert_eq!(endpoint.secrets.len(), 2);
    }

    #[test]
    fn five_days_of_failures_alone_disable_and_one_success_begins_anew() {
        let (mut endpoint, start) = (endpoint(), Timestamp::UNIX_EPOCH);
        let day = SignedDuration::from_hours(24);
        assert!(endpoint.tell(Health::Failed, start));
        assert!(!endpoint.tell(Health::Failed, start + day * 4));
        assert!(endpoint.tell(Health::Fine, start + day * 4) && !endpoint.tell(Health::Fine, start + day * 4));
        endpoint.tell(Health::Failed, start + day * 6);
        assert!(!endpoint.tell(Health::Failed, start + day * 10) && endpoint.disabled.is_none());
        assert!(endpoint.tell(Health::Failed, start + day * 11));
        assert_eq!(endpoint.disabled, Some(Disabled { at: start + day * 11, why: Reason::Failing }));
    }

    #[test]
    fn a_secret_is_never_shown_by_accident() {
        assert!(!format!("{:?}", endpoint()).contains("whsec_"));
        let row = serde_json::to_string(&endpoint()).unwrap();
        let back: Endpoint = serde_json::from_str(&row).unwrap();
        assert_eq!(back.secrets[0].secret.expose(), secret(&[0; 32]).expose());
    }
}
