//! A person's browser: cookies by origin, redirects followed, forms sent with the fields that their page has. Signing
//! in at the simulated Entra is done by choosing the person, as a click there would.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use mediagenie::simulator::Person;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use url::Url;

#[derive(Debug, Clone)]
pub struct Page {
    pub status: u16,
    pub url: Url,
    pub body: String,
}

impl Page {
    /// The value of a hidden or filled field of the form with this action.
    pub fn fields(&self, action: &str) -> HashMap<String, String> {
        let start = self
            .body
            .find(&format!("action=\"{action}\""))
            .unwrap_or_else(|| panic!("no form for {action} on {}:\n{}", self.url, self.body));
        let form = &self.body[start..start + self.body[start..].find("</form>").expect("the form ends")];
        let mut fields = HashMap::new();
        for input in form.split("<input").skip(1) {
            let tag = input.split('>').next().unwrap_or_default();
            let attribute = |name: &str| {
                let from = tag.find(&format!(" {name}=\""))? + name.len() + 3;
                tag.get(from..from + tag[from..].find('"')?)
                    .map(|text| text.replace("&#x2f;", "/").replace("&amp;", "&").replace("&quot;", "\""))
            };
            let unchecked =
                matches!(attribute("type").as_deref(), Some("radio" | "checkbox")) && !tag.contains("checked");
            if let (Some(name), false) = (attribute("name"), unchecked) {
                fields.insert(name, attribute("value").unwrap_or_default());
            }
        }
        fields
    }

    pub fn says(&self, text: &str) -> bool {
        self.body.contains(text)
    }
}

pub struct Browser {
    http: reqwest::Client,
    pub base: Url,
    person: Option<Person>,
    language: &'static str,
    cookies: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Browser {
    pub fn new(base: &str) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
        Self { http, base: Url::parse(base).unwrap(), person: None, language: "en", cookies: Mutex::default() }
    }

    /// The person who sits in front of it and signs in when asked.
    #[must_use]
    pub fn of(mut self, person: &Person) -> Self {
        self.person = Some(person.clone());
        self
    }

    #[must_use]
    pub fn speaking(mut self, language: &'static str) -> Self {
        self.language = language;
        self
    }

    pub async fn get(&self, address: &str) -> Page {
        self.visit(Method::GET, address, None, &[]).await
    }

    /// Sends a form without looking at a page first.
    pub async fn post(&self, address: &str, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.visit(Method::POST, address, Some(body), &[]).await
    }

    pub async fn post_with(&self, address: &str, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.visit(Method::POST, address, Some(body), headers).await
    }

    /// Sends the page's form with this action; `filled` is what the person typed.
    pub async fn submit(&self, page: &Page, action: &str, filled: &[(&str, &str)]) -> Page {
        let mut fields = page.fields(action);
        fields.extend(filled.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let origin = self.base.origin().ascii_serialization();
        self.post_with(action, &fields, &[("origin", &origin)]).await
    }

    async fn visit(&self, method: Method, address: &str, body: Option<String>, headers: &[(&str, &str)]) -> Page {
        let mut url = self.base.join(address).unwrap();
        let (mut method, mut body) = (method, body);
        for _ in 0..10 {
            if url.path().ends_with("/oauth2/v2.0/authorize")
                && let Some(person) = &self.person
            {
                let kept: Vec<(String, String)> =
                    url.query_pairs().filter(|(name, _)| name != "prompt").map(|(a, b)| (a.into(), b.into())).collect();
                url.query_pairs_mut()
                    .clear()
                    .extend_pairs(kept)
                    .append_pair("prompt", "none")
                    .append_pair("login_hint", &person.email);
            }
            let origin = url.origin().ascii_serialization();
            let mut request = self
                .http
                .request(method.clone(), url.clone())
                .header(ACCEPT, "text/html,*/*;q=0.8")
                .header("accept-language", self.language);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let jar: Vec<String> = self
                .cookies
                .lock()
                .unwrap()
                .get(&origin)
                .into_iter()
                .flatten()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            if !jar.is_empty() {
                request = request.header(COOKIE, jar.join("; "));
            }
            if let Some(body) = body.take() {
                request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body);
            }
            let response = match request.try_clone().filter(|_| method == Method::GET) {
                // A connection that was kept open may have died with a killed server; a browser asks again.
                Some(again) => match request.send().await {
                    Ok(response) => response,
                    Err(_) => again.send().await.unwrap(),
                },
                None => request.send().await.unwrap(),
            };
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            for cookie in headers.get_all(SET_COOKIE) {
                let text = cookie.to_str().unwrap();
                let (name, value) = text.split(';').next().unwrap().split_once('=').unwrap();
                let mut cookies = self.cookies.lock().unwrap();
                let jar = cookies.entry(origin.clone()).or_default();
                if text.contains("Max-Age=0") {
                    jar.remove(name)
                } else {
                    jar.insert(name.to_owned(), value.to_owned())
                };
            }
            match headers.get(LOCATION) {
                Some(location) if (300..400).contains(&status) => {
                    url = url.join(location.to_str().unwrap()).unwrap();
                    method = Method::GET;
                }
                // The template engine writes slashes as entities; a browser reads them as slashes.
                _ => return Page { status, url, body: response.text().await.unwrap().replace("&#x2f;", "/") },
            }
        }
        panic!("redirected too often: {url}");
    }

    /// The value of a cookie of the product.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.lock().unwrap().get(&self.base.origin().ascii_serialization())?.get(name).cloned()
    }

    /// Puts a cookie there, as an attacker might.
    pub fn set_cookie(&self, name: &str, value: &str) {
        self.cookies
            .lock()
            .unwrap()
            .entry(self.base.origin().ascii_serialization())
            .or_default()
            .insert(name.to_owned(), value.to_owned());
    }
}

/// A page's text without its tags, blanks drawn together.
pub fn text_of(body: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for character in body.chars() {
        match character {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            other if !inside => text.push(other),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
