//! A subscription's facts and a plan, for the tests of the rules.

use super::facts::{Facts, Party, Plan, Status, Term};

pub fn facts(status: Status) -> Facts {
    Facts {
        name: String::new(),
        offer_id: "mediagenie-preview".into(),
        plan_id: "team".into(),
        quantity: Some(5),
        status,
        beneficiary: Party::default(),
        purchaser: Party::default(),
        term: Term::default(),
        auto_renew: true,
        is_free_trial: false,
        is_test: false,
        may_update: true,
        may_delete: true,
        created: None,
    }
}

/// Priced by seat, from two seats.
pub fn plan(id: &str, most: Option<u64>) -> Plan {
    Plan {
        id: id.into(),
        name: id.into(),
        description: String::new(),
        per_seat: true,
        min_quantity: Some(2),
        max_quantity: most,
        has_free_trial: false,
        is_private: false,
        prices: vec![],
        dimensions: vec![],
    }
}
