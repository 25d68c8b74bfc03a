//! The request, as defined in `protocol/request.schema.json`. Fields that this runner does not use are ignored.

use std::fs;
use std::num::{NonZeroU16, NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::failure::Failure;

/// Maximum side of the model's input: its square is the maximum size of an image.
const MAX_CROP: u32 = 13_377;
/// The supported protocol version.
const VERSION: u32 = 1;
/// Supported settings; `threads` is always set.
pub const SETTINGS: [&str; 10] = [
    "threads",
    "optimization",
    "spinning",
    "spin_duration_us",
    "spin_backoff_max",
    "arena",
    "prepacking",
    "teardown",
    "prepared",
    "overlap",
];
/// Precisions that a model's file may be in.
pub const PRECISIONS: [&str; 5] = ["fp32", "fp16", "bf16", "int8", "int8-static"];

/// A request, for the workload `classify` on the CPU with a batch of one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default = "version")]
    protocol: u32,
    pub case: String,
    workload: String,
    pub model: Model,
    pub inputs: Vec<Item>,
    pub preprocess: Preprocess,
    pub labels: Option<PathBuf>,
    #[serde(default)]
    pub settings: Settings,
    #[serde(default)]
    pub measure: Measure,
    #[serde(default = "five")]
    pub top_k: NonZeroUsize,
    pub outputs_dir: PathBuf,
    #[serde(default, rename = "spawn_ns")]
    _spawn_ns: Option<u64>,
    #[serde(default, rename = "segment")]
    _segment: IgnoredAny,
}

/// The model file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    #[serde(rename = "name")]
    _name: String,
    pub path: PathBuf,
    pub format: String,
    #[serde(rename = "sha256")]
    _sha256: String,
    #[serde(rename = "inputs")]
    _inputs: IgnoredAny,
    #[serde(rename = "outputs")]
    _outputs: IgnoredAny,
    #[serde(default, rename = "builder")]
    _builder: Option<String>,
    #[serde(default, rename = "builder_folder")]
    _builder_folder: Option<String>,
    #[serde(default, rename = "decoder")]
    _decoder: IgnoredAny,
}

/// An image file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    pub image: PathBuf,
    #[serde(default, rename = "tensors")]
    _tensors: IgnoredAny,
    #[serde(default, rename = "prompts")]
    _prompts: IgnoredAny,
}

/// Preprocessing, from the image to the model's input.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    pub resize: u32,
    pub crop: u32,
    pub interpolation: Interpolation,
    pub mean: [f32; 3],
    pub std: [f32; 3],
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    Bilinear,
    Bicubic,
}

/// Session settings; `None` keeps ONNX Runtime's default.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    threads: Option<NonZeroU16>,
    pub optimization: Option<Optimization>,
    pub spinning: Option<bool>,
    pub spin_duration_us: Option<u32>,
    pub spin_backoff_max: Option<NonZeroU32>,
    pub arena: Option<bool>,
    pub prepacking: Option<bool>,
    pub teardown: Option<Teardown>,
    pub prepared: Option<Prepared>,
    pub overlap: Option<bool>,
    inter_threads: Option<NonZeroU32>,
    execution: Option<Execution>,
    provider: Option<String>,
    precision: Option<String>,
    batch: Option<NonZeroU32>,
    #[serde(rename = "profile")]
    _profile: String,
}

impl Settings {
    /// Threads per operation (intra-op).
    pub fn threads(&self) -> i32 {
        self.threads.map_or(1, |threads| threads.get().into())
    }

    /// Names of requested settings that are not applied.
    pub fn ignored(&self, format: &str) -> Vec<&'static str> {
        let needed = match self.prepared {
            Some(Prepared::Fastest(true)) => "ort",
            Some(Prepared::Optimized(_)) => "onnx",
            Some(Prepared::Fastest(false)) | None => format,
        };
        let found = [
            ("inter_threads", self.inter_threads.is_some()),
            ("execution", self.execution.is_some()),
            ("prepared", needed != format),
        ];
        found.into_iter().filter_map(|(name, is_ignored)| is_ignored.then_some(name)).collect()
    }
}

/// `false`, `true`, or `"onnx"`: the model was prepared, as an optimised ONNX file.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
pub enum Prepared {
    Fastest(bool),
    Optimized(OnnxWord),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnnxWord {
    Onnx,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimization {
    Disable,
    Basic,
    Extended,
    All,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Execution {
    Sequential,
    Parallel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Teardown {
    Full,
    Skip,
}

/// The measurement to make.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", deny_unknown_fields)]
pub enum Measure {
    #[default]
    #[serde(skip)]
    Default,
    Once {
        #[serde(default, rename = "memory")]
        _memory: bool,
    },
    Accuracy,
    Turns {
        warmup: usize,
    },
}

fn version() -> u32 {
    VERSION
}

fn five() -> NonZeroUsize {
    NonZeroUsize::MIN.saturating_add(4)
}

/// Reads the request in the file `path`.
///
/// # Errors
///
/// `bad-request`, naming the field; `provider-unavailable`.
pub fn read(path: &Path) -> Result<Request, Failure> {
    let shown = path.display();
    let text = fs::read(path).map_err(|error| Failure::bad_request(format!("request {shown}: {error}")))?;
    let request: Request =
        serde_json::from_slice(&text).map_err(|error| Failure::bad_request(format!("request {shown}: {error}")))?;
    check(&request)?;
    Ok(request)
}

fn check(request: &Request) -> Result<(), Failure> {
    let (settings, spec) = (&request.settings, &request.preprocess);
    if request.protocol != VERSION {
        return Err(Failure::bad_request(format!("protocol: {}, this runner speaks {VERSION}", request.protocol)));
    }
    if request.workload != "classify" {
        return Err(Failure::bad_request(format!("workload: {:?}, this runner does classify", request.workload)));
    }
    if request.inputs.is_empty() {
        return Err(Failure::bad_request("inputs: is empty"));
    }
    if settings.batch.is_some_and(|batch| batch.get() != 1) {
        return Err(Failure::bad_request("settings.batch: this runner takes batches of 1"));
    }
    if spec.crop == 0 || spec.crop > spec.resize || spec.std.contains(&0.0) {
        return Err(Failure::bad_request("preprocess: crop is 1 to resize, and std is not zero"));
    }
    if spec.crop > MAX_CROP {
        return Err(Failure::bad_request(format!("preprocess.crop: {}, the largest is {MAX_CROP}", spec.crop)));
    }
    if !request.outputs_dir.is_dir() {
        let shown = request.outputs_dir.display();
        return Err(Failure::bad_request(format!("outputs_dir: no such folder: {shown}")));
    }
    if settings.spin_duration_us.is_some_and(|spin_us| spin_us > 1_000_000)
        || settings.spin_backoff_max.is_some_and(|most| most.get() > 64)
    {
        return Err(Failure::bad_request("settings: spin_duration_us is at most 1000000, spin_backoff_max at most 64"));
    }
    if settings.provider.as_deref().is_some_and(|provider| provider != "cpu") {
        let message = "settings.provider: this runner computes on the provider cpu";
        return Err(Failure::new("provider-unavailable", message, "set provider = \"cpu\""));
    }
    if settings.precision.as_deref().is_some_and(|precision| !PRECISIONS.contains(&precision)) {
        let message = format!("settings.precision: is not one of {}", PRECISIONS.join(", "));
        return Err(Failure::new("provider-unavailable", message, "set precision = \"fp32\""));
    }
    Ok(())
}

#[cfg(test)]
#[path = "../../runoff-core/tests/schema/mod.rs"]
mod schema;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn requests_are_decoded_as_the_schema_says() {
        let schema = schema::protocol("request.schema.json");
        for name in ["once-classify", "turns-classify"] {
            let mut golden = schema::protocol(&format!("golden/{name}.request.json"));
            golden["outputs_dir"] = json!("/");
            let changes = schema::changes(&schema, &golden);
            assert!(changes.len() > 100, "{}", changes.len());
            for schema::Changed { place, message, is_valid } in changes {
                let request: Result<Request, _> = serde_json::from_value(message.clone());
                let read = request.map_err(|error| error.to_string());
                let read = read.and_then(|request| check(&request).map_err(|failure| failure.message));
                let is_right = read.is_ok() == is_valid || is_of_this_runner(&place, &message, is_valid);
                assert!(is_right, "{place}: {:?} for {message}", read.err());
            }
        }
    }

    /// Intended differences of this runner: fields that it does not support, does not check, or treats null as missing.
    fn is_of_this_runner(place: &str, message: &Value, is_valid: bool) -> bool {
        let needs = ["workload", "preprocess", "preprocess.resize", "inputs.0.image"];
        let is_null = message.pointer(&format!("/{}", place.replace('.', "/"))) == Some(&Value::Null);
        let unseen = ["model.inputs", "model.outputs", "model.decoder", "inputs.0.prompts", "segment"];
        let is_unseen = unseen.iter().any(|unseen| place.starts_with(unseen));
        if is_valid { needs.contains(&place) } else { is_unseen || is_null && place.starts_with("settings.") }
    }
}
