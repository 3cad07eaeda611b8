//! Rollbacks that are asked for by annotation.

use serde_json::json;

use super::world::{World, web};
use crate::deployment::revision_of;

fn ask(world: &mut World, revision: &str) -> String {
    let annotations = world.deployment.metadata.annotations.get_or_insert_default();
    annotations.insert("deprecated.deployment.rollback.to".to_owned(), revision.to_owned());
    world.notes.clear();
    world.settle();
    let notes = world.notes.iter().filter(|note| note.reason.starts_with("DeploymentRollback"));
    notes.map(|note| format!("{}: {}", note.reason, note.message)).collect::<Vec<_>>().join(", ")
}

fn is_asked(world: &World) -> bool {
    world.deployment.metadata.annotations.as_ref().unwrap().contains_key("deprecated.deployment.rollback.to")
}

#[test]
fn an_annotation_asks_for_the_revision_before_with_its_annotations() {
    let mut world = World::new(web(2, json!({})));
    let cause = |text: &str| Some([("kubernetes.io/change-cause".to_owned(), text.to_owned())].into());
    world.deployment.metadata.annotations = cause("first");
    world.settle();
    assert_eq!(ask(&mut world, "0"), "DeploymentRollbackRevisionNotFound: Unable to find last revision.");
    world.deployment.metadata.annotations.as_mut().unwrap().extend::<std::collections::BTreeMap<_, _>>(cause("second").unwrap());
    world.set_image("v2");
    world.settle();
    assert_eq!(ask(&mut world, "0"), "DeploymentRollback: Rolled back deployment \"web\" to revision 1");
    assert_eq!((world.images(), revision_of(&world.deployment.metadata)), (vec!["v1".to_owned()], 3));
    assert_eq!(world.deployment.metadata.annotations.as_ref().unwrap()["kubernetes.io/change-cause"], "first");
    let unchanged =
        "DeploymentRollbackTemplateUnchanged: The rollback revision contains the same template as current deployment \"web\"";
    assert_eq!(ask(&mut world, "3"), unchanged);
    assert_eq!(ask(&mut world, "9"), "DeploymentRollbackRevisionNotFound: Unable to find the revision to rollback to.");
    assert!(!is_asked(&world));
    assert_eq!(ask(&mut world, "the last one"), "");
    assert!(is_asked(&world), "what is no number is nobody's wish");
}
