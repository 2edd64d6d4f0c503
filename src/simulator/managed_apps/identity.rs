//! The managed identity's token endpoint as App Service and Functions have it (marketplace contract, section 5.6): who
//! is on the host knows the header's secret, and gets tokens for a resource.

use std::collections::HashMap;

use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use uuid::{Uuid, uuid};

use super::super::Simulator;
use super::super::http::{Reply, Request, json_reply};
use super::super::{lock, people};

pub const ROUTE: &str = "/identity/token";
/// `IDENTITY_HEADER`. Works for nothing but the simulator.
pub const IDENTITY_HEADER: &str = "simulated-identity-header";
/// The client id of the one identity there is. It may be named, or left out.
pub const IDENTITY_CLIENT_ID: Uuid = uuid!("5d1e0000-0000-4000-8000-00000000b003");
/// The identity as the authorizations of a plan name it.
pub const PRINCIPAL_ID: Uuid = uuid!("5d1e0000-0000-4000-8000-00000000d003");

const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// The audiences that Azure Resource Manager takes, in the global cloud and in China.
const ARM_AUDIENCES: &[&str] = &[
    "https://management.azure.com",
    "https://management.core.windows.net",
    "https://management.chinacloudapi.cn",
    "https://management.core.chinacloudapi.cn",
];

/// The identity's tokens: the resource that each is for, and when it ends by the base clock.
#[derive(Default)]
pub struct Tokens(HashMap<String, (String, Timestamp)>);

/// What is wrong with a token at Azure Resource Manager.
pub enum Wrong {
    Unknown,
    Expired,
    Audience,
}

impl Tokens {
    pub fn revoke_all(&mut self) {
        self.0.clear();
    }

    pub fn judge_for_arm(&self, token: &str, now: Timestamp) -> Result<(), Wrong> {
        let (resource, expires) = self.0.get(token).ok_or(Wrong::Unknown)?;
        if now >= *expires {
            return Err(Wrong::Expired);
        }
        let resource = resource.trim_end_matches('/').to_ascii_lowercase();
        if ARM_AUDIENCES.contains(&resource.as_str()) { Ok(()) } else { Err(Wrong::Audience) }
    }
}

pub fn answer(simulator: &Simulator, request: &Request) -> Reply {
    simulator.count("identity.token");
    let refuse = |status: u16, why: &str| {
        json_reply(status, &json!({ "statusCode": status, "message": why, "correlationId": simulator.new_id() }))
    };
    if request.method != Method::GET {
        return refuse(405, "Only GET is allowed here.");
    }
    if simulator.faults().get().identity_down {
        return refuse(503, "The identity endpoint is not available.");
    }
    let header = request.header("X-IDENTITY-HEADER").unwrap_or_default();
    if !bool::from(header.as_bytes().ct_eq(IDENTITY_HEADER.as_bytes())) {
        return refuse(401, "The header X-IDENTITY-HEADER is missing or wrong.");
    }
    if request.query("api-version") != Some("2019-08-01") {
        return refuse(400, "The api-version has to be 2019-08-01.");
    }
    let Some(resource) = request.query("resource").filter(|resource| !resource.is_empty()) else {
        return refuse(400, "The parameter resource is missing.");
    };
    let ours = |id: &str| Uuid::parse_str(id).is_ok_and(|id| id == IDENTITY_CLIENT_ID);
    if !request.query("client_id").is_none_or(ours) {
        let why = "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.";
        return refuse(400, why);
    }
    let now = simulator.base_now();
    let until = now + TOKEN_LIFE;
    let token = simulator.sign_token(json!({
        "aud": resource, "iss": format!("{}/{}/", simulator.base_url(), people::PUBLISHER_TENANT),
        "iat": now.as_second(), "nbf": now.as_second(), "exp": until.as_second(), "appid": IDENTITY_CLIENT_ID,
        "oid": PRINCIPAL_ID, "sub": PRINCIPAL_ID, "tid": people::PUBLISHER_TENANT, "idtyp": "app",
        "uti": simulator.secret(), "ver": "1.0",
    }));
    let mut tokens = lock(&simulator.0.identity);
    // Those that ended lately are kept, so that they are told apart from those that never were.
    tokens.0.retain(|_, (_, expires)| now < *expires + TOKEN_LIFE);
    tokens.0.insert(token.clone(), (resource.to_owned(), until));
    json_reply(
        200,
        &json!({
            "access_token": token, "expires_on": until.as_second().to_string(), "resource": resource,
            "token_type": "Bearer", "client_id": IDENTITY_CLIENT_ID,
        }),
    )
}
