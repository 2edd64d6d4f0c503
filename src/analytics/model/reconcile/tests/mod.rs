//! Nothing is found where nothing was planted, and what was planted is found with its class and nothing else.

mod world;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::*;
use world::{World, name};

const PLANTED: usize = 30;

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn where_nothing_was_planted_nothing_is_found(seed: u64) {
        let mut world = World::new(seed);
        world.post();
        world.bill();
        prop_assert_eq!(world.found(), Vec::new());
    }

    #[test]
    fn thirty_planted_differences_are_found_with_their_class_and_no_other(seed: u64) {
        let mut world = World::new(seed);
        let mut planted: Vec<(String, Class)> = Vec::new();
        // Each on a resource of its own, at any place of the list.
        let shift = usize::try_from(world.number(16)).unwrap();
        for kind in 0..PLANTED {
            planted.extend(world.plant_here(kind, kind + shift).map(|class| (name(kind + shift), class)));
        }
        world.post();
        for kind in 0..PLANTED {
            planted.extend(world.plant_there(kind, kind + shift).map(|class| (name(kind + shift), class)));
        }
        world.bill();
        for kind in 0..PLANTED {
            planted.extend(world.plant_revenue(kind, kind + shift).map(|class| (name(kind + shift), class)));
        }
        let differences = world.found();
        let mut found: Vec<(String, Class)> =
            differences.iter().map(|one| (one.resource.clone(), one.class)).collect();
        planted.sort();
        found.sort();
        prop_assert_eq!(planted.len(), PLANTED);
        prop_assert_eq!(&found, &planted);
        // A name for each, the same one in every run.
        let mut ids: Vec<&str> = differences.iter().map(|one| one.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), PLANTED);
        prop_assert_eq!(&world.found(), &differences);
    }
}

#[test]
fn a_mark_stays_while_its_difference_stays_the_same() {
    let plant = |change: fn(&mut RevenueRow)| {
        let mut world = World::new(1);
        world.post();
        world.bill();
        change(world.revenue(0));
        world.found().remove(0)
    };
    let one = plant(|row| row.amount += Decimal::ONE);
    let mark = Mark {
        of: one.state(),
        note: "a credit of March".into(),
        by: "1".into(),
        name: "Ann".into(),
        at: "2026-04-10T00:00:00Z".parse().unwrap(),
    };
    assert!(mark.holds(&plant(|row| row.amount += Decimal::ONE)));
    let other = plant(|row| row.amount += Decimal::TWO);
    assert!(one.id == other.id && !mark.holds(&other));
}
