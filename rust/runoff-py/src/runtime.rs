//! ONNX Runtime in this process: loaded once, with one environment.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use pyo3::prelude::*;
use runoff_core::Error;
use runoff_core::runtime::{self, Runtime};

use crate::errors::to_python;

/// What is loaded so far.
struct Loaded {
    runtime: Runtime,
    environment: Option<Environment>,
}

/// Locked only with the GIL released, so that a thread that waits for it does not stop the others.
static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Applies `read` to what is loaded, after loading the library on the first call.
fn with_loaded<R: Send>(py: Python<'_>, read: impl FnOnce(&mut Loaded) -> Result<R, Error> + Send) -> PyResult<R> {
    let library = find_library(py)?;
    let outcome = py.detach(|| {
        let mut guard = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *guard {
            Some(loaded) => read(loaded),
            None => read(guard.insert(Loaded { runtime: Runtime::load(&library?)?, environment: None })),
        }
    });
    outcome.map_err(|error| to_python(py, &error))
}

/// Returns the process's environment, making it on the first call.
pub fn environment(py: Python<'_>) -> PyResult<Environment> {
    with_loaded(py, |loaded| {
        if let Some(environment) = &loaded.environment {
            return Ok(environment.clone());
        }
        let environment = loaded.runtime.make_environment()?;
        loaded.environment = Some(environment.clone());
        Ok(environment)
    })
}

/// The path in `RUNOFF_ORT_DYLIB`, or the library of the installed `onnxruntime` wheel, which is not imported.
fn find_library(py: Python<'_>) -> PyResult<Result<PathBuf, Error>> {
    let named = runtime::library_from_env();
    if named.is_ok() {
        return Ok(named);
    }
    let spec = py.import("importlib.util")?.call_method1("find_spec", ("onnxruntime",))?;
    if spec.is_none() {
        return Ok(named);
    }
    let origin: Option<PathBuf> = spec.getattr("origin")?.extract()?;
    let package = origin.as_deref().and_then(std::path::Path::parent);
    Ok(package.map_or(named, runtime::library_in_wheel))
}

/// Loads ONNX Runtime's shared library.
#[pyfunction]
pub fn load_runtime(py: Python<'_>) -> PyResult<()> {
    with_loaded(py, |_| Ok(()))
}

/// Makes ONNX Runtime's environment.
#[pyfunction]
pub fn make_environment(py: Python<'_>) -> PyResult<()> {
    environment(py).map(drop)
}

/// Version of the loaded library.
#[pyfunction]
pub fn runtime_version(py: Python<'_>) -> PyResult<String> {
    with_loaded(py, |loaded| Ok(loaded.runtime.version.clone()))
}

/// How the loaded library was built.
#[pyfunction]
pub fn runtime_build(py: Python<'_>) -> PyResult<String> {
    with_loaded(py, |loaded| Ok(loaded.runtime.build.clone()))
}

/// Where the library was loaded from.
#[pyfunction]
pub fn library_path(py: Python<'_>) -> PyResult<String> {
    with_loaded(py, |loaded| Ok(loaded.runtime.library.to_string_lossy().into_owned()))
}
