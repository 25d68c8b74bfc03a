//! A loaded model.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ort::value::DynValueRef;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use runoff_core::protocol::{Settings, TensorSpec, parse_word};
use runoff_core::{Error, classify, session};

use crate::arrays::{self, Output};
use crate::errors::to_python;
use crate::preprocess::Spec;
use crate::runtime;

/// A loaded model.
#[pyclass(frozen, module = "runoff_ort")]
pub struct Session {
    /// Locked only with the GIL released, so that a thread that waits for it does not stop the others.
    inner: Mutex<session::Session>,
    inputs: Vec<TensorSpec>,
    outputs: Vec<TensorSpec>,
    /// Threads that compute, counted after the session was made; `None` where the system does not count them.
    #[pyo3(get)]
    threads: Option<usize>,
}

#[pymethods]
impl Session {
    #[new]
    #[pyo3(signature = (path, *, threads = 1, inter_threads = None, optimization = None, spinning = None,
        arena = None, prepacking = None, execution = None, provider = "cpu",
        precision = "fp32"))]
    #[expect(clippy::too_many_arguments, reason = "one for each setting of the protocol")]
    #[expect(clippy::needless_pass_by_value, reason = "extracted from Python objects")]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        threads: usize,
        inter_threads: Option<usize>,
        optimization: Option<&str>,
        spinning: Option<bool>,
        arena: Option<bool>,
        prepacking: Option<bool>,
        execution: Option<&str>,
        provider: &str,
        precision: &str,
    ) -> PyResult<Self> {
        let settings = || {
            Ok(Settings {
                threads: positive("threads", threads)?,
                inter_threads: inter_threads.map(|threads| positive("inter_threads", threads)).transpose()?,
                optimization: optimization.map(|word| parse_word("optimization", word)).transpose()?,
                spinning,
                arena,
                prepacking,
                execution: execution.map(|word| parse_word("execution", word)).transpose()?,
                provider: provider.to_owned(),
                precision: precision.to_owned(),
                ..Settings::default()
            })
        };
        let settings = settings().map_err(|error| to_python(py, &error))?;
        let environment = runtime::environment(py)?;
        let inner = py
            .detach(|| session::Session::open(&environment, &path, &settings))
            .map_err(|error| to_python(py, &error))?;
        Ok(Self {
            inputs: inner.inputs().to_vec(),
            outputs: inner.outputs().to_vec(),
            threads: inner.threads(),
            inner: Mutex::new(inner),
        })
    }

    /// Runs the model once.
    fn run<'py>(&self, py: Python<'py>, inputs: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
        let mut borrowed = Vec::with_capacity(inputs.len());
        for (name, value) in inputs {
            let name: String = name.extract()?;
            let array = arrays::borrow(&name, &value, &self.inputs)?;
            borrowed.push((name, array));
        }
        let values = borrowed.iter().map(|(name, array)| Ok((name.clone(), array.value()?)));
        let values = values.collect::<Result<Vec<_>, Error>>().map_err(|error| to_python(py, &error))?;
        let run = || {
            let mut inner = self.lock();
            let outputs = inner.run_named(values)?;
            let take = |(name, value): (&str, DynValueRef<'_>)| Ok((name.to_owned(), arrays::take(name, &value)?));
            outputs.iter().map(take).collect::<Result<Vec<(String, Output)>, Error>>()
        };
        let outputs = py.detach(run).map_err(|error| to_python(py, &error))?;
        let arrays = PyDict::new(py);
        for (name, output) in outputs {
            arrays.set_item(name, output(py)?)?;
        }
        Ok(arrays)
    }

    /// Classifies an image file.
    #[pyo3(signature = (image_path, preprocess, top = 5))]
    #[expect(clippy::needless_pass_by_value, reason = "extracted from Python objects")]
    fn classify(
        &self,
        py: Python<'_>,
        image_path: PathBuf,
        preprocess: Spec,
        top: usize,
    ) -> PyResult<Vec<(usize, f64)>> {
        let classify = || {
            let mut preprocessor = preprocess.preprocessor()?;
            classify::classify(&mut self.lock(), &mut preprocessor, &image_path, top, &[])
        };
        let guesses = py.detach(classify).map_err(|error| to_python(py, &error))?;
        Ok(guesses.into_iter().map(|guess| (guess.index, guess.confidence)).collect())
    }

    /// Inputs, in the order of the graph: name, dtype and shape.
    #[getter]
    fn inputs(&self) -> Vec<(String, String, Vec<Option<usize>>)> {
        self.inputs.iter().map(parts).collect()
    }

    /// Outputs, in the order of the graph: name, dtype and shape.
    #[getter]
    fn outputs(&self) -> Vec<(String, String, Vec<Option<usize>>)> {
        self.outputs.iter().map(parts).collect()
    }
}

impl Session {
    /// A panic in another thread's call leaves nothing half done that this one could see.
    fn lock(&self) -> MutexGuard<'_, session::Session> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parts(spec: &TensorSpec) -> (String, String, Vec<Option<usize>>) {
    (spec.name.clone(), spec.dtype.clone(), spec.shape.clone())
}

fn positive(name: &str, value: usize) -> Result<std::num::NonZeroUsize, Error> {
    value.try_into().map_err(|_| Error::bad_request(format!("{name} is 0, not positive")))
}
