//! Addresses for leads: made, given a new key, removed; and who knows one.

use super::arrive::ours;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::foundation::secret::Secret;
use crate::foundation::web::Request;
use crate::leads::model::address::{Address, LONGEST_OFFER, LONGEST_TITLE, LeadAddress, is_offer};
use crate::leads::repo;
use crate::store::StoreError;

/// How often a write is tried whose row others write, too.
const ROUNDS: usize = 8;

/// The offer whose address a request came to. Whoever does not know a key learns nothing.
pub async fn address(app: &App, request: &Request) -> Result<LeadAddress, Problem> {
    let (key, now) = (request.param("key"), app.clock.now());
    let hash = repo::digest(key);
    let found = match app.leads.addresses.get(&hash, now) {
        Some(known) => Some(known),
        None => {
            let Some(offer) = repo::offer_of_key(app, key).await.map_err(ours)? else {
                return Err(Problem::not_found());
            };
            let found = repo::address(app, &offer).await.map_err(ours)?.map(|(address, _)| address);
            if let Some(address) = &found {
                app.leads.addresses.put(hash, address.clone(), now);
            }
            found
        }
    };
    let address = found.filter(|address| address.admits(key, now)).ok_or_else(Problem::not_found)?;
    Ok(LeadAddress { offer: address.offer, title: address.title })
}

/// All addresses, by the offer.
pub async fn addresses(app: &App) -> Result<Vec<Address>, Problem> {
    Ok(repo::addresses(app).await?)
}

/// What is typed into the offer's "Customer leads" for a key.
pub fn url(app: &App, key: &Secret) -> String {
    app.settings.absolute(&format!("/marketplace/leads/{}", key.expose()))
}

pub(super) fn unknown() -> Problem {
    Problem::new(http::StatusCode::NOT_FOUND, "address_not_found", "This offer has no address for leads.")
}

pub async fn create_address(app: &App, offer: &str, title: &str) -> Result<Address, Problem> {
    let (offer, title) = (offer.trim().to_lowercase(), title.trim());
    if !is_offer(&offer) {
        return Err(Problem::bad_request("invalid_offer", "That is no offer id.").field("offer").remedy(format!(
            "Enter the id of the offer in Partner Center: up to {LONGEST_OFFER} small letters, digits, `-` and `_`."
        )));
    }
    if title.chars().count() > LONGEST_TITLE || title.chars().any(char::is_control) {
        return Err(Problem::bad_request("invalid_title", "The title is too long.")
            .field("title")
            .remedy(format!("Enter at most {LONGEST_TITLE} characters.")));
    }
    let address = Address::new(&offer, title, Secret::new(app.random.token()), app.clock.now());
    // The index first: a key without an address leads nowhere.
    index(app, &address).await?;
    match repo::create_address(app, &address).await {
        Ok(()) => Ok(address),
        Err(StoreError::AlreadyExists) => {
            forget(app, &address).await?;
            Err(Problem::conflict("address_exists", "This offer has an address already.")
                .field("offer")
                .remedy("Use it, or give it a new key."))
        }
        Err(error) => Err(error.into()),
    }
}

async fn index(app: &App, address: &Address) -> Result<(), Problem> {
    for key in &address.keys {
        repo::index_key(app, &key.key, &address.offer).await?;
    }
    Ok(())
}

async fn forget(app: &App, address: &Address) -> Result<(), Problem> {
    for key in &address.keys {
        repo::forget_key(app, &key.key).await?;
    }
    Ok(())
}

/// Gives an address a new key; the one before is taken for another week.
pub async fn rotate_address(app: &App, offer: &str) -> Result<Address, Problem> {
    let (key, now) = (Secret::new(app.random.token()), app.clock.now());
    let mut round = 0;
    loop {
        let (mut address, etag) = found(app, offer).await?;
        let over = address.rotate(key.clone(), now);
        repo::index_key(app, &key, &address.offer).await?;
        round += 1;
        match repo::save_address(app, &address, etag).await {
            Ok(()) => {
                for key in address.keys.iter().chain(&over) {
                    app.leads.addresses.forget(&repo::digest(key.key.expose()));
                }
                for key in over {
                    repo::forget_key(app, &key.key).await?;
                }
                return Ok(address);
            }
            Err(StoreError::Precondition) if round < ROUNDS => {}
            Err(error) => return Err(error.into()),
        }
    }
}

pub(super) async fn found(app: &App, offer: &str) -> Result<(Address, crate::store::Etag), Problem> {
    // Whatever can not be an offer's id can not be a key of a row, either.
    if !is_offer(offer) {
        return Err(unknown());
    }
    repo::address(app, offer).await?.ok_or_else(unknown)
}

/// Removes an address; leads that come to it from now on get 404.
pub async fn remove_address(app: &App, offer: &str) -> Result<(), Problem> {
    let (address, _) = found(app, offer).await?;
    repo::forget_address(app, &address.offer).await?;
    for key in &address.keys {
        app.leads.addresses.forget(&repo::digest(key.key.expose()));
    }
    forget(app, &address).await
}
