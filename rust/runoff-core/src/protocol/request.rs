//! The request: what a runner has to do. Unknown fields are errors.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What is done with the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Image to label.
    Classify,
    /// Any inputs to any outputs.
    Tensor,
}

/// Graph optimisation level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimization {
    /// The graph as it is.
    Disable,
    /// Rewrites that do not depend on the provider.
    Basic,
    /// Fusions that do.
    Extended,
    /// Layout changes too.
    All,
}

/// Order in which operations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// One after the other.
    Sequential,
    /// Independent ones in parallel.
    Parallel,
}

/// How the process is left once the result is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Teardown {
    /// The session and the environment are freed in order.
    Full,
    /// Nothing is freed.
    Skip,
}

/// Resampling filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// Triangle filter, widened when the image shrinks.
    Bilinear,
    /// Cubic filter with a = -0.5 (Catmull-Rom), widened when the image shrinks.
    Bicubic,
}

/// How a session is set up. `None` leaves the runtime's own default in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Threads that compute one operation.
    pub threads: NonZeroUsize,
    /// Threads that run independent operations in parallel.
    pub inter_threads: Option<NonZeroUsize>,
    /// Graph optimisation level.
    pub optimization: Option<Optimization>,
    /// Whether waiting worker threads burn CPU to answer sooner.
    pub spinning: Option<bool>,
    /// Whether the CPU memory arena is used.
    pub arena: Option<bool>,
    /// Whether weights are repacked for the CPU when the model is loaded.
    pub prepacking: Option<bool>,
    /// Order in which operations run.
    pub execution: Option<Execution>,
    /// Execution provider.
    pub provider: String,
    /// Number format that the model computes in.
    pub precision: String,
    /// Images, or tensor items, per inference.
    pub batch: NonZeroUsize,
    /// Name of the settings profile that these settings came from.
    pub profile: String,
    /// How the process is left.
    pub teardown: Option<Teardown>,
    /// Whether the model is one that was prepared on this machine.
    pub prepared: Option<bool>,
    /// Whether the first images are read while the runtime starts and the model loads.
    pub overlap: Option<bool>,
    /// Whether worker threads that spin stop when the last run under way ends. No request has it: the measure does.
    #[serde(skip)]
    pub force_spinning_stop: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: NonZeroUsize::MIN,
            inter_threads: None,
            optimization: None,
            spinning: None,
            arena: None,
            prepacking: None,
            execution: None,
            provider: "cpu".into(),
            precision: "fp32".into(),
            batch: NonZeroUsize::MIN,
            profile: "default".into(),
            teardown: None,
            prepared: None,
            overlap: None,
            force_spinning_stop: false,
        }
    }
}

/// A model's input or output. `None` in `shape` is a dynamic dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Name in the graph.
    pub name: String,
    /// `NumPy`'s name of the element type.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<Option<usize>>,
}

/// A tensor on disk: raw little-endian elements in C order, nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFile {
    /// Where it is.
    pub path: PathBuf,
    /// `NumPy`'s name of the element type.
    pub dtype: String,
    /// Dimensions; the first one is a batch of one.
    pub shape: Vec<usize>,
}

/// From pixels to tensor.
///
/// The shorter side is resized to `resize` (the longer one to `resize * longer / shorter`, rounded down), a
/// square of `crop` pixels is cut from the middle (offset `(side - crop) / 2`, rounded down), and every channel
/// becomes `(pixel - mean) / std` in float32, NCHW, RGB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Length of the shorter side after resizing, in pixels.
    pub resize: NonZeroU32,
    /// Side of the square that is kept, in pixels.
    pub crop: NonZeroU32,
    /// Resampling filter.
    pub interpolation: Interpolation,
    /// Per channel, in pixel units (0 to 255).
    pub mean: [f64; 3],
    /// Per channel, in pixel units (0 to 255).
    pub std: [f64; 3],
}

impl Preprocess {
    /// Checks what the types do not express.
    ///
    /// # Errors
    ///
    /// `bad-request` when the crop is larger than the resized image, or a number is not usable.
    pub fn check(&self) -> Result<(), Error> {
        if self.crop > self.resize {
            let message = format!("preprocess.crop is {}, larger than preprocess.resize {}", self.crop, self.resize);
            return Err(Error::bad_request(message));
        }
        let finite = self.mean.iter().chain(&self.std).all(|value| value.is_finite());
        if !finite || self.std.contains(&0.0) {
            return Err(Error::bad_request("preprocess.mean and preprocess.std must be finite, and std not zero"));
        }
        Ok(())
    }
}

/// The model to run, in the format that the target reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Name in the model store.
    pub name: String,
    /// Where the file is.
    pub path: PathBuf,
    /// `onnx`, ...
    pub format: String,
    /// SHA-256 of the file, checked by the orchestrator.
    pub sha256: String,
    /// Inputs that the request assumes.
    pub inputs: Vec<TensorSpec>,
    /// Outputs that the request assumes.
    pub outputs: Vec<TensorSpec>,
    /// For formats that hold weights only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
}

/// One input, with a batch of one: an image (`classify`), or a tensor per model input (`tensor`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Item {
    /// Image file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// By the model input's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<BTreeMap<String, TensorFile>>,
}

/// One inference on the first batch of items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Once {
    /// Read the resident set after every phase too.
    pub memory: bool,
}

/// Warm inferences, going round the items, until both minima are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Samples that are kept at least.
    pub min_samples: NonZeroUsize,
    /// Time that goes by at least, since the first kept sample began.
    pub min_ns: u64,
    /// Inferences after the second that are run and not kept.
    pub warmup: u64,
}

/// Every item once, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {}

/// Warm inferences, on demand, line by line on stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turns {
    /// Inferences after the second that are run and not kept.
    pub warmup: u64,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Measure {
    /// One inference.
    Once(Once),
    /// Many inferences.
    Latency(Latency),
    /// Every item.
    Accuracy(Accuracy),
    /// Inferences on demand.
    Turns(Turns),
}

impl Default for Measure {
    fn default() -> Self {
        Self::Once(Once::default())
    }
}

/// A request: what a runner has to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Version of the protocol.
    #[serde(default = "current_version")]
    pub protocol: u32,
    /// The case's id.
    pub case: String,
    /// What is done with the model.
    pub workload: Workload,
    /// The model.
    pub model: ModelFile,
    /// The inputs.
    pub inputs: Vec<Item>,
    /// How images become tensors; needed for `classify`.
    #[serde(default)]
    pub preprocess: Option<Preprocess>,
    /// Text file with a label per line; line `i` names output index `i`.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// How the session is set up.
    #[serde(default)]
    pub settings: Settings,
    /// What is measured.
    #[serde(default)]
    pub measure: Measure,
    /// How many of the best classes are reported.
    #[serde(default = "default_top_k")]
    pub top_k: NonZeroUsize,
    /// Existing folder for the tensors that the runner writes.
    pub outputs_dir: PathBuf,
    /// When the process was spawned, on the system's monotonic clock.
    #[serde(default)]
    pub spawn_ns: Option<u64>,
}

fn current_version() -> u32 {
    super::VERSION
}

fn default_top_k() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(4)
}

impl Request {
    /// Checks what the types do not express.
    ///
    /// # Errors
    ///
    /// `bad-request`, naming the field at fault.
    pub fn check(&self) -> Result<(), Error> {
        if self.protocol != super::VERSION {
            let message = format!("protocol is {}, this runner speaks {}", self.protocol, super::VERSION);
            return Err(Error::bad_request(message));
        }
        if self.inputs.is_empty() {
            return Err(Error::bad_request("inputs is empty"));
        }
        for (index, item) in self.inputs.iter().enumerate() {
            self.check_item(index, item)?;
        }
        match (&self.preprocess, self.workload) {
            (None, Workload::Classify) => Err(Error::bad_request("preprocess is missing: classify needs it")),
            (Some(preprocess), Workload::Classify) => preprocess.check(),
            (_, Workload::Tensor) => Ok(()),
        }
    }

    fn check_item(&self, index: usize, item: &Item) -> Result<(), Error> {
        match self.workload {
            Workload::Classify if item.image.is_none() => {
                Err(Error::bad_request(format!("inputs[{index}].image is missing: classify needs it")))
            }
            Workload::Tensor if item.tensors.is_none() => {
                Err(Error::bad_request(format!("inputs[{index}].tensors is missing: tensor needs it")))
            }
            _ => Ok(()),
        }
    }
}
