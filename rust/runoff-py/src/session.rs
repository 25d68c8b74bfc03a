//! A loaded model.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use runoff_core::classify;
use runoff_session::{Error, Kind};

use crate::arguments::{BATCH, Listed, Model, TOP, optional_whole, positive, whole, within};
use crate::binding::Binding;
use crate::describe::{Metadata, TensorInfo};
use crate::errors::{argument, bad_argument, mismatch, to_python};
use crate::feeds::{Feeds, Few};
use crate::initializers::Initializers;
use crate::on_device::DeviceBinding;
use crate::options::{RunOptions, Way};
use crate::order::{self, Order};
use crate::output::to_object;
use crate::preprocess::Spec;
use crate::quick::{Outcome, Quick};
use crate::settings::{Extras, Given, Threads, copy_tables, threads};
use crate::{call, runtime, targets};

#[doc = stub!("Session")]
#[pyclass(frozen, module = "runoff_ort")]
pub struct Session {
    pub core: runoff_session::Session,
    /// Names of the outputs, made once.
    names: Vec<Py<PyString>>,
    quick: Option<Quick>,
    /// What it was made of, for a copy in another process.
    file: Option<PathBuf>,
    given: Py<PyDict>,
    // Dropped after `core`, which reads their memory.
    _initializers: Initializers,
}

/// Index and confidence of classes, best first.
type Guesses = Vec<(usize, f64)>;

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (path, *, profile = "default", threads = Threads::OfProfile, inter_threads = None, optimization = None,
        spinning = None, spin_duration_us = None, spin_backoff_max = None, arena = None, prepacking = None, execution = None, provider = "cpu", precision = "fp32",
        batch = 1, force_spinning_stop = false, config = None, dimensions = None, log_level = None, profiling = None,
        providers = None, custom_op_libraries = None, denotations = None, initializers = None,
        external_initializers = None, session_options = None))]
    #[expect(clippy::too_many_arguments, reason = "one for each setting")]
    #[expect(clippy::needless_pass_by_value, reason = "extracted from Python objects")]
    fn new(
        py: Python<'_>,
        path: Model<'_>,
        profile: &str,
        #[pyo3(from_py_with = threads)] threads: Threads,
        #[pyo3(from_py_with = optional_whole)] inter_threads: Option<i64>,
        optimization: Option<&str>,
        spinning: Option<bool>,
        #[pyo3(from_py_with = optional_whole)] spin_duration_us: Option<i64>,
        #[pyo3(from_py_with = optional_whole)] spin_backoff_max: Option<i64>,
        arena: Option<bool>,
        prepacking: Option<bool>,
        execution: Option<&str>,
        provider: &str,
        precision: &str,
        #[pyo3(from_py_with = whole)] batch: i64,
        force_spinning_stop: bool,
        config: Option<&Bound<'_, PyAny>>,
        dimensions: Option<&Bound<'_, PyAny>>,
        log_level: Option<&str>,
        profiling: Option<PathBuf>,
        providers: Option<Order>,
        custom_op_libraries: Option<Listed<PathBuf>>,
        denotations: Option<&Bound<'_, PyAny>>,
        initializers: Option<&Bound<'_, PyAny>>,
        external_initializers: Option<&Bound<'_, PyAny>>,
        session_options: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let given = Given {
            profile,
            threads,
            inter_threads,
            optimization,
            spinning,
            spin_duration_us,
            spin_backoff_max,
            arena,
            prepacking,
            execution,
            provider,
            precision,
            batch,
            force_spinning_stop,
        };
        let settings = given.settings(py)?;
        given.warn(py, &settings, path.path().as_deref())?;
        let tables = copy_tables(
            py,
            [
                ("config", config),
                ("dimensions", dimensions),
                ("denotations", denotations),
                ("session_options", session_options),
                ("initializers", initializers),
                ("external_initializers", external_initializers),
            ],
        )?;
        // first: values of initialisers are the library's
        let environment = runtime::environment(py)?;
        let extras = Extras::of(py, threads, &tables, log_level, profiling, custom_op_libraries)?;
        let (source, choices) = (path.source(), order::choices(py, provider, providers.as_ref())?);
        let open = || {
            let builder = runoff_session::Builder::with_providers(&environment, &settings, &choices)?;
            extras.apply(builder)?.open(source)
        };
        let core = py.detach(open).map_err(|error| to_python(py, &error))?;
        let names = core.outputs().iter().map(|info| PyString::intern(py, &info.name).unbind()).collect();
        let quick = Quick::of(&core);
        let given = given.arguments(py)?;
        extras.add_to(&given)?;
        tables.iter().try_for_each(|(name, table)| given.set_item(name, table))?;
        given.set_item("providers", providers.map(|order| order.to_python(py)).transpose()?)?;
        Ok(Self {
            core,
            names,
            quick,
            file: path.path(),
            given: given.unbind(),
            _initializers: extras.initializers.kept(),
        })
    }

    #[doc = stub!("Session.__getnewargs_ex__")]
    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<((&Path,), &Bound<'py, PyDict>)> {
        let file = self.file.as_deref().ok_or_else(|| {
            PyTypeError::new_err("a session of bytes cannot be pickled: send the bytes, or make it of a file")
        })?;
        Ok(((file,), self.given.bind(py)))
    }

    #[doc = stub!("Session.run")]
    #[pyo3(signature = (feeds, outputs = None, *, timeout = None, options = None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        feeds: &Bound<'py, PyAny>,
        outputs: Option<Listed<String>>,
        timeout: Option<f64>,
        options: Option<&Bound<'py, RunOptions>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let way = Way::of(py, options, timeout)?;
        let mut doubted = None;
        if let (Some(quick), None, true) = (&self.quick, &outputs, way.is_plain()) {
            match quick.run(&self.core, feeds, &self.names)? {
                Outcome::Ran(all) => return Ok(all),
                Outcome::General => {}
                Outcome::Doubted => doubted = Some(quick),
            }
        }
        let feeds = Feeds::read(&self.core, feeds)?;
        let places = match outputs {
            None => (0..self.names.len()).collect(),
            Some(names) => self.places(py, &names.0)?,
        };
        let made = call::run(py, &way, &self.core, &feeds, &places)?;
        if let Some(quick) = doubted {
            quick.learn(&made);
        }
        let in_place = feeds.in_place();
        let all = PyDict::new(py);
        for (&place, value) in places.iter().zip(made) {
            let info = &self.core.outputs()[place];
            let object = value.map(|value| to_object(py, info, value, &in_place)).transpose()?;
            all.set_item(self.output_name(py, place), object)?;
        }
        Ok(all)
    }

    #[doc = stub!("Session.run_async")]
    #[pyo3(signature = (feeds, outputs = None, *, options = None))]
    fn run_async<'py>(
        slf: &Bound<'py, Self>,
        feeds: &Bound<'py, PyAny>,
        outputs: Option<&Bound<'py, PyAny>>,
        options: Option<&Bound<'py, RunOptions>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("runoff_ort._asynchronous")?.call_method1("run", (slf, feeds, outputs, options))
    }

    #[doc = stub!("Session.run_into")]
    #[pyo3(signature = (feeds, outputs, *, timeout = None, options = None))]
    fn run_into(
        &self,
        py: Python<'_>,
        feeds: &Bound<'_, PyAny>,
        outputs: &Bound<'_, PyAny>,
        timeout: Option<f64>,
        options: Option<&Bound<'_, RunOptions>>,
    ) -> PyResult<()> {
        let way = Way::of(py, options, timeout)?;
        let feeds = Feeds::read(&self.core, feeds)?;
        let targets = targets::read(&self.core, outputs, feeds.in_place())?;
        if targets.is_empty() {
            return Err(bad_argument(py, "outputs names no output"));
        }
        call::run_into(py, &way, &self.core, &feeds, &targets)
    }

    #[doc = stub!("Session.bind")]
    #[pyo3(signature = (feeds, outputs = None))]
    fn bind(slf: &Bound<'_, Self>, feeds: &Bound<'_, PyAny>, outputs: Option<&Bound<'_, PyAny>>) -> PyResult<Binding> {
        Binding::new(slf, feeds, outputs)
    }

    #[doc = stub!("Session.on_device")]
    fn on_device(slf: &Bound<'_, Self>) -> PyResult<DeviceBinding> {
        DeviceBinding::new(slf)
    }

    #[doc = stub!("Session.classify")]
    #[pyo3(signature = (image_path, preprocess, top = 5))]
    fn classify(
        &self,
        py: Python<'_>,
        image_path: PathBuf,
        preprocess: Spec,
        #[pyo3(from_py_with = whole)] top: i64,
    ) -> PyResult<Guesses> {
        let mut guesses = self.classify_batch(py, Listed(vec![image_path]), preprocess, top, None)?;
        Ok(guesses.pop().unwrap_or_default())
    }

    #[doc = stub!("Session.classify_batch")]
    #[pyo3(signature = (image_paths, preprocess, top = 5, batch = None))]
    #[expect(clippy::needless_pass_by_value, reason = "extracted from Python objects")]
    fn classify_batch(
        &self,
        py: Python<'_>,
        image_paths: Listed<PathBuf>,
        preprocess: Spec,
        #[pyo3(from_py_with = whole)] top: i64,
        #[pyo3(from_py_with = optional_whole)] batch: Option<i64>,
    ) -> PyResult<Vec<Guesses>> {
        let wrong = |error: Error| argument(py, &error);
        let image_paths = image_paths.0;
        let top = within(top, "top", &TOP).map_err(wrong)?;
        let batch = batch.map(|batch| positive(batch, "batch", &BATCH)).transpose().map_err(wrong)?;
        let fixed = self.core.inputs().first().and_then(|info| info.shape.first().copied().flatten());
        let all = || {
            let mut preprocessor = preprocess.preprocessor()?;
            let size = fixed.or(batch.map(NonZeroUsize::get)).unwrap_or(image_paths.len()).max(1);
            let mut guesses = Vec::with_capacity(image_paths.len());
            for part in image_paths.chunks(size) {
                // A model that takes only full batches gets the last image again until one is full.
                let filling = part.last().filter(|_| fixed.is_some()).into_iter().cycle().take(size - part.len());
                let mut full: Vec<&PathBuf> = Vec::new();
                full.try_reserve_exact(size.max(part.len())).map_err(|_| too_many(size))?;
                full.extend(part.iter().chain(filling));
                guesses.extend(
                    classify::classify(&self.core, &mut preprocessor, &full, top, &[])?.into_iter().take(part.len()),
                );
            }
            Ok(guesses)
        };
        let guesses = py.detach(all).map_err(|error| to_python(py, &error))?;
        let pair = |guess: runoff_core::protocol::Guess| (guess.index, guess.confidence);
        Ok(guesses.into_iter().map(|image| image.into_iter().map(pair).collect()).collect())
    }

    #[doc = stub!("Session.end_profiling")]
    fn end_profiling(&self, py: Python<'_>) -> PyResult<String> {
        let path = py.detach(|| self.core.end_profiling()).map_err(|error| to_python(py, &error))?;
        if path.is_empty() {
            return Err(bad_argument(
                py,
                "no profile is being written: make the session with profiling, and end it once",
            ));
        }
        Ok(path)
    }

    #[doc = stub!("Session.profiling_start_ns")]
    fn profiling_start_ns(&self, py: Python<'_>) -> PyResult<u64> {
        self.core.profiling_start_ns().map_err(|error| to_python(py, &error))
    }

    #[doc = stub!("Session.inputs")]
    #[getter]
    fn inputs(&self) -> Vec<TensorInfo> {
        self.core.inputs().iter().map(TensorInfo::of).collect()
    }

    #[doc = stub!("Session.overridable_initializers")]
    #[getter]
    fn overridable_initializers(&self) -> Vec<TensorInfo> {
        self.core.initializers().iter().map(TensorInfo::of).collect()
    }

    #[doc = stub!("Session.outputs")]
    #[getter]
    fn outputs(&self) -> Vec<TensorInfo> {
        self.core.outputs().iter().map(TensorInfo::of).collect()
    }

    #[doc = stub!("Session.metadata")]
    #[getter]
    fn metadata(&self, py: Python<'_>) -> PyResult<Metadata> {
        self.core.metadata().map(Metadata::from).map_err(|error| to_python(py, &error))
    }

    #[doc = stub!("Session.device")]
    #[getter]
    fn device(&self) -> Option<String> {
        self.core.device()
    }

    #[doc = stub!("Session.threads")]
    #[getter]
    const fn threads(&self) -> Option<usize> {
        self.core.threads()
    }
}

fn too_many(batch: usize) -> Error {
    let message = format!("the model takes {batch} images at a time, more than there is memory for");
    Error::new(Kind::ModelMismatch, message, "export it with a smaller or a dynamic batch")
}

impl Session {
    /// Name of the output at `place`.
    pub fn output_name<'py>(&self, py: Python<'py>, place: usize) -> &Bound<'py, PyString> {
        self.names[place].bind(py)
    }

    /// Places of outputs, each once.
    fn places(&self, py: Python<'_>, names: &[String]) -> PyResult<Few<usize>> {
        let mut places = Few::new();
        for name in names {
            let place = self.core.output(name).map_err(|error| mismatch(py, &error))?;
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if places.is_empty() { Err(bad_argument(py, "outputs names no output")) } else { Ok(places) }
    }
}
