//! Leads that Microsoft writes into an Azure Table, against a real Azurite: each row is one arrival, however it is read.

use azure_data_tables::clients::{TableClient, TableServiceClientBuilder};
use azure_storage::{CloudLocation, ConnectionString};
use futures_util::StreamExt as _;
use jiff::SignedDuration;
use mediagenie::leads::{self, Filter, Kind};
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::azurite::Azurite;

fn table(azurite: &Azurite) -> TableClient {
    let text = azurite.connection_string();
    let parsed = ConnectionString::new(&text).unwrap();
    let uri = parsed.table_endpoint.unwrap().to_owned();
    let location = CloudLocation::Custom { account: parsed.account_name.unwrap().to_owned(), uri };
    let service = TableServiceClientBuilder::with_location(location, parsed.storage_credentials().unwrap()).build();
    service.table_client("MarketplaceLeads")
}

/// As far as it is known how Microsoft writes it.
async fn write(table: &TableClient, partition: &str, row: &str, email: &str) {
    let person = json!({ "FirstName": "Ann", "LastName": "Lee", "Email": email, "Company": "Contoso" });
    let entity = json!({
        "PartitionKey": partition, "RowKey": row, "CustomerInfo": person.to_string(), "ProductId": "contoso.media-genie",
        "ActionCode": "INS", "LeadSource": "AzureMarketplace", "Description": " ", "Extra": 5, "More": true });
    table.insert::<_, Value>(entity).unwrap().await.unwrap();
}

async fn read(app: &TestApp) {
    app.fire("ReadLeadTable").await;
    app.clock.advance(SignedDuration::from_secs(1));
    app.drain().await;
}

async fn emails(app: &TestApp) -> Vec<(String, u32)> {
    let page = leads::leads(&app.host.app, &Filter::default(), None, 10_000).await.unwrap();
    let mut found: Vec<_> = page.rows.iter().map(|line| (line.email.clone(), line.arrivals)).collect();
    found.sort();
    found
}

#[tokio::test]
async fn each_row_of_the_table_is_one_arrival_however_often_it_is_read() {
    let Some(azurite) = Azurite::start() else { return };
    let connection = azurite.connection_string();
    let settings = [("LEAD_TABLE_CONNECTION", connection.as_str())];
    let app = TestApp::with(&settings).await;
    read(&app).await;
    assert!(emails(&app).await.is_empty(), "there is no table yet");
    let table = table(&azurite);
    table.create().await.unwrap();
    for (row, email) in [("1", "a@contoso.com"), ("2", "b@contoso.com"), ("2 'x' 王", "c@contoso.com")] {
        write(&table, "p", row, email).await;
    }
    let one = |email: &str| (email.to_owned(), 1);
    let three = [one("a@contoso.com"), one("b@contoso.com"), one("c@contoso.com")];
    for _ in 0..3 {
        read(&app).await;
        assert_eq!(emails(&app).await, three);
    }
    // A restart, a clock that goes back, one that goes far ahead, a day later.
    let app = app.restart_with(&settings).await;
    for hours in [0, -48, 24 * 400, 25] {
        app.clock.advance(SignedDuration::from_hours(hours));
        read(&app).await;
        assert_eq!(emails(&app).await, three, "after {hours} hours");
    }
    write(&table, "p", "0", "d@contoso.com").await;
    write(&table, "q", "1", "a@contoso.com").await;
    read(&app).await;
    let found = emails(&app).await;
    assert_eq!(
        found,
        [("a@contoso.com".to_owned(), 2), one("b@contoso.com"), one("c@contoso.com"), one("d@contoso.com")]
    );
    let page = leads::leads(&app.host.app, &Filter::default(), None, 1).await.unwrap();
    let lead = leads::lead(&app.host.app, &page.rows[0].id).await.unwrap();
    assert_eq!(
        (lead.record.lead.offer.as_str(), lead.record.lead.action.as_str(), lead.kind),
        ("media-genie", "INS", Kind::Real)
    );
    let raw: Value = serde_json::from_slice(&lead.arrivals[0].raw.bytes()).unwrap();
    assert_eq!((raw["Extra"].clone(), raw["More"].clone()), (json!(5), json!(true)));
}

#[tokio::test]
async fn more_rows_than_one_answer_holds_are_read_and_a_failure_in_between_loses_none() {
    const ROWS: usize = 1_200;
    let Some(mut azurite) = Azurite::start() else { return };
    let connection = azurite.connection_string();
    let app = TestApp::with(&[("LEAD_TABLE_CONNECTION", connection.as_str())]).await;
    let table = table(&azurite);
    table.create().await.unwrap();
    let (table, numbers) = (&table, futures_util::stream::iter(0..ROWS));
    numbers
        .for_each_concurrent(16, |number| async move {
            write(table, &format!("p{}", number % 7), &number.to_string(), &format!("{number}@contoso.com")).await;
        })
        .await;
    // The store fails at some row: what was read before stays, and the next reading takes the rest.
    let seen = std::sync::atomic::AtomicUsize::new(0);
    app.gate.next(crate::support::gate::Act::Fail, move |table, _| {
        table.0 == "LeadArrivals" && seen.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 700
    });
    let function = app.host.functions.by_name("ReadLeadTable").unwrap();
    assert!(mediagenie::host::dispatch::timer(&app.host, function).await.is_err());
    azurite.stop();
    assert!(mediagenie::host::dispatch::timer(&app.host, function).await.is_err(), "the table is away");
    azurite.resume();
    read(&app).await;
    let found = emails(&app).await;
    assert_eq!((found.len(), found.iter().all(|(_, arrivals)| *arrivals == 1)), (ROWS, true));
}

#[tokio::test]
async fn a_person_who_looks_at_two_offers_is_two_leads_also_where_only_titles_tell_the_offers_apart() {
    let Some(azurite) = Azurite::start() else { return };
    let connection = azurite.connection_string();
    let app = TestApp::with(&[("LEAD_TABLE_CONNECTION", connection.as_str())]).await;
    let table = table(&azurite);
    table.create().await.unwrap();
    for (row, title) in [("1", "Media Genie"), ("2", "Speech Genie"), ("3", "media genie ")] {
        let entity = json!({
            "PartitionKey": "p", "RowKey": row, "CustomerInfo": json!({ "Email": "a@contoso.com" }).to_string(),
            "OfferDisplayName": title, "ActionCode": "INS" });
        table.insert::<_, Value>(entity).unwrap().await.unwrap();
    }
    read(&app).await;
    let one = |arrivals| ("a@contoso.com".to_owned(), arrivals);
    assert_eq!(emails(&app).await, [one(1), one(2)]);
}
