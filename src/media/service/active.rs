//! The jobs that run now, of all customers.

use futures_util::future::join_all;

use crate::app::App;
use crate::foundation::problem::Problem;
use crate::media::model::job::Job;
use crate::media::repo;

/// Up to `most` jobs that are not over, the oldest first; `true`: there are more.
pub async fn active(app: &App, most: usize) -> Result<(Vec<Job>, bool), Problem> {
    let mut listed = repo::active(app).await?;
    listed.sort_by_key(|active| active.since);
    let more = listed.len() > most;
    let found = join_all(listed.iter().take(most).map(|active| repo::job(app, active.subscription, &active.job))).await;
    let mut jobs = Vec::with_capacity(found.len());
    for job in found {
        // One that is over, or was never written whole, is about to leave the list.
        if let Some((job, _)) = job?
            && !job.state.is_over()
        {
            jobs.push(job);
        }
    }
    Ok((jobs, more))
}
