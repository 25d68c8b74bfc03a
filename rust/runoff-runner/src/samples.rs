//! Durations of iterations, by part.

use std::collections::BTreeMap;

use runoff_core::protocol::Timings;
use runoff_core::segmenter::Times;
use runoff_session::{Error, Parts};
use smallvec::SmallVec;

/// Durations of the parts of one iteration, in nanoseconds. All iterations of a run have the same parts.
#[derive(Debug, Default)]
pub struct IterationTimes(SmallVec<[(&'static str, u64); 5]>);

impl IterationTimes {
    /// Creates one with the part `preprocess`, or without parts.
    #[must_use]
    pub fn preprocessing(took_ns: Option<u64>) -> Self {
        Self(took_ns.map(|took_ns| ("preprocess", took_ns)).into_iter().collect())
    }

    /// Adds an inference on the host.
    pub fn inference(&mut self, took_ns: u64) {
        self.0.push(("inference", took_ns));
    }

    /// Adds an inference on a device: the total, host to host, and its parts.
    pub fn parts(&mut self, parts: Parts) {
        self.inference(parts.total_ns());
        self.0.extend(parts.named());
    }

    /// Adds the parts of a segmentation, which add up to it.
    pub fn segmentation(&mut self, times: Times) {
        let Times { encode_ns, decode_ns, postprocess_ns, .. } = times;
        self.inference(encode_ns + decode_ns + postprocess_ns);
        self.0.extend([("encode", encode_ns), ("decode", decode_ns), ("postprocess", postprocess_ns)]);
    }
}

/// Durations of all kept iterations.
#[derive(Debug, Default)]
pub struct Samples {
    parts: BTreeMap<&'static str, Timings>,
    /// Kept iterations after the second.
    warm: usize,
    has_second: bool,
}

impl Samples {
    /// Adds the first iteration.
    pub fn first(&mut self, took: &IterationTimes) {
        for &(part, first_ns) in &took.0 {
            self.parts.insert(part, Timings { first_ns, ..Timings::default() });
        }
    }

    /// Adds a later iteration, either the second or a warm one.
    pub fn keep(&mut self, took: &IterationTimes) {
        for &(part, took_ns) in &took.0 {
            let timings = self.parts.entry(part).or_default();
            if self.has_second {
                timings.warm_ns.push(took_ns);
            } else {
                timings.second_ns = Some(took_ns);
            }
        }
        self.warm += usize::from(self.has_second);
        self.has_second = true;
    }

    /// Number of warm iterations.
    pub const fn warm(&self) -> usize {
        self.warm
    }

    /// Reserves memory for `count` more warm iterations.
    pub fn reserve(&mut self, count: usize) -> Result<(), Error> {
        let no_memory = |_| Error::memory(&format!("measure.min_samples: {count} samples"));
        self.parts.values_mut().try_for_each(|timings| timings.warm_ns.try_reserve(count)).map_err(no_memory)
    }

    /// The warm iterations from index `before`, by part.
    pub fn since(&self, before: usize) -> BTreeMap<&'static str, &[u64]> {
        self.parts.iter().map(|(&part, timings)| (part, &timings.warm_ns[before..])).collect()
    }

    /// All durations, by part.
    pub fn into_parts(self) -> BTreeMap<String, Timings> {
        self.parts.into_iter().map(|(part, timings)| (part.to_owned(), timings)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_inference_on_a_device_add_up_to_it() {
        let mut samples = Samples::default();
        for round in 0..4 {
            let mut took = IterationTimes::preprocessing(Some(7));
            took.parts(Parts { copy_in_ns: 1 + round, compute_ns: 10, copy_out_ns: 2 });
            if round == 0 { samples.first(&took) } else { samples.keep(&took) }
        }
        assert_eq!(samples.warm(), 2);
        assert_eq!(samples.since(1)["copy_in"], [4]);
        let parts = samples.into_parts();
        let names: Vec<_> = parts.keys().map(String::as_str).collect();
        assert_eq!(names, ["compute", "copy_in", "copy_out", "inference", "preprocess"]);
        let timings = Timings { first_ns: 13, second_ns: Some(14), warm_ns: vec![15, 16] };
        assert_eq!(parts["inference"], timings);
    }

    #[test]
    fn on_the_host_there_are_no_such_parts() {
        let mut took = IterationTimes::preprocessing(None);
        took.inference(5);
        let mut samples = Samples::default();
        samples.first(&took);
        assert_eq!(samples.since(0).into_keys().collect::<Vec<_>>(), ["inference"]);
    }
}
