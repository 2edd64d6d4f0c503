//! What a managed application is, and how it looks in notifications, in Azure Resource Manager and in Azure Resource
//! Graph (marketplace contract, section 6.2).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::{Uuid, uuid};

use super::super::catalogue::OFFER_ID;
use super::super::model::seven_digits;
use super::super::people::{self, Person};

/// The customer's Azure subscription, unless another is named.
const SUBSCRIPTION: Uuid = uuid!("5d1e0000-0000-4000-8000-00000000e001");
pub const TYPE: &str = "Microsoft.Solutions/applications";

/// ARM's `kind`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AppKind {
    /// Bought in the marketplace: has a plan and is billed.
    #[default]
    MarketPlace,
    /// From the customer's own service catalog: no plan, no billing, but the id of its definition.
    ServiceCatalog,
}

/// How notifications write `applicationId`: ids of ARM are equal whatever their case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdSpelling {
    #[default]
    AsDeployed,
    Upper,
    Lower,
    /// Another one in each notification.
    Changing,
}

/// ARM's `properties.provisioningState`, as far as notifications know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ProvisioningState {
    Accepted,
    Succeeded,
    Failed,
    Deleting,
    Deleted,
}

impl ProvisioningState {
    pub fn name(self) -> &'static str {
        match self {
            ProvisioningState::Accepted => "Accepted",
            ProvisioningState::Succeeded => "Succeeded",
            ProvisioningState::Failed => "Failed",
            ProvisioningState::Deleting => "Deleting",
            ProvisioningState::Deleted => "Deleted",
        }
    }
}

/// What a customer deploys, and how Azure tells of it. The default is the plan `metered` of the simulated offer.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deployment {
    /// Letters, digits and hyphens; nothing for one that is made up.
    pub name: Option<String>,
    pub subscription: Uuid,
    pub resource_group: String,
    pub region: String,
    pub kind: AppKind,
    pub plan: String,
    pub publisher: String,
    pub product: String,
    pub version: String,
    /// Without it the publisher can neither read nor list the application.
    pub publisher_access: bool,
    pub provisioning_fails: bool,
    /// How long Azure works on this and on every later step, by the business clock.
    pub provisioning_seconds: u32,
    /// Notifications write `applicationId` without its first slash, as in Microsoft's sample.
    pub no_leading_slash: bool,
    pub spelling: IdSpelling,
    /// `billingDetails` is empty until the application is provisioned; what the real service does was not observed.
    pub billing_details_late: bool,
}

impl Default for Deployment {
    fn default() -> Self {
        Self {
            name: None,
            subscription: SUBSCRIPTION,
            resource_group: "contoso-rg".into(),
            region: "westeurope".into(),
            kind: AppKind::MarketPlace,
            plan: "metered".into(),
            publisher: people::PUBLISHER_ID.into(),
            product: OFFER_ID.into(),
            version: "1.0.0".into(),
            publisher_access: true,
            provisioning_fails: false,
            provisioning_seconds: 5,
            no_leading_slash: false,
            spelling: IdSpelling::AsDeployed,
            billing_details_late: false,
        }
    }
}

impl Deployment {
    pub fn named(name: &str) -> Self {
        Self { name: Some(name.into()), ..Self::default() }
    }
}

/// A managed application, from its deployment on; it stays in the books after its deletion.
#[derive(Debug, Clone, Serialize)]
pub struct ManagedApp {
    /// `/subscriptions/…/resourceGroups/…/providers/Microsoft.Solutions/applications/…`
    pub application_id: String,
    /// What usage is sent for. A service catalog's application has none.
    pub resource_usage_id: Option<Uuid>,
    pub provisioning_state: ProvisioningState,
    pub name: String,
    pub subscription: Uuid,
    pub resource_group: String,
    pub region: String,
    pub kind: AppKind,
    pub plan: String,
    pub publisher: String,
    pub product: String,
    pub version: String,
    pub publisher_access: bool,
    pub tags: BTreeMap<String, String>,
    /// Business time.
    pub created: Timestamp,
    pub updated: Timestamp,
    /// When it succeeded for the first time.
    pub provisioned: Option<Timestamp>,
    pub deleted: Option<Timestamp>,
    /// The resource group is gone too.
    pub group_deleted: bool,
    /// Why the last step failed.
    pub error: Option<Value>,
    #[serde(skip)]
    pub(super) provisioning_seconds: u32,
    #[serde(skip)]
    pub(super) no_leading_slash: bool,
    #[serde(skip)]
    pub(super) spelling: IdSpelling,
    #[serde(skip)]
    pub(super) billing_details_late: bool,
    /// How many notifications were made.
    #[serde(skip)]
    pub(super) told: usize,
}

impl ManagedApp {
    pub(super) fn new(name: String, order: Deployment, usage_id: Uuid, now: Timestamp) -> Self {
        let (subscription, group) = (order.subscription, &order.resource_group);
        Self {
            application_id: format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{TYPE}/{name}"),
            resource_usage_id: (order.kind == AppKind::MarketPlace).then_some(usage_id),
            provisioning_state: ProvisioningState::Accepted,
            name,
            subscription,
            resource_group: order.resource_group,
            region: order.region,
            kind: order.kind,
            plan: order.plan,
            publisher: order.publisher,
            product: order.product,
            version: order.version,
            publisher_access: order.publisher_access,
            tags: BTreeMap::new(),
            created: now,
            updated: now,
            provisioned: None,
            deleted: None,
            group_deleted: false,
            error: None,
            provisioning_seconds: order.provisioning_seconds,
            no_leading_slash: order.no_leading_slash,
            spelling: order.spelling,
            billing_details_late: order.billing_details_late,
            told: 0,
        }
    }

    pub fn is_deleted(&self) -> bool {
        self.provisioning_state == ProvisioningState::Deleted
    }

    /// Whether usage of this moment may be booked: once it is provisioned, until the end. A failed update or deletion
    /// leaves the application where it is, so it goes on being metered.
    pub fn takes_usage(&self, from: Timestamp) -> bool {
        self.provisioned.is_some() && self.deleted.is_none_or(|end| from < end)
    }

    fn shown_usage_id(&self) -> Option<Uuid> {
        self.resource_usage_id.filter(|_| !self.billing_details_late || self.provisioned.is_some())
    }

    fn definition_id(&self) -> String {
        let Self { subscription, product, .. } = self;
        format!(
            "/subscriptions/{subscription}/resourceGroups/catalog-rg/providers/Microsoft.Solutions/applicationDefinitions/{product}"
        )
    }

    fn plan_view(&self) -> Value {
        json!({ "publisher": self.publisher, "product": self.product, "name": self.plan, "version": self.version })
    }

    fn spelled(&self) -> String {
        let id =
            self.application_id.strip_prefix('/').filter(|_| self.no_leading_slash).unwrap_or(&self.application_id);
        match self.spelling {
            IdSpelling::Upper => id.to_uppercase(),
            IdSpelling::Lower => id.to_lowercase(),
            IdSpelling::Changing if self.told % 3 == 1 => id.to_uppercase(),
            IdSpelling::Changing if self.told % 3 == 2 => id.to_lowercase(),
            IdSpelling::AsDeployed | IdSpelling::Changing => id.to_owned(),
        }
    }

    /// The body of a notification.
    pub(super) fn notification(&self, event_type: &str, state: ProvisioningState, at: Timestamp) -> Value {
        let mut body = json!({
            "eventType": event_type, "applicationId": self.spelled(), "eventTime": seven_digits(at),
            "provisioningState": state.name(),
        });
        match self.kind {
            AppKind::MarketPlace => {
                let id = self.shown_usage_id();
                body["billingDetails"] = id.map_or_else(|| json!({}), |id| json!({ "resourceUsageId": id }));
                body["plan"] = self.plan_view();
            }
            AppKind::ServiceCatalog => body["applicationDefinitionId"] = self.definition_id().into(),
        }
        if let Some(error) = self.error.as_ref().filter(|_| state == ProvisioningState::Failed) {
            body["error"] = error.clone();
        }
        body
    }

    /// The resource as ARM shows it.
    pub(super) fn resource(&self) -> Value {
        let buyer = Person::contoso_buyer();
        let client = json!({ "oid": buyer.object_id, "puid": "10032000000000c1", "applicationId": Uuid::nil() });
        let mut properties = json!({
            "managedResourceGroupId": format!("/subscriptions/{}/resourceGroups/mrg-{}", self.subscription, self.name),
            "parameters": {}, "outputs": {},
            "provisioningState": self.provisioning_state.name(),
            "publisherTenantId": people::PUBLISHER_TENANT,
            "authorizations": [],
            "managementMode": "Managed",
            "customerSupport": {}, "supportUrls": {}, "artifacts": [],
            "createdBy": client, "updatedBy": client,
        });
        if self.publisher_access {
            // Owner.
            let role = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635";
            properties["authorizations"] =
                json!([{ "principalId": super::identity::PRINCIPAL_ID, "roleDefinitionId": role }]);
        }
        let mut resource = json!({
            "id": self.application_id, "name": self.name, "type": TYPE, "location": self.region, "kind": self.kind,
            "identity": {
                "type": "SystemAssigned", "tenantId": buyer.tenant_id,
                "principalId": "5d1e0000-0000-4000-8000-00000000e002",
            },
            "tags": self.tags,
            "systemData": {
                "createdBy": buyer.email, "createdByType": "User", "createdAt": seven_digits(self.created),
                "lastModifiedBy": buyer.email, "lastModifiedByType": "User",
                "lastModifiedAt": seven_digits(self.updated),
            },
        });
        match self.kind {
            AppKind::MarketPlace => {
                resource["plan"] = self.plan_view();
                if let Some(id) = self.shown_usage_id() {
                    properties["billingDetails"] = json!({ "resourceUsageId": id });
                }
            }
            AppKind::ServiceCatalog => properties["applicationDefinitionId"] = self.definition_id().into(),
        }
        resource["properties"] = properties;
        resource
    }

    /// The row as Azure Resource Graph shows it: it writes types and resource groups in lower case.
    pub(super) fn row(&self) -> Value {
        let mut row = self.resource();
        if let Some(row) = row.as_object_mut() {
            row.remove("systemData");
        }
        row["type"] = TYPE.to_lowercase().into();
        row["resourceGroup"] = self.resource_group.to_lowercase().into();
        row["subscriptionId"] = json!(self.subscription);
        row["tenantId"] = json!(Person::contoso_buyer().tenant_id);
        if row.get("plan").is_none() {
            row["plan"] = Value::Null;
        }
        row
    }
}
