//! What pods ask for and nodes have.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, Pod, PodSpec},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::pod::{conditions, resize::Pending};

/// Amounts by resource: thousandths of a CPU, bytes, or whole units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources(BTreeMap<String, i64>);

/// What a container without requests counts as when nodes are compared, so that such pods spread too; upstream's figures.
const UNSPOKEN: [(&str, i64); 2] = [("cpu", 100), ("memory", 200 * 1024 * 1024)];

impl Resources {
    /// Reads a resource list; what is no quantity is left out, as validation refuses it.
    pub fn of_list(list: Option<&BTreeMap<String, Quantity>>) -> Self {
        let read = |(name, quantity): (&String, &Quantity)| {
            let quantity: windlass_api::quantity::Quantity = quantity.0.parse().ok()?;
            Some((name.clone(), if name == "cpu" { quantity.millis() } else { quantity.units() }))
        };
        Self(list.into_iter().flatten().filter_map(read).collect())
    }

    /// What the pod asks for: its containers together, or its hungriest init container if that is more.
    pub fn of_pod(spec: &PodSpec) -> Self {
        Self::sum(spec, &requests)
    }

    /// What a pod that is placed holds of its node. While its resources are being changed that is the most of what it asks for, was
    /// granted and has; what can never be granted does not count.
    pub fn of_placed(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let status = pod.status.as_ref();
        let statuses: Vec<&ContainerStatus> = status
            .into_iter()
            .flat_map(|status| [&status.container_statuses, &status.init_container_statuses])
            .flat_map(|list| list.iter().flatten())
            .collect();
        let pending = status.and_then(|status| conditions::find(status, conditions::RESIZE_PENDING));
        let is_infeasible = pending.is_some_and(|condition| condition.reason.as_deref() == Some(Pending::INFEASIBLE));
        Self::sum(spec, &|container| {
            let status = statuses.iter().find(|status| status.name == container.name && status.resources.is_some());
            let Some(status) = status else { return requests(container) };
            let mut held = if is_infeasible { Self::default() } else { requests(container) };
            held.raise_to(&Self::of_list(status.allocated_resources.as_ref()));
            held.raise_to(&Self::of_list(status.resources.as_ref().and_then(|resources| resources.requests.as_ref())));
            held
        })
    }

    /// The same as [`Resources::of_pod`], with upstream's stand-ins for containers that do not say.
    pub fn of_pod_for_score(spec: &PodSpec) -> Self {
        Self::sum(spec, &|container| {
            let mut asked = requests(container);
            for (name, amount) in UNSPOKEN {
                asked.0.entry(name.to_owned()).or_insert(amount);
            }
            asked
        })
    }

    fn sum(spec: &PodSpec, requests: &dyn Fn(&Container) -> Self) -> Self {
        let mut together = Self::default();
        spec.containers.iter().for_each(|container| together.add(&requests(container)));
        let (mut sidecars, mut most) = (Self::default(), Self::default());
        for container in spec.init_containers.iter().flatten() {
            let asked = requests(container);
            if container.restart_policy.as_deref() == Some("Always") {
                together.add(&asked);
                sidecars.add(&asked);
                most.raise_to(&sidecars);
            } else {
                let mut step = asked;
                step.add(&sidecars);
                most.raise_to(&step);
            }
        }
        together.raise_to(&most);
        let whole = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        together.0.extend(Self::of_list(whole).0);
        together.add(&Self::of_list(spec.overhead.as_ref()));
        together
    }

    /// Amount of one resource; 0 if absent.
    pub fn get(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    /// Every resource, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().map(|(name, amount)| (name.as_str(), *amount))
    }

    /// Adds another's amounts.
    pub fn add(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            self.change(name, *amount);
        }
    }

    /// Takes another's amounts away.
    pub fn subtract(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            self.change(name, amount.saturating_neg());
        }
    }

    fn change(&mut self, name: &str, by: i64) {
        match self.0.get_mut(name) {
            Some(amount) => *amount = amount.saturating_add(by),
            None => drop(self.0.insert(name.to_owned(), by)),
        }
    }

    fn raise_to(&mut self, other: &Self) {
        for (name, amount) in &other.0 {
            let present = self.0.entry(name.clone()).or_insert(0);
            *present = (*present).max(*amount);
        }
    }
}

fn requests(container: &Container) -> Resources {
    Resources::of_list(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}
