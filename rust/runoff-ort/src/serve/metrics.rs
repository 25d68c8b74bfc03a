//! Counts of a server's requests, in the text format of Prometheus.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Upper bounds of durations, in seconds.
const SECONDS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];

/// Upper bounds of the numbers of requests in a batch.
const SIZES: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0];

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    by_status: BTreeMap<u16, u64>,
    durations: Histogram<{ SECONDS.len() }>,
    batches: Histogram<{ SIZES.len() }>,
}

#[derive(Debug)]
struct Histogram<const N: usize> {
    /// Number of values up to each bound, and above the one before.
    buckets: [u64; N],
    count: u64,
    sum: f64,
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Self {
        Self { buckets: [0; N], count: 0, sum: 0.0 }
    }
}

impl<const N: usize> Histogram<N> {
    fn add(&mut self, bounds: &[f64; N], value: f64) {
        if let Some(index) = bounds.iter().position(|&bound| value <= bound) {
            self.buckets[index] += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, text: &mut String, name: &str, help: &str, bounds: &[f64; N]) -> std::fmt::Result {
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        let mut below = 0;
        for (bound, count) in bounds.iter().zip(self.buckets) {
            below += count;
            writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {below}")?;
        }
        let Self { count, sum, .. } = self;
        writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum}\n{name}_count {count}")
    }
}

impl Metrics {
    /// Counts a response of an inference, and if it was computed, the size of its batch.
    pub fn count(&self, status: u16, took: Duration, batch: Option<u32>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.by_status.entry(status).or_default() += 1;
        counts.durations.add(&SECONDS, took.as_secs_f64());
        if let Some(batch) = batch {
            counts.batches.add(&SIZES, batch.into());
        }
    }

    /// All counts, and the number of requests that wait.
    pub fn text(&self, waiting: usize) -> String {
        let mut text = String::new();
        // writing to a string does not fail
        let _ = self.write(&mut text, waiting);
        text
    }

    fn write(&self, text: &mut String, waiting: usize) -> std::fmt::Result {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = "runoff_requests_total";
        writeln!(text, "# HELP {name} Responses to POST /infer, by status.\n# TYPE {name} counter")?;
        for (status, count) in &counts.by_status {
            writeln!(text, "{name}{{status=\"{status}\"}} {count}")?;
        }
        let (name, help) = ("runoff_request_duration_seconds", "Time from a request's headers to its response.");
        counts.durations.write(text, name, help, &SECONDS)?;
        let (name, help) = ("runoff_batch_size", "Requests in the batch that a request was computed in.");
        counts.batches.write(text, name, help, &SIZES)?;
        let name = "runoff_queue_length";
        writeln!(text, "# HELP {name} Requests that wait for a worker.\n# TYPE {name} gauge\n{name} {waiting}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let metrics = Metrics::default();
        metrics.count(200, Duration::from_millis(3), Some(2));
        metrics.count(200, Duration::from_millis(4), Some(2));
        metrics.count(503, Duration::from_mins(1), None);
        let text = metrics.text(7);
        for line in [
            "runoff_requests_total{status=\"200\"} 2",
            "runoff_requests_total{status=\"503\"} 1",
            "runoff_request_duration_seconds_bucket{le=\"0.002\"} 0",
            "runoff_request_duration_seconds_bucket{le=\"0.005\"} 2",
            "runoff_request_duration_seconds_bucket{le=\"30\"} 2",
            "runoff_request_duration_seconds_bucket{le=\"+Inf\"} 3",
            "runoff_batch_size_bucket{le=\"1\"} 0",
            "runoff_batch_size_sum 4",
            "runoff_queue_length 7",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
    }
}
