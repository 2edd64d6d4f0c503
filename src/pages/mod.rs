//! How pages are made: embedded templates, one catalogue of texts in two languages, assets with hashes in their names.
//!
//! Owns no content: what a page says is the business of `portal` and `staff`, who call [`page`].

mod catalogue;
pub mod handlers;

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::value::{Kwargs, Serde, Value};
use minijinja::{Environment, State};
use rust_embed::RustEmbed;
use serde_json::{Value as Json, json};

use catalogue::Catalogue;
pub use catalogue::Language;

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::settings::Settings;
use crate::foundation::web::{Request, Response, html, uncached};
use crate::identity::{Session, is_staff};

#[derive(RustEmbed)]
#[folder = "templates/"]
struct Templates;

pub struct Pages {
    environment: Environment<'static>,
    publisher: String,
    support_email: String,
    /// Microsoft is simulated here; every page says so.
    simulated: bool,
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages").finish_non_exhaustive()
    }
}

impl Pages {
    pub fn new(settings: &Settings) -> Self {
        let mut environment = Environment::new();
        environment
            .set_loader(|name| Ok(Templates::get(name).map(|file| String::from_utf8_lossy(&file.data).into_owned())));
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::SemiStrict);
        let catalogue = Arc::new(Catalogue::load());
        let texts = Arc::clone(&catalogue);
        environment.add_function("t", move |state: &State<'_, '_>, key: &str, arguments: Kwargs| {
            translate(&texts, state, key, &arguments)
        });
        environment.add_function("maybe_t", move |state: &State<'_, '_>, key: &str| {
            catalogue.text(key, page_language(state)).map(str::to_owned)
        });
        environment.add_filter("time", time);
        environment.add_filter("day", day);
        environment.add_filter("number", |value: Value| number(&value.to_string()));
        environment.add_filter("money", |value: Value, currency: &str| money(&value.to_string(), currency));
        environment.add_function("asset", handlers::asset_path);
        let simulated = settings
            .marketplace
            .as_ref()
            .and_then(|marketplace| url::Url::parse(&marketplace.api_url).ok())
            .is_some_and(|url| crate::foundation::outbound::is_loopback(&url));
        Self {
            environment,
            publisher: settings.publisher_name.clone(),
            support_email: settings.support_email.clone(),
            simulated,
        }
    }

    fn render(&self, template: &str, context: Value) -> Result<String, minijinja::Error> {
        self.environment.get_template(template)?.render(context)
    }
}

fn page_language(state: &State<'_, '_>) -> Language {
    state.lookup("lang").and_then(|value| value.as_str().map(Language::parse)).unwrap_or(Language::English)
}

/// `t("key", name=value)`: the text of the page's language with `{name}` replaced.
fn translate(
    catalogue: &Catalogue,
    state: &State<'_, '_>,
    key: &str,
    arguments: &Kwargs,
) -> Result<String, minijinja::Error> {
    let mut text = catalogue
        .text(key, page_language(state))
        .ok_or_else(|| {
            minijinja::Error::new(minijinja::ErrorKind::InvalidOperation, format!("the catalogue has no text `{key}`"))
        })?
        .to_owned();
    for name in arguments.args() {
        let value: Value = arguments.get(name)?;
        text = text.replace(&format!("{{{name}}}"), &value.to_string());
    }
    Ok(text)
}

/// `2026-11-20 06:15 UTC` as a `<time>` element; the script adds the local time on hover.
fn time(value: &str) -> Value {
    let Ok(at) = value.parse::<Timestamp>() else { return Value::from("–") };
    let shown = at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string();
    Value::from_safe_string(format!("<time datetime=\"{at}\">{shown}</time>"))
}

/// `2026-11-20`; a dash for none.
fn day(value: Option<&str>) -> String {
    value
        .and_then(|value| value.parse::<Timestamp>().ok())
        .map_or_else(|| "–".to_owned(), |at| at.to_zoned(TimeZone::UTC).date().to_string())
}

/// `1,234.5`: a decimal text with its thousands apart. What is no number stays as it is.
fn number(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |digits| ("-", digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return text.to_owned();
    }
    let mut grouped = String::with_capacity(text.len() + whole.len() / 3);
    grouped.push_str(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !fraction.is_empty() {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// `USD 1,234.50`: at least two decimals, and every further one that there is.
pub fn money(text: &str, currency: &str) -> String {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let text = number(&format!("{whole}.{fraction:0<2}"));
    if currency.is_empty() { text } else { format!("{currency} {text}") }
}

/// The language of a request: its cookie, else what the browser prefers.
pub fn language(request: &Request) -> Language {
    match request.cookie(handlers::LANGUAGE_COOKIE) {
        Some(chosen) => Language::parse(&chosen),
        None => Language::preferred(request.header(http::header::ACCEPT_LANGUAGE).unwrap_or_default()),
    }
}

/// A page for this request and person. `content` is an object with what the template needs
/// besides the frame.
pub fn page(
    app: &App,
    request: &Request,
    session: Option<&Session>,
    template: &str,
    content: Json,
) -> Result<Response, Problem> {
    let language = language(request);
    let here = if request.method == http::Method::GET && !request.raw_query.is_empty() {
        format!("{}?{}", request.path, request.raw_query)
    } else {
        request.path.clone()
    };
    let frame = json!({
        "lang": language.tag(),
        "here": here,
        "path": request.path,
        "request_id": request.id,
        "user": session.map(|session| &session.user),
        "csrf": session.map(|session| session.csrf.as_str()),
        "staff": session.is_some_and(|session| is_staff(app, &session.user)),
        "publisher": app.pages.publisher,
        "support_email": app.pages.support_email,
        "simulated": app.pages.simulated,
    });
    let (Json::Object(mut context), Json::Object(frame)) = (content, frame) else {
        return Err(Problem::internal("a page's content must be an object"));
    };
    context.extend(frame);
    let context = Value::from(Serde(context));
    let body = app.pages.render(template, context).map_err(Problem::internal)?;
    Ok(uncached(html(body)))
}

/// A problem as a page. Falls back to plain text when even that page can not be made.
pub fn problem_page(app: &App, request: &Request, problem: &Problem) -> Response {
    let content = json!({ "status": problem.status.as_u16(), "code": problem.code, "title": problem.title, "remedy": problem.remedy });
    let mut response = page(app, request, None, "problem.html", content).unwrap_or_else(|error| {
        tracing::error!(request = %request.id, error = %error.causes(), "the problem page can not be made");
        html(format!("<!doctype html><title>{0}</title><h1>{0}</h1><p>{1}", problem.status.as_u16(), request.id))
    });
    *response.status_mut() = problem.status;
    response
}

/// What was wrong with a form, for its page.
pub fn wrong(problem: &Problem) -> Json {
    json!({ "code": problem.code, "title": problem.title, "remedy": problem.remedy, "field": problem.field })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart_and_money_at_least_two_decimals() {
        for (text, shown) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1,000"),
            ("-1234567.250001", "-1,234,567.250001"),
            ("-12", "-12"),
            ("12a", "12a"),
            ("", ""),
        ] {
            assert_eq!(number(text), shown);
        }
        assert_eq!(money("1234.5", "USD"), "USD 1,234.50");
        assert_eq!(money("0.002", "EUR"), "EUR 0.002");
        assert_eq!(money("7", ""), "7.00");
    }
}
