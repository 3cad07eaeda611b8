//! Single situations, and what is made of them.

use expect_test::{Expect, expect};
use serde_json::json;

use super::world::{World, web};
use crate::deployment::{Action, NameTaken, Plan, WaitingOn, creation_failed, member, name_taken};

fn summary(plan: &Plan) -> String {
    let steps = plan.steps.iter().map(|step| {
        let (verb, object) = match &step.action {
            Action::Create(object) => ("create", &**object),
            Action::Update(object) => ("update", &**object),
            Action::Delete(object) => ("delete", &**object),
        };
        let note = step.note.as_ref().map(|note| note.message.clone()).unwrap_or_default();
        format!("{verb} size {}: {:?} [{note}]", member::size_of(object), step.reason)
    });
    let mut lines: Vec<String> = steps.collect();
    lines.push(format!("waiting {:?}", plan.waiting));
    lines.push(format!("wake {:?}", plan.wake_at.map(|at| at.to_string())));
    lines.join("\n")
}

fn check(world: &World, expected: Expect) {
    expected.assert_eq(&summary(&world.plan()));
}

fn settled(replicas: i32) -> World {
    let mut world = World::new(web(replicas, json!({})));
    world.settle();
    world
}

#[test]
fn a_first_rollout() {
    let mut world = World::new(web(3, json!({})));
    check(
        &world,
        expect![[r#"
        create size 3: SurgeRoom [Scaled up replica set web-548df6b887 from 0 to 3]
        waiting [Completion]
        wake Some("2026-01-01T00:10:01Z")"#]],
    );
    world.sync_deployment();
    expect![[r#"
        Progressing=True NewReplicaSetCreated: Created new replica set "web-548df6b887"
        Available=False MinimumReplicasUnavailable: Deployment does not have minimum availability."#]]
    .assert_eq(&world.conditions());
    world.settle();
    expect![[r#"
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True NewReplicaSetAvailable: ReplicaSet "web-548df6b887" has successfully progressed."#]]
    .assert_eq(&world.conditions());
    expect!["#1 (was -) v1 x3"].assert_eq(&world.history());
    assert_eq!(world.plan().waiting, []);
}

#[test]
fn an_update_surges_first_and_takes_old_pods_as_new_ones_become_available() {
    let mut world = settled(4);
    world.set_image("v2");
    check(
        &world,
        expect![[r#"
        create size 1: SurgeRoom [Scaled up replica set web-756f99f4f8 from 0 to 1]
        update size 3: AvailableEnough [Scaled down replica set web-548df6b887 from 4 to 3]
        waiting [NewPodsAvailable { available: 0, wanted: 1 }]
        wake Some("2026-01-01T00:10:04Z")"#]],
    );
    world.sync_deployment();
    check(
        &world,
        expect![[r#"
        waiting [ReplicaSetObserved { name: "web-548df6b887" }, ReplicaSetObserved { name: "web-756f99f4f8" }, NewPodsAvailable { available: 0, wanted: 1 }]
        wake Some("2026-01-01T00:10:04Z")"#]],
    );
}

#[test]
fn back_to_an_old_template_reuses_its_replica_set_with_the_next_revision() {
    let mut world = settled(2);
    for image in ["v2", "v1", "v2"] {
        world.set_image(image);
        world.settle();
    }
    expect![[r#"
        #3 (was 1) v1 x0
        #4 (was 2) v2 x2"#]]
    .assert_eq(&world.history());
}

#[test]
fn history_is_forgotten_by_number_not_by_spelling() {
    let mut world = World::new(web(1, json!({"revisionHistoryLimit": 2})));
    world.settle();
    for version in 2..=11 {
        world.set_image(&format!("v{version}"));
        world.settle();
    }
    expect![[r#"
        #9 (was -) v9 x0
        #10 (was -) v10 x0
        #11 (was -) v11 x1"#]]
    .assert_eq(&world.history());
}

#[test]
fn a_stuck_rollout_says_so_after_its_deadline_and_recovers() {
    let mut world = settled(3);
    world.set_image("broken");
    world.settle();
    let wake_at = world.plan().wake_at.expect("a deadline");
    world.now = wake_at;
    world.sync_deployment();
    expect![[r#"
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=False ProgressDeadlineExceeded: ReplicaSet "web-5d4fff7555" has timed out progressing."#]]
    .assert_eq(&world.conditions());
    assert_eq!(world.plan().wake_at, None);
    world.set_image("v1");
    world.settle();
    expect![[r#"
        Available=True MinimumReplicasAvailable: Deployment has minimum availability.
        Progressing=True NewReplicaSetAvailable: ReplicaSet "web-548df6b887" has successfully progressed."#]]
    .assert_eq(&world.conditions());
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = settled(2);
    world.deployment.spec.as_mut().unwrap().paused = Some(true);
    world.set_image("v2");
    world.set_replicas(5);
    check(
        &world,
        expect![[r#"
        update size 5: Scale [Scaled up replica set web-548df6b887 from 2 to 5]
        waiting [Paused]
        wake None"#]],
    );
    world.settle();
    assert_eq!(world.images(), ["v1"]);
    expect![[r#"
        Progressing=Unknown DeploymentPaused: Deployment is paused
        Available=True MinimumReplicasAvailable: Deployment has minimum availability."#]]
    .assert_eq(&world.conditions());
    world.deployment.spec.as_mut().unwrap().paused = Some(false);
    world.changed();
    world.settle();
    assert_eq!(world.images(), ["v2"]);
}

#[test]
fn scaling_in_the_middle_keeps_proportions() {
    let mut world = settled(10);
    world.set_image("broken");
    world.settle();
    world.set_replicas(20);
    check(
        &world,
        expect![[r#"
        update size 10: ScaleInProportion [Scaled up replica set web-5d4fff7555 from 5 to 10]
        update size 15: ScaleInProportion [Scaled up replica set web-548df6b887 from 8 to 15]
        waiting []
        wake None"#]],
    );
}

#[test]
fn unhealthy_old_pods_go_first() {
    let mut world = settled(4);
    world.set_image("broken");
    world.settle();
    world.set_image("v3");
    world.sync_deployment();
    world.settle();
    let scaled: Vec<&str> = world.notes.iter().map(|note| note.message.as_str()).collect();
    expect![[r#"
        Scaled up replica set web-548df6b887 from 0 to 4
        Scaled up replica set web-5d4fff7555 from 0 to 1
        Scaled down replica set web-548df6b887 from 4 to 3
        Scaled up replica set web-5d4fff7555 from 1 to 2
        Scaled down replica set web-5d4fff7555 from 2 to 0
        Scaled up replica set web-7dd4699c85 from 0 to 2
        Scaled down replica set web-548df6b887 from 3 to 1
        Scaled up replica set web-7dd4699c85 from 2 to 4
        Scaled down replica set web-548df6b887 from 1 to 0"#]]
    .assert_eq(&scaled.join("\n"));
}

#[test]
fn orphans_are_adopted_and_strays_released() {
    let mut world = settled(1);
    let set = world.replica_sets.values_mut().next().unwrap();
    set.metadata.owner_references = None;
    check(
        &world,
        expect![[r#"
        update size 1: Adopt []
        waiting [Ownership]
        wake None"#]],
    );
    world.settle();
    let set = world.replica_sets.values_mut().next().unwrap();
    set.metadata.labels.as_mut().unwrap().insert("app".to_owned(), "other".to_owned());
    check(
        &world,
        expect![[r#"
        update size 1: Release []
        waiting [Ownership]
        wake None"#]],
    );
    assert_eq!(world.plan().waiting, [WaitingOn::Ownership]);
}

#[test]
fn annotations_follow_the_deployment_but_not_kubectls_own() {
    let mut world = World::new(web(1, json!({})));
    world.deployment.metadata.annotations = Some(
        [("kubernetes.io/change-cause", "first"), ("kubectl.kubernetes.io/last-applied-configuration", "{}")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    );
    world.settle();
    expect![[r#"
        Some(
            {
                "deployment.kubernetes.io/desired-replicas": "1",
                "deployment.kubernetes.io/max-replicas": "2",
                "deployment.kubernetes.io/revision": "1",
                "kubernetes.io/change-cause": "first",
            },
        )
    "#]]
    .assert_debug_eq(&world.replica_sets.values().next().unwrap().metadata.annotations);
}

#[test]
fn a_taken_name_is_ours_or_a_collision() {
    let mut world = settled(1);
    let mut set = world.replica_sets.values().next().unwrap().clone();
    assert_eq!(name_taken(&world.deployment, &set), NameTaken::Ours);
    set.metadata.owner_references = None;
    let NameTaken::Collision(status) = name_taken(&world.deployment, &set) else { panic!("not ours") };
    assert_eq!(status.collision_count, Some(1));
    let before = world.replica_sets.keys().next().unwrap().clone();
    world.replica_sets.clear();
    world.deployment.status = Some(*status);
    world.sync_deployment();
    assert!(!world.replica_sets.contains_key(&before));
}

#[test]
fn a_replica_set_that_cannot_be_made_is_a_condition_and_an_event() {
    let world = World::new(web(1, json!({})));
    let (status, note) = creation_failed(&world.deployment, "web-x", "quota", world.now);
    let condition = &status.conditions.unwrap()[0];
    assert_eq!((condition.status.as_str(), condition.reason.as_deref()), ("False", Some("ReplicaSetCreateError")));
    assert_eq!(note.message, "Failed to create new replica set \"web-x\": quota");
}

fn pause(world: &mut World) {
    world.deployment.spec.as_mut().unwrap().paused = Some(true);
    world.changed();
}

#[test]
fn under_a_pause_nothing_grows_into_the_place_of_pods_that_are_not_gone_yet() {
    let mut world = World::new(web(1, json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}})));
    world.settle();
    world.set_image("v2");
    world.sync_deployment();
    world.set_image("v3");
    pause(&mut world);
    let sizes = |world: &World| world.replica_sets.values().map(member::size_of).sum::<i32>();
    world.sync_deployment();
    assert_eq!((sizes(&world), world.active()), (0, 1));
    world.settle();
    assert_eq!((sizes(&world), world.active(), world.images()), (1, 1, vec!["v2".to_owned()]));
}

#[test]
fn a_pause_keeps_the_old_pods_though_all_new_ones_are_there() {
    let mut world = settled(1);
    world.set_image("v2");
    world.sync_deployment();
    pause(&mut world);
    world.settle();
    assert_eq!(world.images(), ["v1", "v2"]);
}
