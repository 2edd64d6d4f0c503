//! How a product reaches the simulated systems of sales: addresses, keys, and a whole file of destinations.

use serde::Serialize;
use serde_json::{Value, json};

use super::{dynamics, hubspot, salesforce, teams};
use crate::simulator::Simulator;

/// The values by which a product reaches the simulated systems of sales.
#[derive(Debug, Clone, Serialize)]
pub struct CrmConfig {
    pub dynamics_url: String,
    pub dynamics_authority: String,
    pub tenant: String,
    pub dynamics_client_id: String,
    pub dynamics_secret: String,
    pub salesforce_url: String,
    pub salesforce_client_id: String,
    pub salesforce_secret: String,
    pub hubspot_url: String,
    pub hubspot_token: String,
    pub teams_address: String,
}

impl Simulator {
    pub fn crm_config(&self) -> CrmConfig {
        let base = self.base_url();
        CrmConfig {
            dynamics_url: format!("{base}/crm/dynamics"),
            dynamics_authority: format!("{base}/crm/login"),
            tenant: dynamics::TENANT.to_owned(),
            dynamics_client_id: dynamics::CLIENT_ID.to_owned(),
            dynamics_secret: dynamics::SECRET.to_owned(),
            salesforce_url: format!("{base}/crm/salesforce"),
            salesforce_client_id: salesforce::CLIENT_ID.to_owned(),
            salesforce_secret: salesforce::SECRET.to_owned(),
            hubspot_url: format!("{base}/crm/hubspot"),
            hubspot_token: hubspot::TOKEN.to_owned(),
            teams_address: format!("{base}/crm/teams/workflows/leads/triggers/manual/paths/invoke?{}", teams::QUERY),
        }
    }
}

impl CrmConfig {
    /// `LEAD_KEYS`.
    pub fn keys(&self) -> String {
        format!(
            "dynamics={}, salesforce={}, hubspot={}, teams={}",
            self.dynamics_secret, self.salesforce_secret, self.hubspot_token, self.teams_address
        )
    }

    /// One destination of each kind, as the file has them.
    pub fn destinations(&self) -> Vec<Value> {
        vec![
            json!({ "name": "dynamics", "kind": "dynamics", "url": self.dynamics_url, "authority": self.dynamics_authority,
                "tenant": self.tenant, "client_id": self.dynamics_client_id, "key": "dynamics" }),
            json!({ "name": "salesforce", "kind": "salesforce", "url": self.salesforce_url,
                "client_id": self.salesforce_client_id, "key": "salesforce" }),
            json!({ "name": "hubspot", "kind": "hubspot", "url": self.hubspot_url, "key": "hubspot", "portal": "4711" }),
            json!({ "name": "teams", "kind": "teams", "key": "teams" }),
        ]
    }

    /// `LEAD_DESTINATIONS_FILE` of the demo: sales and their chat.
    pub fn demo(&self) -> Value {
        let chosen = |entry: &Value| entry["name"] == "dynamics" || entry["name"] == "teams";
        json!({ "destinations": self.destinations().into_iter().filter(chosen).collect::<Vec<_>>() })
    }
}
