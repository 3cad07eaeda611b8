//! What became of requests on the HTTP path, as families of metrics.

use std::{collections::BTreeMap, fmt::Write as _};

use crate::holder::{BOUNDS_MILLISECONDS, HttpCounts};

/// A Service port, and a revision of its pods.
type Key = (String, String, String, String);

/// Words the counts in the OpenMetrics text format, without the mark of its end: requests, failures and latency of each Service port
/// and revision. A revision is the `pod-template-hash` or `controller-revision-hash` of the pods; it is empty for requests that no
/// pod took.
#[must_use]
pub fn figures(counts: &[HttpCounts]) -> String {
    let mut sums: BTreeMap<Key, HttpCounts> = BTreeMap::new();
    for counted in counts {
        let Some(key) = key(counted) else { continue };
        // A Service may have one route for clients inside and one for those outside.
        let sum = sums.entry(key).or_default();
        sum.requests += counted.requests;
        sum.failures += counted.failures;
        sum.microseconds += counted.microseconds;
        sum.buckets.resize(BOUNDS_MILLISECONDS.len(), 0);
        sum.buckets.iter_mut().zip(&counted.buckets).for_each(|(sum, counted)| *sum += counted);
    }
    let mut text = String::new();
    write(&mut text, &sums).expect("a string takes whatever is written to it");
    text
}

fn write(text: &mut String, sums: &BTreeMap<Key, HttpCounts>) -> std::fmt::Result {
    const REQUESTS: &str = "windlass_service_http_requests";
    const FAILURES: &str = "windlass_service_http_request_failures";
    const DURATION: &str = "windlass_service_http_request_duration_seconds";
    let labels = |(namespace, service, port, revision): &Key| {
        format!("namespace=\"{namespace}\",service=\"{service}\",port=\"{port}\",revision=\"{revision}\"")
    };
    for (name, help, value) in [
        (REQUESTS, "Requests of HTTP ports that were answered", (|sum| sum.requests) as fn(&HttpCounts) -> u64),
        (FAILURES, "Requests of HTTP ports that were answered with a status of 500 or above", |sum| sum.failures),
    ] {
        writeln!(text, "# HELP {name} {help}.\n# TYPE {name} counter")?;
        for (key, sum) in sums {
            writeln!(text, "{name}_total{{{}}} {}", labels(key), value(sum))?;
        }
    }
    writeln!(text, "# HELP {DURATION} Time from the head of a request to the head of its answer.\n# TYPE {DURATION} histogram")?;
    writeln!(text, "# UNIT {DURATION} seconds")?;
    for (key, sum) in sums {
        let labels = labels(key);
        for (bound, count) in BOUNDS_MILLISECONDS.iter().zip(&sum.buckets) {
            writeln!(text, "{DURATION}_bucket{{{labels},le=\"{:?}\"}} {count}", seconds(*bound, 1000))?;
        }
        writeln!(text, "{DURATION}_bucket{{{labels},le=\"+Inf\"}} {}", sum.requests)?;
        writeln!(text, "{DURATION}_sum{{{labels}}} {:?}", seconds(sum.microseconds, 1_000_000))?;
        writeln!(text, "{DURATION}_count{{{labels}}} {}", sum.requests)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are three centuries")]
fn seconds(value: u64, parts: u64) -> f64 {
    value as f64 / parts as f64
}

/// From `namespace/service/tcp/port`, which may go on; names of Kubernetes need no escapes.
fn key(counted: &HttpCounts) -> Option<Key> {
    let mut parts = counted.route.split('/');
    let (namespace, service, _, port) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    Some((namespace.to_owned(), service.to_owned(), port.to_owned(), counted.revision.clone()))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn both_routes_of_a_port_are_one_series() {
        let counts = |route: &str, requests, buckets: [u64; 2]| HttpCounts {
            route: route.to_owned(),
            revision: "7d4f".to_owned(),
            requests,
            failures: 1,
            microseconds: 1500 * requests,
            buckets: buckets.to_vec(),
        };
        let text = figures(&[counts("shop/web/tcp/http", 3, [2, 3]), counts("shop/web/tcp/http/external", 2, [1, 2])]);
        let start: Vec<_> = text.lines().filter(|line| !line.contains("le=\"") || line.contains("le=\"0.0")).collect();
        expect![[r#"
            # HELP windlass_service_http_requests Requests of HTTP ports that were answered.
            # TYPE windlass_service_http_requests counter
            windlass_service_http_requests_total{namespace="shop",service="web",port="http",revision="7d4f"} 5
            # HELP windlass_service_http_request_failures Requests of HTTP ports that were answered with a status of 500 or above.
            # TYPE windlass_service_http_request_failures counter
            windlass_service_http_request_failures_total{namespace="shop",service="web",port="http",revision="7d4f"} 2
            # HELP windlass_service_http_request_duration_seconds Time from the head of a request to the head of its answer.
            # TYPE windlass_service_http_request_duration_seconds histogram
            # UNIT windlass_service_http_request_duration_seconds seconds
            windlass_service_http_request_duration_seconds_bucket{namespace="shop",service="web",port="http",revision="7d4f",le="0.005"} 3
            windlass_service_http_request_duration_seconds_bucket{namespace="shop",service="web",port="http",revision="7d4f",le="0.01"} 5
            windlass_service_http_request_duration_seconds_bucket{namespace="shop",service="web",port="http",revision="7d4f",le="0.025"} 0
            windlass_service_http_request_duration_seconds_bucket{namespace="shop",service="web",port="http",revision="7d4f",le="0.05"} 0
            windlass_service_http_request_duration_seconds_sum{namespace="shop",service="web",port="http",revision="7d4f"} 0.0075
            windlass_service_http_request_duration_seconds_count{namespace="shop",service="web",port="http",revision="7d4f"} 5"#]]
        .assert_eq(&start.join("\n"));
    }
}
