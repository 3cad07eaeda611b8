//! Pods may be no less secure than the labels of their namespace ask, and who makes a template of others is warned.

use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use windlass_api::{
    kind,
    pod_security::{Level, LevelVersion, Pod, Policy, Survey, by_controller, changes_what_counts, template},
    status::Status,
};

use super::lifecycle;
use crate::{call::Call, duration, metadata, registry::record};

/// As upstream: so many pods of a namespace are looked at when more is asked of them.
const MAX_PODS: usize = 3000;
/// As upstream: so long.
const PATIENCE: Duration = Duration::from_secs(1);
/// About a millisecond's work; then others have their turn.
const PODS_A_TURN: usize = 64;

/// Judges what was made, or what a change made of `old`.
///
/// # Errors
/// 403 for a pod that the policy of its namespace does not let be, 422 for a namespace with labels that mean nothing.
pub(super) async fn admit(call: &Call, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    match (call.kind.group, call.kind.plural, call.subresource.as_str()) {
        ("", "pods", "" | "ephemeralcontainers" | "resize") => of_pod(call, new, old).await,
        ("", "namespaces", "") => of_namespace(call, new, old).await,
        (group, plural, "") => match template(group, plural, new) {
            Some(template) => warn(call, policy(call).await?.warn, template),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

async fn of_pod(call: &Call, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let Policy { enforce, warn: warned } = policy(call).await?;
    let pod = Pod::of(new);
    if enforce.level.max(warned.level) == Level::Privileged || old.is_some_and(|old| !changes_what_counts(pod, Pod::of(old))) {
        return Ok(());
    }
    let violations = enforce.violations(pod);
    if !violations.is_empty() {
        let why = format!("violates PodSecurity \"{enforce}\": {violations}");
        return Err(Status::forbidden(call.kind.resource(), metadata::text(new, "name"), &why));
    }
    if warned == enforce { Ok(()) } else { warn(call, warned, pod) }
}

fn warn(call: &Call, level: LevelVersion, pod: Pod<'_>) -> Result<(), Status> {
    let violations = level.violations(pod);
    if !violations.is_empty() {
        call.warn(format!("would violate PodSecurity \"{level}\": {violations}"));
    }
    Ok(())
}

async fn policy(call: &Call) -> Result<Policy, Status> {
    // Labels that mean nothing were refused when they were written, or are older than their meaning: they ask for the most.
    let (policy, _) = Policy::of(&lifecycle::home(call).await?["metadata"]["labels"]);
    Ok(policy)
}

/// New labels must mean something; and where they ask for more, the pods that are there are looked at.
async fn of_namespace(call: &Call, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    let (policy, errors) = Policy::of(&new["metadata"]["labels"]);
    let before = old.map(|old| Policy::of(&old["metadata"]["labels"]));
    let are_new = before.as_ref().is_none_or(|(_, before)| *before != errors);
    let name = metadata::text(new, "name");
    if !errors.is_empty() && are_new {
        return Err(Status::invalid(call.kind.group, call.kind.kind, name, &errors));
    }
    let Some((before, _)) = before else { return Ok(()) };
    let (now, before) = (policy.enforce, before.enforce);
    let is_relaxed = now.version == before.version && now.level <= before.level;
    if now.level != Level::Privileged && !is_relaxed {
        survey(call, name, now).await.into_iter().for_each(|line| call.warn(line));
    }
    Ok(())
}

/// What the level has against the pods of a namespace.
async fn survey(call: &Call, namespace: &str, level: LevelVersion) -> Vec<String> {
    let deadline = Instant::now() + patience(call);
    let kind = kind::find("", "v1", "pods").expect("the table has it");
    let Ok(entries) = call.server.registry.entries(kind, namespace).await else {
        return vec!["failed to list pods while checking new PodSecurity enforce level".to_owned()];
    };
    let mut pods = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        pause(index).await;
        pods.extend(record::decode(entry));
        if Instant::now() >= deadline {
            break;
        }
    }
    let mut survey = Survey::of(level);
    for (index, pod) in by_controller(pods).iter().take(MAX_PODS).enumerate() {
        pause(index).await;
        survey.see(pod);
        if Instant::now() >= deadline {
            break;
        }
    }
    survey.warnings(namespace, entries.len())
}

/// How long pods are looked at: at most half of the time that the client has.
fn patience(call: &Call) -> Duration {
    let asked = call.query.get("timeout").and_then(|text| duration::seconds(text).ok()).filter(|seconds| *seconds > 0.0);
    asked.map_or(PATIENCE, |seconds| PATIENCE.min(Duration::from_secs_f64(seconds / 2.0)))
}

async fn pause(done: usize) {
    if done % PODS_A_TURN == PODS_A_TURN - 1 {
        tokio::task::yield_now().await;
    }
}
