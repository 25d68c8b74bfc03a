//! The core's error as a Python exception.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

pyo3::create_exception!(
    runoff_ort,
    RunoffOrtError,
    PyRuntimeError,
    "A failure with a way out; its attributes are kind, message and hint."
);

/// Converts the core's error; its parts become the exception's attributes.
pub fn to_python(py: Python<'_>, error: &runoff_core::Error) -> PyErr {
    let exception = RunoffOrtError::new_err(error.to_string());
    let value = exception.value(py);
    let parts = [("kind", error.kind.as_str()), ("message", &error.message), ("hint", &error.hint)];
    let set = parts.iter().try_for_each(|(name, text)| value.setattr(*name, *text));
    set.err().unwrap_or(exception)
}
