//! Results and capabilities of a runner.

use std::collections::BTreeMap;
use std::path::PathBuf;

use runoff_session::{Error, Kind};
use serde::{Deserialize, Serialize};

use super::Segmentation;

/// Outcome of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The case was measured.
    Ok,
    /// The case cannot run on this machine.
    Unsupported,
    /// The case failed.
    Error,
}

/// A phase of the process, in nanoseconds on the system's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Phase {
    /// One of the protocol's names.
    pub name: String,
    /// Start of the phase.
    pub start_ns: u64,
    /// End of the phase.
    pub end_ns: u64,
}

/// Durations of one part of an iteration, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timings {
    /// The first iteration.
    pub first_ns: u64,
    /// The second iteration.
    #[serde(default)]
    pub second_ns: Option<u64>,
    /// All later iterations that were kept.
    #[serde(default)]
    pub warm_ns: Vec<u64>,
}

/// Resident memory of the runner's process, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Peak resident set size at the end.
    #[serde(default)]
    pub peak_bytes: Option<u64>,
    /// Resident set size after each phase, by the phase's name.
    #[serde(default)]
    pub after: BTreeMap<String, u64>,
    /// Peak resident set size until the end of each phase.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub peak_after: BTreeMap<String, u64>,
    /// Resident bytes by mapping after each phase, as `memory::mappings` returns them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub mappings: BTreeMap<String, BTreeMap<String, u64>>,
    /// The runtime's CPU memory arena after some phases.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arena: BTreeMap<String, Arena>,
}

/// A memory arena, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arena {
    /// Memory in use.
    pub in_use_bytes: u64,
    /// Most memory in use so far.
    pub most_in_use_bytes: u64,
    /// Memory that the arena holds.
    pub reserved_bytes: u64,
}

/// A tensor that the runner wrote, and the items that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrittenTensor {
    /// Indices into the request's `inputs`, one for each row.
    pub items: Vec<usize>,
    /// Name in the graph.
    pub name: String,
    /// `NumPy` dtype name of the elements.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Path of the file.
    pub path: PathBuf,
}

/// One of the top-k classes of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guess {
    /// Index of the class.
    pub index: usize,
    /// Softmax over all classes.
    pub confidence: f64,
    /// The class's name, if labels are given.
    #[serde(default)]
    pub label: Option<String>,
}

/// A node of the graph that the runtime computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The node's name.
    pub name: String,
    /// Its operator, such as `Conv`.
    pub operator: String,
    /// What computed it.
    pub provider: String,
    /// Types of its inputs.
    pub inputs: Vec<String>,
    /// Time in its kernel, for each inference.
    pub kernel_ns: Vec<u64>,
    /// Number of calls in all these inferences.
    pub calls: u64,
    /// Name of its implementation.
    #[serde(default)]
    pub kernel: Option<String>,
    /// Nodes of the model's file that it computes.
    #[serde(default)]
    pub sources: Vec<String>,
    /// Shapes of its outputs.
    #[serde(default)]
    pub shapes: Vec<Vec<i64>>,
}

/// The runtime's own profile of an inference process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// A file in the request's `outputs_dir`.
    pub path: PathBuf,
    /// `chrome-trace`.
    pub format: String,
}

/// Settings and runtime in effect, as read back.
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
    /// The precision that the runtime reports that it computes in, if it reports one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Compute threads, counted when the session was created.
    #[serde(default)]
    pub threads: Option<usize>,
    /// The runtime's description of its build.
    #[serde(default)]
    pub build: Option<String>,
    /// The runtime's shared library.
    #[serde(default)]
    pub library: Option<PathBuf>,
    /// `kept` or `flushed`: treatment of denormal numbers by the calling thread.
    #[serde(default)]
    pub denormals: Option<String>,
    /// Allocator behind `malloc`, also for the runtime, such as `glibc 2.36`.
    #[serde(default)]
    pub allocator: Option<String>,
    /// JPEG decoder and how it was built, such as `libjpeg-turbo 3.1.0, SIMD` (for images only).
    #[serde(default)]
    pub image_decoder: Option<String>,
    /// Number of operations planned for each device, if the runtime reports it.
    #[serde(default)]
    pub planned: Option<BTreeMap<String, u64>>,
    /// The GPU in use: name, index and driver version.
    #[serde(default)]
    pub device: Option<String>,
    /// Requested settings that were not applied.
    #[serde(default)]
    pub ignored: Vec<String>,
    /// Practices in effect that are not a setting: `docs/best-practice.md`.
    #[serde(default)]
    pub practices: Vec<String>,
}

/// The result of a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// Version of the protocol.
    pub protocol: u32,
    /// The case's id.
    pub case: String,
    /// Outcome of the case.
    pub status: Status,
    /// Kind of failure.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// Cause of the failure.
    #[serde(default)]
    pub message: Option<String>,
    /// Next step for the user.
    #[serde(default)]
    pub hint: Option<String>,
    /// Phases, in chronological order.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// Durations by part of an iteration: `inference`, and `preprocess` for images; also the parts of `inference`, on a GPU
    /// `copy_in`, `compute` and `copy_out`, for `segment` `encode`, `decode` and `postprocess`.
    #[serde(default)]
    pub samples: BTreeMap<String, Timings>,
    /// Outputs of the model.
    #[serde(default)]
    pub outputs: Vec<WrittenTensor>,
    /// Inputs of the model (`accuracy` only).
    #[serde(default)]
    pub tensors: Vec<WrittenTensor>,
    /// Best classes of each item of the last batch, best first (`classify` only).
    #[serde(default)]
    pub top: Vec<Vec<Guess>>,
    /// Masks of each item of the last iteration (`segment` only).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segmentations: Vec<Segmentation>,
    /// Nodes of the graph (`operators` only).
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// File with the nodes (`operators` only).
    #[serde(default)]
    pub profile: Option<Profile>,
    /// CPU time of this process while it responded to requests, of user and system, in nanoseconds (`load` only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ns: Option<u64>,
    /// Memory of this process.
    #[serde(default)]
    pub memory: Option<Memory>,
    /// Settings and runtime in effect.
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
            segmentations: Vec::new(),
            nodes: Vec::new(),
            profile: None,
            cpu_ns: None,
            memory: None,
            effective: None,
        }
    }

    /// The result of a case that failed with `error`.
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

/// Reason why a runner cannot run on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unavailable {
    /// Kind of failure.
    pub kind: Kind,
    /// Cause of the failure.
    pub message: String,
    /// Next step for the user.
    #[serde(default)]
    pub hint: String,
}

/// Capabilities of a runner, the output of `--capabilities`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// Supported protocol versions.
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
    /// The runtime's description of its build.
    #[serde(default)]
    pub build: Option<String>,
    /// The runtime's shared library.
    #[serde(default)]
    pub library: Option<PathBuf>,
    /// Supported workloads.
    #[serde(default)]
    pub workloads: Vec<String>,
    /// Supported model formats.
    #[serde(default)]
    pub formats: Vec<String>,
    /// Execution providers available on this machine.
    #[serde(default)]
    pub providers: Vec<String>,
    /// Reasons why other providers are unavailable on this machine, by name.
    #[serde(default)]
    pub lacking: BTreeMap<String, String>,
    /// Supported precisions.
    #[serde(default)]
    pub precisions: Vec<String>,
    /// Supported measures.
    #[serde(default)]
    pub measures: Vec<String>,
    /// Supported settings.
    #[serde(default)]
    pub settings: Vec<String>,
    /// JPEG decoder and how it was built, such as `libjpeg-turbo 3.1.0, SIMD`.
    #[serde(default)]
    pub image_decoder: Option<String>,
    /// Maximum batch size; `None` for no limit.
    #[serde(default)]
    pub max_batch: Option<usize>,
    /// False for a runner that computes nothing.
    #[serde(default = "computes")]
    pub computes: bool,
    /// Reason why the runner cannot run on this machine.
    #[serde(default)]
    pub unavailable: Option<Unavailable>,
}

/// The default for a runner that does not report it.
const fn computes() -> bool {
    true
}
