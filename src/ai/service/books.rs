//! Statistics on their way into the store. Each process adds up its own calls and writes its own sums over what it wrote
//! before, so nothing is read and nothing is counted twice; what a killed process had not written yet, some seconds'
//! worth, is missing from the pictures and never from the ledger.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `AiStatistics` | day | hash of subscription, model, kind, and process | the sums of that day |

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::meter::Call;
use crate::ai::model::deployments::Kind;
use crate::ai::model::statistics::Tally;
use crate::ai::model::used::Used;
use crate::app::App;
use crate::foundation::hex::hex;
use crate::foundation::ids::SubscriptionId;
use crate::store::{self, RowRange, StoreError, Table, Write};

const STATISTICS: Table = Table("AiStatistics");
const EVERY: SignedDuration = SignedDuration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Subject {
    pub subscription: SubscriptionId,
    pub model: String,
    pub kind: Kind,
}

#[derive(Debug, Default)]
struct Sums {
    /// Tells the rows of this process from those of others.
    process: String,
    written: Option<Timestamp>,
    /// With whether the stored row is older.
    days: BTreeMap<(Date, Subject), (Tally, bool)>,
}

#[derive(Debug, Default)]
pub struct Books {
    sums: Mutex<Sums>,
    /// One writes at a time, so that an older sum never lands on a newer one.
    writing: tokio::sync::Mutex<()>,
}

/// How a call ended.
pub enum Ending<'a> {
    Served { used: &'a Used, cost: Option<Decimal> },
    Failed,
}

impl Books {
    /// Notes the end of a call; `true`: it is time to write.
    pub fn note(&self, call: &Call, outcome: &Ending<'_>, now: Timestamp) -> bool {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let day = now.to_zoned(TimeZone::UTC).date();
        let subject = Subject { subscription: call.subscription, model: call.model.clone(), kind: call.kind };
        let (tally, stale) = sums.days.entry((day, subject)).or_default();
        *stale = true;
        match outcome {
            Ending::Served { used, cost } => {
                let took = Duration::try_from(now.duration_since(call.began)).unwrap_or_default();
                tally.served(used, *cost, call.price(used), &call.terms.currency, took);
            }
            Ending::Failed => tally.failed += 1,
        }
        let due = sums.written.is_none_or(|written| now.duration_since(written) >= EVERY);
        if due {
            sums.written = Some(now);
        }
        due
    }

    /// What has to be written, and what can be forgotten.
    fn stale(&self, app: &App) -> (String, Vec<(Date, Subject, Tally)>) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        if sums.process.is_empty() {
            sums.process = app.random.token().chars().filter(char::is_ascii_alphanumeric).take(10).collect();
        }
        let today = app.clock.now().to_zoned(TimeZone::UTC).date();
        let mut found = Vec::new();
        for ((day, subject), (tally, stale)) in &mut sums.days {
            if std::mem::take(stale) {
                found.push((*day, subject.clone(), tally.clone()));
            }
        }
        sums.days.retain(|(day, _), _| *day >= today);
        (sums.process.clone(), found)
    }

    fn mark_stale(&self, day: Date, subject: &Subject, tally: Tally) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.days.entry((day, subject.clone())).or_insert((tally, true)).1 = true;
    }
}

/// Notes the end of a call, and writes now and then.
pub fn note(app: &Arc<App>, call: &Call, outcome: &Ending<'_>) {
    let Some(ai) = &app.ai else { return };
    if ai.books.note(call, outcome, app.clock.now()) {
        let app = Arc::clone(app);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { write(&app).await });
        }
    }
}

/// Writes what this process has added up.
pub async fn write(app: &App) {
    let Some(ai) = &app.ai else { return };
    let _alone = ai.books.writing.lock().await;
    let (process, stale) = ai.books.stale(app);
    for (day, subject, tally) in stale {
        let name = format!("{} {} {:?}", subject.subscription, subject.model, subject.kind);
        let row = format!("{}-{process}", &hex(&Sha256::digest(name))[..16]);
        let stored = Write::upsert(row, &(&subject, &tally));
        let written = match stored {
            Ok(stored) => app.rows.write(STATISTICS, &day.to_string(), vec![stored]).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            tracing::warn!(%error, "statistics were not written; they are tried again");
            ai.books.mark_stale(day, &subject, tally);
        }
    }
}

/// The sums from a day to another one, both included.
pub async fn read(app: &App, from: Date, to: Date) -> Result<BTreeMap<Subject, Tally>, StoreError> {
    write(app).await;
    let mut sums: BTreeMap<Subject, Tally> = BTreeMap::new();
    let mut day = from;
    while day <= to {
        for row in store::scan(&*app.rows, STATISTICS, &day.to_string(), RowRange::all()).await? {
            let (subject, tally): (Subject, Tally) = store::decode(&row)?;
            sums.entry(subject).or_default().merge(&tally);
        }
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    Ok(sums)
}
