//! What configMap, secret, downwardAPI and projected volumes hold.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, DownwardAPIVolumeFile, KeyToPath, Pod, SecretProjection, Volume, VolumeProjection,
};

use super::atomic::{File, Payload};
use crate::{
    env::Facts,
    objects::{Data, Key, Kind},
};

/// Permission bits of files whose volume names none.
const DEFAULT_MODE: i32 = 0o644;

/// A token to write, by volume and path.
pub(crate) type Tokens = HashMap<(String, String), String>;

/// Whether the volume's files come from the API, and change with it.
pub(crate) fn is_payload(volume: &Volume) -> bool {
    volume.config_map.is_some() || volume.secret.is_some() || volume.downward_api.is_some() || volume.projected.is_some()
}

/// The ConfigMaps and Secrets that `volume` shows.
pub(crate) fn references(namespace: &str, volume: &Volume) -> Vec<Key> {
    let key = |kind, name: &str| (kind, namespace.to_owned(), name.to_owned());
    let mut keys = Vec::new();
    keys.extend(volume.config_map.as_ref().map(|source| key(Kind::ConfigMap, &source.name)));
    keys.extend(volume.secret.as_ref().and_then(|source| source.secret_name.as_deref()).map(|name| key(Kind::Secret, name)));
    for source in volume.projected.iter().flat_map(|source| source.sources.iter().flatten()) {
        keys.extend(source.config_map.as_ref().map(|source| key(Kind::ConfigMap, &source.name)));
        keys.extend(source.secret.as_ref().map(|source| key(Kind::Secret, &source.name)));
    }
    keys
}

fn mode(mode: Option<i32>, default: i32) -> u32 {
    u32::try_from(mode.unwrap_or(default)).unwrap_or(0) & 0o777
}

struct Source<'a> {
    kind: Kind,
    name: &'a str,
    items: Option<&'a [KeyToPath]>,
    optional: bool,
    default_mode: i32,
}

/// Builds the files of `volume`.
///
/// # Errors
/// What is missing, in upstream's words.
pub(crate) fn build(volume: &Volume, facts: &Facts<'_>, tokens: &Tokens) -> Result<Payload, String> {
    let mut payload = Payload::new();
    if let Some(source) = &volume.config_map {
        let default_mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let optional = source.optional.unwrap_or(false);
        add(
            &mut payload,
            facts,
            &Source { kind: Kind::ConfigMap, name: &source.name, items: source.items.as_deref(), optional, default_mode },
        )?;
    } else if let Some(source) = &volume.secret {
        let default_mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        let name = source.secret_name.as_deref().unwrap_or_default();
        let optional = source.optional.unwrap_or(false);
        add(&mut payload, facts, &Source { kind: Kind::Secret, name, items: source.items.as_deref(), optional, default_mode })?;
    } else if let Some(source) = &volume.downward_api {
        let default_mode = source.default_mode.unwrap_or(DEFAULT_MODE);
        downward(&mut payload, facts, source.items.as_deref().unwrap_or_default(), default_mode)?;
    } else if let Some(projected) = &volume.projected {
        let default_mode = projected.default_mode.unwrap_or(DEFAULT_MODE);
        for source in projected.sources.iter().flatten() {
            project(&mut payload, facts, tokens, &volume.name, source, default_mode)?;
        }
    }
    Ok(payload)
}

fn project(
    payload: &mut Payload,
    facts: &Facts<'_>,
    tokens: &Tokens,
    volume: &str,
    source: &VolumeProjection,
    default_mode: i32,
) -> Result<(), String> {
    if let Some(ConfigMapProjection { name, items, optional }) = &source.config_map {
        let source =
            Source { kind: Kind::ConfigMap, name, items: items.as_deref(), optional: optional.unwrap_or(false), default_mode };
        add(payload, facts, &source)?;
    }
    if let Some(SecretProjection { name, items, optional }) = &source.secret {
        let source =
            Source { kind: Kind::Secret, name, items: items.as_deref(), optional: optional.unwrap_or(false), default_mode };
        add(payload, facts, &source)?;
    }
    if let Some(source) = &source.downward_api {
        downward(payload, facts, source.items.as_deref().unwrap_or_default(), default_mode)?;
    }
    if let Some(source) = &source.service_account_token {
        let token = tokens.get(&(volume.to_owned(), source.path.clone())).ok_or("no token was issued")?;
        payload.insert(source.path.clone(), token_file(facts.pod, token, default_mode));
    }
    Ok(())
}

/// A token is for who runs the pod's containers alone, when that is known.
fn token_file(pod: &Pod, token: &str, default_mode: i32) -> File {
    let context = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let of_pod = context.and_then(|context| context.run_as_user);
    let containers = pod.spec.iter().flat_map(|spec| spec.containers.iter().chain(spec.init_containers.iter().flatten()));
    let mut users = containers.map(|container| container.security_context.as_ref().and_then(|own| own.run_as_user).or(of_pod));
    let first = users.next().flatten();
    let owner = first.filter(|_| users.all(|user| user == first)).and_then(|user| u32::try_from(user).ok());
    let is_private = owner.is_some() || context.is_some_and(|context| context.fs_group.is_some());
    let mode = if is_private { 0o600 } else { mode(None, default_mode) };
    File { data: token.as_bytes().to_vec(), mode, owner }
}

fn add(payload: &mut Payload, facts: &Facts<'_>, source: &Source<'_>) -> Result<(), String> {
    let namespace = facts.pod.metadata.namespace.as_deref().unwrap_or("default");
    let empty = Arc::new(Data::default());
    let object = match facts.objects.get(&(source.kind, namespace.to_owned(), source.name.to_owned())) {
        Some(object) => object,
        None if source.optional => &empty,
        None => return Err(format!("{} \"{}\" not found", source.kind.lower(), source.name)),
    };
    let find = |key: &str| object.data.get(key).or_else(|| object.binary.get(key)).cloned();
    let Some(items) = source.items.filter(|items| !items.is_empty()) else {
        let all: BTreeMap<_, _> = object.binary.iter().chain(&object.data).collect();
        let mode = mode(None, source.default_mode);
        payload.extend(all.into_iter().map(|(key, data)| (key.clone(), File { data: data.clone(), mode, owner: None })));
        return Ok(());
    };
    for item in items {
        let Some(data) = find(&item.key) else {
            if source.optional {
                continue;
            }
            return Err(match source.kind {
                Kind::ConfigMap => format!("configmap references non-existent config key: {}", item.key),
                Kind::Secret => format!("references non-existent secret key: {}", item.key),
            });
        };
        payload.insert(item.path.clone(), File { data, mode: mode(item.mode, source.default_mode), owner: None });
    }
    Ok(())
}

fn downward(payload: &mut Payload, facts: &Facts<'_>, items: &[DownwardAPIVolumeFile], default_mode: i32) -> Result<(), String> {
    for item in items {
        let value = if let Some(field) = &item.field_ref {
            facts.field(&field.field_path).map_err(|error| error.to_string())?
        } else if let Some(resource) = &item.resource_field_ref {
            let name = resource.container_name.as_deref().unwrap_or_default();
            let container = container(facts, name).ok_or_else(|| format!("container {name} not found"))?;
            facts.resource(container, &resource.resource, resource.divisor.as_ref()).map_err(|error| error.to_string())?
        } else {
            continue;
        };
        payload.insert(item.path.clone(), File { data: value.into_bytes(), mode: mode(item.mode, default_mode), owner: None });
    }
    Ok(())
}

fn container<'a>(facts: &Facts<'a>, name: &str) -> Option<&'a Container> {
    let spec = facts.pod.spec.as_ref()?;
    spec.containers.iter().chain(spec.init_containers.iter().flatten()).find(|container| container.name == name)
}
