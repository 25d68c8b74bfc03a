//! What a runner answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was measured.
    Ok,
    /// It cannot run on this machine.
    Unsupported,
    /// It failed.
    Error,
}

/// A stretch of the process's life, in nanoseconds on the system's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// One of the protocol's names.
    pub name: String,
    /// Where it begins.
    pub start_ns: u64,
    /// Where it ends.
    pub end_ns: u64,
}

/// Durations of one part of an iteration, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// The first.
    pub first_ns: u64,
    /// The second.
    #[serde(default)]
    pub second_ns: Option<u64>,
    /// All that were kept after those.
    #[serde(default)]
    pub warm_ns: Vec<u64>,
}

/// Resident memory of the runner's own process, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// High-water mark at the end.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
    /// Resident set after each phase, by its name.
    #[serde(default)]
    pub after: BTreeMap<String, u64>,
}

/// A tensor that the runner wrote, and the items it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenTensor {
    /// Indices into the request's `inputs`, one for each row.
    pub items: Vec<usize>,
    /// Name in the graph.
    pub name: String,
    /// `NumPy`'s name of the element type.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Where it is.
    pub path: PathBuf,
}

/// One of the top-k classes of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guess {
    /// Index of the class.
    pub index: usize,
    /// Softmax over all classes.
    pub confidence: f64,
    /// The class's name, where labels are known.
    #[serde(default)]
    pub label: Option<String>,
}

/// What was really in effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effective {
    /// `onnxruntime`, ...
    pub runtime: String,
    /// The runtime's version.
    pub version: String,
    /// The runner's language.
    pub language: String,
    /// The execution provider.
    #[serde(default)]
    pub provider: Option<String>,
    /// Threads that compute, counted after the session was made.
    #[serde(default)]
    pub threads: Option<usize>,
    /// How the runtime was built.
    #[serde(default)]
    pub build: Option<String>,
    /// The runtime's shared library.
    #[serde(default)]
    pub library: Option<PathBuf>,
    /// `kept` or `flushed`: what the calling thread makes of numbers below the smallest normal one.
    #[serde(default)]
    pub denormals: Option<String>,
    /// What serves `malloc`, the runtime's calls included, as in `glibc 2.36`.
    #[serde(default)]
    pub allocator: Option<String>,
    /// What decodes JPEG files, and how it was built, as in `libjpeg-turbo 3.1.0, SIMD` (`classify` only).
    #[serde(default)]
    pub image_decoder: Option<String>,
    /// Operations by the device that they are planned for, if the runtime reports it.
    #[serde(default)]
    pub planned: Option<BTreeMap<String, u64>>,
    /// The GPU that computed: its name, its index and its driver's release.
    #[serde(default)]
    pub device: Option<String>,
    /// Requested settings that cannot be applied.
    #[serde(default)]
    pub ignored: Vec<String>,
    /// Ways to be faster that no setting names, in effect: `docs/best-practice.md`.
    #[serde(default)]
    pub practices: Vec<String>,
}

/// What a runner answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Version of the protocol.
    pub protocol: u32,
    /// The case's id.
    pub case: String,
    /// How it ended.
    pub status: Status,
    /// Kind of failure.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// What went wrong.
    #[serde(default)]
    pub message: Option<String>,
    /// What to do next.
    #[serde(default)]
    pub hint: Option<String>,
    /// In order of time.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// By part of an iteration: `inference`, and `preprocess` where images are read; on a GPU also the parts of
    /// `inference`: `copy_in`, `compute` and `copy_out`.
    #[serde(default)]
    pub samples: BTreeMap<String, Timings>,
    /// Outputs of the model.
    #[serde(default)]
    pub outputs: Vec<WrittenTensor>,
    /// What went into the model (`accuracy` only).
    #[serde(default)]
    pub tensors: Vec<WrittenTensor>,
    /// For each item of the last batch, best first (`classify` only).
    #[serde(default)]
    pub top: Vec<Vec<Guess>>,
    /// Memory of this process.
    #[serde(default)]
    pub memory: Option<Memory>,
    /// What was in effect.
    #[serde(default)]
    pub effective: Option<Effective>,
}

impl RunResult {
    /// An empty result with the status `ok`.
    #[must_use]
    pub fn ok(case: &str) -> Self {
        Self {
            protocol: super::VERSION,
            case: case.to_owned(),
            status: Status::Ok,
            kind: None,
            message: None,
            hint: None,
            phases: Vec::new(),
            samples: BTreeMap::new(),
            outputs: Vec::new(),
            tensors: Vec::new(),
            top: Vec::new(),
            memory: None,
            effective: None,
        }
    }

    /// The result of a case that ended with `error`.
    #[must_use]
    pub fn failed(case: &str, error: &Error) -> Self {
        let status = if error.kind.is_unsupported() { Status::Unsupported } else { Status::Error };
        Self {
            status,
            kind: Some(error.kind),
            message: Some(error.message.clone()),
            hint: Some(error.hint.clone()),
            ..Self::ok(case)
        }
    }
}

/// Why a runner cannot run on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    /// Kind of failure.
    pub kind: Kind,
    /// What is wrong.
    pub message: String,
    /// What to do next.
    #[serde(default)]
    pub hint: String,
}

/// What a runner prints for `--capabilities`: its capabilities.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Versions of the protocol.
    pub protocol: Vec<u32>,
    /// The target's name.
    pub runner: String,
    /// The runner's language.
    pub language: String,
    /// `onnxruntime`, ...
    pub runtime: String,
    /// The runtime's version.
    #[serde(default)]
    pub version: String,
    /// How the runtime was built.
    #[serde(default)]
    pub build: Option<String>,
    /// The runtime's shared library.
    #[serde(default)]
    pub library: Option<PathBuf>,
    /// Workloads that it runs.
    #[serde(default)]
    pub workloads: Vec<String>,
    /// Model formats that it reads.
    #[serde(default)]
    pub formats: Vec<String>,
    /// Execution providers that can be used on this machine.
    #[serde(default)]
    pub providers: Vec<String>,
    /// Why others cannot be used on this machine, by name.
    #[serde(default)]
    pub lacking: BTreeMap<String, String>,
    /// Number formats that it computes in.
    #[serde(default)]
    pub precisions: Vec<String>,
    /// What it measures.
    #[serde(default)]
    pub measures: Vec<String>,
    /// Settings that it applies.
    #[serde(default)]
    pub settings: Vec<String>,
    /// What decodes JPEG files, and how it was built, as in `libjpeg-turbo 3.1.0, SIMD`.
    #[serde(default)]
    pub image_decoder: Option<String>,
    /// Largest batch; `None` for no limit.
    #[serde(default)]
    pub max_batch: Option<usize>,
    /// False for a runner that does nothing.
    #[serde(default = "computes")]
    pub computes: bool,
    /// Why it cannot run on this machine.
    #[serde(default)]
    pub unavailable: Option<Unavailable>,
}

/// The default of a runner that does not declare it.
const fn computes() -> bool {
    true
}
