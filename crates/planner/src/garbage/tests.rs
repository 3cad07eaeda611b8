//! Small families and what becomes of them.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use windlass_api::kind::{apps, core};

use super::*;

fn object(uid: &str, owners: &[&str]) -> Object {
    let reference = |owner: &&str| OwnerReference {
        api_version: "apps/v1".to_owned(),
        kind: "ReplicaSet".to_owned(),
        name: (*owner).to_owned(),
        uid: (*owner).to_owned(),
        controller: None,
        block_owner_deletion: Some(true),
    };
    Object {
        kind: if owners.is_empty() { &apps::REPLICA_SET } else { &core::POD },
        namespace: "default".to_owned(),
        name: uid.to_owned(),
        uid: uid.to_owned(),
        resource_version: "1".to_owned(),
        owners: owners.iter().map(reference).collect(),
        deleting: false,
        finalizers: Vec::new(),
    }
}

fn deleting(mut object: Object, finalizer: &str) -> Object {
    object.deleting = true;
    object.finalizers = vec![finalizer.to_owned()];
    object
}

fn graph(objects: &[Object]) -> Graph {
    let mut graph = Graph::default();
    for object in objects {
        graph.set(object.clone());
    }
    graph
}

/// What happens to those objects.
fn check(graph: &Graph, examine: &BTreeSet<String>, expected: Expect) {
    let line = |step: Step| {
        let what = match step.action {
            Action::Verify { owner, .. } => format!("verify {}", owner.uid),
            Action::Delete(propagation) => format!("delete {}", propagation.as_str()),
            Action::SetOwners(owners) => format!("owners {:?}", owners.iter().map(|owner| &owner.uid).collect::<Vec<_>>()),
            Action::SetFinalizers(left) => format!("finalizers {left:?}"),
        };
        format!("{}: {what} ({:?})", step.object.name, step.reason)
    };
    let lines: Vec<String> = examine.iter().flat_map(|uid| graph.plan(uid)).map(line).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn in_the_background_dependents_go_after_their_owner() {
    let mut graph = graph(&[object("set", &[]), object("a", &["set"]), object("b", &["set", "other"]), object("other", &[])]);
    let examine = graph.remove("set");
    check(
        &graph,
        &examine,
        expect![[r#"
        a: delete Background (OwnersGone)
        b: owners ["other"] (OtherOwnerStays)"#]],
    );
}

#[test]
fn an_owner_that_is_not_known_is_looked_for_before_anything_is_deleted() {
    let mut graph = Graph::default();
    let examine = graph.set(object("a", &["set"]));
    check(&graph, &examine, expect!["a: verify set (OwnerUnknown)"]);
    graph.mark_absent("set");
    check(&graph, &examine, expect!["a: delete Background (OwnersGone)"]);
    assert_eq!(graph.set(object("set", &[])), BTreeSet::new());
}

#[test]
fn in_the_foreground_the_owner_goes_last() {
    let mut graph = graph(&[object("set", &[]), object("a", &["set"]), object("b", &["set"])]);
    let examine = graph.set(deleting(object("set", &[]), FINALIZER_FOREGROUND));
    check(
        &graph,
        &examine,
        expect![[r#"
        a: delete Background (OwnersWaiting)
        b: delete Background (OwnersWaiting)"#]],
    );
    assert_eq!(graph.remove("a"), ["set".to_owned()].into());
    check(&graph, &["set".to_owned()].into(), expect![[r#""#]]);
    graph.remove("b");
    check(&graph, &["set".to_owned()].into(), expect!["set: finalizers [] (NothingLeft)"]);
}

#[test]
fn a_chain_goes_in_the_foreground_link_by_link() {
    let mut graph = graph(&[object("top", &[]), object("middle", &["top"]), object("leaf", &["middle"])]);
    let examine = graph.set(deleting(object("top", &[]), FINALIZER_FOREGROUND));
    check(&graph, &examine, expect!["middle: delete Foreground (OwnersWaiting)"]);
}

#[test]
fn a_circle_of_owners_is_opened_where_it_closes() {
    let mut graph = graph(&[object("a", &["c"]), object("b", &["a"]), object("c", &["b"])]);
    let examine = graph.set(deleting(object("a", &["c"]), FINALIZER_FOREGROUND));
    check(&graph, &examine, expect!["b: delete Foreground (OwnersWaiting)"]);
    let examine = graph.set(deleting(object("b", &["a"]), FINALIZER_FOREGROUND));
    check(&graph, &examine, expect![[r#"c: owners ["b"] (Circle)"#]]);
    let mut open = object("c", &["b"]);
    open.owners[0].block_owner_deletion = Some(false);
    let examine = graph.set(open);
    check(
        &graph,
        &examine,
        expect![[r#"
        b: finalizers [] (NothingLeft)
        c: delete Foreground (OwnersWaiting)"#]],
    );
}

#[test]
fn an_owner_that_orphans_waits_until_it_is_forgotten() {
    let mut graph = graph(&[object("set", &[]), object("a", &["set"])]);
    let examine = graph.set(deleting(object("set", &[]), FINALIZER_ORPHAN));
    check(&graph, &examine, expect!["a: owners [] (Orphaned)"]);
    let examine = graph.set(object("a", &[]));
    check(&graph, &examine, expect!["set: finalizers [] (NothingLeft)"]);
}

#[test]
fn absence_is_forgotten_with_the_last_who_names_it() {
    let mut graph = graph(&[object("set", &[]), object("a", &["set"])]);
    graph.remove("set");
    graph.remove("a");
    assert!(!graph.is_absent("set"));
}
