//! Sessions with options that settings do not have.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ort::session::builder::SessionBuilder;

use super::{Choice, Device, Initializer, Session, Source, choice, options};
use crate::environment::{Environment, LogLevel};
use crate::error::{Error, Kind};
use crate::settings::{Optimization, Settings};

/// A session in the making, with options that [`Settings`] do not have. They come after the settings.
pub struct Builder {
    inner: SessionBuilder,
    device: Device,
    /// The first provider.
    provider: String,
}

impl fmt::Debug for Builder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Builder").field("provider", &self.provider).finish_non_exhaustive()
    }
}

impl Builder {
    /// Starts with `settings`. Those that are `None` keep ONNX Runtime's default.
    ///
    /// # Errors
    ///
    /// `bad-request` for too many threads, `provider-unavailable` or `runtime-failed`.
    pub fn new(environment: &Environment, settings: &Settings) -> Result<Self, Error> {
        Self::with_providers(environment, settings, &Choice::alone(&settings.provider))
    }

    /// As [`Self::new`], with providers in order of preference instead of the one in `settings`: each takes the operations
    /// that those before it leave. Operations are left to the CPU only if its provider is the last.
    ///
    /// # Errors
    ///
    /// As [`Self::new`], and `bad-request` for no provider, for one that is listed twice or after the CPU's, and for
    /// invalid options.
    pub fn with_providers(environment: &Environment, settings: &Settings, choices: &[Choice]) -> Result<Self, Error> {
        options::check_threads(settings)?;
        let device = choice::load(choices)?;
        options::check_precision(settings)?;
        let inner = options::configure(environment, settings).map_err(|error| unfit(&error))?;
        Ok(Self { inner: choice::add(inner, settings, choices)?, device, provider: choices[0].name.clone() })
    }

    /// Lets ONNX Runtime choose the number of threads.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_all_threads(self) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_intra_threads(0)?))
    }

    /// Fixes the free dimension `name` of the model at `size`.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_dimension(self, name: &str, size: i64) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_dimension_override(name, size)?))
    }

    /// Fixes the dimensions that the model describes by `denotation` at `size`.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_denotation(self, denotation: &str, size: i64) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_dimension_override_by_denotation(denotation, size)?))
    }

    /// Sets the level of graph optimisation, which overrides the settings.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_optimization(self, level: Optimization) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_optimization_level(options::graph_level(level))?))
    }

    /// Writes the optimised model to the file `path`.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_optimized_model(self, path: &Path) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_optimized_model_path(path)?))
    }

    /// Decides whether outputs are the same in every run, at the cost of speed.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_deterministic_compute(self, is_on: bool) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_deterministic_compute(is_on)?))
    }

    /// Decides whether memory is planned by the pattern of earlier runs.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_memory_pattern(self, is_on: bool) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_memory_pattern(is_on)?))
    }

    /// Replaces an initialiser of the model by `value`.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_initializer(self, name: &str, value: &Initializer) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_initializer(name, Arc::clone(&value.0))?))
    }

    /// Uses `value` for an initialiser that the model stores in another file.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_external_initializer(self, name: &str, value: &Initializer) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_external_initializer(name, Arc::clone(&value.0))?))
    }

    /// Uses `content` for the file of initialisers that the model names by `path`.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_external_file(self, path: &Path, content: Arc<[u8]>) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_external_initializer_file_in_memory(path, content)?))
    }

    /// Sets the level of the session's log.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_log_level(self, level: LogLevel) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_log_level(level.to_onnx())?))
    }

    /// Sets how much is logged at the level [`LogLevel::Verbose`].
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_log_verbosity(self, verbosity: i32) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_log_verbosity(verbosity)?))
    }

    /// Sets the name of the session in the log.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_log_id(self, id: &str) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_log_id(id)?))
    }

    /// Writes a profile of all runs until [`Session::end_profiling`]. The file's name begins with `prefix`.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_profiling(self, prefix: &Path) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_profiling(prefix)?))
    }

    /// Sets one of ONNX Runtime's configuration entries.
    ///
    /// # Errors
    ///
    /// `runtime-failed`.
    pub fn with_config(self, name: &str, value: &str) -> Result<Self, Error> {
        self.with(|inner| Ok(inner.with_config_entry(name, value)?))
    }

    /// Registers the operators of the library `path`, which ONNX Runtime loads and keeps for as long as it is needed.
    ///
    /// # Errors
    ///
    /// `model-missing` if there is no such file, `bad-request` if it is not such a library.
    pub fn with_operators(self, path: &Path) -> Result<Self, Error> {
        if !path.is_file() {
            let message = format!("library of custom operators not found: {}", path.display());
            return Err(Error::new(Kind::ModelMissing, message, "check the path"));
        }
        let inner = self.inner.with_operator_library(path).map_err(|error| {
            let message = format!("{} is not a library of custom operators: {}", path.display(), error.message());
            Error::new(Kind::BadRequest, message, "build it for this machine; it exports RegisterCustomOps")
        })?;
        Ok(Self { inner, ..self })
    }

    /// Loads a model.
    ///
    /// # Errors
    ///
    /// As [`Session::open`].
    pub fn open(self, source: Source<'_>) -> Result<Session, Error> {
        Session::build(self.inner, self.device, source, &self.provider)
    }

    /// Loads the model `path`, and writes it to the file `target`: optimised, in ONNX Runtime's own format.
    ///
    /// # Errors
    ///
    /// ONNX Runtime's message.
    pub(crate) fn save(self, path: &Path, target: &Path) -> Result<(), String> {
        let inner = self.inner.with_optimized_model_path(target);
        let saved = inner.map_err(|error| error.message().to_owned())?.commit_from_file(path);
        saved.map(drop).map_err(|error| error.message().to_owned())
    }

    fn with(self, add: impl FnOnce(SessionBuilder) -> ort::Result<SessionBuilder>) -> Result<Self, Error> {
        let inner = add(self.inner).map_err(|error| unfit(&error))?;
        Ok(Self { inner, ..self })
    }
}

fn unfit(error: &ort::Error) -> Error {
    Error::runtime("applying the settings", error)
}
