//! What a function may touch. Built one way, for production and for tests; tests change only what goes in.
//!
//! This is the only file, with the tests, that names a concrete backend.

use std::sync::{Arc, OnceLock};

use crate::ai::{AiClient, Deployments, Known};
use crate::analytics::{self, AnalyticsClient};
use crate::blobs::{AzureBlobs, BlobError, Blobs, EmbeddedBlobs};
use crate::callbacks::Trying;
use crate::foundation::azure_account::{AccountError, AzureAccount};
use crate::foundation::clock::Clock;
use crate::foundation::managed_identity::ManagedIdentity;
use crate::foundation::outbound;
use crate::foundation::rng::Random;
use crate::foundation::settings::{Settings, Storage, StorageAccount};
use crate::fulfillment::{Changes, MarketplaceClient};
use crate::identity::{RememberedKeys, SignInClient, SigningKeys};
use crate::leads::destinations::{Destinations, Tools};
use crate::leads::{self, LeadTable};
use crate::managed_apps::ArmClient;
use crate::media;
use crate::metering::{Catalogue, Lanes};
use crate::pages::Pages;
use crate::queue::{AzureQueues, EmbeddedQueues, QueueError, Queues};
use crate::store::{AzureRows, Database, EmbeddedRows, OpenError, RowStore};

#[derive(Debug)]
pub struct App {
    pub settings: Settings,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    /// State.
    pub rows: Arc<dyn RowStore>,
    /// Messages between functions.
    pub queues: Arc<dyn Queues>,
    /// Larger pieces of bytes.
    pub blobs: Arc<dyn Blobs>,
    /// Entra's keys, for sign-in and webhooks.
    pub keys: Arc<SigningKeys>,
    /// Microsoft's fulfillment API; None when `MARKETPLACE_MODE=false`.
    pub marketplace: Option<MarketplaceClient>,
    /// Azure Resource Manager, where managed applications are.
    pub arm: ArmClient,
    /// Microsoft's analytics; None when no dataset is pulled.
    pub analytics: Option<AnalyticsClient>,
    pub analytics_turns: analytics::Turns,
    /// Sign-in with Entra; None when `MARKETPLACE_MODE=false`.
    pub sign_in: Option<SignInClient>,
    pub pages: Pages,
    /// What is sold by quantity.
    pub catalogue: Catalogue,
    /// Records on their way into the ledger.
    pub lanes: Lanes,
    /// How often subscriptions were written here.
    pub changes: Changes,
    /// The AI services; None when no deployments are named.
    pub ai: Option<AiClient>,
    /// Reaches addresses that customers name; never a private one.
    pub fetcher: Arc<outbound::Fetcher>,
    /// Where leads are forwarded to.
    pub destinations: Destinations,
    /// Callback endpoints that fail and are being tried here.
    pub trying: Trying,
    /// Keys of customers' programs, read a moment ago.
    pub api_keys: RememberedKeys,
    /// The queues that functions are driven by, with the function's name; whoever drives them says so at the start.
    pub driven: OnceLock<Vec<DrivenQueue>>,
    /// What is known here of media jobs and files.
    pub media: media::Memory,
    /// How many leads came here just now.
    pub leads: leads::Memory,
    /// The table that Microsoft writes leads into; None when none is named.
    pub lead_table: Option<LeadTable>,
}

/// A queue, and the function that works on its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrivenQueue {
    pub queue: String,
    pub function: String,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Database(#[from] OpenError),
    #[error("the embedded queues can not be used")]
    Queues(#[from] QueueError),
    #[error("the embedded blob folder can not be used")]
    Blobs(#[from] BlobError),
    #[error("AzureWebJobsStorage can not be used: {0}")]
    Account(#[from] AccountError),
    #[error("LEAD_TABLE_CONNECTION can not be used: {0}")]
    LeadTable(#[source] AccountError),
    #[error("the catalogue {0} can not be used: {1}")]
    Catalogue(String, String),
    #[error("the deployments in {0} can not be used: {1}")]
    Deployments(String, String),
    #[error("the lead destinations in {0} can not be used:\n  {1}")]
    Destinations(String, String),
    #[error("the outward HTTP client can not be built")]
    Http(#[from] reqwest::Error),
}

impl App {
    pub async fn build(
        settings: Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>, StartError> {
        Self::assemble(settings, clock, random, false).await
    }

    /// For commands that only read: an embedded store may belong to a running server meanwhile.
    pub async fn build_beside(
        settings: Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Arc<Self>, StartError> {
        Self::assemble(settings, clock, random, true).await
    }

    async fn assemble(
        settings: Settings,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        beside: bool,
    ) -> Result<Arc<Self>, StartError> {
        let http = outbound::client()?;
        let (rows, queues, blobs): (Arc<dyn RowStore>, Arc<dyn Queues>, Arc<dyn Blobs>) = match &settings.storage {
            Storage::Embedded { folder } if beside => {
                let database = Database::open_beside(folder)?;
                (
                    Arc::new(EmbeddedRows::new(database.clone())),
                    Arc::new(EmbeddedQueues::beside(database.clone(), Arc::clone(&clock))),
                    Arc::new(EmbeddedBlobs::beside(database, Arc::clone(&random))),
                )
            }
            Storage::Embedded { folder } => {
                let database = Database::open(folder)?;
                (
                    Arc::new(EmbeddedRows::new(database.clone())),
                    Arc::new(EmbeddedQueues::open(database.clone(), Arc::clone(&clock)).await?),
                    Arc::new(EmbeddedBlobs::open(database, Arc::clone(&random)).await?),
                )
            }
            Storage::Azure { account } => {
                let client_id = match account {
                    StorageAccount::ManagedIdentity { client_id, .. } => client_id.clone(),
                    StorageAccount::ConnectionString(_) => None,
                };
                let identity = ManagedIdentity::new(
                    http.clone(),
                    Arc::clone(&clock),
                    settings.identity_endpoint.clone(),
                    client_id,
                );
                let account = AzureAccount::new(account, settings.cloud, http.clone(), Arc::new(identity))?;
                (
                    Arc::new(AzureRows::new(&account, Arc::clone(&random))),
                    Arc::new(AzureQueues::new(&account)),
                    Arc::new(AzureBlobs::new(&account, Arc::clone(&random))),
                )
            }
        };
        let keys = Arc::new(SigningKeys::new(http.clone(), Arc::clone(&clock), &settings.entra_authority));
        let marketplace = settings.marketplace.as_ref().map(|marketplace| {
            MarketplaceClient::new(http.clone(), marketplace, &settings.entra_authority, Arc::clone(&clock))
        });
        let sign_in = settings.sign_in.clone().map(|sign_in| {
            SignInClient::new(http.clone(), sign_in, settings.absolute("/sign-in/callback"), Arc::clone(&keys))
        });
        let pages = Pages::new(&settings);
        let catalogue = catalogue(&settings.catalogue_file)?;
        let identity = Arc::new(ManagedIdentity::new(
            http.clone(),
            Arc::clone(&clock),
            settings.identity_endpoint.clone(),
            settings.identity_client_id.clone(),
        ));
        let arm = ArmClient::new(http.clone(), &settings, Arc::clone(&identity), Arc::clone(&clock));
        let analytics = AnalyticsClient::new(http.clone(), &settings, Arc::clone(&clock));
        let ai = match deployments(&settings, &catalogue)? {
            Some(list) => Some(AiClient::new(settings.ai_keys.clone(), list, Arc::clone(&identity))?),
            None => None,
        };
        let fetcher = Arc::new(outbound::Fetcher::new(settings.fetch_private_hosts.clone())?);
        let tools = Tools {
            http: http.clone(),
            fetcher: Arc::clone(&fetcher),
            clock: Arc::clone(&clock),
            authority: settings.entra_authority.clone(),
        };
        let destinations = destinations(&settings, &tools)?;
        let lead_table = lead_table(&settings, &http, &identity)?;
        let lanes = Lanes::default();
        Ok(Arc::new(Self {
            settings,
            clock,
            random,
            rows,
            queues,
            blobs,
            keys,
            marketplace,
            arm,
            analytics,
            analytics_turns: analytics::Turns::default(),
            sign_in,
            pages,
            catalogue,
            lanes,
            changes: Changes::default(),
            ai,
            fetcher,
            destinations,
            trying: Trying::default(),
            api_keys: RememberedKeys::default(),
            driven: OnceLock::new(),
            media: media::Memory::default(),
            leads: leads::Memory::default(),
            lead_table,
        }))
    }
}

/// The table that Microsoft writes leads into.
fn lead_table(
    settings: &Settings,
    http: &reqwest::Client,
    identity: &Arc<ManagedIdentity>,
) -> Result<Option<LeadTable>, StartError> {
    let Some(table) = &settings.lead_table else { return Ok(None) };
    let account = StorageAccount::ConnectionString(table.connection.clone());
    let account = AzureAccount::new(&account, settings.cloud, http.clone(), Arc::clone(identity));
    Ok(Some(LeadTable::new(&account.map_err(StartError::LeadTable)?, &table.name)))
}

/// The catalogue: the named file, or the one that comes with the product.
fn catalogue(file: &str) -> Result<Catalogue, StartError> {
    let wrong = |error: String| StartError::Catalogue(file.to_owned(), error);
    if file.is_empty() {
        return Catalogue::parse(crate::metering::BUILT_IN_CATALOGUE).map_err(|error| wrong(error.to_string()));
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    Catalogue::parse(&text).map_err(|error| wrong(error.to_string()))
}

/// The deployments of the named file; None without one.
fn deployments(settings: &Settings, catalogue: &Catalogue) -> Result<Option<Deployments>, StartError> {
    let file = &settings.ai_deployments_file;
    if file.is_empty() {
        return Ok(None);
    }
    let wrong = |error: String| StartError::Deployments(file.clone(), error);
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let known = Known {
        meters: catalogue.meters.keys().map(String::as_str).collect(),
        keys: settings.ai_keys.named.iter().map(|(name, _)| name.as_str()).collect(),
    };
    Deployments::parse(&text, &known).map(Some).map_err(|error| wrong(error.to_string()))
}

/// The lead destinations of the named file; none without one.
fn destinations(settings: &Settings, tools: &Tools) -> Result<Destinations, StartError> {
    let file = &settings.lead_destinations_file;
    if file.is_empty() {
        return Ok(Destinations::default());
    }
    let wrong = |error: String| StartError::Destinations(file.clone(), error);
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    Destinations::parse(&text, &settings.lead_keys, tools).map_err(|error| wrong(error.to_string()))
}
