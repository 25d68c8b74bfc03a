//! The request to a runner. Unknown fields are errors.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// The task of the model.
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
    /// No optimisation.
    Disable,
    /// Optimisations that do not depend on the provider.
    Basic,
    /// Also fusions that depend on the provider.
    Extended,
    /// Also layout changes. Only in programs: requests do not have it.
    #[serde(skip)]
    Layout,
    /// Everything that the release of ONNX Runtime has.
    All,
}

/// Whether operations run one after another or in parallel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Execution {
    /// One after another.
    Sequential,
    /// Independent operations in parallel.
    Parallel,
}

/// How the process exits after the result is written.
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

/// Settings of a session. `None` keeps the runtime's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Threads per operation (intra-op).
    pub threads: NonZeroUsize,
    /// Threads that run independent operations in parallel (inter-op).
    pub inter_threads: Option<NonZeroUsize>,
    /// Graph optimisation level.
    pub optimization: Option<Optimization>,
    /// Whether idle worker threads spin, which lowers latency but burns CPU.
    pub spinning: Option<bool>,
    /// Whether the CPU memory arena is used.
    pub arena: Option<bool>,
    /// Whether weights are repacked for the CPU when the model is loaded.
    pub prepacking: Option<bool>,
    /// Whether operations run one after another or in parallel.
    pub execution: Option<Execution>,
    /// Execution provider.
    pub provider: String,
    /// Numeric precision of the computation.
    pub precision: String,
    /// Images, or tensor items, per inference.
    pub batch: NonZeroUsize,
    /// Name of the settings profile of these settings.
    pub profile: String,
    /// How the process exits.
    pub teardown: Option<Teardown>,
    /// Whether the model was prepared on this machine.
    pub prepared: Option<bool>,
    /// Whether the first images are preprocessed while the runtime starts and the model loads.
    pub overlap: Option<bool>,
    /// Whether worker threads stop spinning when the last run in progress ends. Not part of a request: the measure
    /// determines it.
    #[serde(skip)]
    pub force_spinning_stop: bool,
    /// ONNX Runtime's own configuration entries, by name; they win over the settings above. No request has any.
    #[serde(skip)]
    pub config: Vec<(String, String)>,
    /// What free dimensions of the model are fixed at, by name. No request has any.
    #[serde(skip)]
    pub dimensions: Vec<(String, NonZeroUsize)>,
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
            config: Vec::new(),
            dimensions: Vec::new(),
        }
    }
}

/// A model's input or output. `None` in `shape` is a dynamic dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Name in the graph.
    pub name: String,
    /// `NumPy` dtype name of the elements.
    pub dtype: String,
    /// Dimensions.
    pub shape: Vec<Option<usize>>,
}

/// A tensor on disk: raw little-endian elements in C order, without a header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFile {
    /// Path of the file.
    pub path: PathBuf,
    /// `NumPy` dtype name of the elements.
    pub dtype: String,
    /// Dimensions; the first is the batch, of one item.
    pub shape: Vec<usize>,
}

/// Preprocessing, from pixels to tensor.
///
/// The shorter side is resized to `resize` pixels, the longer one to `resize * longer / shorter`, rounded down. Then a
/// square of `crop` pixels is cut from the middle (offset `(side - crop) / 2`, rounded down), and each channel becomes
/// `(pixel - mean) / std` in float32, NCHW, RGB.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Length of the shorter side after resizing, in pixels.
    pub resize: NonZeroU32,
    /// Side of the cropped square, in pixels.
    pub crop: NonZeroU32,
    /// Resampling filter.
    pub interpolation: Interpolation,
    /// Mean per channel, in pixel units (0 to 255).
    pub mean: [f64; 3],
    /// Standard deviation per channel, in pixel units (0 to 255).
    pub std: [f64; 3],
}

impl Preprocess {
    /// Checks constraints that the types do not express.
    ///
    /// # Errors
    ///
    /// `bad-request` if the crop is larger than the resized image, or a number is invalid.
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

/// The model to run, in a format that the target supports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Name in the model store.
    pub name: String,
    /// Path of the file.
    pub path: PathBuf,
    /// `onnx`, ...
    pub format: String,
    /// SHA-256 of the file, checked by the orchestrator.
    pub sha256: String,
    /// Inputs that the request assumes.
    pub inputs: Vec<TensorSpec>,
    /// Outputs that the request assumes.
    pub outputs: Vec<TensorSpec>,
    /// Function that creates the network, for formats that contain only weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<String>,
}

/// One item, a batch of one: an image (`classify`), or a tensor for each model input (`tensor`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Item {
    /// Image file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// Tensors, by input name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<BTreeMap<String, TensorFile>>,
}

/// One inference on the first batch of items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Once {
    /// Whether to read the resident set size after each phase.
    pub memory: bool,
}

/// Warm inferences, cycling through the items, until both minima are met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// Minimum number of samples to keep.
    pub min_samples: NonZeroUsize,
    /// Minimum duration from the start of the first warm sample, in nanoseconds.
    pub min_ns: u64,
    /// Number of inferences after the second that are not kept.
    pub warmup: u64,
}

/// Every item once, in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {}

/// Warm inferences on demand, requested by lines on stdin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turns {
    /// Number of inferences after the second that are not kept.
    pub warmup: u64,
}

/// The measurement to make.
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

/// A request to a runner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Version of the protocol.
    #[serde(default = "current_version")]
    pub protocol: u32,
    /// The case's id.
    pub case: String,
    /// The task of the model.
    pub workload: Workload,
    /// The model.
    pub model: ModelFile,
    /// The inputs.
    pub inputs: Vec<Item>,
    /// Preprocessing of images; required for `classify`.
    #[serde(default)]
    pub preprocess: Option<Preprocess>,
    /// Text file with one label per line; line `i` is the label of output index `i`.
    #[serde(default)]
    pub labels: Option<PathBuf>,
    /// Settings of the session.
    #[serde(default)]
    pub settings: Settings,
    /// The measurement to make.
    #[serde(default)]
    pub measure: Measure,
    /// Number of best classes to report.
    #[serde(default = "default_top_k")]
    pub top_k: NonZeroUsize,
    /// Existing folder for the tensors that the runner writes.
    pub outputs_dir: PathBuf,
    /// Time when the process was spawned, in nanoseconds on the monotonic clock.
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
    /// Checks constraints that the types do not express.
    ///
    /// # Errors
    ///
    /// `bad-request`, naming the field.
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
