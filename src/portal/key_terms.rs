//! What a key may do and how fast it may call: as a form says it, and as the page shows it.

use serde_json::{Value, json};

use crate::foundation::problem::Problem;
use crate::foundation::web::Form;
use crate::identity::{KeyTerms, Limits, Scope};

/// The largest limit; more than this is no limit.
pub const MOST: u32 = 1_000_000;
/// The fields of limits, in the order of the page.
pub const LIMITS: [&str; 3] = ["requests_per_minute", "tokens_per_minute", "parallel"];

fn box_of(scope: Scope) -> String {
    format!("scope-{}", scope.name())
}

fn ticked(form: &Form) -> Vec<Scope> {
    Scope::ALL.into_iter().filter(|scope| !form.get(&box_of(*scope)).is_empty()).collect()
}

/// The ticked scopes; none or all of them mean everything, also what is added later.
pub fn scopes(form: &Form) -> Option<Vec<Scope>> {
    Some(ticked(form)).filter(|scopes| !scopes.is_empty() && scopes.len() < Scope::ALL.len())
}

/// The limits that were filled in.
pub fn limits(form: &Form) -> Result<Limits, Problem> {
    let [requests_per_minute, tokens_per_minute, parallel] = LIMITS.map(|field| limit(form.get(field), field));
    Ok(Limits { requests_per_minute: requests_per_minute?, tokens_per_minute: tokens_per_minute?, parallel: parallel? })
}

fn limit(text: &str, field: &'static str) -> Result<Option<u32>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().ok().filter(|number| (1..=MOST).contains(number));
    number.map(Some).ok_or_else(|| {
        Problem::bad_request("invalid_key_limit", "This is no limit of a key.")
            .field(field)
            .remedy("Enter a whole number from 1 to 1,000,000, or nothing.")
    })
}

/// For a template; null scopes are everything.
pub fn view(terms: &KeyTerms) -> Value {
    json!({ "scopes": terms.scopes, "limits": terms.limits })
}

/// A form as it was sent, for the same template.
pub fn typed(form: &Form) -> Value {
    let limits: serde_json::Map<_, _> = LIMITS.iter().map(|name| ((*name).to_owned(), form.get(name).into())).collect();
    json!({ "scopes": ticked(form), "limits": limits })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_scope_and_every_scope_are_both_everything() {
        assert_eq!(scopes(&Form::parse(b"")), None);
        assert_eq!(scopes(&Form::parse(b"scope-chat=on&scope-vision=on")), Some(vec![Scope::Chat, Scope::Vision]));
        let all = Scope::ALL.map(|scope| format!("{}=on", box_of(scope))).join("&");
        assert_eq!(scopes(&Form::parse(all.as_bytes())), None);
        assert_eq!(scopes(&Form::parse(b"scope-everything=on")), None, "what there is not can not be ticked");
    }

    #[test]
    fn limits_are_whole_numbers_or_missing() {
        let read = |text: &str| limits(&Form::parse(text.as_bytes()));
        assert_eq!(read("parallel=").unwrap(), Limits::default());
        let most = read("requests_per_minute=1&tokens_per_minute=1000000").unwrap();
        assert_eq!((most.requests_per_minute, most.tokens_per_minute, most.parallel), (Some(1), Some(MOST), None));
        for wrong in ["0", "1000001", "-1", "1.5", "many", "99999999999"] {
            let problem = read(&format!("parallel={wrong}")).unwrap_err();
            assert_eq!((problem.code, problem.field), ("invalid_key_limit", Some("parallel")), "{wrong}");
        }
    }
}
