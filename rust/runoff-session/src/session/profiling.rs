//! Ending the profile of a session.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::ptr;

use ort::AsPointer;

use crate::error::{Error, Kind};
use crate::handles::allocator;
use crate::status::check;

/// Ends the profile of `session`; returns the path of the file.
pub fn end(session: &ort::session::Session) -> Result<String, Error> {
    let (own, mut name) = (allocator()?, ptr::null_mut());
    // SAFETY: the session is alive; writes to a local. `ort` requires `&mut` for this, but ONNX Runtime takes a lock.
    let status = unsafe { (ort::api().SessionEndProfiling)(session.ptr().cast_mut(), own, &raw mut name) };
    check(status, "writing a profile")?;
    if name.is_null() {
        return Err(Error::new(Kind::Internal, "ONNX Runtime returned no name of a profile", "report this"));
    }
    // SAFETY: ONNX Runtime has just created this string, which is terminated by NUL.
    let path = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    // SAFETY: the string was allocated by this allocator, and is not used again.
    check(unsafe { (ort::api().AllocatorFree)(own, name.cast()) }, "writing a profile")?;
    Ok(path)
}
