//! The request to a runner. Unknown fields are errors.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use runoff_session::{Error, Settings, TensorSpec};
use serde::{Deserialize, Serialize};

use super::{Prompt, Segment, bad_request};

/// The task of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Image to label.
    Classify,
    /// Any inputs to any outputs.
    Tensor,
    /// Image, and prompts if there are any, to masks.
    Segment,
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

/// A tensor on disk: raw little-endian elements in C order, without a header; strings with their lengths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFile {
    /// Path of the file.
    pub path: PathBuf,
    /// `NumPy` dtype name of the elements, `bfloat16` or `str`.
    pub dtype: String,
    /// Dimensions; the first is 1 if items are joined in batches.
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
            return Err(bad_request(message));
        }
        let finite = self.mean.iter().chain(&self.std).all(|value| value.is_finite());
        if !finite || self.std.contains(&0.0) {
            return Err(bad_request("preprocess.mean and preprocess.std must be finite, and std not zero"));
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
    /// Folder that the builder's module is imported from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder_folder: Option<String>,
    /// The second network of `segment`, from embeddings and prompts to masks; the first is the encoder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<Box<ModelFile>>,
}

/// One item: an image (`classify`, `segment`), or a tensor for each model input (`tensor`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Item {
    /// Image file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<PathBuf>,
    /// Tensors, by input name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensors: Option<BTreeMap<String, TensorFile>>,
    /// Prompts (`segment`); without them the whole picture is segmented, with a grid of points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<Vec<Prompt>>,
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

/// Inferences with the runtime's own profiler on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operators {
    /// Number of inferences whose nodes are reported.
    pub inferences: NonZeroUsize,
    /// Number of inferences after the second that are not kept.
    pub warmup: u64,
}

/// As `Once`, with the resident memory by mapping after each phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mappings {}

/// How requests reach the runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Lines on stdin and stdout.
    Pipe,
    /// HTTP/1.1 on a port of the loopback interface.
    Http,
}

/// Requests that arrive at any time, from another process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// How requests reach the runner.
    pub transport: Transport,
    /// Number of threads that call the session.
    #[serde(default = "one")]
    pub workers: NonZeroUsize,
    /// Maximum number of requests in one inference.
    #[serde(default = "one")]
    pub max_batch: NonZeroUsize,
    /// How long the oldest request waits for others to fill a batch, in microseconds.
    #[serde(default)]
    pub max_wait_us: u64,
    /// Maximum number of requests that wait.
    #[serde(default = "default_queue")]
    pub max_queue: NonZeroUsize,
    /// Number of inferences after the second that are not kept.
    pub warmup: u64,
}

const fn one() -> NonZeroUsize {
    NonZeroUsize::MIN
}

const fn default_queue() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(1023)
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
    /// Time by node.
    Operators(Operators),
    /// Memory by mapping.
    Mappings(Mappings),
    /// Requests from another process.
    Load(Load),
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
    /// How pictures become masks; required for `segment`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<Segment>,
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
            return Err(bad_request(message));
        }
        if self.inputs.is_empty() {
            return Err(bad_request("inputs is empty"));
        }
        for (index, item) in self.inputs.iter().enumerate() {
            self.check_item(index, item)?;
        }
        match (&self.preprocess, &self.segment, self.workload) {
            (None, _, Workload::Classify) => Err(bad_request("preprocess is missing: classify needs it")),
            (Some(preprocess), _, Workload::Classify) => preprocess.check(),
            (_, None, Workload::Segment) => Err(bad_request("segment is missing: segment needs it")),
            (_, Some(segment), Workload::Segment) => segment.check(),
            (_, _, Workload::Tensor) => Ok(()),
        }?;
        self.check_load()
    }

    fn check_load(&self) -> Result<(), Error> {
        let batch = self.settings.batch;
        match (self.measure, self.workload) {
            (Measure::Load(_), Workload::Segment) => {
                Err(bad_request("measure.kind: load takes no pictures to segment"))
            }
            (Measure::Load(_), _) if batch.get() > 1 => Err(bad_request(format!(
                "settings.batch is {batch}: load makes its own batches, of up to measure.max_batch"
            ))),
            _ => Ok(()),
        }
    }

    fn check_item(&self, index: usize, item: &Item) -> Result<(), Error> {
        let missing = |field: &str, workload: &str| {
            Err(bad_request(format!("inputs[{index}].{field} is missing: {workload} needs it")))
        };
        match self.workload {
            Workload::Classify if item.image.is_none() => missing("image", "classify"),
            Workload::Segment if item.image.is_none() => missing("image", "segment"),
            Workload::Tensor if item.tensors.is_none() => missing("tensors", "tensor"),
            Workload::Segment => check_prompts(index, item.prompts.as_deref()),
            Workload::Classify | Workload::Tensor => Ok(()),
        }
    }
}

fn check_prompts(index: usize, prompts: Option<&[Prompt]>) -> Result<(), Error> {
    if prompts.is_some_and(<[_]>::is_empty) {
        return Err(bad_request(format!("inputs[{index}].prompts is empty: remove it to segment the whole picture")));
    }
    let mut prompts = prompts.unwrap_or_default().iter().enumerate();
    prompts.try_for_each(|(place, prompt)| {
        prompt.check(&format!("inputs[{index}].prompts[{place}]"), prompt.mask.is_some())
    })
}
