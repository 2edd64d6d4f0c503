//! The people of the simulated directory, and the fixed ids of the simulated publisher. Every id is stable from run to
//! run, so a test or a screenshot may name them.

use serde::Serialize;
use uuid::{Uuid, uuid};

/// The tenant in which Microsoft keeps personal accounts (marketplace contract, section 0).
pub const PERSONAL_TENANT: Uuid = uuid!("9188040d-6c67-4c5b-b112-36a304b66dad");
/// The publisher's own tenant.
pub const PUBLISHER_TENANT: Uuid = uuid!("5d1e0000-0000-4000-8000-00000000a001");
/// The app that calls the marketplace and that webhook tokens are addressed to.
pub const CLIENT_ID: Uuid = uuid!("5d1e0000-0000-4000-8000-00000000b001");
/// The app that people sign in to.
pub const SIGN_IN_CLIENT_ID: Uuid = uuid!("5d1e0000-0000-4000-8000-00000000b002");
/// The marketplace itself: audience of the publisher's access token and caller id inside a webhook token.
pub const MARKETPLACE_APP: Uuid = uuid!("20e940b3-4c77-4b0b-9a53-9e16a1b010a7");
/// Works for nothing but the simulator.
pub const CLIENT_SECRET: &str = "simulated-client-secret";
/// Works for nothing but the simulator.
pub const SIGN_IN_CLIENT_SECRET: &str = "simulated-sign-in-secret";
/// The publisher's id in Partner Center.
pub const PUBLISHER_ID: &str = "mediagenie-publisher";

const CONTOSO: Uuid = uuid!("5d1e0000-0000-4000-8000-00000000a002");
const FABRIKAM: Uuid = uuid!("5d1e0000-0000-4000-8000-00000000a003");
const NORTHWIND: Uuid = uuid!("5d1e0000-0000-4000-8000-00000000a004");

/// Somebody who can sign in. `roles` are the Entra app roles that the sign-in token carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    pub name: String,
    pub email: String,
    pub organisation: String,
    pub tenant_id: Uuid,
    pub object_id: Uuid,
    pub roles: Vec<String>,
}

impl Person {
    fn new(name: &str, email: &str, organisation: &str, tenant_id: Uuid, object_id: Uuid, roles: &[&str]) -> Self {
        Self {
            name: name.into(),
            email: email.into(),
            organisation: organisation.into(),
            tenant_id,
            object_id,
            roles: roles.iter().map(|&role| role.into()).collect(),
        }
    }

    /// Buys for Contoso: the default buyer.
    pub fn contoso_buyer() -> Self {
        let id = uuid!("5d1e0000-0000-4000-8000-00000000c001");
        Self::new("Clara Contoso", "clara@contoso.example", "Contoso", CONTOSO, id, &[])
    }

    /// Works at Contoso too, but bought nothing.
    pub fn contoso_colleague() -> Self {
        let id = uuid!("5d1e0000-0000-4000-8000-00000000c002");
        Self::new("Carl Contoso", "carl@contoso.example", "Contoso", CONTOSO, id, &[])
    }

    /// Buys for Fabrikam, another tenant.
    pub fn fabrikam_buyer() -> Self {
        let id = uuid!("5d1e0000-0000-4000-8000-00000000c003");
        Self::new("Fiona Fabrikam", "fiona@fabrikam.example", "Fabrikam", FABRIKAM, id, &[])
    }

    /// Somebody with a personal Microsoft account.
    pub fn personal() -> Self {
        let id = uuid!("00000000-0000-0000-5d1e-00000000c004");
        Self::new("Petra Personal", "petra@outlook.example", "Personal account", PERSONAL_TENANT, id, &[])
    }

    /// A cloud solution provider that buys on behalf of its customers.
    pub fn reseller() -> Self {
        let id = uuid!("5d1e0000-0000-4000-8000-00000000c005");
        Self::new("Nora Northwind", "nora@northwind.example", "Northwind (reseller)", NORTHWIND, id, &[])
    }

    /// The first staff member: named to the product by object id, not by a role.
    pub fn staff_admin() -> Self {
        let id = uuid!("5d1e0000-0000-4000-8000-00000000c006");
        Self::new("Ada Admin", "ada@mediagenie.example", "Publisher staff", PUBLISHER_TENANT, id, &[])
    }

    /// A staff member who may read and change nothing, by app role.
    pub fn staff_reader() -> Self {
        let id = uuid!("5d1e0000-0000-4000-8000-00000000c007");
        Self::new(
            "Ravi Reader",
            "ravi@mediagenie.example",
            "Publisher staff",
            PUBLISHER_TENANT,
            id,
            &["Publisher.Reader"],
        )
    }

    pub fn is_personal(&self) -> bool {
        self.tenant_id == PERSONAL_TENANT
    }
}

/// Everybody in the simulated directory, buyers first.
pub fn people() -> Vec<Person> {
    vec![
        Person::contoso_buyer(),
        Person::contoso_colleague(),
        Person::fabrikam_buyer(),
        Person::personal(),
        Person::reseller(),
        Person::staff_admin(),
        Person::staff_reader(),
    ]
}

/// The person with this address, whatever its case.
pub fn by_email(email: &str) -> Option<Person> {
    people().into_iter().find(|person| person.email.eq_ignore_ascii_case(email.trim()))
}
