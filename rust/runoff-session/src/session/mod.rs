//! Sessions: loaded models that can be run.

mod arena;
mod binding;
mod buffers;
mod builder;
mod call;
mod choice;
mod device;
mod empty;
mod initializer;
mod metadata;
mod options;
mod profiling;
mod providers;
mod run_options;
mod source;
mod value_info;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ort::session::builder::SessionBuilder;

use crate::dlpack;
use crate::dtype::Dtype;
use crate::environment::Environment;
use crate::error::{Error, Kind};
use crate::mapping::MappedSession;
use crate::settings::Settings;
use crate::threads::thread_count;

pub use arena::ArenaStatistics;
pub use buffers::{Buffers, Parts, Results};
pub use builder::Builder;
pub use choice::Choice;
use device::Device;
pub use empty::empty_sequence;
pub use initializer::Initializer;
pub use metadata::Metadata;
pub use providers::{CPU, providers, unavailable_providers};
pub use run_options::RunOptions;
pub use source::Source;
pub(crate) use source::{check_file, unreadable};
pub use value_info::{TensorSpec, ValueInfo, ValueType, show_shape};

/// Precisions that a model's file may be in. The file decides what is computed; the setting names it.
pub const PRECISIONS: [&str; 5] = ["fp32", "fp16", "bf16", "int8", "int8-static"];

/// Extension of files in ONNX Runtime's own format.
pub const PREPARED: &str = "ort";

enum Loaded {
    File(ort::session::Session),
    Mapped(MappedSession),
}

/// A loaded model. Any number of threads can run it concurrently.
pub struct Session {
    loaded: Arc<Loaded>,
    device: Device,
    /// Inputs, followed by initialisers that can be overridden.
    inputs: Vec<ValueInfo>,
    needed: usize,
    outputs: Vec<ValueInfo>,
    threads: Option<usize>,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, outputs, threads, .. } = self;
        let mut shown = formatter.debug_struct("Session");
        shown.field("inputs", inputs).field("outputs", outputs).field("threads", threads).finish_non_exhaustive()
    }
}

impl Session {
    /// Creates a session from the model file `path`; a file with the extension `ort` is mapped and used in place.
    ///
    /// Such a file can be replaced or removed at any time, but must not be truncated or written to: truncation ends
    /// this process with SIGBUS, and writing changes the outputs. ONNX Runtime checks only the structure of the file:
    /// use files from [`prepare`](crate::prepare).
    ///
    /// Settings that are `None` keep ONNX Runtime's default.
    ///
    /// # Errors
    ///
    /// `provider-unavailable`, `model-missing`, `model-unreadable` or `runtime-failed`.
    pub fn open(environment: &Environment, path: &Path, settings: &Settings) -> Result<Self, Error> {
        Self::of(environment, Source::File(path), settings)
    }

    /// As [`Self::open`], of a model anywhere.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn of(environment: &Environment, source: Source<'_>, settings: &Settings) -> Result<Self, Error> {
        Builder::new(environment, settings)?.open(source)
    }

    /// Creates a session with a builder for `provider`, whose memory is that of `device`.
    fn build(mut builder: SessionBuilder, device: Device, source: Source<'_>, provider: &str) -> Result<Self, Error> {
        source.check()?;
        let before = thread_count();
        let loaded = match source {
            Source::File(path) if path.extension().is_some_and(|extension| extension == PREPARED) => {
                MappedSession::open(&mut builder, path).map(Loaded::Mapped)
            }
            Source::File(path) => {
                builder.commit_from_file(path).map(Loaded::File).map_err(|error| error.message().to_owned())
            }
            Source::Bytes(bytes) => of_bytes(builder, bytes).map(Loaded::File),
        };
        let refused = |reason: &str| providers::refused(provider, reason);
        let loaded = loaded.map_err(|reason| refused(&reason).unwrap_or_else(|| source.unreadable(&reason)))?;
        let threads = thread_count().zip(before).map(|(after, before)| after.saturating_sub(before) + 1);
        // A GPU driver also starts threads, which cannot be distinguished from compute threads.
        let threads = threads.filter(|_| device.is_host());
        let inner = loaded.session();
        let mut inputs: Vec<ValueInfo> = inner.inputs().iter().map(ValueInfo::of).collect();
        let needed = inputs.len();
        inputs.extend(inner.overridable_initializers().iter().map(|info| ValueInfo::new(info.name(), info.dtype())));
        let outputs = inner.outputs().iter().map(ValueInfo::of).collect();
        Ok(Self { loaded: Arc::new(loaded), device, inputs, needed, outputs, threads })
    }

    /// Inputs, in graph order.
    #[must_use]
    pub fn inputs(&self) -> &[ValueInfo] {
        &self.inputs[..self.needed]
    }

    /// Initialisers that may be given like inputs, and then replace the model's own values.
    #[must_use]
    pub fn initializers(&self) -> &[ValueInfo] {
        &self.inputs[self.needed..]
    }

    /// Outputs, in graph order.
    #[must_use]
    pub fn outputs(&self) -> &[ValueInfo] {
        &self.outputs
    }

    /// Compute threads: those started while the session was created, and the caller's. `None` on a GPU, or if the
    /// system does not count threads.
    #[must_use]
    pub const fn threads(&self) -> Option<usize> {
        self.threads
    }

    /// Whether the model file is mapped and its weights are used in place.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        matches!(*self.loaded, Loaded::Mapped(_))
    }

    /// Name, index and driver of the device; `None` for the host.
    #[must_use]
    pub fn device(&self) -> Option<String> {
        self.device.describe()
    }

    /// Whether inputs and outputs have to be copied to and from a device.
    #[must_use]
    pub const fn is_on_device(&self) -> bool {
        !self.device.is_host()
    }

    /// Where its tensors are, as `DLPack` says it.
    #[must_use]
    pub const fn memory(&self) -> dlpack::Device {
        self.device.exchanged()
    }

    /// Metadata stored in the model.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        Metadata::of(self.loaded.session())
    }

    /// Checks that the model has exactly the `expected` inputs; optional ones may be missing.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, naming the first input that differs.
    pub fn check_inputs(&self, expected: &[TensorSpec]) -> Result<(), Error> {
        for spec in expected {
            let own = self.info(&spec.name)?;
            if own.kind != spec.dtype {
                return Err(mismatch(&format!("input {:?} is {}, not {}", own.name, own.kind, spec.dtype)));
            }
            if !own.spec().agrees_with(spec) {
                let (own_shape, shape) = (show_shape(&own.shape), show_shape(&spec.shape));
                return Err(mismatch(&format!("input {:?} has the shape {own_shape}, not {shape}", own.name)));
            }
        }
        let is_needed = |own: &&ValueInfo| !matches!(own.value, ValueType::Optional(_));
        let needed = self.inputs().iter().filter(is_needed);
        let unknown = needed.into_iter().find(|own| expected.iter().all(|spec| spec.name != own.name));
        unknown.map_or(Ok(()), |own| Err(missing(own)))
    }

    /// Finds the index of the input `name`, or of an initialiser that can be overridden; these follow the inputs.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, listing the inputs.
    pub fn input(&self, name: &str) -> Result<usize, Error> {
        self.inputs.iter().position(|input| input.name == name).ok_or_else(|| {
            let names: Vec<_> = self.inputs().iter().map(|input| input.name.as_str()).collect();
            mismatch(&format!("the model has no input {name:?} (it has: {})", names.join(", ")))
        })
    }

    /// The input at the index `place`.
    #[must_use]
    pub fn input_at(&self, place: usize) -> &ValueInfo {
        &self.inputs[place]
    }

    /// Finds the index of the output `name`.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, listing the outputs.
    pub fn output(&self, name: &str) -> Result<usize, Error> {
        self.outputs.iter().position(|output| output.name == name).ok_or_else(|| {
            let names: Vec<_> = self.outputs.iter().map(|output| output.name.as_str()).collect();
            mismatch(&format!("the model has no output {name:?} (it has: {})", names.join(", ")))
        })
    }

    /// Checks that a tensor matches the input at the index `place`.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, with the expected type and shape.
    pub fn check_tensor(&self, place: usize, dtype: Dtype, shape: &[i64]) -> Result<(), Error> {
        let own = &self.inputs[place];
        if own.dtype == Some(dtype) && own.takes(shape) {
            return Ok(());
        }
        Err(own.spec().unfit(dtype, &format!("{shape:?}")))
    }

    /// Checks that `places` contain every input that is not optional.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, naming the first missing input.
    pub fn check_all_given(&self, places: &[usize]) -> Result<(), Error> {
        let is_needed = |place: &usize| !matches!(self.inputs[*place].value, ValueType::Optional(_));
        let left_out = (0..self.needed).find(|place| !places.contains(place) && is_needed(place));
        left_out.map_or(Ok(()), |place| Err(missing(&self.inputs[place])))
    }

    /// Statistics of the arena that holds the session's memory on the CPU; `None` without an arena, and before ONNX
    /// Runtime 1.23.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn arena(&self) -> Result<Option<ArenaStatistics>, Error> {
        arena::statistics(self.loaded.session())
    }

    /// Stops the profiling that the builder started; returns the path of the file.
    ///
    /// Runs in progress may be missing from the file, and later runs are not recorded.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn end_profiling(&self) -> Result<String, Error> {
        profiling::end(self.loaded.session())
    }

    /// Time at which the profiling began, in nanoseconds of ONNX Runtime's clock; 0 without profiling.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn profiling_start_ns(&self) -> Result<u64, Error> {
        self.loaded.session().profiling_start_ns().map_err(|error| Error::runtime("reading the profiling time", &error))
    }

    fn info(&self, name: &str) -> Result<&ValueInfo, Error> {
        self.input(name).map(|place| &self.inputs[place])
    }
}

impl Loaded {
    fn session(&self) -> &ort::session::Session {
        match self {
            Self::File(session) => session,
            Self::Mapped(mapped) => mapped.session(),
        }
    }
}

/// Makes a session that does not refer to `bytes` afterwards, even if the builder was given settings to that effect.
fn of_bytes(mut builder: SessionBuilder, bytes: &[u8]) -> Result<ort::session::Session, String> {
    for entry in ["session.use_ort_model_bytes_directly", "session.use_ort_model_bytes_for_initializers"] {
        builder = builder.with_config_entry(entry, "0").map_err(|error| error.message().to_owned())?;
    }
    builder.commit_from_memory(bytes).map_err(|error| error.message().to_owned())
}

fn missing(info: &ValueInfo) -> Error {
    mismatch(&format!("the model also needs the input {:?}", info.name))
}

fn mismatch(message: &str) -> Error {
    Error::new(Kind::ModelMismatch, message, "compare the request with the model's inputs and outputs")
}
