//! The status that ONNX Runtime's functions return.

#![allow(unsafe_code)]

use ort::sys::OrtStatusPtr;

use crate::error::Error;

/// Converts a status to a `Result`, and frees it; the message of an error says that ONNX Runtime failed `what`.
pub fn check(status: OrtStatusPtr, what: &str) -> Result<(), Error> {
    if status.0.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null status is an error owned by the caller, whose ownership is passed on here.
    unsafe { ort::Error::result_from_status(status) }.map_err(|error| Error::runtime(what, &error))
}
