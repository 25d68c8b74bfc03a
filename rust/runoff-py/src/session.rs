//! A loaded model.

use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use runoff_core::classify;
use runoff_core::session;

use crate::binding::Binding;
use crate::describe::{Metadata, TensorInfo};
use crate::errors::{bad_argument, mismatch, to_python};
use crate::feeds::{Feeds, Few};
use crate::on_device::DeviceBinding;
use crate::output::to_object;
use crate::preprocess::Spec;
use crate::quick::Quick;
use crate::settings::Given;
use crate::{call, runtime, targets};

/// A loaded model.
#[pyclass(frozen, module = "runoff_ort")]
pub struct Session {
    pub core: session::Session,
    /// Names of the outputs, made once.
    names: Vec<Py<PyString>>,
    quick: Option<Quick>,
}

/// Index and confidence of classes, best first.
type Guesses = Vec<(usize, f64)>;

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (path, *, profile = "default", threads = 1, inter_threads = None, optimization = None,
        spinning = None, arena = None, prepacking = None, execution = None, provider = "cpu", precision = "fp32",
        batch = 1, force_spinning_stop = false))]
    #[expect(clippy::too_many_arguments, reason = "one for each setting")]
    #[expect(clippy::needless_pass_by_value, reason = "extracted from Python objects")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        profile: &str,
        threads: usize,
        inter_threads: Option<usize>,
        optimization: Option<&str>,
        spinning: Option<bool>,
        arena: Option<bool>,
        prepacking: Option<bool>,
        execution: Option<&str>,
        provider: &str,
        precision: &str,
        batch: usize,
        force_spinning_stop: bool,
    ) -> PyResult<Self> {
        let given = Given {
            profile,
            threads,
            inter_threads,
            optimization,
            spinning,
            arena,
            prepacking,
            execution,
            provider,
            precision,
            batch,
            force_spinning_stop,
        };
        let settings = given.settings(py)?;
        let environment = runtime::environment(py)?;
        let open = || session::Session::open(&environment, &path, &settings);
        let core = py.detach(open).map_err(|error| to_python(py, &error))?;
        let names = core.outputs().iter().map(|info| PyString::intern(py, &info.name).unbind()).collect();
        let quick = Quick::of(&core);
        Ok(Self { core, names, quick })
    }

    /// Runs the model once.
    #[pyo3(signature = (feeds, outputs = None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        feeds: &Bound<'py, PyAny>,
        outputs: Option<Vec<String>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        if let (Some(quick), None) = (&self.quick, &outputs)
            && let Some(all) = quick.run(&self.core, feeds, &self.names)?
        {
            return Ok(all);
        }
        let feeds = Feeds::read(&self.core, feeds)?;
        let places = match outputs {
            None => (0..self.names.len()).collect(),
            Some(names) => self.places(py, &names)?,
        };
        let made = call::run(py, &self.core, &feeds, &places)?;
        let in_place = feeds.in_place();
        let all = PyDict::new(py);
        for (&place, value) in places.iter().zip(made) {
            let info = &self.core.outputs()[place];
            let object = value.map(|value| to_object(py, info, value, &in_place)).transpose()?;
            all.set_item(self.output_name(py, place), object)?;
        }
        Ok(all)
    }

    /// Runs the model once, into arrays of the caller's.
    fn run_into(&self, py: Python<'_>, feeds: &Bound<'_, PyAny>, outputs: &Bound<'_, PyAny>) -> PyResult<()> {
        let feeds = Feeds::read(&self.core, feeds)?;
        let targets = targets::read(&self.core, outputs, feeds.in_place())?;
        if targets.is_empty() {
            return Err(bad_argument(py, "outputs names no output"));
        }
        call::run_into(py, &self.core, &feeds, &targets)
    }

    /// Binds inputs and outputs for repeated calls.
    #[pyo3(signature = (feeds, outputs = None))]
    fn bind(slf: &Bound<'_, Self>, feeds: &Bound<'_, PyAny>, outputs: Option<&Bound<'_, PyAny>>) -> PyResult<Binding> {
        Binding::new(slf, feeds, outputs)
    }

    /// Makes room for inputs and outputs in the memory of the device.
    fn on_device(slf: &Bound<'_, Self>) -> PyResult<DeviceBinding> {
        DeviceBinding::new(slf)
    }

    /// Classifies an image file.
    #[pyo3(signature = (image_path, preprocess, top = 5))]
    fn classify(&self, py: Python<'_>, image_path: PathBuf, preprocess: Spec, top: usize) -> PyResult<Guesses> {
        let mut guesses = self.classify_batch(py, vec![image_path], preprocess, top, None)?;
        Ok(guesses.pop().unwrap_or_default())
    }

    /// Classifies image files, some at a time.
    #[pyo3(signature = (image_paths, preprocess, top = 5, batch = None))]
    #[expect(clippy::needless_pass_by_value, reason = "extracted from Python objects")]
    fn classify_batch(
        &self,
        py: Python<'_>,
        image_paths: Vec<PathBuf>,
        preprocess: Spec,
        top: usize,
        batch: Option<usize>,
    ) -> PyResult<Vec<Guesses>> {
        if batch == Some(0) {
            return Err(bad_argument(py, "batch is 0, not positive"));
        }
        let fixed = self.core.inputs().first().and_then(|info| info.shape.first().copied().flatten());
        let all = || {
            let mut preprocessor = preprocess.preprocessor()?;
            let size = fixed.or(batch).unwrap_or(image_paths.len()).max(1);
            let mut guesses = Vec::with_capacity(image_paths.len());
            for part in image_paths.chunks(size) {
                // A model that takes only full batches gets the last image again until one is full.
                let filling = part.last().filter(|_| fixed.is_some()).into_iter().cycle().take(size - part.len());
                let full: Vec<&PathBuf> = part.iter().chain(filling).collect();
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

    /// Inputs, in the order of the graph.
    #[getter]
    fn inputs(&self) -> Vec<TensorInfo> {
        self.core.inputs().iter().map(TensorInfo::of).collect()
    }

    /// Outputs, in the order of the graph.
    #[getter]
    fn outputs(&self) -> Vec<TensorInfo> {
        self.core.outputs().iter().map(TensorInfo::of).collect()
    }

    /// What the model's maker wrote into it.
    #[getter]
    fn metadata(&self, py: Python<'_>) -> PyResult<Metadata> {
        self.core.metadata().map(Metadata::from).map_err(|error| to_python(py, &error))
    }

    /// The GPU that computes; `None` for the CPU.
    #[getter]
    fn device(&self) -> Option<String> {
        self.core.device()
    }

    /// Threads that compute, counted after the session was made; `None` where the system does not count them.
    #[getter]
    const fn threads(&self) -> Option<usize> {
        self.core.threads()
    }
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
