//! `outdated` tells what is newer than the lock, and writes nothing.

use std::fs;

use serde_json::{Value, json};

use crate::support::World;
use crate::support::wheel::Wheel;

#[test]
fn newer_versions_are_told_as_the_recipe_allows_them_and_at_all() {
    let mut world = World::new();
    world.publish(Wheel::new("demo", "1.0").requires("helper<3"));
    world.publish(Wheel::new("helper", "2.5"));
    world.recipe("packages: [demo==1.0]\n");
    assert_eq!(world.run(&["lock", "recipe.yaml"]).code, 0);
    let lock = fs::read(world.path("recipe.lock")).unwrap();
    let outdated = |world: &World| {
        let outcome = world.run(&["outdated", "recipe.yaml", "--json"]);
        assert_eq!(outcome.code, 0, "{outcome}");
        serde_json::from_str::<Value>(&outcome.stdout).unwrap()
    };
    assert_eq!(outdated(&world), json!([]));
    world.publish(Wheel::new("helper", "2.6"));
    world.publish(Wheel::new("helper", "3.0"));
    world.publish(Wheel::new("helper", "4.0rc1"));
    world.publish_listed(Wheel::new("demo", "3.0"), |file| file["yanked"] = json!("wrong"));
    world.publish(Wheel::new("demo", "2.0"));
    let item = |name: &str, locked: &str, allowed: &str, newest: &str| json!({"kind": "distribution", "name": name, "locked": locked, "allowed": allowed, "newest": newest});
    let expected = json!([item("demo", "1.0", "1.0", "2.0"), item("helper", "2.5", "2.6", "3.0")]);
    assert_eq!(outdated(&world), expected);
    let table = world.run(&["outdated", "recipe.yaml"]);
    assert!(table.stdout.contains("helper  2.5     2.6      3.0"), "{table}");
    assert_eq!(fs::read(world.path("recipe.lock")).unwrap(), lock, "the lock was written");
}

#[test]
fn without_a_lock_there_is_nothing_to_compare() {
    let world = World::new();
    world.recipe("packages: [wholesome]\n");
    world.run(&["outdated", "recipe.yaml"]).check_failure(2, &["lock"]);
}
