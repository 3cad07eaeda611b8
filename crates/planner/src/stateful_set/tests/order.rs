//! In which order pods go.

use std::sync::Arc;

use serde_json::json;

use super::{BROKEN, World, stateful_set};
use crate::stateful_set::WaitingOn;

#[test]
fn in_order_a_set_that_shrinks_waits_for_ill_pods_but_the_lowest() {
    let mut world = World::new(stateful_set(3, "a", json!({})));
    world.settle();
    let heal = |world: &mut World, names: &[&str], ready: bool| {
        for name in names {
            let pod = Arc::make_mut(world.pods.get_mut(*name).unwrap());
            let condition = &mut pod.status.as_mut().unwrap().conditions.as_mut().unwrap()[0];
            condition.status = if ready { "True" } else { "False" }.to_owned();
        }
    };
    heal(&mut world, &["db-0", "db-1", "db-2"], false);
    world.set.spec.as_mut().unwrap().replicas = Some(0);
    assert_eq!(world.plan().steps, []);
    assert_eq!(world.plan().waiting, [WaitingOn::Available { pod: "db-2".to_owned() }]);
    heal(&mut world, &["db-1", "db-2"], true);
    world.act();
    assert!(!world.pods.contains_key("db-2"), "the highest goes");
    world.set.spec.as_mut().unwrap().replicas = Some(1);
    heal(&mut world, &["db-0"], true);
    heal(&mut world, &["db-1"], false);
    world.act();
    assert!(!world.pods.contains_key("db-1"), "the only ill one is what is given up");
}

#[test]
fn pods_of_a_broken_revision_hold_up_nothing_that_shrinks() {
    let mut world = World::new(stateful_set(3, BROKEN, json!({})));
    world.set.spec.as_mut().unwrap().pod_management_policy = Some("Parallel".to_owned());
    world.settle();
    world.set.spec.as_mut().unwrap().pod_management_policy = Some("OrderedReady".to_owned());
    world.set_image("a");
    world.set.spec.as_mut().unwrap().replicas = Some(1);
    world.settle();
    assert_eq!(world.images(), "a");
}
