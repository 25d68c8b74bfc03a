//! The request, as defined in `protocol/request.schema.json`, for tensors of float32 and a batch of one.

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::failure::Failure;

/// A request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    #[serde(default)]
    protocol: Option<u32>,
    pub case: String,
    workload: String,
    pub model: Model,
    pub inputs: Vec<Item>,
    #[serde(default, rename = "preprocess")]
    _preprocess: IgnoredAny,
    #[serde(default, rename = "labels")]
    _labels: IgnoredAny,
    #[serde(default)]
    pub settings: BTreeMap<String, Value>,
    #[serde(default)]
    pub measure: Measure,
    #[serde(default, rename = "top_k")]
    _top_k: IgnoredAny,
    pub outputs_dir: PathBuf,
    #[serde(default)]
    pub spawn_ns: Option<u64>,
}

/// The model file.
#[derive(Debug, Deserialize)]
pub struct Model {
    pub path: PathBuf,
    format: String,
    pub inputs: Vec<Spec>,
    pub outputs: Vec<Spec>,
}

/// An input or output of the model.
#[derive(Debug, Deserialize)]
pub struct Spec {
    pub name: String,
}

/// An item: a tensor file for each input.
#[derive(Debug, Deserialize)]
pub struct Item {
    tensors: Option<BTreeMap<String, TensorFile>>,
}

/// A tensor on disk.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TensorFile {
    path: PathBuf,
    dtype: String,
    shape: Vec<u32>,
}

/// A tensor of an item.
#[derive(Debug)]
pub struct Tensor {
    pub shape: Vec<u32>,
    pub elements: Vec<f32>,
}

/// What to measure.
#[derive(Debug, Default, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
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

impl Request {
    /// Reads and checks the request in the file `path`.
    ///
    /// # Errors
    ///
    /// `bad-request`, or `provider-unavailable` for a provider or a precision that this program does not have.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let fail = |error: &dyn std::fmt::Display| Failure::bad_request(format!("request {}: {error}", path.display()));
        let bytes = fs::read(path).map_err(|error| fail(&error))?;
        let request: Self = serde_json::from_slice(&bytes).map_err(|error| fail(&error))?;
        request.check()?;
        Ok(request)
    }

    fn check(&self) -> Result<(), Failure> {
        let setting = |name: &str| self.settings.get(name).and_then(Value::as_str);
        if !matches!(self.protocol, None | Some(1)) {
            return Err(Failure::bad_request("protocol: is not 1"));
        }
        if self.workload != "tensor" || self.model.format != "onnx" {
            return Err(Failure::bad_request("workload, model.format: webnn-rust takes tensor and onnx only"));
        }
        for (name, only) in [("provider", "cpu"), ("precision", "fp32")] {
            if let Some(value) = setting(name).filter(|&value| value != only) {
                let message = format!("settings.{name}: {value:?} is unavailable (webnn-rust has {only:?} only)");
                return Err(Failure::new("provider-unavailable", message, "use another target"));
            }
        }
        if self.settings.get("batch").is_some_and(|batch| batch.as_u64() != Some(1)) {
            return Err(Failure::bad_request("settings.batch: webnn-rust takes 1 only"));
        }
        if self.inputs.is_empty() || !self.outputs_dir.is_dir() {
            return Err(Failure::bad_request("inputs: is empty, or outputs_dir: no such folder"));
        }
        self.threads().map(|_| ())
    }

    /// The number of threads.
    ///
    /// # Errors
    ///
    /// `bad-request`.
    pub fn threads(&self) -> Result<NonZeroU16, Failure> {
        let Some(value) = self.settings.get("threads") else { return Ok(NonZeroU16::MIN) };
        let threads = value.as_u64().and_then(|count| u16::try_from(count).ok()).filter(|&count| count <= 1024);
        threads.and_then(NonZeroU16::new).ok_or_else(|| Failure::bad_request("settings.threads: is not 1 to 1024"))
    }

    /// Names of requested settings that this program does not have.
    pub fn ignored(&self) -> Vec<&str> {
        let known = ["threads", "batch", "provider", "precision", "profile"];
        let requested = self.settings.iter().filter(|(_, value)| !value.is_null());
        requested.map(|(name, _)| name.as_str()).filter(|name| !known.contains(name)).collect()
    }

    /// Shapes of the first item's tensors, in the order of the model's inputs.
    ///
    /// # Errors
    ///
    /// `model-mismatch`.
    pub fn shapes(&self) -> Result<Vec<Vec<u32>>, Failure> {
        Ok(self.files(0)?.into_iter().map(|file| file.shape.clone()).collect())
    }

    /// Reads the tensors of an item, in the order of the model's inputs.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, `tensor-unreadable` or `type-unsupported`.
    pub fn item(&self, number: usize) -> Result<Vec<Tensor>, Failure> {
        self.files(number)?.into_iter().map(TensorFile::read).collect()
    }

    fn files(&self, number: usize) -> Result<Vec<&TensorFile>, Failure> {
        let tensors = self.inputs[number].tensors.as_ref();
        let found = self.model.inputs.iter().map(|spec| tensors.and_then(|tensors| tensors.get(&spec.name)));
        found.collect::<Option<_>>().ok_or_else(|| {
            let message = format!("inputs[{number}].tensors: has not the model's inputs");
            Failure::new("model-mismatch", message, "compare the request with the model's manifest")
        })
    }
}

impl TensorFile {
    fn read(&self) -> Result<Tensor, Failure> {
        let fail = |kind, what: &str| {
            Failure::new(kind, format!("{}: {what}", self.path.display()), "check the tensor of the request")
        };
        if self.dtype != "float32" {
            return Err(fail("type-unsupported", &format!("is {}; webnn-rust reads float32 only", self.dtype)));
        }
        let bytes = fs::read(&self.path).map_err(|error| fail("tensor-unreadable", &error.to_string()))?;
        let elements: Vec<f32> =
            bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
        let wanted = self.shape.iter().try_fold(4_usize, |size, &side| size.checked_mul(side as usize));
        if wanted != Some(bytes.len()) {
            return Err(fail("tensor-unreadable", &format!("has {} bytes, not those of its shape", bytes.len())));
        }
        Ok(Tensor { shape: self.shape.clone(), elements })
    }
}
