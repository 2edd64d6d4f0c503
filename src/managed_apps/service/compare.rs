//! The hourly comparison with Azure: the only way to learn of a notification that never came, since Microsoft gives up after
//! ten hours (marketplace contract 6.4).

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};

use super::look;
use crate::app::App;
use crate::foundation::problem::Problem;
use crate::managed_apps::repo;
use crate::metering::model::resource::Resource;

/// Applications looked at together.
const PARALLEL: usize = 8;

/// What the comparison did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    pub looked_at: usize,
    /// Applications of which only Azure told us.
    pub discovered: usize,
    pub failed: usize,
}

pub async fn compare(app: &Arc<App>) -> Result<Compared, Problem> {
    let known = repo::applications(app).await?;
    let mut report = Compared::default();
    let mut keys: Vec<_> = known.iter().map(|application| application.key.clone()).collect();
    let mut listed = HashSet::new();
    match app.arm.applications().await {
        Ok(found) => {
            let uris: HashSet<&str> = known.iter().map(|application| application.uri.as_str()).collect();
            for found in found {
                let Ok(uri) = Resource::uri(&found.id) else { continue };
                let uri = uri.to_string();
                // An address that was over may have come to life again, and nobody may have told.
                if uris.contains(uri.as_str()) {
                    listed.insert(uri);
                } else {
                    keys.push(look::discovered(app, &uri, found).await?);
                    report.discovered += 1;
                }
            }
        }
        Err(error) => tracing::warn!(%error, "Azure's list of applications can not be read"),
    }
    let listed: HashSet<_> = known.iter().filter(|known| listed.contains(&known.uri)).map(|known| &known.key).collect();
    let looks = keys.into_iter().map(|key| (listed.contains(&key), key));
    let mut looks = stream::iter(looks)
        .map(|(listed, key)| async move { (look::look_at(app, &key, listed).await, key) })
        .buffer_unordered(PARALLEL);
    while let Some((looked, key)) = looks.next().await {
        report.looked_at += 1;
        if let Err(problem) = looked {
            report.failed += 1;
            tracing::warn!(application = %key, %problem, causes = problem.causes(), "could not be compared; the next hour tries again");
        }
    }
    Ok(report)
}
