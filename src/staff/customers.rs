//! Customers for staff: all companies, and everything of one in time order.

use std::sync::Arc;

use serde_json::json;

use super::managed_apps::row as application;
use crate::app::App;
use crate::customers;
use crate::foundation::problem::Problem;
use crate::foundation::web::{Request, Response};
use crate::identity::Staff;
use crate::pages::page;

const PAGE: usize = 50;

/// `GET /publisher/customers?q=&page=`.
pub async fn list(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let query = request.query("q").unwrap_or_default();
    let number: usize = request.query("page").and_then(|page| page.parse().ok()).unwrap_or(1).max(1);
    let found = customers::customers(&app, &query).await?;
    let (count, more) = (found.len(), found.len() > number * PAGE);
    let rows: Vec<_> = found.into_iter().skip((number - 1) * PAGE).take(PAGE).collect();
    let content = json!({ "rows": rows, "count": count, "more": more, "page": number, "q": query });
    page(&app, &request, Some(&staff.session), "staff_customers.html", content)
}

/// `GET /publisher/customers/{customer}`.
pub async fn one(app: Arc<App>, request: Request, staff: Staff) -> Result<Response, Problem> {
    let key = request.param("customer").parse().map_err(|_| Problem::not_found())?;
    let found = customers::customer(&app, &key).await?.ok_or_else(Problem::not_found)?;
    let apps: Vec<_> = found.managed_apps.iter().map(|(one, attention)| application(one, attention)).collect();
    let name = found.subscriptions.first().map(|held| held.summary.name.clone());
    let company = found.leads.iter().map(|line| line.company.clone()).find(|company| !company.is_empty());
    let name = found.domains.first().cloned().or(company).or(name).unwrap_or_else(|| key.to_string());
    let content = json!({ "c": found, "apps": apps, "name": name, "is_tenant": matches!(key, customers::CustomerKey::Tenant(_)) });
    page(&app, &request, Some(&staff.session), "staff_customer.html", content)
}
