//! Budgets in the store. Reservations that arrive at the same time are written together, in one conditional write, so
//! that five hundred calls at once neither race each other nor overrun the limit; between processes the ETags decide.
//!
//! | table | partition | row | what |
//! |---|---|---|---|
//! | `AiBudgets` | subscription | `all` | the subscription's budget |
//! | `AiBudgets` | subscription | `key-<prefix>` | a key's budget |

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::oneshot;

use crate::ai::model::budget::{Budget, Over, Rate};
use crate::ai::model::used::Used;
use crate::app::App;
use crate::foundation::ids::SubscriptionId;
use crate::foundation::recent::is_fresh;
use crate::store::{self, Etag, RowRange, StoreError, Table, Write};

const BUDGETS: Table = Table("AiBudgets");
/// The row of the subscription itself.
pub const ALL: &str = "all";
/// Tries against other processes.
const TRIES: u32 = 20;
/// Lanes kept for the next time.
const KEPT: usize = 5_000;

pub fn row_of_key(prefix: &str) -> String {
    format!("key-{prefix}")
}

/// A call that wants something of the budgets, and which of them.
#[derive(Debug, Clone)]
pub struct Claim {
    pub call: String,
    pub subscription: SubscriptionId,
    pub key: String,
    /// How long it is held at most.
    pub held: SignedDuration,
}

/// Which budget refused, and how much it has left.
#[derive(Debug)]
pub struct Exhausted {
    pub row: String,
    pub over: Over,
    pub budget: Budget,
}

#[derive(Debug)]
enum Wish {
    Reserve { worst: Used, rates: Vec<Rate>, answer: oneshot::Sender<Result<Result<bool, Box<Exhausted>>, StoreError>> },
    Settle { used: Used, answer: oneshot::Sender<Result<(), StoreError>> },
}

impl Wish {
    fn is_end(&self) -> bool {
        matches!(self, Self::Settle { .. })
    }
}

type Rows = BTreeMap<String, (Budget, Etag)>;

#[derive(Debug, Default)]
struct Lane {
    waiting: Mutex<Vec<(Claim, Wish)>>,
    turn: tokio::sync::Mutex<Option<(Timestamp, Rows)>>,
}

/// The lanes of all subscriptions.
#[derive(Debug, Default)]
pub struct Budgets(Mutex<HashMap<SubscriptionId, Arc<Lane>>>);

impl Budgets {
    fn lane(&self, subscription: SubscriptionId) -> Arc<Lane> {
        let mut lanes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() >= KEPT {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        Arc::clone(lanes.entry(subscription).or_default())
    }
}

/// Reserves the worst case of a call in every budget that it falls under, or in none. `true`: there is at least one, so
/// the call must be settled.
pub async fn reserve(
    app: &Arc<App>,
    claim: &Claim,
    worst: &Used,
    rates: &[Rate],
) -> Result<Result<bool, Box<Exhausted>>, StoreError> {
    if has_none(app, claim.subscription) {
        return Ok(Ok(false));
    }
    let (answer, answered) = oneshot::channel();
    enter(app, claim, Wish::Reserve { worst: worst.clone(), rates: rates.to_vec(), answer });
    answered.await.map_err(|_| interrupted())?
}

/// Whether it is known that a subscription has no budgets.
fn has_none(app: &App, subscription: SubscriptionId) -> bool {
    let Some(ai) = &app.ai else { return true };
    let (lane, now) = (ai.budgets.lane(subscription), app.clock.now());
    // Whoever works in the lane at the moment knows better.
    lane.turn
        .try_lock()
        .is_ok_and(|known| known.as_ref().is_some_and(|(read, rows)| rows.is_empty() && is_fresh(*read, now)))
}

/// Puts what was used in the place of what was reserved; nothing for a call that is not billed.
pub async fn settle(app: &Arc<App>, claim: &Claim, used: &Used) -> Result<(), StoreError> {
    let (answer, answered) = oneshot::channel();
    enter(app, claim, Wish::Settle { used: used.clone(), answer });
    answered.await.map_err(|_| interrupted())?
}

fn interrupted() -> StoreError {
    StoreError::unavailable("the budget was interrupted")
}

fn enter(app: &Arc<App>, claim: &Claim, wish: Wish) {
    let Some(ai) = &app.ai else { return };
    let lane = ai.budgets.lane(claim.subscription);
    lane.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((claim.clone(), wish));
    let (app, subscription) = (Arc::clone(app), claim.subscription);
    // A task of its own: a caller who hangs up must not take others with him.
    tokio::spawn(async move {
        let mut known = lane.turn.lock().await;
        let waiting = std::mem::take(&mut *lane.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if !waiting.is_empty() {
            work(&app, subscription, &mut known, waiting).await;
        }
    });
}

async fn read(app: &App, subscription: SubscriptionId) -> Result<Rows, StoreError> {
    let rows = store::scan(&*app.rows, BUDGETS, &subscription.to_string(), RowRange::all()).await?;
    rows.into_iter().map(|row| Ok((row.key.clone(), (store::decode(&row)?, row.etag)))).collect()
}

/// What a wish came to, before it is durable.
enum Came {
    Reserved(Result<bool, Box<Exhausted>>),
    Settled,
}

async fn work(
    app: &Arc<App>,
    subscription: SubscriptionId,
    known: &mut Option<(Timestamp, Rows)>,
    mut waiting: Vec<(Claim, Wish)>,
) {
    let mut problem = interrupted();
    for attempt in 0..TRIES {
        if attempt > 0 {
            let mut spread = [0];
            app.random.fill(&mut spread);
            tokio::time::sleep(Duration::from_micros(u64::from(spread[0]) * 20 * u64::from(attempt))).await;
        }
        match once(app, subscription, known, &waiting).await {
            Ok(came) => {
                for ((_, wish), came) in waiting.into_iter().zip(came) {
                    // Who has gone does not need the answer: their reservation is settled by the call's own end.
                    match (wish, came) {
                        (Wish::Reserve { answer, .. }, Came::Reserved(result)) => drop(answer.send(Ok(result))),
                        (Wish::Settle { answer, .. }, _) => drop(answer.send(Ok(()))),
                        (Wish::Reserve { .. }, Came::Settled) => {}
                    }
                }
                return;
            }
            Err(StoreError::Precondition | StoreError::AlreadyExists) => *known = None,
            // So many calls at once that their row is full: what makes it smaller must not fail with what does not fit.
            Err(error @ StoreError::TooLarge { .. }) if !waiting.iter().all(|(_, wish)| wish.is_end()) => {
                let others;
                (waiting, others) = waiting.into_iter().partition(|(_, wish)| wish.is_end());
                fail(others, &error);
            }
            Err(error) => {
                *known = None;
                problem = error;
                break;
            }
        }
    }
    fail(waiting, &problem);
}

fn fail(waiting: Vec<(Claim, Wish)>, problem: &StoreError) {
    for (_, wish) in waiting {
        let failed = StoreError::unavailable(problem.to_string());
        match wish {
            Wish::Reserve { answer, .. } => drop(answer.send(Err(failed))),
            Wish::Settle { answer, .. } => drop(answer.send(Err(failed))),
        }
    }
}

/// Applies all wishes to the rows and writes those that changed.
async fn once(
    app: &App,
    subscription: SubscriptionId,
    known: &mut Option<(Timestamp, Rows)>,
    waiting: &[(Claim, Wish)],
) -> Result<Vec<Came>, StoreError> {
    let now = app.clock.now();
    let fresh = |(read, _): &(Timestamp, Rows)| is_fresh(*read, now);
    let (at, before) = match known.take().filter(fresh) {
        Some(rows) => rows,
        None => (now, read(app, subscription).await?),
    };
    let mut rows = before.clone();
    let mut touched = recover(app, subscription, &mut rows, now).await?;
    let mut came = Vec::with_capacity(waiting.len());
    for (claim, wish) in waiting {
        let mine = [ALL.to_owned(), row_of_key(&claim.key)];
        match wish {
            Wish::Reserve { worst, rates, .. } => {
                let mut held = Vec::new();
                let mut refused = None;
                for row in &mine {
                    let Some((budget, _)) = rows.get_mut(row) else { continue };
                    match budget.reserve(&claim.call, worst, rates, claim.held, now) {
                        Ok(()) => held.push(row.clone()),
                        Err(over) => {
                            refused = Some(Box::new(Exhausted { row: row.clone(), over, budget: budget.clone() }));
                            break;
                        }
                    }
                }
                match refused {
                    None => {
                        came.push(Came::Reserved(Ok(!held.is_empty())));
                        touched.extend(held);
                    }
                    Some(refused) => {
                        for row in held {
                            if let Some((budget, _)) = rows.get_mut(&row) {
                                budget.settle(&claim.call, &Used::default());
                            }
                        }
                        came.push(Came::Reserved(Err(refused)));
                    }
                }
            }
            Wish::Settle { used, .. } => {
                for row in &mine {
                    let Some((budget, _)) = rows.get_mut(row) else { continue };
                    if budget.settle(&claim.call, used) {
                        tracing::warn!(%subscription, budget = row, "a budget has reached its soft limit");
                    }
                    touched.push(row.clone());
                }
                came.push(Came::Settled);
            }
        }
    }
    touched.sort_unstable();
    touched.dedup();
    let changed: Vec<&String> = touched.iter().filter(|row| rows.get(*row) != before.get(*row)).collect();
    if !changed.is_empty() {
        let writes = changed
            .iter()
            .filter_map(|row| rows.get(*row).map(|(budget, etag)| Write::replace(row.as_str(), budget, etag.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        let etags = app.rows.write(BUDGETS, &subscription.to_string(), writes).await?;
        let changed: Vec<String> = changed.into_iter().cloned().collect();
        for (row, etag) in changed.into_iter().zip(etags) {
            if let Some(entry) = rows.get_mut(&row) {
                entry.1 = etag;
            }
        }
    }
    *known = Some((at, rows));
    Ok(came)
}

/// Calls of a process that died: what they used stands in the ledger, or they used nothing that is billed.
async fn recover(
    app: &App,
    subscription: SubscriptionId,
    rows: &mut Rows,
    now: Timestamp,
) -> Result<Vec<String>, StoreError> {
    let mut touched = Vec::new();
    for (row, (budget, _)) in rows {
        let calls: Vec<String> = budget.abandoned(now).map(str::to_owned).collect();
        for call in calls {
            budget.settle(&call, &super::price::used(app, subscription, &call).await?);
            touched.push(row.clone());
        }
    }
    Ok(touched)
}

/// The budgets of a subscription: of itself and of its keys.
pub async fn list(app: &App, subscription: SubscriptionId) -> Result<BTreeMap<String, Budget>, StoreError> {
    Ok(read(app, subscription).await?.into_iter().map(|(row, (budget, _))| (row, budget)).collect())
}

/// Sets, changes or (None) removes a budget. What is spent and reserved stays, unless it is counted in another way.
pub async fn set(app: &App, subscription: SubscriptionId, row: &str, wanted: Option<Budget>) -> Result<(), StoreError> {
    let partition = subscription.to_string();
    for _ in 0..TRIES {
        let known = store::load::<Budget>(&*app.rows, BUDGETS, &partition, row).await?;
        let write = match (known, wanted.clone()) {
            (None, None) => return Ok(()),
            (None, Some(budget)) => Write::insert(row, &budget)?,
            (Some((_, etag)), None) => Write::Delete { key: row.to_owned(), etag: Some(etag) },
            (Some((mut budget, etag)), Some(wanted)) => {
                budget.change(wanted);
                Write::replace(row, &budget, etag)?
            }
        };
        match app.rows.write(BUDGETS, &partition, vec![write]).await {
            Err(StoreError::Precondition | StoreError::AlreadyExists) => {}
            other => {
                if let Some(ai) = &app.ai {
                    // What is known here is out of date; other instances find out within two seconds.
                    ai.budgets.lane(subscription).turn.lock().await.take();
                }
                return other.map(drop);
            }
        }
    }
    Err(StoreError::Precondition)
}
