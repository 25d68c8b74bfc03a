//! ONNX Runtime in this process: loaded once, with one environment.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use pyo3::prelude::*;
use runoff_session::{Environment, Error, Kind, Runtime, library_from_env, library_in_wheel, prepare as core};

use crate::environ;
use crate::errors::to_python;

/// The library. Locked only with the GIL released, so that a thread that waits for it does not stop the others.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// The process's environment; made while `LOADED` is locked.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// Read by ONNX Runtime while it makes its environment: only this keeps it from opening its telemetry, which the C API
/// can merely disable afterwards.
const TELEMETRY: &CStr = c"ORT_DISABLE_TELEMETRY";
const NO_TELEMETRY: &CStr = c"ORT_DISABLE_TELEMETRY=1";

/// Applies `read` to what is loaded, after loading the library on the first call.
fn with_loaded<R: Send>(py: Python<'_>, read: impl FnOnce(&Runtime) -> Result<R, Error> + Send) -> PyResult<R> {
    let library = find_library(py)?;
    let outcome = py.detach(|| {
        let mut guard = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *guard {
            Some(loaded) => read(loaded),
            None => read(guard.insert(Runtime::load(&library?)?)),
        }
    });
    outcome.map_err(|error| to_python(py, &error))
}

/// Returns the process's environment, making it on the first call.
pub fn environment(py: Python<'_>) -> PyResult<Environment> {
    if let Some(made) = ENVIRONMENT.get() {
        return Ok(made.clone());
    }
    with_loaded(py, |runtime| {
        if let Some(made) = ENVIRONMENT.get() {
            return Ok(made.clone());
        }
        let environment = environ::with_variable(NO_TELEMETRY, TELEMETRY, || runtime.make_environment())?;
        Ok(ENVIRONMENT.get_or_init(|| environment).clone())
    })
}

/// The path in `RUNOFF_ORT_DYLIB`, or the library of the installed `onnxruntime` wheel, which is not imported.
fn find_library(py: Python<'_>) -> PyResult<Result<PathBuf, Error>> {
    let named = library_from_env();
    if named.is_ok() {
        return Ok(named);
    }
    let spec = py.import("importlib.util")?.call_method1("find_spec", ("onnxruntime",))?;
    if spec.is_none() {
        let message =
            "ONNX Runtime not found: the package onnxruntime is not installed, and RUNOFF_ORT_DYLIB is not set";
        return Ok(Err(Error::new(Kind::RuntimeMissing, message, "pip install onnxruntime")));
    }
    let origin: Option<PathBuf> = spec.getattr("origin")?.extract()?;
    let package = origin.as_deref().and_then(Path::parent);
    Ok(package.map_or(named, library_in_wheel))
}

#[doc = stub!("load_runtime")]
#[pyfunction]
pub fn load_runtime(py: Python<'_>) -> PyResult<()> {
    with_loaded(py, |_| Ok(()))
}

#[doc = stub!("create_environment")]
#[pyfunction]
pub fn create_environment(py: Python<'_>) -> PyResult<()> {
    environment(py).map(drop)
}

#[doc = stub!("prepare")]
#[pyfunction]
#[pyo3(signature = (path, folder = None))]
#[expect(clippy::needless_pass_by_value, reason = "extracted from Python objects")]
pub fn prepare(py: Python<'_>, path: PathBuf, folder: Option<PathBuf>) -> PyResult<String> {
    let runtime = with_loaded(py, |runtime| Ok(runtime.clone()))?;
    let environment = environment(py)?;
    let prepare = || {
        let folder = folder.map_or_else(core::default_folder, Ok)?;
        core::prepare(&runtime, || Ok(environment), &path, &folder, core::Format::Ort)
    };
    let prepared = py.detach(prepare).map_err(|error| to_python(py, &error))?;
    Ok(prepared.path.to_string_lossy().into_owned())
}

#[doc = stub!("providers")]
#[pyfunction]
pub fn providers(py: Python<'_>) -> PyResult<Vec<&'static str>> {
    with_loaded(py, |_| runoff_session::providers())
}

#[doc = stub!("unavailable_providers")]
#[pyfunction]
pub fn unavailable_providers(py: Python<'_>) -> PyResult<BTreeMap<String, String>> {
    with_loaded(py, |_| runoff_session::unavailable_providers())
}

#[doc = stub!("runtime_version")]
#[pyfunction]
pub fn runtime_version(py: Python<'_>) -> PyResult<String> {
    with_loaded(py, |runtime| Ok(runtime.version.clone()))
}

#[doc = stub!("runtime_build")]
#[pyfunction]
pub fn runtime_build(py: Python<'_>) -> PyResult<String> {
    with_loaded(py, |runtime| Ok(runtime.build.clone()))
}

#[doc = stub!("library_path")]
#[pyfunction]
pub fn library_path(py: Python<'_>) -> PyResult<String> {
    with_loaded(py, |runtime| Ok(runtime.library.to_string_lossy().into_owned()))
}
