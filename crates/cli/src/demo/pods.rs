//! The life of each pod of the demo, as a watch sees it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use comfy_table::{Table, TableStyle};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use windlass_api::names::CONDITION_UNROUTED;

/// What can happen to a pod, in the order of the table's columns.
const MOMENTS: [&str; 6] = ["CREATED", "RUNNING", "READY", "ASKED TO GO", "UNROUTED", "GONE"];

#[derive(Debug, Default)]
struct Life {
    image: String,
    seconds: [Option<f64>; MOMENTS.len()],
}

type Record = Arc<Mutex<BTreeMap<String, Life>>>;

/// Watches the pods for as long as it lives.
#[derive(Debug)]
pub(super) struct Lives {
    record: Record,
    _watch: AbortOnDropHandle<()>,
}

impl Lives {
    pub(super) fn follow(client: Client, started: Instant) -> Self {
        let record = Record::default();
        let watch = tokio::spawn(follow(client, started, record.clone()));
        Self { record, _watch: AbortOnDropHandle::new(watch) }
    }

    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(TableStyle::new()).set_header(["POD", "IMAGE"].into_iter().chain(MOMENTS));
        let record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lives: Vec<_> = record.iter().collect();
        lives.sort_by(|(_, a), (_, b)| a.seconds[0].partial_cmp(&b.seconds[0]).unwrap_or(std::cmp::Ordering::Equal));
        for (name, life) in lives {
            let moments = life.seconds.iter().map(|seconds| seconds.map_or_else(|| "-".to_owned(), |s| format!("{s:.2}")));
            table.add_row([name.clone(), life.image.clone()].into_iter().chain(moments));
        }
        table
    }
}

async fn follow(client: Client, started: Instant, record: Record) {
    let pods: Api<Pod> = Api::default_namespaced(client);
    let mut events = watcher(pods, watcher::Config::default()).boxed();
    while let Some(event) = events.next().await {
        let now = started.elapsed().as_secs_f64();
        let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Apply(pod) | Event::InitApply(pod)) => note(record.entry(pod.name_any()).or_default(), &pod, now),
            Ok(Event::Delete(pod)) => {
                record.entry(pod.name_any()).or_default().seconds[5].get_or_insert(now);
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, "the watch on pods failed; it starts anew"),
        }
    }
}

fn note(life: &mut Life, pod: &Pod, now: f64) {
    let image = pod.spec.as_ref().and_then(|spec| spec.containers.first()).and_then(|container| container.image.clone());
    life.image = image.unwrap_or_default();
    let has = |condition: &str| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|found| found.type_ == condition && found.status == "True")
    };
    let running = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Running");
    let happened = [true, running, has("Ready"), pod.metadata.deletion_timestamp.is_some(), has(CONDITION_UNROUTED), false];
    for (moment, happened) in life.seconds.iter_mut().zip(happened) {
        if happened {
            moment.get_or_insert(now);
        }
    }
}

/// The reason and message of a container whose image cannot be had.
pub(super) fn cannot_start(pod: &Pod) -> Option<String> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find_map(|status| {
        let waiting = status.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().filter(|reason| reason.contains("Image"))?;
        Some(format!("{reason}: {}", waiting.message.as_deref().unwrap_or("no message")))
    })
}
