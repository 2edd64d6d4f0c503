//! Files of executions: links, parts, broken downloads.

use serde_json::json;

use super::tests::{USAGE, World};
use super::*;

#[tokio::test]
async fn a_link_is_good_for_seven_days_and_for_nobody_with_a_token() {
    let world = World::with_history().await;
    let id = world.execute_now(USAGE, json!({})).await;
    world.advance(9);
    let link = world.link(&id).await;
    assert!(link.contains("&se=2026%2D02%2D07T10%3A09%3A00Z"), "{link}");
    let status = async |link: &str| world.fetch(link).await.status().as_u16();
    assert_eq!(status(&link).await, 200);
    let with_token = world.marketplace.http.get(&link).bearer_auth(&world.token).send().await.unwrap();
    assert_eq!(with_token.status(), 403);
    assert_eq!(status(&link.replace("2026%2D02%2D07", "2026%2D02%2D08")).await, 403, "the signature covers the end");
    assert_eq!(status(link.split('?').next().unwrap()).await, 409);
    world.advance(7 * 24 * 60);
    let answer = world.fetch(&link).await;
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("Signature not valid in the specified time frame"));
    assert_eq!(status(&world.link(&id).await).await, 200, "asked again, it is fresh");
}

#[tokio::test]
async fn a_file_can_be_had_in_parts() {
    let world = World::with_history().await;
    let id = world.execute_now(USAGE, json!({})).await;
    world.advance(9);
    let link = world.link(&id).await;
    let whole = world.fetch(&link).await;
    let tag = whole.headers()["etag"].to_str().unwrap().to_owned();
    let length: usize = whole.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let whole = whole.bytes().await.unwrap();
    assert_eq!(whole.len(), length);
    let part = async |range: &str, tag: &str| {
        let request = world.marketplace.http.get(&link).header("Range", range).header("If-Match", tag);
        request.send().await.unwrap()
    };
    let answer = part("bytes=100-199", &tag).await;
    assert_eq!(answer.status(), 206);
    assert_eq!(answer.headers()["content-range"], format!("bytes 100-199/{length}").as_str());
    assert_eq!(answer.bytes().await.unwrap(), whole.slice(100..200));
    assert_eq!(part("bytes=100-", &tag).await.bytes().await.unwrap(), whole.slice(100..));
    assert_eq!(part("bytes=100-", "\"other\"").await.status(), 412);
    assert_eq!(part(&format!("bytes={length}-"), &tag).await.status(), 416);
    let head = world.marketplace.http.head(&link).send().await.unwrap();
    assert_eq!(head.headers()["content-length"], length.to_string().as_str());
}

#[tokio::test]
async fn a_large_file_is_written_to_disk_and_read_in_parts() {
    let world = World::start().await;
    let plan = AnalyticsHistory::of_usage_rows(40_000, Date::constant(2025, 1, 1));
    world.simulator().analytics().set_history(Some(plan));
    let names: Vec<&str> = Table::named("ISVUsage").columns.iter().map(|column| column.name).collect();
    let query = format!("SELECT {} FROM ISVUsage LIMIT 40000 TIMESPAN LIFETIME", names.join(","));
    let id = world.execute_now(&query, json!({})).await;
    world.advance(9);
    let link = world.link(&id).await;
    let file = world.fetch(&link).await.text().await.unwrap();
    assert!(file.len() > 16 << 20, "{}", file.len());
    assert_eq!(file.lines().count(), 40_001);
    let tail = world.marketplace.http.get(&link).header("Range", format!("bytes={}-", file.len() - 100));
    assert_eq!(tail.send().await.unwrap().text().await.unwrap(), file[file.len() - 100..]);
}

#[tokio::test]
async fn a_link_can_be_old_or_lead_elsewhere() {
    let world = World::start().await;
    let id = world.execute_now(USAGE, json!({})).await;
    world.advance(9);
    world.simulator().faults().change(|switches| switches.analytics.expired_links_next = 1);
    assert_eq!(world.fetch(&world.link(&id).await).await.status(), 403);
    world.simulator().faults().change(|switches| switches.analytics.foreign_links_next = 1);
    assert!(world.link(&id).await.starts_with("https://files.contoso.example/"));
    assert_eq!(world.fetch(&world.link(&id).await).await.status(), 200);
}

#[tokio::test]
async fn a_download_breaks_in_the_middle_and_can_go_on() {
    let world = World::with_history().await;
    let id = world.execute_now(USAGE, json!({})).await;
    world.advance(9);
    let link = world.link(&id).await;
    let whole = world.fetch(&link).await.bytes().await.unwrap();
    let faults = [DownloadFault::CutAfter(1_000), DownloadFault::Fail(500), DownloadFault::Throttle(3)];
    world.simulator().faults().change(|switches| switches.analytics.downloads.extend(faults));
    let mut broken = world.fetch(&link).await;
    assert_eq!(broken.headers()["content-length"], whole.len().to_string().as_str());
    let mut got = Vec::new();
    while let Ok(piece) = broken.chunk().await {
        got.extend_from_slice(&piece.expect("the end comes as an error"));
    }
    assert!(got.len() <= 1_000 && whole.starts_with(&got));
    assert_eq!(world.fetch(&link).await.status(), 500);
    assert_eq!(world.fetch(&link).await.headers()["retry-after"], "3");
    let rest = world.marketplace.http.get(&link).header("Range", format!("bytes={}-", got.len())).send().await.unwrap();
    got.extend_from_slice(&rest.bytes().await.unwrap());
    assert_eq!(got, whole);
}
