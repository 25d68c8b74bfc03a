//! What was measured, as a table, as JSON and as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use runoff_session::prepare::digest;
use runoff_session::{Error, Kind, RawTensor};
use serde::Serialize;

use super::Model;
use super::turns::{Candidate, InferenceTimes};
use crate::statistics::{Estimate, Summary, float, milliseconds, ratio};

/// Flags for files with the results.
#[derive(Debug, clap::Args)]
pub struct Exports {
    /// Write the results with every sample to this file, as {"results": [...]}.
    #[arg(long, value_name = "FILE")]
    export_json: Option<PathBuf>,
    /// Write a table of the results to this file.
    #[arg(long, value_name = "FILE")]
    export_markdown: Option<PathBuf>,
}

/// An output of the model for the first inputs.
#[derive(Serialize)]
struct Output {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
    /// Of its little-endian elements.
    sha256: String,
    #[serde(skip)]
    floats: Option<Vec<f32>>,
}

/// How all models were run.
#[derive(Clone, Serialize)]
pub struct Conditions {
    pub profile: String,
    /// What `--set` gave.
    pub set: BTreeMap<String, String>,
    pub concurrency: NonZeroUsize,
    pub provider: String,
    /// ONNX Runtime's version.
    pub runtime: String,
}

/// What was measured of one model.
#[derive(Serialize)]
pub struct Measured {
    model: PathBuf,
    #[serde(flatten)]
    conditions: Conditions,
    threads: Option<usize>,
    device: Option<String>,
    load_ns: u64,
    first_ns: u64,
    second_ns: u64,
    warm: Summary,
    warm_ns: Vec<u64>,
    /// Of the warm ones, on a device: the parts that they add up from.
    parts: BTreeMap<&'static str, Summary>,
    /// The median of each round's turn.
    rounds_ns: Vec<f64>,
    /// Time of an inference, as a multiple of the first model's; none for the first, and for fewer than six rounds.
    ratio: Option<Estimate>,
    /// Largest absolute difference from the first model's outputs; none where they cannot be compared.
    largest_difference: Option<f32>,
    outputs: Vec<Output>,
    /// Of the process; none where it has several models.
    pub peak_bytes: Option<u64>,
}

impl Measured {
    /// What was measured of `model`, with its `outputs`; `None` when nothing was.
    pub fn of(
        model: &Model<'_>,
        candidate: &Candidate<'_>,
        outputs: Vec<(String, RawTensor)>,
        conditions: &Conditions,
    ) -> Option<Self> {
        let kept = candidate.kept();
        let warm_ns: Vec<u64> = kept.iter().map(|took| took.total_ns).collect();
        let warm = Summary { per_second: candidate.per_second(), ..Summary::of(&warm_ns)? };
        Some(Self {
            model: model.path.to_owned(),
            conditions: conditions.clone(),
            threads: model.session.threads(),
            device: model.session.device(),
            load_ns: model.load_ns,
            first_ns: candidate.first_ns,
            second_ns: candidate.second_ns,
            warm,
            warm_ns,
            parts: parts(&kept),
            rounds_ns: candidate.rounds_ns.clone(),
            ratio: None,
            largest_difference: None,
            outputs: outputs.into_iter().map(Output::of).collect(),
            peak_bytes: None,
        })
    }

    /// Adds how it compares with the `first` model.
    pub fn compare(&mut self, first: &Self) {
        self.ratio = ratio(&self.rounds_ns, &first.rounds_ns);
        self.largest_difference = largest_difference(&self.outputs, &first.outputs);
    }
}

impl Output {
    fn of((name, tensor): (String, RawTensor)) -> Self {
        let (sha256, floats) = (digest(&tensor.bytes), tensor.to_f32());
        Self { name, dtype: tensor.dtype.name(), shape: tensor.shape, sha256, floats }
    }
}

/// Largest absolute difference of all outputs; NaN if one is NaN on one side only. `None` where shapes differ, or numbers
/// other than float32.
fn largest_difference(own: &[Output], first: &[Output]) -> Option<f32> {
    let same_shapes = own.iter().map(|output| &output.shape).eq(first.iter().map(|output| &output.shape));
    let mut largest = same_shapes.then_some(0.0_f32)?;
    for (own, first) in own.iter().zip(first).filter(|(own, first)| own.sha256 != first.sha256) {
        for (own, first) in own.floats.as_ref()?.iter().zip(first.floats.as_ref()?) {
            let difference = if own.is_nan() && first.is_nan() { 0.0 } else { (own - first).abs() };
            largest = if difference.is_nan() { difference } else { largest.max(difference) };
            if largest.is_nan() {
                return Some(largest);
            }
        }
    }
    Some(largest)
}

/// What the inferences add up from, by part; nothing on the host.
fn parts(all: &[InferenceTimes]) -> BTreeMap<&'static str, Summary> {
    let mut durations_ns: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    for (part, took_ns) in all.iter().filter_map(|took| took.parts).flat_map(|parts| parts.named()) {
        durations_ns.entry(part).or_default().push(took_ns);
    }
    durations_ns.into_iter().filter_map(|(part, all)| Some((part, Summary::of(&all)?))).collect()
}

impl Exports {
    /// Checks that the files can be written, before time is spent.
    ///
    /// # Errors
    ///
    /// `internal` or `no-space`, naming the file.
    pub fn check(&self) -> Result<(), Error> {
        let open = |path: &PathBuf| match File::options().create(true).append(true).open(path) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::write(path, &error)),
        };
        self.export_json.iter().chain(&self.export_markdown).try_for_each(open)
    }

    /// Writes the files.
    ///
    /// # Errors
    ///
    /// `internal` or `no-space`, naming the file.
    pub fn write(&self, results: &[Measured]) -> Result<(), Error> {
        let write = |path: &Path, text: String| fs::write(path, text).map_err(|error| Error::write(path, &error));
        if let Some(path) = &self.export_json {
            let json = serde_json::to_string_pretty(&BTreeMap::from([("results", results)]));
            let json = json.map_err(|error| Error::new(Kind::Internal, error.to_string(), "report this"))?;
            write(path, json + "\n")?;
        }
        self.export_markdown.as_ref().map_or(Ok(()), |path| write(path, markdown(results)))
    }
}

/// A table of all models, as Markdown.
fn markdown(results: &[Measured]) -> String {
    let mut text =
        "| Model | Load [ms] | First [ms] | p50 [ms] | p90 [ms] | p95 [ms] | p99 [ms] | Per second | Relative |\n\
                    |:---|---:|---:|---:|---:|---:|---:|---:|---:|\n"
            .to_owned();
    for (place, own) in results.iter().enumerate() {
        let percentiles = own.warm.percentiles.iter().map(|percentile| {
            percentile.estimate_ns.map_or_else(|| "-".to_owned(), |estimate| within(&estimate, thousandths))
        });
        let unknown = if place == 0 { "1.000" } else { "-" };
        let relative =
            own.ratio.map_or_else(|| unknown.to_owned(), |ratio| within(&ratio, |ratio| format!("{ratio:.3}")));
        let name = own.model.display().to_string().replace('|', "\\|");
        let (load, first) = (thousandths(float(own.load_ns)), thousandths(float(own.first_ns)));
        let (percentiles, rate) = (percentiles.collect::<Vec<_>>().join(" | "), own.warm.per_second);
        // Writing to a string does not fail.
        let _ = writeln!(text, "| `{name}` | {load} | {first} | {percentiles} | {rate:.1} | {relative} |");
    }
    text
}

/// A duration in milliseconds, to a thousandth.
fn thousandths(nanoseconds: f64) -> String {
    format!("{:.3}", nanoseconds / 1e6)
}

/// An estimate with its bounds.
fn within(estimate: &Estimate, show: impl Fn(f64) -> String) -> String {
    format!("{} ({} to {})", show(estimate.value), show(estimate.low), show(estimate.high))
}

/// The tables of all models, and how the others compare with the first.
pub fn tables(results: &[Measured]) -> String {
    let tables: Vec<_> =
        results.iter().enumerate().map(|(place, own)| table(own, (place > 0).then(|| &results[0]))).collect();
    tables.join("\n")
}

fn table(measured: &Measured, first: Option<&Measured>) -> String {
    let Measured { warm, .. } = measured;
    let mut text = String::new();
    // Writing to a string does not fail.
    let mut line = |name: &str, value: &str| _ = writeln!(text, "{name:<12}  {value}");
    line("model", &measured.model.display().to_string());
    if let Some(device) = &measured.device {
        line("device", device);
    }
    line("load", &milliseconds(float(measured.load_ns)));
    line("first", &milliseconds(float(measured.first_ns)));
    line("second", &milliseconds(float(measured.second_ns)));
    let bounded = |estimate: Estimate| within(&estimate, thousandths) + " ms";
    let median = warm.percentiles[0].estimate_ns.map_or_else(|| milliseconds(warm.median_ns), bounded);
    line("warm median", &format!("{median}  of {} samples", warm.count));
    for percentile in &warm.percentiles[1..] {
        let too_few = || format!("-  too few samples: needs {}", percentile.needs);
        let value = percentile.estimate_ns.map_or_else(too_few, bounded);
        line(&format!("warm p{}", percentile.percent), &value);
    }
    line("warm min", &milliseconds(float(warm.min_ns)));
    for (title, part) in [("copy in", "copy_in"), ("compute", "compute"), ("copy out", "copy_out")] {
        if let Some(part) = measured.parts.get(part) {
            line(title, &milliseconds(part.median_ns));
        }
    }
    line("throughput", &format!("{:.1} inferences/s", warm.per_second));
    if let Some(bytes) = measured.peak_bytes {
        line("peak memory", &format!("{}.{} MiB", bytes >> 20, ((bytes & 0xF_FFFF) * 10) >> 20));
    }
    if let Some(first) = first {
        let (first, too_few) = (first.model.display(), || "-  too few rounds: needs 6".to_owned());
        let times = |ratio: Estimate| within(&ratio, |ratio| format!("{ratio:.3}")) + &format!(" times {first}");
        line("ratio", &measured.ratio.map_or_else(too_few, times));
        let differ = |most: f32| format!("differ from {first} by {most} at most");
        line("outputs", &measured.largest_difference.map_or_else(|| "not comparable".to_owned(), differ));
    }
    text
}

#[cfg(test)]
mod tests {
    use runoff_session::Parts;

    use super::*;

    fn measured(parts: BTreeMap<&'static str, Summary>, device: Option<&str>) -> Measured {
        Measured {
            model: "m.onnx".into(),
            conditions: Conditions {
                profile: "default".into(),
                set: BTreeMap::new(),
                concurrency: NonZeroUsize::MIN,
                provider: "cuda".into(),
                runtime: "1.31.1".into(),
            },
            threads: None,
            device: device.map(str::to_owned),
            load_ns: 1,
            first_ns: 1,
            second_ns: 1,
            warm: Summary::of(&[8_000_000, 10_000_000]).expect("samples"),
            warm_ns: vec![],
            parts,
            rounds_ns: vec![],
            ratio: None,
            largest_difference: None,
            outputs: vec![],
            peak_bytes: None,
        }
    }

    #[test]
    fn parts_are_shown_on_a_device_only() {
        let on_device = |compute_ns| {
            let parts = Parts { copy_in_ns: 2_000_000, compute_ns, copy_out_ns: 1_000_000 };
            InferenceTimes { total_ns: parts.total_ns(), parts: Some(parts) }
        };
        let all = [on_device(5_000_000), on_device(7_000_000)];
        assert_eq!((all[0].total_ns, all[1].total_ns), (8_000_000, 10_000_000));
        let table = tables(&[measured(parts(&all), Some("Test GPU (0)"))]);
        for line in
            ["device        Test GPU (0)", "copy in       2.000 ms", "compute       6.000 ms", "copy out      1.000 ms"]
        {
            assert!(table.lines().any(|own| own == line), "{table}");
        }
        let host = [InferenceTimes { total_ns: 1, parts: None }];
        let table = tables(&[measured(parts(&host), None)]);
        assert!(!table.contains("copy") && !table.contains("device"), "{table}");
    }

    #[test]
    fn outputs_are_compared_if_they_can_be() {
        let output = |shape: &[usize], floats: &[f32]| Output {
            name: "y".into(),
            dtype: "float32",
            shape: shape.to_vec(),
            sha256: format!("{floats:?}"),
            floats: Some(floats.to_vec()),
        };
        let difference = |own: &[f32], first: &[f32]| largest_difference(&[output(&[2], own)], &[output(&[2], first)]);
        assert_eq!(difference(&[1.0, 2.0], &[1.5, 2.0]), Some(0.5));
        assert_eq!(difference(&[1.0, f32::NAN], &[1.0, f32::NAN]), Some(0.0));
        assert!(difference(&[f32::NAN, 9.0], &[1.0, 1.0]).is_some_and(f32::is_nan));
        assert_eq!(largest_difference(&[output(&[2], &[1.0, 2.0])], &[output(&[2, 1], &[1.0, 2.0])]), None);
        assert_eq!(largest_difference(&[output(&[], &[])], &[]), None);
    }
}
