//! Typed ids. Ours are prefixed and sort by the time they were made; Microsoft's GUIDs are newtypes around [`Uuid`].
//! No bare `String` id crosses a function boundary.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::rng::Random;

/// The text is not an id of the wanted kind. Carries the kind, so that the message names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {0}")]
pub struct InvalidId(pub &'static str);

/// A GUID that Microsoft made. Read in any letter case, written in lower case with hyphens.
macro_rules! microsoft_ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.hyphenated(), f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text.trim()).map(Self).map_err(|_| InvalidId(stringify!($name)))
            }
        }
    )+};
}

microsoft_ids! {
    /// A SaaS subscription in the marketplace; not an Azure subscription. Also the metering `resourceId`.
    SubscriptionId,
    /// One operation (a change in the life of a subscription); the `id` of a webhook.
    OperationId,
    /// An Entra tenant.
    TenantId,
    /// A person or service in an Entra tenant. Unique only together with the tenant.
    ObjectId,
}

impl TenantId {
    /// The tenant of all personal Microsoft accounts (marketplace contract, global constants): sharing it means nothing.
    pub const PERSONAL_ACCOUNTS: Self = Self(Uuid::from_u128(0x9188040d_6c67_4c5b_b112_36a304b66dad));
}

/// An id of ours: `<prefix>_<32 hex digits of a version 7 UUID>`, so it sorts by time.
macro_rules! own_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(now: Timestamp, random: &dyn Random) -> Self {
                Self(format!("{}_{}", $prefix, time_ordered(now, random).simple()))
            }

            /// The id of what has a name already: made again, it is the same.
            pub fn named(at: Timestamp, name: &str) -> Self {
                let mut tail = [0; 10];
                tail.copy_from_slice(&Sha256::digest(name)[..10]);
                Self(format!("{}_{}", $prefix, at_time(at, &tail).simple()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|tail| tail.len() == 32 && tail.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
                    .map(|_| Self(text.to_owned()))
                    .ok_or(InvalidId(stringify!($name)))
            }
        }
    )+};
}

own_ids! {
    /// A file of a customer.
    FileId = "file",
    /// Something asked of Microsoft's analytics at once.
    RunId = "run",
    /// A media job.
    JobId = "job",
    /// A lead, or one arrival of it.
    LeadId = "lead",
    /// A person's wish that we hold nothing of them.
    PrivacyId = "prv",
    /// Something that happened and is told to callback endpoints.
    EventId = "evt",
    /// A callback endpoint.
    EndpointId = "ep",
    /// One request at our edge. Stands on error pages and in the log.
    RequestId = "req",
    /// One visit to the landing page: holds the purchase token while its owner signs in.
    VisitId = "vis",
    /// One change of plan, seats or cancellation that somebody asked us for.
    ChangeId = "chg",
}

fn time_ordered(now: Timestamp, random: &dyn Random) -> Uuid {
    let mut tail = [0; 10];
    random.fill(&mut tail);
    at_time(now, &tail)
}

fn at_time(at: Timestamp, tail: &[u8; 10]) -> Uuid {
    let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, tail).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foundation::rng::SeededRandom;

    #[test]
    fn own_ids_sort_by_time_and_read_back() {
        let random = SeededRandom::new(1);
        let early = VisitId::new(Timestamp::from_second(1_000).unwrap(), &random);
        let late = VisitId::new(Timestamp::from_second(2_000).unwrap(), &random);
        assert!(early < late);
        assert_eq!(late.as_str().parse::<VisitId>().unwrap(), late);
        assert!(late.as_str().parse::<ChangeId>().is_err());
        assert!("vis_../etc".parse::<VisitId>().is_err());
        let named = |second, name| VisitId::named(Timestamp::from_second(second).unwrap(), name);
        assert_eq!(named(1_000, "a"), named(1_000, "a"));
        assert!(named(1_000, "a") != named(1_000, "b") && named(1_000, "a") < late);
    }

    #[test]
    fn microsoft_ids_are_written_in_lower_case() {
        let id: SubscriptionId = " 37F9DEA2-4345-438F-B0BD-03D40D28C7E0 ".parse().unwrap();
        assert_eq!(id.to_string(), "37f9dea2-4345-438f-b0bd-03d40d28c7e0");
        assert!("37f9dea2".parse::<SubscriptionId>().is_err());
    }
}
