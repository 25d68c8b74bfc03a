//! The core's error as a Python exception.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use runoff_core::{Error, Kind};

pyo3::create_exception!(
    runoff_ort,
    RunoffOrtError,
    PyRuntimeError,
    "A failure with a hint; its attributes are kind, message and hint."
);

/// Converts the core's error; its parts become the exception's attributes.
pub fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let exception = RunoffOrtError::new_err(error.to_string());
    let value = exception.value(py);
    let parts = [("kind", error.kind.as_str()), ("message", &error.message), ("hint", &error.hint)];
    let set = parts.iter().try_for_each(|(name, text)| value.setattr(*name, *text));
    set.err().unwrap_or(exception)
}

/// Converts an error over something given to a session; the hint is not that of a request.
pub fn mismatch(py: Python<'_>, error: &Error) -> PyErr {
    let hint = "see the session's inputs and outputs";
    to_python(py, &Error { hint: hint.to_owned(), ..error.clone() })
}

/// Converts an error over an argument; the hint is not that of a request.
pub fn argument(py: Python<'_>, error: &Error) -> PyErr {
    to_python(py, &Error { hint: "see help(runoff_ort.Session)".to_owned(), ..error.clone() })
}

/// An argument that cannot be used as it stands.
pub fn bad_argument(py: Python<'_>, message: &str) -> PyErr {
    argument(py, &Error::new(Kind::BadRequest, message, ""))
}
