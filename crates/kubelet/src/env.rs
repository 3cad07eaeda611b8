//! The environment of a container, and the `$(VAR)` in its command.

mod file;

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use k8s_openapi::{
    api::core::v1::{Container, EnvVarSource, FileKeySelector, Pod, Service},
    apimachinery::pkg::api::resource::Quantity,
};
use windlass_planner::pod::{expand::expand, resources};

use crate::{
    objects::{Data, Key, Kind},
    volumes::MountedVolumes,
};

/// What the environment is made of, besides the specs.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) pod_ips: &'a [IpAddr],
    pub(crate) host_ips: &'a [IpAddr],
    pub(crate) node_name: &'a str,
    /// What the machine has for pods, for limits that are not set.
    pub(crate) allocatable: &'a BTreeMap<String, Quantity>,
    /// Objects referred to, as far as they exist.
    pub(crate) objects: &'a HashMap<Key, Arc<Data>>,
    /// Services of the pod's namespace, and `kubernetes` of `default`.
    pub(crate) services: &'a [Arc<Service>],
}

/// Why a container cannot be configured; shown as `CreateContainerConfigError`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    #[error("{} \"{name}\" not found", kind.lower())]
    NotFound { kind: Kind, name: String },
    #[error("couldn't find key {key} in {} {namespace}/{name}", kind.name())]
    NoKey { kind: Kind, namespace: String, name: String, key: String },
    #[error("fieldPath \"{0}\" not supported")]
    Field(String),
    #[error("unsupported container resource: {0}")]
    Resource(String),
    #[error("cannot find the volume \"{0}\" referenced by FileKeyRef")]
    NoVolume(String),
    #[error("couldn't parse env file")]
    File,
    #[error("environment variable key \"{key}\" not found in file \"{path}\"")]
    NoFileKey { key: String, path: String },
}

/// The ConfigMaps and Secrets that the environment of `container` refers to.
pub(crate) fn references(namespace: &str, container: &Container) -> Vec<Key> {
    let mut keys = Vec::new();
    let mut add = |kind, name: &str| keys.push((kind, namespace.to_owned(), name.to_owned()));
    for from in container.env_from.iter().flatten() {
        if let Some(source) = &from.config_map_ref {
            add(Kind::ConfigMap, &source.name);
        }
        if let Some(source) = &from.secret_ref {
            add(Kind::Secret, &source.name);
        }
    }
    for source in container.env.iter().flatten().filter_map(|var| var.value_from.as_ref()) {
        if let Some(selector) = &source.config_map_key_ref {
            add(Kind::ConfigMap, &selector.name);
        }
        if let Some(selector) = &source.secret_key_ref {
            add(Kind::Secret, &selector.name);
        }
    }
    keys
}

impl Facts<'_> {
    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }

    /// The environment: `envFrom`, then `env` (later wins), then the services that nothing else named.
    ///
    /// # Errors
    /// A reference to an object or key that does not exist and is not optional, or to a file that cannot be read.
    pub(crate) fn environment(&self, container: &Container, mounted: &MountedVolumes) -> Result<Vec<(String, String)>, Error> {
        let services = self.service_environment();
        let mut env = Environment::default();
        for from in container.env_from.iter().flatten() {
            let prefix = from.prefix.as_deref().unwrap_or_default();
            let source = match (&from.config_map_ref, &from.secret_ref) {
                (Some(source), _) => Some((Kind::ConfigMap, &source.name, source.optional)),
                (_, Some(source)) => Some((Kind::Secret, &source.name, source.optional)),
                _ => None,
            };
            let Some((kind, name, optional)) = source else { continue };
            let Some(object) = self.object(kind, name, optional)? else { continue };
            for (key, value) in object.data.iter().filter(|(key, _)| !key.contains('=')) {
                env.set(&format!("{prefix}{key}"), String::from_utf8_lossy(value).into_owned());
            }
        }
        for var in container.env.iter().flatten() {
            let value = match &var.value_from {
                None => {
                    let lookup = |name: &str| env.get(name).or_else(|| services.get(name).map(String::as_str));
                    Some(expand(var.value.as_deref().unwrap_or_default(), lookup))
                }
                Some(source) => self.value_from(source, container, mounted)?,
            };
            if let Some(value) = value {
                env.set(&var.name, value);
            }
        }
        for (name, value) in services {
            if env.get(&name).is_none() {
                env.set(&name, value);
            }
        }
        Ok(env.vars)
    }

    /// `None` for an optional reference to what does not exist.
    fn value_from(
        &self,
        source: &EnvVarSource,
        container: &Container,
        mounted: &MountedVolumes,
    ) -> Result<Option<String>, Error> {
        if let Some(selector) = &source.field_ref {
            return self.field(&selector.field_path).map(Some);
        }
        if let Some(selector) = &source.resource_field_ref {
            return self.resource(container, &selector.resource, selector.divisor.as_ref()).map(Some);
        }
        if let Some(selector) = &source.file_key_ref {
            return file_value(selector, mounted);
        }
        let (kind, name, key, optional) = match (&source.config_map_key_ref, &source.secret_key_ref) {
            (Some(selector), _) => (Kind::ConfigMap, &selector.name, &selector.key, selector.optional),
            (_, Some(selector)) => (Kind::Secret, &selector.name, &selector.key, selector.optional),
            _ => return Ok(None),
        };
        let Some(object) = self.object(kind, name, optional)? else { return Ok(None) };
        match object.data.get(key) {
            Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
            None if optional == Some(true) => Ok(None),
            None => Err(Error::NoKey { kind, namespace: self.namespace().to_owned(), name: name.clone(), key: key.clone() }),
        }
    }

    fn object(&self, kind: Kind, name: &str, optional: Option<bool>) -> Result<Option<Arc<Data>>, Error> {
        match self.objects.get(&(kind, self.namespace().to_owned(), name.to_owned())) {
            Some(object) => Ok(Some(Arc::clone(object))),
            None if optional == Some(true) => Ok(None),
            None => Err(Error::NotFound { kind, name: name.to_owned() }),
        }
    }

    /// The value of a `resourceFieldRef`.
    pub(crate) fn resource(&self, container: &Container, resource: &str, divisor: Option<&Quantity>) -> Result<String, Error> {
        resources::field(resource, divisor, container.resources.as_ref(), self.allocatable)
            .ok_or_else(|| Error::Resource(resource.to_owned()))
    }

    /// The value of a `fieldRef`.
    pub(crate) fn field(&self, path: &str) -> Result<String, Error> {
        let meta = &self.pod.metadata;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let first = |ips: &[IpAddr]| ips.first().map(ToString::to_string).unwrap_or_default();
        let all = |ips: &[IpAddr]| ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let empty = BTreeMap::new();
        if let Some((map, key)) = path.strip_suffix("']").and_then(|path| path.split_once("['")) {
            let map = match map {
                "metadata.labels" => meta.labels.as_ref(),
                "metadata.annotations" => meta.annotations.as_ref(),
                _ => return Err(Error::Field(path.to_owned())),
            };
            return Ok(map.unwrap_or(&empty).get(key).cloned().unwrap_or_default());
        }
        Ok(match path {
            "metadata.name" => text(&meta.name),
            "metadata.namespace" => text(&meta.namespace),
            "metadata.uid" => text(&meta.uid),
            "metadata.labels" => quoted(meta.labels.as_ref().unwrap_or(&empty)),
            "metadata.annotations" => quoted(meta.annotations.as_ref().unwrap_or(&empty)),
            "spec.nodeName" => self.node_name.to_owned(),
            "spec.serviceAccountName" => {
                self.pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone()).unwrap_or_default()
            }
            "status.podIP" => first(self.pod_ips),
            "status.podIPs" => all(self.pod_ips),
            "status.hostIP" => first(self.host_ips),
            "status.hostIPs" => all(self.host_ips),
            _ => return Err(Error::Field(path.to_owned())),
        })
    }

    /// `WEB_SERVICE_HOST` and the rest; the API server is always among them.
    fn service_environment(&self) -> BTreeMap<String, String> {
        let links = self.pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
        let mut vars = BTreeMap::new();
        for service in self.services {
            let name = service.metadata.name.as_deref().unwrap_or_default();
            let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
            let is_api_server = namespace == "default" && name == "kubernetes";
            if is_api_server || (links && namespace == self.namespace()) {
                service_vars(name, service, &mut vars);
            }
        }
        vars
    }
}

fn file_value(selector: &FileKeySelector, mounted: &MountedVolumes) -> Result<Option<String>, Error> {
    let FileKeySelector { volume_name, path, key, optional } = selector;
    let volume = mounted.get(volume_name).ok_or_else(|| Error::NoVolume(volume_name.clone()))?;
    let value = file::value(&volume.path, path, key).map_err(|error| {
        tracing::debug!(%error, volume = volume_name, path, "reading variables from a file");
        Error::File
    })?;
    if value.is_none() && *optional != Some(true) {
        return Err(Error::NoFileKey { key: key.clone(), path: volume.path.join(path).display().to_string() });
    }
    Ok(value)
}

/// A map as a downward API file has it: one `key="value"` a line, quoted as Go quotes.
fn quoted(map: &BTreeMap<String, String>) -> String {
    map.iter().map(|(key, value)| format!("{key}={}", serde_json::Value::from(value.as_str()))).collect::<Vec<_>>().join("\n")
}

fn service_vars(name: &str, service: &Service, vars: &mut BTreeMap<String, String>) {
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let Some(spec) = &service.spec else { return };
    let Some(ip) = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None") else { return };
    let name = upper(name);
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    for (index, port) in spec.ports.iter().flatten().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let number = port.port;
        let url = format!("{}://{host}:{number}", protocol.to_lowercase());
        if index == 0 {
            vars.insert(format!("{name}_SERVICE_HOST"), ip.to_owned());
            vars.insert(format!("{name}_SERVICE_PORT"), number.to_string());
            vars.insert(format!("{name}_PORT"), url.clone());
        }
        if let Some(port_name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            vars.insert(format!("{name}_SERVICE_PORT_{}", upper(port_name)), number.to_string());
        }
        let prefix = format!("{name}_PORT_{number}_{protocol}");
        vars.insert(format!("{prefix}_PROTO"), protocol.to_lowercase());
        vars.insert(format!("{prefix}_PORT"), number.to_string());
        vars.insert(format!("{prefix}_ADDR"), ip.to_owned());
        vars.insert(prefix, url);
    }
}

/// Variables in the order they were first set.
#[derive(Debug, Default)]
struct Environment {
    vars: Vec<(String, String)>,
    index: HashMap<String, usize>,
}

impl Environment {
    fn get(&self, name: &str) -> Option<&str> {
        self.index.get(name).map(|index| self.vars[*index].1.as_str())
    }

    fn set(&mut self, name: &str, value: String) {
        match self.index.get(name) {
            Some(index) => self.vars[*index].1 = value,
            None => {
                self.index.insert(name.to_owned(), self.vars.len());
                self.vars.push((name.to_owned(), value));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::volumes::Mounted;

    fn check(container: serde_json::Value) -> Result<Vec<String>, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": { "name": "web", "namespace": "shop", "labels": { "app": "web" } }, "spec": { "containers": [] },
        }))
        .unwrap();
        let service = |namespace: &str, name: &str, ip: &str| -> Arc<Service> {
            let object = json!({
                "metadata": { "name": name, "namespace": namespace },
                "spec": { "clusterIP": ip, "ports": [{ "port": 80, "name": "http" }] },
            });
            Arc::new(serde_json::from_value(object).unwrap())
        };
        let config = Data { data: [("a".into(), b"1".to_vec()), ("b".into(), b"2".to_vec())].into(), ..Data::default() };
        let facts = Facts {
            pod: &pod,
            pod_ips: &["10.0.0.5".parse().unwrap()],
            host_ips: &["10.0.0.1".parse().unwrap()],
            node_name: "node",
            allocatable: &BTreeMap::new(),
            objects: &[((Kind::ConfigMap, "shop".into(), "config".into()), Arc::new(config))].into(),
            services: &[
                service("default", "kubernetes", "10.96.0.1"),
                service("other", "x", "10.96.0.2"),
                service("shop", "dead", "None"),
            ],
        };
        let container = serde_json::from_value(container).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("vars"), "NAME=value").unwrap();
        let mounted = [("v".into(), Mounted { path: directory.path().to_owned(), read_only: false, gid: None })].into();
        let env = facts.environment(&container, &mounted).map_err(|error| error.to_string())?;
        Ok(env.into_iter().filter(|(name, _)| !name.starts_with("KUBERNETES_PORT")).map(|(k, v)| format!("{k}={v}")).collect())
    }

    #[test]
    fn later_wins_and_references_are_expanded() {
        let env = check(json!({
            "name": "web",
            "envFrom": [{ "prefix": "P_", "configMapRef": { "name": "config" } }],
            "env": [
                { "name": "P_b", "value": "3" },
                { "name": "URL", "value": "http://$(KUBERNETES_SERVICE_HOST):$(P_b)/$(NOPE)" },
                { "name": "IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } },
                { "name": "APP", "valueFrom": { "fieldRef": { "fieldPath": "metadata.labels['app']" } } },
                { "name": "KEY", "valueFrom": { "configMapKeyRef": { "name": "config", "key": "a" } } },
                { "name": "FILE", "valueFrom": { "fileKeyRef": { "volumeName": "v", "path": "vars", "key": "NAME" } } },
                { "name": "NOT", "valueFrom": { "fileKeyRef": { "volumeName": "v", "path": "vars", "key": "X", "optional": true } } },
                { "name": "MAYBE", "valueFrom": { "configMapKeyRef": { "name": "gone", "key": "a", "optional": true } } },
            ],
        }));
        let expected = [
            "P_a=1",
            "P_b=3",
            "URL=http://10.96.0.1:3/$(NOPE)",
            "IP=10.0.0.5",
            "APP=web",
            "KEY=1",
            "FILE=value",
            "KUBERNETES_SERVICE_HOST=10.96.0.1",
            "KUBERNETES_SERVICE_PORT=80",
            "KUBERNETES_SERVICE_PORT_HTTP=80",
        ];
        assert_eq!(env.unwrap(), expected);
    }

    #[test]
    fn what_is_missing_is_named() {
        let one = |source: serde_json::Value| {
            check(json!({ "name": "web", "env": [{ "name": "X", "valueFrom": source }] })).unwrap_err()
        };
        assert_eq!(one(json!({ "configMapKeyRef": { "name": "gone", "key": "k" } })), "configmap \"gone\" not found");
        assert_eq!(one(json!({ "secretKeyRef": { "name": "gone", "key": "k" } })), "secret \"gone\" not found");
        assert_eq!(
            one(json!({ "configMapKeyRef": { "name": "config", "key": "k" } })),
            "couldn't find key k in ConfigMap shop/config"
        );
        let file = |volume: &str, path: &str| one(json!({ "fileKeyRef": { "volumeName": volume, "path": path, "key": "X" } }));
        assert_eq!(file("gone", "vars"), "cannot find the volume \"gone\" referenced by FileKeyRef");
        assert_eq!(file("v", "gone"), "couldn't parse env file");
        let missing = file("v", "vars");
        assert!(missing.starts_with("environment variable key \"X\" not found in file \"") && missing.ends_with("/vars\""));
    }
}
