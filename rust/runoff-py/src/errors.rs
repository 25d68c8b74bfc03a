//! The core's error as a Python exception.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use runoff_core::{Error, Kind};

pyo3::create_exception!(
    runoff_ort,
    RunoffOrtError,
    PyRuntimeError,
    "A failure with a way out; its attributes are kind, message and hint."
);

/// Converts the core's error; its parts become the exception's attributes.
pub fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    let exception = RunoffOrtError::new_err(error.to_string());
    let value = exception.value(py);
    let parts = [("kind", error.kind.as_str()), ("message", &error.message), ("hint", &error.hint)];
    let set = parts.iter().try_for_each(|(name, text)| value.setattr(*name, *text));
    set.err().unwrap_or(exception)
}

/// Converts an error over something given to a session; the way out is not that of a request.
pub fn mismatch(py: Python<'_>, error: &Error) -> PyErr {
    let hint = "the session's inputs and outputs say what the model takes and gives";
    to_python(py, &Error { hint: hint.to_owned(), ..error.clone() })
}

/// Converts an error over an argument; the way out is not that of a request.
pub fn argument(py: Python<'_>, error: &Error) -> PyErr {
    to_python(py, &Error { hint: "help(runoff_ort.Session) says what it takes".to_owned(), ..error.clone() })
}

/// An argument that cannot be used as it stands.
pub fn bad_argument(py: Python<'_>, message: &str) -> PyErr {
    argument(py, &Error::new(Kind::BadRequest, message, ""))
}
