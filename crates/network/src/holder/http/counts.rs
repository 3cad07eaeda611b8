//! What became of requests, by revision.

use std::{collections::BTreeMap, time::Duration};

use crate::holder::protocol::HttpCounts;

/// Upper bounds of the latency histogram, in milliseconds; as Prometheus' own defaults.
pub(crate) const BOUNDS_MILLISECONDS: [u64; 11] = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];

/// Revisions of a route that are remembered: more than any history keeps.
const MAX_REVISIONS: usize = 100;

#[derive(Default)]
pub(super) struct Counts {
    by_revision: BTreeMap<String, HttpCounts>,
}

impl Counts {
    /// Takes in one answer; `failed` for those that the server is to blame for.
    pub(super) fn add(&mut self, revision: &str, failed: bool, took: Duration) {
        if self.by_revision.len() >= MAX_REVISIONS && !self.by_revision.contains_key(revision) {
            self.by_revision.pop_first();
        }
        let counts = self.by_revision.entry(revision.to_owned()).or_default();
        counts.requests += 1;
        counts.failures += u64::from(failed);
        counts.microseconds += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counts.buckets.resize(BOUNDS_MILLISECONDS.len(), 0);
        for (bucket, bound) in counts.buckets.iter_mut().zip(BOUNDS_MILLISECONDS) {
            *bucket += u64::from(took <= Duration::from_millis(bound));
        }
    }

    pub(super) fn all(&self, route: &str) -> Vec<HttpCounts> {
        let named = |(revision, counts): (&String, &HttpCounts)| HttpCounts {
            route: route.to_owned(),
            revision: revision.clone(),
            ..counts.clone()
        };
        self.by_revision.iter().map(named).collect()
    }
}
