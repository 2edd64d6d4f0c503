//! An address tried from here, as Partner Center does it on "Validate" (marketplace contract 7.3).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::addresses::{found, url};
use crate::app::App;
use crate::foundation::problem::Problem;

/// Ticks of .NET, of 100 ns, before 1970.
const TICKS_TO_1970: i128 = 621_355_968_000_000_000;

fn body(now: Timestamp) -> Value {
    let mark = format!("MSFT_TEST_{}", now.as_nanosecond() / 100 + TICKS_TO_1970);
    json!({
        "UserDetails": {
            "FirstName": mark, "LastName": mark, "Email": format!("{mark}@test.com"), "Phone": "1234567890",
            "Country": "US", "Company": mark, "Title": mark,
        },
        "LeadSource": "AzureMarketplace", "ActionCode": "INS", "OfferTitle": mark, "Description": mark,
    })
}

/// Sends a lead in the form of Microsoft's test to an offer's own public address. The answer is a status, or why there was
/// none.
pub async fn send_test(app: &App, offer: &str) -> Result<String, Problem> {
    let (address, _) = found(app, offer).await?;
    let now = app.clock.now();
    // The newest key is the one that is entered in Partner Center, or will be.
    let Some(newest) = address.taken(now).last() else { return Err(super::addresses::unknown()) };
    let sent = app.arm.http().post(url(app, &newest.key)).json(&body(now)).send().await;
    Ok(match sent {
        Ok(answer) => answer.status().as_u16().to_string(),
        Err(error) => error.without_url().to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leads::model::wire;

    #[test]
    fn a_test_of_ours_is_read_as_one_of_microsofts() {
        let at = Timestamp::from_second(1_772_442_000).unwrap();
        let read = wire::read(body(at).to_string().as_bytes()).unwrap();
        assert!(read.person.is_test());
        assert_eq!(read.person.first_name, "MSFT_TEST_639080388000000000");
    }
}
