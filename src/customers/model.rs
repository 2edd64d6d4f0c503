//! What a company is known by, and what happens to it.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::foundation::ids::{InvalidId, TenantId};

/// A company: a customer by its tenant, or somebody who may become one by their mail domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum CustomerKey {
    Tenant(TenantId),
    Domain(String),
}

impl fmt::Display for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(id) => id.fmt(f),
            Self::Domain(domain) => f.write_str(domain),
        }
    }
}

impl FromStr for CustomerKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Tenant(id));
        }
        let domain = text.trim().to_lowercase();
        let plain = domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-'));
        if plain && domain.contains('.') && domain.len() <= 253 {
            Ok(Self::Domain(domain))
        } else {
            Err(InvalidId("CustomerKey"))
        }
    }
}

impl Serialize for CustomerKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    Lead,
    Subscription,
    ManagedApp,
    Job,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_is_a_tenant_or_a_domain() {
        let tenant = "5D1E0000-0000-4000-8000-00000000c001".parse::<CustomerKey>().unwrap();
        assert_eq!(tenant.to_string(), "5d1e0000-0000-4000-8000-00000000c001");
        assert_eq!("Contoso.Example".parse(), Ok(CustomerKey::Domain("contoso.example".into())));
        for bad in ["", "contoso", "a/b.c", "x@contoso.example", "<script>.com"] {
            assert!(bad.parse::<CustomerKey>().is_err(), "{bad}");
        }
    }
}
