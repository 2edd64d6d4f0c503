//! From a routed request to its handler: makes the authorisation value that the handler's signature asks for.

use crate::foundation::problem::{JobError, Problem};
use crate::foundation::web::{Request, Response};
use crate::functions::Handler;
use crate::identity::{self, ApiKey, TokenError};
use crate::leads;

use super::Host;
use super::bindings::Function;

/// Calls an HTTP function. `key`: the customer's program, which the edge has proven before it read the body.
pub async fn http(
    host: &Host,
    function: &Function,
    request: Request,
    key: Option<ApiKey>,
) -> Result<Response, Problem> {
    let app = &host.app;
    match function.handler {
        Handler::Open(handler) => handler(app.clone(), request).await,
        Handler::Customer(handler) => {
            let customer = identity::customer(app, &request).await?;
            handler(app.clone(), request, customer).await
        }
        Handler::CustomerForm(handler) => {
            let customer = identity::customer(app, &request).await?;
            let form = identity::form(app, &request, &customer.session)?;
            handler(app.clone(), request, customer, form).await
        }
        Handler::CustomerCall(handler) => {
            let customer = identity::customer(app, &request).await?;
            identity::call(app, &request, &customer.session)?;
            handler(app.clone(), request, customer).await
        }
        Handler::Staff(least, handler) => {
            let staff = identity::staff(app, &request, least).await?;
            handler(app.clone(), request, staff).await
        }
        Handler::StaffForm(least, handler) => {
            let staff = identity::staff(app, &request, least).await?;
            let form = identity::form(app, &request, &staff.session)?;
            handler(app.clone(), request, staff, form).await
        }
        Handler::Key(handler) => {
            let key = key.ok_or_else(|| Problem::internal("a key that nobody has proven"))?;
            handler(app.clone(), request, key).await
        }
        Handler::Publisher(handler) => {
            let publisher = identity::publisher(app, &request)?;
            handler(app.clone(), request, publisher).await
        }
        Handler::ManagedApp(handler) => {
            let caller = identity::managed_app_caller(app, &request)?;
            handler(app.clone(), request, caller).await
        }
        Handler::Marketplace(handler) => {
            let caller = marketplace(host, &request).await?;
            handler(app.clone(), request, caller).await
        }
        Handler::Lead(handler) => {
            let address = leads::address(app, &request).await?;
            handler(app.clone(), request, address).await
        }
        Handler::KeyUpload(_) | Handler::CustomerUpload(_) | Handler::Queue(_) | Handler::Timer(_) => {
            Err(Problem::not_found())
        }
    }
}

/// Proves a customer's program.
pub async fn api_key(host: &Host, request: &Request) -> Result<identity::ApiKey, Problem> {
    identity::api_key(&host.app, request).await?.map_err(|error| {
        Problem::unauthorized("invalid_api_key", format!("This address needs an API key: {error}."))
            .remedy("Send a key of the subscription as `Authorization: Bearer <key>`; keys are made in the portal.")
    })
}

async fn marketplace(host: &Host, request: &Request) -> Result<identity::MarketplaceCaller, Problem> {
    let app = &host.app;
    let Some(settings) = &app.settings.marketplace else {
        return Err(Problem::unavailable("marketplace_off", "The marketplace is switched off here."));
    };
    identity::marketplace_caller(request.bearer(), settings, &app.keys, app.clock.now()).await.map_err(|error| {
        match error {
            TokenError::Missing => Problem::unauthorized("no_token", "This address needs Microsoft's bearer token."),
            TokenError::Refused(reason) => {
                tracing::warn!(request = %request.id, reason, "a webhook with a false token was refused");
                Problem::unauthorized("token_refused", "The bearer token is not accepted.")
            }
            // Not proven false: Microsoft has to come again.
            TokenError::CannotCheck(_) => {
                Problem::unavailable("token_unchecked", "The bearer token can not be checked at the moment.")
                    .caused_by(error)
            }
        }
    })
}

/// Calls a queue function with a message's text.
pub async fn queue(host: &Host, function: &Function, text: String) -> Result<(), JobError> {
    match function.handler {
        Handler::Queue(handler) => handler(host.app.clone(), text).await,
        _ => Err(JobError::fail(format!("{} is no queue function", function.name))),
    }
}

/// Calls a timer function.
pub async fn timer(host: &Host, function: &Function) -> Result<(), JobError> {
    match function.handler {
        Handler::Timer(handler) => handler(host.app.clone()).await,
        _ => Err(JobError::fail(format!("{} is no timer function", function.name))),
    }
}
