//! One stream of what the API says about Services, slices and pods.

use std::collections::BTreeSet;

use futures::{
    StreamExt,
    stream::{BoxStream, SelectAll, select_all},
};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api, Client, Resource,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tracing::warn;

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    Service(Change<Service>),
    Slice(Change<EndpointSlice>),
    Pod(Change<Pod>),
}

/// What became of objects of one kind.
#[derive(Debug)]
pub(super) enum Change<K> {
    Is(Box<K>),
    /// The object, or what is left of it: its namespace, name and uid.
    Gone(Identity),
    /// All that there are have been heard; the first time, and after each break of the watch.
    Complete,
}

/// What an object is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// Watches all three kinds, for ever; breaks are mended and made up for.
pub(super) fn watch(client: &Client) -> SelectAll<BoxStream<'static, Heard>> {
    select_all([stream(client, Heard::Service), stream(client, Heard::Slice), stream(client, Heard::Pod)])
}

fn stream<K>(client: &Client, hear: fn(Change<K>) -> Heard) -> BoxStream<'static, Heard>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug + Send + 'static,
{
    let mut known = Known::default();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    let changes = events.flat_map(move |event| {
        let changes = event.map(|event| known.take_in(event)).unwrap_or_else(|error| {
            warn!(kind = %K::kind(&()), %error, "a watch broke; it is started again");
            Vec::new()
        });
        futures::stream::iter(changes)
    });
    changes.map(hear).boxed()
}

/// The objects that there are, so that those which vanished during a break are missed.
#[derive(Default)]
struct Known {
    now: BTreeSet<Identity>,
    /// What was there before the break, less what was heard of since.
    before: BTreeSet<Identity>,
}

impl Known {
    fn take_in<K: Resource>(&mut self, event: watcher::Event<K>) -> Vec<Change<K>> {
        match event {
            watcher::Event::Init => {
                self.before.append(&mut self.now);
                Vec::new()
            }
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                let identity = identity(&object);
                self.before.remove(&identity);
                self.now.insert(identity);
                vec![Change::Is(Box::new(object))]
            }
            watcher::Event::Delete(object) => {
                let identity = identity(&object);
                self.now.remove(&identity);
                vec![Change::Gone(identity)]
            }
            watcher::Event::InitDone => {
                let gone = std::mem::take(&mut self.before).into_iter();
                gone.map(Change::Gone).chain([Change::Complete]).collect()
            }
        }
    }
}

fn identity<K: Resource>(object: &K) -> Identity {
    let metadata = object.meta();
    Identity {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        uid: metadata.uid.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, uid: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = Some(name.to_owned());
        pod.metadata.uid = Some(uid.to_owned());
        pod
    }

    fn show(changes: Vec<Change<Pod>>) -> Vec<String> {
        let show = |change| match change {
            Change::Is(pod) => format!("is {}", identity(&*pod).uid),
            Change::Gone(identity) => format!("gone {}", identity.uid),
            Change::Complete => "complete".to_owned(),
        };
        changes.into_iter().map(show).collect()
    }

    #[test]
    fn what_vanished_during_a_break_is_gone_after_it() {
        let mut known = Known::default();
        let mut take_in = |event| show(known.take_in(event));
        for (event, expected) in [
            (watcher::Event::Init, vec![]),
            (watcher::Event::InitApply(pod("a", "1")), vec!["is 1"]),
            (watcher::Event::InitApply(pod("b", "2")), vec!["is 2"]),
            (watcher::Event::InitDone, vec!["complete"]),
            (watcher::Event::Apply(pod("c", "3")), vec!["is 3"]),
            (watcher::Event::Delete(pod("b", "2")), vec!["gone 2"]),
            (watcher::Event::Init, vec![]),
            // Deleted and made again meanwhile.
            (watcher::Event::InitApply(pod("a", "4")), vec!["is 4"]),
            // The break is broken off by another.
            (watcher::Event::Init, vec![]),
            (watcher::Event::InitApply(pod("a", "4")), vec!["is 4"]),
            (watcher::Event::InitDone, vec!["gone 1", "gone 3", "complete"]),
        ] {
            assert_eq!(take_in(event), expected);
        }
    }
}
