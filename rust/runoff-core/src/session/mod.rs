//! A model that can run.

mod binding;
mod buffers;
mod call;
mod choice;
mod device;
mod empty;
mod metadata;
mod options;
mod profiling;
mod providers;
mod source;
mod value_info;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ort::environment::Environment;
use ort::session::builder::SessionBuilder;
use ort::value::ValueType;

use crate::dlpack;
use crate::dtype::Dtype;
use crate::error::{Error, Kind};
use crate::mapping::MappedSession;
use crate::memory;
use crate::protocol::{Settings, TensorSpec};

pub use buffers::{Buffers, Parts, Results};
pub use choice::Choice;
pub use device::Device;
pub use empty::empty_sequence;
pub use metadata::Metadata;
pub use options::{builder, builder_for};
pub use providers::{CPU, lacking, providers};
pub use source::Source;
pub(crate) use source::{check_file, unreadable};
pub use value_info::{ValueInfo, show_shape};

/// Precisions that they compute in.
pub const PRECISIONS: [&str; 1] = ["fp32"];

/// Extension of files in ONNX Runtime's own format.
pub const PREPARED: &str = "ort";

enum Loaded {
    File(ort::session::Session),
    Mapped(MappedSession),
}

/// A model, loaded and ready. Any number of threads may run it at once.
pub struct Session {
    loaded: Arc<Loaded>,
    device: Device,
    /// Inputs, then initialisers that may be given like inputs.
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
    /// Makes a session of the model in the file `path`; one with the extension `ort` is mapped and used in place.
    ///
    /// Such a file may be replaced or removed at any time, but not cut short or written to: the first ends this process
    /// with SIGBUS, the second changes its answers. ONNX Runtime checks the file's structure, not what it means: use what
    /// [`prepare`](crate::prepare) made.
    ///
    /// Settings that are `None` are left at ONNX Runtime's own default.
    ///
    /// # Errors
    ///
    /// `provider-unavailable`, `model-missing`, `model-unreadable` or `runtime-failed`.
    pub fn open(environment: &Environment, path: &Path, settings: &Settings) -> Result<Self, Error> {
        let (builder, device) = options::builder(environment, settings)?;
        Self::build(builder, device, Source::File(path), &settings.provider)
    }

    /// Makes a session of a model with a builder of [`builder`], which chose `device` for `provider`, and may have been
    /// given more settings since.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn build(
        mut builder: SessionBuilder,
        device: Device,
        source: Source<'_>,
        provider: &str,
    ) -> Result<Self, Error> {
        source.check()?;
        let before = memory::thread_count();
        let loaded = match source {
            Source::File(path) if path.extension().is_some_and(|extension| extension == PREPARED) => {
                MappedSession::open(&mut builder, path).map(Loaded::Mapped)
            }
            Source::File(path) => {
                builder.commit_from_file(path).map(Loaded::File).map_err(|error| error.message().to_owned())
            }
            Source::Bytes(bytes) => {
                builder.commit_from_memory(bytes).map(Loaded::File).map_err(|error| error.message().to_owned())
            }
        };
        let refused = |reason: &str| providers::refused(provider, reason);
        let loaded = loaded.map_err(|reason| refused(&reason).unwrap_or_else(|| source.unreadable(&reason)))?;
        let threads = memory::thread_count().zip(before).map(|(after, before)| after.saturating_sub(before) + 1);
        // A GPU's driver starts threads too, which cannot be distinguished from those that compute.
        let threads = threads.filter(|_| device.is_host());
        let inner = loaded.session();
        let mut inputs: Vec<ValueInfo> = inner.inputs().iter().map(ValueInfo::of).collect();
        let needed = inputs.len();
        inputs.extend(inner.overridable_initializers().iter().map(|info| ValueInfo::new(info.name(), info.dtype())));
        let outputs = inner.outputs().iter().map(ValueInfo::of).collect();
        Ok(Self { loaded: Arc::new(loaded), device, inputs, needed, outputs, threads })
    }

    /// Inputs, in the order of the graph.
    #[must_use]
    pub fn inputs(&self) -> &[ValueInfo] {
        &self.inputs[..self.needed]
    }

    /// Initialisers that may be given like inputs, and then replace the model's own values.
    #[must_use]
    pub fn initializers(&self) -> &[ValueInfo] {
        &self.inputs[self.needed..]
    }

    /// Outputs, in the order of the graph.
    #[must_use]
    pub fn outputs(&self) -> &[ValueInfo] {
        &self.outputs
    }

    /// Threads that compute: those that making the session started, and the caller's. `None` where the system
    /// does not count them, and on a GPU.
    #[must_use]
    pub const fn threads(&self) -> Option<usize> {
        self.threads
    }

    /// Whether the model's file is mapped, and its weights are used in place.
    #[must_use]
    pub fn is_mapped(&self) -> bool {
        matches!(*self.loaded, Loaded::Mapped(_))
    }

    /// The device that computes, by name, index and driver; `None` where that is the host.
    #[must_use]
    pub fn device(&self) -> Option<String> {
        self.device.describe()
    }

    /// Whether inputs and outputs have to be copied to and from the memory of a device.
    #[must_use]
    pub const fn is_on_device(&self) -> bool {
        !self.device.is_host()
    }

    /// Where its tensors are, as `DLPack` says it.
    #[must_use]
    pub const fn memory(&self) -> dlpack::Device {
        self.device.exchanged()
    }

    /// What the model's maker wrote into it.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        Metadata::of(self.loaded.session())
    }

    /// Checks that the model has exactly the inputs that were `expected`.
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
            if !own.agrees_with(spec) {
                let (own_shape, shape) = (show_shape(&own.shape), show_shape(&spec.shape));
                return Err(mismatch(&format!("input {:?} has the shape {own_shape}, not {shape}", own.name)));
            }
        }
        let unknown = self.inputs().iter().find(|own| expected.iter().all(|spec| spec.name != own.name));
        unknown.map_or(Ok(()), |own| Err(missing(own)))
    }

    /// Finds the place of the input `name`: one of `inputs`, or behind them an initialiser that may be given too.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, saying which inputs there are.
    pub fn input(&self, name: &str) -> Result<usize, Error> {
        self.inputs.iter().position(|input| input.name == name).ok_or_else(|| {
            let names: Vec<_> = self.inputs().iter().map(|input| input.name.as_str()).collect();
            mismatch(&format!("the model has no input {name:?} (it has: {})", names.join(", ")))
        })
    }

    /// What goes into the input at `place`.
    #[must_use]
    pub fn input_at(&self, place: usize) -> &ValueInfo {
        &self.inputs[place]
    }

    /// Finds the place of the output `name`.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, saying which outputs there are.
    pub fn output(&self, name: &str) -> Result<usize, Error> {
        self.outputs.iter().position(|output| output.name == name).ok_or_else(|| {
            let names: Vec<_> = self.outputs.iter().map(|output| output.name.as_str()).collect();
            mismatch(&format!("the model has no output {name:?} (it has: {})", names.join(", ")))
        })
    }

    /// Checks that a tensor can go into the input at `place`.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, saying what the model takes.
    pub fn check_tensor(&self, place: usize, dtype: Dtype, shape: &[i64]) -> Result<(), Error> {
        let own = &self.inputs[place];
        if own.dtype == Some(dtype) && own.takes(shape) {
            return Ok(());
        }
        let shown = if own.shape.is_empty() { String::new() } else { format!(" of shape {}", show_shape(&own.shape)) };
        let message =
            format!("input {:?} takes {}{shown}, not {} of shape {shape:?}", own.name, own.kind, dtype.name());
        Err(mismatch(&message))
    }

    /// Checks that `places` cover every input that the model needs: all but those that may be nothing.
    ///
    /// # Errors
    ///
    /// `model-mismatch`, naming the first that is missing.
    pub fn check_all_given(&self, places: &[usize]) -> Result<(), Error> {
        let is_needed = |place: &usize| !matches!(self.inputs[*place].value, ValueType::Optional(_));
        let left_out = (0..self.needed).find(|place| !places.contains(place) && is_needed(place));
        left_out.map_or(Ok(()), |place| Err(missing(&self.inputs[place])))
    }

    /// Ends the profiling that the builder started; returns the path of the file.
    ///
    /// No run may be under way, and no later run is in the file.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn end_profiling(&self) -> Result<String, Error> {
        profiling::end(self.loaded.session())
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

fn missing(info: &ValueInfo) -> Error {
    mismatch(&format!("the model also needs the input {:?}", info.name))
}

fn mismatch(message: &str) -> Error {
    Error::new(Kind::ModelMismatch, message, "export the model again, or correct the request's model.inputs")
}
