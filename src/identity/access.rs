//! Authorisation as values. A handler that takes a [`Customer`] or a [`Staff`] can not be reached without one; the
//! function table says which handler takes which, and the edge makes them here.

use http::header::ORIGIN;
use serde::{Deserialize, Serialize};

use super::sessions::{self, Session};
use crate::app::App;
use crate::foundation::ids::{ObjectId, TenantId};
use crate::foundation::problem::Problem;
use crate::foundation::secret::same_secret;
use crate::foundation::web::{Form, Request};

/// A person as Entra knows them: tenant and object id together are the key, never the e-mail address.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    pub tenant_id: TenantId,
    pub object_id: ObjectId,
    pub name: String,
    pub email: String,
    /// App roles of the token, as they came.
    pub roles: Vec<String>,
}

impl User {
    /// Whether this is a personal Microsoft account, whose tenant is shared with everybody.
    pub fn is_personal(&self) -> bool {
        self.tenant_id == TenantId::PERSONAL_ACCOUNTS
    }
}

/// A signed-in person, acting for their own tenant.
#[derive(Debug, Clone)]
pub struct Customer {
    pub session: Session,
}

impl Customer {
    pub fn user(&self) -> &User {
        &self.session.user
    }
}

/// What a staff member may do; each role includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// App role `Publisher.Reader`: sees everything.
    Reader,
    /// App role `Publisher.Operator`: acts on subscriptions.
    Operator,
    /// App role `Publisher.Admin`, or a listed object id.
    Admin,
}

/// Azure, telling of managed applications; proven by the secret in the notification address (marketplace contract 6.3).
#[derive(Debug, Clone, Copy)]
pub struct ManagedAppCaller {
    /// It used the secret that is being replaced.
    pub old_secret: bool,
}

/// A signed-in member of the publisher's staff.
#[derive(Debug, Clone)]
pub struct Staff {
    pub session: Session,
    pub role: Role,
}

impl Staff {
    pub fn user(&self) -> &User {
        &self.session.user
    }
}

/// The staff role of a person, if any. Roles count only from the publisher's own tenant: any tenant's administrator
/// can hand out app roles of a multi-tenant app to their own people.
fn role(app: &App, user: &User) -> Option<Role> {
    let (marketplace, sign_in) = (app.settings.marketplace.as_ref()?, app.settings.sign_in.as_ref()?);
    if user.tenant_id != marketplace.tenant_id {
        return None;
    }
    if sign_in.staff.contains(&user.object_id) {
        return Some(Role::Admin);
    }
    let named = |name: &str| match name {
        "Publisher.Admin" => Some(Role::Admin),
        "Publisher.Operator" => Some(Role::Operator),
        "Publisher.Reader" => Some(Role::Reader),
        _ => None,
    };
    user.roles.iter().filter_map(|name| named(name)).max()
}

/// The session of a request, or where to sign in.
async fn required(app: &App, request: &Request) -> Result<Session, Problem> {
    if let Some(session) = session(app, request).await? {
        return Ok(session);
    }
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("return", &way_back(app, request)).finish();
    Err(Problem::unauthorized("signed_out", "You are not signed in.")
        .remedy("Sign in and try again.")
        .redirect(format!("/sign-in?{query}")))
}

/// Where somebody goes on after signing in: this page, or for a form the page that it stood on.
fn way_back(app: &App, request: &Request) -> String {
    if request.method == http::Method::GET {
        let query = if request.raw_query.is_empty() { String::new() } else { format!("?{}", request.raw_query) };
        return format!("{}{query}", request.path);
    }
    let page = request.header(http::header::REFERER).and_then(|text| url::Url::parse(text).ok());
    let ours = page.filter(|page| page.origin().ascii_serialization() == app.settings.origin());
    ours.map_or_else(
        || "/portal".to_owned(),
        |page| page[url::Position::BeforePath..url::Position::AfterQuery].to_owned(),
    )
}

/// The live session of a request, if any; for pages that look different when somebody is signed in.
pub async fn session(app: &App, request: &Request) -> Result<Option<Session>, Problem> {
    Ok(sessions::of(app, request).await?)
}

pub async fn customer(app: &App, request: &Request) -> Result<Customer, Problem> {
    Ok(Customer { session: required(app, request).await? })
}

pub async fn staff(app: &App, request: &Request, least: Role) -> Result<Staff, Problem> {
    let session = required(app, request).await?;
    match role(app, &session.user) {
        // Nobody outside learns which staff pages there are.
        None => Err(Problem::not_found()),
        Some(role) if role < least => Err(Problem::forbidden("role_too_low", "Your role does not allow this.")
            .remedy("Ask an administrator of your organisation for the role Publisher.Operator or Publisher.Admin.")),
        Some(role) => Ok(Staff { session, role }),
    }
}

/// The sender of a notification. Every secret is compared, however early one fits.
pub fn managed_app_caller(app: &App, request: &Request) -> Result<ManagedAppCaller, Problem> {
    let secrets = &app.settings.managed_apps.secrets;
    if secrets.is_empty() {
        return Err(Problem::unavailable(
            "managed_apps_off",
            "Notifications of managed applications are not taken here.",
        )
        .remedy("The operator of this service sets MANAGED_APP_SECRETS."));
    }
    let Some(sig) = request.query_verbatim("sig") else {
        return Err(Problem::unauthorized("no_sig", "This address needs its `sig`.")
            .remedy("Enter the address with `?sig=...` as the notification endpoint; Azure keeps the query."));
    };
    let fits: Vec<bool> = secrets.iter().map(|secret| same_secret(&sig, secret.expose())).collect();
    match fits.iter().position(|fits| *fits) {
        Some(index) => Ok(ManagedAppCaller { old_secret: index > 0 }),
        None => Err(Problem::unauthorized("wrong_sig", "The `sig` is not accepted.")),
    }
}

/// Whether the person has any staff role; decides whether pages show the way to the staff portal.
pub fn is_staff(app: &App, user: &User) -> bool {
    role(app, user).is_some()
}

/// The posted form of a signed-in person. It must come from a page of ours: its `csrf` field matches the session, and
/// its origin, where the browser tells it, is ours.
pub fn form(app: &App, request: &Request, session: &Session) -> Result<Form, Problem> {
    let form = Form::parse(&request.body);
    from_our_page(app, request, form.get("csrf"), session)?;
    Ok(form)
}

/// The same for what a page's script sends, whose body may be anything: the token stands in the header `x-csrf-token`,
/// which a page of another origin can not set.
pub fn call(app: &App, request: &Request, session: &Session) -> Result<(), Problem> {
    from_our_page(app, request, request.header("x-csrf-token").unwrap_or_default(), session)
}

/// Whether a token that came with a request is the session's, and the request from a page of ours.
pub(super) fn from_our_page(app: &App, request: &Request, token: &str, session: &Session) -> Result<(), Problem> {
    let foreign = request.header(ORIGIN).is_some_and(|origin| origin != app.settings.origin());
    if foreign || !same_secret(token, &session.csrf) {
        return Err(Problem::forbidden(
            "stale_form",
            "This form was not sent from a current page of ours; nothing was changed.",
        )
        .remedy("Reload the page and send the form again."));
    }
    Ok(())
}

/// One of the publisher's own systems, proven by its key.
#[derive(Debug, Clone)]
pub struct Publisher {
    /// The name that stands before the key in the settings.
    pub name: String,
}

/// `Authorization: Bearer <key>`, compared with every key so that the time taken tells nothing.
pub fn publisher(app: &App, request: &Request) -> Result<Publisher, Problem> {
    let Some(given) = request.bearer() else {
        return Err(Problem::unauthorized("no_key", "This address needs a key of the publisher.")
            .remedy("Send it as `Authorization: Bearer <key>`; keys are set in PUBLISHER_API_KEYS."));
    };
    let mut found = None;
    for (name, key) in &app.settings.publisher_api_keys {
        if same_secret(given, key.expose()) {
            found = Some(Publisher { name: name.clone() });
        }
    }
    found.ok_or_else(|| {
        Problem::unauthorized("key_refused", "The key is not accepted.")
            .remedy("Compare it with PUBLISHER_API_KEYS of this deployment.")
    })
}
