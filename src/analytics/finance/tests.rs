//! Rows of the datasets as they are held, through reconciliations and packages: what is compared, what a restatement
//! corrects, and that the sums hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use jiff::Timestamp;
use rust_decimal::Decimal;
use tempfile::TempDir;

use super::close::Close;
use super::earlier::{Earlier, journal};
use super::{CloseOrder, Who, close, funnel, gather, outcome, package, reconcile};
use crate::analytics::model::close::{Account, File, Journal, Line, Sum};
use crate::analytics::model::month::{Day, Month};
use crate::analytics::model::piece::Packer;
use crate::analytics::model::reconcile::{Between, Class, differences};
use crate::analytics::model::value;
use crate::analytics::repo;
use crate::app::App;
use crate::foundation::clock::VirtualClock;
use crate::foundation::rng::SeededRandom;
use crate::foundation::settings::Settings;
use crate::store::{Table, Write};

const USAGE: &str = "UsageDate,MonthStartDate,OfferType,PlanId,MeterDimension,ReferenceId,CustomerCurrencyCC,PriceCC,MeteredUsage,EstimatedExtendedChargeCC";
const REVENUE: &str = "MonthStartDate,PurchaseRecordId,LineItemId,AssetId,PlanId,BillingModel,Quantity,TransactionAmountCC,PayoutStatus,TermStartDate,TermEndDate,EarningAmountPC,EarningCurrencyCode";
const ORDER: &str = "EventTimestamp,AssetId,PurchaseRecordId,OrderVersion,OrderAction,OrderStatus,OfferId,OfferName,OfferType,PlanId,Currency,IsTrial,OrderPurchaseDate";
const CLICKS: &str = "Date,OfferName,PageVisits,GetItNow";
const ASSET: &str = "11111111-aaaa-4aaa-8aaa-111111111111";

struct World {
    app: Arc<App>,
    _folder: TempDir,
}

impl World {
    async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().to_str().unwrap().to_owned();
        let settings = Settings::read(&|name| match name {
            "MARKETPLACE_MODE" => Some("false".to_owned()),
            "DATA_DIR" => Some(path.clone()),
            _ => None,
        });
        let now: Timestamp = "2026-04-10T08:00:00Z".parse().unwrap();
        let app = App::build(settings.unwrap(), Arc::new(VirtualClock::at(now)), Arc::new(SeededRandom::new(1)));
        let world = Self { app: app.await.unwrap(), _folder: folder };
        world.hold("ISVOrder", "2026-03-02", ORDER, &[
            &format!("2026-03-02T09:00:00Z,{ASSET},P1,1,Purchase,active,insights,Contoso Insights,saas,gold,EUR,true,2026-03-02"),
            &format!("2026-03-02T10:00:00Z,{ASSET},P1,2,Renew,active,insights,Contoso Insights,saas,gold,EUR,false,2026-03-02"),
        ]).await;
        world.hold("ISVMarketplaceInsights", "2026-03-05", CLICKS, &["2026-03-05,Contoso Insights,14,2"]).await;
        world
            .hold(
                "ISVRevenue",
                "2026-01-01",
                REVENUE,
                &[&format!("2026-01-01,P1,1,{ASSET},gold,SubscriptionBased,1,365,Sent,2026-01-01,2026-12-31,400,USD")],
            )
            .await;
        world.usage("2026-03-10", &[("minutes", "100", "2")]).await;
        world.usage("2026-03-12", &[("minutes", "50", "1"), ("images", "7", "0.7")]).await;
        world.usage("2026-03-20", &[("minutes", "10", "0.2")]).await;
        world.usage("2026-04-08", &[("minutes", "1", "0.02")]).await;
        world
            .revenue(&[
                &format!("2026-03-01,P2,1,{ASSET},gold,UsageBased,167,3.9,Upcoming,,,4.2,USD"),
                &format!("2026-03-01,P3,1,{ASSET},gold,SubscriptionBased,1,31,Upcoming,2026-03-16,2026-04-15,33,USD"),
            ])
            .await;
        world
    }

    /// What is held of a day from now on.
    async fn hold(&self, dataset: &'static str, day: &str, header: &str, rows: &[&str]) {
        let text = format!("{header}\n{}\n", rows.join("\n"));
        let month = day[..7].to_owned();
        let known = repo::month(&*self.app.rows, dataset, &month).await.unwrap();
        let mut held = known.map(|(held, _)| held).unwrap_or_default();
        if rows.is_empty() {
            held.days.remove(day);
        } else {
            let version = format!("v{}", text.len());
            let piece = Packer::new().unwrap().pack(rows.len(), text.as_bytes()).unwrap();
            repo::save_piece(&self.app, dataset, day, &version, 0, &piece).await.unwrap();
            let generated = "2026-04-09T00:00:00Z".parse().unwrap();
            let (rows, pieces, hash, execution) = (rows.len() as u64, 1, String::new(), "x".to_owned());
            held.days.insert(day.to_owned(), Day { version, rows, pieces, hash, execution, generated });
        }
        let Month { days, lake } = held;
        let write = Write::upsert(format!("m:{month}"), &Month { days, lake }).unwrap();
        self.app.rows.write(Table("Analytics"), dataset, vec![write]).await.unwrap();
    }

    async fn usage(&self, day: &str, rows: &[(&str, &str, &str)]) {
        let line = |(dimension, quantity, charge): &(&str, &str, &str)| {
            let price = if *dimension == "minutes" { "0.02" } else { "0.1" };
            format!("{day},{}-01,SaaS,gold,{dimension},{ASSET},EUR,{price},{quantity},{charge}", &day[..7])
        };
        let lines: Vec<String> = rows.iter().map(line).collect();
        self.hold("ISVUsage", day, USAGE, &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    async fn revenue(&self, rows: &[&str]) {
        self.hold("ISVRevenue", "2026-03-01", REVENUE, rows).await;
    }

    async fn close(&self) -> Close {
        let (_, found) = reconcile(&self.app, march(), &Who::default()).await.unwrap();
        let order = CloseOrder { month: march(), accept_open: Some(found.len()), by: Who::default() };
        close(&self.app, &order).await.unwrap()
    }

    async fn bytes(&self, close: &Close) -> Vec<u8> {
        let pieces = package::contents(Arc::clone(&self.app.blobs), close.blob.clone(), close.bytes);
        let pieces: Vec<_> = pieces.try_collect().await.unwrap();
        pieces.concat()
    }

    async fn lines(&self, close: &Close, file: File) -> Vec<Line> {
        let mut earlier = Earlier::open(&self.app, &close.blob, close.bytes, file);
        let mut lines = Vec::new();
        while let Some((_, more)) = earlier.next().await.unwrap() {
            lines.extend(more);
        }
        lines
    }

    /// By account: quantity and amount, as texts.
    async fn sums(&self, close: &Close) -> BTreeMap<String, String> {
        let journal = journal(&self.app, &close.blob, close.bytes).await.unwrap();
        let line = |(account, sum): (Account, Sum)| {
            let name = [account.account, account.plan, account.term, account.currency].join(" ");
            (name, format!("{} {}", sum.quantity, sum.amount))
        };
        journal.0.into_iter().map(line).collect()
    }

    async fn law(&self, before: &Close, after: &Close) {
        let mut sum = journal(&self.app, &before.blob, before.bytes).await.unwrap();
        for line in self.lines(after, File::Corrections).await {
            let cell = |name| line[File::Corrections.place(name).unwrap()].clone();
            let number = |name| value::number(&cell(name)).unwrap();
            let account = Account {
                account: cell("account"),
                plan: cell("plan"),
                term: cell("term"),
                currency: cell("currency"),
            };
            sum.add(account, Sum { quantity: number("quantity"), amount: number("amount") });
        }
        let now: Journal = journal(&self.app, &after.blob, after.bytes).await.unwrap();
        assert_eq!(sum, now);
    }
}

fn march() -> crate::analytics::model::calendar::Month {
    "2026-03".parse().unwrap()
}

#[tokio::test]
async fn restated_rows_are_corrections_of_the_next_package_and_the_sums_hold() {
    let world = World::new().await;
    let first = world.close().await;
    let bytes = world.bytes(&first).await;
    let sums = world.sums(&first).await;
    let expected = [
        ("billed_subscription gold  EUR", "1 31"),
        ("billed_usage gold  EUR", "167 3.9"),
        // Of the year, and of the month that began on the 16th.
        ("deferred gold P1M EUR", "0 15"),
        ("deferred gold P1Y EUR", "0 275"),
        ("earned gold P1M EUR", "0 16"),
        ("earned gold P1Y EUR", "0 31"),
        ("payout gold  USD", "0 37.2"),
        ("usage_charged gold  EUR", "167 3.9"),
    ];
    let expected: BTreeMap<String, String> =
        expected.into_iter().map(|(account, sum)| (account.to_owned(), sum.to_owned())).collect();
    assert_eq!(sums, expected);
    assert_eq!(world.lines(&first, File::Orders).await.len(), 2);

    // A day less, a day more, a day with another quantity; a transaction whose payout went on.
    world.usage("2026-03-10", &[]).await;
    world.usage("2026-03-11", &[("minutes", "3", "0.06")]).await;
    world.usage("2026-03-12", &[("minutes", "60", "1.2"), ("images", "7", "0.7")]).await;
    let usage = format!("2026-03-01,P2,1,{ASSET},gold,UsageBased,80,2.16,Sent,,,2.3,USD");
    world.revenue(&[&usage]).await;
    let second = world.close().await;
    assert_eq!((second.number, second.corrects), (2, Some(1)));
    world.law(&first, &second).await;
    let told: Vec<String> = world
        .lines(&second, File::Corrections)
        .await
        .iter()
        .filter(|line| line[0] == "usage.csv")
        .map(|line| format!("{} {} {}", line[1], &line[2][..10], line[12]))
        .collect();
    assert_eq!(told, ["removed 2026-03-10 -2", "added 2026-03-11 0.06", "changed 2026-03-12 0.2"]);
    assert_eq!(world.bytes(&first).await, bytes);
    // Back again: two packages' corrections take each other back.
    world.usage("2026-03-11", &[]).await;
    world.usage("2026-03-10", &[("minutes", "100", "2")]).await;
    let third = world.close().await;
    world.law(&second, &third).await;
}

#[tokio::test]
async fn usage_is_compared_with_revenue_and_orders_with_subscriptions() {
    let world = World::new().await;
    let (run, found) = reconcile(&world.app, march(), &Who::default()).await.unwrap();
    // Nothing of this was ever in our books.
    let count = |class, between| found.iter().filter(|one| one.class == class && one.between == between).count();
    assert_eq!(count(Class::Missing, Between::BookedUsage), 4, "{found:?}");
    assert_eq!(count(Class::Missing, Between::SubscriptionsOrders), 1);
    assert_eq!(found.len(), 5, "usage and revenue agree");
    assert_eq!(run.totals.charged["EUR"], Decimal::new(39, 1));
    let seen = outcome(&world.app, march()).await.unwrap().unwrap();
    assert_eq!((seen.open, seen.differences.len()), (5, 5));
    world.revenue(&[&format!("2026-03-01,P2,1,{ASSET},gold,UsageBased,167,7.8,Upcoming,,,4.2,USD")]).await;
    let (_, found) = reconcile(&world.app, march(), &Who::default()).await.unwrap();
    let paid: Vec<Class> =
        found.iter().filter(|one| one.between == Between::UsageRevenue).map(|one| one.class).collect();
    assert_eq!(paid, [Class::Duplicate]);
}

#[tokio::test]
async fn a_month_that_is_read_in_shares_is_the_same_as_one_that_is_read_at_once() {
    let world = World::new().await;
    let line = |number: u64| {
        let asset = format!("22222222-aaaa-4aaa-8aaa-{number:012}");
        format!(
            "2026-03-14,2026-03-01,SaaS,gold,minutes,{asset},EUR,0.02,{number},{}",
            Decimal::new(2, 2) * Decimal::from(number)
        )
    };
    let lines: Vec<String> = (1..=20).map(line).collect();
    world.hold("ISVUsage", "2026-03-14", USAGE, &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut all = Vec::new();
    for most_rows in [u64::MAX, 5, 1] {
        let (sides, of_orders) = gather::gather_by(&world.app, march(), most_rows).await.unwrap();
        all.push((differences(sides), of_orders));
    }
    // Four of the world itself, and twenty that nobody has booked and nobody pays for.
    assert_eq!(all[0].0.1.len(), 4 + 20 + 20);
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:#?}");
}

#[tokio::test]
async fn the_funnel_counts_each_step_from_its_own_source() {
    let world = World::new().await;
    let funnel = funnel(&world.app, march()).await.unwrap();
    assert_eq!(funnel.offers.len(), 1);
    let (offer, steps) = (&funnel.offers[0].offer, &funnel.offers[0].steps);
    assert_eq!((offer.as_str(), steps.page_visits, steps.get_it_now), ("insights", 14.into(), Decimal::TWO));
    assert_eq!((steps.purchases, steps.trials, steps.leads), (1, 1, 0));
}
