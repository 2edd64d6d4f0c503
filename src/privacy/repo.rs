//! Rows of privacy: table `PrivacyRequests`, partition `all`, newest first.

use super::model::Request;
use crate::app::App;
use crate::foundation::ids::PrivacyId;
use crate::store::{self, Etag, RowRange, StoreError, Table, Write, newest_id_first};

const REQUESTS: Table = Table("PrivacyRequests");
const ALL: &str = "all";

pub async fn create(app: &App, request: &Request) -> Result<(), StoreError> {
    let row = Write::insert(newest_id_first(request.id.as_str()), request)?;
    app.rows.write(REQUESTS, ALL, vec![row]).await.map(drop)
}

pub async fn request(app: &App, id: &PrivacyId) -> Result<Option<(Request, Etag)>, StoreError> {
    store::load(&*app.rows, REQUESTS, ALL, &newest_id_first(id.as_str())).await
}

pub async fn save(app: &App, request: &Request, etag: Etag) -> Result<(), StoreError> {
    store::replace(&*app.rows, REQUESTS, ALL, newest_id_first(request.id.as_str()), request, etag).await.map(drop)
}

pub async fn requests(app: &App) -> Result<Vec<Request>, StoreError> {
    store::scan(&*app.rows, REQUESTS, ALL, RowRange::all()).await?.iter().map(store::decode).collect()
}
