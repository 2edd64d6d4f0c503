//! Which customers somebody may work for, worked out when it is asked.

use serde::Serialize;

use crate::app::App;
use crate::foundation::ids::{SubscriptionId, TenantId};
use crate::foundation::problem::Problem;
use crate::fulfillment::{self, ListFilter, Summary};
use crate::leads::model::lead::Person;
use crate::leads::model::matching::{Customer, Why, matches};

const MOST_SHOWN: usize = 10;
/// Subscriptions that one question looks at, the newest first.
const MOST_LOOKED_AT: usize = 20_000;

/// A customer that somebody may work for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Match {
    pub subscription: SubscriptionId,
    pub tenant: Option<TenantId>,
    pub name: String,
    /// 0 to 100.
    pub confidence: u8,
    pub why: Why,
}

/// The surest first.
pub async fn companies(app: &App, person: &Person) -> Result<Vec<Match>, Problem> {
    let (mut found, mut after, mut looked_at) = (Vec::new(), None, 0);
    loop {
        let page = fulfillment::list(app, &ListFilter::default(), after, 1000).await?;
        looked_at += page.rows.len();
        found.extend(page.rows.into_iter().filter_map(|summary| judged(person, summary)));
        after = page.next;
        if after.is_none() || looked_at >= MOST_LOOKED_AT {
            break;
        }
    }
    found.sort_by_key(|found| std::cmp::Reverse(found.confidence));
    found.truncate(MOST_SHOWN);
    Ok(found)
}

fn judged(person: &Person, summary: Summary) -> Option<Match> {
    let customer = Customer {
        subscription: Some(summary.id),
        tenant: summary.beneficiary_tenant.or(summary.purchaser_tenant),
        name: summary.name,
        emails: vec![summary.beneficiary, summary.purchaser],
    };
    let why = matches(person, &customer)?;
    let Customer { tenant, name, .. } = customer;
    Some(Match { subscription: summary.id, tenant, name, confidence: why.confidence(), why })
}
