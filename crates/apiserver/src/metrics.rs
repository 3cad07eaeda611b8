//! Figures about requests, watches and the store, under upstream's names where upstream has them.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

/// Upper bounds in seconds: from a read out of memory to a write on a slow disk.
const LATENCY_BUCKETS: [f64; 10] = [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    resource: String,
    code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
}

/// The server's figures.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Verb, Histogram>,
    watches: Gauge,
    revision: Gauge<u64, AtomicU64>,
}

/// A watch that is open; closes it in the figures when it is dropped.
#[derive(Debug)]
pub(crate) struct OpenWatch(Gauge);

impl Drop for OpenWatch {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Request, Counter>::default();
        let durations = Family::<Verb, Histogram>::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS));
        let watches = Gauge::default();
        let revision = Gauge::default();
        registry.register("apiserver_request", "Requests by verb, resource and code", requests.clone());
        registry.register("apiserver_request_duration_seconds", "Time to the head of the answer", durations.clone());
        registry.register("apiserver_registered_watchers", "Watches that are open", watches.clone());
        registry.register("windlass_store_revision", "Newest revision of the store", revision.clone());
        Self { registry, requests, durations, watches, revision }
    }

    /// Counts a request.
    pub(crate) fn observe(&self, verb: &'static str, resource: &str, code: u16, took: Duration) {
        // A path can name anything: what is not found is not worth a series of its own.
        let resource = if code == 404 { String::new() } else { resource.to_owned() };
        self.requests.get_or_create(&Request { verb, resource, code }).inc();
        self.durations.get_or_create(&Verb { verb }).observe(took.as_secs_f64());
    }

    /// Counts a watch for as long as what is returned lives.
    pub(crate) fn watch_opened(&self) -> OpenWatch {
        self.watches.inc();
        OpenWatch(self.watches.clone())
    }

    /// The figures as text, those of others at the end.
    pub(crate) fn encode(&self, revision: u64, others: &str) -> String {
        self.revision.set(revision);
        let mut out = String::new();
        if let Err(error) = text::encode(&mut out, &self.registry) {
            tracing::warn!(%error, "metrics cannot be written");
        }
        if let Some(end) = out.rfind("# EOF") {
            out.insert_str(end, others);
        }
        out
    }
}
