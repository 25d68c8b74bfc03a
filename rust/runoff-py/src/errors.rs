//! The core's error as a Python exception.

use pyo3::exceptions::{PyFileNotFoundError, PyImportError, PyOSError, PyRuntimeError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};
use runoff_session::{Error, Kind};

pyo3::create_exception!(runoff_ort, RunoffOrtError, PyRuntimeError, stub!("RunoffOrtError"));

/// Kinds of failure that no runner has: of a call that was stopped.
pub const TIMED_OUT: &str = "timed-out";
pub const CANCELLED: &str = "cancelled";

/// Subclasses for some kinds, each one of Python's own exceptions too.
pub struct Classes([(&'static str, Py<PyType>); 5]);

impl Classes {
    /// The classes, made on the first call.
    pub fn get(py: Python<'_>) -> PyResult<&Self> {
        static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();
        CLASSES.get_or_try_init(py, || {
            let own = |name, base, doc| subclass(py, name, base, doc).map(|class| (name, class));
            Ok(Self([
                own("MissingFileError", py.get_type::<PyFileNotFoundError>(), stub!("MissingFileError"))?,
                own("InvalidValueError", py.get_type::<PyValueError>(), stub!("InvalidValueError"))?,
                own("NoSpaceError", py.get_type::<PyOSError>(), stub!("NoSpaceError"))?,
                own("RuntimeMissingError", py.get_type::<PyImportError>(), stub!("RuntimeMissingError"))?,
                own("RunTimeoutError", py.get_type::<PyTimeoutError>(), stub!("RunTimeoutError"))?,
            ]))
        })
    }

    /// Names and classes.
    pub fn iter(&self) -> impl Iterator<Item = &(&'static str, Py<PyType>)> {
        self.0.iter()
    }

    fn of_kind(&self, kind: &str) -> Option<&Py<PyType>> {
        let place = match kind {
            "model-missing" | "image-missing" => 0,
            "bad-request" | "model-mismatch" | "model-unreadable" | "image-unreadable" | "image-too-large"
            | "tensor-unreadable" => 1,
            "no-space" => 2,
            "runtime-missing" => 3,
            TIMED_OUT => 4,
            _ => return None,
        };
        Some(&self.0[place].1)
    }
}

/// Makes a class that is a `RunoffOrtError` and a `base`.
fn subclass(py: Python<'_>, name: &str, base: Bound<'_, PyType>, doc: &str) -> PyResult<Py<PyType>> {
    let body = PyDict::new(py);
    body.set_item("__module__", "runoff_ort")?;
    body.set_item("__doc__", doc)?;
    let made = py.get_type::<PyType>().call1((name, (py.get_type::<RunoffOrtError>(), base), body))?;
    Ok(made.cast_into()?.unbind())
}

/// Makes an exception of a kind, a message and a hint.
pub fn failure(py: Python<'_>, kind: &str, message: &str, hint: &str) -> PyErr {
    let text = if hint.is_empty() { message.to_owned() } else { format!("{message} ({hint})") };
    let make = || {
        let class =
            Classes::get(py)?.of_kind(kind).map_or_else(|| py.get_type::<RunoffOrtError>(), |own| own.bind(py).clone());
        let exception = class.call1((text,))?;
        for (name, part) in [("kind", kind), ("message", message), ("hint", hint)] {
            exception.setattr(name, part)?;
        }
        Ok(PyErr::from_value(exception))
    };
    make().unwrap_or_else(|error| error)
}

/// Converts the core's error; its parts become the exception's attributes.
pub fn to_python(py: Python<'_>, error: &Error) -> PyErr {
    failure(py, error.kind.as_str(), &error.message, &error.hint)
}

/// Converts an error over something given to a session; the hint is not that of a request.
pub fn mismatch(py: Python<'_>, error: &Error) -> PyErr {
    failure(py, error.kind.as_str(), &error.message, "see the session's inputs and outputs")
}

/// Converts an error over an argument; the hint is not that of a request.
pub fn argument(py: Python<'_>, error: &Error) -> PyErr {
    failure(py, error.kind.as_str(), &error.message, "see help(runoff_ort.Session)")
}

/// An argument that cannot be used as it stands.
pub fn bad_argument(py: Python<'_>, message: &str) -> PyErr {
    argument(py, &Error::new(Kind::BadRequest, message, ""))
}
