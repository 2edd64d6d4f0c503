//! Images that a request names by address are fetched here and sent along: a service behind us, perhaps within the
//! publisher's own network, must not be made to fetch what a customer names.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::ai::model::request::{image_addresses, names_files};
use crate::ai::model::vision;
use crate::app::App;
use crate::foundation::problem::Problem;

/// Images in one request.
const MOST: usize = 10;

/// Puts data in the place of addresses.
pub async fn images(app: &App, body: &mut Value) -> Result<(), Problem> {
    if names_files(body) {
        return Err(unsupported("Files are not fetched by address; send their data.").field("file_url"));
    }
    let mut found = Vec::new();
    image_addresses(body, &mut found);
    if found.iter().any(|value| !value.is_string() && !value.is_null()) {
        return Err(unsupported("`image_url` is an address as text.").field("image_url"));
    }
    found.retain(|value| value.as_str().is_some_and(|text| !text.starts_with("data:")));
    if found.len() > MOST {
        return Err(unsupported(&format!("At most {MOST} images are fetched by address; send the others as data.")));
    }
    // Together they may be no more than one may be alone: all of it is in memory until the service has it.
    let mut left = vision::LARGEST;
    for place in found {
        let address = place.as_str().unwrap_or_default();
        let bytes = fetch(app, address, left).await?;
        left -= bytes.len().min(left);
        let kind = vision::content_type(&bytes);
        if !kind.starts_with("image/") {
            return Err(unsupported("There is no image at the address.").field("image_url"));
        }
        *place = format!("data:{kind};base64,{}", STANDARD.encode(&bytes)).into();
    }
    Ok(())
}

fn unsupported(text: &str) -> Problem {
    Problem::bad_request("invalid_image_url", text)
}

/// What is at an address that a customer names.
pub async fn fetch(app: &App, address: &str, largest: usize) -> Result<bytes::Bytes, Problem> {
    app.fetcher.fetch(address, largest).await.map_err(|error| unsupported(&error.to_string()).field("image_url"))
}
