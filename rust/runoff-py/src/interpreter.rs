//! Which interpreters may load the extension.

#![allow(unsafe_code)]

use pyo3::exceptions::PyImportError;
use pyo3::{PyResult, Python, ffi};

/// Refuses every interpreter but the main one: types and arrays that are kept for the process belong to one interpreter.
///
/// # Errors
///
/// `ImportError` in a sub-interpreter.
pub fn must_be_main(_attached: Python<'_>) -> PyResult<()> {
    // SAFETY: the calling thread is attached to an interpreter, as `_attached` proves, so that there is a current one.
    let id = unsafe { ffi::PyInterpreterState_GetID(ffi::PyInterpreterState_Get()) };
    if id == 0 {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "runoff_ort does not support sub-interpreters: import it in the main interpreter, and use threads or processes",
    ))
}
