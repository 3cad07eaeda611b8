//! What was wrong in kubernetes/kubernetes once, by the number of the issue, and is not wrong here.

use expect_test::expect;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::world::{World, epoch, web};
use crate::deployment::{NameTaken, name_taken, revision_of};

fn rolled_to(versions: impl IntoIterator<Item = u32>, spec: serde_json::Value) -> World {
    let mut world = World::new(web(1, spec));
    for version in versions {
        world.set_image(&format!("v{version}"));
        world.settle();
    }
    world
}

/// Revisions were compared as text: after the tenth, going back to the ninth left the Deployment at revision 10.
#[test]
fn issue_49701_going_back_to_the_ninth_of_ten_revisions_makes_the_eleventh() {
    let mut world = rolled_to(1..=10, json!({}));
    world.set_image("v9");
    world.settle();
    assert_eq!(revision_of(&world.deployment.metadata), 11);
    expect![[r#"
        #1 (was -) v1 x0
        #2 (was -) v2 x0
        #3 (was -) v3 x0
        #4 (was -) v4 x0
        #5 (was -) v5 x0
        #6 (was -) v6 x0
        #7 (was -) v7 x0
        #8 (was -) v8 x0
        #10 (was -) v10 x0
        #11 (was 9) v9 x1"#]]
    .assert_eq(&world.history());
}

/// A ReplicaSet had the name that the template's hash gave, with a template that differed in a field that a default had filled in:
/// "already exists", for ever.
#[test]
fn issue_43948_a_name_that_is_taken_by_another_template_leads_to_another_name() {
    let mut world = rolled_to([1], json!({}));
    let (name, mut set) = world.replica_sets.pop_first().unwrap();
    set.spec.as_mut().unwrap().template.as_mut().unwrap().spec.as_mut().unwrap().host_pid = Some(true);
    let NameTaken::Collision(status) = name_taken(&world.deployment, &set) else { panic!("the template is another one") };
    world.deployment.status = Some(*status);
    world.replica_sets.insert(name.clone(), set);
    world.settle();
    assert_eq!(world.replica_sets.len(), 2);
    let new = world.replica_sets.values().find(|set| set.metadata.name.as_ref() != Some(&name)).unwrap();
    assert_eq!(crate::replica_set::replicas(new), 1);
    assert_eq!(revision_of(&world.deployment.metadata), 2);
}

/// A field that is written out with what its absence means made a second ReplicaSet of the same template; two of them took turns.
#[test]
fn issue_40415_of_two_replica_sets_with_one_template_the_oldest_is_it() {
    let mut world = rolled_to([1], json!({}));
    let mut twin = world.replica_sets.values().next().unwrap().clone();
    let template = twin.spec.as_mut().unwrap().template.as_mut().unwrap().spec.as_mut().unwrap();
    template.volumes = Some(Vec::new());
    twin.metadata.name = Some("a-younger-twin".to_owned());
    twin.metadata.uid = Some("twin-uid".to_owned());
    twin.metadata.creation_timestamp = Some(Time(epoch() + jiff::SignedDuration::from_hours(1)));
    twin.spec.as_mut().unwrap().selector.match_labels.as_mut().unwrap().insert("twin".to_owned(), "yes".to_owned());
    world.replica_sets.insert("a-younger-twin".to_owned(), twin);
    world.settle();
    let sizes: Vec<i32> = world.replica_sets.values().map(crate::replica_set::replicas).collect();
    assert_eq!(sizes, [0, 1], "the younger one is emptied");
    assert_eq!(world.replica_sets.len(), 2, "no third one is made");
}

/// The history was cut by age and not by revision: a ReplicaSet that was rolled back to is old, and was forgotten first.
#[test]
fn issue_105732_a_replica_set_that_was_rolled_back_to_is_not_the_first_to_be_forgotten() {
    let mut world = rolled_to([1, 2, 3, 1, 4], json!({"revisionHistoryLimit": 2}));
    expect![[r#"
        #3 (was -) v3 x0
        #4 (was 1) v1 x0
        #5 (was -) v4 x1"#]]
    .assert_eq(&world.history());
    // What `undo` means is the revision before: still there.
    world.set_image("v1");
    world.settle();
    assert_eq!(world.images(), ["v1"]);
    assert_eq!(revision_of(&world.deployment.metadata), 6);
}

/// Scaled to just the size that its one ReplicaSet with pods had at that moment, a Deployment took itself to be scaling for ever.
#[test]
fn issue_102551_scaling_to_the_size_that_is_there_does_not_stop_a_rollout() {
    let rolling = json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}});
    let mut world = World::new(web(5, rolling));
    world.settle();
    world.set_image("v2");
    world.sync_deployment();
    let sizes: Vec<i32> = world.replica_sets.values().map(crate::replica_set::replicas).collect();
    assert!(sizes.contains(&4) && sizes.contains(&0), "{sizes:?}");
    world.set_replicas(4);
    world.settle();
    assert_eq!((world.images(), world.active()), (vec!["v2".to_owned()], 4));
}

/// A third version with a wrong image kept pods of the second, which never had become ready.
#[test]
fn issue_50021_going_back_from_a_failed_rollout_takes_the_failed_pods_away() {
    let mut world = rolled_to([1], json!({}));
    world.set_image("broken");
    world.settle();
    world.set_image("v1");
    world.settle();
    assert_eq!((world.images(), world.active(), world.ready()), (vec!["v1".to_owned()], 1, 1));
}
