//! The simulated Entra: discovery, keys, the account picker, tokens (marketplace contract, section 4).

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use http::header::{AUTHORIZATION, CACHE_CONTROL, PRAGMA};
use jiff::{SignedDuration, Timestamp};
use minijinja::context;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use url::Url;
use uuid::Uuid;

use super::Simulator;
use super::http::{Reply, Request, empty, html, json_reply, redirect, with_header};
use super::model::seven_digits;
use super::pages;
use super::people::{self, MARKETPLACE_APP, PERSONAL_TENANT, Person};

/// How long a token is good, in seconds.
const TOKEN_SECONDS: i64 = 3_599;
const CODE_LIFE: SignedDuration = SignedDuration::from_mins(10);

/// The paths of Entra. Where a version matters, it is in the name.
#[derive(Debug, Clone, Copy)]
pub enum Door {
    DiscoveryV1,
    DiscoveryV2,
    Keys,
    Authorize,
    TokenV1,
    TokenV2,
    Logout,
}

pub const ROUTES: &[(&str, Door)] = &[
    ("/{tenant}/.well-known/openid-configuration", Door::DiscoveryV1),
    ("/{tenant}/v2.0/.well-known/openid-configuration", Door::DiscoveryV2),
    ("/{tenant}/discovery/keys", Door::Keys),
    ("/{tenant}/discovery/v2.0/keys", Door::Keys),
    ("/{tenant}/oauth2/v2.0/authorize", Door::Authorize),
    ("/{tenant}/oauth2/token", Door::TokenV1),
    ("/{tenant}/oauth2/v2.0/token", Door::TokenV2),
    ("/{tenant}/oauth2/v2.0/logout", Door::Logout),
];

/// A sign-in that waits for its code to be redeemed.
struct Grant {
    person: Person,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    expires: Timestamp,
}

/// What Entra has handed out. Codes are taken out when they are redeemed, so each works once.
#[derive(Default)]
pub struct Issued {
    codes: HashMap<String, Grant>,
    access_tokens: HashMap<String, Timestamp>,
    analytics_tokens: HashMap<String, Timestamp>,
}

impl Issued {
    pub fn accepts(&self, token: &str, now: Timestamp) -> bool {
        self.access_tokens.get(token).is_some_and(|expires| now < *expires)
    }

    pub fn accepts_for_analytics(&self, token: &str, now: Timestamp) -> bool {
        self.analytics_tokens.get(token).is_some_and(|expires| now < *expires)
    }

    pub fn revoke_all(&mut self) {
        self.access_tokens.clear();
        self.analytics_tokens.clear();
    }
}

pub fn answer(simulator: &Simulator, door: Door, request: &Request) -> Reply {
    let post = request.method == Method::POST;
    match door {
        Door::DiscoveryV1 | Door::DiscoveryV2 | Door::Keys if simulator.faults().get().keys_down => {
            if matches!(door, Door::Keys) {
                simulator.count("keys");
            }
            empty(503)
        }
        Door::DiscoveryV1 => discovery(simulator, request.param("tenant"), false),
        Door::DiscoveryV2 => discovery(simulator, request.param("tenant"), true),
        Door::Keys => {
            simulator.count("keys");
            let reply = json_reply(200, &simulator.key().published(&issuer(simulator, request.param("tenant"), true)));
            with_header(reply, CACHE_CONTROL, "max-age=86400, private")
        }
        Door::Authorize => authorize(simulator, request),
        Door::TokenV1 | Door::TokenV2 if !post => json_reply(405, &json!({ "error": "invalid_request" })),
        Door::TokenV1 | Door::TokenV2 if simulator.faults().get().token_endpoint_down => {
            simulator.count("token");
            empty(503)
        }
        Door::TokenV1 | Door::TokenV2 => {
            simulator.count("token");
            let reply =
                token(simulator, matches!(door, Door::TokenV2), request).unwrap_or_else(|why| failed(simulator, why));
            with_header(with_header(reply, CACHE_CONTROL, "no-store"), PRAGMA, "no-cache")
        }
        Door::Logout => logout(simulator, request),
    }
}

/// The issuer as a discovery document names it: for the shared tenants a template, as the real one is.
fn issuer(simulator: &Simulator, tenant: &str, v2: bool) -> String {
    let base = simulator.base_url();
    let tenant = match tenant {
        "common" | "organizations" => "{tenantid}".to_owned(),
        "consumers" => PERSONAL_TENANT.to_string(),
        other => other.to_ascii_lowercase(),
    };
    if v2 { format!("{base}/{tenant}/v2.0") } else { format!("{base}/{tenant}/") }
}

fn discovery(simulator: &Simulator, tenant: &str, v2: bool) -> Reply {
    if !matches!(tenant, "common" | "organizations" | "consumers") && Uuid::parse_str(tenant).is_err() {
        let why = format!("AADSTS90002: Tenant '{tenant}' not found.");
        return json_reply(400, &json!({ "error": "invalid_tenant", "error_description": why }));
    }
    let root = format!("{}/{tenant}", simulator.base_url());
    let (token, keys) =
        if v2 { ("oauth2/v2.0/token", "discovery/v2.0/keys") } else { ("oauth2/token", "discovery/keys") };
    json_reply(
        200,
        &json!({
            "issuer": issuer(simulator, tenant, v2),
            "token_endpoint": format!("{root}/{token}"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "jwks_uri": format!("{root}/{keys}"),
            "authorization_endpoint": format!("{root}/oauth2/v2.0/authorize"),
            "end_session_endpoint": format!("{root}/oauth2/v2.0/logout"),
            "response_modes_supported": ["query"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "claims_supported": ["sub", "iss", "aud", "exp", "iat", "nonce", "name", "preferred_username", "email", "tid", "oid", "ver"],
            "request_uri_parameter_supported": false,
            "http_logout_supported": true,
        }),
    )
}

/// The first thing wrong with a sign-in request, in Entra's manner.
fn check_authorize(simulator: &Simulator, request: &Request) -> Result<Url, &'static str> {
    let has = |name| request.query(name).is_some_and(|value: &str| !value.is_empty());
    if request.query("client_id") != Some(simulator.config().sign_in_client_id.as_str()) {
        return Err("AADSTS700016: The application was not found in the directory.");
    }
    let to = request.query("redirect_uri").and_then(|uri| Url::parse(uri).ok());
    let product = Url::parse(&simulator.product_url()).ok();
    // Only back to the product, or to this machine: the simulator must not become anybody's open redirect.
    let home = |url: &Url| {
        let loopback = matches!(url.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        loopback || product.as_ref().is_some_and(|product| product.origin() == url.origin())
    };
    let Some(to) = to.filter(|url| matches!(url.scheme(), "http" | "https") && home(url)) else {
        return Err("AADSTS50011: The redirect_uri is missing or does not match the registered ones.");
    };
    if request.query("response_type") != Some("code") {
        return Err("AADSTS700054: Only response_type 'code' is enabled for the application.");
    }
    if !request.query("scope").is_some_and(|scope| scope.split_whitespace().any(|scope| scope == "openid")) {
        return Err("AADSTS900144: The scope must contain 'openid'.");
    }
    if !has("code_challenge") || request.query("code_challenge_method") != Some("S256") {
        return Err("AADSTS501491: A code_challenge with method S256 is required.");
    }
    Ok(to)
}

/// The people whom a tenant's sign-in page lets in.
fn admitted(tenant: &str, person: &Person) -> bool {
    match tenant {
        "common" => true,
        "organizations" => !person.is_personal(),
        "consumers" => person.is_personal(),
        tenant => Uuid::parse_str(tenant).is_ok_and(|tenant| tenant == person.tenant_id),
    }
}

/// The account picker, or with `login_hint` and `prompt=none` the immediate way back.
fn authorize(simulator: &Simulator, request: &Request) -> Reply {
    let back = match check_authorize(simulator, request) {
        Ok(back) => back,
        Err(why) => return html(400, pages::render("problem.html", context! { why })),
    };
    let tenant = request.param("tenant");
    let silent = request.query("prompt") == Some("none");
    let hinted = request.query("login_hint").and_then(people::by_email);
    let hinted = hinted.filter(|person| admitted(tenant, person));
    match hinted {
        Some(person) if silent => redirect(sign_in(simulator, request, back, person).as_str()),
        None if silent => redirect(with_state(back, request, &[("error", "login_required")]).as_str()),
        _ => {
            let accounts: Vec<_> = people::people()
                .into_iter()
                .filter(|person| admitted(tenant, person))
                .map(|person| {
                    let mut query = form_urlencoded::Serializer::new(String::new());
                    for (name, value) in &request.query {
                        if !matches!(name.as_str(), "login_hint" | "prompt") {
                            query.append_pair(name, value);
                        }
                    }
                    query.append_pair("login_hint", &person.email).append_pair("prompt", "none");
                    context! { person => pages::show(&person), href => format!("{}?{}", request.path, query.finish()) }
                })
                .collect();
            let cancel = with_state(back, request, &[("error", "access_denied")]);
            html(200, pages::render("sign_in.html", context! { accounts, cancel => cancel.as_str() }))
        }
    }
}

fn sign_in(simulator: &Simulator, request: &Request, back: Url, person: Person) -> Url {
    let code = simulator.secret();
    let grant = Grant {
        person,
        redirect_uri: request.query("redirect_uri").unwrap_or_default().to_owned(),
        challenge: request.query("code_challenge").unwrap_or_default().to_owned(),
        nonce: request.query("nonce").map(str::to_owned),
        expires: simulator.base_now() + CODE_LIFE,
    };
    simulator.issued().codes.insert(code.clone(), grant);
    with_state(back, request, &[("code", &code)])
}

fn with_state(mut back: Url, request: &Request, pairs: &[(&str, &str)]) -> Url {
    back.query_pairs_mut().extend_pairs(pairs);
    if let Some(state) = request.query("state") {
        back.query_pairs_mut().append_pair("state", state);
    }
    back
}

/// Why a token endpoint refuses: status, OAuth error, Entra's number, text.
struct Failure(u16, &'static str, u32, &'static str);

/// A refusal in Entra's shape.
fn failed(simulator: &Simulator, Failure(status, error, code, text): Failure) -> Reply {
    json_reply(
        status,
        &json!({
            "error": error, "error_description": format!("AADSTS{code}: {text}"), "error_codes": [code],
            "timestamp": seven_digits(simulator.base_now()),
            "trace_id": simulator.new_id(), "correlation_id": simulator.new_id(),
        }),
    )
}

/// Client id and secret, from the form or from a Basic header (both parts form-encoded there, RFC 6749 section 2.3.1).
fn client(request: &Request, form: &HashMap<String, String>) -> (String, String) {
    let basic = request.header(AUTHORIZATION.as_str()).and_then(|header| {
        let text = String::from_utf8(STANDARD.decode(header.strip_prefix("Basic ")?).ok()?).ok()?;
        let (id, secret) = text.split_once(':')?;
        let decode = |text: &str| form_urlencoded::parse(text.as_bytes()).next().map(|(key, _)| key.into_owned());
        Some((decode(id)?, decode(secret).unwrap_or_default()))
    });
    let field = |name: &str| form.get(name).cloned().unwrap_or_default();
    basic.unwrap_or_else(|| (field("client_id"), field("client_secret")))
}

fn token(simulator: &Simulator, v2: bool, request: &Request) -> Result<Reply, Failure> {
    let form = request.form();
    let (id, secret) = client(request, &form);
    let config = simulator.config();
    let known =
        [(&config.client_id, &config.client_secret), (&config.sign_in_client_id, &config.sign_in_client_secret)];
    let Some((_, right)) = known.into_iter().find(|(known, _)| **known == id) else {
        return Err(Failure(400, "unauthorized_client", 700_016, "The application was not found."));
    };
    if !bool::from(right.as_bytes().ct_eq(secret.as_bytes())) {
        return Err(Failure(401, "invalid_client", 7_000_215, "Invalid client secret provided."));
    }
    match form.get("grant_type").map(String::as_str) {
        Some("client_credentials") => client_credentials(simulator, v2, request, &form, &id),
        Some("authorization_code") if id == config.sign_in_client_id => redeem(simulator, &form, &id),
        _ => Err(Failure(400, "unsupported_grant_type", 70_003, "The grant type is not supported.")),
    }
}

fn client_credentials(
    simulator: &Simulator,
    v2: bool,
    request: &Request,
    form: &HashMap<String, String>,
    client_id: &str,
) -> Result<Reply, Failure> {
    let config = simulator.config();
    if client_id != config.client_id || !request.param("tenant").eq_ignore_ascii_case(&config.tenant_id) {
        let why = "The application was not found in the directory.";
        return Err(Failure(400, "unauthorized_client", 700_016, why));
    }
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let wanted = if v2 { field("scope").strip_suffix("/.default").unwrap_or_default() } else { field("resource") };
    let marketplace = wanted.eq_ignore_ascii_case(&MARKETPLACE_APP.to_string());
    let resource = wanted.trim_end_matches('/');
    let analytics = resource.eq_ignore_ascii_case(super::analytics::RESOURCE);
    // Those that the analytics API took in the past still give tokens; the API refuses them.
    let past = ["https://graph.windows.net", "https://graph.microsoft.com"].contains(&resource);
    if !marketplace && !analytics && !past {
        let why = "The scope or resource is not known in the directory.";
        return Err(Failure(400, "invalid_scope", 70_011, why));
    }
    let now = simulator.base_now();
    let (from, until) = (now.as_second(), now.as_second() + TOKEN_SECONDS);
    let token = simulator.sign_token(json!({
        "aud": wanted, "iss": issuer(simulator, &config.tenant_id, false), "iat": from, "nbf": from, "exp": until,
        "appid": client_id, "tid": config.tenant_id, "uti": simulator.secret(), "ver": "1.0",
    }));
    let mut issued = simulator.issued();
    let tokens = if analytics { &mut issued.analytics_tokens } else { &mut issued.access_tokens };
    tokens.retain(|_, expires| now < *expires);
    if !past {
        tokens.insert(token.clone(), now + SignedDuration::from_secs(TOKEN_SECONDS));
    }
    let body = if v2 {
        json!({ "token_type": "Bearer", "expires_in": TOKEN_SECONDS, "ext_expires_in": TOKEN_SECONDS, "access_token": token })
    } else {
        // Version 1 writes its numbers as strings.
        json!({
            "token_type": "Bearer", "expires_in": TOKEN_SECONDS.to_string(),
            "ext_expires_in": TOKEN_SECONDS.to_string(), "expires_on": until.to_string(),
            "not_before": from.to_string(), "resource": wanted, "access_token": token,
        })
    };
    Ok(json_reply(200, &body))
}

fn redeem(simulator: &Simulator, form: &HashMap<String, String>, client_id: &str) -> Result<Reply, Failure> {
    let invalid = |code, why| Failure(400, "invalid_grant", code, why);
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let now = simulator.base_now();
    let grant = simulator.issued().codes.remove(field("code"));
    let Some(grant) = grant else {
        return Err(invalid(54_005, "The code was already redeemed, or is not known."));
    };
    if now >= grant.expires {
        return Err(invalid(70_008, "The code has expired."));
    }
    if grant.redirect_uri != field("redirect_uri") {
        return Err(invalid(500_112, "The redirect_uri differs from the one that the code was asked with."));
    }
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(field("code_verifier")));
    if field("code_verifier").is_empty() || challenge != grant.challenge {
        return Err(invalid(501_481, "The code_verifier does not match the code_challenge."));
    }
    let person = grant.person;
    let (from, until) = (now.as_second(), now.as_second() + TOKEN_SECONDS);
    let pairwise = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{}{client_id}", person.object_id)));
    let mut claims = json!({
        "iss": issuer(simulator, &person.tenant_id.to_string(), true), "aud": client_id, "sub": pairwise,
        "oid": person.object_id, "tid": person.tenant_id, "name": person.name,
        "preferred_username": person.email, "email": person.email,
        "iat": from, "nbf": from, "exp": until, "uti": simulator.secret(), "ver": "2.0",
    });
    if let Some(nonce) = grant.nonce {
        claims["nonce"] = nonce.into();
    }
    if !person.roles.is_empty() {
        claims["roles"] = json!(person.roles);
    }
    let body = json!({
        "token_type": "Bearer", "scope": "openid profile email", "expires_in": TOKEN_SECONDS,
        "ext_expires_in": TOKEN_SECONDS, "access_token": simulator.secret(),
        "id_token": simulator.sign_token(claims),
    });
    Ok(json_reply(200, &body))
}

/// Back to the product where it asks for that, else a page that says so.
fn logout(simulator: &Simulator, request: &Request) -> Reply {
    let product = simulator.product_url();
    let back = request.query("post_logout_redirect_uri").and_then(|uri| Url::parse(uri).ok());
    match back.filter(|url| Url::parse(&product).is_ok_and(|product| product.origin() == url.origin())) {
        Some(back) => redirect(back.as_str()),
        None => html(200, pages::render("signed_out.html", context! {})),
    }
}

/// A token as Microsoft's webhook carries it: from the marketplace's app, for the publisher's.
pub fn webhook_token(simulator: &Simulator) -> String {
    let config = simulator.config();
    let from = simulator.base_now().as_second();
    let v1 = simulator.faults().get().webhook_token_v1;
    let mut claims: Value = json!({
        "aud": config.client_id, "iss": issuer(simulator, &config.tenant_id, !v1), "tid": config.tenant_id,
        "iat": from, "nbf": from, "exp": from + TOKEN_SECONDS, "aio": simulator.secret(), "rh": "0.simulated.",
        "oid": "5d1e0000-0000-4000-8000-00000000d001", "sub": "5d1e0000-0000-4000-8000-00000000d001",
        "uti": simulator.secret(), "ver": if v1 { "1.0" } else { "2.0" },
    });
    let (caller, strength) = if v1 { ("appid", "appidacr") } else { ("azp", "azpacr") };
    claims[caller] = config.caller_id.into();
    claims[strength] = "2".into();
    simulator.sign_token(claims)
}
