//! What usage is booked on at Microsoft (marketplace contract 5.6): a SaaS subscription, or a managed application by
//! its usage id or by its address in Azure.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::foundation::hex::hex;
use crate::foundation::ids::SubscriptionId;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Subscription(SubscriptionId),
    /// `billingDetails.resourceUsageId` of a managed application.
    UsageId(Uuid),
    /// `/subscriptions/…/providers/Microsoft.Solutions/applications/…`, in lower case.
    Uri(String),
}

/// The text is no address of a managed application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not /subscriptions/<id>/resourceGroups/<name>/providers/Microsoft.Solutions/applications/<name>")]
pub struct InvalidUri;

impl Resource {
    /// Addresses in Azure are the same in any letter case; some senders leave the leading slash out.
    pub fn uri(text: &str) -> Result<Self, InvalidUri> {
        let lower = text.trim().trim_start_matches('/').trim_end_matches('/').to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let shape = ["subscriptions", "", "resourcegroups", "", "providers", "microsoft.solutions", "applications", ""];
        let plain = |part: &str| {
            !part.is_empty() && part.len() <= 90 && part.chars().all(|c| c.is_alphanumeric() || "-_.()".contains(c))
        };
        let fits = parts.len() == shape.len()
            && parts
                .iter()
                .zip(shape)
                .all(|(part, wanted)| if wanted.is_empty() { plain(part) } else { *part == wanted })
            && Uuid::try_parse(parts[1]).is_ok();
        if fits { Ok(Self::Uri(format!("/{lower}"))) } else { Err(InvalidUri) }
    }

    /// As a key of ours; an address is too long for one and has slashes.
    pub fn key(&self) -> String {
        match self {
            Self::Subscription(id) => id.to_string(),
            Self::UsageId(id) => format!("app-{}", id.hyphenated()),
            Self::Uri(uri) => {
                format!("uri-{}", hex(&Sha256::digest(uri.as_bytes())[..16]))
            }
        }
    }

    pub fn subscription(&self) -> Option<SubscriptionId> {
        if let Self::Subscription(id) = self { Some(*id) } else { None }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subscription(id) => id.fmt(f),
            Self::UsageId(id) => id.hyphenated().fmt(f),
            Self::Uri(uri) => f.write_str(uri),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_managed_applications_are_the_same_in_any_case_and_nothing_else_is_one() {
        let text = "/subscriptions/37F9DEA2-4345-438F-B0BD-03D40D28C7E0/resourceGroups/Shop/providers/Microsoft.Solutions/applications/Genie";
        let resource = Resource::uri(text).unwrap();
        assert_eq!(Resource::uri(&text.to_lowercase()[1..]).unwrap(), resource);
        assert_eq!(resource.key().len(), 36);
        for bad in [
            "",
            "/",
            "/subscriptions/x/resourceGroups/a/providers/Microsoft.Solutions/applications/b",
            "https://example.com",
            &format!("{text}/more"),
            &text.replace("Shop", ""),
        ] {
            assert_eq!(Resource::uri(bad), Err(InvalidUri), "{bad}");
        }
    }
}
