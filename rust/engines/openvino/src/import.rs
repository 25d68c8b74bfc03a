//! Calls of OpenVINO's C API that are missing from the crate `openvino`.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::File;
use std::mem::{transmute, transmute_copy};
use std::path::Path;
use std::ptr;

use memmap2::Mmap;
use openvino::{CompiledModel, Core, InferenceError, Model, Node, get_last_error_message};
use openvino_sys::{
    ov_compiled_model_t, ov_core_import_model, ov_core_t, ov_model_const_input_by_name, ov_model_t,
    ov_output_const_port_t, ov_status_e,
};

/// Loads the compiled model in the file `path` for the CPU, with the properties of `core`. It uses its weights where the
/// file is mapped, so the mapping has to live longer: it is the first, as variables are dropped in reverse order.
///
/// # Errors
///
/// If the file cannot be read, or is not one that this release of `OpenVINO` made for this CPU.
pub fn import(core: &Core, path: &Path) -> Result<(Mmap, CompiledModel), InferenceError> {
    let failed = |error: std::io::Error| InferenceError {
        kind: openvino::InferenceErrorKind::GeneralError,
        message: Some(error.to_string()),
    };
    // SAFETY: the file is in the model store of the user, where nothing is written in place: a new version replaces it.
    let content = unsafe { Mmap::map(&File::open(path).map_err(failed)?) }.map_err(failed)?;
    // SAFETY: `Core` has one field, the pointer: both have the same size, so it is where the struct begins. The version of
    // the crate is pinned.
    let core: *mut ov_core_t = unsafe { transmute_copy(core) };
    let mut model: *mut ov_compiled_model_t = ptr::null_mut();
    // SAFETY: `core` is borrowed from its owner, `content` has the length that is passed, and the function writes `model` if
    // it succeeds. `content` lives as long as the model: the caller gets both.
    let status =
        unsafe { ov_core_import_model(core, content.as_ptr().cast(), content.len(), c"CPU".as_ptr(), &raw mut model) };
    let message = (status != ov_status_e::OK).then(get_last_error_message).flatten();
    InferenceError::convert(status, message)?;
    // SAFETY: as for `Core`; the pointer was just made, and `CompiledModel` frees it.
    Ok((content, unsafe { transmute::<*mut ov_compiled_model_t, CompiledModel>(model) }))
}

/// The input of `model` that is called `name`, among other names.
///
/// # Errors
///
/// If there is none.
pub fn input_by_name(model: &Model, name: &str) -> Result<Node, InferenceError> {
    // SAFETY: as for `Core`.
    let model: *const ov_model_t = unsafe { transmute_copy(model) };
    let name = CString::new(name).unwrap_or_default();
    let mut port: *mut ov_output_const_port_t = ptr::null_mut();
    // SAFETY: `model` is borrowed from its owner, the name ends with NUL, and the function writes `port` if it succeeds.
    let status = unsafe { ov_model_const_input_by_name(model, name.as_ptr(), &raw mut port) };
    let message = (status != ov_status_e::OK).then(get_last_error_message).flatten();
    InferenceError::convert(status, message)?;
    // SAFETY: as for `CompiledModel`.
    Ok(unsafe { transmute::<*mut ov_output_const_port_t, Node>(port) })
}
