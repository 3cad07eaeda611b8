//! What a probe or hook does once: an HTTP request, a connection, a command.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction, LifecycleHandler, Probe},
    apimachinery::pkg::util::intstr::IntOrString,
};
use tokio::time::timeout;
use windlass_planner::pod::probe;

use super::http_get;
use crate::{
    network::PodNetwork,
    runtime::{Error, Runtime},
};

/// Bytes of a command's output that a message shows, as upstream.
const MAX_OUTPUT_BYTES: usize = 10 * 1024;

/// Where a pod can be reached.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) network: Arc<dyn PodNetwork>,
    pub(crate) address: Option<IpAddr>,
}

/// How one probe went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    /// It succeeded, and there is something to say.
    Warning(String),
    Failure(String),
    /// It could not be carried out at all; counts as a failure.
    Unknown(String),
}

impl Target {
    fn socket(&self, host: Option<&str>, port: &IntOrString, container: &Container) -> Result<SocketAddr, String> {
        let port = port_number(port, container)?;
        let address = match host.filter(|host| !host.is_empty()) {
            Some("localhost") => Some(IpAddr::from([127, 0, 0, 1])),
            Some(host) => Some(host.parse().map_err(|_| format!("host {host:?} is not an IP address"))?),
            None => self.address,
        };
        Ok(SocketAddr::new(address.ok_or("the pod has no address")?, port))
    }
}

/// A port by number, or by its name among the ports of the container.
fn port_number(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| match port {
        IntOrString::String(name) => format!("couldn't find port: \"{name}\""),
        IntOrString::Int(number) => format!("invalid port number: {number}"),
    })
}

/// Carries out `spec` once, within its timeout.
pub(super) async fn probe(target: &Target, container: &Container, id: &str, spec: &Probe) -> Outcome {
    let limit = probe::timeout(spec);
    if let Some(action) = &spec.exec {
        return exec(target, id, action.command.as_deref().unwrap_or_default(), limit).await;
    }
    if let Some(action) = &spec.http_get {
        return http(target, container, action, limit, "kube-probe/1.36").await;
    }
    if let Some(action) = &spec.tcp_socket {
        let address = match target.socket(action.host.as_deref(), &action.port, container) {
            Ok(address) => address,
            Err(why) => return Outcome::Unknown(why),
        };
        return match timeout(limit, target.network.connect(address)).await {
            Ok(Ok(_)) => Outcome::Success,
            Ok(Err(error)) => Outcome::Failure(format!("dial tcp {address}: {}", http_get::connect_error(&error))),
            Err(_) => Outcome::Failure(format!("dial tcp {address}: i/o timeout")),
        };
    }
    if let Some(action) = &spec.grpc {
        let port = IntOrString::Int(action.port);
        return match target.socket(None, &port, container) {
            Ok(address) => {
                http_get::grpc(target.network.as_ref(), address, action.service.as_deref().unwrap_or_default(), limit).await
            }
            Err(why) => Outcome::Unknown(why),
        };
    }
    Outcome::Unknown(format!("missing probe handler for {}", container.name))
}

async fn http(target: &Target, container: &Container, action: &HTTPGetAction, limit: Duration, agent: &str) -> Outcome {
    match target.socket(action.host.as_deref(), &action.port, container) {
        Ok(address) => http_get::get(target.network.as_ref(), address, action, limit, agent).await,
        Err(why) => Outcome::Unknown(why),
    }
}

async fn exec(target: &Target, id: &str, command: &[String], limit: Duration) -> Outcome {
    match target.runtime.exec(id, command, limit).await {
        Ok(output) if output.exit_code == 0 => Outcome::Success,
        Ok(output) => {
            let shown = &output.output[..output.output.len().min(MAX_OUTPUT_BYTES)];
            Outcome::Failure(String::from_utf8_lossy(shown).into_owned())
        }
        Err(Error::Timeout(_)) => {
            Outcome::Failure(format!("command timed out: {command:?} timed out after {}s", limit.as_secs()))
        }
        Err(error) => Outcome::Unknown(error.to_string()),
    }
}

/// Carries out a lifecycle hook.
///
/// # Errors
/// Why it failed, for the event.
pub(crate) async fn run_hook(
    target: &Target,
    container: &Container,
    id: &str,
    hook: &LifecycleHandler,
    limit: Duration,
) -> Result<(), String> {
    let outcome = if let Some(action) = &hook.exec {
        let command = action.command.as_deref().unwrap_or_default();
        match target.runtime.exec(id, command, limit).await {
            Ok(output) if output.exit_code == 0 => Outcome::Success,
            Ok(output) => Outcome::Failure(format!(
                "command '{}' exited with {}: {}",
                command.join(" "),
                output.exit_code,
                String::from_utf8_lossy(&output.output)
            )),
            Err(error) => Outcome::Failure(error.to_string()),
        }
    } else if let Some(action) = &hook.http_get {
        // Any answer will do: a hook tells the container something, it does not ask how it is.
        match http(target, container, action, limit, "kube-lifecycle/1.36").await {
            Outcome::Failure(why) if why.starts_with("HTTP probe failed with statuscode") => Outcome::Success,
            outcome => outcome,
        }
    } else if let Some(action) = &hook.sleep {
        let seconds = Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0));
        tokio::time::sleep(seconds.min(limit)).await;
        Outcome::Success
    } else {
        Outcome::Success
    };
    match outcome {
        Outcome::Success | Outcome::Warning(_) => Ok(()),
        Outcome::Failure(why) | Outcome::Unknown(why) => Err(why),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ports_go_by_number_or_name() {
        let container: Container =
            serde_json::from_value(json!({ "name": "web", "ports": [{ "name": "http", "containerPort": 8080 }] })).unwrap();
        assert_eq!(port_number(&IntOrString::Int(80), &container), Ok(80));
        assert_eq!(port_number(&IntOrString::String("http".into()), &container), Ok(8080));
        assert_eq!(port_number(&IntOrString::String("90".into()), &container), Ok(90));
        assert!(port_number(&IntOrString::String("nope".into()), &container).is_err());
        assert!(port_number(&IntOrString::Int(70_000), &container).is_err());
    }
}
