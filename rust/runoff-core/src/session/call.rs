//! The call itself.

#![allow(unsafe_code)]

use std::ffi::c_char;
use std::ptr;

use ort::AsPointer;
use ort::session::RunOptions;
use smallvec::SmallVec;

use super::ValueInfo;
use crate::error::Error;
use crate::value::{Value, check};

/// Runs `session` from `inputs` to `outputs`; what is `None` in `results` is made by ONNX Runtime.
///
/// Any number of threads may do so at once: ONNX Runtime's `Run` is made for that, and takes a lock of its own for
/// providers that are not. Only the `ort` crate requires `&mut`.
pub fn run<'p>(
    session: &ort::session::Session,
    options: Option<&RunOptions>,
    (inputs, values): (impl Iterator<Item = &'p ValueInfo>, &[Value<'_>]),
    (outputs, results): (impl Iterator<Item = &'p ValueInfo>, &mut [Option<Value<'_>>]),
) -> Result<(), Error> {
    let inputs: SmallVec<[*const c_char; 8]> = inputs.map(|info| info.c_name.as_ptr()).collect();
    let outputs: SmallVec<[*const c_char; 8]> = outputs.map(|info| info.c_name.as_ptr()).collect();
    assert_eq!((inputs.len(), outputs.len()), (values.len(), results.len()), "a value for each info");
    // SAFETY: names and values have the given lengths, and live as long as the call. A Value is a pointer to an
    // OrtValue and nothing else, and None is null, so both slices have the required layout.
    let status = unsafe {
        (ort::api().Run)(
            session.ptr().cast_mut(),
            options.map_or(ptr::null(), AsPointer::ptr),
            inputs.as_ptr(),
            values.as_ptr().cast(),
            inputs.len(),
            outputs.as_ptr(),
            outputs.len(),
            results.as_mut_ptr().cast(),
        )
    };
    check(status, "running the model")
}
